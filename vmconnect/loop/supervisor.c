/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/loop/supervisor.h"

#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

struct Supervisor {
    int fd; /* -1: there is nobody */
    struct sockaddr_un address;
    socklen_t len;
    gint64 beat_ms;
};

/* A path, or a name that begins with '@' and is no file's. FALSE: neither. */
static gboolean read_address(Supervisor *s)
{
    const char *at = g_getenv("NOTIFY_SOCKET");
    gsize len = at ? strlen(at) : 0;

    if (len < 2 || len >= sizeof(s->address.sun_path) || (*at != '/' && *at != '@'))
        return FALSE;
    s->address.sun_family = AF_UNIX;
    memcpy(s->address.sun_path, at, len);
    s->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + (*at == '/'));
    if (*at == '@')
        s->address.sun_path[0] = '\0';
    return TRUE;
}

static gint64 read_beat_ms(void)
{
    const char *usec = g_getenv("WATCHDOG_USEC"), *pid = g_getenv("WATCHDOG_PID");
    guint64 us = 0, whose = 0;

    if (!usec || !g_ascii_string_to_unsigned(usec, 10, 0, G_MAXINT64, &us, NULL))
        return 0;
    if (pid && (!g_ascii_string_to_unsigned(pid, 10, 0, G_MAXINT, &whose, NULL) || (pid_t)whose != getpid()))
        return 0;
    return us == 0 ? 0 : MAX((gint64)(us / 2000), 1);
}

Supervisor *supervisor_new(void)
{
    Supervisor *s = g_new0(Supervisor, 1);

    s->fd = -1;
    if (read_address(s))
        s->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    s->beat_ms = s->fd >= 0 ? read_beat_ms() : 0;
    g_unsetenv("NOTIFY_SOCKET");
    g_unsetenv("WATCHDOG_USEC");
    g_unsetenv("WATCHDOG_PID");
    return s;
}

void supervisor_free(Supervisor *s)
{
    if (!s)
        return;
    if (s->fd >= 0)
        close(s->fd);
    g_free(s);
}

void supervisor_say(const Supervisor *s, const char *word)
{
    if (s->fd >= 0)
        (void)!sendto(s->fd, word, strlen(word), MSG_NOSIGNAL | MSG_DONTWAIT,
                      (const struct sockaddr *)&s->address, s->len);
}

gint64 supervisor_beat_ms(const Supervisor *s)
{
    return s->beat_ms;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* This test is the service manager. */
#include "vmconnect/loop/supervisor.h"

#include <glib/gstdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static void expect_heard(int fd, const char *word)
{
    char got[64] = "";

    g_assert_cmpint(recv(fd, got, sizeof(got) - 1, MSG_DONTWAIT), ==, (gssize)strlen(word));
    g_assert_cmpstr(got, ==, word);
}

static int bind_at(const char *path, gboolean is_abstract)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path) + !is_abstract);

    g_strlcpy(at.sun_path, path, sizeof(at.sun_path));
    if (is_abstract)
        at.sun_path[0] = '\0';
    g_assert_cmpint(bind(fd, (struct sockaddr *)&at, len), ==, 0);
    return fd;
}

static void say_to(const char *address, int fd)
{
    g_autoptr(Supervisor) s = NULL;

    g_setenv("NOTIFY_SOCKET", address, TRUE);
    s = supervisor_new();
    g_assert_null(g_getenv("NOTIFY_SOCKET"));
    supervisor_say(s, "READY=1");
    if (fd >= 0)
        expect_heard(fd, "READY=1");
}

static void test_say(void)
{
    g_autofree char *folder = g_dir_make_tmp("understudy-supervisor-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(folder, "notify", NULL);
    g_autofree char *name = g_strdup_printf("@understudy-%d", (int)getpid());
    int fd = bind_at(path, FALSE), named = bind_at(name, TRUE);

    say_to(path, fd);
    say_to(name, named);
    /* Nobody is there, or it is no address. */
    close(fd);
    g_unlink(path);
    g_rmdir(folder);
    close(named);
    say_to(path, -1);
    say_to("vsock:2:1", -1);
    say_to("", -1);
    say_to("@", -1);
}

/* A manager that hears nothing is not waited for. */
static void test_deaf(void)
{
    g_autofree char *name = g_strdup_printf("@understudy-deaf-%d", (int)getpid());
    int fd = bind_at(name, TRUE);
    g_autoptr(Supervisor) s = NULL;

    g_setenv("NOTIFY_SOCKET", name, TRUE);
    s = supervisor_new();
    for (guint i = 0; i < 100000; i++)
        supervisor_say(s, "WATCHDOG=1");
    expect_heard(fd, "WATCHDOG=1");
    close(fd);
}

static gint64 beat_ms(const char *address, const char *usec, const char *pid)
{
    g_autoptr(Supervisor) s = NULL;

    if (address)
        g_setenv("NOTIFY_SOCKET", address, TRUE);
    g_setenv("WATCHDOG_USEC", usec, TRUE);
    if (pid)
        g_setenv("WATCHDOG_PID", pid, TRUE);
    s = supervisor_new();
    g_assert_null(g_getenv("WATCHDOG_USEC"));
    g_assert_null(g_getenv("WATCHDOG_PID"));
    return supervisor_beat_ms(s);
}

static void test_beat(void)
{
    g_autofree char *self = g_strdup_printf("%d", (int)getpid());
    g_autofree char *other = g_strdup_printf("%d", (int)getppid());

    g_assert_cmpint(beat_ms("@nobody", "2000000", self), ==, 1000);
    g_assert_cmpint(beat_ms("@nobody", "2000000", NULL), ==, 1000);
    g_assert_cmpint(beat_ms("@nobody", "1", NULL), ==, 1);
    g_assert_cmpint(beat_ms("@nobody", "2000000", other), ==, 0);
    g_assert_cmpint(beat_ms("@nobody", "2000000", "?"), ==, 0);
    g_assert_cmpint(beat_ms("@nobody", "0", self), ==, 0);
    g_assert_cmpint(beat_ms("@nobody", "soon", self), ==, 0);
    g_assert_cmpint(beat_ms(NULL, "2000000", self), ==, 0);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_unsetenv("NOTIFY_SOCKET");
    g_test_add_func("/supervisor/say", test_say);
    g_test_add_func("/supervisor/deaf", test_deaf);
    g_test_add_func("/supervisor/beat", test_beat);
    return g_test_run();
}

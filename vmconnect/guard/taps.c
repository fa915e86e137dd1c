/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/guard/taps.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define FDS_MAX 65536 /* that are looked at */
#define FILE_BYTES 1024
#define FIELD "iff:\t" /* drivers/net/tun.c; no name behind it: it is attached to no interface yet */

typedef struct {
    char (*names)[IF_NAMESIZE];
    guint count;
    gboolean more;
} Taps;

static void add(Taps *t, const char *name)
{
    guint at = 0;

    while (at < t->count && strcmp(t->names[at], name) < 0)
        at++;
    if (at < t->count && strcmp(t->names[at], name) == 0)
        return;
    if (t->count == WORD_TAPS_MAX) {
        t->more = TRUE;
        return;
    }
    memmove(t->names[at + 1], t->names[at], (t->count - at) * sizeof(*t->names));
    memset(t->names[at], 0, IF_NAMESIZE);
    g_strlcpy(t->names[at], name, IF_NAMESIZE);
    t->count++;
}

static void look_into(Taps *t, const char *text)
{
    char name[IF_NAMESIZE];
    const char *line = g_str_has_prefix(text, FIELD) ? text : strstr(text, "\n" FIELD);
    gsize len;

    if (!line)
        return;
    line = strchr(line, '\t') + 1;
    len = strcspn(line, "\n");
    if (len == 0)
        return;
    if (len >= sizeof(name)) {
        t->more = TRUE;
        return;
    }
    g_snprintf(name, sizeof(name), "%.*s", (int)len, line);
    add(t, name);
}

static void look_at(Taps *t, int folder, const char *number)
{
    char text[FILE_BYTES];
    int fd = openat(folder, number, O_RDONLY | O_CLOEXEC);
    ssize_t len = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

    /* Closed meanwhile, or its process has ended. */
    if (len < 0 && errno != ENOENT && errno != ESRCH)
        t->more = TRUE;
    if (fd >= 0)
        close(fd);
    if (len <= 0)
        return;
    text[len] = '\0';
    look_into(t, text);
}

guint taps_of_process(pid_t pid, char ret_taps[WORD_TAPS_MAX][IF_NAMESIZE], gboolean *ret_more)
{
    Taps t = {.names = ret_taps};
    char path[64];
    DIR *dir;
    struct dirent *entry = NULL;

    snprintf(path, sizeof(path), "/proc/%d/fdinfo", (int)pid);
    dir = opendir(path);
    t.more = !dir;
    errno = 0;
    for (guint seen = 0; dir && seen < FDS_MAX && (entry = readdir(dir)); seen++) {
        if (entry->d_name[0] != '.')
            look_at(&t, dirfd(dir), entry->d_name);
        errno = 0;
    }
    *ret_more = t.more || entry || errno != 0;
    if (dir)
        closedir(dir);
    return t.count;
}

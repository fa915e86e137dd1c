/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/base/process.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FILE_BYTES 1024
#define START_FIELD 20 /* from behind the state, which is the first behind the name */

/* With a NUL behind it. FALSE: there is none. */
static gboolean read_file(const char *path, char ret_text[static FILE_BYTES])
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t len = fd < 0 ? -1 : read(fd, ret_text, FILE_BYTES - 1);

    if (fd >= 0)
        close(fd);
    if (len < 0)
        return FALSE;
    ret_text[len] = '\0';
    return TRUE;
}

/* Fields are counted from behind the name, which may have any bytes in it. */
gboolean process_stat_read(const char *path, ProcessStat *ret_stat)
{
    char text[FILE_BYTES];
    char *name, *end, *field;

    if (!read_file(path, text) || !(name = strchr(text, '(')) || !(end = strrchr(text, ')')) || end[1] != ' ')
        return FALSE;
    field = end;
    for (int i = 0; i < START_FIELD; i++)
        if (!(field = strchr(field + 1, ' ')))
            return FALSE;
    *end = '\0';
    g_strlcpy(ret_stat->name, name + 1, sizeof(ret_stat->name));
    ret_stat->state = end[2];
    ret_stat->start_ticks = strtoull(field + 1, NULL, 10);
    return TRUE;
}

gboolean process_stat(pid_t pid, ProcessStat *ret_stat)
{
    char path[64];

    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    return process_stat_read(path, ret_stat);
}

gboolean process_ran_ns(const char *path, guint64 *ret_ns)
{
    char text[FILE_BYTES];

    if (!read_file(path, text))
        return FALSE;
    *ret_ns = strtoull(text, NULL, 10);
    return TRUE;
}

/* fdinfo(5), proc_pid_fdinfo(5). */
pid_t process_of(int pidfd)
{
    char path[64], text[FILE_BYTES];
    const char *line;

    snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", pidfd);
    if (!read_file(path, text) || !(line = strstr(text, "\nPid:")))
        return -1;
    return (pid_t)MAX(strtol(line + 5, NULL, 10), 0);
}

gboolean process_is_stopped(pid_t pid)
{
    ProcessStat stat;

    return process_stat(pid, &stat) && (stat.state == 'T' || stat.state == 't');
}

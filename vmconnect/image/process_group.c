/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/image/process_group.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

/* proc_pid_stat(5): the name, in parentheses, may have any bytes in it. Of a process whose first thread has ended before the others the
 * state is a zombie's. */
static gboolean lives_in(const char *stat, pid_t group)
{
    const char *end = strrchr(stat, ')');
    int its_group, threads;
    char state;

    return end &&
           sscanf(end + 1,
                  " %c %*d %d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %d", /* 3, 5, 20 */
                  &state, &its_group, &threads) == 3 &&
           its_group == group && ((state != 'Z' && state != 'X') || threads > 1);
}

gboolean process_group_lives(pid_t leader)
{
    g_autoptr(GDir) proc = NULL;
    const char *name;

    if (kill(-leader, 0) != 0 || !(proc = g_dir_open("/proc", 0, NULL)))
        return FALSE;
    while ((name = g_dir_read_name(proc))) {
        g_autofree char *path = g_build_filename("/proc", name, "stat", NULL);
        g_autofree char *stat = NULL;

        if (g_ascii_isdigit(name[0]) && g_file_get_contents(path, &stat, NULL, NULL) &&
            lives_in(stat, leader))
            return TRUE;
    }
    return FALSE;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* process - what /proc says of processes and their threads. Read into the stack. */
#pragma once

#include <glib.h>
#include <sys/types.h>

#define PROCESS_NAME_MAX 64

/* proc_pid_stat(5). */
typedef struct {
    char name[PROCESS_NAME_MAX];
    char state;          /* as ps(1) shows it */
    guint64 start_ticks; /* since the boot */
} ProcessStat;

/* Of @path, .../stat of a process or thread. FALSE: it has ended, or that cannot be read. */
gboolean process_stat_read(const char *path, ProcessStat *ret_stat);
gboolean process_stat(pid_t pid, ProcessStat *ret_stat);
/* By a signal, or by who traces it. FALSE as well if it has ended. */
gboolean process_is_stopped(pid_t pid);

/* Of @path, .../schedstat of a thread: how long it has run. FALSE as above. */
gboolean process_ran_ns(const char *path, guint64 *ret_ns);

/* The process of a pidfd; 0: it has ended, or is not of this PID namespace; -1: that is none, or cannot be told. */
pid_t process_of(int pidfd);

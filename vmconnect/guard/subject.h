/* SPDX-License-Identifier: Apache-2.0 */
/* subject - the process that a guest is, as the kernel shows it.
 *
 * Held by a pidfd, and named by number and start time together, so that no other process is ever signalled that was given the same number.
 * What is asked here is read from /proc, into the stack. */
#pragma once

#include <glib.h>
#include <sys/types.h>

typedef struct {
    int fd; /* pidfd; -1: none */
    pid_t pid;
    guint64 start; /* field 22 of proc_pid_stat(5): clock ticks since the boot */
} Subject;

/* Of a pidfd, which it takes in any case. NOT_FOUND: it has ended, or is not of this PID namespace; PROTOCOL: that is no pidfd. */
gboolean subject_hold(int fd, Subject *ret_subject, GError **error);

/* The same process as before. NOT_FOUND: it has ended. */
gboolean subject_find(pid_t pid, guint64 start, Subject *ret_subject, GError **error);

void subject_clear(Subject *s);
gboolean subject_equal(const Subject *a, const Subject *b);

gboolean subject_is_gone(const Subject *s);
gboolean subject_signal(const Subject *s, int signum, GError **error);

/* Every thread is stopped (T). One in the hands of a tracer (t) is not: who traces it may let it go on. */
gboolean subject_is_still(const Subject *s);

/* How long its virtual processors have run, in nanoseconds; of a process that has none of QEMU's, all its threads. A guest that libvirt has
 * paused does not get older. */
guint64 subject_computed_ns(const Subject *s);

/* SPDX-License-Identifier: Apache-2.0 */
/* wait - waiting on a descriptor with a deadline, for worker threads.
 *
 * A deadline is a time of clock_steady_ms(). A second descriptor, the cancel fd
 * (an eventfd, say), ends every wait while it is readable; -1 means none.
 *
 * What the thread has under way elsewhere moves on meanwhile: a QEMU that is told to change its graph, or stops its guest, first
 * waits for all requests, and so for replies to be taken that only this thread takes. */
#pragma once

#include <glib.h>
#include <poll.h>

gint64 wait_deadline(int timeout_ms);

/* Something that this thread has under way; part of a larger structure. */
typedef struct WaitMate WaitMate;
struct WaitMate {
    gboolean (*prepare)(WaitMate *mate, struct pollfd *pfd); /* FALSE: nothing is */
    void (*move)(WaitMate *mate, short revents);             /* calls nobody back, waits for nothing */
    GPtrArray *mates;                                        /* wait.c's own */
};

/* Both on the thread that waits. */
void wait_join(WaitMate *mate);
void wait_leave(WaitMate *mate);

/* Wait until @fd shows one of @events, an error or a hang-up. FALSE with @error TIMEOUT
 * or CANCELLED; @whom is who keeps us waiting: "QEMU of 'web1'"; what was shown
 * goes into @ret_revents (may be NULL). */
gboolean wait_fd(int fd, short events, int cancel_fd, gint64 deadline_ms, const char *whom,
                 short *ret_revents, GError **error);

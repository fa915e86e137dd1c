/* SPDX-License-Identifier: Apache-2.0 */
/* wait - waiting on a descriptor with a deadline, for worker threads.
 *
 * A deadline is a time of clock_steady_ms(). A second descriptor, the cancel fd
 * (an eventfd, say), ends every wait while it is readable; -1 means none. */
#pragma once

#include <glib.h>

gint64 wait_deadline(int timeout_ms);

/* Wait until @fd shows one of @events, an error or a hang-up. FALSE with @error TIMEOUT
 * or CANCELLED; @whom is who keeps us waiting: "QEMU of 'web1'"; what was shown
 * goes into @ret_revents (may be NULL). */
gboolean wait_fd(int fd, short events, int cancel_fd, gint64 deadline_ms, const char *whom,
                 short *ret_revents, GError **error);

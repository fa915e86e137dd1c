/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox - a program that reads what a guest wrote, and may be taken over by it.
 *
 * It is nobody, gains no rights, has no network, 2 GiB of memory, a deadline, and of our files the one that it is given. Whether
 * it ended well is its caller's to say.
 *
 * For worker threads: it dies with the thread that waits for it. */
#pragma once

#include <glib.h>

#define SANDBOX_FILE "/dev/fd/3" /* how the program names what it is given */
#define SANDBOX_USER 65534       /* nobody: to whom that must belong */

typedef struct {
    gint64 deadline_ms; /* clock_steady_ms */
    int cancel_fd;      /* readable: give up; -1: none */
} SandboxLimits;

/* Can anything be run so on this host? UNSUPPORTED if not; TIMEOUT, CANCELLED. */
gboolean sandbox_try(SandboxLimits limits, GError **error);

/* Run @argv (NULL at its end; [0] is searched in PATH) on the open file @fd, which stays the caller's. *@ret_output: all that it said, on
 * whatever it said it, as valid UTF-8; the caller frees. FALSE with @error NOT_FOUND (not installed), TIMEOUT, CANCELLED, PROTOCOL
 * (it has more to say than 1 MiB), FAILED (killed by a signal). */
gboolean sandbox_run(const char *const *argv, int fd, SandboxLimits limits, int *ret_status,
                     char **ret_output, GError **error);

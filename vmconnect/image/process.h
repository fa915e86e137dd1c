/* SPDX-License-Identifier: Apache-2.0 */
/* process - a program that we start, watch and can always end.
 *
 * For worker threads: everything blocks, with a deadline. Never a shell, never
 * a pid that could be somebody else's: signals go through a pidfd. A child gets
 * /dev/null as input, our environment with LC_ALL=C, umask 077, "/" as folder,
 * its own session, and no descriptor but those given to it.
 *
 * A child with @die_with_thread is killed by the kernel when the *thread* that
 * started it ends (PR_SET_PDEATHSIG counts threads, not processes): the thread
 * that starts it must be the one that owns it for its whole life. */
#pragma once

#include <glib.h>
#include <sys/types.h>

typedef struct Process Process;

typedef struct {
    const char *const *argv;  /* NULL at its end; [0] is searched in PATH */
    int pass_fd;              /* becomes descriptor 3 of the child; 0: none */
    gboolean die_with_thread; /* see above */
    int net_fd;               /* the network namespace that the child is in; 0: that of this thread */
    gboolean until_gone;      /* who ends it waits until it and its group are gone, be that for ever */
    gboolean errors_too;      /* what it writes to standard error is output, in its place */
    int *ret_status; /* process_run_spec(): any exit status is good, and told here; NULL: only 0 is */
} ProcessSpec;

/* Start it. NULL with @error NOT_FOUND (no such program) or FAILED. @spec and its
 * descriptors stay the caller's. */
Process *process_start(const ProcessSpec *spec, GError **error);

/* Kill it if it still runs, with what it has started in its session's group, collect it, free. A process that the kernel cannot end within
 * 2 s (it hangs in a dead file system) is left behind, killed, unless it was started with @until_gone. NULL is accepted. */
void process_free(Process *process);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Process, process_free)

pid_t process_pid(const Process *process);

/* Readable once the process has ended; stays the process's. */
int process_pidfd(const Process *process);

/* Wait for its end. FALSE if it still runs after @timeout_ms. */
gboolean process_wait(Process *process, int timeout_ms);

void process_kill(Process *process, int signum);

/* "exited with status 1", "was killed by signal 9", "is running"; borrowed. */
const char *process_outcome(Process *process);

/* TRUE once it has ended by itself with status 0. */
gboolean process_succeeded(Process *process);

/* What it wrote to standard error lately: at most the last 4 KiB, valid UTF-8,
 * without the final newline; borrowed until the next call. The pipe of one that was
 * started by process_start() is non-blocking on both sides, so a chatty child never waits for us. */
const char *process_stderr(Process *process);

/* Run @spec to its end and return its standard output (NUL-terminated, at most
 * @max_output bytes). @cancel_fd (-1: none) readable ends the wait. FALSE with
 * @error, and the process gone: NOT_FOUND no such program, FAILED it ended badly
 * (the text has its last words), TIMEOUT, CANCELLED, PROTOCOL too much output.
 * @ret_output may be NULL: then what it writes is nobody's, however much it is. */
gboolean process_run_spec(const ProcessSpec *spec, int timeout_ms, int cancel_fd, gsize max_output,
                          char **ret_output, GError **error);

/* The same, of a program that is given no descriptor and dies with this thread. */
gboolean process_run(const char *const *argv, int timeout_ms, int cancel_fd, gsize max_output,
                     char **ret_output, GError **error);

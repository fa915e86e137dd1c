/* SPDX-License-Identifier: Apache-2.0 */
/* pid_file - remembers a child well enough to know it again after our own death.
 *
 * A pid alone may be somebody else's by then. The file holds the pid and the
 * start time that the kernel gives it (ticks since boot); pid_file_end() also
 * compares the program's name and one argument that only our child can have. */
#pragma once

#include <glib.h>
#include <sys/types.h>

gboolean pid_file_write(const char *path, pid_t pid, GError **error);

/* SIGKILL the process that @path names if it is @program with @argument on its command line,
 * wait for its end (bounded), and remove the file. A file that is not there, names nobody, or
 * names a process that is not provably ours is no error: *ret_ended (may be NULL) is then FALSE. */
gboolean pid_file_end(const char *path, const char *program, const char *argument, gboolean *ret_ended,
                      GError **error);

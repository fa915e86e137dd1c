/* SPDX-License-Identifier: Apache-2.0 */
/* process_group - does anything of a group of processes live still?
 *
 * For whoever has killed one: what hangs in the kernel (a dead network mount) does not end by that, and the group's leader may be gone
 * long before what it has started. A zombie is nobody's hang: who left it there does not collect it, or not yet. */
#pragma once

#include <glib.h>
#include <sys/types.h>

/* @leader's number is its group's, and is not another's before all of the group is gone: ask at once, and again soon. Any thread; if it lives, all
 * of /proc is read. */
gboolean process_group_lives(pid_t leader);

/* SPDX-License-Identifier: Apache-2.0 */
/* fault - failing on purpose, for self-adjusting fault tests.
 *
 * A test arms the Nth step from now; that step, and only it, fails with the given
 * errno as if the kernel had said so. The test raises N until the operation
 * gets through without meeting it, and so has walked every step there is.
 * Per thread. Release builds have none of it. */
#pragma once

#include <glib.h>

#ifdef UNDERSTUDY_STOP_POINTS
/* The @nth call of fault_at() from now on (1: the next) fails with @errnum; 0 disarms. */
void fault_arm(guint nth, int errnum);

/* Whether the armed step was reached; disarms. */
gboolean fault_was_met(void);

/* Called before a system call that may fail: 0, or the errno to fail with. */
int fault_at(void);
#else
static inline int fault_at(void)
{
    return 0;
}
#endif

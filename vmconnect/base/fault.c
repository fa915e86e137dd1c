/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/base/fault.h"

#ifdef UNDERSTUDY_STOP_POINTS

static _Thread_local guint steps_left;
static _Thread_local int armed_errno;

void fault_arm(guint nth, int errnum)
{
    steps_left = nth;
    armed_errno = errnum;
}

gboolean fault_was_met(void)
{
    gboolean met = steps_left == 0;

    steps_left = 0;
    return met;
}

int fault_at(void)
{
    if (steps_left == 0 || --steps_left > 0)
        return 0;
    return armed_errno;
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/votes/lease_clock.h"

#include <time.h>

static gint64 read_ms(clockid_t clock)
{
    struct timespec t;

    if (clock_gettime(clock, &t) != 0)
        g_assert_not_reached();
    return (gint64)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

LeaseMoment lease_clock_now(void)
{
    return (LeaseMoment){read_ms(CLOCK_BOOTTIME), read_ms(CLOCK_MONOTONIC_RAW)};
}

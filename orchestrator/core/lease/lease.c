/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/core/lease/lease.h"

#include "vmconnect/base/error.h"

/* Of a hundred parts of real time a clock shows 99 to 101. */
#define SLOW 99
#define FAST 101

#define ROUNDING_MS 2 /* clocks are read in whole milliseconds, at both ends */

#define RENEW_MAX_MS 5000

LeaseMoment lease_moment_after(LeaseMoment m, gint64 ms)
{
    return (LeaseMoment){m.boot_ms + ms, m.raw_ms + ms};
}

LeaseMoment lease_moment_later(LeaseMoment a, LeaseMoment b)
{
    return (LeaseMoment){MAX(a.boot_ms, b.boot_ms), MAX(a.raw_ms, b.raw_ms)};
}

gint64 lease_left_ms(LeaseMoment m, LeaseMoment now)
{
    return MIN(m.boot_ms - now.boot_ms, m.raw_ms - now.raw_ms);
}

gboolean lease_is_over(LeaseMoment m, LeaseMoment now)
{
    return now.boot_ms >= m.boot_ms && now.raw_ms >= m.raw_ms;
}

gboolean lease_times(gint64 countdown_ms, LeaseTimes *ret_times, GError **error)
{
    gint64 grant_ms = countdown_ms - LEASE_RESERVE_MS;

    if (countdown_ms < LEASE_COUNTDOWN_MIN_MS) {
        g_set_error(error, US_ERROR, US_ERROR_USAGE,
                    "countdown: %" G_GINT64_FORMAT
                    " ms are too short to switch over automatically; at least %d ms",
                    countdown_ms, LEASE_COUNTDOWN_MIN_MS);
        return FALSE;
    }
    *ret_times = (LeaseTimes){
        .grant_ms = grant_ms,
        .lease_ms = grant_ms * SLOW / FAST - ROUNDING_MS,
        .renew_ms = MIN(grant_ms / 5, RENEW_MAX_MS),
    };
    return TRUE;
}

LeaseQuorum lease_quorum(guint voters)
{
    guint promises = voters / 2 + 1;

    g_assert(voters >= 1 && voters <= LEASE_VOTERS_MAX);
    return (LeaseQuorum){voters, promises, voters + 1 - promises};
}

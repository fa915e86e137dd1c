/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/store/retention.h"

#define HOUR_MS (3600 * (gint64)1000)

static gint64 hour_of(gint64 at_ms)
{
    return at_ms >= 0 ? at_ms / HOUR_MS : (at_ms - HOUR_MS + 1) / HOUR_MS;
}

/* The oldest of its hour stands for it: a point that was kept once does not give way to a
 * later one before its time is over. Clocks jump, so "oldest" is by order. */
static gboolean stands_for_hour(const RetentionPoint *points, guint i)
{
    return i == 0 || hour_of(points[i - 1].at_ms) != hour_of(points[i].at_ms);
}

static gboolean is_kept(RetentionPolicy policy, const RetentionPoint *points, guint n, guint i)
{
    gint64 newest_hour = hour_of(points[n - 1].at_ms);

    if (n - i <= MAX(policy.newest, 1) || points[i].pinned || points[i].held || points[i].children > 1)
        return TRUE;
    return hour_of(points[i].at_ms) >= newest_hour - (gint64)policy.hours + 1 && stands_for_hour(points, i);
}

gboolean retention_next(RetentionPolicy policy, const RetentionPoint *points, guint n,
                        RetentionMerge *ret_merge)
{
    guint first = 0;
    guint end;

    while (first < n && is_kept(policy, points, n, first))
        first++;
    if (first == n)
        return FALSE;
    end = first + 1;
    while (end - first < RETENTION_MAX_RANGE && !is_kept(policy, points, n, end))
        end++;
    /* The tip is always kept, so @end is a point. */
    *ret_merge = (RetentionMerge){.first = first, .survivor = end};
    return TRUE;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/store/retention.h"

#define HOUR_MS (3600 * (gint64)1000)
#define DAY_MS (24 * HOUR_MS)

/* The first of its kind began at @first_ms: 1970 did on a Thursday. */
typedef struct {
    gint64 len_ms;
    gint64 first_ms;
} Span;

static const Span HOUR = {HOUR_MS, 0};
static const Span DAY = {DAY_MS, 0};
static const Span WEEK = {7 * DAY_MS, -3 * DAY_MS};

static gint64 span_of(Span span, gint64 at_ms)
{
    gint64 ms = at_ms - span.first_ms;

    return ms >= 0 ? ms / span.len_ms : (ms + 1) / span.len_ms - 1;
}

/* The oldest of its span stands for it: a point that was kept once does not give way to a
 * later one before its time is over. Clocks jump, so "oldest" is by order. */
static gboolean stands_for(Span span, const RetentionPoint *points, guint i)
{
    return i == 0 || span_of(span, points[i - 1].at_ms) != span_of(span, points[i].at_ms);
}

/* From the newest on, so that a clock that jumps about makes no more of them than @count. */
static void keep_spans(Span span, guint count, const RetentionPoint *points, guint n, gboolean *kept)
{
    gint64 before = span_of(span, points[n - 1].at_ms) - (gint64)count;

    for (guint i = n; i-- > 0 && count > 0;)
        if (span_of(span, points[i].at_ms) > before && stands_for(span, points, i)) {
            kept[i] = TRUE;
            count--;
        }
}

/* For each point whether it is kept; the caller frees. */
static gboolean *kept_of(RetentionPolicy policy, const RetentionPoint *points, guint n)
{
    gboolean *kept = g_new0(gboolean, n);

    for (guint i = 0; i < n; i++)
        kept[i] = n - i <= MAX(policy.newest, 1) || points[i].pinned || points[i].children > 1;
    keep_spans(HOUR, policy.hours, points, n, kept);
    keep_spans(DAY, policy.days, points, n, kept);
    keep_spans(WEEK, policy.weeks, points, n, kept);
    return kept;
}

gboolean retention_next(RetentionPolicy policy, const RetentionPoint *points, guint n,
                        RetentionMerge *ret_merge)
{
    g_autofree gboolean *kept = kept_of(policy, points, n);
    guint first = 0;
    guint end;

    while (first < n && kept[first])
        first++;
    if (first == n)
        return FALSE;
    end = first + 1;
    while (end - first < RETENTION_MAX_RANGE && !kept[end])
        end++;
    /* The tip is always kept, so @end is a point. */
    *ret_merge = (RetentionMerge){.first = first, .survivor = end};
    return TRUE;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* retention - which recovery points are kept, and what is merged next.
 *
 * Pure. Kept are: the newest N; then the oldest of each full hour, day and week (UTC, from
 * Monday), for so many of each; what is pinned. Spans are counted back
 * from the newest point, not from the clock: a standby that hears nothing forgets nothing. However
 * clocks jump, never more points are kept for a kind of span than were asked for. */
#pragma once

#include <glib.h>

typedef struct {
    guint newest; /* at least 1 */
    guint hours;
    guint days;
    guint weeks;
} RetentionPolicy;

#define RETENTION_DEFAULT ((RetentionPolicy){.newest = 24, .hours = 24})

typedef struct {
    gint64 at_ms; /* when it was sealed, wall clock */
    gboolean pinned;
    guint children; /* points and branches that stand on it */
} RetentionPoint;

/* Points @first … @survivor - 1 are withdrawn, and @survivor is read from the file of @first. */
typedef struct {
    guint first;
    guint survivor;
} RetentionMerge;

/* At most so many points are withdrawn at a time. */
#define RETENTION_MAX_RANGE 8

/* The lowest range of @points (at least one; oldest first, the last one is the tip) that
 * should be merged now; FALSE if there is none. Never the tip, nothing pinned, nothing with more than one child. */
gboolean retention_next(RetentionPolicy policy, const RetentionPoint *points, guint n,
                        RetentionMerge *ret_merge);

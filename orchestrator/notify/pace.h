/* SPDX-License-Identifier: Apache-2.0 */
/* pace - when a channel may send: its rate, its pauses after a failure, and for how long it has failed.
 *
 * Pure: every time is steady and comes in. What must survive a restart goes out and in as wall times, since a steady
 * clock means nothing after a boot; a wall clock that was set back or forth can only shorten what is remembered. */
#pragma once

#include <glib.h>
#include <jansson.h>

typedef struct {
    gint64 window_ms;      /* the rate's: an hour */
    gint64 first_pause_ms; /* after a failure; then twice as long each time */
    gint64 longest_pause_ms;
    gint64 long_ms; /* failing for so long is news */
} PaceSettings;

typedef struct {
    PaceSettings settings;
    guint rate;         /* messages in a window; 0: no limit */
    GArray *sent;       /* gint64: when, those of the last window, oldest first */
    gint64 pause_ms;    /* the last one */
    gint64 next_try_ms; /* not before */
    gint64 failing_since_ms;
    gboolean failing;
} Pace;

void pace_init(Pace *p, const PaceSettings *settings, guint rate);
void pace_clear(Pace *p);

/* How many messages may be sent now: G_MAXUINT without a limit. */
guint pace_allowed(Pace *p, gint64 now_ms);
/* When that is more than none again, or @now_ms. */
gint64 pace_free_ms(Pace *p, gint64 now_ms);

/* It was delivered, resp. not: then not before p->next_try_ms again. */
void pace_sent(Pace *p, gint64 now_ms);
void pace_failed(Pace *p, gint64 now_ms);
/* Whatever the pause, try now. */
void pace_retry(Pace *p);
/* Does it fail for so long that this is news? */
gboolean pace_is_long(const Pace *p, gint64 now_ms);

/* {"sent": [wall ms…], "failing_since": wall ms or null} and back; what is no such document counts as nothing sent. */
json_t *pace_to_json(const Pace *p, gint64 now_ms, gint64 wall_ms);
void pace_from_json(Pace *p, const json_t *doc, gint64 now_ms, gint64 wall_ms);

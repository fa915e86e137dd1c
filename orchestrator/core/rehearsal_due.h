/* SPDX-License-Identifier: Apache-2.0 */
/* rehearsal_due - is it time for a scenario's integrity test, as its properties `test` and `test_zone` say?
 *
 * Pure. One time is one test: those that came while nobody looked are not made up for, but the last hour's once. */
#pragma once

#include "orchestrator/core/policy.h"

#define REHEARSAL_LATE_MS ((gint64)3600 * 1000)

typedef struct {
    gint64 from_ms;  /* wall: what came until then is done */
    gint64 next_ms;  /* wall; CALENDAR_NEVER: there is none */
    gint64 seen_ms;  /* wall: when it was last looked */
    gint64 until_ms; /* wall: who takes one that has come tries until then; 0: there is none */
    char *of;        /* the properties that it is of; NULL: it was not looked at yet */
} RehearsalDue;

/* Times until @from_wall_ms are done. */
RehearsalDue *rehearsal_due_new(gint64 from_wall_ms);
void rehearsal_due_free(gpointer due);

/* TRUE once for each time that has come. With other properties it is waited for their next time; so it is when the clock was put back by
 * more than an hour, or what it had shown would keep tests away until it shows that again. FALSE with @error: a time is
 * passed over that is more than an hour ago (TIMEOUT), or this machine does not know the zone (NOT_FOUND; said once). */
gboolean rehearsal_due_step(RehearsalDue *d, const Policy *policy, gint64 now_wall_ms, GError **error);

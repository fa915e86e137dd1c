/* SPDX-License-Identifier: Apache-2.0 */
/* timetable - integrity tests that begin by themselves, when their scenarios' properties say so.
 *
 * A hold does not keep them from it: they touch no guest. What a test is refused for when it is begun by hand passes its time
 * over, and an event says why. Loop thread only. */
#pragma once

#include "orchestrator/events.h"
#include "orchestrator/rehearsals.h"
#include "orchestrator/scenarios.h"

typedef struct Timetable Timetable;

/* As rehearsals_start(), and refused while a plan of @scenario runs. */
typedef gboolean (*TimetableBegin)(void *user, const char *scenario, const RehearsalWish *wish,
                                   RehearsalsDone done, void *done_user, GError **error);

/* All borrowed. @user of @begin. */
Timetable *timetable_new(Scenarios *scenarios, Events *events, TimetableBegin begin, void *user);
/* The newest tests that @db has, before database_start(); of scenarios that are loaded. CORRUPT, IO. */
gboolean timetable_load(Timetable *t, Database *db, GError **error);

/* About once a second. */
void timetable_tick(Timetable *t, gint64 now_wall_ms);
/* Wall, ms; CALENDAR_NEVER: none. */
gint64 timetable_next(const Timetable *t, const char *scenario);

/* After rehearsals_free(). */
void timetable_free(Timetable *t);

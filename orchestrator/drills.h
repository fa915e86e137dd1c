/* SPDX-License-Identifier: Apache-2.0 */
/* drills - the drills of whole hosts (orchestrator/core/drill.h) that run and have run; `understudy drill` for their users.
 *
 * A drill's row, with the ids that its tests will have, is durable before the first of them is begun. A controller that restarts
 * asks what became of each: one that it had not begun is missed. Loop thread only. */
#pragma once

#include "orchestrator/events.h"
#include "orchestrator/rehearsals.h"
#include "orchestrator/scenarios.h"
#include "orchestrator/timetable.h"

#define DRILLS_KEPT 50 /* the newest, of all */

typedef struct Drills Drills;

/* All borrowed. @user of @begin, which begins a scenario's test as if it were asked for by hand. */
Drills *drills_new(Database *db, Scenarios *scenarios, Rehearsals *rehearsals, Events *events,
                   TimetableBegin begin, void *user);
/* What the database has, before database_start(). CORRUPT, IO. */
gboolean drills_load(Drills *d, GError **error);

/* Begin one of @host. @done once, never before this returns: its document when it is durable, and the tests are being begun. FALSE
 * with @error: NOT_FOUND, there is no scenario of its; BUSY, one of it runs. */
gboolean drills_start(Drills *d, const char *host, RehearsalsDone done, void *user, GError **error);
/* End those of its tests that run; one whose engine does not answer is waited for no more. FALSE with @error NOT_FOUND: no such drill runs. */
gboolean drills_stop(Drills *d, Id drill, GError **error);

/* {"drills": […]}, newest first. Both: @done once, never before this returns. */
void drills_list(Drills *d, RehearsalsDone done, void *user);
/* NOT_FOUND. */
void drills_show(Drills *d, Id drill, RehearsalsDone done, void *user);

/* About once a second. */
void drills_tick(Drills *d);
/* Nothing is asked any more. */
void drills_close(Drills *d);
/* After rehearsals_free() and the database's close. */
void drills_free(Drills *d);

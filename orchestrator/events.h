/* SPDX-License-Identifier: Apache-2.0 */
/* events - where an event gets its number, its time, its line in the log and its place
 * in the database, how long it stays there, and how a client waits for the next one. Loop thread only.
 *
 * What finds no room in the database waits in memory, the newest EVENTS_UNKEPT_MAX, and is tried again each ten seconds, the oldest alone first, with another
 * number and the time it was of: who reads on from the last number he knows misses none. */
#pragma once

#include "orchestrator/core/event.h"
#include "orchestrator/state/database.h"

#define EVENTS_UNKEPT_MAX 10000

typedef struct Events Events;

/* What the history holds at most; what is older is forgotten with the next event. */
typedef struct {
    gint64 count;
    gint64 age_ms;
} EventsKept;

Events *events_new(Database *db, EventsKept kept);

void events_publish(Events *events, const Event *event);

/* Call @on_come whenever there are new ones in the database; one at a time, for good. */
void events_listen(Events *events, void (*on_come)(void *user), void *user);

/* @come: there may be a new one in the database. Else it is late, or the end. */
typedef void (*EventsWaiter)(void *user, gboolean come);

/* Called once, never before this returns. @until_ms: steady. */
void events_wait(Events *events, gint64 until_ms, EventsWaiter waiter, void *user);

/* About once a second: who has waited long enough is told so, and what could not be kept is tried again. */
void events_tick(Events *events, gint64 now_ms);

/* Tell all who wait that this is the end. */
void events_close(Events *events);
/* After the database's close. */
void events_free(Events *events);

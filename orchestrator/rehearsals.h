/* SPDX-License-Identifier: Apache-2.0 */
/* rehearsals - the integrity tests that run and have run; `understudy test` for their users.
 *
 * A row of a test is durable before its host's engine is told to begin, and its result and what was seen of it are before
 * an event tells and the engine is told to forget it. A controller that restarts goes on with those that have no end: the
 * engine, asked for the result, knows the test, or was restarted and removes what it left: then nothing was learned, and the
 * test was stopped. Loop thread only. */
#pragma once

#include "orchestrator/core/proofs.h"
#include "orchestrator/core/rehearsal_order.h"
#include "orchestrator/events.h"
#include "orchestrator/hosts.h"
#include "orchestrator/state/database.h"

#define REHEARSALS_KEPT 50     /* of each scenario, the newest */
#define REHEARSALS_LISTED 1000 /* at once */

typedef struct Rehearsals Rehearsals;

/* @doc is borrowed; NULL if @error. */
typedef void (*RehearsalsDone)(void *user, const json_t *doc, const GError *error);

/* All borrowed. */
Rehearsals *rehearsals_new(Database *db, Hosts *hosts, Events *events);
/* What the database has, before database_start(). CORRUPT, IO. */
gboolean rehearsals_load(Rehearsals *r, GError **error);

/* What tests have proven; borrowed, for as long as @r is there. */
const Proofs *rehearsals_proofs(const Rehearsals *r);

/* Have a test of @p begun. @done once, never before this returns: its document when its engine has begun, or why it has not.
 * FALSE with @error, and nothing was begun: what rehearsal_order() refuses, BUSY if one of that scenario runs. That no plan of
 * the scenario does is the caller's to know. */
gboolean rehearsals_start(Rehearsals *r, const Protection *p, const RehearsalWish *wish, RehearsalsDone done,
                          void *user, GError **error);

/* End the one that runs: its engine is told, and it ends within seconds. @done once, possibly before this returns: {"test"};
 * UNREACHABLE: it is told when it answers. FALSE with @error NOT_FOUND: none runs. */
gboolean rehearsals_stop(Rehearsals *r, const char *scenario, RehearsalsDone done, void *user,
                         GError **error);
/* The same by whoever has need of its VMs: said at once, and waited for by nobody. One that does not run is none. */
void rehearsals_end(Rehearsals *r, const char *scenario);
/* FALSE: its engine does not answer, and is told when it does. */
gboolean rehearsals_end_test(Rehearsals *r, Id test);
/* The scenario is deleted: its tests are forgotten, and one that runs is ended. */
void rehearsals_forget(Rehearsals *r, const char *scenario);

/* Is there still something to be done about it? */
gboolean rehearsals_is_open(const Rehearsals *r, Id test);
/* {"id", "host", "manual", "state"} of the one that runs; null: none. New reference. */
json_t *rehearsals_running(const Rehearsals *r, const char *scenario);

/* {"tests": […]}, newest first, without what is said of each VM but its verdict. @scenario NULL: of all. Each of the three:
 * @done once, never before this returns. */
void rehearsals_list(Rehearsals *r, const char *scenario, RehearsalsDone done, void *user);
/* As its engine has it (docs/protocol.md, test.result), with "host", "point": the one that was asked for, null for the newest of each VM,
 * and "waits": why nothing is heard of it, or null. NOT_FOUND. */
void rehearsals_show(Rehearsals *r, Id test, RehearsalsDone done, void *user);
/* {"png": base64 or null, "console": text or null}. NOT_FOUND. */
void rehearsals_evidence(Rehearsals *r, Id test, Id vm, RehearsalsDone done, void *user);

void rehearsals_host_is_up(Rehearsals *r, const char *host);
void rehearsals_news(Rehearsals *r, const char *host, const json_t *status);
/* About once a second. */
void rehearsals_tick(Rehearsals *r);

/* Nothing is asked any more. */
void rehearsals_close(Rehearsals *r);
/* When nothing can answer any more; who still waits for a beginning is told CANCELLED. */
void rehearsals_free(Rehearsals *r);

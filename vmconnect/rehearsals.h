/* SPDX-License-Identifier: Apache-2.0 */
/* rehearsals - the integrity tests that this engine runs, and what came of them.
 *
 * Owned by the loop. A test is begun when each of its VMs has a folder (remains.h) and a point that its keeper lends
 * (replicate/lending.h); from then on it runs by itself (rehearse/rehearsal.h). What came of it is kept in memory until it is forgotten,
 * or newer ones push it out: who asked for it keeps it. */
#pragma once

#include "vmconnect/loop/clerk.h"
#include "vmconnect/rehearse/remains.h"
#include "vmconnect/replicate/host_paths.h"
#include "vmconnect/roles.h"

#include <glib.h>
#include <jansson.h>
#include <uv.h>

typedef struct Rehearsals Rehearsals;

/* All borrowed. @vms_max as room_new(). @on_news: rehearsals_status() is another than before. */
Rehearsals *rehearsals_new(uv_loop_t *loop, const HostPaths *paths, const char *permit_dir, guint vms_max,
                           Policy *policy, void (*on_news)(void *user), void *user);
/* As soon as there are. */
void rehearsals_set(Rehearsals *r, Roles *roles, Clerk *clerk);

/* For remains_sweep(): whatever of this run is left stays. */
RemainsSite rehearsals_remains(const Rehearsals *r);

/* `test.start`. @on_answer once, possibly before this returns. @here: this engine's id. */
void rehearsals_start(Rehearsals *r, const json_t *params, const char *here, RolesAnswer on_answer,
                      void *user);
/* It ends, within seconds; one that is not there has. @why: for its result; NULL: somebody asked for it. */
void rehearsals_stop(Rehearsals *r, Id test, const char *why);
/* The one that tests @vm ends, because of @why. @done when it has, or at last after @limit_ms; possibly before this returns. */
void rehearsals_leave(Rehearsals *r, Id vm, const char *why, gint64 limit_ms, void (*done)(void *user),
                      void *user);

/* `test.result`, `test.evidence`; new references. NULL with @error NOT_FOUND. */
json_t *rehearsals_result(const Rehearsals *r, Id test, GError **error);
json_t *rehearsals_evidence(const Rehearsals *r, Id test, Id vm, GError **error);
/* One that runs stays. */
void rehearsals_forget(Rehearsals *r, Id test);

/* "tests" of `status`. New reference. */
json_t *rehearsals_status(const Rehearsals *r);

/* All end; @on_closed on the loop when they have. Then rehearsals_free(). */
void rehearsals_close(Rehearsals *r, void (*on_closed)(void *user), void *user);
void rehearsals_free(Rehearsals *r);

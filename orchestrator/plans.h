/* SPDX-License-Identifier: Apache-2.0 */
/* plans - the runner (run/runner.h) with its journal on a thread, hosts and scenarios.
 *
 * Loop thread only; the journal is read before the loop runs and written by a clerk. */
#pragma once

#include "orchestrator/fence.h"
#include "orchestrator/run/runner.h"
#include "orchestrator/scenarios.h"
#include "orchestrator/voice.h"

typedef struct Plans Plans;

/* Open the journal in @dir and read all of it; nothing is taken up yet. @hosts and
 * @scenarios are borrowed. A plan whose file cannot be read is left alone, and so is the
 * scenario it moves. NULL with @error if there is no journal. */
Plans *plans_new(uv_loop_t *loop, const char *dir, Id controller, guint64 incarnation, Hosts *hosts,
                 Scenarios *scenarios, GError **error);
/* Whose votes its plans need; borrowed, before anything is taken up. */
void plans_set_voice(Plans *plans, Voice *voice);
/* What makes certain that a host is off; borrowed. */
void plans_set_fences(Plans *plans, Fences *fences);

/* Take up what was read: when scenarios are loaded, before any host is up. */
void plans_resume(Plans *plans);

/* Call @on_calls before each call of a plan to an engine, with the scenario that it moves; one at a time, for good. */
void plans_listen(Plans *plans, void (*on_calls)(void *user, const char *scenario), void *user);

/* Run it, or go on by force with the one that has its id. @done when that is durable, or could not be
 * made so; never before this returns. FALSE with @error: BUSY. */
gboolean plans_start(Plans *plans, Plan *steal_plan, ScenariosDone done, void *user, GError **error);

/* Run the plan that moves the VMs of @p home, as `understudy switchback` does without options, and after the same look.
 * @done once, possibly before this returns: it has begun, or nothing is: what plan_switchover() refuses, VERIFY, BUSY,
 * CANCELLED if @p does not want home any more. */
void plans_switch_back(Plans *plans, const Protection *p, ScenariosDone done, void *user);

/* Run the plan that moves what is silent (protection_to_take_over()). If its active's engine answers, as plans_move(). If not, and its host has
 * a fence, that comes first: of a host that is off nobody waits for anything. Otherwise, and if the fence makes nothing certain, elected; but with
 * isolation=run not at all. Nobody switches a host off that is heard while guests may live on it. @done as plans_switch_back(). */
void plans_take_over(Plans *plans, const Protection *p, ScenariosDone done, void *user);

/* Does what was asked for before the look count still, after it? */
typedef gboolean (*PlansWanted)(const Protection *p, const PlanOptions *options);

/* The same of the VMs that @options name to where they say; they are copied, but for .running and .now_ms. @wanted NULL: it counts. */
void plans_move(Plans *plans, const Protection *p, const PlanOptions *options, PlansWanted wanted,
                ScenariosDone done, void *user);

/* All there are, to be looked at. */
const Runner *plans_runner(const Plans *plans);
/* runner_sign(). */
json_t *plans_sign(const Plans *plans, const json_t *params);

/* What it has parked comes back, if it is known, and not already. */
void plans_call_back(Plans *plans, Id plan);

void plans_link(Plans *plans, const char *host, gboolean up);
void plans_news(Plans *plans, const char *host, const json_t *status);
/* About once a second. */
void plans_tick(Plans *plans);

/* Nothing is begun any more; the journal's thread ends what it has. */
void plans_close(Plans *plans);
/* When nothing can answer any more. */
void plans_free(Plans *plans);

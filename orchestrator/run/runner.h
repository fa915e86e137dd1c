/* SPDX-License-Identifier: Apache-2.0 */
/* runner - carries plans out: what plan_step() wants done, in its order, through
 * a table of functions that the controller (or a test) gives.
 *
 * It owns the plans that run. Nothing in it blocks or waits: the functions
 * start something, and its end comes back by one of the calls below. An action
 * behind a PERSIST or a TELL waits until that one is durable. */
#pragma once

#include "orchestrator/core/plan.h"

#include <glib.h>
#include <jansson.h>

typedef struct {
    /* Send a request to an engine; the answer comes by runner_answer(). @params is
     * borrowed. Without an answer after @limit_ms: runner_answer() with TIMEOUT. */
    void (*call)(void *ctx, Id plan, const char *host, const char *method, Id vm, const json_t *params,
                 gint64 limit_ms);
    /* Append @record to the plan's journal; then runner_persisted(). */
    void (*persist)(void *ctx, Id plan, const json_t *record);
    /* Give @in to the scenario's protection; when what that wanted kept is durable: runner_told(). */
    void (*tell)(void *ctx, const Plan *plan, const Input *in);
    /* For the log: what was decided and why. */
    void (*note)(void *ctx, const Plan *plan, const char *text);
    /* The plan is over and durably so; it stays there to be looked at. */
    void (*ended)(void *ctx, const Plan *plan);
    gint64 (*now_ms)(void *ctx); /* steady */
} RunnerDuties;

typedef struct Runner Runner;

/* @controller and @incarnation (raised durably at each start of the controller)
 * go into every step of a plan. Engines do not decide by them: what an older controller
 * may still do they tell by the reign. */
Runner *runner_new(Id controller, guint64 incarnation, const RunnerDuties *duties, void *ctx);
void runner_free(Runner *r);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Runner, runner_free)

/* @params with who commands: {"controller", "incarnation"} added. The runner's steps
 * are; a protection's plan.unlock is sent through this, too. New reference. */
json_t *runner_sign(const Runner *r, const json_t *params);

/* Take @steal_plan and run it. BUSY if a plan of that scenario runs. */
gboolean runner_start(Runner *r, Plan *steal_plan, GError **error);

/* Go on with the one that has @forced's id as that says (plan_switchover()). BUSY if it is not to be
 * done this moment. */
gboolean runner_force(Runner *r, const Plan *forced, GError **error);

/* PLAN_CALL_BACK for a plan that runs. */
void runner_call_back(Runner *r, Id plan);

/* Take @steal_plan up after a restart, with its scenario's protection (NULL: there is none
 * any more). Plans that are over are kept to be looked at, others go on as soon as their
 * engines answer. A protection whose plan does not run afterwards hears of no end any
 * more: give it INPUT_PLAN_ENDED. */
void runner_resume(Runner *r, Plan *steal_plan, const Protection *p);

/* Run @steal_plan, which plan_orphan() has made, in the place of what is known of it. BUSY as runner_start(), or if
 * it has come to its end: who says otherwise has not heard of it yet. */
gboolean runner_take_up(Runner *r, Plan *steal_plan, GError **error);

/* The end of a call: @result, or @failure if there is none. */
void runner_answer(Runner *r, Id plan, const char *method, Id vm, const json_t *result,
                   const GError *failure);
/* @failure NULL: it is durable. */
void runner_persisted(Runner *r, Id plan, const GError *failure);
void runner_told(Runner *r, Id plan);
void runner_link(Runner *r, const char *host, gboolean up);
/* What @host says, its `status` document. */
void runner_news(Runner *r, const char *host, const json_t *status);
/* About once a second. */
void runner_tick(Runner *r);

/* Has it an end to tell yet? */
gboolean runner_runs(const Runner *r, Id plan);
/* Borrowed; NULL if unknown. By id, or the one that runs for a scenario. */
const Plan *runner_find(const Runner *r, Id plan);
const Plan *runner_find_running(const Runner *r, const char *scenario);
/* All of them, oldest first: Plan *, borrowed; the caller frees the array. */
GPtrArray *runner_list(const Runner *r);

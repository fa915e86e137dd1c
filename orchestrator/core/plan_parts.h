/* SPDX-License-Identifier: Apache-2.0 */
/* plan_parts - what the files of plan share, and nobody else uses. */
#pragma once

#include "orchestrator/core/plan.h"
#include "vmconnect/base/error.h"

Plan *plan_new(Id id, const char *scenario, const char *from, const char *to);
Move *plan_add_move(Plan *plan, Id vm, const char *name, Reign reign);

/* FALSE, with @error set. */
gboolean plan_refuse(GError **error, UsError code, const char *format, ...) G_GNUC_PRINTF(3, 4);
/* Do those that are needed answer, and by force, is the other one silent? */
gboolean plan_check_engines(const Protection *p, const Plan *plan, GError **error);
/* Can it be taken without its active's help, from @point (nil: the newest)? */
gboolean plan_check_forced_vm(const ProtectionVm *vm, const char *to, Id point, GError **error);
void plan_set_times(Plan *plan, const Policy *policy);
/* How long votes for another reign may take; 0: there are none. */
gint64 plan_votes_ms(const Protection *p);
/* What its release would have said of the VM, as far as it is known. */
void plan_force_move(const ProtectionVm *vm, const Plan *plan, gint64 now_ms, Move *m);
/* plan_switchover() by force, with one running. */
Plan *plan_switchover_running(const Protection *p, const PlanOptions *options, GError **error);

/* The step that a sub-plan is at in this state; STEP_COUNT: at none. */
StepKind move_step(MoveState state);

/* Records for the journal; new references. */
json_t *plan_record_begin(const Plan *plan);
json_t *plan_record_intent(const Move *m, StepKind step);
json_t *plan_record_over(const Move *m);
json_t *plan_record_end(void);
json_t *plan_record_called(void);
json_t *plan_record_forced(const Plan *forced);

const char *step_method(StepKind step);
gint64 step_limit_ms(const Plan *plan, StepKind step);

/* ---- one call of plan_step() ---- */

#define PLAN_READ_AGAIN_MS 1000
#define PLAN_TRY_AGAIN_MS 10000
#define PLAN_ASK_AGAIN_MS 500

typedef struct {
    Plan *plan;
    gint64 now_ms;
    ActionList *out;
} Turn;

#define EACH_MOVE(plan, m)                            \
    for (guint i_ = 0; i_ < (plan)->moves->len; i_++) \
        for (Move *m = (plan)->moves->pdata[i_]; m; m = NULL)

/* The parameters of a step's call; new reference. */
json_t *plan_params(const Plan *plan, const Move *m, StepKind step);
/* No answer, or a clear no. */
gboolean plan_is_silence(const GError *failure);
const char *step_host(const Plan *plan, StepKind step);
/* Nobody was asked to release it. */
gboolean move_is_forced(const Move *m);
void move_set_why(Move *m, const char *why);

/* Wishes: a record (nothing once the journal is lost), news for the protection, a step's call. */
void plan_keep(Turn *t, json_t *steal_record);
Input *plan_tell(Turn *t, InputKind kind, const Move *m, const char *host, const char *why);
void plan_tell_end(Turn *t, const Move *m, gboolean unlocked);
void plan_call(Turn *t, Move *m, StepKind step);

/* Move along an edge, and do what the new state asks for. */
void plan_enter(Turn *t, Move *m, MoveState to);
void plan_end_if_over(Turn *t);
void plan_on_force(Turn *t, const Plan *forced);
/* Once, of a plan that parks. @why: for the log. */
void plan_call_back(Turn *t, const char *why);
/* It is promoted (once more). By force, and with the old active back, that one ends its part first. */
void plan_promote(Turn *t, Move *m);
void plan_yielded(Turn *t, Move *m, const json_t *result, const GError *failure);
/* It is asked of the voters (once more), or was answered. */
void plan_elect(Turn *t, Move *m);
void plan_not_elected(Turn *t, Move *m, const GError *failure);
/* The standby does not start it, or must not yet: said once, and tried again. */
void plan_blocked(Turn *t, Move *m, const char *why);
/* As many of those that wait as there is room for, and whose turn it is. FALSE: nobody. */
gboolean plan_begin_more(Turn *t);

/* At the end of each step: whoever waited and need not any more goes on, and the plan ends. */
void plan_go_on(Turn *t);
/* Must others be there before it is started? Must others be off before it is shut down: the first of them, or NULL. */
gboolean move_is_held(const Move *m);
const Move *move_first_behind(const Move *m);
/* Are others off until it is there? */
gboolean plan_waits_on(const Plan *plan, const Move *m);
/* For people: whom it waits for, and what. NULL: for nobody. The caller frees. */
char *plan_waits_for(const Plan *plan, const Move *m);

/* How a step went: done, denied or unanswered, or its engine known to be silent. */
void plan_step_worked(Turn *t, Move *m, StepKind step, const json_t *result);
void plan_step_failed(Turn *t, Move *m, StepKind step, const GError *failure);
void plan_without_engine(Turn *t, Move *m, StepKind step);
/* What the plan needs from a step's result; FALSE if it is not there. */
gboolean plan_take_result(Turn *t, Move *m, StepKind step, const json_t *result);

/* Ask the active for plan.state if its link is up; take what it says. Of a VM that was promoted by hand the one question
 * is whether it was released. */
void plan_read(Turn *t, Move *m);
void plan_was_read(Turn *t, Move *m, const json_t *state);

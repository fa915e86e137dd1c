/* SPDX-License-Identifier: Apache-2.0 */
/* plan_parts - what the files of plan share, and nobody else uses. */
#pragma once

#include "orchestrator/core/plan.h"

Plan *plan_new(Id id, const char *scenario, const char *from, const char *to);
Move *plan_add_move(Plan *plan, Id vm, const char *name, Reign reign);

/* The step that a sub-plan is at in this state; STEP_COUNT: at none. */
StepKind move_step(MoveState state);

/* Records for the journal; new references. */
json_t *plan_record_begin(const Plan *plan);
json_t *plan_record_intent(const Move *m, StepKind step);
json_t *plan_record_over(const Move *m);
json_t *plan_record_end(void);

const char *step_method(StepKind step);
gint64 step_limit_ms(const Plan *plan, StepKind step);

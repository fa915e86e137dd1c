/* SPDX-License-Identifier: Apache-2.0 */
/* READING: what the active's plan.state says, and where the sub-plan goes on from there. */
#include "orchestrator/core/plan_parts.h"

#define READ_LIMIT_MS 10000

void plan_read(Turn *t, Move *m)
{
    if (!t->plan->from_up) {
        /* What runs on the standby does not wait until its link is back. */
        if (m->by_hand.number)
            plan_enter(t, m, MOVE_MOVED);
        return;
    }
    m->asked = TRUE;
    action_call(t->out, t->plan->from, "plan.state", m->vm, READ_LIMIT_MS,
                json_pack("{s:s, s:s}", "plan", ID_TEXT(t->plan->id), "vm", ID_TEXT(m->vm)));
}

typedef enum {
    DONE_NONE,
    DONE_LOCK,
    DONE_SHUTDOWN,
    DONE_FINAL,
    DONE_PARK,
    DONE_RELEASE,
    DONE_UNLOCK,
    DONE_ROLLBACK,
    DONE_COUNT
} Done;

static const struct {
    const char *word;
    guint steps;    /* of the plan that are completed */
    MoveState next; /* where it goes on, if nothing is in the way */
} DONE[DONE_COUNT] = {
    [DONE_NONE] = {"none", 0, MOVE_LOCKING},
    [DONE_LOCK] = {"lock", STEP_LOCK + 1, MOVE_SHUTTING_DOWN},
    [DONE_SHUTDOWN] = {"shutdown", STEP_SHUTDOWN + 1, MOVE_FINISHING},
    [DONE_FINAL] = {"final", STEP_FINAL + 1, MOVE_RELEASING},
    [DONE_PARK] = {"park", STEP_PARK + 1, MOVE_PARKED},
    [DONE_RELEASE] = {"release", STEP_RELEASE + 1, MOVE_PROMOTING},
    [DONE_UNLOCK] = {"unlock", STEP_UNLOCK + 1, MOVE_MOVED},
    [DONE_ROLLBACK] = {"rollback", 0, MOVE_STAYED},
};

/* DONE_COUNT: not sound, or still at work; ask again. */
static Done done_of(const json_t *state)
{
    const char *word = json_string_value(json_object_get(state, "done"));

    if (!json_is_null(json_object_get(state, "doing")))
        return DONE_COUNT;
    for (Done d = 0; d < DONE_COUNT; d++)
        if (g_strcmp0(word, DONE[d].word) == 0)
            return d;
    return DONE_COUNT;
}

static const char *error_of(const json_t *state)
{
    return json_string_value(json_object_get(json_object_get(state, "error"), "text"));
}

/* Final and release left something behind that the next steps need. */
static gboolean take_papers(Turn *t, Move *m, Done done, const json_t *state)
{
    if ((done != DONE_FINAL && done != DONE_PARK && done != DONE_RELEASE) || t->plan->alone)
        return TRUE;
    return plan_take_result(t, m, STEP_FINAL, state) &&
           (done != DONE_RELEASE || plan_take_result(t, m, STEP_RELEASE, state));
}

/* The active kept the guest, or lost it. */
static void rolled_back(Turn *t, Move *m, const char *error)
{
    if (error)
        move_set_why(m, error);
    else if (!m->why && !t->plan->called)
        move_set_why(m, "the active rolled back by itself at the plan's deadline");
    plan_enter(t, m, error ? MOVE_DOWN : MOVE_STAYED);
}

static void roll_back(Turn *t, Move *m, Done done, const char *error)
{
    m->rolling = TRUE;
    if (!m->why)
        move_set_why(m, error);
    plan_enter(t, m, done == DONE_NONE ? MOVE_STAYED : MOVE_ROLLING_BACK);
}

static MoveState next_of(const Plan *plan, Done done)
{
    Done last = plan->alone ? DONE_SHUTDOWN : DONE_FINAL;

    return plan->parks && done == last ? MOVE_PARKING : DONE[done].next;
}

void plan_was_read(Turn *t, Move *m, const json_t *state)
{
    Done done = done_of(state);
    const char *error = error_of(state);

    m->asked = FALSE;
    m->next_at_ms = t->now_ms + PLAN_READ_AGAIN_MS;
    if (done == DONE_COUNT || !take_papers(t, m, done, state))
        return;
    m->done = DONE[done].steps;
    if (m->by_hand.number && (done < DONE_RELEASE || done == DONE_ROLLBACK))
        plan_enter(t, m, MOVE_MOVED);
    else if (done == DONE_ROLLBACK)
        rolled_back(t, m, error);
    else if (done < DONE_RELEASE && (m->rolling || error))
        roll_back(t, m, done, error);
    else if (t->plan->called && done < DONE_PARK)
        roll_back(t, m, done, NULL);
    else
        plan_enter(t, m, next_of(t->plan, done));
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The happy path is the table FLOW, top to bottom. Failures: before release a
 * clear no from the engine is rolled back; a missing answer, at any step, is
 * READ from the active; after release the standby is asked until it runs.
 * Every intention is an ACTION_PERSIST in front of its call. */
#include "orchestrator/core/plan_parts.h"
#include "vmconnect/base/error.h"

#define READ_LIMIT_MS 10000
#define READ_AGAIN_MS 1000
#define TRY_AGAIN_MS 10000

static const struct {
    MoveState at;
    MoveState done;   /* after the step's success */
    MoveState denied; /* after the engine's clear no */
} FLOW[STEP_COUNT] = {
    [STEP_LOCK] = {MOVE_LOCKING, MOVE_SHUTTING_DOWN, MOVE_STAYED},
    [STEP_SHUTDOWN] = {MOVE_SHUTTING_DOWN, MOVE_FINISHING, MOVE_ROLLING_BACK},
    [STEP_FINAL] = {MOVE_FINISHING, MOVE_RELEASING, MOVE_ROLLING_BACK},
    [STEP_RELEASE] = {MOVE_RELEASING, MOVE_PROMOTING, MOVE_READING},
    [STEP_PROMOTE] = {MOVE_PROMOTING, MOVE_UNLOCKING, MOVE_BLOCKED},
    [STEP_UNLOCK] = {MOVE_UNLOCKING, MOVE_MOVED, MOVE_MOVED},
    [STEP_ROLLBACK] = {MOVE_ROLLING_BACK, MOVE_STAYED, MOVE_READING},
};

typedef struct {
    Plan *plan;
    gint64 now_ms;
    ActionList *out;
} Turn;

static void enter(Turn *t, Move *m, MoveState to);
static void blocked(Turn *t, Move *m, const char *why);

#define EACH_MOVE(plan, m)                            \
    for (guint i_ = 0; i_ < (plan)->moves->len; i_++) \
        for (Move *m = (plan)->moves->pdata[i_]; m; m = NULL)

static void keep(Turn *t, json_t *steal_record)
{
    if (t->plan->journal_lost)
        json_decref(steal_record);
    else
        action_persist(t->out, steal_record);
}

static Input *tell(Turn *t, InputKind kind, const Move *m, const char *host, const char *why)
{
    Input *in = g_new0(Input, 1);

    in->kind = kind;
    in->plan = t->plan->id;
    in->vm = m ? m->vm : ID_NIL;
    in->host = g_strdup(host);
    in->why = g_strdup(why);
    action_tell(t->out, in);
    return in;
}

static void tell_end(Turn *t, const Move *m, gboolean unlocked)
{
    Input *in;

    if (m->state == MOVE_STAYED) {
        tell(t, INPUT_STAYED, m, NULL, m->why);
        return;
    }
    if (m->state == MOVE_DOWN) {
        tell(t, INPUT_DOWN, m, NULL, m->why);
        return;
    }
    in = tell(t, INPUT_MOVED, m, t->plan->to, NULL);
    in->reign = t->plan->next;
    in->unlocked = unlocked;
}

static void set_why(Move *m, const char *why)
{
    char *copy = g_strdup(why);

    g_free(m->why);
    m->why = copy;
}

static const char *host_of(const Plan *plan, StepKind step)
{
    return step == STEP_PROMOTE ? plan->to : plan->from;
}

static gboolean is_up(const Plan *plan, StepKind step)
{
    return step == STEP_PROMOTE ? plan->to_up : plan->from_up;
}

static json_t *params_of(const Plan *plan, const Move *m, StepKind step)
{
    json_t *params = json_pack("{s:s, s:s}", "plan", ID_TEXT(plan->id), "vm", ID_TEXT(m->vm));
    json_auto_t *more = NULL;

    if (step == STEP_LOCK)
        more = json_pack("{s:o, s:I}", "reign", reign_to_json(m->reign), "deadline_ms",
                         (json_int_t)plan->deadline_ms);
    else if (step == STEP_SHUTDOWN)
        more = json_pack("{s:I, s:b}", "timeout_ms", (json_int_t)plan->shutdown_timeout_ms, "power_off",
                         plan->power_off);
    else if (step == STEP_RELEASE)
        more = json_pack("{s:{s:s}, s:o}", "successor", "id", ID_TEXT(plan->to_id), "reign_next",
                         reign_to_json(plan->next));
    else if (step == STEP_PROMOTE)
        more = json_pack("{s:s, s:o, s:O}", "tip", ID_TEXT(m->tip), "reign_next", reign_to_json(plan->next),
                         "certificate", m->certificate);
    if (more)
        json_object_update(params, more);
    return params;
}

static void call(Turn *t, Move *m, StepKind step)
{
    keep(t, plan_record_intent(m, step));
    m->asked = TRUE;
    action_call(t->out, host_of(t->plan, step), step_method(step), m->vm, step_limit_ms(t->plan, step),
                params_of(t->plan, m, step));
}

static void read_active(Turn *t, Move *m)
{
    if (!t->plan->from_up)
        return; /* until its link is back */
    m->asked = TRUE;
    action_call(t->out, t->plan->from, "plan.state", m->vm, READ_LIMIT_MS,
                json_pack("{s:s, s:s}", "plan", ID_TEXT(t->plan->id), "vm", ID_TEXT(m->vm)));
}

static void end_if_over(Turn *t)
{
    EACH_MOVE (t->plan, m)
        if (!move_is_over(m))
            return;
    tell(t, INPUT_PLAN_ENDED, NULL, t->plan->to, NULL);
    keep(t, plan_record_end());
    t->plan->ended = TRUE;
}

static void over(Turn *t, Move *m, gboolean unlocked)
{
    tell_end(t, m, unlocked);
    keep(t, plan_record_over(m));
    end_if_over(t);
}

/* The engine of the step's host is known to be silent: what then? */
static void without_engine(Turn *t, Move *m, StepKind step)
{
    g_autofree char *why = g_strdup_printf("%s does not answer", host_of(t->plan, step));

    if (step == STEP_UNLOCK) {
        enter(t, m, MOVE_MOVED);
        return;
    }
    if (step == STEP_PROMOTE) {
        blocked(t, m, why);
        return;
    }
    enter(t, m, MOVE_READING);
}

static void enter(Turn *t, Move *m, MoveState to)
{
    const StateEdge *edge = state_may_move(move_machine(), m->state, to);
    gboolean unlocked = m->done == STEP_UNLOCK + 1;
    StepKind step = move_step(to);

    g_assert(edge);
    action_log(t->out, g_strdup_printf("%s %s: %s", m->name, move_state_name(to), edge->reason));
    m->state = to;
    m->asked = FALSE;
    m->next_at_ms = t->now_ms + (to == MOVE_READING ? READ_AGAIN_MS : TRY_AGAIN_MS);
    if (move_is_over(m))
        over(t, m, unlocked);
    else if (to == MOVE_READING || to == MOVE_BLOCKED)
        return; /* until it is time, or a link is back */
    else if (is_up(t->plan, step))
        call(t, m, step);
    else
        without_engine(t, m, step);
}

/* What the plan needs from a step's result; FALSE if it is not there. */
static gboolean take_result(Turn *t, Move *m, StepKind step, const json_t *result)
{
    const char *tip = json_string_value(json_object_get(result, "tip"));
    json_t *certificate = json_object_get(result, "certificate");

    if (step == STEP_SHUTDOWN)
        m->off_at_ms = t->now_ms;
    if (step == STEP_PROMOTE)
        m->running_at_ms = t->now_ms;
    if (step == STEP_FINAL)
        return tip && id_parse(tip, &m->tip, NULL);
    if (step == STEP_RELEASE) {
        if (!certificate || json_is_null(certificate))
            return FALSE;
        json_decref(m->certificate);
        m->certificate = json_deep_copy(certificate);
    }
    return TRUE;
}

static void blocked(Turn *t, Move *m, const char *why)
{
    gboolean news = g_strcmp0(m->why, why) != 0;

    set_why(m, why);
    if (news)
        tell(t, INPUT_BLOCKED, m, t->plan->to, why);
    enter(t, m, MOVE_BLOCKED);
}

static gboolean is_silence(const GError *failure)
{
    return g_error_matches(failure, US_ERROR, US_ERROR_UNREACHABLE) ||
           g_error_matches(failure, US_ERROR, US_ERROR_TIMEOUT) ||
           g_error_matches(failure, US_ERROR, US_ERROR_CANCELLED);
}

/* No answer, or a clear no. */
static void failed(Turn *t, Move *m, StepKind step, const GError *failure)
{
    if (step == STEP_PROMOTE) {
        blocked(t, m, failure->message);
        return;
    }
    if (step == STEP_UNLOCK) {
        enter(t, m, MOVE_MOVED);
        return;
    }
    if (is_silence(failure) || FLOW[step].denied == MOVE_READING) {
        if (step == STEP_RELEASE && !is_silence(failure)) {
            set_why(m, failure->message);
            m->rolling = TRUE;
        }
        enter(t, m, MOVE_READING);
        return;
    }
    set_why(m, failure->message);
    m->rolling = TRUE;
    enter(t, m, FLOW[step].denied);
}

static void succeeded(Turn *t, Move *m, StepKind step, const json_t *result)
{
    if (!take_result(t, m, step, result)) {
        /* Its plan.state must say what its answer did not. */
        enter(t, m, MOVE_READING);
        return;
    }
    if (step != STEP_ROLLBACK)
        m->done = step + 1;
    enter(t, m, FLOW[step].done);
}

typedef enum {
    DONE_NONE,
    DONE_LOCK,
    DONE_SHUTDOWN,
    DONE_FINAL,
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
    if (done != DONE_FINAL && done != DONE_RELEASE)
        return TRUE;
    return take_result(t, m, STEP_FINAL, state) &&
           (done == DONE_FINAL || take_result(t, m, STEP_RELEASE, state));
}

/* The active kept the guest, or lost it. */
static void rolled_back(Turn *t, Move *m, const char *error)
{
    if (error)
        set_why(m, error);
    else if (!m->why)
        set_why(m, "the active rolled back by itself at the plan's deadline");
    enter(t, m, error ? MOVE_DOWN : MOVE_STAYED);
}

static void roll_back(Turn *t, Move *m, Done done, const char *error)
{
    m->rolling = TRUE;
    if (!m->why)
        set_why(m, error);
    enter(t, m, done == DONE_NONE ? MOVE_STAYED : MOVE_ROLLING_BACK);
}

static void was_read(Turn *t, Move *m, const json_t *state)
{
    Done done = done_of(state);
    const char *error = error_of(state);

    m->asked = FALSE;
    m->next_at_ms = t->now_ms + READ_AGAIN_MS;
    if (done == DONE_COUNT || !take_papers(t, m, done, state))
        return;
    m->done = DONE[done].steps;
    if (done == DONE_ROLLBACK)
        rolled_back(t, m, error);
    else if (done < DONE_RELEASE && (m->rolling || error))
        roll_back(t, m, done, error);
    else
        enter(t, m, DONE[done].next);
}

static void on_answer(Turn *t, const PlanEvent *ev)
{
    Move *m = plan_find(t->plan, ev->vm);
    StepKind step = m ? move_step(m->state) : STEP_COUNT;

    if (!m || !m->asked)
        return;
    if (m->state == MOVE_READING && g_str_equal(ev->method, "plan.state")) {
        was_read(t, m, ev->result);
        return;
    }
    if (step == STEP_COUNT || !g_str_equal(ev->method, step_method(step)))
        return;
    if (ev->failure)
        failed(t, m, step, ev->failure);
    else
        succeeded(t, m, step, ev->result);
}

static void on_begin(Turn *t)
{
    tell(t, INPUT_PLAN_BEGUN, NULL, t->plan->to, NULL);
    keep(t, plan_record_begin(t->plan));
    EACH_MOVE (t->plan, m)
        tell(t, INPUT_MOVING, m, NULL, NULL);
    EACH_MOVE (t->plan, m)
        enter(t, m, MOVE_LOCKING);
}

static gboolean can_take_up(const Plan *plan, const Move *m)
{
    return m->state == MOVE_WAITING && (m->certificate ? plan->to_up : plan->from_up);
}

static void take_up(Turn *t, Move *m)
{
    enter(t, m, m->certificate ? MOVE_PROMOTING : MOVE_READING);
}

/* The protection may not have heard how it ended: it is told again. */
static void on_resume(Turn *t)
{
    tell(t, INPUT_PLAN_BEGUN, NULL, t->plan->to, NULL);
    EACH_MOVE (t->plan, m)
        if (move_is_over(m))
            tell_end(t, m, m->done == STEP_UNLOCK + 1);
        else
            tell(t, INPUT_MOVING, m, NULL, NULL);
    EACH_MOVE (t->plan, m)
        if (can_take_up(t->plan, m))
            take_up(t, m);
        else
            m->next_at_ms = t->now_ms + TRY_AGAIN_MS; /* links need a moment after a start */
    if (!t->plan->ended)
        end_if_over(t);
}

static void on_link(Turn *t, const char *host, gboolean up)
{
    gboolean from = g_str_equal(host, t->plan->from);

    if (from)
        t->plan->from_up = up;
    else if (g_str_equal(host, t->plan->to))
        t->plan->to_up = up;
    else
        return;
    EACH_MOVE (t->plan, m) {
        StepKind step = move_step(m->state);

        if (can_take_up(t->plan, m)) {
            take_up(t, m);
        } else if (from && m->state == MOVE_READING) {
            m->asked = FALSE;
            read_active(t, m);
        } else if (!from && up && m->state == MOVE_BLOCKED) {
            enter(t, m, MOVE_PROMOTING);
        } else if (!up && step != STEP_COUNT && g_str_equal(host_of(t->plan, step), host)) {
            without_engine(t, m, step);
        }
    }
}

static void on_tick(Turn *t)
{
    EACH_MOVE (t->plan, m) {
        if (m->asked || t->now_ms < m->next_at_ms)
            continue;
        if (m->state == MOVE_WAITING)
            take_up(t, m);
        else if (m->state == MOVE_READING)
            read_active(t, m);
        else if (m->state == MOVE_BLOCKED && t->plan->to_up)
            enter(t, m, MOVE_PROMOTING);
    }
}

/* No step may begin whose intention is not durable. What is released can only go on,
 * and does: a restart would read the same from the engines. */
static void on_journal_lost(Turn *t)
{
    t->plan->journal_lost = TRUE;
    EACH_MOVE (t->plan, m) {
        if (m->state == MOVE_PROMOTING || m->state == MOVE_UNLOCKING) {
            call(t, m, move_step(m->state));
        } else if (!move_is_over(m) && m->state != MOVE_BLOCKED) {
            m->rolling = TRUE;
            if (!m->why)
                set_why(m, "the controller cannot write the plan's journal");
            if (m->state != MOVE_READING)
                enter(t, m, MOVE_READING);
            m->asked = FALSE;
        }
    }
}

void plan_step(Plan *plan, const PlanEvent *ev, ActionList *out)
{
    Turn t = {plan, ev->now_ms, out};

    switch (ev->kind) {
    case PLAN_BEGIN:
        on_begin(&t);
        break;
    case PLAN_RESUME:
        on_resume(&t);
        break;
    case PLAN_ANSWER:
        on_answer(&t, ev);
        break;
    case PLAN_LINK_BACK:
    case PLAN_LINK_LOST:
        on_link(&t, ev->host, ev->kind == PLAN_LINK_BACK);
        break;
    case PLAN_JOURNAL_LOST:
        on_journal_lost(&t);
        break;
    case PLAN_TICK:
        on_tick(&t);
        break;
    }
}

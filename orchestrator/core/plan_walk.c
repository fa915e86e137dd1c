/* SPDX-License-Identifier: Apache-2.0 */
/* The happy path is the table FLOW, top to bottom. Failures: before release a
 * clear no from the engine is rolled back; a missing answer, at any step, is
 * READ from the active; after release the standby is asked until it runs.
 * Every intention is an ACTION_PERSIST in front of its call. */
#include "orchestrator/core/lease/renewal.h"
#include "orchestrator/core/plan_parts.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"

static const struct {
    MoveState done;   /* after the step's success */
    MoveState denied; /* after the engine's clear no */
} FLOW[STEP_COUNT] = {
    [STEP_LOCK] = {MOVE_SHUTTING_DOWN, MOVE_STAYED},    [STEP_SHUTDOWN] = {MOVE_FINISHING, MOVE_ROLLING_BACK},
    [STEP_FINAL] = {MOVE_RELEASING, MOVE_ROLLING_BACK}, [STEP_RELEASE] = {MOVE_PROMOTING, MOVE_READING},
    [STEP_PROMOTE] = {MOVE_UNLOCKING, MOVE_BLOCKED},    [STEP_UNLOCK] = {MOVE_MOVED, MOVE_MOVED},
    [STEP_ROLLBACK] = {MOVE_STAYED, MOVE_READING},      [STEP_PARK] = {MOVE_PARKED, MOVE_ROLLING_BACK},
    [STEP_ELECT] = {MOVE_PROMOTING, MOVE_STAYED},
};

static MoveState after(const Plan *plan, StepKind step)
{
    return plan->parks && step == (plan->alone ? STEP_SHUTDOWN : STEP_FINAL) ? MOVE_PARKING : FLOW[step].done;
}

void plan_keep(Turn *t, json_t *steal_record)
{
    if (t->plan->journal_lost)
        json_decref(steal_record);
    else
        action_persist(t->out, steal_record);
}

Input *plan_tell(Turn *t, InputKind kind, const Move *m, const char *host, const char *why)
{
    Input *in = g_new0(Input, 1);

    in->kind = kind;
    in->plan = t->plan->id;
    in->vm = m ? m->vm : ID_NIL;
    in->host = g_strdup(host);
    in->why = g_strdup(why);
    in->parks = t->plan->parks;
    action_tell(t->out, in);
    return in;
}

gboolean move_is_forced(const Move *m)
{
    return json_is_true(json_object_get(m->certificate, "forced"));
}

/* Its old active did not release it, as far as is known. */
static gboolean was_taken(const Move *m)
{
    return move_is_forced(m) || (m->by_hand.number && !m->certificate);
}

void plan_tell_end(Turn *t, const Move *m, gboolean unlocked)
{
    Input *in;

    if (m->state == MOVE_STAYED) {
        plan_tell(t, INPUT_STAYED, m, NULL, m->why);
        return;
    }
    if (m->state == MOVE_DOWN) {
        plan_tell(t, INPUT_DOWN, m, NULL, m->why);
        return;
    }
    in = plan_tell(t, INPUT_MOVED, m, t->plan->to, NULL);
    in->reign = m->by_hand.number ? m->by_hand : t->plan->next;
    in->unlocked = unlocked;
    in->reverse = t->plan->reverse;
    in->forced = was_taken(m);
}

void move_set_why(Move *m, const char *why)
{
    char *copy = g_strdup(why);

    g_free(m->why);
    m->why = copy;
}

const char *step_host(const Plan *plan, StepKind step)
{
    return step == STEP_PROMOTE || step == STEP_ELECT ? plan->to : plan->from;
}

static gboolean is_up(const Plan *plan, StepKind step)
{
    return step == STEP_PROMOTE || step == STEP_ELECT ? plan->to_up : plan->from_up;
}

static Id wanted_point(const Plan *plan, const Move *m)
{
    return id_is_nil(plan->point) ? m->tip : plan->point;
}

static BallotKind ballot_kind(const Plan *plan)
{
    return plan->elected                      ? BALLOT_ELECTION
           : plan->old_is_off || plan->fenced ? BALLOT_CERTIFIED
                                              : BALLOT_FORCE;
}

/* The word of an operator, and of an active that has yielded, stays true; a fence's does not. */
static gint64 sure_since(const Plan *plan, const Move *m)
{
    if (!plan->fenced || plan->old_is_off || m->yielded)
        return 0;
    if (plan->sure_ms == PLAN_SURE_LONG_AGO)
        return BALLOT_SURE_MAX_MS;
    return CLAMP(plan->now_ms - plan->sure_ms, 1, BALLOT_SURE_MAX_MS);
}

static json_t *ballot_of(const Plan *plan, const Move *m)
{
    const Ballot ballot = {ballot_kind(plan), m->reign, plan->next, sure_since(plan, m)};

    return plan->votes_ms && move_is_forced(m) ? ballot_to_json(&ballot) : NULL;
}

json_t *plan_params(const Plan *plan, const Move *m, StepKind step)
{
    json_t *params = json_pack("{s:s, s:s}", "plan", ID_TEXT(plan->id), "vm", ID_TEXT(m->vm));
    json_auto_t *more = NULL;

    if (step == STEP_LOCK)
        more = json_pack("{s:o, s:I, s:b}", "reign", reign_to_json(m->reign), "deadline_ms",
                         (json_int_t)plan->deadline_ms, "died", m->died);
    else if (step == STEP_SHUTDOWN)
        more = json_pack("{s:I, s:b}", "timeout_ms", (json_int_t)plan->shutdown_timeout_ms, "power_off",
                         plan->power_off);
    else if (step == STEP_PARK)
        more = json_pack("{s:b}", "until_told", plan->until_told);
    else if (step == STEP_RELEASE)
        more = json_pack("{s:{s:s}, s:o}", "successor", "id", ID_TEXT(plan->to_id), "reign_next",
                         reign_to_json(plan->next));
    else if (step == STEP_PROMOTE)
        more =
            json_pack("{s:o, s:o, s:O, s:o*}", "tip", json_from_id(wanted_point(plan, m)), "reign_next",
                      reign_to_json(plan->next), "certificate", m->certificate, "ballot", ballot_of(plan, m));
    else if (step == STEP_ELECT)
        more = json_pack("{s:o}", "ballot", ballot_of(plan, m));
    if (step == STEP_LOCK && plan->alone)
        json_object_set_new(more, "alone", json_true());
    if (more)
        json_object_update(params, more);
    return params;
}

void plan_call(Turn *t, Move *m, StepKind step)
{
    plan_keep(t, plan_record_intent(m, step));
    m->asked = TRUE;
    if (step == STEP_SHUTDOWN && m->asked_at_ms == 0)
        m->asked_at_ms = t->now_ms;
    action_call(t->out, step_host(t->plan, step), step_method(step), m->vm, step_limit_ms(t->plan, step),
                plan_params(t->plan, m, step));
}

void plan_end_if_over(Turn *t)
{
    EACH_MOVE (t->plan, m)
        if (!move_is_over(m))
            return;
    plan_tell(t, INPUT_PLAN_ENDED, NULL, t->plan->to, NULL);
    plan_keep(t, plan_record_end());
    t->plan->ended = TRUE;
}

static void begin(Turn *t, Move *m)
{
    const Plan *plan = t->plan;
    g_autofree char *why = NULL;

    if (plan->forced && plan->from_up) {
        /* What lives there is not taken from it. */
        why = g_strdup_printf("%s answers again: switch it over in good order", plan->from);
        move_set_why(m, why);
        plan_enter(t, m, MOVE_STAYED);
        return;
    }
    m->begun = TRUE;
    plan_enter(t, m, !plan->forced ? MOVE_LOCKING : plan->votes_ms ? MOVE_ELECTING : MOVE_PROMOTING);
}

/* What starts after it goes on running there, and needs it. */
static gboolean stays_for_another(Turn *t, Move *m, const Move *behind)
{
    g_autofree char *why = NULL;

    if (t->plan->forced || !behind || behind->state != MOVE_STAYED)
        return FALSE;
    why = g_strdup_printf("'%s', which starts after it, stayed on %s: nothing is taken from under it",
                          behind->name, t->plan->from);
    move_set_why(m, why);
    plan_enter(t, m, MOVE_STAYED);
    return TRUE;
}

static gboolean is_under_way(const Move *m)
{
    return m->begun && !move_is_over(m) && m->state != MOVE_HELD && m->state != MOVE_PARKED;
}

/* One that the standby cannot start counts, too: where it fails, no more guests are shut down, but for those that are
 * waited for by others that are off. */
static gboolean may_begin(const Plan *plan, const Move *m, guint under_way, guint blocked)
{
    if (plan->forced ? move_is_held(m) : move_first_behind(m) != NULL)
        return FALSE;
    return under_way - (plan_waits_on(plan, m) ? blocked : 0) < PLAN_AT_ONCE;
}

gboolean plan_begin_more(Turn *t)
{
    guint under_way = 0, blocked = 0;
    gboolean changed = FALSE;

    if (t->plan->called || t->plan->wait_until_ms ||
        !(t->plan->from_up || (t->plan->forced && t->plan->to_up)))
        return FALSE;
    EACH_MOVE (t->plan, m) {
        under_way += is_under_way(m);
        blocked += m->state == MOVE_BLOCKED;
    }
    EACH_MOVE (t->plan, m) {
        if (m->state != MOVE_WAITING || m->begun)
            continue;
        if (may_begin(t->plan, m, under_way, blocked))
            begin(t, m);
        else if (!stays_for_another(t, m, move_first_behind(m)))
            continue;
        under_way += is_under_way(m);
        changed = TRUE;
    }
    return changed;
}

static void over(Turn *t, Move *m, gboolean unlocked)
{
    plan_tell_end(t, m, unlocked);
    plan_keep(t, plan_record_over(m));
}

/* Those that wait for their turn go on in plan_go_on(). What is not known yet is read, and goes on from there. */
static void call_back(Turn *t, Move *m)
{
    switch (m->state) {
    case MOVE_LOCKING:
        plan_enter(t, m, MOVE_READING);
        return;
    case MOVE_SHUTTING_DOWN:
    case MOVE_FINISHING:
    case MOVE_PARKING:
        m->rolling = TRUE;
        plan_enter(t, m, MOVE_ROLLING_BACK);
        return;
    default:
        return;
    }
}

void plan_call_back(Turn *t, const char *why)
{
    if (!t->plan->parks || t->plan->called || t->plan->ended)
        return;
    t->plan->called = TRUE;
    action_log(t->out, g_strdup_printf("what is parked on %s is called back: %s", t->plan->from, why));
    plan_keep(t, plan_record_called());
    EACH_MOVE (t->plan, m)
        call_back(t, m);
}

/* The engine of the step's host is known to be silent: what then? */
void plan_without_engine(Turn *t, Move *m, StepKind step)
{
    g_autofree char *why = g_strdup_printf("%s does not answer", step_host(t->plan, step));

    if (step == STEP_UNLOCK) {
        plan_enter(t, m, MOVE_MOVED);
        return;
    }
    if (step == STEP_PROMOTE) {
        plan_blocked(t, m, why);
        return;
    }
    if (step == STEP_ELECT) {
        m->asked = FALSE;
        return;
    }
    plan_enter(t, m, MOVE_READING);
}

/* What is released waits for its turn, once: then it is tried until it works. */
static MoveState in_its_turn(const Move *m, MoveState to)
{
    return to == MOVE_PROMOTING && m->state != MOVE_HELD && m->state != MOVE_BLOCKED && move_is_held(m)
               ? MOVE_HELD
               : to;
}

/* Its papers are durable before it waits: the old active may be gone when its turn comes. */
static void hold(Turn *t, Move *m)
{
    plan_keep(t, plan_record_intent(m, STEP_PROMOTE));
    m->next_at_ms = t->now_ms;
}

void plan_enter(Turn *t, Move *m, MoveState wanted)
{
    MoveState to = in_its_turn(m, wanted);
    const StateEdge *edge = state_may_move(move_machine(), m->state, to);
    gboolean unlocked = m->done == STEP_UNLOCK + 1;
    StepKind step = move_step(to);

    g_assert(edge);
    action_log(t->out, g_strdup_printf("%s %s: %s", m->name, move_state_name(to), edge->reason));
    m->state = to;
    m->asked = FALSE;
    m->next_at_ms = t->now_ms + (to == MOVE_READING ? PLAN_READ_AGAIN_MS : PLAN_TRY_AGAIN_MS);
    if (to == MOVE_ELECTING)
        m->elect_until_ms = t->now_ms + t->plan->votes_ms;
    if (move_is_over(m))
        over(t, m, unlocked);
    else if (to == MOVE_HELD)
        hold(t, m);
    else if (to == MOVE_READING || to == MOVE_BLOCKED || to == MOVE_PARKED)
        return; /* until it is time, or a link is back */
    else if (is_up(t->plan, step))
        plan_call(t, m, step);
    else
        plan_without_engine(t, m, step);
}

static void take_reign(Move *m, Reign asked, const json_t *doc)
{
    Reign reign;

    if (doc && reign_from_json(doc, &reign, NULL) && reign.number >= asked.number &&
        !reign_equal(reign, asked))
        m->by_hand = reign;
}

/* What the plan needs from a step's result; FALSE if it is not there. */
gboolean plan_take_result(Turn *t, Move *m, StepKind step, const json_t *result)
{
    const char *tip = json_string_value(json_object_get(result, "tip"));
    json_t *certificate = json_object_get(result, "certificate");

    if (step == STEP_SHUTDOWN)
        m->off_at_ms = t->now_ms;
    if (step == STEP_PROMOTE) {
        m->running_at_ms = t->now_ms;
        m->is_off = json_is_false(json_object_get(result, "running"));
        take_reign(m, t->plan->next, json_object_get(result, "reign"));
    }
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

void plan_blocked(Turn *t, Move *m, const char *why)
{
    gboolean news = g_strcmp0(m->why, why) != 0;

    move_set_why(m, why);
    if (news)
        plan_tell(t, INPUT_BLOCKED, m, t->plan->to, why);
    if (m->state == MOVE_PROMOTING)
        plan_enter(t, m, MOVE_BLOCKED);
    m->next_at_ms = t->now_ms + PLAN_TRY_AGAIN_MS;
}

gboolean plan_is_silence(const GError *failure)
{
    return g_error_matches(failure, US_ERROR, US_ERROR_UNREACHABLE) ||
           g_error_matches(failure, US_ERROR, US_ERROR_TIMEOUT) ||
           g_error_matches(failure, US_ERROR, US_ERROR_CANCELLED);
}

void plan_step_failed(Turn *t, Move *m, StepKind step, const GError *failure)
{
    if (step == STEP_PROMOTE) {
        plan_blocked(t, m, failure->message);
        return;
    }
    if (step == STEP_UNLOCK) {
        plan_enter(t, m, MOVE_MOVED);
        return;
    }
    if (step == STEP_ELECT) {
        plan_not_elected(t, m, failure);
        return;
    }
    if (plan_is_silence(failure) || FLOW[step].denied == MOVE_READING) {
        if (step == STEP_RELEASE && !plan_is_silence(failure)) {
            move_set_why(m, failure->message);
            m->rolling = TRUE;
        }
        plan_enter(t, m, MOVE_READING);
        return;
    }
    move_set_why(m, failure->message);
    m->rolling = TRUE;
    plan_enter(t, m, FLOW[step].denied);
}

/* The voters keep its old reign for nobody any more: it cannot stay there. */
static gboolean is_promised(const Plan *plan, const Move *m)
{
    return plan->votes_ms && m->elected;
}

/* Before it has written anything, a standby looks whether the old active still sends. One that has yielded, or whose leases are
 * over, sends no more, and was heard a moment ago. */
static void old_lives(Turn *t, Move *m)
{
    gboolean goes_on = m->yielded || is_promised(t->plan, m);
    g_autofree char *why =
        g_strdup_printf("%s has not gone: it is connected to %s, though not to the controller; %s",
                        t->plan->from, t->plan->to,
                        goes_on ? "it has no part in it any more, so this is tried again until it is silent"
                                : "if it is off all the same, use --old-is-off");

    if (goes_on) {
        plan_blocked(t, m, why);
        return;
    }
    move_set_why(m, why);
    plan_enter(t, m, MOVE_STAYED);
}

void plan_step_worked(Turn *t, Move *m, StepKind step, const json_t *result)
{
    if (step == STEP_PROMOTE && move_is_forced(m) && json_is_true(json_object_get(result, "old_lives"))) {
        old_lives(t, m);
        return;
    }
    if (!plan_take_result(t, m, step, result)) {
        /* Its plan.state must say what its answer did not. */
        plan_enter(t, m, MOVE_READING);
        return;
    }
    if (step == STEP_ELECT) {
        m->elected = TRUE;
        move_set_why(m, NULL);
    } else if (step != STEP_ROLLBACK)
        m->done = step + 1;
    /* Of what was taken by force there is no lock. */
    plan_enter(t, m, move_is_forced(m) && step == STEP_PROMOTE ? MOVE_MOVED : after(t->plan, step));
}

/* SPDX-License-Identifier: Apache-2.0 */
/* One handler an event; the walking is in plan_walk.c, the reading in plan_read.c. */
#include "orchestrator/core/plan_parts.h"

static void on_answer(Turn *t, const PlanEvent *ev)
{
    Move *m = plan_find(t->plan, ev->vm);
    StepKind step = m ? move_step(m->state) : STEP_COUNT;

    if (!m || !m->asked)
        return;
    if (m->state == MOVE_READING && g_str_equal(ev->method, "plan.state")) {
        plan_was_read(t, m, ev->result);
        return;
    }
    if ((m->state == MOVE_BLOCKED || m->state == MOVE_WAITING || m->state == MOVE_HELD) &&
        g_str_equal(ev->method, "active.yield")) {
        plan_yielded(t, m, ev->result, ev->failure);
        return;
    }
    if (step == STEP_COUNT || !g_str_equal(ev->method, step_method(step)))
        return;
    if (ev->failure)
        plan_step_failed(t, m, step, ev->failure);
    else
        plan_step_worked(t, m, step, ev->result);
}

static void on_begin(Turn *t)
{
    plan_tell(t, INPUT_PLAN_BEGUN, NULL, t->plan->to, NULL);
    plan_keep(t, plan_record_begin(t->plan));
    EACH_MOVE (t->plan, m)
        plan_tell(t, INPUT_MOVING, m, NULL, NULL);
}

static gboolean can_take_up(const Plan *plan, const Move *m)
{
    return m->state == MOVE_WAITING && m->begun && !m->asked && !plan->wait_until_ms &&
           (m->certificate ? plan->to_up : plan->from_up);
}

static void take_up(Turn *t, Move *m)
{
    if (m->certificate)
        plan_promote(t, m);
    else
        plan_enter(t, m, MOVE_READING);
}

/* The protection may not have heard how it ended: it is told again. */
static void on_resume(Turn *t)
{
    t->plan->wait_until_ms = t->now_ms + PLAN_HEAR_MS;
    plan_tell(t, INPUT_PLAN_BEGUN, NULL, t->plan->to, NULL);
    EACH_MOVE (t->plan, m)
        if (move_is_over(m))
            plan_tell_end(t, m, m->done == STEP_UNLOCK + 1);
        else
            plan_tell(t, INPUT_MOVING, m, NULL, NULL);
    EACH_MOVE (t->plan, m)
        m->next_at_ms = t->now_ms + PLAN_TRY_AGAIN_MS; /* links need a moment after a start */
    plan_end_if_over(t);
}

static void let_go(Turn *t)
{
    t->plan->wait_until_ms = 0;
    EACH_MOVE (t->plan, m)
        if (can_take_up(t->plan, m))
            take_up(t, m);
}

/* Its answer, or the controller that waited for it, may be lost. */
static gboolean may_have_released(const Move *m)
{
    return m->state == MOVE_RELEASING || m->state == MOVE_READING || (m->state == MOVE_WAITING && m->begun);
}

/* In its reign: by a promotion that it has the paper of. One that it has none of was by force, and the controller that ordered it could not
 * write that down. */
static gboolean is_own_doing(const Plan *plan, const Move *m, Reign reign)
{
    return reign_equal(reign, plan->next) && (m->certificate || !(plan->parks || may_have_released(m)));
}

/* Whatever the old active did for the plan, it is over. One that has released the VM is left to plan.promote, which finds
 * the same and has the lock taken off: a yield would leave it on. */
static void take_promotion(Turn *t, const NewsPromotion *promotion)
{
    Move *m = plan_find(t->plan, promotion->vm);

    if (m && promotion->reign.number > m->reign.number)
        m->is_on = TRUE;
    if (!m || move_is_over(m) || promotion->reign.number <= m->reign.number ||
        is_own_doing(t->plan, m, promotion->reign) || (m->certificate && !move_is_forced(m)))
        return;
    m->by_hand = promotion->reign;
    if (!may_have_released(m))
        plan_enter(t, m, MOVE_MOVED);
    else if (m->state != MOVE_READING)
        plan_enter(t, m, MOVE_READING);
}

/* What is parked there has seen another boot. */
static void look_for_boot(Turn *t, const json_t *status)
{
    json_t *item;
    gsize i;

    json_array_foreach(json_object_get(status, "active"), i, item)
    {
        g_autoptr(News) word = news_from_json(item, NULL);
        const Move *m = word && id_equal(word->plan.id, t->plan->id) && word->plan.booted
                            ? plan_find(t->plan, word->vm)
                            : NULL;

        if (m && !t->plan->until_told)
            plan_call_back(t, "it was booted");
    }
}

static void on_news(Turn *t, const char *host, const json_t *status)
{
    g_autoptr(GArray) promotions = NULL;

    if (t->plan->parks && !t->plan->called && g_str_equal(host, t->plan->from))
        look_for_boot(t, status);
    if (!g_str_equal(host, t->plan->to))
        return;
    promotions = news_promotions_from_json(status, NULL, NULL);
    for (guint i = 0; i < promotions->len; i++)
        take_promotion(t, &g_array_index(promotions, NewsPromotion, i));
    if (t->plan->wait_until_ms && news_is_complete(status))
        let_go(t);
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
            plan_read(t, m);
        } else if (!from && up && m->state == MOVE_BLOCKED && !m->asked) {
            plan_promote(t, m);
        } else if (!from && up && m->state == MOVE_ELECTING && !m->asked) {
            plan_elect(t, m);
        } else if (!up && step != STEP_COUNT && g_str_equal(step_host(t->plan, step), host)) {
            plan_without_engine(t, m, step);
        }
    }
}

/* Of a standby that is silent itself nobody knows what it would promise. */
static void look_at_votes(Turn *t, Move *m)
{
    g_autoptr(GError) late = NULL;

    if (t->plan->to_up) {
        plan_elect(t, m);
        return;
    }
    if (t->now_ms < m->elect_until_ms)
        return;
    late = g_error_new(US_ERROR, US_ERROR_UNREACHABLE, "%s does not answer", t->plan->to);
    plan_not_elected(t, m, late);
}

static void on_tick(Turn *t)
{
    if (t->plan->wait_until_ms && t->now_ms >= t->plan->wait_until_ms)
        let_go(t);
    EACH_MOVE (t->plan, m) {
        if (m->asked || t->now_ms < m->next_at_ms)
            continue;
        if (m->state == MOVE_WAITING && m->begun && !t->plan->wait_until_ms)
            take_up(t, m);
        else if (m->state == MOVE_READING)
            plan_read(t, m);
        else if (m->state == MOVE_BLOCKED && t->plan->to_up)
            plan_promote(t, m);
        else if (m->state == MOVE_ELECTING)
            look_at_votes(t, m);
    }
}

/* No step may begin whose intention is not durable. What is released can only go on,
 * and does: a restart would read the same from the engines. */
static void on_journal_lost(Turn *t)
{
    t->plan->journal_lost = TRUE;
    EACH_MOVE (t->plan, m) {
        if (m->state == MOVE_PROMOTING || m->state == MOVE_UNLOCKING) {
            plan_call(t, m, move_step(m->state));
        } else if (m->state == MOVE_ELECTING) {
            move_set_why(m, "the controller cannot write the plan's journal");
            plan_enter(t, m, MOVE_STAYED);
        } else if (!move_is_over(m) && m->state != MOVE_BLOCKED && m->state != MOVE_HELD &&
                   m->state != MOVE_PARKED) {
            m->rolling = TRUE;
            if (!m->why)
                move_set_why(m, "the controller cannot write the plan's journal");
            if (m->state != MOVE_READING)
                plan_enter(t, m, MOVE_READING);
            m->asked = FALSE;
        }
    }
}

void plan_step(Plan *plan, const PlanEvent *ev, ActionList *out)
{
    Turn t = {plan, ev->now_ms, out};

    plan->now_ms = ev->now_ms;
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
    case PLAN_NEWS:
        on_news(&t, ev->host, ev->result);
        break;
    case PLAN_CALL_BACK:
        plan_call_back(&t, "its maintenance is over");
        break;
    case PLAN_FORCE:
        plan_on_force(&t, ev->forced);
        break;
    case PLAN_JOURNAL_LOST:
        on_journal_lost(&t);
        break;
    case PLAN_TICK:
        on_tick(&t);
        break;
    }
    plan_go_on(&t);
}

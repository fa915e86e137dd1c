/* SPDX-License-Identifier: Apache-2.0 */
/* Who waits for whom in a plan: guests are shut down in the reverse of the start order, and started in it.
 *
 * A VM is locked, and then shut down, when all that start after it are off; it is started on the standby when all that it
 * starts after run there and their gates (gate.h) are met. Final generations and releases wait for nobody. One that was
 * off before, or is not in the plan, holds up nobody; through it the order holds all the same.
 *
 * What fails holds production up for a limited time. Nothing is taken from under a guest that goes on running: if it stayed,
 * those that it starts after stay, too, as far as they were not begun. What was released is started in any case: it does not
 * wait for one that stayed or is down, nor longer than start_timeout for one that runs and does not answer, that the
 * standby does not start, or of which its active does not say what became of it. Then an event says so.
 *
 * Nothing of it is in the journal: after a restart of the controller gates are looked at anew, and times count anew. */
#include "orchestrator/core/plan_parts.h"
#include "orchestrator/core/start_order.h"
#include "vmconnect/base/units.h"

/* --- made ------------------------------------------------------------------- */

static gboolean counts(const void *user, Id vm)
{
    const Move *m = plan_find(user, vm);

    return m && !m->was_off;
}

static void order_one(Plan *plan, const Scenario *s, Move *m)
{
    const ScenarioVm *known = scenario_find_vm(s, m->vm);
    g_autoptr(GArray) before = start_order_before(s, m->vm, counts, plan);

    if (!known)
        return;
    m->gate = known->gate;
    m->need_all = known->need_all;
    for (guint i = 0; !m->was_off && i < before->len; i++) {
        Move *other = plan_find(plan, g_array_index(before, Id, i));

        g_ptr_array_add(m->before, other);
        g_ptr_array_add(other->behind, m);
    }
}

void plan_order(Plan *plan, const Protection *p)
{
    plan->vitals = p->vitals;
    EACH_MOVE (plan, m) {
        g_ptr_array_set_size(m->before, 0);
        g_ptr_array_set_size(m->behind, 0);
    }
    EACH_MOVE (plan, m)
        order_one(plan, p->scenario, m);
}

/* --- gates ------------------------------------------------------------------ */

static gboolean is_there(const Plan *plan, const Move *m)
{
    return plan->parks ? m->state == MOVE_STAYED : m->state == MOVE_UNLOCKING || m->state == MOVE_MOVED;
}

static const char *where(const Plan *plan)
{
    return plan->parks ? plan->from : plan->to;
}

static VitalsChecks checks_of(const Plan *plan, const Move *m)
{
    VitalsChecks none = {0};

    return plan->vitals ? vitals_checks(plan->vitals, where(plan), m->vm, 1) : none;
}

/* In the reign in which it was started there: what was answered before says nothing. */
static gboolean answers(const Plan *plan, const Move *m)
{
    VitalsChecks c = checks_of(plan, m);
    guint64 reign = plan->parks ? m->reign.number : m->by_hand.number ? m->by_hand.number : plan->next.number;

    return c.reign == reign && (m->need_all ? c.n > 0 && c.answered == c.n : c.answered > 0);
}

static gboolean gate_is_met(const Turn *t, Move *m)
{
    if (!is_there(t->plan, m))
        return FALSE;
    if (m->there_ms == 0)
        m->there_ms = t->now_ms;
    if (m->answered_ms == 0 && (!m->gate.probe || answers(t->plan, m)))
        m->answered_ms = m->gate.probe ? t->now_ms : m->there_ms;
    return m->gate.delay_ms == 0 ? !m->gate.probe || m->answered_ms > 0
                                 : m->answered_ms > 0 && t->now_ms >= m->answered_ms + m->gate.delay_ms;
}

/* It does not go on, and nobody knows for how long. */
static gboolean is_stuck(const Plan *plan, const Move *m)
{
    return m->state == MOVE_READING || m->state == MOVE_ELECTING || m->state == MOVE_PROMOTING ||
           m->state == MOVE_BLOCKED || m->state == MOVE_ROLLING_BACK ||
           (m->state == MOVE_WAITING && (m->begun || !(plan->from_up || (plan->forced && plan->to_up))));
}

static char *why_late(const Plan *plan, const Move *m)
{
    g_autofree char *time = units_human_duration(plan->start_timeout_ms);
    VitalsChecks c = checks_of(plan, m);

    if (is_there(plan, m))
        return c.open ? g_strdup_printf("its probe '%s' was not answered within %s", c.open, time)
                      : g_strdup_printf("its probe was not answered within %s", time);
    if (m->state == MOVE_BLOCKED || m->state == MOVE_PROMOTING || m->state == MOVE_ELECTING ||
        m->state == MOVE_ROLLING_BACK)
        return g_strdup_printf("%s did not start it within %s%s%s", where(plan), time, m->why ? ": " : "",
                               m->why ? m->why : "");
    return g_strdup_printf("for %s %s has not said what became of it", time, plan->from);
}

/* Those behind it waited long enough. */
static gboolean is_late(const Turn *t, Move *m)
{
    gint64 since_ms;

    if (!is_stuck(t->plan, m))
        m->stuck_ms = 0;
    else if (m->stuck_ms == 0)
        m->stuck_ms = t->now_ms;
    since_ms = is_there(t->plan, m) && m->gate.probe && m->answered_ms == 0 ? m->there_ms : m->stuck_ms;
    return since_ms > 0 && t->now_ms >= since_ms + t->plan->start_timeout_ms;
}

/* By force nothing is held: what is not begun waits. */
gboolean plan_waits_on(const Plan *plan, const Move *m)
{
    for (guint i = 0; i < m->behind->len; i++) {
        const Move *other = m->behind->pdata[i];

        if (other->state == MOVE_HELD || (plan->called && other->state == MOVE_PARKED) ||
            (plan->forced && other->state == MOVE_WAITING))
            return TRUE;
    }
    return FALSE;
}

static void give_up(Turn *t, Move *m)
{
    g_autofree char *why = why_late(t->plan, m);

    if (is_there(t->plan, m))
        move_set_why(m, why);
    plan_tell(t, INPUT_GATE_MISSED, m, where(t->plan), why);
}

static void look_at_gate(Turn *t, Move *m)
{
    if (m->open)
        return;
    m->open = m->behind->len == 0 || m->is_off || (m->state == MOVE_STAYED && !t->plan->parks) ||
              m->state == MOVE_DOWN || gate_is_met(t, m);
    if (m->open || !is_late(t, m) || !plan_waits_on(t->plan, m))
        return;
    m->open = TRUE;
    give_up(t, m);
}

/* --- waiting ---------------------------------------------------------------- */

/* The first that it must not be started before; NULL: it may be. */
static const Move *first_before(const Move *m)
{
    for (guint i = 0; i < m->before->len; i++)
        if (!((const Move *)m->before->pdata[i])->open)
            return m->before->pdata[i];
    return NULL;
}

/* What runs there already is waited for no longer. */
gboolean move_is_held(const Move *m)
{
    return !m->is_on && first_before(m) != NULL;
}

static gboolean is_off(const Move *m)
{
    return m->state == MOVE_MOVED || m->state == MOVE_DOWN || (m->done > STEP_SHUTDOWN && !m->rolling);
}

const Move *move_first_behind(const Move *m)
{
    for (guint i = 0; i < m->behind->len; i++)
        if (!is_off(m->behind->pdata[i]))
            return m->behind->pdata[i];
    return NULL;
}

static gboolean start_held(Turn *t)
{
    gboolean changed = FALSE;

    EACH_MOVE (t->plan, m) {
        if (m->state != MOVE_HELD || m->asked || t->now_ms < m->next_at_ms || move_is_held(m))
            continue;
        plan_promote(t, m);
        changed |= m->state != MOVE_HELD;
    }
    return changed;
}

/* One that runs on there, or not at all, makes the restart of its host no better. */
static void call_back_if_failed(Turn *t)
{
    EACH_MOVE (t->plan, m)
        if (move_is_over(m) && t->plan->parks && !t->plan->called)
            plan_call_back(t, "not all could be parked");
}

/* What was not begun when it was called back is not begun any more, also by a controller that was started since. */
static gboolean start_parked(Turn *t)
{
    gboolean changed = FALSE;

    EACH_MOVE (t->plan, m) {
        if (t->plan->called && m->state == MOVE_WAITING && !m->begun) {
            plan_enter(t, m, MOVE_STAYED);
            changed = TRUE;
        }
        if (m->state != MOVE_PARKED || !t->plan->called || move_is_held(m))
            continue;
        m->rolling = TRUE;
        plan_enter(t, m, MOVE_ROLLING_BACK);
        changed = TRUE;
    }
    return changed;
}

void plan_go_on(Turn *t)
{
    gboolean changed = t->plan->wait_until_ms == 0;

    while (changed) {
        call_back_if_failed(t);
        EACH_MOVE (t->plan, m)
            look_at_gate(t, m);
        changed = start_held(t);
        changed |= start_parked(t);
        changed |= plan_begin_more(t);
    }
    if (!t->plan->ended)
        plan_end_if_over(t);
}

/* --- in words ---------------------------------------------------------------- */

static char *words_of_gate(const Plan *plan, const Move *m)
{
    g_autofree char *delay = units_format_duration(m->gate.delay_ms);
    VitalsChecks c = checks_of(plan, m);

    if (!is_there(plan, m))
        return g_strdup("it does not run yet");
    if (m->gate.probe && m->answered_ms == 0)
        return c.open ? g_strdup_printf("its probe '%s' is not answered yet", c.open)
                      : g_strdup("its probe is not answered yet");
    return g_strdup_printf("it %s for %s first", m->gate.probe ? "has to answer" : "has to run", delay);
}

char *plan_waits_for(const Plan *plan, const Move *m)
{
    gboolean goes_first = m->state == MOVE_WAITING && !m->begun && !plan->forced;
    const Move *other = goes_first ? move_first_behind(m) : first_before(m);
    g_autofree char *words = NULL;

    if (!other ||
        (m->state != MOVE_HELD && m->state != MOVE_WAITING && !(m->state == MOVE_PARKED && plan->called)))
        return NULL;
    if (goes_first)
        return g_strdup_printf("waits for '%s', which starts after it, to be off", other->name);
    words = words_of_gate(plan, other);
    return g_strdup_printf("waits for '%s': %s", other->name, words);
}

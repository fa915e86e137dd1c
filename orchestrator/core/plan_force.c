/* SPDX-License-Identifier: Apache-2.0 */
/* A plan in good order whose active has gone, and by force goes on without it: in the same reign, for the active
 * may have released its VMs to just that one before it went. */
#include "orchestrator/core/plan_parts.h"
#include "vmconnect/base/json.h"

/* Jobs of a busy guest are waited for. */
#define YIELD_LIMIT_MS 120000

/* Its papers are here: the standby starts it, whether the old active is there or not. */
static gboolean is_released(const Move *m)
{
    return m->certificate != NULL;
}

static gboolean check_running(const Protection *p, const PlanOptions *o, GError **error)
{
    const Plan *plan = o->running;
    const char *to = o->to ? o->to : o->home ? p->scenario->master : plan->to;

    if (plan->forced)
        return plan_refuse(error, US_ERROR_BUSY,
                           "a plan moves the VMs of scenario '%s' by force already: wait for its end, see "
                           "'understudy plan list'",
                           plan->scenario);
    if (plan->journal_lost)
        return plan_refuse(
            error, US_ERROR_REFUSED,
            "the journal of the plan that moves the VMs of scenario '%s' cannot be written: mend "
            "what the controller's log says of it and restart the controller first",
            plan->scenario);
    if (!g_str_equal(to, plan->to))
        return plan_refuse(error, US_ERROR_REFUSED,
                           "a plan moves the VMs of scenario '%s' to %s, and can be gone on with only there",
                           plan->scenario, plan->to);
    return (o->vm_count == 0 && id_is_nil(o->point)) ||
           plan_refuse(error, US_ERROR_USAGE,
                       "a plan moves the VMs of scenario '%s' already, and is gone on with for all of them: "
                       "leave --vm and --point away",
                       plan->scenario);
}

static gboolean add_move(const Protection *p, const Move *running, gint64 now_ms, Plan *plan, GError **error)
{
    const ProtectionVm *vm = protection_find(p, running->vm);
    Move *m;

    /* It is there already, which the plan will hear. */
    if (vm && g_str_equal(vm->active, plan->to))
        return TRUE;
    if (!vm || !plan_check_forced_vm(vm, plan->to, ID_NIL, error))
        return FALSE;
    m = plan_add_move(plan, vm->uuid, vm->name, vm->reign);
    m->was_off = running->was_off;
    plan_force_move(vm, plan, now_ms, m);
    m->tip = running->tip;
    return TRUE;
}

Plan *plan_switchover_running(const Protection *p, const PlanOptions *o, GError **error)
{
    const Plan *running = o->running;
    g_autoptr(Plan) plan = NULL;

    if (!check_running(p, o, error))
        return NULL;
    plan = plan_new(running->id, running->scenario, running->from, running->to);
    plan->to_id = running->to_id;
    plan->next = running->next;
    plan->reverse = running->reverse;
    plan->forced = TRUE;
    plan->old_is_off = o->old_is_off;
    plan->fenced = o->fenced;
    plan->sure_ms = o->sure_ms;
    plan->sure_boot = o->sure_boot;
    plan->elected = o->elected;
    plan->votes_ms = plan_votes_ms(p);
    plan->start_timeout_ms = running->start_timeout_ms;
    plan->to_up = TRUE;
    if (!plan_check_engines(p, plan, error))
        return NULL;
    EACH_MOVE (running, m)
        if (!move_is_over(m) && !is_released(m) && !add_move(p, m, o->now_ms, plan, error))
            return NULL;
    plan_order(plan, p);
    if (plan->moves->len > 0)
        return g_steal_pointer(&plan);
    plan_refuse(
        error, US_ERROR_REFUSED,
        "%s has given up the VMs of scenario '%s' already: %s starts them by itself, see 'understudy plan "
        "list'",
        plan->from, plan->scenario, plan->to);
    return NULL;
}

static void force(Turn *t, Move *m, const Move *forced)
{
    m->rolling = FALSE;
    m->lose_ms = forced->lose_ms;
    m->certificate = json_incref(forced->certificate);
    g_clear_pointer(&m->why, g_free);
    if (m->begun)
        plan_enter(t, m, t->plan->votes_ms ? MOVE_ELECTING : MOVE_PROMOTING);
}

static void plan_turn(Turn *t)
{
    t->plan->parks = t->plan->called = t->plan->alone = FALSE;
    plan_tell(t, INPUT_PLAN_BEGUN, NULL, t->plan->to, NULL);
}

void plan_on_force(Turn *t, const Plan *forced)
{
    Plan *plan = t->plan;

    if (plan->forced || plan->from_up || plan->journal_lost || plan->ended)
        return;
    plan->forced = TRUE;
    plan->old_is_off = forced->old_is_off;
    plan->fenced = forced->fenced;
    plan->sure_ms = forced->sure_ms;
    plan->sure_boot = forced->sure_boot;
    plan->elected = forced->elected;
    plan->votes_ms = forced->votes_ms;
    /* Whose maintenance it was does not come back: it is a switchover now. */
    if (plan->parks)
        plan_turn(t);
    plan_keep(t, plan_record_forced(forced));
    EACH_MOVE (forced, f) {
        Move *m = plan_find(plan, f->vm);

        if (m && !move_is_over(m) && !is_released(m))
            force(t, m, f);
    }
}

/* What was off is on again, and nothing is promised yet. */
static gboolean is_unfenced(Turn *t, Move *m)
{
    g_autofree char *why = NULL;

    if (!t->plan->fenced || !t->plan->from_up)
        return FALSE;
    why = g_strdup_printf("%s was fenced, and answers again: what lives there is not taken from it",
                          t->plan->from);
    move_set_why(m, why);
    plan_enter(t, m, MOVE_STAYED);
    return TRUE;
}

void plan_elect(Turn *t, Move *m)
{
    if (is_unfenced(t, m))
        return;
    m->asked = TRUE;
    action_call(t->out, t->plan->to, step_method(STEP_ELECT), m->vm, step_limit_ms(t->plan, STEP_ELECT),
                plan_params(t->plan, m, STEP_ELECT));
}

/* Nothing is promised before all of them would. What has been granted ends, and who has just started sits out: both in a while. */
void plan_not_elected(Turn *t, Move *m, const GError *failure)
{
    gboolean busy = g_error_matches(failure, US_ERROR, US_ERROR_BUSY);
    gboolean is_back = (busy || t->plan->fenced) && t->plan->from_up;
    g_autofree char *why =
        is_back ? g_strdup_printf("%s answers again: what lives there is not taken from it", t->plan->from)
                : g_strdup(failure->message);

    m->asked = FALSE;
    move_set_why(m, why);
    if (!is_back && (busy || plan_is_silence(failure)) && t->now_ms < m->elect_until_ms)
        m->next_at_ms = t->now_ms + PLAN_ASK_AGAIN_MS;
    else
        plan_enter(t, m, MOVE_STAYED);
}

void plan_promote(Turn *t, Move *m)
{
    if (t->plan->votes_ms && move_is_forced(m) && !m->elected) {
        plan_enter(t, m, MOVE_ELECTING);
        return;
    }
    if (!move_is_forced(m) || m->yielded || !t->plan->from_up) {
        plan_enter(t, m, MOVE_PROMOTING);
        return;
    }
    m->asked = TRUE;
    action_call(t->out, t->plan->from, "active.yield", m->vm, YIELD_LIMIT_MS,
                json_pack("{s:s, s:o}", "vm", ID_TEXT(m->vm), "reign", reign_to_json(t->plan->next)));
}

/* One that has no part in it has none to end. */
void plan_yielded(Turn *t, Move *m, const json_t *result, const GError *failure)
{
    const char *guest = json_string_value(json_object_get(result, "guest"));
    g_autofree char *why = NULL;

    m->asked = FALSE;
    if (failure && !g_error_matches(failure, US_ERROR, US_ERROR_NOT_FOUND)) {
        why = g_strdup_printf("%s, where it ran before, is back and has not ended its part in it: %s",
                              t->plan->from, failure->message);
        plan_blocked(t, m, why);
        return;
    }
    m->yielded = TRUE;
    if (!failure)
        plan_tell(t, INPUT_YIELDED, m, t->plan->from, guest);
    if (t->plan->to_up)
        plan_enter(t, m, MOVE_PROMOTING);
}

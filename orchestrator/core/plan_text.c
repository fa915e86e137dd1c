/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/core/plan_parts.h"
#include "vmconnect/base/json.h"
#include "vmconnect/base/units.h"

static const char *step_state(const Move *m, StepKind step)
{
    gboolean back = m->state == MOVE_STAYED || m->state == MOVE_DOWN;

    if (step == STEP_ROLLBACK)
        return back ? "done" : "doing";
    if (step == STEP_ELECT && m->elected)
        return back ? "undone" : "done";
    if (step != STEP_ELECT && step < m->done)
        return back || m->state == MOVE_ROLLING_BACK ? "undone" : "done";
    return step == move_step(m->state) || (step == STEP_PROMOTE && m->state == MOVE_BLOCKED) ? "doing"
                                                                                             : "todo";
}

static json_t *step_to_json(const Plan *plan, const Move *m, StepKind step, const PlanStep *s)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:s}", "method", s->method, "host",
                     s->on_standby ? plan->to : plan->from, "text", s->text, "gate", s->gate, "undo", s->undo,
                     "expected_ms", (json_int_t)s->expected_ms, "limit_ms", (json_int_t)s->limit_ms, "state",
                     step_state(m, step));
}

/* In the order in which they are done. */
static const StepKind IN_ORDER[STEP_COUNT] = {STEP_LOCK,    STEP_SHUTDOWN, STEP_FINAL,
                                              STEP_PARK,    STEP_RELEASE,  STEP_ELECT,
                                              STEP_PROMOTE, STEP_UNLOCK,   STEP_ROLLBACK};

/* The rollback is shown only where there is one. */
static gboolean is_shown(const Plan *plan, const Move *m, StepKind step)
{
    if (plan->forced || step == STEP_ELECT)
        return plan->forced && (step == STEP_PROMOTE || (step == STEP_ELECT && plan->votes_ms));
    if (plan->parks ? step == STEP_RELEASE || step == STEP_PROMOTE || step == STEP_UNLOCK : step == STEP_PARK)
        return FALSE;
    if (plan->alone && step == STEP_FINAL)
        return FALSE;
    return step != STEP_ROLLBACK || m->rolling || m->state == MOVE_STAYED || m->state == MOVE_DOWN;
}

static json_t *after_to_json(const Move *m)
{
    json_t *list = json_array();

    for (guint i = 0; i < m->before->len; i++) {
        const Move *other = m->before->pdata[i];
        g_autofree char *until = gate_words(&other->gate);

        json_array_append_new(list, json_pack("{s:s, s:s, s:s}", "vm", ID_TEXT(other->vm), "name",
                                              other->name, "until", until));
    }
    return list;
}

static json_t *move_to_json(const Plan *plan, const Move *m)
{
    g_autofree char *waits = plan_waits_for(plan, m);
    PlanStep steps[STEP_COUNT];
    json_t *list = json_array();
    gint64 down_ms = m->running_at_ms && m->off_at_ms ? m->running_at_ms - m->off_at_ms : -1;

    plan_steps(plan, steps);
    for (guint i = 0; i < STEP_COUNT; i++)
        if (is_shown(plan, m, IN_ORDER[i]))
            json_array_append_new(list, step_to_json(plan, m, IN_ORDER[i], &steps[IN_ORDER[i]]));
    return json_pack("{s:s, s:s, s:s, s:s?, s:o, s:o, s:o, s:o, s:o}", "vm", ID_TEXT(m->vm), "name", m->name,
                     "state", move_state_name(m->state), "why", waits ? waits : m->why, "after",
                     after_to_json(m), "point", json_from_id(m->tip), "lose_ms",
                     m->lose_ms < 0 ? json_null() : json_integer(m->lose_ms), "down_ms",
                     down_ms < 0 ? json_null() : json_integer(down_ms), "steps", list);
}

json_t *plan_to_json(const Plan *plan)
{
    json_t *vms = json_array();

    for (guint i = 0; i < plan->moves->len; i++)
        json_array_append_new(vms, move_to_json(plan, plan->moves->pdata[i]));
    return json_pack("{s:s, s:s, s:s, s:s, s:b, s:b, s:b, s:I, s:o}", "id", ID_TEXT(plan->id), "scenario",
                     plan->scenario, "from", plan->from, "to", plan->to, "forced", plan->forced, "parks",
                     plan->parks, "ended", plan->ended, "deadline_ms", (json_int_t)plan->deadline_ms, "vms",
                     vms);
}

static void append_move(GString *text, const Plan *plan, const Move *m)
{
    PlanStep steps[STEP_COUNT];
    g_autofree char *waits = plan_waits_for(plan, m);
    const char *why = waits ? waits : m->why;

    plan_steps(plan, steps);
    g_string_append_printf(text, "  %s: %s%s%s\n", m->name, move_state_name(m->state), why ? ", " : "",
                           why ? why : "");
    for (guint k = 0; k < STEP_COUNT; k++) {
        StepKind i = IN_ORDER[k];
        g_autofree char *expected = units_human_duration(steps[i].expected_ms);
        g_autofree char *limit = units_human_duration(steps[i].limit_ms);

        if (is_shown(plan, m, i))
            g_string_append_printf(text, "    %-6s %s on %s: %s (about %s, at most %s); undo: %s\n",
                                   step_state(m, i), steps[i].method,
                                   steps[i].on_standby ? plan->to : plan->from, steps[i].text, expected,
                                   limit, steps[i].undo);
    }
}

char *plan_text(const Plan *plan)
{
    g_autofree char *deadline = units_human_duration(plan->deadline_ms);
    GString *text = g_string_new(NULL);

    if (plan->forced)
        g_string_append_printf(text, "switchover of '%s' from %s to %s by force\n", plan->scenario,
                               plan->from, plan->to);
    else if (plan->parks)
        g_string_append_printf(text,
                               "maintenance of %s: the VMs of '%s' are parked there, and come back on it\n",
                               plan->from, plan->scenario);
    else
        g_string_append_printf(
            text,
            "switchover of '%s' from %s to %s; %s rolls back by itself %s after a lock without release\n",
            plan->scenario, plan->from, plan->to, plan->from, deadline);
    for (guint i = 0; i < plan->moves->len; i++)
        append_move(text, plan, plan->moves->pdata[i]);
    return g_string_free(text, FALSE);
}

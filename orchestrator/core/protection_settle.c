/* SPDX-License-Identifier: Apache-2.0 */
/* States follow from what is known: the goal, the plan, the active's last word
 * and its age. Settling computes what each should be and moves it there. */
#include "orchestrator/core/protection_parts.h"

static gboolean is_complete(CopyState state)
{
    return state == COPY_PROTECTED || state == COPY_LAGGING || state == COPY_RESYNCING;
}

/* What the active says, corrected by the age of its word. */
static CopyState state_by_news(const Protection *p, const ProtectionVm *vm, const ProtectionCopy *c,
                               gint64 now_ms)
{
    const NewsCopy *last = vm->last ? news_find(vm->last, c->host) : NULL;
    gint64 lag_ms = protection_lag_ms(vm, c->host, now_ms);

    if (!last)
        return c->state == COPY_STOPPED ? (c->complete ? COPY_LAGGING : COPY_UNPROTECTED) : c->state;
    if (last->state == COPY_STOPPED)
        return COPY_UNPROTECTED;
    /* Its age alone is not known, to an engine and a controller that have both just started. */
    if (last->state == COPY_UNPROTECTED && c->complete)
        return COPY_LAGGING;
    if (last->state != COPY_PROTECTED && last->state != COPY_LAGGING)
        return last->state;
    if (lag_ms < 0)
        return COPY_UNPROTECTED;
    return lag_ms > protection_lag_limit_ms(&p->scenario->policy) ? COPY_LAGGING : COPY_PROTECTED;
}

static CopyState copy_target(const Protection *p, const ProtectionVm *vm, const ProtectionCopy *c,
                             gint64 now_ms)
{
    if (p->goal == GOAL_STOPPED)
        return COPY_STOPPED;
    if (vm->part == PART_MOVING)
        return COPY_SWITCHING;
    if (vm->part == PART_BLOCKED || (vm->part == PART_DOWN && !vm->last))
        return COPY_FAILED;
    if (!protection_vm_is_covered(p, vm))
        return COPY_UNPROTECTED;
    if (p->goal == GOAL_PAUSED && vm->told == TOLD_PAUSE)
        return COPY_PAUSED;
    /* Out of a plan, and nothing heard since: a complete copy is still one. */
    if ((c->state == COPY_SWITCHING || c->state == COPY_PAUSED) && !vm->last)
        return c->complete ? COPY_LAGGING : COPY_UNPROTECTED;
    return state_by_news(p, vm, c, now_ms);
}

static char *why_not(const Protection *p, const ProtectionVm *vm, const ProtectionCopy *c)
{
    const NewsCopy *last = vm->last ? news_find(vm->last, c->host) : NULL;
    const char *trouble = protection_trouble(vm);

    if (p->goal == GOAL_STOPPED)
        return protection_owed_text(p, vm);
    if (vm->part == PART_BLOCKED)
        return g_strdup(vm->stayed);
    if (vm->rival)
        return g_strdup_printf(
            "%s says that it runs there in another reign of the same number, which this controller "
            "has not made: see understudy events for what to do",
            vm->rival);
    if (trouble)
        return g_strdup(trouble);
    if (!protection_vm_is_covered(p, vm))
        return g_strdup_printf(
            "runs on %s after a switchover: nothing protects it there until 'understudy run "
            "%s' replicates it back",
            vm->active, p->scenario->name);
    if (!protection_is_up(p, vm->active))
        return g_strdup_printf("%s does not answer the controller", vm->active);
    if (!protection_is_up(p, c->host) && !c->admitted)
        return g_strdup_printf("%s does not answer the controller", c->host);
    if (last && last->why)
        return g_strdup(last->why);
    return vm->stayed ? g_strdup_printf("not moved: %s", vm->stayed) : NULL;
}

/* That a copy grows old while a host of it is restarted is what its operator wants. */
static gboolean is_expected(const Protection *p, const StateEdge *edge)
{
    return (edge->event == EVENT_LAG_HIGH || edge->event == EVENT_LAG_OVER) && protection_is_maintained(p);
}

static void publish_move(const Protection *p, const ProtectionVm *vm, const ProtectionCopy *c,
                         const StateEdge *edge, ActionList *out)
{
    if (edge->event != EVENT_NONE && !is_expected(p, edge))
        action_publish(out, event_new(edge->event, p->scenario->name, c->host, vm->name,
                                      c->why ? c->why : edge->reason));
}

/* TRUE if something that must be durable changed. */
static gboolean move_copy(const Protection *p, const ProtectionVm *vm, ProtectionCopy *c, CopyState to,
                          ActionList *out)
{
    const StateEdge *edge = state_may_move(copy_machine(), c->state, to);
    gboolean complete =
        is_complete(to) || (to != COPY_UNPROTECTED && to != COPY_SYNCHRONIZING && c->complete);
    gboolean changed = complete != c->complete;

    g_assert(edge);
    if (!c->restored)
        publish_move(p, vm, c, edge, out);
    action_log(out, g_strdup_printf("%s on %s %s: %s", vm->name, c->host, copy_state_name(to), edge->reason));
    c->restored = FALSE;
    c->state = to;
    c->complete = complete;
    return changed;
}

static gboolean settle_copies(const Protection *p, ProtectionVm *vm, gint64 now_ms, ActionList *out)
{
    gboolean changed = FALSE;

    for (guint i = 0; i < vm->copies->len; i++) {
        ProtectionCopy *c = vm->copies->pdata[i];
        CopyState to = copy_target(p, vm, c, now_ms);

        g_free(c->why);
        c->why = why_not(p, vm, c);
        if (to != c->state)
            changed |= move_copy(p, vm, c, to, out);
        else if (vm->last)
            c->restored = FALSE;
    }
    return changed;
}

typedef struct {
    guint all, away, failed, paused, late, first;
} Tally;

static void count_vm(const Protection *p, const ProtectionVm *vm, Tally *t)
{
    const ProtectionCopy *best = vm->copies->pdata[0];

    t->all++;
    if (!protection_vm_is_covered(p, vm)) {
        t->away++;
        return;
    }
    switch (protection_vm_state(vm)) {
    case COPY_FAILED:
        t->failed++;
        break;
    case COPY_PAUSED:
        t->paused++;
        break;
    case COPY_LAGGING:
    case COPY_RESYNCING:
    case COPY_SWITCHING:
        t->late++;
        break;
    case COPY_UNPROTECTED:
    case COPY_SYNCHRONIZING:
        /* A first copy under way is no trouble; one that something hinders is. */
        *(best->why ? &t->late : &t->first) += 1;
        break;
    case COPY_PROTECTED:
    case COPY_STOPPED:
        break;
    }
}

static ScenarioState scenario_target(const Protection *p)
{
    Tally t = {0};

    if (p->verifying)
        return SCENARIO_VERIFYING;
    if (!id_is_nil(p->plan))
        return p->parks ? SCENARIO_MAINTENANCE : SCENARIO_SWITCHING;
    if (p->goal == GOAL_STOPPED)
        return SCENARIO_STOPPED;
    if (protection_is_maintained(p))
        return SCENARIO_MAINTENANCE;
    for (guint i = 0; i < p->vms->len; i++)
        count_vm(p, p->vms->pdata[i], &t);
    if (t.failed || p->countdown.over)
        return SCENARIO_FAILED;
    if (t.away)
        return t.away == t.all ? SCENARIO_SWITCHED : SCENARIO_DEGRADED;
    if (t.paused == t.all)
        return SCENARIO_PAUSED;
    if (t.late || t.paused)
        return SCENARIO_DEGRADED;
    return t.first ? SCENARIO_SYNCHRONIZING : SCENARIO_RUNNING;
}

static gboolean settle_vms(const Protection *p, gint64 now_ms, ActionList *out)
{
    gboolean changed = FALSE;

    for (guint i = 0; i < p->vms->len; i++)
        changed |= settle_copies(p, p->vms->pdata[i], now_ms, out);
    return changed;
}

void protection_settle(Protection *p, gint64 now_ms, ActionList *out)
{
    gboolean changed = settle_vms(p, now_ms, out);
    ScenarioState to = scenario_target(p);

    if (to != p->state) {
        const StateEdge *edge = state_may_move(scenario_machine(), p->state, to);

        g_assert(edge);
        action_log(out,
                   g_strdup_printf("%s %s: %s", p->scenario->name, scenario_state_name(to), edge->reason));
        p->state = to;
    }
    if (changed)
        action_persist(out, NULL);
}

void protection_restore(Protection *p)
{
    g_autoptr(ActionList) unheard = action_list_new();

    settle_vms(p, 0, unheard);
    p->state = scenario_target(p);
}

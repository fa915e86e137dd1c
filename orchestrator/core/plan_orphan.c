/* SPDX-License-Identifier: Apache-2.0 */
/* A plan that an active is in and that nobody knows: the controller was lost with its journal, or has an older memory. What
 * was released its active never starts again, and the standby has not been asked to; what is only locked it would take
 * back, but not before the plan's time is over. So the plan is built anew from what the active says: the one goes on,
 * the other is rolled back. That one of its VMs is parked says of all that they were to be. */
#include "orchestrator/core/plan_parts.h"
#include "orchestrator/core/protection_parts.h"

static const NewsPlan *plan_told(const Protection *p, const ProtectionVm *vm)
{
    return vm->last && !id_is_nil(vm->last->plan.id) && protection_is_up(p, vm->active) ? &vm->last->plan
                                                                                        : NULL;
}

/* The host that it was released to, or would have been; NULL: none that could be asked. For what was parked without it it need not be. */
static const char *successor_of(const Protection *p, const ProtectionVm *vm, const NewsPlan *told)
{
    const char *name = protection_keeper(vm);
    const RosterHost *host = roster_find(p->roster, name);

    return host && (told->alone || protection_is_up(p, name)) &&
                   (!told->released || id_equal(host->id, told->successor))
               ? name
               : NULL;
}

static Plan *begin(const Protection *p, const ProtectionVm *vm, const NewsPlan *told)
{
    const char *to = successor_of(p, vm, told);
    Plan *plan;

    if (!to)
        return NULL;
    plan = plan_new(told->id, p->scenario->name, vm->active, to);
    plan->to_id = roster_find(p->roster, to)->id;
    plan->next = told->next;
    plan->reverse = policy_reverses(&p->scenario->policy);
    plan->from_up = TRUE;
    plan->to_up = protection_is_up(p, to);
    plan_set_times(plan, &p->scenario->policy);
    return plan;
}

/* Those that are in the same plan. None begins anew: what was done is read. */
static void add_moves(const Protection *p, Plan *plan)
{
    EACH_VM (p, vm) {
        const NewsPlan *told = plan_told(p, vm);
        Move *m;

        if (!told || !id_equal(told->id, plan->id) || !g_str_equal(vm->active, plan->from))
            continue;
        m = plan_add_move(plan, vm->uuid, vm->name, vm->reign);
        m->begun = TRUE;
        m->rolling = !told->released && !told->parked;
        plan->parks |= told->parked;
        plan->until_told |= told->until_told;
        plan->alone |= told->alone;
        if (m->rolling)
            move_set_why(m, "the controller has lost what it knew of the plan");
        else if (told->released)
            plan->next = told->next;
    }
    /* Should it be gone on with by force: nobody has given a reign of it away. */
    if (plan->parks)
        plan->next = (Reign){protection_term(p) + 1, plan->id};
}

Plan *plan_orphan(const Protection *p)
{
    if (!id_is_nil(p->plan) || p->goal == GOAL_STOPPED || !protection_is_sure(p, NULL))
        return NULL;
    EACH_VM (p, vm) {
        const NewsPlan *told = plan_told(p, vm);
        Plan *plan = told ? begin(p, vm, told) : NULL;

        if (!plan)
            continue;
        add_moves(p, plan);
        plan_order(plan, p);
        return plan;
    }
    return NULL;
}

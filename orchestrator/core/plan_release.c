/* SPDX-License-Identifier: Apache-2.0 */
/* A release whose plan nobody knows: the controller was lost with its journal, or has an older memory. Its active never
 * starts those VMs again, and the standby has not been asked to: the plan is built anew from what the active says. */
#include "orchestrator/core/plan_parts.h"
#include "orchestrator/core/protection_parts.h"

static const NewsRelease *release_of(const Protection *p, const ProtectionVm *vm)
{
    return vm->last && !id_is_nil(vm->last->release.plan) && protection_is_up(p, vm->active)
               ? &vm->last->release
               : NULL;
}

/* The host whose engine it was released to; NULL: none that could be asked. */
static const char *successor_of(const Protection *p, const NewsRelease *release)
{
    const Scenario *scenario = p->scenario;

    for (gint i = -1; i < (gint)scenario->replicas->len; i++) {
        const char *name = i < 0 ? scenario->master : scenario->replicas->pdata[i];
        const RosterHost *host = roster_find(p->roster, name);

        if (host && id_equal(host->id, release->successor) && protection_is_up(p, name))
            return name;
    }
    return NULL;
}

static Plan *of_release(const Protection *p, const ProtectionVm *vm, const NewsRelease *release)
{
    const char *to = successor_of(p, release);
    Plan *plan;

    if (!to || g_str_equal(to, vm->active))
        return NULL;
    plan = plan_new(release->plan, p->scenario->name, vm->active, to);
    plan->to_id = release->successor;
    plan->next = release->next;
    plan->reverse = policy_reverses(&p->scenario->policy);
    plan->from_up = plan->to_up = TRUE;
    plan_set_times(plan, &p->scenario->policy);
    return plan;
}

/* Those that the same plan released, and none has begun anew: what was done is read. */
static void add_moves(const Protection *p, Plan *plan)
{
    EACH_VM (p, vm) {
        const NewsRelease *release = release_of(p, vm);

        if (release && id_equal(release->plan, plan->id) && g_str_equal(vm->active, plan->from))
            plan_add_move(plan, vm->uuid, vm->name, vm->reign)->begun = TRUE;
    }
}

Plan *plan_of_release(const Protection *p)
{
    if (!id_is_nil(p->plan) || p->goal == GOAL_STOPPED || !protection_is_sure(p, NULL))
        return NULL;
    EACH_VM (p, vm) {
        const NewsRelease *release = release_of(p, vm);
        Plan *plan = release ? of_release(p, vm, release) : NULL;

        if (!plan)
            continue;
        add_moves(p, plan);
        return plan;
    }
    return NULL;
}

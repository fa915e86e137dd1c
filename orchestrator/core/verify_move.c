/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/core/verify_move.h"

#include "vmconnect/base/error.h"

static Scenario *way_of(const Plan *plan, const Policy *policy)
{
    Scenario *way = scenario_new(plan->scenario, plan->from);

    scenario_add_replica(way, plan->to);
    for (guint i = 0; i < plan->moves->len; i++) {
        const Move *m = plan->moves->pdata[i];

        scenario_add_vm(way, m->vm, m->name);
    }
    way->policy = *policy;
    return way;
}

VerifyFacts *verify_move_facts(const Protection *p, const Plan *plan)
{
    g_autoptr(Scenario) way = way_of(plan, &p->scenario->policy);
    const Move *first = plan->moves->pdata[0];
    json_auto_t *networks = protection_networks_of(p, protection_find(p, first->vm));

    return verify_facts_new_one_way(way, networks, !plan->forced);
}

GError *verify_move_failure(const GPtrArray *findings)
{
    g_autofree char *more = NULL;
    const Finding *first = NULL;
    guint bars = 0;

    for (guint i = 0; i < findings->len; i++) {
        const Finding *f = findings->pdata[i];

        bars += f->bars_move;
        first = first || !f->bars_move ? first : f;
    }
    if (!first)
        return NULL;
    more = bars > 1 ? g_strdup_printf(" (and %u more)", bars - 1) : g_strdup("");
    return g_error_new(US_ERROR, US_ERROR_VERIFY, "%s (%s): %s%s; nothing was shut down", first->cause,
                       first->id, first->remedy, more);
}

json_t *verify_move_warnings(const GPtrArray *findings, const char *host)
{
    json_t *list = json_array();

    for (guint i = 0; i < findings->len; i++) {
        const Finding *f = findings->pdata[i];

        if (f->bars_move && g_strcmp0(f->host, host) == 0)
            json_array_append_new(list, json_sprintf("%s (%s): %s", f->cause, f->id, f->remedy));
    }
    return list;
}

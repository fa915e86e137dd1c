/* SPDX-License-Identifier: Apache-2.0 */
/* Scenarios as documents: made, shown, changed, deleted. */
#include "orchestrator/operations.h"
#include "orchestrator/verification.h"
#include "vmconnect/base/error.h"

#define PURGE_MS 120000

void operation_accepted(void *user, const GError *error)
{
    ApiCall *call = user;

    if (error)
        api_call_fail(call, error);
    else
        api_call_accept(call, NULL);
}

void operation_done(void *user, const GError *error)
{
    ApiCall *call = user;

    if (error)
        api_call_fail(call, error);
    else
        api_call_answer(call, json_object());
}

/* --- looking ----------------------------------------------------------- */

static json_t *summary(const Protection *p)
{
    json_t *doc = scenario_to_json(p->scenario);

    json_object_set_new(doc, "state", json_string(scenario_state_name(p->state)));
    json_object_set_new(doc, "active",
                        protection_active(p) ? json_string(protection_active(p)) : json_null());
    return doc;
}

static void scenario_list(ApiCall *call, void *user)
{
    Controller *c = user;
    g_autoptr(GPtrArray) all = scenarios_list(c->scenarios);
    json_t *list = json_array();

    for (guint i = 0; i < all->len; i++)
        json_array_append_new(list, summary(all->pdata[i]));
    api_call_answer(call, json_pack("{s:o}", "scenarios", list));
}

static void scenario_show(ApiCall *call, void *user)
{
    Controller *c = user;
    g_autoptr(GError) error = NULL;
    const Protection *p = scenarios_find(c->scenarios, api_call_parameter(call, "scenario"), &error);

    if (p)
        api_call_answer(call, scenario_to_json(p->scenario));
    else
        api_call_fail(call, error);
}

/* --- making and changing ----------------------------------------------- */

/* Who waits for a scenario's document. */
typedef struct {
    Controller *c;
    ApiCall *call;
    char *name;
} Waiting;

static Waiting *waiting_new(Controller *c, ApiCall *call, const char *name)
{
    Waiting *w = g_new0(Waiting, 1);

    *w = (Waiting){c, call, g_strdup(name)};
    return w;
}

static void waiting_free(Waiting *w)
{
    g_free(w->name);
    g_free(w);
}

static void on_kept(void *user, const GError *error)
{
    Waiting *w = user;
    const Protection *p = error ? NULL : scenarios_find(w->c->scenarios, w->name, NULL);

    if (p)
        api_call_answer(w->call, scenario_to_json(p->scenario));
    else
        api_call_fail(w->call, error);
    waiting_free(w);
}

static void scenario_create(ApiCall *call, void *user)
{
    Controller *c = user;
    g_autoptr(GError) error = NULL;
    g_autoptr(Scenario) scenario = scenario_from_json(api_call_body(call), &error);
    Waiting *w = waiting_new(c, call, scenario ? scenario->name : NULL);

    if (scenario && scenarios_create(c->scenarios, scenario, on_kept, w, &error))
        return;
    api_call_fail(call, error);
    waiting_free(w);
}

static Scenario *changed(Controller *c, const char *name, const json_t *body, GError **error)
{
    const Protection *p = scenarios_find(c->scenarios, name, error);
    g_autoptr(Scenario) to = p ? scenario_copy(p->scenario) : NULL;

    return to && scenario_patch(to, body, error) ? g_steal_pointer(&to) : NULL;
}

/* What @body says of the scenario as it is by now. */
static void set_now(Controller *c, ApiCall *call, const char *name, const json_t *body)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(Scenario) to = changed(c, name, body, &error);
    Waiting *w = waiting_new(c, call, name);

    if (to && scenarios_set(c->scenarios, to, on_kept, w, &error))
        return;
    api_call_fail(call, error);
    waiting_free(w);
}

/* One that runs was verified for an operator who looks before each switchover. */
static gboolean becomes_auto(const Protection *p, const Scenario *to)
{
    return p->scenario->policy.switchover != SWITCHOVER_AUTO && to->policy.switchover == SWITCHOVER_AUTO &&
           protection_moment(p) == POLICY_MOMENT_RUNNING;
}

/* What a host that is silent would say is not known, and it may be what bars it. */
static GError *why_not_auto(const VerifyFacts *facts, const Scenario *s)
{
    g_autoptr(GPtrArray) findings = verify_check(facts);
    GError *why = verify_auto_failure(findings);

    why = why ? why : verify_silence(facts, s->master);
    for (guint i = 0; !why && i < s->replicas->len; i++)
        why = verify_silence(facts, s->replicas->pdata[i]);
    return why;
}

static void on_may_be_auto(void *user, const VerifyFacts *facts)
{
    Waiting *w = user;
    g_autoptr(GError) why = NULL;
    const Protection *p = scenarios_find(w->c->scenarios, w->name, &why);

    if (p)
        why = why_not_auto(facts, p->scenario);
    if (why) {
        g_prefix_error(&why, "nothing was changed, for it would switch over by itself: ");
        api_call_fail(w->call, why);
    } else {
        set_now(w->c, w->call, w->name, api_call_body(w->call));
    }
    waiting_free(w);
}

static void scenario_set(ApiCall *call, void *user)
{
    Controller *c = user;
    const char *name = api_call_parameter(call, "scenario");
    const Protection *p = scenarios_find(c->scenarios, name, NULL);
    g_autoptr(Scenario) to = p ? changed(c, name, api_call_body(call), NULL) : NULL;

    if (to && becomes_auto(p, to) && scenario_may_become(p->scenario, to, POLICY_MOMENT_RUNNING, NULL))
        verification_start(c->hosts, to, protection_networks(p), on_may_be_auto, waiting_new(c, call, name));
    else
        set_now(c, call, name, api_call_body(call));
}

/* --- deleting ---------------------------------------------------------- */

/* The copies of one VM after the other. Their engine has let them go with the stop: it takes each
 * up once more (standby.admit), to delete it (standby.dismiss). If that ends between the two, the
 * protection owes the dismissal. */
typedef struct {
    Controller *c;
    ApiCall *call;
    char *name;
    guint vm;
    gboolean admitted;
} Purging;

static void purge_next(Purging *g);

static void on_deleted(void *user, const GError *error)
{
    Purging *g = user;

    if (!error)
        rehearsals_forget(g->c->rehearsals, g->name);
    operation_done(g->call, error);
    g_free(g->name);
    g_free(g);
}

static void on_purged(void *user, const json_t *result, const GError *error)
{
    Purging *g = user;

    (void)result;
    if (error) {
        g_autoptr(GError) why = g_error_copy(error);

        g_prefix_error(&why, "scenario '%s' stays, since its copies could not be deleted: ", g->name);
        scenarios_keep(g->c->scenarios, g->name);
        on_deleted(g, why);
        return;
    }
    if (g->admitted)
        g->vm++;
    g->admitted = !g->admitted;
    purge_next(g);
}

static json_t *purge_params(const Purging *g, const Protection *p, const ProtectionVm *vm)
{
    const RosterHost *active = roster_find(p->roster, vm->active);

    if (g->admitted)
        return json_pack("{s:s, s:b}", "vm", ID_TEXT(vm->uuid), "purge", 1);
    return json_pack("{s:s, s:o, s:s, s:s, s:o, s:O, s:o}", "scenario", g->name, "reign",
                     reign_to_json(vm->reign), "vm", ID_TEXT(vm->uuid), "name", vm->name, "active",
                     roster_host_brief(active), "networks", p->networks, "retain",
                     policy_for_standby(&p->scenario->policy));
}

static void purge_next(Purging *g)
{
    const Protection *p = scenarios_find(g->c->scenarios, g->name, NULL);
    const ProtectionVm *vm = g->vm < p->vms->len ? p->vms->pdata[g->vm] : NULL;
    json_auto_t *params = NULL;

    if (!vm) {
        scenarios_delete(g->c->scenarios, g->name, on_deleted, g);
        return;
    }
    params = purge_params(g, p, vm);
    hosts_call(g->c->hosts, protection_keeper(vm), g->admitted ? "standby.dismiss" : "standby.admit", params,
               PURGE_MS, on_purged, g);
}

static void on_begun(void *user, const GError *error)
{
    Purging *g = user;

    if (error)
        on_deleted(g, error);
    else
        purge_next(g);
}

static void scenario_delete(ApiCall *call, void *user)
{
    Controller *c = user;
    g_autoptr(GError) error = NULL;
    const char *name = api_call_parameter(call, "scenario");
    gint64 purge, force;
    Purging *g;

    if (!api_call_query_number(call, "purge", 0, 1, 0, &purge, &error) ||
        !api_call_query_number(call, "force", 0, 1, 0, &force, &error)) {
        api_call_fail(call, error);
        return;
    }
    if (purge && force) {
        g_set_error(&error, US_ERROR, US_ERROR_USAGE,
                    "purge and force exclude each other: copies are deleted by an engine that answers");
        api_call_fail(call, error);
        return;
    }
    g = g_new0(Purging, 1);
    *g = (Purging){.c = c, .call = call, .name = g_strdup(name), .vm = purge ? 0 : G_MAXUINT};
    if (!scenarios_begin_delete(c->scenarios, name,
                                purge   ? SCENARIOS_DELETE_PURGE
                                : force ? SCENARIOS_DELETE_FORCE
                                        : SCENARIOS_DELETE,
                                on_begun, g, &error))
        on_deleted(g, error);
}

const Operation OPERATIONS_SCENARIOS[] = {
    {"scenario.list", scenario_list},     {"scenario.create", scenario_create},
    {"scenario.import", scenario_create}, {"scenario.show", scenario_show},
    {"scenario.export", scenario_show},   {"scenario.set", scenario_set},
    {"scenario.delete", scenario_delete}, {NULL, NULL},
};

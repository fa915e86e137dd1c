/* SPDX-License-Identifier: Apache-2.0 */
/* Hosts and their VMs: looked at, and let go. */
#include "orchestrator/core/hold.h"
#include "orchestrator/fence_file.h"
#include "orchestrator/operations.h"
#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/log.h"

#define LIST_MS 30000
#define DISOWN_MS 10000

/* --- looking ----------------------------------------------------------- */

gboolean operation_expect_host(const Controller *c, const char *name, GError **error)
{
    if (roster_find(hosts_roster(c->hosts), name))
        return TRUE;
    g_set_error(error, US_ERROR, US_ERROR_NOT_FOUND,
                "there is no host '%s'; understudy host list shows those there are", name);
    return FALSE;
}

static gboolean find(Controller *c, ApiCall *call, const char **ret_name)
{
    g_autoptr(GError) error = NULL;
    const char *name = api_call_parameter(call, "host");

    if (operation_expect_host(c, name, &error)) {
        *ret_name = name;
        return TRUE;
    }
    api_call_fail(call, error);
    return FALSE;
}

static void host_list(ApiCall *call, void *user)
{
    Controller *c = user;
    g_autoptr(GPtrArray) names = hosts_names(c->hosts);
    json_t *list = json_array();

    for (guint i = 0; i < names->len; i++)
        json_array_append_new(list, hosts_describe(c->hosts, names->pdata[i]));
    api_call_answer(call, json_pack("{s:o}", "hosts", list));
}

static void host_show(ApiCall *call, void *user)
{
    Controller *c = user;
    const char *name;
    json_t *doc;

    if (!find(c, call, &name))
        return;
    doc = hosts_describe(c->hosts, name);
    json_object_set_new(doc, "fence", fence_describe(c->fences, name));
    json_object_set_new(doc, "guard", vitals_describe_guard(scenarios_vitals(c->scenarios), name));
    json_object_set_new(doc, "watched", vitals_describe_host(scenarios_vitals(c->scenarios), name));
    api_call_answer(call, doc);
}

typedef struct {
    Controller *c;
    ApiCall *call;
} Listing;

/* Which scenario a VM is in we know better than the engine, which knows those it replicates. */
static void on_vms(void *user, const json_t *result, const GError *error)
{
    g_autofree Listing *l = user;
    json_t *doc, *vm;
    gsize i;

    if (error) {
        api_call_fail(l->call, error);
        return;
    }
    doc = json_deep_copy(result);
    json_array_foreach(json_object_get(doc, "vms"), i, vm)
    {
        const char *uuid = json_string_value(json_object_get(vm, "uuid"));
        Id id;
        const char *scenario =
            uuid && id_parse(uuid, &id, NULL) ? scenarios_of_vm(l->c->scenarios, id) : NULL;

        json_object_set_new(vm, "scenario", scenario ? json_string(scenario) : json_null());
    }
    api_call_answer(l->call, doc);
}

static void vm_list(ApiCall *call, void *user)
{
    Controller *c = user;
    const char *name;
    Listing *l;

    if (!find(c, call, &name))
        return;
    l = g_new0(Listing, 1);
    *l = (Listing){c, call};
    hosts_call(c->hosts, name, "vm.list", NULL, LIST_MS, on_vms, l);
}

/* --- holding ----------------------------------------------------------- */

typedef struct {
    Controller *c;
    ApiCall *call;
    char *name;
    json_t *hold; /* NULL: it ends */
} Holding;

static void on_held(const GError *error, void *user)
{
    Holding *h = user;

    /* One that has gone meanwhile had no row any more, and nothing was changed. */
    if (!error && !h->c->ending && roster_find(hosts_roster(h->c->hosts), h->name)) {
        g_autoptr(Event) event = event_new(h->hold ? EVENT_HOST_HELD : EVENT_HOST_RELEASED, NULL, h->name,
                                           NULL, h->hold ? hold_reason(h->hold) : NULL);

        hosts_hold(h->c->hosts, h->name, h->hold);
        events_publish(h->c->events, event);
    }
    operation_done(h->call, error);
    json_decref(h->hold);
    g_free(h->name);
    g_free(h);
}

/* FALSE with @error EXISTS if it is so already. Takes @steal_hold. */
static gboolean hold(Controller *c, ApiCall *call, const RosterHost *host, json_t *steal_hold, GError **error)
{
    DatabaseChanges *changes;
    Holding *h;

    if ((host->hold != NULL) == (steal_hold != NULL)) {
        g_set_error(error, US_ERROR, US_ERROR_EXISTS,
                    steal_hold ? "host '%s' is held already" : "nobody holds host '%s'", host->name);
        json_decref(steal_hold);
        return FALSE;
    }
    h = g_new0(Holding, 1);
    *h = (Holding){c, call, g_strdup(host->name), steal_hold};
    changes = database_changes_new();
    database_hold_host(changes, host->id, steal_hold);
    database_submit(c->db, changes, on_held, h);
    return TRUE;
}

static void host_hold(ApiCall *call, void *user)
{
    Controller *c = user;
    g_autoptr(GError) error = NULL;
    const char *name;
    json_t *wanted;

    if (!find(c, call, &name))
        return;
    wanted = hold_from_request(api_call_body(call), clock_wall_ms(), &error);
    if (!wanted || !hold(c, call, roster_find(hosts_roster(c->hosts), name), wanted, &error))
        api_call_fail(call, error);
}

static void host_unhold(ApiCall *call, void *user)
{
    Controller *c = user;
    g_autoptr(GError) error = NULL;
    const char *name;

    if (find(c, call, &name) && !hold(c, call, roster_find(hosts_roster(c->hosts), name), NULL, &error))
        api_call_fail(call, error);
}

/* --- is its fence there? -------------------------------------------------- */

typedef struct {
    ApiCall *call;
    char *name;
} Looking;

static void on_looked(void *user, gboolean is_off, const GError *error)
{
    Looking *l = user;

    if (error)
        api_call_fail(l->call, error);
    else
        api_call_answer(l->call, json_pack("{s:s, s:s}", "host", l->name, "power", is_off ? "off" : "on"));
    g_free(l->name);
    g_free(l);
}

static void host_fence(ApiCall *call, void *user)
{
    Controller *c = user;
    g_autoptr(GError) error = NULL;
    const char *name;
    Looking *l;

    if (!find(c, call, &name))
        return;
    if (c->ending || !fence_is_set(c->fences, name)) {
        g_set_error(
            &error, US_ERROR, US_ERROR_NOT_FOUND,
            "no fence is set for host '%s': a file %s/%s on the controller's machine names its agent, "
            "see understudy-controller(8)",
            name, FENCE_FOLDER, name);
        api_call_fail(call, error);
        return;
    }
    l = g_new0(Looking, 1);
    *l = (Looking){call, g_strdup(name)};
    fence_look(c->fences, name, on_looked, l);
}

/* --- removing ---------------------------------------------------------- */

static gboolean check_unused(const Controller *c, const char *name, GError **error)
{
    const char *scenario = scenarios_using(c->scenarios, name);

    if (scenario)
        g_set_error(error, US_ERROR, US_ERROR_REFUSED,
                    "scenario '%s' uses host '%s': without it its VMs would not be protected; understudy "
                    "scenario delete %s first",
                    scenario, name, scenario);
    return !scenario;
}

/* The engine forgets us first; one that does not answer is forgotten all the same, and the
 * answer says that it still has us as its owner. */
typedef struct {
    Controller *c;
    ApiCall *call;
    char *name;
    char *why; /* it could not be told; NULL: it has no owner any more */
} Removing;

static void removing_end(Removing *r, const GError *error)
{
    if (error)
        api_call_fail(r->call, error);
    else
        api_call_answer(r->call, json_pack("{s:b, s:s?}", "disowned", r->why == NULL, "why", r->why));
    g_free(r->name);
    g_free(r->why);
    g_free(r);
}

static void on_removed(const GError *error, void *user)
{
    Removing *r = user;

    if (!error && !r->c->ending) {
        hosts_remove(r->c->hosts, r->name);
        scenarios_host_is_gone(r->c->scenarios, r->name);
        log_notice("host '%s' is not in our care any more", r->name);
    }
    removing_end(r, error);
}

static void forget(Removing *r)
{
    const RosterHost *host = roster_find(hosts_roster(r->c->hosts), r->name);
    DatabaseChanges *changes;
    g_autoptr(GError) error = NULL;

    /* It may have got a scenario, or have gone, while its engine was asked. */
    if (!host || !check_unused(r->c, r->name, &error)) {
        if (!error)
            error = g_error_new(US_ERROR, US_ERROR_NOT_FOUND, "host '%s' is gone already", r->name);
        removing_end(r, error);
        return;
    }
    changes = database_changes_new();
    database_delete_host(changes, host->id);
    database_submit(r->c->db, changes, on_removed, r);
}

static gboolean is_silence(const GError *error)
{
    return g_error_matches(error, US_ERROR, US_ERROR_UNREACHABLE) ||
           g_error_matches(error, US_ERROR, US_ERROR_TIMEOUT);
}

static void on_disowned(void *user, const json_t *result, const GError *error)
{
    Removing *r = user;

    (void)result;
    if (error && !is_silence(error)) {
        removing_end(r, error);
        return;
    }
    r->why = error ? g_strdup(error->message) : NULL;
    forget(r);
}

static void host_remove(ApiCall *call, void *user)
{
    Controller *c = user;
    g_autoptr(GError) error = NULL;
    const char *name;
    Removing *r;

    if (!find(c, call, &name))
        return;
    if (!check_unused(c, name, &error)) {
        api_call_fail(call, error);
        return;
    }
    r = g_new0(Removing, 1);
    *r = (Removing){c, call, g_strdup(name), NULL};
    hosts_call(c->hosts, name, "host.disown", NULL, DISOWN_MS, on_disowned, r);
}

const Operation OPERATIONS_HOSTS[] = {
    {"host.list", host_list},   {"host.show", host_show},
    {"host.hold", host_hold},   {"host.unhold", host_unhold},
    {"host.fence", host_fence}, {"host.remove", host_remove},
    {"vm.list", vm_list},       {NULL, NULL},
};

/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/core/verify_facts.h"

#include "netmap/host_json.h"
#include "netmap/mapping_json.h"
#include "vmconnect/base/error.h"

#include <string.h>

static const char INFO[] = "host.info", VMS[] = "vm.list", CHECK[] = "vm.check", TRIAL[] = "host.trial",
                  FITS[] = "standby.check", SEED[] = "standby.seed", ROUTES[] = "host.routes";
/* The same question, asked of the master. */
static const char BACK[] = "standby.check";

static void fact_free(gpointer data)
{
    Fact *fact = data;

    json_decref(fact->said);
    json_decref(fact->params);
    g_clear_error(&fact->failure);
    g_free(fact);
}

static void hostfacts_free(gpointer data)
{
    HostFacts *h = data;

    g_clear_pointer(&h->by_uuid, g_hash_table_unref);
    g_free(h);
}

/* Takes @params. */
static Fact *ask(VerifyFacts *f, const char *host, const char *method, Id vm, json_t *params)
{
    Fact *fact = g_new0(Fact, 1);

    fact->call = (VerifyCall){host, method, params};
    fact->vm = vm;
    fact->params = params;
    g_ptr_array_add(f->all, fact);
    return fact;
}

/* The routes before the trial: a host does both on one thread. */
static void add_host(VerifyFacts *f, const char *host, gboolean tried, gboolean has_routes)
{
    HostFacts *h = g_new0(HostFacts, 1);

    h->host = host;
    h->info = ask(f, host, INFO, ID_NIL, NULL);
    h->vms = ask(f, host, VMS, ID_NIL, NULL);
    h->routes = has_routes ? ask(f, host, ROUTES, ID_NIL, json_pack("{s:[]}", "addresses")) : NULL;
    h->trial = tried ? ask(f, host, TRIAL, ID_NIL, NULL) : NULL;
    g_ptr_array_add(f->hosts, h);
}

gboolean facts_want_auto(const VerifyFacts *f)
{
    return f->scenario->policy.switchover == SWITCHOVER_AUTO && !f->one_way;
}

static VerifyFacts *facts_new(const Scenario *scenario, const json_t *networks, gboolean one_way,
                              gboolean try_replicas)
{
    VerifyFacts *f = g_new0(VerifyFacts, 1);
    gboolean has_routes;

    f->scenario = scenario_copy(scenario);
    f->one_way = one_way;
    has_routes = facts_want_auto(f);
    f->in_force = networks ? mapping_from_json((json_t *)networks, NULL) : NULL;
    f->all = g_ptr_array_new_with_free_func(fact_free);
    f->hosts = g_ptr_array_new_with_free_func(hostfacts_free);
    f->checks = g_ptr_array_new();
    f->fits = g_ptr_array_new();
    f->backs = g_ptr_array_new();
    add_host(f, f->scenario->master, !one_way, has_routes);
    for (guint i = 0; i < f->scenario->replicas->len; i++)
        add_host(f, f->scenario->replicas->pdata[i], try_replicas, has_routes);
    for (guint i = 0; i < f->scenario->vms->len; i++) {
        Id vm = ((const ScenarioVm *)f->scenario->vms->pdata[i])->uuid;

        g_ptr_array_add(f->checks,
                        ask(f, f->scenario->master, CHECK, vm, json_pack("{s:s}", "vm", ID_TEXT(vm))));
    }
    return f;
}

VerifyFacts *verify_facts_new(const Scenario *scenario, const json_t *networks)
{
    return facts_new(scenario, networks, FALSE, TRUE);
}

VerifyFacts *verify_facts_new_one_way(const Scenario *way, const json_t *networks, gboolean tried)
{
    return facts_new(way, networks, TRUE, tried);
}

static void forget_machine(VerifyFacts *f)
{
    g_free(f->machine_id);
    g_free(f->boot_id);
    g_free(f->system_uuid);
}

void verify_facts_free(VerifyFacts *f)
{
    if (!f)
        return;
    g_ptr_array_free(f->hosts, TRUE);
    g_ptr_array_free(f->checks, TRUE);
    g_ptr_array_free(f->fits, TRUE);
    g_ptr_array_free(f->backs, TRUE);
    mapping_free(f->mapping);
    mapping_free(f->in_force);
    forget_machine(f);
    g_ptr_array_free(f->all, TRUE);
    scenario_free(f->scenario);
    g_free(f);
}

void verify_facts_set_machine(VerifyFacts *f, const VerifyMachine *controller)
{
    forget_machine(f);
    f->machine_id = g_strdup(controller->machine_id);
    f->boot_id = g_strdup(controller->boot_id);
    f->system_uuid = g_strdup(controller->system_uuid);
}

static HostFacts *find_host(const VerifyFacts *f, const char *host)
{
    for (guint i = 0; i < f->hosts->len; i++)
        if (g_str_equal(((const HostFacts *)f->hosts->pdata[i])->host, host))
            return f->hosts->pdata[i];
    return NULL;
}

void verify_facts_set_clock(VerifyFacts *f, const char *host, gint64 offset_ms)
{
    HostFacts *h = find_host(f, host);

    h->has_clock = TRUE;
    h->clock_offset_ms = offset_ms;
}

void verify_facts_set_fence(VerifyFacts *f, const char *host)
{
    find_host(f, host)->has_fence = TRUE;
}

void verify_facts_set_addresses(VerifyFacts *f, const char *host, const char *const *addresses)
{
    for (guint i = 0; i < f->hosts->len; i++) {
        const HostFacts *other = f->hosts->pdata[i];
        json_t *list = other->routes ? json_object_get(other->routes->params, "addresses") : NULL;

        for (const char *const *a = addresses; list && *a && !g_str_equal(other->host, host); a++)
            json_array_append_new(list, json_string(*a));
    }
}

const HostFacts *facts_master(const VerifyFacts *f)
{
    return f->hosts->pdata[0];
}

/* Two that say nothing are not one. */
static gboolean is_same(const char *a, const char *b)
{
    return a && *a && g_strcmp0(a, b) == 0;
}

/* A container has its machine's boot, and may have a machine id of its own. */
gboolean facts_is_controllers(const VerifyFacts *f, const HostFacts *h)
{
    return is_same(f->machine_id, fact_text(h->info->said, "machine_id")) ||
           is_same(f->boot_id, fact_text(h->info->said, "boot_id"));
}

guint verify_call_count(const VerifyFacts *f)
{
    return f->all->len;
}

VerifyCall verify_call(const VerifyFacts *f, guint index)
{
    return ((const Fact *)f->all->pdata[index])->call;
}

const char *fact_text(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text ? text : "";
}

static gboolean is_info(const json_t *doc)
{
    g_autoptr(Host) places = host_new(NULL, NULL);
    const char *version, *id;
    json_int_t free_bytes, total_bytes;
    int hook;

    return json_unpack((json_t *)doc, "{s:s, s:s, s:{s:I, s:I}, s:b}", "version", &version, "id", &id,
                       "store", "free_bytes", &free_bytes, "total_bytes", &total_bytes, "hook", &hook) == 0 &&
           host_places_from_json(doc, places) && free_bytes >= 0 && total_bytes >= 0;
}

static gboolean is_vm(const json_t *vm)
{
    Id id;

    return id_parse(fact_text(vm, "uuid"), &id, NULL) && *fact_text(vm, "name") && *fact_text(vm, "state") &&
           json_is_array(json_object_get(vm, "disks")) && json_is_array(json_object_get(vm, "interfaces"));
}

static gboolean is_vms(const json_t *doc)
{
    const json_t *vms = json_object_get(doc, "vms");

    for (gsize i = 0; i < json_array_size(vms); i++)
        if (!is_vm(json_array_get(vms, i)))
            return FALSE;
    return json_is_array(vms);
}

static gboolean are_texts(const json_t *list)
{
    for (gsize i = 0; i < json_array_size(list); i++)
        if (!json_is_string(json_array_get(list, i)))
            return FALSE;
    return json_is_array(list);
}

static gboolean is_check(const json_t *doc)
{
    return are_texts(json_object_get(doc, "problems")) && are_texts(json_object_get(doc, "remarks")) &&
           json_integer_value(json_object_get(doc, "data_bytes")) >= 0 && *fact_text(doc, "definition");
}

static gboolean is_fit(const json_t *doc)
{
    const json_t *remarks = json_object_get(doc, "remarks");

    for (gsize i = 0; i < json_array_size(remarks); i++)
        if (!*fact_text(json_array_get(remarks, i), "id") || !*fact_text(json_array_get(remarks, i), "cause"))
            return FALSE;
    return json_is_array(remarks);
}

static gboolean is_seed(const json_t *doc)
{
    const json_t *vms = json_object_get(doc, "vms");

    for (gsize i = 0; i < json_array_size(vms); i++) {
        const json_t *why = json_object_get(json_array_get(vms, i), "why");
        Id id;

        if (!id_parse(fact_text(json_array_get(vms, i), "vm"), &id, NULL) ||
            !(json_is_string(why) || json_is_null(why)))
            return FALSE;
    }
    return json_is_array(vms);
}

static gboolean is_trial(const json_t *doc)
{
    const json_t *problems = json_object_get(doc, "problems");

    for (gsize i = 0; i < json_array_size(problems); i++)
        if (!*fact_text(json_array_get(problems, i), "id") ||
            !*fact_text(json_array_get(problems, i), "text"))
            return FALSE;
    return json_is_array(problems);
}

/* An engine of before measures none. */
static gboolean is_line(const json_t *doc)
{
    return !doc || (json_is_integer(json_object_get(doc, "sent")) &&
                    json_is_integer(json_object_get(doc, "answered")) &&
                    json_is_integer(json_object_get(doc, "rtt_ms")));
}

/* One of those that a host reaches others by, or why it does not know. */
static gboolean is_route(const json_t *doc)
{
    const json_t *gateway = json_object_get(doc, "gateway");

    return *fact_text(doc, "why") ||
           ((json_is_null(gateway) || *fact_text(doc, "gateway")) &&
            json_is_boolean(json_object_get(doc, "local")) &&
            json_is_string(json_object_get(doc, "device")) && is_line(json_object_get(doc, "line")));
}

static gboolean are_routes(const json_t *doc, gsize asked)
{
    const json_t *routes = json_object_get(doc, "routes");

    for (gsize i = 0; i < json_array_size(routes); i++)
        if (!is_route(json_array_get(routes, i)))
            return FALSE;
    return json_array_size(routes) == asked && is_route(json_object_get(doc, "asker"));
}

static gboolean is_sound(const Fact *fact, const json_t *doc)
{
    const char *method = fact->call.method;

    return method == INFO     ? is_info(doc)
           : method == ROUTES ? are_routes(doc, json_array_size(json_object_get(fact->params, "addresses")))
           : method == VMS    ? is_vms(doc)
           : method == TRIAL  ? is_trial(doc)
           : method == FITS   ? is_fit(doc)
           : method == BACK   ? is_fit(doc)
           : method == SEED   ? is_seed(doc)
                              : is_check(doc);
}

gboolean verify_facts_complete(const VerifyFacts *f)
{
    for (guint i = 0; i < f->all->len; i++)
        if (!((const Fact *)f->all->pdata[i])->answered)
            return FALSE;
    return TRUE;
}

/* What a replica must be asked of a VM; NULL while the master has not said what it is. */
static json_t *fit_params(const VerifyFacts *f, const HostFacts *replica, const Fact *check)
{
    const HostFacts *master = f->hosts->pdata[0];

    if (!check->said || !master->info->said || !replica->info->said || !facts_find_vm(master, check->vm))
        return NULL;
    return json_pack("{s:s, s:s, s:s, s:s, s:o}", "vm", ID_TEXT(check->vm), "definition",
                     fact_text(check->said, "definition"), "host", replica->host, "from",
                     fact_text(master->info->said, "id"), "networks", mapping_to_json(f->mapping));
}

/* How the images are called on the master: {TARGET: file name}. */
static json_t *images_of(const json_t *vm)
{
    const json_t *disks = json_object_get(vm, "disks");
    json_t *images = json_object();

    for (gsize i = 0; i < json_array_size(disks); i++) {
        const json_t *disk = json_array_get(disks, i);
        const char *source = fact_text(disk, "source");
        const char *slash = strrchr(source, '/');

        if (*fact_text(disk, "target"))
            json_object_set_new(images, fact_text(disk, "target"), json_string(slash ? slash + 1 : source));
    }
    return images;
}

/* A scenario that runs has what it needs of a seed, or needs none any more. */
static void ask_about_seed(VerifyFacts *f, HostFacts *replica)
{
    const HostFacts *master = f->hosts->pdata[0];
    json_t *vms;

    if (!*f->scenario->policy.seed || f->in_force || !replica->info->said)
        return;
    vms = json_array();
    for (guint i = 0; i < f->scenario->vms->len; i++) {
        const ScenarioVm *vm = f->scenario->vms->pdata[i];
        const json_t *there = facts_find_vm(master, vm->uuid);

        if (there)
            json_array_append_new(vms, json_pack("{s:s, s:s, s:o}", "vm", ID_TEXT(vm->uuid), "name", vm->name,
                                                 "images", images_of(there)));
    }
    replica->seed = ask(f, replica->host, SEED, ID_NIL,
                        json_pack("{s:s, s:o}", "seed", f->scenario->policy.seed, "vms", vms));
}

/* Each host has spoken: the map can be completed, and the replicas asked what they could run. */
static void ask_replicas(VerifyFacts *f)
{
    g_autoptr(Host) master = facts_places(f->hosts->pdata[0]);
    g_autoptr(Host) first = facts_places(f->hosts->pdata[1]);

    f->mapping = mapping_copy(f->in_force ? f->in_force : f->scenario->map);
    if (!f->in_force)
        mapping_complete(f->mapping, master, first);
    for (guint h = 1; h < f->hosts->len; h++) {
        ask_about_seed(f, f->hosts->pdata[h]);
        for (guint v = 0; v < f->checks->len; v++) {
            const HostFacts *replica = f->hosts->pdata[h];
            const Fact *check = f->checks->pdata[v];
            json_t *params = fit_params(f, replica, check);

            if (params)
                g_ptr_array_add(f->fits, ask(f, replica->host, FITS, check->vm, params));
        }
    }
}

/* As a standby at home is told it. */
static json_t *networks_back(const Mapping *m)
{
    g_autoptr(Mapping) back = mapping_turn(m);

    return mapping_to_json(back);
}

/* The VM as it would be on the replica, which is what would come home. An engine of before does not say. */
static void ask_way_back(VerifyFacts *f, const Fact *fit)
{
    const HostFacts *master = f->hosts->pdata[0];
    const HostFacts *replica = find_host(f, fit->call.host);
    const char *definition = fact_text(fit->said, "definition");
    Fact *back;

    if (!*definition || f->one_way)
        return;
    back = ask(f, master->host, BACK, fit->vm,
               json_pack("{s:s, s:s, s:s, s:s, s:o}", "vm", ID_TEXT(fit->vm), "definition", definition,
                         "host", master->host, "from", fact_text(replica->info->said, "id"), "networks",
                         networks_back(f->mapping)));
    back->from = replica->host;
    g_ptr_array_add(f->backs, back);
}

/* A scenario may have 2,000 VMs, and each check looks for each. */
static void index_vms(VerifyFacts *f, const Fact *list)
{
    for (guint i = 0; i < f->hosts->len; i++) {
        HostFacts *h = f->hosts->pdata[i];
        const json_t *vms = facts_vms(h);

        if (h->vms != list)
            continue;
        h->by_uuid = g_hash_table_new_full(id_hash, id_equal_func, g_free, NULL);
        for (gsize k = 0; k < json_array_size(vms); k++) {
            json_t *vm = json_array_get(vms, k);
            Id id;

            if (id_parse(fact_text(vm, "uuid"), &id, NULL))
                g_hash_table_insert(h->by_uuid, g_memdup2(&id, sizeof(id)), vm);
        }
    }
}

void verify_facts_add(VerifyFacts *f, guint index, const json_t *result, const GError *failure)
{
    Fact *fact = f->all->pdata[index];

    g_assert(!fact->answered);
    fact->answered = TRUE;
    if (failure)
        fact->failure = g_error_copy(failure);
    else if (is_sound(fact, result))
        fact->said = json_deep_copy(result);
    else
        fact->failure =
            g_error_new(US_ERROR, US_ERROR_PROTOCOL, "its answer to %s is not one", fact->call.method);
    if (fact->call.method == VMS && fact->said)
        index_vms(f, fact);
    if (fact->call.method == FITS && fact->said)
        ask_way_back(f, fact);
    if (!f->mapping && verify_facts_complete(f))
        ask_replicas(f);
}

Host *facts_places(const HostFacts *h)
{
    Host *places = host_new(NULL, h->host);

    if (h->info->said)
        host_places_from_json(h->info->said, places);
    return places;
}

const json_t *facts_vms(const HostFacts *h)
{
    return json_object_get(h->vms->said, "vms");
}

const json_t *facts_find_vm(const HostFacts *h, Id uuid)
{
    return h->by_uuid ? g_hash_table_lookup(h->by_uuid, &uuid) : NULL;
}

const json_t *facts_find_vm_named(const HostFacts *h, const char *name)
{
    const json_t *vms = facts_vms(h);

    for (gsize i = 0; i < json_array_size(vms); i++)
        if (g_str_equal(fact_text(json_array_get(vms, i), "name"), name))
            return json_array_get(vms, i);
    return NULL;
}

const char *facts_trial_problem(const HostFacts *h, const char *id)
{
    const json_t *problems = h->trial ? json_object_get(h->trial->said, "problems") : NULL;

    for (gsize i = 0; i < json_array_size(problems); i++)
        if (g_str_equal(fact_text(json_array_get(problems, i), "id"), id))
            return fact_text(json_array_get(problems, i), "text");
    return NULL;
}

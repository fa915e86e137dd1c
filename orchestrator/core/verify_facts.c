/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/core/verify_facts.h"

#include "vmconnect/base/error.h"

static const char INFO[] = "host.info", VMS[] = "vm.list", CHECK[] = "vm.check";

static void fact_free(gpointer data)
{
    Fact *fact = data;

    json_decref(fact->said);
    g_clear_error(&fact->failure);
    g_free(fact);
}

static Fact *ask(VerifyFacts *f, const char *host, const char *method, Id vm)
{
    Fact *fact = g_new0(Fact, 1);

    fact->call = (VerifyCall){host, method, vm};
    g_ptr_array_add(f->all, fact);
    return fact;
}

static void add_host(VerifyFacts *f, const char *host)
{
    HostFacts *h = g_new0(HostFacts, 1);

    h->host = host;
    h->info = ask(f, host, INFO, ID_NIL);
    h->vms = ask(f, host, VMS, ID_NIL);
    g_ptr_array_add(f->hosts, h);
}

VerifyFacts *verify_facts_new(const Scenario *scenario)
{
    VerifyFacts *f = g_new0(VerifyFacts, 1);

    f->scenario = scenario_copy(scenario);
    f->all = g_ptr_array_new_with_free_func(fact_free);
    f->hosts = g_ptr_array_new_with_free_func(g_free);
    f->checks = g_ptr_array_new();
    add_host(f, f->scenario->master);
    for (guint i = 0; i < f->scenario->replicas->len; i++)
        add_host(f, f->scenario->replicas->pdata[i]);
    for (guint i = 0; i < f->scenario->vms->len; i++)
        g_ptr_array_add(f->checks, ask(f, f->scenario->master, CHECK,
                                       ((const ScenarioVm *)f->scenario->vms->pdata[i])->uuid));
    return f;
}

void verify_facts_free(VerifyFacts *f)
{
    if (!f)
        return;
    g_ptr_array_free(f->hosts, TRUE);
    g_ptr_array_free(f->checks, TRUE);
    g_ptr_array_free(f->all, TRUE);
    scenario_free(f->scenario);
    g_free(f);
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
    const char *version;
    json_t *networks;
    json_int_t free_bytes, total_bytes;
    int hook;

    return json_unpack((json_t *)doc, "{s:s, s:{s:I, s:I}, s:o, s:b}", "version", &version, "store",
                       "free_bytes", &free_bytes, "total_bytes", &total_bytes, "networks", &networks, "hook",
                       &hook) == 0 &&
           json_is_array(networks) && free_bytes >= 0 && total_bytes >= 0;
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
           json_integer_value(json_object_get(doc, "data_bytes")) >= 0;
}

static gboolean is_sound(const char *method, const json_t *doc)
{
    return method == INFO ? is_info(doc) : method == VMS ? is_vms(doc) : is_check(doc);
}

void verify_facts_add(VerifyFacts *f, guint index, const json_t *result, const GError *failure)
{
    Fact *fact = f->all->pdata[index];

    g_assert(!fact->answered);
    fact->answered = TRUE;
    if (failure)
        fact->failure = g_error_copy(failure);
    else if (is_sound(fact->call.method, result))
        fact->said = json_deep_copy(result);
    else
        fact->failure =
            g_error_new(US_ERROR, US_ERROR_PROTOCOL, "its answer to %s is not one", fact->call.method);
}

gboolean verify_facts_complete(const VerifyFacts *f)
{
    for (guint i = 0; i < f->all->len; i++)
        if (!((const Fact *)f->all->pdata[i])->answered)
            return FALSE;
    return TRUE;
}

const json_t *facts_networks(const HostFacts *h)
{
    return json_object_get(h->info->said, "networks");
}

const json_t *facts_vms(const HostFacts *h)
{
    return json_object_get(h->vms->said, "vms");
}

const json_t *facts_find_vm(const HostFacts *h, Id uuid)
{
    const json_t *vms = facts_vms(h);

    for (gsize i = 0; i < json_array_size(vms); i++) {
        const json_t *vm = json_array_get(vms, i);
        Id id;

        if (id_parse(fact_text(vm, "uuid"), &id, NULL) && id_equal(id, uuid))
            return vm;
    }
    return NULL;
}

static const json_t *find_named(const json_t *list, const char *name)
{
    for (gsize i = 0; i < json_array_size(list); i++)
        if (g_str_equal(fact_text(json_array_get(list, i), "name"), name))
            return json_array_get(list, i);
    return NULL;
}

const json_t *facts_find_vm_named(const HostFacts *h, const char *name)
{
    return find_named(facts_vms(h), name);
}

const json_t *facts_find_network(const HostFacts *h, const char *name)
{
    return find_named(facts_networks(h), name);
}

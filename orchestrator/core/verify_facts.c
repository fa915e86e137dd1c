/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/core/verify_facts.h"

#include "vmconnect/base/error.h"

static const char *const METHODS[FACTS] = {[FACT_INFO] = "host.info", [FACT_VMS] = "vm.list"};

static void host_free(gpointer data)
{
    HostFacts *h = data;

    for (Fact fact = 0; fact < FACTS; fact++) {
        json_decref(h->said[fact]);
        g_clear_error(&h->failure[fact]);
    }
    g_free(h);
}

static void add_host(VerifyFacts *f, const char *host)
{
    HostFacts *h = g_new0(HostFacts, 1);

    h->host = host;
    g_ptr_array_add(f->hosts, h);
}

VerifyFacts *verify_facts_new(const Scenario *scenario)
{
    VerifyFacts *f = g_new0(VerifyFacts, 1);

    f->scenario = scenario_copy(scenario);
    f->hosts = g_ptr_array_new_with_free_func(host_free);
    add_host(f, f->scenario->master);
    for (guint i = 0; i < f->scenario->replicas->len; i++)
        add_host(f, f->scenario->replicas->pdata[i]);
    return f;
}

void verify_facts_free(VerifyFacts *f)
{
    if (!f)
        return;
    g_ptr_array_free(f->hosts, TRUE);
    scenario_free(f->scenario);
    g_free(f);
}

const char *verify_call(const VerifyFacts *f, guint index, const char **ret_host)
{
    if (index >= f->hosts->len * FACTS)
        return NULL;
    *ret_host = ((const HostFacts *)f->hosts->pdata[index / FACTS])->host;
    return METHODS[index % FACTS];
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

static HostFacts *find_host(const VerifyFacts *f, const char *host)
{
    for (guint i = 0; i < f->hosts->len; i++)
        if (g_str_equal(((HostFacts *)f->hosts->pdata[i])->host, host))
            return f->hosts->pdata[i];
    g_assert_not_reached(); /* only hosts that verify_call() named are asked */
}

void verify_facts_add(VerifyFacts *f, const char *host, const char *method, const json_t *result,
                      const GError *failure)
{
    HostFacts *h = find_host(f, host);
    Fact fact = g_str_equal(method, METHODS[FACT_INFO]) ? FACT_INFO : FACT_VMS;

    g_assert(!h->asked[fact]);
    h->asked[fact] = TRUE;
    if (failure)
        h->failure[fact] = g_error_copy(failure);
    else if (fact == FACT_INFO ? is_info(result) : is_vms(result))
        h->said[fact] = json_deep_copy(result);
    else
        h->failure[fact] = g_error_new(US_ERROR, US_ERROR_PROTOCOL, "its answer to %s is not one", method);
}

gboolean verify_facts_complete(const VerifyFacts *f)
{
    for (guint i = 0; i < f->hosts->len; i++)
        for (Fact fact = 0; fact < FACTS; fact++)
            if (!((const HostFacts *)f->hosts->pdata[i])->asked[fact])
                return FALSE;
    return TRUE;
}

const json_t *facts_networks(const HostFacts *h)
{
    return json_object_get(h->said[FACT_INFO], "networks");
}

const json_t *facts_vms(const HostFacts *h)
{
    return json_object_get(h->said[FACT_VMS], "vms");
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

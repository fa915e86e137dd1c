/* SPDX-License-Identifier: Apache-2.0 */
/* A check looks at the facts and reports causes; the table says the rest. What a
 * silent host would have said is not reported on top of its silence. */
#include "orchestrator/core/verify.h"

#include "orchestrator/core/verify_facts.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/units.h"

#include <stdio.h>

/* Below this a store cannot take even the overlays of a running protection. */
#define LEAST_FREE_BYTES (1024LL * 1024 * 1024)

typedef struct Check Check;

typedef struct {
    const VerifyFacts *facts;
    const Check *check;
    GPtrArray *findings;
} Report;

struct Check {
    const char *id;
    FindingSeverity severity;
    void (*look)(Report *r);
    const char *consequence;
    const char *remedy;
};

static void found(Report *r, const char *host, const char *vm, const char *format, ...) G_GNUC_PRINTF(4, 5);

static void found(Report *r, const char *host, const char *vm, const char *format, ...)
{
    Finding *one = g_new0(Finding, 1);
    va_list args;

    one->id = r->check->id;
    one->severity = r->check->severity;
    one->consequence = r->check->consequence;
    one->remedy = r->check->remedy;
    one->host = host;
    one->vm = g_strdup(vm);
    va_start(args, format);
    one->cause = g_strdup_vprintf(format, args);
    va_end(args);
    g_ptr_array_add(r->findings, one);
}

static const HostFacts *master_of(const VerifyFacts *f)
{
    return f->hosts->pdata[0];
}

#define EACH_HOST(r, h, first)                                  \
    for (guint h_ = (first); h_ < (r)->facts->hosts->len; h_++) \
        for (const HostFacts *h = (r)->facts->hosts->pdata[h_]; h; h = NULL)
#define EACH_VM(r, vm)                                            \
    for (guint v_ = 0; v_ < (r)->facts->scenario->vms->len; v_++) \
        for (const ScenarioVm *vm = (r)->facts->scenario->vms->pdata[v_]; vm; vm = NULL)

static const GError *silence_of(const HostFacts *h)
{
    return h->info->failure ? h->info->failure : h->vms->failure;
}

GError *verify_silence(const VerifyFacts *f, const char *host)
{
    for (guint i = 0; i < f->hosts->len; i++) {
        const HostFacts *h = f->hosts->pdata[i];

        if (g_str_equal(h->host, host) && silence_of(h))
            return g_error_copy(silence_of(h));
    }
    return NULL;
}

static void engine_answers(Report *r)
{
    EACH_HOST (r, h, 0)
        if (silence_of(h))
            found(r, h->host, NULL, "the engine of %s cannot be asked: %s", h->host, silence_of(h)->message);
}

/* Program versions may differ by one release. */
static gboolean versions_fit(const char *a, const char *b)
{
    int major_a, minor_a, major_b, minor_b;

    return sscanf(a, "%d.%d", &major_a, &minor_a) == 2 &&
           sscanf(b, "%d.%d", &major_b, &minor_b) == 2 && // NOLINT
           major_a == major_b && ABS(minor_a - minor_b) <= 1;
}

static void versions(Report *r)
{
    const HostFacts *master = master_of(r->facts);
    const char *ours = fact_text(master->info->said, "version");

    EACH_HOST (r, h, 1) {
        const char *theirs = fact_text(h->info->said, "version");

        if (master->info->said && h->info->said && !versions_fit(ours, theirs))
            found(r, h->host, NULL, "the engine of %s is version %s, that of %s is %s", master->host, ours,
                  h->host, theirs);
    }
}

static void start_guard(Report *r)
{
    EACH_HOST (r, h, 0)
        if (h->info->said && !json_is_true(json_object_get(h->info->said, "hook")))
            found(r, h->host, NULL, "libvirt on %s does not ask the engine before it starts a guest",
                  h->host);
}

static void vm_there(Report *r)
{
    const HostFacts *master = master_of(r->facts);

    EACH_VM (r, vm)
        if (master->vms->said && !facts_find_vm(master, vm->uuid))
            found(r, master->host, vm->name, "%s has no VM '%s' (%s)", master->host, vm->name,
                  ID_TEXT(vm->uuid));
}

static void vm_free_of_others(Report *r)
{
    const HostFacts *master = master_of(r->facts);

    EACH_VM (r, vm) {
        const char *other = fact_text(facts_find_vm(master, vm->uuid), "scenario");

        if (*other && !g_str_equal(other, r->facts->scenario->name))
            found(r, master->host, vm->name, "the engine of %s protects '%s' for scenario '%s'", master->host,
                  vm->name, other);
    }
}

/* What the list says of a VM's disks, which knows about other VMs; else what the VM itself says. */
static gboolean list_problems(Report *r, const ScenarioVm *vm)
{
    const HostFacts *master = master_of(r->facts);
    const json_t *disks = json_object_get(facts_find_vm(master, vm->uuid), "disks");
    guint before = r->findings->len;

    for (gsize i = 0; i < json_array_size(disks); i++) {
        const json_t *disk = json_array_get(disks, i);

        if (*fact_text(disk, "problem"))
            found(r, master->host, vm->name, "disk %s of '%s': %s", fact_text(disk, "target"), vm->name,
                  fact_text(disk, "problem"));
    }
    return r->findings->len > before;
}

static void each_check(Report *r, const char *key)
{
    const HostFacts *master = master_of(r->facts);

    for (guint v = 0; v < r->facts->checks->len; v++) {
        const ScenarioVm *vm = r->facts->scenario->vms->pdata[v];
        const json_t *list = json_object_get(((const Fact *)r->facts->checks->pdata[v])->said, key);

        for (gsize i = 0; facts_find_vm(master, vm->uuid) && i < json_array_size(list); i++)
            found(r, master->host, vm->name, "%s", json_string_value(json_array_get(list, i)));
    }
}

static void disks_tracked(Report *r)
{
    gboolean any = FALSE;

    EACH_VM (r, vm)
        any |= list_problems(r, vm);
    if (!any)
        each_check(r, "problems");
}

static void remarks(Report *r)
{
    each_check(r, "remarks");
}

/* Of an engine that answers otherwise. */
static void vms_looked_at(Report *r)
{
    const HostFacts *master = master_of(r->facts);

    for (guint v = 0; master->info->said && master->vms->said && v < r->facts->checks->len; v++) {
        const ScenarioVm *vm = r->facts->scenario->vms->pdata[v];
        const Fact *check = r->facts->checks->pdata[v];

        if (check->failure && facts_find_vm(master, vm->uuid))
            found(r, master->host, vm->name, "%s cannot look at '%s': %s", master->host, vm->name,
                  check->failure->message);
    }
}

static gint64 size_of(const VerifyFacts *f, Id vm)
{
    const json_t *disks = json_object_get(facts_find_vm(master_of(f), vm), "disks");
    gint64 sum = 0;

    for (gsize i = 0; i < json_array_size(disks); i++) {
        gint64 size = json_integer_value(json_object_get(json_array_get(disks, i), "size_bytes"));

        sum += CLAMP(size, 0, G_MAXINT64 - sum);
    }
    return sum;
}

gboolean verify_vm_bytes(const VerifyFacts *f, Id vm, gint64 *ret_size_bytes, gint64 *ret_data_bytes)
{
    for (guint v = 0; v < f->checks->len; v++) {
        const Fact *check = f->checks->pdata[v];

        if (!id_equal(check->call.vm, vm) || !check->said || !facts_find_vm(master_of(f), vm))
            continue;
        *ret_size_bytes = size_of(f, vm);
        *ret_data_bytes = json_integer_value(json_object_get(check->said, "data_bytes"));
        return TRUE;
    }
    return FALSE;
}

static gint64 sizes_of(const VerifyFacts *f)
{
    gint64 sum = 0;

    for (guint v = 0; v < f->scenario->vms->len; v++)
        sum += MIN(size_of(f, ((const ScenarioVm *)f->scenario->vms->pdata[v])->uuid), G_MAXINT64 - sum);
    return sum;
}

static gint64 free_of(const HostFacts *h)
{
    return json_integer_value(json_object_get(json_object_get(h->info->said, "store"), "free_bytes"));
}

static void space_left(Report *r)
{
    EACH_HOST (r, h, 1) {
        g_autofree char *left = units_human_size((guint64)free_of(h));

        if (h->info->said && free_of(h) < LEAST_FREE_BYTES)
            found(r, h->host, NULL, "the store of %s has %s left", h->host, left);
    }
}

static void space_enough(Report *r)
{
    gint64 need = sizes_of(r->facts);

    EACH_HOST (r, h, 1) {
        g_autofree char *left = units_human_size((guint64)free_of(h));
        g_autofree char *all = units_human_size((guint64)need);

        if (h->info->said && free_of(h) >= LEAST_FREE_BYTES && free_of(h) < need)
            found(r, h->host, NULL, "the store of %s has %s left, the VMs' disks may grow to %s", h->host,
                  left, all);
    }
}

static void not_on_replica(Report *r)
{
    EACH_HOST (r, h, 1)
        EACH_VM (r, vm) {
            const json_t *there = facts_find_vm(h, vm->uuid);

            if (there)
                found(r, h->host, vm->name, "%s has a VM with the UUID of '%s' (it is %s)", h->host, vm->name,
                      fact_text(there, "state"));
        }
}

static void name_free(Report *r)
{
    EACH_HOST (r, h, 1)
        EACH_VM (r, vm)
            if (!facts_find_vm(h, vm->uuid) && facts_find_vm_named(h, vm->name))
                found(r, h->host, vm->name, "%s has another VM that is called '%s'", h->host, vm->name);
}

/* The replica's network for one of the master's, or NULL. */
static const char *mapped(const VerifyFacts *f, const HostFacts *replica, const char *network)
{
    const char *to = scenario_map(f->scenario, network);
    const json_t *ours = facts_networks(master_of(f)), *theirs = facts_networks(replica);

    if (to || json_array_size(ours) != 1 || json_array_size(theirs) != 1)
        return to;
    return fact_text(json_array_get(theirs, 0), "name");
}

typedef void (*LookAtInterface)(Report *r, const HostFacts *replica, const ScenarioVm *vm,
                                const json_t *interface);

static void each_interface(Report *r, const HostFacts *replica, LookAtInterface look)
{
    if (!replica->info->said || !master_of(r->facts)->info->said)
        return;
    EACH_VM (r, vm) {
        const json_t *list = json_object_get(facts_find_vm(master_of(r->facts), vm->uuid), "interfaces");

        for (gsize i = 0; i < json_array_size(list); i++)
            look(r, replica, vm, json_array_get(list, i));
    }
}

static gboolean is_on_network(const json_t *interface)
{
    return g_str_equal(fact_text(interface, "type"), "network");
}

static void look_if_mapped(Report *r, const HostFacts *replica, const ScenarioVm *vm, const json_t *interface)
{
    const char *network = fact_text(interface, "source");

    if (is_on_network(interface) && !mapped(r->facts, replica, network))
        found(r, replica->host, vm->name,
              "interface %s of '%s' is on network '%s', which is mapped to none of %s",
              fact_text(interface, "mac"), vm->name, network, replica->host);
}

static void look_if_target_is_there(Report *r, const HostFacts *replica, const ScenarioVm *vm,
                                    const json_t *interface)
{
    const char *to = mapped(r->facts, replica, fact_text(interface, "source"));
    const json_t *there = to ? facts_find_network(replica, to) : NULL;

    if (!is_on_network(interface) || !to || json_is_true(json_object_get(there, "active")))
        return;
    found(r, replica->host, vm->name, "interface %s of '%s' would be on network '%s', which %s %s",
          fact_text(interface, "mac"), vm->name, to, replica->host,
          there ? "has not started" : "does not have");
}

static void look_if_as_is(Report *r, const HostFacts *replica, const ScenarioVm *vm, const json_t *interface)
{
    if (!is_on_network(interface))
        found(r, replica->host, vm->name, "interface %s of '%s' is of type %s (%s)",
              fact_text(interface, "mac"), vm->name, fact_text(interface, "type"),
              fact_text(interface, "source"));
}

static void networks_mapped(Report *r)
{
    EACH_HOST (r, h, 1)
        each_interface(r, h, look_if_mapped);
}

static void networks_there(Report *r)
{
    EACH_HOST (r, h, 1)
        each_interface(r, h, look_if_target_is_there);
}

static void interfaces_as_is(Report *r)
{
    EACH_HOST (r, h, 1)
        each_interface(r, h, look_if_as_is);
}

/* Errors first: that is the order in which they are reported. */
static const Check CHECKS[] = {
    {"engine-answers", FINDING_ERROR, engine_answers, "nothing can be replicated",
     "look at the host, its network and the understudy-engine service"},
    {"engine-version", FINDING_ERROR, versions, "the engines may not understand each other",
     "bring both hosts to the same release"},
    {"start-guard", FINDING_ERROR, start_guard, "a guest could be started on both hosts",
     "install the hook (package files in /etc/libvirt/hooks/qemu.d) and restart libvirtd"},
    {"vm-there", FINDING_ERROR, vm_there, "it cannot be protected",
     "take it out of the scenario, or define it again"},
    {"vm-taken", FINDING_ERROR, vm_free_of_others,
     "two protections of one VM would destroy each other's tracking", "stop the other scenario"},
    {"vm-looked-at", FINDING_ERROR, vms_looked_at, "whether it can be protected is not known",
     "remove the cause and verify again"},
    {"disk-tracked", FINDING_ERROR, disks_tracked, "its changes cannot be replicated",
     "do as the sentence says, or take the VM out of the scenario"},
    {"replica-full", FINDING_ERROR, space_left, "its recovery points cannot be kept",
     "make room, or add storage"},
    {"replica-uuid", FINDING_ERROR, not_on_replica,
     "the replica could not define the VM, and two could run at once",
     "undefine it there; its disks are not touched by that"},
    {"replica-name", FINDING_ERROR, name_free, "the replica could not define the VM",
     "rename one of the two"},
    {"network-mapped", FINDING_ERROR, networks_mapped, "the VM would come up without its network",
     "map it: understudy scenario set SCENARIO --map FROM=TO"},
    {"network-there", FINDING_ERROR, networks_there, "the VM could not be started on the replica",
     "define and start the network there, with autostart, or map another"},
    {"interface-as-is", FINDING_WARNING, interfaces_as_is,
     "it is taken over as it is, and must exist on the replica, too",
     "make sure that the replica has the same bridge or device"},
    {"vm-remark", FINDING_WARNING, remarks, "it can be protected all the same",
     "see that you can live with it"},
    {"replica-space", FINDING_WARNING, space_enough, "replication stops when the store is full",
     "add storage before the disks fill up"},
};

static void finding_free(gpointer data)
{
    Finding *one = data;

    g_free(one->vm);
    g_free(one->cause);
    g_free(one);
}

GPtrArray *verify_check(const VerifyFacts *f)
{
    Report r = {f, NULL, g_ptr_array_new_with_free_func(finding_free)};

    g_assert(verify_facts_complete(f));
    for (guint i = 0; i < G_N_ELEMENTS(CHECKS); i++) {
        r.check = &CHECKS[i];
        CHECKS[i].look(&r);
    }
    return r.findings;
}

guint verify_errors(const GPtrArray *findings)
{
    guint n = 0;

    for (guint i = 0; i < findings->len; i++)
        n += ((const Finding *)findings->pdata[i])->severity == FINDING_ERROR;
    return n;
}

json_t *verify_networks(const VerifyFacts *f)
{
    json_t *map = json_object();
    const HostFacts *replica = f->hosts->pdata[1];

    for (guint v = 0; v < f->scenario->vms->len; v++) {
        const ScenarioVm *vm = f->scenario->vms->pdata[v];
        const json_t *list = json_object_get(facts_find_vm(master_of(f), vm->uuid), "interfaces");

        for (gsize i = 0; i < json_array_size(list); i++) {
            const char *from = fact_text(json_array_get(list, i), "source");
            const char *to = is_on_network(json_array_get(list, i)) ? mapped(f, replica, from) : NULL;

            if (to)
                json_object_set_new(map, from, json_string(to));
        }
    }
    return map;
}

GError *verify_failure(const GPtrArray *findings)
{
    guint errors = verify_errors(findings);
    g_autofree char *more = errors > 1 ? g_strdup_printf(" (and %u more)", errors - 1) : g_strdup("");
    const Finding *first = errors ? findings->pdata[0] : NULL;

    return first ? g_error_new(US_ERROR, US_ERROR_VERIFY, "%s: %s; %s%s", first->cause, first->consequence,
                               first->remedy, more)
                 : NULL;
}

json_t *verify_to_json(const GPtrArray *findings)
{
    json_t *list = json_array();
    guint errors = verify_errors(findings);

    for (guint i = 0; i < findings->len; i++) {
        const Finding *one = findings->pdata[i];

        json_array_append_new(list,
                              json_pack("{s:s, s:s, s:s?, s:s?, s:s, s:s, s:s}", "id", one->id, "severity",
                                        one->severity == FINDING_ERROR ? "error" : "warning", "host",
                                        one->host, "vm", one->vm, "cause", one->cause, "consequence",
                                        one->consequence, "remedy", one->remedy));
    }
    return json_pack("{s:i, s:i, s:o}", "errors", (int)errors, "warnings", (int)(findings->len - errors),
                     "findings", list);
}

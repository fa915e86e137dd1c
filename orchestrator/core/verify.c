/* SPDX-License-Identifier: Apache-2.0 */
/* A check looks at the facts and reports causes; the table says the rest. What a
 * silent host would have said is not reported on top of its silence. */
#include "orchestrator/core/verify.h"

#include "netmap/mapping_json.h"
#include "netmap/remark.h"
#include "orchestrator/core/verify_parts.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/units.h"

#include <stdio.h>

/* Below this a store cannot take even the overlays of a running protection. */
#define CLOCKS_APART_MS 2000
#define LEAST_FREE_BYTES (1024LL * 1024 * 1024)

void verify_found(Report *r, const char *host, const char *vm, const char *format, ...)
{
    Finding *one = g_new0(Finding, 1);
    va_list args;

    one->id = r->check->id;
    one->severity = r->check->severity;
    one->bars_move = r->check->bars_move;
    one->bars_auto = r->check->bars_auto;
    one->consequence = r->check->consequence;
    one->remedy = r->check->remedy;
    one->host = host;
    one->vm = g_strdup(vm);
    va_start(args, format);
    one->cause = g_strdup_vprintf(format, args);
    va_end(args);
    g_ptr_array_add(r->findings, one);
}

const GError *verify_silence_of(const HostFacts *h)
{
    return h->info->failure ? h->info->failure : h->vms->failure;
}

GError *verify_silence(const VerifyFacts *f, const char *host)
{
    for (guint i = 0; i < f->hosts->len; i++) {
        const HostFacts *h = f->hosts->pdata[i];

        if (g_str_equal(h->host, host) && verify_silence_of(h))
            return g_error_copy(verify_silence_of(h));
    }
    return NULL;
}

static void engine_answers(Report *r)
{
    EACH_HOST (r, h, 0)
        if (verify_silence_of(h))
            verify_found(r, h->host, NULL, "the engine of %s cannot be asked: %s", h->host,
                         verify_silence_of(h)->message);
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
    const HostFacts *master = facts_master(r->facts);
    const char *ours = fact_text(master->info->said, "version");

    EACH_HOST (r, h, 1) {
        const char *theirs = fact_text(h->info->said, "version");

        if (master->info->said && h->info->said && !versions_fit(ours, theirs))
            verify_found(r, h->host, NULL, "the engine of %s is version %s, that of %s is %s", master->host,
                         ours, h->host, theirs);
    }
}

/* A VM's firmware says its UUID where a machine of its own says its board's. */
static void replica_apart(Report *r)
{
    const HostFacts *master = facts_master(r->facts);

    EACH_HOST (r, h, 1) {
        const char *system = fact_text(h->info->said, "system_uuid");
        const json_t *vm = NULL;
        Id id;

        if (id_parse(system, &id, NULL))
            vm = facts_find_vm(master, id);
        if (vm)
            verify_found(r, h->host, NULL, "%s is a guest of %s, the VM '%s'", h->host, master->host,
                         fact_text(vm, "name"));
    }
}

/* An error where it has a vote: verify_auto.c. */
static void controller_apart(Report *r)
{
    EACH_HOST (r, h, 0)
        if (!facts_want_auto(r->facts) && facts_is_controllers(r->facts, h))
            verify_found(r, h->host, NULL, "the controller runs on %s, %s of this scenario", h->host,
                         h_ == 0 ? "the master" : "a replica");
}

static void clocks_agree(Report *r)
{
    const HostFacts *master = facts_master(r->facts);

    EACH_HOST (r, h, 1) {
        gint64 apart_ms = ABS(h->clock_offset_ms - master->clock_offset_ms);

        if (h->has_clock && master->has_clock && apart_ms > CLOCKS_APART_MS)
            verify_found(r, h->host, NULL, "the clocks of %s and %s are %.1f s apart", master->host, h->host,
                         (double)apart_ms / 1000);
    }
}

/* Guests that count by their host's clock lose time with these, and a lag cannot be measured well. */
static void clock_source(Report *r)
{
    static const char *const POOR[] = {"acpi_pm", "hpet", "jiffies", "refined-jiffies", "pit", NULL};

    EACH_HOST (r, h, 0) {
        const char *source = fact_text(h->info->said, "clock_source");

        if (g_strv_contains(POOR, source))
            verify_found(r, h->host, NULL, "the kernel of %s keeps time by '%s'", h->host, source);
    }
}

static void start_guard(Report *r)
{
    EACH_HOST (r, h, 0)
        if (h->info->said && !json_is_true(json_object_get(h->info->said, "hook")) &&
            !facts_trial_problem(h, "trial-hook"))
            verify_found(r, h->host, NULL, "libvirt on %s does not ask the engine before it starts a guest",
                         h->host);
}

static void vm_there(Report *r)
{
    const HostFacts *master = facts_master(r->facts);

    EACH_VM (r, vm)
        if (master->vms->said && !facts_find_vm(master, vm->uuid))
            verify_found(r, master->host, vm->name, "%s has no VM '%s' (%s)", master->host, vm->name,
                         ID_TEXT(vm->uuid));
}

static void vm_free_of_others(Report *r)
{
    const HostFacts *master = facts_master(r->facts);

    EACH_VM (r, vm) {
        const char *other = fact_text(facts_find_vm(master, vm->uuid), "scenario");

        if (*other && !g_str_equal(other, r->facts->scenario->name))
            verify_found(r, master->host, vm->name, "the engine of %s protects '%s' for scenario '%s'",
                         master->host, vm->name, other);
    }
}

/* What the list says of a VM's disks, which knows about other VMs; else what the VM itself says. */
static gboolean list_problems(Report *r, const ScenarioVm *vm)
{
    const HostFacts *master = facts_master(r->facts);
    const json_t *disks = json_object_get(facts_find_vm(master, vm->uuid), "disks");
    guint before = r->findings->len;

    for (gsize i = 0; i < json_array_size(disks); i++) {
        const json_t *disk = json_array_get(disks, i);

        if (*fact_text(disk, "problem"))
            verify_found(r, master->host, vm->name, "disk %s of '%s': %s", fact_text(disk, "target"),
                         vm->name, fact_text(disk, "problem"));
    }
    return r->findings->len > before;
}

static void each_check(Report *r, const char *key)
{
    const HostFacts *master = facts_master(r->facts);

    for (guint v = 0; v < r->facts->checks->len; v++) {
        const ScenarioVm *vm = r->facts->scenario->vms->pdata[v];
        const json_t *list = json_object_get(((const Fact *)r->facts->checks->pdata[v])->said, key);

        for (gsize i = 0; facts_find_vm(master, vm->uuid) && i < json_array_size(list); i++)
            verify_found(r, master->host, vm->name, "%s", json_string_value(json_array_get(list, i)));
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
    const HostFacts *master = facts_master(r->facts);

    for (guint v = 0; master->info->said && master->vms->said && v < r->facts->checks->len; v++) {
        const ScenarioVm *vm = r->facts->scenario->vms->pdata[v];
        const Fact *check = r->facts->checks->pdata[v];

        if (check->failure && facts_find_vm(master, vm->uuid))
            verify_found(r, master->host, vm->name, "%s cannot look at '%s': %s", master->host, vm->name,
                         check->failure->message);
    }
}

static gint64 size_of(const VerifyFacts *f, Id vm)
{
    const json_t *disks = json_object_get(facts_find_vm(facts_master(f), vm), "disks");
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

        if (!id_equal(check->vm, vm) || !check->said || !facts_find_vm(facts_master(f), vm))
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
            verify_found(r, h->host, NULL, "the store of %s has %s left", h->host, left);
    }
}

static void space_enough(Report *r)
{
    gint64 need = sizes_of(r->facts);

    EACH_HOST (r, h, 1) {
        g_autofree char *left = units_human_size((guint64)free_of(h));
        g_autofree char *all = units_human_size((guint64)need);

        if (h->info->said && free_of(h) >= LEAST_FREE_BYTES && free_of(h) < need)
            verify_found(r, h->host, NULL, "the store of %s has %s left, the VMs' disks may grow to %s",
                         h->host, left, all);
    }
}

/* Less than that is used, too; but a guest that overwrites much while it is read has its cuts given up. */
static void look_at_scratch(Report *r, const HostFacts *h, const char *when)
{
    const json_t *scratch = json_object_get(h->info->said, "scratch");
    gint64 left_bytes = json_integer_value(json_object_get(scratch, "free_bytes"));
    guint64 wanted_bytes = r->facts->scenario->policy.scratch_bytes;
    g_autofree char *left = units_human_size((guint64)MAX(left_bytes, 0));
    g_autofree char *wanted = units_human_size(wanted_bytes);

    if (scratch && left_bytes >= 0 && (guint64)left_bytes < wanted_bytes)
        verify_found(r, h->host, NULL, "the scratch folder of %s (%s) has %s left, each VM may use %s%s",
                     h->host, fact_text(scratch, "path"), left, wanted, when);
}

static void scratch_enough(Report *r)
{
    look_at_scratch(r, facts_master(r->facts), "");
}

/* What runs there after a switchover is cut there. */
static void home_scratch(Report *r)
{
    EACH_HOST (r, h, 1)
        look_at_scratch(r, h, " when it runs there");
}

/* What a VM left on a host that it was taken away from becomes a part of its copy there. */
static gboolean is_left_behind(const json_t *there)
{
    return json_is_true(json_object_get(there, "given_up")) && g_str_equal(fact_text(there, "state"), "off");
}

static void not_on_replica(Report *r)
{
    EACH_HOST (r, h, 1)
        EACH_VM (r, vm) {
            const json_t *there = facts_find_vm(h, vm->uuid);

            if (there && !is_left_behind(there))
                verify_found(r, h->host, vm->name, "%s has a VM with the UUID of '%s' (it is %s)", h->host,
                             vm->name, fact_text(there, "state"));
        }
}

static void name_free(Report *r)
{
    EACH_HOST (r, h, 1)
        EACH_VM (r, vm)
            if (!facts_find_vm(h, vm->uuid) && facts_find_vm_named(h, vm->name))
                verify_found(r, h->host, vm->name, "%s has another VM that is called '%s'", h->host,
                             vm->name);
}

/* --- networks ------------------------------------------------------------ */

static gboolean has_place(const Host *host, const Place *place)
{
    if (place->kind == PLACE_NETWORK) {
        const HostNetwork *network = host_find_network(host, place->name);

        return network && network->active;
    }
    return place->kind != PLACE_BRIDGE || host_find_bridge(host, place->name);
}

/* Somebody who says a=b and b=a wanted both directions, which one rule has. */
static gboolean is_turned(const Mapping *m, const MapRule *rule)
{
    for (guint i = 0; i < m->rules->len; i++) {
        const MapRule *other = m->rules->pdata[i];

        if (other != rule && place_equal(&other->places[MAP_MASTER], &rule->places[MAP_REPLICA]) &&
            place_equal(&other->places[MAP_REPLICA], &rule->places[MAP_MASTER]))
            return TRUE;
    }
    return FALSE;
}

static void look_at_rule(Report *r, const HostFacts *h, const Host *master, const Host *replica,
                         const MapRule *rule)
{
    const char *home = facts_master(r->facts)->host;
    g_autofree char *from = mapping_from_text(rule);
    g_autofree char *to = place_format(&rule->places[MAP_REPLICA]);
    g_autofree char *test = place_format(&rule->places[MAP_TEST]);

    if (!has_place(master, &rule->places[MAP_MASTER]))
        verify_found(r, home, NULL, "'%s' is mapped, which %s does not have%s", from, home,
                     is_turned(r->facts->mapping, rule)
                         ? "; the rule for the way there is the rule for the way back"
                         : "");
    if (!has_place(replica, &rule->places[MAP_REPLICA]))
        verify_found(r, h->host, NULL, "'%s' is mapped to '%s', which %s does not have, or has not started",
                     from, to, h->host);
    if (!has_place(replica, &rule->places[MAP_TEST]))
        verify_found(
            r, h->host, NULL,
            "tests of what is on '%s' are mapped to '%s', which %s does not have, or has not started", from,
            test, h->host);
}

static void rules_lead_somewhere(Report *r)
{
    g_autoptr(Host) master = facts_places(facts_master(r->facts));

    EACH_HOST (r, h, 1) {
        g_autoptr(Host) replica = facts_places(h);

        for (guint i = 0;
             facts_master(r->facts)->info->said && h->info->said && i < r->facts->mapping->rules->len; i++)
            look_at_rule(r, h, master, replica, r->facts->mapping->rules->pdata[i]);
    }
}

static void look_at_twin(Report *r, GHashTable *seen, const ScenarioVm *vm, const json_t *nic)
{
    g_autofree char *key = g_strdup_printf("%s on '%s'", fact_text(nic, "mac"), fact_text(nic, "place"));
    const ScenarioVm *other = g_hash_table_lookup(seen, key);

    if (!*fact_text(nic, "mac") || !*fact_text(nic, "place"))
        return;
    if (other && other != vm)
        verify_found(r, facts_master(r->facts)->host, vm->name, "'%s' and '%s' both have the MAC address %s",
                     other->name, vm->name, key);
    else
        g_hash_table_insert(seen, g_steal_pointer(&key), (gpointer)vm);
}

static void macs_once(Report *r)
{
    g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);

    EACH_VM (r, vm) {
        const json_t *list = json_object_get(facts_find_vm(facts_master(r->facts), vm->uuid), "interfaces");

        for (gsize i = 0; i < json_array_size(list); i++)
            look_at_twin(r, seen, vm, json_array_get(list, i));
    }
}

/* --- what the replica makes of each VM ------------------------------------ */

static void replica_looked(Report *r)
{
    for (guint i = 0; i < r->facts->fits->len; i++) {
        const Fact *fit = r->facts->fits->pdata[i];
        const ScenarioVm *vm = scenario_find_vm(r->facts->scenario, fit->vm);

        if (fit->failure)
            verify_found(r, fit->call.host, vm->name, "%s cannot say whether it could run '%s': %s",
                         fit->call.host, vm->name, fit->failure->message);
    }
}

static FindingSeverity severity_of(const RemarkRow *row)
{
    return row->severity == REMARK_ERROR ? FINDING_ERROR : FINDING_WARNING;
}

/* A row of netmap's table, instead of one of ours. NULL: it is of a newer engine. */
static void found_remark(Report *r, const Fact *fit, const json_t *remark)
{
    const RemarkRow *row = remark_find(fact_text(remark, "id"));
    const ScenarioVm *vm = scenario_find_vm(r->facts->scenario, fit->vm);
    const Check *unknown = r->check;
    Check check = *unknown;

    if (row)
        check = (Check){.id = row->id,
                        .severity = severity_of(row),
                        .bars_move = severity_of(row) == FINDING_ERROR,
                        .consequence = row->consequence,
                        .remedy = row->remedy};
    r->check = &check;
    verify_found(r, fit->call.host, vm->name, "'%s': %s", vm->name, fact_text(remark, "cause"));
    r->check = unknown;
}

static void replica_remarks(Report *r)
{
    for (guint i = 0; i < r->facts->fits->len; i++) {
        const Fact *fit = r->facts->fits->pdata[i];
        const json_t *list = json_object_get(fit->said, "remarks");

        for (gsize k = 0; k < json_array_size(list); k++)
            found_remark(r, fit, json_array_get(list, k));
    }
}

/* --- copies that somebody brought ------------------------------------------- */

static void seed_looked(Report *r)
{
    EACH_HOST (r, h, 1)
        if (h->seed && h->seed->failure)
            verify_found(r, h->host, NULL, "%s cannot look into the folder of the seed, %s: %s", h->host,
                         r->facts->scenario->policy.seed, h->seed->failure->message);
}

/* The seed's own sentences, which name the disk, why it is not used, and what to do. Of one that is not there all VMs
 * say the same. */
static void seed_usable(Report *r)
{
    EACH_HOST (r, h, 1) {
        const json_t *vms = h->seed ? json_object_get(h->seed->said, "vms") : NULL;
        const char *before = "";

        for (gsize i = 0; i < json_array_size(vms); i++) {
            const json_t *one = json_array_get(vms, i);
            const char *why = fact_text(one, "why");
            const ScenarioVm *vm = NULL;
            Id id;

            if (id_parse(fact_text(one, "vm"), &id, NULL))
                vm = scenario_find_vm(r->facts->scenario, id);
            if (*why && vm && !g_str_equal(why, before))
                verify_found(r, h->host, vm->name, "the seed of '%s' on %s: %s", vm->name, h->host, why);
            before = why;
        }
    }
}

/* --- the way back ---------------------------------------------------------- */

static void home_looked(Report *r)
{
    for (guint i = 0; i < r->facts->backs->len; i++) {
        const Fact *back = r->facts->backs->pdata[i];
        const ScenarioVm *vm = scenario_find_vm(r->facts->scenario, back->vm);

        if (back->failure)
            verify_found(r, back->call.host, vm->name,
                         "%s cannot say whether '%s' could come home from %s: %s", back->call.host, vm->name,
                         back->from, back->failure->message);
    }
}

/* Only what would keep it from running there: what else would change has been put back at home. The remedy is that of
 * the same trouble on a replica. */
static void found_on_way_back(Report *r, const Fact *back, const json_t *remark)
{
    const RemarkRow *row = remark_find(fact_text(remark, "id"));
    const ScenarioVm *vm = scenario_find_vm(r->facts->scenario, back->vm);
    const Check *ours = r->check;
    Check check = *ours;

    if (!row || row->severity != REMARK_ERROR)
        return;
    check.remedy = row->remedy;
    r->check = &check;
    verify_found(r, back->call.host, vm->name, "'%s' could not come home from %s to %s: %s", vm->name,
                 back->from, back->call.host, fact_text(remark, "cause"));
    r->check = ours;
}

static void home_fits(Report *r)
{
    for (guint i = 0; i < r->facts->backs->len; i++) {
        const Fact *back = r->facts->backs->pdata[i];
        const json_t *list = json_object_get(back->said, "remarks");

        for (gsize k = 0; k < json_array_size(list); k++)
            found_on_way_back(r, back, json_array_get(list, k));
    }
}

/* What VMs write while they are away lies in the master's store, above the images that it has. */
static void home_space(Report *r)
{
    const HostFacts *master = facts_master(r->facts);
    gint64 need = MAX(sizes_of(r->facts), LEAST_FREE_BYTES);
    g_autofree char *left = units_human_size((guint64)free_of(master));
    g_autofree char *all = units_human_size((guint64)need);

    if (master->info->said && free_of(master) < need)
        verify_found(r, master->host, NULL,
                     "the store of %s has %s left, and what the VMs write while they are away may grow to %s",
                     master->host, left, all);
}

/* --- hosts that were tried out ---------------------------------------------- */

/* Of an engine that answers otherwise. */
static void hosts_tried(Report *r)
{
    EACH_HOST (r, h, 0)
        if (h->trial && h->trial->failure && !verify_silence_of(h))
            verify_found(r, h->host, NULL, "%s cannot be tried out: %s", h->host, h->trial->failure->message);
}

/* What the trial calls by this check's name. */
static void trial(Report *r)
{
    EACH_HOST (r, h, 0) {
        const char *text = facts_trial_problem(h, r->check->id);

        if (text)
            verify_found(r, h->host, NULL, "on %s, %s", h->host, text);
    }
}

static const Check CHECKS[] = {
    {"engine-answers", FINDING_ERROR, TRUE, engine_answers, "nothing can be replicated",
     "look at the host, its network and the understudy-engine service"},
    {"engine-version", FINDING_ERROR, FALSE, versions, "the engines may not understand each other",
     "bring both hosts to the same release"},
    {"replica-apart", FINDING_ERROR, FALSE, replica_apart, "it would be gone together with its master",
     "name a host that is a machine of its own, or runs elsewhere"},
    {"start-guard", FINDING_ERROR, FALSE, start_guard, "a guest could be started on both hosts",
     "install the hook (package files in /etc/libvirt/hooks/qemu.d) and restart libvirtd", TRUE},
    {"vm-there", FINDING_ERROR, TRUE, vm_there, "it cannot be protected",
     "take it out of the scenario, or define it again; `understudy-engine promote SCENARIO --old-is-off`, as "
     "root on the replica, goes on from the copy there"},
    {"vm-taken", FINDING_ERROR, FALSE, vm_free_of_others,
     "two protections of one VM would destroy each other's tracking", "stop the other scenario"},
    {"vm-looked-at", FINDING_ERROR, FALSE, vms_looked_at, "whether it can be protected is not known",
     "remove the cause and try again"},
    {"disk-tracked", FINDING_ERROR, FALSE, disks_tracked, "its changes cannot be replicated",
     "do as the sentence says, or take the VM out of the scenario"},
    {"replica-full", FINDING_ERROR, TRUE, space_left, "its recovery points cannot be kept",
     "make room, or add storage"},
    {"replica-uuid", FINDING_ERROR, TRUE, not_on_replica,
     "the replica could not define the VM, and two could run at once",
     "see which of the two is in use, and `virsh undefine NAME --checkpoints-metadata --snapshots-metadata "
     "--keep-nvram --keep-tpm` the other; disks are not touched by that"},
    {"replica-name", FINDING_ERROR, TRUE, name_free, "the replica could not define the VM",
     "rename one of the two"},
    {"map-leads", FINDING_ERROR, FALSE, rules_lead_somewhere, "what the rule is about would land nowhere",
     "define and start the network, with autostart; or take the rule out: understudy scenario set SCENARIO "
     "--map "
     "FROM="},
    {"mac-once", FINDING_ERROR, FALSE, macs_once, "they disturb each other, wherever they run",
     "give one of the two another address"},
    {"replica-looked", FINDING_ERROR, TRUE, replica_looked, "whether it could take over is not known",
     "remove the cause and try again"},
    {"replica-fits", FINDING_WARNING, FALSE, replica_remarks, "the replica's engine is newer and knows more",
     "bring the controller to its release"},
    {"host-tried", FINDING_ERROR, TRUE, hosts_tried,
     "whether VMs can be protected and started there is not known", "remove the cause and try again"},
    {"trial-store", FINDING_ERROR, TRUE, trial, "copies cannot be kept there", "do as the sentence says"},
    {"trial-start", FINDING_ERROR, TRUE, trial, "no VM could be switched over to it",
     "do as the sentence says"},
    {"trial-hook", FINDING_ERROR, FALSE, trial, "a guest could be started on both hosts",
     "do as the sentence says", TRUE},
    {"trial-scratch", FINDING_ERROR, FALSE, trial, "nothing that runs there can be replicated",
     "do as the sentence says"},
    {"trial-socket", FINDING_ERROR, FALSE, trial, "nothing that runs there can be replicated",
     "do as the sentence says"},
    {"trial-backup", FINDING_ERROR, TRUE, trial, "nothing that runs there can be replicated",
     "do as the sentence says"},
    {"trial-define", FINDING_ERROR, TRUE, trial, "no VM could be switched over to it",
     "do as the sentence says"},
    {"controller-apart", FINDING_WARNING, FALSE, controller_apart,
     "when that host is gone nobody is left who sees the others and can switch over",
     "run the controller on a third machine"},
    {"clocks-agree", FINDING_WARNING, FALSE, clocks_agree,
     "times of events and points mislead, and certificates may count as expired",
     "keep the clocks of all hosts together, for instance by chrony"},
    {"clock-source", FINDING_WARNING, FALSE, clock_source, "it is slow to read and drifts, for guests, too",
     "look why the kernel does not trust its processor's counter (dmesg | grep -i clocksource)"},
    {"scratch-space", FINDING_WARNING, FALSE, scratch_enough,
     "cuts of a guest that overwrites much meanwhile are given up, and its copy grows old",
     "make room there, name another folder (scratch in engine.conf), or lower the property scratch"},
    {"vm-remark", FINDING_WARNING, FALSE, remarks, "it can be protected all the same",
     "see that you can live with it"},
    {"replica-space", FINDING_WARNING, FALSE, space_enough, "replication stops when the store is full",
     "add storage before the disks fill up"},
    {"seed-looked", FINDING_WARNING, FALSE, seed_looked,
     "whether the first copy can begin from it is not known; what it is not used for is sent as a whole",
     "see that the medium or mount answers there (ls FOLDER), and that both engines have one release; then "
     "verify again"},
    {"seed-usable", FINDING_WARNING, FALSE, seed_usable,
     "the first copy is sent as a whole there, as without a seed",
     "do as the sentence says before the scenario is run, or do without: understudy scenario set SCENARIO "
     "seed=none"},
    {"home-looked", FINDING_WARNING, FALSE, home_looked,
     "whether it could be switched back is not known; the way there is not affected",
     "remove the cause and try again"},
    {"home-fits", FINDING_WARNING, FALSE, home_fits,
     "it can be switched over, and then not back: it would stay on the replica until that is mended",
     "on the master, do what the second table says of the same trouble on a replica"},
    {"home-space", FINDING_WARNING, FALSE, home_space,
     "after a switchover, what is replicated back stops when the store is full: no switchback, and no "
     "protection of what "
     "runs on the replica",
     "add storage there, or put the store elsewhere (store in engine.conf)"},
    {"home-scratch", FINDING_WARNING, FALSE, home_scratch,
     "after a switchover, cuts of a guest that overwrites much meanwhile are given up, and its copy at home "
     "grows old",
     "make room there, name another folder (scratch in engine.conf), or lower the property scratch"},
};

static void finding_free(gpointer data)
{
    Finding *one = data;

    g_free(one->vm);
    g_free(one->cause);
    g_free(one);
}

/* Stable: within a severity, in the order of the table. */
static int by_severity(gconstpointer a, gconstpointer b)
{
    return (int)(*(const Finding *const *)b)->severity - (int)(*(const Finding *const *)a)->severity;
}

GPtrArray *verify_check(const VerifyFacts *f)
{
    Report r = {f, NULL, g_ptr_array_new_with_free_func(finding_free)};

    g_assert(verify_facts_complete(f));
    for (guint i = 0; i < G_N_ELEMENTS(CHECKS); i++) {
        r.check = &CHECKS[i];
        CHECKS[i].look(&r);
    }
    if (facts_want_auto(f))
        verify_auto(&r);
    g_ptr_array_sort(r.findings, by_severity);
    return r.findings;
}

static gboolean is_error(const Finding *one)
{
    return one->severity == FINDING_ERROR;
}

guint verify_errors(const GPtrArray *findings)
{
    guint n = 0;

    for (guint i = 0; i < findings->len; i++)
        n += is_error(findings->pdata[i]);
    return n;
}

json_t *verify_networks(const VerifyFacts *f)
{
    return mapping_to_json(f->mapping);
}

static gboolean is_any_error(const Finding *one, const char *master)
{
    (void)master;
    return is_error(one);
}

static gboolean is_error_of_auto(const Finding *one, const char *master)
{
    (void)master;
    return is_error(one) && one->bars_auto;
}

static gboolean bars_takeover(const Finding *one, const char *master)
{
    return is_error(one) && (one->bars_auto || g_strcmp0(one->host, master) != 0);
}

static GError *failure_of(const GPtrArray *findings, const char *master,
                          gboolean (*counts)(const Finding *one, const char *master))
{
    const Finding *first = NULL;
    g_autofree char *more = NULL;
    guint errors = 0;

    for (guint i = 0; i < findings->len; i++) {
        const Finding *one = findings->pdata[i];

        if (counts(one, master) && errors++ == 0)
            first = one;
    }
    if (!first)
        return NULL;
    more = errors > 1 ? g_strdup_printf(" (and %u more)", errors - 1) : g_strdup("");
    return g_error_new(US_ERROR, US_ERROR_VERIFY, "%s: %s; %s%s", first->cause, first->consequence,
                       first->remedy, more);
}

GError *verify_failure(const GPtrArray *findings)
{
    return failure_of(findings, NULL, is_any_error);
}

GError *verify_auto_failure(const GPtrArray *findings)
{
    return failure_of(findings, NULL, is_error_of_auto);
}

GError *verify_takeover_failure(const GPtrArray *findings, const char *master)
{
    return failure_of(findings, master, bars_takeover);
}

gboolean verify_rests_on_fence(const GPtrArray *findings)
{
    for (guint i = 0; i < findings->len; i++) {
        const char *id = ((const Finding *)findings->pdata[i])->id;

        if (g_str_equal(id, VERIFY_CLOCK_FENCED) || g_str_equal(id, VERIFY_GUEST_FENCED))
            return TRUE;
    }
    return FALSE;
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

void verify_write_row(GString *text, const char *id, FindingSeverity severity, gboolean bars_move,
                      const char *consequence, const char *remedy)
{
    g_string_append_printf(text, "| `%s` | %s | %s | %s | %s |\n", id,
                           severity == FINDING_ERROR ? "error" : "warning", bars_move ? "yes" : "",
                           consequence, remedy);
}

char *verify_catalogue_text(void)
{
    static const char HEAD[] = "| check | severity | bars a move | what would follow | what to do |\n"
                               "|---|---|---|---|---|\n";
    GString *text = g_string_new(
        "# What is verified\n\n"
        "Made from the tables in `orchestrator/core/verify.c`, `orchestrator/core/verify_auto.c` and "
        "`netmap/remark.h`; a test compares. Errors keep "
        "a scenario from being run. What bars a move keeps a guest from being shut "
        "down to be started elsewhere, by "
        "a switchover, a switchback, or a switchback that begins by itself: where "
        "it goes is then the *replica* of "
        "these tables, in either direction (`orchestrator/core/verify_move.h`). The "
        "cause, which names host, VM and "
        "device, is each finding's own.\n\n## Hosts, disks, room\n\n");

    g_string_append(text, HEAD);
    for (guint i = 0; i < G_N_ELEMENTS(CHECKS); i++)
        verify_write_row(text, CHECKS[i].id, CHECKS[i].severity, CHECKS[i].bars_move, CHECKS[i].consequence,
                         CHECKS[i].remedy);
    g_string_append(text, "\n## With switchover=auto\n\n"
                          "Instead of `controller-apart`. What a fence excuses is excused for the host that "
                          "it is set for.\n\n");
    g_string_append(text, HEAD);
    verify_auto_catalogue(text);
    g_string_append(text, "\n## What a definition becomes on the replica\n\n");
    g_string_append(text, HEAD);
    for (guint i = 0; i < REMARKS; i++) {
        const RemarkRow *row = remark_row((RemarkKind)i);

        verify_write_row(text, row->id, severity_of(row), severity_of(row) == FINDING_ERROR, row->consequence,
                         row->remedy);
    }
    return g_string_free(text, FALSE);
}

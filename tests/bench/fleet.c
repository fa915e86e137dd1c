/* SPDX-License-Identifier: Apache-2.0 */
#include "fleet.h"

#include "vmconnect/base/check.h"
#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"

#define GIB (1024LL * 1024 * 1024)
#define DISKS 2
#define POINTS 48
#define MISSES_WHY "nothing comes back"

/* --- what there is ------------------------------------------------------------- */

static void vm_free(gpointer data)
{
    FleetVm *vm = data;

    json_decref(vm->role);
    json_decref(vm->tip);
    g_free(vm->name);
    g_free(vm);
}

static void copy_free(gpointer data)
{
    FleetCopy *copy = data;

    json_decref(copy->tip);
    g_free(copy);
}

static void subject_free(gpointer data)
{
    FleetSubject *s = data;

    g_ptr_array_unref(s->checks);
    g_free(s);
}

static void paper_free(gpointer data)
{
    json_decref(data);
}

FleetHost *fleet_host_new(guint number, guint n_vms)
{
    FleetHost *h = g_new0(FleetHost, 1);

    h->number = number;
    h->vms = g_ptr_array_new_with_free_func(vm_free);
    h->copies = g_ptr_array_new_with_free_func(copy_free);
    h->subjects = g_ptr_array_new_with_free_func(subject_free);
    h->papers = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, paper_free);
    for (guint i = 1; i <= n_vms; i++) {
        FleetVm *vm = g_new0(FleetVm, 1);

        vm->id = id_random();
        vm->name = g_strdup_printf("vm-%03u-%02u", number, i);
        g_ptr_array_add(h->vms, vm);
    }
    return h;
}

void fleet_host_free(FleetHost *h)
{
    g_ptr_array_unref(h->vms);
    g_ptr_array_unref(h->copies);
    g_ptr_array_unref(h->subjects);
    g_hash_table_unref(h->papers);
    g_free(h);
}

FleetVm *fleet_vm(const FleetHost *h, Id id)
{
    for (guint i = 0; i < h->vms->len; i++)
        if (id_equal(((FleetVm *)h->vms->pdata[i])->id, id))
            return h->vms->pdata[i];
    return NULL;
}

FleetCopy *fleet_copy(const FleetHost *h, Id vm)
{
    for (guint i = 0; i < h->copies->len; i++)
        if (id_equal(((FleetCopy *)h->copies->pdata[i])->vm, vm))
            return h->copies->pdata[i];
    return NULL;
}

/* --- being told ------------------------------------------------------------------ */

static const char *text_of(const json_t *doc, const char *key)
{
    const char *text = json_string_value(json_object_get(doc, key));

    return text ? text : "";
}

Id fleet_standby_of(const FleetVm *vm)
{
    Id id = ID_NIL;

    id_parse(text_of(json_object_get(vm->role, "standby"), "id"), &id, NULL);
    return id;
}

/* Cycles of different VMs begin at moments of their own. */
void fleet_protect(FleetVm *vm, const json_t *params, gint64 now_ms)
{
    json_t *policy = json_object_get(params, "policy");

    json_decref(vm->role);
    vm->role = json_incref((json_t *)params);
    vm->interval_ms = MAX(json_integer_value(json_object_get(policy, "interval_ms")), 250);
    vm->due_ms = now_ms + g_random_int_range(100, (gint32)vm->interval_ms);
    vm->cycle_ms = g_random_int_range(120, 400);
}

void fleet_admit(FleetHost *h, Id vm)
{
    FleetCopy *copy;

    if (fleet_copy(h, vm))
        return;
    copy = g_new0(FleetCopy, 1);
    copy->vm = vm;
    g_ptr_array_add(h->copies, copy);
}

static void add_check(FleetSubject *s, CheckKind kind, const char *address)
{
    CheckSpec *spec = g_new0(CheckSpec, 1);

    spec->kind = kind;
    spec->address = g_strdup(address);
    g_ptr_array_add(s->checks, spec);
}

/* As vmconnect/probe/watch.c does: each address of a host is a path, asked by a beat and a ping. */
static gboolean read_check(FleetSubject *s, const json_t *doc, GError **error)
{
    CheckSpec *spec;

    if (json_is_string(doc)) {
        add_check(s, CHECK_BEAT, json_string_value(doc));
        add_check(s, CHECK_PING, "127.0.0.1");
        return TRUE;
    }
    spec = check_spec_from_json(doc, error);
    if (spec)
        g_ptr_array_add(s->checks, spec);
    return spec != NULL;
}

static gboolean read_subject(FleetHost *h, const json_t *doc, gboolean is_host, gint64 now_ms, GError **error)
{
    FleetSubject *s = g_new0(FleetSubject, 1);
    const json_t *checks = json_object_get(doc, is_host ? "addresses" : "checks");

    s->key = is_host ? "id" : "vm";
    s->reign = json_integer_value(json_object_get(doc, "reign"));
    s->checks = g_ptr_array_new_with_free_func((GDestroyNotify)check_spec_free);
    s->interval_ms = MAX(json_integer_value(json_object_get(doc, "interval_ms")), 250);
    s->due_ms = now_ms + g_random_int_range(0, (gint32)s->interval_ms);
    g_ptr_array_add(h->subjects, s);
    for (gsize i = 0; i < json_array_size(checks); i++)
        if (!read_check(s, json_array_get(checks, i), error))
            return FALSE;
    return id_parse(text_of(doc, s->key), &s->id, error);
}

gboolean fleet_watch(FleetHost *h, const json_t *params, gint64 now_ms, GError **error)
{
    const json_t *hosts = json_object_get(params, "hosts"), *guests = json_object_get(params, "guests");

    g_ptr_array_set_size(h->subjects, 0);
    for (gsize i = 0; i < json_array_size(hosts); i++)
        if (!read_subject(h, json_array_get(hosts, i), TRUE, now_ms, error))
            return FALSE;
    for (gsize i = 0; i < json_array_size(guests); i++)
        if (!read_subject(h, json_array_get(guests, i), FALSE, now_ms, error))
            return FALSE;
    return TRUE;
}

void fleet_seal(FleetVm *vm, gint64 now_ms, gint64 wall_ms)
{
    g_autoptr(Generation) g = generation_new();

    g->id = id_random();
    g->reign = (Reign){1, vm->id};
    reign_from_json(json_object_get(vm->role, "reign"), &g->reign, NULL);
    id_parse(text_of(vm->tip, "id"), &g->parent, NULL);
    g->since = g->parent;
    g->sequence = ++vm->sequence;
    g->cut_at_ms = wall_ms - vm->cycle_ms;
    g->sealed_at_ms = wall_ms;
    for (guint i = 0; i < DISKS; i++)
        generation_add_disk(g, i == 0 ? "vda" : "vdb", 40 * GIB);
    json_decref(vm->tip);
    vm->tip = generation_describe(g);
    vm->truth_ms = now_ms - vm->cycle_ms;
}

/* --- the host, and its VMs ---------------------------------------------------------- */

json_t *fleet_info(const FleetHost *h, gint64 wall_ms)
{
    g_autofree char *machine = g_strdup_printf("%032x", h->number);

    return json_pack(
        "{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:b, s:s, s:{s:s, s:I, s:I}, s:{s:s, s:I, s:I}, "
        "s:[{s:s, s:b, s:s, s:[]}], s:[{s:s, s:b, s:b}]}",
        "id", ID_TEXT(h->id), "version", UNDERSTUDY_VERSION, "boot_id", ID_TEXT(h->id), "machine_id", machine,
        "system_uuid", ID_TEXT(h->id), "libvirt", "9.0.0", "qemu", "7.2.0", "wall_ms", (json_int_t)wall_ms,
        "hook", TRUE, "certificate_expires_at", "2036-01-01T00:00:00.000Z", "store", "path",
        "/var/lib/understudy/images", "free_bytes", (json_int_t)(8192 * GIB), "total_bytes",
        (json_int_t)(9000 * GIB), "scratch", "path", "/var/lib/understudy/scratch", "free_bytes",
        (json_int_t)(90 * GIB), "total_bytes", (json_int_t)(100 * GIB), "networks", "name", "default",
        "active", TRUE, "bridge", "virbr0", "portgroups", "bridges", "name", "virbr0", "ovs", FALSE,
        "of_network", TRUE);
}

static json_t *disks_of(const FleetVm *vm)
{
    json_t *list = json_array();

    for (guint i = 0; i < DISKS; i++) {
        g_autofree char *source = g_strdup_printf("/var/lib/libvirt/images/%s-%u.qcow2", vm->name, i);

        json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:I, s:n}", "target", i == 0 ? "vda" : "vdb",
                                              "source", source, "format", "qcow2", "size_bytes",
                                              (json_int_t)(40 * GIB), "problem"));
    }
    return list;
}

static char *mac_of(Id vm)
{
    return g_strdup_printf("52:54:00:%02x:%02x:%02x", vm.bytes[0], vm.bytes[1], vm.bytes[2]);
}

json_t *fleet_list(const FleetHost *h)
{
    json_t *list = json_array();

    for (guint i = 0; i < h->vms->len; i++) {
        const FleetVm *vm = h->vms->pdata[i];
        g_autofree char *mac = mac_of(vm->id);
        const char *scenario = vm->role ? text_of(vm->role, "scenario") : NULL;

        json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:o, s:[{s:s, s:s, s:s}], s:s, s:b, s:s?}",
                                              "uuid", ID_TEXT(vm->id), "name", vm->name, "state", "running",
                                              "disks", disks_of(vm), "interfaces", "mac", mac, "type",
                                              "network", "place", "default", "guest_name", vm->name,
                                              "given_up", FALSE, "scenario", scenario));
    }
    return json_pack("{s:o}", "vms", list);
}

/* As long as that of an ordinary guest. */
json_t *fleet_definition(const char *name, Id vm)
{
    GString *text = g_string_new(NULL);
    json_t *out;

    g_string_append_printf(text, "<domain type='kvm'>\n  <name>%s</name>\n  <uuid>%s</uuid>\n  <devices>\n",
                           name, ID_TEXT(vm));
    for (guint i = 0; i < 40; i++)
        g_string_append_printf(
            text,
            "    <controller type='pci' index='%u' model='pcie-root-port'>\n      <address "
            "type='pci' slot='0x%02x'/>\n    </controller>\n",
            i, i);
    g_string_append(text, "  </devices>\n</domain>\n");
    out = json_string(text->str);
    g_string_free(text, TRUE);
    return out;
}

json_t *fleet_check(const FleetVm *vm)
{
    return json_pack("{s:[], s:[], s:I, s:o}", "problems", "remarks", "data_bytes", (json_int_t)(10 * GIB),
                     "definition", fleet_definition(vm->name, vm->id));
}

/* --- status --------------------------------------------------------------------------- */

static json_t *tip_of(json_t *tip)
{
    return tip ? json_incref(tip) : json_null();
}

/* vmconnect/replicate/worker.c: status_of(), with the age that vmconnect/roles.c gives it. */
static json_t *active_of(const FleetVm *vm, gint64 now_ms)
{
    const json_t *standby = json_object_get(vm->role, "standby");
    const char *state = vm->truth_ms ? "protected" : "unprotected";
    json_t *lag = vm->truth_ms ? json_integer(now_ms - vm->truth_ms) : json_null();
    json_t *copy = json_pack(
        "{s:s, s:s, s:s, s:o, s:n, s:{s:I, s:I, s:I, s:I, s:n}, s:{s:n, s:I, s:I}, s:o, s:n}", "id",
        text_of(standby, "id"), "host", text_of(standby, "name"), "state", state, "lag_ms", lag, "why",
        "sync", "done_bytes", (json_int_t)1048576, "total_bytes", (json_int_t)1048576, "sent_bytes",
        (json_int_t)524288, "rate_bps", (json_int_t)0, "left_s", "resync", "reason", "compared_bytes",
        (json_int_t)0, "sent_bytes", (json_int_t)0, "tip", tip_of(vm->tip), "compare");

    return json_pack("{s:s, s:s, s:O, s:s, s:n, s:n, s:s, s:s, s:I, s:I, s:I, s:n, s:n, s:[o], s:{s:i, s:n}}",
                     "vm", ID_TEXT(vm->id), "scenario", text_of(vm->role, "scenario"), "reign",
                     json_object_get(vm->role, "reign"), "state", state, "why", "why_code", "guest", "alive",
                     "tracking", "bitmap", "spool_bytes", (json_int_t)262144, "interval_ms",
                     (json_int_t)vm->interval_ms, "cycle_ms", (json_int_t)vm->cycle_ms, "plan", "branches",
                     "standbys", copy, "rescues", "count", 0, "why");
}

/* vmconnect/replicate/keeper.c: status_of(). */
static json_t *standby_of(const FleetCopy *copy)
{
    return json_pack("{s:s, s:s, s:n, s:o, s:i, s:{s:i, s:i}, s:n}", "vm", ID_TEXT(copy->vm), "state",
                     "attached", "why", "tip", tip_of(copy->tip), "points", POINTS, "branches", "count", 0,
                     "bytes", 0, "promoted");
}

static json_t *guest_of(const FleetVm *vm)
{
    return json_pack("{s:s, s:s, s:s?, s:i}", "vm", ID_TEXT(vm->id), "word", vm->dead ? "dead" : "alive",
                     "why", vm->dead ? "it crashed" : NULL, "boots", (int)vm->boots);
}

static json_t *subject_of(const FleetSubject *s)
{
    CheckScore score = {.tried = s->tried,
                        .ever = s->tried,
                        .misses = s->misses,
                        .why = s->misses > 0 ? (char *)MISSES_WHY : NULL};
    json_t *list = json_array();

    for (guint i = 0; i < s->checks->len; i++)
        json_array_append_new(list, check_score_to_json(&score, s->checks->pdata[i]));
    return s->reign ? json_pack("{s:s, s:o, s:I}", s->key, ID_TEXT(s->id), "checks", list, "reign",
                                (json_int_t)s->reign)
                    : json_pack("{s:s, s:o}", s->key, ID_TEXT(s->id), "checks", list);
}

static json_t *watch_of(const FleetHost *h)
{
    CheckSpec gateway = {.kind = CHECK_PING, .address = (char *)"10.0.0.1"};
    CheckScore score = {.tried = TRUE, .ever = TRUE};
    json_t *hosts = json_array(), *guests = json_array();

    for (guint i = 0; i < h->subjects->len; i++) {
        const FleetSubject *s = h->subjects->pdata[i];

        json_array_append_new(g_str_equal(s->key, "id") ? hosts : guests, subject_of(s));
    }
    return json_pack("{s:o, s:o, s:o}", "hosts", hosts, "guests", guests, "gateway",
                     h->subjects->len > 0 ? check_score_to_json(&score, &gateway) : json_null());
}

json_t *fleet_status(const FleetHost *h, gint64 now_ms)
{
    json_t *active = json_array(), *standby = json_array(), *guests = json_array();

    for (guint i = 0; i < h->vms->len; i++) {
        const FleetVm *vm = h->vms->pdata[i];

        if (!vm->role)
            continue;
        json_array_append_new(active, active_of(vm, now_ms));
        json_array_append_new(guests, guest_of(vm));
    }
    for (guint i = 0; i < h->copies->len; i++)
        json_array_append_new(standby, standby_of(h->copies->pdata[i]));
    return json_pack("{s:b, s:o, s:o, s:o, s:{s:b, s:n}, s:o}", "complete", TRUE, "active", active, "standby",
                     standby, "guests", guests, "libvirt", "up", TRUE, "why", "watch", watch_of(h));
}

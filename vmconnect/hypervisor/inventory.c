/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/hypervisor/inventory.h"

#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"
#include "vmconnect/hypervisor/disk_size.h"

#include <libvirt/libvirt-qemu.h>
#include <stdlib.h>
#include <string.h>

#define ANSWER_MAX_BYTES 4096

static const struct {
    VmState state;
    const char *name;
} STATES[] = {
    [VIR_DOMAIN_NOSTATE] = {VM_STATE_UNKNOWN, "unknown"},
    [VIR_DOMAIN_RUNNING] = {VM_STATE_RUNNING, "running"},
    [VIR_DOMAIN_BLOCKED] = {VM_STATE_RUNNING, "running"},
    [VIR_DOMAIN_PAUSED] = {VM_STATE_PAUSED, "paused"},
    [VIR_DOMAIN_SHUTDOWN] = {VM_STATE_SHUTTING_DOWN, "shutting-down"},
    [VIR_DOMAIN_SHUTOFF] = {VM_STATE_OFF, "off"},
    [VIR_DOMAIN_CRASHED] = {VM_STATE_CRASHED, "crashed"},
    [VIR_DOMAIN_PMSUSPENDED] = {VM_STATE_SUSPENDED, "suspended"},
};

const char *vm_state_name(VmState state)
{
    for (guint i = 0; i < G_N_ELEMENTS(STATES); i++)
        if (STATES[i].state == state)
            return STATES[i].name;
    g_assert_not_reached();
}

gboolean vm_state_read(virDomainPtr dom, VmState *ret_state, int *ret_reason, GError **error)
{
    int state = VIR_DOMAIN_NOSTATE;
    int reason = 0;

    if (virDomainGetState(dom, &state, &reason, 0) != 0)
        return virt_error(error, "cannot read the state of '%s'", virDomainGetName(dom));
    *ret_state = (guint)state < G_N_ELEMENTS(STATES) ? STATES[state].state : VM_STATE_UNKNOWN;
    if (ret_reason)
        *ret_reason = reason;
    return TRUE;
}

gboolean vm_has_panicked(virDomainPtr dom, VmState state, int reason)
{
    char *answer = NULL;
    json_auto_t *doc = NULL;
    const char *status = NULL;

    if (state != VM_STATE_PAUSED || reason != VIR_DOMAIN_PAUSED_UNKNOWN ||
        virDomainQemuMonitorCommand(dom, "{\"execute\":\"query-status\"}", &answer, 0) != 0)
        return FALSE;
    doc = json_parse(answer, strlen(answer), ANSWER_MAX_BYTES, NULL);
    status = json_string_value(json_object_get(json_object_get(doc, "return"), "status"));
    free(answer);
    return g_strcmp0(status, "guest-panicked") == 0;
}

void vm_free(Vm *vm)
{
    if (!vm)
        return;
    definition_free(vm->definition);
    g_free(vm->problem);
    g_free(vm);
}

void inventory_free(Inventory *inv)
{
    if (!inv)
        return;
    g_ptr_array_unref(inv->vms);
    g_free(inv);
}

char *vm_definition_text(virDomainPtr dom, unsigned int flags, GError **error)
{
    char *xml = virDomainGetXMLDesc(dom, flags);
    char *copy;

    if (!xml) {
        virt_error(error, "cannot read the definition of '%s'", virDomainGetName(dom));
        return NULL;
    }
    copy = g_strdup(xml);
    free(xml);
    return copy;
}

static gboolean parse_definition(Vm *vm, virDomainPtr dom, GError **error)
{
    g_autofree char *xml = vm_definition_text(dom, 0, error);

    vm->definition = xml ? definition_parse(xml, strlen(xml), error) : NULL;
    for (guint i = 0; vm->definition && i < vm->definition->disks->len; i++) {
        Disk *disk = vm->definition->disks->pdata[i];

        disk->size_bytes = disk_size_read(disk);
    }
    return vm->definition != NULL;
}

/* One definition that cannot be read (libvirt gives none of over 4 MiB back)
 * does not hide the other guests. */
static gboolean read_definition(Vm *vm, virDomainPtr dom, GError **error)
{
    g_autoptr(GError) why = NULL;
    Id uuid;

    if (parse_definition(vm, dom, &why))
        return TRUE;
    g_assert(why);
    if (g_error_matches(why, US_ERROR, US_ERROR_UNREACHABLE) ||
        g_error_matches(why, US_ERROR, US_ERROR_NOT_FOUND)) {
        g_propagate_error(error, g_steal_pointer(&why));
        return FALSE;
    }
    virDomainGetUUID(dom, uuid.bytes);
    vm->definition = definition_bare(uuid, virDomainGetName(dom));
    vm->problem = g_strdup(why->message);
    return TRUE;
}

static Vm *vm_of(virDomainPtr dom, GError **error)
{
    g_autoptr(Vm) vm = g_new0(Vm, 1);
    int autostart = 0;

    if (!vm_state_read(dom, &vm->state, &vm->reason, error) || !read_definition(vm, dom, error))
        return NULL; // NOLINT(clang-analyzer-unix.Malloc): g_autoptr
    if (vm_has_panicked(dom, vm->state, vm->reason))
        vm->reason = VIR_DOMAIN_PAUSED_CRASHED;
    vm->persistent = virDomainIsPersistent(dom) == 1;
    if (vm->persistent && virDomainGetAutostart(dom, &autostart) != 0) {
        virt_error(error, "cannot read whether '%s' starts by itself", virDomainGetName(dom));
        return NULL;
    }
    vm->autostart = autostart != 0;
    vm->managed_save = virDomainHasManagedSaveImage(dom, 0) == 1;
    return g_steal_pointer(&vm);
}

static void domains_free(virDomainPtr *doms)
{
    for (virDomainPtr *d = doms; d && *d; d++)
        virDomainFree(*d);
    free(doms);
}

static gboolean add_vm(Inventory *inv, virDomainPtr dom, GError **error)
{
    g_autoptr(GError) why = NULL;
    Vm *vm = vm_of(dom, &why);

    if (vm && vm->definition->is_test)
        vm_free(vm);
    else if (vm)
        g_ptr_array_add(inv->vms, vm);
    else if (!g_error_matches(why, US_ERROR, US_ERROR_NOT_FOUND))
        g_propagate_error(error, g_steal_pointer(&why));
    else
        return TRUE; /* undefined while we looked */
    return vm != NULL;
}

Inventory *inventory_read(virConnectPtr conn, GError **error)
{
    g_autoptr(Inventory) inv = g_new0(Inventory, 1);
    virDomainPtr *doms = NULL;
    gboolean ok = TRUE;

    inv->vms = g_ptr_array_new_with_free_func((GDestroyNotify)vm_free);
    if (virConnectListAllDomains(conn, &doms, 0) < 0) {
        virt_error(error,
                   "cannot list the guests of this host"); // NOLINT(clang-analyzer-unix.Malloc): g_autoptr
        return NULL;
    }
    for (virDomainPtr *d = doms; *d && ok; d++)
        ok = add_vm(inv, *d, error);
    domains_free(doms);
    return ok ? g_steal_pointer(&inv) : NULL;
}

Vm *vm_read(virConnectPtr conn, Id uuid, GError **error)
{
    g_autoptr(virDomain) dom = vm_lookup(conn, uuid, error);

    return dom ? vm_of(dom, error) : NULL;
}

virDomainPtr vm_lookup(virConnectPtr conn, Id uuid, GError **error)
{
    virDomainPtr dom = virDomainLookupByUUID(conn, uuid.bytes);

    if (!dom)
        virt_error(error, "VM %s", ID_TEXT(uuid));
    return dom;
}

gboolean vm_find(virConnectPtr conn, Id uuid, virDomainPtr *ret_dom, GError **error)
{
    g_autoptr(GError) why = NULL;

    *ret_dom = vm_lookup(conn, uuid, &why);
    if (*ret_dom || g_error_matches(why, US_ERROR, US_ERROR_NOT_FOUND))
        return TRUE;
    g_propagate_error(error, g_steal_pointer(&why));
    return FALSE;
}

char *vm_definition(virConnectPtr conn, Id uuid, VmDefinition which, GError **error)
{
    static const unsigned int FLAGS[] = {[VM_DEFINITION_WHOLE] =
                                             VIR_DOMAIN_XML_INACTIVE | VIR_DOMAIN_XML_SECURE,
                                         [VM_DEFINITION_SHOWN] = VIR_DOMAIN_XML_INACTIVE,
                                         [VM_DEFINITION_LIVE] = 0};
    g_autoptr(virDomain) dom = vm_lookup(conn, uuid, error);

    return dom ? vm_definition_text(dom, FLAGS[which], error) : NULL;
}

const Vm *inventory_find(const Inventory *inv, Id uuid)
{
    for (guint i = 0; i < inv->vms->len; i++) {
        const Vm *vm = inv->vms->pdata[i];

        if (id_equal(vm->definition->uuid, uuid))
            return vm;
    }
    return NULL;
}

static const Disk *find_source(const Vm *vm, const char *source)
{
    for (guint i = 0; i < vm->definition->disks->len; i++) {
        const Disk *disk = vm->definition->disks->pdata[i];

        if (disk_is_data(disk) && g_strcmp0(disk->source, source) == 0)
            return disk;
    }
    return NULL;
}

const Vm *inventory_find_sharer(const Inventory *inv, const Vm *vm, const Disk *disk)
{
    for (guint i = 0; disk->source && i < inv->vms->len; i++) {
        const Vm *other = inv->vms->pdata[i];

        if (!id_equal(other->definition->uuid, vm->definition->uuid) && find_source(other, disk->source))
            return other;
    }
    return NULL;
}

/* New reference: a string or null. */
static json_t *problem_of(const Disk *disk, const Vm *vm, const Inventory *inv)
{
    const char *problem = disk_problem(disk);
    const Vm *sharer = problem || !inv ? NULL : inventory_find_sharer(inv, vm, disk);
    g_autofree char *text = NULL;

    if (!sharer)
        return problem ? json_string(problem) : json_null();
    text = g_strdup_printf("the VM '%s' has the same image: two writers on one image are never consistent; "
                           "give each its own",
                           sharer->definition->name);
    return json_string(text);
}

static json_t *disks_to_json(const Vm *vm, const Inventory *inv)
{
    json_t *list = json_array();

    for (guint i = 0; i < vm->definition->disks->len; i++) {
        const Disk *d = vm->definition->disks->pdata[i];

        if (disk_is_data(d))
            json_array_append_new(list, json_pack("{s:s?, s:s?, s:s?, s:I, s:o}", "target", d->target,
                                                  "source", d->source, "format", d->format, "size_bytes",
                                                  (json_int_t)MIN(d->size_bytes, G_MAXINT64), "problem",
                                                  problem_of(d, vm, inv)));
    }
    return list;
}

static json_t *interfaces_to_json(const Vm *vm)
{
    json_t *list = json_array();

    for (guint n = 0; n < vm->definition->interfaces->len; n++) {
        const Interface *i = vm->definition->interfaces->pdata[n];
        g_autofree char *place = place_format(&i->place);

        json_array_append_new(list,
                              json_pack("{s:s?, s:s?, s:s}", "mac", i->mac, "type", i->type, "place", place));
    }
    return list;
}

json_t *vm_to_json(const Vm *vm, const Inventory *inv)
{
    return json_pack("{s:s, s:s, s:s, s:o, s:o}", "uuid", ID_TEXT(vm->definition->uuid), "name",
                     vm->definition->name, "state", vm_state_name(vm->state), "disks", disks_to_json(vm, inv),
                     "interfaces", interfaces_to_json(vm));
}

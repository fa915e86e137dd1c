/* SPDX-License-Identifier: Apache-2.0 */
/* inventory - what is on this host: guests with their disks and interfaces.
 *
 * Read from libvirt as plain structs and as the JSON of the control protocol.
 * No call asks QEMU itself, so that one hung guest does not hide the others.
 * What takes a virConnectPtr or virDomainPtr blocks: never on the loop. */
#pragma once

#include "vmconnect/base/id.h"
#include "vmconnect/hypervisor/definition.h"
#include "vmconnect/hypervisor/virt_error.h"

#include <glib.h>
#include <jansson.h>

typedef enum {
    VM_STATE_OFF,
    VM_STATE_RUNNING,
    VM_STATE_PAUSED,
    VM_STATE_SHUTTING_DOWN,
    VM_STATE_CRASHED,
    VM_STATE_SUSPENDED, /* by the guest's own power management */
    VM_STATE_UNKNOWN,
} VmState;

typedef struct {
    Definition *definition; /* live when it runs, inactive otherwise; bare if there is a problem */
    char *problem;          /* why its definition cannot be read, hence not be protected; NULL: none */
    VmState state;
    int reason; /* libvirt's, meaning by state: VIR_DOMAIN_PAUSED_IOERROR … */
    gboolean autostart;
    gboolean persistent;
    gboolean managed_save; /* a saved memory image waits for the next start */
} Vm;

typedef struct {
    GPtrArray *vms; /* of Vm * */
} Inventory;

const char *vm_state_name(VmState state); /* "running", "paused", "off", … */
/* libvirt's own record, no question to QEMU. @ret_reason may be NULL. */
gboolean vm_state_read(virDomainPtr dom, VmState *ret_state, int *ret_reason, GError **error);

/* Did its kernel panic, though libvirt does not say so? libvirt 9 loses that news when a backup job is open, whoever's: it leaves
 * such a guest paused, without a reason. Only of one in that state is QEMU asked. */
gboolean vm_has_panicked(virDomainPtr dom, VmState state, int reason);

/* All domains, defined or running. A domain that goes away meanwhile is left out. */
Inventory *inventory_read(virConnectPtr conn, GError **error);
/* The domain; virDomainFree() it. NULL with NOT_FOUND or UNREACHABLE. */
virDomainPtr vm_lookup(virConnectPtr conn, Id uuid, GError **error);
/* The same, where a VM that libvirt does not know is no error: *@ret_dom is NULL then. */
gboolean vm_find(virConnectPtr conn, Id uuid, virDomainPtr *ret_dom, GError **error);

/* One. NOT_FOUND when libvirt does not know it. */
Vm *vm_read(virConnectPtr conn, Id uuid, GError **error);
void vm_free(Vm *vm);
void inventory_free(Inventory *inv);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Vm, vm_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Inventory, inventory_free)
const Vm *inventory_find(const Inventory *inv, Id uuid);

typedef enum {
    VM_DEFINITION_WHOLE, /* the inactive one with its secrets, as a generation carries it */
    VM_DEFINITION_SHOWN, /* the inactive one without them */
    VM_DEFINITION_LIVE,  /* as it runs, without them */
} VmDefinition;

/* The caller g_free()s. */
char *vm_definition(virConnectPtr conn, Id uuid, VmDefinition which, GError **error);
/* The same of a domain in hand; @flags of virDomainGetXMLDesc(). */
char *vm_definition_text(virDomainPtr dom, unsigned int flags, GError **error);

/* Another VM of @inv that has the image of @vm's @disk as a data disk too, or
 * NULL. Two writers on one image are never protected. */
const Vm *inventory_find_sharer(const Inventory *inv, const Vm *vm, const Disk *disk);

/* One entry of `vm.list`: {"uuid", "name", "state", "disks": [{"target",
 * "source", "format", "size_bytes", "problem"}], "interfaces": [{"mac", "type",
 * "place"}]}, of data disks only; the engine adds "scenario". @inv (may be NULL)
 * is looked through for sharers. New reference. */
json_t *vm_to_json(const Vm *vm, const Inventory *inv);

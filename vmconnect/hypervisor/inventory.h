/* SPDX-License-Identifier: Apache-2.0 */
/* inventory - what is on this host: guests with their disks, networks, the host.
 *
 * Read from libvirt and from definition XML, as plain structs and as the JSON
 * of the control protocol. A definition is the user's: it is parsed without
 * network, without entities and with limits, and what is odd becomes a
 * disk's `problem`, not an error of the whole list.
 *
 * Functions that take a virConnectPtr or virDomainPtr block: never on the loop. */
#pragma once

#include "vmconnect/base/id.h"
#include "vmconnect/hypervisor/virt_error.h"

#include <glib.h>
#include <jansson.h>

/* libvirt itself refuses strings over 4 MiB; a definition in our files may have grown a little. */
#define DEFINITION_MAX_BYTES (16 << 20)

typedef enum {
    DISK_DEVICE_DISK,
    DISK_DEVICE_CDROM,
    DISK_DEVICE_FLOPPY,
    DISK_DEVICE_LUN,
} DiskDevice;

typedef struct {
    char *target;       /* vda */
    char *source;       /* path or URI-like name; NULL: empty drive */
    char *source_type;  /* file, block, network, volume, dir, nvme, vhostuser */
    char *format;       /* qcow2, raw, …; NULL: not said */
    char *cache;        /* NULL: hypervisor's default */
    char *error_policy; /* stop, report, enospace, …; NULL: default (enospace) */
    char *discard;      /* unmap, ignore; NULL: default */
    char *bus;          /* virtio, scsi, … */
    DiskDevice device;
    guint64 size_bytes; /* virtual size; 0: not known */
    guint chain_depth;  /* images that the definition names behind this one */
    gboolean shareable;
    gboolean readonly;
    gboolean transient;
    gboolean encrypted;
    gboolean has_mirror; /* a block copy or active commit runs on it */
} Disk;

typedef struct {
    char *mac;
    char *type;   /* network, bridge, direct, … */
    char *source; /* network's or bridge's name; NULL: none */
    char *model;
} Interface;

/* What one definition says, live or inactive. */
typedef struct {
    Id uuid;
    char *name;
    GPtrArray *disks;      /* of Disk *, in the definition's order */
    GPtrArray *interfaces; /* of Interface * */
    char *nvram;           /* path of the variable store; NULL: none */
    gboolean has_tpm;
    gboolean has_agent;       /* a guest agent channel is defined */
    gboolean agent_connected; /* live definitions only */
} Definition;

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
    Definition *definition; /* live when it runs, inactive otherwise */
    VmState state;
    int reason; /* libvirt's, meaning by state: VIR_DOMAIN_PAUSED_IOERROR … */
    gboolean autostart;
    gboolean persistent;
    gboolean managed_save; /* a saved memory image waits for the next start */
} Vm;

typedef struct {
    char *name;
    char *bridge; /* NULL: has none */
    gboolean active;
} Network;

typedef struct {
    GPtrArray *vms; /* of Vm * */
} Inventory;

/* From definition XML (root <domain>). NULL with @error USAGE: not a domain,
 * over DEFINITION_MAX_BYTES, a document type or entity in it, no valid UUID. */
Definition *definition_parse(const char *xml, gsize len, GError **error);
void definition_free(Definition *d);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Definition, definition_free)

const Disk *definition_find_disk(const Definition *d, const char *target);

/* Why this disk cannot be protected, or NULL. Static sentence, in words for the
 * operator; @ret_warning (may be NULL) gets what he must know although it can
 * be: an error policy under which a scratch error reaches the guest. */
const char *disk_problem(const Disk *disk, const char **ret_warning);

/* TRUE for what is data of the guest and hence replicated: disks that are
 * writable; not CD-ROMs, floppies or read-only ones. */
gboolean disk_is_data(const Disk *disk);

const char *vm_state_name(VmState state); /* "running", "paused", "off", … */
VmState vm_state_of(virDomainPtr dom, int *ret_reason, GError **error);

/* All domains, defined or running. A domain that goes away meanwhile is left out. */
Inventory *inventory_read(virConnectPtr conn, GError **error);
/* One. NOT_FOUND when libvirt does not know it. */
Vm *vm_read(virConnectPtr conn, Id uuid, GError **error);
void vm_free(Vm *vm);
void inventory_free(Inventory *inv);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Vm, vm_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Inventory, inventory_free)
const Vm *inventory_find(const Inventory *inv, Id uuid);

/* The inactive definition with its secrets, as a generation carries it; the live one otherwise
 * if @live. The caller g_free()s. */
char *vm_definition(virConnectPtr conn, Id uuid, gboolean live, GError **error);

/* {"uuid", "name", "state", "autostart", "disks": […], "interfaces": […]}; the
 * engine adds "scenario". `vm.list` is {"vms": [these]}. New references. */
json_t *vm_to_json(const Vm *vm);

/* `host.info` as far as libvirt knows it: {"libvirt", "qemu", "networks": […],
 * "boot_id", "machine_id"}. NULL with @error. */
json_t *host_read(virConnectPtr conn, GError **error);

/* SPDX-License-Identifier: Apache-2.0 */
/* definition - what one domain definition says, as far as protection needs it.
 *
 * Pure. The text is its user's: it is parsed without network, without
 * entities and with limits, and what is odd about a disk becomes that disk's
 * problem, not an error of the whole. */
#pragma once

#include "netmap/place.h"
#include "vmconnect/base/id.h"

#include <glib.h>

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
    char *type;  /* network, bridge, direct, user, … */
    Place place; /* what it is plugged into */
    char *model;
} Interface;

typedef enum {
    DEFINITION_TPM_NONE,
    DEFINITION_TPM_1_2, /* emulated, as the next one */
    DEFINITION_TPM_2,
    DEFINITION_TPM_HOST, /* the host's own, passed through, or of a kind that is not known */
} DefinitionTpm;

/* Where libvirt puts the store of a VM whose definition leaves the choice of firmware to it. */
#define DEFINITION_NVRAM_DIR "/var/lib/libvirt/qemu/nvram"

/* What one definition says, live or inactive. */
typedef struct {
    Id uuid;
    char *name;
    GPtrArray *disks;         /* of Disk *, in the definition's order */
    GPtrArray *interfaces;    /* of Interface * */
    char *nvram;              /* path of the store of firmware variables; NULL: none, or not a local file */
    gboolean nvram_elsewhere; /* there is one, which is not a local file */
    DefinitionTpm tpm;
    gboolean has_agent;       /* a guest agent channel is defined */
    gboolean agent_connected; /* live definitions only */
    guint64 memory_kib;       /* all that the guest may use of its host's; 0: it does not say */
    gboolean is_test;         /* it is a VM of an integrity test of ours (isolate.h), and nobody's else */
} Definition;

/* From definition XML (root <domain>). NULL with @error USAGE: not a domain,
 * over XML_BYTES_MAX, a document type or entity in it, no valid UUID. */
Definition *definition_parse(const char *xml, gsize len, GError **error);
/* One of which nothing is known but who it is: no disks, no interfaces. */
Definition *definition_bare(Id uuid, const char *name);
void definition_free(Definition *d);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Definition, definition_free)

const Disk *definition_find_disk(const Definition *d, const char *target);

/* What of the data disks will be otherwise after the VM's next stop, and hence on its replica: @live is how it
 * runs, @next its definition. One sentence, NULL: nothing. The caller frees. */
char *definition_disks_at_stop(const Definition *live, const Definition *next);

/* Why this disk cannot be protected, or NULL: a sentence without a subject
 * ("it is raw: …"), to stand after "disk vda: ". Static. */
const char *disk_problem(const Disk *disk);

/* What its operator must know although it can be protected, or NULL. Static. */
const char *disk_warning(const Disk *disk);

/* TRUE for what is the guest's data and hence replicated: writable disks, not
 * CD-ROMs, floppies or read-only ones. */
gboolean disk_is_data(const Disk *disk);

/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/hypervisor/definition.h"

#include "netmap/home.h"
#include "vmconnect/base/error.h"
#include "vmconnect/hypervisor/xml.h"

#include <string.h>

/* libvirt's own limit is 200; deeper is not counted further. */
#define CHAIN_MAX 256
#define TARGET_MAX 32

static void disk_free(void *data)
{
    Disk *d = data;

    g_free(d->target);
    g_free(d->source);
    g_free(d->source_type);
    g_free(d->format);
    g_free(d->cache);
    g_free(d->error_policy);
    g_free(d->discard);
    g_free(d->bus);
    g_free(d);
}

static void interface_free(void *data)
{
    Interface *i = data;

    g_free(i->mac);
    g_free(i->type);
    place_clear(&i->place);
    g_free(i->model);
    g_free(i);
}

void definition_free(Definition *d)
{
    if (!d)
        return;
    g_free(d->name);
    g_free(d->nvram);
    g_ptr_array_unref(d->disks);
    g_ptr_array_unref(d->interfaces);
    g_free(d);
}

static DiskDevice device_of(const xmlNode *node)
{
    g_autofree char *device = xml_attr(node, "device");

    if (g_strcmp0(device, "cdrom") == 0)
        return DISK_DEVICE_CDROM;
    if (g_strcmp0(device, "floppy") == 0)
        return DISK_DEVICE_FLOPPY;
    if (g_strcmp0(device, "lun") == 0)
        return DISK_DEVICE_LUN;
    return DISK_DEVICE_DISK;
}

/* What <source> names, by the disk's type: one attribute each. */
static char *source_of(const xmlNode *source, const char *type)
{
    static const struct {
        const char *type;
        const char *attribute;
    } NAMES[] = {{"file", "file"},    {"block", "dev"},     {"dir", "dir"},
                 {"network", "name"}, {"volume", "volume"}, {"vhostuser", "path"}};

    for (guint i = 0; i < G_N_ELEMENTS(NAMES); i++)
        if (strcmp(NAMES[i].type, type) == 0)
            return xml_attr(source, NAMES[i].attribute);
    return NULL;
}

/* An empty <backingStore/> ends a chain. */
static guint chain_depth(const xmlNode *disk)
{
    const xmlNode *node = xml_child(disk, "backingStore");
    guint depth = 0;

    while (node && xml_child(node, "source") && depth < CHAIN_MAX) {
        depth++;
        node = xml_child(node, "backingStore");
    }
    return depth;
}

static Disk *disk_parse(const xmlNode *node)
{
    Disk *d = g_new0(Disk, 1);
    const xmlNode *source = xml_child(node, "source");
    const xmlNode *driver = xml_child(node, "driver");
    const xmlNode *target = xml_child(node, "target");

    d->device = device_of(node);
    d->source_type = xml_attr(node, "type");
    if (!d->source_type)
        d->source_type = g_strdup("file");
    d->source = source_of(source, d->source_type);
    d->target = xml_attr(target, "dev");
    d->bus = xml_attr(target, "bus");
    d->format = xml_attr(driver, "type");
    d->cache = xml_attr(driver, "cache");
    d->error_policy = xml_attr(driver, "error_policy");
    d->discard = xml_attr(driver, "discard");
    d->chain_depth = chain_depth(node);
    d->shareable = xml_child(node, "shareable") != NULL;
    d->readonly = xml_child(node, "readonly") != NULL;
    d->transient = xml_child(node, "transient") != NULL;
    d->encrypted = xml_child(node, "encryption") || xml_child(source, "encryption");
    d->has_mirror = xml_child(node, "mirror") != NULL;
    return d;
}

static Interface *interface_parse(const xmlNode *node)
{
    Interface *i = g_new0(Interface, 1);

    i->type = xml_attr(node, "type");
    i->mac = xml_attr(xml_child(node, "mac"), "address");
    i->model = xml_attr(xml_child(node, "model"), "type");
    i->place = place_of_interface(node);
    return i;
}

static void read_agent(Definition *d, const xmlNode *devices)
{
    for (const xmlNode *c = xml_child(devices, "channel"); c; c = xml_next(c)) {
        const xmlNode *target = xml_child(c, "target");
        g_autofree char *name = xml_attr(target, "name");
        g_autofree char *state = xml_attr(target, "state");

        if (g_strcmp0(name, "org.qemu.guest_agent.0") != 0)
            continue;
        d->has_agent = TRUE;
        d->agent_connected = g_strcmp0(state, "connected") == 0;
    }
}

/* libvirt chooses firmware at each start and does not write down in the inactive definition what
 * it chose: the store is where it always is. */
static char *chosen_nvram(const Definition *d, const xmlNode *os)
{
    g_autofree char *firmware = xml_attr(os, "firmware");
    g_autofree char *stateless = xml_attr(xml_child(os, "loader"), "stateless");

    if (g_strcmp0(firmware, "efi") != 0 || g_strcmp0(stateless, "yes") == 0)
        return NULL;
    return g_strdup_printf("%s/%s_VARS.fd", DEFINITION_NVRAM_DIR, d->name);
}

/* The path is the element's text, or stands in a <source> with a type of its own. */
static void read_nvram(Definition *d, const xmlNode *os)
{
    const xmlNode *nvram = xml_child(os, "nvram");
    g_autofree char *type = xml_attr(nvram, "type");
    char *path;

    if (type && strcmp(type, "file") != 0) {
        d->nvram_elsewhere = TRUE;
        return;
    }
    path = type ? xml_attr(xml_child(nvram, "source"), "file") : xml_text(nvram);
    if (path)
        g_strstrip(path);
    if (path && *path)
        d->nvram = g_steal_pointer(&path);
    else
        d->nvram = chosen_nvram(d, os);
    g_free(path);
}

static void read_tpm(Definition *d, const xmlNode *tpm)
{
    const xmlNode *backend = xml_child(tpm, "backend");
    g_autofree char *type = xml_attr(backend, "type");
    g_autofree char *version = xml_attr(backend, "version");

    if (!tpm)
        return;
    d->tpm = g_strcmp0(type, "emulator") != 0 ? DEFINITION_TPM_HOST
             : g_strcmp0(version, "1.2") == 0 ? DEFINITION_TPM_1_2
                                              : DEFINITION_TPM_2;
}

static gboolean read_identity(Definition *d, const xmlNode *root, GError **error)
{
    g_autofree char *uuid = xml_text(xml_child(root, "uuid"));

    d->name = xml_text(xml_child(root, "name"));
    if (!d->name || !uuid) {
        g_set_error(error, US_ERROR, US_ERROR_USAGE, "a domain definition without a name or a UUID");
        return FALSE;
    }
    if (!id_parse(g_strstrip(uuid), &d->uuid, error)) {
        g_prefix_error(error, "the definition of '%s': ", d->name);
        return FALSE;
    }
    return TRUE;
}

Definition *definition_bare(Id uuid, const char *name)
{
    Definition *d = g_new0(Definition, 1);

    d->uuid = uuid;
    d->name = g_strdup(name);
    d->disks = g_ptr_array_new_with_free_func(disk_free);
    d->interfaces = g_ptr_array_new_with_free_func(interface_free);
    return d;
}

/* isolate.h's mark. */
static gboolean is_test(const xmlNode *metadata)
{
    for (const xmlNode *n = metadata ? metadata->children : NULL; n; n = n->next)
        if (n->type == XML_ELEMENT_NODE && n->ns && xmlStrEqual(n->ns->href, BAD_CAST HOME_NAMESPACE) &&
            xmlStrEqual(n->name, BAD_CAST "test"))
            return TRUE;
    return FALSE;
}

Definition *definition_parse(const char *xml, gsize len, GError **error)
{
    g_autoptr(Definition) d = NULL;
    g_autoptr(xmlDoc) doc = xml_parse(xml, len, "domain", "domain definition", error);
    const xmlNode *root;
    const xmlNode *devices;

    if (!doc)
        return NULL;
    root = xmlDocGetRootElement(doc);
    devices = xml_child(root, "devices");
    d = definition_bare(ID_NIL, NULL);
    if (!read_identity(d, root, error))
        return NULL; // NOLINT(clang-analyzer-unix.Malloc): g_autoptr
    for (const xmlNode *n = xml_child(devices, "disk"); n; n = xml_next(n))
        g_ptr_array_add(d->disks, disk_parse(n));
    for (const xmlNode *n = xml_child(devices, "interface"); n; n = xml_next(n))
        g_ptr_array_add(d->interfaces, interface_parse(n));
    read_nvram(d, xml_child(root, "os"));
    read_tpm(d, xml_child(devices, "tpm"));
    read_agent(d, devices);
    d->memory_kib = xml_memory_kib(xml_child(root, "memory"));
    d->is_test = is_test(xml_child(root, "metadata"));
    return g_steal_pointer(&d);
}

const Disk *definition_find_disk(const Definition *d, const char *target)
{
    for (guint i = 0; i < d->disks->len; i++) {
        const Disk *disk = d->disks->pdata[i];

        if (g_strcmp0(disk->target, target) == 0)
            return disk;
    }
    return NULL;
}

gboolean disk_is_data(const Disk *disk)
{
    return (disk->device == DISK_DEVICE_DISK || disk->device == DISK_DEVICE_LUN) && !disk->readonly;
}

char *definition_disks_at_stop(const Definition *live, const Definition *next)
{
    for (guint i = 0; i < live->disks->len; i++) {
        const Disk *disk = live->disks->pdata[i];
        const Disk *then = definition_find_disk(next, disk->target);

        if (!disk_is_data(disk) || (then && g_strcmp0(then->source, disk->source) == 0))
            continue;
        return g_strdup_printf(
            "disk %s of '%s' is %s only until the VM stops, at a switchover, too: the replica then has %s; "
            "attach it with `virsh attach-disk --live --config`",
            disk->target, live->name, then ? "this image" : "attached",
            then ? "the image that the definition names" : "no such disk");
    }
    for (guint i = 0; i < next->disks->len; i++) {
        const Disk *disk = next->disks->pdata[i];

        if (disk_is_data(disk) && !definition_find_disk(live, disk->target))
            return g_strdup_printf("disk %s of '%s' is there only after the VM's next start: it is sent as a "
                                   "whole then, or while a switchover waits for it",
                                   disk->target, live->name);
    }
    return NULL;
}

/* Targets become file names on the standby. */
static gboolean is_plain_target(const char *target)
{
    gsize len = target ? strlen(target) : 0;

    if (len == 0 || len > TARGET_MAX)
        return FALSE;
    for (gsize i = 0; i < len; i++)
        if (!g_ascii_isalnum(target[i]) && target[i] != '-' && target[i] != '_')
            return FALSE;
    return TRUE;
}

const char *disk_problem(const Disk *disk)
{
    if (!is_plain_target(disk->target))
        return "its target name is not one of letters, digits, '-' and '_': it cannot name a file on the "
               "standby";
    if (disk->device == DISK_DEVICE_LUN)
        return "it passes a whole SCSI device to the guest: its changes cannot be tracked; use a qcow2 image";
    if (disk->shareable)
        return "it is shareable: other guests write to it too, so no copy of it is ever consistent; "
               "remove <shareable/> or leave this VM out";
    if (disk->transient)
        return "it is transient: what is written is dropped at shutdown; remove <transient/> or leave this "
               "VM out";
    if (disk->encrypted)
        return "it is encrypted by QEMU: the standby would need its key; encrypt inside the guest instead";
    if (!disk->source)
        return "it has no image that libvirt names: nothing can be copied";
    if (strcmp(disk->source_type, "file") != 0 && strcmp(disk->source_type, "block") != 0)
        return "its image is not a local file or block device: changes cannot be tracked";
    if (g_strcmp0(disk->format, "raw") == 0 || !disk->format)
        return "it is raw: changes cannot be tracked; convert it to qcow2";
    if (strcmp(disk->format, "qcow2") != 0)
        return "its format is not qcow2: changes cannot be tracked; convert it to qcow2";
    return NULL;
}

const char *disk_warning(const Disk *disk)
{
    if (g_strcmp0(disk->error_policy, "stop") != 0)
        return "its driver has no error_policy='stop': should the scratch space fail other than by filling "
               "up, "
               "the guest would see a disk error; set error_policy='stop'";
    if (g_strcmp0(disk->cache, "unsafe") == 0)
        return "its cache is 'unsafe': after a crash of the host nothing is known about it, and the whole "
               "disk is "
               "sent again";
    return NULL;
}

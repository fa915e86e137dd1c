/* SPDX-License-Identifier: Apache-2.0 */
/* What is copied into the definition of a test, element by element and attribute by attribute. What stands here tells
 * the guest something of its own hardware, and names nothing of the host; but for the emulator and the files that it
 * boots from. Whatever does not stand here is not copied. */
#include "netmap/isolate_parts.h"

#include <string.h>

#define ALL "*" /* with all that is below */
#define VIRTIO "iommu ats packed page_per_vq "

static const struct {
    const char *path;       /* the first part is "domain", or the tag of a device; "*" for that of any */
    const char *attributes; /* a space between them */
} RULES[] = {
    {"domain/memory", "unit"},
    {"domain/currentMemory", "unit"},
    {"domain/maxMemory", "slots unit"},
    {"domain/vcpu", "current"},
    {"domain/vcpus", ALL},
    {"domain/iothreads", ""},
    {"domain/iothreadids", ""},
    {"domain/iothreadids/iothread", "id"},
    {"domain/hwuuid", ""},
    {"domain/os", "firmware"},
    {"domain/os/type", "arch machine"},
    {"domain/os/firmware", ALL},
    {"domain/os/loader", "readonly secure type stateless format"},
    {"domain/os/boot", "dev"},
    {"domain/os/bootmenu", "enable timeout"},
    {"domain/os/bios", "useserial rebootTimeout"},
    {"domain/os/smbios", "mode"},
    {"domain/os/kernel", ""},
    {"domain/os/initrd", ""},
    {"domain/os/cmdline", ""},
    {"domain/os/dtb", ""},
    {"domain/features", ""},
    {"domain/features/acpi", ALL},
    {"domain/features/apic", ALL},
    {"domain/features/pae", ALL},
    {"domain/features/hap", ALL},
    {"domain/features/viridian", ALL},
    {"domain/features/hyperv", ALL},
    {"domain/features/kvm", ALL},
    {"domain/features/pvspinlock", ALL},
    {"domain/features/pmu", ALL},
    {"domain/features/vmport", ALL},
    {"domain/features/ps2", ALL},
    {"domain/features/gic", ALL},
    {"domain/features/smm", ALL},
    {"domain/features/ioapic", ALL},
    {"domain/features/hpt", ALL},
    {"domain/features/htm", ALL},
    {"domain/features/nested-hv", ALL},
    {"domain/features/ccf-assist", ALL},
    {"domain/features/cfpc", ALL},
    {"domain/features/sbbc", ALL},
    {"domain/features/ibs", ALL},
    {"domain/features/ras", ALL},
    {"domain/features/msrs", ALL},
    {"domain/features/vmcoreinfo", ALL},
    {"domain/features/tcg", ALL},
    {"domain/cpu", "mode match check migratable deprecated_features"},
    {"domain/cpu/model", "fallback vendor_id"},
    {"domain/cpu/vendor", ""},
    {"domain/cpu/topology", ALL},
    {"domain/cpu/feature", "policy name"},
    {"domain/cpu/cache", "level mode"},
    {"domain/cpu/maxphysaddr", "mode bits limit"},
    {"domain/cpu/numa", ""},
    /* Not memAccess: shared memory is a file of the host. */
    {"domain/cpu/numa/cell", "id cpus memory unit"},
    {"domain/cpu/numa/cell/distances", ALL},
    {"domain/cpu/numa/cell/cache", ALL},
    {"domain/cpu/numa/interconnects", ALL},
    {"domain/clock", ALL},
    {"domain/pm", ALL},
    {"domain/sysinfo", "type"},
    {"domain/sysinfo/bios", ALL},
    {"domain/sysinfo/system", ALL},
    {"domain/sysinfo/baseBoard", ALL},
    {"domain/sysinfo/chassis", ALL},
    {"domain/sysinfo/oemStrings", ALL},

    {"*/address", ALL},
    {"*/alias", "name"},
    {"*/boot", "order loadparm"},
    {"*/rom", "bar enabled"},
    {"*/acpi", "index"},

    {"emulator", ""},
    {"disk", "device model"},
    {"disk/driver", "name type discard detect_zeroes queues queue_size iothread ioeventfd event_idx " VIRTIO},
    {"disk/target", "dev bus removable rotation_rate"},
    {"disk/serial", ""},
    {"disk/wwn", ""},
    {"disk/vendor", ""},
    {"disk/product", ""},
    {"disk/readonly", ""},
    {"disk/blockio", "logical_block_size physical_block_size discard_granularity"},
    {"disk/geometry", "cyls heads secs trans"},
    {"controller", "type index model ports vectors"},
    {"controller/driver", "queues cmd_per_lun max_sectors ioeventfd iothread " VIRTIO},
    {"controller/model", "name"},
    {"controller/master", "startport"},
    {"controller/target", ALL},
    {"controller/pcihole64", "unit"},
    {"interface", ""},
    {"interface/mac", "address"},
    {"interface/model", "type"},
    {"interface/link", "state"},
    {"interface/mtu", "size"},
    {"interface/driver", "queues rx_queue_size ioeventfd event_idx rss rss_hash_report " VIRTIO},
    {"interface/driver/host", ALL},
    {"interface/driver/guest", ALL},
    {"serial", ""},
    {"serial/target", "type port"},
    {"serial/target/model", "name"},
    {"console", ""},
    {"console/target", "type port"},
    {"parallel", ""},
    {"parallel/target", "type port"},
    {"channel", ""},
    {"channel/target", "type name"},
    {"input", "type bus model"},
    {"input/driver", VIRTIO},
    {"video", ""},
    {"video/driver", "vgaconf " VIRTIO},
    {"video/model", "type ram vram vram64 vgamem heads primary edid"},
    {"video/model/resolution", "x y"},
    {"sound", "model multichannel streams"},
    {"sound/codec", "type"},
    {"hub", "type"},
    {"rng", "model"},
    {"rng/driver", VIRTIO},
    {"memballoon", "model autodeflate freePageReporting"},
    {"memballoon/driver", VIRTIO},
    {"watchdog", "model action"},
    {"panic", "model"},
    {"iommu", "model"},
    {"iommu/driver", ALL},
    {"nvram", ""},
    {"tpm", "model"},
    {"tpm/backend", "type version"},
    {"tpm/backend/active_pcr_banks", ALL},
    {"memory", "model"},
    {"memory/target", ""},
    {"memory/target/size", "unit"},
    {"memory/target/node", ""},
    {"memory/target/block", "unit"},
    {"memory/target/requested", "unit"},
};

/* The attributes, or NULL. */
static const char *find(const char *path)
{
    for (guint i = 0; i < G_N_ELEMENTS(RULES); i++)
        if (g_str_equal(RULES[i].path, path))
            return RULES[i].attributes;
    return NULL;
}

gboolean isolate_knows(const char *path)
{
    return find(path) != NULL;
}

static gboolean has_word(const char *words, const char *word)
{
    gsize len = strlen(word);

    for (const char *at = words; (at = strstr(at, word)); at += len)
        if ((at == words || at[-1] == ' ') && (at[len] == ' ' || at[len] == '\0'))
            return TRUE;
    return FALSE;
}

/* A prefix that was never declared is a part of the name, and would be looked up in the new document. */
static gboolean is_plain(const xmlNs *ns, const xmlChar *name)
{
    return !ns && !strchr((const char *)name, ':');
}

static void copy_attributes(xmlNode *to, const xmlNode *from, const char *allowed)
{
    for (const xmlAttr *a = from->properties; a; a = a->next) {
        const char *name = (const char *)a->name;
        g_autofree char *value = xml_attr(from, name);

        if (is_plain(a->ns, a->name) && (g_str_equal(allowed, ALL) || has_word(allowed, name)))
            xml_set(to, name, value);
    }
}

/* Where a rule of the parent's is for all below, that is @path's, too. */
static char *child_path(const char *path, const xmlNode *child)
{
    g_autofree char *whole = g_strconcat(path, "/", (const char *)child->name, NULL);
    g_autofree char *any = g_strconcat("*/", (const char *)child->name, NULL);

    if (g_str_equal(find(path), ALL))
        return g_strdup(path);
    if (find(whole))
        return g_steal_pointer(&whole);
    return !strchr(path, '/') && find(any) ? g_steal_pointer(&any) : NULL;
}

/* libvirt makes up all other aliases itself. */
static gboolean is_made_up(const xmlNode *node)
{
    g_autofree char *name = xml_is(node, "alias") ? xml_attr(node, "name") : NULL;

    return name && !g_str_has_prefix(name, "ua-");
}

/* Of what a device has twice it would be libvirt's choice which one counts. */
static gboolean is_again(const xmlNode *copy, const xmlNode *node, const char *path)
{
    return !strchr(path, '/') && !xml_is(node, "codec") && xml_child(copy, (const char *)node->name);
}

xmlNode *isolate_copy(xmlNode *to, const xmlNode *from, const char *path)
{
    const char *attributes = find(path);
    xmlNode *copy = xml_add(to, (const char *)from->name);

    g_assert(attributes);
    copy_attributes(copy, from, attributes);
    for (const xmlNode *n = from->children; n; n = n->next) {
        g_autofree char *below =
            n->type == XML_ELEMENT_NODE && is_plain(n->ns, n->name) ? child_path(path, n) : NULL;

        if (n->type == XML_TEXT_NODE || n->type == XML_CDATA_SECTION_NODE)
            xmlAddChild(copy, xmlNewDocText(copy->doc, n->content));
        else if (below && !is_made_up(n) && !is_again(copy, n, path))
            isolate_copy(copy, n, below);
    }
    return copy;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Happy path: every device is of a kind that is judged, or one of those that do nothing to anybody but the guest, and who looks at it. */
#include "netmap/spill.h"

#include "netmap/xml.h"

#include <string.h>

typedef struct {
    const Host *here;
    GPtrArray *spills;
} Spills;

static void add(Spills *s, const char *format, ...) G_GNUC_PRINTF(2, 3);

static void add(Spills *s, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    g_ptr_array_add(s->spills, g_strdup_vprintf(format, args));
    va_end(args);
}

/* --- interfaces ---------------------------------------------------------- */

/* The bridge's name, if all frames of that place go through one; NULL: nobody knows where they go. */
static const char *bridge_of(const Host *here, const Place *p)
{
    const HostNetwork *n = p->kind == PLACE_NETWORK ? host_find_network(here, p->name) : NULL;

    return p->kind == PLACE_BRIDGE ? p->name : !n ? NULL : n->over ? n->over : n->bridge;
}

/* A network of libvirt's own makes its bridge when it starts. */
static gboolean is_kernels(const Host *here, const Place *p, const char *bridge)
{
    const HostBridge *known = host_find_bridge(here, bridge);
    const HostNetwork *n = p->kind == PLACE_NETWORK ? host_find_network(here, p->name) : NULL;

    return known ? !known->ovs : n && n->bridge;
}

static void look_at_interface(Spills *s, const xmlNode *node)
{
    g_autofree char *mac = xml_attr(xml_child(node, "mac"), "address");
    g_autofree char *type = xml_attr(node, "type");
    g_autofree char *port = xml_attr(xml_child(node, "virtualport"), "type");
    g_auto(Place) place = place_of_interface(node);
    g_autofree char *where = place_format(&place);
    const char *name = mac ? mac : "without an address", *bridge = bridge_of(s->here, &place);

    if (g_strcmp0(type, "null") == 0)
        return;
    if (!bridge && place.kind == PLACE_NETWORK)
        add(s, "has interface %s on network '%s', whose frames go through no bridge of the kernel's", name,
            where);
    else if (!bridge)
        add(s, "has interface %s of type '%s'%s%s, whose frames go through no bridge of the kernel's", name,
            type ? type : "", *where ? ", " : "", where);
    else if (port || !is_kernels(s->here, &place, bridge))
        add(s, "has interface %s on '%s', where '%s' is no bridge of the kernel's", name, where,
            port ? port : bridge);
}

/* --- disks --------------------------------------------------------------- */

/* What is replicated is an image of this host's alone; what is not, and can be written, may be one that both hosts have. */
static void look_at_disk(Spills *s, const xmlNode *node)
{
    static const char *const OWN[] = {"file", "block", NULL};
    g_autofree char *type = xml_attr(node, "type");
    g_autofree char *device = xml_attr(node, "device");
    g_autofree char *target = xml_attr(xml_child(node, "target"), "dev");
    g_autofree char *protocol = xml_attr(xml_child(node, "source"), "protocol");
    const char *name = target ? target : "without a target";

    if (xml_child(node, "readonly") || g_strcmp0(device, "cdrom") == 0 || !xml_child(node, "source"))
        return;
    if (g_strcmp0(device, "lun") == 0)
        add(s, "has a whole SCSI device as disk %s", name);
    else if (!type || !g_strv_contains(OWN, type))
        add(s, "has disk %s on %s storage, which other hosts may write to", name,
            protocol ? protocol
            : type   ? type
                     : "unknown");
    else if (xml_child(node, "shareable"))
        add(s, "shares disk %s with other guests", name);
    else if (g_strcmp0(device, "floppy") == 0)
        add(s, "writes to floppy %s, which is not replicated, and may be on both hosts", name);
}

/* --- character devices --------------------------------------------------- */

static gboolean is_loopback(const char *host)
{
    return host &&
           (g_str_has_prefix(host, "127.") || g_str_equal(host, "::1") || g_str_equal(host, "localhost"));
}

/* What is said to a program or a file of its own host stays there. */
static void look_at_characters(Spills *s, const xmlNode *node)
{
    g_autofree char *type = xml_attr(node, "type");
    const char *what = (const char *)node->name;

    if (g_strcmp0(type, "dev") == 0) {
        g_autofree char *path = xml_attr(xml_child(node, "source"), "path");

        add(s, "has a %s that is the device %s of its host", what, path ? path : "");
        return;
    }
    if (g_strcmp0(type, "tcp") != 0 && g_strcmp0(type, "udp") != 0)
        return;
    for (const xmlNode *source = xml_child(node, "source"); source; source = xml_next(source)) {
        g_autofree char *host = xml_attr(source, "host");

        if (!is_loopback(host)) {
            add(s, "has a %s that its host carries over the network (%s)", what, type);
            return;
        }
    }
}

/* --- all else ------------------------------------------------------------ */

static void look_at_folder(Spills *s, const xmlNode *node)
{
    g_autofree char *dir = xml_attr(xml_child(node, "source"), "dir");
    g_autofree char *socket = xml_attr(xml_child(node, "source"), "socket");

    if (!xml_child(node, "readonly"))
        add(s, "shares the folder %s of its host", dir ? dir : socket ? socket : "");
}

static void look_at_host_device(Spills *s, const xmlNode *node)
{
    g_autofree char *type = xml_attr(node, "type");
    g_autofree char *pci = place_pci_address(xml_child(xml_child(node, "source"), "address"));

    if (g_strcmp0(type, "pci") == 0 && pci)
        add(s, "has the PCI device %s of its host", pci);
    else
        add(s, "has a %s device of its host", type ? type : "passed-through");
}

static void look_at_vsock(Spills *s, const xmlNode *node)
{
    (void)node;
    add(s, "has a vsock, by which it speaks to programs of its host");
}

static void look_at_memory(Spills *s, const xmlNode *node)
{
    g_autofree char *name = xml_attr(node, "name");

    add(s, "shares memory '%s' with other guests of its host", name ? name : "");
}

static void look_at_nothing(Spills *s, const xmlNode *node)
{
    (void)s;
    (void)node;
}

static const struct {
    const char *name;
    void (*look)(Spills *s, const xmlNode *node);
} DEVICES
    [] =
        {
            {"interface", look_at_interface},
            {"disk", look_at_disk},
            {"filesystem", look_at_folder},
            {"hostdev", look_at_host_device},
            {"vsock", look_at_vsock},
            {"shmem", look_at_memory},
            {"serial", look_at_characters},
            {"parallel", look_at_characters},
            {"console", look_at_characters},
            {"channel", look_at_characters},
            {"redirdev", look_at_characters},
            {"smartcard", look_at_characters},
            {"rng", look_at_nothing},
            {"emulator", look_at_nothing},
            {"controller", look_at_nothing},
            {"input", look_at_nothing},
            {"graphics", look_at_nothing},
            {"video", look_at_nothing},
            {"sound", look_at_nothing},
            {"audio", look_at_nothing},
            {"hub", look_at_nothing},
            {"memballoon", look_at_nothing},
            {"memory", look_at_nothing}, /* a module of its own host's */
            {"watchdog", look_at_nothing},
            {"panic", look_at_nothing},
            {"tpm", look_at_nothing},
            {"nvram", look_at_nothing},
            {"iommu", look_at_nothing},
            {"crypto", look_at_nothing},
            {"redirfilter", look_at_nothing},
            {"lease", look_at_nothing}, /* of a lock manager: only who has it runs */
};

static void look_at_device(Spills *s, const xmlNode *node)
{
    for (guint i = 0; i < G_N_ELEMENTS(DEVICES); i++)
        if (xml_is(node, DEVICES[i].name)) {
            DEVICES[i].look(s, node);
            return;
        }
    add(s, "has a device <%s>, of which it is not known what it does", (const char *)node->name);
}

/* QEMU's own words, which libvirt hands on. Of these it is known what they cannot do; a word's value is the next one. */
static gboolean is_harmless_word(const char *word)
{
    static const char *const HARMLESS[] = {"-cpu", "-global",     "-fw_cfg", "-smbios", "-machine",
                                           "-rtc", "-overcommit", "-msg",    "-name",   "-boot",
                                           "-m",   "-accel",      NULL};

    return word[0] != '-' || g_strv_contains(HARMLESS, word);
}

static void look_at_words(Spills *s, const xmlNode *commandline)
{
    for (const xmlNode *n = commandline->children; n; n = n->next) {
        g_autofree char *word = n->type == XML_ELEMENT_NODE && strcmp((const char *)n->name, "arg") == 0
                                    ? xml_attr(n, "value")
                                    : NULL;

        if (word && !is_harmless_word(word))
            add(s, "gives QEMU the option %s by itself, of which it is not known what it does", word);
    }
}

GPtrArray *spill_of(const char *definition, const Host *here, GError **error)
{
    g_autoptr(xmlDoc) doc = xml_read(definition, strlen(definition), "domain", error);
    Spills s = {here, NULL};
    const xmlNode *root;

    if (!doc)
        return NULL;
    s.spills = g_ptr_array_new_with_free_func(g_free);
    root = xmlDocGetRootElement(doc);
    for (const xmlNode *devices = xml_child(root, "devices"); devices; devices = xml_next(devices))
        for (const xmlNode *n = devices->children; n; n = n->next)
            if (n->type == XML_ELEMENT_NODE)
                look_at_device(&s, n);
    for (const xmlNode *n = root->children; n; n = n->next)
        if (n->type == XML_ELEMENT_NODE && n->ns && strcmp((const char *)n->name, "commandline") == 0)
            look_at_words(&s, n);
    return s.spills;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "netmap/translate.h"

#include <libxml/parser.h>
#include <libxml/tree.h>
#include <string.h>

G_DEFINE_QUARK(netmap - error - quark, netmap_error)

G_DEFINE_AUTOPTR_CLEANUP_FUNC(xmlDoc, xmlFreeDoc)

/* --- small XML --------------------------------------------------------- */

static gboolean is(const xmlNode *node, const char *name)
{
    return node->type == XML_ELEMENT_NODE && strcmp((const char *)node->name, name) == 0;
}

static xmlNode *child(const xmlNode *parent, const char *name)
{
    for (xmlNode *n = parent ? parent->children : NULL; n; n = n->next)
        if (is(n, name))
            return n;
    return NULL;
}

static char *attribute(xmlNode *node, const char *name)
{
    xmlChar *value = node ? xmlGetNoNsProp(node, (const xmlChar *)name) : NULL;
    char *copy = g_strdup((const char *)value);

    xmlFree(value);
    return copy;
}

static void set(xmlNode *node, const char *name, const char *value)
{
    xmlSetProp(node, (const xmlChar *)name, (const xmlChar *)value);
}

/* All of that name: of an element that stands there twice it is libvirt's choice which one counts. */
static void drop(xmlNode *parent, const char *name)
{
    xmlNode *node;

    while ((node = child(parent, name))) {
        xmlUnlinkNode(node);
        xmlFreeNode(node);
    }
}

static xmlNode *add(xmlNode *parent, const char *name)
{
    return xmlNewChild(parent, NULL, (const xmlChar *)name, NULL);
}

/* --- disks ------------------------------------------------------------- */

static void add_backing(xmlNode *parent, const char *const *files)
{
    xmlNode *backing = add(parent, "backingStore");

    if (!*files)
        return; /* an empty element: the chain ends here, libvirt does not look */
    set(backing, "type", "file");
    set(add(backing, "format"), "type", "qcow2");
    set(add(backing, "source"), "file", *files);
    add_backing(backing, files + 1);
}

static void point_to_chain(xmlNode *disk, const char *const *files)
{
    xmlNode *driver = child(disk, "driver");
    xmlNode *source;

    set(disk, "type", "file");
    if (!driver)
        driver = add(disk, "driver");
    set(driver, "name", "qemu");
    set(driver, "type", "qcow2");
    drop(disk, "source");
    drop(disk, "backingStore");
    drop(disk, "mirror");
    source = add(disk, "source");
    set(source, "file", files[0]);
    add_backing(disk, files + 1);
}

static const TranslateDisk *find(const TranslateDisk *disks, guint n, const char *target)
{
    for (guint i = 0; i < n; i++)
        if (g_strcmp0(disks[i].target, target) == 0)
            return &disks[i];
    return NULL;
}

static void eject(xmlNode *disk)
{
    g_autofree char *device = attribute(disk, "device");

    if (g_strcmp0(device, "cdrom") == 0 || g_strcmp0(device, "floppy") == 0) {
        drop(disk, "source");
        drop(disk, "backingStore");
    }
}

static void translate_disks(xmlNode *devices, const TranslateDisk *disks, guint n, GPtrArray *reasons)
{
    g_autofree gboolean *seen = g_new0(gboolean, MAX(n, 1));

    for (xmlNode *node = devices->children; node; node = node->next) {
        g_autofree char *target = is(node, "disk") ? attribute(child(node, "target"), "dev") : NULL;
        const TranslateDisk *disk = target ? find(disks, n, target) : NULL;

        if (disk) {
            point_to_chain(node, disk->files);
            seen[disk - disks] = TRUE;
        } else if (is(node, "disk")) {
            eject(node);
        }
    }
    for (guint i = 0; i < n; i++)
        if (!seen[i])
            g_ptr_array_add(reasons, g_strdup_printf("disk %s is replicated, but not in the definition",
                                                     disks[i].target));
}

/* --- interfaces -------------------------------------------------------- */

static void translate_interface(xmlNode *interface, GHashTable *networks, GPtrArray *reasons)
{
    g_autofree char *type = attribute(interface, "type");
    xmlNode *source = child(interface, "source");
    g_autofree char *network = attribute(source, "network");
    g_autofree char *mac = attribute(child(interface, "mac"), "address");
    const char *to = network ? g_hash_table_lookup(networks, network) : NULL;

    if (g_strcmp0(type, "network") != 0)
        return;
    if (!to) {
        g_ptr_array_add(
            reasons, g_strdup_printf("interface %s is on network '%s', which is mapped to none of this host",
                                     mac ? mac : "without MAC address", network ? network : ""));
        return;
    }
    set(source, "network", to);
    /* What libvirt resolved on the other host means nothing here. */
    xmlUnsetProp(source, (const xmlChar *)"bridge");
    xmlUnsetProp(source, (const xmlChar *)"portid");
    drop(interface, "target");
}

static void translate_interfaces(xmlNode *devices, GHashTable *networks, GPtrArray *reasons)
{
    for (xmlNode *node = devices->children; node; node = node->next)
        if (is(node, "interface"))
            translate_interface(node, networks, reasons);
}

/* --- the whole --------------------------------------------------------- */

static xmlDoc *parse(const char *definition, GError **error)
{
    gsize len = strlen(definition);
    xmlDoc *doc = NULL;

    if (len <= NETMAP_DEFINITION_MAX)
        doc = xmlReadMemory(definition, (int)len, NULL, NULL,
                            XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING | XML_PARSE_HUGE);
    /* A document type could bring entities; libvirt writes none. */
    if (doc && !doc->intSubset && xmlDocGetRootElement(doc) && is(xmlDocGetRootElement(doc), "domain") &&
        child(xmlDocGetRootElement(doc), "devices"))
        return doc;
    g_set_error(error, NETMAP_ERROR, NETMAP_ERROR_XML, "this is not a domain's definition");
    xmlFreeDoc(doc);
    return NULL;
}

static gboolean no_reasons(const GPtrArray *reasons, int code, GError **error)
{
    g_autofree char *text = NULL;

    if (reasons->len == 1) /* the terminator */
        return TRUE;
    text = g_strjoinv("; ", (char **)reasons->pdata);
    g_set_error(error, NETMAP_ERROR, code, "%s", text);
    return FALSE;
}

static char *text_of(xmlDoc *doc)
{
    xmlChar *text = NULL;
    int len;
    char *copy;

    xmlDocDumpMemoryEnc(doc, &text, &len, "UTF-8");
    copy = g_strndup((const char *)text, (gsize)len);
    xmlFree(text);
    return copy;
}

char *translate_definition(const char *definition, const TranslateDisk *disks, guint n_disks,
                           GHashTable *networks, GError **error)
{
    g_autoptr(xmlDoc) doc = parse(definition, error);
    g_autoptr(GPtrArray) bad_disks = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GPtrArray) bad_interfaces = g_ptr_array_new_with_free_func(g_free);
    xmlNode *root, *devices;

    if (!doc)
        return NULL;
    root = xmlDocGetRootElement(doc);
    devices = child(root, "devices");
    xmlUnsetProp(root, (const xmlChar *)"id");
    drop(devices, "emulator");
    translate_disks(devices, disks, n_disks, bad_disks);
    translate_interfaces(devices, networks, bad_interfaces);
    g_ptr_array_add(bad_disks, NULL);
    g_ptr_array_add(bad_interfaces, NULL);
    if (!no_reasons(bad_disks, NETMAP_ERROR_DISK, error) ||
        !no_reasons(bad_interfaces, NETMAP_ERROR_UNMAPPED, error))
        return NULL;
    return text_of(doc);
}

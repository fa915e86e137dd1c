/* SPDX-License-Identifier: Apache-2.0 */
/* A disk is the test's own overlay on what the host offers of the point; a drive for media is empty. */
#include "netmap/isolate_parts.h"

#include <string.h>

/* Encryption, slices, a data file of its own: without it the guest would see another disk. */
static const char *odd_in(const xmlNode *source)
{
    for (const xmlNode *n = source->children; n; n = n->next)
        if (n->type == XML_ELEMENT_NODE && !xml_is(n, "seclabel") && !xml_is(n, "privateData"))
            return (const char *)n->name;
    return NULL;
}

static gboolean copy_top(Isolation *t, xmlNode *to, const xmlNode *disk, const char *name, GError **error)
{
    const xmlNode *source = xml_child(disk, "source");
    g_autofree char *type = xml_attr(disk, "type");
    g_autofree char *file = xml_attr(source, "file");
    const char *odd = source ? odd_in(source) : NULL;

    if (g_strcmp0(type, "file") != 0)
        return isolate_refuse(error, "disk %s lies on a source of type '%.80s'", name, type ? type : "?");
    if (!file)
        return isolate_refuse(error, "disk %s lies on a file without a name", name);
    if (odd || xml_child(disk, "encryption"))
        return isolate_refuse(error, "disk %s has an image with <%.80s>", name, odd ? odd : "encryption");
    xml_set(to, "type", "file");
    xml_set(xml_add(to, "source"), "file", file);
    return isolate_allow_path(t, file, "disk", error);
}

/* What the definition names below its overlay is not opened: the host reads it, and offers what is in it. */
static gboolean lay_on_export(Isolation *t, xmlNode *to, const char *name, GError **error)
{
    xmlNode *below = xml_add(to, "backingStore");
    xmlNode *source, *host;

    xml_set(below, "type", "network");
    xml_set(xml_add(below, "format"), "type", "raw");
    source = xml_add(below, "source");
    xml_set(source, "protocol", "nbd");
    xml_set(source, "name", name);
    host = xml_add(source, "host");
    xml_set(host, "transport", "unix");
    xml_set(host, "socket", t->in->backing);
    xml_add(below, "backingStore");
    return isolate_allow_path(t, t->in->backing, "backing", error);
}

static gboolean is_below(const char *folder, const char *file)
{
    g_autofree char *canonical = g_canonicalize_filename(file, "/");
    gsize len = strlen(folder);

    return g_str_equal(canonical, file) && strncmp(file, folder, len) == 0 && file[len] == '/';
}

static gboolean isolate_data(Isolation *t, xmlNode *to, const xmlNode *disk, const char *name, GError **error)
{
    xmlNode *driver = xml_need(to, "driver");
    g_autofree char *format = xml_attr(driver, "type");
    g_autofree char *top = NULL;

    if (!copy_top(t, to, disk, name, error))
        return FALSE;
    top = xml_attr(xml_child(to, "source"), "file");
    if (!is_below(t->in->folder, top))
        return isolate_refuse(error, "disk %s would write to %s, which is not the test's own", name, top);
    if (g_strcmp0(format, "qcow2") != 0)
        return isolate_refuse(error, "disk %s has an image of format '%.80s'", name, format ? format : "?");
    xml_set(driver, "name", "qemu");
    xml_set(driver, "cache", "unsafe"); /* all of it is thrown away */
    return lay_on_export(t, to, name, error);
}

gboolean isolate_disk(Isolation *t, const xmlNode *disk, GError **error)
{
    g_autofree char *device = xml_attr(disk, "device");
    g_autofree char *target = xml_attr(xml_child(disk, "target"), "dev");
    g_autofree char *name = g_strdup_printf("%.80s", target ? target : "?");
    xmlNode *to = isolate_copy(t->devices, disk, "disk");

    if (!device || g_str_equal(device, "disk"))
        return isolate_data(t, to, disk, name, error);
    if (!g_str_equal(device, "cdrom") && !g_str_equal(device, "floppy"))
        return isolate_refuse(error, "disk %s is a '%.80s'", name, device);
    xml_set(to, "type", "file");
    return TRUE;
}

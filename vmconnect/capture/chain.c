/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/capture/chain.h"

#include "vmconnect/base/error.h"
#include "vmconnect/hypervisor/inventory.h"
#include "vmconnect/hypervisor/xml.h"
#include "vmconnect/image/qcow2.h"

#include <string.h>

static void layer_free(gpointer data)
{
    ChainLayer *layer = data;

    g_free(layer->path);
    g_free(layer->format);
    g_free(layer);
}

static gboolean add_layer(GPtrArray *layers, const char *path, const char *format, GError **error)
{
    ChainLayer *layer;

    if (!path || path[0] != '/') {
        g_set_error(error, US_ERROR, US_ERROR_UNSUPPORTED, "it is not a local file%s%s", path ? ": " : "",
                    path ? path : "");
        return FALSE;
    }
    if (g_strcmp0(format, "qcow2") != 0 && g_strcmp0(format, "raw") != 0) {
        g_set_error(error, US_ERROR, US_ERROR_UNSUPPORTED, "%s has %s%s; only qcow2 and raw can be read",
                    path, format ? "the format " : "no format said", format ? format : "");
        return FALSE;
    }
    if (layers->len == CHAIN_MAX_LAYERS) {
        g_set_error(error, US_ERROR, US_ERROR_UNSUPPORTED, "its chain has more than %d images",
                    CHAIN_MAX_LAYERS);
        return FALSE;
    }
    layer = g_new0(ChainLayer, 1);
    layer->path = g_strdup(path);
    layer->format = g_strdup(format);
    g_ptr_array_add(layers, layer);
    return TRUE;
}

static const xmlNode *find_disk(xmlDoc *doc, const char *target)
{
    const xmlNode *devices = xml_child(xmlDocGetRootElement(doc), "devices");

    for (const xmlNode *disk = xml_child(devices, "disk"); disk; disk = xml_next(disk)) {
        g_autofree char *name = xml_attr(xml_child(disk, "target"), "dev");

        if (g_strcmp0(name, target) == 0)
            return disk;
    }
    return NULL;
}

/* <source file='…'/> of a file, <source dev='…'/> of a block device. */
static char *source_path(const xmlNode *level)
{
    const xmlNode *source = xml_child(level, "source");
    char *path = xml_attr(source, "file");

    return path ? path : xml_attr(source, "dev");
}

static gboolean add_disk(GPtrArray *layers, const xmlNode *disk, GError **error)
{
    g_autofree char *path = source_path(disk);
    g_autofree char *format = xml_attr(xml_child(disk, "driver"), "type");

    /* libvirt takes a disk without a driver type as raw. */
    return add_layer(layers, path, format ? format : "raw", error);
}

/* Follow <backingStore> downwards; an empty one ends the chain, none leaves it open. */
static gboolean add_backing(GPtrArray *layers, const xmlNode *level, gboolean *ret_closed, GError **error)
{
    *ret_closed = FALSE;
    while ((level = xml_child(level, "backingStore"))) {
        g_autofree char *format = xml_attr(xml_child(level, "format"), "type");
        g_autofree char *path = source_path(level);

        if (!xml_child(level, "source")) {
            *ret_closed = TRUE;
            return TRUE;
        }
        if (!add_layer(layers, path, format, error))
            return FALSE;
    }
    return TRUE;
}

GPtrArray *chain_in_document(xmlDoc *doc, const char *target, gboolean *ret_closed, GError **error)
{
    g_autoptr(GPtrArray) layers = g_ptr_array_new_with_free_func(layer_free);
    const xmlNode *disk = find_disk(doc, target);

    if (!disk || !xml_child(disk, "source")) {
        g_set_error(error, US_ERROR, US_ERROR_NOT_FOUND, "disk %s: %s", target,
                    disk ? "it has no medium" : "the VM has no such disk");
        return NULL;
    }
    if (!add_disk(layers, disk, error) || !add_backing(layers, disk, ret_closed, error)) {
        g_prefix_error(error, "disk %s: ", target);
        return NULL;
    }
    return g_steal_pointer(&layers);
}

GPtrArray *chain_in_definition(const char *domain_xml, const char *target, gboolean *ret_closed,
                               GError **error)
{
    g_autoptr(xmlDoc) doc = xml_parse(domain_xml, strlen(domain_xml), "domain", "definition", error);

    return doc ? chain_in_document(doc, target, ret_closed, error) : NULL;
}

char *chain_mirror_in_document(xmlDoc *doc, const char *target)
{
    return source_path(xml_child(find_disk(doc, target), "mirror"));
}

/* What the header of @layer says is behind it; @ret_end when nothing is. */
static gboolean add_from_header(GPtrArray *layers, const ChainLayer *layer, int timeout_ms, int cancel_fd,
                                gboolean *ret_end, GError **error)
{
    g_autoptr(Qcow2Facts) facts = NULL;
    g_autofree char *folder = NULL;
    g_autofree char *path = NULL;

    *ret_end = strcmp(layer->format, "qcow2") != 0;
    if (*ret_end)
        return TRUE;
    facts = qcow2_read(layer->path, layer->format, timeout_ms, cancel_fd, error);
    if (!facts)
        return FALSE;
    *ret_end = facts->backing == NULL;
    if (*ret_end)
        return TRUE;
    folder = g_path_get_dirname(layer->path);
    /* "json:…", "nbd://…" are never local files; a plain name is relative to its image. */
    if (!strchr(facts->backing, ':'))
        path = g_canonicalize_filename(facts->backing, folder);
    return add_layer(layers, path ? path : facts->backing, facts->backing_format, error);
}

GPtrArray *chain_of_disk(const char *domain_xml, const char *target, int timeout_ms, int cancel_fd,
                         GError **error)
{
    gboolean end;
    g_autoptr(GPtrArray) layers = chain_in_definition(domain_xml, target, &end, error);

    if (!layers)
        return NULL;
    while (!end) {
        const ChainLayer *last = layers->pdata[layers->len - 1];

        if (!add_from_header(layers, last, timeout_ms, cancel_fd, &end, error)) {
            g_prefix_error(error, "disk %s: ", target);
            return NULL;
        }
    }
    return g_steal_pointer(&layers);
}

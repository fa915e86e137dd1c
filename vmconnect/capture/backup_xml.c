/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/capture/backup_xml.h"

#include "vmconnect/base/error.h"
#include "vmconnect/hypervisor/inventory.h"
#include "vmconnect/hypervisor/xml.h"

#include <libxml/xmlwriter.h>
#include <string.h>

char *checkpoint_name(Id id, char buf[static CHECKPOINT_NAME_LEN + 1])
{
    memcpy(buf, CHECKPOINT_PREFIX, sizeof(CHECKPOINT_PREFIX) - 1);
    id_format(id, buf + sizeof(CHECKPOINT_PREFIX) - 1);
    return buf;
}

gboolean checkpoint_name_parse(const char *name, Id *ret_id)
{
    char canonical[CHECKPOINT_NAME_LEN + 1];

    if (!g_str_has_prefix(name, CHECKPOINT_PREFIX) ||
        !id_parse(name + sizeof(CHECKPOINT_PREFIX) - 1, ret_id, NULL))
        return FALSE;
    /* We write lower case: what is spelled otherwise is somebody else's. */
    return strcmp(checkpoint_name(*ret_id, canonical), name) == 0;
}

/* libxml2's writer fails only when memory does, which GLib does not survive either. */
static void start(xmlTextWriterPtr w, const char *name)
{
    g_assert(xmlTextWriterStartElement(w, BAD_CAST name) >= 0);
}

static void end(xmlTextWriterPtr w)
{
    g_assert(xmlTextWriterEndElement(w) >= 0);
}

static void attribute(xmlTextWriterPtr w, const char *name, const char *value)
{
    g_assert(xmlTextWriterWriteAttribute(w, BAD_CAST name, BAD_CAST value) >= 0);
}

static void element(xmlTextWriterPtr w, const char *name, const char *text)
{
    g_assert(xmlTextWriterWriteElement(w, BAD_CAST name, BAD_CAST text) >= 0);
}

static xmlTextWriterPtr writer_new(xmlBufferPtr *ret_buffer)
{
    xmlTextWriterPtr w;

    *ret_buffer = xmlBufferCreate();
    g_assert(*ret_buffer);
    w = xmlNewTextWriterMemory(*ret_buffer, 0);
    g_assert(w);
    xmlTextWriterSetIndent(w, 1);
    xmlTextWriterSetIndentString(w, BAD_CAST "  ");
    return w;
}

static char *writer_finish(xmlTextWriterPtr w, xmlBufferPtr buffer)
{
    char *text;

    g_assert(xmlTextWriterEndDocument(w) >= 0);
    xmlFreeTextWriter(w);
    text = g_strdup((const char *)xmlBufferContent(buffer));
    xmlBufferFree(buffer);
    return text;
}

static void write_backup_disk(xmlTextWriterPtr w, const BackupXmlDisk *disk)
{
    start(w, "disk");
    attribute(w, "name", disk->target);
    attribute(w, "backup", "yes");
    attribute(w, "type", "file");
    attribute(w, "backupmode", id_is_nil(disk->since) ? "full" : "incremental");
    if (!id_is_nil(disk->since)) {
        g_autofree char *bitmap = g_strconcat(BACKUP_BITMAP_PREFIX, disk->target, NULL);

        attribute(w, "incremental", CHECKPOINT_NAME(disk->since));
        attribute(w, "exportname", disk->target);
        attribute(w, "exportbitmap", bitmap);
    } else {
        attribute(w, "exportname", disk->target);
    }
    /* The one scratch format libvirt takes that grows with what is kept. */
    start(w, "driver");
    attribute(w, "type", "qcow2");
    end(w);
    start(w, "scratch");
    attribute(w, "file", disk->scratch);
    end(w);
    end(w);
}

char *backup_xml(const char *socket_path, const BackupXmlDisk *disks, guint n)
{
    xmlBufferPtr buffer;
    xmlTextWriterPtr w = writer_new(&buffer);

    g_assert(n > 0);
    start(w, "domainbackup");
    attribute(w, "mode", "pull");
    start(w, "server");
    attribute(w, "transport", "unix");
    attribute(w, "socket", socket_path);
    end(w);
    start(w, "disks");
    for (guint i = 0; i < n; i++)
        write_backup_disk(w, &disks[i]);
    end(w);
    end(w);
    return writer_finish(w, buffer);
}

static void write_checkpoint_disks(xmlTextWriterPtr w, Id id, const char *const *targets, guint n)
{
    /* With a list, libvirt leaves out every disk that is not on it. */
    g_assert(n > 0);
    start(w, "disks");
    for (guint i = 0; i < n; i++) {
        start(w, "disk");
        attribute(w, "name", targets[i]);
        attribute(w, "checkpoint", "bitmap");
        attribute(w, "bitmap", CHECKPOINT_NAME(id));
        end(w);
    }
    end(w);
}

static void start_checkpoint(xmlTextWriterPtr w, Id id, const char *description)
{
    start(w, "domaincheckpoint");
    element(w, "name", CHECKPOINT_NAME(id));
    if (description)
        element(w, "description", description);
}

char *checkpoint_xml(Id id, const char *description, const char *const *targets, guint n)
{
    xmlBufferPtr buffer;
    xmlTextWriterPtr w = writer_new(&buffer);

    start_checkpoint(w, id, description);
    write_checkpoint_disks(w, id, targets, n);
    end(w);
    return writer_finish(w, buffer);
}

char *checkpoint_redefine_xml(Id id, const char *description, const char *parent, gint64 created_s,
                              const char *const *targets, guint n, const char *domain_xml)
{
    g_autofree char *created = g_strdup_printf("%" G_GINT64_FORMAT, created_s);
    xmlBufferPtr buffer;
    xmlTextWriterPtr w = writer_new(&buffer);

    start_checkpoint(w, id, description);
    if (parent) {
        start(w, "parent");
        element(w, "name", parent);
        end(w);
    }
    element(w, "creationTime", created);
    write_checkpoint_disks(w, id, targets, n);
    g_assert(xmlTextWriterWriteRaw(w, BAD_CAST domain_xml) >= 0);
    end(w);
    return writer_finish(w, buffer);
}

static void checkpoint_disk_free(gpointer data)
{
    CheckpointDisk *disk = data;

    g_free(disk->target);
    g_free(disk);
}

static CheckpointDisk *read_checkpoint_disk(const xmlNode *node)
{
    CheckpointDisk *disk = g_new0(CheckpointDisk, 1);
    g_autofree char *kind = xml_attr(node, "checkpoint");
    g_autofree char *size = xml_attr(node, "size");

    disk->target = xml_attr(node, "name");
    disk->tracked = g_strcmp0(kind, "bitmap") == 0;
    if (!size || !g_ascii_string_to_unsigned(size, 10, 0, G_MAXUINT64, &disk->size_bytes, NULL))
        disk->size_bytes = G_MAXUINT64;
    return disk;
}

static xmlDoc *read_checkpoint(const char *xml, GError **error)
{
    return xml_parse(xml, strlen(xml), "domaincheckpoint", "checkpoint", error);
}

GPtrArray *checkpoint_xml_disks(const char *xml, GError **error)
{
    g_autoptr(xmlDoc) doc = read_checkpoint(xml, error);
    g_autoptr(GPtrArray) list = g_ptr_array_new_with_free_func(checkpoint_disk_free);
    const xmlNode *disks;

    if (!doc)
        return NULL;
    disks = xml_child(xmlDocGetRootElement(doc), "disks");
    for (const xmlNode *node = xml_child(disks, "disk"); node; node = xml_next(node)) {
        CheckpointDisk *disk = read_checkpoint_disk(node);

        g_ptr_array_add(list, disk);
        if (!disk->target) {
            g_set_error(error, US_ERROR, US_ERROR_USAGE, "a checkpoint's disk has no name");
            return NULL;
        }
    }
    return g_steal_pointer(&list);
}

char *checkpoint_xml_description(const char *xml)
{
    g_autoptr(xmlDoc) doc = read_checkpoint(xml, NULL);

    return doc ? xml_text(xml_child(xmlDocGetRootElement(doc), "description")) : NULL;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/capture/disk_files.h"

#include "vmconnect/capture/chain.h"
#include "vmconnect/hypervisor/definition.h"
#include "vmconnect/hypervisor/xml.h"

#include <string.h>

#define FORMAT "1" /* first word of the text */

static DiskFiles *disk_files_new(const char *target)
{
    DiskFiles *files = g_new0(DiskFiles, 1);

    files->target = g_strdup(target);
    files->ids = g_array_new(FALSE, FALSE, sizeof(FileId));
    return files;
}

void disk_files_free(DiskFiles *files)
{
    if (!files)
        return;
    g_free(files->target);
    g_array_unref(files->ids);
    g_free(files);
}

DiskFiles *disk_files_copy(const DiskFiles *files)
{
    DiskFiles *copy = disk_files_new(files->target);

    g_array_append_vals(copy->ids, files->ids->data, files->ids->len);
    copy->n_chain = files->n_chain;
    return copy;
}

static DiskFiles *read_disk(xmlDoc *doc, const char *target)
{
    gboolean closed;
    g_autoptr(GPtrArray) chain = chain_in_document(doc, target, &closed, NULL);
    g_autofree char *mirror = chain_mirror_in_document(doc, target);
    g_autoptr(DiskFiles) files = disk_files_new(target);
    FileId id;

    for (guint i = 0; chain && i < chain->len; i++) {
        if (!file_id_read(((const ChainLayer *)chain->pdata[i])->path, &id))
            break;
        g_array_append_val(files->ids, id);
    }
    files->n_chain = files->ids->len;
    if (mirror && file_id_read(mirror, &id))
        g_array_append_val(files->ids, id);
    return files->n_chain ? g_steal_pointer(&files) : NULL;
}

GPtrArray *disk_files_read(const char *domain_xml, const char *const *targets, guint n)
{
    GPtrArray *list = g_ptr_array_new_with_free_func((GDestroyNotify)disk_files_free);
    g_autoptr(xmlDoc) doc = xml_parse(domain_xml, strlen(domain_xml), "domain", "definition", NULL);

    for (guint i = 0; doc && i < n; i++) {
        DiskFiles *files = read_disk(doc, targets[i]);

        if (files)
            g_ptr_array_add(list, files);
    }
    return list;
}

const DiskFiles *disk_files_find(const GPtrArray *list, const char *target)
{
    for (guint i = 0; i < list->len; i++) {
        const DiskFiles *files = list->pdata[i];

        if (g_str_equal(files->target, target))
            return files;
    }
    return NULL;
}

static gboolean has(const GArray *ids, guint n, FileId id)
{
    for (guint i = 0; i < n; i++)
        if (file_id_equal(g_array_index(ids, FileId, i), id))
            return TRUE;
    return FALSE;
}

/* Two disks may stand on one image that both only read: it counts only where it is on top itself. */
gboolean disk_files_continue(const DiskFiles *before, const DiskFiles *now)
{
    return has(before->ids, before->ids->len, g_array_index(now->ids, FileId, 0)) ||
           has(now->ids, now->n_chain, g_array_index(before->ids, FileId, 0));
}

/* "1 vda=ID,ID vdb=ID" */
char *disk_files_to_text(const GPtrArray *list)
{
    GString *text = g_string_new(FORMAT);

    for (guint i = 0; i < list->len; i++) {
        const DiskFiles *files = list->pdata[i];

        g_string_append_printf(text, " %s", files->target);
        for (guint j = 0; j < files->ids->len; j++)
            g_string_append_printf(
                text, "%c%s", j ? ',' : '=',
                file_id_format(g_array_index(files->ids, FileId, j), (char[FILE_ID_TEXT_LEN + 1]){0}));
    }
    return g_string_free(text, FALSE);
}

static DiskFiles *read_word(const char *word)
{
    g_auto(GStrv) sides = g_strsplit(word, "=", 2);
    g_auto(GStrv) ids = g_strsplit(g_strv_length(sides) == 2 ? sides[1] : "", ",", -1);
    g_autoptr(DiskFiles) files = disk_files_new(sides[0]);

    for (guint i = 0; ids[i]; i++) {
        FileId id;

        if (!file_id_parse(ids[i], &id))
            return NULL;
        g_array_append_val(files->ids, id);
    }
    files->n_chain = files->ids->len;
    return files->n_chain ? g_steal_pointer(&files) : NULL;
}

GPtrArray *disk_files_from_text(const char *text)
{
    g_autoptr(GPtrArray) list = g_ptr_array_new_with_free_func((GDestroyNotify)disk_files_free);
    g_auto(GStrv) words = g_strsplit(text, " ", -1);

    if (g_strcmp0(words[0], FORMAT) != 0)
        return NULL;
    for (guint i = 1; words[i]; i++) {
        DiskFiles *files = read_word(words[i]);

        if (!files)
            return NULL;
        g_ptr_array_add(list, files);
    }
    return g_steal_pointer(&list);
}

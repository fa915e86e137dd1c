/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/rehearse/partitions.h"

#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"

#include <string.h>

#define MAX_JSON (1024 * 1024)
#define MAX_SECTOR_BYTES 65536
#define MAX_NUMBER 65535

static gboolean not_understood(GError **error)
{
    g_set_error_literal(error, US_ERROR, US_ERROR_UNSUPPORTED, "what sfdisk says of it is not understood");
    return FALSE;
}

static gboolean holds_others(const json_t *label, const json_t *type)
{
    static const char *const EXTENDED[] = {"5", "f", "85", NULL};
    const char *t = json_string_value(type);

    return g_strcmp0(json_string_value(label), "dos") == 0 && t && g_strv_contains(EXTENDED, t);
}

/* "/dev/fd/3p12" → 12; 0 if it has none. */
static guint number_of(const char *node)
{
    gsize at = strlen(node);
    guint64 number = 0;

    while (at > 0 && g_ascii_isdigit(node[at - 1]))
        at--;
    return g_ascii_string_to_unsigned(node + at, 10, 1, MAX_NUMBER, &number, NULL) ? (guint)number : 0;
}

static gboolean read_partition(const json_t *doc, guint64 sector_bytes, guint64 disk_bytes,
                               Partition *ret_part, GError **error)
{
    const char *node;
    json_int_t start, size;
    guint64 sectors = disk_bytes / sector_bytes;
    guint number;

    if (!json_read(doc, "partition", NULL, "{s:s, s:I, s:I *}", "node", &node, "start", &start, "size",
                   &size) ||
        start < 0 || size <= 0 || !(number = number_of(node)))
        return not_understood(error);
    if ((guint64)start > sectors || (guint64)size > sectors - (guint64)start) {
        g_set_error(error, US_ERROR, US_ERROR_CORRUPT,
                    "partition %u ends beyond the disk: either the disk's end is missing or its partition "
                    "table is wrong",
                    number);
        return FALSE;
    }
    *ret_part = (Partition){number, (guint64)start * sector_bytes, (guint64)size * sector_bytes};
    return TRUE;
}

static gboolean lie_apart(const GArray *parts, const Partition *next, GError **error)
{
    for (guint i = 0; i < parts->len; i++) {
        const Partition *p = &g_array_index(parts, Partition, i);

        if (p->offset_bytes < next->offset_bytes + next->size_bytes &&
            next->offset_bytes < p->offset_bytes + p->size_bytes) {
            g_set_error(error, US_ERROR, US_ERROR_CORRUPT,
                        "partitions %u and %u lie over each other: its partition table is wrong", p->number,
                        next->number);
            return FALSE;
        }
    }
    return TRUE;
}

static gboolean read_table(const json_t *table, guint64 disk_bytes, GArray *parts, GError **error)
{
    const json_t *list = json_object_get(table, "partitions"), *label = json_object_get(table, "label"), *doc;
    const json_t *sector = json_object_get(table, "sectorsize");
    json_int_t sector_bytes = sector ? json_integer_value(sector) : 512;
    size_t i;

    if (!json_is_object(table) || (list && !json_is_array(list)) || sector_bytes < 512 ||
        sector_bytes > MAX_SECTOR_BYTES || (sector_bytes & (sector_bytes - 1)))
        return not_understood(error);
    json_array_foreach(list, i, doc)
    {
        Partition part;

        if (!read_partition(doc, (guint64)sector_bytes, disk_bytes, &part, error))
            return FALSE;
        if (holds_others(label, json_object_get(doc, "type")))
            continue;
        if (parts->len == PARTITIONS_MAX) {
            g_set_error(error, US_ERROR, US_ERROR_UNSUPPORTED, "it has more than %d partitions",
                        PARTITIONS_MAX);
            return FALSE;
        }
        if (!lie_apart(parts, &part, error))
            return FALSE;
        g_array_append_val(parts, part);
    }
    return TRUE;
}

GArray *partitions_read(const char *text, gsize len, guint64 disk_bytes, GError **error)
{
    json_auto_t *doc = json_parse(text, len, MAX_JSON, NULL);
    g_autoptr(GArray) parts = g_array_new(FALSE, FALSE, sizeof(Partition));

    if (!doc) {
        not_understood(error);
        return NULL;
    }
    if (!read_table(json_object_get(doc, "partitiontable"), disk_bytes, parts, error))
        return NULL;
    return g_steal_pointer(&parts);
}

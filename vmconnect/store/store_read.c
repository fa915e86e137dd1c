/* SPDX-License-Identifier: Apache-2.0 */
/* Who reads kept points: tests, opened points, exports, hashing; and what there is to read.
 *
 * A reader of point P has every file from P's down to the bottom open, without locks, and shares them with merges: what is written into
 * a file below P comes from layers between it and P, which it has open, and which hide it; a merged file loses its name and no more. But
 * P must not be withdrawn, or what is newer would be written below it. */
#include "vmconnect/store/store_internal.h"

#include "vmconnect/base/error.h"
#include "vmconnect/store/blob.h"
#include "vmconnect/store/layer_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

struct StoreLease {
    Id generation;
    GArray *layers; /* of Id: what its reader may have open */
};

static gboolean not_kept(Id generation, GError **error)
{
    g_set_error(error, US_ERROR, US_ERROR_NOT_FOUND, "point %s is not kept here: see the list of points",
                ID_TEXT(generation));
    return FALSE;
}

/* ---- files ---- */

void store_files_free(StoreFiles *files)
{
    if (!files)
        return;
    g_free(files->target);
    g_clear_pointer(&files->files, g_ptr_array_unref);
    g_clear_pointer(&files->formats, g_ptr_array_unref);
    g_free(files);
}

static gboolean is_raw(const LedgerLayer *layer)
{
    return layer->image && g_str_equal(layer->image->format, "raw");
}

static StoreFiles *files_of_disk(const Store *store, const LedgerDisk *disk)
{
    const Ledger *ledger = store_ledger(store);
    const LedgerLayer *layer = ledger_find_layer(ledger, disk->layer);
    StoreFiles *files = g_new0(StoreFiles, 1);

    files->target = g_strdup(disk->target);
    files->size_bytes = layer->size_bytes;
    files->files = g_ptr_array_new_with_free_func(g_free);
    files->formats = g_ptr_array_new();
    for (; layer; layer = ledger_find_layer(ledger, layer->below)) {
        g_autofree char *file = ledger_layer_file(layer);

        g_ptr_array_add(files->files, g_canonicalize_filename(file, store->dir));
        g_ptr_array_add(files->formats, (gpointer)(is_raw(layer) ? "raw" : "qcow2"));
    }
    return files;
}

GPtrArray *store_files_of(const Store *store, const GPtrArray *disks)
{
    GPtrArray *list = g_ptr_array_new_with_free_func((GDestroyNotify)store_files_free);

    for (guint i = 0; i < disks->len; i++)
        g_ptr_array_add(list, files_of_disk(store, disks->pdata[i]));
    return list;
}

/* ---- leases ---- */

void store_lease_free(gpointer p)
{
    StoreLease *lease = p;

    g_array_unref(lease->layers);
    g_free(lease);
}

static GArray *layers_of(const Ledger *ledger, const LedgerPoint *point)
{
    GArray *layers = g_array_new(FALSE, FALSE, sizeof(Id));

    for (guint i = 0; i < point->disks->len; i++) {
        const LedgerDisk *disk = point->disks->pdata[i];
        const LedgerLayer *l;

        for (Id layer = disk->layer; (l = ledger_find_layer(ledger, layer)); layer = l->below)
            g_array_append_val(layers, layer);
    }
    return layers;
}

gboolean store_is_shared(const Store *store, Id generation)
{
    for (guint k = 0; k < store->leases->len; k++)
        if (id_equal(((const StoreLease *)store->leases->pdata[k])->generation, generation))
            return TRUE;
    return FALSE;
}

gboolean store_has_reader(const Store *store, Id layer)
{
    for (guint k = 0; k < store->leases->len; k++) {
        const GArray *layers = ((const StoreLease *)store->leases->pdata[k])->layers;

        for (guint i = 0; i < layers->len; i++)
            if (id_equal(g_array_index(layers, Id, i), layer))
                return TRUE;
    }
    return FALSE;
}

/* While a reader opens the files nothing is written to them. A sealed file is read-only in the daemon when the next
 * overlay lies on it. */
static gboolean make_readable(Store *store, GError **error)
{
    return store_merge_stop(store, error) && (!store->daemon || store_stage(store, error));
}

/* What a file does not have any more would read as zeros. */
static gboolean check_whole(const Store *store, const LedgerPoint *point, GError **error)
{
    for (guint i = 0; i < point->disks->len; i++) {
        const LedgerDisk *disk = point->disks->pdata[i];
        GError *why = NULL;

        if (chain_check_open_files(store_ledger(store), store->dir, disk->layer, &why))
            continue;
        if (g_error_matches(why, US_ERROR, US_ERROR_CORRUPT))
            g_prefix_error(&why,
                           "point %s is damaged, and a switchover to it would lose data; restore the file, "
                           "or move folder %s away to synchronise anew: ",
                           ID_TEXT(point->generation->id), store->dir);
        g_propagate_error(error, why);
        return FALSE;
    }
    return TRUE;
}

StoreLease *store_lease_share(Store *store, Id generation, GPtrArray **ret_files, GError **error)
{
    const LedgerPoint *point = ledger_find_point(store_ledger(store), generation);
    StoreLease *lease;

    if (!point) {
        not_kept(generation, error);
        return NULL;
    }
    if (!make_readable(store, error) || !check_whole(store, point, error))
        return NULL;
    lease = g_new0(StoreLease, 1);
    lease->generation = generation;
    lease->layers = layers_of(store_ledger(store), point);
    g_ptr_array_add(store->leases, lease);
    *ret_files = store_files_of(store, point->disks);
    return lease;
}

void store_lease_release(Store *store, StoreLease *lease)
{
    gboolean found = g_ptr_array_remove(store->leases, lease);

    g_assert(found);
}

/* Files of a chain that are nobody's for long: points that wait for being merged, and what comes in. */
#define DEPTH_SPARE RETENTION_MAX_RANGE

static gboolean check_pin(const Store *store, Id generation, GError **error)
{
    const Ledger *ledger = store_ledger(store);
    guint64 named =
        (guint64)store->retain.newest + store->retain.hours + store->retain.days + store->retain.weeks;
    guint pinned = 0;

    for (guint i = 0; i < ledger->points->len; i++)
        pinned += ((const LedgerPoint *)ledger->points->pdata[i])->pinned;
    if (pinned + 1 + named + DEPTH_SPARE <= DEPTH_FULL)
        return TRUE;
    g_set_error(
        error, US_ERROR, US_ERROR_REFUSED,
        "point %s cannot be pinned: %u points are, retention names %" G_GUINT64_FORMAT
        " more, and of the %u files of a chain %u are for merging: it would be full one day, and nothing "
        "received any more; release a pinned point, or let retain name fewer",
        ID_TEXT(generation), pinned, named, DEPTH_FULL, DEPTH_SPARE);
    return FALSE;
}

gboolean store_pin(Store *store, Id generation, gboolean pinned, GError **error)
{
    const LedgerPoint *point = ledger_find_point(store_ledger(store), generation);

    if (!point)
        return not_kept(generation, error);
    if (pinned == point->pinned)
        return TRUE;
    if (pinned && !check_pin(store, generation, error))
        return FALSE;
    return store_append(store, ledger_record_retain(generation, pinned), error);
}

/* ---- points ---- */

static void point_free(gpointer p)
{
    StorePoint *point = p;

    generation_free(point->generation);
    g_free(point);
}

GPtrArray *store_points(const Store *store)
{
    const Ledger *ledger = store_ledger(store);
    GPtrArray *list = g_ptr_array_new_with_free_func(point_free);

    for (guint i = ledger->points->len; i-- > 0;) {
        const LedgerPoint *known = ledger->points->pdata[i];
        StorePoint *point = g_new0(StorePoint, 1);

        point->generation = generation_copy(known->generation);
        point->pinned = known->pinned;
        point->branch = known->branch;
        for (guint k = 0; k < known->disks->len; k++)
            point->changed_bytes += ((const LedgerDisk *)known->disks->pdata[k])->changed_bytes;
        g_ptr_array_add(list, point);
    }
    return list;
}

static gboolean stands_on(const Ledger *ledger, Id layer, Id base)
{
    const LedgerLayer *l;

    while (!id_equal(layer, base) && (l = ledger_find_layer(ledger, layer)))
        layer = l->below;
    return id_equal(layer, base);
}

/* A point on it says where the two differ; else it is no more than the branch itself has of its own. */
static guint64 alone_on(const Ledger *ledger, const LedgerDisk *disk, const LedgerPoint *next)
{
    const LedgerDisk *above = ledger_find_disk(next->disks, disk->target);

    return above && stands_on(ledger, above->layer, disk->layer)
               ? MIN(disk->changed_bytes, above->changed_bytes)
               : disk->changed_bytes;
}

StoreBranches store_branches(const Store *store)
{
    const Ledger *ledger = store_ledger(store);
    StoreBranches all = {0};
    guint64 bytes = 0;

    for (guint i = 0; i < ledger->points->len; i++) {
        const LedgerPoint *point = ledger->points->pdata[i];

        if (!point->branch || !point->pinned)
            continue;
        all.count++;
        if (i + 1 == ledger->points->len)
            all.bytes = -1;
        for (guint k = 0; all.bytes >= 0 && k < point->disks->len; k++)
            bytes += alone_on(ledger, point->disks->pdata[k], ledger->points->pdata[i + 1]);
    }
    if (all.bytes >= 0)
        all.bytes = (gint64)bytes;
    return all;
}

char *store_definition(Store *store, Id generation, GError **error)
{
    const LedgerPoint *point = ledger_find_point(store_ledger(store), generation);
    g_autoptr(GBytes) bytes = NULL;
    const char *text;
    gsize len;

    if (!point) {
        not_kept(generation, error);
        return NULL;
    }
    if (!point->definition) {
        g_set_error(error, US_ERROR, US_ERROR_NOT_FOUND, "point %s was sealed without a definition",
                    ID_TEXT(generation));
        return NULL;
    }
    bytes = blob_get(store->dir, BLOB_DEFINITION, point->definition, error);
    if (!bytes)
        return NULL;
    text = g_bytes_get_data(bytes, &len);
    return g_strndup(text, len);
}

const GPtrArray *store_belongings(const Store *store, Id generation, GError **error)
{
    const LedgerPoint *point = ledger_find_point(store_ledger(store), generation);

    if (!point)
        not_kept(generation, error);
    return point ? point->generation->belongings : NULL;
}

GBytes *store_belonging(const Store *store, const Belonging *b, GError **error)
{
    return blob_get(store->dir, BLOB_SECRET, b->digest, error);
}

Extents *store_changed_since(Store *store, Id generation, const char *target, GError **error)
{
    const Ledger *ledger = store_ledger(store);
    const LedgerPoint *point = ledger_find_point(ledger, generation);
    g_autoptr(Extents) all = extents_new();

    if (!point) {
        not_kept(generation, error);
        return NULL;
    }
    for (guint i = ledger->points->len; i-- > 0 && ledger->points->pdata[i] != point;) {
        const LedgerDisk *disk =
            ledger_find_disk(((const LedgerPoint *)ledger->points->pdata[i])->disks, target);
        g_autoptr(Extents) list = NULL;

        if (!disk || !disk->extents)
            continue;
        list = blob_get_extents(store->dir, disk->extents, error);
        if (!list)
            return NULL;
        extents_add_all(all, list);
    }
    return g_steal_pointer(&all);
}

gboolean store_usage(const Store *store, StoreUsage *ret_usage, GError **error)
{
    g_autoptr(GDir) dir = g_dir_open(store->dir, 0, NULL);
    StoreUsage usage = {0};
    const char *name;

    if (!dir)
        return us_error_errno(error, errno, "cannot list %s", store->dir);
    while ((name = g_dir_read_name(dir))) {
        struct stat st;

        if (fstatat(store->lock_fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(st.st_mode))
            continue;
        usage.files++;
        usage.bytes += (guint64)st.st_blocks * 512;
    }
    *ret_usage = usage;
    return TRUE;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Promotion: a point becomes the disks of a VM.
 *
 * It waits for nothing that could hang. A merge is cancelled, or dies with the storage
 * daemon, which is safe at any moment; sealed files are durable already. The VM gets
 * an empty overlay per disk, made without the daemon and recorded before it is named to anybody. */
#include "vmconnect/store/store_internal.h"

#include "vmconnect/base/clock.h"
#include "vmconnect/base/durable.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/stop.h"
#include "vmconnect/image/qcow2.h"
#include "vmconnect/store/blob.h"
#include "vmconnect/store/layer_file.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <sys/stat.h>

#define CREATE_MS 10000
#define NVRAM_SUFFIX ".nvram.fd"

/* Let go of all images, by force if they are not let go by @deadline_ms. */
static void release_images(Store *store, gint64 deadline_ms)
{
    int left_ms = clock_left_ms(deadline_ms);

    if (store->daemon && left_ms > 0) {
        storage_daemon_set_timeout(store->daemon, left_ms);
        store_merge_stop(store, NULL);
        g_ptr_array_set_size(store->chains, 0);
        storage_daemon_close(g_steal_pointer(&store->daemon), clock_left_ms(deadline_ms));
    }
    store_drop_daemon(store);
}

static gboolean create_overlay(const Store *store, const LedgerLayer *layer, GError **error)
{
    g_autofree char *path = layer_file_path(store->dir, layer->id, layer->target);
    g_autofree char *below = ledger_layer_file(ledger_find_layer(store_ledger(store), layer->below));

    return qcow2_create(path, layer->size_bytes, below, CREATE_MS, -1, error) &&
           durable_sync_file(path, error);
}

/* An overlay on each disk of @point, durable. */
static GPtrArray *create_overlays(const Store *store, const LedgerPoint *point, GError **error)
{
    const Ledger *ledger = store_ledger(store);
    g_autoptr(GPtrArray) layers = ledger_layers_new();

    for (guint i = 0; i < point->disks->len; i++) {
        const LedgerDisk *disk = point->disks->pdata[i];
        LedgerLayer *layer = ledger_layer_new(id_random(), disk->target, disk->layer,
                                              ledger_find_layer(ledger, disk->layer)->size_bytes, 0);

        g_ptr_array_add(layers, layer);
        if (!chain_check_files(ledger, store->dir, disk->layer, error) ||
            !create_overlay(store, layer, error))
            return NULL;
    }
    return durable_sync_dir(store->dir, error) ? g_steal_pointer(&layers) : NULL;
}

/* What came after a point that its operator goes back to is a branch then: kept until it is released, however many
 * points are already; nothing is received on them any more. */
static gboolean keep_later(Store *store, Id generation, GError **error)
{
    const GPtrArray *points = store_ledger(store)->points;

    for (guint i = points->len; i-- > 0;) {
        const LedgerPoint *point = points->pdata[i];

        if (id_equal(point->generation->id, generation))
            return TRUE;
        if (!point->pinned && !store_append(store, ledger_record_retain(point->generation->id, TRUE), error))
            return FALSE;
        points = store_ledger(store)->points;
    }
    return TRUE;
}

static gboolean promote(Store *store, Id generation, gint64 deadline_ms, GError **error)
{
    const LedgerPoint *point = ledger_find_point(store_ledger(store), generation);
    g_autoptr(GPtrArray) layers = NULL;

    if (!point) {
        g_set_error(error, US_ERROR, US_ERROR_NOT_FOUND, "point %s is not kept here: see the list of points",
                    ID_TEXT(generation));
        return FALSE;
    }
    release_images(store, deadline_ms);
    if (!store_discard(store, error) || !store_merge_recover(store, error) || !store_sweep(store, error))
        return FALSE;
    stop_at("promote.released");
    if (!keep_later(store, generation, error))
        return FALSE;
    layers = create_overlays(store, ledger_find_point(store_ledger(store), generation), error);
    if (!layers)
        return FALSE;
    stop_at("promote.before_ledger");
    if (!store_append(store, ledger_record_promoted(generation, layers), error))
        return FALSE;
    stop_at("promote.after_ledger");
    return TRUE;
}

gboolean store_promote(Store *store, Id generation, gint64 deadline_ms, GPtrArray **ret_files, GError **error)
{
    const Ledger *ledger = store_ledger(store);
    const Generation *tip = store_tip(store);
    Id wanted = id_is_nil(generation) && tip ? tip->id : generation;

    if (id_is_nil(ledger->promoted) && !promote(store, wanted, deadline_ms, error))
        return FALSE;
    ledger = store_ledger(store);
    if (!id_is_nil(generation) && !id_equal(ledger->promoted, generation)) {
        g_set_error(error, US_ERROR, US_ERROR_REFUSED, "point %s was promoted already, so %s cannot be",
                    ID_TEXT(ledger->promoted), ID_TEXT(generation));
        return FALSE;
    }
    if (g_chmod(store->dir, STORE_MODE_PROMOTED) != 0)
        return us_error_errno(error, errno, "cannot open folder %s for the VM", store->dir);
    *ret_files = store_files_of(store, ledger->active);
    return TRUE;
}

char *store_nvram_name(Id point)
{
    return g_strconcat(ID_TEXT(point), NVRAM_SUFFIX, NULL);
}

gboolean store_is_nvram_name(const char *name)
{
    g_autofree char *id = g_strndup(name, ID_TEXT_LEN);
    Id point;

    return id_parse(id, &point, NULL) && (g_str_equal(name + ID_TEXT_LEN, NVRAM_SUFFIX) ||
                                          g_str_equal(name + ID_TEXT_LEN, NVRAM_SUFFIX ".new"));
}

char *store_nvram_path(const Store *store)
{
    g_autofree char *name = store_nvram_name(store_promoted(store));

    return g_build_filename(store->dir, name, NULL);
}

Id store_promoted(const Store *store)
{
    return store_ledger(store)->promoted;
}

GPtrArray *store_promoted_files(const Store *store)
{
    return store_files_of(store, store_ledger(store)->active);
}

gboolean store_demote(Store *store, GError **error)
{
    if (id_is_nil(store_ledger(store)->promoted))
        return TRUE;
    if (!store_append(store, ledger_record_demoted(), error))
        return FALSE;
    if (g_chmod(store->dir, STORE_MODE_STANDBY) != 0)
        return us_error_errno(error, errno, "cannot close folder %s", store->dir);
    return store_sweep(store, error) && store_ready(store, error);
}

/* ---- the end ---- */

gboolean store_is_dissolved(const Store *store)
{
    return store_ledger(store)->dissolved;
}

gboolean store_dissolve(Store *store, GError **error)
{
    const GPtrArray *points = store_ledger(store)->points;

    if (store_is_dissolved(store))
        return TRUE;
    for (guint i = 0; i < points->len; i++) {
        const LedgerPoint *point = points->pdata[i];

        if (!point->pinned)
            continue;
        g_set_error(error, US_ERROR, US_ERROR_REFUSED, "%s %s is kept until it is released",
                    point->branch ? "branch" : "point", ID_TEXT(point->generation->id));
        return FALSE;
    }
    store_drop_daemon(store);
    return store_write_given(store, error) && store_append(store, ledger_record_dissolved(), error);
}

static gboolean check_purge(const Store *store, GError **error)
{
    if (!id_is_nil(store_ledger(store)->promoted) || store_is_dissolved(store)) {
        g_set_error(error, US_ERROR, US_ERROR_REFUSED, "a VM runs from %s", store->dir);
        return FALSE;
    }
    if (store->leases->len) {
        g_set_error(error, US_ERROR, US_ERROR_REFUSED,
                    "a point of %s is being read: end tests and opened points first", store->dir);
        return FALSE;
    }
    return TRUE;
}

/* First an empty ledger, then the images, then the ledger: a crash in between leaves leftovers, not
 * images that nobody can tell apart. */
static gboolean clear(Store *store, GError **error)
{
    static const char *const NAMES[] = {STORE_GIVEN_NAME, STORE_GIVEN_NEW,  "ledger.torn", "ledger.new",
                                        "ledger.format1", "ledger.format2", "ledger"};
    release_images(store, clock_steady_ms() + CREATE_MS);
    if (!ledger_file_reset(store->file, error) || !store_sweep(store, error))
        return FALSE;
    for (guint i = 0; i < G_N_ELEMENTS(NAMES); i++) {
        g_autofree char *name = g_build_filename(store->dir, NAMES[i], NULL);

        if (!durable_remove(name, error))
            return FALSE;
    }
    /* Not empty: somebody keeps things of his own there. */
    if (g_rmdir(store->dir) != 0 && errno != ENOTEMPTY)
        return us_error_errno(error, errno, "cannot remove folder %s", store->dir);
    return TRUE;
}

/* A variable store outlives its ledger only with a VM, and there is none. */
static gboolean remove_nvrams(const Store *store, GError **error)
{
    g_autoptr(GDir) dir = g_dir_open(store->dir, 0, NULL);
    const char *name;

    while (dir && (name = g_dir_read_name(dir))) {
        g_autofree char *path = g_build_filename(store->dir, name, NULL);

        if (store_is_nvram_name(name) && !durable_remove(path, error))
            return FALSE;
    }
    return TRUE;
}

gboolean store_clear(Store *store, GError **error)
{
    g_assert(store_is_dissolved(store));
    return clear(store, error);
}

gboolean store_purge(Store *store, GError **error)
{
    gboolean ok = check_purge(store, error) && remove_nvrams(store, error) && clear(store, error);

    store_close(store);
    return ok;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Opening: lock the folder, replay the ledger, finish a merge whose data is durable, compare
 * and correct headers, remove leftovers, start the storage daemon and open every chain in it.
 *
 * There is one place that removes files, store_sweep(), and it looks at nothing but names: a file
 * of ours that the ledger does not name, and that no chain has as its overlay, goes. */
#include "vmconnect/store/store_internal.h"

#include "vmconnect/base/clock.h"
#include "vmconnect/base/durable.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/readable.h"
#include "vmconnect/store/blob.h"
#include "vmconnect/store/layer_file.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <sys/file.h>
#include <unistd.h>

#define LEDGER_NAME "ledger"
#define QUIT_MS 5000

/* A step of a merge, and the pause after it while a generation comes in. */
#define MERGE_TURN_MS 1000

#define DEPTH_SLOW 48

/* Below this there is nothing that cutting less often would help. */
#define BACKLOG_SLOW 4

const Ledger *store_ledger(const Store *store)
{
    return ledger_file_model(store->file);
}

gboolean store_is_past(gint64 steady_ms)
{
    return clock_steady_ms() >= steady_ms;
}

gboolean store_append(Store *store, json_t *record, GError **error)
{
    return ledger_file_append(store->file, record, error);
}

/* ---- chains ---- */

Chain *store_chain(const Store *store, const char *target)
{
    Id tip = ledger_layer_of(ledger_tip(store_ledger(store)), target);

    for (guint i = 0; i < store->chains->len; i++) {
        Chain *chain = store->chains->pdata[i];

        if (g_str_equal(chain_target(chain), target) && id_equal(chain_tip(chain), tip))
            return chain;
    }
    return NULL;
}

Chain *store_chain_with(const Store *store, Id layer)
{
    const Ledger *ledger = store_ledger(store);

    for (guint i = 0; i < store->chains->len; i++) {
        Chain *chain = store->chains->pdata[i];
        Id id = chain_tip(chain);

        for (const LedgerLayer *l; (l = ledger_find_layer(ledger, id)); id = l->below)
            if (id_equal(l->id, layer))
                return chain;
    }
    return NULL;
}

/* A sealed layer that no other sealed layer stands on: where a chain ends. An image that nobody reads is its owner's again. */
static gboolean is_leaf(const Ledger *ledger, const LedgerLayer *layer)
{
    if (ledger_is_unsealed(ledger, layer->id) || (layer->image && !ledger_is_read(ledger, layer->id)))
        return FALSE;
    for (guint i = 0; i < ledger->layers->len; i++) {
        const LedgerLayer *other = ledger->layers->pdata[i];

        if (id_equal(other->below, layer->id) && !ledger_is_unsealed(ledger, other->id))
            return FALSE;
    }
    return TRUE;
}

static gboolean is_wanted(const Store *store, const Chain *chain)
{
    const Ledger *ledger = store_ledger(store);
    const LedgerLayer *leaf = ledger_find_layer(ledger, chain_tip(chain));

    if (id_is_nil(chain_tip(chain)))
        return store->begun || ledger->partial;
    return leaf && is_leaf(ledger, leaf) && chain_is(chain, ledger, leaf->id);
}

static gboolean has_chain(const Store *store, Id leaf)
{
    for (guint i = 0; i < store->chains->len; i++)
        if (id_equal(chain_tip(store->chains->pdata[i]), leaf))
            return TRUE;
    return FALSE;
}

static gboolean add_chain(Store *store, const char *target, Id layer, GError **error)
{
    ChainPlace place = {.daemon = store->daemon, .dir = store->dir};
    Chain *chain = chain_open(&place, store_ledger(store), target, layer, error);

    if (!chain)
        return FALSE;
    g_ptr_array_add(store->chains, chain);
    return TRUE;
}

/* Put the unsealed generation's overlays back on top of their chains. */
static gboolean resume_partial(Store *store, GError **error)
{
    const LedgerPartial *partial = store_ledger(store)->partial;

    for (guint i = 0; partial && i < partial->disks->len; i++) {
        const LedgerDisk *disk = partial->disks->pdata[i];
        const LedgerLayer *layer = ledger_find_layer(store_ledger(store), disk->layer);
        Chain *chain = store_chain(store, disk->target);

        if (!chain && !add_chain(store, disk->target, ID_NIL, error))
            return FALSE;
        chain = store_chain(store, disk->target);
        if (id_is_nil(chain_top(chain)) && !chain_resume(chain, layer->id, layer->size_bytes, error))
            return FALSE;
    }
    return TRUE;
}

gboolean store_sync_chains(Store *store, GError **error)
{
    const Ledger *ledger = store_ledger(store);

    for (guint i = store->chains->len; i-- > 0;) {
        Chain *chain = store->chains->pdata[i];

        if (is_wanted(store, chain))
            continue;
        if (!chain_close(chain, error))
            return FALSE;
        g_ptr_array_remove_index(store->chains, i);
    }
    for (guint i = 0; i < ledger->layers->len; i++) {
        const LedgerLayer *layer = ledger->layers->pdata[i];

        if (is_leaf(ledger, layer) && !has_chain(store, layer->id) &&
            !add_chain(store, layer->target, layer->id, error))
            return FALSE;
    }
    return resume_partial(store, error);
}

gboolean store_stage(Store *store, GError **error)
{
    for (guint i = 0; i < store->chains->len; i++) {
        Chain *chain = store->chains->pdata[i];
        const LedgerLayer *tip = ledger_find_layer(store_ledger(store), chain_tip(chain));

        if (tip && id_is_nil(chain_top(chain)) && !chain_lay(chain, tip->size_bytes, error))
            return FALSE;
    }
    return TRUE;
}

/* ---- the storage daemon ---- */

static gboolean is_daemon_dead(const Store *store)
{
    return readable_within(storage_daemon_pidfd(store->daemon), 0);
}

void store_drop_daemon(Store *store)
{
    store_merge_forget(store);
    g_ptr_array_set_size(store->chains, 0);
    g_clear_pointer(&store->begun, generation_free);
    if (store->daemon)
        storage_daemon_close(g_steal_pointer(&store->daemon), 0);
}

static gboolean start_daemon(Store *store, GError **error)
{
    store->daemon = storage_daemon_start(store->run_dir, store->name, error);
    if (!store->daemon)
        return FALSE;
    return TRUE;
}

gboolean store_ready(Store *store, GError **error)
{
    if (store->daemon && is_daemon_dead(store))
        store_drop_daemon(store);
    if (store->daemon)
        return TRUE;
    /* What is left of a merge can wait if it must: the chains are whole at each of its steps. */
    (void)store_merge_recover(store, NULL);
    if (start_daemon(store, error) && store_sync_chains(store, error))
        return TRUE;
    store_drop_daemon(store);
    return FALSE;
}

/* ---- leftovers ---- */

static void name_layer(GHashTable *names, Id layer, const char *target)
{
    if (!id_is_nil(layer))
        g_hash_table_add(names, layer_file_name(layer, target));
}

static void name_blob(GHashTable *names, BlobKind kind, const char *digest)
{
    if (digest)
        g_hash_table_add(names, blob_file_name(kind, digest));
}

static void name_lists(GHashTable *names, const GPtrArray *disks)
{
    for (guint i = 0; i < disks->len; i++) {
        const LedgerDisk *disk = disks->pdata[i];

        name_blob(names, BLOB_EXTENTS, disk->extents);
        name_blob(names, BLOB_EXTENTS, disk->has);
    }
}

static void name_belongings(GHashTable *names, const GPtrArray *belongings)
{
    for (guint i = 0; i < belongings->len; i++)
        name_blob(names, BLOB_SECRET, ((const Belonging *)belongings->pdata[i])->digest);
}

/* Every file that must stay. */
static GHashTable *names_to_keep(const Store *store)
{
    GHashTable *names = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    const Ledger *ledger = store_ledger(store);

    for (guint i = 0; i < ledger->layers->len; i++) {
        const LedgerLayer *layer = ledger->layers->pdata[i];

        name_layer(names, layer->id, layer->target);
        /* An image may be a file that the VM took over from an earlier promotion. */
        if (layer->image)
            g_hash_table_add(names, g_path_get_basename(layer->image->path));
    }
    for (guint i = 0; i < ledger->points->len; i++) {
        const LedgerPoint *point = ledger->points->pdata[i];

        name_blob(names, BLOB_DEFINITION, point->definition);
        name_lists(names, point->disks);
        name_belongings(names, point->generation->belongings);
    }
    if (ledger->partial)
        name_lists(names, ledger->partial->disks);
    if (!id_is_nil(ledger->promoted))
        g_hash_table_add(names, store_nvram_name(ledger->promoted));
    for (guint i = 0; i < store->chains->len; i++)
        name_layer(names, chain_top(store->chains->pdata[i]), chain_target(store->chains->pdata[i]));
    return names;
}

static gboolean is_ours(const char *name)
{
    return layer_file_is_name(name, NULL) || blob_is_name(name) || store_is_nvram_name(name);
}

/* A VM that was promoted from here, and goes on without us, has its variable store here still. */
static gboolean is_a_vm_s(const Store *store, const char *name)
{
    return store_is_nvram_name(name) && store_ledger(store)->points->len == 0;
}

gboolean store_sweep(Store *store, GError **error)
{
    g_autoptr(GHashTable) names = names_to_keep(store);
    g_autoptr(GDir) dir = NULL;
    gboolean removed = FALSE;
    const char *name;

    /* A record that was taken back may still be in the file and name what would be removed. */
    if (!ledger_file_settle(store->file, error))
        return FALSE;
    dir = g_dir_open(store->dir, 0, NULL);
    if (!dir)
        return us_error_errno(error, errno, "cannot list %s", store->dir);
    while ((name = g_dir_read_name(dir))) {
        g_autofree char *path = g_build_filename(store->dir, name, NULL);

        if (!is_ours(name) || g_hash_table_contains(names, name) || is_a_vm_s(store, name))
            continue;
        if (g_unlink(path) != 0)
            return us_error_errno(error, errno, "cannot remove %s", path);
        removed = TRUE;
    }
    return !removed || durable_sync_dir(store->dir, error);
}

/* ---- opening ---- */

static gboolean lock_folder(Store *store, GError **error)
{
    store->lock_fd = open(store->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (store->lock_fd < 0)
        return us_error_errno(error, errno, "cannot open folder %s", store->dir);
    if (flock(store->lock_fd, LOCK_EX | LOCK_NB) == 0)
        return TRUE;
    g_set_error(error, US_ERROR, US_ERROR_BUSY,
                "folder %s is in use by another process: is a second engine running?", store->dir);
    return FALSE;
}

/* A folder with images and no ledger is not a new one. */
static gboolean may_begin_ledger(const Store *store, gboolean *ret_may, GError **error)
{
    g_autoptr(GDir) dir = g_dir_open(store->dir, 0, NULL);
    const char *name;

    if (!dir)
        return us_error_errno(error, errno, "cannot list %s", store->dir);
    *ret_may = TRUE;
    while ((name = g_dir_read_name(dir)))
        if (layer_file_is_name(name, NULL))
            *ret_may = FALSE;
    return TRUE;
}

static gboolean open_ledger(Store *store, GError **error)
{
    g_autofree char *path = g_build_filename(store->dir, LEDGER_NAME, NULL);
    GError *why = NULL;
    gboolean may_begin = FALSE;

    if (!may_begin_ledger(store, &may_begin, error))
        return FALSE;
    store->file = ledger_file_open(path, store->vm, may_begin, &why);
    if (store->file)
        return TRUE;
    if (g_error_matches(why, US_ERROR, US_ERROR_NOT_FOUND)) {
        g_clear_error(&why);
        why = g_error_new(US_ERROR, US_ERROR_CORRUPT, "folder %s holds images but no ledger", store->dir);
    }
    if (g_error_matches(why, US_ERROR, US_ERROR_CORRUPT))
        g_prefix_error(
            &why, "this VM's recovery points cannot be told apart any more, nothing was changed; restore "
                  "the ledger from a backup, or move the folder away to synchronise anew: ");
    g_propagate_error(error, why);
    return FALSE;
}

/* Every sealed image must be what the ledger says; an unsealed one that is not is given up. */
static gboolean check_images(Store *store, GError **error)
{
    const Ledger *ledger = store_ledger(store);

    for (guint i = 0; i < ledger->layers->len; i++) {
        const LedgerLayer *layer = ledger->layers->pdata[i];
        GError *why = NULL;

        if (!is_leaf(ledger, layer) || chain_check_files(ledger, store->dir, layer->id, &why))
            continue;
        if (g_error_matches(why, US_ERROR, US_ERROR_CORRUPT))
            g_prefix_error(&why,
                           "points that read from a damaged image are lost, nothing was changed; restore the "
                           "file, or move the folder away to synchronise anew: ");
        g_propagate_error(error, why);
        return FALSE;
    }
    return TRUE;
}

static gboolean check_partial(Store *store, GError **error)
{
    const LedgerPartial *partial = store_ledger(store)->partial;
    gboolean good = store_partial(store) != NULL;

    for (guint i = 0; partial && i < partial->disks->len; i++) {
        const LedgerDisk *disk = partial->disks->pdata[i];

        good = good && chain_check_files(store_ledger(store), store->dir, disk->layer, NULL);
    }
    return !partial || good || store_append(store, ledger_record_discard(partial->generation->id), error);
}

gboolean store_recover(Store *store, GError **error)
{
    if (g_chmod(store->dir, STORE_MODE_STANDBY) != 0)
        return us_error_errno(error, errno, "cannot close folder %s", store->dir);
    return store_merge_recover(store, error) && check_images(store, error) && check_partial(store, error) &&
           store_sweep(store, error) && store_ready(store, error);
}

static Store *store_new(const StoreOptions *options)
{
    Store *store = g_new0(Store, 1);

    store->dir = g_canonicalize_filename(options->dir, NULL);
    store->run_dir = g_strdup(options->run_dir);
    store->name = g_strdup(ID_TEXT(options->vm));
    store->vm = options->vm;
    store->retain = options->retain;
    store->hurry_fd = options->hurry_fd > 0 ? options->hurry_fd : -1;
    store->notary = options->notary;
    store->lock_fd = -1;
    store->merge.turn_len_ms = MERGE_TURN_MS;
    store->chains = g_ptr_array_new_with_free_func((GDestroyNotify)chain_free);
    store->leases = g_ptr_array_new_with_free_func(store_lease_free);
    return store;
}

Store *store_open(const StoreOptions *options, GError **error)
{
    g_autoptr(Store) store = store_new(options);

    if (!durable_mkdir(store->dir, STORE_MODE_STANDBY, error) || !lock_folder(store, error) ||
        !open_ledger(store, error))
        return NULL;
    /* What a VM runs from is libvirt's: nothing is compared, corrected or removed. */
    if (id_is_nil(store_ledger(store)->promoted) && !store_is_dissolved(store) &&
        !store_recover(store, error))
        return NULL;
    return g_steal_pointer(&store);
}

gboolean store_is_there(const Store *store)
{
    return ledger_file_is_there(store->file);
}

void store_close(Store *store)
{
    if (!store)
        return;
    if (store->daemon) {
        store_merge_stop(store, NULL);
        g_ptr_array_set_size(store->chains, 0);
        storage_daemon_close(g_steal_pointer(&store->daemon), QUIT_MS);
    }
    store_drop_daemon(store);
    store_forget_partial(store);
    g_ptr_array_unref(store->chains);
    g_ptr_array_unref(store->leases);
    ledger_file_close(store->file);
    if (store->lock_fd >= 0)
        close(store->lock_fd);
    g_free(store->dir);
    g_free(store->run_dir);
    g_free(store->name);
    store_merge_close_bases(store);
    g_free(store->merge.given_up);
    g_free(store);
}

void store_set_retention(Store *store, RetentionPolicy policy)
{
    store->retain = policy;
}

/* ---- room ---- */

static const char *hint(const Store *store, guint backlog)
{
    if (store->merge.given_up)
        return store->merge.given_up;
    return backlog ? NULL : "keep fewer points, or unpin some";
}

const char *store_given_up(const Store *store)
{
    return store->merge.given_up;
}

StoreRoom store_room(const Store *store, char **ret_why)
{
    const Ledger *ledger = store_ledger(store);
    guint backlog = store_merge_backlog(store);
    const char *more = hint(store, backlog);
    const char *target = NULL;
    guint deepest = 0;

    if (ret_why)
        *ret_why = NULL;
    for (guint i = 0; i < ledger->layers->len; i++) {
        const LedgerLayer *layer = ledger->layers->pdata[i];
        guint depth = ledger_is_unsealed(ledger, layer->id) ? 0 : ledger_depth(ledger, layer->id) + 1;

        if (depth > deepest) {
            deepest = depth;
            target = layer->target;
        }
    }
    if (deepest < DEPTH_SLOW || (deepest < DEPTH_FULL && backlog < BACKLOG_SLOW))
        return STORE_ROOM_FREE;
    if (ret_why)
        *ret_why = g_strdup_printf(
            "the chain of disk %s has %u of at most %u files, %u points wait for being merged%s%s", target,
            deepest, DEPTH_FULL, backlog, more ? "; " : "", more ? more : "");
    return deepest < DEPTH_FULL ? STORE_ROOM_SLOW : STORE_ROOM_NONE;
}

/* ---- waiting ---- */

int store_fd(const Store *store)
{
    return store->daemon ? qmp_fd(storage_daemon_qmp(store->daemon)) : -1;
}

static gboolean needs_staging(const Store *store)
{
    for (guint i = 0; i < store->chains->len; i++)
        if (id_is_nil(chain_top(store->chains->pdata[i])))
            return TRUE;
    return FALSE;
}

int store_timeout_ms(const Store *store)
{
    if (!id_is_nil(store_ledger(store)->promoted))
        return -1;
    if (!store_is_past(store->merge.retry_ms))
        return clock_left_ms(store->merge.retry_ms);
    if (!store->daemon || needs_staging(store))
        return 0;
    return store_merge_timeout_ms(store);
}

/* Events of the daemon only wake us up. */
static gboolean drain_events(Store *store, GError **error)
{
    Qmp *qmp = storage_daemon_qmp(store->daemon);
    QmpMessage *event;

    if (!qmp_pump(qmp, error))
        return FALSE;
    while ((event = qmp_take_event(qmp)))
        qmp_message_free(event);
    return TRUE;
}

#define RETRY_MS 10000

gboolean store_pump(Store *store, GError **error)
{
    gboolean lost = FALSE;

    if (!id_is_nil(store_ledger(store)->promoted))
        return TRUE;
    if (store->daemon && !drain_events(store, error)) {
        store_drop_daemon(store);
        g_prefix_error(error, "the storage daemon is lost and will be started again: ");
        lost = TRUE;
    }
    if (lost)
        return FALSE;
    if (!store_is_past(store->merge.retry_ms))
        return TRUE;
    if (store_ready(store, error) && store_stage(store, error) && store_merge_pump(store, error))
        return TRUE;
    store->merge.retry_ms = clock_steady_ms() + RETRY_MS;
    return FALSE;
}

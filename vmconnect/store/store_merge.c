/* SPDX-License-Identifier: Apache-2.0 */
/* One merge, journalled in the ledger and driven by store_pump():
 *
 *   withdrawn   points struck out; from here on their files are no points any more
 *     copying   block-commit per disk, at most 1 s at a time while somebody writes
 *     copied    all jobs wait to be finalized; bases written out in pieces, then flushed through the
 *               daemon and fsynced
 *   flushed     the lowest file holds everything
 *     switching jobs finalized: QEMU rewrites the headers above
 *   switched    the ledger no longer names the files between
 *     unlinked  and they are gone, piece by piece
 *   removed     over
 *
 * A crash before `flushed` begins the copying again: what was copied is masked by the files
 * above. After it nothing needs copying: the ledger is brought to `switched`, and headers
 * are compared with it as always. Cancelling is possible until `flushed`. */
#include "vmconnect/store/store_internal.h"

#include "vmconnect/base/clock.h"
#include "vmconnect/base/durable.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/stop.h"
#include "vmconnect/store/blob.h"
#include "vmconnect/store/layer_file.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <unistd.h>

#define POLL_MS 100
#define FLUSH_MS 120000

/* So many files that no point reads from may stay below one: what a VM was given when it came home for a short time (store_adopt.c),
 * and what a merge that was cut short has left. */
#define UNREAD_MAX 8

/* A call's share of a turn for writing out. What is written or cut off at once keeps a seal waiting. */
#define WRITE_SHARE 20
#define PIECE_BYTES (8 * 1024 * (guint64)1024)

static gboolean is_hurry(const GError *why)
{
    return g_error_matches(why, US_ERROR, US_ERROR_CANCELLED);
}

static const LedgerMerge *journal(const Store *store)
{
    return store_ledger(store)->merge;
}

static gboolean has_copying(const LedgerMergeDisk *disk)
{
    return disk->layers->len >= 2;
}

static Id layer_at(const GArray *layers, guint index)
{
    return g_array_index(layers, Id, index);
}

/* ---- what is next ---- */

static gboolean find_unread(const Ledger *ledger, RetentionMerge *ret_merge)
{
    for (guint i = 0; i < ledger->points->len; i++)
        if (ledger_count_unread(ledger, i) > UNREAD_MAX) {
            *ret_merge = (RetentionMerge){.first = i, .survivor = i};
            return TRUE;
        }
    return FALSE;
}

static gboolean find_next(const Store *store, RetentionMerge *ret_merge)
{
    const Ledger *ledger = store_ledger(store);
    guint n = ledger->points->len;
    g_autofree RetentionPoint *points = g_new0(RetentionPoint, n + 1);

    for (guint i = 0; i < n; i++) {
        const LedgerPoint *point = ledger->points->pdata[i];

        points[i] = (RetentionPoint){.at_ms = point->generation->sealed_at_ms,
                                     .pinned = !ledger_can_withdraw(ledger, i) ||
                                               store_is_shared(store, point->generation->id),
                                     .children = i + 1 < n};
    }
    return n > 0 && (retention_next(store->retain, points, n, ret_merge) || find_unread(ledger, ret_merge));
}

guint store_merge_backlog(const Store *store)
{
    RetentionMerge merge;

    return find_next(store, &merge) ? MAX(merge.survivor - merge.first, 1) : 0;
}

/* ---- withdrawing ---- */

/* The survivor's list for @target, grown by those of points [@first, @survivor). */
static LedgerDisk *grown_list(const Store *store, const RetentionMerge *range, const LedgerDisk *disk,
                              GError **error)
{
    const Ledger *ledger = store_ledger(store);
    g_autoptr(Extents) all = extents_new();
    g_autofree char *digest = NULL;

    for (guint i = range->first; i <= range->survivor; i++) {
        const LedgerPoint *point = ledger->points->pdata[i];
        const LedgerDisk *own = ledger_find_disk(point->disks, disk->target);
        g_autoptr(Extents) list = NULL;

        if (!own || !own->extents)
            continue;
        list = blob_get_extents(store->dir, own->extents, error);
        if (!list)
            return NULL;
        extents_add_all(all, list);
    }
    digest = blob_put_extents(store->dir, all, error);
    return digest ? ledger_disk_new(disk->target, ID_NIL, digest, extents_bytes(all)) : NULL;
}

static gboolean withdraw(Store *store, const RetentionMerge *range, GError **error)
{
    const Ledger *ledger = store_ledger(store);
    const LedgerPoint *first = ledger->points->pdata[range->first];
    const LedgerPoint *survivor = ledger->points->pdata[range->survivor];
    g_autoptr(LedgerMerge) merge = ledger_plan_merge(ledger, range->first, range->survivor);
    g_autoptr(GPtrArray) lists = ledger_disks_new();

    for (guint i = 0; i < survivor->disks->len; i++) {
        LedgerDisk *list = grown_list(store, range, survivor->disks->pdata[i], error);

        if (!list)
            return FALSE;
        g_ptr_array_add(lists, list);
    }
    if (!durable_sync_dir(store->dir, error) ||
        !store_append(store, ledger_record_withdrawn(first->generation->id, merge, lists), error))
        return FALSE;
    stop_at("merge.withdrawn");
    return TRUE;
}

/* ---- copying ---- */

void store_merge_forget(Store *store)
{
    g_clear_pointer(&store->merge.copying, g_ptr_array_unref);
    g_clear_pointer(&store->merge.commits, g_ptr_array_unref);
    store->merge.paused = FALSE;
    store->merge.written_disks = 0;
    store->merge.written_bytes = 0;
}

gboolean store_merge_stop(Store *store, GError **error)
{
    gboolean ok = TRUE;

    for (guint i = 0; ok && store->merge.commits && i < store->merge.commits->len; i++)
        ok = commit_cancel(store->merge.commits->pdata[i], error);
    store_merge_forget(store);
    return ok;
}

static char *base_path(const Store *store, const LedgerMergeDisk *disk)
{
    return layer_file_path(store->dir, layer_at(disk->layers, 0), disk->target);
}

/* Is some base smaller than what goes into it? QEMU grows it when the copying begins, but a job that has
 * done so keeps the right to resize and lets nobody flush the base. It is cancelled, and the next
 * one finds a base that is large enough. */
static gboolean must_grow(const Store *store)
{
    for (guint i = 0; i < journal(store)->disks->len; i++) {
        const LedgerMergeDisk *disk = journal(store)->disks->pdata[i];
        g_autofree char *path = NULL;
        g_auto(LayerFacts) facts = {0};
        const LedgerLayer *top;

        if (!has_copying(disk))
            continue;
        path = base_path(store, disk);
        top = ledger_find_layer(store_ledger(store), layer_at(disk->layers, disk->layers->len - 1));
        if (layer_file_read(path, &facts, NULL) && facts.size_bytes < top->size_bytes)
            return TRUE;
    }
    return FALSE;
}

void store_merge_close_bases(Store *store)
{
    for (guint i = 0; store->merge.bases && i < store->merge.bases->len; i++)
        if (g_array_index(store->merge.bases, int, i) >= 0)
            close(g_array_index(store->merge.bases, int, i));
    g_clear_pointer(&store->merge.bases, g_array_unref);
}

/* Nothing to do if it is the same merge, begun once more. */
static gboolean open_bases(Store *store, GError **error)
{
    if (store->merge.bases && id_equal(store->merge.bases_of, journal(store)->survivor))
        return TRUE;
    store_merge_close_bases(store);
    store->merge.bases = g_array_new(FALSE, FALSE, sizeof(int));
    store->merge.bases_of = journal(store)->survivor;
    for (guint i = 0; i < journal(store)->disks->len; i++) {
        const LedgerMergeDisk *disk = journal(store)->disks->pdata[i];
        g_autofree char *path = has_copying(disk) ? base_path(store, disk) : NULL;
        int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;

        g_array_append_val(store->merge.bases, fd);
        if (path && fd < 0) {
            us_error_errno(error, errno, "cannot open %s", path);
            store_merge_close_bases(store);
            return FALSE;
        }
    }
    return TRUE;
}

static gboolean begin_copying(Store *store, GError **error)
{
    if (!open_bases(store, error))
        return FALSE;
    store->merge.growing = must_grow(store);
    store->merge.commits = g_ptr_array_new_with_free_func((GDestroyNotify)commit_free);
    store->merge.copying = g_ptr_array_new();
    store->merge.turn_ms = clock_steady_ms() + store->merge.turn_len_ms;
    for (guint i = 0; i < journal(store)->disks->len; i++) {
        const LedgerMergeDisk *disk = journal(store)->disks->pdata[i];
        Commit *commit;

        if (!has_copying(disk))
            continue;
        commit = chain_commit(store_chain_with(store, layer_at(disk->layers, 0)), disk->layers, error);
        if (!commit)
            return FALSE;
        g_ptr_array_add(store->merge.commits, commit);
        g_ptr_array_add(store->merge.copying, commit);
    }
    stop_at("merge.copying");
    return TRUE;
}

/* Let the kernel begin to write back what was copied, so that the final fsync is short. */
static void begin_writeback(const Store *store)
{
    for (guint i = 0; i < journal(store)->disks->len; i++) {
        const LedgerMergeDisk *disk = journal(store)->disks->pdata[i];
        g_autofree char *path = has_copying(disk) ? base_path(store, disk) : NULL;
        int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;

        if (fd < 0)
            continue;
        (void)sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE);
        close(fd);
    }
}

/* So long it copies, then as long it pauses: only while a generation comes in. A job that has just
 * come to its end can be neither paused nor resumed; a daemon that is gone shows next time. */
static void take_turns(Store *store)
{
    gboolean pause = !store->merge.paused && store->begun;

    if (!store_is_past(store->merge.turn_ms))
        return;
    for (guint i = 0; i < store->merge.copying->len; i++) {
        Commit *commit = store->merge.copying->pdata[i];

        if (pause)
            (void)commit_pause(commit, NULL);
        else if (store->merge.paused)
            (void)commit_resume(commit, NULL);
    }
    begin_writeback(store);
    store->merge.turn_ms = clock_steady_ms() + store->merge.turn_len_ms;
    store->merge.paused = pause;
}

/* Which jobs are through. FALSE with @error: one has failed. */
static gboolean watch_copying(Store *store, GError **error)
{
    for (guint i = store->merge.copying->len; i-- > 0;) {
        GError *why = NULL;

        if (commit_wait_copied(store->merge.copying->pdata[i], 0, &why)) {
            g_ptr_array_remove_index(store->merge.copying, i);
            continue;
        }
        if (!g_error_matches(why, US_ERROR, US_ERROR_TIMEOUT)) {
            g_propagate_error(error, why);
            return FALSE;
        }
        g_error_free(why);
    }
    if (store->merge.copying->len > 0)
        take_turns(store);
    return TRUE;
}

/* ---- writing out ---- */

/* A second try could succeed without anything having reached the disk. Takes @why. */
static gboolean give_up(Store *store, GError *why, GError **error)
{
    store->merge.given_up = g_strdup_printf(
        "nothing is merged any more until the engine starts again, check the file system of %s: %s",
        store->dir, why->message);
    g_set_error_literal(error, US_ERROR, why->code, store->merge.given_up);
    g_error_free(why);
    return FALSE;
}

static gboolean is_written_out(const Store *store)
{
    return store->merge.written_disks == journal(store)->disks->len;
}

static gboolean write_piece(Store *store, GError **error)
{
    const LedgerMergeDisk *disk = journal(store)->disks->pdata[store->merge.written_disks];
    g_autofree char *path = has_copying(disk) ? base_path(store, disk) : NULL;
    gboolean end = !path;
    GError *why = NULL;

    if (path && !durable_write_out(path, store->merge.written_bytes, PIECE_BYTES, &end, &why))
        return give_up(store, why, error);
    store->merge.written_bytes += PIECE_BYTES;
    if (end) {
        store->merge.written_disks++;
        store->merge.written_bytes = 0;
    }
    return TRUE;
}

/* So that the flushes that follow have little to wait for: they are waited for. */
static gboolean write_out(Store *store, GError **error)
{
    gint64 until_ms = clock_steady_ms() + store->merge.turn_len_ms / WRITE_SHARE;
    gboolean ok;

    do
        ok = write_piece(store, error);
    while (ok && !is_written_out(store) && !store_is_past(until_ms));
    return ok;
}

/* ---- switching ---- */

static gboolean sync_bases(const Store *store, GError **error)
{
    for (guint i = 0; i < store->merge.bases->len; i++) {
        int fd = g_array_index(store->merge.bases, int, i);

        if (fd >= 0 && !durable_sync(fd, error))
            return FALSE;
    }
    return TRUE;
}

/* The headers above were rewritten. An unsealed file's need not be durable: it is compared at the
 * next opening, and its own data must not be waited for here. */
static gboolean sync_children(Store *store, const LedgerMergeDisk *disk, GError **error)
{
    const Ledger *ledger = store_ledger(store);

    for (guint i = 0; i < ledger->layers->len; i++) {
        const LedgerLayer *layer = ledger->layers->pdata[i];
        g_autofree char *path = layer_file_path(store->dir, layer->id, layer->target);

        /* An image stands on nothing that is merged. */
        if (id_equal(layer->below, layer_at(disk->layers, disk->layers->len - 1)) &&
            !ledger_is_unsealed(ledger, layer->id) && !durable_sync_file(path, error))
            return FALSE;
    }
    return TRUE;
}

static gboolean switch_jobs(Store *store, GError **error)
{
    for (guint i = 0; i < store->merge.commits->len; i++)
        if (!commit_switch_over(store->merge.commits->pdata[i], error))
            return FALSE;
    stop_at("merge.switching");
    if (!sync_bases(store, error))
        return FALSE;
    for (guint i = 0; i < journal(store)->disks->len; i++) {
        const LedgerMergeDisk *disk = journal(store)->disks->pdata[i];

        if (has_copying(disk) &&
            (!sync_children(store, disk, error) ||
             !chain_merged(store_chain_with(store, layer_at(disk->layers, 0)), disk->layers, error)))
            return FALSE;
    }
    return TRUE;
}

static gboolean record_switched(Store *store, GError **error)
{
    g_autoptr(GPtrArray) bases = ledger_layers_new();

    for (guint i = 0; i < journal(store)->disks->len; i++) {
        const LedgerMergeDisk *disk = journal(store)->disks->pdata[i];
        const LedgerLayer *base;
        g_autofree char *path = NULL;
        GStatBuf st;

        if (!has_copying(disk))
            continue;
        base = ledger_find_layer(store_ledger(store), layer_at(disk->layers, 0));
        path = base_path(store, disk);
        if (g_stat(path, &st) != 0)
            return us_error_errno(error, errno, "image %s", path);
        g_ptr_array_add(bases, ledger_layer_new(base->id, base->target, base->below, base->size_bytes,
                                                (guint64)st.st_size));
    }
    return store_append(store, ledger_record_switched(bases), error);
}

/* Removing a file takes as long as it is large: cut off a piece of one that is. */
static gboolean shorten(const Store *store, const char *target, const GArray *layers, gboolean *ret_shortened,
                        GError **error)
{
    for (guint i = 0; i < layers->len && !*ret_shortened; i++) {
        Id layer = layer_at(layers, i);
        g_autofree char *path = layer_file_path(store->dir, layer, target);
        GStatBuf st;

        if (ledger_find_layer(store_ledger(store), layer) || store_has_reader(store, layer) ||
            g_stat(path, &st) != 0 || (guint64)st.st_size <= PIECE_BYTES)
            continue;
        if (truncate(path, st.st_size - (off_t)PIECE_BYTES) != 0)
            return us_error_errno(error, errno, "cannot shorten %s", path);
        *ret_shortened = TRUE;
    }
    return TRUE;
}

/* As with removing: not while a record that was taken back may still name it. What a reader may have open
 * is not cut. */
static gboolean shorten_one(const Store *store, gboolean *ret_shortened, GError **error)
{
    if (!ledger_file_settle(store->file, error))
        return FALSE;
    for (guint i = 0; i < journal(store)->disks->len && !*ret_shortened; i++) {
        const LedgerMergeDisk *disk = journal(store)->disks->pdata[i];

        if (!shorten(store, disk->target, disk->layers, ret_shortened, error) ||
            !shorten(store, disk->target, disk->dropped, ret_shortened, error))
            return FALSE;
    }
    return TRUE;
}

static gboolean finish(Store *store, GError **error)
{
    gboolean shortened = FALSE;

    if (!store_sync_chains(store, error) || !shorten_one(store, &shortened, error))
        return FALSE;
    if (shortened)
        return TRUE;
    if (!store_sweep(store, error))
        return FALSE;
    stop_at("merge.unlinked");
    return store_append(store, ledger_record_removed(), error);
}

/* A daemon that does not answer in time, is no longer waited for, or died, is no flush that failed: with a new one all is copied
 * again, over whatever reached the disk; should that have failed meanwhile, the bases' descriptors tell. */
static gboolean is_silence(const GError *why)
{
    return g_error_matches(why, US_ERROR, US_ERROR_TIMEOUT) ||
           g_error_matches(why, US_ERROR, US_ERROR_UNREACHABLE) || is_hurry(why);
}

static gboolean flush_bases(Store *store, GError **error)
{
    GError *why = NULL;
    gboolean ok = TRUE;

    for (guint i = 0; ok && i < store->merge.commits->len; i++)
        ok = commit_flush_base(store->merge.commits->pdata[i], FLUSH_MS, &why);
    if (ok && sync_bases(store, &why))
        return TRUE;
    if (!is_silence(why))
        return give_up(store, why, error);
    g_propagate_error(error, why);
    store_drop_daemon(store);
    return FALSE;
}

static gboolean flush_and_switch(Store *store, GError **error)
{
    stop_at("merge.copied");
    if (!flush_bases(store, error) || !store_append(store, ledger_record_flushed(), error))
        return FALSE;
    stop_at("merge.flushed");
    if (!switch_jobs(store, error) || !record_switched(store, error))
        return FALSE;
    store_merge_forget(store);
    store_merge_close_bases(store);
    stop_at("merge.switched");
    return TRUE;
}

/* ---- driving ---- */

/* A merge that failed half way through switching: a new daemon opens the chains as they are after
 * it. Not while a generation comes in, which would be lost. */
static gboolean go_on_switching(Store *store, GError **error)
{
    if (store->begun)
        return TRUE;
    store_drop_daemon(store);
    return store_merge_recover(store, error) && store_ready(store, error);
}

static gboolean step(Store *store, GError **error)
{
    RetentionMerge next;

    if (!journal(store))
        return !find_next(store, &next) || withdraw(store, &next, error);
    if (journal(store)->state == LEDGER_FLUSHED)
        return go_on_switching(store, error);
    if (journal(store)->state == LEDGER_SWITCHED)
        return finish(store, error);
    if (store->merge.given_up)
        return TRUE;
    if (!store->merge.commits)
        return begin_copying(store, error);
    if (!watch_copying(store, error))
        return FALSE;
    if (store->merge.growing)
        return must_grow(store) || store_merge_stop(store, error);
    if (store->merge.copying->len > 0)
        return TRUE;
    return is_written_out(store) ? flush_and_switch(store, error) : write_out(store, error);
}

/* A step that ends, with CANCELLED, when something is to be done that waits for no merge, nor for a farewell to its daemon. */
static gboolean step_unhurried(Store *store, GError **error)
{
    GError *why = NULL;
    gboolean ok;

    if (store->daemon)
        storage_daemon_set_cancel(store->daemon, store->hurry_fd);
    ok = step(store, &why);
    if (is_hurry(why))
        store_drop_daemon(store);
    if (store->daemon)
        storage_daemon_set_cancel(store->daemon, -1);
    if (!ok)
        g_propagate_error(error, why);
    return ok;
}

gboolean store_merge_pump(Store *store, GError **error)
{
    GError *why = NULL;

    if (step_unhurried(store, &why))
        return TRUE;
    g_propagate_prefixed_error(error, why, "merging old points %s: ",
                               is_hurry(why) ? "is interrupted for what cannot wait"
                                             : "goes wrong, the chain grows until it works again");
    if (!store->daemon)
        return FALSE;
    /* Before anything is switched the copying can simply be given up. */
    if (journal(store) && journal(store)->state == LEDGER_WITHDRAWN && store_merge_stop(store, NULL))
        return FALSE;
    store_drop_daemon(store);
    return FALSE;
}

int store_merge_timeout_ms(const Store *store)
{
    RetentionMerge next;

    if (journal(store)) {
        if (journal(store)->state == LEDGER_WITHDRAWN && store->merge.given_up)
            return -1;
        return store->merge.commits || journal(store)->state == LEDGER_FLUSHED ? POLL_MS : 0;
    }
    return find_next(store, &next) ? 0 : -1;
}

gboolean store_merge_recover(Store *store, GError **error)
{
    g_assert(!store->daemon);
    if (!journal(store) || journal(store)->state == LEDGER_WITHDRAWN)
        return TRUE;
    if (journal(store)->state == LEDGER_FLUSHED && !record_switched(store, error))
        return FALSE;
    store_merge_close_bases(store);
    return store_sweep(store, error) && store_append(store, ledger_record_removed(), error);
}

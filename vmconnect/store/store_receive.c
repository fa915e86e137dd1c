/* SPDX-License-Identifier: Apache-2.0 */
/* A generation on its way in: begin -> write -> [slice …] -> seal, or discard.
 *
 * What is written before a seal's record is durable is nobody's; each failure leads to the
 * same place: overlays of the beginning gone, tip untouched, daemon restarted if it was part of
 * the failure. A flush or fsync that failed is never tried again. */
#include "vmconnect/store/store_internal.h"

#include "vmconnect/base/clock.h"
#include "vmconnect/base/durable.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/stop.h"
#include "vmconnect/store/blob.h"

#include <string.h>

#define FLUSH_MS 120000
#define SECTOR 512

static gboolean refuse(GError **error, const char *format, ...) G_GNUC_PRINTF(2, 3);

static gboolean refuse(GError **error, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    if (error)
        *error = g_error_new_valist(US_ERROR, US_ERROR_REFUSED, format, args);
    va_end(args);
    return FALSE;
}

/* ---- what there is ---- */

guint64 store_session(const Store *store)
{
    return store_ledger(store)->session;
}

const Generation *store_tip(const Store *store)
{
    const LedgerPoint *tip = ledger_tip(store_ledger(store));

    return tip ? tip->generation : NULL;
}

GArray *store_ancestors(const Store *store, guint max)
{
    const Ledger *ledger = store_ledger(store);
    const Generation *tip = store_tip(store);
    GArray *ids = g_array_new(FALSE, FALSE, sizeof(Id));

    for (guint i = ledger->points->len; i-- > 0 && ids->len < max;) {
        const Generation *g = ((const LedgerPoint *)ledger->points->pdata[i])->generation;

        if (g != tip && reign_equal(g->reign, tip->reign))
            g_array_append_val(ids, g->id);
    }
    for (guint i = ledger->past->len; i-- > 0 && ids->len < max;)
        g_array_append_val(ids, g_array_index(ledger->past, Id, i));
    return ids;
}

gint64 store_truth_ms(const Store *store)
{
    const Generation *tip = store_tip(store);

    return tip ? MAX(tip->cut_at_ms, store_ledger(store)->confirmed_at_ms) : 0;
}

void store_forget_partial(Store *store)
{
    if (!store->partial)
        return;
    for (guint i = 0; i < store->partial->n_disks; i++) {
        extents_free((Extents *)store->partial->disks[i].has);
        extents_free((Extents *)store->partial->disks[i].changed);
    }
    g_free((StoreProgress *)store->partial->disks);
    g_clear_pointer(&store->partial, g_free);
}

const StorePartial *store_partial(Store *store)
{
    const LedgerPartial *known = store_ledger(store)->partial;
    StoreProgress *disks;

    store_forget_partial(store);
    if (!known)
        return NULL;
    disks = g_new0(StoreProgress, known->disks->len);
    store->partial = g_new0(StorePartial, 1);
    *store->partial = (StorePartial){.generation = known->generation,
                                     .pass = {.since = known->since, .guard = known->guard},
                                     .disks = disks,
                                     .n_disks = known->disks->len};
    for (guint i = 0; i < known->disks->len; i++) {
        const LedgerDisk *disk = known->disks->pdata[i];

        disks[i].target = disk->target;
        disks[i].has = blob_get_extents(store->dir, disk->has, NULL);
        disks[i].changed = blob_get_extents(store->dir, disk->extents, NULL);
        if (!disks[i].has || !disks[i].changed) {
            store_forget_partial(store);
            return NULL;
        }
    }
    return store->partial;
}

static gboolean same_disks(const Generation *a, const Generation *b)
{
    if (a->disks->len != b->disks->len)
        return FALSE;
    for (guint i = 0; i < a->disks->len; i++) {
        const GenerationDisk *da = a->disks->pdata[i];
        const GenerationDisk *db = b->disks->pdata[i];

        if (!g_str_equal(da->target, db->target) || da->size_bytes != db->size_bytes)
            return FALSE;
    }
    return TRUE;
}

/* ---- giving up ---- */

/* The unsealed generation's overlays leave the chains; the files are leftovers then. */
static gboolean drop_tops(Store *store, GError **error)
{
    for (guint i = 0; i < store->chains->len; i++)
        if (!chain_drop_top(store->chains->pdata[i], error))
            return FALSE;
    return store_sync_chains(store, error);
}

/* Has anything been written to the top? Flushed first: zeros may be in the daemon's memory alone. */
static gboolean is_blank(Chain *chain)
{
    guint64 file_bytes;
    gboolean grown;

    return chain && !id_is_nil(chain_top(chain)) && chain_disk(chain) &&
           nbd_disk_flush(chain_disk(chain), FLUSH_MS, NULL) &&
           chain_measure(chain, &file_bytes, &grown, NULL) && !grown;
}

/* What was only compared leaves its overlays as they were staged, and merges go on. */
static gboolean take_back_tops(Store *store, const Generation *begun)
{
    const Generation *tip = store_tip(store);

    if (!tip || !same_disks(begun, tip))
        return FALSE;
    for (guint i = 0; i < begun->disks->len; i++)
        if (!is_blank(store_chain(store, ((const GenerationDisk *)begun->disks->pdata[i])->target)))
            return FALSE;
    for (guint i = 0; i < begun->disks->len; i++)
        if (!chain_unexport(store_chain(store, ((const GenerationDisk *)begun->disks->pdata[i])->target),
                            NULL))
            return FALSE;
    return TRUE;
}

gboolean store_discard(Store *store, GError **error)
{
    const LedgerPartial *partial = store_ledger(store)->partial;
    g_autoptr(Generation) begun = g_steal_pointer(&store->begun);

    if (!partial && begun && store->daemon && take_back_tops(store, begun))
        return TRUE;
    store_forget_partial(store);
    if (!partial && !begun)
        return TRUE;
    if (partial && !store_append(store, ledger_record_discard(partial->generation->id), error))
        return FALSE;
    /* Staged overlays of a merge's chains go with the rest; the jobs need them. */
    if (store->daemon && (!store_merge_stop(store, NULL) || !drop_tops(store, NULL)))
        store_drop_daemon(store);
    return store_sweep(store, error);
}

/* After a failure of the file system nothing that the daemon still holds is worth having. What
 * cannot be recorded or removed now is a leftover for the next store_begin(). */
static void lose(Store *store, const Generation *g, GError **error)
{
    const Generation *tip = store_tip(store);
    gboolean forbidden = error && (g_error_matches(*error, US_ERROR, US_ERROR_OVERTAKEN) ||
                                   g_error_matches(*error, US_ERROR, US_ERROR_REFUSED));
    g_autofree char *look = forbidden ? NULL : g_strdup_printf("; check the file system of %s", store->dir);

    g_prefix_error(error,
                   "generation %s was not sealed and is discarded, the tip stays %s%s: ", ID_TEXT(g->id),
                   tip ? ID_TEXT(tip->id) : "none", look ? look : "");
    store_drop_daemon(store);
    (void)store_discard(store, NULL);
    (void)store_sweep(store, NULL);
}

/* ---- sessions ---- */

static gboolean check_attach(const Ledger *ledger, Reign reign, guint64 session, GError **error)
{
    if (!id_is_nil(ledger->promoted) || ledger->dissolved)
        return refuse(
            error, "this copy was promoted, and its VM runs from it, or did last: nothing is received before "
                   "what it wrote has become a part of it");
    if (reign.number < ledger->reign.number)
        return refuse(error,
                      "reign %" G_GUINT64_FORMAT " is over, this copy follows reign %" G_GUINT64_FORMAT,
                      reign.number, ledger->reign.number);
    if (reign.number > ledger->reign.number)
        return TRUE;
    if (!id_equal(reign.id, ledger->reign.id))
        return refuse(
            error, "two hosts claim reign %" G_GUINT64_FORMAT ": an operator must decide which one is right",
            reign.number);
    if (session <= ledger->session)
        return refuse(error, "session %" G_GUINT64_FORMAT " is not newer than %" G_GUINT64_FORMAT, session,
                      ledger->session);
    return TRUE;
}

/* A partial's overlays stay as they are: what came after its last slice is not in its list
 * and will be sent again. But nobody of the old session may write on. */
static gboolean end_sessions(Store *store, Reign reign, GError **error)
{
    const Ledger *ledger = store_ledger(store);

    if (!ledger->partial || ledger->reign.number != reign.number)
        return store_discard(store, error);
    g_clear_pointer(&store->begun, generation_free);
    for (guint i = 0; i < store->chains->len; i++)
        if (!chain_unexport(store->chains->pdata[i], NULL)) {
            store_drop_daemon(store);
            break;
        }
    return TRUE;
}

/* Nothing is laid on, or said of, images that others have written to: a copy that is not whole must not look like one. */
static gboolean check_images(const Store *store, GError **error)
{
    const GPtrArray *layers = store_ledger(store)->layers;

    for (guint i = 0; i < layers->len; i++) {
        const LedgerLayer *layer = layers->pdata[i];

        if (layer->image && ledger_is_read(store_ledger(store), layer->id) &&
            !signed_image_check_data(layer->image, error)) {
            g_prefix_error(
                error,
                "what was received stands on it and cannot be trusted any more; restore the file, or move "
                "%s away to synchronise anew: ",
                store->dir);
            return FALSE;
        }
    }
    return TRUE;
}

gboolean store_attach(Store *store, Reign reign, guint64 session, GError **error)
{
    return check_attach(store_ledger(store), reign, session, error) && check_images(store, error) &&
           end_sessions(store, reign, error) &&
           store_append(store, ledger_record_session(reign, session), error) && store_ready(store, error);
}

static gboolean check_session(const Store *store, guint64 session, GError **error)
{
    const Ledger *ledger = store_ledger(store);

    if (!id_is_nil(ledger->promoted))
        return refuse(error, "this copy was promoted: it receives nothing any more");
    if (session != ledger->session || ledger->reign.number == 0)
        return refuse(error, "session %" G_GUINT64_FORMAT " is over, %" G_GUINT64_FORMAT " is the newest",
                      session, ledger->session);
    return check_images(store, error);
}

/* ---- beginning ---- */

static gboolean check_place(const Store *store, const Generation *g, GError **error)
{
    const Ledger *ledger = store_ledger(store);
    const Generation *tip = store_tip(store);

    if (!reign_equal(g->reign, ledger->reign))
        return refuse(error, "generation %s is of another reign than its session", ID_TEXT(g->id));
    if (!id_equal(g->parent, tip ? tip->id : ID_NIL))
        return refuse(error, "generation %s stands on %s, but the tip is %s", ID_TEXT(g->id),
                      ID_TEXT(g->parent), tip ? ID_TEXT(tip->id) : "none");
    if (!ledger_is_ancestor(ledger, g->since, g->reign))
        return refuse(error,
                      "generation %s was read since %s, which is no ancestor of the tip: send everything",
                      ID_TEXT(g->id), ID_TEXT(g->since));
    if (tip && reign_equal(tip->reign, g->reign) && g->sequence <= tip->sequence)
        return refuse(error, "generation %s is number %" G_GUINT64_FORMAT " after number %" G_GUINT64_FORMAT,
                      ID_TEXT(g->id), g->sequence, tip->sequence);
    return TRUE;
}

static gboolean check_sizes(const Generation *g, GError **error)
{
    for (guint i = 0; i < g->disks->len; i++) {
        const GenerationDisk *disk = g->disks->pdata[i];

        if (disk->size_bytes > 0 && disk->size_bytes % SECTOR == 0 && disk->size_bytes <= EXTENTS_MAX_OFFSET)
            continue;
        g_set_error(error, US_ERROR, US_ERROR_UNSUPPORTED,
                    "disk %s has %" G_GUINT64_FORMAT " bytes, not a whole number "
                    "of sectors",
                    disk->target, disk->size_bytes);
        return FALSE;
    }
    return TRUE;
}

static gboolean check_begin(Store *store, guint64 session, const Generation *g, GError **error)
{
    g_autofree char *why = NULL;

    if (!check_session(store, session, error) || !check_place(store, g, error) || !check_sizes(g, error))
        return FALSE;
    return store_room(store, &why) != STORE_ROOM_NONE ||
           refuse(error, "no further generation can be taken: %s", why);
}

static gboolean is_partial_of(const Ledger *ledger, const Generation *g)
{
    return ledger->partial && id_equal(ledger->partial->generation->id, g->id) &&
           same_disks(ledger->partial->generation, g);
}

/* The staged overlay is used if it has the right size. */
static gboolean prepare_disk(Store *store, const GenerationDisk *disk, GError **error)
{
    Chain *chain = store_chain(store, disk->target);

    if (!chain) {
        ChainPlace place = {.daemon = store->daemon, .dir = store->dir};

        chain = chain_open(&place, store_ledger(store), disk->target, ID_NIL, error);
        if (!chain)
            return FALSE;
        g_ptr_array_add(store->chains, chain);
    }
    if (!id_is_nil(chain_top(chain)) && chain_top_size(chain) != disk->size_bytes &&
        (!store_merge_stop(store, error) || !chain_drop_top(chain, error)))
        return FALSE;
    if (id_is_nil(chain_top(chain)) && !chain_lay(chain, disk->size_bytes, error))
        return FALSE;
    return chain_export(chain, error);
}

static gboolean prepare_disks(Store *store, const Generation *g, GError **error)
{
    for (guint i = 0; i < g->disks->len; i++)
        if (!prepare_disk(store, g->disks->pdata[i], error))
            return FALSE;
    return TRUE;
}

gboolean store_begin(Store *store, guint64 session, const Generation *g, GError **error)
{
    gboolean resumed = is_partial_of(store_ledger(store), g);

    if (!check_begin(store, session, g, error))
        return FALSE;
    if (resumed)
        g_clear_pointer(&store->begun, generation_free);
    else if (!store_discard(store, error))
        return FALSE;
    if (!store_ready(store, error))
        return FALSE;
    store->begun = generation_copy(g);
    if (prepare_disks(store, g, error))
        return TRUE;
    store_drop_daemon(store);
    if (!resumed)
        store_sweep(store, NULL);
    return FALSE;
}

NbdDisk *store_disk(Store *store, const char *target)
{
    Chain *chain =
        store->begun && generation_find_disk(store->begun, target) ? store_chain(store, target) : NULL;

    return chain ? chain_disk(chain) : NULL;
}

NbdDisk *store_connect(Store *store, const char *target, const char *context, GError **error)
{
    g_assert(store_disk(store, target));
    return chain_connect(store_chain(store, target), context, error);
}

void store_start_writing(Store *store)
{
    for (guint i = 0; store->begun && i < store->begun->disks->len; i++) {
        const GenerationDisk *disk = store->begun->disks->pdata[i];
        const Chain *chain = store_chain(store, disk->target);

        if (chain && !id_is_nil(chain_top(chain)))
            chain_start_top(chain);
    }
}

/* ---- making durable ---- */

static gboolean check_begun(const Store *store, guint64 session, GError **error)
{
    return check_session(store, session, error) &&
           (store->begun ||
            refuse(error, "no generation is begun: its overlays were lost with the storage daemon, "
                          "begin it again"));
}

static gboolean flush_disks(Store *store, GError **error)
{
    for (guint i = 0; i < store->begun->disks->len; i++) {
        const GenerationDisk *disk = store->begun->disks->pdata[i];

        if (!nbd_disk_flush(chain_disk(store_chain(store, disk->target)), FLUSH_MS, error))
            return FALSE;
    }
    return TRUE;
}

/* fsync the overlays, and describe those layers that the record shall name: all, or with @grown_only
 * those that were written to. */
static GPtrArray *sync_layers(Store *store, gboolean grown_only, GError **error)
{
    g_autoptr(GPtrArray) layers = ledger_layers_new();

    for (guint i = 0; i < store->begun->disks->len; i++) {
        const GenerationDisk *disk = store->begun->disks->pdata[i];
        Chain *chain = store_chain(store, disk->target);
        const LedgerLayer *below;
        guint64 file_bytes;
        gboolean grown;

        if (!chain_measure(chain, &file_bytes, &grown, error))
            return NULL;
        below = ledger_find_layer(store_ledger(store), chain_tip(chain));
        if (grown_only && !grown && below && below->size_bytes == disk->size_bytes)
            continue;
        if (!chain_sync_top(chain, error))
            return NULL;
        g_ptr_array_add(layers, ledger_layer_new(chain_top(chain), disk->target, chain_tip(chain),
                                                 disk->size_bytes, file_bytes));
    }
    return g_steal_pointer(&layers);
}

static const Extents *find_list(const StoreExtents *lists, guint n, const char *target)
{
    for (guint i = 0; i < n; i++)
        if (g_str_equal(lists[i].target, target))
            return lists[i].extents;
    return NULL;
}

static const StoreProgress *find_progress(const StoreProgress *disks, guint n, const char *target)
{
    for (guint i = 0; i < n; i++)
        if (g_str_equal(disks[i].target, target))
            return &disks[i];
    return NULL;
}

/* ---- slices ---- */

static gboolean put_progress(Store *store, GPtrArray *out, const StoreProgress *progress, GError **error)
{
    Chain *chain = store_chain(store, progress->target);
    LedgerDisk *disk =
        ledger_disk_new(progress->target, chain_top(chain), NULL, extents_bytes(progress->changed));

    g_ptr_array_add(out, disk);
    disk->extents = blob_put_extents(store->dir, progress->changed, error);
    if (disk->extents)
        disk->has = blob_put_extents(store->dir, progress->has, error);
    return disk->has != NULL;
}

static gboolean record_slice(Store *store, StorePass pass, const StoreProgress *disks, guint n,
                             GError **error)
{
    g_autoptr(GPtrArray) lists = ledger_disks_new();
    LedgerPartial partial = {
        .generation = store->begun, .since = pass.since, .guard = pass.guard, .disks = lists};
    g_autoptr(GPtrArray) layers = sync_layers(store, FALSE, error);

    if (!layers)
        return FALSE;
    stop_at("slice.after_fsync");
    for (guint i = 0; i < store->begun->disks->len; i++) {
        const GenerationDisk *disk = store->begun->disks->pdata[i];

        if (!put_progress(store, lists, find_progress(disks, n, disk->target), error))
            return FALSE;
    }
    if (!durable_sync_dir(store->dir, error) ||
        !store_append(store, ledger_record_slice(&partial, layers), error))
        return FALSE;
    stop_at("slice.after_ledger");
    return TRUE;
}

gboolean store_slice(Store *store, guint64 session, StorePass pass, const StoreProgress *disks, guint n,
                     GError **error)
{
    g_autoptr(Generation) g = NULL;

    if (!check_begun(store, session, error))
        return FALSE;
    for (guint i = 0; i < store->begun->disks->len; i++) {
        const GenerationDisk *disk = store->begun->disks->pdata[i];

        if (!find_progress(disks, n, disk->target))
            return refuse(error, "a slice says nothing about disk %s", disk->target);
    }
    g_clear_pointer(&store->begun->definition, g_free);
    if (flush_disks(store, error) && record_slice(store, pass, disks, n, error)) {
        store_forget_partial(store);
        /* The lists before this one are leftovers; a failure to remove them shows later. */
        (void)store_sweep(store, NULL);
        return TRUE;
    }
    g = generation_copy(store->begun);
    lose(store, g, error);
    return FALSE;
}

/* ---- sealing ---- */

/* Those that the former tip has are only named. */
static gboolean check_belongings(const Store *store, const Generation *g, GError **error)
{
    const Generation *tip = store_tip(store);

    for (guint i = 0; i < g->belongings->len; i++) {
        const Belonging *b = g->belongings->pdata[i];

        if (!b->packed && !(tip && belongings_has_digest(tip->belongings, b->digest)))
            return refuse(error, "generation %s names %s, and does not bring it", ID_TEXT(g->id), b->name);
    }
    return TRUE;
}

static gboolean check_seal(const Store *store, guint64 session, const Generation *g,
                           const StoreExtents *changed, guint n, GError **error)
{
    if (!check_begun(store, session, error) || !check_place(store, g, error))
        return FALSE;
    if (!same_disks(store->begun, g))
        return refuse(error, "generation %s has other disks than were begun", ID_TEXT(g->id));
    if (ledger_find_point(store_ledger(store), g->id))
        return refuse(error, "generation %s is there already", ID_TEXT(g->id));
    for (guint i = 0; i < g->disks->len; i++) {
        const GenerationDisk *disk = g->disks->pdata[i];

        if (!find_list(changed, n, disk->target))
            return refuse(error, "generation %s does not say what changed on disk %s", ID_TEXT(g->id),
                          disk->target);
    }
    return check_belongings(store, g, error);
}

static gboolean keep_belongings(const Store *store, const Generation *g, GError **error)
{
    for (guint i = 0; i < g->belongings->len; i++) {
        const Belonging *b = g->belongings->pdata[i];
        g_autoptr(GBytes) file = b->packed ? belonging_unpack(b, error) : NULL;
        g_autofree char *digest = NULL;
        const void *data;
        gsize len;

        if (!b->packed)
            continue;
        if (!file)
            return FALSE;
        data = g_bytes_get_data(file, &len);
        digest = blob_put(store->dir, BLOB_SECRET, data, len, error);
        if (!digest)
            return FALSE;
    }
    return TRUE;
}

gboolean store_keep_papers(const Store *store, LedgerPoint *point, const Generation *g, GError **error)
{
    if (g->definition) {
        point->definition =
            blob_put(store->dir, BLOB_DEFINITION, g->definition, strlen(g->definition), error);
        if (!point->definition)
            return FALSE;
    }
    g_clear_pointer(&point->generation->definition, g_free);
    return keep_belongings(store, g, error);
}

void store_clear_point(LedgerPoint *point)
{
    generation_free(point->generation);
    g_free(point->definition);
    g_clear_pointer(&point->disks, g_ptr_array_unref);
}

static const LedgerLayer *layer_for(const GPtrArray *layers, const char *target)
{
    for (guint i = 0; i < layers->len; i++) {
        const LedgerLayer *layer = layers->pdata[i];

        if (g_str_equal(layer->target, target))
            return layer;
    }
    return NULL;
}

/* Lists, definition and description of the point; a disk without a layer of its own reads from the tip's. */
static gboolean make_point(Store *store, LedgerPoint *point, const Generation *g, const GPtrArray *layers,
                           const StoreExtents *changed, guint n, GError **error)
{
    point->generation = generation_copy(g);
    point->generation->sealed_at_ms = clock_wall_ms();
    point->disks = ledger_disks_new();
    for (guint i = 0; i < g->disks->len; i++) {
        const char *target = ((const GenerationDisk *)g->disks->pdata[i])->target;
        const LedgerLayer *layer = layer_for(layers, target);
        const Extents *list = find_list(changed, n, target);
        LedgerDisk *disk = ledger_disk_new(target, layer ? layer->id : chain_tip(store_chain(store, target)),
                                           NULL, extents_bytes(list));

        g_ptr_array_add(point->disks, disk);
        disk->extents = blob_put_extents(store->dir, list, error);
        if (!disk->extents)
            return FALSE;
    }
    return store_keep_papers(store, point, g, error);
}

/* Whatever ends a reign comes before a seal of it, which is refused, or after. */
static gboolean append_seal(Store *store, json_t *record, Reign reign, GError **error)
{
    const StoreNotary *notary = &store->notary;
    gboolean ok;

    if (notary->may_seal && !notary->may_seal(notary->user, reign, error)) {
        json_decref(record);
        return FALSE;
    }
    ok = store_append(store, record, error);
    if (notary->may_seal)
        notary->sealed(notary->user);
    return ok;
}

static gboolean record_seal(Store *store, const Generation *g, const GPtrArray *layers,
                            const StoreExtents *changed, guint n, GError **error)
{
    LedgerPoint point = {0};
    gboolean ok =
        make_point(store, &point, g, layers, changed, n, error) && durable_sync_dir(store->dir, error);

    if (ok) {
        stop_at("seal.before_ledger");
        ok = append_seal(store, ledger_record_seal(store->begun->id, &point, layers), g->reign, error);
    }
    store_clear_point(&point);
    return ok;
}

/* What was written to is a link now; the rest stays staged. */
static void settle(Store *store, const GPtrArray *layers)
{
    for (guint i = 0; i < store->chains->len; i++) {
        Chain *chain = store->chains->pdata[i];
        Id top = chain_top(chain);

        for (guint k = 0; k < layers->len && !id_is_nil(top); k++) {
            if (id_equal(((const LedgerLayer *)layers->pdata[k])->id, top)) {
                chain_settle(chain);
                break;
            }
        }
    }
    g_clear_pointer(&store->begun, generation_free);
    store_forget_partial(store);
}

gboolean store_seal(Store *store, guint64 session, const Generation *g, const StoreExtents *changed, guint n,
                    GError **error)
{
    g_autoptr(GPtrArray) layers = NULL;

    if (!check_seal(store, session, g, changed, n, error))
        return FALSE;
    if (flush_disks(store, error)) {
        stop_at("seal.after_flush");
        layers = sync_layers(store, TRUE, error);
        if (layers)
            stop_at("seal.after_fsync");
    }
    if (!layers || !record_seal(store, g, layers, changed, n, error)) {
        lose(store, g, error);
        return FALSE;
    }
    stop_at("seal.after_ledger");
    settle(store, layers);
    return TRUE;
}

gboolean store_confirm(Store *store, guint64 session, Id tip, gint64 at_ms, GError **error)
{
    const Generation *own = store_tip(store);

    if (!check_session(store, session, error))
        return FALSE;
    if (!own || !id_equal(own->id, tip))
        return refuse(error, "generation %s is not the tip, so nothing is known about it", ID_TEXT(tip));
    return store_append(store, ledger_record_confirm(tip, at_ms), error);
}

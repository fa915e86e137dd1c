/* SPDX-License-Identifier: Apache-2.0 */
/* Adoption: the disks that a VM was shut down on become the tip of its copy.
 *
 * One record, and no data: either the overlays of a promotion are layers like all others from then on,
 * or the images of a VM that this store knows no promotion of become the bottom of it, where they are. Of these the uppermost
 * may be files that an earlier copy laid here, when the VM left before it ran from its original images again: they are
 * layers, too, and merged as such, or its chain would grow with each trip. */
#include "vmconnect/store/store_internal.h"

#include "vmconnect/base/clock.h"
#include "vmconnect/base/durable.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/stop.h"
#include "vmconnect/store/blob.h"
#include "vmconnect/store/layer_file.h"

#include <string.h>

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

static gboolean check_disk_images(const StoreAdopted *disk, GError **error)
{
    for (guint i = 0; i < disk->images->len; i++)
        if (!signed_image_check(disk->images->pdata[i], error))
            return FALSE;
    return disk->images->len > 0 || refuse(error, "disk %s has no image", disk->target);
}

static const StoreAdopted *find_adopted(const StoreAdopted *disks, guint n, const char *target)
{
    for (guint i = 0; i < n; i++)
        if (g_str_equal(disks[i].target, target))
            return &disks[i];
    return NULL;
}

/* Are the VM's files the chain that was given to it, no more and no less? */
static gboolean check_chain(const StoreFiles *given, const StoreAdopted *disk, GError **error)
{
    gboolean same = disk && disk->images->len == given->files->len;

    if (!disk)
        return refuse(error, "disk %s was taken out of the VM while it ran here", given->target);
    for (guint i = 0; same && i < given->files->len; i++)
        same = g_str_equal(((const SignedImage *)disk->images->pdata[i])->path, given->files->pdata[i]);
    return same ||
           refuse(error,
                  "disk %s was not shut down on the files that it was started from: a snapshot, commit "
                  "or copy was made of it meanwhile",
                  given->target);
}

static gboolean check_chains(Store *store, const StoreAdopted *disks, guint n, GError **error)
{
    g_autoptr(GPtrArray) files = store_files_of(store, store_ledger(store)->active);

    for (guint i = 0; i < files->len; i++) {
        const StoreFiles *given = files->pdata[i];

        if (!check_chain(given, find_adopted(disks, n, given->target), error))
            return FALSE;
    }
    return TRUE;
}

/* ---- overlays ---- */

static LedgerLayer *settled_overlay(const Store *store, const LedgerDisk *disk, GError **error)
{
    const LedgerLayer *known = ledger_find_layer(store_ledger(store), disk->layer);
    g_autofree char *path = layer_file_path(store->dir, known->id, known->target);
    g_auto(LayerFacts) facts = {0};

    if (!layer_file_read(path, &facts, error) || !durable_sync_file(path, error))
        return NULL;
    /* Its user may have resized it. */
    return ledger_layer_new(known->id, known->target, known->below, facts.size_bytes, facts.file_bytes);
}

/* Below its overlays the VM's images have changed in nothing but, at most, their owner: else points are not any more what
 * they were. A @branch is what is found, and the points below it are as good as that. */
static gboolean sign_image(GPtrArray *layers, const LedgerLayer *known, const SignedImage *now,
                           gboolean branch, GError **error)
{
    const Signature *then = &known->image->signature;
    LedgerLayer *layer;

    if (!branch &&
        (!file_id_equal(now->file, known->image->file) || now->signature.size_bytes != then->size_bytes ||
         now->signature.mtime_ns != then->mtime_ns)) {
        g_set_error(error, US_ERROR, US_ERROR_CORRUPT,
                    "image %s was written to while its VM only read from it", now->path);
        return FALSE;
    }
    if (!file_id_equal(now->file, known->image->file))
        return refuse(error, "image %s was replaced by another one", now->path);
    layer = ledger_layer_new(known->id, known->target, known->below, known->size_bytes, known->file_bytes);
    layer->image = signed_image_copy(now);
    g_ptr_array_add(layers, layer);
    return TRUE;
}

static gboolean sign_images(const Store *store, GPtrArray *layers, Id top, const StoreAdopted *disk,
                            gboolean branch, GError **error)
{
    const Ledger *ledger = store_ledger(store);
    guint i = 0;

    for (const LedgerLayer *l = ledger_find_layer(ledger, top); l;
         l = ledger_find_layer(ledger, l->below), i++)
        if (l->image && !sign_image(layers, l, disk->images->pdata[i], branch, error))
            return FALSE;
    return TRUE;
}

static LedgerLayer *image_of(const StoreAdopted *disk, const SignedImage *image)
{
    LedgerLayer *layer =
        ledger_layer_new(id_random(), disk->target, ID_NIL, disk->size_bytes, image->signature.size_bytes);

    layer->image = signed_image_copy(image);
    return layer;
}

static void add_new_disk(GPtrArray *layers, const StoreAdopted *disk)
{
    Id below = ID_NIL;

    for (guint i = disk->images->len; i-- > 0;) {
        LedgerLayer *layer = image_of(disk, disk->images->pdata[i]);

        layer->below = below;
        below = layer->id;
        g_ptr_array_add(layers, layer);
    }
}

static GPtrArray *settled_overlays(Store *store, const StoreAdopted *disks, guint n, gboolean branch,
                                   GError **error)
{
    const GPtrArray *active = store_ledger(store)->active;
    g_autoptr(GPtrArray) layers = ledger_layers_new();

    for (guint i = 0; i < active->len; i++) {
        const LedgerDisk *disk = active->pdata[i];
        LedgerLayer *layer = settled_overlay(store, disk, error);

        if (!layer)
            return NULL;
        g_ptr_array_add(layers, layer);
    }
    for (guint i = 0; i < active->len; i++) {
        const LedgerDisk *disk = active->pdata[i];

        if (!sign_images(store, layers, disk->layer, find_adopted(disks, n, disk->target), branch, error))
            return NULL;
    }
    /* What was attached to it while it ran here. */
    for (guint i = 0; i < n; i++)
        if (!ledger_find_disk(active, disks[i].target))
            add_new_disk(layers, &disks[i]);
    return g_steal_pointer(&layers);
}

/* ---- images ---- */

/* Its file was laid here once: by its name it is a layer of this store, of the size that it says. NULL: it is none. */
static LedgerLayer *layer_of(const Store *store, const StoreAdopted *disk, const char *path)
{
    g_autofree char *name = g_path_get_basename(path);
    g_autofree char *own = NULL;
    g_auto(LayerFacts) facts = {0};
    Id id;

    if (!layer_file_is_name(name, &id))
        return NULL;
    own = layer_file_path(store->dir, id, disk->target);
    if (!g_str_equal(path, own) || !layer_file_read(own, &facts, NULL))
        return NULL;
    return ledger_layer_new(id, disk->target, ID_NIL, facts.size_bytes, facts.file_bytes);
}

/* Below one that is an image all are: what that stands on is its own affair. */
static gboolean add_images(const Store *store, GPtrArray *layers, const StoreAdopted *disk, GError **error)
{
    guint first = layers->len;
    gboolean ours = TRUE;
    Id below = ID_NIL;

    for (guint i = 0; i < disk->images->len; i++) {
        const SignedImage *image = disk->images->pdata[i];
        LedgerLayer *layer = ours ? layer_of(store, disk, image->path) : NULL;

        ours = layer != NULL;
        g_ptr_array_insert(layers, (int)first, layer ? layer : image_of(disk, image));
        if (layer && !durable_sync_file(image->path, error))
            return FALSE;
    }
    for (guint i = first; i < layers->len; i++) {
        LedgerLayer *layer = layers->pdata[i];

        layer->below = below;
        below = layer->id;
    }
    return TRUE;
}

static GPtrArray *images(const Store *store, const StoreAdopted *disks, guint n, GError **error)
{
    g_autoptr(GPtrArray) layers = ledger_layers_new();

    for (guint i = 0; i < n; i++)
        if (!add_images(store, layers, &disks[i], error))
            return NULL;
    return g_steal_pointer(&layers);
}

/* ---- the point ---- */

/* What the VM wrote since it was promoted: what its overlay holds. If it was not, or has none: all. */
static Extents *changed_on(Store *store, const LedgerLayer *layer, GError **error)
{
    Extents *all;

    if (!id_is_nil(store_promoted(store)) && !layer->image)
        return chain_list_tip(store_chain_with(store, layer->id), error);
    all = extents_new();
    extents_add(all, 0, layer->size_bytes);
    return all;
}

static gboolean make_disks(Store *store, LedgerPoint *point, const GPtrArray *layers, GError **error)
{
    const GPtrArray *wanted = point->generation->disks;

    point->disks = ledger_disks_new();
    for (guint i = 0; i < wanted->len; i++) {
        const GenerationDisk *g = wanted->pdata[i];
        const LedgerLayer *top = ledger_top_in(layers, store_ledger(store)->active->len, g->target);
        g_autoptr(Extents) changed = NULL;
        LedgerDisk *disk;

        if (!top || top->size_bytes != g->size_bytes)
            return refuse(error, "disk %s is not what generation %s says", g->target,
                          ID_TEXT(point->generation->id));
        changed = changed_on(store, top, error);
        if (!changed)
            return FALSE;
        disk = ledger_disk_new(g->target, top->id, NULL, extents_bytes(changed));
        g_ptr_array_add(point->disks, disk);
        disk->extents = blob_put_extents(store->dir, changed, error);
        if (!disk->extents)
            return FALSE;
    }
    return TRUE;
}

static gboolean make_point(Store *store, LedgerPoint *point, const Generation *g, const GPtrArray *layers,
                           GError **error)
{
    point->generation = generation_copy(g);
    point->generation->parent = store_promoted(store);
    point->generation->since = ID_NIL;
    if (!point->generation->sealed_at_ms)
        point->generation->sealed_at_ms = clock_wall_ms();
    return store_keep_papers(store, point, g, error) && make_disks(store, point, layers, error);
}

static gboolean record(Store *store, const Generation *g, const GPtrArray *layers, gboolean branch,
                       GError **error)
{
    LedgerPoint point = {.pinned = branch, .branch = branch};
    gboolean ok = make_point(store, &point, g, layers, error) && durable_sync_dir(store->dir, error);

    if (ok) {
        stop_at("adopt.before_ledger");
        ok = store_append(store, ledger_record_adopted(&point, layers), error);
    }
    store_clear_point(&point);
    return ok;
}

static gboolean adopt(Store *store, const Generation *g, const StoreAdopted *disks, guint n, gboolean branch,
                      GError **error)
{
    g_autoptr(GPtrArray) layers = NULL;

    if (id_is_nil(store_promoted(store)))
        layers = images(store, disks, n, error);
    else
        layers = settled_overlays(store, disks, n, branch, error);
    /* To list what they hold. */
    return layers && (id_is_nil(store_promoted(store)) || store_ready(store, error)) &&
           record(store, g, layers, branch, error);
}

static gboolean check_images(const StoreAdopted *disks, guint n, GError **error)
{
    for (guint i = 0; i < n; i++)
        if (!check_disk_images(&disks[i], error))
            return FALSE;
    return TRUE;
}

/* Nothing is sealed by a promoted copy, and what was adopted stays: until it is released, or for as long as points of
 * its VM are kept. */
gboolean store_has_adopted(const Store *store, Id generation)
{
    return id_is_nil(store_promoted(store)) && ledger_find_point(store_ledger(store), generation);
}

/* Nothing was sealed since the promotion, and nothing differs from it. */
static gboolean is_promoted(const Store *store, const Generation *g)
{
    return id_equal(store_promoted(store), g->id);
}

static gboolean check_sizes(const Generation *g, const StoreAdopted *disks, guint n, GError **error)
{
    for (guint i = 0; i < g->disks->len; i++) {
        const GenerationDisk *disk = g->disks->pdata[i];
        const StoreAdopted *adopted = find_adopted(disks, n, disk->target);

        if (!adopted || adopted->size_bytes != disk->size_bytes)
            return refuse(error, "disk %s is not what generation %s says", disk->target, ID_TEXT(g->id));
    }
    return TRUE;
}

/* A file that older points read from: what was written to it since is not what they hold. */
static gboolean check_new_disks(const Store *store, const StoreAdopted *disks, guint n, GError **error)
{
    const Ledger *ledger = store_ledger(store);

    for (guint i = 0; i < n; i++)
        for (guint k = 0; !ledger_find_disk(ledger->active, disks[i].target) && k < disks[i].images->len;
             k++) {
            const SignedImage *image = disks[i].images->pdata[k];

            if (ledger_find_image(ledger, image))
                return refuse(error,
                              "disk %s was attached while it ran here, and %s is one of the files of this "
                              "copy, which points read, or have read: attach a copy of it (`qemu-img "
                              "convert`)",
                              disks[i].target, image->path);
        }
    return TRUE;
}

gboolean store_may_adopt(Store *store, const Generation *g, const StoreAdopted *disks, guint n,
                         GError **error)
{
    const Ledger *ledger = store_ledger(store);

    if (store_has_adopted(store, g->id) || is_promoted(store, g))
        return TRUE;
    if (id_is_nil(ledger->promoted) && (ledger->points->len || ledger->layers->len))
        return refuse(error, "a copy of this VM from before is in %s: move it away, or remove it",
                      store->dir);
    if (g->reign.number <= ledger->reign.number)
        return refuse(error,
                      "reign %" G_GUINT64_FORMAT " is over: this copy follows reign %" G_GUINT64_FORMAT,
                      g->reign.number, ledger->reign.number);
    return check_sizes(g, disks, n, error) &&
           (id_is_nil(ledger->promoted) ||
            (check_chains(store, disks, n, error) && check_new_disks(store, disks, n, error)));
}

gboolean store_adopt(Store *store, const Generation *g, const StoreAdopted *disks, guint n, gboolean branch,
                     GError **error)
{
    if (store_has_adopted(store, g->id))
        return TRUE;
    if (!store_may_adopt(store, g, disks, n, error) || !check_images(disks, n, error))
        return FALSE;
    if (is_promoted(store, g))
        return store_demote(store, error);
    if (!adopt(store, g, disks, n, branch, error))
        return FALSE;
    stop_at("adopt.after_ledger");
    /* A merge that was under way is over. */
    store_merge_close_bases(store);
    store_drop_daemon(store);
    return store_recover(store, error);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/store/chain.h"

#include "vmconnect/base/durable.h"
#include "vmconnect/base/error.h"
#include "vmconnect/image/export.h"
#include "vmconnect/image/node.h"
#include "vmconnect/image/qcow2.h"
#include "vmconnect/store/layer_file.h"

#include <errno.h>
#include <glib/gstdio.h>

#define CONNECT_MS 10000
#define HEADER_MS 10000
#define LIST_MS 60000
#define LIST_EXPORT "list"

typedef struct {
    Id layer;
    char *file; /* ledger_layer_file() */
    char *node;
} Link;

struct Chain {
    ChainPlace place;
    char *target;
    GPtrArray *links; /* of Link *, bottom to top */
    Link *top;        /* or NULL */
    guint64 top_size;
    guint64 laid_bytes; /* length of the top's file when it was laid; 0: was not laid by us */
    char *export;       /* its name, or NULL; on the top, or on the uppermost link after chain_settle() */
    guint64 export_size;
    NbdDisk *disk;
};

static Link *link_new(Id layer, char *file, char *node)
{
    Link *link = g_new0(Link, 1);

    link->layer = layer;
    link->file = file;
    link->node = node;
    return link;
}

static void link_free(gpointer p)
{
    Link *link = p;

    if (!link)
        return;
    g_free(link->file);
    g_free(link->node);
    g_free(link);
}

static Link *uppermost(const Chain *chain)
{
    return chain->links->len ? chain->links->pdata[chain->links->len - 1] : NULL;
}

static char *path_of(const Chain *chain, Id layer)
{
    return layer_file_path(chain->place.dir, layer, chain->target);
}

/* ---- files ---- */

static gboolean look_at_file(const char *path, const LedgerLayer *layer, LayerFacts *facts, GError **error)
{
    if (!layer_file_read(path, facts, error))
        return FALSE;
    if (facts->file_bytes >= layer->file_bytes && facts->size_bytes >= layer->size_bytes)
        return TRUE;
    g_set_error(error, US_ERROR, US_ERROR_CORRUPT,
                "image %s is cut short: %" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT " bytes", path,
                facts->file_bytes, layer->file_bytes);
    return FALSE;
}

/* One that is missing is as bad as one that was written to: nothing of what lies on it can be read. */
static gboolean check_image(const SignedImage *image, GError **error)
{
    g_autoptr(GError) why = NULL;

    if (signed_image_check_data(image, &why))
        return TRUE;
    if (g_error_matches(why, US_ERROR, US_ERROR_NOT_FOUND))
        why->code = US_ERROR_CORRUPT;
    g_propagate_error(error, g_steal_pointer(&why));
    return FALSE;
}

static gboolean check_file(const Ledger *ledger, const char *dir, const LedgerLayer *layer, gboolean correct,
                           GError **error)
{
    g_autofree char *path = layer_file_path(dir, layer->id, layer->target);
    g_autofree char *below = NULL;
    g_auto(LayerFacts) facts = {0};

    if (layer->image)
        return check_image(layer->image, error);
    if (!look_at_file(path, layer, &facts, error))
        return FALSE;
    if (!id_is_nil(layer->below))
        below = ledger_layer_file(ledger_find_layer(ledger, layer->below));
    return !correct || g_strcmp0(facts.backing, below) == 0 ||
           qcow2_set_backing(path, below, HEADER_MS, error);
}

static gboolean check_files(const Ledger *ledger, const char *dir, Id layer, gboolean correct, GError **error)
{
    for (const LedgerLayer *l; (l = ledger_find_layer(ledger, layer)); layer = l->below)
        if (!check_file(ledger, dir, l, correct, error))
            return FALSE;
    return TRUE;
}

gboolean chain_check_files(const Ledger *ledger, const char *dir, Id layer, GError **error)
{
    return check_files(ledger, dir, layer, TRUE, error);
}

gboolean chain_check_open_files(const Ledger *ledger, const char *dir, Id layer, GError **error)
{
    return check_files(ledger, dir, layer, FALSE, error);
}

/* ---- opening ---- */

static gboolean open_link(Chain *chain, const LedgerLayer *layer, GError **error)
{
    const Link *below = uppermost(chain);
    g_autofree char *file = ledger_layer_file(layer);
    g_autofree char *path = g_canonicalize_filename(file, chain->place.dir);
    NodeSpec spec = {.path = path,
                     .format = layer->image ? layer->image->format : NULL,
                     .backing = below ? below->node : NULL,
                     .read_only = TRUE};
    char *node;

    if (!node_open(chain->place.daemon, &spec, &node, error))
        return FALSE;
    g_ptr_array_add(chain->links, link_new(layer->id, g_steal_pointer(&file), node));
    return TRUE;
}

Chain *chain_open(const ChainPlace *place, const Ledger *ledger, const char *target, Id layer, GError **error)
{
    g_autoptr(GArray) path = g_array_new(FALSE, FALSE, sizeof(Id));
    g_autoptr(Chain) chain = g_new0(Chain, 1);

    chain->place = *place;
    chain->target = g_strdup(target);
    chain->links = g_ptr_array_new_with_free_func(link_free);
    for (const LedgerLayer *l; (l = ledger_find_layer(ledger, layer)); layer = l->below)
        g_array_prepend_val(path, l->id);
    for (guint i = 0; i < path->len; i++) {
        if (!open_link(chain, ledger_find_layer(ledger, g_array_index(path, Id, i)), error)) {
            chain_close(chain, NULL);
            return NULL;
        }
    }
    return g_steal_pointer(&chain);
}

void chain_free(Chain *chain)
{
    if (!chain)
        return;
    nbd_disk_close(chain->disk);
    link_free(chain->top);
    g_ptr_array_unref(chain->links);
    g_free(chain->export);
    g_free(chain->target);
    g_free(chain);
}

gboolean chain_close(Chain *chain, GError **error)
{
    if (!chain_drop_top(chain, error) || !chain_unexport(chain, error))
        return FALSE;
    while (chain->links->len) {
        if (!node_close(chain->place.daemon, uppermost(chain)->node, error))
            return FALSE;
        g_ptr_array_set_size(chain->links, (int)chain->links->len - 1);
    }
    return TRUE;
}

/* ---- what it is ---- */

const char *chain_target(const Chain *chain)
{
    return chain->target;
}

Id chain_tip(const Chain *chain)
{
    const Link *link = uppermost(chain);

    return link ? link->layer : ID_NIL;
}

Id chain_top(const Chain *chain)
{
    return chain->top ? chain->top->layer : ID_NIL;
}

guint64 chain_top_size(const Chain *chain)
{
    return chain->top ? chain->top_size : 0;
}

gboolean chain_is(const Chain *chain, const Ledger *ledger, Id layer)
{
    guint i = chain->links->len;

    for (const LedgerLayer *l; (l = ledger_find_layer(ledger, layer)); layer = l->below)
        if (i == 0 || !id_equal(((const Link *)chain->links->pdata[--i])->layer, l->id))
            return FALSE;
    return i == 0;
}

/* ---- the top ---- */

static gboolean file_bytes(const Chain *chain, Id layer, guint64 *ret_bytes, GError **error)
{
    g_autofree char *path = path_of(chain, layer);
    GStatBuf st;

    if (g_stat(path, &st) != 0)
        return us_error_errno(error, errno, "image %s", path);
    *ret_bytes = (guint64)st.st_size;
    return TRUE;
}

/* An export keeps the size it began with, so another size needs another export. */
static gboolean make_overlay(Chain *chain, Id layer, guint64 size_bytes, char **ret_node, GError **error)
{
    const Link *below = uppermost(chain);
    g_autofree char *path = path_of(chain, layer);
    NodeNewImage image = {.path = path, .size_bytes = size_bytes, .backing_name = below ? below->file : NULL};
    g_autofree char *node = NULL;

    if (chain->export && chain->export_size != size_bytes && !chain_unexport(chain, error))
        return FALSE;
    if (!node_create(chain->place.daemon, &image, &node, error))
        return FALSE;
    if (below && !node_snapshot(chain->place.daemon, below->node, node, error)) {
        node_close(chain->place.daemon, node, NULL);
        g_unlink(path);
        return FALSE;
    }
    *ret_node = g_steal_pointer(&node);
    return TRUE;
}

gboolean chain_lay(Chain *chain, guint64 size_bytes, GError **error)
{
    Id layer = id_random();
    guint64 laid_bytes = 0;
    char *node;

    g_assert(!chain->top);
    if (!make_overlay(chain, layer, size_bytes, &node, error))
        return FALSE;
    chain->top = link_new(layer, layer_file_name(layer, chain->target), node);
    chain->top_size = size_bytes;
    if (!file_bytes(chain, layer, &laid_bytes, error))
        return FALSE;
    chain->laid_bytes = laid_bytes;
    return TRUE;
}

gboolean chain_resume(Chain *chain, Id layer, guint64 size_bytes, GError **error)
{
    const Link *below = uppermost(chain);
    g_autofree char *path = path_of(chain, layer);
    NodeSpec spec = {.path = path, .backing = below ? below->node : NULL};
    char *node;

    g_assert(!chain->top);
    if (!node_open(chain->place.daemon, &spec, &node, error))
        return FALSE;
    chain->top = link_new(layer, layer_file_name(layer, chain->target), node);
    chain->top_size = size_bytes;
    chain->laid_bytes = 0;
    return TRUE;
}

gboolean chain_drop_top(Chain *chain, GError **error)
{
    if (!chain->top)
        return TRUE;
    if (!chain_unexport(chain, error) || !node_close(chain->place.daemon, chain->top->node, error))
        return FALSE;
    g_clear_pointer(&chain->top, link_free);
    return TRUE;
}

void chain_settle(Chain *chain)
{
    g_assert(chain->top);
    g_ptr_array_add(chain->links, g_steal_pointer(&chain->top));
}

NbdDisk *chain_connect(const Chain *chain, const char *context, GError **error)
{
    NbdSpec spec = {.socket_path = storage_daemon_nbd_path(chain->place.daemon),
                    .export_name = chain->export,
                    .disk = chain->target,
                    .context = context,
                    .timeout_ms = CONNECT_MS};

    g_assert(chain->export);
    return nbd_disk_open(&spec, error);
}

gboolean chain_export(Chain *chain, GError **error)
{
    ExportSpec offer = {.writable = TRUE, .allocation_depth = TRUE};

    g_assert(chain->top);
    if (chain->disk)
        return TRUE;
    if (!chain->export) {
        /* Named after the layer: two chains may bear the same target. */
        g_autofree char *name = g_strdup(ID_TEXT(chain->top->layer));

        offer.name = name;
        offer.node = chain->top->node;
        if (!export_add(chain->place.daemon, &offer, error))
            return FALSE;
        chain->export = g_steal_pointer(&name);
        chain->export_size = chain->top_size;
    }
    chain->disk = chain_connect(chain, NULL, error);
    return chain->disk != NULL;
}

gboolean chain_unexport(Chain *chain, GError **error)
{
    g_clear_pointer(&chain->disk, nbd_disk_close);
    if (chain->export && !export_remove(chain->place.daemon, chain->export, error))
        return FALSE;
    g_clear_pointer(&chain->export, g_free);
    return TRUE;
}

NbdDisk *chain_disk(Chain *chain)
{
    return chain->disk;
}

static gboolean list_local(NbdDisk *disk, guint64 size_bytes, Extents *local, GError **error)
{
    g_autoptr(Extents) all = extents_new();

    extents_add(all, 0, size_bytes);
    return nbd_disk_list_local(disk, all, local, LIST_MS, error);
}

Extents *chain_list_tip(Chain *chain, GError **error)
{
    const Link *link = uppermost(chain);
    ExportSpec offer = {.name = LIST_EXPORT, .node = link->node, .allocation_depth = TRUE};
    NbdSpec spec = {.socket_path = storage_daemon_nbd_path(chain->place.daemon),
                    .export_name = LIST_EXPORT,
                    .disk = chain->target,
                    .context = NBD_CONTEXT_DEPTH,
                    .timeout_ms = CONNECT_MS};
    g_autoptr(Extents) local = extents_new();
    NbdDisk *disk;
    gboolean ok;

    if (!export_add(chain->place.daemon, &offer, error))
        return NULL;
    disk = nbd_disk_open(&spec, error);
    ok = disk && list_local(disk, nbd_disk_size(disk), local, error);
    nbd_disk_close(disk);
    return export_remove(chain->place.daemon, LIST_EXPORT, ok ? error : NULL) && ok ? g_steal_pointer(&local)
                                                                                    : NULL;
}

gboolean chain_measure(const Chain *chain, guint64 *ret_file_bytes, gboolean *ret_grown, GError **error)
{
    g_assert(chain->top);
    if (!file_bytes(chain, chain->top->layer, ret_file_bytes, error))
        return FALSE;
    /* A bottom is never empty: there is nothing below that could be read instead. */
    *ret_grown = chain->links->len == 0 || *ret_file_bytes != chain->laid_bytes;
    return TRUE;
}

gboolean chain_sync_top(const Chain *chain, GError **error)
{
    g_autofree char *path = path_of(chain, chain->top->layer);

    return durable_sync_file(path, error);
}

void chain_start_top(const Chain *chain)
{
    g_autofree char *path = path_of(chain, chain->top->layer);

    durable_start(path);
}

/* ---- merging ---- */

static guint index_of(const Chain *chain, Id layer)
{
    for (guint i = 0; i < chain->links->len; i++)
        if (id_equal(((const Link *)chain->links->pdata[i])->layer, layer))
            return i;
    g_assert_not_reached();
}

Commit *chain_commit(Chain *chain, const GArray *layers, GError **error)
{
    guint base = index_of(chain, g_array_index(layers, Id, 0));
    guint top = base + layers->len - 1;
    CommitSpec spec = {0};

    g_assert(layers->len >= 2 && chain->top && top < chain->links->len);
    spec.root = chain->top->node;
    spec.top = ((const Link *)chain->links->pdata[top])->node;
    spec.base = ((const Link *)chain->links->pdata[base])->node;
    spec.backing_name = ((const Link *)chain->links->pdata[base])->file;
    return commit_begin(chain->place.daemon, &spec, error);
}

gboolean chain_merged(Chain *chain, const GArray *layers, GError **error)
{
    guint base = index_of(chain, g_array_index(layers, Id, 0));

    for (guint i = base + layers->len - 1; i > base; i--) {
        if (!node_close(chain->place.daemon, ((const Link *)chain->links->pdata[i])->node, error))
            return FALSE;
        g_ptr_array_remove_index(chain->links, i);
    }
    return TRUE;
}

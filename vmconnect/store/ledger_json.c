/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/store/ledger_internal.h"

#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"
#include "vmconnect/store/layer_file.h"

#include <string.h>

/* A SHA-256 as blob.h writes it: it becomes a file name. */
#define DIGEST_LEN 64

/* The same rule as in generation.h: it becomes a file name too. */
#define MAX_TARGET_LEN 32

static gboolean bad(GError **error, const char *what)
{
    g_set_error(error, US_ERROR, US_ERROR_USAGE, "%s", what);
    return FALSE;
}

static void layer_free(gpointer p)
{
    LedgerLayer *layer = p;

    g_free(layer->target);
    signed_image_free(layer->image);
    g_free(layer);
}

static void disk_free(gpointer p)
{
    LedgerDisk *disk = p;

    g_free(disk->target);
    g_free(disk->extents);
    g_free(disk->has);
    g_free(disk);
}

static void merge_disk_free(gpointer p)
{
    LedgerMergeDisk *disk = p;

    g_free(disk->target);
    g_clear_pointer(&disk->layers, g_array_unref);
    g_clear_pointer(&disk->dropped, g_array_unref);
    g_free(disk);
}

void ledger_point_free(LedgerPoint *point)
{
    if (!point)
        return;
    generation_free(point->generation);
    g_free(point->definition);
    g_clear_pointer(&point->disks, g_ptr_array_unref);
    g_free(point);
}

void ledger_partial_free(LedgerPartial *partial)
{
    if (!partial)
        return;
    generation_free(partial->generation);
    g_clear_pointer(&partial->disks, g_ptr_array_unref);
    g_free(partial);
}

void ledger_merge_free(LedgerMerge *merge)
{
    if (!merge)
        return;
    g_clear_pointer(&merge->disks, g_ptr_array_unref);
    g_free(merge);
}

LedgerLayer *ledger_layer_new(Id id, const char *target, Id below, guint64 size_bytes, guint64 file_bytes)
{
    LedgerLayer *layer = g_new0(LedgerLayer, 1);

    layer->id = id;
    layer->target = g_strdup(target);
    layer->below = below;
    layer->size_bytes = size_bytes;
    layer->file_bytes = file_bytes;
    return layer;
}

GPtrArray *ledger_layers_new(void)
{
    return g_ptr_array_new_with_free_func(layer_free);
}

char *ledger_layer_file(const LedgerLayer *layer)
{
    return layer->image ? g_strdup(layer->image->path) : layer_file_name(layer->id, layer->target);
}

LedgerDisk *ledger_disk_new(const char *target, Id layer, const char *extents, guint64 changed_bytes)
{
    LedgerDisk *disk = g_new0(LedgerDisk, 1);

    disk->target = g_strdup(target);
    disk->layer = layer;
    disk->extents = g_strdup(extents);
    disk->changed_bytes = changed_bytes;
    return disk;
}

GPtrArray *ledger_disks_new(void)
{
    return g_ptr_array_new_with_free_func(disk_free);
}

GPtrArray *ledger_merge_disks_new(void)
{
    return g_ptr_array_new_with_free_func(merge_disk_free);
}

static gboolean is_target(const char *text)
{
    gsize len = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-");

    return len > 0 && len <= MAX_TARGET_LEN && text[len] == '\0';
}

/* A digest, or null: *@ret_text is then NULL; else borrowed from @doc. */
static gboolean read_digest(const json_t *doc, const char **ret_text, GError **error)
{
    const char *text = json_string_value(doc);

    *ret_text = text;
    if (json_is_null(doc) ||
        (text && strlen(text) == DIGEST_LEN && strspn(text, "0123456789abcdef") == DIGEST_LEN))
        return TRUE;
    return bad(error, "a digest is malformed");
}

json_t *ledger_id_to_json(Id id)
{
    return id_is_nil(id) ? json_null() : json_string(ID_TEXT(id));
}

gboolean ledger_id_from_json(const json_t *doc, Id *ret_id, GError **error)
{
    if (json_is_null(doc)) {
        *ret_id = ID_NIL;
        return TRUE;
    }
    if (!json_is_string(doc))
        return bad(error, "an id is a string or null");
    return id_parse(json_string_value(doc), ret_id, error);
}

json_t *ledger_ids_to_json(const GArray *ids)
{
    json_t *list = json_array();

    for (guint i = 0; i < ids->len; i++)
        json_array_append_new(list, ledger_id_to_json(g_array_index(ids, Id, i)));
    return list;
}

GArray *ledger_ids_from_json(const json_t *doc, GError **error)
{
    g_autoptr(GArray) ids = g_array_new(FALSE, FALSE, sizeof(Id));

    if (!json_is_array(doc)) {
        bad(error, "ids are a list");
        return NULL;
    }
    for (gsize i = 0; i < json_array_size(doc); i++) {
        Id id;

        if (!ledger_id_from_json(json_array_get(doc, i), &id, error))
            return NULL;
        g_array_append_val(ids, id);
    }
    return g_steal_pointer(&ids);
}

/* Read a JSON list item by item with @read into @list (whose items @read makes). */
static GPtrArray *read_list(const json_t *doc, GPtrArray *list, gpointer (*read)(const json_t *, GError **),
                            GError **error)
{
    g_autoptr(GPtrArray) out = list;

    if (!json_is_array(doc)) {
        bad(error, "a list is expected");
        return NULL;
    }
    for (gsize i = 0; i < json_array_size(doc); i++) {
        gpointer item = read(json_array_get(doc, i), error);

        if (!item)
            return NULL;
        g_ptr_array_add(out, item);
    }
    return g_steal_pointer(&out);
}

static json_t *layer_to_json(const LedgerLayer *l)
{
    json_t *doc = json_pack("{s:s, s:s, s:o, s:I, s:I}", "layer", ID_TEXT(l->id), "target", l->target,
                            "below", ledger_id_to_json(l->below), "size_bytes", (json_int_t)l->size_bytes,
                            "file_bytes", (json_int_t)l->file_bytes);

    if (l->image)
        json_object_set_new(doc, "image", signed_image_to_json(l->image));
    return doc;
}

json_t *ledger_layers_to_json(const GPtrArray *layers)
{
    json_t *list = json_array();

    for (guint i = 0; i < layers->len; i++)
        json_array_append_new(list, layer_to_json(layers->pdata[i]));
    return list;
}

static gpointer read_layer(const json_t *doc, GError **error)
{
    const char *id_text, *target;
    json_t *below_doc, *image_doc = NULL;
    SignedImage *image = NULL;
    json_int_t size, file;
    LedgerLayer *layer;
    Id id, below;

    if (!json_read(doc, "layer", error, "{s:s, s:s, s:o, s:I, s:I, s?o}", "layer", &id_text, "target",
                   &target, "below", &below_doc, "size_bytes", &size, "file_bytes", &file, "image",
                   &image_doc) ||
        !id_parse(id_text, &id, error) || !ledger_id_from_json(below_doc, &below, error))
        return NULL;
    if (id_is_nil(id) || !is_target(target) || size < 0 || file < 0) {
        bad(error, "a layer is named or sized wrongly");
        return NULL;
    }
    if (image_doc && !(image = signed_image_from_json(image_doc, error)))
        return NULL;
    layer = ledger_layer_new(id, target, below, (guint64)size, (guint64)file);
    layer->image = image;
    return layer;
}

GPtrArray *ledger_layers_from_json(const json_t *doc, GError **error)
{
    return read_list(doc, ledger_layers_new(), read_layer, error);
}

static json_t *disk_to_json(const LedgerDisk *disk)
{
    json_t *doc =
        json_pack("{s:s, s:o, s:s?, s:I}", "target", disk->target, "layer", ledger_id_to_json(disk->layer),
                  "extents", disk->extents, "changed_bytes", (json_int_t)disk->changed_bytes);

    if (disk->has)
        json_object_set_new(doc, "has", json_string(disk->has));
    return doc;
}

json_t *ledger_disks_to_json(const GPtrArray *disks)
{
    json_t *list = json_array();

    for (guint i = 0; i < disks->len; i++)
        json_array_append_new(list, disk_to_json(disks->pdata[i]));
    return list;
}

static gpointer read_disk(const json_t *doc, GError **error)
{
    json_t *layer_doc, *extents_doc, *has_doc = NULL;
    const char *target, *extents;
    const char *has = NULL;
    json_int_t changed;
    LedgerDisk *disk;
    Id layer;

    if (!json_read(doc, "disk", error, "{s:s, s:o, s:o, s:I, s?o}", "target", &target, "layer", &layer_doc,
                   "extents", &extents_doc, "changed_bytes", &changed, "has", &has_doc) ||
        !ledger_id_from_json(layer_doc, &layer, error) || !read_digest(extents_doc, &extents, error) ||
        (has_doc && !read_digest(has_doc, &has, error)))
        return NULL;
    if (!is_target(target) || changed < 0) {
        bad(error, "a disk is named or sized wrongly");
        return NULL;
    }
    disk = ledger_disk_new(target, layer, extents, (guint64)changed);
    disk->has = g_strdup(has);
    return disk;
}

GPtrArray *ledger_disks_from_json(const json_t *doc, GError **error)
{
    return read_list(doc, ledger_disks_new(), read_disk, error);
}

json_t *ledger_point_to_json(const LedgerPoint *point)
{
    json_t *doc =
        json_pack("{s:o, s:s?, s:o, s:b}", "generation", generation_to_json(point->generation), "definition",
                  point->definition, "disks", ledger_disks_to_json(point->disks), "pinned", point->pinned);

    if (point->branch)
        json_object_set_new(doc, "branch", json_true());
    return doc;
}

/* What is in its definition and belongings never stands in a ledger. */
static Generation *read_generation(const json_t *doc, GError **error)
{
    g_autoptr(Generation) g = generation_from_json(doc, error);

    if (!g)
        return NULL;
    if (g->definition || id_is_nil(g->id)) {
        bad(error, "a generation has no id, or carries its definition");
        return NULL;
    }
    for (guint i = 0; i < g->belongings->len; i++) {
        if (((const Belonging *)g->belongings->pdata[i])->packed) {
            bad(error, "a generation carries its belongings");
            return NULL;
        }
    }
    return g_steal_pointer(&g);
}

LedgerPoint *ledger_point_from_json(const json_t *doc, GError **error)
{
    g_autoptr(LedgerPoint) point = g_new0(LedgerPoint, 1);
    json_t *generation, *definition_doc, *disks;
    const char *definition;
    int pinned, branch = FALSE;

    if (!json_read(doc, "point", error, "{s:o, s:o, s:o, s:b, s?b}", "generation", &generation, "definition",
                   &definition_doc, "disks", &disks, "pinned", &pinned, "branch", &branch) ||
        !read_digest(definition_doc, &definition, error))
        return NULL;
    point->definition = g_strdup(definition);
    point->pinned = pinned;
    point->branch = branch;
    point->generation = read_generation(generation, error);
    if (!point->generation)
        return NULL;
    point->disks = ledger_disks_from_json(disks, error);
    return point->disks ? g_steal_pointer(&point) : NULL;
}

json_t *ledger_partial_to_json(const LedgerPartial *partial)
{
    return json_pack("{s:o, s:o, s:o, s:o}", "generation", generation_to_json(partial->generation), "since",
                     ledger_id_to_json(partial->since), "guard", ledger_id_to_json(partial->guard), "disks",
                     ledger_disks_to_json(partial->disks));
}

LedgerPartial *ledger_partial_from_json(const json_t *doc, GError **error)
{
    g_autoptr(LedgerPartial) partial = g_new0(LedgerPartial, 1);
    json_t *generation, *since, *guard, *disks;

    if (!json_read(doc, "slice", error, "{s:o, s:o, s:o, s:o}", "generation", &generation, "since", &since,
                   "guard", &guard, "disks", &disks) ||
        !ledger_id_from_json(since, &partial->since, error) ||
        !ledger_id_from_json(guard, &partial->guard, error))
        return NULL;
    partial->generation = read_generation(generation, error);
    if (!partial->generation)
        return NULL;
    partial->disks = ledger_disks_from_json(disks, error);
    return partial->disks ? g_steal_pointer(&partial) : NULL;
}

json_t *ledger_merge_to_json(const LedgerMerge *merge)
{
    json_t *disks = json_array();

    for (guint i = 0; i < merge->disks->len; i++) {
        const LedgerMergeDisk *d = merge->disks->pdata[i];

        json_array_append_new(disks, json_pack("{s:s, s:o, s:o}", "target", d->target, "layers",
                                               ledger_ids_to_json(d->layers), "dropped",
                                               ledger_ids_to_json(d->dropped)));
    }
    return json_pack("{s:s, s:s, s:o}", "state", ledger_kind_name(merge->state), "survivor",
                     ID_TEXT(merge->survivor), "disks", disks);
}

static gpointer read_merge_disk(const json_t *doc, GError **error)
{
    LedgerMergeDisk *disk;
    json_t *layers, *dropped;
    const char *target;

    if (!json_read(doc, "disk of a merge", error, "{s:s, s:o, s:o}", "target", &target, "layers", &layers,
                   "dropped", &dropped))
        return NULL;
    if (!is_target(target)) {
        bad(error, "a disk of a merge is named wrongly");
        return NULL;
    }
    disk = g_new0(LedgerMergeDisk, 1);
    disk->target = g_strdup(target);
    disk->layers = ledger_ids_from_json(layers, error);
    if (disk->layers)
        disk->dropped = ledger_ids_from_json(dropped, error);
    if (!disk->dropped)
        g_clear_pointer(&disk, merge_disk_free);
    return disk;
}

static gboolean merge_state(const char *name, LedgerKind *ret_state)
{
    for (LedgerKind k = LEDGER_WITHDRAWN; k <= LEDGER_SWITCHED; k++) {
        if (g_str_equal(name, ledger_kind_name(k))) {
            *ret_state = k;
            return TRUE;
        }
    }
    return FALSE;
}

LedgerMerge *ledger_merge_from_json(const json_t *doc, GError **error)
{
    g_autoptr(LedgerMerge) merge = g_new0(LedgerMerge, 1);
    const char *state, *survivor;
    json_t *disks;

    if (!json_read(doc, "merge", error, "{s:s, s:s, s:o}", "state", &state, "survivor", &survivor, "disks",
                   &disks) ||
        !id_parse(survivor, &merge->survivor, error))
        return NULL;
    if (!merge_state(state, &merge->state)) {
        bad(error, "a merge is in no state that there is");
        return NULL;
    }
    merge->disks = read_list(disks, ledger_merge_disks_new(), read_merge_disk, error);
    return merge->disks ? g_steal_pointer(&merge) : NULL;
}

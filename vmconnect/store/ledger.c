/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/store/ledger.h"

#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"
#include "vmconnect/store/ledger_internal.h"

typedef gboolean (*Apply)(Ledger *ledger, const json_t *record, GError **error);

static const struct {
    const char *name;
    Apply apply;
} KINDS[] = {
#define X(kind, name, meaning) [LEDGER_##kind] = {#name, ledger_apply_##name},
    LEDGER_RECORDS(X)
#undef X
};

const char *ledger_kind_name(LedgerKind kind)
{
    g_assert(kind < G_N_ELEMENTS(KINDS));
    return KINDS[kind].name;
}

gboolean ledger_impossible(GError **error, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    if (error)
        *error = g_error_new_valist(US_ERROR, US_ERROR_CORRUPT, format, args);
    va_end(args);
    return FALSE;
}

/* ---- the model ---- */

Ledger *ledger_new(Id vm)
{
    Ledger *ledger = g_new0(Ledger, 1);

    ledger->vm = vm;
    ledger->format = LEDGER_FORMAT;
    ledger->points = g_ptr_array_new_with_free_func((GDestroyNotify)ledger_point_free);
    ledger->layers = ledger_layers_new();
    ledger->past = g_array_new(FALSE, FALSE, sizeof(Id));
    ledger->active = ledger_disks_new();
    return ledger;
}

void ledger_free(Ledger *ledger)
{
    if (!ledger)
        return;
    g_clear_pointer(&ledger->points, g_ptr_array_unref);
    g_clear_pointer(&ledger->layers, g_ptr_array_unref);
    g_clear_pointer(&ledger->past, g_array_unref);
    g_clear_pointer(&ledger->active, g_ptr_array_unref);
    ledger_partial_free(ledger->partial);
    ledger_merge_free(ledger->merge);
    g_free(ledger);
}

static const LedgerPoint *point_at(const Ledger *ledger, guint index)
{
    return ledger->points->pdata[index];
}

const LedgerPoint *ledger_tip(const Ledger *ledger)
{
    return ledger->points->len ? point_at(ledger, ledger->points->len - 1) : NULL;
}

int ledger_find_index(const Ledger *ledger, Id generation)
{
    for (guint i = 0; i < ledger->points->len; i++)
        if (id_equal(point_at(ledger, i)->generation->id, generation))
            return (int)i;
    return -1;
}

const LedgerPoint *ledger_find_point(const Ledger *ledger, Id generation)
{
    int i = ledger_find_index(ledger, generation);

    return i < 0 ? NULL : point_at(ledger, (guint)i);
}

LedgerLayer *ledger_find_in(const GPtrArray *layers, Id id)
{
    for (guint i = 0; i < layers->len; i++) {
        LedgerLayer *layer = layers->pdata[i];

        if (id_equal(layer->id, id))
            return layer;
    }
    return NULL;
}

const LedgerLayer *ledger_find_layer(const Ledger *ledger, Id layer)
{
    return ledger_find_in(ledger->layers, layer);
}

const LedgerDisk *ledger_find_disk(const GPtrArray *disks, const char *target)
{
    for (guint i = 0; i < disks->len; i++) {
        const LedgerDisk *disk = disks->pdata[i];

        if (g_str_equal(disk->target, target))
            return disk;
    }
    return NULL;
}

Id ledger_layer_of(const LedgerPoint *point, const char *target)
{
    const LedgerDisk *disk = point ? ledger_find_disk(point->disks, target) : NULL;

    return disk ? disk->layer : ID_NIL;
}

gboolean ledger_is_unsealed(const Ledger *ledger, Id layer)
{
    const GPtrArray *disks = ledger->partial ? ledger->partial->disks : NULL;

    for (guint i = 0; disks && i < disks->len; i++)
        if (id_equal(((const LedgerDisk *)disks->pdata[i])->layer, layer))
            return TRUE;
    return FALSE;
}

static gboolean reads(const Ledger *ledger, const GPtrArray *disks, Id layer)
{
    for (guint i = 0; i < disks->len; i++) {
        Id id = ((const LedgerDisk *)disks->pdata[i])->layer;

        for (const LedgerLayer *l; (l = ledger_find_layer(ledger, id)); id = l->below)
            if (id_equal(id, layer))
                return TRUE;
    }
    return FALSE;
}

gboolean ledger_is_read(const Ledger *ledger, Id layer)
{
    for (guint i = 0; i < ledger->points->len; i++)
        if (reads(ledger, ((const LedgerPoint *)ledger->points->pdata[i])->disks, layer))
            return TRUE;
    return reads(ledger, ledger->active, layer) ||
           (ledger->partial && reads(ledger, ledger->partial->disks, layer));
}

guint ledger_depth(const Ledger *ledger, Id layer)
{
    guint depth = 0;

    for (const LedgerLayer *l; (l = ledger_find_layer(ledger, layer)); layer = l->below)
        depth++;
    return depth;
}

gboolean ledger_is_ancestor(const Ledger *ledger, Id since, Reign reign)
{
    const LedgerPoint *tip = ledger_tip(ledger);
    const LedgerPoint *point;

    if (id_is_nil(since))
        return TRUE;
    if (!tip)
        return FALSE;
    if (id_equal(tip->generation->id, since))
        return TRUE;
    if (!reign_equal(tip->generation->reign, reign))
        return FALSE;
    point = ledger_find_point(ledger, since);
    return point ? reign_equal(point->generation->reign, reign) : id_is_in(since, ledger->past);
}

void ledger_remove_layer(Ledger *ledger, Id id)
{
    LedgerLayer *layer = ledger_find_in(ledger->layers, id);

    if (layer)
        g_ptr_array_remove(ledger->layers, layer);
}

/* ---- records ---- */

gboolean ledger_apply(Ledger *ledger, const json_t *record, GError **error)
{
    const char *name = json_string_value(json_object_get(record, "record"));
    GError *why = NULL;

    for (guint i = 0; i < G_N_ELEMENTS(KINDS); i++) {
        if (g_strcmp0(KINDS[i].name, name) != 0)
            continue;
        if (id_is_nil(ledger->vm) != (i == LEDGER_CHAIN))
            return ledger_impossible(error, "record '%s' is in the wrong place", name);
        if (KINDS[i].apply(ledger, record, &why))
            return TRUE;
        if (why->code != US_ERROR_UNSUPPORTED)
            why->code = US_ERROR_CORRUPT;
        g_propagate_prefixed_error(error, why, "record '%s': ", name);
        return FALSE;
    }
    return ledger_impossible(error, "a record is of no known kind");
}

/* ---- the whole model as one record ---- */

json_t *ledger_to_json(const Ledger *ledger)
{
    json_t *points = json_array();
    json_t *doc;

    for (guint i = 0; i < ledger->points->len; i++)
        json_array_append_new(points, ledger_point_to_json(point_at(ledger, i)));
    doc = json_pack("{s:s, s:i, s:s, s:o, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "record", "chain",
                    "format", LEDGER_FORMAT, "vm", ID_TEXT(ledger->vm), "reign",
                    ledger->reign.number ? reign_to_json(ledger->reign) : json_null(), "session",
                    (json_int_t)ledger->session, "confirmed_at_ms", (json_int_t)ledger->confirmed_at_ms,
                    "layers", ledger_layers_to_json(ledger->layers), "points", points, "past",
                    ledger_ids_to_json(ledger->past), "partial",
                    ledger->partial ? ledger_partial_to_json(ledger->partial) : json_null(), "merge",
                    ledger->merge ? ledger_merge_to_json(ledger->merge) : json_null(), "promoted",
                    ledger_id_to_json(ledger->promoted), "active", ledger_disks_to_json(ledger->active));
    if (ledger->dissolved)
        json_object_set_new(doc, "dissolved", json_true());
    return doc;
}

static gboolean read_points(Ledger *ledger, const json_t *doc, GError **error)
{
    if (!json_is_array(doc))
        return ledger_impossible(error, "points are a list");
    for (gsize i = 0; i < json_array_size(doc); i++) {
        LedgerPoint *point = ledger_point_from_json(json_array_get(doc, i), error);

        if (!point)
            return FALSE;
        g_ptr_array_add(ledger->points, point);
    }
    return TRUE;
}

static gboolean read_optional(Ledger *ledger, const json_t *reign, const json_t *partial, const json_t *merge,
                              GError **error)
{
    if (!json_is_null(reign) && !reign_from_json(reign, &ledger->reign, error))
        return FALSE;
    if (!json_is_null(partial) && !(ledger->partial = ledger_partial_from_json(partial, error)))
        return FALSE;
    return json_is_null(merge) || (ledger->merge = ledger_merge_from_json(merge, error)) != NULL;
}

/* The parts that a new ledger has empty are replaced by those read. */
static gboolean replace(gpointer *part, gpointer read, void (*unref)(gpointer))
{
    if (!read)
        return FALSE;
    unref(*part);
    *part = read;
    return TRUE;
}

static Ledger *read_whole(const json_t *record, GError **error)
{
    json_t *reign, *layers, *points, *past, *partial, *merge, *promoted, *active;
    g_autoptr(Ledger) ledger = ledger_new(ID_NIL);
    json_int_t session, confirmed;
    const char *name, *vm;
    int format, dissolved = FALSE;

    if (!json_read(record, "chain", error,
                   "{s:s, s:i, s:s, s:o, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s?b}", "record", &name,
                   "format", &format, "vm", &vm, "reign", &reign, "session", &session, "confirmed_at_ms",
                   &confirmed, "layers", &layers, "points", &points, "past", &past, "partial", &partial,
                   "merge", &merge, "promoted", &promoted, "active", &active, "dissolved", &dissolved) ||
        !id_parse(vm, &ledger->vm, error) || !read_points(ledger, points, error) ||
        !read_optional(ledger, reign, partial, merge, error) ||
        !ledger_id_from_json(promoted, &ledger->promoted, error) ||
        !replace((gpointer *)&ledger->layers, ledger_layers_from_json(layers, error),
                 (GDestroyNotify)g_ptr_array_unref) ||
        !replace((gpointer *)&ledger->active, ledger_disks_from_json(active, error),
                 (GDestroyNotify)g_ptr_array_unref) ||
        !replace((gpointer *)&ledger->past, ledger_ids_from_json(past, error), (GDestroyNotify)g_array_unref))
        return NULL;
    ledger->format = format;
    ledger->session = (guint64)session;
    ledger->confirmed_at_ms = confirmed;
    ledger->dissolved = dissolved;
    if (session < 0 || id_is_nil(ledger->vm)) {
        ledger_impossible(error, "it names no VM or no session");
        return NULL;
    }
    return ledger_is_sound(ledger, error) ? g_steal_pointer(&ledger) : NULL;
}

gboolean ledger_apply_chain(Ledger *ledger, const json_t *record, GError **error)
{
    const json_t *format = json_object_get(record, "format");
    Ledger *whole;
    Ledger empty;

    if (json_is_integer(format) && json_integer_value(format) > LEDGER_FORMAT) {
        g_set_error(
            error, US_ERROR, US_ERROR_UNSUPPORTED,
            "format %lld is newer than this program's (%d), nothing was touched; install the newer version",
            (long long)json_integer_value(format), LEDGER_FORMAT);
        return FALSE;
    }
    if (!json_is_integer(format) || json_integer_value(format) < 1)
        return ledger_impossible(error, "it has no format");
    whole = read_whole(record, error);
    if (!whole)
        return FALSE;
    empty = *ledger;
    *ledger = *whole;
    *whole = empty;
    ledger_free(whole);
    return TRUE;
}

/* ---- soundness ---- */

/* Each layer once, and above the one it stands on. */
static gboolean sound_layers(const Ledger *ledger, GError **error)
{
    for (guint i = 0; i < ledger->layers->len; i++) {
        const LedgerLayer *layer = ledger->layers->pdata[i];
        gboolean found = id_is_nil(layer->below);

        for (guint k = 0; k < i; k++) {
            const LedgerLayer *other = ledger->layers->pdata[k];

            if (id_equal(other->id, layer->id))
                return ledger_impossible(error, "layer %s is there twice", ID_TEXT(layer->id));
            found |= id_equal(other->id, layer->below) && g_str_equal(other->target, layer->target);
        }
        if (!found)
            return ledger_impossible(error, "layer %s stands on nothing", ID_TEXT(layer->id));
    }
    return TRUE;
}

static gboolean sound_disks(const Ledger *ledger, const Generation *g, const GPtrArray *disks, GError **error)
{
    if (g->disks->len != disks->len)
        return ledger_impossible(error, "generation %s has other disks", ID_TEXT(g->id));
    for (guint i = 0; i < disks->len; i++) {
        const GenerationDisk *wanted = g->disks->pdata[i];
        const LedgerDisk *disk = disks->pdata[i];
        const LedgerLayer *layer = ledger_find_layer(ledger, disk->layer);

        if (!layer || !g_str_equal(layer->target, disk->target) ||
            !g_str_equal(wanted->target, disk->target) || layer->size_bytes != wanted->size_bytes)
            return ledger_impossible(error, "disk '%s' of generation %s has no layer of its size",
                                     disk->target, ID_TEXT(g->id));
    }
    return TRUE;
}

static gboolean sound_merge(const Ledger *ledger, GError **error)
{
    const LedgerMerge *merge = ledger->merge;

    if (!merge)
        return TRUE;
    if (!ledger_find_point(ledger, merge->survivor))
        return ledger_impossible(error, "a merge into no point");
    return merge->state == LEDGER_SWITCHED || ledger_check_merge(ledger, merge, 0, 0, error);
}

gboolean ledger_is_sound(const Ledger *ledger, GError **error)
{
    const LedgerPoint *promoted = ledger_find_point(ledger, ledger->promoted);

    if (ledger->dissolved && (ledger->layers->len || ledger->points->len || ledger->partial || ledger->merge))
        return ledger_impossible(error, "a dissolved one holds something");
    if (!sound_layers(ledger, error) || !sound_merge(ledger, error))
        return FALSE;
    for (guint i = 0; i < ledger->points->len; i++) {
        const LedgerPoint *point = point_at(ledger, i);

        if (ledger_find_index(ledger, point->generation->id) != (int)i)
            return ledger_impossible(error, "point %s is there twice", ID_TEXT(point->generation->id));
        if (!sound_disks(ledger, point->generation, point->disks, error))
            return FALSE;
    }
    if (ledger->partial && !sound_disks(ledger, ledger->partial->generation, ledger->partial->disks, error))
        return FALSE;
    if (!promoted)
        return id_is_nil(ledger->promoted) && ledger->active->len == 0
                   ? TRUE
                   : ledger_impossible(error, "what was promoted is no point");
    return sound_disks(ledger, promoted->generation, ledger->active, error);
}

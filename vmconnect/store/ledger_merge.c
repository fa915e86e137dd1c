/* SPDX-License-Identifier: Apache-2.0 */
/* ledger_merge - merging points: withdrawn -> flushed -> switched -> removed.
 *
 * Withdrawing strikes the lower points out, or none, if there are only layers below that no point reads from, and fixes,
 * disk by disk, which layers go into which. From then on the lowest layer may be written to: it is no point any
 * more, and every layer above masks what changes in it. */
#include "vmconnect/base/json.h"
#include "vmconnect/store/ledger_internal.h"

static const LedgerPoint *point_at(const Ledger *ledger, guint index)
{
    return ledger->points->pdata[index];
}

static Id id_at(const GArray *ids, guint index)
{
    return g_array_index(ids, Id, index);
}

/* ---- planning ---- */

/* Does a point outside of [@first, @end) read from @layer? */
static gboolean used_outside(const Ledger *ledger, Id layer, const char *target, guint first, guint end)
{
    for (guint i = 0; i < ledger->points->len; i++)
        if ((i < first || i >= end) && id_equal(ledger_layer_of(point_at(ledger, i), target), layer))
            return TRUE;
    return FALSE;
}

/* Nothing goes into it, and its file is not ours to remove: what stands on it goes on doing so. */
static gboolean is_image(const Ledger *ledger, Id layer)
{
    return ledger_find_layer(ledger, layer)->image != NULL;
}

/* Does another layer stand on it than @above, and those of @dropped (NULL: none)? Then nothing can be written there. */
static gboolean carries_another(const Ledger *ledger, Id layer, Id above, const GArray *dropped)
{
    for (guint i = 0; i < ledger->layers->len; i++) {
        const LedgerLayer *other = ledger->layers->pdata[i];

        if (id_equal(other->below, layer) && !id_equal(other->id, above) &&
            !(dropped && id_is_in(other->id, dropped)))
            return TRUE;
    }
    return FALSE;
}

static LedgerMergeDisk *plan_disk(const Ledger *ledger, const char *target, guint first, guint survivor)
{
    LedgerMergeDisk *disk = g_new0(LedgerMergeDisk, 1);
    const LedgerLayer *layer = ledger_find_layer(ledger, ledger_layer_of(point_at(ledger, survivor), target));

    disk->target = g_strdup(target);
    disk->layers = g_array_new(FALSE, FALSE, sizeof(Id));
    disk->dropped = g_array_new(FALSE, FALSE, sizeof(Id));
    if (layer)
        g_array_append_val(disk->layers, layer->id);
    while (layer && !id_is_nil(layer->below) && !is_image(ledger, layer->below) &&
           !used_outside(ledger, layer->below, target, first, survivor) &&
           (first < survivor || !carries_another(ledger, layer->below, layer->id, NULL))) {
        layer = ledger_find_layer(ledger, layer->below);
        g_array_prepend_val(disk->layers, layer->id);
    }
    for (guint i = first; i < survivor; i++) {
        Id own = ledger_layer_of(point_at(ledger, i), target);

        if (!id_is_nil(own) && !is_image(ledger, own) && !id_is_in(own, disk->layers) &&
            !id_is_in(own, disk->dropped) && !used_outside(ledger, own, target, first, survivor))
            g_array_append_val(disk->dropped, own);
    }
    return disk;
}

static gboolean is_planned(const LedgerMerge *merge, const char *target)
{
    for (guint i = 0; i < merge->disks->len; i++)
        if (g_str_equal(((const LedgerMergeDisk *)merge->disks->pdata[i])->target, target))
            return TRUE;
    return FALSE;
}

LedgerMerge *ledger_plan_merge(const Ledger *ledger, guint first, guint survivor)
{
    LedgerMerge *merge = g_new0(LedgerMerge, 1);

    g_assert(first <= survivor && survivor < ledger->points->len);
    merge->state = LEDGER_WITHDRAWN;
    merge->survivor = point_at(ledger, survivor)->generation->id;
    merge->disks = ledger_merge_disks_new();
    for (guint i = first; i <= survivor; i++) {
        const GPtrArray *disks = point_at(ledger, i)->disks;

        for (guint k = 0; k < disks->len; k++) {
            const LedgerDisk *disk = disks->pdata[k];

            if (!is_planned(merge, disk->target))
                g_ptr_array_add(merge->disks, plan_disk(ledger, disk->target, first, survivor));
        }
    }
    return merge;
}

/* As a rule the point before it reads from what it stands on. */
static gboolean may_stand_on_unread(const Ledger *ledger, guint index)
{
    const GPtrArray *disks = point_at(ledger, index)->disks;

    for (guint i = 0; i < disks->len; i++) {
        const LedgerDisk *disk = disks->pdata[i];
        const LedgerLayer *layer = ledger_find_layer(ledger, disk->layer);
        Id before = index > 0 ? ledger_layer_of(point_at(ledger, index - 1), disk->target) : ID_NIL;

        if (layer && !id_is_nil(layer->below) && !id_equal(layer->below, before) &&
            !id_equal(layer->id, before) && !is_image(ledger, layer->below))
            return TRUE;
    }
    return FALSE;
}

guint ledger_count_unread(const Ledger *ledger, guint index)
{
    g_autoptr(LedgerMerge) merge =
        may_stand_on_unread(ledger, index) ? ledger_plan_merge(ledger, index, index) : NULL;
    guint most = 0;

    for (guint i = 0; merge && i < merge->disks->len; i++)
        most = MAX(most, ((const LedgerMergeDisk *)merge->disks->pdata[i])->layers->len);
    return most > 0 ? most - 1 : 0;
}

static gboolean is_leaf(const Ledger *ledger, const LedgerLayer *layer)
{
    for (guint i = 0; i < ledger->layers->len; i++) {
        const LedgerLayer *other = ledger->layers->pdata[i];

        if (id_equal(other->below, layer->id) && !ledger_is_unsealed(ledger, other->id))
            return FALSE;
    }
    return !ledger_is_unsealed(ledger, layer->id);
}

static gboolean stands_on(const Ledger *ledger, const LedgerLayer *layer, Id base)
{
    for (; layer; layer = ledger_find_layer(ledger, layer->below))
        if (id_equal(layer->id, base))
            return TRUE;
    return FALSE;
}

static gboolean has_branches(const Ledger *ledger)
{
    g_autoptr(GHashTable) carried = g_hash_table_new(id_hash, id_equal_func);

    for (guint i = 0; i < ledger->layers->len; i++) {
        LedgerLayer *layer = ledger->layers->pdata[i];

        if (!id_is_nil(layer->below) && !ledger_is_unsealed(ledger, layer->id) &&
            !g_hash_table_add(carried, &layer->below))
            return TRUE;
    }
    return FALSE;
}

/* Two chains read from it, each through a file of its own: nobody can write there. */
static gboolean is_below_a_branch(const Ledger *ledger, const LedgerPoint *point)
{
    if (!has_branches(ledger))
        return FALSE;
    for (guint i = 0; i < point->disks->len; i++) {
        const LedgerDisk *disk = point->disks->pdata[i];
        guint chains = 0;

        for (guint k = 0; k < ledger->layers->len; k++) {
            const LedgerLayer *layer = ledger->layers->pdata[k];

            chains += g_str_equal(layer->target, disk->target) && is_leaf(ledger, layer) &&
                      stands_on(ledger, layer, disk->layer);
        }
        if (chains > 1)
            return TRUE;
    }
    return FALSE;
}

gboolean ledger_can_withdraw(const Ledger *ledger, guint index)
{
    const LedgerPoint *point = point_at(ledger, index);
    const LedgerPoint *above = index + 1 < ledger->points->len ? point_at(ledger, index + 1) : NULL;

    if (!above || point->pinned || is_below_a_branch(ledger, point))
        return FALSE;
    for (guint i = 0; i < point->generation->disks->len; i++) {
        const GenerationDisk *disk = point->generation->disks->pdata[i];
        const GenerationDisk *next = generation_find_disk(above->generation, disk->target);

        if (next && next->size_bytes < disk->size_bytes)
            return FALSE;
    }
    return TRUE;
}

/* ---- checking ---- */

/* Points [@first, @end) aside, nothing needs @layer: no point reads from it, and no
 * layer stands on it but @above and those of @dropped. */
static gboolean check_unneeded(const Ledger *ledger, const LedgerMergeDisk *disk, Id layer, Id above,
                               guint first, guint end, GError **error)
{
    if (used_outside(ledger, layer, disk->target, first, end))
        return ledger_impossible(error, "a point still reads from layer %s", ID_TEXT(layer));
    if (carries_another(ledger, layer, above, disk->dropped))
        return ledger_impossible(error, "layer %s still carries another", ID_TEXT(layer));
    return TRUE;
}

static gboolean check_disk(const Ledger *ledger, const LedgerMerge *merge, const LedgerMergeDisk *disk,
                           guint first, guint end, GError **error)
{
    const LedgerPoint *survivor = ledger_find_point(ledger, merge->survivor);
    guint n = disk->layers->len;
    Id below = ID_NIL;

    if (n > 0 && !id_equal(id_at(disk->layers, n - 1), ledger_layer_of(survivor, disk->target)))
        return ledger_impossible(error, "disk '%s' is not merged up to the survivor", disk->target);
    for (guint i = 0; i < n; i++) {
        const LedgerLayer *layer = ledger_find_layer(ledger, id_at(disk->layers, i));

        if (!layer || (i > 0 && !id_equal(layer->below, below)))
            return ledger_impossible(error, "the layers of disk '%s' do not stand on each other",
                                     disk->target);
        if (n > 1 && layer->image)
            return ledger_impossible(error, "an image that lies elsewhere is merged");
        below = layer->id;
        if (i + 1 < n && !check_unneeded(ledger, disk, below, id_at(disk->layers, i + 1), first, end, error))
            return FALSE;
    }
    for (guint i = 0; i < disk->dropped->len; i++) {
        const LedgerLayer *layer = ledger_find_layer(ledger, id_at(disk->dropped, i));

        if (!layer || !g_str_equal(layer->target, disk->target))
            return ledger_impossible(error, "a dropped layer of disk '%s' is not there", disk->target);
        if (!check_unneeded(ledger, disk, layer->id, ID_NIL, first, end, error))
            return FALSE;
    }
    return TRUE;
}

gboolean ledger_check_merge(const Ledger *ledger, const LedgerMerge *merge, guint first, guint end,
                            GError **error)
{
    for (guint i = 0; i < merge->disks->len; i++) {
        const LedgerMergeDisk *disk = merge->disks->pdata[i];

        for (guint k = 0; k < i; k++)
            if (g_str_equal(((const LedgerMergeDisk *)merge->disks->pdata[k])->target, disk->target))
                return ledger_impossible(error, "disk '%s' is merged twice", disk->target);
        if (!check_disk(ledger, merge, disk, first, end, error))
            return FALSE;
    }
    return TRUE;
}

/* ---- records ---- */

json_t *ledger_record_withdrawn(Id first, const LedgerMerge *merge, const GPtrArray *extents)
{
    return json_pack("{s:s, s:s, s:o, s:o}", "record", "withdrawn", "first", ID_TEXT(first), "merge",
                     ledger_merge_to_json(merge), "extents", ledger_disks_to_json(extents));
}

/* May points [@first, @end) be struck out? */
static gboolean check_withdrawal(const Ledger *ledger, int first, int end, GError **error)
{
    if (ledger->merge)
        return ledger_impossible(error, "another merge is not over");
    if (!id_is_nil(ledger->promoted))
        return ledger_impossible(error, "a VM runs from this chain");
    if (first < 0 || end < first)
        return ledger_impossible(error, "there is no such range of points");
    for (int i = first; i < end; i++)
        if (!ledger_can_withdraw(ledger, (guint)i))
            return ledger_impossible(error, "point %s must stay",
                                     ID_TEXT(point_at(ledger, (guint)i)->generation->id));
    return TRUE;
}

/* @extents name the survivor's disks, one for one. */
static gboolean check_extents(const LedgerPoint *survivor, const GPtrArray *extents, GError **error)
{
    if (extents->len != survivor->disks->len)
        return ledger_impossible(error, "there are %u lists for %u disks", extents->len,
                                 survivor->disks->len);
    for (guint i = 0; i < extents->len; i++) {
        const LedgerDisk *list = extents->pdata[i];
        const LedgerDisk *disk = survivor->disks->pdata[i];

        if (!g_str_equal(list->target, disk->target))
            return ledger_impossible(error, "the lists are of other disks");
    }
    return TRUE;
}

static void take_extents(LedgerPoint *survivor, const GPtrArray *extents)
{
    for (guint i = 0; i < extents->len; i++) {
        const LedgerDisk *list = extents->pdata[i];
        LedgerDisk *disk = survivor->disks->pdata[i];

        g_free(disk->extents);
        disk->extents = g_strdup(list->extents);
        disk->changed_bytes = list->changed_bytes;
    }
}

/* Strike out points [@first, @end), remembering those that may still be a `since`. */
static void strike_out(Ledger *ledger, guint first, guint end)
{
    Reign reign = ledger_tip(ledger)->generation->reign;

    for (guint i = first; i < end; i++)
        if (reign_equal(point_at(ledger, i)->generation->reign, reign))
            g_array_append_val(ledger->past, point_at(ledger, i)->generation->id);
    if (ledger->past->len > LEDGER_MAX_PAST)
        g_array_remove_range(ledger->past, 0, ledger->past->len - LEDGER_MAX_PAST);
    if (end > first)
        g_ptr_array_remove_range(ledger->points, first, end - first);
}

gboolean ledger_apply_withdrawn(Ledger *ledger, const json_t *record, GError **error)
{
    g_autoptr(LedgerMerge) merge = NULL;
    g_autoptr(GPtrArray) extents = NULL;
    json_t *merge_doc, *extents_doc;
    const char *name, *first_text;
    int first, end;
    Id first_id;

    if (!json_read(record, "withdrawn", error, "{s:s, s:s, s:o, s:o}", "record", &name, "first", &first_text,
                   "merge", &merge_doc, "extents", &extents_doc) ||
        !id_parse(first_text, &first_id, error) || !(merge = ledger_merge_from_json(merge_doc, error)) ||
        !(extents = ledger_disks_from_json(extents_doc, error)))
        return FALSE;
    first = ledger_find_index(ledger, first_id);
    end = ledger_find_index(ledger, merge->survivor);
    if (merge->state != LEDGER_WITHDRAWN)
        return ledger_impossible(error, "a merge does not begin as %s", ledger_kind_name(merge->state));
    if (!check_withdrawal(ledger, first, end, error) ||
        !ledger_check_merge(ledger, merge, (guint)first, (guint)end, error) ||
        !check_extents(point_at(ledger, (guint)end), extents, error))
        return FALSE;
    take_extents(ledger->points->pdata[end], extents);
    strike_out(ledger, (guint)first, (guint)end);
    ledger->merge = g_steal_pointer(&merge);
    return TRUE;
}

static gboolean check_state(const Ledger *ledger, LedgerKind state, GError **error)
{
    if (ledger->merge && ledger->merge->state == state)
        return TRUE;
    return ledger_impossible(error, "no merge is %s", ledger_kind_name(state));
}

static json_t *bare_record(const char *name)
{
    return json_pack("{s:s}", "record", name);
}

json_t *ledger_record_flushed(void)
{
    return bare_record("flushed");
}

gboolean ledger_apply_flushed(Ledger *ledger, const json_t *record, GError **error)
{
    const char *name;

    if (!json_read(record, "flushed", error, "{s:s}", "record", &name) ||
        !check_state(ledger, LEDGER_WITHDRAWN, error))
        return FALSE;
    ledger->merge->state = LEDGER_FLUSHED;
    return TRUE;
}

json_t *ledger_record_switched(const GPtrArray *bases)
{
    return json_pack("{s:s, s:o}", "record", "switched", "bases", ledger_layers_to_json(bases));
}

/* @bases are the lowest layers of those disks that have something to merge, one for one. */
static gboolean check_bases(const LedgerMerge *merge, const GPtrArray *bases, GError **error)
{
    guint n = 0;

    for (guint i = 0; i < merge->disks->len; i++) {
        const LedgerMergeDisk *disk = merge->disks->pdata[i];

        if (disk->layers->len < 2)
            continue;
        if (!ledger_find_in(bases, id_at(disk->layers, 0)))
            return ledger_impossible(error, "disk '%s' is not switched", disk->target);
        n++;
    }
    return n == bases->len ? TRUE : ledger_impossible(error, "what is switched was not merged");
}

/* Everything that read from the top of @disk's layers, or stood on it, is now on the lowest, which
 * has taken over its size; the layers between are gone. */
static void switch_disk(Ledger *ledger, const LedgerMergeDisk *disk, const GPtrArray *bases)
{
    Id base_id = id_at(disk->layers, 0);
    Id top_id = id_at(disk->layers, disk->layers->len - 1);
    LedgerLayer *base = ledger_find_in(ledger->layers, base_id);

    base->size_bytes = ledger_find_layer(ledger, top_id)->size_bytes;
    base->file_bytes = ledger_find_in(bases, base_id)->file_bytes;
    for (guint i = 0; i < ledger->layers->len; i++) {
        LedgerLayer *layer = ledger->layers->pdata[i];

        if (id_equal(layer->below, top_id))
            layer->below = base_id;
    }
    for (guint i = 0; i < ledger->points->len; i++) {
        const LedgerPoint *point = point_at(ledger, i);

        for (guint k = 0; k < point->disks->len; k++) {
            LedgerDisk *reader = point->disks->pdata[k];

            if (id_equal(reader->layer, top_id))
                reader->layer = base_id;
        }
    }
    for (guint i = 1; i < disk->layers->len; i++)
        ledger_remove_layer(ledger, id_at(disk->layers, i));
}

gboolean ledger_apply_switched(Ledger *ledger, const json_t *record, GError **error)
{
    g_autoptr(GPtrArray) bases = NULL;
    json_t *bases_doc;
    const char *name;

    if (!json_read(record, "switched", error, "{s:s, s:o}", "record", &name, "bases", &bases_doc) ||
        !(bases = ledger_layers_from_json(bases_doc, error)) || !check_state(ledger, LEDGER_FLUSHED, error) ||
        !check_bases(ledger->merge, bases, error))
        return FALSE;
    for (guint i = 0; i < ledger->merge->disks->len; i++) {
        const LedgerMergeDisk *disk = ledger->merge->disks->pdata[i];

        if (disk->layers->len >= 2)
            switch_disk(ledger, disk, bases);
        for (guint k = 0; k < disk->dropped->len; k++)
            ledger_remove_layer(ledger, id_at(disk->dropped, k));
    }
    ledger->merge->state = LEDGER_SWITCHED;
    return TRUE;
}

json_t *ledger_record_removed(void)
{
    return bare_record("removed");
}

gboolean ledger_apply_removed(Ledger *ledger, const json_t *record, GError **error)
{
    const char *name;

    if (!json_read(record, "removed", error, "{s:s}", "record", &name) ||
        !check_state(ledger, LEDGER_SWITCHED, error))
        return FALSE;
    g_clear_pointer(&ledger->merge, ledger_merge_free);
    return TRUE;
}

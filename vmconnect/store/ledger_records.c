/* SPDX-License-Identifier: Apache-2.0 */
/* ledger_records - receiving, keeping and promoting: what each record does to the model. */
#include "vmconnect/base/json.h"
#include "vmconnect/store/ledger_internal.h"

/* ---- checks ---- */

static Id tip_id(const Ledger *ledger)
{
    const LedgerPoint *tip = ledger_tip(ledger);

    return tip ? tip->generation->id : ID_NIL;
}

/* @layers are new to the ledger, or the unsealed generation's; each stands where
 * @point's disk of that name ends. */
static gboolean check_new_layers(const Ledger *ledger, const GPtrArray *layers, const LedgerPoint *point,
                                 GError **error)
{
    for (guint i = 0; i < layers->len; i++) {
        const LedgerLayer *layer = layers->pdata[i];

        if (!id_equal(layer->below, ledger_layer_of(point, layer->target)))
            return ledger_impossible(error, "layer %s does not stand on the point below it",
                                     ID_TEXT(layer->id));
        if (ledger_find_in(layers, layer->id) != layer ||
            (ledger_find_layer(ledger, layer->id) && !ledger_is_unsealed(ledger, layer->id)))
            return ledger_impossible(error, "layer %s is there already", ID_TEXT(layer->id));
    }
    return TRUE;
}

/* The disks of @g, one for one, each reading from a layer of @layers (any of them new)
 * or, where @tip is given, from the same as the tip; sizes agree. */
static gboolean check_disks(const Ledger *ledger, const Generation *g, const GPtrArray *disks,
                            const GPtrArray *layers, const LedgerPoint *tip, GError **error)
{
    guint used = 0;

    if (disks->len != g->disks->len)
        return ledger_impossible(error, "%u disks are recorded for a generation of %u", disks->len,
                                 g->disks->len);
    for (guint i = 0; i < disks->len; i++) {
        const GenerationDisk *wanted = g->disks->pdata[i];
        const LedgerDisk *disk = disks->pdata[i];
        const LedgerLayer *layer = ledger_find_in(layers, disk->layer);

        if (layer)
            used++;
        else if (tip && id_equal(ledger_layer_of(tip, disk->target), disk->layer))
            layer = ledger_find_layer(ledger, disk->layer);
        if (!layer || !g_str_equal(disk->target, wanted->target) ||
            !g_str_equal(layer->target, disk->target) || layer->size_bytes != wanted->size_bytes)
            return ledger_impossible(error, "disk '%s' has no layer of its size", disk->target);
    }
    if (used != layers->len)
        return ledger_impossible(error, "a layer belongs to no disk");
    return TRUE;
}

static gboolean check_generation(const Ledger *ledger, const Generation *g, GError **error)
{
    const LedgerPoint *tip = ledger_tip(ledger);

    if (!id_is_nil(ledger->promoted))
        return ledger_impossible(error, "it was received after the promotion");
    if (!id_equal(g->parent, tip_id(ledger)))
        return ledger_impossible(error, "generation %s does not stand on the tip", ID_TEXT(g->id));
    if (ledger_find_point(ledger, g->id) || id_is_in(g->id, ledger->past))
        return ledger_impossible(error, "generation %s is there already", ID_TEXT(g->id));
    if (!reign_equal(g->reign, ledger->reign))
        return ledger_impossible(error, "generation %s is not of the session's reign", ID_TEXT(g->id));
    if (tip && reign_equal(tip->generation->reign, g->reign) && tip->generation->sequence >= g->sequence)
        return ledger_impossible(error, "generation %s is out of sequence", ID_TEXT(g->id));
    return TRUE;
}

/* ---- changes that cannot fail ---- */

static void add_layers(Ledger *ledger, GPtrArray *layers)
{
    while (layers->len)
        g_ptr_array_add(ledger->layers, g_ptr_array_steal_index(layers, 0));
}

static void remove_layers_of(Ledger *ledger, const GPtrArray *disks)
{
    for (guint i = 0; i < disks->len; i++)
        ledger_remove_layer(ledger, ((const LedgerDisk *)disks->pdata[i])->layer);
}

static void drop_partial(Ledger *ledger)
{
    if (!ledger->partial)
        return;
    remove_layers_of(ledger, ledger->partial->disks);
    g_clear_pointer(&ledger->partial, ledger_partial_free);
}

/* ---- records ---- */

json_t *ledger_record_session(Reign reign, guint64 session)
{
    return json_pack("{s:s, s:o, s:I}", "record", "session", "reign", reign_to_json(reign), "session",
                     (json_int_t)session);
}

gboolean ledger_apply_session(Ledger *ledger, const json_t *record, GError **error)
{
    const char *name;
    json_t *reign_doc;
    json_int_t session;
    Reign reign;

    if (!json_read(record, "session", error, "{s:s, s:o, s:I}", "record", &name, "reign", &reign_doc,
                   "session", &session) ||
        !reign_from_json(reign_doc, &reign, error))
        return FALSE;
    if (session < 0 || reign.number < ledger->reign.number)
        return ledger_impossible(error, "the reign is an older one");
    if (reign.number == ledger->reign.number &&
        (!id_equal(reign.id, ledger->reign.id) || (guint64)session <= ledger->session))
        return ledger_impossible(error, "the session is not newer");
    if (ledger->partial && reign.number != ledger->reign.number)
        return ledger_impossible(error, "an unsealed generation outlives its reign");
    if (ledger->dissolved)
        return ledger_impossible(error, "its files are a VM's");
    ledger->reign = reign;
    ledger->session = (guint64)session;
    return TRUE;
}

json_t *ledger_record_slice(const LedgerPartial *partial, const GPtrArray *layers)
{
    return json_pack("{s:s, s:o, s:o}", "record", "slice", "partial", ledger_partial_to_json(partial),
                     "layers", ledger_layers_to_json(layers));
}

/* Nothing else is unsealed than what was begun as @begun. */
static gboolean check_unsealed(const Ledger *ledger, Id begun, GError **error)
{
    if (!ledger->partial || id_equal(ledger->partial->generation->id, begun))
        return TRUE;
    return ledger_impossible(error, "another generation is unsealed");
}

gboolean ledger_apply_slice(Ledger *ledger, const json_t *record, GError **error)
{
    const LedgerPoint *tip = ledger_tip(ledger);
    g_autoptr(LedgerPartial) partial = NULL;
    g_autoptr(GPtrArray) layers = NULL;
    json_t *partial_doc, *layers_doc;
    const char *name;

    if (!json_read(record, "slice", error, "{s:s, s:o, s:o}", "record", &name, "partial", &partial_doc,
                   "layers", &layers_doc) ||
        !(partial = ledger_partial_from_json(partial_doc, error)) ||
        !(layers = ledger_layers_from_json(layers_doc, error)) ||
        !check_generation(ledger, partial->generation, error) ||
        !check_unsealed(ledger, partial->generation->id, error) ||
        !check_new_layers(ledger, layers, tip, error) ||
        !check_disks(ledger, partial->generation, partial->disks, layers, NULL, error))
        return FALSE;
    drop_partial(ledger);
    add_layers(ledger, layers);
    ledger->partial = g_steal_pointer(&partial);
    return TRUE;
}

json_t *ledger_record_seal(Id begun, const LedgerPoint *point, const GPtrArray *layers)
{
    return json_pack("{s:s, s:s, s:o, s:o}", "record", "seal", "begun", ID_TEXT(begun), "point",
                     ledger_point_to_json(point), "layers", ledger_layers_to_json(layers));
}

/* A layer of the unsealed generation that the seal does not name was never written to: it goes. */
gboolean ledger_apply_seal(Ledger *ledger, const json_t *record, GError **error)
{
    const LedgerPoint *tip = ledger_tip(ledger);
    g_autoptr(LedgerPoint) point = NULL;
    g_autoptr(GPtrArray) layers = NULL;
    json_t *point_doc, *layers_doc;
    const char *name, *begun;
    Id begun_id;

    if (!json_read(record, "seal", error, "{s:s, s:s, s:o, s:o}", "record", &name, "begun", &begun, "point",
                   &point_doc, "layers", &layers_doc) ||
        !id_parse(begun, &begun_id, error) || !(point = ledger_point_from_json(point_doc, error)) ||
        !(layers = ledger_layers_from_json(layers_doc, error)) ||
        !check_generation(ledger, point->generation, error) || !check_unsealed(ledger, begun_id, error) ||
        !check_new_layers(ledger, layers, tip, error) ||
        !check_disks(ledger, point->generation, point->disks, layers, tip, error))
        return FALSE;
    drop_partial(ledger);
    add_layers(ledger, layers);
    if (tip && !reign_equal(tip->generation->reign, point->generation->reign))
        g_array_set_size(ledger->past, 0);
    g_ptr_array_add(ledger->points, g_steal_pointer(&point));
    ledger->confirmed_at_ms = 0;
    return TRUE;
}

json_t *ledger_record_discard(Id generation)
{
    return json_pack("{s:s, s:s}", "record", "discard", "generation", ID_TEXT(generation));
}

gboolean ledger_apply_discard(Ledger *ledger, const json_t *record, GError **error)
{
    const char *name, *text;
    Id id;

    if (!json_read(record, "discard", error, "{s:s, s:s}", "record", &name, "generation", &text) ||
        !id_parse(text, &id, error))
        return FALSE;
    if (!ledger->partial || !id_equal(ledger->partial->generation->id, id))
        return ledger_impossible(error, "generation %s is not unsealed", text);
    drop_partial(ledger);
    return TRUE;
}

json_t *ledger_record_confirm(Id generation, gint64 at_ms)
{
    return json_pack("{s:s, s:s, s:I}", "record", "confirm", "generation", ID_TEXT(generation), "at_ms",
                     (json_int_t)at_ms);
}

gboolean ledger_apply_confirm(Ledger *ledger, const json_t *record, GError **error)
{
    const char *name, *text;
    json_int_t at_ms;
    Id id;

    if (!json_read(record, "confirm", error, "{s:s, s:s, s:I}", "record", &name, "generation", &text, "at_ms",
                   &at_ms) ||
        !id_parse(text, &id, error))
        return FALSE;
    if (id_is_nil(id) || !id_equal(tip_id(ledger), id))
        return ledger_impossible(error, "generation %s is not the tip", text);
    ledger->confirmed_at_ms = MAX(ledger->confirmed_at_ms, (gint64)at_ms);
    return TRUE;
}

json_t *ledger_record_retain(Id generation, gboolean pinned)
{
    return json_pack("{s:s, s:s, s:b}", "record", "retain", "generation", ID_TEXT(generation), "pinned",
                     pinned);
}

gboolean ledger_apply_retain(Ledger *ledger, const json_t *record, GError **error)
{
    const char *name, *text;
    int pinned, index;
    Id id;

    if (!json_read(record, "retain", error, "{s:s, s:s, s:b}", "record", &name, "generation", &text, "pinned",
                   &pinned) ||
        !id_parse(text, &id, error))
        return FALSE;
    index = ledger_find_index(ledger, id);
    if (index < 0)
        return ledger_impossible(error, "there is no point %s", text);
    ((LedgerPoint *)ledger->points->pdata[index])->pinned = pinned;
    return TRUE;
}

json_t *ledger_record_promoted(Id generation, const GPtrArray *layers)
{
    return json_pack("{s:s, s:s, s:o}", "record", "promoted", "generation", ID_TEXT(generation), "layers",
                     ledger_layers_to_json(layers));
}

/* What a VM writes to: one disk for each layer, reading from it. */
static GPtrArray *active_disks(const GPtrArray *layers)
{
    GPtrArray *disks = ledger_disks_new();

    for (guint i = 0; i < layers->len; i++) {
        const LedgerLayer *layer = layers->pdata[i];

        g_ptr_array_add(disks, ledger_disk_new(layer->target, layer->id, NULL, 0));
    }
    return disks;
}

gboolean ledger_apply_promoted(Ledger *ledger, const json_t *record, GError **error)
{
    g_autoptr(GPtrArray) layers = NULL;
    g_autoptr(GPtrArray) disks = NULL;
    const LedgerPoint *point;
    json_t *layers_doc;
    const char *name, *text;
    Id id;

    if (!json_read(record, "promoted", error, "{s:s, s:s, s:o}", "record", &name, "generation", &text,
                   "layers", &layers_doc) ||
        !id_parse(text, &id, error) || !(layers = ledger_layers_from_json(layers_doc, error)))
        return FALSE;
    point = ledger_find_point(ledger, id);
    if (!point || !id_is_nil(ledger->promoted) || ledger->partial)
        return ledger_impossible(error, "point %s cannot be promoted here", text);
    disks = active_disks(layers);
    if (!check_new_layers(ledger, layers, point, error) ||
        !check_disks(ledger, point->generation, disks, layers, NULL, error))
        return FALSE;
    add_layers(ledger, layers);
    g_clear_pointer(&ledger->active, g_ptr_array_unref);
    ledger->active = g_steal_pointer(&disks);
    ledger->promoted = id;
    return TRUE;
}

json_t *ledger_record_demoted(void)
{
    return json_pack("{s:s}", "record", "demoted");
}

gboolean ledger_apply_demoted(Ledger *ledger, const json_t *record, GError **error)
{
    const char *name;

    if (!json_read(record, "demoted", error, "{s:s}", "record", &name))
        return FALSE;
    if (id_is_nil(ledger->promoted))
        return ledger_impossible(error, "nothing was promoted");
    remove_layers_of(ledger, ledger->active);
    g_ptr_array_set_size(ledger->active, 0);
    ledger->promoted = ID_NIL;
    return TRUE;
}

json_t *ledger_record_adopted(const LedgerPoint *point, const GPtrArray *layers)
{
    return json_pack("{s:s, s:o, s:o}", "record", "adopted", "point", ledger_point_to_json(point), "layers",
                     ledger_layers_to_json(layers));
}

/* An image that a VM ran on, signed anew: libvirt changes its owner at least. */
static gboolean is_signed_anew(const LedgerLayer *known, const LedgerLayer *layer)
{
    return known && known->image && layer->image && g_str_equal(known->target, layer->target) &&
           id_equal(known->below, layer->below) && known->size_bytes == layer->size_bytes &&
           g_str_equal(known->image->path, layer->image->path) &&
           file_id_equal(known->image->file, layer->image->file);
}

const LedgerLayer *ledger_find_image(const Ledger *ledger, const SignedImage *image)
{
    for (guint i = 0; i < ledger->layers->len; i++) {
        const LedgerLayer *layer = ledger->layers->pdata[i];

        if (layer->image && file_id_equal(layer->image->file, image->file))
            return layer;
    }
    return NULL;
}

/* An image of a disk that came while the VM ran: on the one before it, or the first of its disk. */
static gboolean is_of_a_new_disk(const Ledger *ledger, const GPtrArray *layers, guint i)
{
    const LedgerLayer *layer = layers->pdata[i];
    const LedgerLayer *below = i ? layers->pdata[i - 1] : NULL;
    gboolean stands = below && g_str_equal(below->target, layer->target);

    return layer->image && !ledger_find_layer(ledger, layer->id) &&
           !ledger_find_image(ledger, layer->image) && !ledger_find_disk(ledger->active, layer->target) &&
           id_equal(layer->below, stands ? below->id : ID_NIL);
}

/* The overlays that a VM ran from, one for one, where they stood; after them images below, and those of new disks. */
static gboolean check_overlays(const Ledger *ledger, const GPtrArray *layers, GError **error)
{
    guint n = ledger->active->len;

    if (layers->len < n)
        return ledger_impossible(error, "%u overlays are adopted of %u", layers->len, n);
    for (guint i = 0; i < layers->len; i++) {
        const LedgerLayer *layer = layers->pdata[i];
        const LedgerLayer *known = ledger_find_layer(ledger, layer->id);
        gboolean overlay = known && !layer->image && i < n && g_str_equal(known->target, layer->target) &&
                           id_equal(known->below, layer->below) &&
                           id_equal(((const LedgerDisk *)ledger->active->pdata[i])->layer, layer->id);

        if (ledger_find_in(layers, layer->id) != layer ||
            !(overlay || (i >= n && (is_signed_anew(known, layer) || is_of_a_new_disk(ledger, layers, i)))))
            return ledger_impossible(error, "layer %s is not what the VM ran from", ID_TEXT(layer->id));
    }
    return TRUE;
}

/* Images in an empty ledger, and above them files of ours, each on the one before it or the first of its disk. */
static gboolean check_images(const Ledger *ledger, const GPtrArray *layers, GError **error)
{
    if (ledger->points->len || ledger->layers->len)
        return ledger_impossible(error, "images are adopted beside what is here");
    for (guint i = 0; i < layers->len; i++) {
        const LedgerLayer *layer = layers->pdata[i];
        const LedgerLayer *below = i ? layers->pdata[i - 1] : NULL;
        gboolean stands = below && g_str_equal(below->target, layer->target);

        if ((stands && layer->image && !below->image) || ledger_find_in(layers, layer->id) != layer ||
            !id_equal(layer->below, stands ? below->id : ID_NIL))
            return ledger_impossible(error, "layer %s is none that its disk can stand on",
                                     ID_TEXT(layer->id));
    }
    return TRUE;
}

const LedgerLayer *ledger_top_in(const GPtrArray *layers, guint overlays, const char *target)
{
    const LedgerLayer *top = NULL;

    for (guint i = 0; i < layers->len; i++) {
        const LedgerLayer *layer = layers->pdata[i];
        gboolean is_below = top && overlays > 0 && !top->image;

        if (g_str_equal(layer->target, target) && !is_below)
            top = layer;
    }
    return top;
}

/* Each disk of @point reads from the uppermost of @layers that is its. */
static gboolean check_tops(const LedgerPoint *point, const GPtrArray *layers, guint n, GError **error)
{
    const GPtrArray *wanted = point->generation->disks;

    if (wanted->len != point->disks->len)
        return ledger_impossible(error, "%u disks are recorded for a generation of %u", point->disks->len,
                                 wanted->len);
    for (guint i = 0; i < wanted->len; i++) {
        const GenerationDisk *g = wanted->pdata[i];
        const LedgerDisk *disk = point->disks->pdata[i];
        const LedgerLayer *top = ledger_top_in(layers, n, g->target);

        if (!top || !g_str_equal(disk->target, g->target) || !id_equal(disk->layer, top->id) ||
            top->size_bytes != g->size_bytes)
            return ledger_impossible(error, "disk '%s' has no layer of its size", g->target);
    }
    return TRUE;
}

static gboolean check_adopted(const Ledger *ledger, const Generation *g, GError **error)
{
    if (!id_equal(g->parent, ledger->promoted))
        return ledger_impossible(error, "generation %s does not stand on what was promoted", ID_TEXT(g->id));
    if (ledger->partial || (ledger->merge && ledger->merge->state != LEDGER_WITHDRAWN))
        return ledger_impossible(error, "something else is under way");
    if (ledger_find_point(ledger, g->id) || id_is_in(g->id, ledger->past))
        return ledger_impossible(error, "generation %s is there already", ID_TEXT(g->id));
    if (g->reign.number <= ledger->reign.number)
        return ledger_impossible(error, "generation %s is of no later reign", ID_TEXT(g->id));
    return TRUE;
}

/* Those of @layers after the first @overlays that are known, in their places. */
static void sign_images(Ledger *ledger, GPtrArray *layers, guint overlays)
{
    for (guint i = layers->len; overlays && i-- > overlays;) {
        LedgerLayer *layer = layers->pdata[i];
        LedgerLayer *known = ledger_find_in(ledger->layers, layer->id);

        if (!known)
            continue;
        signed_image_free(known->image);
        known->image = g_steal_pointer(&layer->image);
        g_ptr_array_remove_index(layers, i);
    }
}

/* A merge that a promotion has cut short. What was copied is masked by the files above, and these stay: the next merge
 * of this disk takes them with it. It does not go on itself, because the VM may have run from a point below others: then two
 * chains read from its lowest file, and nobody can write there. */
static void give_up_merge(Ledger *ledger)
{
    for (guint i = 0; ledger->merge && i < ledger->merge->disks->len; i++) {
        const LedgerMergeDisk *disk = ledger->merge->disks->pdata[i];

        for (guint k = 0; k < disk->dropped->len; k++)
            ledger_remove_layer(ledger, g_array_index(disk->dropped, Id, k));
    }
    g_clear_pointer(&ledger->merge, ledger_merge_free);
}

gboolean ledger_apply_adopted(Ledger *ledger, const json_t *record, GError **error)
{
    g_autoptr(LedgerPoint) point = NULL;
    g_autoptr(GPtrArray) layers = NULL;
    json_t *point_doc, *layers_doc;
    const char *name;

    if (!json_read(record, "adopted", error, "{s:s, s:o, s:o}", "record", &name, "point", &point_doc,
                   "layers", &layers_doc) ||
        !(point = ledger_point_from_json(point_doc, error)) ||
        !(layers = ledger_layers_from_json(layers_doc, error)) ||
        !check_adopted(ledger, point->generation, error) ||
        !(id_is_nil(ledger->promoted) ? check_images(ledger, layers, error)
                                      : check_overlays(ledger, layers, error)) ||
        !check_tops(point, layers, ledger->active->len, error))
        return FALSE;
    give_up_merge(ledger);
    sign_images(ledger, layers, ledger->active->len);
    remove_layers_of(ledger, ledger->active);
    add_layers(ledger, layers);
    g_ptr_array_set_size(ledger->active, 0);
    g_array_set_size(ledger->past, 0);
    ledger->promoted = ID_NIL;
    ledger->dissolved = FALSE;
    ledger->reign = point->generation->reign;
    ledger->confirmed_at_ms = 0;
    g_ptr_array_add(ledger->points, g_steal_pointer(&point));
    return TRUE;
}

json_t *ledger_record_dissolved(void)
{
    return json_pack("{s:s}", "record", "dissolved");
}

gboolean ledger_apply_dissolved(Ledger *ledger, const json_t *record, GError **error)
{
    const char *name;

    if (!json_read(record, "dissolved", error, "{s:s}", "record", &name))
        return FALSE;
    if (id_is_nil(ledger->promoted))
        return ledger_impossible(error, "nothing was promoted");
    for (guint i = 0; i < ledger->points->len; i++)
        if (((const LedgerPoint *)ledger->points->pdata[i])->pinned)
            return ledger_impossible(error, "a point is pinned");
    g_ptr_array_set_size(ledger->points, 0);
    g_ptr_array_set_size(ledger->layers, 0);
    g_ptr_array_set_size(ledger->active, 0);
    g_array_set_size(ledger->past, 0);
    g_clear_pointer(&ledger->merge, ledger_merge_free);
    ledger->promoted = ID_NIL;
    ledger->confirmed_at_ms = 0;
    ledger->dissolved = TRUE;
    return TRUE;
}

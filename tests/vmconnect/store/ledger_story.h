/* SPDX-License-Identifier: Apache-2.0 */
/* ledger_story - a standby's life as ledger records, for tests.
 *
 * Names are short: generation 3 is the UUID 00000003-…, a layer of it is 3 and
 * its disk. Each function returns the record and leaves applying it to the test. */
#pragma once

#include "vmconnect/store/ledger.h"

#include <string.h>

#define STORY_SIZE (1024 * (guint64)1024)
#define STORY_DIGEST "00000000000000000000000000000000000000000000000000000000000000aa"

static inline Id story_id(guint number)
{
    Id id = ID_NIL;

    id.bytes[2] = (guint8)(number >> 8);
    id.bytes[3] = (guint8)number;
    return id;
}

static inline Reign story_reign(guint number)
{
    return (Reign){.number = number, .id = story_id(60000 + number)};
}

/* The layer made for @target ("vda" …) with generation @number. */
static inline Id story_layer(guint number, const char *target)
{
    return story_id(number * 16 + 1000 + (guint)target[2]);
}

static inline Generation *story_generation(const Ledger *ledger, guint number, const char *const *targets)
{
    const LedgerPoint *tip = ledger_tip(ledger);
    Generation *g = generation_new();

    g->id = story_id(number);
    g->parent = tip ? tip->generation->id : ID_NIL;
    g->since = g->parent;
    g->reign = ledger->reign;
    g->sequence = number;
    g->cut_at_ms = 1000 * (gint64)number;
    for (guint i = 0; targets[i]; i++)
        generation_add_disk(g, targets[i], STORY_SIZE);
    return g;
}

static inline GPtrArray *story_layers(const Ledger *ledger, guint number, const char *const *targets)
{
    GPtrArray *layers = ledger_layers_new();

    for (guint i = 0; targets[i]; i++)
        g_ptr_array_add(layers,
                        ledger_layer_new(story_layer(number, targets[i]), targets[i],
                                         ledger_layer_of(ledger_tip(ledger), targets[i]), STORY_SIZE, 4096));
    return layers;
}

/* Seal generation @number with @targets; those of @same keep the tip's layer. */
static inline json_t *story_seal_sharing(const Ledger *ledger, guint number, const char *const *fresh,
                                         const char *const *same)
{
    g_autoptr(GPtrArray) layers = story_layers(ledger, number, fresh);
    LedgerPoint point = {.disks = ledger_disks_new(), .definition = (char *)STORY_DIGEST};
    json_t *record;

    point.generation = story_generation(ledger, number, fresh);
    for (guint i = 0; fresh[i]; i++)
        g_ptr_array_add(point.disks,
                        ledger_disk_new(fresh[i], story_layer(number, fresh[i]), STORY_DIGEST, 5));
    for (guint i = 0; same[i]; i++) {
        generation_add_disk(point.generation, same[i], STORY_SIZE);
        g_ptr_array_add(point.disks, ledger_disk_new(same[i], ledger_layer_of(ledger_tip(ledger), same[i]),
                                                     STORY_DIGEST, 0));
    }
    record = ledger_record_seal(point.generation->id, &point, layers);
    generation_free(point.generation);
    g_ptr_array_unref(point.disks);
    return record;
}

static const char *const STORY_NONE[] = {NULL};
static const char *const STORY_VDA[] = {"vda", NULL};
static const char *const STORY_VDB[] = {"vdb", NULL};
static const char *const STORY_BOTH[] = {"vda", "vdb", NULL};

static inline json_t *story_seal(const Ledger *ledger, guint number)
{
    return story_seal_sharing(ledger, number, STORY_BOTH, STORY_NONE);
}

static inline json_t *story_slice(const Ledger *ledger, guint number)
{
    g_autoptr(GPtrArray) layers = story_layers(ledger, number, STORY_BOTH);
    LedgerPartial partial = {.since = ID_NIL, .guard = story_id(500 + number), .disks = ledger_disks_new()};
    json_t *record;

    partial.generation = story_generation(ledger, number, STORY_BOTH);
    for (guint i = 0; STORY_BOTH[i]; i++) {
        LedgerDisk *disk =
            ledger_disk_new(STORY_BOTH[i], story_layer(number, STORY_BOTH[i]), STORY_DIGEST, 5);

        disk->has = g_strdup(STORY_DIGEST);
        g_ptr_array_add(partial.disks, disk);
    }
    record = ledger_record_slice(&partial, layers);
    generation_free(partial.generation);
    g_ptr_array_unref(partial.disks);
    return record;
}

/* Strike out points (by index) @first … @survivor - 1. */
static inline json_t *story_withdrawn(const Ledger *ledger, guint first, guint survivor)
{
    const LedgerPoint *low = ledger->points->pdata[first];
    const LedgerPoint *high = ledger->points->pdata[survivor];
    g_autoptr(LedgerMerge) merge = ledger_plan_merge(ledger, first, survivor);

    return ledger_record_withdrawn(low->generation->id, merge, high->disks);
}

static inline json_t *story_switched(const Ledger *ledger)
{
    g_autoptr(GPtrArray) bases = ledger_layers_new();

    for (guint i = 0; i < ledger->merge->disks->len; i++) {
        const LedgerMergeDisk *disk = ledger->merge->disks->pdata[i];
        const LedgerLayer *base;

        if (disk->layers->len < 2)
            continue;
        base = ledger_find_layer(ledger, g_array_index(disk->layers, Id, 0));
        g_ptr_array_add(bases, ledger_layer_new(base->id, base->target, base->below, base->size_bytes, 8192));
    }
    return ledger_record_switched(bases);
}

static inline json_t *story_promoted(const Ledger *ledger, guint number)
{
    const LedgerPoint *point = ledger_find_point(ledger, story_id(number));
    g_autoptr(GPtrArray) layers = ledger_layers_new();

    for (guint i = 0; i < point->disks->len; i++) {
        const LedgerDisk *disk = point->disks->pdata[i];

        g_ptr_array_add(layers, ledger_layer_new(story_layer(900, disk->target), disk->target, disk->layer,
                                                 STORY_SIZE, 0));
    }
    return ledger_record_promoted(story_id(number), layers);
}

static inline json_t *story_adopt(const Ledger *ledger, guint number, guint reign, const GPtrArray *layers)
{
    LedgerPoint point = {.disks = ledger_disks_new(), .definition = (char *)STORY_DIGEST};
    json_t *record;

    point.generation = story_generation(ledger, number, STORY_NONE);
    point.generation->parent = ledger->promoted;
    point.generation->reign = story_reign(reign);
    for (guint i = 0; i < layers->len; i++) {
        const LedgerLayer *layer = layers->pdata[i];

        if (i + 1 < layers->len &&
            g_str_equal(((const LedgerLayer *)layers->pdata[i + 1])->target, layer->target))
            continue;
        generation_add_disk(point.generation, layer->target, layer->size_bytes);
        g_ptr_array_add(point.disks, ledger_disk_new(layer->target, layer->id, STORY_DIGEST, 5));
    }
    record = ledger_record_adopted(&point, layers);
    generation_free(point.generation);
    g_ptr_array_unref(point.disks);
    return record;
}

/* The overlays of story_promoted(), longer now. */
static inline json_t *story_adopted(const Ledger *ledger, guint number, guint reign)
{
    g_autoptr(GPtrArray) layers = ledger_layers_new();

    for (guint i = 0; i < ledger->active->len; i++) {
        const LedgerDisk *disk = ledger->active->pdata[i];
        const LedgerLayer *layer = ledger_find_layer(ledger, disk->layer);

        g_ptr_array_add(layers, ledger_layer_new(layer->id, layer->target, layer->below, STORY_SIZE, 65536));
    }
    return story_adopt(ledger, number, reign, layers);
}

/* Two images of vda, the lower one raw, and one of vdb. */
static inline json_t *story_images(const Ledger *ledger, guint number, guint reign)
{
    static const char *const TARGETS[] = {"vda", "vda", "vdb"};
    g_autoptr(GPtrArray) layers = ledger_layers_new();

    for (guint i = 0; i < G_N_ELEMENTS(TARGETS); i++) {
        SignedImage image = {.path = (char *)(i ? "/images/web1.qcow2" : "/images/base.raw"),
                             .format = (char *)(i ? "qcow2" : "raw"),
                             .file = {.inode = 12 + i, .born_ns = 7},
                             .signature = {.inode = 12 + i, .size_bytes = 9, .mtime_ns = 1, .ctime_ns = 2}};
        LedgerLayer *layer = ledger_layer_new(story_layer(800 + i, TARGETS[i]), TARGETS[i],
                                              i == 1 ? story_layer(800, "vda") : ID_NIL, STORY_SIZE, 9);

        layer->image = signed_image_copy(&image);
        g_ptr_array_add(layers, layer);
    }
    return story_adopt(ledger, number, reign, layers);
}

/* Apply @record (stolen) and check that the model still makes sense. */
static inline void story_apply(Ledger *ledger, json_t *record)
{
    json_auto_t *owned = record;
    GError *error = NULL;

    ledger_apply(ledger, owned, &error);
    g_assert_no_error(error);
    ledger_is_sound(ledger, &error);
    g_assert_no_error(error);
}

/* A ledger of VM 7 with @n generations. */
static inline Ledger *story_new(guint n)
{
    Ledger *ledger = ledger_new(story_id(7));

    story_apply(ledger, ledger_record_session(story_reign(1), 1));
    for (guint i = 1; i <= n; i++)
        story_apply(ledger, story_seal(ledger, i));
    return ledger;
}

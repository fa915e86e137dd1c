/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/base/generation.h"

#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"

#include <string.h>

#define MAX_TARGET_LEN 32

gboolean reign_equal(Reign a, Reign b)
{
    return a.number == b.number && id_equal(a.id, b.id);
}

json_t *reign_to_json(Reign reign)
{
    return json_pack("{s:I, s:s}", "number", (json_int_t)reign.number, "id", ID_TEXT(reign.id));
}

gboolean reign_from_json(const json_t *doc, Reign *ret_reign, GError **error)
{
    json_int_t number;
    const char *id;
    Reign reign;

    if (!json_read(doc, "reign", error, "{s:I, s:s}", "number", &number, "id", &id) ||
        !id_parse(id, &reign.id, error))
        return FALSE;
    if (number < 1 || number > REIGN_NUMBER_MAX || id_is_nil(reign.id)) {
        g_set_error(error, US_ERROR, US_ERROR_USAGE, "a reign counts from 1 to 2^52, and has an id");
        return FALSE;
    }
    reign.number = (guint64)number;
    *ret_reign = reign;
    return TRUE;
}

static void disk_free(gpointer p)
{
    GenerationDisk *disk = p;

    g_free(disk->target);
    g_free(disk);
}

Generation *generation_new(void)
{
    Generation *g = g_new0(Generation, 1);

    g->disks = g_ptr_array_new_with_free_func(disk_free);
    g->belongings = belongings_new();
    return g;
}

void generation_free(Generation *g)
{
    if (!g)
        return;
    g_ptr_array_free(g->disks, TRUE);
    g_ptr_array_unref(g->belongings);
    g_free(g->definition);
    g_free(g->incomplete);
    g_free(g);
}

Generation *generation_copy(const Generation *g)
{
    Generation *copy = g_new0(Generation, 1);

    *copy = *g;
    copy->disks = g_ptr_array_new_with_free_func(disk_free);
    copy->belongings = belongings_copy(g->belongings);
    copy->definition = g_strdup(g->definition);
    copy->incomplete = g_strdup(g->incomplete);
    for (guint i = 0; i < g->disks->len; i++) {
        const GenerationDisk *disk = g->disks->pdata[i];

        generation_add_disk(copy, disk->target, disk->size_bytes);
    }
    return copy;
}

void generation_add_disk(Generation *g, const char *target, guint64 size_bytes)
{
    GenerationDisk *disk = g_new0(GenerationDisk, 1);

    disk->target = g_strdup(target);
    disk->size_bytes = size_bytes;
    g_ptr_array_add(g->disks, disk);
}

const GenerationDisk *generation_find_disk(const Generation *g, const char *target)
{
    for (guint i = 0; i < g->disks->len; i++) {
        const GenerationDisk *disk = g->disks->pdata[i];

        if (g_str_equal(disk->target, target))
            return disk;
    }
    return NULL;
}

static json_t *time_or_null(gint64 ms)
{
    return ms ? json_string(clock_format(ms, (char[CLOCK_TEXT_LEN + 1]){0})) : json_null();
}

/* All but belongings and what is said of them. */
static json_t *plain_json(const Generation *g)
{
    json_t *disks = json_array();

    for (guint i = 0; i < g->disks->len; i++) {
        const GenerationDisk *disk = g->disks->pdata[i];

        json_array_append_new(disks, json_pack("{s:s, s:I}", "target", disk->target, "size_bytes",
                                               (json_int_t)disk->size_bytes));
    }
    return json_pack("{s:s, s:o, s:o, s:I, s:s, s:I, s:o, s:o, s:b, s:o, s:s?}", "id", ID_TEXT(g->id),
                     "parent", json_from_id(g->parent), "since", json_from_id(g->since), "term",
                     (json_int_t)g->reign.number, "reign", ID_TEXT(g->reign.id), "sequence",
                     (json_int_t)g->sequence, "cut_at", time_or_null(g->cut_at_ms), "sealed_at",
                     time_or_null(g->sealed_at_ms), "frozen", g->frozen, "disks", disks, "definition",
                     g->definition);
}

/* Both keys are new in format 2 of ledgers: without need they are not there. */
static json_t *with_belongings(const Generation *g, json_t *belongings)
{
    json_t *doc = plain_json(g);

    if (g->belongings->len > 0)
        json_object_set(doc, "belongings", belongings);
    if (g->incomplete)
        json_object_set_new(doc, "incomplete", json_string(g->incomplete));
    json_decref(belongings);
    return doc;
}

json_t *generation_to_json(const Generation *g)
{
    return with_belongings(g, belongings_to_json(g->belongings));
}

json_t *generation_to_json_packed(const Generation *g, const GPtrArray *known)
{
    return with_belongings(g, belongings_to_json_packed(g->belongings, known));
}

json_t *generation_describe(const Generation *g)
{
    json_t *doc = plain_json(g);

    json_object_del(doc, "definition");
    json_object_set_new(doc, "incomplete", g->incomplete ? json_string(g->incomplete) : json_null());
    return doc;
}

static gboolean read_time(const json_t *doc, gint64 *ret_ms, GError **error)
{
    *ret_ms = 0;
    if (json_is_null(doc))
        return TRUE;
    if (json_is_string(doc))
        return clock_parse(json_string_value(doc), ret_ms, error);
    g_set_error(error, US_ERROR, US_ERROR_USAGE, "generation: a time must be a string or null");
    return FALSE;
}

gboolean generation_is_target(const char *text)
{
    gsize len = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-");

    return len > 0 && len <= MAX_TARGET_LEN && text[len] == '\0';
}

static gboolean read_disks(Generation *g, const json_t *disks, GError **error)
{
    for (gsize i = 0; i < json_array_size(disks); i++) {
        const char *target;
        json_int_t size;

        if (!json_read(json_array_get(disks, i), "disk of a generation", error, "{s:s, s:I}", "target",
                       &target, "size_bytes", &size))
            return FALSE;
        if (!generation_is_target(target) || size < 0 || generation_find_disk(g, target)) {
            g_set_error(error, US_ERROR, US_ERROR_USAGE, "generation: disk '%.40s' is named or sized wrongly",
                        target);
            return FALSE;
        }
        generation_add_disk(g, target, (guint64)size);
    }
    return TRUE;
}

static gboolean read_belongings(Generation *g, const json_t *belongings, const json_t *incomplete,
                                GError **error)
{
    GPtrArray *set = belongings ? belongings_from_json(belongings, error) : belongings_new();

    if (!set)
        return FALSE;
    g_ptr_array_unref(g->belongings);
    g->belongings = set;
    if (incomplete &&
        (!json_is_string(incomplete) || json_string_length(incomplete) > GENERATION_INCOMPLETE_MAX)) {
        g_set_error(error, US_ERROR, US_ERROR_USAGE, "generation: incomplete is a short text");
        return FALSE;
    }
    g->incomplete = g_strdup(json_string_value(incomplete));
    return TRUE;
}

Generation *generation_from_json(const json_t *doc, GError **error)
{
    g_autoptr(Generation) g = generation_new();
    const char *id, *reign_id;
    json_t *parent, *since, *cut_at, *sealed_at, *disks, *definition;
    json_t *belongings = NULL;
    json_t *incomplete = NULL;
    json_int_t term, sequence;
    int frozen;

    if (!json_read(doc, "generation", error,
                   "{s:s, s:o, s:o, s:I, s:s, s:I, s:o, s:o, s:b, s:o, s:o, s?o, s?o}", "id", &id, "parent",
                   &parent, "since", &since, "term", &term, "reign", &reign_id, "sequence", &sequence,
                   "cut_at", &cut_at, "sealed_at", &sealed_at, "frozen", &frozen, "disks", &disks,
                   "definition", &definition, "belongings", &belongings, "incomplete", &incomplete))
        return NULL;
    if (term < 1 || sequence < 1 || !json_is_array(disks) ||
        !(json_is_null(definition) || json_is_string(definition))) {
        g_set_error(error, US_ERROR, US_ERROR_USAGE,
                    "generation: term and sequence count from 1, disks is a list, definition a text");
        return NULL;
    }
    if (!id_parse(id, &g->id, error) || !json_to_id(parent, &g->parent, error) ||
        !json_to_id(since, &g->since, error) || !id_parse(reign_id, &g->reign.id, error) ||
        !read_time(cut_at, &g->cut_at_ms, error) || !read_time(sealed_at, &g->sealed_at_ms, error) ||
        !read_disks(g, disks, error) || !read_belongings(g, belongings, incomplete, error))
        return NULL;
    g->reign.number = (guint64)term;
    g->sequence = (guint64)sequence;
    g->frozen = frozen;
    g->definition = g_strdup(json_string_value(definition));
    return g_steal_pointer(&g);
}

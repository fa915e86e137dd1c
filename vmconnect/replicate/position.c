/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/replicate/position.h"

#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"

Position *position_new(void)
{
    Position *position = g_new0(Position, 1);

    position->ancestors = g_array_new(FALSE, FALSE, sizeof(Id));
    return position;
}

static void partial_free(PositionPartial *partial)
{
    if (!partial)
        return;
    generation_free(partial->begun);
    pass_free(partial->pass);
    g_free(partial);
}

void position_free(Position *position)
{
    if (!position)
        return;
    generation_free(position->tip);
    g_array_unref(position->ancestors);
    partial_free(position->partial);
    json_decref(position->seed);
    g_free(position->seed_why);
    g_free(position);
}

void position_set_partial(Position *position, Generation *begun, Pass *pass)
{
    g_assert(begun->disks->len == pass->has->len);
    partial_free(position->partial);
    position->partial = g_new0(PositionPartial, 1);
    *position->partial = (PositionPartial){begun, pass};
}

guint64 position_seed_bytes(const Position *position, const char *target)
{
    return (guint64)json_integer_value(json_object_get(position->seed, target));
}

gboolean position_descends_from(const Position *position, Id checkpoint)
{
    if (!position->tip || id_is_nil(checkpoint))
        return FALSE;
    return id_equal(position->tip->id, checkpoint) || id_is_in(checkpoint, position->ancestors);
}

/* --- JSON -------------------------------------------------------------- */

static json_t *extents_to_json(const Extents *set)
{
    json_t *out = json_array();

    for (guint i = 0; i < extents_count(set); i++) {
        Extent e = extents_at(set, i);

        json_array_append_new(out, json_integer((json_int_t)e.offset));
        json_array_append_new(out, json_integer((json_int_t)e.len));
    }
    return out;
}

static json_t *partial_to_json(const PositionPartial *partial)
{
    json_t *has = json_array();

    if (!partial)
        return json_decref(has), json_null();
    for (guint i = 0; i < partial->pass->has->len; i++)
        json_array_append_new(has, extents_to_json(partial->pass->has->pdata[i]));
    return json_pack("{s:o, s:o, s:o, s:o}", "generation", generation_to_json(partial->begun), "since",
                     json_from_id(partial->pass->since), "guard", json_from_id(partial->pass->guard), "has",
                     has);
}

/* An active that told nothing of its images knows nothing of it. */
static json_t *seed_to_json(const Position *position)
{
    return position->seed ? json_pack("{s:O, s:s?}", "disks", position->seed, "why", position->seed_why)
                          : NULL;
}

json_t *position_to_json(const Position *position)
{
    json_t *ancestors = json_array();

    for (guint i = 0; i < position->ancestors->len; i++)
        json_array_append_new(ancestors, json_from_id(g_array_index(position->ancestors, Id, i)));
    return json_pack("{s:o, s:o, s:o, s:o*}", "tip",
                     position->tip ? generation_to_json(position->tip) : json_null(), "ancestors", ancestors,
                     "partial", partial_to_json(position->partial), "seed", seed_to_json(position));
}

static gboolean refuse(GError **error, const char *why)
{
    g_set_error(error, US_ERROR, US_ERROR_USAGE, "position: %s", why);
    return FALSE;
}

static gboolean read_ancestors(const json_t *list, GArray *out, GError **error)
{
    if (!json_is_array(list) || json_array_size(list) > POSITION_ANCESTORS_MAX)
        return refuse(error, "ancestors is not a list of at most 256");
    for (gsize i = 0; i < json_array_size(list); i++) {
        Id id;

        if (!json_to_id(json_array_get(list, i), &id, error))
            return FALSE;
        g_array_append_val(out, id);
    }
    return TRUE;
}

static gboolean read_extents(const json_t *list, Extents *out, GError **error)
{
    guint64 floor = 0;

    if (!json_is_array(list) || json_array_size(list) % 2 != 0)
        return refuse(error, "a list of ranges is not pairs");
    for (gsize i = 0; i < json_array_size(list); i += 2) {
        json_t *offset = json_array_get(list, i);
        json_t *len = json_array_get(list, i + 1);
        guint64 from = (guint64)json_integer_value(offset);
        guint64 n = (guint64)json_integer_value(len);

        if (!json_is_integer(offset) || !json_is_integer(len) || json_integer_value(offset) < 0 ||
            json_integer_value(len) <= 0 || n > EXTENTS_MAX_OFFSET - from || from < floor)
            return refuse(error, "a list of ranges is not sorted and disjoint");
        extents_add(out, from, n);
        floor = from + n;
    }
    return TRUE;
}

static gboolean read_partial(Position *position, const json_t *doc, GError **error)
{
    g_autoptr(Generation) begun = NULL;
    g_autoptr(Pass) pass = NULL;
    json_t *generation, *since, *guard, *has;
    Id since_id, guard_id;

    if (json_is_null(doc))
        return TRUE;
    if (!json_read(doc, "partial", error, "{s:o, s:o, s:o, s:o}", "generation", &generation, "since", &since,
                   "guard", &guard, "has", &has) ||
        !json_to_id(since, &since_id, error) || !json_to_id(guard, &guard_id, error))
        return FALSE;
    begun = generation_from_json(generation, error);
    if (!begun)
        return FALSE;
    if (!json_is_array(has) || json_array_size(has) != begun->disks->len)
        return refuse(error, "a partial has not one list of ranges per disk");
    pass = pass_new(since_id, begun->disks->len);
    pass->guard = guard_id;
    for (guint i = 0; i < begun->disks->len; i++)
        if (!read_extents(json_array_get(has, i), pass->has->pdata[i], error))
            return FALSE;
    position_set_partial(position, g_steal_pointer(&begun), g_steal_pointer(&pass));
    return TRUE;
}

static gboolean is_seed(const json_t *disks, const json_t *why)
{
    const char *target;
    json_t *bytes;

    json_object_foreach((json_t *)disks, target, bytes)
    {
        if (!generation_is_target(target) || !json_is_integer(bytes) || json_integer_value(bytes) < 0)
            return FALSE;
    }
    return json_is_object(disks) &&
           (json_is_null(why) || (json_is_string(why) && json_string_length(why) <= POSITION_SEED_WHY_MAX));
}

static gboolean read_seed(Position *position, const json_t *doc, GError **error)
{
    json_t *disks, *why;

    if (!doc)
        return TRUE;
    if (!json_read(doc, "seed", error, "{s:o, s:o}", "disks", &disks, "why", &why))
        return FALSE;
    if (!is_seed(disks, why))
        return refuse(error, "a seed is not sizes of disks and a short text");
    position->seed = json_incref(disks);
    position->seed_why = g_strdup(json_string_value(why));
    return TRUE;
}

Position *position_from_json(const json_t *doc, GError **error)
{
    g_autoptr(Position) position = position_new();
    json_t *tip, *ancestors, *partial, *seed = NULL;

    if (!json_read(doc, "position", error, "{s:o, s:o, s:o, s?o}", "tip", &tip, "ancestors", &ancestors,
                   "partial", &partial, "seed", &seed))
        return NULL;
    if (!json_is_null(tip) && !(position->tip = generation_from_json(tip, error)))
        return NULL;
    if (!read_ancestors(ancestors, position->ancestors, error) || !read_partial(position, partial, error) ||
        !read_seed(position, seed, error))
        return NULL;
    return g_steal_pointer(&position);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/tidings.h"

typedef enum { SAME, SLIGHT, GRAVE } Difference;

static const char *const LISTS[] = {"active", "standby"};
static const char *const PARTS[] = {"guests", "libvirt", "guard", "watch", "tests"};

/* What goes on by itself. */
static const char *const SLIGHT_KEYS[] = {"tip",      "sync",       "points",         "spool_bytes",
                                          "cycle_ms", "done_bytes", "compared_bytes", NULL};

typedef struct {
    json_t *item;
    gint64 at_ms;
} Said;

struct Tidings {
    gboolean whole;
    gboolean begun;
    gboolean complete;
    gint64 told_ms;
    GHashTable *said[G_N_ELEMENTS(LISTS)]; /* VM's text (its item's own) -> Said * */
    json_t *parts[G_N_ELEMENTS(PARTS)];
};

static void said_free(gpointer data)
{
    Said *s = data;

    json_decref(s->item);
    g_free(s);
}

Tidings *tidings_new(gboolean whole)
{
    Tidings *t = g_new0(Tidings, 1);

    t->whole = whole;
    for (guint i = 0; i < G_N_ELEMENTS(LISTS); i++)
        t->said[i] = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, said_free);
    return t;
}

void tidings_free(Tidings *t)
{
    if (!t)
        return;
    for (guint i = 0; i < G_N_ELEMENTS(LISTS); i++)
        g_hash_table_unref(t->said[i]);
    for (guint i = 0; i < G_N_ELEMENTS(PARTS); i++)
        json_decref(t->parts[i]);
    g_free(t);
}

/* --- what is other ----------------------------------------------------------- */

static Difference compare(const json_t *was, const json_t *is, gint64 passed_ms);

static Difference compare_age(const json_t *was, const json_t *is, gint64 passed_ms)
{
    if (json_is_integer(was) && json_is_integer(is))
        return json_integer_value(is) - json_integer_value(was) == passed_ms ? SAME : SLIGHT;
    return json_equal(was, is) ? SAME : GRAVE;
}

static Difference compare_objects(const json_t *was, const json_t *is, gint64 passed_ms)
{
    Difference all = json_object_size(was) == json_object_size(is) ? SAME : GRAVE;
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)is, key, value)
    {
        const json_t *before = json_object_get(was, key);
        Difference one = !before                      ? GRAVE
                         : g_str_equal(key, "lag_ms") ? compare_age(before, value, passed_ms)
                                                      : compare(before, value, passed_ms);

        if (one == GRAVE && before && g_strv_contains(SLIGHT_KEYS, key))
            one = SLIGHT;
        all = MAX(all, one);
    }
    return all;
}

static Difference compare_lists(const json_t *was, const json_t *is, gint64 passed_ms)
{
    Difference all = json_array_size(was) == json_array_size(is) ? SAME : GRAVE;

    for (gsize i = 0; all != GRAVE && i < json_array_size(is); i++) {
        Difference one = compare(json_array_get(was, i), json_array_get(is, i), passed_ms);

        all = MAX(all, one);
    }
    return all;
}

static Difference compare(const json_t *was, const json_t *is, gint64 passed_ms)
{
    if (was == is)
        return SAME;
    if (json_is_object(was) && json_is_object(is))
        return compare_objects(was, is, passed_ms);
    if (json_is_array(was) && json_is_array(is))
        return compare_lists(was, is, passed_ms);
    return json_equal(was, is) ? SAME : GRAVE;
}

/* --- what to say --------------------------------------------------------------- */

static const char *vm_of(const json_t *item)
{
    const char *vm = json_string_value(json_object_get(item, "vm"));

    return vm ? vm : "";
}

/* Items that are other than was said go into @doc. */
static Difference find_items(const Tidings *t, guint list, const json_t *status, gint64 now_ms, json_t *doc)
{
    const json_t *items = json_object_get(status, LISTS[list]);
    json_t *changed = json_array();
    Difference all = SAME;

    for (gsize i = 0; i < json_array_size(items); i++) {
        json_t *item = json_array_get(items, i);
        const Said *before = g_hash_table_lookup(t->said[list], vm_of(item));
        Difference one = before ? compare(before->item, item, now_ms - before->at_ms) : GRAVE;

        if (one != SAME)
            json_array_append(changed, item);
        all = MAX(all, one);
    }
    json_object_set_new(doc, LISTS[list], changed);
    return all;
}

static Difference find_parts(const Tidings *t, const json_t *status, json_t *doc)
{
    Difference all = SAME;

    for (guint i = 0; i < G_N_ELEMENTS(PARTS); i++) {
        json_t *part = json_object_get(status, PARTS[i]);

        if (!part || (t->parts[i] && json_equal(t->parts[i], part)))
            continue;
        json_object_set(doc, PARTS[i], part);
        all = GRAVE;
    }
    return all;
}

/* One that is not there any more can only be told by saying what there is. */
static gboolean lacks_some(const Tidings *t, const json_t *status)
{
    for (guint list = 0; list < G_N_ELEMENTS(LISTS); list++) {
        const json_t *items = json_object_get(status, LISTS[list]);
        guint known = 0;

        for (gsize i = 0; i < json_array_size(items); i++)
            known += g_hash_table_contains(t->said[list], vm_of(json_array_get(items, i)));
        if (known < g_hash_table_size(t->said[list]))
            return TRUE;
    }
    return FALSE;
}

/* A copy of the outer object alone: what it has is shared. */
static json_t *all_of(const json_t *status)
{
    json_t *doc = json_copy((json_t *)status);

    json_object_set_new(doc, "event", json_string("status"));
    return doc;
}

static void note(Tidings *t, const json_t *doc, gboolean complete, gint64 now_ms)
{
    for (guint list = 0; list < G_N_ELEMENTS(LISTS); list++) {
        const json_t *items = json_object_get(doc, LISTS[list]);

        for (gsize i = 0; i < json_array_size(items); i++) {
            Said *s = g_new0(Said, 1);

            *s = (Said){json_incref(json_array_get(items, i)), now_ms};
            g_hash_table_replace(t->said[list], (char *)vm_of(s->item), s);
        }
    }
    for (guint i = 0; i < G_N_ELEMENTS(PARTS); i++) {
        json_t *part = json_object_get(doc, PARTS[i]);

        if (!part)
            continue;
        json_decref(t->parts[i]);
        t->parts[i] = json_incref(part);
    }
    t->begun = TRUE;
    t->complete = complete;
    t->told_ms = now_ms;
}

static void forget_items(Tidings *t)
{
    for (guint list = 0; list < G_N_ELEMENTS(LISTS); list++)
        g_hash_table_remove_all(t->said[list]);
}

json_t *tidings_take(Tidings *t, const json_t *status, gint64 now_ms, gboolean at_once, gint64 *ret_due_ms)
{
    gboolean complete = json_is_true(json_object_get(status, "complete"));
    json_t *doc = json_pack("{s:s, s:b}", "event", "changes", "complete", complete);
    gboolean anew = !t->begun || complete != t->complete || lacks_some(t, status);
    Difference all = anew ? GRAVE : find_parts(t, status, doc);

    for (guint list = 0; !anew && list < G_N_ELEMENTS(LISTS); list++) {
        Difference one = find_items(t, list, status, now_ms, doc);

        all = MAX(all, one);
    }
    *ret_due_ms = all == SAME ? -1 : t->told_ms + TIDINGS_EACH_MS;
    if (all == SAME || (all == SLIGHT && !at_once && now_ms < *ret_due_ms)) {
        json_decref(doc);
        return NULL;
    }
    if (anew || t->whole) {
        json_decref(doc);
        doc = all_of(status);
        forget_items(t);
    }
    note(t, doc, complete, now_ms);
    return doc;
}

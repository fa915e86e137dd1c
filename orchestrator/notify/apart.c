/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/notify/apart.h"

struct Apart {
    Courier *whole;
    GPtrArray *couriers; /* Courier *, one for each of them */
};

Apart *apart_new(Courier *whole)
{
    Apart *a = g_new0(Apart, 1);

    *a = (Apart){whole, g_ptr_array_new()};
    return a;
}

void apart_close(Apart *a)
{
    for (guint i = 0; i < a->couriers->len; i++)
        courier_close(a->couriers->pdata[i], FALSE);
    g_ptr_array_set_size(a->couriers, 0);
}

void apart_free(Apart *a)
{
    g_assert(a->couriers->len == 0);
    g_ptr_array_unref(a->couriers);
    g_free(a);
}

/* --- state ----------------------------------------------------------------- */

json_t *apart_to_json(const Apart *a)
{
    json_t *doc = a->couriers->len > 0 ? json_object() : NULL;

    for (guint i = 0; i < a->couriers->len; i++) {
        const Courier *one = a->couriers->pdata[i];

        json_object_set_new(doc, courier_recipient(one), courier_state(one));
    }
    return doc;
}

static Courier *add(Apart *a, const char *recipient, const json_t *state, GError **error)
{
    Courier *one = courier_new_apart(a->whole, recipient, state, error);

    if (one)
        g_ptr_array_add(a->couriers, one);
    return one;
}

gboolean apart_read(Apart *a, const json_t *doc, GError **error)
{
    const char *recipient;
    json_t *state;

    json_object_foreach((json_t *)doc, recipient, state) if (!add(a, recipient, state, error)) return FALSE;
    return TRUE;
}

void apart_start(Apart *a)
{
    for (guint i = 0; i < a->couriers->len; i++)
        courier_start(a->couriers->pdata[i]);
}

/* --- who it is --------------------------------------------------------------- */

void apart_part(Apart *a, const char *recipient, const json_t *state, const char *why)
{
    Courier *one = add(a, recipient, state, NULL);

    g_assert(one);
    courier_start(one);
    courier_note_failure(one, why);
}

gboolean apart_take_back(Apart *a)
{
    guint before = a->couriers->len;

    for (guint i = before; i > 0; i--) {
        Courier *one = a->couriers->pdata[i - 1];

        if (!courier_is_level(one))
            continue;
        g_ptr_array_remove_index(a->couriers, i - 1);
        courier_close(one, FALSE);
    }
    return a->couriers->len < before;
}

static gboolean is_apart(const Apart *a, const char *recipient)
{
    for (guint i = 0; i < a->couriers->len; i++)
        if (g_str_equal(courier_recipient(a->couriers->pdata[i]), recipient))
            return TRUE;
    return FALSE;
}

char **apart_others(const Apart *a, char *const *to)
{
    GPtrArray *others = g_ptr_array_new();

    for (; to && *to; to++)
        if (!is_apart(a, *to))
            g_ptr_array_add(others, g_strdup(*to));
    g_ptr_array_add(others, NULL);
    return (char **)g_ptr_array_free(others, FALSE);
}

/* --- all of them ---------------------------------------------------------------- */

void apart_poke(Apart *a)
{
    for (guint i = 0; i < a->couriers->len; i++)
        courier_poke(a->couriers->pdata[i]);
}

void apart_retry(Apart *a)
{
    for (guint i = 0; i < a->couriers->len; i++)
        courier_retry(a->couriers->pdata[i]);
}

json_t *apart_describe(const Apart *a)
{
    json_t *list = json_array();

    for (guint i = 0; i < a->couriers->len; i++)
        json_array_append_new(list, courier_trouble(a->couriers->pdata[i]));
    return list;
}

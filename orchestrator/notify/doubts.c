/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/notify/doubts.h"

#include "vmconnect/base/error.h"

void doubts_init(Doubts *d)
{
    *d = (Doubts){.list = g_array_new(FALSE, FALSE, sizeof(Doubt))};
}

void doubts_clear(Doubts *d)
{
    g_clear_pointer(&d->list, g_array_unref);
}

void doubts_add(Doubts *d, Doubt doubt)
{
    g_array_append_val(d->list, doubt);
}

const Doubt *doubts_current(const Doubts *d)
{
    return d->list->len > 0 ? &g_array_index(d->list, Doubt, d->turn) : NULL;
}

void doubts_turn(Doubts *d)
{
    g_assert(d->list->len > 0);
    d->turn = (d->turn + 1) % d->list->len;
}

void doubts_rewind(Doubts *d)
{
    d->turn = 0;
}

void doubts_settle(Doubts *d)
{
    g_assert(d->turn < d->list->len);
    g_array_remove_index(d->list, d->turn);
    d->turn = 0;
}

gboolean doubts_split(Doubts *d, guint64 at, guint64 before, guint64 behind)
{
    Doubt *first = &g_array_index(d->list, Doubt, d->turn);
    Doubt second = {at, first->upto, behind};

    g_assert(at > first->after && at < first->upto);
    if (doubts_are_many(d) && d->turn > 0)
        return FALSE;
    first->upto = at;
    first->events = before;
    g_array_insert_val(d->list, d->turn + 1, second);
    return TRUE;
}

gboolean doubts_are_many(const Doubts *d)
{
    return d->list->len >= DOUBTS_MANY;
}

guint64 doubts_events(const Doubts *d)
{
    guint64 events = 0;

    for (guint i = 0; i < d->list->len; i++)
        events += g_array_index(d->list, Doubt, i).events;
    return events;
}

json_t *doubts_to_json(const Doubts *d)
{
    json_t *doc = d->list->len > 0 ? json_array() : NULL;

    for (guint i = 0; i < d->list->len; i++) {
        const Doubt *one = &g_array_index(d->list, Doubt, i);

        json_array_append_new(doc, json_pack("[I, I, I]", (json_int_t)one->after, (json_int_t)one->upto,
                                             (json_int_t)one->events));
    }
    return doc;
}

gboolean doubts_from_json(Doubts *d, const json_t *doc, guint64 newest, GError **error)
{
    json_t *one;
    gsize i;

    json_array_foreach(doc, i, one)
    {
        json_int_t after, upto, events;

        if (json_unpack(one, "[I, I, I]", &after, &upto, &events) != 0 || after < 0 || upto <= after) {
            g_set_error(error, US_ERROR, US_ERROR_CORRUPT, "what a receiver refused is no span of events");
            return FALSE;
        }
        if ((guint64)after < newest)
            doubts_add(d, (Doubt){(guint64)after, MIN((guint64)upto, newest), (guint64)events});
    }
    return TRUE;
}

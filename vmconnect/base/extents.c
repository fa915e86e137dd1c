/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/base/extents.h"

#include "vmconnect/base/error.h"

#include <string.h>

struct Extents {
    GArray *items; /* of Extent */
};

static Extent *item(const Extents *set, guint i)
{
    return &g_array_index(set->items, Extent, i);
}

static guint64 end_of(Extent e)
{
    return e.offset + e.len;
}

Extents *extents_new(void)
{
    Extents *set = g_new0(Extents, 1);

    set->items = g_array_new(FALSE, FALSE, sizeof(Extent));
    return set;
}

Extents *extents_copy(const Extents *set)
{
    Extents *copy = extents_new();

    g_array_append_vals(copy->items, set->items->data, set->items->len);
    return copy;
}

void extents_free(Extents *set)
{
    if (!set)
        return;
    g_array_free(set->items, TRUE);
    g_free(set);
}

guint extents_count(const Extents *set)
{
    return set->items->len;
}

Extent extents_at(const Extents *set, guint index)
{
    g_assert(index < set->items->len);
    return *item(set, index);
}

guint64 extents_bytes(const Extents *set)
{
    guint64 n = 0;

    for (guint i = 0; i < set->items->len; i++)
        n += item(set, i)->len;
    return n;
}

gboolean extents_is_empty(const Extents *set)
{
    return set->items->len == 0;
}

gboolean extents_equal(const Extents *a, const Extents *b)
{
    return a->items->len == b->items->len &&
           (a->items->len == 0 ||
            memcmp(a->items->data, b->items->data, a->items->len * sizeof(Extent)) == 0);
}

void extents_clear(Extents *set)
{
    g_array_set_size(set->items, 0);
}

/* The first item that ends at or after @offset: the first that could touch it. */
static guint first_touching(const Extents *set, guint64 offset)
{
    guint lo = 0;
    guint hi = set->items->len;

    while (lo < hi) {
        guint mid = lo + (hi - lo) / 2;

        if (end_of(*item(set, mid)) < offset)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static void check_range(guint64 offset, guint64 len)
{
    g_assert(len <= EXTENTS_MAX_OFFSET && offset <= EXTENTS_MAX_OFFSET - len);
}

gboolean extents_overlaps(const Extents *set, guint64 offset, guint64 len)
{
    guint i = first_touching(set, offset + 1);

    check_range(offset, len);
    return i < set->items->len && item(set, i)->offset < offset + len;
}

void extents_add(Extents *set, guint64 offset, guint64 len)
{
    guint64 end = offset + len;
    guint from, to;

    check_range(offset, len);
    if (len == 0)
        return;
    from = first_touching(set, offset);
    for (to = from; to < set->items->len && item(set, to)->offset <= end; to++) {
        offset = MIN(offset, item(set, to)->offset);
        end = MAX(end, end_of(*item(set, to)));
    }
    if (to == from) {
        Extent e = {offset, end - offset};

        g_array_insert_val(set->items, from, e);
        return;
    }
    *item(set, from) = (Extent){offset, end - offset};
    if (to - from > 1)
        g_array_remove_range(set->items, from + 1, to - from - 1);
}

void extents_remove(Extents *set, guint64 offset, guint64 len)
{
    g_autoptr(Extents) one = NULL;

    check_range(offset, len);
    if (len == 0)
        return;
    one = extents_new();
    extents_add(one, offset, len);
    extents_remove_all(set, one);
}

/* Append to an array under construction, merging with its last item. */
static void push(GArray *out, guint64 offset, guint64 end)
{
    Extent *last = out->len ? &g_array_index(out, Extent, out->len - 1) : NULL;
    Extent e = {offset, end - offset};

    if (last && offset <= end_of(*last))
        last->len = MAX(end_of(*last), end) - last->offset;
    else
        g_array_append_val(out, e);
}

static void replace_items(Extents *set, GArray *items)
{
    g_array_free(set->items, TRUE);
    set->items = items;
}

void extents_add_all(Extents *set, const Extents *other)
{
    GArray *out = g_array_sized_new(FALSE, FALSE, sizeof(Extent), set->items->len + other->items->len);
    guint i = 0;
    guint j = 0;

    while (i < set->items->len || j < other->items->len) {
        gboolean mine =
            j == other->items->len || (i < set->items->len && item(set, i)->offset <= item(other, j)->offset);
        Extent e = mine ? *item(set, i++) : *item(other, j++);

        push(out, e.offset, end_of(e));
    }
    replace_items(set, out);
}

void extents_remove_all(Extents *set, const Extents *other)
{
    GArray *out = g_array_sized_new(FALSE, FALSE, sizeof(Extent), set->items->len);
    guint j = 0;

    for (guint i = 0; i < set->items->len; i++) {
        guint64 at = item(set, i)->offset;
        guint64 end = end_of(*item(set, i));

        while (j < other->items->len && end_of(*item(other, j)) <= at)
            j++;
        for (guint k = j; k < other->items->len && item(other, k)->offset < end; k++) {
            if (item(other, k)->offset > at)
                push(out, at, item(other, k)->offset);
            at = MIN(end, end_of(*item(other, k)));
        }
        if (at < end)
            push(out, at, end);
    }
    replace_items(set, out);
}

void extents_clip(Extents *set, guint64 size)
{
    guint keep = set->items->len;

    while (keep > 0 && item(set, keep - 1)->offset >= size)
        keep--;
    g_array_set_size(set->items, keep);
    if (keep > 0 && end_of(*item(set, keep - 1)) > size)
        item(set, keep - 1)->len = size - item(set, keep - 1)->offset;
}

void extents_round(Extents *set, guint64 block)
{
    GArray *out = g_array_sized_new(FALSE, FALSE, sizeof(Extent), set->items->len);

    g_assert(block > 0 && (block & (block - 1)) == 0);
    for (guint i = 0; i < set->items->len; i++) {
        guint64 end = end_of(*item(set, i));

        push(out, item(set, i)->offset & ~(block - 1), (end + block - 1) & ~(block - 1));
    }
    replace_items(set, out);
}

GBytes *extents_encode(const Extents *set)
{
    gsize n = 1 + 2 * (gsize)set->items->len;
    guint64 *out = g_new(guint64, n);

    out[0] = GUINT64_TO_LE(set->items->len);
    for (guint i = 0; i < set->items->len; i++) {
        out[1 + 2 * i] = GUINT64_TO_LE(item(set, i)->offset);
        out[2 + 2 * i] = GUINT64_TO_LE(item(set, i)->len);
    }
    return g_bytes_new_take(out, n * sizeof(guint64));
}

static guint64 word(const guint8 *data, gsize index)
{
    guint64 w;

    memcpy(&w, data + index * sizeof(w), sizeof(w));
    return GUINT64_FROM_LE(w);
}

Extents *extents_decode(const guint8 *data, gsize len, GError **error)
{
    g_autoptr(Extents) set = extents_new();
    gsize words = len / sizeof(guint64);
    guint64 floor = 0;
    guint64 n;

    if (len % sizeof(guint64) != 0 || words % 2 != 1)
        goto bad;
    n = word(data, 0);
    if (n != words / 2 || n > G_MAXUINT / 2)
        goto bad;
    for (gsize i = 0; i < n; i++) {
        Extent e = {word(data, 1 + 2 * i), word(data, 2 + 2 * i)};

        /* Strictly above the former end: touching ranges would not be canonical. */
        if (e.len == 0 || e.len > EXTENTS_MAX_OFFSET || e.offset > EXTENTS_MAX_OFFSET - e.len ||
            (i > 0 && e.offset <= floor))
            goto bad;
        floor = end_of(e);
        g_array_append_val(set->items, e);
    }
    return g_steal_pointer(&set);
bad:
    g_set_error(error, US_ERROR, US_ERROR_PROTOCOL, "a list of extents of %zu bytes is malformed", len);
    return NULL;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What the server says about ranges. It may answer less than asked: the rest is
 * asked again. Several questions are in flight, as each answer is small. */
#include "vmconnect/base/error.h"
#include "vmconnect/image/nbd_private.h"
#include "vmconnect/image/wait.h"

#include <string.h>

#define MAX_QUESTIONS 16
#define MAX_QUESTION (1024 * 1024 * 1024ULL) /* the protocol has 32 bits for it */

typedef struct {
    NbdDisk *disk;
    gboolean (*matches)(guint32 flags);
    Extents *yes;
    Extents *no;
    const Extents *in;
    guint index;      /* the next range of `in` */
    guint64 consumed; /* how much of it was asked */
    GArray *again;    /* of Extent: what answers left out */
    guint asked;
    GError *error;
    NbdDone on_done; /* of one that nobody waits for: it frees itself */
    void *user;
} Listing;

typedef struct {
    Listing *listing;
    Extent range;
    guint64 answered;
} Question;

static gboolean is_dirty(guint32 flags)
{
    return flags & 1;
}

static gboolean reads_as_zero(guint32 flags)
{
    return flags & LIBNBD_STATE_ZERO;
}

static gboolean is_local(guint32 depth)
{
    return depth == 1;
}

/* Runs inside libnbd. */
static int on_extents(void *user, const char *context, uint64_t offset, uint32_t *entries, size_t n_entries,
                      int *error)
{
    Question *q = user;
    Listing *l = q->listing;

    (void)error;
    if (offset != q->range.offset + q->answered || strcmp(context, l->disk->context) != 0)
        return 0;
    for (size_t i = 0; i + 1 < n_entries && q->answered < q->range.len; i += 2) {
        /* The last one may say more than was asked. */
        guint64 len = MIN((guint64)entries[i], q->range.len - q->answered);
        Extents *set = l->matches(entries[i + 1]) ? l->yes : l->no;

        if (set)
            extents_add(set, q->range.offset + q->answered, len);
        q->answered += len;
    }
    return 0;
}

static void ask_more(Listing *l);

static void finish(Listing *l)
{
    l->on_done(l->user, l->error);
    g_clear_error(&l->error);
    extents_free((Extents *)l->in);
    g_array_free(l->again, TRUE);
    g_free(l);
}

static void on_answered(void *user, const GError *error)
{
    g_autofree Question *q = user;
    Listing *l = q->listing;
    Extent rest = {q->range.offset + q->answered, q->range.len - q->answered};

    l->asked--;
    if (!l->error && error)
        l->error = g_error_copy(error);
    else if (!l->error && q->answered == 0)
        g_set_error(&l->error, US_ERROR, US_ERROR_PROTOCOL,
                    "%s: the NBD server says nothing about offset %" G_GUINT64_FORMAT, l->disk->label,
                    q->range.offset);
    else if (rest.len > 0)
        g_array_append_val(l->again, rest);
    if (!l->disk->lost)
        ask_more(l);
    if (l->asked == 0 && l->on_done)
        finish(l);
}

static void ask(Listing *l, Extent range)
{
    Question *q = g_new0(Question, 1);
    NbdRequest *r =
        nbd_request_new(l->disk, "asking for the status", range.offset, range.len, on_answered, q);

    *q = (Question){.listing = l, .range = range};
    l->asked++;
    nbd_request_command(r, nbd_aio_block_status(l->disk->h, range.len, range.offset,
                                                (nbd_extent_callback){.callback = on_extents, .user_data = q},
                                                nbd_request_completion(r), 0));
    nbd_request_submitted(r);
}

static gboolean next_range(Listing *l, Extent *ret_range)
{
    Extent whole;

    if (l->again->len > 0) {
        *ret_range = g_array_index(l->again, Extent, l->again->len - 1);
        g_array_set_size(l->again, l->again->len - 1);
        return TRUE;
    }
    if (l->index == extents_count(l->in))
        return FALSE;
    whole = extents_at(l->in, l->index);
    *ret_range = (Extent){whole.offset + l->consumed, MIN(whole.len - l->consumed, MAX_QUESTION)};
    l->consumed += ret_range->len;
    if (l->consumed == whole.len) {
        l->index++;
        l->consumed = 0;
    }
    return TRUE;
}

static void ask_more(Listing *l)
{
    Extent range;

    while (!l->error && l->asked < MAX_QUESTIONS && next_range(l, &range))
        ask(l, range);
}

static gboolean listing_run(Listing *l, gint64 deadline, GError **error)
{
    ask_more(l);
    /* If the connection is lost, every question is answered (badly) within this call. */
    while (l->asked > 0)
        nbd_disk_turn(l->disk, deadline, NULL);
    if (l->error)
        g_propagate_error(error, g_steal_pointer(&l->error));
    else
        return TRUE;
    return FALSE;
}

static gboolean list(NbdDisk *disk, const Extents *in, gboolean (*matches)(guint32), Extents *yes,
                     Extents *no, int timeout_ms, GError **error)
{
    g_autoptr(Extents) inside = extents_copy(in);
    Listing l = {.disk = disk, .matches = matches, .yes = yes, .no = no, .in = inside};
    gboolean ok;

    if (!nbd_disk_alive(disk, error))
        return FALSE;
    extents_clip(inside, disk->size);
    l.again = g_array_new(FALSE, FALSE, sizeof(Extent));
    ok = listing_run(&l, wait_deadline(timeout_ms), error);
    g_array_free(l.again, TRUE);
    return ok;
}

gboolean nbd_disk_list_dirty(NbdDisk *disk, const Extents *in, Extents *dirty, int timeout_ms, GError **error)
{
    g_assert(disk->context && g_str_has_prefix(disk->context, NBD_CONTEXT_DIRTY_PREFIX));
    return list(disk, in, is_dirty, dirty, NULL, timeout_ms, error);
}

gboolean nbd_disk_split(NbdDisk *disk, const Extents *in, Extents *data, Extents *zero, int timeout_ms,
                        GError **error)
{
    g_assert(g_strcmp0(disk->context, NBD_CONTEXT_ALLOCATION) == 0);
    return list(disk, in, reads_as_zero, zero, data, timeout_ms, error);
}

gboolean nbd_disk_ask(NbdDisk *disk, guint64 offset, guint64 len, Extents *says, NbdDone on_done, void *user,
                      GError **error)
{
    g_autoptr(Extents) in = extents_new();
    Listing *l;

    g_assert(disk->context && len > 0);
    if (!nbd_disk_alive(disk, error))
        return FALSE;
    extents_add(in, offset, len);
    l = g_new0(Listing, 1);
    *l = (Listing){.disk = disk,
                   .matches = g_str_equal(disk->context, NBD_CONTEXT_ALLOCATION) ? reads_as_zero
                              : g_str_equal(disk->context, NBD_CONTEXT_DEPTH)    ? is_local
                                                                                 : is_dirty,
                   .yes = says,
                   .in = g_steal_pointer(&in),
                   .again = g_array_new(FALSE, FALSE, sizeof(Extent)),
                   .on_done = on_done,
                   .user = user};
    ask_more(l);
    return TRUE;
}

gboolean nbd_disk_list_local(NbdDisk *disk, const Extents *in, Extents *local, int timeout_ms, GError **error)
{
    g_assert(g_strcmp0(disk->context, NBD_CONTEXT_DEPTH) == 0);
    return list(disk, in, is_local, local, NULL, timeout_ms, error);
}

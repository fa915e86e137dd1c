/* SPDX-License-Identifier: Apache-2.0 */
/* Happy path: list what is dirty on each disk, take away what the pass has,
 * divide it window by window into zeros and data, read ahead as far as there
 * are free blocks, send each block as it arrives. What the standby has a copy of, and is read
 * nevertheless, is compared first (stream_compare.c).
 *
 * Breaking off: no new reads; what is being read is waited for and dropped.
 * Failure of a read: the same, with its error. Failure of the link: the same. */
#include "vmconnect/replicate/stream_private.h"

#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/image/nbd.h"

#include <errno.h>

#define WINDOW_BYTES (G_GUINT64_CONSTANT(4) << 30) /* ranges whose allocation is asked for at once */
#define DRAIN_MS 30000

Stream *stream_new(void)
{
    Stream *stream = g_new0(Stream, 1);

    for (guint i = 0; i < STREAM_BLOCKS; i++)
        stream->blocks[i].stream = stream;
    stream->comparison = comparison_new(stream);
    return stream;
}

void stream_free(Stream *stream)
{
    if (!stream)
        return;
    for (guint i = 0; i < STREAM_BLOCKS; i++) {
        g_assert(stream->blocks[i].state == BLOCK_FREE);
        g_free(stream->blocks[i].data);
    }
    comparison_free(stream->comparison);
    g_clear_error(&stream->failed);
    g_free(stream);
}

/* --- blocks ------------------------------------------------------------ */

static Block *find(Stream *st, BlockState state)
{
    for (guint i = 0; i < STREAM_BLOCKS; i++)
        if (st->blocks[i].state == state)
            return &st->blocks[i];
    return NULL;
}

static void on_read(void *user, const GError *error)
{
    Block *b = user;

    b->state = error ? BLOCK_FREE : BLOCK_READ;
    if (error && !b->stream->failed)
        b->stream->failed = g_error_copy(error);
}

static void on_sent(void *user)
{
    Block *b = user;

    b->state = BLOCK_FREE;
}

/* Take the next block's range off the front of @e and read it. */
static gboolean read_next(Stream *st, Block *b, Extent *e, GError **error)
{
    if (!b->data)
        b->data = g_malloc(SENDER_BLOCK_MAX);
    b->offset = e->offset;
    /* Up to the next boundary, so that blocks of later generations meet. */
    b->len = MIN(e->len, SENDER_BLOCK_MAX - e->offset % SENDER_BLOCK_MAX);
    if (!nbd_disk_read(cut_reader(st->cut, st->disk), b->data, b->offset, b->len, on_read, b, error))
        return FALSE;
    b->state = BLOCK_READING;
    e->offset += b->len;
    e->len -= b->len;
    return TRUE;
}

void stream_handled(Stream *st, guint64 offset, guint64 len)
{
    pass_add(st->pass, st->disk, offset, len);
    st->done_bytes += len;
}

/* Send what has been read as far as there is room. *@ret_wait_ms: as sender_has_room(). */
static gboolean send_read(Stream *st, int *ret_wait_ms, GError **error)
{
    Block *b;

    *ret_wait_ms = -1;
    while ((b = find(st, BLOCK_READ)) && sender_has_room(st->sender, b->len, ret_wait_ms)) {
        b->state = BLOCK_SENDING;
        if (!sender_data(st->sender, st->disk, b->offset, b->data, b->len, on_sent, b, error)) {
            b->state = BLOCK_FREE;
            return FALSE;
        }
        stream_handled(st, b->offset, b->len);
    }
    return TRUE;
}

/* --- waiting ----------------------------------------------------------- */

static gboolean limit_reached(Stream *st, short wake)
{
    const StreamLimits *l = st->limits;
    gint64 now = clock_steady_ms();

    if (wake && !st->woken_ms)
        st->woken_ms = now;
    if ((st->woken_ms && now >= st->woken_ms + l->wake_grace_ms) || (l->end_by_ms && now >= l->end_by_ms) ||
        (l->scratch_max_bytes && cut_scratch_used(st->cut) >= l->scratch_max_bytes))
        st->broken = TRUE;
    return st->broken;
}

gboolean stream_turn(Stream *st, int wait_ms, GError **error)
{
    NbdDisk *reader = cut_reader(st->cut, st->disk);
    struct pollfd fds[3] = {[2] = {.fd = st->woken_ms ? -1 : st->limits->wake_fd, .events = POLLIN}};
    int link_ms;

    sender_prepare(st->sender, &fds[1], &link_ms);
    wait_ms = clock_shorter_ms(clock_shorter_ms(wait_ms, link_ms), 1000);
    if (nbd_disk_prepare(reader, &fds[0]))
        wait_ms = 0;
    if (poll(fds, G_N_ELEMENTS(fds), wait_ms) < 0 && errno != EINTR)
        return us_error_errno(error, errno, "poll");
    if (!nbd_disk_pump(reader, fds[0].revents, error) || !sender_pump(st->sender, fds[1].revents, error))
        return FALSE;
    limit_reached(st, fds[2].revents);
    if (!st->failed)
        return TRUE;
    g_propagate_error(error, g_steal_pointer(&st->failed));
    return FALSE;
}

/* --- one window -------------------------------------------------------- */

static gboolean send_zeros(Stream *st, const Extents *zero, GError **error)
{
    for (guint i = 0; i < extents_count(zero); i++) {
        Extent e = extents_at(zero, i);

        if (!st->limits->blank && !sender_zero(st->sender, st->disk, e.offset, e.len, error))
            return FALSE;
        stream_handled(st, e.offset, e.len);
    }
    return TRUE;
}

static gboolean send_data(Stream *st, const Extents *data, GError **error)
{
    Extent next = {0};
    guint i = 0;
    Block *b;

    for (;;) {
        int wait_ms;

        while (!st->broken && (next.len || i < extents_count(data)) && (b = find(st, BLOCK_FREE)) &&
               nbd_disk_has_room(cut_reader(st->cut, st->disk))) {
            if (!next.len)
                next = extents_at(data, i++);
            if (!read_next(st, b, &next, error))
                return FALSE;
        }
        if (!send_read(st, &wait_ms, error))
            return FALSE;
        /* What is still in the sender's queue need not be waited for. */
        if (st->broken ||
            (!next.len && i == extents_count(data) && !find(st, BLOCK_READING) && !find(st, BLOCK_READ)))
            return TRUE;
        if (!stream_turn(st, wait_ms, error))
            return FALSE;
        st->on_progress(st->user, st->done_bytes, st->total_bytes);
    }
}

/* So much of the present disk, from its start on, is compared. */
static guint64 compared_end(const Stream *st)
{
    const CutDisk *disk = cut_disk(st->cut, st->disk);

    return disk->whole && st->limits->copies ? MIN(st->limits->copies[st->disk], disk->size_bytes) : 0;
}

/* Only whole blocks are compared, but for the end of the disk. */
static void take_blocks(Extents *set, guint64 end)
{
    extents_round(set, MESSAGE_BLOCK);
    extents_clip(set, end);
}

/* As far as there is a copy; *@data and *@zero are what is left. */
static gboolean compare(Stream *st, const Extents *window, Extents *data, Extents *zero, GError **error)
{
    g_autoptr(Extents) near = extents_copy(window);
    g_autoptr(Extents) near_data = extents_copy(data);

    extents_clip(near, compared_end(st));
    take_blocks(near_data, compared_end(st));
    extents_remove_all(data, near);
    extents_remove_all(zero, near);
    return extents_is_empty(near) || comparison_run(st->comparison, near, near_data, error);
}

static gboolean send_window(Stream *st, const Extents *window, GError **error)
{
    g_autoptr(Extents) data = NULL;
    g_autoptr(Extents) zero = NULL;

    return cut_split(st->cut, st->disk, window, &data, &zero, error) &&
           compare(st, window, data, zero, error) && send_zeros(st, zero, error) &&
           send_data(st, data, error);
}

/* --- one disk ---------------------------------------------------------- */

/* The first WINDOW_BYTES of @todo, taken off it. */
static Extents *take_window(Extents *todo)
{
    Extents *window = extents_new();
    guint64 left = WINDOW_BYTES;

    for (guint i = 0; i < extents_count(todo) && left > 0; i++) {
        Extent e = extents_at(todo, i);
        guint64 n = MIN(e.len, left);

        extents_add(window, e.offset, n);
        left -= n;
    }
    extents_remove_all(todo, window);
    return window;
}

typedef gboolean (*WindowFunc)(Stream *st, const Extents *window, GError **error);

/* Window by window, until a limit is reached; what was begun is taken off @todo. */
static gboolean each_window(Stream *st, Extents *todo, WindowFunc handle, GError **error)
{
    while (!extents_is_empty(todo) && !limit_reached(st, 0)) {
        g_autoptr(Extents) window = take_window(todo);

        if (!handle(st, window, error))
            return FALSE;
        st->on_progress(st->user, st->done_bytes, st->total_bytes);
    }
    return TRUE;
}

/* What comes once more with whole blocks does no harm. */
static void widen(const Stream *st, Extents *todo)
{
    g_autoptr(Extents) near = extents_copy(todo);

    extents_clip(near, compared_end(st));
    take_blocks(near, compared_end(st));
    extents_add_all(todo, near);
}

static GPtrArray *list_todo(Stream *st, GError **error)
{
    g_autoptr(GPtrArray) todo = g_ptr_array_new_with_free_func((GDestroyNotify)extents_free);

    for (st->disk = 0; st->disk < cut_disk_count(st->cut); st->disk++) {
        g_autoptr(Extents) dirty = cut_dirty(st->cut, st->disk, error);

        if (!dirty)
            return NULL;
        if (st->limits->also)
            extents_add_all(dirty, st->limits->also->pdata[st->disk]);
        extents_clip(dirty, cut_disk(st->cut, st->disk)->size_bytes);
        g_ptr_array_add(todo, pass_todo(st->pass, st->disk, dirty));
        widen(st, todo->pdata[st->disk]);
        st->total_bytes += extents_bytes(todo->pdata[st->disk]);
    }
    return g_steal_pointer(&todo);
}

/* Blocks that were read for nothing; reads in flight still write into theirs. */
static void drop_blocks(Stream *st)
{
    for (guint i = 0; i < cut_disk_count(st->cut); i++)
        nbd_disk_drain(cut_reader(st->cut, i), DRAIN_MS, NULL);
    for (guint i = 0; i < STREAM_BLOCKS; i++)
        if (st->blocks[i].state == BLOCK_READ)
            st->blocks[i].state = BLOCK_FREE;
    comparison_drop(st->comparison);
    g_clear_error(&st->failed);
}

guint64 stream_compared_bytes(const Stream *stream)
{
    return stream->compared_bytes;
}

static void prepare(Stream *st, Cut *cut, Sender *sender, Pass *pass, const StreamLimits *limits,
                    StreamProgress on_progress, void *user)
{
    st->cut = cut;
    st->sender = sender;
    st->pass = pass;
    st->differing = NULL;
    st->limits = limits;
    st->on_progress = on_progress;
    st->user = user;
    st->done_bytes = 0;
    st->total_bytes = 0;
    st->woken_ms = 0;
    st->broken = FALSE;
    /* A read of the former job that ended only with its cut. */
    g_clear_error(&st->failed);
}

gboolean stream_run(Stream *st, Cut *cut, Sender *sender, Pass *pass, const StreamLimits *limits,
                    StreamProgress on_progress, void *user, gboolean *ret_all, GError **error)
{
    g_autoptr(GPtrArray) todo = NULL;
    gboolean ok;

    prepare(st, cut, sender, pass, limits, on_progress, user);
    todo = list_todo(st, error);
    ok = todo != NULL;
    for (guint i = 0; ok && i < todo->len && !st->broken; i++) {
        st->disk = i;
        ok = each_window(st, todo->pdata[i], send_window, error);
    }
    drop_blocks(st);
    if (ok)
        *ret_all = st->done_bytes == st->total_bytes;
    return ok;
}

/* --- looking only ------------------------------------------------------- */

/* What of @todo has not changed at all; blocks of which all has leave it, those of which a part has stay. */
static Extents *unchanged(Stream *st, Extents *todo, GError **error)
{
    g_autoptr(Extents) dirty = cut_dirty(st->cut, st->disk, error);
    g_autoptr(Extents) clean = extents_copy(todo);
    g_autoptr(Extents) changed = extents_copy(todo);
    Extents *now;

    if (!dirty)
        return NULL;
    extents_remove_all(clean, dirty);
    extents_round(clean, MESSAGE_BLOCK);
    extents_remove_all(changed, clean);
    extents_remove_all(todo, changed);
    extents_round(dirty, MESSAGE_BLOCK);
    now = extents_copy(todo);
    extents_remove_all(now, dirty);
    return now;
}

static gboolean audit_window(Stream *st, const Extents *window, GError **error)
{
    g_autoptr(Extents) data = NULL;
    g_autoptr(Extents) zero = NULL;

    if (!cut_split(st->cut, st->disk, window, &data, &zero, error))
        return FALSE;
    take_blocks(data, cut_disk(st->cut, st->disk)->size_bytes);
    return comparison_run(st->comparison, window, data, error);
}

static gboolean audit_disk(Stream *st, Extents *todo, GError **error)
{
    g_autoptr(Extents) left = unchanged(st, todo, error);

    return left && each_window(st, left, audit_window, error);
}

gboolean stream_audit(Stream *st, Cut *cut, Sender *sender, GPtrArray *todo, GPtrArray *differing,
                      const StreamLimits *limits, StreamProgress on_progress, void *user, gboolean *ret_all,
                      GError **error)
{
    g_autoptr(Pass) seen = pass_new(ID_NIL, todo->len);
    gboolean ok = TRUE;

    prepare(st, cut, sender, seen, limits, on_progress, user);
    st->differing = differing;
    for (guint i = 0; ok && i < todo->len && !st->broken; i++) {
        st->disk = i;
        ok = audit_disk(st, todo->pdata[i], error);
    }
    drop_blocks(st);
    for (guint i = 0; i < todo->len; i++)
        extents_remove_all(todo->pdata[i], seen->has->pdata[i]);
    *ret_all = ok && !st->broken;
    return ok;
}

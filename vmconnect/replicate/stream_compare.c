/* SPDX-License-Identifier: Apache-2.0 */
/* Happy path: the window is cut into chunks; for each the standby is asked, some chunks ahead; meanwhile it is read
 * and hashed here. Where both are known, what is equal is noted, and said at the end in as few words as possible;
 * what differs is sent out of the chunk. A hole is one long chunk, of which nothing is read here, and nothing there
 * if it is one there, too: it is decided answer by answer. How fast is read, the guest says.
 *
 * Breaking off: no new questions and reads; the slice that follows ends what was asked. */
#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/stop.h"
#include "vmconnect/image/nbd.h"
#include "vmconnect/replicate/digest.h"
#include "vmconnect/replicate/stream_private.h"

#include <string.h>

#define DRAIN_MS 30000
#define CHUNKS 24 /* 24 MiB a VM, while there is something to compare */
#define CHUNK_BYTES (1u << 20)
#define CHUNK_BLOCKS (CHUNK_BYTES / MESSAGE_BLOCK)
#define SEND_BLOCKS (SENDER_BLOCK_MAX / MESSAGE_BLOCK)

G_STATIC_ASSERT(CHUNKS <= MESSAGE_COMPARES_MAX);

typedef struct {
    Comparison *comparison;
    gboolean open; /* something of it is undecided */
    gboolean hole; /* reads as zeros here; may be longer than CHUNK_BYTES */
    guint64 offset;
    guint64 len;
    guint64 answered; /* so many bytes of it the standby has hashed */
    /* Of one that is no hole, counted in blocks: */
    gboolean zeros[CHUNK_BLOCKS]; /* reads as zeros here, and is not read */
    guint asked;                  /* so many are being read, or have been */
    guint reading;                /* reads in flight */
    guint decided;                /* so many are dealt with */
    guint lent;                   /* pieces that the sender borrows */
    guint8 *data;                 /* CHUNK_BYTES; NULL: not needed yet */
    guint8 mine[CHUNK_BLOCKS][MESSAGE_HASH_LEN];
    guint8 theirs[CHUNK_BLOCKS][MESSAGE_HASH_LEN];
} Chunk;

typedef struct {
    Chunk *chunk;
    guint block;
    gsize len;
} Read;

struct Comparison {
    Stream *stream;
    Digest *digest;
    Chunk chunks[CHUNKS];
    guint reading;
    GQueue unanswered; /* of Chunk *, in the order in which they were asked */
    GQueue unread;
    Extents *same; /* equal, and not said yet */
    gboolean over; /* no run is under way */
    /* For the length of one run: */
    gboolean looked; /* … at the guest: something is being read, or was */
    const Extents *window;
    const Extents *data;
    guint in_window; /* the range of it … */
    guint in_data;   /* … the first of those that end behind … */
    guint64 at;      /* … up to which chunks were made */
};

Comparison *comparison_new(Stream *st)
{
    Comparison *c = g_new0(Comparison, 1);

    c->stream = st;
    c->same = extents_new();
    for (guint i = 0; i < CHUNKS; i++)
        c->chunks[i].comparison = c;
    return c;
}

void comparison_free(Comparison *c)
{
    if (!c)
        return;
    for (guint i = 0; i < CHUNKS; i++) {
        g_assert(c->chunks[i].lent == 0);
        g_free(c->chunks[i].data);
    }
    g_queue_clear(&c->unanswered);
    g_queue_clear(&c->unread);
    digest_free(c->digest);
    extents_free(c->same);
    g_free(c);
}

/* Between runs no memory is kept, but what somebody still writes to or reads from. */
static void release(Chunk *chunk)
{
    if (chunk->comparison->over && chunk->lent == 0 && chunk->reading == 0)
        g_clear_pointer(&chunk->data, g_free);
}

void comparison_drop(Comparison *c)
{
    c->over = TRUE;
    g_queue_clear(&c->unanswered);
    g_queue_clear(&c->unread);
    extents_clear(c->same);
    for (guint i = 0; i < CHUNKS; i++) {
        c->chunks[i].open = FALSE;
        release(&c->chunks[i]);
    }
}

/* --- blocks of a chunk ------------------------------------------------- */

static guint count_blocks(const Chunk *chunk)
{
    return (guint)message_blocks(chunk->len);
}

/* Where block @n begins, or, behind the last one, the chunk's end; from its start on. */
static guint64 block_at(const Chunk *chunk, guint64 n)
{
    return MIN(n * MESSAGE_BLOCK, chunk->len);
}

static const guint8 *zeros_hash(Comparison *c, const Chunk *chunk, guint64 block)
{
    return digest_zeros(c->digest, block_at(chunk, block + 1) - block_at(chunk, block));
}

/* --- what is equal, and what is not ------------------------------------ */

static void settled(Comparison *c, guint64 offset, guint64 len)
{
    c->stream->compared_bytes += len;
    stream_handled(c->stream, offset, len);
}

static gboolean settle(Comparison *c, gboolean same, guint64 offset, guint64 len, GError **error)
{
    GPtrArray *differing = c->stream->differing;

    if (same && !differing)
        extents_add(c->same, offset, len);
    else if (!same && differing)
        extents_add(differing->pdata[c->stream->disk], offset, len);
    else if (!same && !sender_zero(c->stream->sender, c->stream->disk, offset, len, error))
        return FALSE;
    settled(c, offset, len);
    return TRUE;
}

static gboolean say_same(Comparison *c, GError **error)
{
    for (guint i = 0; i < extents_count(c->same); i++) {
        Extent e = extents_at(c->same, i);

        if (!sender_same(c->stream->sender, c->stream->disk, e.offset, e.len, error))
            return FALSE;
    }
    extents_clear(c->same);
    return TRUE;
}

static void on_sent(void *user)
{
    Chunk *chunk = user;

    chunk->lent--;
    release(chunk);
}

static gboolean send_blocks(Comparison *c, Chunk *chunk, guint64 from, guint64 len, GError **error)
{
    chunk->lent++;
    if (!sender_data(c->stream->sender, c->stream->disk, chunk->offset + from, chunk->data + from, len,
                     on_sent, chunk, error)) {
        chunk->lent--;
        return FALSE;
    }
    settled(c, chunk->offset + from, len);
    return TRUE;
}

static gboolean is_same(const Chunk *chunk, guint block)
{
    return memcmp(chunk->mine[block], chunk->theirs[block], MESSAGE_HASH_LEN) == 0;
}

/* The end of the blocks from @from on that go the same way, and in one frame. */
static guint run_end(const Chunk *chunk, guint from)
{
    gboolean same = is_same(chunk, from);
    guint n = count_blocks(chunk);
    guint to = from + 1;

    while (to < n && is_same(chunk, to) == same &&
           (same || (chunk->zeros[to] == chunk->zeros[from] && to - from < SEND_BLOCKS)))
        to++;
    return to;
}

static gboolean is_known(const Chunk *chunk)
{
    return chunk->answered == chunk->len && chunk->asked == count_blocks(chunk) && chunk->reading == 0;
}

/* As far as there is room. *@ret_wait_ms: as sender_has_room(). */
static gboolean decide(Comparison *c, Chunk *chunk, int *ret_wait_ms, GError **error)
{
    while (chunk->decided < count_blocks(chunk)) {
        guint end = run_end(chunk, chunk->decided);
        guint64 from = block_at(chunk, chunk->decided);
        guint64 len = block_at(chunk, end) - from;
        gboolean same = is_same(chunk, chunk->decided);

        if (same || chunk->zeros[chunk->decided] || c->stream->differing) {
            if (!settle(c, same, chunk->offset + from, len, error))
                return FALSE;
        } else {
            if (!sender_has_room(c->stream->sender, len, ret_wait_ms))
                return TRUE;
            if (!send_blocks(c, chunk, from, len, error))
                return FALSE;
        }
        chunk->decided = end;
    }
    chunk->open = FALSE;
    return TRUE;
}

/* *@ret_left: some chunk is still open. */
static gboolean decide_all(Comparison *c, gboolean *ret_left, int *ret_wait_ms, GError **error)
{
    *ret_left = FALSE;
    *ret_wait_ms = -1;
    for (guint i = 0; i < CHUNKS; i++) {
        Chunk *chunk = &c->chunks[i];

        if (chunk->open && !chunk->hole && is_known(chunk) && !decide(c, chunk, ret_wait_ms, error))
            return FALSE;
        *ret_left |= chunk->open;
    }
    return TRUE;
}

/* --- the standby's answers --------------------------------------------- */

static void note_theirs(Comparison *c, Chunk *chunk, const MessageHashes *hashes)
{
    guint64 first = chunk->answered / MESSAGE_BLOCK;
    guint64 n = message_blocks(hashes->range.len);

    for (guint64 i = 0; i < n; i++)
        memcpy(chunk->theirs[first + i],
               hashes->hashes ? hashes->hashes + i * MESSAGE_HASH_LEN : zeros_hash(c, chunk, first + i),
               MESSAGE_HASH_LEN);
}

static gboolean decide_hole(Comparison *c, const Chunk *chunk, const MessageHashes *hashes, GError **error)
{
    guint64 first = chunk->answered / MESSAGE_BLOCK;
    guint64 n = message_blocks(hashes->range.len);

    if (!hashes->hashes)
        return settle(c, TRUE, hashes->range.offset, hashes->range.len, error);
    for (guint64 i = 0, to; i < n; i = to) {
        gboolean same = TRUE;

        for (to = i; to < n; to++) {
            gboolean next = memcmp(hashes->hashes + to * MESSAGE_HASH_LEN, zeros_hash(c, chunk, first + to),
                                   MESSAGE_HASH_LEN) == 0;

            if (to > i && next != same)
                break;
            same = next;
        }
        if (!settle(c, same, chunk->offset + block_at(chunk, first + i),
                    block_at(chunk, first + to) - block_at(chunk, first + i), error))
            return FALSE;
    }
    return TRUE;
}

/* Within @chunk, where it was left off, and whole blocks up to its end. */
static gboolean is_next(const Comparison *c, const Chunk *chunk, MessageRange range)
{
    guint64 left = chunk ? chunk->len - chunk->answered : 0;

    return chunk && range.disk == c->stream->disk && range.offset == chunk->offset + chunk->answered &&
           (range.len == left || (range.len < left && range.len % MESSAGE_BLOCK == 0));
}

static gboolean on_hashes(void *user, const MessageHashes *hashes, GError **error)
{
    Comparison *c = user;
    Chunk *chunk = g_queue_peek_head(&c->unanswered);

    if (!is_next(c, chunk, hashes->range)) {
        g_set_error_literal(error, US_ERROR, US_ERROR_PROTOCOL,
                            "the standby hashed another range than was asked for");
        return FALSE;
    }
    if (!chunk->hole)
        note_theirs(c, chunk, hashes);
    else if (!decide_hole(c, chunk, hashes, error))
        return FALSE;
    chunk->answered += hashes->range.len;
    if (chunk->answered < chunk->len)
        return TRUE;
    g_queue_pop_head(&c->unanswered);
    chunk->open &= !chunk->hole;
    stop_at("compare.answered");
    return TRUE;
}

/* --- the guest, whose disks we read ------------------------------------- */

static void look_at_guest(Comparison *c)
{
    Throttle *throttle = c->stream->limits->throttle;
    g_autoptr(GError) error = NULL;
    guint64 requests, total_ns;

    /* Nothing may be in flight while libvirt is asked: a QEMU that stops its guest now (no room, say) waits for our taking what
     * we have asked for, its monitor for that, and we for its monitor. */
    if (nbd_disk_drain(cut_reader(c->stream->cut, c->stream->disk), DRAIN_MS, &error) &&
        cut_guest_requests(c->stream->cut, &requests, &total_ns, &error))
        throttle_sample(throttle, clock_steady_ms(), requests, total_ns);
    else
        throttle_go_blind(throttle, error->message);
}

/* Milliseconds until something may be read; 0: now. */
static int held_ms(Comparison *c)
{
    Throttle *throttle = c->stream->limits->throttle;
    gint64 wait_ms;

    if (!throttle)
        return 0;
    if (!c->looked || throttle_is_due(throttle, clock_steady_ms()))
        look_at_guest(c);
    c->looked = TRUE;
    wait_ms = throttle_wait_ms(throttle, clock_steady_ms());
    return (int)MIN(wait_ms, 1000);
}

/* --- our own side ------------------------------------------------------ */

static void on_read(void *user, const GError *error)
{
    g_autofree Read *read = user;
    Chunk *chunk = read->chunk;
    Comparison *c = chunk->comparison;

    c->reading--;
    chunk->reading--;
    if (!error)
        digest_blocks(c->digest, chunk->data + block_at(chunk, read->block), read->len,
                      chunk->mine[read->block]);
    else if (!c->stream->failed)
        c->stream->failed = g_error_copy(error);
    release(chunk);
}

/* The next blocks of @chunk that are no holes. */
static gboolean read_blocks(Comparison *c, Chunk *chunk, guint to, GError **error)
{
    Read *read = g_new0(Read, 1);
    guint64 from = block_at(chunk, chunk->asked);

    if (!chunk->data)
        chunk->data = g_malloc(CHUNK_BYTES);
    *read = (Read){chunk, chunk->asked, block_at(chunk, to) - from};
    if (!nbd_disk_read(cut_reader(c->stream->cut, c->stream->disk), chunk->data + from, chunk->offset + from,
                       read->len, on_read, read, error)) {
        g_free(read);
        return FALSE;
    }
    if (c->stream->limits->throttle)
        throttle_read(c->stream->limits->throttle, read->len);
    c->reading++;
    chunk->reading++;
    return TRUE;
}

/* *@ret_wait_ms: how long not, for the guest's sake; -1: that is no reason. */
static gboolean read_ahead(Comparison *c, int *ret_wait_ms, GError **error)
{
    Chunk *chunk;

    *ret_wait_ms = -1;

    while ((chunk = g_queue_peek_head(&c->unread)) && c->reading < STREAM_BLOCKS &&
           nbd_disk_has_room(cut_reader(c->stream->cut, c->stream->disk))) {
        guint n = count_blocks(chunk);
        guint to = chunk->asked;
        int ms = held_ms(c);

        if (ms > 0) {
            *ret_wait_ms = ms;
            return TRUE;
        }
        while (to < n && to - chunk->asked < SEND_BLOCKS && chunk->zeros[to] == chunk->zeros[chunk->asked])
            to++;
        if (chunk->asked < n && !chunk->zeros[chunk->asked] && !read_blocks(c, chunk, to, error))
            return FALSE;
        chunk->asked = to;
        if (to == n)
            g_queue_pop_head(&c->unread);
    }
    return TRUE;
}

/* --- chunks ------------------------------------------------------------ */

static Chunk *free_chunk(Comparison *c)
{
    for (guint i = 0; i < CHUNKS; i++)
        if (!c->chunks[i].open && c->chunks[i].lent == 0 && c->chunks[i].reading == 0)
            return &c->chunks[i];
    return NULL;
}

/* The range of @data that ends behind @at, the first one from *@in_data on. */
static Extent data_behind(const Comparison *c, guint64 at, guint *in_data)
{
    for (; *in_data < extents_count(c->data); ++*in_data) {
        Extent e = extents_at(c->data, *in_data);

        if (e.offset + e.len > at)
            return e;
    }
    return (Extent){EXTENTS_MAX_OFFSET, 0};
}

static void mark_zeros(Comparison *c, Chunk *chunk)
{
    guint in_data = c->in_data;

    for (guint i = 0; i < count_blocks(chunk); i++) {
        chunk->zeros[i] = data_behind(c, chunk->offset + block_at(chunk, i), &in_data).offset >=
                          chunk->offset + block_at(chunk, i + 1);
        if (chunk->zeros[i])
            memcpy(chunk->mine[i], zeros_hash(c, chunk, i), MESSAGE_HASH_LEN);
    }
}

/* The next part of the window, which is not at its end. */
static void take_chunk(Comparison *c, Chunk *chunk)
{
    Extent range = extents_at(c->window, c->in_window);
    guint64 at = MAX(c->at, range.offset);
    guint64 end = range.offset + range.len;
    guint64 hole = CLAMP(data_behind(c, at, &c->in_data).offset, at, end) - at;
    guint64 hole_max = c->stream->limits->hole_max ? c->stream->limits->hole_max : MESSAGE_COMPARE_MAX;

    chunk->open = TRUE;
    chunk->offset = at;
    chunk->hole = hole >= CHUNK_BYTES || hole == end - at;
    chunk->len = chunk->hole ? MIN(hole, hole_max) : MIN(end - at, CHUNK_BYTES - at % CHUNK_BYTES);
    chunk->answered = 0;
    chunk->asked = chunk->decided = 0;
    if (!chunk->hole)
        mark_zeros(c, chunk);
    c->at = at + chunk->len;
    if (c->at == end)
        c->in_window++;
}

static gboolean ask_ahead(Comparison *c, GError **error)
{
    Chunk *chunk;

    while (c->in_window < extents_count(c->window) && (chunk = free_chunk(c))) {
        take_chunk(c, chunk);
        g_queue_push_tail(&c->unanswered, chunk);
        if (!chunk->hole)
            g_queue_push_tail(&c->unread, chunk);
        if (!sender_compare(c->stream->sender, c->stream->disk, chunk->offset, chunk->len, error))
            return FALSE;
    }
    return TRUE;
}

static gboolean run(Comparison *c, GError **error)
{
    Stream *st = c->stream;

    for (;;) {
        gboolean left;
        int wait_ms, held = -1;

        if (!st->broken && (!ask_ahead(c, error) || !read_ahead(c, &held, error)))
            return FALSE;
        if (!decide_all(c, &left, &wait_ms, error))
            return FALSE;
        if (st->broken || (!left && c->in_window == extents_count(c->window)))
            return say_same(c, error);
        if (!stream_turn(st, clock_shorter_ms(wait_ms, held), error))
            return FALSE;
        st->on_progress(st->user, st->done_bytes, st->total_bytes);
    }
}

gboolean comparison_run(Comparison *c, const Extents *window, const Extents *data, GError **error)
{
    guint8 key[DIGEST_KEY_LEN];
    gboolean ok;

    sender_digest_key(c->stream->sender, key);
    digest_free(c->digest);
    c->digest = digest_new(key);
    c->over = FALSE;
    c->looked = FALSE;
    c->window = window;
    c->data = data;
    c->in_window = c->in_data = 0;
    c->at = 0;
    sender_set_hashes(c->stream->sender, on_hashes, c);
    ok = run(c, error);
    /* What follows is a time in which nothing is read. */
    if (c->looked)
        look_at_guest(c);
    sender_set_hashes(c->stream->sender, NULL, NULL);
    return ok;
}

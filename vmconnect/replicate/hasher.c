/* SPDX-License-Identifier: Apache-2.0 */
/* A range that was asked goes: the status of the next bite, of it alone or of several that follow one another, is
 * asked for (on connections of their own, since one that offers a context reads slowly) -> the bite is cut into
 * pieces, each a hole or data -> data is read, block by block hashed -> the foremost piece, when it is
 * complete, is the next answer. */
#include "vmconnect/replicate/hasher.h"

#include "vmconnect/base/error.h"
#include "vmconnect/image/nbd.h"
#include "vmconnect/replicate/digest.h"

#define READS 16 /* in flight: 4 MiB of memory */
#define READ_BYTES (256u << 10)
#define PIECE_BYTES (1u << 20)
#define PIECES_AHEAD 8 /* no bite while so many wait: the next is the larger for it */
#define BITE_BYTES (G_GUINT64_CONSTANT(64) << 20) /* whose status is asked for at once */

/* A part of one range that is one answer. */
typedef struct {
    MessageRange range;
    gboolean hole;
    gboolean last; /* of its range */
    guint64 asked; /* so many bytes of it are being read, or have been */
    guint reading; /* reads in flight */
    guint8 hashes[PIECE_BYTES / MESSAGE_BLOCK * MESSAGE_HASH_LEN];
} Piece;

typedef struct {
    Hasher *hasher;
    Piece *piece; /* NULL: free */
    guint64 offset;
    gsize len;
    guint8 *data;
} Read;

/* What one context says of the present bite. */
typedef struct {
    Hasher *hasher;
    const char *context;
    NbdDisk *disk;
    gboolean asking;
    Extents *says;
} Probe;

enum { ZERO, HELD };
G_STATIC_ASSERT(HELD + 1 == HASHER_POLL);

struct Hasher {
    Store *store;
    const Generation *begun;
    GPtrArray *held;
    Digest *digest;
    GQueue ranges; /* of MessageRange *: what is left of those asked, not cut into pieces yet */
    GQueue pieces; /* of Piece *, in order */
    Piece *taken;  /* the last answer, which was given out */
    guint open;    /* ranges that are not wholly answered */
    Read reads[READS];
    Probe probes[HASHER_POLL];
    guint probed; /* the disk that they are connected to */
    Extent bite;  /* of the foremost ranges; len 0: none is asked about */
    GError *failed;
};

Hasher *hasher_new(Store *store, const Generation *begun, const guint8 *key, GPtrArray *held)
{
    Hasher *h = g_new0(Hasher, 1);

    h->store = store;
    h->begun = begun;
    h->held = held;
    h->digest = digest_new(key);
    for (guint i = 0; i < READS; i++)
        h->reads[i].hasher = h;
    h->probes[ZERO] = (Probe){h, NBD_CONTEXT_ALLOCATION, NULL, FALSE, extents_new()};
    h->probes[HELD] = (Probe){h, NBD_CONTEXT_DEPTH, NULL, FALSE, extents_new()};
    return h;
}

static void hang_up(Hasher *h)
{
    for (guint i = 0; i < HASHER_POLL; i++)
        g_clear_pointer(&h->probes[i].disk, nbd_disk_close);
}

void hasher_free(Hasher *h)
{
    if (!h)
        return;
    hang_up(h);
    for (guint i = 0; i < READS; i++) {
        g_assert(!h->reads[i].piece);
        g_free(h->reads[i].data);
    }
    g_queue_clear_full(&h->ranges, g_free);
    g_queue_clear_full(&h->pieces, g_free);
    for (guint i = 0; i < HASHER_POLL; i++)
        extents_free(h->probes[i].says);
    g_free(h->taken);
    digest_free(h->digest);
    g_clear_error(&h->failed);
    g_free(h);
}

gboolean hasher_ask(Hasher *h, MessageRange range, GError **error)
{
    if (h->open == MESSAGE_COMPARES_MAX) {
        g_set_error(error, US_ERROR, US_ERROR_PROTOCOL,
                    "the active asks for more than the %u comparisons that may be open",
                    MESSAGE_COMPARES_MAX);
        return FALSE;
    }
    h->open++;
    g_queue_push_tail(&h->ranges, g_memdup2(&range, sizeof(range)));
    return TRUE;
}

static void fail(Hasher *h, const GError *error)
{
    if (!h->failed)
        h->failed = g_error_copy(error);
}

/* --- status ------------------------------------------------------------ */

static const char *target_of(const Hasher *h, guint disk)
{
    return ((const GenerationDisk *)h->begun->disks->pdata[disk])->target;
}

static void add_pieces(Hasher *h, guint64 offset, guint64 len, gboolean hole)
{
    for (guint64 n; len > 0; offset += n, len -= n) {
        Piece *piece = g_new0(Piece, 1);

        n = hole ? len : MIN(len, PIECE_BYTES - offset % PIECE_BYTES);
        piece->range = (MessageRange){offset, n, (guint16)h->probed};
        piece->hole = hole;
        g_queue_push_tail(&h->pieces, piece);
    }
}

/* What of the bite has to be read. A block of which only a part is a hole is. */
static Extents *data_of_bite(const Hasher *h)
{
    Extents *data = extents_new();

    extents_add(data, h->bite.offset, h->bite.len);
    extents_remove_all(data, h->probes[ZERO].says);
    extents_round(data, MESSAGE_BLOCK);
    extents_clip(data, h->bite.offset + h->bite.len);
    return data;
}

/* In ascending order. */
static void add_part(Hasher *h, const Extents *data, guint64 at, guint64 end)
{
    for (guint i = 0; i < extents_count(data); i++) {
        Extent e = extents_at(data, i);
        guint64 from = CLAMP(e.offset, at, end);
        guint64 to = CLAMP(e.offset + e.len, at, end);

        if (from == to)
            continue;
        add_pieces(h, at, from - at, TRUE);
        add_pieces(h, from, to - from, FALSE);
        at = to;
    }
    add_pieces(h, at, end - at, TRUE);
}

/* The bite ends with a range, or within one. */
static void cut_bite(Hasher *h)
{
    g_autoptr(Extents) data = data_of_bite(h);

    while (h->bite.len > 0) {
        MessageRange *range = g_queue_peek_head(&h->ranges);
        guint64 n = MIN(range->len, h->bite.len);

        add_part(h, data, range->offset, range->offset + n);
        h->bite.offset += n;
        h->bite.len -= n;
        range->offset += n;
        range->len -= n;
        if (range->len > 0)
            continue;
        ((Piece *)g_queue_peek_tail(&h->pieces))->last = TRUE;
        g_free(g_queue_pop_head(&h->ranges));
    }
}

static void on_status(void *user, const GError *error)
{
    Probe *probe = user;
    Hasher *h = probe->hasher;

    probe->asking = FALSE;
    if (error)
        fail(h, error);
    if (h->failed || h->probes[ZERO].asking || h->probes[HELD].asking)
        return;
    cut_bite(h);
    if (h->held)
        extents_add_all(h->held->pdata[h->probed], h->probes[HELD].says);
}

static gboolean ask(Hasher *h, Probe *probe, GError **error)
{
    if (!probe->disk)
        probe->disk = store_connect(h->store, target_of(h, h->probed), probe->context, error);
    extents_clear(probe->says);
    probe->asking = probe->disk && nbd_disk_ask(probe->disk, h->bite.offset, h->bite.len, probe->says,
                                                on_status, probe, error);
    return probe->asking;
}

/* Of the ranges from the foremost on, as far as they follow one another. */
static Extent next_bite(const Hasher *h)
{
    const MessageRange *first = g_queue_peek_head((GQueue *)&h->ranges);
    guint64 len = 0;

    for (const GList *l = h->ranges.head; l && len < BITE_BYTES; l = l->next) {
        const MessageRange *range = l->data;

        if (range->disk != first->disk || range->offset != first->offset + len)
            break;
        len += range->len;
    }
    return (Extent){first->offset, MIN(len, BITE_BYTES)};
}

static gboolean ask_status(Hasher *h, GError **error)
{
    const MessageRange *next = g_queue_peek_head(&h->ranges);

    if (!next || h->bite.len > 0 || h->pieces.length >= PIECES_AHEAD)
        return TRUE;
    if (h->probed != next->disk)
        hang_up(h);
    h->probed = next->disk;
    h->bite = next_bite(h);
    return ask(h, &h->probes[ZERO], error) && (!h->held || ask(h, &h->probes[HELD], error));
}

/* --- data -------------------------------------------------------------- */

static void on_read(void *user, const GError *error)
{
    Read *read = user;
    Piece *piece = read->piece;
    guint64 block = (read->offset - piece->range.offset) / MESSAGE_BLOCK;

    read->piece = NULL;
    piece->reading--;
    if (error)
        fail(read->hasher, error);
    else
        digest_blocks(read->hasher->digest, read->data, read->len, piece->hashes + block * MESSAGE_HASH_LEN);
}

static Read *free_read(Hasher *h)
{
    for (guint i = 0; i < READS; i++)
        if (!h->reads[i].piece)
            return &h->reads[i];
    return NULL;
}

static gboolean read_more(Hasher *h, Piece *piece, GError **error)
{
    NbdDisk *disk = store_disk(h->store, target_of(h, piece->range.disk));
    Read *read;

    while (piece->asked < piece->range.len && nbd_disk_has_room(disk) && (read = free_read(h))) {
        if (!read->data)
            read->data = g_malloc(READ_BYTES);
        read->offset = piece->range.offset + piece->asked;
        read->len = MIN(READ_BYTES, piece->range.len - piece->asked);
        if (!nbd_disk_read(disk, read->data, read->offset, read->len, on_read, read, error))
            return FALSE;
        read->piece = piece;
        piece->reading++;
        piece->asked += read->len;
    }
    return TRUE;
}

static gboolean read_pieces(Hasher *h, GError **error)
{
    for (GList *l = h->pieces.head; l && free_read(h); l = l->next) {
        Piece *piece = l->data;

        if (!piece->hole && !read_more(h, piece, error))
            return FALSE;
    }
    return TRUE;
}

/* --- turning ----------------------------------------------------------- */

gboolean hasher_prepare(Hasher *h, struct pollfd fds[static HASHER_POLL])
{
    gboolean ready = FALSE;

    for (guint i = 0; i < HASHER_POLL; i++) {
        fds[i] = (struct pollfd){.fd = -1};
        if (h->probes[i].disk)
            ready |= nbd_disk_prepare(h->probes[i].disk, &fds[i]);
    }
    return ready;
}

gboolean hasher_pump(Hasher *h, const struct pollfd *fds, GError **error)
{
    for (guint i = 0; i < HASHER_POLL; i++)
        if (h->probes[i].disk && !nbd_disk_pump(h->probes[i].disk, fds ? fds[i].revents : 0, error))
            return FALSE;
    if (h->failed) {
        g_propagate_error(error, g_steal_pointer(&h->failed));
        return FALSE;
    }
    return ask_status(h, error) && read_pieces(h, error);
}

static gboolean is_complete(const Piece *piece)
{
    return piece->hole || (piece->asked == piece->range.len && piece->reading == 0);
}

gboolean hasher_take(Hasher *h, MessageHashes *ret_hashes)
{
    Piece *piece = g_queue_peek_head(&h->pieces);

    if (!piece || !is_complete(piece))
        return FALSE;
    g_free(h->taken);
    h->taken = g_queue_pop_head(&h->pieces);
    if (piece->last)
        h->open--;
    *ret_hashes = (MessageHashes){piece->range, piece->hole ? NULL : piece->hashes};
    return TRUE;
}

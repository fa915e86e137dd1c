/* SPDX-License-Identifier: Apache-2.0 */
/* A range that was asked for becomes a row: the seed says where it has holes (on a connection of its own, since one
 * that offers a context reads slowly) -> the rest is read, several blocks in flight -> each block is written where it
 * was read from -> the foremost row is given out when nothing of it is left. */
#include "vmconnect/replicate/sower.h"

#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"

#define BLOCKS 16 /* in flight: 4 MiB of memory */
#define BLOCK_BYTES (256u << 10)
#define CHANCE_MS 2000

typedef struct {
    Sower *sower;
    MessageRange range;
    gboolean lay;
    gboolean begun;  /* the seed was asked about it, … */
    gboolean listed; /* … and has answered */
    guint pending;   /* requests for it in flight, and blocks that wait to be written */
    Extents *holes;  /* of the seed */
    Extents *data;   /* of the seed, that is not being read yet */
} Row;

typedef enum { BLOCK_FREE, BLOCK_READING, BLOCK_READ, BLOCK_WRITING } BlockState;

typedef struct {
    Row *row;
    BlockState state;
    guint64 offset;
    gsize len;
    guint8 *data;
} Block;

enum { STATUS, READER };
G_STATIC_ASSERT(READER + 1 == SOWER_POLL);

struct Sower {
    Store *store;
    const Generation *begun;
    Seed *seed;
    GQueue rows; /* of Row *, as they were asked for */
    Block blocks[BLOCKS];
    NbdDisk *seeds[SOWER_POLL]; /* connections to one image of the seed … */
    guint disk;                 /* … which is this disk's */
    gint64 born_ms;             /* steady */
    gboolean fruitful;          /* something was read */
    gboolean closing;
    GError *failed;
};

Sower *sower_new(Store *store, const Generation *begun, Seed *seed)
{
    Sower *s = g_new0(Sower, 1);

    s->store = store;
    s->begun = begun;
    s->seed = seed;
    s->born_ms = clock_steady_ms();
    return s;
}

static void row_free(gpointer data)
{
    Row *row = data;

    extents_free(row->holes);
    extents_free(row->data);
    g_free(row);
}

static void hang_up(Sower *s)
{
    for (guint i = 0; i < SOWER_POLL; i++)
        g_clear_pointer(&s->seeds[i], nbd_disk_close);
}

static gboolean is_waiting(const Sower *s)
{
    for (guint i = 0; i < BLOCKS; i++)
        if (s->blocks[i].state == BLOCK_READING)
            return TRUE;
    for (const GList *l = s->rows.head; l; l = l->next)
        if (((const Row *)l->data)->begun && !((const Row *)l->data)->listed)
            return TRUE;
    return FALSE;
}

/* One that was ended at once had no chance. */
static void judge(const Sower *s)
{
    if (s->fruitful)
        seed_judge(s->seed, TRUE);
    else if (is_waiting(s) && clock_steady_ms() - s->born_ms >= CHANCE_MS)
        seed_judge(s->seed, FALSE);
}

void sower_free(Sower *s)
{
    if (!s)
        return;
    judge(s);
    s->closing = TRUE;
    hang_up(s);
    for (guint i = 0; i < BLOCKS; i++) {
        g_assert(s->blocks[i].state == BLOCK_FREE || s->blocks[i].state == BLOCK_READ);
        g_free(s->blocks[i].data);
    }
    g_queue_clear_full(&s->rows, row_free);
    g_clear_error(&s->failed);
    g_free(s);
}

static const char *target_of(const Sower *s, guint disk)
{
    return ((const GenerationDisk *)s->begun->disks->pdata[disk])->target;
}

static NbdDisk *store_of(const Sower *s, const Row *row)
{
    return store_disk(s->store, target_of(s, row->range.disk));
}

static void fail(Sower *s, const GError *error)
{
    if (!s->failed && !s->closing)
        s->failed = g_error_copy(error);
}

static void fail_seed(Sower *s, const GError *error)
{
    if (s->closing)
        return;
    seed_lose(s->seed, error->message);
    fail(s, error);
}

/* So much of it, from its start on, the seed has. */
static guint64 seeded_len(const Sower *s, MessageRange range)
{
    guint64 size = seed_bytes(s->seed, target_of(s, range.disk));

    return size > range.offset ? MIN(range.len, size - range.offset) : 0;
}

gboolean sower_ask(Sower *s, MessageRange range, gboolean lay, GError **error)
{
    Row *row;

    if (s->rows.length == MESSAGE_COMPARES_MAX) {
        g_set_error(error, US_ERROR, US_ERROR_PROTOCOL,
                    "the active asks for more than the %u comparisons that may be open",
                    MESSAGE_COMPARES_MAX);
        return FALSE;
    }
    row = g_new0(Row, 1);
    *row = (Row){.sower = s, .range = range, .lay = lay && seeded_len(s, range) > 0};
    row->holes = extents_new();
    row->data = extents_new();
    g_queue_push_tail(&s->rows, row);
    return TRUE;
}

static gboolean is_laid(const Row *row)
{
    return !row->lay || (row->listed && row->pending == 0 && extents_is_empty(row->data));
}

/* --- what the seed says ------------------------------------------------ */

static void on_status(void *user, const GError *error)
{
    Row *row = user;
    Sower *s = row->sower;
    guint64 end = row->range.offset + seeded_len(s, row->range);

    row->pending--;
    if (error) {
        fail_seed(s, error);
        return;
    }
    row->listed = TRUE;
    /* A block of which only a part is a hole is read. */
    extents_add(row->data, row->range.offset, end - row->range.offset);
    extents_remove_all(row->data, row->holes);
    extents_round(row->data, MESSAGE_BLOCK);
    extents_clip(row->data, end);
}

static gboolean dial(Sower *s, guint disk, GError **error)
{
    const char *target = target_of(s, disk);

    if (s->seeds[READER] && s->disk == disk)
        return TRUE;
    hang_up(s);
    s->disk = disk;
    s->seeds[STATUS] = seed_connect(s->seed, target, NBD_CONTEXT_ALLOCATION, error);
    s->seeds[READER] = s->seeds[STATUS] ? seed_connect(s->seed, target, NULL, error) : NULL;
    return s->seeds[READER] != NULL;
}

static gboolean begin(Row *row, GError **error)
{
    Sower *s = row->sower;

    if (!dial(s, row->range.disk, error) ||
        !nbd_disk_ask(s->seeds[STATUS], row->range.offset, seeded_len(s, row->range), row->holes, on_status,
                      row, error))
        return FALSE;
    row->begun = TRUE;
    row->pending++;
    return TRUE;
}

/* One disk after the other. */
static void begin_rows(Sower *s)
{
    g_autoptr(GError) error = NULL;
    gboolean all_laid = TRUE;

    for (GList *l = s->rows.head; l && !s->failed; l = l->next) {
        Row *row = l->data;

        if (row->lay && !row->begun) {
            if (!all_laid && row->range.disk != s->disk)
                return;
            if (!begin(row, &error)) {
                fail_seed(s, error);
                return;
            }
        }
        all_laid &= is_laid(row);
    }
}

/* --- blocks ------------------------------------------------------------ */

static Block *free_block(Sower *s)
{
    for (guint i = 0; i < BLOCKS; i++)
        if (s->blocks[i].state == BLOCK_FREE)
            return &s->blocks[i];
    return NULL;
}

static void on_read(void *user, const GError *error)
{
    Block *b = user;

    b->state = error ? BLOCK_FREE : BLOCK_READ;
    b->row->sower->fruitful |= !error;
    if (!error)
        return;
    b->row->pending--;
    fail_seed(b->row->sower, error);
}

static gboolean read_next(Row *row, Block *b, GError **error)
{
    Extent e = extents_at(row->data, 0);

    if (!b->data)
        b->data = g_malloc(BLOCK_BYTES);
    b->row = row;
    b->offset = e.offset;
    b->len = MIN(e.len, BLOCK_BYTES - e.offset % BLOCK_BYTES);
    if (!nbd_disk_read(row->sower->seeds[READER], b->data, b->offset, b->len, on_read, b, error))
        return FALSE;
    b->state = BLOCK_READING;
    row->pending++;
    extents_remove(row->data, b->offset, b->len);
    return TRUE;
}

static void read_rows(Sower *s)
{
    g_autoptr(GError) error = NULL;

    for (GList *l = s->rows.head; l && !s->failed; l = l->next) {
        Row *row = l->data;
        Block *b;

        while (!extents_is_empty(row->data) && (b = free_block(s)) && nbd_disk_has_room(s->seeds[READER]))
            if (!read_next(row, b, &error)) {
                fail_seed(s, error);
                return;
            }
    }
}

/* --- the store --------------------------------------------------------- */

static void on_written(void *user, const GError *error)
{
    Block *b = user;

    b->state = BLOCK_FREE;
    b->row->pending--;
    if (error)
        fail(b->row->sower, error);
}

static gboolean write_blocks(Sower *s, GError **error)
{
    for (guint i = 0; i < BLOCKS; i++) {
        Block *b = &s->blocks[i];

        if (b->state != BLOCK_READ || !nbd_disk_has_room(store_of(s, b->row)))
            continue;
        if (!nbd_disk_write(store_of(s, b->row), b->data, b->offset, b->len, on_written, b, error))
            return FALSE;
        b->state = BLOCK_WRITING;
    }
    return TRUE;
}

/* --- turning ----------------------------------------------------------- */

gboolean sower_prepare(Sower *s, struct pollfd fds[static SOWER_POLL])
{
    gboolean ready = FALSE;

    for (guint i = 0; i < SOWER_POLL; i++) {
        fds[i] = (struct pollfd){.fd = -1};
        if (s->seeds[i])
            ready |= nbd_disk_prepare(s->seeds[i], &fds[i]);
    }
    return ready;
}

/* A connection that is lost says so in what was asked over it, too. */
static void pump_seeds(Sower *s, const struct pollfd *fds)
{
    g_autoptr(GError) error = NULL;

    for (guint i = 0; i < SOWER_POLL; i++)
        if (s->seeds[i] && !nbd_disk_pump(s->seeds[i], fds ? fds[i].revents : 0, &error)) {
            fail_seed(s, error);
            return;
        }
}

gboolean sower_pump(Sower *s, const struct pollfd *fds, GError **error)
{
    pump_seeds(s, fds);
    if (!s->failed)
        begin_rows(s);
    if (!s->failed)
        read_rows(s);
    if (!s->failed)
        return write_blocks(s, error);
    g_propagate_error(error, g_steal_pointer(&s->failed));
    return FALSE;
}

gboolean sower_take(Sower *s, MessageRange *ret_range)
{
    Row *row = g_queue_peek_head(&s->rows);

    if (!row || !is_laid(row))
        return FALSE;
    g_queue_pop_head(&s->rows);
    *ret_range = row->range;
    row_free(row);
    return TRUE;
}

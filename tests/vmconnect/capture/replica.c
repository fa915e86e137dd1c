/* SPDX-License-Identifier: Apache-2.0 */
#include "replica.h"

#include <fcntl.h>
#include <unistd.h>

#define CHUNK_BYTES (1 << 20)
#define CHUNKS 8

static void disk_free(gpointer data)
{
    ReplicaDisk *disk = data;

    close(disk->fd);
    g_free(disk->path);
    g_free(disk);
}

Replica *replica_new(const char *folder)
{
    Replica *r = g_new0(Replica, 1);

    r->folder = g_strdup(folder);
    r->disks = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, disk_free);
    return r;
}

void replica_free(Replica *r)
{
    g_hash_table_unref(r->disks);
    g_free(r->folder);
    g_free(r);
}

static ReplicaDisk *disk_of(Replica *r, const char *target)
{
    ReplicaDisk *disk = g_hash_table_lookup(r->disks, target);

    if (disk)
        return disk;
    disk = g_new0(ReplicaDisk, 1);
    disk->path = g_strdup_printf("%s/%s.raw", r->folder, target);
    disk->fd = open(disk->path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    g_assert_cmpint(disk->fd, >=, 0);
    g_hash_table_insert(r->disks, g_strdup(target), disk);
    return disk;
}

typedef struct {
    ReplicaDisk *disk;
    guint8 data[CHUNK_BYTES];
    guint64 offset;
    gsize len;
    gboolean busy;
    GError **error;
} Chunk;

static void on_read(void *user, const GError *error)
{
    Chunk *chunk = user;

    chunk->busy = FALSE;
    if (error) {
        if (chunk->error && !*chunk->error)
            *chunk->error = g_error_copy(error);
        return;
    }
    g_assert_cmpint(pwrite(chunk->disk->fd, chunk->data, chunk->len, (off_t)chunk->offset), ==,
                    (gssize)chunk->len);
}

static Chunk *free_chunk(Chunk *chunks)
{
    for (guint i = 0; i < CHUNKS; i++)
        if (!chunks[i].busy)
            return &chunks[i];
    return NULL;
}

static gboolean turn(NbdDisk *nbd, GError **error)
{
    struct pollfd pfd;
    gboolean ready = nbd_disk_prepare(nbd, &pfd);

    poll(&pfd, 1, ready ? 0 : 10000);
    return nbd_disk_pump(nbd, pfd.revents, error);
}

static gboolean submit(NbdDisk *nbd, Chunk *chunks, ReplicaDisk *disk, guint64 offset, gsize len,
                       GError **error)
{
    Chunk *chunk;

    while (!(chunk = free_chunk(chunks)) || !nbd_disk_has_room(nbd))
        if (!turn(nbd, error))
            return FALSE;
    chunk->disk = disk;
    chunk->offset = offset;
    chunk->len = len;
    chunk->busy = TRUE;
    return nbd_disk_read(nbd, chunk->data, offset, len, on_read, chunk, error);
}

static gboolean read_all(NbdDisk *nbd, ReplicaDisk *disk, const Extents *ranges, GError **error)
{
    GError *failed = NULL;
    g_autofree Chunk *chunks = g_new0(Chunk, CHUNKS);

    for (guint i = 0; i < CHUNKS; i++)
        chunks[i].error = &failed;
    for (guint i = 0; i < extents_count(ranges); i++) {
        Extent e = extents_at(ranges, i);

        for (guint64 done = 0; done < e.len; done += CHUNK_BYTES)
            if (!submit(nbd, chunks, disk, e.offset + done, MIN(e.len - done, CHUNK_BYTES), error))
                return FALSE;
    }
    if (!nbd_disk_drain(nbd, 30000, error))
        return FALSE;
    if (failed)
        g_propagate_error(error, failed);
    return failed == NULL;
}

static void punch(ReplicaDisk *disk, const Extents *ranges)
{
    for (guint i = 0; i < extents_count(ranges); i++) {
        Extent e = extents_at(ranges, i);

        g_assert_cmpint(
            fallocate(disk->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)e.offset, (off_t)e.len),
            ==, 0);
    }
}

static gboolean read_disk(Replica *r, Cut *cut, guint at, GError **error)
{
    const CutDisk *told = cut_disk(cut, at);
    ReplicaDisk *disk = disk_of(r, told->target);
    gint64 start = g_get_monotonic_time();
    g_autoptr(Extents) dirty = cut_dirty(cut, at, error);
    g_autoptr(Extents) data = NULL;
    g_autoptr(Extents) zero = NULL;

    if (!dirty || !cut_split(cut, at, dirty, &data, &zero, error))
        return FALSE;
    r->dirty_us += g_get_monotonic_time() - start;
    g_assert_cmpint(ftruncate(disk->fd, (off_t)told->size_bytes), ==, 0);
    disk->size_bytes = told->size_bytes;
    punch(disk, zero);
    r->data_bytes += extents_bytes(data);
    r->zero_bytes += extents_bytes(zero);
    start = g_get_monotonic_time();
    if (!read_all(cut_reader(cut, at), disk, data, error))
        return FALSE;
    r->read_us += g_get_monotonic_time() - start;
    return TRUE;
}

gboolean replica_read(Replica *r, Cut *cut, GError **error)
{
    r->data_bytes = r->zero_bytes = 0;
    r->dirty_us = r->read_us = 0;
    for (guint i = 0; i < cut_disk_count(cut); i++)
        if (!read_disk(r, cut, i, error))
            return FALSE;
    return TRUE;
}

static GArray *wishes_for(const Replica *r, const Capture *c, Id since)
{
    GArray *wishes = g_array_new(FALSE, FALSE, sizeof(CutWish));
    const GPtrArray *disks = capture_disks(c);

    for (guint i = 0; i < disks->len; i++) {
        const Disk *disk = disks->pdata[i];
        const ReplicaDisk *ours = g_hash_table_lookup(r->disks, disk->target);
        CutWish wish = {.target = disk->target,
                        .since = ours ? since : ID_NIL,
                        .since_size_bytes = ours ? ours->size_bytes : 0};

        g_array_append_val(wishes, wish);
    }
    return wishes;
}

gboolean replica_take(Replica *r, Capture *c, Id since, Id checkpoint, GError **error)
{
    g_autoptr(GArray) wishes = NULL;
    g_autoptr(Cut) cut = NULL;
    gint64 start;
    gboolean ok;

    if (!capture_look(c, error))
        return FALSE;
    wishes = wishes_for(r, c, since);
    start = g_get_monotonic_time();
    if (!cut_begin(c, (const CutWish *)wishes->data, wishes->len, checkpoint, &cut, error))
        return FALSE;
    r->begin_us = g_get_monotonic_time() - start;
    r->frozen = cut_is_frozen(cut);
    if (!replica_read(r, cut, error) || !cut_still_valid(cut, error))
        return FALSE;
    start = g_get_monotonic_time();
    ok = cut_end(g_steal_pointer(&cut), error);
    r->end_us = g_get_monotonic_time() - start;
    return ok;
}

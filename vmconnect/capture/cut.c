/* SPDX-License-Identifier: Apache-2.0 */
/* What both kinds of cut have in common: NBD exports on one socket, one per
 * disk. Three connections to each at most: reads; the bitmap, once, closed
 * after it was listed; allocation. QEMU answers all contexts of a connection
 * at once, cut to the shortest, so none has two. */
#include "vmconnect/capture/cut.h"

#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/stop.h"
#include "vmconnect/capture/cut_internal.h"
#include "vmconnect/capture/disk_files.h"

#include <string.h>
#include <sys/stat.h>

static void bitmap_free(gpointer data)
{
    CutBitmap *bitmap = data;

    g_free(bitmap->export_name);
    g_free(bitmap->bitmap);
    g_free(bitmap);
}

static void hang_up(gpointer data, gpointer user)
{
    CutSource *source = data;

    (void)user;
    g_clear_pointer(&source->reader, nbd_disk_close);
    g_clear_pointer(&source->allocation, nbd_disk_close);
}

static void source_free(gpointer data)
{
    CutSource *source = data;

    hang_up(source, NULL);
    g_ptr_array_unref(source->bitmaps);
    g_free((char *)source->told.target);
    g_free(source->scratch);
    g_free(source);
}

static void image_free(gpointer data)
{
    CutImage *image = data;

    g_free(image->path);
    g_free(image);
}

static CutSource *source_new(const CutWish *wish)
{
    CutSource *source = g_new0(CutSource, 1);

    source->told.target = g_strdup(wish->target);
    source->told.whole = id_is_nil(wish->since);
    source->since = wish->since;
    source->since_size_bytes = wish->since_size_bytes;
    source->zeros_changed = wish->zeros_changed;
    source->bitmaps = g_ptr_array_new_with_free_func(bitmap_free);
    return source;
}

static Cut *cut_new(Capture *c, const CutWish *wishes, guint n)
{
    Cut *cut = g_new0(Cut, 1);

    cut->capture = c;
    cut->sources = g_ptr_array_new_with_free_func(source_free);
    cut->images = g_ptr_array_new_with_free_func(image_free);
    for (guint i = 0; i < n; i++)
        g_ptr_array_add(cut->sources, source_new(&wishes[i]));
    return cut;
}

void cut_add_bitmap(CutSource *source, const char *export_name, const char *bitmap)
{
    CutBitmap *b = g_new0(CutBitmap, 1);

    b->export_name = g_strdup(export_name);
    b->bitmap = g_strdup(bitmap);
    g_ptr_array_add(source->bitmaps, b);
}

static gboolean check_wish(const Capture *c, const CutWish *wish, GError **error)
{
    const Disk *disk = capture_find_disk(c, wish->target);
    const char *problem = disk ? disk_problem(disk) : NULL;

    if (!disk) {
        g_set_error(error, US_ERROR, US_ERROR_NOT_FOUND, "'%s' has no disk %s any more", capture_name(c),
                    wish->target);
        return FALSE;
    }
    if (problem) {
        g_set_error(error, US_ERROR, US_ERROR_UNSUPPORTED, "disk %s of '%s': %s", wish->target,
                    capture_name(c), problem);
        return FALSE;
    }
    return TRUE;
}

static gboolean check_state(const Capture *c, GError **error)
{
    const char *why = c->state == CAPTURE_ENDING     ? "it is shutting down"
                      : c->state == CAPTURE_IO_ERROR ? "it is stopped by an I/O error"
                                                     : NULL;

    if (!why)
        return TRUE;
    g_set_error(error, US_ERROR, US_ERROR_REFUSED, "not cutting '%s': %s", capture_name(c), why);
    return FALSE;
}

gboolean cut_fail_ended(const Cut *cut, GError **error)
{
    g_set_error(error, US_ERROR, US_ERROR_CANCELLED, "the backup job of '%s' was ended under the cut",
                capture_name(cut->capture));
    return FALSE;
}

static NbdDisk *open_export(const Cut *cut, const CutSource *source, const char *export_name,
                            const char *context, GError **error)
{
    Rescuer *rescuer = cut->job ? cut->capture->settings.rescuer : NULL;
    const NbdSpec spec = {.socket_path = cut->socket,
                          .export_name = export_name,
                          .disk = source->told.target,
                          .context = context,
                          .timeout_ms = CUT_CONNECT_MS,
                          .cancel_fd = cut->capture->settings.cancel_fd};
    NbdDisk *disk;

    /* During the handshake nobody may end the job. */
    if (rescuer && !rescuer_enter(rescuer, cut->capture->vm)) {
        cut_fail_ended(cut, error);
        return NULL;
    }
    disk = nbd_disk_open(&spec, error);
    if (rescuer)
        rescuer_leave(rescuer, cut->capture->vm);
    return disk;
}

static gboolean open_readers(Cut *cut, GError **error)
{
    for (guint i = 0; i < cut->sources->len; i++) {
        CutSource *source = cut->sources->pdata[i];

        source->reader = open_export(cut, source, source->told.target, NULL, error);
        if (!source->reader)
            return FALSE;
        source->told.size_bytes = nbd_disk_size(source->reader);
    }
    return TRUE;
}

/* What is read must be the disks that the wishes were made for; while they are open nobody exchanges them. */
static gboolean expect_same_disks(const Cut *cut, GError **error)
{
    g_autoptr(GPtrArray) now = capture_files_now(cut->capture, error);

    for (guint i = 0; now && i < cut->sources->len; i++) {
        const char *target = cut_disk(cut, i)->target;
        const DiskFiles *looked_at = disk_files_find(cut->capture->files, target);
        const DiskFiles *opened = disk_files_find(now, target);

        if (!looked_at || (opened && disk_files_continue(looked_at, opened)))
            continue;
        g_set_error(error, US_ERROR, US_ERROR_CANCELLED,
                    "disk %s of '%s' was exchanged while it was about to be cut", target,
                    capture_name(cut->capture));
        return FALSE;
    }
    return now != NULL;
}

gboolean cut_begin(Capture *c, const CutWish *wishes, guint n, Id checkpoint, Cut **ret_cut, GError **error)
{
    g_autoptr(Cut) cut = NULL;

    g_assert(n > 0);
    if (!check_state(c, error))
        return FALSE;
    for (guint i = 0; i < n; i++)
        if (!check_wish(c, &wishes[i], error))
            return FALSE;
    cut = cut_new(c, wishes, n);
    if (c->state == CAPTURE_OFF ? !cut_offline_begin(cut, checkpoint, error)
                                : !cut_live_begin(cut, checkpoint, error))
        return FALSE;
    if (!expect_same_disks(cut, error) || !open_readers(cut, error))
        return FALSE;
    *ret_cut = g_steal_pointer(&cut);
    return TRUE;
}

gboolean cut_end(Cut *cut, GError **error)
{
    gboolean ok = TRUE;

    if (cut->job || cut->daemon)
        stop_at("cut.before_end");
    /* Connections first: a server with a client in the middle of a read ends later. */
    g_ptr_array_foreach(cut->sources, hang_up, NULL);
    if (cut->job)
        ok = cut_live_end(cut, error);
    else
        cut_live_remove_scratch(cut);
    cut_offline_end(cut);
    g_ptr_array_unref(cut->sources);
    g_ptr_array_unref(cut->images);
    g_free(cut->socket);
    g_free(cut);
    return ok;
}

void cut_free(Cut *cut)
{
    if (cut)
        cut_end(cut, NULL);
}

gint64 cut_asked_at_ms(const Cut *cut)
{
    return cut->asked_at_ms;
}

gint64 cut_asked_at_wall_ms(const Cut *cut)
{
    return cut->asked_at_wall_ms;
}

gboolean cut_is_offline(const Cut *cut)
{
    return cut->daemon != NULL;
}

gboolean cut_is_frozen(const Cut *cut)
{
    return cut->frozen;
}

guint cut_disk_count(const Cut *cut)
{
    return cut->sources->len;
}

static CutSource *source_at(const Cut *cut, guint disk)
{
    g_assert(disk < cut->sources->len);
    return cut->sources->pdata[disk];
}

const CutDisk *cut_disk(const Cut *cut, guint disk)
{
    return &source_at(cut, disk)->told;
}

NbdDisk *cut_reader(Cut *cut, guint disk)
{
    return source_at(cut, disk)->reader;
}

static gboolean list_bitmap(const Cut *cut, const CutSource *source, const CutBitmap *bitmap, Extents *dirty,
                            GError **error)
{
    g_autofree char *context = g_strconcat(NBD_CONTEXT_DIRTY_PREFIX, bitmap->bitmap, NULL);
    g_autoptr(NbdDisk) nbd = open_export(cut, source, bitmap->export_name, context, error);
    g_autoptr(Extents) all = extents_new();

    if (!nbd)
        return FALSE;
    /* An image lower in the chain may be smaller. */
    extents_add(all, 0, nbd_disk_size(nbd));
    return nbd_disk_list_dirty(nbd, all, dirty, CUT_STATUS_MS, error);
}

gboolean cut_split(Cut *cut, guint disk, const Extents *ranges, Extents **ret_data, Extents **ret_zero,
                   GError **error)
{
    CutSource *source = source_at(cut, disk);
    g_autoptr(Extents) data = extents_new();
    g_autoptr(Extents) zero = extents_new();

    if (!source->allocation && !extents_is_empty(ranges)) {
        source->allocation = open_export(cut, source, source->told.target, NBD_CONTEXT_ALLOCATION, error);
        if (!source->allocation)
            return FALSE;
    }
    if (!extents_is_empty(ranges) &&
        !nbd_disk_split(source->allocation, ranges, data, zero, CUT_STATUS_MS, error))
        return FALSE;
    *ret_data = g_steal_pointer(&data);
    *ret_zero = g_steal_pointer(&zero);
    return TRUE;
}

static gboolean add_zeros(Cut *cut, guint disk, Extents *dirty, GError **error)
{
    g_autoptr(Extents) all = extents_new();
    g_autoptr(Extents) data = NULL;
    g_autoptr(Extents) zero = NULL;

    extents_add(all, 0, source_at(cut, disk)->told.size_bytes);
    if (!cut_split(cut, disk, all, &data, &zero, error))
        return FALSE;
    extents_add_all(dirty, zero);
    return TRUE;
}

Extents *cut_dirty(Cut *cut, guint disk, GError **error)
{
    CutSource *source = source_at(cut, disk);
    guint64 size = source->told.size_bytes;
    g_autoptr(Extents) dirty = extents_new();

    if (source->told.whole)
        extents_add(dirty, 0, size);
    for (guint i = 0; i < source->bitmaps->len; i++)
        if (!list_bitmap(cut, source, source->bitmaps->pdata[i], dirty, error))
            return NULL;
    /* A bitmap that was resized calls the new part clean. */
    if (source->since_size_bytes < size)
        extents_add(dirty, source->since_size_bytes, size - source->since_size_bytes);
    extents_clip(dirty, size);
    if (source->zeros_changed && !add_zeros(cut, disk, dirty, error))
        return NULL;
    return g_steal_pointer(&dirty);
}

gboolean cut_guest_requests(Cut *cut, guint64 *ret_requests, guint64 *ret_total_ns, GError **error)
{
    return capture_guest_requests(cut->capture, ret_requests, ret_total_ns, error);
}

guint64 cut_scratch_used(const Cut *cut)
{
    guint64 sum = 0;

    for (guint i = 0; i < cut->sources->len; i++) {
        const CutSource *source = cut->sources->pdata[i];
        struct stat st;

        if (source->scratch && stat(source->scratch, &st) == 0)
            sum += (guint64)st.st_blocks * 512;
    }
    return sum;
}

guint64 cut_scratch_bytes(const Cut *cut)
{
    return cut->scratch_bytes;
}

gboolean cut_still_valid(Cut *cut, GError **error)
{
    return cut->daemon ? cut_offline_still_valid(cut, error) : cut_live_still_valid(cut, error);
}

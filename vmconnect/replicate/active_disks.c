/* SPDX-License-Identifier: Apache-2.0 */
/* Can the base tell what changed on a disk? Its bitmap must be whole, and the disk must be the one whose
 * bitmap it is. Each image of the VM has a bitmap of the base's name, so a disk that was exchanged
 * for another one, or two that changed places, would look like disks with few changes.
 *
 * So each look is compared with the one before, the first one with what the checkpoint says of the
 * files it was made over. What cannot be told apart from an exchange is one: the disk is sent whole. */
#include "vmconnect/replicate/active_parts.h"

static WatchedDisk *watched_new(const char *target)
{
    WatchedDisk *w = g_new0(WatchedDisk, 1);

    w->target = g_strdup(target);
    w->least_bytes = G_MAXUINT64;
    return w;
}

static void watched_free(gpointer data)
{
    WatchedDisk *w = data;

    g_free(w->target);
    disk_files_free(w->files);
    g_free(w);
}

GPtrArray *active_watched_new(void)
{
    return g_ptr_array_new_with_free_func(watched_free);
}

WatchedDisk *active_watched(const Active *a, const char *target)
{
    for (guint i = 0; i < a->watched->len; i++) {
        WatchedDisk *w = a->watched->pdata[i];

        if (g_str_equal(w->target, target))
            return w;
    }
    return NULL;
}

static WatchedDisk *watch(Active *a, const char *target)
{
    WatchedDisk *w = active_watched(a, target);

    if (w)
        return w;
    w = watched_new(target);
    g_ptr_array_add(a->watched, w);
    return w;
}

static gboolean is_exchanged(WatchedDisk *w, const DiskFiles *now)
{
    gboolean exchanged;

    if (!now)
        return FALSE;
    exchanged = w->files && !disk_files_continue(w->files, now);
    disk_files_free(w->files);
    w->files = disk_files_copy(now);
    return exchanged;
}

/* TRUE: the image of a VM that is off was written to since it was last looked at. Not by its owner's change, as
 * libvirt makes one at a VM's end, so the time of change does not count. */
static gboolean is_written(WatchedDisk *w, const char *image)
{
    Signature now = {0};
    gboolean known = image && signature_read(image, &now, NULL);
    gboolean written = known && w->is_signed &&
                       (now.inode != w->image.inode || now.size_bytes != w->image.size_bytes ||
                        now.mtime_ns != w->image.mtime_ns);

    w->image = now;
    w->is_signed = known;
    return written;
}

/* Of a tool that changed the size it is known what else it did: what it cut off reads as zeros, which no
 * bitmap says. Whatever else it was may have put another image there that has a bitmap of ours. */
static gboolean watch_disk(WatchedDisk *w, const Disk *disk, const DiskFiles *now, gboolean off)
{
    gboolean exchanged = is_exchanged(w, now);
    gboolean resized = w->size_bytes && disk->size_bytes && w->size_bytes != disk->size_bytes;
    gboolean written = off && is_written(w, disk->source);

    w->is_signed &= off;
    w->holes |= written && resized;
    exchanged |= written && !resized;
    w->whole |= exchanged;
    w->shrunk |= resized && disk->size_bytes < w->size_bytes;
    if (disk->size_bytes) {
        w->size_bytes = disk->size_bytes;
        w->least_bytes = MIN(w->least_bytes, disk->size_bytes);
    }
    return exchanged;
}

gboolean active_watch_disks(Active *a)
{
    const GPtrArray *disks = capture_disks(a->capture);
    gboolean off = capture_state(a->capture) == CAPTURE_OFF;
    gboolean exchanged = FALSE;

    for (guint i = 0; i < disks->len; i++) {
        const Disk *disk = disks->pdata[i];

        exchanged |= watch_disk(watch(a, disk->target), disk,
                                disk_files_find(capture_files(a->capture), disk->target), off);
    }
    return exchanged;
}

void active_sign_disks(Active *a)
{
    const GPtrArray *disks = capture_disks(a->capture);

    for (guint i = 0; i < disks->len; i++) {
        const Disk *disk = disks->pdata[i];
        WatchedDisk *w = active_watched(a, disk->target);

        if (w && w->is_signed)
            is_written(w, disk->source);
    }
}

gboolean active_is_cut_short(const Active *a, const Generation *begun)
{
    for (guint i = 0; i < begun->disks->len; i++)
        if (active_watched(a, ((const GenerationDisk *)begun->disks->pdata[i])->target)->shrunk)
            return TRUE;
    return FALSE;
}

void active_forget_shrinking(Active *a)
{
    for (guint i = 0; i < a->watched->len; i++)
        ((WatchedDisk *)a->watched->pdata[i])->shrunk = FALSE;
}

void active_watch_anew(Active *a, Id since)
{
    g_ptr_array_set_size(a->watched, 0);
    a->watched_since = since;
    active_watch_disks(a);
}

gboolean active_same_files(Active *a, Id checkpoint, const char *target)
{
    g_autoptr(GPtrArray) then = capture_files_at(a->capture, checkpoint);
    const DiskFiles *before = then ? disk_files_find(then, target) : NULL;
    const DiskFiles *now = disk_files_find(capture_files(a->capture), target);

    return !now || (before && disk_files_continue(before, now));
}

GPtrArray *active_files_at(const Active *a, Id checkpoint)
{
    GPtrArray *files = g_ptr_array_new_with_free_func((GDestroyNotify)disk_files_free);

    for (guint i = 0; id_equal(checkpoint, a->watched_since) && i < a->watched->len; i++) {
        const WatchedDisk *w = a->watched->pdata[i];

        if (w->files && !w->whole)
            g_ptr_array_add(files, disk_files_copy(w->files));
    }
    return files;
}

void active_watch_since(Active *a, Id since)
{
    if (id_equal(since, a->watched_since))
        return;
    active_watch_anew(a, since);
    for (guint i = 0; i < a->watched->len; i++) {
        WatchedDisk *w = a->watched->pdata[i];

        w->whole = !active_same_files(a, since, w->target);
    }
}

static gboolean is_expected(const Active *a, const char *target)
{
    const Generation *tip = sender_position(a->sender)->tip;

    return tip && generation_find_disk(tip, target) && !active_watched(a, target)->whole;
}

gboolean active_tells_anything(const Active *a)
{
    const GPtrArray *disks = capture_disks(a->capture);

    for (guint i = 0; i < disks->len; i++)
        if (is_expected(a, ((const Disk *)disks->pdata[i])->target))
            return TRUE;
    return FALSE;
}

gboolean active_judge_disks(Active *a, gboolean *ret_lost, GError **error)
{
    const GPtrArray *disks = capture_disks(a->capture);
    g_autofree gboolean *tells = g_new0(gboolean, MAX(disks->len, 1));

    *ret_lost = FALSE;
    if (!capture_tells(a->capture, a->base, tells, error))
        return FALSE;
    for (guint i = 0; i < disks->len; i++)
        *ret_lost |= !tells[i] && is_expected(a, ((const Disk *)disks->pdata[i])->target);
    if (!*ret_lost)
        return TRUE;
    if (!active_has_lost_track(a, error))
        return FALSE;
    for (guint i = 0; i < disks->len; i++)
        active_watched(a, ((const Disk *)disks->pdata[i])->target)->whole |= !tells[i];
    return TRUE;
}

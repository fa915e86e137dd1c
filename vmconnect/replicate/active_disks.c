/* SPDX-License-Identifier: Apache-2.0 */
/* Can the base tell what changed on a disk? Its bitmap must be whole, and the disk must be the one whose
 * bitmap it is. Each image of the VM has a bitmap of the base's name, so a disk that was exchanged
 * for another one, or two that changed places, would look like disks with few changes.
 *
 * So each look is compared with the one before, the first one with what the checkpoint says of the
 * files it was made over. What cannot be told apart from an exchange is one: the disk is sent whole.
 *
 * The top images of a VM that is off are signed at each look, and the signatures followed through all that we write
 * there ourselves. Where the next one begins otherwise than the last one ended, another program has been at work. What one
 * does between a VM's end and the first look after it, or between the last look and a start, no look tells: there
 * the bitmap is believed, which QEMU's tools keep except for what they cut off and make larger again.
 * And what was seen, but could not be taken out of the image before the VM was started, is known to this engine alone. */
#include "vmconnect/replicate/active_parts.h"

#include "vmconnect/base/error.h"
#include "vmconnect/hypervisor/start_lock.h"

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

void active_distrust(Active *a, const char *target)
{
    watch(a, target)->written = TRUE;
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

/* A change of the owner alone, as libvirt makes one at a VM's end, is not one of its contents. */
static gboolean same_contents(const Signature *a, const Signature *b)
{
    return a->inode == b->inode && a->size_bytes == b->size_bytes && a->mtime_ns == b->mtime_ns;
}

/* In what it is otherwise than we left it, others have had a hand. */
static void compare(WatchedDisk *w, const Signature *now)
{
    w->written |= !same_contents(now, &w->image);
    w->clean &= signature_equal(now, &w->image);
}

/* @now: all zeros if it cannot be read at the moment; it is compared when it can. */
static void look_at_image(WatchedDisk *w, const Signature *now)
{
    w->clean &= now->inode != 0;
    if (now->inode == 0)
        return;
    if (w->is_signed)
        compare(w, now);
    w->image = *now;
    w->is_signed = TRUE;
}

/* Its own QEMU writes to it, or has written to it. */
static void forget_image(WatchedDisk *w)
{
    w->is_signed = w->clean = FALSE;
}

/* A disk that others wrote to may be a copy of another one that has a bitmap of ours, or was cut off and made larger
 * again. The size of a VM's that runs its QEMU changed: what that cut off reads as zeros, which no bitmap says. */
static void watch_disk(WatchedDisk *w, const Disk *disk, const DiskFiles *now, gboolean off)
{
    gboolean resized = w->size_bytes && disk->size_bytes && w->size_bytes != disk->size_bytes;
    gboolean exchanged = is_exchanged(w, now) || w->written || (off && resized);

    w->written = FALSE;
    w->whole |= exchanged;
    w->misleads = off && (w->misleads || exchanged);
    w->holes |= resized;
    w->stale |= exchanged || (resized && disk->size_bytes < w->size_bytes);
    if (disk->size_bytes) {
        w->size_bytes = disk->size_bytes;
        w->least_bytes = MIN(w->least_bytes, disk->size_bytes);
    }
}

/* Before this was asked, as far as its hook leaves marks. */
static gboolean was_started(Active *a)
{
    gint64 before = a->start_mark;

    a->start_mark = start_lock_mark(a->paths.permit_dir, a->vm);
    return before != -1 && before != a->start_mark;
}

/* Not even the next engine is to believe what is recorded there. */
static void withdraw(Active *a, WatchedDisk *w)
{
    if (w->misleads)
        w->misleads = !capture_withdraw(a->capture, w->target, NULL);
}

static Signature *read_images(const GPtrArray *disks)
{
    Signature *images = g_new0(Signature, MAX(disks->len, 1));

    for (guint i = 0; i < disks->len; i++) {
        const Disk *disk = disks->pdata[i];

        if (disk->source)
            signature_read(disk->source, &images[i], NULL);
    }
    return images;
}

gboolean active_watch_disks(Active *a)
{
    const GPtrArray *disks = capture_disks(a->capture);
    gboolean off = capture_state(a->capture) == CAPTURE_OFF;
    g_autofree Signature *images = off ? read_images(disks) : NULL;
    /* Asked after they were read: what QEMU had done to them by then has its mark. */
    gboolean settled = !was_started(a);

    for (guint i = 0; i < disks->len; i++) {
        const Disk *disk = disks->pdata[i];
        WatchedDisk *w = watch(a, disk->target);

        if (off && settled)
            look_at_image(w, &images[i]);
        else
            forget_image(w);
        watch_disk(w, disk, disk_files_find(capture_files(a->capture), disk->target), off);
        withdraw(a, w);
    }
    active_follow_writes(a);
    return settled || !off;
}

void active_follow_writes(Active *a)
{
    g_autoptr(GPtrArray) writes = capture_take_writes(a->capture);

    for (guint i = 0; i < writes->len; i++) {
        const CaptureWrite *write = writes->pdata[i];
        WatchedDisk *w = active_watched(a, write->target);

        if (!w || !w->is_signed)
            continue;
        compare(w, &write->own.before);
        w->written |= write->touched;
        w->clean &= !write->touched;
        w->image = write->own.after;
    }
}

gboolean active_expect_untouched(const Active *a, GError **error)
{
    const GPtrArray *disks = capture_disks(a->capture);

    for (guint i = 0; i < disks->len; i++) {
        const Disk *disk = disks->pdata[i];
        const WatchedDisk *w = active_watched(a, disk->target);
        Signature now;

        if (!w->is_signed)
            continue;
        if (!signature_read(disk->source, &now, error))
            return FALSE;
        if (!w->written && signature_equal(&now, &w->image))
            continue;
        g_set_error(error, US_ERROR, US_ERROR_CANCELLED,
                    "%s was written to by another program, or the VM was started, before it could be read; "
                    "it is looked at again",
                    disk->source);
        return FALSE;
    }
    return TRUE;
}

gboolean active_is_clean(const Active *a)
{
    const GPtrArray *disks = capture_disks(a->capture);

    for (guint i = 0; i < disks->len; i++)
        if (!active_watched(a, ((const Disk *)disks->pdata[i])->target)->clean)
            return FALSE;
    return TRUE;
}

gboolean active_is_stale(const Active *a, const Generation *begun)
{
    for (guint i = 0; i < begun->disks->len; i++)
        if (active_watched(a, ((const GenerationDisk *)begun->disks->pdata[i])->target)->stale)
            return TRUE;
    return FALSE;
}

void active_forget_stale(Active *a)
{
    for (guint i = 0; i < a->watched->len; i++)
        ((WatchedDisk *)a->watched->pdata[i])->stale = FALSE;
}

void active_watch_anew(Active *a, Id since, gboolean off)
{
    a->watched_since = since;
    for (guint i = a->watched->len; i-- > 0;) {
        WatchedDisk *w = a->watched->pdata[i];

        w->clean = off && w->is_signed && !w->written;
        w->least_bytes = w->size_bytes;
        w->whole = w->holes = w->stale = w->misleads = FALSE;
        if (!capture_find_disk(a->capture, w->target))
            g_ptr_array_remove_index(a->watched, i);
    }
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
    a->watched_since = since;
    for (guint i = 0; i < a->watched->len; i++) {
        WatchedDisk *w = a->watched->pdata[i];

        w->clean = FALSE;
        w->whole |= !active_same_files(a, since, w->target);
    }
}

void active_judge_sizes(Active *a)
{
    const GPtrArray *disks = capture_disks(a->capture);
    const Generation *tip = sender_position(a->sender)->tip;

    for (guint i = 0; i < disks->len; i++) {
        const Disk *disk = disks->pdata[i];
        const GenerationDisk *before = tip ? generation_find_disk(tip, disk->target) : NULL;
        WatchedDisk *w = active_watched(a, disk->target);

        w->whole |= before && disk->size_bytes && before->size_bytes != disk->size_bytes && !w->holes;
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

gboolean active_tells_all(const Active *a)
{
    const GPtrArray *disks = capture_disks(a->capture);

    for (guint i = 0; i < disks->len; i++)
        if (!is_expected(a, ((const Disk *)disks->pdata[i])->target))
            return FALSE;
    return TRUE;
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

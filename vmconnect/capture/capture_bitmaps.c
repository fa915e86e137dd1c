/* SPDX-License-Identifier: Apache-2.0 */
/* The record of changes in the images of a VM that is off.
 *
 * QEMU leaves its bitmaps there at a clean end and takes them up at the next
 * start; in between they are ours to read, add and take out, with qemu-img. A
 * killed QEMU leaves one marked as in use, which is worth nothing. */
#include "vmconnect/base/error.h"
#include "vmconnect/base/stop.h"
#include "vmconnect/capture/backup_xml.h"
#include "vmconnect/capture/capture_internal.h"
#include "vmconnect/capture/chain.h"
#include "vmconnect/hypervisor/start_lock.h"
#include "vmconnect/image/qcow2.h"

#include <string.h>
#include <unistd.h>

static GPtrArray *layers_of(Capture *c, const char *target, GError **error)
{
    return chain_of_disk(c->definition, target, CAPTURE_IMAGE_MS, c->settings.cancel_fd, error);
}

GPtrArray *capture_bitmap_layers(const Capture *c, const GPtrArray *layers, const char *bitmap,
                                 GError **error)
{
    g_autoptr(GPtrArray) with = g_ptr_array_new();

    for (guint i = 0; i < layers->len; i++) {
        ChainLayer *layer = layers->pdata[i];
        g_autoptr(Qcow2Facts) facts = NULL;
        const Qcow2Bitmap *b;

        if (strcmp(layer->format, "qcow2") != 0)
            break;
        facts = qcow2_read(layer->path, layer->format, CAPTURE_IMAGE_MS, c->settings.cancel_fd, error);
        if (!facts)
            return NULL;
        b = qcow2_facts_bitmap(facts, bitmap);
        if (!b && i > 0)
            break;
        if (!b || b->in_use || (i == 0 && !b->enabled)) {
            g_set_error(
                error, US_ERROR, US_ERROR_TRACKING_LOST,
                "the record of changes in %s is %s: what changed is not known and everything is sent again",
                layer->path, b ? "broken, since its QEMU did not end cleanly" : "not there");
            return NULL;
        }
        g_ptr_array_add(with, layer);
    }
    return g_steal_pointer(&with);
}

gboolean capture_check_bitmaps(Capture *c, Id id, const char *const *targets, guint n, GError **error)
{
    for (guint i = 0; i < n; i++) {
        g_autoptr(GPtrArray) layers = layers_of(c, targets[i], error);
        g_autoptr(GPtrArray) with = NULL;

        with = layers ? capture_bitmap_layers(c, layers, CHECKPOINT_NAME(id), error) : NULL;
        if (!with)
            return FALSE;
    }
    return TRUE;
}

/* A descriptor that has the lock; -1: starts are not locked out. */
typedef int StartLock;

static void unlock_starts(StartLock lock)
{
    close(lock);
}

G_DEFINE_AUTO_CLEANUP_FREE_FUNC(StartLock, unlock_starts, -1)

/* Nobody starts the VM while its images are written to. */
static gboolean lock_starts(const Capture *c, StartLock *ret_lock, GError **error)
{
    if (!c->settings.permit_dir)
        return TRUE;
    *ret_lock = start_lock_hold(c->settings.permit_dir, c->vm, error);
    if (*ret_lock < 0)
        return FALSE;
    if (virDomainIsActive(c->domain) == 0)
        return TRUE;
    g_set_error(error, US_ERROR, US_ERROR_BUSY, "not cutting: '%s' is just being started", capture_name(c));
    return FALSE;
}

static void write_free(gpointer data)
{
    CaptureWrite *write = data;

    g_free(write->target);
    g_free(write);
}

GPtrArray *capture_writes_new(void)
{
    return g_ptr_array_new_with_free_func(write_free);
}

GPtrArray *capture_take_writes(Capture *c)
{
    GPtrArray *writes = c->writes;

    c->writes = capture_writes_new();
    return writes;
}

static void note_write(Capture *c, const char *target, const OwnWrite *own)
{
    CaptureWrite *write;

    if (own->before.inode == 0)
        return;
    for (guint i = 0; i < c->writes->len; i++) {
        write = c->writes->pdata[i];
        if (!g_str_equal(write->target, target))
            continue;
        write->touched |= !signature_equal(&write->own.after, &own->before);
        write->own.after = own->after;
        return;
    }
    write = g_new0(CaptureWrite, 1);
    write->target = g_strdup(target);
    write->own = *own;
    g_ptr_array_add(c->writes, write);
}

/* Take bitmaps whose names begin with @prefix out of one image; @top_of: the disk that it is the top of, or NULL. */
static gboolean remove_from_layer(Capture *c, const ChainLayer *layer, const char *prefix, const char *top_of,
                                  GError **error)
{
    g_autoptr(Qcow2Facts) facts = NULL;
    gboolean ok = TRUE;

    if (strcmp(layer->format, "qcow2") != 0)
        return TRUE;
    facts = qcow2_read(layer->path, layer->format, CAPTURE_IMAGE_MS, c->settings.cancel_fd, error);
    if (!facts)
        return FALSE;
    for (guint i = 0; ok && i < facts->bitmaps->len; i++) {
        const Qcow2Bitmap *bitmap = facts->bitmaps->pdata[i];
        OwnWrite own;
        Id id;

        if (!g_str_has_prefix(bitmap->name, prefix) || !checkpoint_name_parse(bitmap->name, &id))
            continue;
        ok = qcow2_remove_bitmap(layer->path, bitmap->name, CAPTURE_IMAGE_MS, &own, error);
        if (top_of)
            note_write(c, top_of, &own);
    }
    return ok;
}

gboolean capture_remove_bitmaps(Capture *c, const char *prefix, GError **error)
{
    g_auto(StartLock) lock = -1;

    if (!lock_starts(c, &lock, error))
        return FALSE;
    for (guint i = 0; i < c->disks->len; i++) {
        const Disk *disk = c->disks->pdata[i];
        g_autoptr(GPtrArray) layers = layers_of(c, disk->target, error);

        if (!layers)
            return FALSE;
        for (guint j = 0; j < layers->len; j++)
            if (!remove_from_layer(c, layers->pdata[j], prefix, j == 0 ? disk->target : NULL, error))
                return FALSE;
    }
    return TRUE;
}

gboolean capture_withdraw(Capture *c, const char *target, GError **error)
{
    g_auto(StartLock) lock = -1;
    g_autoptr(GPtrArray) layers = NULL;

    if (!lock_starts(c, &lock, error))
        return FALSE;
    layers = layers_of(c, target, error);
    return layers && remove_from_layer(c, layers->pdata[0], CHECKPOINT_PREFIX, target, error);
}

gboolean capture_add_bitmaps(Capture *c, Id id, GError **error)
{
    g_auto(StartLock) lock = -1;

    if (!lock_starts(c, &lock, error))
        return FALSE;
    for (guint i = 0; i < c->disks->len; i++) {
        const Disk *disk = c->disks->pdata[i];
        OwnWrite own;
        gboolean ok = qcow2_add_bitmap(disk->source, CHECKPOINT_NAME(id), CAPTURE_IMAGE_MS, &own, error);

        note_write(c, disk->target, &own);
        if (!ok) {
            g_prefix_error(error, "disk %s: ", disk->target);
            return FALSE;
        }
        stop_at("checkpoint.bitmap_added");
    }
    return TRUE;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* A cut of a VM that is off: its images as they lie there.
 *
 * Whoever starts the VM meanwhile is not kept from it (no locks); then what we
 * read may be of two instants, and still_valid says so. The instant is any
 * between the two looks, so the one before is told. Changes since a checkpoint
 * are in the bitmap that QEMU left in the image at its clean end; after an
 * external snapshot each image of the chain holds its part of it. */
#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/stop.h"
#include "vmconnect/capture/backup_xml.h"
#include "vmconnect/capture/chain.h"
#include "vmconnect/capture/cut_internal.h"

#include <errno.h>
#include <sys/stat.h>

/* The time stamps of a block device say nothing about writes to it. */
static gboolean expect_regular(const char *path, GError **error)
{
    struct stat st;

    if (stat(path, &st) != 0)
        return us_error_errno(error, errno, "%s", path);
    if (S_ISREG(st.st_mode))
        return TRUE;
    g_set_error(
        error, US_ERROR, US_ERROR_UNSUPPORTED,
        "%s is a block device: while the VM is off nobody can tell whether it was written to; replication "
        "goes on when the VM runs",
        path);
    return FALSE;
}

static gboolean sign(Cut *cut, const char *path, GError **error)
{
    CutImage *image = g_new0(CutImage, 1);

    image->path = g_strdup(path);
    g_ptr_array_add(cut->images, image);
    return expect_regular(path, error) && signature_read(path, &image->signature, error);
}

/* Of ReaderLayer; borrows from @chain. */
static GArray *reader_layers(const GPtrArray *chain)
{
    GArray *layers = g_array_new(FALSE, FALSE, sizeof(ReaderLayer));

    for (guint i = 0; i < chain->len; i++) {
        const ChainLayer *layer = chain->pdata[i];
        const ReaderLayer reader = {.path = layer->path, .format = layer->format};

        g_array_append_val(layers, reader);
    }
    return layers;
}

/* Export the disk whole, with its bitmap, then each lower image that holds an older part of the bitmap. */
static gboolean export_layers(Cut *cut, CutSource *source, const GPtrArray *chain, const char *bitmap,
                              guint n_bitmaps, GError **error)
{
    g_autoptr(GArray) list = reader_layers(chain);
    const ReaderLayer *layers = (const ReaderLayer *)list->data;

    if (!daemon_reader_add(cut->daemon, source->told.target, layers, chain->len, n_bitmaps ? bitmap : NULL,
                           error))
        return FALSE;
    if (n_bitmaps)
        cut_add_bitmap(source, source->told.target, bitmap);
    for (guint i = 1; i < n_bitmaps; i++) {
        g_autofree char *name = g_strdup_printf("%s-%u", source->told.target, i);

        if (!daemon_reader_add(cut->daemon, name, layers + i, chain->len - i, bitmap, error))
            return FALSE;
        cut_add_bitmap(source, name, bitmap);
    }
    return TRUE;
}

static gboolean open_source(Cut *cut, CutSource *source, GError **error)
{
    Capture *c = cut->capture;
    g_autoptr(GPtrArray) with = NULL;
    g_autoptr(GPtrArray) chain =
        chain_of_disk(c->definition, source->told.target, CAPTURE_IMAGE_MS, c->settings.cancel_fd, error);

    if (!chain)
        return FALSE;
    for (guint i = 0; i < chain->len; i++)
        if (!sign(cut, ((const ChainLayer *)chain->pdata[i])->path, error))
            return FALSE;
    if (source->told.whole)
        return export_layers(cut, source, chain, NULL, 0, error);
    with = capture_bitmap_layers(c, chain, CHECKPOINT_NAME(source->since), error);
    return with && export_layers(cut, source, chain, CHECKPOINT_NAME(source->since), with->len, error);
}

/* Before an image is written to for a cut that would fail. */
static gboolean check_since(Cut *cut, GError **error)
{
    for (guint i = 0; i < cut->sources->len; i++) {
        const CutSource *source = cut->sources->pdata[i];
        const char *target = source->told.target;

        if (!source->told.whole && !capture_check_bitmaps(cut->capture, source->since, &target, 1, error))
            return FALSE;
    }
    return TRUE;
}

static gboolean expect_off(Cut *cut, GError **error)
{
    CaptureState now;

    if (!capture_state_now(cut->capture, &now, NULL, error))
        return FALSE;
    if (now == CAPTURE_OFF)
        return TRUE;
    g_set_error(error, US_ERROR, US_ERROR_CANCELLED, "'%s' was started while it was read",
                capture_name(cut->capture));
    return FALSE;
}

/* A header that was read while its user started the VM looks broken: that is not what it is. */
static gboolean open_sources(Cut *cut, GError **error)
{
    g_autoptr(GError) why = NULL;

    for (guint i = 0; i < cut->sources->len; i++) {
        if (open_source(cut, cut->sources->pdata[i], &why))
            continue;
        if (expect_off(cut, error))
            g_propagate_error(error, g_steal_pointer(&why));
        return FALSE;
    }
    return TRUE;
}

gboolean cut_offline_begin(Cut *cut, Id checkpoint, GError **error)
{
    Capture *c = cut->capture;
    g_autofree char *run_dir = g_build_filename(c->settings.run_dir, "offline", ID_TEXT(c->vm), NULL);

    stop_at("cut.offline_begins");
    /* It is off, so no job of ours has its files open. */
    capture_remove_leftovers(c);
    /* Before the first signature: it is we who write into the images there. */
    if (!id_is_nil(checkpoint) &&
        !(check_since(cut, error) && capture_create_checkpoint(c, checkpoint, error)))
        return FALSE;
    cut->asked_at_wall_ms = clock_wall_ms();
    cut->asked_at_ms = clock_steady_ms();
    cut->daemon = daemon_reader_start(run_dir, capture_name(c), error);
    if (!cut->daemon)
        return FALSE;
    cut->socket = g_strdup(daemon_reader_nbd_path(cut->daemon));
    if (!open_sources(cut, error))
        return FALSE;
    stop_at("cut.offline_opened");
    return expect_off(cut, error);
}

void cut_offline_end(Cut *cut)
{
    g_clear_pointer(&cut->daemon, daemon_reader_free);
}

gboolean cut_offline_still_valid(Cut *cut, GError **error)
{
    if (!expect_off(cut, error))
        return FALSE;
    for (guint i = 0; i < cut->images->len; i++) {
        const CutImage *image = cut->images->pdata[i];
        Signature now;

        if (!signature_read(image->path, &now, error))
            return FALSE;
        if (!signature_equal(&now, &image->signature)) {
            g_set_error(error, US_ERROR, US_ERROR_CANCELLED, "%s was changed while it was read", image->path);
            return FALSE;
        }
    }
    return TRUE;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/replicate/adoption.h"

#include "vmconnect/base/error.h"
#include "vmconnect/base/log.h"
#include "vmconnect/base/stop.h"
#include "vmconnect/capture/gather.h"
#include "vmconnect/hypervisor/connection.h"
#include "vmconnect/hypervisor/lifecycle.h"
#include "vmconnect/image/qcow2.h"
#include "vmconnect/replicate/bequest.h"
#include "vmconnect/replicate/handover.h"

#include <string.h>

#define CONNECT_MS 10000
#define IMAGE_MS 30000
#define OUR_PREFIX "understudy-" /* of every bitmap that we make */

/* The VM was given away, finally, with just this generation. */
static gboolean is_released(const AdoptionSite *site, const Bequest *b, gboolean *ret_released,
                            GError **error)
{
    g_autoptr(GError) why = NULL;
    g_autoptr(Handover) h = handover_load(site->paths->plan_dir, site->vm, &why);

    if (why) {
        g_propagate_error(error, g_steal_pointer(&why));
        return FALSE;
    }
    *ret_released = h && h->state == HANDOVER_UNLOCKED && id_equal(h->tip, b->generation->id);
    return TRUE;
}

static gboolean remove_definition(const AdoptionSite *site, GError **error)
{
    g_autoptr(Connection) connection = connection_new(site->paths->libvirt_uri, NULL, NULL);
    virConnectPtr conn = connection_get(connection, CONNECT_MS, error);

    return conn && lifecycle_undefine(conn, site->vm, error);
}

/* As the final generation has them, now with their bytes. */
static gboolean gather(const Bequest *b, GError **error)
{
    Generation *g = b->generation;
    g_autoptr(Definition) d = definition_parse(g->definition, strlen(g->definition), error);
    g_autoptr(Gather) gather = gather_new(GATHER_TPM_DIR);
    g_autofree char *why = NULL;
    GPtrArray *found;

    if (!d)
        return FALSE;
    found = gather_look(gather, d, &why);
    if (!belongings_equal(found, g->belongings)) {
        g_ptr_array_unref(found);
        g_set_error(error, US_ERROR, US_ERROR_CORRUPT,
                    "firmware variables or TPM state are not any more what they were when the VM was given "
                    "away%s%s",
                    why ? ": " : "", why ? why : "");
        return FALSE;
    }
    g_ptr_array_unref(g->belongings);
    g->belongings = found;
    return TRUE;
}

static gboolean same(const Signature *a, const Signature *b)
{
    Signature then = *b;

    then.device = a->device;
    return signature_equal(a, &then);
}

/* Under the image's lock; what we write there ourselves is followed. */
static gboolean take_bitmap_out(SignedImage *image, const char *name, GError **error)
{
    OwnWrite own;

    if (!qcow2_remove_bitmap(image->path, name, IMAGE_MS, &own, error))
        return FALSE;
    if (!same(&own.before, &image->signature)) {
        g_set_error(error, US_ERROR, US_ERROR_CORRUPT, "image %s was written to by another program",
                    image->path);
        return FALSE;
    }
    image->signature = own.after;
    return TRUE;
}

/* What another program left there stays. */
static gboolean clean_image(const AdoptionSite *site, const Bequest *b, SignedImage *image, GError **error)
{
    g_autoptr(Qcow2Facts) facts = NULL;

    if (!signed_image_check(image, error) ||
        !(facts = qcow2_read(image->path, image->format, IMAGE_MS, -1, error)))
        return FALSE;
    for (guint i = 0; i < facts->bitmaps->len; i++) {
        const Qcow2Bitmap *bitmap = facts->bitmaps->pdata[i];

        if (!g_str_has_prefix(bitmap->name, OUR_PREFIX))
            continue;
        if (!take_bitmap_out(image, bitmap->name, error))
            return FALSE;
        stop_at("adoption.bitmap");
        if (!bequest_write(b, site->paths->plan_dir, error))
            return FALSE;
    }
    return TRUE;
}

static gboolean adopt(const AdoptionSite *site, const Bequest *b, GError **error)
{
    g_autofree StoreAdopted *disks = g_new0(StoreAdopted, MAX(b->disks->len, 1));

    if (!gather(b, error))
        return FALSE;
    for (guint i = 0; i < b->disks->len; i++) {
        const BequestDisk *disk = b->disks->pdata[i];

        if (!clean_image(site, b, disk->images->pdata[0], error))
            return FALSE;
        disks[i] = (StoreAdopted){disk->target, disk->size_bytes, disk->images};
    }
    return store_adopt(site->store, b->generation, disks, b->disks->len, error);
}

gboolean adoption_run(const AdoptionSite *site, GError **error)
{
    g_autoptr(GError) why = NULL;
    g_autoptr(Bequest) b = bequest_read(site->paths->plan_dir, site->vm, &why);
    gboolean released;

    if (why) {
        g_propagate_error(error, g_steal_pointer(&why));
        return FALSE;
    }
    if (!b)
        return TRUE;
    if (!is_released(site, b, &released, error))
        return FALSE;
    if (!released)
        return TRUE;
    if (!remove_definition(site, error))
        return FALSE;
    stop_at("adoption.undefined");
    if (!adopt(site, b, error))
        return FALSE;
    stop_at("adoption.adopted");
    log_notice(
        "vm %s: its disks here are generation %s -> they are the copy that its new active goes on from",
        ID_TEXT(site->vm), ID_TEXT(b->generation->id));
    return bequest_remove(site->paths->plan_dir, site->vm, error);
}

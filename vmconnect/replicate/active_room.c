/* SPDX-License-Identifier: Apache-2.0 */
/* A guest that runs from images in our folder stands still when there is no room for what it writes. Where its images lie is
 * our doing, so it goes on by ours, too, once there is room; in its user's own folders that is the user's. */
#include "vmconnect/base/error.h"
#include "vmconnect/base/log.h"
#include "vmconnect/base/path.h"
#include "vmconnect/hypervisor/inventory.h"
#include "vmconnect/hypervisor/lifecycle.h"
#include "vmconnect/replicate/active_parts.h"

#include <stdlib.h>
#include <sys/statvfs.h>

#define DISKS_MAX 64
#define ROOM_BYTES (64u << 20) /* with less it would stand still again at once */

static gboolean is_ours(const Active *a, const char *target)
{
    const GPtrArray *disks = capture_disks(a->capture);

    for (guint i = 0; i < disks->len; i++) {
        const Disk *disk = disks->pdata[i];

        if (g_str_equal(disk->target, target))
            return disk->source && path_is_in(a->paths.store_dir, disk->source);
    }
    return FALSE;
}

/* Has every disk that stopped it no room, in our folder? */
static gboolean lacks_our_room(const Active *a, virDomainPtr dom)
{
    virDomainDiskError errors[DISKS_MAX];
    int n = virDomainGetDiskErrors(dom, errors, DISKS_MAX, 0);
    gboolean ours = n > 0;

    for (int i = 0; i < n; i++) {
        ours &= errors[i].error == VIR_DOMAIN_DISK_ERROR_NO_SPACE && is_ours(a, errors[i].disk);
        free(errors[i].disk);
    }
    return ours;
}

static gboolean is_roomy(const char *dir)
{
    struct statvfs fs;

    return statvfs(dir, &fs) == 0 && (guint64)fs.f_bavail * fs.f_frsize >= ROOM_BYTES;
}

gboolean active_give_room(Active *a, GError **error)
{
    virConnectPtr conn = active_connection(a, error);
    g_autoptr(virDomain) dom = conn ? vm_lookup(conn, a->vm, error) : NULL;

    if (!dom)
        return FALSE;
    if (!lacks_our_room(a, dom)) {
        g_set_error_literal(error, US_ERROR, US_ERROR_BUSY,
                            "not cutting: the guest stands still after an I/O error");
        return FALSE;
    }
    if (!is_roomy(a->paths.store_dir)) {
        g_set_error(
            error, US_ERROR, US_ERROR_NO_SPACE,
            "the guest stands still: %s, where its disks are, has no space left; make room, and it goes on",
            a->paths.store_dir);
        return FALSE;
    }
    if (!lifecycle_resume(conn, a->vm, error))
        return FALSE;
    log_notice("vm %s: there is room again in %s -> its guest goes on", ID_TEXT(a->vm), a->paths.store_dir);
    return TRUE;
}

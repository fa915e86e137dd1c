/* SPDX-License-Identifier: Apache-2.0 */
/* VMs first, then files of jobs, images, the marker, the folder: as long as anything else is
 * there the folder says whose it is. */
#include "vmconnect/trial/leftovers.h"

#include "vmconnect/base/durable.h"
#include "vmconnect/base/error.h"
#include "vmconnect/capture/capture.h"
#include "vmconnect/hypervisor/definition.h"
#include "vmconnect/hypervisor/trial_mark.h"
#include "vmconnect/hypervisor/virt_error.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define FOLDER_PREFIX TRIAL_NAME "-"
#define MARKER "understudy-trial"

static char *folder_of(const TrialSite *site, Id vm)
{
    return g_strconcat(site->store_dir, "/" FOLDER_PREFIX, ID_TEXT(vm), NULL);
}

char *leftovers_make_folder(const TrialSite *site, Id vm, GError **error)
{
    g_autofree char *folder = folder_of(site, vm);
    g_autofree char *marker = g_build_filename(folder, MARKER, NULL);
    struct stat st;

    /* Made by the engine at its start; what is not there now is not mounted, and must not be made below. */
    if (stat(site->store_dir, &st) != 0) {
        us_error_errno(error, errno, "%s", site->store_dir);
        return NULL;
    }
    if (durable_mkdir(folder, 0711, error) && durable_replace(marker, ID_TEXT(vm), ID_TEXT_LEN, 0600, error))
        return g_steal_pointer(&folder);
    g_rmdir(folder);
    return NULL;
}

/* --- VMs --------------------------------------------------------------- */

static gboolean is_ours(const TrialSite *site, const char *xml)
{
    g_autoptr(Definition) d = definition_parse(xml, strlen(xml), NULL);
    const Disk *disk = d && d->disks->len == 1 ? d->disks->pdata[0] : NULL;
    g_autofree char *folder = d ? folder_of(site, d->uuid) : NULL;
    g_autofree char *image = d ? g_build_filename(folder, TRIAL_TOP, NULL) : NULL;

    return disk && g_strcmp0(d->name, TRIAL_NAME) == 0 && g_strcmp0(disk->source, image) == 0;
}

static gboolean remove_vm(virDomainPtr dom, GError **error)
{
    if (virDomainIsActive(dom) == 1 && virDomainDestroy(dom) != 0 &&
        virt_error_code() != VIR_ERR_OPERATION_INVALID && virt_error_code() != VIR_ERR_NO_DOMAIN)
        return virt_error(error, "cannot end the VM of a trial");
    if (virDomainIsPersistent(dom) == 1 && virDomainUndefine(dom) != 0)
        return virt_error(error, "cannot remove the definition of a trial's VM");
    return TRUE;
}

static gboolean remove_vms(virConnectPtr conn, const TrialSite *site, GError **error)
{
    g_autoptr(virDomain) dom = virDomainLookupByName(conn, TRIAL_NAME);
    char *xml;
    gboolean ours;

    if (!dom)
        return virt_error_code() == VIR_ERR_NO_DOMAIN ||
               virt_error(error, "cannot see what trials have left");
    xml = virDomainGetXMLDesc(dom, 0);
    ours = xml && is_ours(site, xml);
    free(xml);
    return !ours || remove_vm(dom, error);
}

/* --- files ------------------------------------------------------------- */

static gboolean is_marked(const char *folder, Id vm)
{
    g_autofree char *marker = g_build_filename(folder, MARKER, NULL);
    g_autofree char *text = NULL;
    gsize len;

    return durable_read(marker, &text, &len, NULL) && len == ID_TEXT_LEN &&
           memcmp(text, ID_TEXT(vm), ID_TEXT_LEN) == 0;
}

static gboolean remove_folder(const char *folder, Id vm, GError **error)
{
    static const char *const FILES[] = {TRIAL_TOP, TRIAL_BASE, MARKER};

    for (guint i = 0; i < G_N_ELEMENTS(FILES) && is_marked(folder, vm); i++) {
        g_autofree char *file = g_build_filename(folder, FILES[i], NULL);

        if (g_unlink(file) != 0 && errno != ENOENT)
            return us_error_errno(error, errno, "cannot remove %s", file);
    }
    /* Empty without a marker: its trial died between the two. Anything else in it is not ours. */
    if (g_rmdir(folder) == 0 || errno == ENOENT || errno == ENOTEMPTY || errno == EEXIST)
        return TRUE;
    return us_error_errno(error, errno, "cannot remove %s", folder);
}

static gboolean remove_files(const TrialSite *site, GError **error)
{
    g_autoptr(GDir) dir = g_dir_open(site->store_dir, 0, NULL);
    const char *name;

    while (dir && (name = g_dir_read_name(dir))) {
        g_autofree char *folder = g_build_filename(site->store_dir, name, NULL);
        Id vm;

        if (!g_str_has_prefix(name, FOLDER_PREFIX) || !id_parse(name + strlen(FOLDER_PREFIX), &vm, NULL))
            continue;
        /* Without its marker the UUID may be that of a VM that has a job. */
        if (is_marked(folder, vm))
            capture_remove_files(site->nbd_dir, site->scratch_dir, vm);
        if (!remove_folder(folder, vm, error))
            return FALSE;
    }
    return TRUE;
}

gboolean leftovers_remove(virConnectPtr conn, const TrialSite *site, GError **error)
{
    trial_mark_take(site->hook_mark);
    return remove_vms(conn, site, error) && remove_files(site, error);
}

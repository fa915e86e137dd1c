/* SPDX-License-Identifier: Apache-2.0 */
/* The VM first, then what lies elsewhere, then the folder, whose marker goes last: as long as anything else is there it says whose
 * it is. */
#include "vmconnect/rehearse/remains.h"

#include "vmconnect/base/durable.h"
#include "vmconnect/base/error.h"
#include "vmconnect/hypervisor/virt_error.h"
#include "vmconnect/rehearse/file_systems.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MARKER "understudy-test"
#define DEPTH_MAX 4 /* nothing that we make is deeper */
#define UNDEFINE                                                                 \
    (VIR_DOMAIN_UNDEFINE_MANAGED_SAVE | VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA | \
     VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA | VIR_DOMAIN_UNDEFINE_NVRAM)

char *remains_folder(const RemainsSite *site, Id as)
{
    return g_strconcat(site->store_dir, "/" REMAINS_PREFIX, ID_TEXT(as), NULL);
}

static char *marker_of(const char *folder)
{
    return g_build_filename(folder, MARKER, NULL);
}

static gboolean mark(const char *folder, Id run, GError **error)
{
    g_autofree char *marker = marker_of(folder);

    return durable_replace(marker, ID_TEXT(run), ID_TEXT_LEN, 0600, error);
}

void remains_give_up(const RemainsSite *site, Id as)
{
    g_autofree char *folder = remains_folder(site, as);

    (void)mark(folder, (Id){0}, NULL);
}

/* --- permits ----------------------------------------------------------------- */

static char *permit_of(const RemainsSite *site, Id as)
{
    return g_build_filename(site->permit_dir, ID_TEXT(as), NULL);
}

gboolean remains_permit(const RemainsSite *site, Id as, GError **error)
{
    g_autofree char *path = permit_of(site, as);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd < 0)
        return us_error_errno(error, errno, "cannot make %s", path);
    close(fd);
    return TRUE;
}

void remains_forbid(const RemainsSite *site, Id as)
{
    g_autofree char *path = permit_of(site, as);

    (void)g_unlink(path);
}

/* --- the VM ------------------------------------------------------------------- */

gboolean remains_end_vm(virDomainPtr dom, GError **error)
{
    if (virDomainDestroy(dom) != 0 && virt_error_code() != VIR_ERR_OPERATION_INVALID &&
        virt_error_code() != VIR_ERR_NO_DOMAIN)
        return virt_error(error, "cannot end the VM of a test");
    if (virDomainIsPersistent(dom) == 1 && virDomainUndefineFlags(dom, UNDEFINE) != 0)
        return virt_error(error, "cannot remove the definition of a test's VM");
    return TRUE;
}

static gboolean end_vm(virConnectPtr conn, Id as, GError **error)
{
    g_autoptr(virDomain) dom = virDomainLookupByUUID(conn, as.bytes);

    if (!dom)
        return virt_error_code() == VIR_ERR_NO_DOMAIN ||
               virt_error(error, "cannot see whether the VM of a test is left");
    return remains_end_vm(dom, error);
}

/* --- files ---------------------------------------------------------------------- */

static gboolean remove_at(int parent, const char *name, guint depth, GError **error);

static gboolean remove_entries(int fd, guint depth, GError **error)
{
    int copy = dup(fd);
    DIR *dir = copy >= 0 ? fdopendir(copy) : NULL;
    const struct dirent *entry;
    gboolean ok = TRUE;

    if (!dir) {
        if (copy >= 0)
            close(copy);
        return us_error_errno(error, errno, "cannot list the folder of a test");
    }
    rewinddir(dir);
    while (ok && (entry = readdir(dir)))
        if (!g_str_equal(entry->d_name, ".") && !g_str_equal(entry->d_name, "..") &&
            !(depth == 0 && g_str_equal(entry->d_name, MARKER)))
            ok = remove_at(fd, entry->d_name, depth + 1, error);
    closedir(dir);
    return ok;
}

/* Never through a link. */
static gboolean remove_at(int parent, const char *name, guint depth, GError **error)
{
    int fd;
    gboolean ok;

    if (unlinkat(parent, name, 0) == 0 || errno == ENOENT)
        return TRUE;
    fd = depth < DEPTH_MAX ? openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW) : -1;
    if (fd < 0)
        return us_error_errno(error, errno, "cannot remove %s of a test", name);
    ok = remove_entries(fd, depth, error);
    close(fd);
    return ok && (unlinkat(parent, name, AT_REMOVEDIR) == 0 ||
                  us_error_errno(error, errno, "cannot remove %s of a test", name));
}

/* *@ret_run: whose it is. */
static gboolean is_marked(const char *folder, Id *ret_run)
{
    g_autofree char *marker = marker_of(folder);
    g_autofree char *text = NULL;
    gsize len;

    if (!durable_read(marker, &text, &len, NULL) || len != ID_TEXT_LEN)
        return FALSE;
    return id_parse(text, ret_run, NULL);
}

static gboolean remove_folder(const char *folder, GError **error)
{
    g_autofree char *marker = marker_of(folder);
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    gboolean ok;

    if (fd < 0)
        return errno == ENOENT || us_error_errno(error, errno, "cannot open %s", folder);
    ok = remove_entries(fd, 0, error);
    close(fd);
    if (!ok)
        return FALSE;
    if (g_unlink(marker) != 0 && errno != ENOENT)
        return us_error_errno(error, errno, "cannot remove %s", marker);
    return g_rmdir(folder) == 0 || errno == ENOENT ||
           us_error_errno(error, errno, "cannot remove %s", folder);
}

static gboolean name_it(const RemainsSite *site, const char *making, const char *folder, GError **error)
{
    if (g_rename(making, folder) != 0)
        return us_error_errno(error, errno, "cannot make %s", folder);
    if (durable_sync_dir(site->store_dir, error))
        return TRUE;
    (void)remove_folder(folder, NULL);
    return FALSE;
}

char *remains_make(const RemainsSite *site, Id as, GError **error)
{
    g_autofree char *folder = remains_folder(site, as);
    g_autofree char *making = g_strconcat(folder, ".", ID_TEXT(site->run), NULL);
    struct stat st;

    /* Made by the engine at its start; what is not there now is not mounted, and must not be made below. */
    if (stat(site->store_dir, &st) != 0) {
        us_error_errno(error, errno, "%s", site->store_dir);
        return NULL;
    }
    if (durable_mkdir(making, 0711, error) && g_chmod(making, 0711) == 0 && mark(making, site->run, error) &&
        name_it(site, making, folder, error))
        return g_steal_pointer(&folder);
    (void)remove_folder(making, NULL);
    return NULL;
}

static gboolean remove_in(const char *folder, const char *name, GError **error)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    gboolean ok;

    if (fd < 0)
        return errno == ENOENT || us_error_errno(error, errno, "cannot open %s", folder);
    ok = remove_at(fd, name, 1, error);
    close(fd);
    return ok;
}

static gboolean remove_sockets(const RemainsSite *site, Id as, GError **error)
{
    g_autoptr(GDir) dir = g_dir_open(site->nbd_dir, 0, NULL);
    g_autofree char *prefix = g_strconcat(ID_TEXT(as), "-", NULL);
    const char *name;

    while (dir && (name = g_dir_read_name(dir)))
        if (g_str_has_prefix(name, prefix) && !remove_in(site->nbd_dir, name, error))
            return FALSE;
    return TRUE;
}

/* What somebody has put in its place may lead to what is his. */
static gboolean is_no_link(const char *path, GError **error)
{
    struct stat st;

    if (lstat(path, &st) != 0 || !S_ISLNK(st.st_mode))
        return TRUE;
    g_set_error(error, US_ERROR, US_ERROR_REFUSED,
                "%s is a link now, and nothing below it is removed: remove it", path);
    return FALSE;
}

gboolean remains_remove_files(const RemainsSite *site, Id as, GError **error)
{
    g_autofree char *folder = remains_folder(site, as);
    g_autofree char *disks = g_build_filename(folder, REMAINS_DISKS, NULL);
    Id run;

    remains_forbid(site, as);
    if (!is_marked(folder, &run))
        return TRUE;
    return is_no_link(folder, error) && is_no_link(disks, error) && file_systems_tidy(disks, error) &&
           remove_sockets(site, as, error) && remove_in(site->tpm_dir, ID_TEXT(as), error) &&
           remove_folder(folder, error);
}

gboolean remains_remove(virConnectPtr conn, const RemainsSite *site, Id as, GError **error)
{
    return end_vm(conn, as, error) && remains_remove_files(site, as, error);
}

/* *@ret_as: the VM of the folder @name, if another run has left it. */
static gboolean is_left(const RemainsSite *site, const char *name, Id *ret_as)
{
    g_autofree char *folder = g_build_filename(site->store_dir, name, NULL);
    Id run;

    return g_str_has_prefix(name, REMAINS_PREFIX) && id_parse(name + strlen(REMAINS_PREFIX), ret_as, NULL) &&
           is_marked(folder, &run) && !id_equal(run, site->run);
}

/* Another run was killed before the folder @name had its marker; nothing else is in it. */
static gboolean is_half_made(const RemainsSite *site, const char *name)
{
    g_auto(GStrv) parts = g_strsplit(name, ".", 2);
    Id as, run;

    return g_str_has_prefix(name, REMAINS_PREFIX) && id_parse(parts[0] + strlen(REMAINS_PREFIX), &as, NULL) &&
           parts[1] && id_parse(parts[1], &run, NULL) && !id_equal(run, site->run);
}

/* Who removed the folder @name was killed behind its marker: only if it is empty. */
static void remove_emptied(const RemainsSite *site, const char *name)
{
    g_autofree char *folder = g_build_filename(site->store_dir, name, NULL);
    Id as;

    if (g_str_has_prefix(name, REMAINS_PREFIX) && id_parse(name + strlen(REMAINS_PREFIX), &as, NULL))
        (void)g_rmdir(folder);
}

static gboolean remove_half_made(const RemainsSite *site, const char *name, GError **error)
{
    g_autofree char *folder = g_build_filename(site->store_dir, name, NULL);

    return remove_folder(folder, error);
}

/* What cannot be removed is in nobody else's way. */
gboolean remains_sweep(virConnectPtr conn, const RemainsSite *site, GError **error)
{
    g_autoptr(GDir) dir = g_dir_open(site->store_dir, 0, NULL);
    g_autoptr(GError) first = NULL;
    const char *name;
    Id as;

    while (dir && (name = g_dir_read_name(dir))) {
        if (is_left(site, name, &as))
            (void)remains_remove(conn, site, as, first ? NULL : &first);
        else if (is_half_made(site, name))
            (void)remove_half_made(site, name, first ? NULL : &first);
        else
            remove_emptied(site, name);
    }
    if (!first)
        return TRUE;
    g_propagate_error(error, g_steal_pointer(&first));
    return FALSE;
}

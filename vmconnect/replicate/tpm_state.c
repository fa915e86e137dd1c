/* SPDX-License-Identifier: Apache-2.0 */
/* A folder is made complete beside its place, then two renames: the old one aside, the new one in. Dying
 * between any two steps leaves the new one to be made again, and never touches the old one twice. */
#include "vmconnect/replicate/tpm_state.h"

#include "vmconnect/base/durable.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/stop.h"
#include "vmconnect/capture/gather.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <string.h>

typedef struct {
    char *there; /* libvirt's folder for the VM */
    char *fresh; /* ours, until it is complete */
    char *aside;
} Folders;

static void folders_clear(Folders *f)
{
    g_free(f->there);
    g_free(f->fresh);
    g_free(f->aside);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Folders, folders_clear)

static Folders folders_of(const TpmPlace *place)
{
    return (Folders){
        .there = g_strdup_printf("%s/%s", place->dir, ID_TEXT(place->vm)),
        .fresh = g_strdup_printf("%s/%s.understudy", place->dir, ID_TEXT(place->vm)),
        .aside = g_strdup_printf("%s/%s.before-%s", place->dir, ID_TEXT(place->vm), ID_TEXT(place->point)),
    };
}

static gboolean is_tpm(const Belonging *b)
{
    return !g_str_equal(b->name, BELONGINGS_NVRAM);
}

/* Those of @belongings that are a TPM's; borrowed items. */
static GPtrArray *tpm_of(const GPtrArray *belongings)
{
    GPtrArray *set = g_ptr_array_new();

    for (guint i = 0; i < belongings->len; i++)
        if (is_tpm(belongings->pdata[i]))
            g_ptr_array_add(set, belongings->pdata[i]);
    return set;
}

/* Has the VM's folder just these files, byte by byte? */
static gboolean is_there(const TpmPlace *place, const GPtrArray *wanted)
{
    const Belonging *first = wanted->pdata[0];
    g_autoptr(Gather) gather = gather_new(place->dir);
    g_autoptr(Definition) d = definition_bare(place->vm, NULL);
    g_autoptr(GPtrArray) found = NULL;
    g_autofree char *why = NULL;

    d->tpm = g_str_has_prefix(first->name, "tpm2/") ? DEFINITION_TPM_2 : DEFINITION_TPM_1_2;
    found = gather_look(gather, d, &why);
    return !why && belongings_equal(found, wanted);
}

/* --- the fresh folder -------------------------------------------------- */

/* Only ever of a folder that we made: one level of folders with files in them. */
static gboolean remove_folder(const char *path, guint levels, GError **error)
{
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    const char *name;

    while (dir && (name = g_dir_read_name(dir))) {
        g_autofree char *inner = g_build_filename(path, name, NULL);

        if (levels > 0 && !g_file_test(inner, G_FILE_TEST_IS_SYMLINK) &&
            g_file_test(inner, G_FILE_TEST_IS_DIR)) {
            if (!remove_folder(inner, levels - 1, error))
                return FALSE;
        } else if (g_unlink(inner) != 0) {
            return us_error_errno(error, errno, "cannot remove %s", inner);
        }
    }
    if (dir && g_rmdir(path) != 0)
        return us_error_errno(error, errno, "cannot remove folder %s", path);
    return TRUE;
}

static gboolean write_file(const char *folder, const Belonging *b, TpmRead read, const void *user,
                           GError **error)
{
    g_autofree char *path = g_build_filename(folder, b->name, NULL);
    g_autofree char *parent = g_path_get_dirname(path);
    g_autoptr(GBytes) file = read(user, b, error);
    const void *data;
    gsize len;

    if (!file || !durable_mkdir(parent, 0700, error))
        return FALSE;
    data = g_bytes_get_data(file, &len);
    return durable_replace(path, data, len, 0600, error);
}

/* 0711 as libvirt makes them: its swtpm user passes through. */
static gboolean make_fresh(const Folders *f, const GPtrArray *wanted, TpmRead read, const void *user,
                           GError **error)
{
    if (!remove_folder(f->fresh, 1, error) || !durable_mkdir(f->fresh, 0711, error))
        return FALSE;
    for (guint i = 0; i < wanted->len; i++)
        if (!write_file(f->fresh, wanted->pdata[i], read, user, error))
            return FALSE;
    return TRUE;
}

/* --- the place --------------------------------------------------------- */

static gboolean move(const char *from, const char *to, const char *dir, GError **error)
{
    if (g_rename(from, to) != 0)
        return us_error_errno(error, errno, "cannot move %s to %s", from, to);
    return durable_sync_dir(dir, error);
}

static gboolean put_aside(const TpmPlace *place, const Folders *f, GError **error)
{
    return !g_file_test(f->there, G_FILE_TEST_EXISTS) || move(f->there, f->aside, place->dir, error);
}

gboolean tpm_state_put(const TpmPlace *place, const GPtrArray *belongings, TpmRead read, const void *user,
                       GError **error)
{
    g_autoptr(GPtrArray) wanted = tpm_of(belongings);
    g_auto(Folders) f = folders_of(place);

    if (wanted->len == 0)
        return !place->expected || put_aside(place, &f, error);
    if (!durable_mkdir(place->dir, 0711, error))
        return FALSE;
    if (is_there(place, wanted))
        return durable_sync_dir(place->dir, error);
    if (!make_fresh(&f, wanted, read, user, error))
        return FALSE;
    stop_at("tpm.made");
    /* A folder that is not empty is never replaced by a rename: what stands aside is safe, too. */
    if (!put_aside(place, &f, error))
        return FALSE;
    stop_at("tpm.aside");
    return move(f.fresh, f.there, place->dir, error);
}

gboolean tpm_state_take_back(const TpmPlace *place, const GPtrArray *belongings, GError **error)
{
    g_autoptr(GPtrArray) wanted = tpm_of(belongings);
    g_auto(Folders) f = folders_of(place);

    if (wanted->len == 0)
        return TRUE;
    /* Away at once, so that a crash does not leave half of it to be taken for somebody else's. */
    if (!remove_folder(f.fresh, 1, error) ||
        (is_there(place, wanted) && !move(f.there, f.fresh, place->dir, error)))
        return FALSE;
    if (g_file_test(f.aside, G_FILE_TEST_EXISTS) && !g_file_test(f.there, G_FILE_TEST_EXISTS) &&
        !move(f.aside, f.there, place->dir, error))
        return FALSE;
    return remove_folder(f.fresh, 1, error);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/rehearse/remains.h"

#include "vmconnect/base/error.h"
#include "vmconnect/base/fault.h"
#include "vmconnect/hypervisor/virt_error.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct {
    char *dir;
    char *store, *nbd, *tpm, *permit;
    RemainsSite site;
    virConnectPtr conn;
} World;

static char *sub(const char *dir, const char *name)
{
    char *path = g_build_filename(dir, name, NULL);

    g_assert_cmpint(g_mkdir(path, 0711), ==, 0);
    return path;
}

static void set_up(World *w, gconstpointer data)
{
    (void)data;
    w->dir = g_dir_make_tmp("remains-XXXXXX", NULL);
    w->store = sub(w->dir, "store");
    w->nbd = sub(w->dir, "nbd");
    w->tpm = sub(w->dir, "tpm");
    w->permit = sub(w->dir, "permit");
    w->site = (RemainsSite){w->store, w->nbd, w->tpm, w->permit, id_random()};
    w->conn = virConnectOpen("test:///default");
    g_assert_nonnull(w->conn);
}

static void tear_down(World *w, gconstpointer data)
{
    const char *const dirs[] = {w->store, w->nbd, w->tpm, w->permit, w->dir};

    (void)data;
    virConnectClose(w->conn);
    for (guint i = 0; i < G_N_ELEMENTS(dirs); i++)
        g_assert_cmpint(g_rmdir(dirs[i]), ==, 0);
    g_free(w->store);
    g_free(w->nbd);
    g_free(w->tpm);
    g_free(w->permit);
    g_free(w->dir);
}

static void put(const char *dir, const char *name)
{
    g_autofree char *path = g_build_filename(dir, name, NULL);

    g_assert_true(g_file_set_contents(path, "x", 1, NULL));
}

static gboolean is_there(const char *dir, const char *name)
{
    g_autofree char *path = g_build_filename(dir, name, NULL);

    return g_file_test(path, G_FILE_TEST_EXISTS);
}

/* All that a test's VM may have. */
static char *furnish(World *w, Id as)
{
    g_autoptr(GError) error = NULL;
    char *folder = remains_make(&w->site, as, &error);
    g_autofree char *socket = g_strconcat(ID_TEXT(as), "-vnc", NULL);
    g_autofree char *tpm = sub(w->tpm, ID_TEXT(as));
    g_autofree char *tpm2 = sub(tpm, "tpm2");
    g_autofree char *disks = NULL;

    g_assert_no_error(error);
    disks = sub(folder, "disks");
    put(folder, "vda.qcow2");
    put(disks, "vda.qcow2");
    put(w->nbd, socket);
    put(tpm2, "tpm2-00.permall");
    g_assert_true(remains_permit(&w->site, as, NULL));
    return folder;
}

static void test_removes_all_of_one(World *w, gconstpointer data)
{
    const Id as = id_random(), other = id_random();
    g_autofree char *folder = furnish(w, as);
    g_autofree char *others = furnish(w, other);
    g_autoptr(GError) error = NULL;

    (void)data;
    remains_remove(w->conn, &w->site, as, &error);
    g_assert_no_error(error);
    g_assert_false(g_file_test(folder, G_FILE_TEST_EXISTS));
    g_assert_false(is_there(w->permit, ID_TEXT(as)));
    g_assert_false(is_there(w->tpm, ID_TEXT(as)));
    g_assert_true(g_file_test(others, G_FILE_TEST_EXISTS));
    g_assert_true(is_there(w->tpm, ID_TEXT(other)));
    /* Once more is no error. */
    g_assert_true(remains_remove(w->conn, &w->site, as, &error));
    g_assert_true(remains_remove(w->conn, &w->site, other, &error));
}

static void test_sweeps_what_others_left(World *w, gconstpointer data)
{
    const Id ours = id_random(), old = id_random(), given_up = id_random();
    g_autofree char *folder = furnish(w, ours);
    g_autofree char *old_folder = NULL;
    g_autofree char *gone = furnish(w, given_up);
    g_autoptr(GError) error = NULL;
    const Id run = w->site.run;

    (void)data;
    w->site.run = id_random();
    old_folder = furnish(w, old);
    w->site.run = run;
    remains_give_up(&w->site, given_up);
    remains_sweep(w->conn, &w->site, &error);
    g_assert_no_error(error);
    g_assert_true(g_file_test(folder, G_FILE_TEST_EXISTS));
    g_assert_false(g_file_test(old_folder, G_FILE_TEST_EXISTS));
    g_assert_false(g_file_test(gone, G_FILE_TEST_EXISTS));
    g_assert_true(remains_remove(w->conn, &w->site, ours, &error));
}

/* One that cannot be removed does not keep the others. */
static void test_sweeps_beside_what_stays(World *w, gconstpointer data)
{
    g_autofree char *deep = NULL;
    g_autoptr(GPtrArray) folders = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GError) error = NULL;
    guint left = 0;

    (void)data;
    for (guint i = 0; i < 8; i++)
        g_ptr_array_add(folders, furnish(w, id_random()));
    deep = g_build_filename(folders->pdata[3], "1/2/3/4/5", NULL);
    g_assert_cmpint(g_mkdir_with_parents(deep, 0700), ==, 0);
    w->site.run = id_random();
    g_assert_false(remains_sweep(w->conn, &w->site, &error));
    g_assert_nonnull(error);
    for (guint i = 0; i < folders->len; i++)
        left += g_file_test(folders->pdata[i], G_FILE_TEST_EXISTS);
    g_assert_cmpuint(left, ==, 1);
    for (guint i = 0; i < 2; i++) {
        g_assert_cmpint(g_rmdir(deep), ==, 0);
        *strrchr(deep, '/') = '\0';
    }
    g_assert_true(remains_sweep(w->conn, &w->site, NULL));
}

/* Whoever has made a folder of that name himself keeps it, and a link leads nowhere. */
static void test_leaves_what_is_not_ours(World *w, gconstpointer data)
{
    const Id as = id_random(), linked = id_random();
    g_autofree char *folder = remains_folder(&w->site, as);
    g_autofree char *kept = sub(w->dir, "kept");
    g_autofree char *mine = remains_make(&w->site, linked, NULL);
    g_autofree char *link = g_build_filename(mine, "away", NULL);
    g_autofree char *file = g_build_filename(folder, "mine", NULL);
    g_autofree char *far = g_build_filename(kept, "far", NULL);

    (void)data;
    g_assert_cmpint(g_mkdir(folder, 0700), ==, 0);
    put(folder, "mine");
    put(kept, "far");
    g_assert_cmpint(symlink(kept, link), ==, 0);
    w->site.run = id_random();
    g_assert_true(remains_sweep(w->conn, &w->site, NULL));
    g_assert_true(g_file_test(file, G_FILE_TEST_EXISTS));
    g_assert_true(g_file_test(far, G_FILE_TEST_EXISTS));
    g_assert_false(g_file_test(mine, G_FILE_TEST_EXISTS));
    g_unlink(file);
    g_rmdir(folder);
    g_unlink(far);
    g_rmdir(kept);
}

/* Somebody has moved a test's folder away, and put a link in its place. */
static void test_leaves_what_a_link_leads_to(World *w, gconstpointer data)
{
    const Id as = id_random();
    g_autofree char *folder = furnish(w, as);
    g_autofree char *kept = g_build_filename(w->dir, "kept", NULL);
    g_autofree char *file = g_build_filename(kept, "disks", "disk", NULL);
    g_autoptr(GError) error = NULL;

    (void)data;
    g_assert_cmpint(g_rename(folder, kept), ==, 0);
    g_assert_cmpint(symlink(kept, folder), ==, 0);
    g_assert_true(g_file_set_contents(file, "theirs", -1, NULL));
    g_assert_false(remains_remove(w->conn, &w->site, as, &error));
    g_assert_error(error, US_ERROR, US_ERROR_REFUSED);
    g_assert_true(g_file_test(file, G_FILE_TEST_EXISTS));
    g_assert_cmpint(g_unlink(folder), ==, 0);
    g_assert_cmpint(g_rename(kept, folder), ==, 0);
    g_assert_true(remains_remove(w->conn, &w->site, as, NULL));
}

/* An engine was killed while it made a folder: another run takes it, its own run does not. */
static void test_sweeps_what_is_half_made(World *w, gconstpointer data)
{
    const Id killed = id_random();
    g_autofree char *whole = remains_folder(&w->site, id_random());
    g_autofree char *old = g_strconcat(whole, ".", ID_TEXT(killed), NULL);
    g_autofree char *ours = g_strconcat(whole, ".", ID_TEXT(w->site.run), NULL);
    g_autofree char *other = g_strconcat(whole, ".mine", NULL);

    (void)data;
    g_assert_cmpint(g_mkdir(old, 0711), ==, 0);
    g_assert_cmpint(g_mkdir(ours, 0711), ==, 0);
    g_assert_cmpint(g_mkdir(other, 0711), ==, 0);
    put(old, "understudy-test");
    g_assert_true(remains_sweep(w->conn, &w->site, NULL));
    g_assert_false(g_file_test(old, G_FILE_TEST_EXISTS));
    g_assert_cmpint(g_rmdir(ours), ==, 0);
    g_assert_cmpint(g_rmdir(other), ==, 0);
}

/* An engine was killed while it removed a folder, behind its marker. */
static void test_sweeps_what_is_emptied(World *w, gconstpointer data)
{
    g_autofree char *emptied = remains_folder(&w->site, id_random());
    g_autofree char *odd = g_strconcat(emptied, "x", NULL);

    (void)data;
    g_assert_cmpint(g_mkdir(emptied, 0711), ==, 0);
    g_assert_cmpint(g_mkdir(odd, 0711), ==, 0);
    g_assert_true(remains_sweep(w->conn, &w->site, NULL));
    g_assert_false(g_file_test(emptied, G_FILE_TEST_EXISTS));
    g_assert_cmpint(g_rmdir(odd), ==, 0);
}

/* The store's file system is not mounted: nothing is made below it. */
static void test_needs_its_store(World *w, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *none = g_build_filename(w->dir, "none", NULL);

    (void)data;
    w->site.store_dir = none;
    g_assert_null(remains_make(&w->site, id_random(), &error));
    g_assert_error(error, US_ERROR, US_ERROR_NOT_FOUND);
    g_assert_false(g_file_test(none, G_FILE_TEST_EXISTS));
}

/* The disk is full: no folder is left that nobody knows of. */
static void test_makes_all_or_nothing(World *w, gconstpointer data)
{
    Id as = id_random();

    (void)data;
    for (guint n = 1;; n++) {
        g_autoptr(GError) error = NULL;
        g_autofree char *folder = NULL;
        g_autofree char *path = remains_folder(&w->site, as);

        fault_arm(n, ENOSPC);
        folder = remains_make(&w->site, as, &error);
        if (!fault_was_met()) {
            g_assert_nonnull(folder);
            g_assert_cmpuint(n, >, 3);
            break;
        }
        g_assert_null(folder);
        g_assert_nonnull(error);
        g_assert_false(g_file_test(path, G_FILE_TEST_EXISTS));
    }
    g_assert_true(remains_remove(w->conn, &w->site, as, NULL));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add("/remains/one", World, NULL, set_up, test_removes_all_of_one, tear_down);
    g_test_add("/remains/sweep", World, NULL, set_up, test_sweeps_what_others_left, tear_down);
    g_test_add("/remains/sweep-beside", World, NULL, set_up, test_sweeps_beside_what_stays, tear_down);
    g_test_add("/remains/half-made", World, NULL, set_up, test_sweeps_what_is_half_made, tear_down);
    g_test_add("/remains/emptied", World, NULL, set_up, test_sweeps_what_is_emptied, tear_down);
    g_test_add("/remains/not-ours", World, NULL, set_up, test_leaves_what_is_not_ours, tear_down);
    g_test_add("/remains/linked", World, NULL, set_up, test_leaves_what_a_link_leads_to, tear_down);
    g_test_add("/remains/no-store", World, NULL, set_up, test_needs_its_store, tear_down);
    g_test_add("/remains/all-or-nothing", World, NULL, set_up, test_makes_all_or_nothing, tear_down);
    return g_test_run();
}

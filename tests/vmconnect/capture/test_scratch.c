/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/capture/scratch.h"

#include "tests/tree.h"
#include "vmconnect/base/error.h"
#include "vmconnect/image/qcow2.h"

#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define GIB ((guint64)1 << 30)
#define OWNER 12345 /* of the scratch folder, as QEMU's user would be */
#define TIMEOUT_MS 10000

typedef struct {
    char *dir;
    char *blanks; /* the folder of blank images */
    char *path;   /* a scratch file */
} Fixture;

static void set_up(Fixture *f, gconstpointer data)
{
    (void)data;
    f->dir = g_dir_make_tmp("scratch-XXXXXX", NULL);
    g_assert_nonnull(f->dir);
    f->blanks = g_build_filename(f->dir, "run", NULL);
    f->path = g_build_filename(f->dir, "vm-job-vda", NULL);
    g_assert_cmpint(g_mkdir(f->blanks, 0700), ==, 0);
}

static void tear_down(Fixture *f, gconstpointer data)
{
    (void)data;
    tree_remove(f->dir);
    g_free(f->dir);
    g_free(f->blanks);
    g_free(f->path);
}

static void assert_blank(const char *path, guint64 size_bytes)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(Qcow2Facts) facts = qcow2_read(path, "qcow2", TIMEOUT_MS, -1, &error);

    g_assert_no_error(error);
    g_assert_cmpuint(facts->size_bytes, ==, size_bytes);
    g_assert_null(facts->backing);
    g_assert_false(facts->dirty);
}

static void test_sizes(Fixture *f, gconstpointer data)
{
    static const guint64 SIZES[] = {512, 64 * 1024 + 512, GIB, 1024 * GIB, 64 * 1024 * GIB};

    (void)data;
    for (guint i = 0; i < G_N_ELEMENTS(SIZES); i++) {
        g_autoptr(GError) error = NULL;
        struct stat st;

        g_assert_true(scratch_make(f->path, SIZES[i], f->blanks, -1, &error));
        g_assert_no_error(error);
        assert_blank(f->path, SIZES[i]);
        /* What counts against the space that a guest's overwriting may take. */
        g_assert_cmpint(stat(f->path, &st), ==, 0);
        g_assert_cmpuint((guint64)st.st_blocks * 512, <=, 64 * 1024);
        g_assert_cmpint(st.st_mode & 07777, ==, 0600);
        g_assert_cmpint(g_unlink(f->path), ==, 0);
    }
}

static void test_made_once(Fixture *f, gconstpointer data)
{
    g_autofree char *path = g_strdup(g_getenv("PATH"));
    g_autoptr(GError) error = NULL;
    g_autoptr(GError) without = NULL;

    (void)data;
    g_assert_true(scratch_make(f->path, GIB, f->blanks, -1, &error));
    g_assert_no_error(error);
    g_assert_cmpint(g_unlink(f->path), ==, 0);

    g_setenv("PATH", "/nowhere", TRUE);
    g_assert_true(scratch_make(f->path, GIB, f->blanks, -1, &error));
    g_assert_cmpint(g_unlink(f->path), ==, 0);
    g_assert_false(scratch_make(f->path, 2 * GIB, f->blanks, -1, &without));
    g_setenv("PATH", path, TRUE);

    g_assert_no_error(error);
    g_assert_error(without, US_ERROR, US_ERROR_NOT_FOUND);
    g_assert_false(g_file_test(f->path, G_FILE_TEST_EXISTS));
}

static void test_of_the_folders_owner(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    struct stat st;

    (void)data;
    if (chown(f->dir, OWNER, OWNER) != 0) {
        g_test_skip("only root gives files away");
        return;
    }
    g_assert_true(scratch_make(f->path, GIB, f->blanks, -1, &error));
    g_assert_no_error(error);
    g_assert_cmpint(stat(f->path, &st), ==, 0);
    g_assert_cmpuint(st.st_uid, ==, OWNER);
    g_assert_cmpuint(st.st_gid, ==, OWNER);
}

static void test_somebody_elses_file(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *text = NULL;

    (void)data;
    g_assert_true(g_file_set_contents(f->path, "not ours", -1, NULL));
    g_assert_false(scratch_make(f->path, GIB, f->blanks, -1, &error));
    g_assert_error(error, US_ERROR, US_ERROR_IO);
    g_assert_true(g_file_get_contents(f->path, &text, NULL, NULL));
    g_assert_cmpstr(text, ==, "not ours");
}

static void test_no_folder(Fixture *f, gconstpointer data)
{
    g_autofree char *nowhere = g_build_filename(f->dir, "nowhere", "vm-job-vda", NULL);
    g_autoptr(GError) error = NULL;

    (void)data;
    g_assert_false(scratch_make(nowhere, GIB, f->blanks, -1, &error));
    g_assert_error(error, US_ERROR, US_ERROR_NOT_FOUND);
    g_assert_nonnull(strstr(error->message, nowhere));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(name, test) g_test_add("/scratch/" name, Fixture, NULL, set_up, test, tear_down)
    ADD("disks of all sizes", test_sizes);
    ADD("qemu-img is asked once a size", test_made_once);
    ADD("it belongs to the folder's owner", test_of_the_folders_owner);
    ADD("a file that is there already is left alone", test_somebody_elses_file);
    ADD("a missing folder is named", test_no_folder);
    return g_test_run();
}

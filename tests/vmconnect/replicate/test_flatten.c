/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/replicate/flatten.h"

#include "tests/tree.h"
#include "vmconnect/base/error.h"

#include <glib/gstdio.h>

/* One disk that was given, with an overlay in @dir on an image elsewhere. */
static GPtrArray *give(StoreGiven *disk, const char *dir)
{
    GPtrArray *given = g_ptr_array_new();

    disk->overlay = g_build_filename(dir, "overlay", NULL);
    g_assert_true(g_file_set_contents(disk->overlay, "", 0, NULL));
    g_ptr_array_add(given, disk);
    return given;
}

static void assert_kept(const GPtrArray *given, GHashTable *live, gboolean begun)
{
    g_autoptr(GError) error = NULL;

    g_assert_false(flatten_expect_all(given, live, begun, &error));
    g_assert_error(error, US_ERROR, US_ERROR_REFUSED);
    g_assert_true(g_str_has_prefix(error->message, "disk vdb is not attached to it any more"));
}

/* What a detached disk holds is kept, before the first commit and after it, until its user has removed it. */
static void test_a_detached_disk(void)
{
    g_autofree char *dir = g_dir_make_tmp("understudy-flatten-XXXXXX", NULL);
    StoreGiven disk = {.target = (char *)"vdb", .home = (char *)"/images/web1-b.qcow2"};
    g_autoptr(GPtrArray) given = give(&disk, dir);
    g_autoptr(GHashTable) live = g_hash_table_new(g_str_hash, g_str_equal);

    assert_kept(given, live, FALSE);
    assert_kept(given, live, TRUE);
    /* From its image alone it has gone on only if we committed it. */
    g_hash_table_add(live, disk.home);
    assert_kept(given, live, FALSE);
    g_assert_true(flatten_expect_all(given, live, TRUE, NULL));
    g_hash_table_add(live, disk.overlay);
    g_assert_true(flatten_expect_all(given, live, FALSE, NULL));
    g_hash_table_remove_all(live);
    g_assert_true(g_unlink(disk.overlay) == 0);
    g_assert_true(flatten_expect_all(given, live, FALSE, NULL));
    g_free(disk.overlay);
    tree_remove(dir);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/flatten/a-detached-disk", test_a_detached_disk);
    return g_test_run();
}

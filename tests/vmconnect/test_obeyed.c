/* SPDX-License-Identifier: Apache-2.0 */
/* Whom an engine obeys after what it has followed, and whether that outlives it. */
#include "vmconnect/obeyed.h"

#include "vmconnect/base/error.h"

#include <glib/gstdio.h>
#include <string.h>

static const Id ME = {{1}};
static const Id OTHER = {{2}};

static void test_allows(void)
{
    const Obeyed nobody = {{{0}}, 0};
    const Obeyed known = {{{1}}, 7};

    g_assert_true(obeyed_allows(&nobody, ME, 0));
    g_assert_true(obeyed_allows(&known, ME, 7)); /* its link broke off */
    g_assert_true(obeyed_allows(&known, ME, 8));
    g_assert_false(obeyed_allows(&known, ME, 6));
    g_assert_true(obeyed_allows(&known, OTHER, 1)); /* another owner counts for itself */
}

static void test_file(void)
{
    g_autofree char *dir = g_dir_make_tmp("understudy-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(dir, "obeyed.json", NULL);
    static const char *const BAD[] = {
        "",
        "{",
        "{}",
        "[]",
        "{\"format\":2}",
        "{\"format\":1,\"machine\":\"\",\"controller\":\"x\",\"incarnation\":-1}"};
    g_autoptr(GError) error = NULL;
    Obeyed found;

    g_assert_true(obeyed_read(path, &found, &error));
    g_assert_true(id_is_nil(found.controller));
    obeyed_write(path, &(Obeyed){ME, 1795732911}, &error);
    g_assert_no_error(error);
    g_assert_true(obeyed_read(path, &found, &error));
    g_assert_true(id_equal(found.controller, ME));
    g_assert_cmpuint(found.incarnation, ==, 1795732911);
    for (guint i = 0; i < G_N_ELEMENTS(BAD); i++) {
        g_assert_true(g_file_set_contents(path, BAD[i], -1, NULL));
        g_assert_false(obeyed_read(path, &found, &error));
        g_assert_nonnull(error);
        g_clear_error(&error);
    }
    /* Another machine's. */
    g_assert_true(g_file_set_contents(path,
                                      "{\"format\":1,\"machine\":\"elsewhere\",\"controller\":"
                                      "\"01000000-0000-0000-0000-000000000000\",\"incarnation\":9}",
                                      -1, NULL));
    g_assert_true(obeyed_read(path, &found, &error));
    g_assert_true(id_is_nil(found.controller));
    g_unlink(path);
    g_assert_cmpint(g_rmdir(dir), ==, 0);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/obeyed/allows", test_allows);
    g_test_add_func("/obeyed/file", test_file);
    return g_test_run();
}

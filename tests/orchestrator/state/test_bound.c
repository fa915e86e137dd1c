/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/state/bound.h"
#include "vmconnect/base/error.h"

#include <glib/gstdio.h>

static char *make_state(void)
{
    char *dir = g_dir_make_tmp("understudy-bound-XXXXXX", NULL);
    g_autofree char *file = g_build_filename(dir, "state.db", NULL);

    g_assert_true(g_file_set_contents(file, "memory", -1, NULL));
    return dir;
}

static void run(const char *format, const char *a, const char *b)
{
    g_autofree char *command = g_strdup_printf(format, a, b);

    g_assert_true(g_spawn_command_line_sync(command, NULL, NULL, NULL, NULL));
}

static void test_stays(void)
{
    g_autofree char *dir = make_state();
    g_autoptr(GError) error = NULL;

    bound_check(dir, "state.db", 7, &error);
    g_assert_no_error(error);
    bound_check(dir, "state.db", 7, &error);
    g_assert_no_error(error);
    run("rm -r %s%s", dir, "");
}

static void test_copied(void)
{
    g_autofree char *dir = make_state();
    g_autofree char *copy = g_strconcat(dir, "-copy", NULL);
    g_autoptr(GError) error = NULL;

    bound_check(dir, "state.db", 7, &error);
    g_assert_no_error(error);
    run("cp -a %s %s", dir, copy);
    g_assert_false(bound_check(copy, "state.db", 7, &error));
    g_assert_error(error, US_ERROR, US_ERROR_REFUSED);
    g_assert_true(g_str_has_prefix(error->message, copy));
    g_clear_error(&error);
    bound_mark(copy, "state.db", 0, &error);
    g_assert_no_error(error);
    bound_check(copy, "state.db", 7, &error);
    g_assert_no_error(error);
    run("rm -r %s %s", dir, copy);
}

/* Put back in its old place it is another file. */
static void test_put_back(void)
{
    g_autofree char *dir = make_state();
    g_autofree char *file = g_build_filename(dir, "state.db", NULL);
    g_autofree char *backup = g_strconcat(file, ".backup", NULL);
    g_autoptr(GError) error = NULL;

    bound_check(dir, "state.db", 7, &error);
    g_assert_no_error(error);
    run("cp -a %s %s", file, backup);
    g_assert_cmpint(g_rename(backup, file), ==, 0);
    g_assert_false(bound_check(dir, "state.db", 7, &error));
    g_assert_error(error, US_ERROR, US_ERROR_REFUSED);
    run("rm -r %s%s", dir, "");
}

static void test_damaged(void)
{
    static const char *const TEXTS[] = {
        "", "{}", "[]", "{\"format\":1}", "{\"format\":1,\"place\":7}", "{\"format\":2,\"place\":\"x\"}"};
    g_autofree char *dir = make_state();
    g_autofree char *path = g_build_filename(dir, "bound.json", NULL);

    for (guint i = 0; i < G_N_ELEMENTS(TEXTS); i++) {
        g_autoptr(GError) error = NULL;

        g_assert_true(g_file_set_contents(path, TEXTS[i], -1, NULL));
        g_assert_false(bound_check(dir, "state.db", 7, &error));
        g_assert_nonnull(error);
    }
    run("rm -r %s%s", dir, "");
}

/* Into the very file: it knows less than was written down beside it. */
static void test_copied_back(void)
{
    g_autofree char *dir = make_state();
    g_autoptr(GError) error = NULL;

    bound_check(dir, "state.db", 7, &error);
    g_assert_no_error(error);
    bound_mark(dir, "state.db", 9, &error);
    g_assert_no_error(error);
    g_assert_true(bound_check(dir, "state.db", 9, NULL));
    g_assert_true(bound_check(dir, "state.db", 12, NULL));
    g_assert_false(bound_check(dir, "state.db", 11, &error));
    g_assert_error(error, US_ERROR, US_ERROR_REFUSED);
    g_clear_error(&error);
    bound_mark(dir, "state.db", 0, &error);
    g_assert_no_error(error);
    g_assert_true(bound_check(dir, "state.db", 11, NULL));
    run("rm -r %s%s", dir, "");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/bound/stays", test_stays);
    g_test_add_func("/bound/copied", test_copied);
    g_test_add_func("/bound/put-back", test_put_back);
    g_test_add_func("/bound/copied-back", test_copied_back);
    g_test_add_func("/bound/damaged", test_damaged);
    return g_test_run();
}

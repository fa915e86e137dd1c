/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/base/durable.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/fault.h"

#include <errno.h>
#include <glib/gstdio.h>

/* durable_replace() has four steps that can fail; after each the old file or the new one is whole. */
static void test_replace_all_or_nothing(void)
{
    g_autofree char *dir = g_dir_make_tmp("understudy-fault-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(dir, "file", NULL);
    guint steps = 0;

    g_assert_true(durable_replace(path, "old", 3, 0600, NULL));
    for (guint n = 1;; n++) {
        g_autoptr(GError) error = NULL;
        g_autofree char *text = NULL;
        gboolean ok;

        fault_arm(n, EIO);
        ok = durable_replace(path, "new", 3, 0600, &error);
        if (!fault_was_met()) {
            g_assert_true(ok);
            break;
        }
        steps++;
        g_assert_false(ok);
        g_assert_error(error, US_ERROR, US_ERROR_IO);
        g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
        /* Only the last step, the directory's fsync, comes after the new file is in place. */
        g_assert_cmpstr(text, ==, n < 4 ? "old" : "new");
    }
    g_assert_cmpuint(steps, ==, 4);
    durable_remove(path, NULL);
    g_rmdir(dir);
}

static void test_no_space_is_told_apart(void)
{
    g_autoptr(GError) error = NULL;

    fault_arm(1, ENOSPC);
    g_assert_false(durable_append(-1, "x", 1, &error));
    g_assert_true(fault_was_met());
    g_assert_error(error, US_ERROR, US_ERROR_NO_SPACE);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/fault/replace-all-or-nothing", test_replace_all_or_nothing);
    g_test_add_func("/fault/no-space-is-told-apart", test_no_space_is_told_apart);
    return g_test_run();
}

/* SPDX-License-Identifier: Apache-2.0 */
/* tree - the end of a folder that a test made. */
#pragma once

#include <glib.h>
#include <glib/gstdio.h>

/* With all that is in it; a test that leaves something behind fails. */
static inline void tree_remove(const char *path)
{
    g_autoptr(GDir) dir = g_file_test(path, G_FILE_TEST_IS_SYMLINK) ? NULL : g_dir_open(path, 0, NULL);
    const char *name;

    while (dir && (name = g_dir_read_name(dir))) {
        g_autofree char *child = g_build_filename(path, name, NULL);

        tree_remove(child);
    }
    g_assert_cmpint(g_remove(path), ==, 0);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/hypervisor/pivot_mark.h"

#include "vmconnect/base/error.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <unistd.h>

#define FOLDER "pivot"

static char *path_of(Id vm, const char *run_folder)
{
    return g_build_filename(run_folder, FOLDER, ID_TEXT(vm), NULL);
}

gboolean pivot_mark_set(Id vm, const char *run_folder, GError **error)
{
    g_autofree char *path = path_of(vm, run_folder);
    g_autofree char *folder = g_path_get_dirname(path);
    int fd;

    if (g_mkdir_with_parents(folder, 0700) != 0)
        return us_error_errno(error, errno, "cannot make %s", folder);
    fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return us_error_errno(error, errno, "cannot write %s", path);
    return close(fd) == 0 || us_error_errno(error, errno, "cannot write %s", path);
}

void pivot_mark_clear(Id vm, const char *run_folder)
{
    g_autofree char *path = path_of(vm, run_folder);

    g_unlink(path);
}

gboolean pivot_is_marked(Id vm, const char *run_folder)
{
    g_autofree char *path = path_of(vm, run_folder);

    return g_file_test(path, G_FILE_TEST_EXISTS);
}

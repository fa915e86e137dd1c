/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/capture/scratch.h"

#include "vmconnect/base/durable.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/id.h"
#include "vmconnect/image/qcow2.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BLANK_MS 10000
#define BLOCK 4096 /* what is zero in it stays a hole */

/* All or nothing: two VMs may need the same one at the same time. */
static gboolean make_blank(const char *path, guint64 size_bytes, int cancel_fd, GError **error)
{
    g_autofree char *new = g_strdup_printf("%s.%s", path, ID_TEXT(id_random()));

    if (qcow2_create(new, size_bytes, NULL, BLANK_MS, cancel_fd, error) &&
        (g_rename(new, path) == 0 || us_error_errno(error, errno, "cannot keep %s", path)))
        return TRUE;
    g_unlink(new);
    return FALSE;
}

static gboolean write_data(int fd, const char *data, gsize len)
{
    static const char zeros[BLOCK];

    for (gsize at = 0; at < len; at += BLOCK) {
        gsize n = MIN(len - at, BLOCK);

        if (memcmp(data + at, zeros, n) != 0 && pwrite(fd, data + at, n, (off_t)at) != (ssize_t)n)
            return FALSE;
    }
    return ftruncate(fd, (off_t)len) == 0;
}

static gboolean give_to_folders_owner(int fd, const char *path)
{
    g_autofree char *folder = g_path_get_dirname(path);
    struct stat st;

    return stat(folder, &st) == 0 && fchown(fd, st.st_uid, st.st_gid) == 0;
}

static gboolean copy(const char *data, gsize len, const char *path, GError **error)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    int errnum;

    if (fd < 0)
        return us_error_errno(error, errno, "cannot make the scratch file %s", path);
    errno = ENOSPC; /* which a short write does not set */
    if (write_data(fd, data, len) && give_to_folders_owner(fd, path)) {
        close(fd);
        return TRUE;
    }
    errnum = errno;
    close(fd);
    g_unlink(path);
    return us_error_errno(error, errnum, "cannot make the scratch file %s", path);
}

gboolean scratch_make(const char *path, guint64 size_bytes, const char *blank_dir, int cancel_fd,
                      GError **error)
{
    g_autofree char *blank = g_strdup_printf("%s/blank-%" G_GUINT64_FORMAT ".qcow2", blank_dir, size_bytes);
    g_autofree char *data = NULL;
    gsize len;

    if (!g_file_test(blank, G_FILE_TEST_EXISTS) && !make_blank(blank, size_bytes, cancel_fd, error))
        return FALSE;
    return durable_read(blank, &data, &len, error) && copy(data, len, path, error);
}

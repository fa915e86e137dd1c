/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/base/durable.h"

#include "vmconnect/base/error.h"
#include "vmconnect/base/fault.h"
#include "vmconnect/base/stop.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <sys/stat.h>
#include <unistd.h>

/* The system calls below, which a test can let fail. */
static gboolean faulty(void)
{
    int why = fault_at();

    if (why)
        errno = why;
    return why != 0;
}

static gboolean write_all(int fd, const guint8 *data, gsize len)
{
    if (faulty())
        return FALSE;
    while (len > 0) {
        gssize n = write(fd, data, len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return FALSE;
        data += n;
        len -= (gsize)n;
    }
    return TRUE;
}

static gboolean sync_path(const char *path, int flags, GError **error)
{
    int fd = open(path, flags | O_RDONLY | O_CLOEXEC);
    gboolean ok = TRUE;

    if (fd < 0)
        return us_error_errno(error, errno, "cannot open %s", path);
    if (faulty() || fsync(fd) != 0)
        ok = us_error_errno(error, errno, "cannot make %s durable", path);
    close(fd);
    return ok;
}

gboolean durable_sync_dir(const char *path, GError **error)
{
    return sync_path(path, O_DIRECTORY, error);
}

gboolean durable_sync_file(const char *path, GError **error)
{
    return sync_path(path, 0, error);
}

void durable_start(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return;
    (void)sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE);
    close(fd);
}

gboolean durable_write_out(const char *path, guint64 offset, guint64 len, gboolean *ret_end, GError **error)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    gboolean ok = TRUE;
    struct stat st;

    if (fd < 0)
        return us_error_errno(error, errno, "cannot open %s", path);
    if (faulty() || fstat(fd, &st) != 0 ||
        sync_file_range(fd, (off_t)offset, (off_t)len,
                        SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER) !=
            0)
        ok = us_error_errno(error, errno, "cannot write %s to the disk", path);
    else
        *ret_end = (guint64)st.st_size <= offset + len;
    close(fd);
    return ok;
}

static gboolean sync_parent(const char *path, GError **error)
{
    g_autofree char *dir = g_path_get_dirname(path);

    return durable_sync_dir(dir, error);
}

gboolean durable_set_aside(const char *path, guint64 bytes, GError **error)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    int rc = fd < 0 ? errno : posix_fallocate(fd, 0, (off_t)bytes);

    if (fd >= 0)
        close(fd);
    if (rc == 0)
        return TRUE;
    g_unlink(path);
    return us_error_errno(error, rc, "no room can be set aside: %s", path);
}

gboolean durable_read(const char *path, char **ret_data, gsize *ret_len, GError **error)
{
    g_autoptr(GError) why = NULL;
    gboolean none;

    if (g_file_get_contents(path, ret_data, ret_len, &why))
        return TRUE;
    none = g_error_matches(why, G_FILE_ERROR, G_FILE_ERROR_NOENT);
    g_set_error(error, US_ERROR, none ? US_ERROR_NOT_FOUND : US_ERROR_IO, "%s", why->message);
    return FALSE;
}

static char *fresh_of(const char *path)
{
    return g_strconcat(path, ".new", NULL);
}

int durable_replace_begin(const char *path, guint mode, GError **error)
{
    g_autofree char *fresh = fresh_of(path);
    int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);

    if (fd < 0) {
        us_error_errno(error, errno, "cannot create %s", fresh);
        return -1;
    }
    /* A leftover of a crash keeps its old mode; a secret must not. */
    if (fchmod(fd, mode) == 0)
        return fd;
    us_error_errno(error, errno, "cannot write %s", fresh);
    close(fd);
    return -1;
}

gboolean durable_replace_end(const char *path, int fd, const void *data, gsize len, GError **error)
{
    g_autofree char *fresh = fresh_of(path);
    gboolean ok = write_all(fd, data, len) && !faulty() && fsync(fd) == 0;

    if (!ok)
        us_error_errno(error, errno, "cannot write %s", fresh);
    close(fd);
    if (!ok)
        return FALSE;
    stop_at("durable.before_rename");
    if (faulty() || g_rename(fresh, path) != 0)
        return us_error_errno(error, errno, "cannot rename %s to %s", fresh, path);
    return sync_parent(path, error);
}

gboolean durable_replace(const char *path, const void *data, gsize len, guint mode, GError **error)
{
    int fd = durable_replace_begin(path, mode, error);

    return fd >= 0 && durable_replace_end(path, fd, data, len, error);
}

gboolean durable_write(int fd, const void *data, gsize len, GError **error)
{
    return write_all(fd, data, len) ? TRUE : us_error_errno(error, errno, "cannot write");
}

gboolean durable_sync(int fd, GError **error)
{
    return !faulty() && fdatasync(fd) == 0
               ? TRUE
               : us_error_errno(error, errno, "cannot make what was written durable");
}

gboolean durable_append(int fd, const void *data, gsize len, GError **error)
{
    return durable_write(fd, data, len, error) && durable_sync(fd, error);
}

gboolean durable_remove(const char *path, GError **error)
{
    if (faulty() || g_unlink(path) != 0) {
        if (errno == ENOENT)
            return TRUE;
        return us_error_errno(error, errno, "cannot remove %s", path);
    }
    return sync_parent(path, error);
}

gboolean durable_mkdir(const char *path, guint mode, GError **error)
{
    g_autofree char *parent = NULL;

    if (g_file_test(path, G_FILE_TEST_IS_DIR))
        return TRUE;
    parent = g_path_get_dirname(path);
    if (!durable_mkdir(parent, 0755, error))
        return FALSE;
    if (g_mkdir(path, (int)mode) != 0 && errno != EEXIST)
        return us_error_errno(error, errno, "cannot create folder %s", path);
    return durable_sync_dir(parent, error);
}

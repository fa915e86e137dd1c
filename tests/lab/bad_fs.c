/* SPDX-License-Identifier: Apache-2.0 */
/* bad_fs - a file system that fails, or is slow, when it is told to.
 *
 *   bad_fs FOLDER MOUNTPOINT
 *
 * Shows FOLDER at MOUNTPOINT, in the background, until it is unmounted. While there is a file
 * FOLDER/.broken every write fails with EIO, as on a disk that dies. What is opened while there is
 * FOLDER/.slow is read and written as on a disk of one head: one request after the other, each for a
 * millisecond and as long as so many KiB a second take as that file says; nothing in it is not slow. */
#define FUSE_USE_VERSION 31
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fuse.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include <uv.h>

#define REQUEST_US 1000

static uv_mutex_t head;
static int folder; /* stays readable by this when something else is mounted over its path */

static int result(int rc)
{
    return rc < 0 ? -errno : 0;
}

static const char *inside(const char *path)
{
    return path[1] ? path + 1 : ".";
}

static gboolean is_broken(void)
{
    return faccessat(folder, ".broken", F_OK, 0) == 0;
}

static gboolean may_be_slow(void)
{
    return faccessat(folder, ".slow", F_OK, 0) == 0;
}

/* Whoever comes meanwhile waits. */
static void move_head(size_t len)
{
    char text[32] = "";
    int fd = openat(folder, ".slow", O_RDONLY | O_CLOEXEC);
    guint64 kib_per_s = 0;

    if (fd >= 0 && read(fd, text, sizeof(text) - 1) > 0)
        kib_per_s = g_ascii_strtoull(text, NULL, 10);
    if (fd >= 0)
        close(fd);
    if (kib_per_s == 0)
        return;
    uv_mutex_lock(&head);
    g_usleep(REQUEST_US + len * G_USEC_PER_SEC / (kib_per_s << 10));
    uv_mutex_unlock(&head);
}

static int get_attributes(const char *path, struct stat *st, struct fuse_file_info *file)
{
    (void)file;
    return result(fstatat(folder, inside(path), st, AT_SYMLINK_NOFOLLOW));
}

static int get_space(const char *path, struct statvfs *fs)
{
    (void)path;
    return result(fstatvfs(folder, fs));
}

static int list(const char *path, void *buffer, fuse_fill_dir_t fill, off_t offset,
                struct fuse_file_info *file, enum fuse_readdir_flags flags)
{
    int fd = openat(folder, inside(path), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    const struct dirent *entry;

    (void)offset;
    (void)file;
    (void)flags;
    if (!dir)
        return -errno;
    while ((entry = readdir(dir)))
        fill(buffer, entry->d_name, NULL, 0, 0);
    closedir(dir);
    return 0;
}

static int open_file(const char *path, struct fuse_file_info *file)
{
    /* Else the kernel would keep what was read. */
    gboolean is_direct = may_be_slow();
    int fd = openat(folder, inside(path), (file->flags & ~(O_CREAT | O_EXCL | O_DIRECT)) | O_CLOEXEC);

    file->fh = (guint64)fd;
    file->direct_io = is_direct;
    return result(fd);
}

static int create_file(const char *path, mode_t mode, struct fuse_file_info *file)
{
    gboolean is_direct = may_be_slow();
    int fd = openat(folder, inside(path), (file->flags & ~O_DIRECT) | O_CREAT | O_CLOEXEC, mode);

    file->fh = (guint64)fd;
    file->direct_io = is_direct;
    return result(fd);
}

static int close_file(const char *path, struct fuse_file_info *file)
{
    (void)path;
    return result(close((int)file->fh));
}

static int read_file(const char *path, char *data, size_t len, off_t offset, struct fuse_file_info *file)
{
    ssize_t n;

    (void)path;
    move_head(len);
    n = pread((int)file->fh, data, len, offset);
    return n < 0 ? -errno : (int)n;
}

static int write_file(const char *path, const char *data, size_t len, off_t offset,
                      struct fuse_file_info *file)
{
    ssize_t n;

    (void)path;
    move_head(len);
    if (is_broken())
        return -EIO;
    n = pwrite((int)file->fh, data, len, offset);
    return n < 0 ? -errno : (int)n;
}

static int set_size(const char *path, off_t size, struct fuse_file_info *file)
{
    int fd = file ? (int)file->fh : openat(folder, inside(path), O_WRONLY | O_CLOEXEC);
    int rc = fd < 0 ? -errno : result(ftruncate(fd, size));

    if (!file && fd >= 0)
        close(fd);
    return rc;
}

static int allocate(const char *path, int mode, off_t offset, off_t len, struct fuse_file_info *file)
{
    (void)path;
    if (is_broken())
        return -EIO;
    return result(fallocate((int)file->fh, mode, offset, len));
}

static int change_owner(const char *path, uid_t uid, gid_t gid, struct fuse_file_info *file)
{
    (void)file;
    return result(fchownat(folder, inside(path), uid, gid, AT_SYMLINK_NOFOLLOW));
}

static int change_mode(const char *path, mode_t mode, struct fuse_file_info *file)
{
    (void)file;
    return result(fchmodat(folder, inside(path), mode, 0));
}

static int set_times(const char *path, const struct timespec times[2], struct fuse_file_info *file)
{
    (void)file;
    return result(utimensat(folder, inside(path), times, AT_SYMLINK_NOFOLLOW));
}

static int sync_file(const char *path, int data_only, struct fuse_file_info *file)
{
    (void)path;
    return result(data_only ? fdatasync((int)file->fh) : fsync((int)file->fh));
}

static int remove_file(const char *path)
{
    return result(unlinkat(folder, inside(path), 0));
}

int main(int argc, char **argv)
{
    static const struct fuse_operations OPERATIONS = {
        .getattr = get_attributes,
        .statfs = get_space,
        .readdir = list,
        .open = open_file,
        .create = create_file,
        .release = close_file,
        .read = read_file,
        .write = write_file,
        .truncate = set_size,
        .fallocate = allocate,
        .chown = change_owner,
        .chmod = change_mode,
        .utimens = set_times,
        .fsync = sync_file,
        .unlink = remove_file,
    };
    char *options[] = {argv[0], argc == 3 ? argv[2] : NULL, (char *)"-oallow_other,default_permissions",
                       NULL};

    if (argc != 3) {
        g_printerr("usage: bad_fs FOLDER MOUNTPOINT\n");
        return 2;
    }
    uv_mutex_init(&head);
    folder = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0) {
        g_printerr("bad_fs: %s: %s\n", argv[1], g_strerror(errno));
        return 1;
    }
    return fuse_main(3, options, &OPERATIONS, NULL);
}

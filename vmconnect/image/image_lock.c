/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/image/image_lock.h"

#include "vmconnect/base/error.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

/* One byte says that somebody does this with the image, another that somebody does not bear others doing it. */
#define DOES 100
#define BEARS_NOT 200

enum { CONSISTENT_READ = 0, WRITE = 1, RESIZE = 3 }; /* QEMU's numbers of permissions */

/* -1 with errno if the file system has no locks. */
static int is_locked_by_others(int fd, int byte)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};

    return fcntl(fd, F_OFD_GETLK, &lock) == 0 ? lock.l_type != F_UNLCK : -1;
}

static gboolean lock_byte(int fd, int byte)
{
    struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};

    return fcntl(fd, F_OFD_SETLK, &lock) == 0;
}

/* First said, then looked: of two who come at the same time at most one goes on. */
static gboolean lock(int fd)
{
    static const int SAID[] = {DOES + CONSISTENT_READ, DOES + WRITE, DOES + RESIZE, BEARS_NOT + WRITE,
                               BEARS_NOT + RESIZE};
    static const int LOOKED_AT[] = {BEARS_NOT + CONSISTENT_READ, BEARS_NOT + WRITE, BEARS_NOT + RESIZE,
                                    DOES + WRITE, DOES + RESIZE};
    gboolean ok = TRUE;

    for (guint i = 0; ok && i < G_N_ELEMENTS(SAID); i++)
        ok = lock_byte(fd, SAID[i]);
    for (guint i = 0; ok && i < G_N_ELEMENTS(LOOKED_AT); i++)
        ok = is_locked_by_others(fd, LOOKED_AT[i]) == 0;
    return ok;
}

int image_lock_hold(const char *path, GError **error)
{
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0) {
        us_error_errno(error, errno, "image %s", path);
        return -1;
    }
    if (is_locked_by_others(fd, DOES) < 0 || lock(fd))
        return fd;
    close(fd);
    g_set_error(error, US_ERROR, US_ERROR_BUSY, "image %s: another program has it open", path);
    return -1;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/image/signature.h"

#include "vmconnect/base/error.h"

#include <errno.h>
#include <sys/stat.h>
#include <time.h>

#define LOOK_AGAIN_US 500
#define LOOKS_MAX 100 /* several ticks of any kernel */

static gint64 ns(struct timespec t)
{
    return (gint64)t.tv_sec * 1000000000 + t.tv_nsec;
}

static Signature of_stat(const struct stat *st)
{
    return (Signature){
        .device = st->st_dev,
        .inode = st->st_ino,
        .size_bytes = (guint64)st->st_size,
        .mtime_ns = ns(st->st_mtim),
        .ctime_ns = ns(st->st_ctim),
    };
}

/* Is it of a tick that was not over at @tick? One of a day to come is no such. */
static gboolean is_fresh(const struct stat *st, const struct timespec *tick)
{
    return ns(st->st_mtim) >= ns(*tick) && ns(st->st_mtim) < ns(*tick) + 1000000000;
}

/* One that is written to all the time will be another at the next look, whatever it is now. */
static gboolean look(const char *path, int fd, struct stat *ret_st)
{
    for (int i = 0; i < LOOKS_MAX; i++) {
        struct timespec tick;

        clock_gettime(CLOCK_REALTIME_COARSE, &tick);
        if ((path ? stat(path, ret_st) : fstat(fd, ret_st)) != 0)
            return FALSE;
        if (!is_fresh(ret_st, &tick))
            break;
        g_usleep(LOOK_AGAIN_US);
    }
    return TRUE;
}

gboolean signature_read(const char *path, Signature *ret_signature, GError **error)
{
    struct stat st;

    if (!look(path, -1, &st))
        return us_error_errno(error, errno, "cannot look at %s", path);
    *ret_signature = of_stat(&st);
    return TRUE;
}

gboolean signature_read_open(int fd, Signature *ret_signature, GError **error)
{
    struct stat st;

    if (!look(NULL, fd, &st))
        return us_error_errno(error, errno, "cannot look at an open file");
    *ret_signature = of_stat(&st);
    return TRUE;
}

gboolean signature_equal(const Signature *a, const Signature *b)
{
    return a->device == b->device && a->inode == b->inode && a->size_bytes == b->size_bytes &&
           a->mtime_ns == b->mtime_ns && a->ctime_ns == b->ctime_ns;
}

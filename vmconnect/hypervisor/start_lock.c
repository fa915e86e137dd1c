/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/hypervisor/start_lock.h"

#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LOOK_AGAIN_MS 5

static int open_file(const char *folder, Id vm)
{
    g_autofree char *path = g_strdup_printf("%s/%s.lock", folder, ID_TEXT(vm));

    return open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
}

int start_lock_hold(const char *folder, Id vm, GError **error)
{
    int fd = open_file(folder, vm);

    if (fd < 0) {
        us_error_errno(error, errno, "the lock for starts of a VM in %s", folder);
        return -1;
    }
    if (flock(fd, LOCK_EX | LOCK_NB) == 0)
        return fd;
    close(fd);
    g_set_error(error, US_ERROR, US_ERROR_BUSY, "not cutting: the VM is just being started");
    return -1;
}

/* Not the kernel's "now", which stands still for some milliseconds. */
static void leave_mark(int fd)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    futimens(fd, (struct timespec[]){now, now});
}

gboolean start_lock_wait(const char *folder, Id vm, gint64 timeout_ms)
{
    gint64 deadline_ms = clock_steady_ms() + timeout_ms;
    int fd = open_file(folder, vm);
    gboolean had;

    /* No folder: no engine has run since the boot, and nobody writes. */
    if (fd < 0)
        return TRUE;
    leave_mark(fd);
    while (!(had = flock(fd, LOCK_SH | LOCK_NB) == 0) && clock_steady_ms() < deadline_ms)
        poll(NULL, 0, LOOK_AGAIN_MS);
    close(fd);
    return had;
}

gint64 start_lock_mark(const char *folder, Id vm)
{
    int fd = open_file(folder, vm);
    struct stat st = {0};

    if (fd < 0)
        return 0;
    fstat(fd, &st);
    close(fd);
    return (gint64)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
}

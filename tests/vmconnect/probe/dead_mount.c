/* SPDX-License-Identifier: Apache-2.0 */
#include "dead_mount.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <linux/fuse.h>
#include <poll.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#define PATIENCE_MS 30000

typedef struct {
    struct fuse_in_header head;
    char rest[64 << 10];
} Question;

static void begin(int fd)
{
    struct {
        struct fuse_out_header head;
        struct fuse_init_out body;
    } answer = {.body = {.major = FUSE_KERNEL_VERSION, .minor = 31, .max_write = 4096, .max_background = 1}};
    struct pollfd p = {.fd = fd, .events = POLLIN};
    g_autofree Question *q = g_new0(Question, 1);

    g_assert_cmpint(poll(&p, 1, PATIENCE_MS), ==, 1);
    g_assert_cmpint(read(fd, q, sizeof(*q)), >, 0);
    g_assert_cmpuint(q->head.opcode, ==, FUSE_INIT);
    answer.head = (struct fuse_out_header){.len = sizeof(answer), .unique = q->head.unique};
    g_assert_cmpint(write(fd, &answer, sizeof(answer)), ==, sizeof(answer));
}

gboolean dead_mount_open(DeadMount *m)
{
    g_autofree char *options = NULL;
    int fd = geteuid() == 0 ? open("/dev/fuse", O_RDWR | O_CLOEXEC | O_NONBLOCK) : -1;
    char *dir;

    if (fd < 0 || unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0) {
        if (fd >= 0)
            close(fd);
        return FALSE;
    }
    dir = g_dir_make_tmp("understudy-dead-XXXXXX", NULL);
    options = g_strdup_printf("fd=%d,rootmode=40000,user_id=0,group_id=0", fd);
    g_assert_cmpint(mount("dead", dir, "fuse", MS_NODEV | MS_NOSUID, options), ==, 0);
    begin(fd);
    *m = (DeadMount){dir, fd};
    return TRUE;
}

gboolean dead_mount_is_asked(void *mount)
{
    const DeadMount *m = mount;
    g_autofree Question *q = g_new0(Question, 1);

    while (read(m->fd, q, sizeof(*q)) > 0)
        if (q->head.opcode != FUSE_INTERRUPT)
            return TRUE;
    return FALSE;
}

void dead_mount_close(DeadMount *m)
{
    close(m->fd);
    g_assert_cmpint(umount2(m->dir, MNT_DETACH), ==, 0);
    g_assert_cmpint(g_rmdir(m->dir), ==, 0);
    g_free(m->dir);
}

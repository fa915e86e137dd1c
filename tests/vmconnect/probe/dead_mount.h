/* SPDX-License-Identifier: Apache-2.0 */
/* dead_mount - a file system whose server takes each question and answers none, as an NFS server that died.
 *
 * Raw FUSE: a process that waits for the answer to what the server has read is in uninterruptible sleep, and SIGKILL does not end it. In
 * a mount namespace of the calling thread, and of those that it starts. */
#pragma once

#include <glib.h>

typedef struct {
    char *dir;
    int fd;
} DeadMount;

/* FALSE: it takes root and /dev/fuse. */
gboolean dead_mount_open(DeadMount *ret_mount);
/* Takes what waits there to be answered. TRUE: somebody asked for something in it, and hangs. */
gboolean dead_mount_is_asked(void *mount);
/* Its server is gone: who hangs has an error. */
void dead_mount_close(DeadMount *mount);

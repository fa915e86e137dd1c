/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/hypervisor/trial_mark.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <unistd.h>

void trial_mark_leave(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd >= 0)
        close(fd);
}

gboolean trial_mark_take(const char *path)
{
    return g_unlink(path) == 0;
}

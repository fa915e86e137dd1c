/* SPDX-License-Identifier: Apache-2.0 */
/* alone - a test whose process has a network of its own: loopback, and nothing that leads anywhere. */
#pragma once

#include <glib.h>
#include <net/if.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* Before the first thread. FALSE: we are not root, nor may ask for pings. */
static inline gboolean alone(void)
{
    struct ifreq lo = {.ifr_flags = IFF_UP | IFF_RUNNING};
    gboolean up;
    int fd;

    if (unshare(CLONE_NEWNET) != 0)
        return FALSE;
    fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    g_strlcpy(lo.ifr_name, "lo", sizeof(lo.ifr_name));
    up = fd >= 0 && ioctl(fd, SIOCSIFFLAGS, &lo) == 0;
    g_assert_true(up);
    close(fd);
    return TRUE;
}

/* Whether the kernel answers echoes. */
static inline void alone_answer(gboolean v4, gboolean v6)
{
    g_assert_true(g_file_set_contents_full("/proc/sys/net/ipv4/icmp_echo_ignore_all", v4 ? "0" : "1", 1,
                                           G_FILE_SET_CONTENTS_NONE, 0644, NULL));
    g_assert_true(g_file_set_contents_full("/proc/sys/net/ipv6/icmp/echo_ignore_all", v6 ? "0" : "1", 1,
                                           G_FILE_SET_CONTENTS_NONE, 0644, NULL));
}

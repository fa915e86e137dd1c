/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/base/readable.h"

#include <errno.h>
#include <poll.h>

gboolean readable_within(int fd, int wait_ms)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    int n;

    do
        n = poll(&p, 1, wait_ms);
    while (n < 0 && errno == EINTR);
    return n > 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/image/wait.h"

#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"

#include <errno.h>
#include <poll.h>

gint64 wait_deadline(int timeout_ms)
{
    return clock_steady_ms() + timeout_ms;
}

gboolean wait_fd(int fd, short events, int cancel_fd, gint64 deadline_ms, const char *whom,
                 short *ret_revents, GError **error)
{
    struct pollfd pfd[] = {{.fd = fd, .events = events}, {.fd = cancel_fd, .events = POLLIN}};
    int n;

    do {
        n = poll(pfd, G_N_ELEMENTS(pfd), clock_left_ms(deadline_ms));
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        return us_error_errno(error, errno, "waiting for %s", whom);
    if (pfd[1].revents) {
        g_set_error(error, US_ERROR, US_ERROR_CANCELLED, "no longer waiting for %s", whom);
        return FALSE;
    }
    if (n == 0) {
        g_set_error(error, US_ERROR, US_ERROR_TIMEOUT, "%s does not answer", whom);
        return FALSE;
    }
    if (ret_revents)
        *ret_revents = pfd[0].revents;
    return TRUE;
}

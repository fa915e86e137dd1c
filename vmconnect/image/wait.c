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

/* ---- others ---- */

static _Thread_local GPtrArray *mates_here; /* NULL: none */

void wait_join(WaitMate *mate)
{
    if (!mates_here)
        mates_here = g_ptr_array_new();
    g_ptr_array_add(mates_here, mate);
    mate->mates = mates_here;
}

void wait_leave(WaitMate *mate)
{
    g_assert(mate->mates == mates_here);
    g_ptr_array_remove_fast(mates_here, mate);
    if (mates_here->len == 0)
        g_clear_pointer(&mates_here, g_ptr_array_unref);
}

/* But for who is on @fd itself: that is whom we wait for. */
static void prepare_mates(struct pollfd *pfds, int fd)
{
    for (guint i = 0; mates_here && i < mates_here->len; i++) {
        WaitMate *mate = mates_here->pdata[i];

        if (!mate->prepare(mate, &pfds[i]) || pfds[i].fd == fd)
            pfds[i] = (struct pollfd){.fd = -1};
    }
}

static void move_mates(const struct pollfd *pfds)
{
    for (guint i = 0; mates_here && i < mates_here->len; i++)
        if (pfds[i].revents)
            ((WaitMate *)mates_here->pdata[i])->move(mates_here->pdata[i], pfds[i].revents);
}

/* ---- waiting ---- */

gboolean wait_fd(int fd, short events, int cancel_fd, gint64 deadline_ms, const char *whom,
                 short *ret_revents, GError **error)
{
    guint n_mates = mates_here ? mates_here->len : 0;
    g_autofree struct pollfd *pfds = g_new0(struct pollfd, 2 + n_mates);
    int n;

    do {
        pfds[0] = (struct pollfd){.fd = fd, .events = events};
        pfds[1] = (struct pollfd){.fd = cancel_fd, .events = POLLIN};
        prepare_mates(pfds + 2, fd);
        n = poll(pfds, 2 + n_mates, clock_left_ms(deadline_ms));
        if (n > 0)
            move_mates(pfds + 2);
    } while ((n < 0 && errno == EINTR) ||
             (n > 0 && !pfds[0].revents && !pfds[1].revents && clock_left_ms(deadline_ms) > 0));
    if (n < 0)
        return us_error_errno(error, errno, "waiting for %s", whom);
    if (pfds[1].revents) {
        g_set_error(error, US_ERROR, US_ERROR_CANCELLED, "no longer waiting for %s", whom);
        return FALSE;
    }
    if (!pfds[0].revents) {
        g_set_error(error, US_ERROR, US_ERROR_TIMEOUT, "%s does not answer", whom);
        return FALSE;
    }
    if (ret_revents)
        *ret_revents = pfds[0].revents;
    return TRUE;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/rehearse/reach.h"

#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/icmp6.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define AGAIN_MS 300 /* the first echo may be lost while the link comes up */
#define ECHO_BYTES 8
#define REPLY_BYTES 64

static gboolean parse(const char *text, guint16 port, ReachAddress *ret_to, GError **error)
{
    ReachAddress v4 = {.v4 = {.sin_family = AF_INET, .sin_port = htons(port)}};
    ReachAddress v6 = {.v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)}};

    if (inet_pton(AF_INET, text, &v4.v4.sin_addr) == 1)
        *ret_to = v4;
    else if (inet_pton(AF_INET6, text, &v6.v6.sin6_addr) == 1)
        *ret_to = v6;
    else {
        g_set_error(error, US_ERROR, US_ERROR_USAGE, "'%s' is not an IP address", text);
        return FALSE;
    }
    return TRUE;
}

char *reach_address(const char *text, GError **error)
{
    char plain[INET6_ADDRSTRLEN];
    ReachAddress a;

    if (!parse(text, 0, &a, error))
        return NULL;
    return g_strdup(a.any.sa_family == AF_INET ? inet_ntop(AF_INET, &a.v4.sin_addr, plain, sizeof(plain))
                                               : inet_ntop(AF_INET6, &a.v6.sin6_addr, plain, sizeof(plain)));
}

static gboolean same_number(const ReachAddress *a, const ReachAddress *b)
{
    if (a->any.sa_family != b->any.sa_family)
        return FALSE;
    return a->any.sa_family == AF_INET ? a->v4.sin_addr.s_addr == b->v4.sin_addr.s_addr
                                       : IN6_ARE_ADDR_EQUAL(&a->v6.sin6_addr, &b->v6.sin6_addr);
}

void reach_clear(Reach *r)
{
    if (r->fd >= 0)
        close(r->fd);
    r->fd = -1;
}

static void over(Reach *r, gboolean answered, int why)
{
    r->answered = answered;
    r->why = why;
    reach_clear(r);
}

static void say(Reach *r)
{
    guint8 echo[ECHO_BYTES] = {r->to.any.sa_family == AF_INET6 ? ICMP6_ECHO_REQUEST : ICMP_ECHO};

    if (send(r->fd, echo, sizeof(echo), 0) < 0 && errno != EAGAIN)
        over(r, FALSE, errno);
}

gboolean reach_begin(Reach *r, const char *address, guint16 port, GError **error)
{
    int protocol = 0, kind = SOCK_STREAM;

    *r = (Reach){.fd = -1, .ping = port == 0};
    if (!parse(address, port, &r->to, error))
        return FALSE;
    if (r->ping) {
        kind = SOCK_DGRAM;
        protocol = r->to.any.sa_family == AF_INET6 ? (int)IPPROTO_ICMPV6 : (int)IPPROTO_ICMP;
    }
    r->fd = socket(r->to.any.sa_family, kind | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);
    if (r->fd < 0)
        return us_error_errno(error, errno, "cannot open a socket for %s", address);
    if (connect(r->fd, &r->to.any, sizeof(r->to)) != 0 && errno != EINPROGRESS)
        over(r, FALSE, errno);
    else if (r->ping)
        say(r);
    return TRUE;
}

/* Only replies to what this socket sent arrive at it; from whom, we look. */
static void hear_echo(Reach *r)
{
    guint8 reply[REPLY_BYTES];
    ReachAddress from = {0};
    socklen_t from_len = sizeof(from);
    ssize_t n = recvfrom(r->fd, reply, sizeof(reply), 0, &from.any, &from_len);

    if (n >= 0 && same_number(&from, &r->to))
        over(r, TRUE, 0);
    else if (n < 0 && errno != EAGAIN && errno != EINTR)
        over(r, FALSE, errno);
}

static void hear_tcp(Reach *r)
{
    int why = 0;
    socklen_t len = sizeof(why);

    if (getsockopt(r->fd, SOL_SOCKET, SO_ERROR, &why, &len) != 0)
        why = errno;
    over(r, why == 0, why);
}

/* One poll of all that are open. FALSE: none is. */
static gboolean turn(Reach *const *all, guint n, struct pollfd *pfd, int timeout_ms)
{
    gboolean open = FALSE;

    for (guint i = 0; i < n; i++) {
        pfd[i] = (struct pollfd){.fd = all[i]->fd, .events = all[i]->ping ? POLLIN : POLLOUT};
        open |= all[i]->fd >= 0;
    }
    if (!open || poll(pfd, n, timeout_ms) <= 0)
        return open;
    for (guint i = 0; i < n; i++)
        if (pfd[i].fd >= 0 && pfd[i].revents && all[i]->ping)
            hear_echo(all[i]);
        else if (pfd[i].fd >= 0 && pfd[i].revents)
            hear_tcp(all[i]);
    return TRUE;
}

void reach_wait(Reach *const *all, guint n, int timeout_ms)
{
    g_autofree struct pollfd *pfd = g_new0(struct pollfd, n);
    gint64 deadline_ms = clock_steady_ms() + timeout_ms, again_ms = clock_steady_ms() + AGAIN_MS;

    while (turn(all, n, pfd, clock_shorter_ms(clock_left_ms(deadline_ms), clock_left_ms(again_ms))) &&
           clock_left_ms(deadline_ms) > 0) {
        if (clock_left_ms(again_ms) > 0)
            continue;
        again_ms += AGAIN_MS;
        for (guint i = 0; i < n; i++)
            if (all[i]->ping && all[i]->fd >= 0)
                say(all[i]);
    }
}

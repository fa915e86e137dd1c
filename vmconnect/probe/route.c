/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/probe/route.h"

#include "vmconnect/base/error.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/rtnetlink.h>
#include <netdb.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ANSWER_MAX 8192
#define ANSWER_S 2 /* the kernel's own, which comes at once */

typedef struct {
    struct nlmsghdr header;
    struct rtmsg route;
    char attributes[64];
} Request;

static gboolean unreachable(GError **error, int number)
{
    g_set_error(error, US_ERROR, US_ERROR_UNREACHABLE, "the kernel has no route there: %s",
                g_strerror(number));
    return FALSE;
}

/* --- what the kernel says -------------------------------------------------- */

static void read_gateway(const struct rtattr *a, int family, Route *r)
{
    gsize want = family == AF_INET ? sizeof(struct in_addr) : sizeof(struct in6_addr);

    if (RTA_PAYLOAD(a) >= want)
        inet_ntop(family, RTA_DATA(a), r->gateway, sizeof(r->gateway));
}

/* A next hop of the other family. */
static void read_via(const struct rtattr *a, Route *r)
{
    const struct rtvia *via = RTA_DATA(a);
    gsize want;

    if (RTA_PAYLOAD(a) < sizeof(*via))
        return;
    want = via->rtvia_family == AF_INET ? sizeof(struct in_addr) : sizeof(struct in6_addr);
    if (RTA_PAYLOAD(a) >= sizeof(*via) + want)
        inet_ntop(via->rtvia_family, via->rtvia_addr, r->gateway, sizeof(r->gateway));
}

static void read_attribute(const struct rtattr *a, int family, Route *r)
{
    guint index;

    if (a->rta_type == RTA_GATEWAY)
        read_gateway(a, family, r);
    else if (a->rta_type == RTA_VIA)
        read_via(a, r);
    else if (a->rta_type == RTA_OIF && RTA_PAYLOAD(a) >= sizeof(index)) {
        memcpy(&index, RTA_DATA(a), sizeof(index));
        if (!if_indextoname(index, r->device))
            r->device[0] = '\0';
    }
}

gboolean route_read(const void *answer, gsize len, Route *ret_route, GError **error)
{
    const struct nlmsghdr *h = answer;
    const struct rtmsg *route = NLMSG_DATA(h);
    Route r = {0};

    if (!NLMSG_OK(h, len))
        return unreachable(error, EBADMSG);
    if (h->nlmsg_type == NLMSG_ERROR && h->nlmsg_len >= NLMSG_LENGTH(sizeof(struct nlmsgerr)))
        return unreachable(error, -((const struct nlmsgerr *)NLMSG_DATA(h))->error);
    if (h->nlmsg_type != RTM_NEWROUTE || h->nlmsg_len < NLMSG_LENGTH(sizeof(*route)))
        return unreachable(error, EBADMSG);
    if (route->rtm_type != RTN_UNICAST && route->rtm_type != RTN_LOCAL)
        return unreachable(error, ENETUNREACH);
    r.local = route->rtm_type == RTN_LOCAL;
    {
        int left = (int)RTM_PAYLOAD(h);

        for (const struct rtattr *a = RTM_RTA(route); RTA_OK(a, left); a = RTA_NEXT(a, left))
            read_attribute(a, route->rtm_family, &r);
    }
    *ret_route = r;
    return TRUE;
}

/* --- asking ---------------------------------------------------------------- */

static Request request_for(const struct sockaddr *to)
{
    gboolean four = to->sa_family == AF_INET;
    const void *address = four ? (const void *)&((const struct sockaddr_in *)to)->sin_addr
                               : (const void *)&((const struct sockaddr_in6 *)to)->sin6_addr;
    gsize len = four ? sizeof(struct in_addr) : sizeof(struct in6_addr);
    guint scope = four ? 0 : ((const struct sockaddr_in6 *)to)->sin6_scope_id;
    Request q = {.header = {.nlmsg_type = RTM_GETROUTE, .nlmsg_flags = NLM_F_REQUEST},
                 .route = {.rtm_family = to->sa_family, .rtm_dst_len = (unsigned char)(len * 8)}};
    struct rtattr *a = (struct rtattr *)(void *)q.attributes;

    a->rta_type = RTA_DST;
    a->rta_len = (unsigned short)RTA_LENGTH(len);
    memcpy(RTA_DATA(a), address, len);
    q.header.nlmsg_len = (guint32)(NLMSG_LENGTH(sizeof(q.route)) + RTA_ALIGN(a->rta_len));
    if (scope) {
        a = (struct rtattr *)(void *)(q.attributes + RTA_ALIGN(a->rta_len));
        a->rta_type = RTA_OIF;
        a->rta_len = (unsigned short)RTA_LENGTH(sizeof(scope));
        memcpy(RTA_DATA(a), &scope, sizeof(scope));
        q.header.nlmsg_len += (guint32)RTA_ALIGN(a->rta_len);
    }
    return q;
}

static gboolean ask(const struct sockaddr *to, Route *ret_route, GError **error)
{
    union {
        struct nlmsghdr header; /* for its alignment */
        char bytes[ANSWER_MAX];
    } answer;
    struct timeval patience = {.tv_sec = ANSWER_S};
    Request q = request_for(to);
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    ssize_t n = -1;
    int failed;

    if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) == 0 &&
        send(fd, &q, q.header.nlmsg_len, 0) == (ssize_t)q.header.nlmsg_len)
        n = recv(fd, &answer, sizeof(answer), 0);
    failed = errno;
    if (fd >= 0)
        close(fd);
    return n >= 0 ? route_read(&answer, (gsize)n, ret_route, error) : unreachable(error, failed);
}

gboolean route_find(const char *host, Route *ret_route, GError **error)
{
    static const struct addrinfo HINTS = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;
    int code = getaddrinfo(host, NULL, &HINTS, &list);
    gboolean ok;

    if (code != 0) {
        g_set_error(error, US_ERROR, US_ERROR_UNREACHABLE, "%s: cannot look up the name: %s", host,
                    gai_strerror(code));
        return FALSE;
    }
    ok = ask(list->ai_addr, ret_route, error);
    freeaddrinfo(list);
    if (!ok)
        g_prefix_error(error, "%s: ", host);
    return ok;
}

json_t *route_to_json(const Route *r)
{
    return json_pack("{s:b, s:s?, s:s}", "local", r->local, "gateway", *r->gateway ? r->gateway : NULL,
                     "device", r->device);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/probe/pinger.h"

#include "vmconnect/base/error.h"
#include "vmconnect/base/id.h"
#include "vmconnect/loop/lookup.h"

#include <errno.h>
#include <netinet/icmp6.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PACKET_MAX 2048

/* What follows the header of an echo. */
typedef struct {
    Id secret;
} Body;

typedef struct {
    Pinger *pinger;
    uv_poll_t poll;
    int family;
    int fd; /* -1: not open */
} Side;

struct Ping {
    Pinger *pinger;
    PingDone on_done; /* NULL: cancelled */
    void *user;
    uv_timer_t timer;
    uv_getaddrinfo_t look_up;
    gboolean looking;
    gboolean closing;
    gboolean found; /* its address is known, and it was asked */
    char *why;      /* set when it ends */
    gint64 timeout_ms;
    struct sockaddr_storage to;
    Body body;
};

struct Pinger {
    uv_loop_t *loop;
    Side sides[2];
    GPtrArray *open; /* Ping *, waiting for their echo */
    guint refs;      /* the owner, pings, open sides */
};

static void unref(Pinger *p)
{
    if (--p->refs > 0)
        return;
    g_assert(p->open->len == 0);
    g_ptr_array_unref(p->open);
    g_free(p);
}

Pinger *pinger_new(uv_loop_t *loop)
{
    Pinger *p = g_new0(Pinger, 1);

    p->loop = loop;
    p->open = g_ptr_array_new();
    p->refs = 1;
    p->sides[0] = (Side){.pinger = p, .family = AF_INET, .fd = -1};
    p->sides[1] = (Side){.pinger = p, .family = AF_INET6, .fd = -1};
    return p;
}

/* --- the end of one -------------------------------------------------------- */

static void try_free(Ping *ping)
{
    if (ping->looking || !ping->closing || uv_is_active((uv_handle_t *)&ping->timer))
        return;
    g_free(ping->why);
    unref(ping->pinger);
    g_free(ping);
}

static void on_timer_closed(uv_handle_t *handle)
{
    Ping *ping = handle->data;

    ping->closing = TRUE;
    try_free(ping);
}

static void leave(Ping *ping)
{
    g_ptr_array_remove_fast(ping->pinger->open, ping);
    if (ping->looking)
        uv_cancel((uv_req_t *)&ping->look_up);
    uv_close((uv_handle_t *)&ping->timer, on_timer_closed);
}

void pinger_cancel(Ping *ping)
{
    if (ping)
        leave(ping);
}

static void end(Ping *ping, const char *why)
{
    PingDone on_done = ping->on_done;
    void *user = ping->user;
    gboolean found = ping->found;

    leave(ping);
    on_done(user, found, why);
}

static void on_timer(uv_timer_t *timer)
{
    Ping *ping = timer->data;

    end(ping, ping->why ? ping->why : "no echo came back");
}

/* Never from within pinger_ask(). */
static void end_soon(Ping *ping, char *steal_why)
{
    ping->why = steal_why;
    uv_timer_start(&ping->timer, on_timer, 0, 0);
}

/* --- the sockets ----------------------------------------------------------- */

static gboolean same_address(const struct sockaddr_storage *a, const struct sockaddr_storage *b)
{
    if (a->ss_family != b->ss_family)
        return FALSE;
    if (a->ss_family == AF_INET)
        return ((const struct sockaddr_in *)a)->sin_addr.s_addr ==
               ((const struct sockaddr_in *)b)->sin_addr.s_addr;
    return memcmp(&((const struct sockaddr_in6 *)a)->sin6_addr, &((const struct sockaddr_in6 *)b)->sin6_addr,
                  sizeof(struct in6_addr)) == 0;
}

/* The secret of an echo that came back; NULL: it is something else. An IPv4 raw socket has the IP header before it. */
static const Body *body_of(int family, const guint8 *packet, gsize len)
{
    gsize skip = 0;

    if (family == AF_INET) {
        if (len < sizeof(struct iphdr))
            return NULL;
        skip = (gsize)(packet[0] & 0xf) * 4;
    }
    if (len < skip + 8 + sizeof(Body) ||
        packet[skip] != (family == AF_INET ? ICMP_ECHOREPLY : ICMP6_ECHO_REPLY))
        return NULL;
    return (const Body *)(packet + skip + 8);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    Side *side = poll->data;
    Pinger *p = side->pinger;
    guint8 packet[PACKET_MAX];
    struct sockaddr_storage from = {0};
    socklen_t from_len = sizeof(from);
    ssize_t n = recvfrom(side->fd, packet, sizeof(packet), MSG_DONTWAIT, (struct sockaddr *)&from, &from_len);
    const Body *body = n > 0 ? body_of(side->family, packet, (gsize)n) : NULL;

    (void)status;
    (void)events;
    for (guint i = 0; body && i < p->open->len; i++) {
        Ping *ping = p->open->pdata[i];

        if (memcmp(body, &ping->body, sizeof(Body)) == 0 && same_address(&from, &ping->to)) {
            end(ping, NULL);
            return;
        }
    }
}

static gboolean open_side(Side *side, GError **error)
{
    int protocol = side->family == AF_INET ? (int)IPPROTO_ICMP : (int)IPPROTO_ICMPV6;

    if (side->fd >= 0)
        return TRUE;
    side->fd = socket(side->family, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);
    if (side->fd < 0)
        return us_error_errno(error, errno, "cannot open a socket for pings");
    uv_poll_init(side->pinger->loop, &side->poll, side->fd);
    side->poll.data = side;
    uv_poll_start(&side->poll, UV_READABLE, on_readable);
    side->pinger->refs++;
    return TRUE;
}

static guint16 checksum(const guint8 *data, gsize len)
{
    guint32 sum = 0;

    for (gsize i = 0; i + 1 < len; i += 2)
        sum += (guint32)data[i] << 8 | data[i + 1];
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (guint16)~sum;
}

/* The kernel fills in the checksum of ICMPv6. */
static gboolean send_echo(Ping *ping, GError **error)
{
    gboolean v4 = ping->to.ss_family == AF_INET;
    Side *side = &ping->pinger->sides[v4 ? 0 : 1];
    guint8 packet[8 + sizeof(Body)] = {v4 ? ICMP_ECHO : ICMP6_ECHO_REQUEST};
    socklen_t len = v4 ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);

    ping->body.secret = id_random();
    memcpy(packet + 8, &ping->body, sizeof(Body));
    if (v4) {
        guint16 sum = checksum(packet, sizeof(packet));

        packet[2] = (guint8)(sum >> 8);
        packet[3] = (guint8)sum;
    }
    if (!open_side(side, error))
        return FALSE;
    if (sendto(side->fd, packet, sizeof(packet), MSG_DONTWAIT, (struct sockaddr *)&ping->to, len) < 0)
        return us_error_errno(error, errno, "the echo cannot be sent");
    return TRUE;
}

/* --- asking ---------------------------------------------------------------- */

static void on_looked_up(uv_getaddrinfo_t *request, int status, struct addrinfo *found)
{
    Ping *ping = request->data;
    g_autoptr(GError) why = NULL;

    ping->looking = FALSE;
    if (uv_is_closing((uv_handle_t *)&ping->timer)) {
        uv_freeaddrinfo(found);
        try_free(ping);
        return;
    }
    if (status != 0) {
        end_soon(ping, g_strdup_printf("its name is not found: %s", uv_strerror(status)));
        return;
    }
    memcpy(&ping->to, found->ai_addr, MIN(found->ai_addrlen, sizeof(ping->to)));
    uv_freeaddrinfo(found);
    ping->found = send_echo(ping, &why);
    if (!ping->found)
        end_soon(ping, g_strdup(why->message));
}

Ping *pinger_ask(Pinger *pinger, const char *address, gint64 timeout_ms, PingDone on_done, void *user)
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_RAW};
    Ping *ping = g_new0(Ping, 1);
    int rc;

    ping->pinger = pinger;
    ping->on_done = on_done;
    ping->user = user;
    pinger->refs++;
    g_ptr_array_add(pinger->open, ping);
    uv_timer_init(pinger->loop, &ping->timer);
    ping->timer.data = ping;
    uv_timer_start(&ping->timer, on_timer, (guint64)timeout_ms, 0);
    ping->look_up.data = ping;
    ping->looking = TRUE;
    rc = lookup_start(pinger->loop, &ping->look_up, on_looked_up, address, NULL, &hints);
    if (rc != 0) {
        ping->looking = FALSE;
        end_soon(ping, g_strdup_printf("its name cannot be looked up: %s", uv_strerror(rc)));
    }
    return ping;
}

/* --- the end --------------------------------------------------------------- */

static void on_side_closed(uv_handle_t *handle)
{
    Side *side = handle->data;

    close(side->fd);
    unref(side->pinger);
}

void pinger_close(Pinger *p)
{
    if (!p)
        return;
    g_assert(p->open->len == 0);
    for (guint i = 0; i < G_N_ELEMENTS(p->sides); i++)
        if (p->sides[i].fd >= 0)
            uv_close((uv_handle_t *)&p->sides[i].poll, on_side_closed);
    unref(p);
}

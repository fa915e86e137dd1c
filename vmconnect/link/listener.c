/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/link/listener.h"

#include "vmconnect/base/error.h"
#include "vmconnect/base/listen_address.h"
#include "vmconnect/link/link_loop.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG 128
#define ACCEPTS_A_TURN 16

struct Listener {
    uv_loop_t *loop;
    uv_poll_t poll;
    int fd;
    int spare; /* given up for a moment when descriptors run out */
    Identity *identity;
    ListenerEvents events;
    void *user;
    GQueue half_open; /* of HalfOpen *, oldest first */
    gboolean closing;
};

/* Between accept and hello. */
typedef struct {
    Listener *listener;
    LinkLoop *ll;
    GList *place; /* in half_open */
} HalfOpen;

static void half_open_forget(HalfOpen *half)
{
    g_queue_delete_link(&half->listener->half_open, half->place);
    g_free(half);
}

static void half_open_drop(HalfOpen *half)
{
    link_loop_close(half->ll);
    half_open_forget(half);
}

static void on_open(void *user)
{
    HalfOpen *half = user;
    Listener *listener = half->listener;
    Link *link = link_loop_release(half->ll);

    half_open_forget(half);
    listener->events.on_link(listener->user, link);
}

static void on_closed(void *user, const GError *error)
{
    HalfOpen *half = user;
    Listener *listener = half->listener;

    half_open_forget(half);
    if (listener->events.on_refused)
        listener->events.on_refused(listener->user, error);
}

static void take_in(Listener *listener, int fd)
{
    static const LinkLoopEvents EVENTS = {.on_open = on_open, .on_closed = on_closed};
    LinkSettings settings = {.identity = listener->identity};
    HalfOpen *half;

    if (g_queue_get_length(&listener->half_open) >= LISTENER_HALF_OPEN)
        half_open_drop(g_queue_peek_head(&listener->half_open));
    settings.strangers = !identity_is_owned(listener->identity) && listener->events.may_enrol &&
                         listener->events.may_enrol(listener->user);
    half = g_new0(HalfOpen, 1);
    half->listener = listener;
    half->ll = link_loop_new(listener->loop, link_new_listener(fd, &settings), &EVENTS, half);
    g_queue_push_tail(&listener->half_open, half);
    half->place = g_queue_peek_tail_link(&listener->half_open);
}

/* Out of descriptors: accept with the spare one and hang up, else poll would call again at once, for ever. */
static void turn_away(Listener *listener)
{
    int fd;

    close(listener->spare);
    fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC);
    if (fd >= 0)
        close(fd);
    listener->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void on_connection(uv_poll_t *poll, int status, int events)
{
    Listener *listener = poll->data;

    (void)status;
    (void)events;
    for (guint i = 0; i < ACCEPTS_A_TURN; i++) {
        int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd < 0) {
            if (errno == EMFILE || errno == ENFILE)
                turn_away(listener);
            return;
        }
        take_in(listener, fd);
    }
}

static int open_socket(const struct sockaddr_storage *address, socklen_t len, gboolean both, GError **error)
{
    int fd = socket(address->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int on = 1;
    int v6_only = !both;

    if (fd < 0) {
        us_error_errno(error, errno, "cannot listen");
        return -1;
    }
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (address->ss_family == AF_INET6)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6_only, sizeof(v6_only));
    if (bind(fd, (const struct sockaddr *)address, len) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    if (errno == EADDRINUSE)
        g_set_error(error, US_ERROR, US_ERROR_BUSY, "cannot listen: another program has the port");
    else
        us_error_errno(error, errno, "cannot listen");
    close(fd);
    return -1;
}

static int listen_on(const char *address, guint16 port, GError **error)
{
    g_autoptr(GError) no_v6 = NULL;
    struct sockaddr_storage bind_to;
    socklen_t len;
    int fd;

    if (!listen_address_parse(address ? address : "::", port, &bind_to, &len, error))
        return -1;
    fd = open_socket(&bind_to, len, address == NULL, &no_v6);
    if (fd >= 0)
        return fd;
    /* A kernel without IPv6. */
    if (!address && !g_error_matches(no_v6, US_ERROR, US_ERROR_BUSY))
        return listen_on("0.0.0.0", port, error);
    g_propagate_error(error, g_steal_pointer(&no_v6));
    return -1;
}

Listener *listener_new(uv_loop_t *loop, const char *address, guint16 port, Identity *identity,
                       const ListenerEvents *events, void *user, GError **error)
{
    int fd = listen_on(address, port, error);
    Listener *listener;
    int rc;

    if (fd < 0) {
        g_prefix_error(error, "%s port %u: ", address ? address : "all addresses,", port);
        return NULL;
    }
    listener = g_new0(Listener, 1);
    listener->loop = loop;
    listener->fd = fd;
    listener->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
    listener->identity = identity_ref(identity);
    listener->events = *events;
    listener->user = user;
    g_queue_init(&listener->half_open);
    rc = uv_poll_init(loop, &listener->poll, fd);
    g_assert(rc == 0);
    listener->poll.data = listener;
    uv_poll_start(&listener->poll, UV_READABLE, on_connection);
    return listener;
}

guint16 listener_port(const Listener *listener)
{
    union {
        struct sockaddr any;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
    } address;
    socklen_t len = sizeof(address);
    int rc;

    memset(&address, 0, sizeof(address));
    rc = getsockname(listener->fd, &address.any, &len);
    g_assert(rc == 0);
    return ntohs(address.any.sa_family == AF_INET ? address.in.sin_port : address.in6.sin6_port);
}

void listener_set_identity(Listener *listener, Identity *identity)
{
    identity_ref(identity);
    identity_unref(listener->identity);
    listener->identity = identity;
}

guint listener_half_open(const Listener *listener)
{
    return g_queue_get_length((GQueue *)&listener->half_open);
}

static void on_handle_closed(uv_handle_t *handle)
{
    Listener *listener = handle->data;

    close(listener->fd);
    close(listener->spare);
    identity_unref(listener->identity);
    g_free(listener);
}

void listener_close(Listener *listener)
{
    HalfOpen *half;

    if (!listener || listener->closing)
        return;
    listener->closing = TRUE;
    while ((half = g_queue_peek_head(&listener->half_open)))
        half_open_drop(half);
    uv_poll_stop(&listener->poll);
    uv_close((uv_handle_t *)&listener->poll, on_handle_closed);
}

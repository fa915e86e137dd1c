/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/link/socket.h"

#include "vmconnect/base/error.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <unistd.h>

#define USER_TIMEOUT_MS 15000
#define KEEPALIVE_IDLE_S 10
#define KEEPALIVE_INTERVAL_S 5
#define KEEPALIVE_COUNT 3

static void set_option(int fd, int level, int name, int value)
{
    /* A family without it says no; the link has deadlines of its own. */
    (void)setsockopt(fd, level, name, &value, sizeof(value));
}

void socket_prepare(int fd)
{
    int flags = fcntl(fd, F_GETFL);

    g_assert(flags >= 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0);
    g_assert(fcntl(fd, F_SETFD, FD_CLOEXEC) == 0);
    set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S);
    set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S);
    set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_COUNT);
    set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, USER_TIMEOUT_MS);
}

char *socket_text(const struct sockaddr *address, socklen_t len)
{
    char host[INET6_ADDRSTRLEN] = "";

    if (address->sa_family == AF_INET && len >= sizeof(struct sockaddr_in)) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)address;

        inet_ntop(AF_INET, &in->sin_addr, host, sizeof(host));
        return g_strdup_printf("%s:%u", host, ntohs(in->sin_port));
    }
    if (address->sa_family == AF_INET6 && len >= sizeof(struct sockaddr_in6)) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)address;

        inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof(host));
        /* An IPv4 peer on a socket for both families. */
        if (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr))
            return g_strdup_printf("%s:%u", host + strlen("::ffff:"), ntohs(in6->sin6_port));
        return g_strdup_printf("[%s]:%u", host, ntohs(in6->sin6_port));
    }
    return g_strdup("a local socket");
}

char *socket_peer_text(int fd)
{
    struct sockaddr_storage address = {0};
    socklen_t len = sizeof(address);

    if (getpeername(fd, (struct sockaddr *)&address, &len) != 0)
        return g_strdup("a peer that is gone");
    return socket_text((struct sockaddr *)&address, len);
}

static int unreachable(GError **error, int errnum)
{
    g_set_error(error, US_ERROR, US_ERROR_UNREACHABLE, "cannot connect: %s", g_strerror(errnum));
    return -1;
}

int socket_connect(const struct sockaddr *address, socklen_t len, GError **error)
{
    int fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return unreachable(error, errno);
    if (connect(fd, address, len) != 0 && errno != EINPROGRESS) {
        int errnum = errno;

        close(fd);
        return unreachable(error, errnum);
    }
    return fd;
}

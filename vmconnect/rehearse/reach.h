/* SPDX-License-Identifier: Apache-2.0 */
/* reach - do addresses answer, to an echo or to TCP? Several at once, from the network that the thread is in.
 *
 * Echoes go through the kernel's ping sockets (SOCK_DGRAM), which make and check packets; net.ipv4.ping_group_range must allow them. */
#pragma once

#include <glib.h>
#include <netinet/in.h>
#include <sys/socket.h>

typedef union {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
} ReachAddress;

typedef struct {
    ReachAddress to;
    gboolean ping;
    int fd; /* -1: it is over */
    gboolean answered;
    int why; /* errno: an answer of the wrong kind, or it could not be sent; 0: silence */
} Reach;

/* Ask @address, a number; @port 0: for an echo. To be cleared in any case. FALSE with @error: USAGE, IO. */
gboolean reach_begin(Reach *reach, const char *address, guint16 port, GError **error);

/* Wait until none of them is open any more, or the time is over. */
void reach_wait(Reach *const *all, guint n, int timeout_ms);

void reach_clear(Reach *reach);

/* @text as inet_ntop(3) writes that address. NULL with @error USAGE. The caller frees. */
char *reach_address(const char *text, GError **error);

/* SPDX-License-Identifier: Apache-2.0 */
/* socket - the few things we want of a TCP socket. Private to this folder. */
#pragma once

#include <glib.h>
#include <sys/socket.h>

/* Non-blocking, close-on-exec, no delay, keepalive, a dead peer found within half a minute. What a
 * socket cannot do (a socketpair in a test) is left out. */
void socket_prepare(int fd);

/* "10.0.0.2:25000" or "[fe80::1]:25000"; "a local socket" for other families. The caller frees. */
char *socket_text(const struct sockaddr *address, socklen_t len);
char *socket_peer_text(int fd);

/* A socket on its way to @address; -1 with @error UNREACHABLE if that fails at once. */
int socket_connect(const struct sockaddr *address, socklen_t len, GError **error);

/* SPDX-License-Identifier: Apache-2.0 */
/* listen_address - a numeric address that a program listens on, as its configuration has it.
 *
 * Names are refused: what they mean may change between two starts, and differ
 * between two hosts. */
#pragma once

#include <glib.h>
#include <sys/socket.h>

/* IPv4 or IPv6, with @port. FALSE with @error USAGE. */
gboolean listen_address_parse(const char *text, guint16 port, struct sockaddr_storage *ret_address,
                              socklen_t *ret_len, GError **error);

/* Is it one? FALSE with @error USAGE. */
gboolean listen_address_check(const char *text, GError **error);

/* SPDX-License-Identifier: Apache-2.0 */
/* dial - from addresses to a link that is OPEN (or STRANGER, for enrolment).
 *
 * Addresses are hints: "host", "host:port", "[v6]:port"; each may resolve to
 * several; all are tried in order until one answers as the peer meant, each
 * with its share of the time left. Without an answer the error is the most telling one
 * (a refusal of the peer rather than a dead address) and names the address. */
#pragma once

#include "vmconnect/link/link.h"

#include <glib.h>
#include <uv.h>

typedef struct Dial Dial;

typedef void (*DialFunc)(void *user, Link *link, const GError *error);

/* On the loop; names are looked up in libuv's pool. @on_done is called once, never
 * before dial_start() returns: with a link, which is the callee's, or with an error.
 * The Dial is gone then. @settings->identity is referenced. */
Dial *dial_start(uv_loop_t *loop, const char *const *addresses, const LinkSettings *settings,
                 gint64 timeout_ms, DialFunc on_done, void *user);

/* @on_done will not be called. NULL is accepted. */
void dial_cancel(Dial *dial);

/* In a worker. @wake_fd (-1: none) readable: CANCELLED. Looking up a name (not a numeric
 * address) blocks for as long as the system's resolver takes. */
Link *dial_blocking(const char *const *addresses, const LinkSettings *settings, gint64 timeout_ms,
                    int wake_fd, GError **error);

/* Split an address text; port @fallback if it names none. USAGE. The caller frees *ret_host. */
gboolean dial_parse(const char *address, guint16 fallback, char **ret_host, guint16 *ret_port,
                    GError **error);

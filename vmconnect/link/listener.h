/* SPDX-License-Identifier: Apache-2.0 */
/* listener - the port: accepts, does handshake and hello, hands over links.
 *
 * At most LISTENER_HALF_OPEN connections are between accept and hello; one
 * more pushes out the oldest (an honest handshake takes milliseconds, so it is
 * the idle who are pushed out). Each has LINK_HANDSHAKE_MS. */
#pragma once

#include "vmconnect/link/link.h"

#include <glib.h>
#include <uv.h>

#define LISTENER_PORT 25000
#define LISTENER_HALF_OPEN 64

typedef struct Listener Listener;

typedef struct {
    /* May a stranger enrol now (enrol_desk_live())? NULL: never. Not asked while the identity has an owner. */
    gboolean (*may_enrol)(void *user);
    /* A link that is OPEN or STRANGER; it is the callee's: rpc_new(), a worker, enrolment. */
    void (*on_link)(void *user, Link *link);
    /* Somebody came no further than the handshake; the error names the address; for the log. May be NULL. */
    void (*on_refused)(void *user, const GError *error);
} ListenerEvents;

/* Listen on @address (a numeric address, or NULL: all, IPv4 and IPv6) and @port
 * (0: any free one). @error IO; BUSY if the port is taken. */
Listener *listener_new(uv_loop_t *loop, const char *address, guint16 port, Identity *identity,
                       const ListenerEvents *events, void *user, GError **error);

guint16 listener_port(const Listener *listener);

/* For connections from now on. */
void listener_set_identity(Listener *listener, Identity *identity);

guint listener_half_open(const Listener *listener);

/* No callback comes any more; half-open connections are closed. NULL is accepted. */
void listener_close(Listener *listener);

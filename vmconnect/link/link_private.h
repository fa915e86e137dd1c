/* SPDX-License-Identifier: Apache-2.0 */
/* link_private - what the three files of link.h share: link.c (its life), link_greet.c
 * (who is there, hello), link_io.c (frames in and out). Private to this folder. */
#pragma once

#include "vmconnect/link/intake.h"
#include "vmconnect/link/link.h"
#include "vmconnect/link/sendq.h"
#include "vmconnect/link/tls.h"

struct Link {
    int fd;
    SSL *ssl;
    Side side;
    LinkState state;
    Identity *identity;
    Id expect;
    gboolean *ret_met;
    gboolean strangers;
    gint64 stall_ms;

    Hello mine;
    Hello agreed;
    Peer peer;
    GError *distrust; /* why its certificate does not pass; NULL: it does */
    char *name;

    Intake intake;
    GQueue ready; /* of Frame *, to be taken */
    gsize ready_bytes;
    gboolean drained; /* the socket had no more at the last look */

    SendQueue sendq;
    guint64 rekey_bytes;
    guint64 under_key;         /* bytes sent under the present key */
    gboolean handshake_writes; /* TLS waits for room to write, not for bytes */
    gboolean said_bye;         /* half-closed */

    gint64 deadline_ms; /* of handshake, enrolment or last words; -1: none */
    gint64 written_ms;  /* last time the peer took something, or the queue was empty */
    gint64 heard_ms;
    gint64 ping_ms; /* heartbeat; 0: off */
    gint64 dead_ms;
    gboolean pinged;      /* asked since we last heard */
    gboolean pong_queued; /* a flood of PING is worth one PONG in the queue */

    GError *end; /* why it is over, or is going to be */
};

static inline gboolean link_is_up(const Link *link)
{
    return link->state == LINK_OPEN || link->state == LINK_STRANGER;
}

/* Bytes that the socket has not taken yet. */
static inline gsize link_unsent(const Link *link)
{
    return link->sendq.bytes + tls_unsent(link->ssl);
}

/* --- link.c --- */

/* Queue a frame without asking whether it may be sent now; takes @payload, which may be NULL. */
void link_queue(Link *link, MessageType type, guint64 id, GBytes *payload);

/* The same, put together already: sendq_push(). */
void link_push(Link *link, const guint8 *head, gsize head_len, const guint8 *data, gsize len,
               GDestroyNotify on_sent, void *user);

/* The peer broke a rule or is refused: tell it (FAIL) and go to CLOSING. Takes @why. */
void link_refuse(Link *link, GError *why);

/* Over, without a word. Takes @why. The first end counts. */
void link_close_now(Link *link, GError *why);

/* UNREACHABLE, with the link's name; always FALSE. */
gboolean link_gone(const Link *link, const char *how, GError **error);

/* --- link_greet.c --- */

/* Go on with TLS; when it is done say hello, or refuse the peer. FALSE with @error if the connection is gone. */
gboolean link_shake_hands(Link *link, GError **error);

/* HELLO or WELCOME came. FALSE with @error: the peer is to be refused. */
gboolean link_take_greeting(Link *link, const Frame *frame, GError **error);

/* --- link_io.c --- */

/* May this header come now? An IntakeAllow. */
gboolean link_allow(void *link, FrameHeader head, GError **error);

/* Is there room for more frames? */
gboolean link_wants_input(const Link *link);

/* As far as it goes now. A peer that breaks a rule is refused. FALSE with @error if the connection is gone. */
gboolean link_read(Link *link, GError **error);
gboolean link_write(Link *link, GError **error);

/* An SSL call came to nothing: TRUE if it only has to wait. */
gboolean link_tls_waits(const Link *link, int rc, gboolean *ret_writes, GError **error);

/* SPDX-License-Identifier: Apache-2.0 */
/* link - one connection to a peer: TLS 1.3, both sides with certificates, frames.
 *
 * Not tied to a loop or a thread: it never blocks, and whoever has it polls
 * link_fd() for link_events() and calls link_pump(). So the loop can do the
 * handshake and give the link to a worker. One thread at a time.
 *
 *   for (;;) {
 *       while ((frame = link_take(link)))
 *           …
 *       poll({link_fd(link), link_events(link)}, link_timeout_ms(link));
 *       if (!link_pump(link, revents, &error))
 *           break;                      // frames that came before are still there to take
 *   }
 *
 * link_loop.h does that on a loop, link_wait.h in a worker.
 *
 * Happy path: HANDSHAKE (TLS), HELLO (versions), OPEN. A peer whose certificate
 * is missing, expired, self-signed or from another authority completes TLS, is
 * told why by FAIL and is closed; it gets to say nothing but HELLO. Only a link
 * for enrolment, and only where settings allow it, goes to STRANGER instead,
 * on which only enrolment's messages pass.
 *
 * Memory is bounded: what waits to be taken (LINK_TAKE_BYTES and LINK_TAKE_FRAMES;
 * then the socket is left alone) and what waits to be sent (LINK_SEND_MAX; then
 * link_send() fails).
 *
 * The program ignores SIGPIPE. */
#pragma once

#include "vmconnect/link/bulk.h"
#include "vmconnect/link/hello.h"
#include "vmconnect/link/identity.h"
#include "vmconnect/link/message.h"

#include <glib.h>
#include <jansson.h>

#define LINK_HANDSHAKE_MS 8000
#define LINK_STRANGER_MS 30000 /* all the time an enrolment has */
#define LINK_STALL_MS 30000    /* bytes to send, and the peer takes none */
/* Fresh keys after so much was sent: a day of first synchronisation stays far below what AES-GCM
 * may encrypt under one key (RFC 8446, 5.5). */
#define LINK_REKEY_BYTES ((guint64)64 << 30)
#define LINK_TAKE_BYTES (4u << 20)
#define LINK_TAKE_FRAMES 256
#define LINK_SEND_MAX (32u << 20)

typedef struct Link Link;

typedef enum {
    LINK_HANDSHAKE,
    LINK_HELLO,
    LINK_OPEN,     /* authenticated, version agreed */
    LINK_STRANGER, /* not authenticated, version agreed: enrolment only */
    LINK_CLOSING,  /* last words are being sent; nothing is taken any more */
    LINK_CLOSED,
} LinkState;

typedef struct {
    Identity *identity; /* borrowed during link_new_…() */
    Purpose purpose;    /* dialer: what for */
    Id expect;          /* dialer: the engine it means; nil: any of its authority */
    gboolean *ret_met;  /* dialer: TRUE once that has proved who it is, whatever it says then; may be NULL */
    gboolean strangers; /* listener: let a stranger enrol */
    guint version_min;  /* 0: HELLO_VERSION_MIN and _MAX */
    guint version_max;
    gint64 handshake_ms; /* 0: LINK_HANDSHAKE_MS */
    gint64 stall_ms;     /* 0: LINK_STALL_MS */
    guint64 rekey_bytes; /* 0: LINK_REKEY_BYTES */
    const char *name;    /* the address as the user wrote it; NULL: the socket's */
} LinkSettings;

/* Take over the socket @fd (closed by link_free()) and set its options: non-blocking, no
 * delay, keepalive, user timeout. A dialer's may still be connecting. */
Link *link_new_dialer(int fd, const LinkSettings *settings);
Link *link_new_listener(int fd, const LinkSettings *settings);

/* At once, without last words; data not sent is dropped and its callbacks are called. NULL is accepted. */
void link_free(Link *link);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Link, link_free)

int link_fd(const Link *link);

/* What poll(2) should wait for: POLLIN, POLLOUT, or 0. */
short link_events(const Link *link);

/* How long poll may wait before link_pump() has something to do: 0 if at once
 * (bytes are buffered already), -1 if only the socket can say. */
int link_timeout_ms(const Link *link);

/* Do what can be done now: handshake, read, write, heartbeat, deadlines. Call it
 * after poll with its revents, also with 0. FALSE with @error when the link is over:
 * the peer's own error if it sent FAIL, CANCELLED after BYE, UNREACHABLE if it is gone
 * or silent, TIMEOUT for a handshake or a stalled write, DENIED for its certificate,
 * PROTOCOL if it broke the rules (it is told so first). Frames that came before
 * are still there to take. Never calls back except on_sent of link_send_data(). */
gboolean link_pump(Link *link, short revents, GError **error);

LinkState link_state(const Link *link);

/* Who is there. Certain only if the state was OPEN; of a STRANGER only the fingerprint is true. */
Peer link_peer(const Link *link);

/* Once OPEN or STRANGER: what was agreed (version_min == version_max). */
const Hello *link_hello(const Link *link);
Purpose link_purpose(const Link *link);

/* "engine UUID at 10.0.0.2:25000", for messages; borrowed. */
const char *link_name(const Link *link);

/* 32 bytes that only the two ends of this TLS session share, others for each label (RFC 9266's way). */
#define LINK_BINDING_ENROL "EXPORTER-understudy-enrol-1"
#define LINK_BINDING_COMPARE "EXPORTER-understudy-compare-1"
void link_binding(const Link *link, const char *label, guint8 out[static 32]);

/* The oldest frame that waits, given away; NULL if none. PING, PONG, FAIL and BYE
 * are the link's own business and never come out here. */
Frame *link_take(Link *link);

/* Give a frame back instead of freeing it, where they come by the thousand; and let go of those that
 * are kept for that, when they do not come any more. */
void link_reuse(Link *link, Frame *frame);
void link_drop_spares(Link *link);

/* Queue a frame. Only what this side may say on this link (assert). FALSE with @error,
 * nothing queued: UNREACHABLE if the link is not OPEN or STRANGER, BUSY if more than LINK_SEND_MAX would wait.
 * @payload (may be NULL) is referenced. */
gboolean link_send(Link *link, MessageType type, guint64 id, GBytes *payload, GError **error);

/* The same with a document, which stays the caller's. REFUSED if it is too long for @type. */
gboolean link_send_json(Link *link, MessageType type, guint64 id, const json_t *doc, GError **error);

/* DATA without a copy of the payload: it is borrowed until @on_sent(@user) is
 * called, exactly once, from link_pump() or link_free(); not after an error. */
gboolean link_send_data(Link *link, const MessageData *data, GDestroyNotify on_sent, void *user,
                        GError **error);

/* Bytes not yet given to TLS: a sender keeps this under its own limit. */
gsize link_queued_bytes(const Link *link);

/* Bytes read and written on the wire since the start, TLS included. */
guint64 link_bytes_in(const Link *link);
guint64 link_bytes_out(const Link *link);

/* Steady: when something last came from the peer. */
gint64 link_heard_ms(const Link *link);

/* After @interval_ms without a word from the peer ask it (PING); after @deadline_ms it
 * is gone (UNREACHABLE). Silence counts only while we read. 0, 0: off (the default). A PING is always answered. */
void link_set_heartbeat(Link *link, gint64 interval_ms, gint64 deadline_ms);

/* Say last words and close when they are out (at most 2 s): go on pumping until it
 * returns FALSE. FAIL carries @why. */
void link_fail(Link *link, const GError *why);
void link_bye(Link *link);

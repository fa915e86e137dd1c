/* SPDX-License-Identifier: Apache-2.0 */
/* A turn (link_pump) does in this order: the handshake if it is not done; read
 * and handle what came; write what waits; look at the clock. Reading comes
 * first so that a peer's last words are heard before a write finds it gone,
 * and before it is called silent.
 *
 * Every end goes through end_at(): at once (CLOSED) if there is nobody to tell,
 * else CLOSING: FAIL or BYE is sent, the socket is half-closed and drained, because
 * closing it with unread bytes would reset the connection and lose the last words. */
#include "vmconnect/link/link.h"

#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/link/intake.h"
#include "vmconnect/link/sendq.h"
#include "vmconnect/link/socket.h"
#include "vmconnect/link/tls.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#define TURN_BYTES (1u << 20) /* read or written in one turn, so that others on the loop get theirs */
#define LAST_WORDS_MS 2000

struct Link {
    int fd;
    SSL *ssl;
    Side side;
    LinkState state;
    Identity *identity;
    Id expect;
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
    gboolean write_blocked;
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

static gboolean is_up(const Link *link)
{
    return link->state == LINK_OPEN || link->state == LINK_STRANGER;
}

static Side other(Side side)
{
    return side == SIDE_DIALER ? SIDE_LISTENER : SIDE_DIALER;
}

/* May this header come now? */
static gboolean allow_frame(void *user, FrameHeader head, GError **error)
{
    Link *link = user;
    guint16 first = link->side == SIDE_DIALER ? MESSAGE_WELCOME : MESSAGE_HELLO;
    gboolean last = head.type == MESSAGE_FAIL || head.type == MESSAGE_BYE;
    /* Before HELLO a listener does not know the purpose; what may come then belongs to any. */
    Purpose purpose = link->agreed.purpose ? link->agreed.purpose : PURPOSE_CONTROL;

    if (!message_check(head, other(link->side), purpose, error))
        return FALSE;
    if (last || (is_up(link) ? head.type != first : head.type == first))
        return TRUE;
    g_set_error(error, US_ERROR, US_ERROR_PROTOCOL, "%s may not come %s the greeting",
                message_name(head.type), is_up(link) ? "after" : "before");
    return FALSE;
}

static Link *link_new(int fd, const LinkSettings *s, Side side)
{
    Link *link = g_new0(Link, 1);
    Peer me = identity_peer(s->identity);

    socket_prepare(fd);
    link->fd = fd;
    link->side = side;
    link->identity = identity_ref(s->identity);
    link->expect = s->expect;
    link->strangers = s->strangers && !identity_is_owned(s->identity);
    link->stall_ms = s->stall_ms ? s->stall_ms : LINK_STALL_MS;
    link->mine = (Hello){.version_min = s->version_min ? s->version_min : HELLO_VERSION_MIN,
                         .version_max = s->version_max ? s->version_max : HELLO_VERSION_MAX,
                         .features = HELLO_FEATURES,
                         .purpose = s->purpose,
                         .role = me.role,
                         .id = me.id,
                         .program = UNDERSTUDY_VERSION};
    link->name = s->name ? g_strdup(s->name) : socket_peer_text(fd);
    link->heard_ms = link->written_ms = clock_steady_ms();
    link->deadline_ms = link->heard_ms + (s->handshake_ms ? s->handshake_ms : LINK_HANDSHAKE_MS);
    g_queue_init(&link->ready);
    intake_init(&link->intake, allow_frame, link);
    sendq_init(&link->sendq);
    link->ssl = SSL_new(identity_tls(s->identity));
    g_assert(link->ssl && SSL_set_fd(link->ssl, fd));
    return link;
}

Link *link_new_dialer(int fd, const LinkSettings *settings)
{
    Link *link = link_new(fd, settings, SIDE_DIALER);

    g_assert(settings->purpose);
    link->agreed.purpose = settings->purpose;
    SSL_set_connect_state(link->ssl);
    return link;
}

Link *link_new_listener(int fd, const LinkSettings *settings)
{
    Link *link = link_new(fd, settings, SIDE_LISTENER);

    SSL_set_accept_state(link->ssl);
    return link;
}

void link_free(Link *link)
{
    Frame *frame;

    if (!link)
        return;
    while ((frame = g_queue_pop_head(&link->ready)))
        frame_free(frame);
    intake_clear(&link->intake);
    sendq_clear(&link->sendq);
    SSL_free(link->ssl);
    close(link->fd);
    identity_unref(link->identity);
    g_clear_error(&link->distrust);
    g_clear_error(&link->end);
    g_free(link->name);
    g_free(link);
}

/* --- sending ------------------------------------------------------------ */

static void queue_frame(Link *link, MessageType type, guint64 id, GBytes *payload, GDestroyNotify on_sent,
                        void *user)
{
    gsize len = 0;
    const guint8 *data = payload ? g_bytes_get_data(payload, &len) : NULL;
    FrameHeader head = {type, 0, (guint32)len, id};
    guint8 bytes[FRAME_HEADER_LEN];

    if (link->sendq.bytes == 0)
        link->written_ms = clock_steady_ms();
    frame_header_encode(head, bytes);
    sendq_push(&link->sendq, bytes, sizeof(bytes), data, len, on_sent, user);
}

/* Takes @payload. */
static void queue_bytes(Link *link, MessageType type, guint64 id, GBytes *payload)
{
    queue_frame(link, type, id, payload, (GDestroyNotify)g_bytes_unref, payload);
}

static gboolean may_send(Link *link, guint16 type, gsize len, GError **error)
{
    GError *bug = NULL;

    if (!is_up(link)) {
        g_set_error(error, US_ERROR, US_ERROR_UNREACHABLE, "the link to %s is not open", link->name);
        return FALSE;
    }
    message_check((FrameHeader){type, 0, (guint32)len, 0}, link->side, link->agreed.purpose, &bug);
    g_assert_no_error(bug);
    if (len + FRAME_HEADER_LEN <= LINK_SEND_MAX - MIN(link->sendq.bytes, LINK_SEND_MAX))
        return TRUE;
    g_set_error(error, US_ERROR, US_ERROR_BUSY, "%s does not read: %zu bytes wait for it", link->name,
                link->sendq.bytes);
    return FALSE;
}

gboolean link_send(Link *link, MessageType type, guint64 id, GBytes *payload, GError **error)
{
    if (!may_send(link, type, payload ? g_bytes_get_size(payload) : 0, error))
        return FALSE;
    if (payload)
        queue_bytes(link, type, id, g_bytes_ref(payload));
    else
        queue_frame(link, type, id, NULL, NULL, NULL);
    return TRUE;
}

gboolean link_send_json(Link *link, MessageType type, guint64 id, const json_t *doc, GError **error)
{
    g_autoptr(GBytes) payload = message_encode_json(type, doc, error);

    return payload && link_send(link, type, id, payload, error);
}

gboolean link_send_data(Link *link, const MessageData *data, GDestroyNotify on_sent, void *user,
                        GError **error)
{
    guint8 head[MESSAGE_DATA_HEAD_LEN];

    if (!may_send(link, MESSAGE_DATA, MESSAGE_DATA_HEADER_LEN + data->payload_len, error))
        return FALSE;
    if (link->sendq.bytes == 0)
        link->written_ms = clock_steady_ms();
    message_encode_data_head(data, head);
    sendq_push(&link->sendq, head, sizeof(head), data->payload, data->payload_len, on_sent, user);
    return TRUE;
}

/* --- the end ------------------------------------------------------------ */

/* Takes @why. The first end counts. */
static void close_now(Link *link, GError *why)
{
    if (link->end)
        g_error_free(why);
    else
        link->end = why;
    link->state = LINK_CLOSED;
}

/* Takes @why; tells the peer, if there is one that would understand. */
static void close_saying(Link *link, MessageType type, GError *why)
{
    if (link->state == LINK_HANDSHAKE || link->state >= LINK_CLOSING) {
        close_now(link, why);
        return;
    }
    if (type == MESSAGE_FAIL)
        queue_bytes(link, MESSAGE_FAIL, 0, message_encode_fail(why));
    else
        queue_frame(link, MESSAGE_BYE, 0, NULL, NULL, NULL);
    link->end = why;
    link->state = LINK_CLOSING;
    link->deadline_ms = clock_steady_ms() + LAST_WORDS_MS;
}

void link_fail(Link *link, const GError *why)
{
    if (link->state < LINK_CLOSING)
        close_saying(link, MESSAGE_FAIL, g_error_copy(why));
}

void link_bye(Link *link)
{
    if (link->state < LINK_CLOSING)
        close_saying(link, MESSAGE_BYE,
                     g_error_new(US_ERROR, US_ERROR_CANCELLED, "the link to %s was closed here", link->name));
}

/* What is worth telling: the peer's mistakes and what we refuse it, not that it is gone or slow. */
static gboolean worth_telling(const GError *why)
{
    return !g_error_matches(why, US_ERROR, US_ERROR_UNREACHABLE) &&
           !g_error_matches(why, US_ERROR, US_ERROR_TIMEOUT);
}

/* Takes @why, an error of this side. */
static void end_at(Link *link, GError *why)
{
    if (link->state < LINK_CLOSING && worth_telling(why))
        close_saying(link, MESSAGE_FAIL, why);
    else
        close_now(link, why);
}

/* --- TLS ---------------------------------------------------------------- */

static gboolean gone(const Link *link, const char *how, GError **error)
{
    g_set_error(error, US_ERROR, US_ERROR_UNREACHABLE, "%s: %s", link->name, how);
    return FALSE;
}

/* An SSL call came to nothing: TRUE if it only has to wait. */
static gboolean tls_waits(Link *link, int rc, gboolean *ret_writes, GError **error)
{
    int errnum = errno;
    int why = SSL_get_error(link->ssl, rc);

    *ret_writes = why == SSL_ERROR_WANT_WRITE;
    if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE)
        return TRUE;
    if (why == SSL_ERROR_ZERO_RETURN)
        return gone(link, "the connection was closed", error);
    if (why == SSL_ERROR_SYSCALL || ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING) {
        ERR_clear_error();
        return gone(link,
                    why == SSL_ERROR_SYSCALL && errnum ? g_strerror(errnum) : "the connection broke off",
                    error);
    }
    g_set_error(error, US_ERROR, US_ERROR_PROTOCOL, "%s: TLS: %s", link->name, tls_reason());
    return FALSE;
}

/* TLS is up: who is it? */
static gboolean meet(Link *link, GError **error)
{
    gboolean known =
        tls_verify_peer(link->ssl, identity_is_owned(link->identity), &link->peer, &link->distrust);
    char *full;

    link->state = LINK_HELLO;
    if (known) {
        full = g_strdup_printf("%s %s at %s", role_name(link->peer.role), ID_TEXT(link->peer.id), link->name);
        g_free(link->name);
        link->name = full;
    }
    if (link->side == SIDE_LISTENER)
        return TRUE;
    if (link->mine.purpose != PURPOSE_ENROL) {
        if (!known) {
            g_set_error(error, US_ERROR, US_ERROR_DENIED, "%s is not trusted: %s", link->name,
                        link->distrust->message);
            return FALSE;
        }
        if (!id_is_nil(link->expect) && !id_equal(link->expect, link->peer.id)) {
            g_set_error(error, US_ERROR, US_ERROR_DENIED,
                        "another host answers: %s, where engine %s was expected", link->name,
                        ID_TEXT(link->expect));
            return FALSE;
        }
    }
    json_auto_t *hello = hello_to_json(&link->mine);
    GBytes *payload = message_encode_json(MESSAGE_HELLO, hello, error);

    g_assert(payload);
    queue_bytes(link, MESSAGE_HELLO, 0, payload);
    return TRUE;
}

static gboolean shake_hands(Link *link, GError **error)
{
    int rc;

    ERR_clear_error();
    rc = SSL_do_handshake(link->ssl);
    if (rc == 1)
        return meet(link, error);
    return tls_waits(link, rc, &link->handshake_writes, error);
}

/* --- greeting ----------------------------------------------------------- */

static void open_up(Link *link)
{
    gboolean stranger = link->agreed.purpose == PURPOSE_ENROL;

    link->state = stranger ? LINK_STRANGER : LINK_OPEN;
    link->deadline_ms = stranger ? clock_steady_ms() + LINK_STRANGER_MS : -1;
}

/* Listener: may this peer come in for what it asks? */
static gboolean admit(Link *link, const Hello *theirs, GError **error)
{
    if (theirs->purpose == PURPOSE_ENROL) {
        if (link->strangers)
            return TRUE;
        g_set_error(
            error, US_ERROR, US_ERROR_DENIED, "%s",
            identity_is_owned(link->identity)
                ? "this engine has an owner; remove the host there, or run 'understudy-engine disown' here"
                : "this engine has no valid token; run 'understudy-engine token' on it");
        return FALSE;
    }
    if (link->distrust) {
        g_set_error(error, US_ERROR, US_ERROR_DENIED, "this engine does not trust its peer: %s",
                    link->distrust->message);
        return FALSE;
    }
    if (theirs->role == link->peer.role && id_equal(theirs->id, link->peer.id))
        return TRUE;
    g_set_error(error, US_ERROR, US_ERROR_DENIED, "HELLO names %s %s, the certificate %s",
                role_name(theirs->role), ID_TEXT(theirs->id), link->name);
    return FALSE;
}

static gboolean take_hello(Link *link, const json_t *doc, GError **error)
{
    Hello theirs, welcome;
    GBytes *payload;

    if (!hello_from_json(doc, &theirs, error) || !admit(link, &theirs, error) ||
        !hello_agree(&link->mine, &theirs, &welcome, error))
        return FALSE;
    json_auto_t *answer = hello_to_json(&welcome);

    payload = message_encode_json(MESSAGE_WELCOME, answer, error);
    g_assert(payload);
    queue_bytes(link, MESSAGE_WELCOME, 0, payload);
    /* What was agreed, and whom with. */
    link->agreed = welcome;
    link->agreed.role = theirs.role;
    link->agreed.id = theirs.id;
    g_strlcpy(link->agreed.program, theirs.program, sizeof(link->agreed.program));
    open_up(link);
    return TRUE;
}

static gboolean take_welcome(Link *link, const json_t *doc, GError **error)
{
    Hello welcome;

    if (!hello_from_json(doc, &welcome, error) || !hello_accept(&link->mine, &welcome, error))
        return FALSE;
    if (!link->distrust && !id_equal(welcome.id, link->peer.id)) {
        g_set_error(error, US_ERROR, US_ERROR_DENIED, "WELCOME names engine %s, the certificate %s",
                    ID_TEXT(welcome.id), link->name);
        return FALSE;
    }
    link->agreed = welcome;
    open_up(link);
    return TRUE;
}

/* --- receiving ---------------------------------------------------------- */

/* The peer's last frame. */
static void take_last(Link *link, const Frame *frame)
{
    GError *why;

    if (frame->head.type == MESSAGE_BYE) {
        why = g_error_new(US_ERROR, US_ERROR_CANCELLED, "%s said goodbye", link->name);
    } else {
        why = message_decode_fail(frame);
        g_prefix_error(&why, "%s: ", link->name);
    }
    close_now(link, why);
}

static void on_pong_sent(void *user)
{
    Link *link = user;

    link->pong_queued = FALSE;
}

static void answer_ping(Link *link)
{
    if (link->pong_queued)
        return;
    link->pong_queued = TRUE;
    queue_frame(link, MESSAGE_PONG, 0, NULL, on_pong_sent, link);
}

/* A whole frame is there; takes it. */
static gboolean take_frame(Link *link, Frame *whole, GError **error)
{
    g_autoptr(Frame) frame = whole;
    json_auto_t *doc = NULL;

    switch (frame->head.type) {
    case MESSAGE_PING:
        answer_ping(link);
        return TRUE;
    case MESSAGE_PONG:
        return TRUE;
    case MESSAGE_FAIL:
    case MESSAGE_BYE:
        take_last(link, frame);
        return TRUE;
    case MESSAGE_HELLO:
    case MESSAGE_WELCOME:
        doc = message_decode_json(frame, error);
        if (!doc)
            return FALSE;
        return frame->head.type == MESSAGE_HELLO ? take_hello(link, doc, error)
                                                 : take_welcome(link, doc, error);
    default:
        link->ready_bytes += sizeof(*frame) + frame->head.len;
        g_queue_push_tail(&link->ready, g_steal_pointer(&frame));
        return TRUE;
    }
}

static gboolean wants_input(const Link *link)
{
    return link->state < LINK_CLOSING && link->ready_bytes < LINK_TAKE_BYTES &&
           g_queue_get_length((GQueue *)&link->ready) < LINK_TAKE_FRAMES;
}

static gboolean read_some(Link *link, GError **error)
{
    gsize budget = TURN_BYTES;

    while (wants_input(link) && budget > 0) {
        Frame *frame;
        gboolean writes;
        gsize len, got;
        guint8 *room = intake_room(&link->intake, &len);

        ERR_clear_error();
        if (!SSL_read_ex(link->ssl, room, MIN(len, budget), &got)) {
            link->drained = TRUE;
            return tls_waits(link, 0, &writes, error);
        }
        link->drained = FALSE;
        link->heard_ms = clock_steady_ms();
        link->pinged = FALSE;
        budget -= got;
        if (!intake_put(&link->intake, got, &frame, error) || (frame && !take_frame(link, frame, error))) {
            g_prefix_error(error, "%s: ", link->name);
            return FALSE;
        }
    }
    return TRUE;
}

static gboolean write_some(Link *link, GError **error)
{
    gsize budget = TURN_BYTES;
    const guint8 *data;
    gsize len;

    link->write_blocked = FALSE;
    while (budget > 0 && (len = sendq_next(&link->sendq, &data)) > 0) {
        gboolean writes;
        gsize put;

        ERR_clear_error();
        if (!SSL_write_ex(link->ssl, data, len, &put)) {
            link->write_blocked = TRUE;
            return tls_waits(link, 0, &writes, error);
        }
        sendq_sent(&link->sendq, put);
        link->written_ms = clock_steady_ms();
        budget -= MIN(budget, put);
    }
    return TRUE;
}

/* --- the clock ---------------------------------------------------------- */

static gboolean check_clock(Link *link, gint64 now, GError **error)
{
    if (link->deadline_ms >= 0 && now >= link->deadline_ms) {
        g_set_error(error, US_ERROR, US_ERROR_TIMEOUT, "%s did not finish its %s in time", link->name,
                    link->state == LINK_STRANGER ? "enrolment" : "handshake");
        return FALSE;
    }
    if (link->sendq.bytes > 0 && now - link->written_ms >= link->stall_ms) {
        g_set_error(error, US_ERROR, US_ERROR_TIMEOUT, "%s has taken nothing for %" G_GINT64_FORMAT " s",
                    link->name, link->stall_ms / 1000);
        return FALSE;
    }
    if (link->ping_ms == 0 || !is_up(link))
        return TRUE;
    /* We do not listen, so silence says nothing. */
    if (!wants_input(link) || !link->drained)
        link->heard_ms = now;
    if (now - link->heard_ms >= link->dead_ms)
        return gone(link, "the peer is silent", error);
    if (now - link->heard_ms >= link->ping_ms && !link->pinged) {
        link->pinged = TRUE;
        queue_frame(link, MESSAGE_PING, 0, NULL, NULL, NULL);
    }
    return TRUE;
}

/* The earliest instant at which check_clock() has something to say; -1: never. */
static gint64 next_instant(const Link *link)
{
    gint64 next = link->deadline_ms >= 0 ? link->deadline_ms : G_MAXINT64;

    if (link->state < LINK_CLOSING && link->sendq.bytes > 0)
        next = MIN(next, link->written_ms + link->stall_ms);
    if (is_up(link) && link->ping_ms > 0 && wants_input(link))
        next = MIN(next, link->heard_ms + (link->pinged ? link->dead_ms : link->ping_ms));
    return next == G_MAXINT64 ? -1 : next;
}

/* --- the turn ----------------------------------------------------------- */

static gboolean turn(Link *link, GError **error)
{
    if (link->state == LINK_HANDSHAKE && !shake_hands(link, error))
        return FALSE;
    if (link->state > LINK_HANDSHAKE && link->state < LINK_CLOSING) {
        if (!read_some(link, error))
            return FALSE;
        if (link->state < LINK_CLOSING && !write_some(link, error)) {
            /* It may have told us why before it went. */
            read_some(link, NULL);
            return FALSE;
        }
    }
    return link->state >= LINK_CLOSING || check_clock(link, clock_steady_ms(), error);
}

/* Last words: write them, say no more, and read until the peer has read them. */
static void close_politely(Link *link)
{
    char waste[16384];
    gssize n;

    if (!write_some(link, NULL) || clock_steady_ms() >= link->deadline_ms) {
        link->state = LINK_CLOSED;
        return;
    }
    if (link->sendq.bytes > 0)
        return;
    if (!link->said_bye) {
        link->said_bye = TRUE;
        ERR_clear_error();
        (void)SSL_shutdown(link->ssl);
        (void)shutdown(link->fd, SHUT_WR);
    }
    n = recv(link->fd, waste, sizeof(waste), MSG_DONTWAIT);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
        link->state = LINK_CLOSED;
}

gboolean link_pump(Link *link, short revents, GError **error)
{
    GError *why = NULL;

    (void)revents; /* looking costs one system call and cannot miss anything */
    if (link->state < LINK_CLOSING && !turn(link, &why)) {
        if (link->state == LINK_CLOSED)
            g_error_free(why);
        else
            end_at(link, why);
    }
    if (link->state == LINK_CLOSING)
        close_politely(link);
    if (link->state != LINK_CLOSED)
        return TRUE;
    g_assert(link->end);
    if (error)
        *error = g_error_copy(link->end);
    return FALSE;
}

short link_events(const Link *link)
{
    short events = 0;

    switch (link->state) {
    case LINK_HANDSHAKE:
        return link->handshake_writes ? POLLOUT : POLLIN;
    case LINK_CLOSED:
        return 0;
    case LINK_CLOSING:
        events = POLLIN;
        break;
    default:
        events = wants_input(link) ? POLLIN : 0;
    }
    return link->sendq.bytes > 0 ? events | POLLOUT : events;
}

int link_timeout_ms(const Link *link)
{
    gint64 next;

    if (link->state == LINK_CLOSED)
        return 0;
    /* Bytes may sit decrypted in TLS, where poll does not see them. */
    if (link->state > LINK_HANDSHAKE && !link->drained && wants_input(link))
        return 0;
    next = next_instant(link);
    return next < 0 ? -1 : (int)CLAMP(next - clock_steady_ms(), 0, G_MAXINT);
}

Frame *link_take(Link *link)
{
    Frame *frame = g_queue_pop_head(&link->ready);
    gboolean was_full = !wants_input(link);

    if (!frame)
        return NULL;
    link->ready_bytes -= sizeof(*frame) + frame->head.len;
    if (was_full && wants_input(link))
        link->heard_ms = clock_steady_ms();
    return frame;
}

/* --- small answers ------------------------------------------------------ */

int link_fd(const Link *link)
{
    return link->fd;
}

LinkState link_state(const Link *link)
{
    return link->state;
}

Peer link_peer(const Link *link)
{
    return link->peer;
}

const Hello *link_hello(const Link *link)
{
    return &link->agreed;
}

Purpose link_purpose(const Link *link)
{
    return link->agreed.purpose;
}

Side link_side(const Link *link)
{
    return link->side;
}

const char *link_name(const Link *link)
{
    return link->name;
}

void link_binding(const Link *link, guint8 out[static 32])
{
    g_assert(link->state > LINK_HANDSHAKE);
    tls_binding(link->ssl, out);
}

gsize link_queued_bytes(const Link *link)
{
    return link->sendq.bytes;
}

guint64 link_bytes_in(const Link *link)
{
    return BIO_number_read(SSL_get_rbio(link->ssl));
}

guint64 link_bytes_out(const Link *link)
{
    return BIO_number_written(SSL_get_wbio(link->ssl));
}

void link_set_heartbeat(Link *link, gint64 interval_ms, gint64 deadline_ms)
{
    g_assert(interval_ms == 0 ? deadline_ms == 0 : deadline_ms > interval_ms);
    link->ping_ms = interval_ms;
    link->dead_ms = deadline_ms;
    link->heard_ms = clock_steady_ms();
    link->pinged = FALSE;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* A turn (link_pump) does in this order: the handshake if it is not done; read
 * and handle what came; write what waits; look at the clock. Reading comes
 * first so that a peer's last words are heard before a write finds it gone,
 * and before it is called silent.
 *
 * A connection that is gone, silent or stalled is CLOSED at once. A peer that is refused, or left,
 * is CLOSING first: FAIL or BYE is sent, the socket is half-closed and drained, because
 * closing it with unread bytes would reset the connection and lose the last words. */
#include "vmconnect/link/link.h"

#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/link/link_private.h"
#include "vmconnect/link/socket.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define LAST_WORDS_MS 2000

static Link *link_new(int fd, const LinkSettings *s, Side side)
{
    Link *link = g_new0(Link, 1);
    Peer me = identity_peer(s->identity);

    socket_prepare(fd);
    link->fd = fd;
    link->side = side;
    link->identity = identity_ref(s->identity);
    link->expect = s->expect;
    link->ret_met = s->ret_met;
    link->strangers = s->strangers && !identity_is_owned(s->identity);
    link->stall_ms = s->stall_ms ? s->stall_ms : LINK_STALL_MS;
    link->rekey_bytes = s->rekey_bytes ? s->rekey_bytes : LINK_REKEY_BYTES;
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
    intake_init(&link->intake, link_allow, link);
    sendq_init(&link->sendq);
    link->ssl = SSL_new(identity_tls(s->identity));
    g_assert(link->ssl && tls_attach(link->ssl, fd));
    return link;
}

Link *link_new_dialer(int fd, const LinkSettings *settings)
{
    Link *link = link_new(fd, settings, SIDE_DIALER);

    g_assert(settings->purpose);
    link->agreed.purpose = settings->purpose;
    SSL_set_connect_state(link->ssl);
    link->handshake_writes = TRUE; /* the first word is the dialer's */
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

void link_queue(Link *link, MessageType type, guint64 id, GBytes *payload)
{
    gsize len = 0;
    const guint8 *data = payload ? g_bytes_get_data(payload, &len) : NULL;
    guint8 head[FRAME_HEADER_LEN];

    frame_header_encode((FrameHeader){type, 0, (guint32)len, id}, head);
    link_push(link, head, sizeof(head), data, len, payload ? (GDestroyNotify)g_bytes_unref : NULL, payload);
}

void link_push(Link *link, const guint8 *head, gsize head_len, const guint8 *data, gsize len,
               GDestroyNotify on_sent, void *user)
{
    /* An empty queue was not stalled. */
    if (link_unsent(link) == 0)
        link->written_ms = clock_steady_ms();
    sendq_push(&link->sendq, head, head_len, data, len, on_sent, user);
}

static gboolean may_send(Link *link, guint16 type, gsize len, GError **error)
{
    GError *bug = NULL;

    if (!link_is_up(link)) {
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
    link_queue(link, type, id, payload ? g_bytes_ref(payload) : NULL);
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
    message_encode_data_head(data, head);
    link_push(link, head, sizeof(head), data->payload, data->payload_len, on_sent, user);
    return TRUE;
}

/* --- the end ------------------------------------------------------------ */

void link_close_now(Link *link, GError *why)
{
    if (link->end)
        g_error_free(why);
    else
        link->end = why;
    link->state = LINK_CLOSED;
    /* The peer shall know now, not when the owner comes to link_free(). */
    (void)shutdown(link->fd, SHUT_RDWR);
}

/* Queue the last frame; takes @why, and @payload, which may be NULL. */
static void close_saying(Link *link, MessageType type, GBytes *payload, GError *why)
{
    link_queue(link, type, 0, payload);
    link->end = why;
    link->state = LINK_CLOSING;
    link->deadline_ms = clock_steady_ms() + LAST_WORDS_MS;
}

/* Is there somebody who would understand last words? */
static gboolean can_say(const Link *link)
{
    return link->state > LINK_HANDSHAKE && link->state < LINK_CLOSING;
}

void link_refuse(Link *link, GError *why)
{
    GBytes *payload;

    if (!can_say(link)) {
        link_close_now(link, why);
        return;
    }
    payload = message_encode_fail(why);
    /* The peer knows its own name; our log does not. */
    if (!strstr(why->message, link->name))
        g_prefix_error(&why, "%s: ", link->name);
    close_saying(link, MESSAGE_FAIL, payload, why);
}

void link_fail(Link *link, const GError *why)
{
    if (link->state < LINK_CLOSING)
        link_refuse(link, g_error_copy(why));
}

void link_bye(Link *link)
{
    GError *why;

    if (link->state >= LINK_CLOSING)
        return;
    why = g_error_new(US_ERROR, US_ERROR_CANCELLED, "the link to %s was closed here", link->name);
    if (can_say(link))
        close_saying(link, MESSAGE_BYE, NULL, why);
    else
        link_close_now(link, why);
}

gboolean link_gone(const Link *link, const char *how, GError **error)
{
    g_set_error(error, US_ERROR, US_ERROR_UNREACHABLE, "%s: %s", link->name, how);
    return FALSE;
}

/* --- the clock ---------------------------------------------------------- */

static gboolean check_clock(Link *link, gint64 now, GError **error)
{
    if (link->deadline_ms >= 0 && now >= link->deadline_ms) {
        g_set_error(error, US_ERROR, US_ERROR_TIMEOUT, "%s did not finish its %s in time", link->name,
                    link->state == LINK_STRANGER ? "enrolment" : "handshake");
        return FALSE;
    }
    if (link_unsent(link) > 0 && now - link->written_ms >= link->stall_ms) {
        g_set_error(error, US_ERROR, US_ERROR_TIMEOUT, "%s has taken nothing for %" G_GINT64_FORMAT " s",
                    link->name, link->stall_ms / 1000);
        return FALSE;
    }
    if (link->ping_ms == 0 || !link_is_up(link))
        return TRUE;
    /* We do not listen, so silence says nothing. */
    if (!link_wants_input(link) || !link->drained)
        link->heard_ms = now;
    if (now - link->heard_ms >= link->dead_ms)
        return link_gone(link, "the peer is silent", error);
    if (now - link->heard_ms >= link->ping_ms && !link->pinged) {
        link->pinged = TRUE;
        link_queue(link, MESSAGE_PING, 0, NULL);
    }
    return TRUE;
}

/* The earliest instant at which check_clock() has something to say; -1: never. */
static gint64 next_instant(const Link *link)
{
    gint64 next = link->deadline_ms >= 0 ? link->deadline_ms : G_MAXINT64;

    if (link->state < LINK_CLOSING && link_unsent(link) > 0)
        next = MIN(next, link->written_ms + link->stall_ms);
    if (link_is_up(link) && link->ping_ms > 0 && link_wants_input(link))
        next = MIN(next, link->heard_ms + (link->pinged ? link->dead_ms : link->ping_ms));
    return next == G_MAXINT64 ? -1 : next;
}

/* --- the turn ----------------------------------------------------------- */

/* FALSE with @error if the connection is over; a peer that is refused has been told so. */
static gboolean turn(Link *link, GError **error)
{
    if (link->state == LINK_HANDSHAKE && !link_shake_hands(link, error))
        return FALSE;
    if (can_say(link) && !link_read(link, error))
        return FALSE;
    if (can_say(link) && !link_write(link, error)) {
        /* It may have told us why before it went. */
        link_read(link, NULL);
        return FALSE;
    }
    return link->state >= LINK_CLOSING || check_clock(link, clock_steady_ms(), error);
}

/* Last words: write them, say no more, and read until the peer has read them. */
static void close_politely(Link *link)
{
    char waste[16384];
    gssize n;

    if (!link_write(link, NULL) || clock_steady_ms() >= link->deadline_ms) {
        link->state = LINK_CLOSED;
        return;
    }
    if (link_unsent(link) > 0)
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
    if (link->state < LINK_CLOSING && !turn(link, &why))
        link_close_now(link, why);
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
        events = link_wants_input(link) ? POLLIN : 0;
    }
    return link_unsent(link) > 0 ? events | POLLOUT : events;
}

int link_timeout_ms(const Link *link)
{
    gint64 next;

    if (link->state == LINK_CLOSED)
        return 0;
    /* Bytes may sit decrypted in TLS, where poll does not see them. */
    if (link->state > LINK_HANDSHAKE && !link->drained && link_wants_input(link))
        return 0;
    next = next_instant(link);
    return next < 0 ? -1 : clock_left_ms(next);
}

Frame *link_take(Link *link)
{
    Frame *frame = g_queue_pop_head(&link->ready);
    gboolean was_full = !link_wants_input(link);

    if (!frame)
        return NULL;
    link->ready_bytes -= sizeof(*frame) + frame->head.len;
    if (was_full && link_wants_input(link))
        link->heard_ms = clock_steady_ms();
    return frame;
}

void link_reuse(Link *link, Frame *frame)
{
    intake_reuse(&link->intake, frame);
}

void link_drop_spares(Link *link)
{
    intake_drop_spares(&link->intake);
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

const char *link_name(const Link *link)
{
    return link->name;
}

void link_binding(const Link *link, const char *label, guint8 out[static 32])
{
    g_assert(link->state > LINK_HANDSHAKE);
    tls_binding(link->ssl, label, out);
}

gsize link_queued_bytes(const Link *link)
{
    return link_unsent(link);
}

guint64 link_bytes_in(const Link *link)
{
    return BIO_number_read(SSL_get_rbio(link->ssl));
}

guint64 link_bytes_out(const Link *link)
{
    return BIO_number_written(SSL_get_wbio(link->ssl));
}

gint64 link_heard_ms(const Link *link)
{
    return link->heard_ms;
}

void link_set_heartbeat(Link *link, gint64 interval_ms, gint64 deadline_ms)
{
    g_assert(interval_ms == 0 ? deadline_ms == 0 : deadline_ms > interval_ms);
    link->ping_ms = interval_ms;
    link->dead_ms = deadline_ms;
    link->heard_ms = clock_steady_ms();
    link->pinged = FALSE;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Frames in and out of a link that has shaken hands. */
#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/link/link_private.h"
#include "vmconnect/link/socket.h"

#include <errno.h>
#include <openssl/err.h>

#define TURN_BYTES (1u << 20) /* read or written in one turn, so that others on the loop get theirs */

static Side other(Side side)
{
    return side == SIDE_DIALER ? SIDE_LISTENER : SIDE_DIALER;
}

gboolean link_allow(void *user, FrameHeader head, GError **error)
{
    Link *link = user;
    guint16 first = link->side == SIDE_DIALER ? MESSAGE_WELCOME : MESSAGE_HELLO;
    gboolean up = link_is_up(link);

    if (message_rule(head.type) && head.type != MESSAGE_FAIL && head.type != MESSAGE_BYE &&
        up == (head.type == first)) {
        g_set_error(error, US_ERROR, US_ERROR_PROTOCOL, "%s may not come %s the greeting",
                    message_name(head.type), up ? "after" : "before");
        return FALSE;
    }
    /* Before HELLO a listener does not know the purpose; what may come then belongs to any. */
    return message_check(head, other(link->side), up ? link->agreed.purpose : PURPOSE_CONTROL, error);
}

/* --- TLS ---------------------------------------------------------------- */

gboolean link_tls_waits(const Link *link, int rc, gboolean *ret_writes, GError **error)
{
    int errnum = errno;
    int why = SSL_get_error(link->ssl, rc);

    *ret_writes = why == SSL_ERROR_WANT_WRITE;
    if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE)
        return TRUE;
    if (why == SSL_ERROR_ZERO_RETURN)
        return link_gone(link, "the connection was closed", error);
    if (why == SSL_ERROR_SYSCALL || ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING) {
        ERR_clear_error();
        /* An EAGAIN is of some call before: had it been this one's, it would be waited for. */
        return link_gone(link,
                         why == SSL_ERROR_SYSCALL && errnum && errnum != EAGAIN ? g_strerror(errnum)
                                                                                : "the connection broke off",
                         error);
    }
    g_set_error(error, US_ERROR, US_ERROR_PROTOCOL, "%s: TLS: %s", link->name, tls_reason());
    return FALSE;
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
    link_close_now(link, why);
}

static void on_pong_sent(void *user)
{
    Link *link = user;

    link->pong_queued = FALSE;
}

static void answer_ping(Link *link)
{
    guint8 head[FRAME_HEADER_LEN];

    if (link->pong_queued)
        return;
    link->pong_queued = TRUE;
    frame_header_encode((FrameHeader){MESSAGE_PONG, 0, 0, 0}, head);
    link_push(link, head, sizeof(head), NULL, 0, on_pong_sent, link);
}

/* A whole frame is there; takes it. */
static gboolean take_frame(Link *link, Frame *whole, GError **error)
{
    g_autoptr(Frame) frame = whole;

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
        return link_take_greeting(link, frame, error);
    default:
        link->ready_bytes += sizeof(*frame) + frame->head.len;
        g_queue_push_tail(&link->ready, g_steal_pointer(&frame));
        return TRUE;
    }
}

gboolean link_wants_input(const Link *link)
{
    return link->state < LINK_CLOSING && link->ready_bytes < LINK_TAKE_BYTES &&
           g_queue_get_length((GQueue *)&link->ready) < LINK_TAKE_FRAMES;
}

gboolean link_read(Link *link, GError **error)
{
    gsize budget = TURN_BYTES;

    while (link_wants_input(link) && budget > 0) {
        GError *why = NULL;
        Frame *frame;
        gboolean writes;
        gsize len, got;
        guint8 *room = intake_room(&link->intake, &len);

        ERR_clear_error();
        if (!SSL_read_ex(link->ssl, room, MIN(len, budget), &got)) {
            link->drained = TRUE;
            return link_tls_waits(link, 0, &writes, error);
        }
        link->drained = FALSE;
        link->heard_ms = clock_steady_ms();
        link->pinged = FALSE;
        budget -= got;
        if (!intake_put(&link->intake, got, &frame, &why) || (frame && !take_frame(link, frame, &why))) {
            link_refuse(link, why);
            return TRUE;
        }
    }
    return TRUE;
}

/* A record has just gone out whole, so the next may be the first under a new key. */
static void count_under_key(Link *link, gsize len)
{
    link->under_key += len;
    if (link->under_key < link->rekey_bytes)
        return;
    link->under_key = 0;
    g_assert(SSL_key_update(link->ssl, SSL_KEY_UPDATE_NOT_REQUESTED) == 1);
}

static gboolean write_records(Link *link, GError **error)
{
    gsize budget = TURN_BYTES;
    const guint8 *data;
    gsize len;

    while (budget > 0 && (len = sendq_next(&link->sendq, &data)) > 0) {
        gboolean writes;
        gsize put;

        ERR_clear_error();
        if (!SSL_write_ex(link->ssl, data, len, &put))
            return link_tls_waits(link, 0, &writes, error);
        sendq_sent(&link->sendq, put);
        count_under_key(link, put);
        link->written_ms = clock_steady_ms();
        budget -= MIN(budget, put);
    }
    return TRUE;
}

static gboolean flush(Link *link, GError **error)
{
    gsize before = tls_unsent(link->ssl);

    errno = 0;
    if (!tls_flush(link->ssl))
        return link_gone(link, errno ? g_strerror(errno) : "the connection broke off", error);
    if (tls_unsent(link->ssl) < before)
        link->written_ms = clock_steady_ms();
    return TRUE;
}

gboolean link_write(Link *link, GError **error)
{
    return write_records(link, error) && flush(link, error);
}

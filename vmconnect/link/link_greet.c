/* SPDX-License-Identifier: Apache-2.0 */
/* Who is there, and what both speak: from the first byte of TLS to OPEN or STRANGER. */
#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/link/link_private.h"

#include <openssl/err.h>

/* May a dialer go on with this listener? */
static gboolean trust(const Link *link, GError **error)
{
    if (link->mine.purpose == PURPOSE_ENROL)
        return TRUE;
    if (link->distrust) {
        g_set_error(error, US_ERROR, US_ERROR_DENIED, "%s is not trusted: %s", link->name,
                    link->distrust->message);
        return FALSE;
    }
    if (id_is_nil(link->expect) || id_equal(link->expect, link->peer.id))
        return TRUE;
    g_set_error(error, US_ERROR, US_ERROR_DENIED, "another host answers: %s, where engine %s was expected",
                link->name, ID_TEXT(link->expect));
    return FALSE;
}

static void say_greeting(Link *link, MessageType type, const Hello *hello)
{
    json_auto_t *doc = hello_to_json(hello);
    GBytes *payload = message_encode_json(type, doc, NULL);

    g_assert(payload);
    link_queue(link, type, 0, payload);
}

/* TLS is up: who is it? */
static void meet(Link *link)
{
    GError *error = NULL;

    link->state = LINK_HELLO;
    if (tls_verify_peer(link->ssl, identity_is_owned(link->identity), &link->peer, &link->distrust)) {
        char *address = link->name;

        link->name =
            g_strdup_printf("%s %s at %s", role_name(link->peer.role), ID_TEXT(link->peer.id), address);
        g_free(address);
    }
    if (link->side == SIDE_LISTENER)
        return;
    if (!trust(link, &error)) {
        link_refuse(link, error);
        return;
    }
    if (link->ret_met)
        *link->ret_met = TRUE;
    say_greeting(link, MESSAGE_HELLO, &link->mine);
}

gboolean link_shake_hands(Link *link, GError **error)
{
    int rc;

    ERR_clear_error();
    rc = SSL_do_handshake(link->ssl);
    if (rc != 1)
        return link_tls_waits(link, rc, &link->handshake_writes, error);
    meet(link);
    return TRUE;
}

/* --- greeting ----------------------------------------------------------- */

static void open_up(Link *link)
{
    gboolean stranger = link->agreed.purpose == PURPOSE_ENROL;

    link->state = stranger ? LINK_STRANGER : LINK_OPEN;
    link->deadline_ms = stranger ? clock_steady_ms() + LINK_STRANGER_MS : -1;
    /* Many links are quiet most of the time; this one is not, and would have its buffers made anew for each read. */
    if (link->agreed.purpose == PURPOSE_BULK)
        SSL_clear_mode(link->ssl, SSL_MODE_RELEASE_BUFFERS);
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

    if (!hello_from_json(doc, &theirs, error) || !admit(link, &theirs, error) ||
        !hello_agree(&link->mine, &theirs, &welcome, error))
        return FALSE;
    say_greeting(link, MESSAGE_WELCOME, &welcome);
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

gboolean link_take_greeting(Link *link, const Frame *frame, GError **error)
{
    json_auto_t *doc = message_decode_json(frame, error);

    if (!doc)
        return FALSE;
    return frame->head.type == MESSAGE_HELLO ? take_hello(link, doc, error) : take_welcome(link, doc, error);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The controller's side of enrol_loop.h. */
#include "vmconnect/base/error.h"
#include "vmconnect/link/dial.h"
#include "vmconnect/link/enrol_loop.h"
#include "vmconnect/link/link_loop.h"

#include <openssl/crypto.h>
#include <string.h>

struct EnrolHost {
    uv_loop_t *loop;
    Identity *identity;
    Token token;
    EnrolSignFunc sign;
    EnrolHostFunc on_done;
    void *user;
    Dial *dial;
    LinkLoop *ll;
    EnrolController *machine;
};

static void host_free(EnrolHost *host)
{
    enrol_controller_free(host->machine);
    identity_unref(host->identity);
    OPENSSL_cleanse(&host->token, sizeof(host->token));
    g_free(host);
}

/* Report, and be gone. The link goes on alone to say its last words. */
static void finish(EnrolHost *host, const Id *engine, const GError *error)
{
    EnrolHostFunc on_done = host->on_done;
    void *user = host->user;

    if (host->ll)
        link_loop_leave(host->ll, error);
    host_free(host);
    on_done(user, engine, error);
}

static void on_frame(void *user, Frame *whole)
{
    EnrolHost *host = user;
    g_autoptr(Frame) frame = whole;
    g_autoptr(GError) error = NULL;
    json_auto_t *doc = NULL;
    MessageType type;
    gboolean done;
    Id engine;

    if (!enrol_controller_take(host->machine, frame, &type, &doc, &done, &engine, &error) ||
        (!done && !link_send_json(link_loop_link(host->ll), type, 0, doc, &error)))
        finish(host, NULL, error);
    else if (done)
        finish(host, &engine, NULL);
    else
        link_loop_kick(host->ll);
}

static void on_closed(void *user, const GError *error)
{
    EnrolHost *host = user;

    host->ll = NULL;
    finish(host, NULL, error);
}

static EnrolBinding bind_to(const Link *link, const Identity *identity)
{
    EnrolBinding binding;
    Peer me = identity_peer(identity);
    Peer them = link_peer(link);

    link_binding(link, LINK_BINDING_ENROL, binding.session);
    memcpy(binding.dialer, me.fingerprint, FINGERPRINT_LEN);
    memcpy(binding.listener, them.fingerprint, FINGERPRINT_LEN);
    return binding;
}

static void on_dialled(void *user, Link *link, const GError *failed)
{
    static const LinkLoopEvents EVENTS = {.on_frame = on_frame, .on_closed = on_closed};
    EnrolHost *host = user;
    g_autoptr(GError) error = NULL;
    json_auto_t *doc = NULL;
    EnrolBinding binding;

    host->dial = NULL;
    if (!link) {
        finish(host, NULL, failed);
        return;
    }
    binding = bind_to(link, host->identity);
    host->machine = enrol_controller_new(&host->token, &binding, host->sign, host->user);
    host->ll = link_loop_new(host->loop, link, &EVENTS, host);
    doc = enrol_controller_start(host->machine, &error);
    if (!doc || !link_send_json(link, MESSAGE_ENROL, 0, doc, &error))
        finish(host, NULL, error);
}

EnrolHost *enrol_host(uv_loop_t *loop, const char *const *addresses, Identity *identity, const Token *token,
                      gint64 timeout_ms, EnrolSignFunc sign, EnrolHostFunc on_done, void *user)
{
    LinkSettings settings = {.identity = identity, .purpose = PURPOSE_ENROL};
    EnrolHost *host = g_new0(EnrolHost, 1);

    host->loop = loop;
    host->identity = identity_ref(identity);
    host->token = *token;
    host->sign = sign;
    host->on_done = on_done;
    host->user = user;
    host->dial = dial_start(loop, addresses, &settings, timeout_ms, on_dialled, host);
    return host;
}

void enrol_host_cancel(EnrolHost *host)
{
    if (!host)
        return;
    dial_cancel(host->dial);
    link_loop_close(host->ll);
    host_free(host);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* serve_disown - the controller lets this engine go: it has no owner from then on, and a token
 * for the next one. Refused while this host has a part in any VM, since without an owner
 * the engines would not know each other any more. */
#include "vmconnect/serve_parts.h"

#include "vmconnect/base/error.h"
#include "vmconnect/base/log.h"

typedef struct {
    Engine *engine;
    RpcReply *reply;
    Identity *owned;
    Identity *free_again;
    GError *error;
} Disowning;

static void work(void *data)
{
    Disowning *d = data;
    const EnginePaths *paths = &d->engine->paths;
    g_autofree char *text = NULL;

    d->free_again = identity_disown(d->owned, &d->error);
    /* Here, so that the desk has only to read it; without it the desk makes its own. */
    if (d->free_again)
        enrol_token_renew(d->free_again, paths->token_file, paths->token_print, &text, NULL);
}

static void use(Engine *e, Identity *free_again)
{
    g_autoptr(GError) error = NULL;

    identity_unref(e->identity);
    e->identity = identity_ref(free_again);
    listener_set_identity(e->listener, free_again);
    if (!engine_open_desk(e, &error))
        log_error("nobody can enrol this engine: %s", error->message);
}

static void done(void *data)
{
    Disowning *d = data;

    if (d->free_again && !d->engine->ending)
        use(d->engine, d->free_again);
    if (d->error)
        rpc_reply_error(d->reply, d->error);
    else
        rpc_reply(d->reply, json_object());
    g_clear_error(&d->error);
    identity_unref(d->owned);
    g_clear_pointer(&d->free_again, identity_unref);
    g_free(d);
}

static gboolean check_free(const Engine *e, GError **error)
{
    g_autoptr(GPtrArray) actives = policy_actives(e->policy);
    g_autoptr(GPtrArray) standbys = policy_standbys(e->policy);

    if (actives->len + standbys->len > 0)
        g_set_error(
            error, US_ERROR, US_ERROR_REFUSED,
            "this host replicates %u VMs and keeps copies of %u: without an owner that would end; stop "
            "their scenarios first",
            actives->len, standbys->len);
    return actives->len + standbys->len == 0;
}

void serve_host_disown(void *user, RpcReply *reply, const json_t *params)
{
    Engine *e = ((Visit *)user)->engine;
    g_autoptr(GError) error = NULL;
    Disowning *d;

    (void)params;
    if (!check_free(e, &error)) {
        rpc_reply_error(reply, error);
        return;
    }
    d = g_new0(Disowning, 1);
    *d = (Disowning){.engine = e, .reply = reply, .owned = identity_ref(e->identity)};
    clerk_submit(e->clerk, work, done, d);
}

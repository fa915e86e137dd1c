/* SPDX-License-Identifier: Apache-2.0 */
/* serve_disown - the controller lets this engine go: it has no owner from then on, and a token
 * for the next one. Refused while this host has a part in any VM, since without an owner
 * the engines would not know each other any more. */
#include "vmconnect/serve_parts.h"

#include "vmconnect/base/error.h"

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

static void done(void *data)
{
    Disowning *d = data;

    /* Answered first: whoever asked loses its link then. */
    serve_done(d->reply, NULL, d->error);
    if (d->free_again && !d->engine->ending)
        owner_take(d->engine, g_steal_pointer(&d->free_again));
    g_clear_error(&d->error);
    identity_unref(d->owned);
    g_clear_pointer(&d->free_again, identity_unref);
    g_free(d);
}

/* Copies that the VM does not run on. One that was promoted waits for nobody any more. */
static guint count_kept(const Engine *e)
{
    g_autoptr(GPtrArray) standbys = policy_standbys(e->policy);
    guint n = 0;

    for (guint i = 0; i < standbys->len; i++)
        if (!roles_is_promoted(e->roles, ((const StandbyRole *)standbys->pdata[i])->vm))
            n++;
    return n;
}

static gboolean check_free(const Engine *e, GError **error)
{
    g_autoptr(GPtrArray) actives = policy_actives(e->policy);
    guint kept = count_kept(e);

    if (actives->len + kept > 0)
        g_set_error(
            error, US_ERROR, US_ERROR_REFUSED,
            "this host replicates %u VMs and keeps copies of %u: without an owner that would end; stop "
            "their scenarios first",
            actives->len, kept);
    return actives->len + kept == 0;
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

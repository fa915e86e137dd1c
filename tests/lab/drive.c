/* SPDX-License-Identifier: Apache-2.0 */
/* drive - a driver in the controller's place, for lab tests below the controller.
 *
 *   drive DIR enrol ADDRESS TOKEN          own authority and identity in DIR; prints the engine's id
 *   drive DIR call ADDRESS METHOD [JSON]   one request; prints the result
 *   drive DIR poll ADDRESS METHOD JSON EACH_MS TIMES    the same again and again, over one connection
 *   drive DIR peer ADDRESS METHOD [JSON]   one request as another engine of that owner, which is the active of nothing
 *
 * Exit codes and errors as the command line's. */
#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"
#include "vmconnect/link/dial.h"
#include "vmconnect/link/enrol_loop.h"
#include "vmconnect/link/issuer.h"
#include "vmconnect/link/rpc.h"

#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>

#define YEAR_S (366 * 86400)
#define DIAL_MS 10000
#define CALL_MS 300000

typedef struct {
    uv_loop_t loop;
    Issuer *issuer;
    Identity *identity;
    Role role;
    const char *method;
    json_t *params;
    Rpc *rpc;
    uv_timer_t timer; /* of poll */
    guint64 each_ms;
    guint64 left; /* requests still to be made */
    guint64 open; /* answers still to come */
    int exit_code;
} Driver;

static void fail(Driver *d, const GError *error)
{
    g_printerr("drive: %s: %s\n", us_error_name((UsError)error->code), error->message);
    d->exit_code = us_error_exit(error);
}

static gboolean sign(void *user, GBytes *public_key, Id engine, char **ret_certificate, char **ret_authority,
                     GError **error)
{
    Driver *d = user;

    *ret_certificate = issuer_issue_peer(d->issuer, public_key, ROLE_ENGINE, engine, YEAR_S, error);
    *ret_authority = g_strdup(issuer_certificate(d->issuer));
    return *ret_certificate != NULL;
}

static gboolean adopt_self(Driver *d, Identity *fresh, GError **error)
{
    g_autoptr(GBytes) key = identity_public_key(fresh);
    g_autofree char *certificate =
        issuer_issue_peer(d->issuer, key, d->role, identity_peer(fresh).id, YEAR_S, error);

    d->identity =
        certificate ? identity_adopt(fresh, certificate, issuer_certificate(d->issuer), error) : NULL;
    return d->identity != NULL;
}

static gboolean open_state(Driver *d, const char *dir, GError **error)
{
    g_autofree char *authority = g_build_filename(dir, "authority.pem", NULL);
    g_autofree char *own = d->role == ROLE_ENGINE ? g_build_filename(dir, "peer", NULL) : g_strdup(dir);
    g_autoptr(Identity) identity = NULL;

    g_mkdir_with_parents(own, 0700);
    if (g_file_test(authority, G_FILE_TEST_EXISTS))
        d->issuer = issuer_load(authority, error);
    else if ((d->issuer = issuer_new("drive", error)) && !issuer_save(d->issuer, authority, error))
        return FALSE;
    identity = d->issuer ? identity_open(own, d->role, error) : NULL;
    if (!identity)
        return FALSE;
    if (!identity_is_owned(identity))
        return adopt_self(d, identity, error);
    d->identity = g_steal_pointer(&identity);
    return TRUE;
}

static void on_enrolled(void *user, const Id *engine, const GError *error)
{
    if (error)
        fail(user, error);
    else
        g_print("%s\n", ID_TEXT(*engine));
}

static void on_answer(void *user, const json_t *result, const GError *error)
{
    Driver *d = user;

    if (error) {
        fail(d, error);
    } else {
        g_autofree char *text = json_text(result);

        g_print("%s\n", text);
    }
    if (--d->open + d->left > 0 && !error)
        return;
    uv_timer_stop(&d->timer);
    /* A CANCELLED answer comes out of a close that is under way. */
    if (d->rpc && !g_error_matches(error, US_ERROR, US_ERROR_CANCELLED))
        rpc_close(g_steal_pointer(&d->rpc), NULL);
}

static void on_closed(void *user, const GError *error)
{
    (void)error;
    ((Driver *)user)->rpc = NULL;
}

static void ask(uv_timer_t *timer)
{
    Driver *d = timer->data;

    if (--d->left == 0)
        uv_timer_stop(timer);
    d->open++;
    rpc_call(d->rpc, d->method, d->params, CALL_MS, on_answer, d);
}

static void on_dialled(void *user, Link *link, const GError *error)
{
    Driver *d = user;
    RpcEvents events = {.on_closed = on_closed};

    if (error) {
        fail(d, error);
        return;
    }
    d->rpc = rpc_new(&d->loop, link, &events, d);
    uv_timer_start(&d->timer, ask, 0, d->each_ms);
}

static gboolean begin(Driver *d, int argc, char **argv, GError **error)
{
    const char *addresses[] = {argv[3], NULL};
    /* A controller of version 2 says nothing of its memory. */
    LinkSettings settings = {.identity = d->identity,
                             .purpose = d->role == ROLE_ENGINE ? PURPOSE_PEER : PURPOSE_CONTROL,
                             .version_max = d->role == ROLE_ENGINE ? 0 : 2};
    const char *text = argc > 5 ? argv[5] : "{}";
    Token token;

    if (g_str_equal(argv[2], "enrol")) {
        if (!token_parse(argv[4], &token, error))
            return FALSE;
        enrol_host(&d->loop, addresses, d->identity, &token, DIAL_MS, sign, on_enrolled, d);
        return TRUE;
    }
    d->method = argv[4];
    d->left = 1;
    if (g_str_equal(argv[2], "poll") && argc > 7) {
        d->each_ms = g_ascii_strtoull(argv[6], NULL, 10);
        d->left = g_ascii_strtoull(argv[7], NULL, 10);
    }
    d->params = json_parse(text, strlen(text), 8 << 20, error);
    if (!d->params)
        return FALSE;
    dial_start(&d->loop, addresses, &settings, DIAL_MS, on_dialled, d);
    return TRUE;
}

int main(int argc, char **argv)
{
    Driver d = {0};
    g_autoptr(GError) error = NULL;

    if (argc < 5) {
        g_printerr("usage: drive DIR enrol ADDRESS TOKEN | drive DIR call ADDRESS METHOD [JSON] | "
                   "drive DIR poll ADDRESS METHOD JSON EACH_MS TIMES\n");
        return 2;
    }
    d.role = g_str_equal(argv[2], "peer") ? ROLE_ENGINE : ROLE_CONTROLLER;
    signal(SIGPIPE, SIG_IGN);
    uv_loop_init(&d.loop);
    uv_timer_init(&d.loop, &d.timer);
    d.timer.data = &d;
    if (!open_state(&d, argv[1], &error) || !begin(&d, argc, argv, &error))
        fail(&d, error);
    else
        uv_run(&d.loop, UV_RUN_DEFAULT);
    json_decref(d.params);
    identity_unref(d.identity);
    issuer_free(d.issuer);
    uv_close((uv_handle_t *)&d.timer, NULL);
    uv_run(&d.loop, UV_RUN_DEFAULT);
    uv_loop_close(&d.loop);
    return d.exit_code;
}

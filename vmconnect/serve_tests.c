/* SPDX-License-Identifier: Apache-2.0 */
/* serve_tests - integrity tests of the copies that this host keeps. */
#include "vmconnect/serve_parts.h"

#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"
#include "vmconnect/base/log.h"

static gboolean read_test(const json_t *params, Id *ret_test, GError **error)
{
    const char *test;

    return json_read(params, "request", error, "{s:s*}", "test", &test) && id_parse(test, ret_test, error);
}

void serve_test_start(void *user, RpcReply *reply, const json_t *params)
{
    Engine *engine = ((Visit *)user)->engine;
    g_autoptr(GError) error = NULL;

    if (engine->ending)
        g_set_error(&error, US_ERROR, US_ERROR_BUSY,
                    "the engine ends: no test was begun; ask again when it is back");
    if (!serve_good(reply, !error, &error))
        return;
    /* What was given up lies there until libvirtd comes anew, or until now. */
    serve_test_tidy(engine);
    rehearsals_start(engine->rehearsals, params, ID_TEXT(identity_peer(engine->identity).id), serve_done,
                     reply);
}

void serve_test_stop(void *user, RpcReply *reply, const json_t *params)
{
    g_autoptr(GError) error = NULL;
    Id test;

    if (!serve_good(reply, read_test(params, &test, &error), &error))
        return;
    rehearsals_stop(((Visit *)user)->engine->rehearsals, test, NULL);
    rpc_reply(reply, json_object());
}

void serve_test_result(void *user, RpcReply *reply, const json_t *params)
{
    g_autoptr(GError) error = NULL;
    json_t *doc = NULL;
    Id test;

    if (read_test(params, &test, &error))
        doc = rehearsals_result(((Visit *)user)->engine->rehearsals, test, &error);
    if (serve_good(reply, doc != NULL, &error))
        rpc_reply(reply, doc);
}

void serve_test_evidence(void *user, RpcReply *reply, const json_t *params)
{
    g_autoptr(GError) error = NULL;
    json_t *doc = NULL;
    Id test, vm;

    if (read_test(params, &test, &error) && serve_read_vm(params, &vm, &error))
        doc = rehearsals_evidence(((Visit *)user)->engine->rehearsals, test, vm, &error);
    if (serve_good(reply, doc != NULL, &error))
        rpc_reply(reply, doc);
}

void serve_test_forget(void *user, RpcReply *reply, const json_t *params)
{
    g_autoptr(GError) error = NULL;
    Id test;

    if (!serve_good(reply, read_test(params, &test, &error), &error))
        return;
    rehearsals_forget(((Visit *)user)->engine->rehearsals, test);
    rpc_reply(reply, json_object());
}

/* --- what others have left ------------------------------------------------- */

static gboolean sweep(virConnectPtr conn, gpointer request, gpointer *ret_result, GError **error)
{
    (void)ret_result;
    return remains_sweep(conn, request, error);
}

static void on_swept(void *user, gpointer result, const GError *error)
{
    (void)user;
    (void)result;
    if (error)
        log_warning("what tests have left is not removed yet: %s -> when libvirtd comes again",
                    error->message);
}

void serve_test_tidy(Engine *engine)
{
    RemainsSite site = rehearsals_remains(engine->rehearsals);
    HandsJob job = {.what = "removing what tests have left",
                    .work = sweep,
                    .request = g_memdup2(&site, sizeof(site)),
                    .free_request = g_free};

    hands_submit(engine->trial_hands, &job, on_swept, NULL);
}

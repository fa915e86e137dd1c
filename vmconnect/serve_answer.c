/* SPDX-License-Identifier: Apache-2.0 */
/* serve_answer - how requests are read and answered. */
#include "vmconnect/serve_parts.h"

#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"

void serve_done(void *user, const json_t *result, const GError *error)
{
    RpcReply *reply = user;

    if (error)
        rpc_reply_error(reply, error);
    else
        rpc_reply(reply, result ? json_incref((json_t *)result) : json_object());
}

void serve_json(void *user, gpointer result, const GError *error)
{
    serve_done(user, result, error);
    json_decref(result);
}

void serve_free_json(gpointer doc)
{
    json_decref(doc);
}

gboolean serve_read_vm(const json_t *params, Id *ret_vm, GError **error)
{
    const char *vm;

    return json_read(params, "request", error, "{s:s*}", "vm", &vm) && id_parse(vm, ret_vm, error);
}

/* TRUE if the request can go on; else it has been answered. */
gboolean serve_good(RpcReply *reply, gboolean ok, GError **error)
{
    if (!ok)
        rpc_reply_error(reply, *error);
    return ok;
}

void serve_tell_active(Visit *visit, RpcReply *reply, const json_t *params, CommandVerb verb)
{
    g_autoptr(GError) error = NULL;
    Id vm;

    if (serve_good(reply, serve_read_vm(params, &vm, &error), &error))
        roles_tell_active(visit->engine->roles, vm, verb, json_incref((json_t *)params), serve_done, reply);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* serve_watch - what this host looks after, and what it does about a guest of its own that died. */
#include "vmconnect/serve_parts.h"

#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"

void serve_watch_set(void *user, RpcReply *reply, const json_t *params)
{
    Engine *engine = ((Visit *)user)->engine;
    g_autoptr(GError) error = NULL;

    if (serve_good(reply, watch_set(engine->watch, params, &error), error))
        rpc_reply(reply, json_object());
}

void serve_guest_revive(void *user, RpcReply *reply, const json_t *params)
{
    serve_tell_active(user, reply, params, COMMAND_REVIVE);
}

/* Of the guests that are replicated from here. */
static json_t *guests(const Engine *engine)
{
    g_autoptr(GPtrArray) actives = policy_actives(engine->policy);
    json_t *list = json_array();

    for (guint i = 0; i < actives->len; i++)
        json_array_append_new(list,
                              guests_describe(engine->guests, ((const ActiveRole *)actives->pdata[i])->vm));
    return list;
}

json_t *serve_status(const Engine *engine, gint64 now_ms)
{
    json_t *doc = roles_status(engine->roles, now_ms);

    json_object_set_new(doc, "guests", guests(engine));
    json_object_set_new(doc, "libvirt", guests_libvirt(engine->guests));
    json_object_set_new(doc, "watch", watch_status(engine->watch));
    return doc;
}

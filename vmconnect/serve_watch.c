/* SPDX-License-Identifier: Apache-2.0 */
/* serve_watch - what this host looks after, and what it does about a guest of its own that died. */
#include "vmconnect/serve_parts.h"

#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"

void serve_watch_set(void *user, RpcReply *reply, const json_t *params)
{
    Engine *engine = ((Visit *)user)->engine;
    g_autoptr(GError) error = NULL;

    if (serve_good(reply, watch_set(engine->watch, params, &error), &error))
        rpc_reply(reply, json_object());
}

static gboolean is_ended_by_watchdog(const Engine *engine, const char *vm)
{
    Id id;

    return id_parse(vm, &id, NULL) && guests_ended_by_watchdog(engine->guests, id);
}

/* Its VM's thread may be at something else for longer than the controller waits. Of a watchdog that thread has not heard. */
void serve_guest_revive(void *user, RpcReply *reply, const json_t *params)
{
    const Engine *engine = ((Visit *)user)->engine;
    gint64 now_ms = clock_steady_ms();
    g_autoptr(GError) error = NULL;
    json_auto_t *order = NULL;
    json_int_t limit_ms;
    const char *vm;
    int hangs;

    if (!serve_good(reply,
                    json_read(params, "guest.revive", &error, "{s:s, s:b, s:I}", "vm", &vm, "hangs", &hangs,
                              "limit_ms", &limit_ms),
                    &error))
        return;
    order = json_pack("{s:s, s:b, s:b, s:I}", "vm", vm, "hangs", hangs, "by_watchdog",
                      is_ended_by_watchdog(engine, vm), "until_ms",
                      (json_int_t)(now_ms + CLAMP(limit_ms, 0, G_MAXINT)));
    serve_tell_active(user, reply, order, COMMAND_REVIVE);
}

static json_t *describe(const Engine *engine, Id vm)
{
    json_t *guest = guests_describe(engine->guests, vm);

    tenure_describe(engine->tenure, vm, guest);
    return guest;
}

/* Of the guests that are replicated from here, or run here from their copy. */
static json_t *guests(const Engine *engine)
{
    g_autoptr(GPtrArray) actives = policy_actives(engine->policy);
    g_autoptr(GPtrArray) standbys = policy_standbys(engine->policy);
    json_t *list = json_array();

    for (guint i = 0; i < actives->len; i++)
        json_array_append_new(list, describe(engine, ((const ActiveRole *)actives->pdata[i])->vm));
    for (guint i = 0; i < standbys->len; i++) {
        Id vm = ((const StandbyRole *)standbys->pdata[i])->vm;

        if (!policy_active(engine->policy, vm) && roles_is_promoted(engine->roles, vm))
            json_array_append_new(list, describe(engine, vm));
    }
    return list;
}

json_t *serve_status(const Engine *engine, gint64 now_ms)
{
    json_t *doc = roles_status(engine->roles, now_ms);

    json_object_set_new(doc, "guests", guests(engine));
    json_object_set_new(doc, "libvirt", guests_libvirt(engine->guests));
    json_object_set_new(doc, "guard", tenure_describe_guard(engine->tenure));
    json_object_set_new(doc, "watch", watch_status(engine->watch));
    json_object_set_new(doc, "tests", rehearsals_status(engine->rehearsals));
    return doc;
}

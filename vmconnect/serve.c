/* SPDX-License-Identifier: Apache-2.0 */
/* serve - what a controller may ask of this engine, one function a method.
 *
 * A request that changes what this engine is told is answered only when the new
 * policy is durable; a request to a VM's thread when that has done it. The
 * table at the end is the list; docs/protocol.md has the parameters. */
#include "vmconnect/serve_parts.h"

#include "vmconnect/base/clock.h"
#include "vmconnect/base/durable.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"

#include <string.h>

#define NEWS_EACH_MS 250

/* --- answering --------------------------------------------------------- */

void serve_done(void *user, const json_t *result, const GError *error)
{
    RpcReply *reply = user;

    if (error)
        rpc_reply_error(reply, error);
    else
        rpc_reply(reply, result ? json_incref((json_t *)result) : json_object());
}

gboolean serve_read_vm(const json_t *params, Id *ret_vm, GError **error)
{
    const char *vm;

    return json_read(params, "request", error, "{s:s*}", "vm", &vm) && id_parse(vm, ret_vm, error);
}

/* TRUE if the request can go on; else it has been answered. */
gboolean serve_good(RpcReply *reply, gboolean ok, const GError *error)
{
    if (!ok)
        rpc_reply_error(reply, error);
    return ok;
}

/* --- what is durable first --------------------------------------------- */

/* A new policy on its way to the disk, and what follows. */
typedef struct {
    Engine *engine;
    RpcReply *reply;
    char *path;
    char *text;
    Guard *guard; /* written before the policy; NULL: none */
    char *guard_dir;
    ServeThen then; /* may be NULL */
    Id vm;
    GError *error;
} Saving;

static void save_work(void *data)
{
    Saving *s = data;

    g_autoptr(Guard) before = s->guard ? guard_read(s->guard_dir, s->guard->vm, NULL) : NULL;

    /* What the user once had set is remembered through every change of roles. */
    if (before)
        s->guard->autostart = before->autostart;
    if (s->guard && !guard_write(s->guard_dir, s->guard, &s->error))
        return;
    durable_replace(s->path, s->text, strlen(s->text), 0600, &s->error);
}

static void save_done(void *data)
{
    Saving *s = data;

    if (s->error || !s->then || s->engine->ending || !s->then(s->engine, s->vm, s->reply))
        serve_done(s->reply, NULL, s->error);
    g_clear_error(&s->error);
    guard_free(s->guard);
    g_free(s->path);
    g_free(s->text);
    g_free(s->guard_dir);
    g_free(s);
}

/* Make the policy as it is now durable, then do @then, then answer. */
void serve_save(Engine *engine, RpcReply *reply, Guard *guard, Id vm, ServeThen then)
{
    Saving *s = g_new0(Saving, 1);

    *s = (Saving){.engine = engine,
                  .reply = reply,
                  .path = g_strdup(policy_path(engine->policy)),
                  .text = policy_text(engine->policy),
                  .guard = guard,
                  .guard_dir = g_strdup(engine->paths.guard),
                  .then = then,
                  .vm = vm};
    clerk_submit(engine->clerk, save_work, save_done, s);
}

void serve_ended(void *user, const json_t *result, const GError *error)
{
    g_autofree Ending *ending = user;

    (void)result;
    /* A thread that is not there has nothing to end. */
    if (error && !g_error_matches(error, US_ERROR, US_ERROR_NOT_FOUND)) {
        rpc_reply_error(ending->reply, error);
        return;
    }
    ending->forget(ending->engine->policy, ending->vm);
    serve_save(ending->engine, ending->reply, NULL, ending->vm, NULL);
}

Ending *serve_ending_new(void *user, RpcReply *reply, Id vm, void (*forget)(Policy *, Id))
{
    Ending *ending = g_new0(Ending, 1);

    *ending = (Ending){((Visit *)user)->engine, reply, vm, forget};
    return ending;
}

/* --- status ------------------------------------------------------------ */

static void status(void *user, RpcReply *reply, const json_t *params)
{
    (void)params;
    rpc_reply(reply, roles_status(((Visit *)user)->engine->roles));
}

void serve_on_news_timer(uv_timer_t *timer)
{
    Engine *engine = timer->data;
    json_auto_t *doc = roles_status(engine->roles);

    json_object_set_new(doc, "event", json_string("status"));
    engine->news_at_ms = clock_steady_ms();
    for (guint i = 0; i < engine->visits->len; i++)
        rpc_news(((Visit *)engine->visits->pdata[i])->rpc, doc);
}

void serve_news(Engine *engine)
{
    gint64 wait_ms = engine->news_at_ms + NEWS_EACH_MS - clock_steady_ms();

    if (engine->visits->len > 0 && !engine->ending && !uv_is_active((uv_handle_t *)&engine->news_timer))
        uv_timer_start(&engine->news_timer, serve_on_news_timer, (guint64)MAX(wait_ms, 0), 0);
}

const RpcMethod SERVE_METHODS[] = {
    {"host.info", serve_host_info},
    {"host.disown", serve_host_disown},
    {"vm.list", serve_vm_list},
    {"vm.check", serve_vm_check},
    {"vm.definition", serve_vm_definition_of},
    {"active.protect", serve_active_protect},
    {"active.pause", serve_active_pause},
    {"active.continue", serve_active_continue},
    {"active.stop", serve_active_stop},
    {"standby.admit", serve_standby_admit},
    {"standby.dismiss", serve_standby_dismiss},
    {"standby.points", serve_standby_points},
    {"plan.lock", serve_plan_lock},
    {"plan.shutdown", serve_plan_shutdown},
    {"plan.final", serve_plan_final},
    {"plan.release", serve_plan_release},
    {"plan.rollback", serve_plan_rollback},
    {"plan.unlock", serve_plan_unlock},
    {"plan.state", serve_plan_state},
    {"plan.promote", serve_plan_promote},
    {"status", status},
    {NULL, NULL},
};

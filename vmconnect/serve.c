/* SPDX-License-Identifier: Apache-2.0 */
/* serve - what a controller may ask of this engine, one function a method.
 *
 * A request that changes what this engine is told is answered only when the new
 * policy is durable; a request to a VM's thread when that has done it. The
 * table at the end is the list; docs/protocol.md has the parameters. */
#include "vmconnect/base/clock.h"
#include "vmconnect/base/durable.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"
#include "vmconnect/base/log.h"
#include "vmconnect/engine.h"
#include "vmconnect/hypervisor/guard_file.h"
#include "vmconnect/hypervisor/host.h"
#include "vmconnect/replicate/handover.h"

#include <string.h>
#include <sys/statvfs.h>

#define NEWS_EACH_MS 250

/* --- answering --------------------------------------------------------- */

static void on_done(void *user, const json_t *result, const GError *error)
{
    RpcReply *reply = user;

    if (error)
        rpc_reply_error(reply, error);
    else
        rpc_reply(reply, result ? json_incref((json_t *)result) : json_object());
}

static gboolean read_vm(const json_t *params, Id *ret_vm, GError **error)
{
    const char *vm;

    return json_read(params, "request", error, "{s:s*}", "vm", &vm) && id_parse(vm, ret_vm, error);
}

/* TRUE if the request can go on; else it has been answered. */
static gboolean good(RpcReply *reply, gboolean ok, const GError *error)
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
    void (*then)(Engine *engine, Id vm); /* may be NULL */
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

    if (!s->error && s->then && !s->engine->ending)
        s->then(s->engine, s->vm);
    on_done(s->reply, NULL, s->error);
    g_clear_error(&s->error);
    guard_free(s->guard);
    g_free(s->path);
    g_free(s->text);
    g_free(s->guard_dir);
    g_free(s);
}

/* Make the policy as it is now durable, then do @then, then answer. */
static void save(Engine *engine, RpcReply *reply, Guard *guard, Id vm, void (*then)(Engine *, Id))
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

/* --- the host ---------------------------------------------------------- */

static json_int_t bytes_of(fsblkcnt_t blocks, gulong block_bytes)
{
    return (json_int_t)blocks * (json_int_t)block_bytes;
}

static gboolean read_host(virConnectPtr conn, gpointer request, gpointer *ret_result, GError **error)
{
    const char *store = request;
    json_t *doc = host_read(conn, error);
    struct statvfs fs = {0};

    if (!doc)
        return FALSE;
    statvfs(store, &fs);
    json_object_set_new(doc, "version", json_string(UNDERSTUDY_VERSION));
    json_object_set_new(doc, "wall_ms", json_integer(clock_wall_ms()));
    json_object_set_new(
        doc, "hook",
        json_boolean(g_file_test("/etc/libvirt/hooks/qemu.d/understudy", G_FILE_TEST_IS_EXECUTABLE)));
    json_object_set_new(doc, "store",
                        json_pack("{s:s, s:I, s:I}", "path", store, "free_bytes",
                                  bytes_of(fs.f_bavail, fs.f_frsize), "total_bytes",
                                  bytes_of(fs.f_blocks, fs.f_frsize)));
    *ret_result = doc;
    return TRUE;
}

static void on_host(void *user, gpointer result, const GError *error)
{
    on_done(user, result, error);
    json_decref(result);
}

static void free_json(gpointer doc)
{
    json_decref(doc);
}

static void host_info(void *user, RpcReply *reply, const json_t *params)
{
    Engine *engine = ((Visit *)user)->engine;
    HandsJob job = {.what = "reading the host",
                    .work = read_host,
                    .request = g_strdup(engine->paths.store),
                    .free_request = g_free,
                    .free_result = free_json};

    (void)params;
    hands_submit(engine->hands, &job, on_host, reply);
}

/* --- its VMs ----------------------------------------------------------- */

typedef struct {
    Engine *engine;
    RpcReply *reply;
} Asked;

static Asked *asked_new(void *user, RpcReply *reply)
{
    Asked *asked = g_new0(Asked, 1);

    *asked = (Asked){((Visit *)user)->engine, reply};
    return asked;
}

static void on_inventory(void *user, gpointer result, const GError *error)
{
    g_autofree Asked *asked = user;
    g_autoptr(Inventory) inventory = result;
    json_auto_t *doc = NULL;
    json_t *vms;

    if (error) {
        rpc_reply_error(asked->reply, error);
        return;
    }
    vms = json_array();
    for (guint i = 0; i < inventory->vms->len; i++) {
        const Vm *vm = inventory->vms->pdata[i];
        const ActiveRole *role = policy_active(asked->engine->policy, vm->definition->uuid);
        json_t *item = vm_to_json(vm, inventory);

        json_object_set_new(item, "scenario", role ? json_string(role->scenario) : json_null());
        json_array_append_new(vms, item);
    }
    doc = json_pack("{s:o}", "vms", vms);
    on_done(asked->reply, doc, NULL);
}

static void vm_list(void *user, RpcReply *reply, const json_t *params)
{
    (void)params;
    hands_inventory(((Visit *)user)->engine->hands, on_inventory, asked_new(user, reply));
}

static void on_definition(void *user, gpointer result, const GError *error)
{
    g_autofree char *xml = result;
    json_auto_t *doc = xml ? json_pack("{s:s}", "definition", xml) : NULL;

    on_done(user, doc, error);
}

static void vm_definition_of(void *user, RpcReply *reply, const json_t *params)
{
    g_autoptr(GError) error = NULL;
    Id vm;

    if (good(reply, read_vm(params, &vm, &error), error))
        hands_definition(((Visit *)user)->engine->hands, vm, on_definition, reply);
}

/* --- whose VM is it? --------------------------------------------------- */

static gboolean check_reign(Reign known, Reign asked, GError **error);

/* A role that the controller gives, on its way: the guard file, which outlives
 * every role, is asked first whether its reign may still be spoken of. */
typedef struct {
    Engine *engine;
    RpcReply *reply;
    Id vm;
    Reign reign;
    ActiveRole *active; /* one of the two */
    StandbyRole *standby;
    char *guard_dir;
    GError *error;
} Claim;

static void claim_work(void *data)
{
    Claim *c = data;
    g_autoptr(GError) why = NULL;
    g_autoptr(Guard) guard = guard_read(c->guard_dir, c->vm, &why);

    if (!guard) {
        if (!g_error_matches(why, US_ERROR, US_ERROR_NOT_FOUND))
            c->error = g_steal_pointer(&why);
    } else if (check_reign(guard->reign, c->reign, &c->error) && c->active && guard->role == GUARD_STANDBY &&
               reign_equal(guard->reign, c->reign)) {
        c->error = g_error_new(US_ERROR, US_ERROR_REFUSED,
                               "this host is not the active of that VM in reign %" G_GUINT64_FORMAT,
                               c->reign.number);
    }
}

static void take_active(Claim *c);
static void take_standby(Claim *c);

static void claim_done(void *data)
{
    Claim *c = data;

    if (c->error)
        rpc_reply_error(c->reply, c->error);
    else if (c->active)
        take_active(c);
    else
        take_standby(c);
    g_clear_error(&c->error);
    active_role_free(c->active);
    standby_role_free(c->standby);
    g_free(c->guard_dir);
    g_free(c);
}

static void claim(Engine *engine, RpcReply *reply, Id vm, Reign reign, ActiveRole *active,
                  StandbyRole *standby)
{
    Claim *c = g_new0(Claim, 1);

    *c = (Claim){.engine = engine,
                 .reply = reply,
                 .vm = vm,
                 .reign = reign,
                 .active = active,
                 .standby = standby,
                 .guard_dir = g_strdup(engine->paths.guard)};
    clerk_submit(engine->clerk, claim_work, claim_done, c);
}

/* --- the active's side ------------------------------------------------- */

static gboolean check_reign(Reign known, Reign asked, GError **error)
{
    if (asked.number > known.number || reign_equal(asked, known))
        return TRUE;
    if (asked.number < known.number)
        g_set_error(error, US_ERROR, US_ERROR_REFUSED,
                    "reign %" G_GUINT64_FORMAT " is over: this host knows reign %" G_GUINT64_FORMAT,
                    asked.number, known.number);
    else
        g_set_error(error, US_ERROR, US_ERROR_REFUSED,
                    "reign %" G_GUINT64_FORMAT
                    " exists twice with different ids: a second controller, or a copy of "
                    "its database, claims this VM; decide which of them is the true one",
                    asked.number);
    return FALSE;
}

static gboolean check_scenario(const char *known, const char *asked, GError **error)
{
    if (g_str_equal(known, asked))
        return TRUE;
    g_set_error(error, US_ERROR, US_ERROR_REFUSED,
                "this VM belongs to scenario '%s': a VM is in one scenario only", known);
    return FALSE;
}

static gboolean check_protect(const Engine *engine, const ActiveRole *role, GError **error)
{
    const ActiveRole *known = policy_active(engine->policy, role->vm);
    const StandbyRole *kept = policy_standby(engine->policy, role->vm);

    return (!known || (check_scenario(known->scenario, role->scenario, error) &&
                       check_reign(known->reign, role->reign, error))) &&
           (!kept || check_reign(kept->reign, role->reign, error));
}

static ActiveRole *copy_active(const ActiveRole *role)
{
    json_auto_t *doc = active_role_to_json(role);

    return active_role_from_json(doc, NULL);
}

static void play_active(Engine *engine, Id vm)
{
    const ActiveRole *role = policy_active(engine->policy, vm);

    if (role)
        roles_play_active(engine->roles, copy_active(role), engine->identity);
}

static void take_active(Claim *c)
{
    g_autoptr(GError) error = NULL;

    /* Another request may have come between. */
    if (!good(c->reply, check_protect(c->engine, c->active, &error), error))
        return;
    policy_set_active(c->engine->policy, g_steal_pointer(&c->active));
    save(c->engine, c->reply, NULL, c->vm, play_active);
}

static void active_protect(void *user, RpcReply *reply, const json_t *params)
{
    g_autoptr(GError) error = NULL;
    ActiveRole *role = active_role_from_json(params, &error);

    if (good(reply, role != NULL, error))
        claim(((Visit *)user)->engine, reply, role->vm, role->reign, role, NULL);
}

static void set_paused(void *user, RpcReply *reply, const json_t *params, gboolean paused)
{
    Engine *engine = ((Visit *)user)->engine;
    g_autoptr(GError) error = NULL;
    ActiveRole *role = NULL;
    Id vm;

    if (!good(reply, read_vm(params, &vm, &error), error))
        return;
    role = policy_active(engine->policy, vm);
    if (!role)
        g_set_error(&error, US_ERROR, US_ERROR_NOT_FOUND, "VM %s is not replicated from this host",
                    ID_TEXT(vm));
    if (!good(reply, role != NULL, error))
        return;
    role->paused = paused;
    save(engine, reply, NULL, vm, play_active);
}

static void active_pause(void *user, RpcReply *reply, const json_t *params)
{
    set_paused(user, reply, params, TRUE);
}

static void active_continue(void *user, RpcReply *reply, const json_t *params)
{
    set_paused(user, reply, params, FALSE);
}

/* A request whose end changes the policy, too. */
typedef struct {
    Engine *engine;
    RpcReply *reply;
    Id vm;
    void (*forget)(Policy *policy, Id vm);
} Ending;

static void on_ended(void *user, const json_t *result, const GError *error)
{
    g_autofree Ending *ending = user;

    (void)result;
    /* A thread that is not there has nothing to end. */
    if (error && !g_error_matches(error, US_ERROR, US_ERROR_NOT_FOUND)) {
        rpc_reply_error(ending->reply, error);
        return;
    }
    ending->forget(ending->engine->policy, ending->vm);
    save(ending->engine, ending->reply, NULL, ending->vm, NULL);
}

static Ending *ending_new(void *user, RpcReply *reply, Id vm, void (*forget)(Policy *, Id))
{
    Ending *ending = g_new0(Ending, 1);

    *ending = (Ending){((Visit *)user)->engine, reply, vm, forget};
    return ending;
}

static void active_stop(void *user, RpcReply *reply, const json_t *params)
{
    g_autoptr(GError) error = NULL;
    Id vm;

    if (good(reply, read_vm(params, &vm, &error), error))
        roles_tell_active(((Visit *)user)->engine->roles, vm, COMMAND_STOP, NULL, on_ended,
                          ending_new(user, reply, vm, policy_forget_active));
}

/* --- the standby's side ------------------------------------------------ */

static void play_standby(Engine *engine, Id vm)
{
    const StandbyRole *role = policy_standby(engine->policy, vm);

    if (role)
        roles_play_standby(engine->roles, role);
}

static gboolean check_admit(const Engine *engine, const StandbyRole *role, GError **error)
{
    const StandbyRole *known = policy_standby(engine->policy, role->vm);
    const ActiveRole *active = policy_active(engine->policy, role->vm);

    if (active && active->reign.number >= role->reign.number) {
        g_set_error(error, US_ERROR, US_ERROR_REFUSED,
                    "this host itself runs that VM in reign %" G_GUINT64_FORMAT, active->reign.number);
        return FALSE;
    }
    return !known || (check_scenario(known->scenario, role->scenario, error) &&
                      check_reign(known->reign, role->reign, error));
}

void serve_play_again(Engine *engine, Id vm, gboolean standby)
{
    if (engine->ending)
        return;
    if (standby)
        play_standby(engine, vm);
    else
        play_active(engine, vm);
}

/* What the start hook reads here: a copy of this VM must not be started by hand. */
static Guard *guard_of_standby(const StandbyRole *role)
{
    Guard *guard = g_new0(Guard, 1);

    guard->vm = role->vm;
    guard->scenario = g_strdup(role->scenario);
    guard->reign = role->reign;
    guard->role = GUARD_STANDBY;
    return guard;
}

static void take_standby(Claim *c)
{
    const StandbyRole *known = policy_standby(c->engine->policy, c->vm);
    g_autoptr(GError) error = NULL;
    Guard *guard = NULL;

    if (!good(c->reply, check_admit(c->engine, c->standby, &error), error))
        return;
    /* Admitted again in the same reign: the VM may have been promoted here since; its guard stays. */
    if (!known || !reign_equal(known->reign, c->standby->reign))
        guard = guard_of_standby(c->standby);
    policy_set_standby(c->engine->policy, g_steal_pointer(&c->standby));
    save(c->engine, c->reply, guard, c->vm, play_standby);
}

static void standby_admit(void *user, RpcReply *reply, const json_t *params)
{
    g_autoptr(GError) error = NULL;
    StandbyRole *role = standby_role_from_json(params, &error);

    if (good(reply, role != NULL, error))
        claim(((Visit *)user)->engine, reply, role->vm, role->reign, NULL, role);
}

static void standby_dismiss(void *user, RpcReply *reply, const json_t *params)
{
    g_autoptr(GError) error = NULL;
    int purge = FALSE;
    const char *vm_text;
    Id vm;

    if (!good(reply,
              json_read(params, "standby.dismiss", &error, "{s:s, s?b}", "vm", &vm_text, "purge", &purge) &&
                  id_parse(vm_text, &vm, &error),
              error))
        return;
    roles_tell_standby(((Visit *)user)->engine->roles, vm, purge ? COMMAND_PURGE : COMMAND_QUIT, NULL,
                       on_ended, ending_new(user, reply, vm, policy_forget_standby));
}

static void standby_points(void *user, RpcReply *reply, const json_t *params)
{
    g_autoptr(GError) error = NULL;
    Id vm;

    if (good(reply, read_vm(params, &vm, &error), error))
        roles_tell_standby(((Visit *)user)->engine->roles, vm, COMMAND_POINTS, NULL, on_done, reply);
}

/* --- plans ------------------------------------------------------------- */

static void plan_step(void *user, RpcReply *reply, const json_t *params, CommandVerb verb)
{
    g_autoptr(GError) error = NULL;
    Id vm;

    if (good(reply, read_vm(params, &vm, &error), error))
        roles_tell_active(((Visit *)user)->engine->roles, vm, verb, json_incref((json_t *)params), on_done,
                          reply);
}

static void plan_lock(void *user, RpcReply *reply, const json_t *params)
{
    plan_step(user, reply, params, COMMAND_LOCK);
}

static void plan_shutdown(void *user, RpcReply *reply, const json_t *params)
{
    plan_step(user, reply, params, COMMAND_SHUTDOWN);
}

static void plan_final(void *user, RpcReply *reply, const json_t *params)
{
    plan_step(user, reply, params, COMMAND_FINAL);
}

static void plan_release(void *user, RpcReply *reply, const json_t *params)
{
    plan_step(user, reply, params, COMMAND_RELEASE);
}

static void plan_rollback(void *user, RpcReply *reply, const json_t *params)
{
    plan_step(user, reply, params, COMMAND_ROLLBACK);
}

static void on_unlocked(void *user, const json_t *result, const GError *error)
{
    Ending *ending = user;
    const char *done = json_string_value(json_object_get(result, "done"));

    if (!error && g_strcmp0(done, "unlock") != 0) {
        rpc_reply(ending->reply, json_object());
        g_free(ending);
        return;
    }
    on_ended(ending, result, error);
}

static void plan_unlock(void *user, RpcReply *reply, const json_t *params)
{
    g_autoptr(GError) error = NULL;
    Id vm;

    if (good(reply, read_vm(params, &vm, &error), error))
        roles_tell_active(((Visit *)user)->engine->roles, vm, COMMAND_UNLOCK, json_incref((json_t *)params),
                          on_unlocked, ending_new(user, reply, vm, policy_forget_active));
}

/* The last plan of a VM that no worker plays any more is in its file. */
typedef struct {
    RpcReply *reply;
    char *dir;
    char *plan;
    Id vm;
    Handover *handover;
    GError *error;
} Reading;

static void read_work(void *data)
{
    Reading *r = data;

    r->handover = handover_load(r->dir, r->vm, &r->error);
}

static void read_done(void *data)
{
    Reading *r = data;
    json_t *state = r->handover ? handover_to_json(r->handover) : NULL;

    if (!state || g_strcmp0(json_string_value(json_object_get(state, "plan")), r->plan) != 0) {
        json_decref(state);
        state = json_pack("{s:s, s:n, s:n}", "done", "none", "tip", "certificate");
    }
    json_object_set_new(state, "doing", json_null());
    json_object_set_new(state, "error", r->error ? json_from_error(r->error) : json_null());
    rpc_reply(r->reply, state);
    handover_free(r->handover);
    g_clear_error(&r->error);
    g_free(r->dir);
    g_free(r->plan);
    g_free(r);
}

static void plan_state(void *user, RpcReply *reply, const json_t *params)
{
    Engine *engine = ((Visit *)user)->engine;
    g_autoptr(GError) error = NULL;
    const char *plan = NULL;
    json_t *state;
    Reading *reading;
    Id vm;

    if (!good(reply,
              read_vm(params, &vm, &error) &&
                  json_read(params, "plan.state", &error, "{s:s*}", "plan", &plan),
              error))
        return;
    state = roles_plan_state(engine->roles, vm, plan);
    if (state) {
        rpc_reply(reply, state);
        return;
    }
    reading = g_new0(Reading, 1);
    *reading =
        (Reading){.reply = reply, .dir = g_strdup(engine->paths.plan), .plan = g_strdup(plan), .vm = vm};
    clerk_submit(engine->clerk, read_work, read_done, reading);
}

static void plan_promote(void *user, RpcReply *reply, const json_t *params)
{
    Engine *engine = ((Visit *)user)->engine;
    g_autoptr(GError) error = NULL;
    const StandbyRole *role = NULL;
    json_auto_t *order = NULL;
    Id vm;

    if (!good(reply, read_vm(params, &vm, &error), error))
        return;
    role = policy_standby(engine->policy, vm);
    if (!role)
        g_set_error(&error, US_ERROR, US_ERROR_NOT_FOUND, "this host keeps no copy of VM %s", ID_TEXT(vm));
    if (!good(reply, role != NULL, error))
        return;
    /* What the keeper must know beside the request: where the interfaces go. */
    order = json_deep_copy(params);
    json_object_set_new(order, "scenario", json_string(role->scenario));
    json_object_set(order, "networks", role->networks);
    roles_tell_standby(engine->roles, vm, COMMAND_PROMOTE, g_steal_pointer(&order), on_done, reply);
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
    {"host.info", host_info},
    {"vm.list", vm_list},
    {"vm.definition", vm_definition_of},
    {"active.protect", active_protect},
    {"active.pause", active_pause},
    {"active.continue", active_continue},
    {"active.stop", active_stop},
    {"standby.admit", standby_admit},
    {"standby.dismiss", standby_dismiss},
    {"standby.points", standby_points},
    {"plan.lock", plan_lock},
    {"plan.shutdown", plan_shutdown},
    {"plan.final", plan_final},
    {"plan.release", plan_release},
    {"plan.rollback", plan_rollback},
    {"plan.unlock", plan_unlock},
    {"plan.state", plan_state},
    {"plan.promote", plan_promote},
    {"status", status},
    {NULL, NULL},
};

/* SPDX-License-Identifier: Apache-2.0 */
/* serve_roles - who is active and who is standby for a VM: what the controller says, checked
 * against what this host knows durably. */
#include "vmconnect/serve_parts.h"

#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"

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

static gboolean then_play_active(Engine *engine, Id vm, RpcReply *reply)
{
    (void)reply;
    play_active(engine, vm);
    return FALSE;
}

static void take_active(Claim *c)
{
    g_autoptr(GError) error = NULL;

    /* Another request may have come between. */
    if (!serve_good(c->reply, check_protect(c->engine, c->active, &error), error))
        return;
    policy_set_active(c->engine->policy, g_steal_pointer(&c->active));
    serve_save(c->engine, c->reply, NULL, c->vm, then_play_active);
}

void serve_active_protect(void *user, RpcReply *reply, const json_t *params)
{
    g_autoptr(GError) error = NULL;
    ActiveRole *role = active_role_from_json(params, &error);

    if (role)
        claim(((Visit *)user)->engine, reply, role->vm, role->reign, role, NULL);
    else
        rpc_reply_error(reply, error);
}

/* Answered by the worker itself: once it has said so, no generation comes any more. */
static gboolean then_tell_worker(Engine *engine, Id vm, RpcReply *reply)
{
    const ActiveRole *role = policy_active(engine->policy, vm);

    if (!role)
        return FALSE;
    roles_tell_active(engine->roles, vm, COMMAND_ROLE, active_role_to_json(role), serve_done, reply);
    return TRUE;
}

static void set_paused(void *user, RpcReply *reply, const json_t *params, gboolean paused)
{
    Engine *engine = ((Visit *)user)->engine;
    g_autoptr(GError) error = NULL;
    ActiveRole *role = NULL;
    Id vm;

    if (!serve_good(reply, serve_read_vm(params, &vm, &error), error))
        return;
    role = policy_active(engine->policy, vm);
    if (!role) {
        g_set_error(&error, US_ERROR, US_ERROR_NOT_FOUND, "VM %s is not replicated from this host",
                    ID_TEXT(vm));
        rpc_reply_error(reply, error);
        return;
    }
    role->paused = paused;
    serve_save(engine, reply, NULL, vm, then_tell_worker);
}

void serve_active_pause(void *user, RpcReply *reply, const json_t *params)
{
    set_paused(user, reply, params, TRUE);
}

void serve_active_continue(void *user, RpcReply *reply, const json_t *params)
{
    set_paused(user, reply, params, FALSE);
}

void serve_active_stop(void *user, RpcReply *reply, const json_t *params)
{
    g_autoptr(GError) error = NULL;
    Id vm;

    if (serve_good(reply, serve_read_vm(params, &vm, &error), error))
        roles_tell_active(((Visit *)user)->engine->roles, vm, COMMAND_STOP, NULL, serve_ended,
                          serve_ending_new(user, reply, vm, policy_forget_active));
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

static gboolean then_play_standby(Engine *engine, Id vm, RpcReply *reply)
{
    (void)reply;
    play_standby(engine, vm);
    return FALSE;
}

static void take_standby(Claim *c)
{
    const StandbyRole *known = policy_standby(c->engine->policy, c->vm);
    g_autoptr(GError) error = NULL;
    Guard *guard = NULL;

    if (!serve_good(c->reply, check_admit(c->engine, c->standby, &error), error))
        return;
    /* Admitted again in the same reign: the VM may have been promoted here since; its guard stays. */
    if (!known || !reign_equal(known->reign, c->standby->reign))
        guard = guard_of_standby(c->standby);
    policy_set_standby(c->engine->policy, g_steal_pointer(&c->standby));
    serve_save(c->engine, c->reply, guard, c->vm, then_play_standby);
}

void serve_standby_admit(void *user, RpcReply *reply, const json_t *params)
{
    g_autoptr(GError) error = NULL;
    StandbyRole *role = standby_role_from_json(params, &error);

    if (role)
        claim(((Visit *)user)->engine, reply, role->vm, role->reign, NULL, role);
    else
        rpc_reply_error(reply, error);
}

void serve_standby_dismiss(void *user, RpcReply *reply, const json_t *params)
{
    g_autoptr(GError) error = NULL;
    int purge = FALSE;
    const char *vm_text;
    Id vm;

    if (!serve_good(
            reply,
            json_read(params, "standby.dismiss", &error, "{s:s, s?b}", "vm", &vm_text, "purge", &purge) &&
                id_parse(vm_text, &vm, &error),
            error))
        return;
    roles_tell_standby(((Visit *)user)->engine->roles, vm, purge ? COMMAND_PURGE : COMMAND_QUIT, NULL,
                       serve_ended, serve_ending_new(user, reply, vm, policy_forget_standby));
}

void serve_standby_points(void *user, RpcReply *reply, const json_t *params)
{
    g_autoptr(GError) error = NULL;
    Id vm;

    if (serve_good(reply, serve_read_vm(params, &vm, &error), error))
        roles_tell_standby(((Visit *)user)->engine->roles, vm, COMMAND_POINTS, NULL, serve_done, reply);
}

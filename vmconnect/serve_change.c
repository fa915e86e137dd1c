/* SPDX-License-Identifier: Apache-2.0 */
/* serve_change - what this engine was told changes durably, one request after the other.
 *
 * Happy path: a change waits for its turn; the clerk reads the guard; the policy is
 * changed in memory; the clerk writes guard, then policy; the VM's thread is told;
 * the request is answered. When writing fails the role is as before, in memory as
 * on the disk. When the engine ends, what has not begun is answered CANCELLED. */
#include "vmconnect/serve_parts.h"

#include "vmconnect/base/durable.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/log.h"

#include <string.h>

/* What the clerk needs, and what there was before. */
typedef struct ServeUndo {
    char *guard_dir;
    char *plan_dir;
    char *path;
    char *text;
    ActiveRole *active;
    StandbyRole *standby;
} ServeUndo;

static void next(Engine *engine);

/* --- before and after ---------------------------------------------------- */

static void remember(ServeChange *c)
{
    const ActiveRole *active = policy_active(c->engine->policy, c->vm);
    const StandbyRole *standby = policy_standby(c->engine->policy, c->vm);

    c->undo->active = active ? active_role_copy(active) : NULL;
    c->undo->standby = standby ? standby_role_copy(standby) : NULL;
}

static void take_back(ServeChange *c)
{
    Policy *policy = c->engine->policy;

    if (c->undo->active)
        policy_set_active(policy, g_steal_pointer(&c->undo->active));
    else
        policy_forget_active(policy, c->vm);
    if (c->undo->standby)
        policy_set_standby(policy, g_steal_pointer(&c->undo->standby));
    else
        policy_forget_standby(policy, c->vm);
}

static void change_free(ServeChange *c)
{
    if (c->free_data)
        c->free_data(c->data);
    guard_free(c->known);
    guard_free(c->guard);
    bequest_free(c->bequest);
    g_clear_error(&c->unknown);
    g_clear_error(&c->error);
    active_role_free(c->undo->active);
    standby_role_free(c->undo->standby);
    g_free(c->undo->guard_dir);
    g_free(c->undo->plan_dir);
    g_free(c->undo->path);
    g_free(c->undo->text);
    g_free(c->undo);
    g_free(c);
}

/* --- a change's way ------------------------------------------------------ */

static void finish(ServeChange *c)
{
    Engine *engine = c->engine;

    if ((c->error || engine->ending || !c->then || !c->then(c)) && c->reply)
        serve_done(c->reply, NULL, c->error);
    if (!engine->ending)
        tenure_review(engine->tenure);
    engine->changing = NULL;
    change_free(c);
    next(engine);
}

static void write_work(void *data)
{
    ServeChange *c = data;

    /* What the user once had set is remembered through every change of roles. */
    if (c->guard && c->known)
        c->guard->autostart = c->known->autostart;
    if (c->bequest && !bequest_write(c->bequest, c->undo->plan_dir, &c->error))
        return;
    if (c->guard && !guard_write(c->undo->guard_dir, c->guard, &c->error))
        return;
    /* A guard without a role refuses a start; a role without a guard would let one pass: it goes last. */
    if (durable_replace(c->undo->path, c->undo->text, strlen(c->undo->text), 0600, &c->error) && c->no_guard)
        guard_remove(c->undo->guard_dir, c->vm, &c->error);
}

static void write_done(void *data)
{
    ServeChange *c = data;

    if (c->error)
        take_back(c);
    finish(c);
}

static void look_work(void *data)
{
    ServeChange *c = data;

    c->known = guard_read(c->undo->guard_dir, c->vm, &c->unknown);
}

static void look_done(void *data)
{
    ServeChange *c = data;
    Engine *engine = c->engine;

    if (!engine->clerk)
        c->error = g_error_new(US_ERROR, US_ERROR_CANCELLED, "the engine ends: ask again when it is back");
    if (c->error || !c->make) {
        finish(c);
        return;
    }
    remember(c);
    if (!c->make(c, &c->error)) {
        finish(c);
        return;
    }
    c->undo->path = g_strdup(policy_path(engine->policy));
    c->undo->text = policy_text(engine->policy);
    clerk_submit(engine->clerk, write_work, write_done, c);
}

static void next(Engine *engine)
{
    if (engine->changing || !(engine->changing = g_queue_pop_head(&engine->changes)))
        return;
    if (engine->clerk)
        clerk_submit(engine->clerk, look_work, look_done, engine->changing);
    else
        look_done(engine->changing);
}

void serve_change(const ServeChange *change)
{
    ServeChange *c = g_memdup2(change, sizeof(*change));

    c->undo = g_new0(ServeUndo, 1);
    c->undo->guard_dir = g_strdup(c->engine->paths.guard);
    c->undo->plan_dir = g_strdup(c->engine->paths.plan);
    g_queue_push_tail(&c->engine->changes, c);
    next(c->engine);
}

/* --- the end of a role --------------------------------------------------- */

typedef struct {
    Engine *engine;
    RpcReply *reply;
    Id vm;
    CommandVerb verb;
    json_t *params;
    json_t *result; /* what the thread said; NULL: nothing */
    guint64 serial; /* of the role that ends; 0: there was none */
} Ending;

static gboolean ends_active(const Ending *ending)
{
    return ending->verb == COMMAND_STOP || ending->verb == COMMAND_UNLOCK || ending->verb == COMMAND_YIELD;
}

static guint64 serial_now(const Ending *ending)
{
    const ActiveRole *active = policy_active(ending->engine->policy, ending->vm);
    const StandbyRole *standby = policy_standby(ending->engine->policy, ending->vm);

    if (ends_active(ending))
        return active ? active->serial : 0;
    return standby ? standby->serial : 0;
}

static void ending_free(gpointer data)
{
    Ending *ending = data;

    json_decref(ending->params);
    json_decref(ending->result);
    g_free(ending);
}

/* A VM that was promoted here and not replicated from here yet has no worker, but the keeper of its copy. */
static gboolean is_told_to_active(const Ending *ending)
{
    return ends_active(ending) &&
           (ending->verb != COMMAND_YIELD || policy_active(ending->engine->policy, ending->vm));
}

/* The copy's guard goes with its role. One of a higher reign is another matter: the VM was handed over, here or from here. One that
 * knows of a file which the VM must not be started from stays (pivot.h): root may have it started here (start_alone.h). */
static gboolean is_guard_of(const Guard *known, const StandbyRole *role)
{
    return known && role && known->role == GUARD_STANDBY && known->reign.number <= role->reign.number &&
           !known->pivot;
}

static void on_autostart(void *user, gpointer result, const GError *error)
{
    (void)user;
    (void)result;
    if (error)
        log_warning("autostart was not set as its user had it: %s", error->message);
}

/* A VM that was promoted here has no worker that would lift its guard: it is its user's again, who may
 * start it, and whose autostart works. */
static void lift_guard(ServeChange *c)
{
    if (!c->known || c->known->role != GUARD_ACTIVE || c->known->journal_open)
        return;
    c->no_guard = TRUE;
    if (c->known->autostart)
        hands_set_autostart(c->engine->hands, c->vm, TRUE, on_autostart, NULL);
}

static gboolean forget(ServeChange *c, GError **error)
{
    const Ending *ending = c->data;

    (void)error;
    if (serial_now(ending) != ending->serial)
        return TRUE;
    if (ending->verb == COMMAND_STOP)
        lift_guard(c);
    if (ends_active(ending))
        policy_forget_active(c->engine->policy, c->vm);
    else {
        c->no_guard = is_guard_of(c->known, policy_standby(c->engine->policy, c->vm));
        policy_forget_standby(c->engine->policy, c->vm);
    }
    return TRUE;
}

static gboolean then_tell_result(ServeChange *c)
{
    Ending *ending = c->data;

    serve_done(c->reply, ending->result, NULL);
    return TRUE;
}

/* Unlocked after a rollback: there was nothing to unlock, and the role goes on. */
static gboolean goes_on(const Ending *ending, const json_t *result, const GError *error)
{
    return ending->verb == COMMAND_UNLOCK && !error &&
           g_strcmp0(json_string_value(json_object_get(result, "done")), "unlock") != 0;
}

static void on_ended(void *user, const json_t *result, const GError *error)
{
    Ending *ending = user;

    /* A thread that is not there has nothing to end. */
    if (error && !g_error_matches(error, US_ERROR, US_ERROR_NOT_FOUND)) {
        rpc_reply_error(ending->reply, error);
        ending_free(ending);
    } else if (goes_on(ending, result, error)) {
        rpc_reply(ending->reply, json_object());
        ending_free(ending);
    } else {
        ending->result = ending->verb == COMMAND_YIELD ? json_deep_copy(result) : NULL;
        serve_change(&(ServeChange){.engine = ending->engine,
                                    .reply = ending->reply,
                                    .vm = ending->vm,
                                    .make = forget,
                                    .then = then_tell_result,
                                    .data = ending,
                                    .free_data = ending_free});
    }
}

static gboolean then_end(ServeChange *c)
{
    Ending *ending = g_steal_pointer(&c->data);
    void (*tell)(Roles *, Id, CommandVerb, json_t *, RolesAnswer, void *) =
        is_told_to_active(ending) ? roles_tell_active : roles_tell_standby;

    c->free_data = NULL;
    ending->serial = serial_now(ending);
    tell(c->engine->roles, ending->vm, ending->verb, g_steal_pointer(&ending->params), on_ended, ending);
    return TRUE;
}

void serve_end(Engine *engine, RpcReply *reply, Id vm, CommandVerb verb, json_t *params)
{
    Ending *ending = g_new0(Ending, 1);

    *ending = (Ending){.engine = engine, .reply = reply, .vm = vm, .verb = verb, .params = params};
    serve_change(&(ServeChange){.engine = engine,
                                .reply = reply,
                                .vm = vm,
                                .then = then_end,
                                .data = ending,
                                .free_data = ending_free});
}

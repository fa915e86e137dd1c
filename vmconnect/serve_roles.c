/* SPDX-License-Identifier: Apache-2.0 */
/* serve_roles - who is active and who is standby for a VM: what the controller says, checked
 * against what this host knows durably. */
#include "vmconnect/serve_parts.h"

#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"

/* --- whose VM is it? --------------------------------------------------- */

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

/* The guard file outlives every role: may this reign still be spoken of? */
static gboolean check_guard(const ServeChange *c, Reign asked, GError **error)
{
    if (c->known)
        return check_reign(c->known->reign, asked, error);
    if (g_error_matches(c->unknown, US_ERROR, US_ERROR_NOT_FOUND))
        return TRUE;
    g_propagate_error(error, g_error_copy(c->unknown));
    return FALSE;
}

/* --- the active's side ------------------------------------------------- */

static gboolean check_protect(const Engine *engine, const ActiveRole *role, GError **error)
{
    const ActiveRole *known = policy_active(engine->policy, role->vm);

    return !known || (check_scenario(known->scenario, role->scenario, error) &&
                      check_reign(known->reign, role->reign, error));
}

static void play_active(Engine *engine, Id vm)
{
    const ActiveRole *role = policy_active(engine->policy, vm);

    if (role)
        roles_play_active(engine->roles, active_role_copy(role), engine->identity);
}

static gboolean then_play_active(ServeChange *c)
{
    play_active(c->engine, c->vm);
    return FALSE;
}

typedef struct {
    Engine *engine;
    RpcReply *reply;
    Id vm;
} Taking;

static void on_keeper_ended(void *user, const json_t *result, const GError *error)
{
    g_autofree Taking *t = user;

    (void)result;
    (void)error;
    play_active(t->engine, t->vm);
    serve_done(t->reply, NULL, NULL);
}

/* The VM that was promoted here is replicated from here: its keeper has had its part. */
static gboolean then_end_keeper(ServeChange *c)
{
    Taking *t = g_new0(Taking, 1);

    *t = (Taking){c->engine, c->reply, c->vm};
    roles_tell_standby(c->engine->roles, c->vm, COMMAND_QUIT, NULL, on_keeper_ended, t);
    return TRUE;
}

/* A copy that was admitted here becomes the active by its promotion alone, which the guard knows of. */
static gboolean check_promoted(const ServeChange *c, const ActiveRole *role, GError **error)
{
    const StandbyRole *kept = policy_standby(c->engine->policy, role->vm);

    if (!kept)
        return TRUE;
    if (!check_scenario(kept->scenario, role->scenario, error))
        return FALSE;
    if (c->known && c->known->role == GUARD_ACTIVE && !c->known->journal_open &&
        reign_equal(c->known->reign, role->reign))
        return TRUE;
    g_set_error(error, US_ERROR, US_ERROR_REFUSED,
                "this host keeps a copy of that VM, which was not promoted in reign %" G_GUINT64_FORMAT
                ": nothing is replicated from it",
                role->reign.number);
    return FALSE;
}

/* The guard says who was made the active of a reign. */
static gboolean check_not_standby(const ServeChange *c, const ActiveRole *role, GError **error)
{
    if (!c->known || c->known->role != GUARD_STANDBY || !reign_equal(c->known->reign, role->reign))
        return TRUE;
    g_set_error(error, US_ERROR, US_ERROR_REFUSED,
                "this host is not the active of that VM in reign %" G_GUINT64_FORMAT, role->reign.number);
    return FALSE;
}

static gboolean take_active(ServeChange *c, GError **error)
{
    const ActiveRole *role = c->data;

    if (!check_guard(c, role->reign, error) || !check_not_standby(c, role, error) ||
        !check_promoted(c, role, error) || !check_protect(c->engine, role, error))
        return FALSE;
    if (policy_standby(c->engine->policy, c->vm))
        c->then = then_end_keeper;
    policy_forget_standby(c->engine->policy, c->vm);
    policy_set_active(c->engine->policy, active_role_copy(role));
    return TRUE;
}

static void free_active(gpointer role)
{
    active_role_free(role);
}

void serve_active_protect(void *user, RpcReply *reply, const json_t *params)
{
    g_autoptr(GError) error = NULL;
    ActiveRole *role = active_role_from_json(params, &error);

    if (role)
        serve_change(&(ServeChange){.engine = ((Visit *)user)->engine,
                                    .reply = reply,
                                    .vm = role->vm,
                                    .make = take_active,
                                    .then = then_play_active,
                                    .data = role,
                                    .free_data = free_active});
    else
        rpc_reply_error(reply, error);
}

/* Answered by the worker itself: once it has said so, no generation comes any more. */
static gboolean then_tell_worker(ServeChange *c)
{
    const ActiveRole *role = policy_active(c->engine->policy, c->vm);

    roles_tell_active(c->engine->roles, c->vm, COMMAND_ROLE, active_role_to_json(role), serve_done, c->reply);
    return TRUE;
}

static gboolean set_paused(ServeChange *c, gboolean paused, GError **error)
{
    ActiveRole *role = policy_active(c->engine->policy, c->vm);

    if (role) {
        role->paused = paused;
        role->vouched = FALSE;
    } else {
        g_set_error(error, US_ERROR, US_ERROR_NOT_FOUND, "VM %s is not replicated from this host",
                    ID_TEXT(c->vm));
    }
    return role != NULL;
}

static gboolean make_paused(ServeChange *c, GError **error)
{
    return set_paused(c, TRUE, error);
}

static gboolean make_continued(ServeChange *c, GError **error)
{
    return set_paused(c, FALSE, error);
}

static void change_pause(void *user, RpcReply *reply, const json_t *params,
                         gboolean (*make)(ServeChange *, GError **))
{
    g_autoptr(GError) error = NULL;
    Id vm;

    if (serve_good(reply, serve_read_vm(params, &vm, &error), &error))
        serve_change(&(ServeChange){.engine = ((Visit *)user)->engine,
                                    .reply = reply,
                                    .vm = vm,
                                    .make = make,
                                    .then = then_tell_worker});
}

void serve_active_pause(void *user, RpcReply *reply, const json_t *params)
{
    change_pause(user, reply, params, make_paused);
}

void serve_active_compare(void *user, RpcReply *reply, const json_t *params)
{
    serve_tell_active(user, reply, params, COMMAND_COMPARE);
}

void serve_active_continue(void *user, RpcReply *reply, const json_t *params)
{
    change_pause(user, reply, params, make_continued);
}

void serve_active_stop(void *user, RpcReply *reply, const json_t *params)
{
    g_autoptr(GError) error = NULL;
    Id vm;

    if (serve_good(reply, serve_read_vm(params, &vm, &error), &error))
        serve_end(((Visit *)user)->engine, reply, vm, COMMAND_STOP, NULL);
}

/* The start hook refuses from here on; only then is the guest looked at, and the role forgotten last: whatever ends
 * this in between, the controller asks again. */
static gboolean make_guard_standby(ServeChange *c, GError **error)
{
    const ActiveRole *role = policy_active(c->engine->policy, c->vm);
    const Reign *reign = c->data;

    if (!role && g_error_matches(c->unknown, US_ERROR, US_ERROR_NOT_FOUND)) {
        g_set_error(error, US_ERROR, US_ERROR_NOT_FOUND, "this host is not the active of that VM");
        return FALSE;
    }
    if (!check_guard(c, *reign, error))
        return FALSE;
    if (c->known && c->known->role == GUARD_ACTIVE && reign_equal(c->known->reign, *reign)) {
        g_set_error(error, US_ERROR, US_ERROR_REFUSED,
                    "this host itself is the active of that VM in reign %" G_GUINT64_FORMAT, reign->number);
        return FALSE;
    }
    /* check_guard() has refused one that cannot be read. */
    g_assert(c->known || role);
    c->guard = g_new0(Guard, 1);
    c->guard->vm = c->vm;
    c->guard->scenario = g_strdup(c->known ? c->known->scenario : role->scenario);
    c->guard->reign = *reign;
    c->guard->role = GUARD_STANDBY;
    /* A worker knows better what it leaves. */
    if (!role && c->known->role == GUARD_ACTIVE)
        c->bequest = bequest_new_found(c->vm, c->known->reign);
    return TRUE;
}

static void on_still(void *user, const GError *error)
{
    g_autofree Taking *t = user;

    if (error)
        rpc_reply_error(t->reply, error);
    else
        serve_end(t->engine, t->reply, t->vm, COMMAND_YIELD, NULL);
}

static gboolean then_yield(ServeChange *c)
{
    Taking *t = g_new0(Taking, 1);

    *t = (Taking){c->engine, c->reply, c->vm};
    tenure_yield(c->engine->tenure, c->vm, on_still, t);
    return TRUE;
}

void serve_active_yield(void *user, RpcReply *reply, const json_t *params)
{
    g_autoptr(GError) error = NULL;
    const char *vm_text;
    json_t *reign_doc;
    Reign reign;
    Id vm;

    if (serve_good(
            reply,
            json_read(params, "active.yield", &error, "{s:s, s:o}", "vm", &vm_text, "reign", &reign_doc) &&
                id_parse(vm_text, &vm, &error) && reign_from_json(reign_doc, &reign, &error),
            &error))
        serve_change(&(ServeChange){.engine = ((Visit *)user)->engine,
                                    .reply = reply,
                                    .vm = vm,
                                    .make = make_guard_standby,
                                    .then = then_yield,
                                    .data = g_memdup2(&reign, sizeof reign),
                                    .free_data = g_free});
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

    if (active) {
        g_set_error(error, US_ERROR, US_ERROR_REFUSED,
                    "this host itself is the active of that VM, in reign %" G_GUINT64_FORMAT
                    ": it keeps no copy of it before it has given it away",
                    active->reign.number);
        return FALSE;
    }
    return !known || (check_scenario(known->scenario, role->scenario, error) &&
                      check_reign(known->reign, role->reign, error));
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

static gboolean then_play_admitted(ServeChange *c)
{
    voice_admitted(c->engine->voice, c->vm);
    play_standby(c->engine, c->vm);
    return FALSE;
}

static gboolean then_play_standby(ServeChange *c)
{
    play_standby(c->engine, c->vm);
    return FALSE;
}

/* In its turn: the request that ended the thread forgets the role first. */
void serve_play_again(Engine *engine, Id vm, gboolean standby)
{
    serve_change(
        &(ServeChange){.engine = engine, .vm = vm, .then = standby ? then_play_standby : then_play_active});
}

/* Its disks, variables and TPM stay. */
#define UNDEFINE "`virsh undefine NAME --checkpoints-metadata --snapshots-metadata --keep-nvram --keep-tpm`"

/* The guard goes with the role, unless root has taken it away: then the VM here is its user's, and not to be had by the
 * same word again. */
static gboolean check_not_ended(const ServeChange *c, const StandbyRole *role, GError **error)
{
    if (!policy_standby(c->engine->policy, role->vm) ||
        !g_error_matches(c->unknown, US_ERROR, US_ERROR_NOT_FOUND))
        return TRUE;
    g_set_error(error, US_ERROR, US_ERROR_REFUSED,
                "%s: no copy is kept here. Decide which host has the right one. If it is this, delete "
                "scenario '%s' and protect the VM anew, with this host as its master; if not, stop the "
                "scenario, which lets this host go, end and undefine the VM here (" UNDEFINE
                "), move its folder of "
                "copies away, and run the scenario",
                GUARD_ENDED, role->scenario);
    return FALSE;
}

/* What runs here unprotected is another VM than the one whose copy it would get, or was, since root has ended its protection. */
static gboolean check_not_running(const ServeChange *c, const StandbyRole *role, GError **error)
{
    json_auto_t *guest = guests_describe(c->engine->guests, role->vm);

    if (!g_error_matches(c->unknown, US_ERROR, US_ERROR_NOT_FOUND) ||
        g_strcmp0(json_string_value(json_object_get(guest, "word")), guest_word_name(GUEST_ALIVE)) != 0)
        return TRUE;
    g_set_error(
        error, US_ERROR, US_ERROR_REFUSED,
        "a VM with the UUID of '%s' runs on this host: no copy is kept here, and it may be the same one "
        "running twice. Decide which of the two is right; to keep the other one, end and undefine this one "
        "(" UNDEFINE ")",
        role->name);
    return FALSE;
}

static gboolean take_standby(ServeChange *c, GError **error)
{
    const StandbyRole *role = c->data;

    if (!check_guard(c, role->reign, error) || !check_admit(c->engine, role, error) ||
        !check_not_ended(c, role, error) || !check_not_running(c, role, error))
        return FALSE;
    /* One of this reign stays as it is, for this host may be the one that runs the VM in it; but the controller, which has heard
     * who that is, vouches with this for what a copy may have forgotten. */
    if (!c->known || c->known->reign.number < role->reign.number ||
        (c->known->elsewhere && c->known->role == GUARD_STANDBY))
        c->guard = guard_of_standby(role);
    policy_set_standby(c->engine->policy, standby_role_copy(role));
    return TRUE;
}

static void free_standby(gpointer role)
{
    standby_role_free(role);
}

void serve_standby_admit(void *user, RpcReply *reply, const json_t *params)
{
    g_autoptr(GError) error = NULL;
    StandbyRole *role = standby_role_from_json(params, &error);

    if (role)
        serve_change(&(ServeChange){.engine = ((Visit *)user)->engine,
                                    .reply = reply,
                                    .vm = role->vm,
                                    .make = take_standby,
                                    .then = then_play_admitted,
                                    .data = role,
                                    .free_data = free_standby});
    else
        rpc_reply_error(reply, error);
}

typedef struct {
    Engine *engine;
    RpcReply *reply;
    Id vm;
    gboolean purge;
} Dismissal;

static void dismiss(void *user)
{
    g_autofree Dismissal *d = user;

    serve_end(d->engine, d->reply, d->vm, d->purge ? COMMAND_PURGE : COMMAND_QUIT, NULL);
}

void serve_standby_dismiss(void *user, RpcReply *reply, const json_t *params)
{
    Engine *engine = ((Visit *)user)->engine;
    g_autoptr(GError) error = NULL;
    Dismissal *dismissal;
    int purge = FALSE;
    const char *vm_text;
    Id vm;

    if (!serve_good(
            reply,
            json_read(params, "standby.dismiss", &error, "{s:s, s?b}", "vm", &vm_text, "purge", &purge) &&
                id_parse(vm_text, &vm, &error),
            &error))
        return;
    dismissal = g_new0(Dismissal, 1);
    *dismissal = (Dismissal){engine, reply, vm, purge};
    rehearsals_leave(engine->rehearsals, vm, "its copy is not kept here any more", TEST_END_MS, dismiss,
                     dismissal);
}

/* Where a VM came home to, the copy that it runs from is still there, and its worker has it. */
static void ask_points(Visit *visit, RpcReply *reply, const json_t *params, CommandVerb verb)
{
    g_autoptr(GError) error = NULL;
    Engine *engine = visit->engine;
    Id vm;

    if (!serve_good(reply, serve_read_vm(params, &vm, &error), &error))
        return;
    (policy_active(engine->policy, vm) ? roles_tell_active : roles_tell_standby)(
        engine->roles, vm, verb, json_incref((json_t *)params), serve_done, reply);
}

void serve_standby_points(void *user, RpcReply *reply, const json_t *params)
{
    ask_points(user, reply, params, COMMAND_POINTS);
}

void serve_standby_pin(void *user, RpcReply *reply, const json_t *params)
{
    ask_points(user, reply, params, COMMAND_PIN);
}

void serve_standby_rest(void *user, RpcReply *reply, const json_t *params)
{
    Engine *engine = ((Visit *)user)->engine;
    g_autoptr(GError) error = NULL;
    Id vm;

    if (serve_good(reply, serve_read_vm(params, &vm, &error), &error))
        roles_tell_standby(engine->roles, vm, COMMAND_REST, json_incref((json_t *)params), serve_done, reply);
}

void serve_standby_open(void *user, RpcReply *reply, const json_t *params)
{
    ask_points(user, reply, params, COMMAND_OPEN);
}

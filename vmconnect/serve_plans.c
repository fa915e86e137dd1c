/* SPDX-License-Identifier: Apache-2.0 */
/* serve_plans - the steps of a plan, each the matter of one VM's thread. */
#include "vmconnect/serve_parts.h"

#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"
#include "vmconnect/replicate/handover.h"

/* --- plans ------------------------------------------------------------- */

void serve_plan_lock(void *user, RpcReply *reply, const json_t *params)
{
    serve_tell_active(user, reply, params, COMMAND_LOCK);
}

void serve_plan_shutdown(void *user, RpcReply *reply, const json_t *params)
{
    serve_tell_active(user, reply, params, COMMAND_SHUTDOWN);
}

void serve_plan_final(void *user, RpcReply *reply, const json_t *params)
{
    serve_tell_active(user, reply, params, COMMAND_FINAL);
}

void serve_plan_park(void *user, RpcReply *reply, const json_t *params)
{
    serve_tell_active(user, reply, params, COMMAND_PARK);
}

void serve_plan_release(void *user, RpcReply *reply, const json_t *params)
{
    serve_tell_active(user, reply, params, COMMAND_RELEASE);
}

void serve_plan_rollback(void *user, RpcReply *reply, const json_t *params)
{
    serve_tell_active(user, reply, params, COMMAND_ROLLBACK);
}

void serve_plan_unlock(void *user, RpcReply *reply, const json_t *params)
{
    g_autoptr(GError) error = NULL;
    Id vm;

    if (serve_good(reply, serve_read_vm(params, &vm, &error), &error))
        serve_end(((Visit *)user)->engine, reply, vm, COMMAND_UNLOCK, json_incref((json_t *)params));
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

void serve_plan_state(void *user, RpcReply *reply, const json_t *params)
{
    Engine *engine = ((Visit *)user)->engine;
    g_autoptr(GError) error = NULL;
    const char *plan = NULL;
    json_t *state;
    Reading *reading;
    Id vm;

    if (!serve_good(reply,
                    serve_read_vm(params, &vm, &error) &&
                        json_read(params, "plan.state", &error, "{s:s*}", "plan", &plan),
                    &error))
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

typedef struct {
    Engine *engine;
    RpcReply *reply;
    Id vm;
    Ballot ballot;
    json_t *order;
} Promoting;

static void promote(void *user)
{
    g_autofree Promoting *p = user;

    json_object_del(p->order, "ballot");
    roles_tell_standby(p->engine->roles, p->vm, COMMAND_PROMOTE, p->order, serve_done, p->reply);
}

/* Nobody else may have the reign from now on, nor seal anything in the one before. */
static void on_voted(void *user, const json_t *result, const GError *error)
{
    Promoting *p = user;

    (void)result;
    if (!error) {
        rehearsals_leave(p->engine->rehearsals, p->vm, "its VM is switched over to this host", TEST_END_MS,
                         promote, p);
        return;
    }
    rpc_reply_error(p->reply, error);
    json_decref(p->order);
    g_free(p);
}

/* What root asks for may not be there: nothing is promised for that, for nobody else could have the number. */
static void on_looked(void *user, const json_t *result, const GError *error)
{
    Promoting *p = user;

    (void)result;
    if (error)
        on_voted(p, NULL, error);
    else
        voice_vote(p->engine->voice, p->vm, &p->ballot, on_voted, p);
}

static void look_first(Promoting *p)
{
    json_t *order = json_deep_copy(p->order);

    json_object_set_new(order, "look", json_true());
    roles_tell_standby(p->engine->roles, p->vm, COMMAND_PROMOTE, order, on_looked, p);
}

/* Without one it is released, or somebody certifies that the old active is off. */
static gboolean read_ballot(const json_t *params, Ballot *ret_ballot, GError **error)
{
    const json_t *ballot = json_object_get(params, "ballot");

    if (ballot)
        return ballot_from_json(ballot, ret_ballot, error);
    *ret_ballot = (Ballot){.kind = BALLOT_CERTIFIED};
    return reign_from_json(json_object_get(params, "reign_next"), &ret_ballot->next, error);
}

/* Root has promoted it here meanwhile: nothing is begun, and the keeper says in which reign. */
static gboolean is_done_by_hand(const Engine *e, Id vm, Reign next)
{
    Reign reign = roles_promoted_reign(e->roles, vm);

    return reign.number >= next.number && !reign_equal(reign, next);
}

void serve_plan_promote(void *user, RpcReply *reply, const json_t *params)
{
    Engine *engine = ((Visit *)user)->engine;
    g_autoptr(GError) error = NULL;
    const StandbyRole *role = NULL;
    json_auto_t *order = NULL;
    Promoting *promoting;
    Ballot ballot = {0};
    Id vm;

    if (!serve_good(reply, serve_read_vm(params, &vm, &error) && read_ballot(params, &ballot, &error),
                    &error))
        return;
    role = policy_standby(engine->policy, vm);
    if (!role) {
        g_set_error(&error, US_ERROR, US_ERROR_NOT_FOUND, "this host keeps no copy of VM %s", ID_TEXT(vm));
        rpc_reply_error(reply, error);
        return;
    }
    /* What the keeper must know beside the request: who we are, and where the interfaces go. */
    order = json_deep_copy(params);
    json_object_del(order, "look");
    json_object_set_new(order, "here", json_string(ID_TEXT(identity_peer(engine->identity).id)));
    json_object_set_new(order, "from", json_string(ID_TEXT(role->active)));
    json_object_set_new(order, "scenario", json_string(role->scenario));
    json_object_set(order, "networks", role->networks);
    promoting = g_new0(Promoting, 1);
    *promoting = (Promoting){engine, reply, vm, ballot, g_steal_pointer(&order)};
    if (is_done_by_hand(engine, vm, ballot.next))
        on_voted(promoting, NULL, NULL);
    else if (json_is_true(json_object_get(params, "by_hand")))
        look_first(promoting);
    else
        voice_vote(engine->voice, vm, &ballot, on_voted, promoting);
}

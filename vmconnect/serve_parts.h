/* SPDX-License-Identifier: Apache-2.0 */
/* serve_parts - what the files that answer the controller share.
 *
 * serve.c has the table and the news; serve_change.c what must be durable before an
 * answer; serve_obey.c whom this engine obeys, serve_host.c the host and its VMs, serve_trial.c what it can do, serve_check.c what it could run, serve_seed.c what a first copy could begin from,
 * serve_prepare.c what makes it ready, serve_roles.c who is active and standby,
 * serve_plans.c the steps of plans, serve_leases.c leases and votes, serve_tests.c integrity tests, serve_watch.c what it watches, serve_scenarios.c what the controller wants remembered. All on the loop. */
#pragma once

#include "vmconnect/engine.h"
#include "vmconnect/hypervisor/guard_file.h"
#include "vmconnect/replicate/bequest.h"

#include <glib.h>
#include <jansson.h>

/* A RolesAnswer, and more: answer @user, an RpcReply, with what came. */
void serve_done(void *user, const json_t *result, const GError *error);

/* The same for a job of the hands whose result is a document, and how a late one is freed. */
void serve_json(void *user, gpointer result, const GError *error);
void serve_free_json(gpointer doc);

gboolean serve_read_vm(const json_t *params, Id *ret_vm, GError **error);

/* TRUE if the request can go on; else it has been answered with *@error. Its place and not the error itself: the
 * caller works @ok out among these arguments, whose order is the compiler's. */
gboolean serve_good(RpcReply *reply, gboolean ok, GError **error);

/* So long a test may take to end that is in the way of what is done to its VM; then nobody waits for it any more. */
#define TEST_END_MS 5000

/* The matter of the thread of the active's side of the VM that @params name, which answers it. */
void serve_tell_active(Visit *visit, RpcReply *reply, const json_t *params, CommandVerb verb);

/* A change of the policy. One is made at a time, each only when the one before is durable
 * and was followed: a stop does not overtake the protect before it. In its turn
 * the guard file of @vm is read, @make changes the policy in memory, guard and policy are
 * written, @then follows, and @reply is answered. What could not be written is
 * taken back in memory too, so that asking again finds what is on the disk. */
typedef struct ServeChange ServeChange;
struct ServeChange {
    Engine *engine;
    RpcReply *reply; /* NULL: nobody asked */
    Id vm;
    /* Change the roles of @vm, and no other's. FALSE: nothing was changed, @error is the answer.
     * NULL: there is nothing to change, only the turn was waited for. */
    gboolean (*make)(ServeChange *change, GError **error);
    /* TRUE: it answers @reply itself, FALSE: {} is the answer. May be NULL. */
    gboolean (*then)(ServeChange *change);
    gpointer data;
    GDestroyNotify free_data; /* may be NULL */
    /* For @make: the guard on the disk, or NULL and why (NOT_FOUND: there is none); and what is to
     * be there, set by @make (taken; what its user had for autostart is kept). */
    Guard *known;
    GError *unknown;
    Guard *guard;
    /* What this host leaves to itself, by @make, taken; written before the guard, for that says that the VM is over here. */
    Bequest *bequest;
    gboolean no_guard; /* there shall be none any more */
    /* serve_change.c's own: */
    struct ServeUndo *undo;
    GError *error;
};

/* Takes @change's contents. */
void serve_change(const ServeChange *change);

/* End what @vm's thread plays here: tell it @verb (takes @params), and forget the role when it has done its
 * part, unless it was given anew meanwhile. No thread there is as good. */
void serve_end(Engine *engine, RpcReply *reply, Id vm, CommandVerb verb, json_t *params);

/* All that this engine says of itself unasked; new reference. */
json_t *serve_status(const Engine *engine, gint64 now_ms);

/* The methods; their user is the Visit. */
void serve_host_obey(void *user, RpcReply *reply, const json_t *params);
void serve_host_info(void *user, RpcReply *reply, const json_t *params);
void serve_host_trial(void *user, RpcReply *reply, const json_t *params);
void serve_host_routes(void *user, RpcReply *reply, const json_t *params);
void serve_host_disown(void *user, RpcReply *reply, const json_t *params);
void serve_host_prepare(void *user, RpcReply *reply, const json_t *params);
void serve_network_definition(void *user, RpcReply *reply, const json_t *params);
void serve_vm_list(void *user, RpcReply *reply, const json_t *params);
void serve_vm_check(void *user, RpcReply *reply, const json_t *params);
void serve_vm_definition_of(void *user, RpcReply *reply, const json_t *params);
void serve_active_protect(void *user, RpcReply *reply, const json_t *params);
void serve_active_compare(void *user, RpcReply *reply, const json_t *params);
void serve_active_pause(void *user, RpcReply *reply, const json_t *params);
void serve_active_continue(void *user, RpcReply *reply, const json_t *params);
void serve_active_stop(void *user, RpcReply *reply, const json_t *params);
void serve_active_yield(void *user, RpcReply *reply, const json_t *params);
void serve_standby_seed(void *user, RpcReply *reply, const json_t *params);
void serve_standby_check(void *user, RpcReply *reply, const json_t *params);
void serve_standby_admit(void *user, RpcReply *reply, const json_t *params);
void serve_standby_dismiss(void *user, RpcReply *reply, const json_t *params);
void serve_standby_points(void *user, RpcReply *reply, const json_t *params);
void serve_standby_rest(void *user, RpcReply *reply, const json_t *params);
void serve_standby_pin(void *user, RpcReply *reply, const json_t *params);
void serve_standby_open(void *user, RpcReply *reply, const json_t *params);
void serve_watch_set(void *user, RpcReply *reply, const json_t *params);
void serve_guest_revive(void *user, RpcReply *reply, const json_t *params);
void serve_plan_lock(void *user, RpcReply *reply, const json_t *params);
void serve_plan_shutdown(void *user, RpcReply *reply, const json_t *params);
void serve_plan_final(void *user, RpcReply *reply, const json_t *params);
void serve_plan_park(void *user, RpcReply *reply, const json_t *params);
void serve_plan_release(void *user, RpcReply *reply, const json_t *params);
void serve_plan_rollback(void *user, RpcReply *reply, const json_t *params);
void serve_plan_unlock(void *user, RpcReply *reply, const json_t *params);
void serve_plan_state(void *user, RpcReply *reply, const json_t *params);
void serve_scenario_keep(void *user, RpcReply *reply, const json_t *params);
void serve_scenario_kept(void *user, RpcReply *reply, const json_t *params);
void serve_plan_promote(void *user, RpcReply *reply, const json_t *params);
void serve_lease_answers(void *user, RpcReply *reply, const json_t *params);
void serve_lease_renew(void *user, RpcReply *reply, const json_t *params);
void serve_lease_promised(void *user, RpcReply *reply, const json_t *params);
void serve_lease_would(void *user, RpcReply *reply, const json_t *params);
void serve_test_start(void *user, RpcReply *reply, const json_t *params);
void serve_test_stop(void *user, RpcReply *reply, const json_t *params);
void serve_test_result(void *user, RpcReply *reply, const json_t *params);
void serve_test_evidence(void *user, RpcReply *reply, const json_t *params);
void serve_test_forget(void *user, RpcReply *reply, const json_t *params);

/* SPDX-License-Identifier: Apache-2.0 */
/* serve_parts - what the files that answer the controller share.
 *
 * serve.c has the table, what must be durable before an answer, and the news;
 * serve_host.c the host and its VMs, serve_roles.c who is active and standby,
 * serve_plans.c the steps of plans. All on the loop. */
#pragma once

#include "vmconnect/engine.h"
#include "vmconnect/hypervisor/guard_file.h"

#include <glib.h>
#include <jansson.h>

/* A RolesAnswer, and more: answer @user, an RpcReply, with what came. */
void serve_done(void *user, const json_t *result, const GError *error);

gboolean serve_read_vm(const json_t *params, Id *ret_vm, GError **error);

/* TRUE if the request can go on; else it has been answered. */
gboolean serve_good(RpcReply *reply, gboolean ok, const GError *error);

/* What follows; TRUE: it answers @reply itself, FALSE: {} is the answer. */
typedef gboolean (*ServeThen)(Engine *engine, Id vm, RpcReply *reply);

/* Make @guard (taken; NULL: none) and the policy as it is now durable, then do @then (may be NULL), then answer. */
void serve_save(Engine *engine, RpcReply *reply, Guard *guard, Id vm, ServeThen then);

/* A request whose end changes the policy, too. */
typedef struct {
    Engine *engine;
    RpcReply *reply;
    Id vm;
    void (*forget)(Policy *policy, Id vm);
} Ending;

/* @forget runs when the thread has done its part; give it to roles_tell_…() with serve_ended(). */
Ending *serve_ending_new(void *user, RpcReply *reply, Id vm, void (*forget)(Policy *, Id));
void serve_ended(void *user, const json_t *result, const GError *error);

/* The methods; their user is the Visit. */
void serve_host_info(void *user, RpcReply *reply, const json_t *params);
void serve_host_disown(void *user, RpcReply *reply, const json_t *params);
void serve_vm_list(void *user, RpcReply *reply, const json_t *params);
void serve_vm_check(void *user, RpcReply *reply, const json_t *params);
void serve_vm_definition_of(void *user, RpcReply *reply, const json_t *params);
void serve_active_protect(void *user, RpcReply *reply, const json_t *params);
void serve_active_pause(void *user, RpcReply *reply, const json_t *params);
void serve_active_continue(void *user, RpcReply *reply, const json_t *params);
void serve_active_stop(void *user, RpcReply *reply, const json_t *params);
void serve_standby_admit(void *user, RpcReply *reply, const json_t *params);
void serve_standby_dismiss(void *user, RpcReply *reply, const json_t *params);
void serve_standby_points(void *user, RpcReply *reply, const json_t *params);
void serve_plan_lock(void *user, RpcReply *reply, const json_t *params);
void serve_plan_shutdown(void *user, RpcReply *reply, const json_t *params);
void serve_plan_final(void *user, RpcReply *reply, const json_t *params);
void serve_plan_release(void *user, RpcReply *reply, const json_t *params);
void serve_plan_rollback(void *user, RpcReply *reply, const json_t *params);
void serve_plan_unlock(void *user, RpcReply *reply, const json_t *params);
void serve_plan_state(void *user, RpcReply *reply, const json_t *params);
void serve_plan_promote(void *user, RpcReply *reply, const json_t *params);

/* SPDX-License-Identifier: Apache-2.0 */
/* engine - what the program's parts share: one struct, the loop's own.
 *
 * engine.c makes and ends it, serve.c answers the controller, gate.c lets
 * links in. Only the loop's thread touches it. */
#pragma once

#include "vmconnect/base/conf.h"
#include "vmconnect/hypervisor/ears.h"
#include "vmconnect/hypervisor/hands.h"
#include "vmconnect/hypervisor/rescuer.h"
#include "vmconnect/link/enrol_loop.h"
#include "vmconnect/link/listener.h"
#include "vmconnect/link/rpc.h"
#include "vmconnect/loop/clerk.h"
#include "vmconnect/policy.h"
#include "vmconnect/roles.h"

#include <glib.h>
#include <uv.h>

/* Absolute folders, all made at start. */
typedef struct {
    char *state; /* identity, policy, token */
    char *guard;
    char *plan;
    char *store;
    char *scratch;
    char *run;
    char *nbd;
    char *permit;
    char *token_file;  /* in state */
    char *token_print; /* in run, for root to read */
} EnginePaths;

typedef struct Engine {
    uv_loop_t loop;
    Conf *conf;
    EnginePaths paths;
    Identity *identity;
    Policy *policy;
    Clerk *clerk;
    Hands *hands;
    Ears *ears;
    Rescuer *rescuer;
    Roles *roles;
    Listener *listener;
    EnrolDesk *desk;       /* NULL while owned */
    GPtrArray *visits;     /* of Visit *: links of our controller */
    GPtrArray *arriving;   /* of Arrival *: bulk links whose ATTACH has not come yet */
    GQueue changes;        /* of ServeChange *: wait for their turn … */
    gpointer changing;     /* … while this one has it; NULL: none */
    uv_timer_t news_timer; /* status is pushed when it fires */
    uv_signal_t signals[2];
    gint64 news_at_ms; /* when the last was pushed */
    guint open;        /* asynchronous closes under way */
    gboolean ending;
} Engine;

/* One link of a controller; what SERVE_METHODS get as their user. */
typedef struct {
    Engine *engine;
    Rpc *rpc;
} Visit;

/* engine.c: let strangers enrol, now that there is no owner. */
gboolean engine_open_desk(Engine *engine, GError **error);

/* gate.c: what the listener calls. */
void gate_on_link(void *user, Link *link);
void gate_on_refused(void *user, const GError *error);
void gate_close(Engine *engine);

/* serve.c: the methods of `docs/protocol.md`, for rpc_new(). */
extern const RpcMethod SERVE_METHODS[];

/* A VM's thread has ended; was its role given anew meanwhile? */
void serve_play_again(Engine *engine, Id vm, gboolean standby);

/* Push the status to our controllers soon, at most four times a second. */
void serve_news(Engine *engine);
void serve_on_news_timer(uv_timer_t *timer);

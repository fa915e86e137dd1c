/* SPDX-License-Identifier: Apache-2.0 */
/* engine - what the program's parts share: one struct, the loop's own.
 *
 * engine.c makes and ends it, serve.c answers the controller, gate.c lets links
 * in, owner.c knows whose it is. Only the loop's thread touches it. */
#pragma once

#include "netmap/host.h"
#include "vmconnect/base/conf.h"
#include "vmconnect/hypervisor/agents.h"
#include "vmconnect/hypervisor/ears.h"
#include "vmconnect/hypervisor/guests.h"
#include "vmconnect/hypervisor/hands.h"
#include "vmconnect/hypervisor/rescuer.h"
#include "vmconnect/link/enrol_loop.h"
#include "vmconnect/link/listener.h"
#include "vmconnect/link/rpc.h"
#include "vmconnect/loop/clerk.h"
#include "vmconnect/obeyed.h"
#include "vmconnect/policy.h"
#include "vmconnect/probe/watch.h"
#include "vmconnect/rehearsals.h"
#include "vmconnect/roles.h"
#include "vmconnect/tenure.h"
#include "vmconnect/tidings.h"
#include "vmconnect/voice.h"

#include <glib.h>
#include <uv.h>

/* Absolute folders, all made at start. */
typedef struct {
    char *state; /* policy, token */
    char *identity;
    char *guard;
    char *plan;
    char *store;
    char *scratch;
    char *run;
    char *nbd;
    char *permit;
    char *test;        /* permits of tests' VMs */
    char *obeyed;      /* file, obeyed.h */
    char *token_file;  /* in state */
    char *token_print; /* in run, for root to read */
} EnginePaths;

/* What this host is like, read a moment ago; of the trials' thread alone (serve_check.c). */
typedef struct {
    Host *host; /* NULL: not read */
    gint64 until_ms;
} EngineFacts;

typedef struct Trials Trials;

typedef struct Engine {
    uv_loop_t loop;
    Conf *conf;
    EnginePaths paths;
    Identity *identity;
    Policy *policy;
    Obeyed obeyed;
    Obeyed obeyed_kept; /* what of it is on the disk */
    Clerk *clerk;
    Hands *hands;
    EngineFacts facts;
    Hands *trial_hands; /* slow ones */
    Hands *lease_hands; /* for guests whose lease ends: nothing else may be before them */
    Agents *agents;     /* for what guests call themselves */
    Trials *trials;     /* their memory */
    Ears *ears;
    Rescuer *rescuer;
    Roles *roles;
    Rehearsals *rehearsals;
    Guests *guests;
    Watch *watch;
    Voice *voice;
    Tenure *tenure;
    Listener *listener;
    EnrolDesk *desk;          /* NULL while owned */
    GPtrArray *visits;        /* of Visit *: links of our controller */
    GPtrArray *peer_visits;   /* of PeerVisit *: links of other engines, who ask */
    GPtrArray *arriving;      /* of Arrival *: bulk links whose ATTACH has not come yet, and beats */
    GQueue changes;           /* of ServeChange *: wait for their turn … */
    gpointer changing;        /* … while this one has it; NULL: none */
    uv_fs_poll_t owner_watch; /* of the file that says who the owner is */
    uv_timer_t leave_timer;   /* links of a former owner end when it fires */
    uv_timer_t news_timer;    /* news are looked for when it fires */
    uv_signal_t signals[2];
    gint64 news_at_ms; /* when some were looked for last */
    guint open;        /* asynchronous closes under way */
    gboolean ending;
} Engine;

/* One link of a controller; what SERVE_METHODS get as their user. */
typedef struct {
    Engine *engine;
    Rpc *rpc;
    Tidings *tidings;     /* what it was told of the status */
    Id controller;        /* who that is; this engine itself: root */
    gboolean is_measured; /* it must say how new its memory is: */
    guint64 incarnation;  /* 0: it has not said */
    gboolean former;      /* of an owner that was, or an older memory: ends soon */
} Visit;

/* One link of another engine of our owner; what SERVE_METHODS_OF_PEERS get as their user. It is gone with its link: what is
 * answered later keeps the engine and the reply. */
typedef struct {
    Engine *engine;
    Id peer; /* who that is, as its certificate says */
    Rpc *rpc;
} PeerVisit;

/* Make our folders, or give back to those there are the owners and modes that they must have. */
gboolean engine_make_folders(const Engine *engine, GError **error);

/* owner.c: whose this engine is, from the start on; the end is also that of one that did not begin. */
void owner_init(Engine *engine);
gboolean owner_begin(Engine *engine, GError **error);
void owner_end(Engine *engine);

/* It has another owner now, or none: takes @identity. Links of the former one end, what is
 * queued on them goes out first; without an owner strangers may enrol. */
void owner_take(Engine *engine, Identity *identity);

/* For the listener. */
gboolean owner_may_enrol(void *user);

/* gate.c: what the listener calls. */
void gate_on_link(void *user, Link *link);
void gate_on_refused(void *user, const GError *error);
/* Links that are marked as former end, a moment later. */
void gate_leave(Engine *engine);
/* The owner has changed: links of the former one end, a moment later if it does not end them itself, and at once those of its
 * other engines. */
void gate_leave_former(Engine *engine);
void gate_init(Engine *engine);
void gate_close(Engine *engine);

/* serve.c: the methods of `docs/protocol.md`, for rpc_new(). */
extern const RpcMethod SERVE_METHODS[];
extern const RpcMethod SERVE_METHODS_OF_PEERS[]; /* of other engines of this owner */
extern const RpcMethod SERVE_METHODS_OF_ROOT[];  /* of root on this host */

/* serve_trial.c: what the thread of the trials keeps, on the loop before it begins and after it has ended. */
Trials *trials_new(const EnginePaths *paths);
void trials_free(Trials *trials);
/* What a killed engine's trial has left goes: whenever libvirtd has come. */
void serve_trial_tidy(Engine *engine);

/* serve_tests.c: what a killed engine's tests have left goes, whenever libvirtd has come. */
void serve_test_tidy(Engine *engine);

/* A VM's thread has ended; was its role given anew meanwhile? */
void serve_play_again(Engine *engine, Id vm, gboolean standby);

/* The status may be another: our controllers are told soon what they must know, within a second what else there is (tidings.h). */
void serve_news(Engine *engine);
/* Before an answer that says what the status will say, too. */
void serve_news_now(Engine *engine);

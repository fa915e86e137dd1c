/* SPDX-License-Identifier: Apache-2.0 */
/* states - what a VM's copy and a scenario can be, and which moves there are.
 *
 * One list per machine yields the names, the check, the text of the log and
 * the picture in docs/states.md (a test compares). A move that is not listed
 * does not exist: asking for it is a bug of ours, or a peer's mistake that the
 * caller must look for first with state_may_move(). */
#pragma once

#include "orchestrator/core/event.h"

#include <glib.h>

/* Of one VM on one standby, and of the VM (its best standby). */
/* clang-format off */
/*    state          as JSON */
#define COPY_STATES(X)                                                                                       \
    X(UNPROTECTED,   "unprotected")   /* no copy that could take over */                                      \
    X(SYNCHRONIZING, "synchronizing") /* the first copy is being made */                                      \
    X(PROTECTED,     "protected")     /* the newest sealed instant is young enough */                         \
    X(LAGGING,       "lagging")       /* a usable copy, older than 3 intervals + 5 s */                       \
    X(RESYNCING,     "resyncing")     /* a usable, old copy; what differs is sent */                          \
    X(PAUSED,        "paused")        /* changes are remembered, nothing is sent */                           \
    X(SWITCHING,     "switching")     /* a plan moves the VM */                                               \
    X(STOPPED,       "stopped")       /* replication ended; the copy stays as it is */                        \
    X(FAILED,        "failed")        /* only an operator can go on */
/* clang-format on */

typedef enum {
#define X(state, json) COPY_##state,
    COPY_STATES(X)
#undef X
} CopyState;

/* Of a scenario. */
/* clang-format off */
#define SCENARIO_STATES(X)                                                                                   \
    X(STOPPED,       "stopped")                                                                              \
    X(VERIFYING,     "verifying")     /* run was asked for, both hosts are looked at */                       \
    X(SYNCHRONIZING, "synchronizing") /* some VM has no copy yet, one is being made */                        \
    X(RUNNING,       "running")       /* every VM is protected */                                             \
    X(DEGRADED,      "degraded")      /* some VM is unprotected, lagging, or could not be moved */            \
    X(MAINTENANCE,   "maintenance")   /* a host of it is about to be restarted, or is */                      \
    X(SWITCHING,     "switching")     /* a plan runs */                                                       \
    X(SWITCHED,      "switched")      /* the VMs run on the replica */                                        \
    X(PAUSED,        "paused")                                                                               \
    X(FAILED,        "failed")        /* some VM cannot go on without an operator */
/* clang-format on */

typedef enum {
#define X(state, json) SCENARIO_##state,
    SCENARIO_STATES(X)
#undef X
} ScenarioState;

typedef struct {
    int from;
    int to;
    EventCode event;    /* what a move publishes; EVENT_NONE: nothing */
    const char *reason; /* what the operator reads */
} StateEdge;

typedef struct {
    const char *name;
    const char *const *words; /* JSON names by state */
    guint states;
    const StateEdge *edges;
    guint count;
} StateMachine;

const StateMachine *copy_machine(void);
const StateMachine *scenario_machine(void);

/* The edge, or NULL if there is none. */
const StateEdge *state_may_move(const StateMachine *m, int from, int to);

const char *copy_state_name(CopyState state);
const char *scenario_state_name(ScenarioState state);
/* FALSE with @error PROTOCOL for a word that is no state of a copy. */
gboolean copy_state_parse(const char *word, CopyState *ret_state, GError **error);

/* The machine as a section of docs/states.md: a Mermaid picture, then a table. The caller frees. */
char *state_machine_text(const StateMachine *m);

/* SPDX-License-Identifier: Apache-2.0 */
/* stage - a switchover, or a host's maintenance, on two pretended hosts: engines, guests, a network, a
 * controller that can die, and a clock that jumps from one happening to the next.
 *
 * Engines keep what a real one keeps durably across a crash and lose the rest.
 * Whatever happens, the stage itself watches that no VM runs twice. */
#pragma once

#include "../core/world.h"
#include "orchestrator/run/runner.h"

#define STAGE_VMS 2

typedef enum { ALPHA, BETA, STAGE_HOSTS } StageHost;

/* What an engine knows of one VM. */
typedef struct {
    gboolean runs;      /* the guest */
    char *done;         /* durable: last step of the plan */
    char *doing;        /* lost in a crash */
    gboolean final;     /* durable: there is a tip */
    gboolean released;  /* durable: there is a certificate */
    gint64 deadline_ms; /* durable: by when it must be released, or parked */
    guint parked_boot;  /* durable: in which boot it was */
    char *error;        /* durable: why the step after done ended without */
    int error_code;
    gboolean forces;  /* lost in a crash: it is being promoted by force … */
    gboolean forced;  /* durable: … and was */
    gboolean by_hand; /* durable: root has promoted it here, in a reign of its own */
} StageVm;

typedef struct {
    gboolean alive;
    gboolean linked; /* with the controller */
    guint boots;
    gint64 booted_ms;
    StageVm vms[STAGE_VMS + 1]; /* from 1 */
} StageEngine;

typedef struct Stage Stage;
struct Stage {
    World *w;
    Runner *runner;
    guint life;    /* of the controller, counted */
    gboolean dead; /* the controller is; its runner may still be on the stack */
    StageEngine engines[STAGE_HOSTS];
    GPtrArray *journal; /* json_t * records, durable */
    gboolean journal_broken;
    GSequence *coming;             /* what happens when */
    guint points;                  /* so far: each duty and each answer is one */
    guint fault_at;                /* the point at which … */
    void (*fault)(Stage *s);       /* … this happens; NULL: nothing */
    gboolean returning;            /* what alpha has parked is to come back … */
    void (*when_parked)(Stage *s); /* … by what is done to it then; NULL: it is called back */
    gint64 force_at_ms;            /* from then on beta goes on by force, if alpha is silent; 0: never */
    guint stubborn;                /* this guest does not shut down; 0: none */
    guint unstartable;             /* this VM does not start on beta; 0: none */
    gboolean ended;
};

/* A protected scenario of @vms VMs, all running on alpha. */
Stage *stage_new(guint vms);
void stage_free(Stage *s);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Stage, stage_free)

/* Begin a switchover to beta. */
void stage_switch_over(Stage *s);
/* Park all that alpha runs; the last VM starts after the first. @alone: without a last generation. */
void stage_park(Stage *s, gboolean alone);

/* Let happen what comes, up to @until_ms of the clock, or until the plan is over. */
void stage_play(Stage *s, gint64 until_ms);
/* The same, whether the plan is over or not. */
void stage_play_on(Stage *s, gint64 for_ms);

/* Things that go wrong, and right again. */
void stage_cut(Stage *s, StageHost host);
void stage_heal(Stage *s, StageHost host);
void stage_crash(Stage *s, StageHost host);
void stage_boot(Stage *s, StageHost host);
void stage_kill_controller(Stage *s);
void stage_start_controller(Stage *s);
/* …later. */
void stage_later(Stage *s, gint64 in_ms, void (*what)(Stage *s, StageHost host), StageHost host);

/* Root promotes the copy on beta; alpha's guest must be off. */
void stage_promote(Stage *s, guint vm);

gboolean stage_runs(const Stage *s, StageHost host, guint vm);

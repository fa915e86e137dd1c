/* SPDX-License-Identifier: Apache-2.0 */
/* world - a scenario without a controller: its decisions are narrated, not carried out.
 *
 * The trace of what came in and what was decided is the assertion; time is a number. */
#pragma once

#include "orchestrator/core/protection.h"

typedef struct World {
    Roster *roster;
    Scenario *scenario;
    Protection *p;
    gint64 now_ms;
    gint64 wall_ahead_ms; /* of the wall clock */
    GString *trace;
    char *told;                                  /* the text of the last event; NULL: there was none */
    json_t *durable;                             /* what the last "keep durably" kept */
    guint64 sequence[64];                        /* of the tips, by VM */
    void (*on_call)(void *ctx, const Action *a); /* NULL: calls are narrated only */
    void *ctx;
} World;

/* Scenario "web" of VMs web1 … web@vms, from alpha to beta, stopped, both engines up. */
World *world_new(guint vms);
void world_free(World *w);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(World, world_free)

Id world_vm(guint number); /* 1, 2, … */
Id world_id(guint8 byte);  /* a UUID of that byte, for plans and reigns */

/* One input at the world's time; what was decided goes to the trace. */
gboolean world_step(World *w, Input in, GError **error);
void world_do(World *w, InputKind kind);                       /* it must be possible */
void world_refused(World *w, InputKind kind, const char *why); /* it must not */
void world_link(World *w, const char *host, gboolean up);
/* What it says when its link is up, if it has nothing to say. */
void world_hear(World *w, const char *host);
/* The engine answers; @code -1: it did it. */
void world_answer(World *w, const char *host, const char *method, guint vm, int code, const char *why);
/* The VM's active says about its copy on the other host; lag -1: nothing sealed. */
void world_news(World *w, guint vm, const char *state, gint64 lag_ms, const char *why);
/* The same, and more that the engine says of the VM: JSON, an object. */
void world_news_more(World *w, guint vm, const char *state, gint64 lag_ms, const char *why, const char *more);

/* From stopped to every VM protected, without leaving a trace. */
void world_run(World *w);

/* A plan moves every VM to @host, in good order, in that reign. */
void world_moved(World *w, const char *host, guint64 term, gboolean reverse);

/* The controller dies and starts again from what was durable; links are down. */
void world_restart(World *w);

/* The trace is exactly this; then it is empty. */
void world_expect(World *w, const char *trace);
void world_forget(World *w);

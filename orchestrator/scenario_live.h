/* SPDX-License-Identifier: Apache-2.0 */
/* scenario_live - one scenario's life: inputs in, actions carried out in order.
 * Private to the scenarios files. */
#pragma once

#include "orchestrator/core/verify_memory.h"
#include "orchestrator/debts.h"
#include "orchestrator/reigns.h"
#include "orchestrator/scenarios.h"
#include "orchestrator/watches.h"

typedef struct {
    ScenariosDone done; /* NULL: nobody */
    void *user;
} Waiter;

typedef struct {
    Scenarios *owner;
    Id id; /* of its row */
    Protection *p;
    GQueue *todo;        /* Todo *, in order */
    gboolean keeping;    /* the first of them is an ACTION_PERSIST under way */
    gboolean keep_again; /* it failed and is tried again */
    guint noting;        /* rows under way that nothing waits for */
    gboolean note_again; /* one of them failed, and none was made since */
    gboolean is_new;     /* it has no row yet */
    gboolean pumping;
    gboolean leaving; /* it is being deleted */
    Waiter runner;    /* who asked for the run that is being verified */
    Waiter stopper;   /* who asked for the stop that engines are still told about */
    gint64 stop_until_ms;
    guint round;         /* rises when a verification that is under way says nothing any more */
    gboolean looking;    /* a verification that nobody asked for is under way */
    gint64 look_at_ms;   /* when the next one is due */
    guint64 row;         /* number of its durable row, which rises; 0: it has none yet */
    GHashTable *papers;  /* host -> Paper *: which of these its engine keeps for us (scenario_papers.c) */
    VerifyMemory *known; /* what the last verification found; NULL: none was made */
} Live;

struct Scenarios {
    Database *db;
    Hosts *hosts;
    Events *events;
    ScenariosEvents duties;
    void *user;
    GPtrArray *list; /* Live *, by name */
    Reigns *reigns;
    Debts *debts;
    Vitals *vitals;
    Watches *watches;
    gboolean closed;
};

Live *live_new(Scenarios *owner, Id id, Protection *steal_protection);
/* Who waits for something of it is told CANCELLED. */
void live_free(gpointer live);

/* scenarios_step(). */
gboolean live_step(Live *live, Input in, ScenariosDone done, void *user, GError **error);
/* @done when the verification that was just asked for has ended. */
void live_wait_verified(Live *live, ScenariosDone done, void *user);

/* @done when the stop that was just asked for is durable, and done by the engines that are there. */
void live_wait_stopped(Live *live, ScenariosDone done, void *user);

/* About once a second: if it is time, verify it, and say so if the answer is another. */
void live_look(Live *live);

/* Its row is made. If that fails the scenario is not there any more. */
void live_persist_first(Live *live, ScenariosDone done, void *user);
void live_persist_again(Live *live);

/* Its row with number @row. */
json_t *live_document(const Live *live, guint64 row);

/* scenario_papers.c: engines keep the rows of the scenarios that they have a part in. About once a second; and of a host
 * that was away nothing is known. */
void live_give_papers(Live *live);
void live_forget_papers(Live *live, const char *host);
/* It is being deleted: engines that are there forget it, too. */
void live_take_papers(Live *live);

/* scenarios.c: NULL if it is gone. */
Live *scenarios_live(const Scenarios *s, Id id);
void scenarios_drop(Scenarios *s, Live *live);

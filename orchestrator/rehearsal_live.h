/* SPDX-License-Identifier: Apache-2.0 */
/* rehearsal_live - one integrity test, from its row to the event that tells its end. Private to the rehearsals files. */
#pragma once

#include "orchestrator/core/rehearsal_result.h"
#include "orchestrator/rehearsals.h"

typedef enum {
    REHEARSAL_ROW,      /* its row is being made; nobody was told */
    REHEARSAL_STARTING, /* its engine was told to begin, and has not answered */
    REHEARSAL_RUNNING,  /* it is asked for the result */
    REHEARSAL_FETCHING, /* it has ended: what was seen of its VMs is asked for */
    REHEARSAL_KEEPING,  /* its end is to be durable */
    REHEARSAL_KEPT,     /* it is: it is told, and its row to be closed */
} RehearsalPhase;

typedef struct {
    Rehearsals *owner;
    Id id;
    char *scenario;
    char *host;
    gint64 begun_ms; /* wall; 0: it was loaded */
    RehearsalPhase phase;
    json_t *params;          /* of test.start; NULL: it was loaded */
    json_t *doc;             /* what is known of it */
    gboolean begun;          /* durable: its engine has said so */
    gboolean ready;          /* durable: that it is was told */
    gboolean busy;           /* a question to its engine, or a change of its row, is under way */
    gint64 again_ms;         /* steady: the next of them is not before */
    gint64 changed;          /* as its engine's news count; -1: none came */
    gint64 asked;            /* … when it was asked last */
    gboolean stop;           /* it is to end … */
    gboolean stopped;        /* … and its engine has said yes to that … */
    guint stopping;          /* … or is being told … */
    gint64 stop_ms;          /* … or is not told before */
    gboolean given_up;       /* durable: its end is not its engine's word */
    RehearsalResult *result; /* of one that has ended */
    guint at;                /* the VM of it whose evidence is next */
    RehearsalsDone done;     /* who began it, and is not told yet; NULL: nobody */
    void *user;
} Rehearsal;

struct Rehearsals {
    Database *db;
    Hosts *hosts;
    Events *events;
    Proofs *proofs;
    GPtrArray *list; /* Rehearsal *: those that are open */
    gboolean closed;
};

/* NULL: it is not open (any more). */
Rehearsal *rehearsals_find(const Rehearsals *r, Id id);

/* @params: of test.start; NULL of one that was loaded. */
Rehearsal *rehearsal_new(Rehearsals *owner, Id id, const char *scenario, const char *host,
                         json_t *steal_params, json_t *steal_doc);
/* Who waits for its beginning is told CANCELLED. */
void rehearsal_free(gpointer rehearsal);

/* Its row is made, and then its engine told. */
void rehearsal_begin(Rehearsal *t);
/* Whatever is due. It may be gone then. */
void rehearsal_pump(Rehearsal *t);
/* Something of it has changed: ask soon. */
void rehearsal_hurry(Rehearsal *t);
/* Tell its engine to end it, if that was not done; and what came of telling it. */
void rehearsal_end(Rehearsal *t);
void rehearsal_end_said(Rehearsal *t, const GError *error);
gboolean rehearsal_has_ended(const Rehearsal *t);
/* For people: its document, and "waits". New reference. */
json_t *rehearsal_describe(const Rehearsal *t);

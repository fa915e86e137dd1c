/* SPDX-License-Identifier: Apache-2.0 */
/* stage - a world (world.h) whose hosts and guests are watched: alpha and beta say what they see of each other and of web1, web2 on
 * alpha, and a second passes.
 *
 * A test changes what they have to say, and lets time pass. The policy's times are short: a countdown of 20 s. */
#pragma once

#include "world.h"

#define UNRESOLVED (-2)

typedef struct {
    World *w;
    Vitals *v;
    guint told;             /* of what each has said last */
    const char *word, *why; /* of web1, by alpha's engine; NULL: it does not name it */
    const char *other;      /* of web2, if there is one */
    const char *lease;      /* of both; NULL: they have none */
    const char *there;      /* of web2, by beta's engine, which runs it; NULL: it does not */
    guint other_boots;
    guint boots;
    guint barks;               /* of its watchdog */
    guint halts;               /* for want of a lease … */
    int halted_ms;             /* … and how long, the last time */
    gboolean libvirt, unheard; /* it answers; the engine has not heard whether it does */
    const char *guard;         /* of alpha: what it does instead of answering; NULL: it answers */
    gboolean unwanted;         /* … and no VM there has leases */
    int agent;                 /* misses; -1: it was never answered */
    int path;                  /* misses of both checks of alpha's one path, as beta has it */
    int via;                   /* misses of alpha's engine on its second path; -1: it has none */
    int gateway; /* misses of beta's; -1: it has none, UNRESOLVED: nobody on its line has ever said who it is */
    int web;     /* misses of beta's check of web1, if there is one */
    gboolean has_web;   /* there is */
    gboolean forgetful; /* its engine does not know any more that it was ever answered */
    int ssh;            /* misses of beta's other check of it; -1: there is none */
    int second;         /* of its check of web2; -1: there is none */
    gboolean unmade;    /* beta has no name server: alpha is not pinged any more */
    int beat;           /* misses of alpha's engine alone, if its echo comes back … */
    gboolean hangs;     /* … nobody says anything; else it is refused */
    int far;            /* of both checks of another host that beta watches; -1: it watches none */
} Stage;

/* web1, or all up to web@vms: protected, and both hosts have spoken; at second 1. */
Stage *stage_new(void);
Stage *stage_new_of(guint vms);
void stage_free(Stage *s);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Stage, stage_free)

/* A second passes, in which both said what they have to say; alpha only if it @alpha_speaks. */
void stage_pass(Stage *s, gboolean alpha_speaks);
void stage_pass_for(Stage *s, int seconds, gboolean alpha_speaks);
/* Only what was decided. */
void stage_expect(Stage *s, const char *wanted);
/* An answer to guest.revive of web1. */
void stage_revived(Stage *s, int code, const char *why);

/* The controller's link to alpha; the last two leave no trace. */
void stage_link(Stage *s, gboolean up);
void stage_lose(Stage *s);
void stage_find(Stage *s);

/* The controller starts again at once, and nobody has forgotten what engines said of others … */
void stage_restart(Stage *s);
/* … or after @away_s, and knows of alpha what was told. Beta's engine answers it at once. */
void stage_controller_back(Stage *s, int away_s, EventCode told);

/* SPDX-License-Identifier: Apache-2.0 */
/* lease_sim - two engines and a controller, one VM, and everything that can go wrong between them, by the real voters and holders.
 *
 * A schedule is all chance of one seed: lines that lose, repeat and delay for seconds, one way or both; processes that end and come back, hosts that
 * freeze, crash and boot; clocks at the edges of what they may do; a controller that is put back from a copy; an operator who arms, moves, declines and
 * forces. Guards and gates act in the last moment that they have, so that what is checked is the arithmetic and not their reserve.
 *
 * What must be true after each event: no guest of a lower reign runs behind an open gate once a guest of a higher one has run; a reign
 * has one owner, but for a forced one; no promise falls. */
#pragma once

#include <glib.h>

/* The protocol with one of its rules broken. */
typedef enum {
    SIM_AS_WRITTEN,
    SIM_NO_MARGIN,          /* a lease is as long as its grant */
    SIM_FROM_RECEIPT,       /* … and counted from the answer */
    SIM_NO_SITOUT,          /* who has started votes at once */
    SIM_VOTE_FORGOTTEN,     /* a promise is not durable before it is told */
    SIM_VOTED_STILL_RENEWS, /* who has promised another reign goes on renewing */
    SIM_VOTES_IN_GRANT,     /* … or promises before its own grant is over */
    SIM_ONE_PROMISE,        /* one makes a reign */
    SIM_NO_STOP,            /* nobody stops a guest whose lease ends: neither guard nor gate */
    SIM_NO_GATE,            /* a host that thaws runs its guest before anybody can stop it */
    SIM_STARTS_UNASKED,     /* a host that boots starts its guest */
    SIM_STARTS_LATE,        /* what was decided is done, however long after */
    SIM_EARLY_DISARM,       /* enforcement ends before voters have confirmed */
    SIM_NO_ARM_NUMBER,      /* the last word of the arm counts, not the newest */
    SIM_FENCED_LATE,        /* what was said of a fence counts, however old it is */
    SIM_FENCED_KEEPS, /* who has said that it holds no lease goes by what was granted before all the same */
    SIM_RELEASE_FORGOTTEN, /* a release is not durable before it is told */
    SIM_COPY_SPEAKS,       /* a controller that was put back grants and votes */
    SIM_NO_INCARNATION,    /* … or what it promised before counts still */
    SIM_FORCE_AT_ONCE,     /* force does not wait */
    SIM_MUTATIONS
} SimMutation;

const char *sim_mutation_name(SimMutation mutation);

typedef struct {
    guint64 events;
    guint takeovers, handovers, declined, forced, stopped, resumed, armed_again, restored;
    char *violation; /* NULL: none; what was wrong first */
} SimResult;

/* @result is added to; whoever is called first sets it to nothing. */
void sim_run(guint64 seed, SimMutation mutation, SimResult *result);

/* SPDX-License-Identifier: Apache-2.0 */
/* holder - the active of a reign: asks the voters to keep it, and says whether its VM may run.
 *
 * A reign begins disarmed: nobody else can be elected, and nothing is enforced. To arm it the holder enforces first and tells then; to disarm it
 * tells first, and enforces until enough voters have confirmed: so it enforces whenever some of them could vote. Every lease counts
 * from when its holder asked for it, by requests of this process alone. */
#pragma once

#include "orchestrator/core/lease/voter.h"

#define HOLDER_ASKED 8 /* requests to each voter that are waited for */

typedef struct {
    guint64 nonces[HOLDER_ASKED];
    LeaseMoment ends[HOLDER_ASKED]; /* of the lease that each brings, if it is granted */
    guint next;
    gboolean hears;    /* the last request was answered */
    gboolean answered; /* at this reign, to a request of this process */
    LeaseMoment until; /* its lease */
    guint64 arm;       /* that it has confirmed */
    guint64 incarnation;
} HolderVoter;

typedef struct {
    Reign reign;
    guint64 arm; /* durable before it is told */
    gboolean enforces;
    LeaseQuorum quorum;
    HolderVoter voters[LEASE_VOTERS_MAX];
    guint64 nonce;  /* the last */
    Reign higher;   /* that a voter keeps, which ends this one; its number is 0: none is known */
    gboolean rival; /* … another of this one's number */
} Holder;

/* A process begins with a reign that is its own; @arm: as it is durable, 0 in a new reign. @enforces: FALSE only if it is known (by who has
 * stopped guests in its name, and outlived the process before) that enough voters have confirmed the last disarming. */
void holder_start(Holder *h, Reign reign, guint64 arm, gboolean enforces, LeaseQuorum quorum,
                  guint32 process);

/* To @voter (its place), each renew_ms. @stopped: what it ran was stopped for want of a lease; then it asks for none of who does not answer it
 * at present, and whose grants would keep others from taking over for nothing (a line that carries one way), and says so. */
LeaseRenewal holder_ask(Holder *h, guint voter, gboolean stopped, const LeaseTimes *times, LeaseMoment now);
void holder_hear(Holder *h, guint voter, const LeaseAnswer *answer);

/* TRUE: the arm has changed, and is to be durable before anybody is asked again. */
gboolean holder_arm(Holder *h);
gboolean holder_disarm(Holder *h);

/* What is left of enough leases; 0 or less: there are none. */
gint64 holder_left_ms(const Holder *h, LeaseMoment now);
/* May what stands still be started? No lease is needed to be renewed for that, but one that lasts longer than it takes to stop again. */
gboolean holder_may_start(const Holder *h, LeaseMoment now);
/* May it be armed? As many must keep it as would have to promise another reign: who does not speak at present could elect nobody in its place. */
gboolean holder_may_arm(const Holder *h, LeaseMoment now);
/* May what runs go on? */
gboolean holder_may_go_on(const Holder *h, LeaseMoment now);

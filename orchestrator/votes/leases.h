/* SPDX-License-Identifier: Apache-2.0 */
/* leases - an active's side: the holders of all VMs that run on this host, renewed in one list for each of their voters.
 *
 * It says when to ask whom for what, and until when each VM may run; who carries the lists, and who stops guests, is its user's. What a VM
 * may do changes only by an answer, an arm or the time: its user hears of the first two (on_until), and keeps the third himself, for
 * this process may be the one that hangs. Loop thread only. */
#pragma once

#include "orchestrator/core/lease/holder.h"
#include "orchestrator/votes/voters.h"

#include <uv.h>

typedef struct Leases Leases;

/* Until when a VM may run. */
typedef struct {
    gboolean may_start; /* what stands still may be started, or go on */
    gboolean may_arm;   /* it would be armed if that were wanted; of one that is, whether it would be again */
    gboolean is_over;   /* another reign is the one: never again in this */
    gboolean enforced;  /* it must be stopped at … */
    LeaseMoment until;  /* … this moment, on whichever clock that comes first */
} LeaseUntil;

typedef struct {
    /* Ask @voter: GArray of Renewal, borrowed. */
    void (*on_ask)(void *user, Id voter, const GArray *renewals);
    /* What @vm may do is another, or lasts longer. */
    void (*on_until)(void *user, Id vm, const LeaseUntil *until);
} LeasesEvents;

/* @voters keeps the arms durable; borrowed, as is @events' user. */
Leases *leases_new(uv_loop_t *loop, Voters *voters, const LeasesEvents *events, void *user);
/* No event comes any more; it frees itself when the loop is through with its timer. */
void leases_close(Leases *l);

/* @vm is this host's in @reign, and these are its voters; at once asked. One that is there is another if its reign or voters are. @enforced: as
 * holder_start(). */
void leases_hold(Leases *l, Id vm, Reign reign, const Id *voters, guint voter_count, const LeaseTimes *times,
                 gboolean enforced);
/* It is not this host's any more, or nobody else's to take: whatever was armed is not, should it be held in this reign again. */
void leases_let_go(Leases *l, Id vm);
/* What ran was stopped for want of a lease, or runs again. */
void leases_stopped(Leases *l, Id vm, gboolean stopped);

/* As soon as it may be (holder_may_arm()). A new arm is told to nobody before it is durable; enforcement begins then, and ends when enough have confirmed. */
void leases_arm(Leases *l, Id vm, gboolean armed);

/* GArray of RenewalAnswer that came from @voter. */
void leases_hear(Leases *l, Id voter, const GArray *answers);

/* FALSE: it is not held here. */
gboolean leases_until(const Leases *l, Id vm, LeaseUntil *ret_until);

/* SPDX-License-Identifier: Apache-2.0 */
/* lease - times and numbers of the votes by which a reign is kept, and the next one made.
 *
 * Pure, and shared by engines and controller: voter.h is a party that promises, holder.h the active that asks to be renewed,
 * ballot.h a standby that wants to be the active. A reign is kept by the voters beside its active, whose own voice does not count:
 * of n of them p = n/2 + 1 promises make the next one and r = n + 1 - p leases keep this one, so that whoever promises is missed by
 * whoever keeps.
 *
 * Time is read on two clocks, neither of which is trusted alone: CLOCK_BOOTTIME may be slewed, CLOCK_MONOTONIC_RAW stands still in a
 * suspend. Who holds a lease goes by the one that is ahead, who granted it by the one that is behind; each is taken to be within one part in
 * a hundred of real time where it is the one that counts. A lease is counted from when it was asked for, a grant from when it is given, so a
 * lease has ended before its grant, whatever was on its way for how long. The wall clock has no part in it. */
#pragma once

#include <glib.h>

typedef struct {
    gint64 boot_ms; /* CLOCK_BOOTTIME */
    gint64 raw_ms;  /* CLOCK_MONOTONIC_RAW */
} LeaseMoment;

LeaseMoment lease_moment_after(LeaseMoment m, gint64 ms);
/* The later of both, on each clock. */
LeaseMoment lease_moment_later(LeaseMoment a, LeaseMoment b);
/* For a holder: what is left until @m at most, by the clock that is ahead; 0 or less: it may be over. */
gint64 lease_left_ms(LeaseMoment m, LeaseMoment now);
/* For a grantor: it is over on both clocks. */
gboolean lease_is_over(LeaseMoment m, LeaseMoment now);

typedef struct {
    gint64 grant_ms; /* how long a grantor neither votes, nor lets another be the active … */
    gint64 lease_ms; /* … and for how much of that its holder may count on it */
    gint64 renew_ms; /* how often it is asked for */
} LeaseTimes;

#define LEASE_RESERVE_MS 5000 /* of the countdown, for the election and its promotion */
#define LEASE_STOP_MS 1500    /* what it takes to stop a guest */
#define LEASE_COUNTDOWN_MIN_MS 12000

/* Of a scenario's countdown. FALSE with @error USAGE: it is too short to be kept by leases. */
gboolean lease_times(gint64 countdown_ms, LeaseTimes *ret_times, GError **error);

#define LEASE_VOTERS_MAX 8

typedef struct {
    guint voters;   /* beside the active: standbys that vote, and the controller */
    guint promises; /* that make a reign … */
    guint leases;   /* … and that keep one */
} LeaseQuorum;

/* @voters: 1 to LEASE_VOTERS_MAX. */
LeaseQuorum lease_quorum(guint voters);

/* The highest arm that anybody is believed: whoever counts on from there does so for ever. */
#define LEASE_ARM_MAX (G_GUINT64_CONSTANT(1) << 52)

/* Odd: armed, so that another may be elected and the active must hold a lease; each change is the next number, so that what is on its
 * way arms nobody again. */
static inline gboolean lease_is_armed(guint64 arm)
{
    return arm % 2 == 1;
}

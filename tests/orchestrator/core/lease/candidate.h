/* SPDX-License-Identifier: Apache-2.0 */
/* candidate - a standby that asks the other voters by itself to make the next reign its own: harder on the rules than the product, where the
 * controller asks it, and brings the only other vote along.
 *
 * Asking changes nothing. Its own promise is the last: when it has the others' it looks again whether it would vote itself
 * (voter_would_vote()), for the active may have come back. */
#pragma once

#include "orchestrator/core/lease/voter.h"

typedef struct {
    Ballot ballot;
    LeaseQuorum quorum;
    gboolean votes[LEASE_VOTERS_MAX];
    guint64 incarnations
        [LEASE_VOTERS_MAX]; /* below which a voter's word is void; durable with the engine, not here */
} Candidate;

/* The incarnations stay. */
void candidate_stand(Candidate *c, const Ballot *ballot, LeaseQuorum quorum);
/* What @voter (its place) has answered to that ballot. */
void candidate_hear(Candidate *c, guint voter, const Ballot *ballot, VoteVerdict verdict,
                    guint64 incarnation);
/* What it promised before it was a copy that speaks again is void. */
void candidate_void(Candidate *c, guint voter, guint64 incarnation);
/* All that it needs but its own? */
gboolean candidate_has_others(const Candidate *c);

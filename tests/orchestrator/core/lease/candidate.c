/* SPDX-License-Identifier: Apache-2.0 */
#include "candidate.h"

#include <string.h>

void candidate_stand(Candidate *c, const Ballot *ballot, LeaseQuorum quorum)
{
    c->ballot = *ballot;
    c->quorum = quorum;
    memset(c->votes, 0, sizeof(c->votes));
}

void candidate_void(Candidate *c, guint voter, guint64 incarnation)
{
    g_assert(voter < LEASE_VOTERS_MAX);
    if (incarnation <= c->incarnations[voter])
        return;
    c->incarnations[voter] = incarnation;
    c->votes[voter] = FALSE;
}

void candidate_hear(Candidate *c, guint voter, const Ballot *ballot, VoteVerdict verdict, guint64 incarnation)
{
    g_assert(voter < LEASE_VOTERS_MAX);
    if (verdict != VOTE_GIVEN || !reign_equal(ballot->next, c->ballot.next) ||
        incarnation < c->incarnations[voter])
        return;
    candidate_void(c, voter, incarnation);
    c->votes[voter] = TRUE;
}

gboolean candidate_has_others(const Candidate *c)
{
    guint votes = 0;

    for (guint i = 0; i < LEASE_VOTERS_MAX; i++)
        votes += c->votes[i] ? 1 : 0;
    return votes + 1 >= c->quorum.promises;
}

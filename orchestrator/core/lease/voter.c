/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/core/lease/voter.h"

/* Longer than from one asking of a plan to the next. */
#define CLOSED_MS 5000
/* A ballot may be so long on its way. */
#define BALLOT_WAY_MS 10000

void voter_start(Voter *v, const VoterRecord *record, guint64 incarnation, gboolean is_copy, LeaseMoment now)
{
    *v = (Voter){.record = *record,
                 .incarnation = incarnation,
                 .mute = is_copy,
                 .granted = now,
                 .last = now,
                 .heard = now,
                 .sits = lease_moment_after(now, record->cap_ms)};
}

static void obey(Voter *v, Reign reign, guint64 arm)
{
    v->record.promised = reign;
    v->record.arm = arm;
    v->closed = (LeaseMoment){0};
}

gboolean voter_speak(Voter *v, Reign highest, guint64 arm, gint64 cap_ms, guint64 incarnation,
                     LeaseMoment now)
{
    const VoterRecord before = v->record;

    v->mute = FALSE;
    v->incarnation = incarnation;
    v->record.cap_ms = MAX(before.cap_ms, cap_ms);
    v->sits = lease_moment_after(now, v->record.cap_ms);
    if (highest.number > before.promised.number ||
        (reign_equal(highest, before.promised) && arm > before.arm))
        obey(v, highest, arm);
    return v->record.cap_ms != before.cap_ms || v->record.arm != before.arm ||
           !reign_equal(v->record.promised, before.promised);
}

void voter_close(Voter *v, LeaseMoment now)
{
    v->closed = lease_moment_after(now, CLOSED_MS);
}

static LeaseMoment granted_until(const Voter *v)
{
    return lease_moment_later(v->granted, v->last);
}

/* Durable before the first that is longer, so that it is sat out; and forgotten when none of them can be kept any more. */
static gboolean set_cap(Voter *v, gint64 grant_ms, LeaseMoment now)
{
    LeaseMoment until = lease_moment_after(now, grant_ms);
    LeaseMoment granted = granted_until(v);
    gboolean all_shorter = granted.boot_ms <= until.boot_ms && granted.raw_ms <= until.raw_ms;
    gint64 before_ms = v->record.cap_ms;

    if (grant_ms > before_ms || (all_shorter && lease_is_over(v->sits, now)))
        v->record.cap_ms = grant_ms;
    return v->record.cap_ms != before_ms;
}

static gboolean is_of_last(const Voter *v, guint64 nonce)
{
    return nonce >> 32 == v->nonce >> 32;
}

/* What another process was granted, before it or since, is kept apart: what is late may come from either. */
static void give(Voter *v, guint64 nonce, LeaseMoment until)
{
    if (!is_of_last(v, nonce)) {
        v->granted = granted_until(v);
        v->last = until;
        v->nonce = nonce;
        return;
    }
    v->last = lease_moment_later(v->last, until);
    v->nonce = MAX(v->nonce, nonce);
}

/* What was sent before a request that was granted since says nothing of that; nor does it of what another process was granted. */
static void take_back(Voter *v, guint64 nonce, LeaseMoment now)
{
    if (is_of_last(v, nonce) && nonce > v->nonce)
        v->last = now;
}

static gboolean grant(Voter *v, const LeaseRenewal *asked, const VoterSight *sight, LeaseAnswer *answer)
{
    gboolean changed = FALSE;

    if (asked->arm > v->record.arm) {
        v->record.arm = asked->arm;
        changed = TRUE;
    }
    if (asked->fenced) {
        take_back(v, asked->nonce, sight->now);
    } else if (!v->mute && lease_is_over(v->closed, sight->now)) {
        changed |= set_cap(v, asked->grant_ms, sight->now);
        give(v, asked->nonce, lease_moment_after(sight->now, asked->grant_ms));
        answer->verdict = LEASE_GRANTED;
    }
    return changed;
}

gboolean voter_renew(Voter *v, const LeaseRenewal *asked, const VoterSight *sight, LeaseAnswer *ret_answer)
{
    LeaseAnswer answer = {.nonce = asked->nonce, .verdict = LEASE_NOT_GRANTED, .incarnation = v->incarnation};
    gboolean changed = FALSE;

    if (asked->reign.number >= v->record.promised.number)
        v->heard = sight->now;
    /* A reign that was made without votes, while nobody was armed. */
    if (sight->known.number > v->record.promised.number) {
        obey(v, sight->known, 0);
        changed = TRUE;
    }
    if (asked->reign.number < v->record.promised.number) {
        answer.verdict = LEASE_HIGHER;
    } else if (reign_equal(asked->reign, v->record.promised)) {
        changed |= grant(v, asked, sight, &answer);
    } else if (asked->reign.number == v->record.promised.number) {
        answer.verdict = LEASE_CONFLICT;
    } else if (sight->runs_lower) {
        answer.verdict = LEASE_STOP_FIRST;
    } else if (!v->mute) {
        obey(v, asked->reign, 0);
        (void)grant(v, asked, sight, &answer);
        changed = TRUE;
    }
    answer.reign = v->record.promised;
    answer.arm = v->record.arm;
    *ret_answer = answer;
    return changed;
}

static VoteVerdict when_free(const Voter *v, LeaseMoment now)
{
    if (!lease_is_over(v->sits, now))
        return VOTE_SITS;
    return lease_is_over(granted_until(v), now) ? VOTE_GIVEN : VOTE_KEEPS;
}

static gboolean ends_this(const Voter *v, const Ballot *ballot)
{
    Reign now = v->record.promised;

    switch (ballot->kind) {
    case BALLOT_ELECTION:
        return reign_equal(ballot->parent, now) && ballot->next.number > now.number;
    case BALLOT_RELEASE:
        /* Whose owner has given it away for good, though this voter may never have heard of it. */
        return reign_equal(ballot->parent, now) || ballot->parent.number > now.number;
    case BALLOT_FORCE:
    case BALLOT_CERTIFIED:
        break;
    }
    /* Who forces may not know the last reign that there was. */
    return ballot->next.number > now.number;
}

/* Whatever the clocks may lie, and as late as the ballot may be: nobody has asked since. */
static gboolean was_heard_since(const Voter *v, gint64 sure_ms, LeaseMoment now)
{
    return sure_ms > 0 &&
           !lease_is_over(lease_moment_after(v->heard, sure_ms + sure_ms / 50 + BALLOT_WAY_MS), now);
}

VoteVerdict voter_would_vote(const Voter *v, const Ballot *ballot, LeaseMoment now)
{
    if (v->mute && ballot->kind != BALLOT_CERTIFIED)
        return VOTE_MUTE;
    if (reign_equal(ballot->next, v->record.promised))
        return VOTE_GIVEN;
    if (!ends_this(v, ballot))
        return VOTE_OTHER_REIGN;
    switch (ballot->kind) {
    case BALLOT_ELECTION:
        return lease_is_armed(v->record.arm) ? when_free(v, now) : VOTE_DISARMED;
    case BALLOT_FORCE:
        return lease_is_armed(v->record.arm) ? when_free(v, now) : VOTE_GIVEN;
    case BALLOT_CERTIFIED:
        return was_heard_since(v, ballot->sure_ms, now) ? VOTE_HEARD : VOTE_GIVEN;
    case BALLOT_RELEASE:
        break;
    }
    return VOTE_GIVEN;
}

gboolean voter_vote(Voter *v, const Ballot *ballot, LeaseMoment now, VoteVerdict *ret_verdict)
{
    *ret_verdict = voter_would_vote(v, ballot, now);
    if (*ret_verdict != VOTE_GIVEN || reign_equal(ballot->next, v->record.promised))
        return FALSE;
    obey(v, ballot->next, 0);
    return TRUE;
}

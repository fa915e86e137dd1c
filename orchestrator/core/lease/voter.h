/* SPDX-License-Identifier: Apache-2.0 */
/* voter - a party's promises about one VM: whose reign it keeps, and that it makes no other while it does.
 *
 * A standby's engine and the controller each are one, and so is the active's engine, which promises too when it gives the VM away. What a
 * function changes of the record (it says so) is durable before its answer leaves. All else is lost with the process, which therefore sits
 * out the longest grant that it may have given before it votes. Whoever finds its record to be a copy does not even grant: it is mute until
 * it has heard every engine, and its votes of before are void (incarnation). */
#pragma once

#include "orchestrator/core/lease/lease.h"
#include "vmconnect/base/generation.h"

typedef struct {
    Reign promised; /* the highest that it has obeyed, voted for or made; it never falls */
    guint64 arm;    /* of that reign */
    gint64 cap_ms;  /* no grant that is kept still is longer */
} VoterRecord;

typedef struct {
    VoterRecord record;
    guint64 incarnation; /* of the memory, not the process: another only when a copy speaks again */
    gboolean mute;
    LeaseMoment closed;  /* until then it renews nobody: its operator is about to make the next reign */
    LeaseMoment granted; /* until then some active's process may count on it … */
    LeaseMoment last;    /* … and until then the one that asked last … */
    guint64 nonce;       /* … by this request, the newest of its own that was granted */
    LeaseMoment
        heard; /* when somebody asked last to be renewed in its reign, or it began: so long ago nobody was off */
    LeaseMoment sits; /* until then it does not vote */
} Voter;

/* A process begins. */
void voter_start(Voter *v, const VoterRecord *record, guint64 incarnation, gboolean is_copy, LeaseMoment now);
/* A copy has heard all engines, which void from now on what an earlier @incarnation has promised: @highest is the highest reign that one of
 * them obeys, with its arm; @cap_ms the longest grant that one of them may hold. TRUE: the record has changed. */
gboolean voter_speak(Voter *v, Reign highest, guint64 arm, gint64 cap_ms, guint64 incarnation,
                     LeaseMoment now);

/* What it has granted ends, and nothing is added, as long as that is said again. */
void voter_close(Voter *v, LeaseMoment now);

/* --- asked to keep a reign --------------------------------------------------- */

typedef struct {
    Reign reign;
    guint64 arm;
    guint64 nonce; /* rises with each request of a process; its upper half is that of one process alone */
    gint64
        grant_ms; /* for so long: whoever asks knows what he counts on, whatever the voter was told of the countdown */
    gboolean fenced; /* its sender has stopped what it ran: it holds no lease, and wants none */
} LeaseRenewal;

/* What the voter's host knows beside. */
typedef struct {
    LeaseMoment now;
    Reign known; /* the highest reign that it has heard of otherwise, durably; number 0: none */
    gboolean
        runs_lower; /* it runs the VM itself, in a lower reign: that is stopped before another is obeyed */
} VoterSight;

typedef enum {
    LEASE_GRANTED,
    LEASE_NOT_GRANTED, /* mute, closed for now, or the sender is fenced */
    LEASE_STOP_FIRST,  /* runs_lower */
    LEASE_HIGHER,      /* the voter keeps a higher reign */
    LEASE_CONFLICT,    /* or another of the same number: an operator must decide */
} LeaseVerdict;

typedef struct {
    guint64 nonce;
    LeaseVerdict verdict;
    Reign reign; /* that the voter keeps … */
    guint64 arm; /* … with this arm */
    guint64 incarnation;
} LeaseAnswer;

/* TRUE: the record has changed. */
gboolean voter_renew(Voter *v, const LeaseRenewal *asked, const VoterSight *sight, LeaseAnswer *ret_answer);

/* --- asked for another reign ------------------------------------------------- */

typedef enum {
    BALLOT_ELECTION, /* the active is not heard */
    BALLOT_RELEASE, /* it has given the VM to this candidate, durably; or its successor declines, and gives it back */
    BALLOT_FORCE,    /* an operator wants it: what was granted is waited for */
    BALLOT_CERTIFIED /* … and says that the old one is off, or a fence has made it so: nothing is */
} BallotKind;

typedef struct {
    BallotKind kind;
    Reign parent; /* that ends */
    Reign next;
    gint64
        sure_ms; /* CERTIFIED: it was off so long ago, and a voter that has heard it since knows better; 0: it stays off */
} Ballot;

#define BALLOT_SURE_MAX_MS ((gint64)10 * 365 * 24 * 3600 * 1000) /* and longer: it is not known since when */

typedef enum {
    VOTE_GIVEN,
    VOTE_OTHER_REIGN, /* it does not keep the parent (any more) */
    VOTE_MUTE,
    VOTE_DISARMED, /* nobody is elected in this reign */
    VOTE_SITS,     /* it has just started */
    VOTE_KEEPS,    /* what it has granted is not over */
    VOTE_HEARD,    /* the active was off, and is not any more */
} VoteVerdict;

/* Nothing is promised by that. */
VoteVerdict voter_would_vote(const Voter *v, const Ballot *ballot, LeaseMoment now);
/* VOTE_GIVEN is a promise. TRUE: the record has changed. */
gboolean voter_vote(Voter *v, const Ballot *ballot, LeaseMoment now, VoteVerdict *ret_verdict);

/* SPDX-License-Identifier: Apache-2.0 */
/* renewal - what an active and its voters say to each other, as it travels: all VMs of the two in one list.
 *
 * Reading is strict: one odd entry refuses the whole list (USAGE), for nobody would know of which VM it was. Numbers are those of 64 bits without a
 * sign, as sixteen hex digits where JSON's would not do (nonces). */
#pragma once

#include "orchestrator/core/lease/voter.h"

#include <jansson.h>

#define RENEWALS_MAX 4096
#define RENEWAL_GRANT_MAX_MS ((gint64)24 * 3600 * 1000)

typedef struct {
    Id vm;
    LeaseRenewal renewal;
} Renewal;

/* [{"vm", "reign", "arm", "nonce", "grant_ms", "fenced"}]; new reference. */
json_t *renewals_to_json(const GArray *renewals);
/* GArray of Renewal; the caller unrefs. */
GArray *renewals_from_json(const json_t *list, GError **error);

typedef struct {
    Id vm;
    LeaseAnswer answer;
} RenewalAnswer;

/* [{"vm", "nonce", "verdict": "granted" | "not granted" | "stop first" | "higher" | "conflict", "reign", "arm", "incarnation"}] */
json_t *renewal_answers_to_json(const GArray *answers);
GArray *renewal_answers_from_json(const json_t *list, GError **error);

/* {"kind": "election" | "release" | "force" | "certified", "parent", "next"}, and "sure_ms" if it is not 0; new reference. */
json_t *ballot_to_json(const Ballot *ballot);
gboolean ballot_from_json(const json_t *doc, Ballot *ret_ballot, GError **error);

/* "given" | "other reign" | "mute" | "disarmed" | "sits" | "keeps" | "heard" */
const char *vote_verdict_name(VoteVerdict verdict);
/* What one that is no vote means, for people: BUSY: it is asked again. @who did not vote. */
GError *vote_verdict_failure(VoteVerdict verdict, const char *who);
gboolean vote_verdict_parse(const char *name, VoteVerdict *ret_verdict, GError **error);

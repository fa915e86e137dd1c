/* SPDX-License-Identifier: Apache-2.0 */
/* voters - all of a party's voters, one a VM, and the file that their promises are kept in.
 *
 * No answer leaves before every promise that was made until then is durable: it comes at once if all of them are, or waits for the file, which
 * is written whole by the clerk, once for all that has changed meanwhile. What could not be written is answered to nobody: a vote is taken back then, all else written with the next. What a copy of the
 * file has, and a VM that it does not know, is mute until everybody was heard of it (voters_speak()). Loop thread only. */
#pragma once

#include "orchestrator/core/lease/renewal.h"
#include "orchestrator/votes/vote_file.h"
#include "vmconnect/loop/clerk.h"

typedef struct Voters Voters;

/* @clerk is borrowed; @path as vote_file_read(). Blocking, before the loop turns. */
Voters *voters_new(Clerk *clerk, const char *path);
/* After the clerk has closed: whoever waited has been answered. */
void voters_free(Voters *v);

/* What is known of @vm beside its promises. FALSE: it has no part here, and is left out of the answer. */
typedef gboolean (*VotersLook)(void *user, Id vm, VoterSight *ret_sight);

/* GArray of RenewalAnswer, borrowed, or why there is none. */
typedef void (*VotersRenewed)(void *user, const GArray *answers, const GError *error);

/* @renewals: GArray of Renewal. @look is called before this returns, @done perhaps. */
void voters_renew(Voters *v, const GArray *renewals, VotersLook look, VotersRenewed done, void *user);

typedef void (*VotersVoted)(void *user, VoteVerdict verdict, guint64 incarnation, const GError *error);

void voters_vote(Voters *v, Id vm, const Ballot *ballot, VotersVoted done, void *user);
/* Would it? Nothing is promised by that. */
VoteVerdict voters_would_vote(const Voters *v, Id vm, const Ballot *ballot);

/* Of @vm in @reign, which is this party's own: 0, or what was kept. */
guint64 voters_own_arm(const Voters *v, Id vm, Reign reign);

typedef void (*VotersKept)(void *user, const GError *error);

/* Make that arm durable. @done perhaps before this returns. */
void voters_keep_arm(Voters *v, Id vm, Reign reign, guint64 arm, VotersKept done, void *user);

/* All engines were heard of @vm, and void what an earlier @incarnation has promised; as voter_speak(). */
void voters_speak(Voters *v, Id vm, Reign highest, guint64 arm, gint64 cap_ms, guint64 incarnation);
/* Was anything ever promised of it? */
gboolean voters_knows(const Voters *v, Id vm);
/* … or may that have been forgotten, with a file that was lost or put back? */
gboolean voters_may_know(const Voters *v, Id vm);
/* What it has promised of it, and whether that is armed; number 0: nothing. */
VoterRecord voters_promised(const Voters *v, Id vm);
gboolean voters_is_mute(const Voters *v, Id vm);
/* As voter_close(): to be said again and again. */
void voters_close(Voters *v, Id vm);

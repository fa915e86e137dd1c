/* SPDX-License-Identifier: Apache-2.0 */
/* voice - what this engine says as a voter, about the copies that it keeps.
 *
 * It renews whom the controller has admitted as a copy's active, and promises to promote the copy, once what it has granted is over
 * (voters.h). Its file is a copy's when it was lost or put back: of such a VM it is mute until the controller has admitted its active anew, and that has
 * asked. In the same file are the arms of what this host is the active of (tenure.h). Loop thread only. */
#pragma once

#include "orchestrator/votes/voters.h"

#include <glib.h>
#include <jansson.h>

typedef struct Voice Voice;
struct Engine;

/* Blocking, before the loop turns. */
Voice *voice_new(struct Engine *engine);
/* After the clerk has closed. NULL is accepted. */
void voice_free(Voice *v);
/* Borrowed. */
Voters *voice_voters(const Voice *v);

/* The controller has admitted a standby's role of @vm, just now. */
void voice_admitted(Voice *v, Id vm);

typedef void (*VoiceAnswered)(void *user, const json_t *result, const GError *error);

/* @peer, an engine, asks to be renewed: {"renewals": […]} → {"answers": […]}. @done perhaps before this returns. */
void voice_renew(Voice *v, Id peer, const json_t *params, VoiceAnswered done, void *user);

/* What this host's voice has promised of @vm: {"reign" (null: nothing), "arm"}. New reference. */
json_t *voice_promised(const Voice *v, Id vm);
/* Would this voter let @ballot's next reign begin? Nothing is promised; to BALLOT_FORCE it closes its voice. */
VoteVerdict voice_would_vote(Voice *v, Id vm, const Ballot *ballot);
/* It promises, or @done is told why not: BUSY if it may later. One that never had to do with leases has nothing to say. */
void voice_vote(Voice *v, Id vm, const Ballot *ballot, VoiceAnswered done, void *user);

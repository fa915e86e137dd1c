/* SPDX-License-Identifier: Apache-2.0 */
/* verification - gathers the facts of core/verify.h and core/verify_move.h from the engines of a scenario. */
#pragma once

#include "orchestrator/core/verify_move.h"
#include "orchestrator/hosts.h"

/* @facts are complete, and gone after this. */
typedef void (*VerificationDone)(void *user, const VerifyFacts *facts);

/* Ask all engines of @scenario at once; @networks as verify_facts_new(). @done is called once, never before this returns; an
 * engine that does not answer is a finding. */
void verification_start(Hosts *hosts, const Scenario *scenario, const json_t *networks, VerificationDone done,
                        void *user);

/* The same of the way that @plan, which has not begun, moves VMs of @p. */
void verification_start_move(Hosts *hosts, const Protection *p, const Plan *plan, VerificationDone done,
                             void *user);

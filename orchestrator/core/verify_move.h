/* SPDX-License-Identifier: Apache-2.0 */
/* verify_move - could the VMs that a plan moves be started where it moves them? Looked at before the first of them is
 * shut down: after its release there is no way back.
 *
 * A move is looked at as a scenario of its own, with the checks of verify.h: from the host that runs its VMs, which is the
 * master, or the replica on the way home, to the other one, by the map as the standby was told it. What bars a move is what
 * is known, or cannot be known, of where it goes; that where it runs is sick is a reason to move. */
#pragma once

#include "orchestrator/core/plan.h"
#include "orchestrator/core/verify.h"

/* What is to be asked before @plan begins. Of one by force the old active says nothing, and nobody has time for a trial. */
VerifyFacts *verify_move_facts(const Protection *p, const Plan *plan);

/* NULL if none of @findings, which are of such facts, bars the move; else VERIFY with the first of them, what to do, and
 * how many more. */
GError *verify_move_failure(const GPtrArray *findings);

/* By force, what is known all the same: of those on @host, which shall start the VMs, as texts; new reference. */
json_t *verify_move_warnings(const GPtrArray *findings, const char *host);

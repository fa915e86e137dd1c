/* SPDX-License-Identifier: Apache-2.0 */
/* status - the document that `understudy status --json` and GET /status answer.
 *
 * {"scenarios": [{"name", "state", "master", "active", "term", "countdown_s", "way_out", "switchback_s", "holds", "unheard", "plan",
 *   "vms": [{"name", "uuid", "state", "active", "guest", "guest_why", "tracking", "spool_bytes",
 *     "standbys": [{"host", "state", "lag_ms", "why",
 *       "sync": {"done_bytes", "total_bytes", "sent_bytes", "rate_bps", "left_s", "synced_bytes"},
 *       "resync": {"reason", "compared_bytes", "sent_bytes"},
 *       "tip": {"id", "term", "sequence", "cut_at", "sealed_at"} | null,
 *       "compare": {…} | null}],
 *     "lose_ms", "back_ms", "proven_at", "test_failed_at", "branches": [{"host", "count", "bytes"}],
 *     "checks": [{"host", "check", "answered", "misses", "why"}], "owed": [{"host", "why"}]}]}]}
 *
 * "synced_bytes" is what was sent to that standby to synchronise it, at first or after a doubt, in this reign, since the active's
 * engine runs: changes of a copy that is whole are none of it.
 *
 * Nothing is decided here: states are taken as they are, ages are counted to @now_ms.
 * "active" of a scenario is null while its VMs run on different hosts. "countdown_s" is in how many seconds a switchover is
 * required, 0 when it is, and then "way_out" is what to type, or to do; null while all lives. "switchback_s" is in how many they
 * are moved home by themselves, null if they are not. "holds" are those of the scenario and its hosts, during which nothing is
 * done by itself: [{"kind", "name", "since", "why"}]. "unheard" are hosts that must say what they know before anything is
 * ordered, since what is known here comes from elsewhere. "branches" are what single hosts hold of the VM and nothing else does:
 * "bytes" at most, null until that is known. A check is "answered" if it ever was, and since then has missed so many in a row.
 * "back_ms" is how long the newest integrity test of the VM took from its start until the VM's checks passed, "proven_at" when the newest that
 * it passed ended, "test_failed_at" when a later one did that it failed, and then there is no "back_ms": all of the copy that the VM would
 * be back from, and none of a point that was chosen; a scenario's "test" is added by who knows those that run. "owed" are calls that an engine has not confirmed. What is not measured or not known is null, never 0. */
#pragma once

#include "orchestrator/core/proofs.h"
#include "orchestrator/core/protection.h"

/* One scenario, and a document of several (Protection *, in this order). @proofs may be NULL. New references. */
json_t *status_of(const Protection *p, const Proofs *proofs, gint64 now_ms);
json_t *status_document(const GPtrArray *protections, const Proofs *proofs, gint64 now_ms);

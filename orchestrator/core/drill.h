/* SPDX-License-Identifier: Apache-2.0 */
/* drill - would everything that runs on a host be back if that host died now, and when?
 *
 * An integrity test of each scenario that has VMs there, of those VMs, all at once: a site's switchover without moving anything.
 * Pure: here is the document that people are shown and the database keeps, and what it becomes as the tests end:
 *
 *   {"drill", "host", "state": "running" or "ended", "begun_at", "ended_at", "verdict", "why", "back_ms", "scenarios": [
 *     {"scenario", "test", "on", "verdict", "why", "back_ms", "vms": [{"vm", "name", "verdict", "why", "back_ms"}]}]}
 *
 * "host" is the one whose death is drilled, "on" the replica that the test ran on. A verdict is null, "passed", "failed" or
 * "stopped"; a scenario of which no test could be begun has failed, since its VMs would not be back, unless
 * the reason says nothing of that: then it was "stopped"; and so has one whose VMs had to wait for others' memory, which nobody would
 * give back. "back_ms" counts from the tests' start, and with it the waiting of VMs that start after others; null unless all of it passed. */
#pragma once

#include "orchestrator/core/protection.h"

/* Of all @protections (Protection *) that have VMs on @host, tests as yet unbegun, each with an id of its own. NULL with @error
 * NOT_FOUND: there is none. New reference. */
json_t *drill_document(Id drill, const char *host, const GPtrArray *protections, gint64 now_wall_ms,
                       GError **error);

/* Is it as this file makes it, and whose? FALSE with @error CORRUPT. @ret_host is borrowed from @drill. */
gboolean drill_read(const json_t *drill, Id *ret_id, const char **ret_host, gboolean *ret_ended,
                    GError **error);

/* The parts of such a document: how many scenarios, and of each (borrowed) its name and its test. */
gsize drill_len(const json_t *drill);
const char *drill_scenario(const json_t *drill, gsize at);
Id drill_test(const json_t *drill, gsize at);
/* {"vms"}: for rehearsal_wish_read(). New reference. */
json_t *drill_wish(const json_t *drill, gsize at);
/* It has a verdict. */
gboolean drill_has(const json_t *drill, gsize at);

/* Of both the first verdict counts: what comes after one is not taken.
 *
 * What its test has come to: @test is the document of one that has ended. PROTOCOL, and nothing is taken. */
gboolean drill_take(json_t *drill, gsize at, const json_t *test, GError **error);
/* There was no test of it, because its VMs would not be back, or, @unsure, because of something that says nothing of that. */
void drill_miss(json_t *drill, gsize at, gboolean unsure, const char *why);

/* Every scenario has a verdict: so has the drill. FALSE: not yet. */
gboolean drill_conclude(json_t *drill, gint64 now_wall_ms);
/* "passed", "failed", "stopped" of one that has ended; borrowed. */
const char *drill_verdict(const json_t *drill);

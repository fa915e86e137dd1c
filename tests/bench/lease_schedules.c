/* SPDX-License-Identifier: Apache-2.0 */
/* lease_schedules - so many schedules of the protocol of leases, as written, from a seed on.
 *
 *   lease_schedules [RUNS] [SEED]    {"runs", "events", "violations", "ms", …what happened in them} on standard output */
#include "tests/orchestrator/core/lease/lease_sim.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    guint64 runs = argc > 1 ? g_ascii_strtoull(argv[1], NULL, 10) : 1000000;
    guint64 seed = argc > 2 ? g_ascii_strtoull(argv[2], NULL, 10) : 1;
    gint64 began_us = g_get_monotonic_time();
    guint64 violations = 0;
    SimResult r = {0};
    json_t *doc;

    for (guint64 i = 0; i < runs; i++) {
        sim_run(seed + i, SIM_AS_WRITTEN, &r);
        violations += r.violation ? 1 : 0;
        g_clear_pointer(&r.violation, g_free);
    }
    doc = json_pack("{s:I, s:I, s:I, s:I, s:i, s:i, s:i, s:i, s:i, s:i}", "runs", (json_int_t)runs, "events",
                    (json_int_t)r.events, "violations", (json_int_t)violations, "ms",
                    (json_int_t)((g_get_monotonic_time() - began_us) / 1000), "takeovers", (int)r.takeovers,
                    "handovers", (int)r.handovers, "declined", (int)r.declined, "forced", (int)r.forced,
                    "stopped", (int)r.stopped, "restored", (int)r.restored);
    json_dumpf(doc, stdout, JSON_COMPACT);
    printf("\n");
    json_decref(doc);
    return violations ? EXIT_FAILURE : EXIT_SUCCESS;
}

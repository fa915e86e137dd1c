/* SPDX-License-Identifier: Apache-2.0 */
/* Schedules of chance, played by the real voters and holders: none breaks what must be true, and each rule that is broken on purpose is found to
 * be. UNDERSTUDY_LEASE_RUNS says how many (100000, in a long run a million), UNDERSTUDY_LEASE_SEED from which on. */
#include "lease_sim.h"

/* It has no threads, and each schedule is like the next to who looks after addresses. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define RUNS 10000
#else
#define RUNS 100000
#endif

static guint64 number_of(const char *name, guint64 otherwise)
{
    const char *text = g_getenv(name);

    return text ? g_ascii_strtoull(text, NULL, 10) : otherwise;
}

static void test_as_written(void)
{
    guint64 runs = number_of("UNDERSTUDY_LEASE_RUNS", number_of("UNDERSTUDY_LONG", 0) ? 10 * RUNS : RUNS);
    guint64 seed = number_of("UNDERSTUDY_LEASE_SEED", 1);
    SimResult r = {0};

    for (guint64 i = 0; i < runs && !r.violation; i++) {
        sim_run(seed + i, SIM_AS_WRITTEN, &r);
        if (r.violation)
            g_test_message("seed %" G_GUINT64_FORMAT ": %s", seed + i, r.violation);
    }
    g_assert_cmpstr(r.violation, ==, NULL);
    g_test_message(
        "%" G_GUINT64_FORMAT " runs, %" G_GUINT64_FORMAT
        " events: %u takeovers, %u handovers, %u declined, %u forced, %u stopped, %u resumed, %u armed "
        "again, %u restored",
        runs, r.events, r.takeovers, r.handovers, r.declined, r.forced, r.stopped, r.resumed, r.armed_again,
        r.restored);
    g_assert_true(runs < 1000 || (r.takeovers && r.handovers && r.declined && r.forced && r.stopped &&
                                  r.resumed && r.armed_again && r.restored));
}

static void test_mutation(gconstpointer data)
{
    SimMutation mutation = (SimMutation)GPOINTER_TO_UINT(data);
    guint64 runs = number_of("UNDERSTUDY_LEASE_MUTATED", 200000);
    SimResult r = {0};
    guint64 i = 0;

    for (; i < runs && !r.violation; i++)
        sim_run(i, mutation, &r);
    g_test_message("found in run %" G_GUINT64_FORMAT ": %s", i, r.violation ? r.violation : "nothing");
    g_assert_nonnull(r.violation);
    g_free(r.violation);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/lease-sim/as-written", test_as_written);
    for (guint i = SIM_AS_WRITTEN + 1; i < SIM_MUTATIONS; i++) {
        g_autofree char *path = g_strdup_printf("/lease-sim/%s", sim_mutation_name((SimMutation)i));

        g_test_add_data_func(path, GUINT_TO_POINTER(i), test_mutation);
    }
    return g_test_run();
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/guard/ladder.h"

/* Ends at 100000 on both clocks. */
#define END_MS 100000

typedef struct {
    Ladder ladder;
    LadderSight sight;
    GString *trace;
} World;

static World *world_new(void)
{
    World *w = g_new0(World, 1);

    w->ladder = (Ladder){.is_enforced = TRUE, .until = {END_MS, END_MS}};
    w->trace = g_string_new(NULL);
    return w;
}

static void world_free(World *w)
{
    g_string_free(w->trace, TRUE);
    g_free(w);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(World, world_free)

/* Both clocks are @left_ms before the end. */
static void at(World *w, gint64 left_ms)
{
    const char *why;
    LadderAct act;

    w->sight.now = (LeaseMoment){END_MS - left_ms, END_MS - left_ms};
    while ((act = ladder_step(&w->ladder, &w->sight, &why)) != LADDER_NOTHING)
        g_string_append_printf(w->trace, "[%5" G_GINT64_FORMAT "] %d %s\n", left_ms, act,
                               ladder_state_name(w->ladder.state));
}

/* What was done since it was last asked. */
#define expect(w, text)                             \
    do {                                            \
        g_assert_cmpstr((w)->trace->str, ==, text); \
        g_string_truncate((w)->trace, 0);           \
    } while (0)

static void test_asked(void)
{
    g_autoptr(World) w = world_new();

    at(w, 1501);
    expect(w, "");
    g_assert_cmpint(ladder_wait_ms(&w->ladder, w->sight.now), ==, 1);
    at(w, 1500);
    expect(w, "[ 1500] 1 ASKED\n");
    g_assert_cmpint(ladder_wait_ms(&w->ladder, w->sight.now), ==, 500);
    w->sight.said_stopped = TRUE;
    at(w, 1300);
    expect(w, "[ 1300] 5 PAUSED\n");
    g_assert_cmpint(ladder_fenced(w->ladder.state), ==, FENCED_ASKED);
    at(w, 900);
    at(w, 500);
    at(w, -100000);
    expect(w, "");
    /* Resumed, whether somebody says so or its processors tell. */
    w->sight.is_busy = TRUE;
    at(w, -100001);
    expect(w, "[-100001] 2 HALTED\n");
    w->sight.is_still = TRUE;
    at(w, -100002);
    expect(w, "[-100002] 5 STOPPED\n");
}

static void test_stopped(void)
{
    g_autoptr(World) w = world_new();

    at(w, 1400);
    at(w, 1001);
    expect(w, "[ 1400] 1 ASKED\n");
    at(w, 1000);
    expect(w, "[ 1000] 2 HALTED\n");
    at(w, 601);
    expect(w, "");
    w->sight.is_still = TRUE;
    at(w, 600);
    expect(w, "[  600] 5 STOPPED\n");
    g_assert_cmpint(ladder_fenced(w->ladder.state), ==, FENCED_STOPPED);
    /* Somebody's SIGCONT. */
    w->sight.is_still = FALSE;
    at(w, -5000);
    expect(w, "[-5000] 2 HALTED\n");
    at(w, -5099);
    expect(w, "");
    at(w, -5100);
    expect(w, "[-5100] 3 KILLED\n");
}

static void test_killed(void)
{
    g_autoptr(World) w = world_new();

    at(w, 1000);
    expect(w, "[ 1000] 1 ASKED\n[ 1000] 2 HALTED\n");
    at(w, 600);
    expect(w, "[  600] 3 KILLED\n");
    g_assert_cmpint(ladder_wait_ms(&w->ladder, w->sight.now), ==, -1);
    /* A lease that comes too late brings nobody back. */
    w->ladder.until = (LeaseMoment){END_MS * 2, END_MS * 2};
    at(w, 500);
    expect(w, "");
}

/* Who stood still himself stops first, and kills only what does not. */
static void test_late(void)
{
    g_autoptr(World) w = world_new();

    at(w, -3600000);
    expect(w, "[-3600000] 1 ASKED\n[-3600000] 2 HALTED\n");
    at(w, -3600099);
    expect(w, "");
    w->sight.is_still = TRUE;
    at(w, -3600100);
    expect(w, "[-3600100] 5 STOPPED\n");
}

static void test_lease_back(void)
{
    g_autoptr(World) w = world_new();

    at(w, 1500);
    w->ladder.until.boot_ms = w->ladder.until.raw_ms = END_MS + 3000;
    at(w, 1400);
    expect(w, "[ 1500] 1 ASKED\n[ 1400] 6 RUNS\n");
    w->ladder.until = (LeaseMoment){END_MS, END_MS};
    at(w, 1000);
    w->sight.is_still = TRUE;
    at(w, 990);
    expect(w, "[ 1000] 1 ASKED\n[ 1000] 2 HALTED\n[  990] 5 STOPPED\n");
    /* One that ends in less than it takes to stop is none. */
    w->ladder.until = (LeaseMoment){END_MS + 510, END_MS + 510};
    at(w, 990);
    expect(w, "");
    w->ladder.until = (LeaseMoment){END_MS + 511, END_MS + 511};
    at(w, 990);
    expect(w, "[  990] 4 RUNS\n");
}

/* Either clock ends it. */
static void test_clocks(void)
{
    Ladder l = {.is_enforced = TRUE, .until = {END_MS, 5000}};
    LadderSight sight = {.now = {END_MS - 1500, 0}};
    const char *why;

    g_assert_cmpint(ladder_step(&l, &sight, &why), ==, LADDER_ASK);
    l.state = LADDER_RUNS;
    sight.now = (LeaseMoment){0, 3500};
    g_assert_cmpint(ladder_step(&l, &sight, &why), ==, LADDER_ASK);
    g_assert_cmpstr(why, ==, "its engine is to suspend it");
    l.state = LADDER_RUNS;
    sight.now = (LeaseMoment){END_MS - 1501, 3499};
    g_assert_cmpint(ladder_step(&l, &sight, &why), ==, LADDER_NOTHING);
    g_assert_cmpint(ladder_open_ms(&l, sight.now), ==, 1301);
    g_assert_cmpint(ladder_open_ms(&l, (LeaseMoment){END_MS, 0}), ==, 0);
}

static void test_disarmed(void)
{
    g_autoptr(World) w = world_new();

    w->ladder.is_enforced = FALSE;
    at(w, -100000000);
    expect(w, "");
    g_assert_cmpint(ladder_wait_ms(&w->ladder, w->sight.now), ==, -1);
    w->ladder.state = LADDER_STOPPED;
    at(w, 0);
    expect(w, "[    0] 4 RUNS\n");
}

/* Every state with everything that can be seen, at every step: no edge is missing. */
static void test_all(void)
{
    static const gint64 LEFT_MS[] = {G_MAXINT32, 1501, 1500, 1000, 600, 200, 0, -1, -100000};

    for (guint n = 0; n < LADDER_STATE_COUNT * 8 * G_N_ELEMENTS(LEFT_MS) * 2; n++) {
        guint state = n / (8 * G_N_ELEMENTS(LEFT_MS) * 2);
        gint64 left_ms = LEFT_MS[n / 16 % G_N_ELEMENTS(LEFT_MS)];
        Ladder l = {.state = (LadderState)state, .is_enforced = n % 2 == 0, .until = {END_MS, END_MS}};
        LadderSight sight = {.now = {END_MS - left_ms, END_MS - left_ms},
                             .said_stopped = (n & 2) != 0,
                             .is_busy = (n & 4) != 0,
                             .is_still = (n & 8) != 0};
        const char *why;
        LadderState parsed;

        for (guint steps = 0; ladder_step(&l, &sight, &why) != LADDER_NOTHING; steps++)
            g_assert_cmpuint(steps, <, 4);
        /* Nothing runs on into the end. */
        if (l.is_enforced && left_ms <= LADDER_KILL_MS)
            g_assert_true(l.state != LADDER_RUNS && l.state != LADDER_ASKED);
        g_assert_true(ladder_state_parse(ladder_state_name(l.state), &parsed) && parsed == l.state);
    }
}

/* It goes on behind the shut gate, for as long as libvirt may need, once, and is stopped again. */
static void test_lent(void)
{
    g_autoptr(World) w = world_new();

    at(w, 900);
    w->sight.is_still = TRUE;
    at(w, 890);
    g_assert_cmpint(w->ladder.state, ==, LADDER_STOPPED);
    g_string_truncate(w->trace, 0);
    w->ladder.is_to_lend = TRUE;
    at(w, 500);
    expect(w, ""); /* its frames may pass still */
    at(w, 0);
    expect(w, "[    0] 7 LENT\n");
    w->sight.is_still = FALSE;
    at(w, -LADDER_LENT_MS + 1);
    expect(w, "");
    w->sight.is_still = TRUE;
    at(w, -LADDER_LENT_MS);
    expect(w, "[-2000] 2 HALTED\n[-2000] 5 STOPPED\n");
    w->ladder.is_to_lend = TRUE;
    at(w, -5000);
    expect(w, "[-5000] 7 LENT\n");
    w->sight.said_stopped = TRUE;
    at(w, -5100);
    expect(w, "[-5100] 5 PAUSED\n");
    w->ladder.state = LADDER_LENT;
    w->sight.said_stopped = FALSE;
    w->ladder.until = (LeaseMoment){END_MS + 60000, END_MS + 60000};
    at(w, -5200);
    expect(w, "[-5200] 6 RUNS\n");
}

static void expect_reason(gint64 until_ms, gint64 left_ms, LadderAct act, const char *wanted)
{
    const Ladder l = {.is_enforced = until_ms >= 0, .until = {until_ms, until_ms}};
    g_autofree char *got =
        ladder_reason(&l, (LeaseMoment){until_ms - left_ms, until_ms - left_ms}, act, "nobody said so");

    g_assert_cmpstr(got, ==, wanted);
}

/* A guard may come long after the end. */
static void test_reason(void)
{
    expect_reason(END_MS, 1490, LADDER_ASK, "its lease ends in 1.5 s: nobody said so");
    expect_reason(END_MS, 600, LADDER_KILL, "its lease ends in 0.6 s: nobody said so");
    expect_reason(END_MS, -120300, LADDER_STOP, "its lease ended 120.3 s ago: nobody said so");
    expect_reason(0, -120300, LADDER_STOP, "it has no lease: nobody said so");
    expect_reason(-1, 0, LADDER_STOP, "nobody said so");
    expect_reason(END_MS, 5000, LADDER_CONT, "nobody said so");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/ladder/asked", test_asked);
    g_test_add_func("/ladder/stopped", test_stopped);
    g_test_add_func("/ladder/killed", test_killed);
    g_test_add_func("/ladder/late", test_late);
    g_test_add_func("/ladder/lease-back", test_lease_back);
    g_test_add_func("/ladder/clocks", test_clocks);
    g_test_add_func("/ladder/disarmed", test_disarmed);
    g_test_add_func("/ladder/all", test_all);
    g_test_add_func("/ladder/lent", test_lent);
    g_test_add_func("/ladder/reason", test_reason);
    return g_test_run();
}

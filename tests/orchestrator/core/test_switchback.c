/* SPDX-License-Identifier: Apache-2.0 */
/* The way home by itself: when it is begun, what starts the waiting anew, and when it is given up. */
#include "orchestrator/core/plan.h"
#include "orchestrator/core/status.h"
#include "vmconnect/base/error.h"
#include "world.h"

#define AFTER_S 60

/* From now on the VM's active tells, and the tick comes, each second. */
static void pass(World *w, guint seconds)
{
    for (guint i = 0; i < seconds; i++) {
        w->now_ms += 1000;
        for (guint vm = 1; vm <= w->scenario->vms->len; vm++)
            world_news(w, vm, "protected", 500, NULL);
        world_do(w, INPUT_TICK);
    }
}

/* Without the lines that say that nothing was decided. */
static void expect(World *w, const char *trace)
{
    g_auto(GStrv) lines = g_strsplit(w->trace->str, "\n", 0);

    world_forget(w);
    for (guint i = 0; lines[i]; i++)
        if (*lines[i] && !g_str_has_suffix(lines[i], "-> nothing"))
            g_string_append_printf(w->trace, "%s\n", lines[i]);
    world_expect(w, trace);
}

static void set_policy(World *w, int switchback, gint64 after_ms)
{
    g_autoptr(Scenario) to = scenario_copy(w->p->scenario);
    g_autoptr(GError) error = NULL;

    to->policy.switchback = switchback;
    to->policy.switchback_after_ms = after_ms;
    g_assert_true(scenario_may_become(w->p->scenario, to, protection_moment(w->p), &error));
    g_assert_no_error(error);
    g_assert_true(world_step(w, (Input){.kind = INPUT_POLICY, .scenario = to}, NULL));
}

static void admit_all(World *w)
{
    for (guint i = 1; i <= w->scenario->vms->len; i++) {
        world_answer(w, "alpha", "standby.admit", i, -1, NULL);
        world_answer(w, "beta", "active.protect", i, -1, NULL);
    }
}

/* In the scenario as it is kept, too. */
static void want_home(World *w)
{
    w->scenario->policy.switchback = SWITCHBACK_AUTO;
    w->scenario->policy.switchback_after_ms = AFTER_S * 1000;
    w->p->scenario->policy = w->scenario->policy;
}

/* All of them on beta, replicated back, at second 0. */
static World *away(guint vms)
{
    World *w = world_new(vms);

    want_home(w);
    world_run(w);
    world_moved(w, "beta", 2, TRUE);
    admit_all(w);
    world_forget(w);
    return w;
}

static gint64 left_s(const World *w)
{
    json_auto_t *doc = status_of(w->p, NULL, w->now_ms);
    const json_t *left = json_object_get(doc, "switchback_s");

    return json_is_null(left) ? -1 : json_integer_value(left);
}

/* The plan that was asked for is begun, and its VMs stay where they are. */
static void begin(World *w)
{
    g_assert_true(world_step(
        w, (Input){.kind = INPUT_PLAN_BEGUN, .plan = world_id(0x77), .host = (char *)"alpha"}, NULL));
    world_do(w, INPUT_SWITCHBACK);
}

static void end_in_vain(World *w)
{
    const Id plan = world_id(0x77);

    world_step(w, (Input){.kind = INPUT_MOVING, .plan = plan, .vm = world_vm(1)}, NULL);
    world_step(w,
               (Input){.kind = INPUT_STAYED, .plan = plan, .vm = world_vm(1), .why = (char *)"it stays up"},
               NULL);
    world_step(w, (Input){.kind = INPUT_PLAN_ENDED, .plan = plan, .host = (char *)"alpha"}, NULL);
    admit_all(w);
}

static void test_moves_home(void)
{
    g_autoptr(World) w = away(2);
    const Id plan = world_id(0x77);

    g_assert_cmpint(left_s(w), ==, -1);
    pass(w, 1);
    expect(w, "[   1] news from beta -> event SYNC_DONE\n"
              "        -> web1 on alpha protected: the first generation is sealed\n"
              "        -> keep durably\n"
              "[   1] news from beta -> event SYNC_DONE\n"
              "        -> web2 on alpha protected: the first generation is sealed\n"
              "        -> web running: every VM is protected\n"
              "        -> keep durably\n"
              "        -> event SWITCHBACK_AHEAD\n");
    g_assert_cmpint(left_s(w), ==, AFTER_S);
    pass(w, AFTER_S - 1);
    expect(w, "");
    g_assert_cmpint(left_s(w), ==, 1);
    pass(w, 1);
    g_assert_cmpint(left_s(w), ==, -1);
    g_assert_true(protection_wants_home(w->p));
    pass(w, AFTER_S + 10); /* its record takes long to become durable */
    world_step(w, (Input){.kind = INPUT_PLAN_BEGUN, .plan = plan, .host = (char *)"alpha"}, NULL);
    world_do(w, INPUT_SWITCHBACK);
    expect(w, "[  61] news from beta -> keep durably\n"
              "        -> move the VMs home\n"
              "[ 131] plan to alpha begun -> keep durably\n"
              "        -> event SWITCHOVER_STARTED\n"
              "        -> web switching: a plan was begun\n"
              "[ 131] switchback begun -> event SWITCHBACK_STARTED\n");
    world_step(w, (Input){.kind = INPUT_PLAN_ENDED, .plan = plan, .host = (char *)"alpha"}, NULL);
    world_moved(w, "alpha", 3, FALSE);
    g_assert_null(protection_away(w->p));
    g_assert_cmpuint(w->p->home.tries, ==, 0);
    world_forget(w);
    for (guint i = 1; i <= 2; i++) {
        world_answer(w, "beta", "standby.admit", i, -1, NULL);
        world_answer(w, "alpha", "active.protect", i, -1, NULL);
    }
    pass(w, 3 * AFTER_S);
    g_assert_null(strstr(w->trace->str, "move the VMs home"));
    g_assert_cmpint(left_s(w), ==, -1);
}

/* What the plan's builder refuses would be a try for nothing: when it is due, it does not. */
static void test_plan_can_be_built(void)
{
    g_autoptr(World) w = away(2);
    const PlanOptions home = {
        .id = world_id(0x77), .reign = world_id(0x88), .home = TRUE, .reverse = PLAN_REVERSE_BY_POLICY};
    g_autoptr(GError) error = NULL;
    g_autoptr(Plan) plan = NULL;

    pass(w, 1 + AFTER_S);
    g_assert_true(protection_wants_home(w->p));
    plan = plan_switchover(w->p, &home, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(plan->to, ==, "alpha");
    g_assert_cmpuint(plan->moves->len, ==, 2);
}

/* Each of these alone starts the waiting anew; the operator is told once that it is ahead. */
static void test_breaks(void)
{
    g_autoptr(World) w = away(2);

    pass(w, 1);
    pass(w, AFTER_S - 1);
    world_forget(w);
    world_news(w, 2, "resyncing", 900, "its bitmaps are gone");
    g_assert_cmpint(left_s(w), ==, -1);
    pass(w, 1);
    g_assert_cmpint(left_s(w), ==, AFTER_S);
    pass(w, AFTER_S - 1);

    world_link(w, "alpha", FALSE);
    g_assert_cmpint(left_s(w), ==, -1);
    world_link(w, "alpha", TRUE);
    g_assert_cmpint(left_s(w), ==, AFTER_S);
    admit_all(w);
    pass(w, AFTER_S - 1);

    world_link(w, "beta", FALSE);
    world_link(w, "beta", TRUE);
    g_assert_cmpint(left_s(w), ==, AFTER_S);
    admit_all(w);
    pass(w, AFTER_S - 1);

    world_do(w, INPUT_PAUSE);
    g_assert_cmpint(left_s(w), ==, -1);
    world_do(w, INPUT_CONTINUE);
    g_assert_cmpint(left_s(w), ==, AFTER_S);
    pass(w, AFTER_S - 1);

    world_answer(w, "beta", "active.pause", 1, -1, NULL);
    world_do(w, INPUT_STOP);
    g_assert_cmpint(left_s(w), ==, -1);
    g_assert_null(strstr(w->trace->str, "SWITCHBACK"));
    g_assert_null(strstr(w->trace->str, "move the VMs home"));
}

/* The active falls silent: its last word alone does not count for long enough. */
/* Neither while it is held, nor at once when it is released; and a hold outlives the controller. */
static void test_held(void)
{
    g_autoptr(World) w = away(1);
    json_auto_t *hold = json_pack("{s:s, s:s}", "since", "2026-11-27T12:00:00.000Z", "why", "a look");

    pass(w, AFTER_S);
    g_assert_cmpint(left_s(w), ==, 1);
    g_assert_true(world_step(w, (Input){.kind = INPUT_HOLD, .json = hold}, NULL));
    g_assert_cmpint(left_s(w), ==, -1);
    pass(w, 2 * AFTER_S);
    g_assert_false(protection_wants_home(w->p));
    world_restart(w);
    world_link(w, "alpha", TRUE);
    world_link(w, "beta", TRUE);
    admit_all(w);
    pass(w, 2 * AFTER_S);
    g_assert_true(json_equal(w->p->hold, hold));
    g_assert_cmpint(left_s(w), ==, -1);
    world_do(w, INPUT_UNHOLD);
    g_assert_cmpint(left_s(w), ==, AFTER_S);
    roster_hold(w->roster, "beta", hold);
    pass(w, 2 * AFTER_S);
    g_assert_false(protection_wants_home(w->p));
    roster_hold(w->roster, "beta", NULL);
    pass(w, AFTER_S + 1);
    g_assert_true(protection_wants_home(w->p));
}

static void test_silence(void)
{
    g_autoptr(World) w = away(1);

    pass(w, 1);
    for (guint i = 0; i < 2 * AFTER_S; i++) {
        w->now_ms += 1000;
        world_do(w, INPUT_TICK);
    }
    g_assert_cmpint(left_s(w), ==, -1);
    g_assert_false(protection_wants_home(w->p));
}

/* Nothing replicates it back, or an engine has refused its part, or is owed a call: the operator has something to do. */
static void test_not_protected_there(void)
{
    g_autoptr(World) w = world_new(1);

    want_home(w);
    world_run(w);
    world_moved(w, "beta", 2, FALSE); /* --no-reverse */
    pass(w, 2 * AFTER_S);
    g_assert_cmpint(left_s(w), ==, -1);
    world_do(w, INPUT_RUN);
    admit_all(w);
    pass(w, 1);
    g_assert_cmpint(left_s(w), >, 0);
    world_link(w, "alpha", FALSE);
    world_link(w, "alpha", TRUE);
    world_answer(w, "alpha", "standby.admit", 1, US_ERROR_NO_SPACE, "the store is full");
    pass(w, 1);
    g_assert_cmpint(left_s(w), ==, -1);
    pass(w, 30);
    world_answer(w, "alpha", "standby.admit", 1, -1, NULL);
    g_assert_cmpint(left_s(w), ==, AFTER_S);
    protection_find(w->p, world_vm(1))->owes = OWES_UNLOCK;
    pass(w, 1);
    g_assert_cmpint(left_s(w), ==, -1);
}

static void test_only_one_is_away(void)
{
    g_autoptr(World) w = world_new(2);
    const Id plan = world_id(0x77);

    want_home(w);
    world_run(w);
    world_step(w, (Input){.kind = INPUT_PLAN_BEGUN, .plan = plan, .host = (char *)"beta"}, NULL);
    world_step(w, (Input){.kind = INPUT_MOVING, .plan = plan, .vm = world_vm(1)}, NULL);
    world_step(w,
               (Input){.kind = INPUT_MOVED,
                       .plan = plan,
                       .vm = world_vm(1),
                       .host = (char *)"beta",
                       .reign = {2, world_id(0x88)},
                       .unlocked = TRUE,
                       .reverse = TRUE},
               NULL);
    world_step(w, (Input){.kind = INPUT_PLAN_ENDED, .plan = plan, .host = (char *)"beta"}, NULL);
    world_answer(w, "alpha", "standby.admit", 1, -1, NULL);
    world_answer(w, "beta", "active.protect", 1, -1, NULL);
    pass(w, 1);
    world_news(w, 2, "lagging", 60000, "the line is slow"); /* it is at home: that is another matter */
    g_assert_cmpint(left_s(w), ==, AFTER_S);
}

/* Each try is a guest shut down: a few, none sooner than the first, and then it is said. */
static void test_gives_up(void)
{
    g_autoptr(World) w = away(1);

    pass(w, 1);
    for (guint i = 1; i <= 3; i++) {
        world_forget(w);
        pass(w, AFTER_S - 1);
        g_assert_false(protection_wants_home(w->p));
        pass(w, 1);
        g_assert_true(protection_wants_home(w->p));
        begin(w);
        world_forget(w);
        end_in_vain(w);
        g_assert_cmpuint(w->p->home.tries, ==, i < 3 ? i : 4);
        g_assert_cmpint(left_s(w), ==, i < 3 ? AFTER_S : -1);
    }
    expect(w, "[ 181] plan has web1 -> web1 on alpha switching: a plan locked the VM\n"
              "[ 181] web1 stayed (it stays up) -> event VM_STAYED\n"
              "        -> web1 on alpha protected: not moved, the copy is young enough\n"
              "[ 181] plan to alpha ended -> keep durably\n"
              "        -> event SWITCHOVER_FAILED\n"
              "        -> web running: the plan ended, every VM is protected\n"
              "        -> keep durably\n"
              "        -> event SWITCHBACK_LEFT\n"
              "        -> active.protect to beta for web1\n");
    pass(w, 5 * AFTER_S);
    expect(w, "");
    world_restart(w);
    world_link(w, "alpha", TRUE);
    world_link(w, "beta", TRUE);
    admit_all(w);
    world_forget(w);
    pass(w, 5 * AFTER_S);
    g_assert_null(strstr(w->trace->str, "SWITCHBACK"));
    g_assert_null(strstr(w->trace->str, "move the VMs home"));
    /* The operator has had a hand in it. */
    set_policy(w, SWITCHBACK_AUTO, 2000LL * AFTER_S);
    admit_all(w);
    pass(w, 1);
    g_assert_cmpint(left_s(w), ==, 2 * AFTER_S - 1);
}

/* A plan that could not even be begun was a try, and its reason is told. */
static void test_not_begun(void)
{
    g_autoptr(World) w = away(1);
    g_autoptr(GError) busy = g_error_new(US_ERROR, US_ERROR_BUSY, "a plan runs already");

    pass(w, 1 + AFTER_S);
    world_forget(w);
    world_step(w, (Input){.kind = INPUT_SWITCHBACK, .failure = busy}, NULL);
    expect(w, "[  61] switchback not begun (a plan runs already) -> event SWITCHOVER_FAILED\n"
              "        -> event SWITCHBACK_AHEAD\n");
    g_assert_cmpint(left_s(w), ==, AFTER_S);
    pass(w, AFTER_S);
    world_step(w, (Input){.kind = INPUT_SWITCHBACK, .failure = busy}, NULL);
    pass(w, AFTER_S);
    world_forget(w);
    world_step(w, (Input){.kind = INPUT_SWITCHBACK, .failure = busy}, NULL);
    expect(w, "[ 181] switchback not begun (a plan runs already) -> event SWITCHOVER_FAILED\n"
              "        -> keep durably\n"
              "        -> event SWITCHBACK_LEFT\n");
}

/* The operator keeps the VMs where they are, at any time before the plan is begun. */
static void test_left_to_the_operator_in_time(void)
{
    g_autoptr(World) w = away(1);

    pass(w, AFTER_S);
    set_policy(w, SWITCHBACK_MANUAL, 1000LL * AFTER_S);
    admit_all(w);
    pass(w, 2 * AFTER_S);
    g_assert_null(strstr(w->trace->str, "move the VMs home"));
    set_policy(w, SWITCHBACK_AUTO, 1000LL * AFTER_S);
    admit_all(w);
    g_assert_cmpint(left_s(w), ==, AFTER_S);
    pass(w, AFTER_S);
    g_assert_true(protection_wants_home(w->p));
    set_policy(w, SWITCHBACK_MANUAL, 1000LL * AFTER_S);
    g_assert_false(protection_wants_home(w->p));
}

/* A pause overtakes it, too. */
static void test_overtaken(void)
{
    g_autoptr(World) w = away(1);

    pass(w, 1 + AFTER_S);
    g_assert_true(protection_wants_home(w->p));
    world_do(w, INPUT_PAUSE);
    g_assert_false(protection_wants_home(w->p));
}

/* The waiting begins anew; what was tried is not forgotten. */
static void test_restart(void)
{
    g_autoptr(World) w = away(1);

    pass(w, 1 + AFTER_S);
    begin(w);
    end_in_vain(w);
    pass(w, AFTER_S - 1);
    world_restart(w);
    g_assert_cmpint(left_s(w), ==, -1);
    world_link(w, "alpha", TRUE);
    world_link(w, "beta", TRUE);
    admit_all(w);
    pass(w, 1);
    g_assert_cmpint(left_s(w), ==, AFTER_S);
    g_assert_cmpuint(w->p->home.tries, ==, 1);
    pass(w, AFTER_S);
    g_assert_true(protection_wants_home(w->p));
}

/* Who wants the VMs home by themselves wants them replicated there, whatever `reverse` says; not against the
 * operator's word. */
static void test_starts_replication_back(void)
{
    static const struct {
        int reverse, switchback, word;
        gboolean back;
    } CASES[] = {
        {REVERSE_MANUAL, SWITCHBACK_MANUAL, PLAN_REVERSE_BY_POLICY, FALSE},
        {REVERSE_AUTO, SWITCHBACK_MANUAL, PLAN_REVERSE_BY_POLICY, TRUE},
        {REVERSE_MANUAL, SWITCHBACK_AUTO, PLAN_REVERSE_BY_POLICY, TRUE},
        {REVERSE_MANUAL, SWITCHBACK_AUTO, FALSE, FALSE},
    };
    g_autoptr(World) w = world_new(1);

    world_run(w);
    for (guint i = 0; i < G_N_ELEMENTS(CASES); i++) {
        const PlanOptions o = {.id = world_id(0x77), .reign = world_id(0x88), .reverse = CASES[i].word};
        g_autoptr(Plan) plan = NULL;

        w->p->scenario->policy.reverse = CASES[i].reverse;
        w->p->scenario->policy.switchback = CASES[i].switchback;
        plan = plan_switchover(w->p, &o, NULL);
        g_assert_nonnull(plan);
        g_assert_cmpint(plan->reverse, ==, CASES[i].back);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/switchback/moves-home", test_moves_home);
    g_test_add_func("/switchback/plan-can-be-built", test_plan_can_be_built);
    g_test_add_func("/switchback/breaks", test_breaks);
    g_test_add_func("/switchback/held", test_held);
    g_test_add_func("/switchback/silence", test_silence);
    g_test_add_func("/switchback/not-protected-there", test_not_protected_there);
    g_test_add_func("/switchback/only-one-is-away", test_only_one_is_away);
    g_test_add_func("/switchback/gives-up", test_gives_up);
    g_test_add_func("/switchback/not-begun", test_not_begun);
    g_test_add_func("/switchback/left-to-the-operator-in-time", test_left_to_the_operator_in_time);
    g_test_add_func("/switchback/overtaken", test_overtaken);
    g_test_add_func("/switchback/restart", test_restart);
    g_test_add_func("/switchback/starts-replication-back", test_starts_replication_back);
    return g_test_run();
}

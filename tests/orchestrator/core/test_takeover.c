/* SPDX-License-Identifier: Apache-2.0 */
/* An automatic scenario: when its actives are armed, and when what is silent is taken over by itself. Hosts and guests are a stage's,
 * engines do what they are told at once, plans begin and end as the test says. */
#include "orchestrator/core/status.h"
#include "stage.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"

#include <string.h>

#define PLAN ((Id){{0x77}})
#define TAKES "move what is silent"
#define REQUIRED "event SWITCHOVER_REQUIRED"
/* Of the countdown, from when the guest is found to be silent: it counts from the first of three misses. */
#define LEFT_S 17

static GString *leases; /* "web1 armed\n": what each active.protect said */

/* --- the scenario -------------------------------------------------------------- */

static void note_lease(void *ctx, const Action *a)
{
    const json_t *lease = json_object_get(a->params, "lease");
    const World *w = ctx;

    if (!g_str_equal(a->method, "active.protect"))
        return;
    if (lease) {
        g_assert_cmpint(json_integer_value(json_object_get(lease, "countdown_ms")), ==,
                        w->p->scenario->policy.countdown_ms);
        g_assert_cmpstr(json_string_value(json_object_get(lease, "controller")), ==, ID_TEXT(world_id(0xcc)));
    }
    g_string_append_printf(leases, "%s %s\n", protection_find(w->p, a->vm)->name,
                           !lease                                        ? "none"
                           : json_is_true(json_object_get(lease, "arm")) ? "armed"
                                                                         : "disarmed");
}

static ProtectionVm *vm_of(const Stage *s, guint number)
{
    return protection_find(s->w->p, world_vm(number));
}

/* Engines do what they were asked. */
static void obey(Stage *s)
{
    for (guint i = 1; i <= s->w->p->vms->len; i++)
        while (vm_of(s, i)->asked) {
            g_autofree char *host = g_strdup(vm_of(s, i)->asked_host);

            world_answer(s->w, host, vm_of(s, i)->asked, i, -1, NULL);
        }
}

/* A second passes, and all is done that was asked for. */
static void settle(Stage *s)
{
    stage_pass(s, g_hash_table_contains(s->w->p->up, "alpha"));
    obey(s);
}

static void step(Stage *s, Input in)
{
    g_autoptr(GError) error = NULL;

    g_assert_true(world_step(s->w, in, &error));
    g_assert_no_error(error);
}

/* A new one, of which only that is otherwise. */
static void set_policy(Stage *s, Switchover switchover, Confirm confirm, Isolation isolation)
{
    g_autoptr(Scenario) other = scenario_copy(s->w->p->scenario);

    other->policy.switchover = (int)switchover;
    other->policy.confirm = (int)confirm;
    other->policy.isolation = (int)isolation;
    step(s, (Input){.kind = INPUT_POLICY, .scenario = other});
}

static void expect_leases(Stage *s, const char *wanted)
{
    obey(s);
    g_assert_cmpstr(leases->str, ==, wanted);
    g_string_truncate(leases, 0);
    world_forget(s->w);
}

static Stage *stage_by_hand(guint vms)
{
    Stage *s = stage_new_of(vms);

    roster_set_controller(s->w->roster, world_id(0xcc));
    s->w->on_call = note_lease;
    s->w->ctx = s->w;
    g_string_truncate(leases, 0);
    return s;
}

/* Armed, and its active holds its lease. */
static Stage *automatic(guint vms)
{
    Stage *s = stage_by_hand(vms);

    s->lease = "held";
    set_policy(s, SWITCHOVER_AUTO, CONFIRM_NO, ISOLATION_PAUSE);
    obey(s);
    stage_pass_for(s, 8, TRUE);
    for (guint i = 1; i <= vms; i++)
        g_assert_null(protection_unarmed(s->w->p, vm_of(s, i)));
    expect_leases(s, vms == 1 ? "web1 armed\n" : "web1 armed\nweb2 armed\n");
    return s;
}

/* …of what is said since. */
static guint times(const Stage *s, const char *words)
{
    guint n = 0;

    for (const char *at = s->w->trace->str; (at = strstr(at, words)); at++)
        n++;
    return n;
}

/* --- arming ---------------------------------------------------------------------- */

/* Who is switched over by hand holds no lease, and who is armed stays so while his copy can be used. */
static void test_armed(void)
{
    g_autoptr(Stage) s = stage_by_hand(1);
    const ProtectionVm *web1 = vm_of(s, 1);

    g_assert_cmpstr(protection_unarmed(s->w->p, web1), ==, "switchover=manual");
    g_assert_false(protection_has_leases(s->w->p));
    world_link(s->w, "alpha", FALSE);
    world_link(s->w, "alpha", TRUE);
    expect_leases(s, "web1 none\n");

    s->w->p->scenario->policy.interval_ms = 1000;
    world_news(s->w, 1, "lagging", 60000, NULL);
    set_policy(s, SWITCHOVER_AUTO, CONFIRM_NO, ISOLATION_PAUSE);
    g_assert_true(protection_has_leases(s->w->p));
    g_assert_cmpstr(protection_unarmed(s->w->p, web1), ==, "its copy is not protected yet");
    expect_leases(s, "web1 disarmed\n");
    world_news(s->w, 1, "protected", 500, NULL);
    g_assert_null(protection_unarmed(s->w->p, web1));
    expect_leases(s, "web1 armed\n");
    world_news(s->w, 1, "lagging", 60000, NULL);
    g_assert_null(protection_unarmed(s->w->p, web1));
    expect_leases(s, "");
    /* What is whole is as good as before, which one that is made anew is not. */
    world_news(s->w, 1, "resyncing", 60000, NULL);
    expect_leases(s, "");
    world_news(s->w, 1, "synchronizing", -1, NULL);
    g_assert_cmpstr(protection_unarmed(s->w->p, web1), ==, "its copy is not protected yet");
    expect_leases(s, "web1 disarmed\n");

    world_news(s->w, 1, "protected", 500, NULL);
    expect_leases(s, "web1 armed\n");
    set_policy(s, SWITCHOVER_MANUAL, CONFIRM_NO, ISOLATION_PAUSE);
    expect_leases(s, "web1 none\n");
    g_assert_false(protection_has_leases(s->w->p));
}

static void hold(Stage *s)
{
    json_auto_t *hold = json_object();

    step(s, (Input){.kind = INPUT_HOLD, .json = hold});
}

static void unhold(Stage *s)
{
    world_do(s->w, INPUT_UNHOLD);
}

static void maintain(Stage *s)
{
    json_auto_t *doc = json_pack("{s:s}", "state", "preparing");

    roster_maintain(s->w->roster, "beta", doc);
}

static void end_maintenance(Stage *s)
{
    roster_maintain(s->w->roster, "beta", NULL);
}

static void begin_plan(Stage *s)
{
    step(s, (Input){.kind = INPUT_PLAN_BEGUN, .plan = PLAN, .host = (char *)"beta"});
}

static void end_plan(Stage *s)
{
    step(s, (Input){.kind = INPUT_PLAN_ENDED, .plan = PLAN, .host = (char *)"beta"});
}

static void looked(Stage *s, const char *why)
{
    g_autoptr(GError) failure = why ? g_error_new_literal(US_ERROR, US_ERROR_VERIFY, why) : NULL;

    step(s, (Input){.kind = INPUT_LOOKED, .failure = failure});
}

static void find_unfit(Stage *s)
{
    looked(s, "beta has no room");
}

static void find_fit(Stage *s)
{
    looked(s, NULL);
}

static void pause_it(Stage *s)
{
    world_do(s->w, INPUT_PAUSE);
}

static void go_on(Stage *s)
{
    world_do(s->w, INPUT_CONTINUE);
}

static void let_run(Stage *s)
{
    set_policy(s, SWITCHOVER_AUTO, CONFIRM_NO, ISOLATION_RUN);
}

static void let_stop(Stage *s)
{
    set_policy(s, SWITCHOVER_AUTO, CONFIRM_NO, ISOLATION_PAUSE);
}

static void doubt(Stage *s)
{
    protection_doubt(s->w->p);
}

static void hear_all(Stage *s)
{
    world_hear(s->w, "alpha");
    world_hear(s->w, "beta");
    world_news(s->w, 1, "protected", 500, NULL);
}

static void find_rival(Stage *s)
{
    vm_of(s, 1)->rival = g_strdup("beta");
}

static void lose_rival(Stage *s)
{
    g_clear_pointer(&vm_of(s, 1)->rival, g_free);
}

static void lose_beta(Stage *s)
{
    world_link(s->w, "beta", FALSE);
}

static void find_beta(Stage *s)
{
    world_link(s->w, "beta", TRUE);
    world_news(s->w, 1, "protected", 500, NULL);
}

static void ask_first(Stage *s)
{
    set_policy(s, SWITCHOVER_AUTO, CONFIRM_YES, ISOLATION_PAUSE);
}

static void free_lease(Stage *s)
{
    s->lease = "free";
    stage_pass(s, TRUE);
}

/* Why nothing of it is taken over, as its operator reads it. */
static char *why_not(const Stage *s)
{
    json_auto_t *doc = status_of(s->w->p, NULL, s->w->now_ms);
    const json_t *automatic = json_object_get(doc, "automatic");

    return g_strdup(json_string_value(json_object_get(automatic, "why")));
}

static void test_without_guard(void)
{
    g_autoptr(Stage) s = automatic(1);
    g_autofree char *held = why_not(s), *unguarded = NULL, *awaited = NULL;

    g_assert_null(held);
    s->guard = "does not answer";
    s->lease = "free";
    stage_pass(s, TRUE);
    unguarded = why_not(s);
    g_assert_cmpstr(unguarded, ==, "the guard of its host does not answer, see `understudy host show`");
    s->guard = NULL;
    stage_pass(s, TRUE);
    awaited = why_not(s);
    g_assert_nonnull(strstr(awaited, "is awaited"));
}

/* What keeps it from being armed, or taken over. */
static const struct {
    const char *why; /* NULL: it is armed all the same */
    void (*make)(Stage *s);
    void (*mend)(Stage *s);
    gboolean untold; /* its active hears nothing of it, or another thing */
} BARS[] = {
    {"it does not run", pause_it, go_on, TRUE},
    {"a plan has its VMs", begin_plan, end_plan, TRUE},
    {"isolation=run: nobody is stopped for want of a lease", let_run, let_stop, FALSE},
    {"a host of it is in maintenance", maintain, end_maintenance, FALSE},
    {"it is held", hold, unhold, FALSE},
    {"not every host has said what it knows", doubt, hear_all, TRUE},
    {"beta has no room", find_unfit, find_fit, FALSE},
    {"two hosts say that they are the active", find_rival, lose_rival, FALSE},
    {"its standby does not answer", lose_beta, find_beta, FALSE},
    {NULL, ask_first, let_stop, FALSE},
    {NULL, free_lease, NULL, FALSE},
};

/* Each is said, told to the active once, and over with its cause. */
static void test_why(void)
{
    for (guint i = 0; i < G_N_ELEMENTS(BARS) && BARS[i].why; i++) {
        g_autoptr(Stage) s = automatic(1);

        g_test_message("%s", BARS[i].why);
        BARS[i].make(s);
        settle(s);
        g_assert_cmpstr(protection_unarmed(s->w->p, vm_of(s, 1)), ==, BARS[i].why);
        if (!BARS[i].untold)
            g_assert_true(g_str_has_suffix(leases->str, "web1 disarmed\n"));
        settle(s);
        g_string_truncate(leases, 0);
        settle(s);
        expect_leases(s, "");
        BARS[i].mend(s);
        settle(s);
        settle(s);
        g_assert_null(protection_unarmed(s->w->p, vm_of(s, 1)));
        /* Of a plan that changes nothing there is nothing to tell. */
        if (BARS[i].make == begin_plan)
            expect_leases(s, "");
        else
            g_assert_true(g_str_has_suffix(leases->str, "web1 armed\n"));
    }
}

/* One that does not run any more, and one that runs elsewhere with nothing behind it. */
static void test_not_covered(void)
{
    g_autoptr(Stage) stopped = automatic(1);
    g_autoptr(Stage) bare = automatic(1);

    world_do(stopped->w, INPUT_STOP);
    g_assert_cmpstr(protection_unarmed(stopped->w->p, vm_of(stopped, 1)), ==, "it does not run");
    world_moved(bare->w, "beta", 2, FALSE);
    g_assert_cmpstr(protection_unarmed(bare->w->p, vm_of(bare, 1)), ==,
                    "nothing replicates it from where it runs");
}

/* Whatever changes while a plan has its VMs, their actives hear of it afterwards. */
static void test_plan_tells_nobody(void)
{
    g_autoptr(Stage) s = automatic(1);

    begin_plan(s);
    hold(s);
    settle(s);
    unhold(s);
    hold(s);
    settle(s);
    expect_leases(s, "");
    end_plan(s);
    expect_leases(s, "web1 disarmed\n");
}

/* The new active begins disarmed, until there is a copy that it can be taken over from. */
static void test_moved(void)
{
    g_autoptr(Stage) s = automatic(1);

    world_moved(s->w, "beta", 2, TRUE);
    expect_leases(s, "web1 disarmed\n");
    world_news(s->w, 1, "protected", 500, NULL);
    expect_leases(s, "web1 armed\n");
}

/* What is under way says what was so before: the active is told again. */
static void test_changed_while_asked(void)
{
    g_autoptr(Stage) s = automatic(1);

    hold(s);
    g_assert_cmpstr(vm_of(s, 1)->asked, ==, "active.protect");
    unhold(s);
    world_answer(s->w, "alpha", "active.protect", 1, -1, NULL);
    settle(s);
    expect_leases(s, "web1 disarmed\nweb1 armed\n");
}

/* Whoever cannot be told stays what he is: that his standby was away for a moment is forgotten when it is back. */
static void test_not_to_be_told(void)
{
    g_autoptr(Stage) s = automatic(1);

    s->w->p->scenario->policy.interval_ms = 1000;
    stage_lose(s);
    stage_pass_for(s, 30, FALSE);
    g_assert_cmpint(protection_vm_state(vm_of(s, 1)), ==, COPY_LAGGING);
    g_assert_null(protection_unarmed(s->w->p, vm_of(s, 1)));
    lose_beta(s);
    g_assert_cmpstr(protection_unarmed(s->w->p, vm_of(s, 1)), ==, "its standby does not answer");
    world_link(s->w, "beta", TRUE);
    g_assert_null(protection_unarmed(s->w->p, vm_of(s, 1)));
    expect_leases(s, "");
}

/* --- taking over ------------------------------------------------------------------ */

static void kill_alpha(Stage *s)
{
    stage_lose(s);
    s->path = 3;
    stage_pass(s, FALSE);
}

static void begin_takeover(Stage *s, const char *why)
{
    g_autoptr(GError) failure = why ? g_error_new_literal(US_ERROR, US_ERROR_REFUSED, why) : NULL;

    step(s, (Input){.kind = INPUT_TAKEOVER, .failure = failure});
}

/* Of those on alpha, by whose votes, and by hand or not. */
static void expect_what(const Stage *s, guint vms, gboolean gone, gboolean hangs)
{
    g_autoptr(GArray) list = g_array_new(FALSE, FALSE, sizeof(Id));
    gboolean is_gone, does_hang;

    protection_to_take_over(s->w->p, list, &is_gone, &does_hang);
    g_assert_cmpuint(list->len, ==, vms);
    g_assert_true(id_equal(g_array_index(list, Id, 0), world_vm(1)));
    g_assert_cmpint(is_gone, ==, gone);
    g_assert_cmpint(does_hang, ==, hangs);
}

/* Its host is gone. Nobody has waited for longer than he said since somebody was missed. */
static void test_host_dies(void)
{
    g_autoptr(Stage) s = automatic(1);

    kill_alpha(s);
    stage_pass_for(s, LEFT_S, FALSE);
    stage_expect(s, "[  10] PROBE_MISSED alpha\n"
                    "[  10] HOST_SILENT alpha\n"
                    "[  10] time passed -> event GUEST_SILENT\n"
                    "        -> event COUNTDOWN_STARTED\n"
                    "[  27] time passed -> move what is silent\n"
                    "        -> web failed: a VM needs an operator\n");
    g_assert_true(protection_wants_takeover(s->w->p));
    expect_what(s, 1, TRUE, TRUE);
    g_assert_cmpint(protection_countdown_left_ms(s->w->p, s->w->now_ms), ==, 0);
    /* Once, however long it takes to begin. */
    stage_pass_for(s, 60, FALSE);
    stage_expect(s, "");
    begin_plan(s);
    begin_takeover(s, NULL);
    g_assert_false(protection_wants_takeover(s->w->p));
    step(s, (Input){.kind = INPUT_MOVING, .plan = PLAN, .vm = world_vm(1)});
    step(s, (Input){.kind = INPUT_MOVED,
                    .plan = PLAN,
                    .vm = world_vm(1),
                    .host = (char *)"beta",
                    .reign = {3, world_id(0x88)},
                    .reverse = TRUE,
                    .forced = TRUE});
    end_plan(s);
    stage_pass_for(s, 60, FALSE);
    g_assert_cmpuint(times(s, TAKES) + times(s, REQUIRED), ==, 0);
    g_assert_cmpuint(times(s, "event COUNTDOWN_CANCELLED"), ==, 1);
}

/* By hand it counts from when that is found. */
static void test_first_miss(void)
{
    g_autoptr(Stage) s = stage_by_hand(1);

    kill_alpha(s);
    world_forget(s->w);
    stage_pass_for(s, 19, FALSE);
    stage_expect(s, "");
    stage_pass(s, FALSE);
    g_assert_cmpuint(times(s, REQUIRED), ==, 1);
}

/* What is said of it is what is left, not all of it. */
static void test_says_what_is_left(void)
{
    g_autoptr(Stage) s = automatic(1);

    kill_alpha(s);
    while (times(s, "event COUNTDOWN_STARTED") == 0)
        stage_pass(s, FALSE);
    g_assert_nonnull(strstr(s->w->told, "required in 17s"));
}

/* What is in the way when the countdown is over leaves it to the operator. */
static void test_barred(void)
{
    for (guint i = 0; i < G_N_ELEMENTS(BARS); i++) {
        g_autoptr(Stage) s = automatic(1);

        g_test_message("%s", BARS[i].why ? BARS[i].why : BARS[i].make == ask_first ? "confirm" : "free");
        BARS[i].make(s);
        obey(s);
        kill_alpha(s);
        stage_pass_for(s, 3 * LEFT_S, FALSE);
        g_assert_cmpuint(times(s, TAKES), ==, 0);
        g_assert_false(protection_wants_takeover(s->w->p));
        /* Nor is anybody told while a plan runs. */
        g_assert_cmpuint(times(s, REQUIRED), ==, BARS[i].make != begin_plan);
    }
}

/* A guest that its guard has stopped, or whose QEMU has: who answers is asked to give it up. */
static void test_guest_dies(void)
{
    static const char *const WORDS[] = {"fenced", "stalled"};

    for (guint i = 0; i < G_N_ELEMENTS(WORDS); i++) {
        g_autoptr(Stage) s = automatic(1);

        s->word = WORDS[i];
        s->lease = i == 0 ? "lost" : "held";
        s->why = "no voter answered";
        stage_pass_for(s, 20, TRUE);
        g_assert_cmpint(vm_of(s, 1)->life.state, ==, GUEST_LIFE_SILENT);
        g_assert_cmpstr(vm_of(s, 1)->life.why, ==, "no voter answered");
        g_assert_cmpuint(times(s, TAKES) + times(s, "guest.revive"), ==, 0);
        stage_pass(s, TRUE);
        g_assert_cmpuint(times(s, TAKES), ==, 1);
        expect_what(s, 1, FALSE, TRUE);
    }
}

/* One whose line is back stands still, and its lease is about to be: it is not moved meanwhile, however late that is; but not waited for
 * again and again. */
static void test_comes_back(void)
{
    g_autoptr(Stage) s = automatic(1);
    g_autoptr(Stage) lives = automatic(1);

    for (guint i = 0; i < 2; i++) {
        Stage *one = i == 0 ? s : lives;

        kill_alpha(one);
        stage_pass_for(one, LEFT_S - 2, FALSE);
        one->path = 0;
        one->word = "fenced";
        one->lease = "lost";
        stage_find(one);
        stage_pass_for(one, 10, TRUE);
        g_assert_cmpuint(times(one, TAKES), ==, 0);
    }
    /* Again behind the line, and back. */
    stage_lose(s);
    stage_find(s);
    stage_pass(s, TRUE);
    g_assert_cmpuint(times(s, TAKES), ==, 1);
    expect_what(s, 1, FALSE, TRUE);

    lives->word = "alive";
    lives->lease = "held";
    stage_pass(lives, TRUE);
    g_assert_cmpuint(times(lives, "event COUNTDOWN_CANCELLED"), ==, 1);
    g_assert_cmpuint(times(lives, TAKES), ==, 0);
    /* Another time it has the same time. */
    lives->word = "fenced";
    stage_pass_for(lives, 20, TRUE);
    g_assert_cmpuint(times(lives, TAKES), ==, 0);
}

/* Its operator is told at the first, and why; then it is tried again, as often as is worth it. */
static void test_comes_to_nothing(void)
{
    g_autoptr(Stage) s = automatic(1);

    kill_alpha(s);
    stage_pass_for(s, LEFT_S, FALSE);
    world_forget(s->w);
    begin_takeover(s, "beta has no room");
    stage_expect(s, "[  27] takeover not begun (beta has no room) -> event SWITCHOVER_REQUIRED\n");
    for (guint tries = 2; tries <= 3; tries++) {
        stage_pass_for(s, 19, FALSE);
        stage_expect(s, "");
        stage_pass(s, FALSE);
        g_assert_cmpuint(times(s, TAKES), ==, 1);
        world_forget(s->w);
        begin_takeover(s, "beta has no room still");
        g_assert_cmpuint(times(s, REQUIRED), ==, 0);
        world_forget(s->w);
    }
    stage_pass_for(s, 100, FALSE);
    stage_expect(s, "");
}

static void stay(Stage *s, const char *why)
{
    begin_plan(s);
    begin_takeover(s, NULL);
    step(s, (Input){.kind = INPUT_MOVING, .plan = PLAN, .vm = world_vm(1)});
    stage_pass_for(s, 30, FALSE);
    step(s, (Input){.kind = INPUT_STAYED, .plan = PLAN, .vm = world_vm(1), .why = (char *)why});
    end_plan(s);
    world_forget(s->w);
}

/* Nor does one that began and left the guest where it is leave its operator without a word. */
static void test_stays(void)
{
    g_autoptr(Stage) s = automatic(1);

    s->w->p->scenario->policy.probe_interval_ms = 1000;
    kill_alpha(s);
    stage_pass_for(s, LEFT_S, FALSE);
    stay(s, "beta has granted a lease");
    stage_pass_for(s, 19, FALSE);
    g_assert_cmpuint(times(s, REQUIRED), ==, 1);
    g_assert_cmpuint(times(s, TAKES), ==, 0);
    stage_pass_for(s, 2, FALSE);
    g_assert_cmpuint(times(s, TAKES), ==, 1);
    stay(s, "beta has granted a lease");
    stage_pass_for(s, 21, FALSE);
    g_assert_cmpuint(times(s, REQUIRED), ==, 0);
    g_assert_cmpuint(times(s, TAKES), ==, 1);
    stay(s, "beta has granted a lease");
    stage_pass_for(s, 100, FALSE);
    g_assert_cmpuint(times(s, REQUIRED) + times(s, TAKES), ==, 0);
}

/* What answers again needs nobody; and what falls silent after that has all of its tries. */
static void test_lives_again(void)
{
    g_autoptr(Stage) s = automatic(1);

    for (guint i = 0; i < 5; i++) {
        kill_alpha(s);
        stage_pass_for(s, LEFT_S - 1, FALSE);
        g_assert_cmpuint(times(s, TAKES), ==, 0);
        if (i > 0) {
            stage_pass(s, FALSE);
            g_assert_cmpuint(times(s, TAKES), ==, 1);
        }
        s->path = 0;
        stage_find(s);
        stage_pass_for(s, 2, TRUE);
        g_assert_cmpuint(times(s, "event COUNTDOWN_CANCELLED"), ==, 1);
        g_assert_false(protection_wants_takeover(s->w->p));
        obey(s);
        world_forget(s->w);
        stage_pass_for(s, 30, TRUE);
        g_assert_cmpuint(times(s, TAKES) + times(s, REQUIRED), ==, 0);
    }
}

/* Between the wish and the plan somebody may have said otherwise: it is not begun, and not forgotten either. */
static void test_overtaken(void)
{
    static void (*const CHANGES[][2])(Stage *) = {
        {hold, unhold}, {ask_first, let_stop}, {begin_plan, end_plan}};

    for (guint i = 0; i < G_N_ELEMENTS(CHANGES); i++) {
        g_autoptr(Stage) s = automatic(1);

        s->w->p->scenario->policy.probe_interval_ms = 1000;
        kill_alpha(s);
        stage_pass_for(s, LEFT_S, FALSE);
        g_assert_true(protection_wants_takeover(s->w->p));
        CHANGES[i][0](s);
        g_assert_false(protection_wants_takeover(s->w->p));
        world_forget(s->w);
        stage_pass_for(s, 5, FALSE);
        /* Of his own plan an operator need not be told. */
        g_assert_cmpuint(times(s, REQUIRED), ==, CHANGES[i][0] != begin_plan);
        CHANGES[i][1](s);
        g_assert_false(protection_wants_takeover(s->w->p));
        stage_pass_for(s, 30, FALSE);
        g_assert_cmpuint(times(s, TAKES), ==, 1);
    }
}

/* What is stopped wants nothing, and has all of it again when it runs. */
static void test_stopped(void)
{
    g_autoptr(Stage) s = automatic(1);
    g_autoptr(GArray) list = g_array_new(FALSE, FALSE, sizeof(Id));
    gboolean gone, hangs;

    kill_alpha(s);
    stage_pass_for(s, LEFT_S, FALSE);
    g_assert_true(protection_wants_takeover(s->w->p));
    world_do(s->w, INPUT_STOP);
    g_assert_false(protection_wants_takeover(s->w->p));
    protection_to_take_over(s->w->p, list, &gone, &hangs);
    g_assert_cmpuint(list->len, ==, 0);
    g_assert_cmpuint(s->w->p->takeover.tries, ==, 0);
}

/* --- its kernel alone answers ---------------------------------------------------- */

/* The engine hangs, and nobody hears it. */
static Stage *mute(const char *lease)
{
    Stage *s = automatic(1);

    s->lease = lease;
    stage_pass(s, TRUE);
    stage_lose(s);
    s->beat = 3;
    s->hangs = TRUE;
    return s;
}

/* Who held a lease holds none any more when all of it is over; it is counted from when its engine was heard last. */
static void test_lease_ends(void)
{
    g_autoptr(Stage) s = mute("held");

    stage_pass_for(s, 15, FALSE);
    stage_expect(s, "");
    stage_pass(s, FALSE);
    stage_expect(s, "[  26] time passed -> event GUEST_SILENT\n"
                    "        -> event COUNTDOWN_STARTED\n");
    g_assert_cmpstr(vm_of(s, 1)->life.why, ==,
                    "nobody hears the engine of its host, for longer than a lease lasts: its guard has "
                    "stopped it");
    stage_pass_for(s, 4, FALSE);
    g_assert_cmpuint(times(s, TAKES), ==, 0);
    stage_pass(s, FALSE);
    g_assert_cmpuint(times(s, TAKES), ==, 1);
    expect_what(s, 1, TRUE, TRUE);
}

/* Nobody has stopped who need not be stopped, nor whose engine the standby hears, by whom it is renewed; nor is one refused that holds none. */
static void test_lease_lasts(void)
{
    static const char *const LEASES[] = {"free", "lost", NULL};

    for (guint i = 0; i < G_N_ELEMENTS(LEASES); i++) {
        g_autoptr(Stage) s = mute(LEASES[i]);

        stage_pass_for(s, 60, FALSE);
        g_assert_cmpuint(times(s, "GUEST_SILENT") + times(s, TAKES), ==, 0);
    }
    {
        g_autoptr(Stage) s = mute("held");

        s->beat = 0;
        stage_pass_for(s, 60, FALSE);
        s->beat = 3;
        stage_pass_for(s, 14, FALSE);
        s->beat = 0;
        stage_pass(s, FALSE);
        s->beat = 3;
        stage_pass_for(s, 15, FALSE);
        g_assert_cmpuint(times(s, "GUEST_SILENT") + times(s, TAKES), ==, 0);
        /* It answers the controller again. */
        stage_find(s);
        stage_pass(s, TRUE);
        stage_lose(s);
        stage_pass_for(s, 14, FALSE);
        g_assert_cmpuint(times(s, "GUEST_SILENT") + times(s, TAKES), ==, 0);
        stage_pass(s, FALSE);
        g_assert_cmpuint(times(s, "GUEST_SILENT"), ==, 1);
    }
}

/* Nor of one of whom nobody can say whether it is heard. */
static void test_lease_unseen(void)
{
    g_autoptr(Stage) s = mute("held");

    stage_pass_for(s, 10, FALSE);
    vitals_link(s->v, "beta", FALSE);
    stage_pass_for(s, 60, FALSE);
    vitals_link(s->v, "beta", TRUE);
    s->told = 0;
    stage_pass_for(s, 15, FALSE);
    g_assert_cmpuint(times(s, "GUEST_SILENT"), ==, 0);
    stage_pass(s, FALSE);
    g_assert_cmpuint(times(s, "GUEST_SILENT"), ==, 1);
}

/* The port of an engine that does not run refuses: then it renews nothing, either. */
static void test_lease_of_no_engine(void)
{
    g_autoptr(Stage) s = mute("held");

    s->hangs = FALSE;
    stage_pass_for(s, 16, FALSE);
    g_assert_cmpuint(times(s, "GUEST_SILENT"), ==, 1);
}

/* --- a line that is cut for long, a controller that is new, two hosts ---------------- */

/* The standby has not heard it for an hour, and the controller a moment ago: that is when it was missed first. */
static void test_behind_a_cut_line(void)
{
    g_autoptr(Stage) s = automatic(1);

    s->path = 3600;
    stage_pass(s, TRUE);
    stage_lose(s);
    stage_pass_for(s, 9, FALSE);
    g_assert_cmpuint(times(s, "COUNTDOWN_STARTED"), ==, 1);
    g_assert_cmpuint(times(s, TAKES), ==, 0);
    stage_pass_for(s, 3, FALSE);
    g_assert_cmpuint(times(s, TAKES), ==, 1);
}

static void controller_back(Stage *s)
{
    stage_controller_back(s, 4, EVENT_HOST_SILENT);
    s->w->p->scenario->policy.probe_interval_ms = 1000;
}

/* The countdown goes on, and ends as it would have; nothing of a try is durable but its plan, and so it is made again. */
static void test_controller_is_new(void)
{
    g_autoptr(Stage) s = automatic(1);

    kill_alpha(s);
    stage_pass_for(s, 5, FALSE);
    controller_back(s);
    stage_pass_for(s, 7, FALSE);
    g_assert_cmpuint(times(s, TAKES), ==, 0);
    stage_pass(s, FALSE);
    g_assert_cmpuint(times(s, TAKES), ==, 1);
    /* The plan was not begun when it died. */
    controller_back(s);
    g_assert_false(protection_wants_takeover(s->w->p));
    stage_pass_for(s, 10, FALSE);
    g_assert_cmpuint(times(s, TAKES), ==, 1);
    g_assert_cmpuint(times(s, REQUIRED), ==, 0);
    /* And what was told is not told again. */
    begin_takeover(s, "beta has no room");
    controller_back(s);
    stage_pass_for(s, 60, FALSE);
    g_assert_cmpuint(times(s, TAKES) + times(s, REQUIRED), ==, 0);
}

/* Nobody takes over by what was so before it started. */
static void test_seen_by_nobody(void)
{
    g_autoptr(Stage) s = automatic(1);

    kill_alpha(s);
    controller_back(s);
    vitals_link(s->v, "beta", FALSE);
    stage_pass_for(s, 60, FALSE);
    g_assert_cmpuint(times(s, TAKES) + times(s, REQUIRED), ==, 0);
}

/* web2 runs on beta, and alpha keeps its copy. */
static void move_second(Stage *s)
{
    begin_plan(s);
    step(s, (Input){.kind = INPUT_MOVING, .plan = PLAN, .vm = world_vm(2)});
    step(s, (Input){.kind = INPUT_MOVED,
                    .plan = PLAN,
                    .vm = world_vm(2),
                    .host = (char *)"beta",
                    .reign = {2, world_id(0x88)},
                    .unlocked = TRUE,
                    .reverse = TRUE});
    end_plan(s);
    s->other = NULL;
    s->there = "alive";
    obey(s);
    world_news(s->w, 2, "protected", 500, NULL);
    settle(s);
    settle(s);
    world_forget(s->w);
}

/* Of two hosts' guests that are silent one host's are moved, and the other's with the next. */
static void test_two_hosts(void)
{
    g_autoptr(Stage) s = automatic(2);
    g_autoptr(Stage) gone = automatic(2);
    guint waited = 0;

    move_second(s);
    s->word = s->there = "stalled";
    while (times(s, TAKES) == 0 && waited++ < 60)
        stage_pass(s, TRUE);
    g_assert_cmpuint(times(s, TAKES), ==, 1);
    g_assert_cmpint(vm_of(s, 2)->life.state, ==, GUEST_LIFE_SILENT);
    expect_what(s, 1, FALSE, TRUE);

    move_second(gone);
    kill_alpha(gone);
    stage_pass_for(gone, LEFT_S, FALSE);
    g_assert_cmpuint(times(gone, TAKES), ==, 1);
    expect_what(gone, 1, TRUE, TRUE);
}

/* Of one host all that are silent are moved at once. */
static void test_all_of_one_host(void)
{
    g_autoptr(Stage) s = automatic(2);
    g_autoptr(Stage) one = automatic(2);

    kill_alpha(s);
    stage_pass_for(s, LEFT_S, FALSE);
    expect_what(s, 2, TRUE, TRUE);
    one->word = "stalled";
    stage_pass_for(one, 21, TRUE);
    g_assert_cmpuint(times(one, TAKES), ==, 1);
    expect_what(one, 1, FALSE, TRUE);
}

/* One that falls silent while the others' plan is not begun yet does not have it asked for twice. */
static void test_late_one(void)
{
    g_autoptr(Stage) s = automatic(2);

    s->word = "stalled";
    stage_pass_for(s, 25, TRUE);
    g_assert_true(protection_wants_takeover(s->w->p));
    s->other = "stalled";
    stage_pass_for(s, 60, TRUE);
    g_assert_cmpuint(times(s, TAKES), ==, 1);
}

/* --- with a fence -------------------------------------------------------------------- */

static void expect_unattended(const Stage *s, const char *why)
{
    g_assert_cmpstr(protection_unattended(s->w->p, vm_of(s, 1)), ==, why);
}

/* It makes certain what no lease does, and is no reason for anything else; the replica's is of no use here. */
static void test_fence(void)
{
    for (guint i = 0; i < G_N_ELEMENTS(BARS); i++) {
        g_autoptr(Stage) s = automatic(1);
        gboolean takes = BARS[i].make == let_run || BARS[i].make == free_lease;

        g_test_message("%s", BARS[i].why ? BARS[i].why : BARS[i].make == ask_first ? "confirm" : "free");
        roster_fence(s->w->roster, "alpha", TRUE);
        BARS[i].make(s);
        obey(s);
        kill_alpha(s);
        stage_pass_for(s, LEFT_S, FALSE);
        g_assert_cmpuint(times(s, TAKES), ==, takes);
        g_assert_cmpuint(times(s, REQUIRED), ==, !takes && BARS[i].make != begin_plan);
    }
    for (guint i = 0; i < 2; i++) {
        g_autoptr(Stage) s = automatic(1);

        roster_fence(s->w->roster, "beta", TRUE);
        (i == 0 ? let_run : free_lease)(s);
        obey(s);
        kill_alpha(s);
        stage_pass_for(s, LEFT_S, FALSE);
        g_assert_cmpuint(times(s, TAKES), ==, 0);
        g_assert_cmpuint(times(s, REQUIRED), ==, 1);
    }
}

/* With isolation=run a fence arms nobody, and what is not taken over without one is said. */
static void test_fence_alone(void)
{
    g_autoptr(Stage) s = automatic(1);

    expect_unattended(s, NULL);
    g_assert_false(protection_is_fenced_only(s->w->p));
    let_run(s);
    g_assert_true(protection_is_fenced_only(s->w->p));
    expect_unattended(s, "isolation=run, and no fence is set for the host that runs it");
    expect_leases(s, "web1 disarmed\n");
    roster_fence(s->w->roster, "alpha", TRUE);
    expect_unattended(s, NULL);
    stage_pass_for(s, 8, TRUE);
    expect_leases(s, "");
    g_assert_cmpstr(protection_unarmed(s->w->p, vm_of(s, 1)), ==,
                    "isolation=run: nobody is stopped for want of a lease");
    lose_beta(s);
    expect_unattended(s, "its standby does not answer");
    find_beta(s);
    hold(s);
    expect_unattended(s, "it is held");
    unhold(s);
    set_policy(s, SWITCHOVER_MANUAL, CONFIRM_NO, ISOLATION_RUN);
    expect_unattended(s, "switchover=manual");
}

/* Whose guests may live there: of whom it is known that they do not, or should not, nobody asks. */
static void test_lives_on(void)
{
    g_autoptr(Stage) s = automatic(2);

    g_assert_cmpstr(protection_may_live_on(s->w->p, "alpha"), ==, "web1");
    g_assert_null(protection_may_live_on(s->w->p, "beta"));
    vm_of(s, 1)->life.state = GUEST_LIFE_SILENT;
    g_assert_cmpstr(protection_may_live_on(s->w->p, "alpha"), ==, "web2");
    vm_of(s, 2)->life.state = GUEST_LIFE_UNKNOWN;
    g_assert_cmpstr(protection_may_live_on(s->w->p, "alpha"), ==, "web2");
    vm_of(s, 2)->life.state = GUEST_LIFE_OFF;
    g_assert_null(protection_may_live_on(s->w->p, "alpha"));
}

static void expect_status(const Stage *s, const char *why)
{
    json_auto_t *doc = status_of(s->w->p, NULL, s->w->now_ms);
    const json_t *automatic = json_object_get(doc, "automatic");

    g_assert_cmpstr(json_text_of(automatic, "why"), ==, why);
    g_assert_true(json_is_true(json_object_get(automatic, "armed")) == (why == NULL));
}

/* Who does not run does not switch over; nor does it say anything about those that do. */
static void test_status_of_paused(void)
{
    g_autoptr(Stage) one = automatic(1);
    g_autoptr(Stage) two = automatic(2);

    expect_status(one, NULL);
    one->word = "paused";
    settle(one);
    expect_status(one, "no VM of it runs, and one that was switched off or paused is left so");
    /* Nor when its host is gone. */
    kill_alpha(one);
    stage_pass_for(one, LEFT_S + 30, FALSE);
    g_assert_cmpuint(times(one, TAKES), ==, 0);
    expect_status(one, "no VM of it runs, and one that was switched off or paused is left so");
    vm_of(two, 2)->life.state = GUEST_LIFE_OFF;
    expect_status(two, NULL);
    vm_of(two, 1)->lease = LEASE_LOST;
    expect_status(two, "its lease is lost");
}

int main(int argc, char **argv)
{
    int rc;

    g_test_init(&argc, &argv, NULL);
    leases = g_string_new(NULL);
    g_test_add_func("/takeover/armed", test_armed);
    g_test_add_func("/takeover/without-guard", test_without_guard);
    g_test_add_func("/takeover/why", test_why);
    g_test_add_func("/takeover/not-covered", test_not_covered);
    g_test_add_func("/takeover/plan-tells-nobody", test_plan_tells_nobody);
    g_test_add_func("/takeover/moved", test_moved);
    g_test_add_func("/takeover/changed-while-asked", test_changed_while_asked);
    g_test_add_func("/takeover/not-to-be-told", test_not_to_be_told);
    g_test_add_func("/takeover/host-dies", test_host_dies);
    g_test_add_func("/takeover/first-miss", test_first_miss);
    g_test_add_func("/takeover/says-what-is-left", test_says_what_is_left);
    g_test_add_func("/takeover/barred", test_barred);
    g_test_add_func("/takeover/guest-dies", test_guest_dies);
    g_test_add_func("/takeover/comes-back", test_comes_back);
    g_test_add_func("/takeover/comes-to-nothing", test_comes_to_nothing);
    g_test_add_func("/takeover/stays", test_stays);
    g_test_add_func("/takeover/lives-again", test_lives_again);
    g_test_add_func("/takeover/overtaken", test_overtaken);
    g_test_add_func("/takeover/stopped", test_stopped);
    g_test_add_func("/takeover/lease/ends", test_lease_ends);
    g_test_add_func("/takeover/lease/lasts", test_lease_lasts);
    g_test_add_func("/takeover/lease/unseen", test_lease_unseen);
    g_test_add_func("/takeover/lease/of-no-engine", test_lease_of_no_engine);
    g_test_add_func("/takeover/behind-a-cut-line", test_behind_a_cut_line);
    g_test_add_func("/takeover/controller-is-new", test_controller_is_new);
    g_test_add_func("/takeover/seen-by-nobody", test_seen_by_nobody);
    g_test_add_func("/takeover/two-hosts", test_two_hosts);
    g_test_add_func("/takeover/all-of-one-host", test_all_of_one_host);
    g_test_add_func("/takeover/late-one", test_late_one);
    g_test_add_func("/takeover/fence", test_fence);
    g_test_add_func("/takeover/fence-alone", test_fence_alone);
    g_test_add_func("/takeover/lives-on", test_lives_on);
    g_test_add_func("/takeover/status-of-paused", test_status_of_paused);
    rc = g_test_run();
    g_string_free(leases, TRUE);
    return rc;
}

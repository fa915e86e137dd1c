/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/core/status.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"
#include "world.h"

#include <string.h>

static void test_run(void)
{
    g_autoptr(World) w = world_new(1);

    world_do(w, INPUT_RUN);
    world_refused(w, INPUT_RUN, "scenario 'web' runs already");
    world_do(w, INPUT_VERIFIED);
    world_answer(w, "beta", "standby.admit", 1, -1, NULL);
    world_answer(w, "alpha", "active.protect", 1, -1, NULL);
    world_news(w, 1, "synchronizing", -1, NULL);
    w->now_ms = 60000;
    world_news(w, 1, "protected", 700, NULL);
    world_refused(w, INPUT_RUN, "scenario 'web' runs already");
    world_expect(w,
                 "[   0] run asked for -> verify both hosts\n"
                 "        -> web verifying: run asked for\n"
                 "[   0] no errors found -> keep durably\n"
                 "        -> event SCENARIO_STARTED\n"
                 "        -> web1 on beta unprotected: run asked for, there is no copy yet\n"
                 "        -> web synchronizing: no errors found\n"
                 "        -> standby.admit to beta for web1\n"
                 "[   0] beta did standby.admit for web1 -> active.protect to alpha for web1\n"
                 "[   0] alpha did active.protect for web1 -> nothing\n"
                 "[   0] news from alpha -> event SYNC_STARTED\n"
                 "        -> web1 on beta synchronizing: the standby admitted the VM, the first copy begins\n"
                 "[  60] news from alpha -> event SYNC_DONE\n"
                 "        -> web1 on beta protected: the first generation is sealed\n"
                 "        -> web running: every VM is protected\n"
                 "        -> keep durably\n");
}

static void test_verification_fails(void)
{
    g_autoptr(World) w = world_new(1);
    g_autoptr(GError) found = g_error_new(US_ERROR, US_ERROR_VERIFY, "disk vda of 'web1' is raw");

    world_do(w, INPUT_RUN);
    world_step(w, (Input){.kind = INPUT_VERIFIED, .failure = found}, NULL);
    world_expect(w, "[   0] run asked for -> verify both hosts\n"
                    "        -> web verifying: run asked for\n"
                    "[   0] errors found (disk vda of 'web1' is raw) -> event VERIFY_FAILED\n"
                    "        -> web stopped: verification found errors, or stop asked for\n");
}

static void test_stop_while_verifying(void)
{
    g_autoptr(World) w = world_new(1);

    world_do(w, INPUT_RUN);
    world_do(w, INPUT_STOP);
    world_do(w, INPUT_VERIFIED);
    world_expect(w, "[   0] run asked for -> verify both hosts\n"
                    "        -> web verifying: run asked for\n"
                    "[   0] stop asked for -> web stopped: verification found errors, or stop asked for\n"
                    "[   0] no errors found -> nothing\n");
}

/* The active is silent: its last figure grows old. It comes back and is told again. */
static void test_link_to_active_lost(void)
{
    g_autoptr(World) w = world_new(1);

    world_run(w);
    w->now_ms = 10000;
    world_news(w, 1, "protected", 500, NULL);
    world_link(w, "alpha", FALSE);
    w->now_ms = 29000;
    world_do(w, INPUT_TICK);
    w->now_ms = 30000;
    world_do(w, INPUT_TICK);
    w->now_ms = 90000;
    world_link(w, "alpha", TRUE);
    world_answer(w, "alpha", "active.protect", 1, -1, NULL);
    world_news(w, 1, "protected", 800, NULL);
    world_expect(w, "[  10] news from alpha -> nothing\n"
                    "[  10] link to alpha is lost -> nothing\n"
                    "[  29] time passed -> nothing\n"
                    "[  30] time passed -> event LAG_HIGH\n"
                    "        -> web1 on beta lagging: the newest sealed instant is older than allowed\n"
                    "        -> web degraded: a VM is unprotected or lagging\n"
                    "[  90] link to alpha is back -> active.protect to alpha for web1\n"
                    "[  90] alpha did active.protect for web1 -> nothing\n"
                    "[  90] news from alpha -> event LAG_OVER\n"
                    "        -> web1 on beta protected: the standby caught up\n"
                    "        -> web running: every VM is protected\n");
}

/* The standby is gone: the active remembers changes and says so. */
static void test_link_to_standby_lost(void)
{
    g_autoptr(World) w = world_new(1);

    world_run(w);
    world_link(w, "beta", FALSE);
    w->now_ms = 21000;
    world_news(w, 1, "lagging", 21000, "the link to beta is lost: changes are remembered");
    w->now_ms = 40000;
    world_link(w, "beta", TRUE);
    world_answer(w, "beta", "standby.admit", 1, -1, NULL);
    world_news(w, 1, "protected", 900, NULL);
    world_expect(w, "[   0] link to beta is lost -> nothing\n"
                    "[  21] news from alpha -> event LAG_HIGH\n"
                    "        -> web1 on beta lagging: the newest sealed instant is older than allowed\n"
                    "        -> web degraded: a VM is unprotected or lagging\n"
                    "[  40] link to beta is back -> standby.admit to beta for web1\n"
                    "[  40] beta did standby.admit for web1 -> nothing\n"
                    "[  40] news from alpha -> event LAG_OVER\n"
                    "        -> web1 on beta protected: the standby caught up\n"
                    "        -> web running: every VM is protected\n");
}

/* An engine that has just started says nothing of a copy: it is as old as it was, and grows older. */
static void test_engine_restarts(void)
{
    g_autoptr(World) w = world_new(1);

    world_run(w);
    w->now_ms = 2000;
    world_link(w, "alpha", FALSE);
    world_link(w, "alpha", TRUE);
    world_news(w, 1, "unprotected", -1, NULL);
    w->now_ms = 25000;
    world_news(w, 1, "unprotected", -1, "libvirtd does not answer");
    w->now_ms = 26000;
    world_news(w, 1, "protected", 900, NULL);
    world_expect(w, "[   2] link to alpha is lost -> nothing\n"
                    "[   2] link to alpha is back -> active.protect to alpha for web1\n"
                    "[   2] news from alpha -> nothing\n"
                    "[  25] news from alpha -> event LAG_HIGH\n"
                    "        -> web1 on beta lagging: the newest sealed instant is older than allowed\n"
                    "        -> web degraded: a VM is unprotected or lagging\n"
                    "[  26] news from alpha -> event LAG_OVER\n"
                    "        -> web1 on beta protected: the standby caught up\n"
                    "        -> web running: every VM is protected\n");
}

/* What an engine counts and what holds it up is told once, when it changes. */
static void test_what_happened_to_cuts(void)
{
    g_autoptr(World) w = world_new(1);

    world_run(w);
    world_news_more(w, 1, "protected", 500, NULL,
                    "{\"rescues\": {\"count\": 1, \"why\": \"scratch was full\"}}");
    world_news_more(w, 1, "protected", 500, NULL,
                    "{\"rescues\": {\"count\": 1, \"why\": \"scratch was full\"}}");
    world_news_more(w, 1, "failed", 900, "it is locked: restart libvirtd",
                    "{\"why\": \"it is locked: restart libvirtd\", \"why_code\": \"stuck\"}");
    world_news_more(w, 1, "failed", 1900, "it is locked: restart libvirtd",
                    "{\"why\": \"it is locked: restart libvirtd\", \"why_code\": \"stuck\"}");
    world_news(w, 1, "protected", 500, NULL);
    world_expect(w, "[   0] news from alpha -> event SCRATCH_LOW\n"
                    "[   0] news from alpha -> nothing\n"
                    "[   0] news from alpha -> event JOB_STUCK\n"
                    "        -> event VM_FAILED\n"
                    "        -> web1 on beta failed: the engine needs an operator\n"
                    "        -> web failed: a VM needs an operator\n"
                    "[   0] news from alpha -> nothing\n"
                    "[   0] news from alpha -> event VM_RECOVERED\n"
                    "        -> web1 on beta protected: the cause was removed\n"
                    "        -> web running: the cause was removed, every VM is protected\n");
}

static void say_compared(World *w, const char *id, const char *ended_at, guint different)
{
    g_autofree char *more =
        g_strdup_printf("{\"standbys\": [{\"host\": \"beta\", \"state\": \"protected\", \"lag_ms\": 500, "
                        "\"compare\": {\"id\": \"%s\", "
                        "\"state\": \"running\", \"different_bytes\": %u, \"ended_at\": %s}}]}",
                        id, different, ended_at);

    world_news_more(w, 1, "protected", 500, NULL, more);
}

/* What a comparison found is told once, at its end; what a controller that has just started hears of an old one is not
 * news. */
static void test_compared(void)
{
    static const char *const END = "\"2026-11-21T22:16:54.123Z\"";
    g_autoptr(World) w = world_new(1);

    world_run(w);
    say_compared(w, ID_TEXT(world_id(0x61)), "null", 0);
    say_compared(w, ID_TEXT(world_id(0x61)), "null", 65536);
    say_compared(w, ID_TEXT(world_id(0x61)), END, 65536);
    say_compared(w, ID_TEXT(world_id(0x61)), END, 65536);
    say_compared(w, ID_TEXT(world_id(0x62)), END, 0);
    world_expect(w, "[   0] news from alpha -> nothing\n"
                    "[   0] news from alpha -> nothing\n"
                    "[   0] news from alpha -> event COPY_DIFFERS\n"
                    "[   0] news from alpha -> nothing\n"
                    "[   0] news from alpha -> event COPY_EQUAL\n");
    world_restart(w);
    world_link(w, "alpha", TRUE);
    world_link(w, "beta", TRUE);
    world_forget(w);
    say_compared(w, ID_TEXT(world_id(0x62)), END, 0);
    g_assert_null(strstr(w->trace->str, "COPY_EQUAL"));
    world_restart(w);
    world_link(w, "alpha", TRUE);
    world_link(w, "beta", TRUE);
    world_forget(w);
    say_compared(w, ID_TEXT(world_id(0x63)), END, 65536);
    g_assert_nonnull(strstr(w->trace->str, "COPY_DIFFERS"));
}

static void test_pause_and_continue(void)
{
    g_autoptr(World) w = world_new(1);

    world_run(w);
    world_do(w, INPUT_PAUSE);
    world_refused(w, INPUT_PAUSE, "scenario 'web' is paused already");
    world_refused(w, INPUT_RUN, "scenario 'web' is paused: use 'understudy continue'");
    world_answer(w, "alpha", "active.pause", 1, -1, NULL);
    w->now_ms = 3000;
    world_news(w, 1, "paused", 3500, NULL);
    w->now_ms = 100000;
    world_do(w, INPUT_TICK);
    world_do(w, INPUT_CONTINUE);
    world_answer(w, "alpha", "active.protect", 1, -1, NULL);
    world_answer(w, "alpha", "active.continue", 1, -1, NULL);
    w->now_ms = 102000;
    world_news(w, 1, "protected", 600, NULL);
    world_refused(w, INPUT_CONTINUE, "scenario 'web' is not paused");
    world_expect(w, "[   0] pause asked for -> keep durably\n"
                    "        -> event SCENARIO_PAUSED\n"
                    "        -> active.pause to alpha for web1\n"
                    "[   0] alpha did active.pause for web1 -> web1 on beta paused: pause confirmed\n"
                    "        -> web paused: pause confirmed for every VM\n"
                    "[   3] news from alpha -> nothing\n"
                    "[ 100] time passed -> nothing\n"
                    "[ 100] continue asked for -> keep durably\n"
                    "        -> event SCENARIO_CONTINUED\n"
                    "        -> active.protect to alpha for web1\n"
                    "[ 100] alpha did active.protect for web1 -> active.continue to alpha for web1\n"
                    "[ 100] alpha did active.continue for web1 -> web1 on beta lagging: continue confirmed, "
                    "the copy is old\n"
                    "        -> web degraded: continue confirmed, a VM is unprotected or lagging\n"
                    "[ 102] news from alpha -> event LAG_OVER\n"
                    "        -> web1 on beta protected: the standby caught up\n"
                    "        -> web running: every VM is protected\n");
}

/* The active's word comes before its answer, and is not forgotten by it. */
static void test_word_before_answer(void)
{
    g_autoptr(World) w = world_new(1);

    world_run(w);
    world_do(w, INPUT_PAUSE);
    world_news(w, 1, "paused", 700, NULL);
    world_answer(w, "alpha", "active.pause", 1, -1, NULL);
    w->now_ms = 1000;
    world_do(w, INPUT_CONTINUE);
    world_answer(w, "alpha", "active.protect", 1, -1, NULL);
    world_news(w, 1, "protected", 1700, NULL);
    world_answer(w, "alpha", "active.continue", 1, -1, NULL);
    world_expect(w, "[   0] pause asked for -> keep durably\n"
                    "        -> event SCENARIO_PAUSED\n"
                    "        -> active.pause to alpha for web1\n"
                    "[   0] news from alpha -> web1 on beta paused: pause confirmed\n"
                    "        -> web paused: pause confirmed for every VM\n"
                    "[   0] alpha did active.pause for web1 -> nothing\n"
                    "[   1] continue asked for -> keep durably\n"
                    "        -> event SCENARIO_CONTINUED\n"
                    "        -> active.protect to alpha for web1\n"
                    "[   1] alpha did active.protect for web1 -> active.continue to alpha for web1\n"
                    "[   1] news from alpha -> web1 on beta protected: continue confirmed, what changed "
                    "meanwhile is sealed\n"
                    "        -> web running: continue confirmed, every VM is protected\n"
                    "[   1] alpha did active.continue for web1 -> nothing\n");
}

/* A pause that the active has not heard is not shown as one. */
static void test_pause_while_active_is_silent(void)
{
    g_autoptr(World) w = world_new(1);

    world_run(w);
    world_link(w, "alpha", FALSE);
    world_do(w, INPUT_PAUSE);
    w->now_ms = 5000;
    world_link(w, "alpha", TRUE);
    world_answer(w, "alpha", "active.pause", 1, -1, NULL);
    world_expect(w, "[   0] link to alpha is lost -> nothing\n"
                    "[   0] pause asked for -> keep durably\n"
                    "        -> event SCENARIO_PAUSED\n"
                    "[   5] link to alpha is back -> active.pause to alpha for web1\n"
                    "[   5] alpha did active.pause for web1 -> web1 on beta paused: pause confirmed\n"
                    "        -> web paused: pause confirmed for every VM\n");
}

static void test_stop(void)
{
    g_autoptr(World) w = world_new(1);

    world_run(w);
    world_do(w, INPUT_STOP);
    world_refused(w, INPUT_STOP, "scenario 'web' is stopped already");
    world_answer(w, "alpha", "active.stop", 1, -1, NULL);
    world_answer(w, "beta", "standby.dismiss", 1, US_ERROR_NOT_FOUND, "no such VM");
    world_expect(w, "[   0] stop asked for -> keep durably\n"
                    "        -> event SCENARIO_STOPPED\n"
                    "        -> web1 on beta stopped: stop asked for\n"
                    "        -> web stopped: stop asked for\n"
                    "        -> active.stop to alpha for web1\n"
                    "[   0] alpha did active.stop for web1 -> keep durably\n"
                    "        -> standby.dismiss to beta for web1\n"
                    "[   0] beta failed at standby.dismiss for web1 (no such VM) -> keep durably\n");
    g_assert_false(protection_owes(w->p));
    g_assert_cmpint(protection_moment(w->p), ==, POLICY_MOMENT_STOPPED);
}

/* A stop is owed until the engine has heard it, also across a restart. */
static void test_stop_is_owed(void)
{
    g_autoptr(World) w = world_new(1);

    world_run(w);
    world_link(w, "alpha", FALSE);
    world_do(w, INPUT_STOP);
    world_answer(w, "beta", "standby.dismiss", 1, -1, NULL);
    world_refused(
        w, INPUT_RUN,
        "an engine of scenario 'web' has not confirmed its last stop: run it again when 'understudy status' "
        "shows no reason any more");
    world_restart(w);
    world_link(w, "alpha", TRUE);
    world_hear(w, "alpha");
    world_answer(w, "alpha", "active.stop", 1, US_ERROR_TIMEOUT, "no answer in 120 s");
    w->now_ms = 5000;
    world_do(w, INPUT_TICK);
    world_answer(w, "alpha", "active.stop", 1, -1, NULL);
    world_expect(w, "[   0] link to alpha is lost -> nothing\n"
                    "[   0] stop asked for -> keep durably\n"
                    "        -> event SCENARIO_STOPPED\n"
                    "        -> web1 on beta stopped: stop asked for\n"
                    "        -> web stopped: stop asked for\n"
                    "        -> standby.dismiss to beta for web1\n"
                    "[   0] beta did standby.dismiss for web1 -> keep durably\n"
                    "[   0] the controller starts again -> web stopped\n"
                    "[   0] link to alpha is back -> nothing\n"
                    "[   0] news from alpha -> active.stop to alpha for web1\n"
                    "[   0] alpha failed at active.stop for web1 (no answer in 120 s) -> nothing\n"
                    "[   5] time passed -> active.stop to alpha for web1\n"
                    "[   5] alpha did active.stop for web1 -> keep durably\n");
}

static const char *why(const World *w, guint vm)
{
    return ((const ProtectionCopy *)protection_find(w->p, world_vm(vm))->copies->pdata[0])->why;
}

static char *owed(const World *w, guint vm)
{
    json_auto_t *list = protection_owed(w->p, protection_find(w->p, world_vm(vm)));

    return json_dumps(list, JSON_SORT_KEYS);
}

/* What one engine refuses is not made good by what another does: it is said until it is done. */
static void test_stop_is_refused(void)
{
    g_autoptr(World) w = world_new(1);
    g_autofree char *first = NULL, *then = NULL, *last = NULL;

    world_run(w);
    world_do(w, INPUT_STOP);
    g_assert_cmpstr(why(w, 1), ==, "alpha has not confirmed yet that replication has ended");
    world_answer(w, "alpha", "active.stop", 1, US_ERROR_FAILED, "its guard is a folder");
    first = owed(w, 1);
    g_assert_cmpstr(
        first, ==,
        "[{\"host\": \"alpha\", \"why\": \"its guard is a folder\"}, {\"host\": \"beta\", \"why\": null}]");
    world_answer(w, "beta", "standby.dismiss", 1, -1, NULL);
    then = owed(w, 1);
    g_assert_cmpstr(then, ==, "[{\"host\": \"alpha\", \"why\": \"its guard is a folder\"}]");
    g_assert_cmpstr(why(w, 1), ==,
                    "alpha has not ended replication (its guard is a folder): it is told again and again");
    w->now_ms = 30000;
    world_do(w, INPUT_TICK);
    world_answer(w, "alpha", "active.stop", 1, US_ERROR_FAILED, "its guard is a folder"); /* no news */
    w->now_ms = 60000;
    world_do(w, INPUT_TICK);
    world_answer(w, "alpha", "active.stop", 1, -1, NULL);
    last = owed(w, 1);
    g_assert_cmpstr(last, ==, "[]");
    g_assert_cmpstr(why(w, 1), ==, NULL);
    world_expect(
        w, "[   0] stop asked for -> keep durably\n"
           "        -> event SCENARIO_STOPPED\n"
           "        -> web1 on beta stopped: stop asked for\n"
           "        -> web stopped: stop asked for\n"
           "        -> active.stop to alpha for web1\n"
           "[   0] alpha failed at active.stop for web1 (its guard is a folder) -> event ENGINE_REFUSED\n"
           "        -> standby.dismiss to beta for web1\n"
           "[   0] beta did standby.dismiss for web1 -> keep durably\n"
           "[  30] time passed -> active.stop to alpha for web1\n"
           "[  30] alpha failed at active.stop for web1 (its guard is a folder) -> nothing\n"
           "[  60] time passed -> active.stop to alpha for web1\n"
           "[  60] alpha did active.stop for web1 -> keep durably\n");
}

/* An order that is not given any more was not refused. */
static void test_refusal_is_overtaken(void)
{
    g_autoptr(World) w = world_new(1);

    world_run(w);
    world_do(w, INPUT_PAUSE);
    world_answer(w, "alpha", "active.pause", 1, US_ERROR_FAILED, "it is busy");
    g_assert_cmpstr(why(w, 1), ==, "it is busy");
    world_do(w, INPUT_CONTINUE);
    world_do(w, INPUT_TICK);
    g_assert_cmpstr(why(w, 1), ==, NULL);
}

/* Moved, then stopped: the host that it was moved to still has the standby's role. */
static void test_stop_after_switchover(void)
{
    const Id plan = world_id(0x77);
    g_autoptr(World) w = world_new(1);

    world_run(w);
    world_step(w, (Input){.kind = INPUT_PLAN_BEGUN, .plan = plan, .host = (char *)"beta"}, NULL);
    world_step(w, (Input){.kind = INPUT_MOVING, .plan = plan, .vm = world_vm(1)}, NULL);
    world_step(w,
               (Input){.kind = INPUT_MOVED,
                       .plan = plan,
                       .vm = world_vm(1),
                       .host = (char *)"beta",
                       .reign = {2, world_id(0x88)},
                       .unlocked = TRUE},
               NULL);
    world_step(w, (Input){.kind = INPUT_PLAN_ENDED, .plan = plan, .host = (char *)"beta"}, NULL);
    world_link(w, "alpha", FALSE);
    world_forget(w);
    world_do(w, INPUT_STOP);
    world_answer(w, "beta", "active.stop", 1, US_ERROR_NOT_FOUND, "no such VM");
    world_answer(w, "beta", "standby.dismiss", 1, -1, NULL);
    world_expect(w, "[   0] stop asked for -> keep durably\n"
                    "        -> event SCENARIO_STOPPED\n"
                    "        -> web1 on alpha stopped: stop asked for\n"
                    "        -> web stopped: stop asked for\n"
                    "        -> active.stop to beta for web1\n"
                    "[   0] beta failed at active.stop for web1 (no such VM) -> keep durably\n"
                    "        -> standby.dismiss to beta for web1\n"
                    "[   0] beta did standby.dismiss for web1 -> keep durably\n");
    g_assert_false(protection_owes(w->p));
}

static void moved_unlocked_not(World *w, guint vm, Id plan)
{
    world_step(w, (Input){.kind = INPUT_PLAN_BEGUN, .plan = plan, .host = (char *)"beta"}, NULL);
    world_step(w, (Input){.kind = INPUT_MOVING, .plan = plan, .vm = world_vm(vm)}, NULL);
    world_step(w,
               (Input){.kind = INPUT_MOVED,
                       .plan = plan,
                       .vm = world_vm(vm),
                       .host = (char *)"beta",
                       .reign = {2, world_id(0x88)}},
               NULL);
    world_step(w, (Input){.kind = INPUT_PLAN_ENDED, .plan = plan, .host = (char *)"beta"}, NULL);
}

/* An engine that refuses one of the calls it is owed does not keep the others from theirs. */
static void test_owed_call_fails(void)
{
    g_autoptr(World) w = world_new(1);

    world_run(w);
    moved_unlocked_not(w, 1, world_id(0x77));
    world_answer(w, "alpha", "plan.unlock", 1, US_ERROR_REFUSED, "not this plan's");
    world_do(w, INPUT_STOP);
    world_forget(w);
    world_answer(w, "alpha", "plan.unlock", 1, US_ERROR_REFUSED, "not this plan's");
    world_answer(w, "beta", "active.stop", 1, US_ERROR_TIMEOUT, "no answer in 120 s");
    world_answer(w, "beta", "standby.dismiss", 1, -1, NULL);
    w->now_ms = 5000;
    world_do(w, INPUT_TICK);
    world_answer(w, "alpha", "plan.unlock", 1, -1, NULL);
    world_answer(w, "beta", "active.stop", 1, -1, NULL);
    world_expect(
        w, "[   0] alpha failed at plan.unlock for web1 (not this plan's) -> event ENGINE_REFUSED\n"
           "        -> active.stop to beta for web1\n"
           "[   0] beta failed at active.stop for web1 (no answer in 120 s) -> standby.dismiss to beta for "
           "web1\n"
           "[   0] beta did standby.dismiss for web1 -> keep durably\n"
           "[   5] time passed -> plan.unlock to alpha for web1\n"
           "[   5] alpha did plan.unlock for web1 -> keep durably\n"
           "        -> active.stop to beta for web1\n"
           "[   5] beta did active.stop for web1 -> keep durably\n");
    g_assert_false(protection_owes(w->p));
}

static void keep_plan(void *ctx, const Action *a)
{
    const char *plan = json_string_value(json_object_get(a->params, "plan"));

    if (plan)
        id_parse(plan, ctx, NULL);
}

/* Each VM's lock is the one of the plan that it was moved by, also as it was kept before. */
static void test_owed_plans(void)
{
    g_autoptr(World) w = world_new(2);
    json_t *vm;
    Id plan = ID_NIL;

    world_run(w);
    world_link(w, "alpha", FALSE);
    moved_unlocked_not(w, 1, world_id(0x71));
    moved_unlocked_not(w, 2, world_id(0x72));
    world_restart(w);
    w->on_call = keep_plan;
    w->ctx = &plan;
    protection_find(w->p, world_vm(2))->owes = 0;
    world_link(w, "alpha", TRUE);
    g_assert_true(id_equal(plan, world_id(0x71)));

    vm = json_array_get(json_object_get(w->durable, "vms"), 0);
    json_object_del(vm, "owed_plan");
    json_object_set_new(w->durable, "owed_plan", json_string(ID_TEXT(world_id(0x73))));
    world_restart(w);
    protection_find(w->p, world_vm(2))->owes = 0;
    world_link(w, "alpha", TRUE);
    g_assert_true(id_equal(plan, world_id(0x73)));
}

/* What a purge had admitted is dismissed, whether the purge or the controller came to an end. */
static void test_purge_fails(void)
{
    g_autoptr(World) w = world_new(1);

    world_do(w, INPUT_PURGE);
    world_do(w, INPUT_TICK);
    world_do(w, INPUT_KEEP);
    world_answer(w, "beta", "standby.dismiss", 1, -1, NULL);
    world_expect(w, "[   0] copies are to be deleted -> keep durably\n"
                    "[   0] time passed -> nothing\n"
                    "[   0] copies could not be deleted -> standby.dismiss to beta for web1\n"
                    "[   0] beta did standby.dismiss for web1 -> keep durably\n");
    world_do(w, INPUT_PURGE);
    world_restart(w);
    world_link(w, "alpha", TRUE);
    g_assert_cmpstr(((ProtectionCopy *)protection_find(w->p, world_vm(1))->copies->pdata[0])->why, ==,
                    "beta does not answer: it is told to end replication when it is back");
    world_link(w, "beta", TRUE);
    world_hear(w, "beta");
    world_answer(w, "beta", "standby.dismiss", 1, -1, NULL);
    world_expect(w, "[   0] copies are to be deleted -> keep durably\n"
                    "[   0] the controller starts again -> web stopped\n"
                    "[   0] link to alpha is back -> nothing\n"
                    "[   0] link to beta is back -> nothing\n"
                    "[   0] news from beta -> standby.dismiss to beta for web1\n"
                    "[   0] beta did standby.dismiss for web1 -> keep durably\n");
    g_assert_false(protection_owes(w->p));
    world_run(w);
    world_refused(w, INPUT_PURGE, "scenario 'web' is not stopped: its copies are not deleted; stop it first");
}

static void test_engine_refuses(void)
{
    g_autoptr(World) w = world_new(1);

    world_do(w, INPUT_RUN);
    world_do(w, INPUT_VERIFIED);
    world_answer(w, "beta", "standby.admit", 1, US_ERROR_NO_SPACE, "the store is full");
    w->now_ms = 29000;
    world_do(w, INPUT_TICK);
    w->now_ms = 30000;
    world_do(w, INPUT_TICK);
    world_answer(w, "beta", "standby.admit", 1, US_ERROR_NO_SPACE, "the store is full");
    w->now_ms = 60000;
    world_do(w, INPUT_TICK);
    world_answer(w, "beta", "standby.admit", 1, -1, NULL);
    world_expect(w,
                 "[   0] run asked for -> verify both hosts\n"
                 "        -> web verifying: run asked for\n"
                 "[   0] no errors found -> keep durably\n"
                 "        -> event SCENARIO_STARTED\n"
                 "        -> web1 on beta unprotected: run asked for, there is no copy yet\n"
                 "        -> web synchronizing: no errors found\n"
                 "        -> standby.admit to beta for web1\n"
                 "[   0] beta failed at standby.admit for web1 (the store is full) -> event ENGINE_REFUSED\n"
                 "        -> web degraded: a VM is unprotected or lagging\n"
                 "[  29] time passed -> nothing\n"
                 "[  30] time passed -> standby.admit to beta for web1\n"
                 "[  30] beta failed at standby.admit for web1 (the store is full) -> nothing\n"
                 "[  60] time passed -> standby.admit to beta for web1\n"
                 "[  60] beta did standby.admit for web1 -> web synchronizing: nothing hinders any more, a "
                 "first copy is being made\n"
                 "        -> active.protect to alpha for web1\n");
}

static void test_resync_and_failure(void)
{
    g_autoptr(World) w = world_new(1);

    world_run(w);
    world_news(w, 1, "resyncing", 4000, "QEMU of 'web1' died: its bitmaps are gone");
    world_news(w, 1, "failed", 9000, "disk vda is gone");
    world_news(w, 1, "protected", 400, NULL);
    world_expect(w, "[   0] news from alpha -> event RESYNC_STARTED\n"
                    "        -> web1 on beta resyncing: what changed since the tip is no longer known\n"
                    "        -> web degraded: a VM is unprotected or lagging\n"
                    "[   0] news from alpha -> event VM_FAILED\n"
                    "        -> web1 on beta failed: the engine needs an operator\n"
                    "        -> web failed: a VM needs an operator\n"
                    "[   0] news from alpha -> event VM_RECOVERED\n"
                    "        -> web1 on beta protected: the cause was removed\n"
                    "        -> web running: the cause was removed, every VM is protected\n");
}

/* After a restart a complete copy counts as one, of unknown age; its first news are no event. */
static void test_restart_while_running(void)
{
    g_autoptr(World) w = world_new(1);

    world_run(w);
    world_restart(w);
    world_link(w, "beta", TRUE);
    world_link(w, "alpha", TRUE);
    world_news(w, 1, "protected", 300, NULL);
    world_hear(w, "beta");
    world_answer(w, "beta", "standby.admit", 1, -1, NULL);
    world_answer(w, "alpha", "active.protect", 1, -1, NULL);
    world_expect(w, "[   0] the controller starts again -> web degraded\n"
                    "[   0] link to beta is back -> nothing\n"
                    "[   0] link to alpha is back -> nothing\n"
                    "[   0] news from alpha -> web1 on beta protected: the standby caught up\n"
                    "        -> web running: every VM is protected\n"
                    "[   0] news from beta -> standby.admit to beta for web1\n"
                    "[   0] beta did standby.admit for web1 -> active.protect to alpha for web1\n"
                    "[   0] alpha did active.protect for web1 -> nothing\n");
}

static void say_promoted(World *w, const char *host, guint64 number)
{
    json_auto_t *status = json_pack("{s:[], s:[{s:s, s:o}]}", "active", "standby", "vm", ID_TEXT(world_vm(1)),
                                    "promoted", reign_to_json((Reign){number, world_id(0x99)}));

    world_step(w, (Input){.kind = INPUT_NEWS, .host = (char *)host, .json = status}, NULL);
}

/* A host that was booted starts its guest when it is told that it is the active still: not before it is known that the
 * other one was not made it. */
static void test_restart_after_a_promotion(void)
{
    g_autoptr(World) w = world_new(1);

    world_run(w);
    world_restart(w);
    w->now_ms = 1000;
    world_do(w, INPUT_TICK);
    world_link(w, "alpha", TRUE);
    world_hear(w, "alpha");
    w->now_ms = 4000;
    world_link(w, "beta", TRUE);
    world_do(w, INPUT_TICK);
    say_promoted(w, "beta", 3);
    world_expect(
        w,
        "[   0] the controller starts again -> web degraded\n"
        "[   1] time passed -> nothing\n"
        "[   1] link to alpha is back -> nothing\n"
        "[   1] news from alpha -> nothing\n"
        "[   4] link to beta is back -> nothing\n"
        "[   4] time passed -> nothing\n"
        "[   4] news from beta -> keep durably\n"
        "        -> event PROMOTED_BY_HAND\n"
        "        -> web1 on alpha unprotected: the VM runs on the other host; its old image is no copy yet\n"
        "        -> web switched: it runs there in a reign that the controller did not make\n"
        "        -> active.yield to alpha for web1\n");
}

static void keep_vouched(void *ctx, const Action *a)
{
    if (g_str_equal(a->method, "active.protect"))
        *(int *)ctx = json_is_true(json_object_get(a->params, "vouched"));
}

/* A host that does not come is not waited for for ever; but nor is it vouched for that it was not made the active meanwhile. */
static void test_restart_without_the_standby(void)
{
    g_autoptr(World) w = world_new(1);
    int vouched = -1;

    w->on_call = keep_vouched;
    w->ctx = &vouched;
    world_run(w);
    g_assert_cmpint(vouched, ==, TRUE);
    world_restart(w);
    world_link(w, "alpha", TRUE);
    world_hear(w, "alpha");
    w->now_ms = 29000;
    world_do(w, INPUT_TICK);
    w->now_ms = 30000;
    world_do(w, INPUT_TICK);
    world_expect(w, "[   0] the controller starts again -> web degraded\n"
                    "[   0] link to alpha is back -> nothing\n"
                    "[   0] news from alpha -> nothing\n"
                    "[  29] time passed -> nothing\n"
                    "[  30] time passed -> active.protect to alpha for web1\n");
    g_assert_cmpint(vouched, ==, FALSE);
    world_link(w, "beta", TRUE);
    world_hear(w, "beta");
    world_link(w, "beta", FALSE);
    world_link(w, "alpha", FALSE);
    world_link(w, "alpha", TRUE);
    world_hear(w, "alpha");
    g_assert_cmpint(vouched, ==, TRUE);
}

static void keep_order(void *ctx, const Action *a)
{
    *(guint64 *)ctx = a->order;
}

/* The answer to what was ordered before the change does not stand for what is ordered after it. */
static void test_policy_changes_meanwhile(void)
{
    g_autoptr(World) w = world_new(1);
    guint64 first, order = 0;
    Input answer = {
        .kind = INPUT_ANSWER, .host = (char *)"beta", .method = "standby.admit", .vm = world_vm(1)};

    world_run(w);
    w->on_call = keep_order;
    w->ctx = &order;
    world_step(w, (Input){.kind = INPUT_POLICY, .scenario = w->scenario}, NULL);
    first = order;
    world_step(w, (Input){.kind = INPUT_POLICY, .scenario = w->scenario}, NULL);
    g_assert_cmpuint(order, >, first);
    answer.order = first;
    world_step(w, answer, NULL);
    answer.order = order;
    world_step(w, answer, NULL);
    world_expect(w, "[   0] policy changed -> standby.admit to beta for web1\n"
                    "[   0] policy changed -> standby.admit to beta for web1\n"
                    "[   0] beta did standby.admit for web1 -> nothing\n"
                    "[   0] beta did standby.admit for web1 -> active.protect to alpha for web1\n");
}

static void test_policy_changes(void)
{
    g_autoptr(World) w = world_new(1);
    g_autoptr(Scenario) slower = scenario_copy(w->scenario);

    world_run(w);
    slower->policy.interval_ms = 60000;
    world_step(w, (Input){.kind = INPUT_POLICY, .scenario = slower}, NULL);
    world_answer(w, "beta", "standby.admit", 1, -1, NULL);
    world_answer(w, "alpha", "active.protect", 1, -1, NULL);
    world_news(w, 1, "protected", 185000, NULL);
    world_news(w, 1, "protected", 185001, NULL);
    world_expect(w, "[   0] policy changed -> standby.admit to beta for web1\n"
                    "[   0] beta did standby.admit for web1 -> active.protect to alpha for web1\n"
                    "[   0] alpha did active.protect for web1 -> nothing\n"
                    "[   0] news from alpha -> nothing\n"
                    "[   0] news from alpha -> event LAG_HIGH\n"
                    "        -> web1 on beta lagging: the newest sealed instant is older than allowed\n"
                    "        -> web degraded: a VM is unprotected or lagging\n");
}

/* Who replicates to it was told the place it had: it is told again, also if that is under way. */
static void test_standby_is_elsewhere(void)
{
    g_autoptr(World) w = world_new(1);

    world_run(w);
    world_step(w, (Input){.kind = INPUT_HAS_MOVED, .host = (char *)"alpha"}, NULL);
    world_step(w, (Input){.kind = INPUT_HAS_MOVED, .host = (char *)"beta"}, NULL);
    world_step(w, (Input){.kind = INPUT_HAS_MOVED, .host = (char *)"beta"}, NULL);
    world_answer(w, "alpha", "active.protect", 1, -1, NULL);
    world_expect(w, "[   0] alpha is elsewhere -> nothing\n"
                    "[   0] beta is elsewhere -> active.protect to alpha for web1\n"
                    "[   0] beta is elsewhere -> active.protect to alpha for web1\n"
                    "[   0] alpha did active.protect for web1 -> nothing\n");
}

/* Two VMs: one moves, one stays. */
static void test_plan(void)
{
    g_autoptr(World) w = world_new(2);
    const Id plan = world_id(0x77);

    world_run(w);
    world_step(w, (Input){.kind = INPUT_PLAN_BEGUN, .plan = plan, .host = (char *)"beta"}, NULL);
    world_step(w, (Input){.kind = INPUT_MOVING, .plan = plan, .vm = world_vm(1)}, NULL);
    world_step(w, (Input){.kind = INPUT_MOVING, .plan = plan, .vm = world_vm(2)}, NULL);
    world_refused(
        w, INPUT_STOP,
        "a plan moves the VMs of scenario 'web': nothing else may change them; wait for its end, see "
        "'understudy plan list'");
    world_step(
        w, (Input){.kind = INPUT_STAYED, .plan = plan, .vm = world_vm(2), .why = (char *)"guest stays up"},
        NULL);
    world_step(w,
               (Input){.kind = INPUT_MOVED,
                       .plan = plan,
                       .vm = world_vm(1),
                       .host = (char *)"beta",
                       .reign = {2, world_id(0x88)}},
               NULL);
    world_step(w, (Input){.kind = INPUT_PLAN_ENDED, .plan = plan, .host = (char *)"beta"}, NULL);
    world_answer(w, "alpha", "plan.unlock", 1, -1, NULL);
    world_answer(w, "alpha", "active.protect", 2, -1, NULL);
    world_news(w, 2, "protected", 300, NULL);
    world_expect(
        w,
        "[   0] plan to beta begun -> keep durably\n"
        "        -> event SWITCHOVER_STARTED\n"
        "        -> web switching: a plan was begun\n"
        "[   0] plan has web1 -> web1 on beta switching: a plan locked the VM\n"
        "[   0] plan has web2 -> web2 on beta switching: a plan locked the VM\n"
        "[   0] web2 stayed (guest stays up) -> event VM_STAYED\n"
        "        -> web2 on beta protected: not moved, the copy is young enough\n"
        "[   0] web1 runs on beta -> keep durably\n"
        "        -> event VM_MOVED\n"
        "        -> web1 on alpha unprotected: the VM runs on the other host; its old image is no copy yet\n"
        "[   0] plan to beta ended -> keep durably\n"
        "        -> event SWITCHOVER_FAILED\n"
        "        -> web degraded: the plan ended; a VM stayed, or its copy is old\n"
        "        -> plan.unlock to alpha for web1\n"
        "        -> active.protect to alpha for web2\n"
        "[   0] alpha did plan.unlock for web1 -> keep durably\n"
        "[   0] alpha did active.protect for web2 -> nothing\n"
        "[   0] news from alpha -> nothing\n");
    g_assert_cmpint(protection_moment(w->p), ==, POLICY_MOMENT_MOVED);
    g_assert_cmpuint(protection_term(w->p), ==, 2);
    g_assert_null(protection_active(w->p));
    world_restart(w);
    g_assert_cmpstr(protection_find(w->p, world_vm(1))->active, ==, "beta");
    g_assert_cmpstr(protection_find(w->p, world_vm(2))->active, ==, "alpha");
}

/* Given up by the one and not started by the other: whoever looks reads why, and what to do. */
static void test_blocked(void)
{
    const Id plan = world_id(0x77);
    g_autoptr(World) w = world_new(1);

    world_run(w);
    world_step(w, (Input){.kind = INPUT_PLAN_BEGUN, .plan = plan, .host = (char *)"beta"}, NULL);
    world_step(w, (Input){.kind = INPUT_MOVING, .plan = plan, .vm = world_vm(1)}, NULL);
    g_assert_cmpstr(why(w, 1), ==, NULL);
    world_step(w,
               (Input){.kind = INPUT_BLOCKED,
                       .plan = plan,
                       .vm = world_vm(1),
                       .host = (char *)"beta",
                       .why = (char *)"no network 'default'"},
               NULL);
    g_assert_cmpstr(
        why(w, 1), ==,
        "it is off: alpha gave it up, and beta cannot start it (no network 'default'); remove the cause, "
        "then it is started: it is tried again and again");
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
    g_assert_cmpstr(why(w, 1), ==, NULL);
}

/* Replicated back at once, and home again: the hosts have changed their parts, and nothing else is new. */
static void test_there_and_back(void)
{
    g_autoptr(World) w = world_new(1);

    world_run(w);
    world_moved(w, "beta", 2, TRUE);
    world_answer(w, "alpha", "standby.admit", 1, -1, NULL);
    world_answer(w, "beta", "active.protect", 1, -1, NULL);
    world_news(w, 1, "protected", 300, NULL);
    world_expect(
        w,
        "[   0] plan to beta begun -> keep durably\n"
        "        -> event SWITCHOVER_STARTED\n"
        "        -> web switching: a plan was begun\n"
        "[   0] plan has web1 -> web1 on beta switching: a plan locked the VM\n"
        "[   0] web1 runs on beta -> keep durably\n"
        "        -> event VM_MOVED\n"
        "        -> web1 on alpha unprotected: the VM runs on the other host; its old image is no copy yet\n"
        "[   0] plan to beta ended -> keep durably\n"
        "        -> event SWITCHOVER_DONE\n"
        "        -> web synchronizing: the plan ended, a first copy is being made\n"
        "        -> standby.admit to alpha for web1\n"
        "[   0] alpha did standby.admit for web1 -> active.protect to beta for web1\n"
        "[   0] beta did active.protect for web1 -> nothing\n"
        "[   0] news from beta -> event SYNC_DONE\n"
        "        -> web1 on alpha protected: the first generation is sealed\n"
        "        -> web running: every VM is protected\n"
        "        -> keep durably\n");
    g_assert_cmpstr(protection_active(w->p), ==, "beta");
    g_assert_cmpint(protection_moment(w->p), ==, POLICY_MOMENT_MOVED);
    world_restart(w);
    world_link(w, "alpha", TRUE);
    world_link(w, "beta", TRUE);
    world_answer(w, "alpha", "standby.admit", 1, -1, NULL);
    world_answer(w, "beta", "active.protect", 1, -1, NULL);
    world_news(w, 1, "protected", 300, NULL);
    world_forget(w);
    world_moved(w, "alpha", 3, TRUE);
    g_assert_false(protection_find(w->p, world_vm(1))->reverse);
    world_answer(w, "beta", "standby.admit", 1, -1, NULL);
    world_answer(w, "alpha", "active.protect", 1, -1, NULL);
    world_news(w, 1, "protected", 300, NULL);
    g_assert_cmpint(w->p->state, ==, SCENARIO_RUNNING);
    g_assert_cmpint(protection_moment(w->p), ==, POLICY_MOMENT_RUNNING);
}

static void keep_seed(void *ctx, const Action *a)
{
    char **seed = ctx;

    if (!g_str_equal(a->method, "standby.admit"))
        return;
    g_free(*seed);
    *seed = g_strdup(json_string_value(json_object_get(a->params, "seed")));
}

/* It is a folder of the replica: the master is told of none when it becomes the standby. */
static void test_seed(void)
{
    g_autoptr(World) w = world_new(1);
    g_autoptr(Scenario) seeded = scenario_copy(w->scenario);
    g_autofree char *seed = g_strdup("nothing was called");

    world_run(w);
    w->on_call = keep_seed;
    w->ctx = &seed;
    world_step(w, (Input){.kind = INPUT_POLICY, .scenario = w->scenario}, NULL);
    g_assert_null(seed);
    g_assert_true(policy_set(&seeded->policy, "seed", "/media/usb", NULL));
    world_answer(w, "beta", "standby.admit", 1, -1, NULL);
    world_answer(w, "alpha", "active.protect", 1, -1, NULL);
    world_step(w, (Input){.kind = INPUT_POLICY, .scenario = seeded}, NULL);
    g_assert_cmpstr(seed, ==, "/media/usb");
    world_answer(w, "beta", "standby.admit", 1, -1, NULL);
    world_answer(w, "alpha", "active.protect", 1, -1, NULL);
    world_moved(w, "beta", 2, TRUE);
    g_assert_null(seed);
}

/* Later, when it is run again; and stopped there: each host is told to end what it may have begun. */
static void test_run_where_it_was_moved(void)
{
    g_autoptr(World) w = world_new(1);

    world_run(w);
    world_moved(w, "beta", 2, FALSE);
    g_assert_cmpint(w->p->state, ==, SCENARIO_SWITCHED);
    world_forget(w);
    world_do(w, INPUT_RUN);
    world_refused(w, INPUT_RUN, "scenario 'web' runs already");
    world_answer(w, "alpha", "standby.admit", 1, -1, NULL);
    world_do(w, INPUT_STOP);
    world_answer(w, "beta", "active.stop", 1, -1, NULL);
    world_answer(w, "beta", "standby.dismiss", 1, US_ERROR_NOT_FOUND, "it keeps none");
    world_answer(w, "alpha", "standby.dismiss", 1, -1, NULL);
    world_expect(w, "[   0] run asked for -> keep durably\n"
                    "        -> event SCENARIO_STARTED\n"
                    "        -> web synchronizing: run asked for: replication back begins\n"
                    "        -> standby.admit to alpha for web1\n"
                    "[   0] alpha did standby.admit for web1 -> active.protect to beta for web1\n"
                    "[   0] stop asked for -> keep durably\n"
                    "        -> event SCENARIO_STOPPED\n"
                    "        -> web1 on alpha stopped: stop asked for\n"
                    "        -> web stopped: stop asked for\n"
                    "        -> active.stop to beta for web1\n"
                    "[   0] beta did active.stop for web1 -> keep durably\n"
                    "        -> standby.dismiss to beta for web1\n"
                    "[   0] beta failed at standby.dismiss for web1 (it keeps none) -> keep durably\n"
                    "        -> standby.dismiss to alpha for web1\n"
                    "[   0] alpha did standby.dismiss for web1 -> keep durably\n");
    g_assert_false(protection_owes(w->p));
    world_do(w, INPUT_RUN);
    g_assert_cmpint(w->p->state, ==, SCENARIO_SYNCHRONIZING);
}

/* By force: the old active is told when it is back, before it may keep a copy. */
static void test_forced(void)
{
    const Id plan = world_id(0x77);
    g_autoptr(World) w = world_new(1);
    json_auto_t *paused = json_pack("{s:s}", "guest", "paused");

    world_run(w);
    world_link(w, "alpha", FALSE);
    world_step(w, (Input){.kind = INPUT_PLAN_BEGUN, .plan = plan, .host = (char *)"beta"}, NULL);
    world_step(w, (Input){.kind = INPUT_MOVING, .plan = plan, .vm = world_vm(1)}, NULL);
    world_forget(w);
    world_step(w,
               (Input){.kind = INPUT_YIELDED,
                       .plan = plan,
                       .vm = world_vm(1),
                       .host = (char *)"alpha",
                       .why = (char *)"paused"},
               NULL);
    world_expect(w, "[   0] web1 ended on alpha (paused) -> event DIVERGED\n");
    world_step(w,
               (Input){.kind = INPUT_MOVED,
                       .plan = plan,
                       .vm = world_vm(1),
                       .host = (char *)"beta",
                       .reign = {2, world_id(0x88)},
                       .forced = TRUE,
                       .reverse = TRUE},
               NULL);
    world_step(w, (Input){.kind = INPUT_PLAN_ENDED, .plan = plan, .host = (char *)"beta"}, NULL);
    world_answer(w, "beta", "active.protect", 1, -1, NULL);
    world_forget(w);
    world_restart(w);
    world_link(w, "beta", TRUE);
    w->now_ms = 30000;
    world_do(w, INPUT_TICK);
    world_answer(w, "beta", "active.protect", 1, -1, NULL);
    world_link(w, "alpha", TRUE);
    world_step(w,
               (Input){.kind = INPUT_ANSWER,
                       .host = (char *)"alpha",
                       .method = "active.yield",
                       .vm = world_vm(1),
                       .json = paused},
               NULL);
    world_answer(w, "alpha", "standby.admit", 1, -1, NULL);
    world_expect(w,
                 "[   0] the controller starts again -> web degraded\n"
                 "[   0] link to beta is back -> nothing\n"
                 "[  30] time passed -> active.protect to beta for web1\n"
                 "[  30] beta did active.protect for web1 -> nothing\n"
                 "[  30] link to alpha is back -> web synchronizing: nothing hinders any more, a first copy "
                 "is being made\n"
                 "        -> active.yield to alpha for web1\n"
                 "[  30] alpha did active.yield for web1 -> keep durably\n"
                 "        -> event DIVERGED\n"
                 "        -> standby.admit to alpha for web1\n"
                 "[  30] alpha did standby.admit for web1 -> nothing\n");
}

/* While the controller was away root has promoted a copy. */
static void test_promoted_by_hand(void)
{
    g_autoptr(World) w = world_new(1);

    world_run(w);
    world_link(w, "alpha", FALSE);
    world_link(w, "alpha", TRUE);
    world_answer(w, "alpha", "active.protect", 1, -1, NULL);
    world_link(w, "beta", FALSE);
    world_link(w, "beta", TRUE);
    world_answer(w, "beta", "standby.admit", 1, US_ERROR_REFUSED, "this host knows reign 2");
    world_forget(w);
    say_promoted(w, "gamma", 2);
    say_promoted(w, "beta", 2);
    say_promoted(w, "beta", 2);
    world_expect(
        w,
        "[   0] news from gamma -> nothing\n"
        "[   0] news from beta -> keep durably\n"
        "        -> event PROMOTED_BY_HAND\n"
        "        -> web1 on alpha unprotected: the VM runs on the other host; its old image is no copy yet\n"
        "        -> web switched: it runs there in a reign that the controller did not make\n"
        "        -> active.yield to alpha for web1\n"
        "[   0] news from beta -> nothing\n");
    g_assert_cmpstr(protection_find(w->p, world_vm(1))->active, ==, "beta");
    g_assert_true(protection_find(w->p, world_vm(1))->owes & OWES_YIELD);
}

/* Both hosts were away, root has promoted the copy, and the scenario is stopped. The old active comes first: it does not
 * get its autostart back before the other one was heard, and is owed something else then. */
static void test_stop_after_a_promotion(void)
{
    g_autoptr(World) w = world_new(1);

    world_run(w);
    world_link(w, "alpha", FALSE);
    world_link(w, "beta", FALSE);
    world_do(w, INPUT_STOP);
    world_forget(w);
    world_link(w, "alpha", TRUE);
    world_link(w, "beta", TRUE);
    world_hear(w, "alpha");
    say_promoted(w, "beta", 3);
    world_answer(w, "alpha", "active.yield", 1, -1, NULL);
    world_answer(w, "beta", "active.stop", 1, US_ERROR_NOT_FOUND, "no such VM");
    world_answer(w, "beta", "standby.dismiss", 1, -1, NULL);
    world_answer(w, "alpha", "standby.dismiss", 1, US_ERROR_NOT_FOUND, "no such VM");
    world_expect(w, "[   0] link to alpha is back -> nothing\n"
                    "[   0] link to beta is back -> nothing\n"
                    "[   0] news from alpha -> nothing\n"
                    "[   0] news from beta -> keep durably\n"
                    "        -> event PROMOTED_BY_HAND\n"
                    "        -> web1 on alpha stopped: stop asked for\n"
                    "        -> active.yield to alpha for web1\n"
                    "[   0] alpha did active.yield for web1 -> keep durably\n"
                    "        -> event OLD_ACTIVE_BACK\n"
                    "        -> active.stop to beta for web1\n"
                    "[   0] beta failed at active.stop for web1 (no such VM) -> keep durably\n"
                    "        -> standby.dismiss to beta for web1\n"
                    "[   0] beta did standby.dismiss for web1 -> keep durably\n"
                    "        -> standby.dismiss to alpha for web1\n"
                    "[   0] alpha failed at standby.dismiss for web1 (no such VM) -> keep durably\n");
    g_assert_false(protection_owes(w->p));
    g_assert_cmpstr(protection_active(w->p), ==, "beta");
}

/* What is known comes from elsewhere, and nobody is there yet. */
static void run_and_doubt(World *w)
{
    world_run(w);
    world_link(w, "alpha", FALSE);
    world_link(w, "beta", FALSE);
    protection_doubt(w->p);
}

/* A row that was kept elsewhere: nothing is ordered before all of its hosts were heard, and then by what they know. */
static void test_doubted(void)
{
    g_autoptr(World) w = world_new(1);
    json_auto_t *nothing = json_pack("{s:b, s:[], s:[]}", "complete", 1, "active", "standby");
    json_auto_t *starting = json_pack("{s:b, s:[], s:[]}", "complete", 0, "active", "standby");
    json_auto_t *kept = NULL;
    g_autoptr(Protection) again = NULL;
    g_autoptr(GError) error = NULL;

    run_and_doubt(w);
    kept = protection_to_json(w->p);
    again = protection_from_json(kept, w->scenario, w->roster, &error);
    g_assert_no_error(error);
    g_assert_false(protection_is_sure(again, NULL));
    world_link(w, "alpha", TRUE);
    world_news(w, 1, "protected", 500, NULL);
    g_assert_false(protection_is_sure(w->p, &error));
    g_assert_error(error, US_ERROR, (int)US_ERROR_REFUSED);
    world_link(w, "beta", TRUE);
    world_step(w, (Input){.kind = INPUT_NEWS, .host = (char *)"beta", .json = starting}, NULL);
    g_assert_false(protection_is_sure(w->p, NULL));
    world_forget(w);
    world_step(w, (Input){.kind = INPUT_NEWS, .host = (char *)"beta", .json = nothing}, NULL);
    world_expect(w, "[   0] news from beta -> keep durably\n"
                    "        -> standby.admit to beta for web1\n");
    g_assert_true(protection_is_sure(w->p, NULL));
}

/* An end is ordered all the same, from whom is there. */
static void test_doubted_and_stopped(void)
{
    g_autoptr(World) w = world_new(1);

    run_and_doubt(w);
    world_link(w, "alpha", TRUE);
    world_hear(w, "alpha");
    world_forget(w);
    world_do(w, INPUT_STOP);
    g_assert_nonnull(strstr(w->trace->str, "active.stop to alpha"));
}

/* The same, and the other host was made the active meanwhile: the first one is not told that it is. */
static void test_doubted_rightly(void)
{
    g_autoptr(World) w = world_new(1);

    run_and_doubt(w);
    world_link(w, "alpha", TRUE);
    world_link(w, "beta", TRUE);
    world_news(w, 1, "protected", 500, NULL);
    world_forget(w);
    say_promoted(w, "beta", 2);
    world_expect(
        w,
        "[   0] news from beta -> keep durably\n"
        "        -> event PROMOTED_BY_HAND\n"
        "        -> keep durably\n"
        "        -> web1 on alpha unprotected: the VM runs on the other host; its old image is no copy yet\n"
        "        -> web switched: it runs there in a reign that the controller did not make\n"
        "        -> active.yield to alpha for web1\n");
}

/* An older database: the engines know better, and each has gone on by what it was told last. */
static void test_reign_learnt(void)
{
    g_autoptr(World) w = world_new(1);
    json_auto_t *status = json_pack("{s:[{s:s, s:o, s:[]}]}", "active", "vm", ID_TEXT(world_vm(1)), "reign",
                                    reign_to_json((Reign){3, world_id(0x99)}), "standbys");

    world_run(w);
    world_link(w, "alpha", FALSE);
    world_forget(w);
    world_step(w, (Input){.kind = INPUT_NEWS, .host = (char *)"beta", .json = status}, NULL);
    world_link(w, "alpha", TRUE);
    world_answer(w, "alpha", "active.yield", 1, US_ERROR_NOT_FOUND, "this host is not the active of that VM");
    world_expect(
        w,
        "[   0] news from beta -> keep durably\n"
        "        -> event REIGN_LEARNT\n"
        "        -> web1 on alpha unprotected: the VM runs on the other host; its old image is no copy yet\n"
        "        -> web switched: it runs there in a reign that the controller did not make\n"
        "[   0] link to alpha is back -> active.yield to alpha for web1\n"
        "[   0] alpha failed at active.yield for web1 (this host is not the active of that VM) -> keep "
        "durably\n");
    g_assert_cmpuint(protection_term(w->p), ==, 3);
}

static void say_active(World *w, const char *host, guint64 number)
{
    json_auto_t *status = json_pack("{s:[{s:s, s:o, s:[]}]}", "active", "vm", ID_TEXT(world_vm(1)), "reign",
                                    reign_to_json((Reign){number, world_id(0x99)}), "standbys");

    g_assert_true(world_step(w, (Input){.kind = INPUT_NEWS, .host = (char *)host, .json = status}, NULL));
}

/* An older database: the VM was away and is back, so that the active is the same, and its reign is not. */
static void test_reign_learnt_of_the_active(void)
{
    g_autoptr(World) w = world_new(1);

    world_run(w);
    say_active(w, "alpha", 3);
    say_active(w, "alpha", 3);
    world_answer(w, "beta", "standby.admit", 1, -1, NULL);
    world_expect(w, "[   0] news from alpha -> keep durably\n"
                    "        -> event REIGN_LEARNT\n"
                    "        -> standby.admit to beta for web1\n"
                    "[   0] news from alpha -> nothing\n"
                    "[   0] beta did standby.admit for web1 -> active.protect to alpha for web1\n");
    g_assert_cmpuint(protection_term(w->p), ==, 3);
    g_assert_cmpuint(protection_find(w->p, world_vm(1))->owes, ==, 0);
}

/* A second controller, or a copy of the database, made a reign of the same number: told once, judged by nobody, and over
 * when that host says nothing of the kind any more. Its own reign said by the active is none. */
static void test_reign_conflict(void)
{
    g_autoptr(World) w = world_new(1);
    json_auto_t *others = json_pack("{s:s, s:[]}", "event", "changes", "active");
    const ProtectionVm *vm;

    world_run(w);
    vm = protection_find(w->p, world_vm(1));
    say_active(w, "beta", 1);
    say_active(w, "beta", 1);
    world_expect(w, "[   0] news from beta -> event REIGN_CONFLICT\n"
                    "[   0] news from beta -> nothing\n");
    g_assert_cmpstr(vm->active, ==, "alpha");
    g_assert_cmpstr(vm->rival, ==, "beta");
    world_news(w, 1, "protected", 500, NULL);
    world_step(w, (Input){.kind = INPUT_NEWS, .host = (char *)"beta", .json = others}, NULL);
    g_assert_cmpstr(vm->rival, ==, "beta");
    world_do(w, INPUT_STOP);
    world_answer(w, "alpha", "active.stop", 1, -1, NULL);
    world_answer(w, "beta", "standby.dismiss", 1, -1, NULL);
    world_run(w);
    g_assert_cmpstr(vm->rival, ==, "beta");
    say_active(w, "beta", 2);
    g_assert_cmpstr(vm->active, ==, "beta");
    g_assert_null(vm->rival);
    say_active(w, "alpha", 2);
    g_assert_null(vm->rival);
}

/* Nobody remembers that the old active was not told: its own word does. Not of a plan's, and of one that has given the
 * VM up it is the lock. */
static void test_forgotten_active(void)
{
    g_autoptr(World) w = world_new(1);

    world_run(w);
    moved_unlocked_not(w, 1, world_id(0x77));
    say_active(w, "alpha", 1);
    g_assert_cmpuint(protection_find(w->p, world_vm(1))->owes, ==, OWES_UNLOCK);
    world_answer(w, "alpha", "plan.unlock", 1, -1, NULL);
    world_step(w, (Input){.kind = INPUT_PLAN_BEGUN, .plan = world_id(0x71), .host = (char *)"alpha"}, NULL);
    say_active(w, "alpha", 1);
    g_assert_cmpuint(protection_find(w->p, world_vm(1))->owes, ==, 0);
    world_step(w, (Input){.kind = INPUT_PLAN_ENDED, .plan = world_id(0x71), .host = (char *)"alpha"}, NULL);
    world_forget(w);
    say_active(w, "gamma", 1);
    say_active(w, "alpha", 1);
    say_active(w, "alpha", 1);
    world_answer(w, "alpha", "active.yield", 1, -1, NULL);
    world_expect(w, "[   0] news from gamma -> nothing\n"
                    "[   0] news from alpha -> keep durably\n"
                    "        -> active.yield to alpha for web1\n"
                    "[   0] news from alpha -> nothing\n"
                    "[   0] alpha did active.yield for web1 -> keep durably\n"
                    "        -> event OLD_ACTIVE_BACK\n");
}

/* What a plan says of what this protection has not is refused, and changes nothing. */
static void test_foreign_plan(void)
{
    const Id plan = world_id(0x77);
    Input begun = {.kind = INPUT_PLAN_BEGUN, .plan = plan, .host = (char *)"beta"};
    Input moving = {.kind = INPUT_MOVING, .plan = plan, .vm = world_vm(9)};
    g_autoptr(World) w = world_new(1);

    g_assert_false(world_step(w, begun, NULL)); /* stopped */
    world_run(w);
    g_assert_true(world_step(w, begun, NULL));
    g_assert_false(world_step(w, moving, NULL));
    moving.vm = world_vm(1);
    moving.plan = world_id(0x78);
    g_assert_false(world_step(w, moving, NULL));
    moving.plan = plan;
    g_assert_true(world_step(w, moving, NULL));
}

static void test_status(void)
{
    static const char *const LEAD =
        "{\"scenarios\":[{\"name\":\"web\",\"state\":\"running\",\"master\":\"alpha\",\"active\":\"alpha\","
        "\"term\":1,\"automatic\":null,"
        "\"countdown_s\":null,\"way_out\":null,\"switchback_s\":null,\"holds\":[],\"unheard\":[],\"plan\":"
        "null,\"vms\":[{"
        "\"name\":\"web1\","
        "\"uuid\":"
        "\"11111111-1111-1111-1111-"
        "111111111111\",\"state\":\"protected\",\"active\":\"alpha\",\"guest\":\"alive\",\"guest_why\":null,"
        "\"tracking\":"
        "\"bitmap\",\"spool_"
        "bytes\":131072,\"standbys\":[{\"host\":\"beta\",\"state\":\"protected\",\"lag_ms\":740,\"why\":null,"
        "\"sync\":{"
        "\"done_bytes\":10,\"total_bytes\":20,\"sent_bytes\":5,\"rate_bps\":1,\"left_s\":null,\"synced_"
        "bytes\":7},\"resync\":{"
        "\"reason\":"
        "null,\"compared_bytes\":0,\"sent_bytes\":0},\"tip\":{\"id\":\"41414141-4141-4141-4141-"
        "414141414141\",\"term\":1,"
        "\"sequence\":1,\"cut_at\":\"2026-11-21T22:16:54.123Z\",\"sealed_at\":\"2026-11-21T22:16:54.500Z\"},"
        "\"compare\":null}]"
        ",\"lose_"
        "ms\":740,\"back_ms\":null,\"proven_at\":null,\"test_failed_at\":null,\"branches\":[],\"checks\":[],"
        "\"owed\":[]}]}]}";
    g_autoptr(World) w = world_new(1);
    g_autoptr(GPtrArray) all = g_ptr_array_new();
    json_auto_t *doc = NULL;
    g_autofree char *text = NULL;

    world_run(w);
    g_ptr_array_add(all, w->p);
    doc = status_document(all, NULL, w->now_ms + 240);
    text = json_text(doc);
    g_assert_cmpstr(text, ==, LEAD);
}

static void test_status_knows_nothing(void)
{
    g_autoptr(World) w = world_new(1);
    json_auto_t *doc = status_of(w->p, NULL, 0);
    json_t *vm = json_array_get(json_object_get(doc, "vms"), 0);
    json_t *standby = json_array_get(json_object_get(vm, "standbys"), 0);

    g_assert_cmpstr(json_string_value(json_object_get(doc, "state")), ==, "stopped");
    g_assert_cmpstr(json_string_value(json_object_get(vm, "guest")), ==, "unknown");
    g_assert_true(json_is_null(json_object_get(vm, "spool_bytes")));
    g_assert_true(json_is_null(json_object_get(vm, "lose_ms")));
    g_assert_true(json_is_null(json_object_get(standby, "lag_ms")));
    g_assert_true(json_is_null(json_object_get(standby, "tip")));
}

/* "back_ms proven_at test_failed_at" of the first VM. */
static void expect_proof(const World *w, const Proofs *proofs, const char *expected)
{
    json_auto_t *doc = status_of(w->p, proofs, 0);
    const json_t *vm = json_array_get(json_object_get(doc, "vms"), 0);
    const json_t *back_ms = json_object_get(vm, "back_ms");
    g_autofree char *text =
        g_strdup_printf("%d %s %s", json_is_integer(back_ms) ? (int)json_integer_value(back_ms) : -1,
                        json_string_value(json_object_get(vm, "proven_at")) ?: "-",
                        json_string_value(json_object_get(vm, "test_failed_at")) ?: "-");

    g_assert_cmpstr(text, ==, expected);
}

static void test_status_proven(void)
{
    g_autoptr(World) w = world_new(2);
    g_autoptr(Proofs) proofs = proofs_new();
    ProofsVerdict v = {"web", world_vm(1), world_id(1), FALSE, "beta", TRUE, 9000, "once"};
    json_auto_t *doc = NULL;

    proofs_add(proofs, &v);
    expect_proof(w, proofs, "9000 once -");
    v.back_ms = -1;
    v.at = "then";
    v.point = world_id(2);
    proofs_add(proofs, &v);
    expect_proof(w, proofs, "-1 then -");
    doc = status_of(w->p, proofs, 0);
    g_assert_true(json_is_null(json_object_get(json_array_get(json_object_get(doc, "vms"), 1), "proven_at")));
    g_assert_cmpstr(proofs_of_point(proofs, world_vm(1), world_id(1)), ==, "once");
    g_assert_null(proofs_of_point(proofs, world_vm(2), world_id(1)));
}

/* Nothing of that is held against what failed later, and the next that passes is believed again. */
static void test_status_failed_since(void)
{
    g_autoptr(World) w = world_new(1);
    g_autoptr(Proofs) proofs = proofs_new();
    const ProofsVerdict once = {"web", world_vm(1), world_id(1), FALSE, "beta", TRUE, 9000, "once"};
    const ProofsVerdict then = {"web", world_vm(1), world_id(2), FALSE, "beta", FALSE, 700, "then"};
    const ProofsVerdict now = {"web", world_vm(1), world_id(3), FALSE, "beta", TRUE, 8000, "now"};

    proofs_add(proofs, &once);
    proofs_add(proofs, &then);
    expect_proof(w, proofs, "-1 once then");
    g_assert_null(proofs_of_point(proofs, world_vm(1), world_id(2)));
    proofs_add(proofs, &now);
    expect_proof(w, proofs, "8000 now -");
}

/* It is back from the newest point, whatever an old one has shown, which is marked at that alone. */
static void test_status_point_was_chosen(void)
{
    g_autoptr(World) w = world_new(1);
    g_autoptr(Proofs) proofs = proofs_new();
    const ProofsVerdict newest = {"web", world_vm(1), world_id(2), FALSE, "beta", TRUE, 9000, "once"};
    ProofsVerdict old = {"web", world_vm(1), world_id(1), TRUE, "beta", TRUE, 100, "then"};

    proofs_add(proofs, &old);
    g_assert_null(proofs_of_vm(proofs, world_vm(1)));
    proofs_add(proofs, &newest);
    proofs_add(proofs, &old);
    expect_proof(w, proofs, "9000 once -");
    g_assert_cmpstr(proofs_of_point(proofs, world_vm(1), world_id(1)), ==, "then");
    old.passed = FALSE;
    proofs_add(proofs, &old);
    expect_proof(w, proofs, "9000 once -");
}

/* After a switchover it would be back from another host's copy, of which nothing is known. */
static void test_status_other_copy(void)
{
    g_autoptr(World) w = world_new(1);
    g_autoptr(Proofs) proofs = proofs_new();
    ProofsVerdict v = {"web", world_vm(1), world_id(1), FALSE, "beta", TRUE, 9000, "once"};

    world_run(w);
    proofs_add(proofs, &v);
    world_moved(w, "beta", 2, TRUE);
    expect_proof(w, proofs, "-1 - -");
    v.host = "alpha";
    v.passed = FALSE;
    v.at = "then";
    proofs_add(proofs, &v);
    expect_proof(w, proofs, "-1 - then");
    world_moved(w, "alpha", 3, TRUE);
    expect_proof(w, proofs, "-1 - -");
}

/* A host says of its own disks what they alone hold. */
static void say_branches(World *w, const char *host, const char *side, const char *branches)
{
    json_auto_t *status =
        json_pack("{s:[], s:[], s:[{s:s, s:o, s:o, s:[]}]}", "active", "standby", side, "vm",
                  ID_TEXT(world_vm(1)), "reign", reign_to_json((Reign){1, world_id(0xee)}), "branches",
                  json_loads(branches, JSON_DECODE_ANY, NULL), "standbys");
    g_autoptr(GError) error = NULL;

    world_step(w, (Input){.kind = INPUT_NEWS, .host = (char *)host, .json = status}, &error);
    g_assert_no_error(error);
}

static void expect_branches(const World *w, const char *text)
{
    json_auto_t *doc = status_of(w->p, NULL, w->now_ms);
    g_autofree char *got =
        json_text(json_object_get(json_array_get(json_object_get(doc, "vms"), 0), "branches"));

    g_assert_cmpstr(got, ==, text);
}

/* Shown at once; told once, when it is known how much it is; and no more after they were released. */
static void test_branches(void)
{
    g_autoptr(World) w = world_new(1);

    world_run(w);
    say_branches(w, "beta", "standby", "{\"count\": 0, \"bytes\": 0}");
    expect_branches(w, "[]");
    say_branches(w, "beta", "standby", "{\"count\": 1, \"bytes\": null}");
    expect_branches(w, "[{\"host\":\"beta\",\"count\":1,\"bytes\":null}]");
    say_branches(w, "beta", "standby", "{\"count\": 1, \"bytes\": 3145728}");
    say_branches(w, "beta", "standby", "{\"count\": 1, \"bytes\": 4194304}");
    say_branches(w, "beta", "standby", "null");
    say_branches(w, "beta", "standby", "{\"count\": -1}");
    say_branches(w, "beta", "standby", "{\"count\": 7, \"bytes\": \"x\"}");
    say_branches(w, "gamma", "standby", "{\"count\": 5, \"bytes\": 1}");
    expect_branches(w, "[{\"host\":\"beta\",\"count\":1,\"bytes\":4194304}]");
    say_branches(w, "alpha", "active", "{\"count\": 2, \"bytes\": 1024}");
    expect_branches(w, "[{\"host\":\"beta\",\"count\":1,\"bytes\":4194304},"
                       "{\"host\":\"alpha\",\"count\":2,\"bytes\":1024}]");
    world_expect(w, "[   0] news from beta -> nothing\n"
                    "[   0] news from beta -> nothing\n"
                    "[   0] news from beta -> keep durably\n"
                    "        -> event BRANCH_KEPT\n"
                    "[   0] news from beta -> nothing\n"
                    "[   0] news from beta -> nothing\n"
                    "[   0] news from beta -> nothing\n"
                    "[   0] news from beta -> nothing\n"
                    "[   0] news from gamma -> nothing\n"
                    "[   0] news from alpha -> keep durably\n"
                    "        -> event BRANCH_KEPT\n");
    world_restart(w);
    expect_branches(w, "[]");
    world_forget(w);
    say_branches(w, "beta", "standby", "{\"count\": 1, \"bytes\": 3145728}");
    say_branches(w, "beta", "standby", "{\"count\": 2, \"bytes\": 3145728}");
    say_branches(w, "beta", "standby", "{\"count\": 0, \"bytes\": 0}");
    expect_branches(w, "[]");
    say_branches(w, "beta", "standby", "{\"count\": 1, \"bytes\": 10}");
    world_expect(w, "[   0] news from beta -> nothing\n"
                    "[   0] news from beta -> keep durably\n"
                    "        -> event BRANCH_KEPT\n"
                    "[   0] news from beta -> keep durably\n"
                    "[   0] news from beta -> keep durably\n"
                    "        -> event BRANCH_KEPT\n");
}

#define WEB1 "11111111-1111-1111-1111-111111111111"
#define REIGN "\"reign\":{\"number\":1,\"id\":\"eeeeeeee-eeee-eeee-eeee-eeeeeeeeeeee\"}"

/* A peer's mistake is an error and changes nothing. */
static void test_hostile_news(void)
{
    static const char *const BAD[] = {
        "{}",
        "{\"active\":{}}",
        "{\"active\":[{\"vm\":\"" WEB1 "\"}]}",
        "{\"active\":[{\"vm\":\"" WEB1 "\"," REIGN ",\"spool_bytes\":-1}]}",
        "{\"active\":[{\"vm\":\"" WEB1 "\"," REIGN ",\"guest\":1}]}",
        "{\"active\":[{\"vm\":\"" WEB1 "\"," REIGN
        ",\"standbys\":[{\"host\":\"beta\",\"state\":\"sleeping\"}]}]}",
        "{\"active\":[{\"vm\":\"" WEB1 "\"," REIGN ",\"standbys\":[{\"state\":\"protected\"}]}]}",
        "{\"active\":[{\"vm\":\"" WEB1 "\"," REIGN
        ",\"standbys\":[{\"host\":\"beta\",\"state\":\"protected\",\"tip\":{\"id\":\"x\"}}]}]}",
    };
    g_autoptr(World) w = world_new(1);

    world_run(w);
    for (guint i = 0; i < G_N_ELEMENTS(BAD); i++) {
        json_auto_t *doc = json_parse(BAD[i], strlen(BAD[i]), 4096, NULL);
        g_autoptr(GError) error = NULL;

        g_assert_nonnull(doc);
        g_assert_false(
            world_step(w, (Input){.kind = INPUT_NEWS, .host = (char *)"alpha", .json = doc}, &error));
        g_assert_error(error, US_ERROR, US_ERROR_PROTOCOL);
        g_assert_cmpint(w->p->state, ==, SCENARIO_RUNNING);
    }
    world_expect(w, "");
}

/* What an engine says about VMs of others is not ours to judge. */
/* Changes do not say what an engine did not name: who lacks a word asks for all. */
static void test_lacks_word(void)
{
    g_autoptr(World) w = world_new(1);
    json_auto_t *changes =
        json_pack("{s:s, s:b, s:[], s:[]}", "event", "changes", "complete", 1, "active", "standby");

    world_run(w);
    g_assert_false(protection_lacks_word(w->p, "alpha"));
    g_assert_false(protection_lacks_word(w->p, "beta"));
    world_link(w, "beta", FALSE);
    g_assert_false(protection_lacks_word(w->p, "beta"));
    world_link(w, "beta", TRUE);
    g_assert_true(protection_lacks_word(w->p, "beta"));
    g_assert_true(world_step(w, (Input){.kind = INPUT_NEWS, .host = (char *)"beta", .json = changes}, NULL));
    g_assert_true(protection_lacks_word(w->p, "beta"));
    world_hear(w, "beta");
    g_assert_false(protection_lacks_word(w->p, "beta"));
    world_answer(w, "beta", "standby.admit", 1, -1, NULL);
    /* Its pause is over, which no change need say: it may have gone on before its answer. */
    world_do(w, INPUT_PAUSE);
    world_answer(w, "alpha", "active.pause", 1, -1, NULL);
    world_news(w, 1, "paused", 500, NULL);
    world_do(w, INPUT_CONTINUE);
    world_answer(w, "alpha", "active.protect", 1, -1, NULL);
    world_answer(w, "alpha", "active.continue", 1, -1, NULL);
    g_assert_true(protection_lacks_word(w->p, "alpha"));
    world_news(w, 1, "protected", 500, NULL);
    g_assert_false(protection_lacks_word(w->p, "alpha"));
}

static void test_news_of_others(void)
{
    static const char TEXT[] =
        "{\"active\":[1,{},{\"vm\":\"x\"},{\"vm\":\"99999999-9999-9999-9999-999999999999\"},"
        "{\"vm\":\"" WEB1 "\"," REIGN
        ",\"standbys\":[{\"host\":\"beta\",\"state\":\"failed\",\"why\":\"disk vda is gone\"}]}]}";
    g_autoptr(World) w = world_new(1);
    json_auto_t *doc = json_parse(TEXT, strlen(TEXT), 4096, NULL);

    world_run(w);
    g_assert_true(world_step(w, (Input){.kind = INPUT_NEWS, .host = (char *)"alpha", .json = doc}, NULL));
    g_assert_cmpint(w->p->state, ==, SCENARIO_FAILED);
}

/* Another reign's word, and a word of who is not active, are not about this protection. */
static void test_foreign_news(void)
{
    g_autoptr(World) w = world_new(1);
    ProtectionVm *vm = protection_find(w->p, world_vm(1));

    world_run(w);
    vm->reign.number = 2;
    {
        json_auto_t *doc = json_pack("{s:[{s:s, s:o, s:[{s:s, s:s}]}]}", "active", "vm", ID_TEXT(vm->uuid),
                                     "reign", reign_to_json((Reign){1, world_id(0xee)}), "standbys", "host",
                                     "beta", "state", "failed");

        g_assert_true(world_step(w, (Input){.kind = INPUT_NEWS, .host = (char *)"alpha", .json = doc}, NULL));
        vm->reign.number = 1;
        g_assert_true(world_step(w, (Input){.kind = INPUT_NEWS, .host = (char *)"beta", .json = doc}, NULL));
    }
    g_assert_cmpint(w->p->state, ==, SCENARIO_RUNNING);
}

/* What is kept and does not fit is refused whole. */
static void test_corrupt_state(void)
{
    static const char *const SPOIL[] = {"format", "goal", "plan", "owed_plan", "networks", "vms"};
    g_autoptr(World) w = world_new(1);

    for (guint i = 0; i < G_N_ELEMENTS(SPOIL); i++) {
        json_auto_t *doc = protection_to_json(w->p);
        g_autoptr(GError) error = NULL;

        json_object_set_new(doc, SPOIL[i], json_pack("[s]", "x"));
        g_assert_null(protection_from_json(doc, w->scenario, w->roster, &error));
        g_assert_error(error, US_ERROR, US_ERROR_CORRUPT);
    }
}

static Input random_input(World *w, guint *ret_vm)
{
    static const InputKind KINDS[] = {
        INPUT_RUN,       INPUT_STOP,   INPUT_PAUSE,      INPUT_CONTINUE,   INPUT_VERIFIED, INPUT_LINK_BACK,
        INPUT_LINK_LOST, INPUT_ANSWER, INPUT_PLAN_BEGUN, INPUT_MOVING,     INPUT_MOVED,    INPUT_STAYED,
        INPUT_BLOCKED,   INPUT_DOWN,   INPUT_PLAN_ENDED, INPUT_SWITCHBACK, INPUT_TICK};
    Input in = {.kind = KINDS[g_test_rand_int_range(0, G_N_ELEMENTS(KINDS))]};
    guint vm = (guint)g_test_rand_int_range(1, 3);
    const ProtectionVm *known = protection_find(w->p, world_vm(vm));

    in.host = g_test_rand_bit() ? (char *)"alpha" : (char *)"beta";
    in.vm = world_vm(vm);
    in.plan = id_is_nil(w->p->plan) ? world_id(0x77) : w->p->plan;
    in.method = known->asked ? known->asked : "active.stop";
    if (in.kind == INPUT_ANSWER && known->asked)
        in.host = g_str_equal(known->asked_host, "alpha") ? (char *)"alpha" : (char *)"beta";
    *ret_vm = vm;
    return in;
}

/* A plan only says what plans say. */
static gboolean makes_sense(const World *w, const Input *in)
{
    const ProtectionVm *vm = protection_find(w->p, in->vm);
    gboolean moving = vm->part == PART_MOVING || vm->part == PART_BLOCKED;

    switch (in->kind) {
    case INPUT_PLAN_BEGUN:
        return w->p->goal == GOAL_RUNNING && protection_active(w->p) && w->p->state != SCENARIO_SWITCHED;
    case INPUT_MOVING:
        return !id_is_nil(w->p->plan) && vm->part == PART_NONE;
    case INPUT_MOVED:
        return moving && !g_str_equal(in->host, vm->active);
    case INPUT_STAYED:
    case INPUT_DOWN:
        return vm->part == PART_MOVING;
    case INPUT_BLOCKED:
        return moving;
    case INPUT_PLAN_ENDED:
        return !moving;
    case INPUT_SWITCHBACK:
        return protection_wants_home(w->p);
    default:
        return TRUE;
    }
}

static void random_news(World *w, guint vm)
{
    static const char *const WORDS[] = {"unprotected", "synchronizing", "protected", "lagging", "resyncing",
                                        "paused",      "switching",     "stopped",   "failed"};

    world_news(w, vm, WORDS[g_test_rand_int_range(0, G_N_ELEMENTS(WORDS))], g_test_rand_int_range(-1, 60000),
               g_test_rand_bit() ? "so" : NULL);
}

/* Whatever comes in which order: every move has an edge, and what is kept can be read back. */
static void test_any_order(void)
{
    for (guint round = 0; round < 40; round++) {
        g_autoptr(World) w = world_new(2);

        w->p->scenario->policy.switchback = (int)(round % 2);
        w->p->scenario->policy.switchback_after_ms = 10000;
        for (guint i = 0; i < 500; i++) {
            g_autoptr(GError) found =
                g_error_new(US_ERROR, g_test_rand_bit() ? US_ERROR_TIMEOUT : US_ERROR_FAILED, "bad");
            guint vm;
            Input in = random_input(w, &vm);

            if ((in.kind == INPUT_ANSWER || in.kind == INPUT_VERIFIED || in.kind == INPUT_SWITCHBACK) &&
                g_test_rand_int_range(0, 3) == 0)
                in.failure = found;
            if (in.kind == INPUT_STAYED || in.kind == INPUT_BLOCKED || in.kind == INPUT_DOWN)
                in.why = (char *)"so";
            in.reign = (Reign){protection_find(w->p, in.vm)->reign.number + 1, world_id(0x88)};
            in.reverse = g_test_rand_bit();
            w->now_ms += g_test_rand_int_range(0, 9000);
            if (makes_sense(w, &in))
                world_step(w, in, NULL);
            random_news(w, vm);
            world_forget(w);
        }
        world_restart(w);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/protection/run", test_run);
    g_test_add_func("/protection/verification-fails", test_verification_fails);
    g_test_add_func("/protection/stop-while-verifying", test_stop_while_verifying);
    g_test_add_func("/protection/link-to-active-lost", test_link_to_active_lost);
    g_test_add_func("/protection/link-to-standby-lost", test_link_to_standby_lost);
    g_test_add_func("/protection/engine-restarts", test_engine_restarts);
    g_test_add_func("/protection/what-happened-to-cuts", test_what_happened_to_cuts);
    g_test_add_func("/protection/compared", test_compared);
    g_test_add_func("/protection/doubted", test_doubted);
    g_test_add_func("/protection/doubted-rightly", test_doubted_rightly);
    g_test_add_func("/protection/doubted-and-stopped", test_doubted_and_stopped);
    g_test_add_func("/protection/pause-and-continue", test_pause_and_continue);
    g_test_add_func("/protection/word-before-answer", test_word_before_answer);
    g_test_add_func("/protection/pause-while-active-is-silent", test_pause_while_active_is_silent);
    g_test_add_func("/protection/seed", test_seed);
    g_test_add_func("/protection/stop", test_stop);
    g_test_add_func("/protection/stop-is-owed", test_stop_is_owed);
    g_test_add_func("/protection/stop-is-refused", test_stop_is_refused);
    g_test_add_func("/protection/refusal-is-overtaken", test_refusal_is_overtaken);
    g_test_add_func("/protection/stop-after-switchover", test_stop_after_switchover);
    g_test_add_func("/protection/owed-call-fails", test_owed_call_fails);
    g_test_add_func("/protection/owed-plans", test_owed_plans);
    g_test_add_func("/protection/purge-fails", test_purge_fails);
    g_test_add_func("/protection/engine-refuses", test_engine_refuses);
    g_test_add_func("/protection/resync-and-failure", test_resync_and_failure);
    g_test_add_func("/protection/restart-while-running", test_restart_while_running);
    g_test_add_func("/protection/restart-after-a-promotion", test_restart_after_a_promotion);
    g_test_add_func("/protection/restart-without-the-standby", test_restart_without_the_standby);
    g_test_add_func("/protection/policy-changes", test_policy_changes);
    g_test_add_func("/protection/policy-changes-meanwhile", test_policy_changes_meanwhile);
    g_test_add_func("/protection/standby-is-elsewhere", test_standby_is_elsewhere);
    g_test_add_func("/protection/plan", test_plan);
    g_test_add_func("/protection/blocked", test_blocked);
    g_test_add_func("/protection/there-and-back", test_there_and_back);
    g_test_add_func("/protection/run-where-it-was-moved", test_run_where_it_was_moved);
    g_test_add_func("/protection/forced", test_forced);
    g_test_add_func("/protection/promoted-by-hand", test_promoted_by_hand);
    g_test_add_func("/protection/stop-after-a-promotion", test_stop_after_a_promotion);
    g_test_add_func("/protection/reign-learnt", test_reign_learnt);
    g_test_add_func("/protection/reign-learnt-of-the-active", test_reign_learnt_of_the_active);
    g_test_add_func("/protection/reign-conflict", test_reign_conflict);
    g_test_add_func("/protection/forgotten-active", test_forgotten_active);
    g_test_add_func("/protection/foreign-plan", test_foreign_plan);
    g_test_add_func("/protection/status", test_status);
    g_test_add_func("/protection/status-knows-nothing", test_status_knows_nothing);
    g_test_add_func("/protection/status-proven", test_status_proven);
    g_test_add_func("/protection/status-failed-since", test_status_failed_since);
    g_test_add_func("/protection/status-point-was-chosen", test_status_point_was_chosen);
    g_test_add_func("/protection/status-other-copy", test_status_other_copy);
    g_test_add_func("/protection/branches", test_branches);
    g_test_add_func("/protection/hostile-news", test_hostile_news);
    g_test_add_func("/protection/news-of-others", test_news_of_others);
    g_test_add_func("/protection/lacks-word", test_lacks_word);
    g_test_add_func("/protection/foreign-news", test_foreign_news);
    g_test_add_func("/protection/corrupt-state", test_corrupt_state);
    g_test_add_func("/protection/any-order", test_any_order);
    return g_test_run();
}

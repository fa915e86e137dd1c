/* SPDX-License-Identifier: Apache-2.0 */
#include "stage.h"
#include "vmconnect/base/error.h"

#include <string.h>

#define HOUR_MS 3600000

static void test_happy_path(void)
{
    g_autoptr(Stage) s = stage_new(1);

    stage_switch_over(s);
    stage_play(s, HOUR_MS);
    g_assert_true(s->ended);
    g_assert_true(stage_runs(s, BETA, 1));
    world_expect(
        s->w,
        "[   0] plan to beta begun -> keep durably\n"
        "        -> event SWITCHOVER_STARTED\n"
        "        -> web switching: a plan was begun\n"
        "[   0] plan has web1 -> web1 on beta switching: a plan locked the VM\n"
        "[   0] web1 locking: the plan was begun\n"
        "[   0] web1 shutting-down: nobody else can start the guest\n"
        "[   8] web1 finishing: the guest is off\n"
        "[  10] web1 releasing: the last generation is sealed\n"
        "[  10] web1 promoting: the active gave the VM up for good\n"
        "[  13] web1 unlocking: the guest runs on the standby\n"
        "[  13] web1 moved: the move is done\n"
        "[  13] web1 runs on beta -> keep durably\n"
        "        -> event VM_MOVED\n"
        "        -> web1 on alpha unprotected: the VM runs on the other host; its old image is no copy yet\n"
        "[  13] plan to beta ended -> keep durably\n"
        "        -> event SWITCHOVER_DONE\n"
        "        -> web switched: the plan moved every VM\n");
}

static void test_guest_does_not_shut_down(void)
{
    g_autoptr(Stage) s = stage_new(1);

    s->stubborn = 1;
    stage_switch_over(s);
    stage_play(s, HOUR_MS);
    g_assert_true(s->ended);
    g_assert_true(stage_runs(s, ALPHA, 1));
    world_expect(s->w, "[   0] plan to beta begun -> keep durably\n"
                       "        -> event SWITCHOVER_STARTED\n"
                       "        -> web switching: a plan was begun\n"
                       "[   0] plan has web1 -> web1 on beta switching: a plan locked the VM\n"
                       "[   0] web1 locking: the plan was begun\n"
                       "[   0] web1 shutting-down: nobody else can start the guest\n"
                       "[   8] alpha: the guest does not shut down\n"
                       "[   8] web1 reading: what the active did must be read from it\n"
                       "[  10] web1 rolling-back: the active has not released the VM\n"
                       "[  14] web1 stayed: the guest runs where it was\n"
                       "[  14] web1 stayed (the guest does not shut down) -> event VM_STAYED\n"
                       "        -> web1 on beta protected: not moved, the copy is young enough\n"
                       "[  14] plan to beta ended -> keep durably\n"
                       "        -> event SWITCHOVER_FAILED\n"
                       "        -> web running: the plan ended, every VM is protected\n"
                       "        -> active.protect to alpha for web1\n");
}

static void test_two_vms_one_stays(void)
{
    g_autoptr(Stage) s = stage_new(2);

    s->stubborn = 2;
    stage_switch_over(s);
    stage_play(s, HOUR_MS);
    g_assert_true(s->ended);
    g_assert_true(stage_runs(s, BETA, 1));
    g_assert_true(stage_runs(s, ALPHA, 2));
    g_assert_cmpint(s->w->p->state, ==, SCENARIO_DEGRADED);
    world_expect(
        s->w,
        "[   0] plan to beta begun -> keep durably\n"
        "        -> event SWITCHOVER_STARTED\n"
        "        -> web switching: a plan was begun\n"
        "[   0] plan has web1 -> web1 on beta switching: a plan locked the VM\n"
        "[   0] plan has web2 -> web2 on beta switching: a plan locked the VM\n"
        "[   0] web1 locking: the plan was begun\n"
        "[   0] web2 locking: the plan was begun\n"
        "[   0] web1 shutting-down: nobody else can start the guest\n"
        "[   0] web2 shutting-down: nobody else can start the guest\n"
        "[   8] alpha: the guest does not shut down\n"
        "[   8] web1 finishing: the guest is off\n"
        "[   8] web2 reading: what the active did must be read from it\n"
        "[  10] web2 rolling-back: the active has not released the VM\n"
        "[  10] web1 releasing: the last generation is sealed\n"
        "[  10] web1 promoting: the active gave the VM up for good\n"
        "[  13] web1 unlocking: the guest runs on the standby\n"
        "[  13] web1 moved: the move is done\n"
        "[  13] web1 runs on beta -> keep durably\n"
        "        -> event VM_MOVED\n"
        "        -> web1 on alpha unprotected: the VM runs on the other host; its old image is no copy yet\n"
        "[  14] web2 stayed: the guest runs where it was\n"
        "[  14] web2 stayed (the guest does not shut down) -> event VM_STAYED\n"
        "        -> web2 on beta protected: not moved, the copy is young enough\n"
        "[  14] plan to beta ended -> keep durably\n"
        "        -> event SWITCHOVER_FAILED\n"
        "        -> web degraded: the plan ended; a VM stayed, or its copy is old\n"
        "        -> active.protect to alpha for web2\n");
}

static void test_active_dies_before_release(void)
{
    g_autoptr(Stage) s = stage_new(1);

    stage_later(s, 5000, stage_crash, ALPHA);
    stage_later(s, 60000, stage_boot, ALPHA);
    stage_switch_over(s);
    stage_play(s, HOUR_MS);
    g_assert_true(s->ended);
    g_assert_true(stage_runs(s, ALPHA, 1) != stage_runs(s, BETA, 1));
    world_expect(
        s->w,
        "[   0] plan to beta begun -> keep durably\n"
        "        -> event SWITCHOVER_STARTED\n"
        "        -> web switching: a plan was begun\n"
        "[   0] plan has web1 -> web1 on beta switching: a plan locked the VM\n"
        "[   0] web1 locking: the plan was begun\n"
        "[   0] web1 shutting-down: nobody else can start the guest\n"
        "[   5] link to alpha cut\n"
        "[   5] link to alpha is lost -> nothing\n"
        "[   5] web1 reading: what the active did must be read from it\n"
        "[   5] alpha crashes\n"
        "[  60] alpha boots\n"
        "[  60] link to alpha heals\n"
        "[  60] link to alpha is back -> nothing\n"
        "[  60] web1 shutting-down: the active has locked the guest\n"
        "[  68] web1 finishing: the guest is off\n"
        "[  70] web1 releasing: the last generation is sealed\n"
        "[  70] web1 promoting: the active gave the VM up for good\n"
        "[  73] web1 unlocking: the guest runs on the standby\n"
        "[  73] web1 moved: the move is done\n"
        "[  73] web1 runs on beta -> keep durably\n"
        "        -> event VM_MOVED\n"
        "        -> web1 on alpha unprotected: the VM runs on the other host; its old image is no copy yet\n"
        "[  73] plan to beta ended -> keep durably\n"
        "        -> event SWITCHOVER_DONE\n"
        "        -> web switched: the plan moved every VM\n");
}

static void test_active_dies_after_release(void)
{
    g_autoptr(Stage) s = stage_new(1);

    stage_later(s, 11000, stage_crash, ALPHA);
    stage_switch_over(s);
    stage_play(s, HOUR_MS);
    g_assert_true(s->ended);
    g_assert_true(stage_runs(s, BETA, 1));
    g_assert_true(protection_owes(s->w->p));
    stage_boot(s, ALPHA);
    stage_play_on(s, 5000);
    g_assert_false(stage_runs(s, ALPHA, 1));
    g_assert_false(protection_owes(s->w->p));
    world_expect(
        s->w,
        "[   0] plan to beta begun -> keep durably\n"
        "        -> event SWITCHOVER_STARTED\n"
        "        -> web switching: a plan was begun\n"
        "[   0] plan has web1 -> web1 on beta switching: a plan locked the VM\n"
        "[   0] web1 locking: the plan was begun\n"
        "[   0] web1 shutting-down: nobody else can start the guest\n"
        "[   8] web1 finishing: the guest is off\n"
        "[  10] web1 releasing: the last generation is sealed\n"
        "[  10] web1 promoting: the active gave the VM up for good\n"
        "[  11] link to alpha cut\n"
        "[  11] link to alpha is lost -> nothing\n"
        "[  11] alpha crashes\n"
        "[  13] web1 unlocking: the guest runs on the standby\n"
        "[  13] web1 moved: the move is done\n"
        "[  13] web1 runs on beta -> keep durably\n"
        "        -> event VM_MOVED\n"
        "        -> web1 on alpha unprotected: the VM runs on the other host; its old image is no copy yet\n"
        "[  13] plan to beta ended -> keep durably\n"
        "        -> event SWITCHOVER_DONE\n"
        "        -> web switched: the plan moved every VM\n"
        "[  13] alpha boots\n"
        "[  13] link to alpha heals\n"
        "[  13] link to alpha is back -> plan.unlock to alpha for web1\n"
        "[  13] alpha did plan.unlock for web1 -> keep durably\n");
}

/* The certificate outlives the two who knew of it. */
static void test_active_and_controller_die_after_release(void)
{
    g_autoptr(Stage) s = stage_new(1);

    stage_switch_over(s);
    stage_play(s, 11000);
    stage_crash(s, ALPHA);
    stage_crash(s, BETA);
    stage_kill_controller(s);
    stage_boot(s, BETA);
    stage_start_controller(s);
    stage_play(s, HOUR_MS);
    g_assert_true(s->ended);
    g_assert_true(stage_runs(s, BETA, 1));
    world_expect(
        s->w,
        "[   0] plan to beta begun -> keep durably\n"
        "        -> event SWITCHOVER_STARTED\n"
        "        -> web switching: a plan was begun\n"
        "[   0] plan has web1 -> web1 on beta switching: a plan locked the VM\n"
        "[   0] web1 locking: the plan was begun\n"
        "[   0] web1 shutting-down: nobody else can start the guest\n"
        "[   8] web1 finishing: the guest is off\n"
        "[  10] web1 releasing: the last generation is sealed\n"
        "[  10] web1 promoting: the active gave the VM up for good\n"
        "[  11] link to alpha cut\n"
        "[  11] link to alpha is lost -> nothing\n"
        "[  11] alpha crashes\n"
        "[  11] link to beta cut\n"
        "[  11] link to beta is lost -> nothing\n"
        "[  11] web1 released, not started on beta (beta does not answer) -> event VM_BLOCKED\n"
        "        -> web1 on beta failed: given up by the old host, not yet started by the new\n"
        "[  11] beta crashes\n"
        "[  11] the controller dies\n"
        "[  11] beta boots\n"
        "[  11] link to beta heals\n"
        "[  11] the controller starts again -> web switching\n"
        "[  11] plan to beta begun -> nothing\n"
        "[  11] link to beta is back -> nothing\n"
        "[  11] plan has web1 -> web1 on beta switching: a plan locked the VM\n"
        "[  11] web1 promoting: the active has released the VM, or is gone: it goes on without it\n"
        "[  14] web1 unlocking: the guest runs on the standby\n"
        "[  14] web1 moved: the move is done\n"
        "[  14] web1 runs on beta -> keep durably\n"
        "        -> event VM_MOVED\n"
        "        -> web1 on alpha unprotected: the VM runs on the other host; its old image is no copy yet\n"
        "[  14] plan to beta ended -> keep durably\n"
        "        -> event SWITCHOVER_DONE\n"
        "        -> web switched: the plan moved every VM\n");
}

static void test_standby_dies_at_promote(void)
{
    g_autoptr(Stage) s = stage_new(1);

    stage_later(s, 11000, stage_crash, BETA);
    stage_later(s, 100000, stage_boot, BETA);
    stage_switch_over(s);
    stage_play(s, HOUR_MS);
    g_assert_true(s->ended);
    g_assert_true(stage_runs(s, BETA, 1));
    world_expect(
        s->w,
        "[   0] plan to beta begun -> keep durably\n"
        "        -> event SWITCHOVER_STARTED\n"
        "        -> web switching: a plan was begun\n"
        "[   0] plan has web1 -> web1 on beta switching: a plan locked the VM\n"
        "[   0] web1 locking: the plan was begun\n"
        "[   0] web1 shutting-down: nobody else can start the guest\n"
        "[   8] web1 finishing: the guest is off\n"
        "[  10] web1 releasing: the last generation is sealed\n"
        "[  10] web1 promoting: the active gave the VM up for good\n"
        "[  11] link to beta cut\n"
        "[  11] link to beta is lost -> nothing\n"
        "[  11] web1 released, not started on beta (beta does not answer) -> event VM_BLOCKED\n"
        "        -> web1 on beta failed: given up by the old host, not yet started by the new\n"
        "[  11] beta crashes\n"
        "[  11] web1 blocked: the standby did not start the guest\n"
        "[ 100] beta boots\n"
        "[ 100] link to beta heals\n"
        "[ 100] link to beta is back -> nothing\n"
        "[ 100] web1 promoting: the start is tried again\n"
        "[ 103] web1 unlocking: the guest runs on the standby\n"
        "[ 103] web1 moved: the move is done\n"
        "[ 103] web1 runs on beta -> keep durably\n"
        "        -> event VM_MOVED\n"
        "        -> web1 on alpha unprotected: the VM runs on the other host; its old image is no copy yet\n"
        "[ 103] plan to beta ended -> keep durably\n"
        "        -> event SWITCHOVER_DONE\n"
        "        -> web switched: the plan moved every VM\n");
}

static void test_standby_cannot_start(void)
{
    g_autoptr(Stage) s = stage_new(1);

    s->unstartable = 1;
    stage_switch_over(s);
    stage_play(s, 40000);
    g_assert_false(s->ended);
    s->unstartable = 0;
    stage_play(s, HOUR_MS);
    g_assert_true(s->ended);
    g_assert_true(stage_runs(s, BETA, 1));
    world_expect(
        s->w,
        "[   0] plan to beta begun -> keep durably\n"
        "        -> event SWITCHOVER_STARTED\n"
        "        -> web switching: a plan was begun\n"
        "[   0] plan has web1 -> web1 on beta switching: a plan locked the VM\n"
        "[   0] web1 locking: the plan was begun\n"
        "[   0] web1 shutting-down: nobody else can start the guest\n"
        "[   8] web1 finishing: the guest is off\n"
        "[  10] web1 releasing: the last generation is sealed\n"
        "[  10] web1 promoting: the active gave the VM up for good\n"
        "[  13] beta: no memory for the guest\n"
        "[  13] web1 released, not started on beta (no memory for the guest) -> event VM_BLOCKED\n"
        "        -> web1 on beta failed: given up by the old host, not yet started by the new\n"
        "[  13] web1 blocked: the standby did not start the guest\n"
        "[  24] web1 promoting: the start is tried again\n"
        "[  27] beta: no memory for the guest\n"
        "[  27] web1 blocked: the standby did not start the guest\n"
        "[  38] web1 promoting: the start is tried again\n"
        "[  41] web1 unlocking: the guest runs on the standby\n"
        "[  41] web1 moved: the move is done\n"
        "[  41] web1 runs on beta -> keep durably\n"
        "        -> event VM_MOVED\n"
        "        -> web1 on alpha unprotected: the VM runs on the other host; its old image is no copy yet\n"
        "[  41] plan to beta ended -> keep durably\n"
        "        -> event SWITCHOVER_DONE\n"
        "        -> web switched: the plan moved every VM\n");
}

/* What one VM came to before a restart still counts when the plan ends after it. */
static void test_restart_between_two_ends(void)
{
    g_autoptr(Stage) s = stage_new(2);

    s->stubborn = 1;
    s->unstartable = 2;
    stage_switch_over(s);
    stage_play(s, 20000);
    stage_kill_controller(s);
    s->unstartable = 0;
    world_forget(s->w);
    stage_start_controller(s);
    stage_play(s, HOUR_MS);
    g_assert_true(s->ended);
    world_expect(
        s->w,
        "[  20] the controller starts again -> web switching\n"
        "[  20] plan to beta begun -> nothing\n"
        "[  20] link to alpha is back -> nothing\n"
        "[  20] link to beta is back -> nothing\n"
        "[  20] web1 stayed (the guest does not shut down) -> event VM_STAYED\n"
        "[  20] plan has web2 -> web2 on beta switching: a plan locked the VM\n"
        "[  20] web2 promoting: the active has released the VM, or is gone: it goes on without it\n"
        "[  23] web2 unlocking: the guest runs on the standby\n"
        "[  23] web2 moved: the move is done\n"
        "[  23] web2 runs on beta -> keep durably\n"
        "        -> event VM_MOVED\n"
        "        -> web2 on alpha unprotected: the VM runs on the other host; its old image is no copy yet\n"
        "[  23] plan to beta ended -> keep durably\n"
        "        -> event SWITCHOVER_FAILED\n"
        "        -> web degraded: the plan ended; a VM stayed, or its copy is old\n"
        "        -> standby.admit to beta for web1\n");
}

/* The controller is gone for longer than the deadline: production does not stay down. */
static void test_deadline(void)
{
    g_autoptr(Stage) s = stage_new(1);

    stage_switch_over(s);
    stage_play(s, 9000);
    stage_kill_controller(s);
    stage_play(s, 400000);
    g_assert_true(stage_runs(s, ALPHA, 1));
    stage_start_controller(s);
    stage_play(s, HOUR_MS);
    g_assert_true(s->ended);
    g_assert_true(stage_runs(s, ALPHA, 1));
    world_expect(
        s->w,
        "[   0] plan to beta begun -> keep durably\n"
        "        -> event SWITCHOVER_STARTED\n"
        "        -> web switching: a plan was begun\n"
        "[   0] plan has web1 -> web1 on beta switching: a plan locked the VM\n"
        "[   0] web1 locking: the plan was begun\n"
        "[   0] web1 shutting-down: nobody else can start the guest\n"
        "[   8] web1 finishing: the guest is off\n"
        "[   9] the controller dies\n"
        "[ 371] alpha: deadline of web1 passed, the guest is started again\n"
        "[ 400] the controller starts again -> web switching\n"
        "[ 400] plan to beta begun -> nothing\n"
        "[ 400] link to alpha is back -> nothing\n"
        "[ 400] link to beta is back -> nothing\n"
        "[ 400] plan has web1 -> web1 on beta switching: a plan locked the VM\n"
        "[ 400] web1 reading: the controller was restarted: what was done is read from the active\n"
        "[ 401] web1 stayed: the active keeps the guest\n"
        "[ 401] web1 stayed (the active rolled back by itself at the plan's deadline) -> event VM_STAYED\n"
        "        -> web1 on beta lagging: not moved, the copy is old\n"
        "[ 401] plan to beta ended -> keep durably\n"
        "        -> event SWITCHOVER_FAILED\n"
        "        -> web degraded: the plan ended; a VM stayed, or its copy is old\n"
        "        -> standby.admit to beta for web1\n");
}

/* Active and controller die when the plan is about to roll back, and root promotes the copy. The plan that is taken up
 * again hears of it before it orders the old active to start its guest, which is there first. */
static void test_promoted_by_hand(void)
{
    g_autoptr(Stage) s = stage_new(1);

    s->stubborn = 1;
    stage_switch_over(s);
    stage_play(s, 9000);
    stage_kill_controller(s);
    stage_crash(s, ALPHA);
    stage_promote(s, 1);
    stage_boot(s, ALPHA);
    stage_cut(s, BETA);
    world_forget(s->w);
    stage_start_controller(s);
    stage_later(s, 8000, stage_heal, BETA);
    stage_play(s, HOUR_MS);
    stage_play_on(s, 1000);
    g_assert_true(stage_runs(s, BETA, 1) && !stage_runs(s, ALPHA, 1));
    g_assert_cmpuint(protection_term(s->w->p), ==, 3);
    world_expect(
        s->w,
        "[   9] the controller starts again -> web switching\n"
        "[   9] plan to beta begun -> nothing\n"
        "[   9] link to alpha is back -> nothing\n"
        "[   9] plan has web1 -> web1 on beta switching: a plan locked the VM\n"
        "[  17] link to beta heals\n"
        "[  17] link to beta is back -> nothing\n"
        "[  17] web1 reading: the controller was restarted: what was done is read from the active\n"
        "[  18] web1 moved: the active was unlocked, or the standby promoted by hand\n"
        "[  18] web1 runs on beta -> keep durably\n"
        "        -> event VM_MOVED\n"
        "        -> web1 on alpha unprotected: the VM runs on the other host; its old image is no copy yet\n"
        "[  18] plan to beta ended -> keep durably\n"
        "        -> event SWITCHOVER_DONE\n"
        "        -> web switched: the plan moved every VM\n"
        "        -> active.yield to alpha for web1\n"
        "[  18] alpha did active.yield for web1 -> keep durably\n"
        "        -> event OLD_ACTIVE_BACK\n");
}

/* Beta does not come: the plan does not wait for it for ever. */
static void test_standby_is_not_heard(void)
{
    g_autoptr(Stage) s = stage_new(1);

    s->stubborn = 1;
    stage_switch_over(s);
    stage_play(s, 9000);
    stage_kill_controller(s);
    stage_cut(s, BETA);
    stage_start_controller(s);
    stage_play(s, 9000 + PLAN_HEAR_MS - 1);
    g_assert_false(s->ended);
    stage_play(s, 9000 + PLAN_HEAR_MS + 10000);
    g_assert_true(s->ended);
    g_assert_true(stage_runs(s, ALPHA, 1));
}

static void test_journal_is_full(void)
{
    g_autoptr(Stage) s = stage_new(1);

    stage_switch_over(s);
    stage_play(s, 3000);
    s->journal_broken = TRUE;
    stage_play(s, HOUR_MS);
    g_assert_true(s->ended);
    g_assert_true(stage_runs(s, ALPHA, 1));
    world_expect(s->w,
                 "[   0] plan to beta begun -> keep durably\n"
                 "        -> event SWITCHOVER_STARTED\n"
                 "        -> web switching: a plan was begun\n"
                 "[   0] plan has web1 -> web1 on beta switching: a plan locked the VM\n"
                 "[   0] web1 locking: the plan was begun\n"
                 "[   0] web1 shutting-down: nobody else can start the guest\n"
                 "[   8] web1 finishing: the guest is off\n"
                 "[   8] web1 reading: what the active did must be read from it\n"
                 "[  10] web1 rolling-back: the active has not released the VM\n"
                 "[  14] web1 stayed: the guest runs where it was\n"
                 "[  14] web1 stayed (the controller cannot write the plan's journal) -> event VM_STAYED\n"
                 "        -> web1 on beta protected: not moved, the copy is young enough\n"
                 "[  14] plan to beta ended -> keep durably\n"
                 "        -> event SWITCHOVER_FAILED\n"
                 "        -> web running: the plan ended, every VM is protected\n"
                 "        -> active.protect to alpha for web1\n");
}

/* The database knows its end, the journal does not: a later controller moves nothing, whatever
 * became of the scenario meanwhile. */
static void restart_after_full_journal(gboolean stopped)
{
    g_autoptr(Stage) s = stage_new(1);
    const Plan *plan;

    stage_switch_over(s);
    stage_play(s, 3000);
    s->journal_broken = TRUE;
    stage_play(s, HOUR_MS);
    g_assert_true(s->ended);
    s->journal_broken = FALSE;
    if (stopped)
        world_do(s->w, INPUT_STOP);
    stage_kill_controller(s);
    world_forget(s->w);
    stage_start_controller(s);
    g_assert_true(s->ended);
    world_expect(s->w, stopped ? "[  14] the controller starts again -> web stopped\n"
                                 "[  14] link to alpha is back -> nothing\n"
                                 "[  14] news from alpha -> active.stop to alpha for web1\n"
                                 "[  14] link to beta is back -> nothing\n"
                               : "[  14] the controller starts again -> web degraded\n"
                                 "[  14] link to alpha is back -> nothing\n"
                                 "[  14] link to beta is back -> nothing\n"
                                 "[  14] news from beta -> standby.admit to beta for web1\n");
    stage_play_on(s, 60000);
    g_assert_true(stage_runs(s, ALPHA, 1));
    plan = runner_find(s->runner, world_id(0x77));
    g_assert_true(plan->ended);
    g_assert_cmpstr(move_state_name(plan_find(plan, world_vm(1))->state), ==, "stayed");
    g_assert_cmpstr(plan_find(plan, world_vm(1))->why, ==,
                    "the controller could not write the plan's journal to its end");
}

static void test_restart_after_full_journal(void)
{
    restart_after_full_journal(FALSE);
    restart_after_full_journal(TRUE);
}

/* A database from the middle of the plan is put back: nobody tells it of the plan's end any more. */
static void test_database_is_older(void)
{
    g_autoptr(Stage) s = stage_new(1);
    json_auto_t *before = NULL;

    s->stubborn = 1;
    stage_switch_over(s);
    stage_play(s, 5000);
    before = json_incref(s->w->durable);
    stage_play(s, HOUR_MS);
    g_assert_true(s->ended);
    stage_kill_controller(s);
    json_decref(s->w->durable);
    s->w->durable = json_incref(before);
    stage_start_controller(s);
    g_assert_true(id_is_nil(s->w->p->plan));
    g_assert_cmpint(s->w->p->state, !=, SCENARIO_SWITCHING);
}

/* ---- the same switchover, with something going wrong at its 1st, 2nd, 3rd … point ---- */

static void controller_back(Stage *s, StageHost host)
{
    (void)host;
    stage_start_controller(s);
}

static void controller_dies(Stage *s)
{
    stage_kill_controller(s);
    stage_later(s, 2000, controller_back, ALPHA);
}

static void controller_dies_for_long(Stage *s)
{
    stage_kill_controller(s);
    stage_later(s, 600000, controller_back, ALPHA);
}

static void link_to_alpha_cut(Stage *s)
{
    stage_cut(s, ALPHA);
    stage_later(s, 30000, stage_heal, ALPHA);
}

static void link_to_beta_cut(Stage *s)
{
    stage_cut(s, BETA);
    stage_later(s, 30000, stage_heal, BETA);
}

static void alpha_crashes(Stage *s)
{
    stage_crash(s, ALPHA);
    stage_later(s, 20000, stage_boot, ALPHA);
}

static void beta_crashes(Stage *s)
{
    stage_crash(s, BETA);
    stage_later(s, 20000, stage_boot, BETA);
}

static void alpha_and_controller_die(Stage *s)
{
    alpha_crashes(s);
    controller_dies(s);
}

static void beta_and_controller_die(Stage *s)
{
    beta_crashes(s);
    controller_dies(s);
}

static void journal_breaks(Stage *s)
{
    s->journal_broken = TRUE;
}

static void controller_dies_later(Stage *s, StageHost host)
{
    (void)host;
    controller_dies(s);
}

static void journal_breaks_and_controller_dies(Stage *s)
{
    s->journal_broken = TRUE;
    stage_later(s, 4000, controller_dies_later, ALPHA);
}

static void check_vm(const Stage *s, guint number)
{
    const Plan *plan = runner_find(s->runner, world_id(0x77));
    const Move *m = plan ? plan_find(plan, world_vm(number)) : NULL;
    const char *active = protection_find(s->w->p, world_vm(number))->active;
    gboolean on_beta = stage_runs(s, BETA, number);

    if (stage_runs(s, ALPHA, number) == on_beta)
        g_test_message("web%u runs on both or on none:\n%s", number, s->w->trace->str);
    g_assert_true(stage_runs(s, ALPHA, number) != on_beta);
    g_assert_cmpstr(active, ==, on_beta ? "beta" : "alpha");
    if (m)
        g_assert_cmpstr(move_state_name(m->state), ==, on_beta ? "moved" : "stayed");
}

/* FALSE: the switchover was over before this point. */
static gboolean goes_wrong_at(guint at, void (*fault)(Stage *s), guint stubborn)
{
    g_autoptr(Stage) s = stage_new(2);

    s->fault_at = at;
    s->fault = fault;
    s->stubborn = stubborn;
    stage_switch_over(s);
    stage_play(s, HOUR_MS);
    g_assert_true(s->ended);
    /* What was to come back comes back, and what is owed is paid. */
    stage_play_on(s, HOUR_MS);
    g_assert_true(id_is_nil(s->w->p->plan));
    g_assert_false(protection_owes(s->w->p));
    for (guint i = 1; i <= 2; i++)
        check_vm(s, i);
    /* A later restart finds nothing to do, whatever the journal has. */
    stage_kill_controller(s);
    stage_start_controller(s);
    g_assert_true(s->ended);
    g_assert_true(id_is_nil(s->w->p->plan));
    for (guint i = 1; i <= 2; i++)
        check_vm(s, i);
    return s->points >= at;
}

static void walk(gconstpointer data)
{
    void (*fault)(Stage * s) = *(void (*const *)(Stage * s)) data;

    for (guint stubborn = 0; stubborn <= 1; stubborn++) {
        guint at = 1;

        while (goes_wrong_at(at, fault, stubborn))
            at++;
        g_test_message("%u points", at - 1);
        g_assert_cmpuint(at, >, 40);
    }
}

/* ---- alpha's maintenance, with the same ---- */

static void boot_alpha(Stage *s, StageHost host)
{
    stage_boot(s, host);
}

static void reboot_alpha(Stage *s)
{
    stage_later(s, 5000, stage_crash, ALPHA);
    stage_later(s, 60000, boot_alpha, ALPHA);
}

/* It comes back when others run what it ran. */
static void lose_alpha(Stage *s)
{
    stage_later(s, 5000, stage_crash, ALPHA);
    stage_later(s, 2000000, boot_alpha, ALPHA);
    s->force_at_ms = s->w->now_ms + 60000;
}

static void check_maintained(const Stage *s)
{
    for (guint i = 1; i <= 2; i++) {
        check_vm(s, i);
        g_assert_true(s->force_at_ms || stage_runs(s, ALPHA, i));
    }
}

/* What becomes of a maintenance. */
static const struct {
    const char *name;
    void (*when_parked)(Stage *s);
    gboolean alone;
    guint stubborn; /* which guest does not shut down: it is never parked; 0: none */
} COURSES[] = {
    {"ended by hand", NULL, FALSE, 0},
    {"rebooted", reboot_alpha, FALSE, 0},
    {"gone", lose_alpha, FALSE, 0},
    {"the first is stubborn", NULL, FALSE, 1},
    {"the last is stubborn", NULL, FALSE, 2},
    {"without beta", reboot_alpha, TRUE, 0},
    {"without beta, and gone", lose_alpha, TRUE, 0},
};

/* FALSE: the maintenance was over before this point. */
static gboolean goes_wrong_in_maintenance(guint at, void (*fault)(Stage *s), guint course)
{
    g_autoptr(Stage) s = stage_new(2);

    s->fault_at = at;
    s->fault = fault;
    s->stubborn = COURSES[course].stubborn;
    s->when_parked = COURSES[course].when_parked;
    stage_park(s, COURSES[course].alone);
    stage_play(s, HOUR_MS);
    if (!s->ended)
        g_test_message("point %u, %s:\n%s", at, COURSES[course].name, s->w->trace->str);
    g_assert_true(s->ended);
    stage_play_on(s, HOUR_MS);
    g_assert_true(id_is_nil(s->w->p->plan));
    g_assert_false(protection_owes(s->w->p));
    check_maintained(s);
    stage_kill_controller(s);
    stage_start_controller(s);
    g_assert_true(s->ended);
    g_assert_true(id_is_nil(s->w->p->plan));
    check_maintained(s);
    return s->points >= at;
}

/* Every point in a long run and by hand, else each fifth, beginning as the commit says. */
#define SAMPLE_STEP 5

static guint first_point(guint *ret_step)
{
    const char *sample = g_getenv("UNDERSTUDY_SAMPLE");

    *ret_step = sample && g_strcmp0(g_getenv("UNDERSTUDY_LONG"), "1") != 0 ? SAMPLE_STEP : 1;
    return *ret_step == 1 ? 1 : 1 + g_str_hash(sample) % SAMPLE_STEP;
}

static void walk_maintenance(gconstpointer data)
{
    void (*fault)(Stage * s) = *(void (*const *)(Stage * s)) data;

    for (guint course = 0; course < G_N_ELEMENTS(COURSES); course++) {
        guint step, at = first_point(&step);

        while (goes_wrong_in_maintenance(at, fault, course))
            at += step;
        g_test_message("%u points", at - 1);
        g_assert_cmpuint(at, >, COURSES[course].stubborn == 2 ? 15 : 30);
    }
}

static const struct {
    const char *path;
    void (*fault)(Stage *s);
} WALKS[] = {
    {"/runner/walk/controller-dies", controller_dies},
    {"/runner/walk/controller-dies-for-long", controller_dies_for_long},
    {"/runner/walk/link-to-alpha-cut", link_to_alpha_cut},
    {"/runner/walk/link-to-beta-cut", link_to_beta_cut},
    {"/runner/walk/alpha-crashes", alpha_crashes},
    {"/runner/walk/beta-crashes", beta_crashes},
    {"/runner/walk/alpha-and-controller-die", alpha_and_controller_die},
    {"/runner/walk/beta-and-controller-die", beta_and_controller_die},
    {"/runner/walk/journal-breaks", journal_breaks},
    {"/runner/walk/journal-breaks-and-controller-dies", journal_breaks_and_controller_dies},
};

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/runner/happy-path", test_happy_path);
    g_test_add_func("/runner/guest-does-not-shut-down", test_guest_does_not_shut_down);
    g_test_add_func("/runner/two-vms-one-stays", test_two_vms_one_stays);
    g_test_add_func("/runner/active-dies-before-release", test_active_dies_before_release);
    g_test_add_func("/runner/active-dies-after-release", test_active_dies_after_release);
    g_test_add_func("/runner/active-and-controller-die-after-release",
                    test_active_and_controller_die_after_release);
    g_test_add_func("/runner/standby-dies-at-promote", test_standby_dies_at_promote);
    g_test_add_func("/runner/standby-cannot-start", test_standby_cannot_start);
    g_test_add_func("/runner/restart-between-two-ends", test_restart_between_two_ends);
    g_test_add_func("/runner/deadline", test_deadline);
    g_test_add_func("/runner/promoted-by-hand", test_promoted_by_hand);
    g_test_add_func("/runner/standby-is-not-heard", test_standby_is_not_heard);
    g_test_add_func("/runner/journal-is-full", test_journal_is_full);
    g_test_add_func("/runner/restart-after-full-journal", test_restart_after_full_journal);
    g_test_add_func("/runner/database-is-older", test_database_is_older);
    for (guint i = 0; i < G_N_ELEMENTS(WALKS); i++) {
        g_autofree char *parked = g_strconcat("/runner/maintenance", strrchr(WALKS[i].path, '/'), NULL);

        g_test_add_data_func(WALKS[i].path, &WALKS[i].fault, walk);
        g_test_add_data_func(parked, &WALKS[i].fault, walk_maintenance);
    }
    return g_test_run();
}

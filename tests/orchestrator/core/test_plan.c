/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/core/vitals.h"
#include "solo.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"

#include <string.h>

static void refused(World *w, PlanOptions options, int code, const char *sentence)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(Plan) plan = plan_switchover(w->p, &options, &error);

    g_assert_null(plan);
    g_assert_error(error, US_ERROR, code);
    g_assert_cmpstr(error->message, ==, sentence);
}

static void test_builder_refuses(void)
{
    g_autoptr(World) w = world_new(2);
    const Id stranger = world_id(0x99), first = world_vm(1);
    PlanOptions o = OPTIONS;

    refused(w, o, US_ERROR_REFUSED,
            "scenario 'web' does not run: there is no current copy to switch over to; run it first");
    world_run(w);
    o.to = "gamma";
    refused(w, o, US_ERROR_NOT_FOUND, "host 'gamma' is not of scenario 'web'");
    o.to = "alpha";
    refused(w, o, US_ERROR_REFUSED, "every VM of scenario 'web' runs on alpha already: nothing was begun");
    o = OPTIONS;
    o.vms = &stranger;
    o.vm_count = 1;
    refused(w, o, US_ERROR_NOT_FOUND, "VM 99999999-9999-9999-9999-999999999999 is not of scenario 'web'");
    o.vms = &first;
    o.to = "alpha";
    refused(w, o, US_ERROR_REFUSED, "'web1' runs on alpha already: nothing was begun");
    world_news(w, 2, "resyncing", 9000, "QEMU died");
    refused(w, OPTIONS, US_ERROR_REFUSED,
            "'web2' cannot be switched over to beta, its copy there is resyncing, QEMU died: nothing was "
            "begun; wait until "
            "it is protected, or name the other VMs with --vm");
    world_news(w, 2, "protected", 500, NULL);
    world_link(w, "beta", FALSE);
    refused(w, OPTIONS, US_ERROR_UNREACHABLE,
            "the engine of beta does not answer: a switchover in good order needs both; nothing was begun");
    world_link(w, "beta", TRUE);
    world_do(w, INPUT_PAUSE);
    refused(
        w, OPTIONS, US_ERROR_REFUSED,
        "scenario 'web' is paused, its copies are old: nothing was begun; use 'understudy continue' first");
}

/* By force only when the old host cannot be asked, and only to a complete copy. */
static void test_force_refuses(void)
{
    g_autoptr(World) w = world_new(2);
    PlanOptions o = OPTIONS;

    o.force = TRUE;
    refused(w, o, US_ERROR_REFUSED,
            "scenario 'web' does not run: there is no current copy to switch over to; run it first");
    world_run(w);
    refused(w, o, US_ERROR_REFUSED,
            "the engine of alpha answers: a switchover in good order loses nothing; nothing was begun; leave "
            "--force away (--power-off switches a guest off that does not shut down); where the VM is not "
            "defined "
            "there any more, `understudy-engine promote web --old-is-off` on beta, as root, goes on from the "
            "copy");
    world_link(w, "alpha", FALSE);
    refused(w, OPTIONS, US_ERROR_UNREACHABLE,
            "if alpha is gone, `--force` goes on from the newest point on beta: the engine of alpha does not "
            "answer: a switchover in good order needs both; nothing was begun");
    o.point = world_id(0x55);
    refused(w, o, US_ERROR_USAGE,
            "a point is of one VM, and 2 would be moved: name it with --vm; nothing was begun");
    o.point = ID_NIL;
    ((ProtectionCopy *)protection_find(w->p, world_vm(1))->copies->pdata[0])->complete = FALSE;
    refused(w, o, US_ERROR_REFUSED,
            "'web1' cannot be switched over to beta: there is no complete copy of it there; nothing was "
            "begun. If the VM is "
            "to go on from what there is, an older point or a branch, `understudy points` lists those: name "
            "one with "
            "--point ID");
    world_link(w, "beta", FALSE);
    ((ProtectionCopy *)protection_find(w->p, world_vm(1))->copies->pdata[0])->complete = TRUE;
    refused(w, o, US_ERROR_UNREACHABLE,
            "the engine of beta does not answer: nothing can be started there; nothing was begun");
}

/* One step, and its papers outlive the controller. */
static void hear(Vitals *v, guint misses)
{
    json_auto_t *status =
        json_pack("{s:b, s:{s:[{s:s, s:[{s:b, s:b, s:i}]}]}}", "complete", 1, "watch", "hosts", "id",
                  ID_TEXT(world_id(0xa1)), "checks", "tried", 1, "ever", 1, "misses", (int)misses);

    vitals_hear(v, "beta", status);
}

/* The controller alone does not hear alpha, whose guests run on: nothing is forced, unless somebody certifies that they do not. */
static void test_force_of_the_living(void)
{
    g_autoptr(World) w = world_new(1);
    g_autoptr(Plan) gone = NULL;
    g_autoptr(Plan) certified = NULL;
    PlanOptions o = OPTIONS;
    Vitals *v = vitals_new();

    world_run(w);
    world_link(w, "alpha", FALSE);
    vitals_add(v, "alpha", world_id(0xa1));
    vitals_add(v, "beta", world_id(0xb2));
    vitals_link(v, "beta", TRUE);
    w->p->vitals = v;
    o.force = TRUE;
    hear(v, 0);
    refused(w, o, US_ERROR_REFUSED,
            "alpha has not gone: beta has heard it a moment ago, though its engine does not answer the "
            "controller, and "
            "what runs there may run on; nothing was begun; look at it, or ask again in some seconds if it "
            "has gone "
            "just now; if its VMs are off for certain, --old-is-off says so");
    o.old_is_off = TRUE;
    certified = solo_plan(w, o);
    g_assert_true(certified->forced && certified->old_is_off);
    o.old_is_off = FALSE;
    hear(v, 1);
    gone = solo_plan(w, o);
    g_assert_true(gone->forced && !gone->old_is_off);
    w->p->vitals = NULL;
    vitals_free(v);
}

static void test_force(void)
{
    g_autoptr(World) w = world_new(1);
    g_autoptr(Plan) plan = NULL;
    g_autoptr(Plan) back = NULL;
    g_autoptr(ActionList) out = action_list_new();
    json_auto_t *records = json_array();
    json_auto_t *doc = NULL;
    PlanOptions o = OPTIONS;
    const Action *call;
    GError *error = NULL;
    const Move *m;

    world_run(w);
    world_link(w, "alpha", FALSE);
    o.force = o.old_is_off = o.reverse = TRUE;
    o.now_ms = w->now_ms + 700;
    plan = solo_plan(w, o);
    m = plan->moves->pdata[0];
    g_assert_cmpint(m->lose_ms, ==, 1200);
    /* The next number may have been released by the active before it went. */
    g_assert_cmpuint(plan->next.number, ==, 3);
    plan_step(plan, &(PlanEvent){.kind = PLAN_BEGIN}, out);
    g_assert_cmpint(m->state, ==, MOVE_PROMOTING);
    call = out->pdata[out->len - 1];
    g_assert_cmpint(call->kind, ==, ACTION_CALL);
    g_assert_cmpstr(call->host, ==, "beta");
    g_assert_true(json_is_null(json_object_get(call->params, "tip")));
    g_assert_true(json_is_true(json_object_get(json_object_get(call->params, "certificate"), "old_is_off")));
    solo_records(out, records);
    back = plan_from_records(records, &error);
    g_assert_no_error(error);
    g_assert_true(back->forced && back->old_is_off && back->reverse);
    g_assert_nonnull(((const Move *)back->moves->pdata[0])->certificate);
    doc = plan_to_json(plan);
    g_assert_cmpuint(
        json_array_size(json_object_get(json_array_get(json_object_get(doc, "vms"), 0), "steps")), ==, 1);
    plan_step(plan,
              &(PlanEvent){.kind = PLAN_ANSWER, .host = "beta", .method = "plan.promote", .vm = world_vm(1)},
              out);
    g_assert_cmpint(m->state, ==, MOVE_MOVED);
    g_assert_true(plan->ended);
}

/* One that died, and could not be started, is no VM that its user shut down: it is started where it comes to. */
static void test_dead_guest(void)
{
    g_autoptr(World) w = world_new(1);
    g_autoptr(Plan) plan = NULL, forced = NULL;
    g_autoptr(Plan) back = NULL;
    g_autoptr(ActionList) out = action_list_new();
    json_auto_t *records = json_array();
    ProtectionVm *vm;
    PlanOptions o = OPTIONS;
    GError *error = NULL;
    const Action *call;

    world_run(w);
    world_news_more(w, 1, "protected", 500, NULL, "{\"guest\":\"off\"}");
    vm = protection_find(w->p, world_vm(1));
    g_assert_cmpstr(vm->last->guest, ==, "off");
    vm->life.state = GUEST_LIFE_SILENT;
    plan = solo_plan(w, o);
    g_assert_false(((const Move *)plan->moves->pdata[0])->was_off);
    plan_step(plan, &(PlanEvent){.kind = PLAN_BEGIN}, out);
    call = out->pdata[out->len - 1];
    g_assert_true(json_is_true(json_object_get(call->params, "died")));
    vm->life.frozen = TRUE;
    refused(w, o, US_ERROR_REFUSED,
            "nothing was begun: the QEMU of 'web1' on alpha stands still: look who stopped it, and let it go "
            "on (kill -CONT), or end it (kill -KILL): then the VM is started anew, or can be moved: "
            "understudy switchover web");
    vm->life.frozen = FALSE;
    solo_records(out, records);
    back = plan_from_records(records, &error);
    g_assert_no_error(error);
    g_assert_true(((const Move *)back->moves->pdata[0])->died);
    world_link(w, "alpha", FALSE);
    vm->life.state = GUEST_LIFE_SILENT;
    o.force = o.old_is_off = TRUE;
    forced = solo_plan(w, o);
    g_assert_true(
        json_is_true(json_object_get(((const Move *)forced->moves->pdata[0])->certificate, "running")));
}

/* Whichever of the two hosts is gone: what is typed is the same, and goes to the other one. */
static void test_force_back(void)
{
    g_autoptr(World) w = world_new(2);
    g_autoptr(Plan) plan = NULL;
    PlanOptions o = OPTIONS;

    world_run(w);
    world_moved(w, "beta", 2, TRUE);
    refused(w, o, US_ERROR_REFUSED, "every VM of scenario 'web' runs on beta already: nothing was begun");
    for (guint i = 1; i <= 2; i++)
        ((ProtectionCopy *)protection_find(w->p, world_vm(i))->copies->pdata[0])->complete = TRUE;
    world_link(w, "beta", FALSE);
    o.force = TRUE;
    plan = solo_plan(w, o);
    g_assert_cmpstr(plan->from, ==, "beta");
    g_assert_cmpstr(plan->to, ==, "alpha");
    g_assert_cmpuint(plan->moves->len, ==, 2);
    /* In good order they go to the replica, where they are. */
    o.force = FALSE;
    refused(w, o, US_ERROR_REFUSED, "every VM of scenario 'web' runs on beta already: nothing was begun");
}

/* Of a point that was named the copy need not be whole, and how old the newest is says nothing. */
static void test_force_from_a_point(void)
{
    g_autoptr(World) w = world_new(1);
    g_autoptr(Plan) plan = NULL;
    PlanOptions o = OPTIONS;
    const Move *m;

    world_run(w);
    world_link(w, "alpha", FALSE);
    ((ProtectionCopy *)protection_find(w->p, world_vm(1))->copies->pdata[0])->complete = FALSE;
    o.force = TRUE;
    o.point = world_id(0x55);
    plan = solo_plan(w, o);
    m = plan->moves->pdata[0];
    g_assert_true(id_equal(m->tip, o.point));
    g_assert_cmpint(m->lose_ms, ==, -1);
    o.force = FALSE;
    refused(w, o, US_ERROR_UNREACHABLE,
            "if alpha is gone, `--force` goes on from the newest point on beta: the engine of alpha does not "
            "answer: a switchover in good order needs both; nothing was begun");
}

static void test_builder_refuses_beside_a_plan(void)
{
    g_autoptr(World) w = world_new(1);

    world_run(w);
    world_step(w, (Input){.kind = INPUT_PLAN_BEGUN, .plan = world_id(1), .host = (char *)"beta"}, NULL);
    refused(w, OPTIONS, US_ERROR_BUSY,
            "a plan moves the VMs of scenario 'web' already: wait for its end, see 'understudy plan list'");
}

static void test_builder_refuses_while_owed(void)
{
    g_autoptr(World) w = world_new(1);

    world_run(w);
    protection_find(w->p, world_vm(1))->owes = OWES_UNLOCK;
    refused(w, OPTIONS, US_ERROR_BUSY,
            "the last plan's lock of 'web1' is still to be taken off: nothing was begun; bring that host "
            "back first");
}

static void test_text(void)
{
    g_autoptr(World) w = world_new(1);
    g_autoptr(Plan) plan = NULL;
    g_autofree char *text = NULL;

    world_run(w);
    plan = solo_plan(w, OPTIONS);
    text = plan_text(plan);
    g_assert_cmpstr(text, ==,
                    "switchover of 'web' from alpha to beta; alpha rolls back by itself 6 min after a lock "
                    "without release\n"
                    "  web1: waiting\n"
                    "    todo   plan.lock on alpha: nobody else can start the guest any more (about 100 ms, "
                    "at most 10.0 s); undo: the lock ends at the plan's deadline\n"
                    "    todo   plan.shutdown on alpha: cutting ends, the guest is asked to shut down (about "
                    "10.0 s, at most 4 min); undo: the guest is started again\n"
                    "    todo   plan.final on alpha: the last generation is cut and sealed (about 2.0 s, at "
                    "most 2 min); undo: the guest is started again\n"
                    "    todo   plan.release on alpha: the old active gives the VM up, durably (about 200 "
                    "ms, at most 30.0 s); undo: nothing: from here only forwards\n"
                    "    todo   plan.promote on beta: the VM is defined, started paused, tracked, and let "
                    "run (about 3.0 s, at most 5 min); undo: nothing: it is tried again until it runs\n"
                    "    todo   plan.unlock on alpha: the old active's lock comes off (about 100 ms, at most "
                    "30.0 s); undo: nothing\n");
}

static void test_json(void)
{
    g_autoptr(World) w = world_new(2);
    g_autoptr(Plan) plan = NULL;
    const Id second = world_vm(2);
    PlanOptions o = OPTIONS;
    json_auto_t *doc = NULL;
    const json_t *vms, *step;

    o.vms = &second;
    o.vm_count = 1;
    world_run(w);
    plan = solo_plan(w, o);
    g_assert_cmpuint(plan->next.number, ==, 2);
    ((Move *)plan->moves->pdata[0])->state = MOVE_FINISHING;
    ((Move *)plan->moves->pdata[0])->done = STEP_SHUTDOWN + 1;
    doc = plan_to_json(plan);
    vms = json_object_get(doc, "vms");
    g_assert_cmpuint(json_array_size(vms), ==, 1);
    vms = json_object_get(json_array_get(vms, 0), "steps");
    g_assert_cmpuint(json_array_size(vms), ==, 6);
    for (guint i = 0; i < 6; i++) {
        static const char *const STATES[] = {"done", "done", "doing", "todo", "todo", "todo"};
        static const char *const HOSTS[] = {"alpha", "alpha", "alpha", "alpha", "beta", "alpha"};

        step = json_array_get(vms, i);
        g_assert_cmpstr(json_string_value(json_object_get(step, "state")), ==, STATES[i]);
        g_assert_cmpstr(json_string_value(json_object_get(step, "host")), ==, HOSTS[i]);
    }
}

/* ---- single steps, with answers that nobody should give ---- */

#define STATE(done, rest) "{\"done\":\"" done "\",\"doing\":null," rest "}"
#define NONE "\"tip\":null,\"certificate\":null,\"error\":null"
#define TIP "\"tip\":\"42424242-4242-4242-4242-424242424242\""

static void test_lock_refused(void)
{
    g_auto(Solo) solo = {0};

    solo_init(&solo);
    solo_answer(&solo, "plan.lock", NULL, US_ERROR_BUSY);
    g_assert_cmpint(solo_move(&solo)->state, ==, MOVE_STAYED);
    g_assert_cmpstr(solo_move(&solo)->why, ==, "no");
    g_assert_true(solo.plan->ended);
}

/* An answer to something else, from another time, or about another VM. */
static void test_stray_answers(void)
{
    g_auto(Solo) solo = {0};

    solo_init(&solo);
    solo_answer(&solo, "plan.final", "{}", 0);
    solo_answer(&solo, "plan.state", STATE("release", NONE), 0);
    solo_do(&solo, (PlanEvent){.kind = PLAN_ANSWER, .method = "plan.lock", .vm = world_vm(9)});
    g_assert_cmpint(solo_move(&solo)->state, ==, MOVE_LOCKING);
    solo_answer(&solo, "plan.lock", "{}", 0);
    solo_answer(&solo, "plan.lock", "{}", 0);
    g_assert_cmpint(solo_move(&solo)->state, ==, MOVE_SHUTTING_DOWN);
    g_assert_cmpuint(solo_calls(&solo), ==, 0);
}

/* A final without a tip and a release without a certificate are read again, not believed. */
static void test_answers_without_papers(void)
{
    g_auto(Solo) solo = {0};

    solo_init(&solo);
    solo_answer(&solo, "plan.lock", "{}", 0);
    solo_answer(&solo, "plan.shutdown", "{}", 0);
    solo_answer(&solo, "plan.final", "{\"tip\":\"nonsense\"}", 0);
    g_assert_cmpint(solo_move(&solo)->state, ==, MOVE_READING);
    solo_tick(&solo, 1000);
    solo_answer(&solo, "plan.state", STATE("final", TIP ",\"certificate\":null,\"error\":null"), 0);
    g_assert_cmpint(solo_move(&solo)->state, ==, MOVE_RELEASING);
    solo_answer(&solo, "plan.release", "{\"certificate\":null}", 0);
    g_assert_cmpint(solo_move(&solo)->state, ==, MOVE_READING);
    solo_tick(&solo, 3000);
    solo_answer(&solo, "plan.state", STATE("release", TIP ",\"certificate\":null,\"error\":null"), 0);
    g_assert_cmpint(solo_move(&solo)->state, ==, MOVE_READING);
    solo_tick(&solo, 5000);
    solo_answer(&solo, "plan.state", STATE("release", TIP ",\"certificate\":{\"x\":1},\"error\":null"), 0);
    g_assert_cmpint(solo_move(&solo)->state, ==, MOVE_PROMOTING);
}

#define RELEASED(plan, to)                                                      \
    "{\"plan\":{\"plan\":\"" plan                                               \
    "\",\"done\":\"release\",\"tip\":null,\"certificate\":{\"successor\":\"" to \
    "\",\"reign_next\":{\"number\":2,\"id\":\"88888888-8888-8888-8888-888888888888\"}}}}"
#define PLAN_77 "77777777-7777-7777-7777-777777777777"
#define ENGINE_BETA "b2b2b2b2-b2b2-b2b2-b2b2-b2b2b2b2b2b2"

/* What was released by a plan that is known no more is read, and goes on. */
static void test_release_of_nobody(void)
{
    g_auto(Solo) solo = {.w = world_new(2), .out = action_list_new()};
    Input begun = {.kind = INPUT_PLAN_BEGUN, .plan = world_id(0x77), .host = (char *)"beta"};
    Protection *p = solo.w->p;

    world_run(solo.w);
    g_assert_null(plan_orphan(p));
    world_news_more(solo.w, 1, "switched", 500, NULL, RELEASED(PLAN_77, ENGINE_BETA));
    world_link(solo.w, "beta", FALSE);
    g_assert_null(plan_orphan(p)); /* it could not start there */
    world_link(solo.w, "beta", TRUE);
    protection_doubt(p);
    g_assert_null(plan_orphan(p)); /* it may run there already */
    g_hash_table_remove_all(p->unheard);
    solo.plan = plan_orphan(p);
    g_assert_cmpstr(solo.plan->from, ==, "alpha");
    g_assert_cmpstr(solo.plan->to, ==, "beta");
    g_assert_cmpuint(solo.plan->moves->len, ==, 1);
    solo_do(&solo, (PlanEvent){.kind = PLAN_BEGIN});
    g_assert_cmpuint(solo_calls(&solo), ==, 0);
    solo_tick(&solo, 1000);
    solo_tick(&solo, 3000);
    solo_answer(&solo, "plan.state", STATE("release", TIP ",\"certificate\":{\"x\":1},\"error\":null"), 0);
    g_assert_cmpint(solo_move(&solo)->state, ==, MOVE_PROMOTING);
    g_assert_true(world_step(solo.w, begun, NULL));
    g_assert_null(plan_orphan(p)); /* it is known now */
}

/* What was not released is taken back at once. */
static void test_lock_of_nobody(void)
{
    g_auto(Solo) solo = {.w = world_new(1), .out = action_list_new()};

    world_run(solo.w);
    world_news_more(solo.w, 1, "switching", 500, NULL,
                    "{\"plan\":{\"plan\":\"" PLAN_77 "\",\"done\":\"shutdown\",\"certificate\":null}}");
    solo.plan = plan_orphan(solo.w->p);
    solo_do(&solo, (PlanEvent){.kind = PLAN_BEGIN});
    solo_tick(&solo, 1000);
    solo_tick(&solo, 3000);
    solo_answer(&solo, "plan.state", STATE("shutdown", NONE), 0);
    g_assert_cmpint(solo_move(&solo)->state, ==, MOVE_ROLLING_BACK);
    solo_answer(&solo, "plan.rollback", "{}", 0);
    g_assert_cmpint(solo_move(&solo)->state, ==, MOVE_STAYED);
    g_assert_true(solo.plan->ended);
}

/* Some are parked, others on their way there: nobody's maintenance is left by halves. */
static void test_parked_by_nobody(void)
{
    g_auto(Solo) solo = {.w = world_new(2), .out = action_list_new()};

    world_run(solo.w);
    world_news_more(solo.w, 1, "switching", 500, NULL,
                    "{\"plan\":{\"plan\":\"" PLAN_77 "\",\"done\":\"final\",\"certificate\":null}}");
    world_news_more(solo.w, 2, "switching", 500, NULL,
                    "{\"plan\":{\"plan\":\"" PLAN_77 "\",\"done\":\"park\",\"booted\":false,"
                    "\"until_told\":true,\"certificate\":null}}");
    solo.plan = plan_orphan(solo.w->p);
    g_assert_true(solo.plan->parks && solo.plan->until_told);
    g_assert_cmpuint(solo.plan->moves->len, ==, 2);
    g_assert_true(((Move *)solo.plan->moves->pdata[0])->rolling);
    g_assert_false(((Move *)solo.plan->moves->pdata[1])->rolling);
    g_assert_cmpuint(solo.plan->next.number, ==, 2);
}

/* Without its standby, which is away still: there is no last generation, and nobody who has to be asked. */
static void test_parked_alone_by_nobody(void)
{
    g_auto(Solo) solo = {.w = world_new(1), .out = action_list_new()};

    world_run(solo.w);
    world_news_more(solo.w, 1, "switching", 500, NULL,
                    "{\"plan\":{\"plan\":\"" PLAN_77 "\",\"done\":\"park\",\"booted\":false,"
                    "\"until_told\":true,\"alone\":true,\"certificate\":null}}");
    world_link(solo.w, "beta", FALSE);
    solo.plan = plan_orphan(solo.w->p);
    g_assert_nonnull(solo.plan);
    solo_do(&solo, (PlanEvent){.kind = PLAN_BEGIN});
    solo_tick(&solo, 1000);
    solo_tick(&solo, 3000);
    solo_answer(&solo, "plan.state", STATE("park", NONE), 0);
    g_assert_cmpint(solo_move(&solo)->state, ==, MOVE_PARKED);
    solo_do(&solo, (PlanEvent){.kind = PLAN_CALL_BACK});
    g_assert_cmpint(solo_move(&solo)->state, ==, MOVE_ROLLING_BACK);
    solo_answer(&solo, "plan.rollback", "{}", 0);
    g_assert_cmpint(solo_move(&solo)->state, ==, MOVE_STAYED);
    g_assert_true(solo.plan->ended);
}

/* To whom it was released is none of the scenario's hosts, or it is not said. */
static void test_release_to_nobody(void)
{
    g_autoptr(World) w = world_new(1);

    world_run(w);
    world_news_more(w, 1, "switched", 500, NULL, RELEASED(PLAN_77, PLAN_77));
    g_assert_null(plan_orphan(w->p));
    world_news_more(w, 1, "switched", 500, NULL,
                    "{\"plan\":{\"plan\":\"" PLAN_77 "\",\"done\":\"unlock\",\"certificate\":null}}");
    g_assert_null(plan_orphan(w->p));
}

static void test_state_that_is_none(void)
{
    static const char *const BAD[] = {"{}",
                                      "[]",
                                      "{\"done\":1,\"doing\":null}",
                                      "{\"done\":\"flying\",\"doing\":null}",
                                      "{\"done\":\"none\",\"doing\":\"lock\"}",
                                      STATE("final", NONE)};
    g_auto(Solo) solo = {0};
    gint64 now_ms = 0;

    solo_init(&solo);
    solo_answer(&solo, "plan.lock", NULL, US_ERROR_TIMEOUT);
    for (guint i = 0; i < G_N_ELEMENTS(BAD); i++) {
        solo_tick(&solo, now_ms += 1000);
        g_assert_cmpuint(solo_calls(&solo), ==, 1);
        solo_answer(&solo, "plan.state", BAD[i], 0);
        g_assert_cmpint(solo_move(&solo)->state, ==, MOVE_READING);
    }
    solo_tick(&solo, now_ms + 2000);
    solo_answer(&solo, "plan.state", NULL, US_ERROR_UNREACHABLE);
    solo_tick(&solo, now_ms + 4000);
    solo_answer(&solo, "plan.state", STATE("none", NONE), 0);
    g_assert_cmpint(solo_move(&solo)->state, ==, MOVE_LOCKING);
}

/* A refused release is read: if the engine released all the same, there is no way back. */
static void test_release_refused(void)
{
    static const struct {
        const char *state;
        MoveState then;
    } CASES[] = {
        {STATE("release", TIP ",\"certificate\":\"c\",\"error\":null"), MOVE_PROMOTING},
        {STATE("final", TIP ",\"certificate\":null,\"error\":null"), MOVE_ROLLING_BACK},
        {STATE("rollback", NONE), MOVE_STAYED},
        {STATE("rollback", "\"error\":{\"code\":\"failed\",\"text\":\"no memory\"}"), MOVE_DOWN},
    };

    for (guint i = 0; i < G_N_ELEMENTS(CASES); i++) {
        g_auto(Solo) solo = {0};

        solo_init(&solo);
        solo_answer(&solo, "plan.lock", "{}", 0);
        solo_answer(&solo, "plan.shutdown", "{}", 0);
        solo_answer(&solo, "plan.final", "{" TIP "}", 0);
        solo_answer(&solo, "plan.release", NULL, US_ERROR_REFUSED);
        solo_tick(&solo, 1000);
        solo_answer(&solo, "plan.state", CASES[i].state, 0);
        g_assert_cmpint(solo_move(&solo)->state, ==, CASES[i].then);
    }
}

static void test_rollback_fails(void)
{
    g_auto(Solo) solo = {0};
    const Action *told;

    solo_init(&solo);
    solo_answer(&solo, "plan.lock", "{}", 0);
    solo_answer(&solo, "plan.shutdown", NULL, US_ERROR_FAILED);
    g_assert_cmpint(solo_move(&solo)->state, ==, MOVE_ROLLING_BACK);
    solo_answer(&solo, "plan.rollback", NULL, US_ERROR_FAILED);
    solo_tick(&solo, 1000);
    solo_answer(&solo, "plan.state",
                STATE("rollback", "\"error\":{\"code\":\"failed\",\"text\":\"no memory\"}"), 0);
    g_assert_cmpint(solo_move(&solo)->state, ==, MOVE_DOWN);
    g_assert_true(solo.plan->ended);
    told = solo.out->pdata[1];
    g_assert_cmpint(told->kind, ==, ACTION_TELL);
    g_assert_cmpint(told->tell->kind, ==, INPUT_DOWN);
    g_assert_cmpstr(told->tell->why, ==, "no memory");
}

/* ---- many VMs ---- */

#define MANY 20

static guint in_state(const Plan *plan, MoveState state)
{
    guint n = 0;

    for (guint i = 0; i < plan->moves->len; i++)
        n += ((const Move *)plan->moves->pdata[i])->state == state;
    return n;
}

static void refuse_lock(Solo *solo, guint vm)
{
    g_autoptr(GError) failure = g_error_new(US_ERROR, US_ERROR_BUSY, "no");

    solo_do(solo,
            (PlanEvent){.kind = PLAN_ANSWER, .method = "plan.lock", .vm = world_vm(vm), .failure = failure});
}

/* Not more at once than an engine takes calls; the others wait where they run. */
static void test_many(void)
{
    g_auto(Solo) solo = {0};

    solo_init_with(&solo, MANY);
    g_assert_cmpuint(solo_calls(&solo), ==, PLAN_AT_ONCE);
    solo_tick(&solo, 60000);
    g_assert_cmpuint(in_state(solo.plan, MOVE_WAITING), ==, MANY - PLAN_AT_ONCE);
    solo_answer(&solo, "plan.lock", "{}", 0);
    g_assert_cmpuint(in_state(solo.plan, MOVE_WAITING), ==, MANY - PLAN_AT_ONCE);
    refuse_lock(&solo, 2);
    g_assert_cmpuint(solo_calls(&solo), ==, 1);
    g_assert_cmpuint(in_state(solo.plan, MOVE_WAITING), ==, MANY - PLAN_AT_ONCE - 1);
    g_assert_cmpuint(in_state(solo.plan, MOVE_LOCKING), ==, PLAN_AT_ONCE - 1);
}

/* After a restart those that had begun are read, and the others begin in their turn. */
static void test_many_after_restart(void)
{
    g_auto(Solo) solo = {0};
    json_auto_t *records = json_array();

    solo_init_with(&solo, MANY);
    solo_records(solo.out, records);
    refuse_lock(&solo, 1);
    solo_records(solo.out, records);
    plan_free(solo.plan);
    solo.plan = plan_from_records(records, NULL);
    solo_do(&solo, (PlanEvent){.kind = PLAN_RESUME});
    solo_says(&solo, "beta", "{\"standby\":[]}");
    g_assert_cmpuint(in_state(solo.plan, MOVE_WAITING), ==, MANY - 1);
    solo_do(&solo, (PlanEvent){.kind = PLAN_LINK_BACK, .host = "alpha"});
    g_assert_cmpuint(in_state(solo.plan, MOVE_READING), ==, PLAN_AT_ONCE);
    g_assert_cmpuint(in_state(solo.plan, MOVE_WAITING), ==, MANY - PLAN_AT_ONCE - 1);
    solo_do(&solo, (PlanEvent){.kind = PLAN_JOURNAL_LOST});
    g_assert_cmpuint(in_state(solo.plan, MOVE_READING), ==, MANY - 1);
}

/* ---- records ---- */

static void test_records(void)
{
    g_auto(Solo) solo = {0};
    json_auto_t *records = json_array();
    g_autoptr(Plan) back = NULL;
    GError *error = NULL;
    const Move *m;

    solo_init(&solo);
    solo_records(solo.out, records);
    solo_answer(&solo, "plan.lock", "{}", 0);
    solo_records(solo.out, records);
    solo_answer(&solo, "plan.shutdown", "{}", 0);
    solo_records(solo.out, records);
    solo_answer(&solo, "plan.final", "{" TIP "}", 0);
    solo_records(solo.out, records);
    solo_answer(&solo, "plan.release", "{\"certificate\":\"paper\"}", 0);
    solo_records(solo.out, records);
    g_assert_cmpuint(json_array_size(records), ==, 6);
    back = plan_from_records(records, &error);
    g_assert_no_error(error);
    m = back->moves->pdata[0];
    g_assert_cmpstr(json_string_value(m->certificate), ==, "paper");
    g_assert_true(id_equal(m->tip, world_id(0x42)));
    g_assert_true(reign_equal(back->next, solo.plan->next));
    g_assert_cmpint(back->deadline_ms, ==, solo.plan->deadline_ms);
    g_assert_false(back->ended);

    solo_answer(&solo, "plan.promote", "{}", 0);
    solo_records(solo.out, records);
    solo_answer(&solo, "plan.unlock", "{}", 0);
    solo_records(solo.out, records);
    plan_free(g_steal_pointer(&back));
    back = plan_from_records(records, &error);
    g_assert_no_error(error);
    g_assert_true(back->ended);
    g_assert_cmpint(((Move *)back->moves->pdata[0])->state, ==, MOVE_MOVED);
}

/* The controller was away after the release, and root has promoted the copy: where it runs counts, in its reign. */
static void test_by_hand(void)
{
    g_auto(Solo) solo = {0};
    json_auto_t *records = json_array();
    g_autoptr(Plan) back = NULL;

    solo_init(&solo);
    solo_records(solo.out, records);
    solo_answer(&solo, "plan.lock", "{}", 0);
    solo_answer(&solo, "plan.shutdown", "{}", 0);
    solo_answer(&solo, "plan.final", "{" TIP "}", 0);
    solo_answer(&solo, "plan.release", "{\"certificate\":\"paper\"}", 0);
    solo_records(solo.out, records);
    solo_answer(&solo, "plan.promote",
                "{\"reign\":{\"number\":3,\"id\":\"33333333-2222-4333-8444-555555555555\"}}", 0);
    solo_records(solo.out, records);
    solo_answer(&solo, "plan.unlock", "{}", 0);
    solo_records(solo.out, records);
    g_assert_cmpuint(solo_told_moved(solo.out)->reign.number, ==, 3);
    g_assert_true(solo.plan->ended);

    back = plan_from_records(records, NULL);
    g_ptr_array_set_size(solo.out, 0);
    plan_step(back, &(PlanEvent){.kind = PLAN_RESUME}, solo.out);
    g_assert_cmpuint(solo_told_moved(solo.out)->reign.number, ==, 3);
}

#define PROMOTED(number, id)                                                        \
    "{\"active\":[],\"standby\":[{\"vm\":\"11111111-1111-1111-1111-111111111111\"," \
    "\"promoted\":{\"number\":" number ",\"id\":\"" id "\"}}]}"
#define HAND "33333333-2222-4333-8444-555555555555"
#define OURS "88000000-0000-0000-0000-000000000000" /* the reign of OPTIONS */

/* Wherever the plan is: the VM runs on the standby, and its old active has not given it up. */
static void test_promoted_meanwhile(void)
{
    static const struct {
        const char *method, *json;
    } STEPS[] = {{"plan.lock", "{}"}, {"plan.shutdown", "{}"}, {"plan.final", "{" TIP "}"}};

    for (guint n = 0; n <= G_N_ELEMENTS(STEPS); n++) {
        g_auto(Solo) solo = {0};
        json_auto_t *records = json_array();
        g_autoptr(Plan) back = NULL;

        solo_init(&solo);
        solo_records(solo.out, records);
        for (guint i = 0; i < n; i++)
            solo_answer(&solo, STEPS[i].method, STEPS[i].json, 0);
        solo_says(&solo, "alpha", PROMOTED("3", HAND));
        solo_says(&solo, "beta", PROMOTED("1", HAND));
        solo_says(&solo, "beta", PROMOTED("2", OURS));
        g_assert_false(solo.plan->ended);
        solo_says(&solo, "beta", PROMOTED("3", HAND));
        if (n == G_N_ELEMENTS(STEPS)) {
            g_assert_cmpint(solo_move(&solo)->state, ==, MOVE_READING);
            solo_tick(&solo, 1000);
            solo_answer(&solo, "plan.state", STATE("final", TIP ",\"certificate\":null,\"error\":null"), 0);
        }
        solo_records(solo.out, records);
        g_assert_cmpint(solo_move(&solo)->state, ==, MOVE_MOVED);
        g_assert_true(solo.plan->ended);
        g_assert_true(solo_told_moved(solo.out)->forced);
        g_assert_cmpuint(solo_told_moved(solo.out)->reign.number, ==, 3);

        back = plan_from_records(records, NULL);
        g_ptr_array_set_size(solo.out, 0);
        plan_step(back, &(PlanEvent){.kind = PLAN_RESUME}, solo.out);
        g_assert_true(solo_told_moved(solo.out)->forced);
    }
}

/* Whether it was given up only the old active knows; one that is away is not waited for. */
static void test_promoted_and_perhaps_released(void)
{
    static const struct {
        const char *state;
        MoveState then;
    } CASES[] = {
        {STATE("release", TIP ",\"certificate\":{\"x\":1},\"error\":null"), MOVE_PROMOTING},
        {STATE("shutdown", NONE), MOVE_MOVED},
        {STATE("rollback", NONE), MOVE_MOVED},
        {STATE("unlock", NONE), MOVE_MOVED},
        {NULL, MOVE_MOVED},
    };

    for (guint i = 0; i < G_N_ELEMENTS(CASES); i++) {
        g_auto(Solo) solo = {0};
        json_auto_t *records = json_array();

        solo_init(&solo);
        solo_records(solo.out, records);
        plan_free(solo.plan);
        solo.plan = plan_from_records(records, NULL);
        solo.plan->from_up = CASES[i].state != NULL;
        solo.plan->to_up = TRUE;
        solo_do(&solo, (PlanEvent){.kind = PLAN_RESUME});
        solo_says(&solo, "beta", PROMOTED("3", HAND));
        g_assert_cmpint(solo_move(&solo)->state, ==, MOVE_READING);
        solo_tick(&solo, 1000);
        if (CASES[i].state)
            solo_answer(&solo, "plan.state", CASES[i].state, 0);
        g_assert_cmpint(solo_move(&solo)->state, ==, CASES[i].then);
    }
}

/* What was given up is asked of the standby all the same: its old active's lock comes off. */
static void test_promoted_after_release(void)
{
    g_auto(Solo) solo = {0};

    solo_init(&solo);
    solo_answer(&solo, "plan.lock", "{}", 0);
    solo_answer(&solo, "plan.shutdown", "{}", 0);
    solo_answer(&solo, "plan.final", "{" TIP "}", 0);
    solo_answer(&solo, "plan.release", "{\"certificate\":{\"x\":1}}", 0);
    solo_says(&solo, "beta", PROMOTED("3", HAND));
    g_assert_cmpint(solo_move(&solo)->state, ==, MOVE_PROMOTING);
}

/* Taken up again, nothing is ordered before the standby was heard, and all of its threads have spoken. */
static void test_waits_for_the_standby(void)
{
    g_auto(Solo) solo = {0};
    json_auto_t *records = json_array();

    solo_init(&solo);
    solo_records(solo.out, records);
    plan_free(solo.plan);
    solo.plan = plan_from_records(records, NULL);
    solo.plan->from_up = TRUE;
    solo_do(&solo, (PlanEvent){.kind = PLAN_RESUME});
    solo_do(&solo, (PlanEvent){.kind = PLAN_LINK_BACK, .host = "beta"});
    solo_tick(&solo, PLAN_HEAR_MS - 1);
    solo_says(&solo, "alpha", "{\"standby\":[]}");
    solo_says(&solo, "beta", "{\"complete\":false,\"standby\":[]}");
    g_assert_cmpint(solo_move(&solo)->state, ==, MOVE_WAITING);
    solo_says(&solo, "beta", "{\"complete\":true,\"standby\":[]}");
    g_assert_cmpint(solo_move(&solo)->state, ==, MOVE_READING);
}

static void refused_running(const Solo *solo, PlanOptions o, int code, const char *sentence)
{
    o.force = TRUE;
    o.running = solo->plan;
    refused(solo->w, o, code, sentence);
}

static void answer_promote(Solo *solo, guint vm)
{
    solo_do(solo, (PlanEvent){.kind = PLAN_ANSWER, .method = "plan.promote", .vm = world_vm(vm)});
}

/* The active goes in the middle: what it has released goes on as it was, the rest by force, in the same reign. */
static void test_force_running(void)
{
    const Id first = world_vm(1);
    g_auto(Solo) solo = {0};
    json_auto_t *records = json_array();
    g_autoptr(Plan) forced = NULL, back = NULL;
    const Move *released, *rest;
    PlanOptions o = OPTIONS;

    solo_init_with(&solo, 2);
    solo.w->p->plan = solo.plan->id;
    released = solo.plan->moves->pdata[0];
    rest = solo.plan->moves->pdata[1];
    solo_records(solo.out, records);
    solo_answer(&solo, "plan.lock", "{}", 0);
    solo_answer(&solo, "plan.shutdown", "{}", 0);
    solo_answer(&solo, "plan.final", "{" TIP "}", 0);
    solo_records(solo.out, records);
    solo_answer(&solo, "plan.release", "{\"certificate\":\"paper\"}", 0);
    solo_records(solo.out, records);
    refused_running(
        &solo, o, US_ERROR_REFUSED,
        "the engine of alpha answers: a switchover in good order loses nothing; nothing was begun; leave "
        "--force away (--power-off switches a guest off that does not shut down); where the VM is not "
        "defined "
        "there any more, `understudy-engine promote web --old-is-off` on beta, as root, goes on from the "
        "copy");
    world_link(solo.w, "alpha", FALSE);
    solo_do(&solo, (PlanEvent){.kind = PLAN_LINK_LOST, .host = "alpha"});
    g_assert_cmpint(rest->state, ==, MOVE_READING);
    o.vms = &first;
    o.vm_count = 1;
    refused_running(
        &solo, o, US_ERROR_USAGE,
        "a plan moves the VMs of scenario 'web' already, and is gone on with for all of them: leave "
        "--vm and --point away");
    o = OPTIONS;
    o.to = "alpha";
    refused_running(&solo, o, US_ERROR_REFUSED,
                    "a plan moves the VMs of scenario 'web' to beta, and can be gone on with only there");
    o.to = NULL;
    o.force = o.old_is_off = TRUE;
    o.running = solo.plan;
    forced = solo_plan(solo.w, o);
    g_assert_cmpuint(forced->moves->len, ==, 1);
    solo_do(&solo, (PlanEvent){.kind = PLAN_FORCE, .forced = forced});
    solo_records(solo.out, records);
    g_assert_cmpint(rest->state, ==, MOVE_PROMOTING);
    g_assert_true(json_is_true(json_object_get(rest->certificate, "running")));
    g_assert_cmpstr(json_string_value(released->certificate), ==, "paper");
    refused_running(
        &solo, OPTIONS, US_ERROR_BUSY,
        "a plan moves the VMs of scenario 'web' by force already: wait for its end, see 'understudy plan "
        "list'");

    back = plan_from_records(records, NULL);
    g_assert_true(back && back->forced && back->old_is_off);
    g_assert_true(
        json_is_true(json_object_get(((const Move *)back->moves->pdata[1])->certificate, "forced")));

    answer_promote(&solo, 2);
    g_assert_cmpint(rest->state, ==, MOVE_MOVED);
    solo_do(&solo, (PlanEvent){.kind = PLAN_LINK_BACK, .host = "alpha"});
    answer_promote(&solo, 1);
    g_assert_cmpint(released->state, ==, MOVE_UNLOCKING);
    solo_answer(&solo, "plan.unlock", "{}", 0);
    g_assert_true(solo.plan->ended);
}

/* The standby cannot start it yet, and the old active turns out to live: it yields before the start is tried again, also
 * after a restart of the controller. */
static void test_force_meets_the_old_active(void)
{
    g_auto(Solo) solo = {0};
    json_auto_t *records = json_array();
    PlanOptions o = OPTIONS;

    solo.w = world_new(1);
    world_run(solo.w);
    world_link(solo.w, "alpha", FALSE);
    o.force = o.old_is_off = TRUE;
    solo.plan = solo_plan(solo.w, o);
    solo.out = action_list_new();
    solo_do(&solo, (PlanEvent){.kind = PLAN_BEGIN});
    solo_records(solo.out, records);
    solo_answer(&solo, "plan.promote", NULL, US_ERROR_FAILED);
    solo_do(&solo, (PlanEvent){.kind = PLAN_LINK_BACK, .host = "alpha"});
    g_assert_cmpint(solo_move(&solo)->state, ==, MOVE_BLOCKED);
    for (gint64 now_ms = 10000; now_ms <= 20000; now_ms += 10000) {
        solo_tick(&solo, now_ms);
        g_assert_cmpstr(solo_last_call(solo.out)->method, ==, "active.yield");
        g_assert_cmpstr(solo_last_call(solo.out)->host, ==, "alpha");
        solo_tick(&solo, now_ms);
        g_assert_cmpuint(solo_calls(&solo), ==, 0);
        if (now_ms == 10000) {
            g_autoptr(GError) failure = g_error_new(US_ERROR, US_ERROR_FAILED, "libvirtd hangs");

            solo_do(&solo, (PlanEvent){.kind = PLAN_ANSWER,
                                       .now_ms = now_ms,
                                       .method = "active.yield",
                                       .vm = world_vm(1),
                                       .failure = failure});
            g_assert_cmpint(solo_move(&solo)->state, ==, MOVE_BLOCKED);
            g_assert_cmpstr(
                solo_move(&solo)->why, ==,
                "alpha, where it ran before, is back and has not ended its part in it: libvirtd hangs");
        }
    }
    solo_answer(&solo, "active.yield", NULL, US_ERROR_NOT_FOUND);
    g_assert_cmpstr(solo_last_call(solo.out)->method, ==, "plan.promote");

    plan_free(solo.plan);
    solo.plan = plan_from_records(records, NULL);
    solo.plan->from_up = solo.plan->to_up = TRUE;
    solo_do(&solo, (PlanEvent){.kind = PLAN_RESUME});
    solo_says(&solo, "beta", "{\"standby\":[]}");
    g_assert_cmpstr(solo_last_call(solo.out)->method, ==, "active.yield");
    solo_answer(&solo, "active.yield", "{\"guest\":\"paused\"}", 0);
    g_assert_cmpint(((const Action *)solo.out->pdata[0])->tell->kind, ==, INPUT_YIELDED);
    g_assert_cmpstr(((const Action *)solo.out->pdata[0])->tell->why, ==, "paused");
    g_assert_cmpint(solo_move(&solo)->state, ==, MOVE_PROMOTING);
    /* The standby has heard the old one a moment ago: it cannot stay there any more. */
    solo_answer(&solo, "plan.promote", "{\"running\":false,\"old_lives\":true}", 0);
    g_assert_cmpint(solo_move(&solo)->state, ==, MOVE_BLOCKED);
    solo_answer(&solo, "active.yield", "{}", 0);
    solo_tick(&solo, 60000);
    g_assert_cmpstr(solo_last_call(solo.out)->method, ==, "plan.promote");
}

#define BOOT ((Id){{0xb0}})

/* Of a host that was switched off at 1000. */
static void solo_init_fenced(Solo *solo)
{
    PlanOptions o = OPTIONS;

    solo->w = world_new(1);
    world_run(solo->w);
    world_link(solo->w, "alpha", FALSE);
    solo->w->p->scenario->policy.switchover = SWITCHOVER_AUTO;
    o.force = o.fenced = TRUE;
    o.sure_ms = 1000;
    o.sure_boot = BOOT;
    solo->plan = solo_plan(solo->w, o);
    solo->out = action_list_new();
    solo_do(solo, (PlanEvent){.kind = PLAN_BEGIN, .now_ms = 2000});
    g_assert_cmpint(solo_move(solo)->state, ==, MOVE_ELECTING);
}

static void expect_ballot(const Solo *solo, const char *method, gint64 sure_ms)
{
    const Action *call = solo_last_call(solo->out);
    const json_t *ballot = json_object_get(call->params, "ballot");

    g_assert_cmpstr(call->method, ==, method);
    g_assert_cmpstr(json_string_value(json_object_get(ballot, "kind")), ==, "certified");
    g_assert_cmpint(json_integer_value(json_object_get(ballot, "sure_ms")), ==, sure_ms);
}

/* The voters hear for how long it has been off, each time anew. */
static void test_fenced(void)
{
    g_auto(Solo) solo = {0};

    solo_init_fenced(&solo);
    expect_ballot(&solo, "plan.elect", 1000);
    solo_do(&solo,
            (PlanEvent){.kind = PLAN_ANSWER, .now_ms = 4000, .method = "plan.elect", .vm = world_vm(1)});
    expect_ballot(&solo, "plan.promote", 3000);
    g_assert_true(json_is_true(json_object_get(solo_move(&solo)->certificate, "old_is_off")));
    answer_promote(&solo, 1);
    g_assert_cmpint(solo_move(&solo)->state, ==, MOVE_MOVED);
}

/* It answers again before anything is promised. */
static void test_fenced_is_back(void)
{
    static const int ANSWERS[] = {US_ERROR_BUSY, US_ERROR_REFUSED, US_ERROR_TIMEOUT, 0};

    for (guint i = 0; i < G_N_ELEMENTS(ANSWERS); i++) {
        g_auto(Solo) solo = {0};

        solo_init_fenced(&solo);
        if (ANSWERS[i] == 0) {
            /* Between two askings. */
            solo_answer(&solo, "plan.elect", NULL, US_ERROR_BUSY);
            solo_do(&solo, (PlanEvent){.kind = PLAN_LINK_BACK, .host = "alpha"});
            solo_tick(&solo, 60000);
        } else {
            solo_do(&solo, (PlanEvent){.kind = PLAN_LINK_BACK, .host = "alpha"});
            solo_answer(&solo, "plan.elect", NULL, ANSWERS[i]);
        }
        g_assert_cmpint(solo_move(&solo)->state, ==, MOVE_STAYED);
        g_assert_nonnull(strstr(solo_move(&solo)->why, "alpha"));
        g_assert_nonnull(
            strstr(solo_move(&solo)->why, "answers again: what lives there is not taken from it"));
        g_assert_true(solo.plan->ended);
    }
}

/* Half of it is promised: what answers again yields first, and is certain then. */
static void test_fenced_yields(void)
{
    g_auto(Solo) solo = {0};

    solo_init_fenced(&solo);
    solo_answer(&solo, "plan.elect", "{}", 0);
    solo_answer(&solo, "plan.promote", NULL, US_ERROR_REFUSED);
    g_assert_cmpint(solo_move(&solo)->state, ==, MOVE_BLOCKED);
    solo_do(&solo, (PlanEvent){.kind = PLAN_LINK_BACK, .host = "alpha"});
    solo_tick(&solo, 60000);
    g_assert_cmpstr(solo_last_call(solo.out)->method, ==, "active.yield");
    solo_answer(&solo, "active.yield", "{\"guest\":\"paused\"}", 0);
    expect_ballot(&solo, "plan.promote", 0);
}

/* Its controller's machine was booted, and nobody knows any more for how long it has been off: only who has promised already goes on. */
static void test_fenced_long_ago(void)
{
    g_auto(Solo) solo = {0};
    json_auto_t *records = json_array();

    solo_init_fenced(&solo);
    solo_records(solo.out, records);
    plan_free(solo.plan);
    solo.plan = plan_from_records(records, NULL);
    g_assert_true(solo.plan->fenced && !solo.plan->old_is_off && !solo.plan->elected);
    g_assert_cmpint(solo.plan->sure_ms, ==, 1000);
    plan_forget_boot(solo.plan, BOOT);
    g_assert_cmpint(solo.plan->sure_ms, ==, 1000);
    plan_forget_boot(solo.plan, world_id(0xb1));
    solo.plan->to_up = TRUE;
    solo_do(&solo, (PlanEvent){.kind = PLAN_RESUME, .now_ms = 5000});
    solo_says(&solo, "beta", "{\"complete\":true,\"standby\":[]}");
    expect_ballot(&solo, "plan.elect", (gint64)10 * 365 * 24 * 3600 * 1000);
}

/* The controller does not see the old active, and the standby does. */
static void test_force_stays(void)
{
    g_autoptr(World) w = world_new(1);
    g_autoptr(ActionList) out = action_list_new();
    g_autoptr(Plan) plan = NULL;
    json_auto_t *lives = json_pack("{s:b, s:b}", "running", 0, "old_lives", 1);
    const Move *m;
    PlanOptions o = OPTIONS;

    world_run(w);
    world_link(w, "alpha", FALSE);
    o.force = TRUE;
    plan = solo_plan(w, o);
    m = plan->moves->pdata[0];
    plan_step(plan, &(PlanEvent){.kind = PLAN_BEGIN}, out);
    plan_step(plan,
              &(PlanEvent){.kind = PLAN_ANSWER, .method = "plan.promote", .vm = world_vm(1), .result = lives},
              out);
    g_assert_cmpint(m->state, ==, MOVE_STAYED);
    g_assert_cmpstr(
        m->why, ==,
        "alpha has not gone: it is connected to beta, though not to the controller; if it is off all "
        "the same, use --old-is-off");
    g_assert_true(plan->ended);
}

/* Those that wait for their turn are not taken from a host that answers again. */
static void test_force_stops(void)
{
    g_autoptr(World) w = world_new(PLAN_AT_ONCE + 1);
    g_autoptr(ActionList) out = action_list_new();
    g_autoptr(Plan) plan = NULL;
    const Move *last;
    PlanOptions o = OPTIONS;

    world_run(w);
    world_link(w, "alpha", FALSE);
    o.force = TRUE;
    plan = solo_plan(w, o);
    last = plan->moves->pdata[PLAN_AT_ONCE];
    plan_step(plan, &(PlanEvent){.kind = PLAN_BEGIN}, out);
    plan_step(plan, &(PlanEvent){.kind = PLAN_LINK_BACK, .host = "alpha"}, out);
    g_assert_cmpint(last->state, ==, MOVE_WAITING);
    plan_step(plan, &(PlanEvent){.kind = PLAN_ANSWER, .method = "plan.promote", .vm = world_vm(1)}, out);
    g_assert_cmpint(last->state, ==, MOVE_STAYED);
    g_assert_cmpstr(last->why, ==, "alpha answers again: switch it over in good order");
}

static void test_corrupt_records(void)
{
    static const char *const BAD[] = {
        "{}",
        "{\"intent\":\"plan.lock\"}",
        "{\"intent\":\"plan.lock\",\"vm\":\"x\"}",
        "{\"intent\":\"plan.promote\",\"vm\":\"11111111-1111-1111-1111-111111111111\"}",
        "{\"over\":\"11111111-1111-1111-1111-111111111111\"}",
        "{\"over\":\"11111111-1111-1111-1111-111111111111\",\"state\":\"flying\"}",
        "{\"over\":\"22222222-2222-2222-2222-222222222222\",\"state\":\"moved\"}",
        "{\"end\":false}",
        "{\"forced\":true,\"vms\":[]}",
        "{\"forced\":true,\"vms\":[{\"vm\":\"11111111-1111-1111-1111-111111111111\"}]}",
        "[]",
    };
    g_auto(Solo) solo = {0};
    json_auto_t *begin = NULL, *nothing = json_array();
    g_autoptr(GError) none = NULL;

    solo_init(&solo);
    begin = solo_records(solo.out, json_array());
    g_assert_null(plan_from_records(nothing, &none));
    g_assert_error(none, US_ERROR, US_ERROR_CORRUPT);
    for (guint i = 0; i < G_N_ELEMENTS(BAD); i++) {
        json_auto_t *records = json_copy(begin);
        g_autoptr(GError) error = NULL;

        json_array_append_new(records, json_parse(BAD[i], strlen(BAD[i]), 4096, NULL));
        g_assert_null(plan_from_records(records, &error));
        g_assert_error(error, US_ERROR, US_ERROR_CORRUPT);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/plan/builder-refuses", test_builder_refuses);
    g_test_add_func("/plan/builder-refuses-beside-a-plan", test_builder_refuses_beside_a_plan);
    g_test_add_func("/plan/builder-refuses-while-owed", test_builder_refuses_while_owed);
    g_test_add_func("/plan/force-refuses", test_force_refuses);
    g_test_add_func("/plan/force", test_force);
    g_test_add_func("/plan/force-back", test_force_back);
    g_test_add_func("/plan/dead-guest", test_dead_guest);
    g_test_add_func("/plan/force-of-the-living", test_force_of_the_living);
    g_test_add_func("/plan/by-hand", test_by_hand);
    g_test_add_func("/plan/promoted-meanwhile", test_promoted_meanwhile);
    g_test_add_func("/plan/promoted-and-perhaps-released", test_promoted_and_perhaps_released);
    g_test_add_func("/plan/promoted-after-release", test_promoted_after_release);
    g_test_add_func("/plan/waits-for-the-standby", test_waits_for_the_standby);
    g_test_add_func("/plan/force-from-a-point", test_force_from_a_point);
    g_test_add_func("/plan/force-running", test_force_running);
    g_test_add_func("/plan/force-stays", test_force_stays);
    g_test_add_func("/plan/force-meets-the-old-active", test_force_meets_the_old_active);
    g_test_add_func("/plan/force-stops", test_force_stops);
    g_test_add_func("/plan/fenced", test_fenced);
    g_test_add_func("/plan/fenced-is-back", test_fenced_is_back);
    g_test_add_func("/plan/fenced-yields", test_fenced_yields);
    g_test_add_func("/plan/fenced-long-ago", test_fenced_long_ago);
    g_test_add_func("/plan/text", test_text);
    g_test_add_func("/plan/json", test_json);
    g_test_add_func("/plan/lock-refused", test_lock_refused);
    g_test_add_func("/plan/stray-answers", test_stray_answers);
    g_test_add_func("/plan/answers-without-papers", test_answers_without_papers);
    g_test_add_func("/plan/state-that-is-none", test_state_that_is_none);
    g_test_add_func("/plan/release-refused", test_release_refused);
    g_test_add_func("/plan/rollback-fails", test_rollback_fails);
    g_test_add_func("/plan/many", test_many);
    g_test_add_func("/plan/many-after-restart", test_many_after_restart);
    g_test_add_func("/plan/release-of-nobody", test_release_of_nobody);
    g_test_add_func("/plan/lock-of-nobody", test_lock_of_nobody);
    g_test_add_func("/plan/release-to-nobody", test_release_to_nobody);
    g_test_add_func("/plan/parked-by-nobody", test_parked_by_nobody);
    g_test_add_func("/plan/parked-alone-by-nobody", test_parked_alone_by_nobody);
    g_test_add_func("/plan/records", test_records);
    g_test_add_func("/plan/corrupt-records", test_corrupt_records);
    return g_test_run();
}

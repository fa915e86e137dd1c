/* SPDX-License-Identifier: Apache-2.0 */
/* Plans by force whose voters are asked first: single steps, and then one plan with everything that may happen to it at every place. */
#include "orchestrator/core/lease/renewal.h"
#include "solo.h"
#include "vmconnect/base/error.h"

#include <string.h>

/* For so long the voters are asked: the countdown, and ten seconds. */
#define VOTES_MS 40000
#define PROMOTED(number, id)                                                        \
    "{\"active\":[],\"standby\":[{\"vm\":\"11111111-1111-1111-1111-111111111111\"," \
    "\"promoted\":{\"number\":" number ",\"id\":\"" id "\"}}]}"
#define HAND "33333333-2222-4333-8444-555555555555"
#define OURS "88000000-0000-0000-0000-000000000000" /* the reign of OPTIONS */
#define TIP "{\"tip\":\"42424242-4242-4242-4242-424242424242\"}"

/* By force, and by whose word. */
static PlanOptions forced(BallotKind kind)
{
    PlanOptions o = OPTIONS;

    o.force = TRUE;
    o.elected = kind == BALLOT_ELECTION;
    o.old_is_off = kind == BALLOT_CERTIFIED;
    return o;
}

static void make_automatic(World *w)
{
    w->p->scenario->policy.switchover = SWITCHOVER_AUTO;
    w->p->scenario->policy.countdown_ms = VOTES_MS - 10000;
}

/* Alpha is gone, and the plan is begun; @leases: its active held one. */
static void election_init(Solo *solo, BallotKind kind, gboolean leases)
{
    solo->w = world_new(1);
    world_run(solo->w);
    if (leases)
        make_automatic(solo->w);
    world_link(solo->w, "alpha", FALSE);
    solo->plan = solo_plan(solo->w, forced(kind));
    solo->out = action_list_new();
    solo_do(solo, (PlanEvent){.kind = PLAN_BEGIN});
}

static void link_of(Solo *solo, const char *host, gboolean up)
{
    solo_do(solo, (PlanEvent){.kind = up ? PLAN_LINK_BACK : PLAN_LINK_LOST, .host = host});
}

/* The answer to plan.elect at that time; 0: it is promised. */
static void vote(Solo *solo, gint64 now_ms, int code)
{
    g_autoptr(GError) failure = code ? g_error_new_literal(US_ERROR, code, "beta keeps it") : NULL;

    solo_do(solo, (PlanEvent){.kind = PLAN_ANSWER,
                              .now_ms = now_ms,
                              .method = "plan.elect",
                              .vm = world_vm(1),
                              .failure = failure});
}

static void expect_ballot(const Action *call, const char *method, BallotKind kind)
{
    g_autoptr(GError) error = NULL;
    Ballot ballot;

    g_assert_cmpstr(call->method, ==, method);
    g_assert_cmpstr(call->host, ==, "beta");
    g_assert_true(ballot_from_json(json_object_get(call->params, "ballot"), &ballot, &error));
    g_assert_no_error(error);
    g_assert_cmpint(ballot.kind, ==, kind);
    g_assert_true(reign_equal(ballot.parent, (Reign){1, world_id(0xee)}));
    g_assert_true(reign_equal(ballot.next, (Reign){3, {{0x88}}}));
}

/* Taken up again from what was written down, with beta's link and word, and alpha's. */
static void restart(Solo *solo, json_t *records, gboolean from_up)
{
    g_autoptr(GError) error = NULL;

    plan_free(solo->plan);
    solo->plan = plan_from_records(records, &error);
    g_assert_no_error(error);
    plan_order(solo->plan, solo->w->p);
    solo_do(solo, (PlanEvent){.kind = PLAN_RESUME});
    link_of(solo, "beta", TRUE);
    if (from_up)
        link_of(solo, "alpha", TRUE);
    solo_says(solo, "beta", "{\"standby\":[]}");
}

/* Who asks, for what, and that the reign is the same in both calls. */
static void test_ballots(void)
{
    static const BallotKind KINDS[] = {BALLOT_ELECTION, BALLOT_FORCE, BALLOT_CERTIFIED};

    for (guint i = 0; i < G_N_ELEMENTS(KINDS); i++) {
        g_auto(Solo) solo = {0};
        json_auto_t *records = json_array();
        const json_t *certificate;

        election_init(&solo, KINDS[i], TRUE);
        g_assert_cmpint(solo_move(&solo)->state, ==, MOVE_ELECTING);
        expect_ballot(solo_last_call(solo.out), "plan.elect", KINDS[i]);
        solo_records(solo.out, records);
        vote(&solo, 0, 0);
        g_assert_cmpint(solo_move(&solo)->state, ==, MOVE_PROMOTING);
        expect_ballot(solo_last_call(solo.out), "plan.promote", KINDS[i]);
        /* By votes nobody has to say that it is off: what was granted is over. */
        certificate = json_object_get(solo_last_call(solo.out)->params, "certificate");
        g_assert_cmpint(json_is_true(json_object_get(certificate, "old_is_off")), ==,
                        KINDS[i] != BALLOT_FORCE);
        solo_records(solo.out, records);
        restart(&solo, records, FALSE);
        expect_ballot(solo_last_call(solo.out), "plan.promote", KINDS[i]);
        solo_answer(&solo, "plan.promote", "{\"running\":true}", 0);
        g_assert_cmpint(solo_move(&solo)->state, ==, MOVE_MOVED);
        g_assert_true(solo_told_moved(solo.out)->forced);
        g_assert_true(solo.plan->ended);
    }
}

/* Where nobody holds a lease nobody is asked; but one whose active held one when it was heard is elected, whatever is wanted now. */
static void test_without_votes(void)
{
    g_auto(Solo) solo = {0};
    g_auto(Solo) before = {0};

    election_init(&solo, BALLOT_CERTIFIED, FALSE);
    g_assert_cmpint(solo_move(&solo)->state, ==, MOVE_PROMOTING);
    g_assert_cmpstr(solo_last_call(solo.out)->method, ==, "plan.promote");
    g_assert_null(json_object_get(solo_last_call(solo.out)->params, "ballot"));

    before.w = world_new(1);
    world_run(before.w);
    protection_find(before.w->p, world_vm(1))->lease = LEASE_HELD;
    world_link(before.w, "alpha", FALSE);
    before.plan = solo_plan(before.w, forced(BALLOT_FORCE));
    before.out = action_list_new();
    solo_do(&before, (PlanEvent){.kind = PLAN_BEGIN});
    g_assert_cmpint(solo_move(&before)->state, ==, MOVE_ELECTING);
}

/* In good order there is nothing to vote on. */
static void test_good_order(void)
{
    g_auto(Solo) solo = {.w = world_new(1), .out = action_list_new()};

    world_run(solo.w);
    make_automatic(solo.w);
    solo.plan = solo_plan(solo.w, OPTIONS);
    solo_do(&solo, (PlanEvent){.kind = PLAN_BEGIN});
    solo_answer(&solo, "plan.lock", "{}", 0);
    solo_answer(&solo, "plan.shutdown", "{}", 0);
    solo_answer(&solo, "plan.final", TIP, 0);
    solo_answer(&solo, "plan.release", "{\"certificate\":{\"x\":1}}", 0);
    g_assert_cmpstr(solo_last_call(solo.out)->method, ==, "plan.promote");
    g_assert_null(json_object_get(solo_last_call(solo.out)->params, "ballot"));
}

/* Grants end in a while: it is asked again and again, for so long as one may last, and then it stays. */
static void test_busy(void)
{
    static const int CODES[] = {US_ERROR_BUSY, US_ERROR_TIMEOUT, US_ERROR_UNREACHABLE};

    for (guint i = 0; i < G_N_ELEMENTS(CODES); i++) {
        g_auto(Solo) solo = {0};
        gint64 now_ms = 0;

        election_init(&solo, BALLOT_ELECTION, TRUE);
        for (; now_ms < VOTES_MS; now_ms += 500) {
            vote(&solo, now_ms, CODES[i]);
            g_assert_cmpint(solo_move(&solo)->state, ==, MOVE_ELECTING);
            g_assert_cmpuint(solo_calls(&solo), ==, 0);
            solo_tick(&solo, now_ms + 499);
            g_assert_cmpuint(solo_calls(&solo), ==, 0);
            solo_tick(&solo, now_ms + 500);
            expect_ballot(solo_last_call(solo.out), "plan.elect", BALLOT_ELECTION);
        }
        vote(&solo, now_ms, CODES[i]);
        g_assert_cmpint(solo_move(&solo)->state, ==, MOVE_STAYED);
        g_assert_cmpstr(solo_move(&solo)->why, ==, "beta keeps it");
        g_assert_true(solo.plan->ended);
    }
}

/* No is no. */
static void test_refused(void)
{
    static const int CODES[] = {US_ERROR_REFUSED, US_ERROR_OVERTAKEN, US_ERROR_IO};

    for (guint i = 0; i < G_N_ELEMENTS(CODES); i++) {
        g_auto(Solo) solo = {0};

        election_init(&solo, BALLOT_ELECTION, TRUE);
        vote(&solo, 0, CODES[i]);
        g_assert_cmpint(solo_move(&solo)->state, ==, MOVE_STAYED);
        g_assert_cmpstr(solo_move(&solo)->why, ==, "beta keeps it");
    }
}

/* What lives is not taken from its host: at once, when that is heard again and has a lease still. */
static void test_active_is_back(void)
{
    g_auto(Solo) solo = {0};
    g_auto(Solo) silent = {0};

    election_init(&solo, BALLOT_ELECTION, TRUE);
    link_of(&solo, "alpha", TRUE);
    g_assert_cmpint(solo_move(&solo)->state, ==, MOVE_ELECTING);
    vote(&solo, 1000, US_ERROR_BUSY);
    g_assert_cmpint(solo_move(&solo)->state, ==, MOVE_STAYED);
    g_assert_cmpstr(solo_move(&solo)->why, ==, "alpha answers again: what lives there is not taken from it");

    /* Of a voter that says nothing nobody knows that it keeps anything. */
    election_init(&silent, BALLOT_ELECTION, TRUE);
    link_of(&silent, "alpha", TRUE);
    vote(&silent, 1000, US_ERROR_TIMEOUT);
    g_assert_cmpint(silent.plan ? solo_move(&silent)->state : 0, ==, MOVE_ELECTING);
}

/* From a promise there is only forwards, whoever is back: its old active yields before what failed is tried again. */
static void test_promised(void)
{
    g_auto(Solo) solo = {0};
    json_auto_t *records = json_array();

    election_init(&solo, BALLOT_FORCE, TRUE);
    solo_records(solo.out, records);
    link_of(&solo, "alpha", TRUE);
    vote(&solo, 1000, 0);
    solo_records(solo.out, records);
    g_assert_cmpint(solo_move(&solo)->state, ==, MOVE_PROMOTING);
    /* The standby hears the old one still, to which it grants nothing any more. */
    solo_answer(&solo, "plan.promote", "{\"running\":false,\"old_lives\":true}", 0);
    g_assert_cmpint(solo_move(&solo)->state, ==, MOVE_BLOCKED);
    g_assert_cmpstr(
        solo_move(&solo)->why, ==,
        "alpha has not gone: it is connected to beta, though not to the controller; it has no part in "
        "it any more, so this is tried again until it is silent");
    solo_tick(&solo, 20000);
    g_assert_cmpstr(solo_last_call(solo.out)->method, ==, "active.yield");
    solo_answer(&solo, "active.yield", "{\"guest\":\"paused\"}", 0);
    expect_ballot(solo_last_call(solo.out), "plan.promote", BALLOT_FORCE);

    /* And after a restart. */
    restart(&solo, records, TRUE);
    g_assert_cmpstr(solo_last_call(solo.out)->method, ==, "active.yield");
    solo_answer(&solo, "active.yield", NULL, US_ERROR_NOT_FOUND);
    expect_ballot(solo_last_call(solo.out), "plan.promote", BALLOT_FORCE);
    solo_answer(&solo, "plan.promote", "{\"running\":true}", 0);
    g_assert_cmpint(solo_move(&solo)->state, ==, MOVE_MOVED);
}

/* Before the promise the voters are asked anew: they may have promised it already, and nobody else can have it. */
static void test_restart_before_the_promise(void)
{
    g_auto(Solo) solo = {0};
    json_auto_t *records = json_array();

    election_init(&solo, BALLOT_ELECTION, TRUE);
    solo_records(solo.out, records);
    restart(&solo, records, FALSE);
    g_assert_cmpint(solo_move(&solo)->state, ==, MOVE_ELECTING);
    expect_ballot(solo_last_call(solo.out), "plan.elect", BALLOT_ELECTION);
    restart(&solo, records, TRUE);
    expect_ballot(solo_last_call(solo.out), "plan.elect", BALLOT_ELECTION);
    vote(&solo, 1000, US_ERROR_BUSY);
    g_assert_cmpint(solo_move(&solo)->state, ==, MOVE_STAYED);
}

/* Whose standby is silent itself is not asked; it is when it is back, and given up when its time is over. */
static void test_standby_is_away(void)
{
    g_auto(Solo) solo = {0};

    election_init(&solo, BALLOT_ELECTION, TRUE);
    link_of(&solo, "beta", FALSE);
    g_assert_cmpint(solo_move(&solo)->state, ==, MOVE_ELECTING);
    solo_tick(&solo, 20000);
    g_assert_cmpuint(solo_calls(&solo), ==, 0);
    link_of(&solo, "beta", TRUE);
    expect_ballot(solo_last_call(solo.out), "plan.elect", BALLOT_ELECTION);
    link_of(&solo, "beta", FALSE);
    solo_tick(&solo, VOTES_MS - 1);
    g_assert_cmpint(solo_move(&solo)->state, ==, MOVE_ELECTING);
    solo_tick(&solo, VOTES_MS);
    g_assert_cmpint(solo_move(&solo)->state, ==, MOVE_STAYED);
    g_assert_cmpstr(solo_move(&solo)->why, ==, "beta does not answer");
}

/* What cannot be written down is not asked for; what is promised goes on. */
static void test_journal_lost(void)
{
    g_auto(Solo) solo = {0};
    g_auto(Solo) promised = {0};

    election_init(&solo, BALLOT_ELECTION, TRUE);
    solo_do(&solo, (PlanEvent){.kind = PLAN_JOURNAL_LOST});
    g_assert_cmpint(solo_move(&solo)->state, ==, MOVE_STAYED);
    g_assert_cmpstr(solo_move(&solo)->why, ==, "the controller cannot write the plan's journal");
    g_assert_cmpuint(solo_calls(&solo), ==, 0);

    election_init(&promised, BALLOT_ELECTION, TRUE);
    vote(&promised, 0, 0);
    solo_do(&promised, (PlanEvent){.kind = PLAN_JOURNAL_LOST});
    g_assert_cmpint(solo_move(&promised)->state, ==, MOVE_PROMOTING);
    expect_ballot(solo_last_call(promised.out), "plan.promote", BALLOT_ELECTION);
}

/* A plan that came to nothing may have had a promise: the next one takes a number that nobody has promised, also in good order, or the controller's voice
 * would keep the higher one for ever, and the new active could never be armed. */
static void test_promised_in_vain(void)
{
    static const struct {
        guint64 promised, by_force, in_order;
    } CASES[] = {{0, 3, 2}, {1, 3, 2}, {3, 4, 4}, {7, 8, 8}};
    g_autoptr(World) w = world_new(1);
    PlanOptions o = forced(BALLOT_CERTIFIED);

    world_run(w);
    make_automatic(w);
    for (guint i = 0; i < G_N_ELEMENTS(CASES); i++) {
        PlanOptions in_order = OPTIONS;
        g_autoptr(Plan) plan = NULL, good = NULL;

        in_order.promised = o.promised = CASES[i].promised;
        good = solo_plan(w, in_order);
        g_assert_cmpuint(good->next.number, ==, CASES[i].in_order);
        world_link(w, "alpha", FALSE);
        plan = solo_plan(w, o);
        g_assert_cmpuint(plan->next.number, ==, CASES[i].by_force);
        world_link(w, "alpha", TRUE);
    }
}

/* Root was faster: where it runs counts, in its reign. What the plan itself has promoted is waited for. */
static void test_by_hand(void)
{
    g_auto(Solo) solo = {0};

    election_init(&solo, BALLOT_FORCE, TRUE);
    solo_says(&solo, "beta", PROMOTED("3", OURS));
    g_assert_cmpint(solo_move(&solo)->state, ==, MOVE_ELECTING);
    solo_says(&solo, "beta", PROMOTED("5", HAND));
    g_assert_cmpint(solo_move(&solo)->state, ==, MOVE_MOVED);
    g_assert_cmpuint(solo_told_moved(solo.out)->reign.number, ==, 5);
    g_assert_true(solo_told_moved(solo.out)->forced);
}

/* @vms in good order, as far as @shut of them are off, when their active goes; the rest is forced. */
static void force_running(Solo *solo, guint vms, BallotKind kind, json_t *records)
{
    g_autoptr(Plan) by_force = NULL;
    PlanOptions o = forced(kind);

    solo->w->p->plan = solo->plan->id;
    world_link(solo->w, "alpha", FALSE);
    link_of(solo, "alpha", FALSE);
    o.running = solo->plan;
    by_force = solo_plan(solo->w, o);
    g_assert_cmpuint(by_force->moves->len, ==, vms);
    solo_do(solo, (PlanEvent){.kind = PLAN_FORCE, .forced = by_force});
    solo_records(solo->out, records);
}

static void answer(Solo *solo, const char *method, guint vm, const char *json)
{
    json_auto_t *result = json_loads(json, 0, NULL);

    solo_do(solo, (PlanEvent){.kind = PLAN_ANSWER, .method = method, .vm = world_vm(vm), .result = result});
}

/* Of the call, which is there. */
static void expect_no_ballot(const ActionList *out, const char *method)
{
    for (guint i = 0; i < out->len; i++) {
        const Action *a = out->pdata[i];

        if (a->kind != ACTION_CALL || !g_str_equal(a->method, method))
            continue;
        g_assert_null(json_object_get(a->params, "ballot"));
        return;
    }
    g_assert_not_reached();
}

/* In its reign, for that may have been released; what was released is not voted on. */
static void test_goes_on_by_force(void)
{
    static const BallotKind KINDS[] = {BALLOT_ELECTION, BALLOT_FORCE, BALLOT_CERTIFIED};

    for (guint i = 0; i < G_N_ELEMENTS(KINDS); i++) {
        g_auto(Solo) solo = {0};
        json_auto_t *records = json_array();
        const Move *released, *rest;
        Ballot ballot;

        solo_init_with(&solo, 2);
        solo_records(solo.out, records);
        released = solo.plan->moves->pdata[0];
        rest = solo.plan->moves->pdata[1];
        solo_answer(&solo, "plan.lock", "{}", 0);
        solo_answer(&solo, "plan.shutdown", "{}", 0);
        solo_answer(&solo, "plan.final", TIP, 0);
        solo_answer(&solo, "plan.release", "{\"certificate\":{\"x\":1}}", 0);
        solo_records(solo.out, records);
        make_automatic(solo.w);
        force_running(&solo, 1, KINDS[i], records);
        g_assert_cmpint(released->state, ==, MOVE_PROMOTING);
        g_assert_cmpint(rest->state, ==, MOVE_ELECTING);
        g_assert_cmpint(solo.plan->votes_ms, ==, VOTES_MS);
        g_assert_true(
            ballot_from_json(json_object_get(solo_last_call(solo.out)->params, "ballot"), &ballot, NULL));
        g_assert_cmpint(ballot.kind, ==, KINDS[i]);
        g_assert_true(reign_equal(ballot.next, solo.plan->next));
        g_assert_cmpuint(ballot.next.number, ==, 2);
        /* As it is written down. */
        restart(&solo, records, FALSE);
        expect_no_ballot(solo.out, "plan.promote");
        g_assert_cmpint(((Move *)solo.plan->moves->pdata[0])->state, ==, MOVE_PROMOTING);
        g_assert_cmpint(((Move *)solo.plan->moves->pdata[1])->state, ==, MOVE_ELECTING);
        g_assert_cmpint(solo.plan->votes_ms, ==, VOTES_MS);
        g_assert_true(
            ballot_from_json(json_object_get(solo_last_call(solo.out)->params, "ballot"), &ballot, NULL));
        g_assert_cmpint(ballot.kind, ==, KINDS[i]);
        answer(&solo, "plan.elect", 2, "{}");
        answer(&solo, "plan.promote", 2, "{\"running\":true}");
        answer(&solo, "plan.promote", 1, "{\"running\":true}");
        g_assert_true(solo.plan->ended);
    }
}

static void set_after(World *w, guint vm, guint other)
{
    const Id id = world_vm(other);

    g_array_append_val(((ScenarioVm *)w->p->scenario->vms->pdata[vm - 1])->after, id);
}

/* Both are off when the active goes, and web2 starts after web1: promised first, it waits for that all the same. */
static void test_in_order(void)
{
    g_auto(Solo) solo = {.w = world_new(2), .out = action_list_new()};
    json_auto_t *records = json_array();
    const Move *first, *second;

    world_run(solo.w);
    set_after(solo.w, 2, 1);
    solo.plan = solo_plan(solo.w, OPTIONS);
    first = solo.plan->moves->pdata[0];
    second = solo.plan->moves->pdata[1];
    solo_do(&solo, (PlanEvent){.kind = PLAN_BEGIN});
    solo_records(solo.out, records);
    answer(&solo, "plan.lock", 2, "{}");
    answer(&solo, "plan.shutdown", 2, "{}");
    solo_records(solo.out, records);
    answer(&solo, "plan.lock", 1, "{}");
    answer(&solo, "plan.shutdown", 1, "{}");
    solo_records(solo.out, records);
    make_automatic(solo.w);
    force_running(&solo, 2, BALLOT_ELECTION, records);
    answer(&solo, "plan.elect", 2, "{}");
    solo_records(solo.out, records);
    g_assert_cmpint(first->state, ==, MOVE_ELECTING);
    g_assert_cmpint(second->state, ==, MOVE_HELD);
    answer(&solo, "plan.elect", 1, "{}");
    g_assert_cmpint(first->state, ==, MOVE_PROMOTING);
    g_assert_cmpint(second->state, ==, MOVE_HELD);
    answer(&solo, "plan.promote", 1, "{\"running\":true}");
    g_assert_cmpint(second->state, ==, MOVE_PROMOTING);
    /* A restart knows of the promise, and of none that was not made. */
    restart(&solo, records, FALSE);
    g_assert_cmpint(((Move *)solo.plan->moves->pdata[0])->state, ==, MOVE_ELECTING);
    g_assert_cmpint(((Move *)solo.plan->moves->pdata[1])->state, ==, MOVE_HELD);
}

/* What people read of it. */
static void test_text(void)
{
    g_auto(Solo) solo = {0};
    g_autofree char *electing = NULL, *promoting = NULL, *stayed = NULL;
    g_auto(Solo) other = {0};

    election_init(&solo, BALLOT_ELECTION, TRUE);
    vote(&solo, 0, US_ERROR_BUSY);
    electing = plan_text(solo.plan);
    g_assert_cmpstr(
        electing, ==,
        "switchover of 'web' from alpha to beta by force\n"
        "  web1: electing, beta keeps it\n"
        "    doing  plan.elect on beta: who votes promises the next reign, and renews this one no "
        "more (about 100 ms, at most 10.0 s); undo: nothing: it is promised to nobody else\n"
        "    todo   plan.promote on beta: the VM is defined, started paused, tracked, and let "
        "run (about 3.0 s, at most 5 min); undo: nothing: it is tried again until it runs\n");
    solo_tick(&solo, 1000);
    vote(&solo, 1000, 0);
    solo_answer(&solo, "plan.promote", NULL, US_ERROR_FAILED);
    promoting = plan_text(solo.plan);
    g_assert_nonnull(strstr(promoting, "  web1: blocked, no\n    done   plan.elect on beta"));
    g_assert_nonnull(strstr(promoting, "\n    doing  plan.promote on beta"));

    election_init(&other, BALLOT_ELECTION, TRUE);
    vote(&other, 0, US_ERROR_REFUSED);
    stayed = plan_text(other.plan);
    g_assert_nonnull(strstr(stayed, "  web1: stayed, beta keeps it\n    todo   plan.elect on beta"));
}

/* --- one plan, with everything that may happen to it ---------------------------- */

/* What the hosts are, and what was written down and asked for. */
typedef struct {
    Solo solo;
    json_t *records;
    GQueue *calls; /* Action *: asked, and not answered; copies of their methods */
    gint64 now_ms;
    gint64 granted_until_ms; /* until then the voters keep the old one */
    gboolean promised, runs, yielded;
    gboolean alpha;       /* its link stands */
    guint written, asked; /* so many records, so many calls */
    guint dies_after;     /* the controller, with that record; 0: never */
    guint lost,
        cut;    /* the answer to that call does not come; the link to beta is lost with it, for a while */
    guint back; /* alpha is, when that call is made */
    gboolean dead;
} Run;

static void take(Run *r)
{
    for (guint i = 0; i < r->solo.out->len && !r->dead; i++) {
        const Action *a = r->solo.out->pdata[i];

        if (a->kind == ACTION_PERSIST) {
            json_array_append(r->records, a->record);
            r->dead = ++r->written == r->dies_after;
        } else if (a->kind == ACTION_CALL) {
            g_queue_push_tail(r->calls, g_strdup(a->method));
        }
    }
    g_ptr_array_set_size(r->solo.out, 0);
}

static void happens(Run *r, PlanEvent ev)
{
    ev.now_ms = r->now_ms;
    solo_do(&r->solo, ev);
    take(r);
}

/* NULL: it did it; what it says goes to @ret_result. */
static GError *ask(Run *r, const char *method, json_t **ret_result)
{
    if (g_str_equal(method, "plan.elect")) {
        if (!r->promised && r->now_ms < r->granted_until_ms)
            return g_error_new(US_ERROR, US_ERROR_BUSY, "it keeps the active");
        r->promised = TRUE;
    } else if (g_str_equal(method, "plan.promote")) {
        /* The one thing that must never be. */
        g_assert_true(r->promised && r->now_ms >= r->granted_until_ms);
        r->runs = TRUE;
        *ret_result = json_pack("{s:b}", "running", 1);
    } else {
        g_assert_cmpstr(method, ==, "active.yield");
        g_assert_true(r->alpha && r->promised);
        r->yielded = TRUE;
    }
    return NULL;
}

static void answer_first(Run *r)
{
    g_autofree char *method = g_queue_pop_head(r->calls);
    json_auto_t *result = NULL;
    g_autoptr(GError) failure = ask(r, method, &result);

    r->asked++;
    if (r->asked == r->back) {
        r->alpha = TRUE;
        happens(r, (PlanEvent){.kind = PLAN_LINK_BACK, .host = "alpha"});
    }
    if (r->asked == r->cut)
        happens(r, (PlanEvent){.kind = PLAN_LINK_LOST, .host = "beta"});
    if (r->asked == r->lost || r->asked == r->cut) {
        g_clear_error(&failure);
        failure = g_error_new(US_ERROR, US_ERROR_TIMEOUT, "nothing was heard");
    }
    happens(r, (PlanEvent){.kind = PLAN_ANSWER,
                           .method = method,
                           .vm = world_vm(1),
                           .failure = failure,
                           .result = failure ? NULL : result});
    if (r->asked == r->cut) {
        r->now_ms += 3000;
        happens(r, (PlanEvent){.kind = PLAN_LINK_BACK, .host = "beta"});
    }
}

static void begin_anew(Run *r)
{
    g_autoptr(GError) error = NULL;
    json_auto_t *status =
        r->runs ? json_loads(PROMOTED("3", OURS), 0, NULL) : json_loads("{\"standby\":[]}", 0, NULL);

    r->dead = FALSE;
    g_queue_clear_full(r->calls, g_free);
    plan_free(r->solo.plan);
    r->solo.plan = plan_from_records(r->records, &error);
    g_assert_no_error(error);
    happens(r, (PlanEvent){.kind = PLAN_RESUME});
    happens(r, (PlanEvent){.kind = PLAN_LINK_BACK, .host = "beta"});
    if (r->alpha)
        happens(r, (PlanEvent){.kind = PLAN_LINK_BACK, .host = "alpha"});
    happens(r, (PlanEvent){.kind = PLAN_NEWS, .host = "beta", .result = status});
}

/* To its end. What is promised is moved, and what is not stays; a promotion is never asked for without. */
static void play(Run *r)
{
    gboolean is_right;
    guint turns = 0;
    const Move *m;

    r->solo.w = world_new(1);
    world_run(r->solo.w);
    make_automatic(r->solo.w);
    world_link(r->solo.w, "alpha", FALSE);
    r->solo.plan = solo_plan(r->solo.w, forced(BALLOT_ELECTION));
    r->solo.out = action_list_new();
    r->records = json_array();
    r->calls = g_queue_new();
    r->granted_until_ms = 2200;
    happens(r, (PlanEvent){.kind = PLAN_BEGIN});
    while (r->dead || !r->solo.plan->ended) {
        g_assert_cmpuint(turns++, <, 1000);
        if (r->dead)
            begin_anew(r);
        else if (!g_queue_is_empty(r->calls))
            answer_first(r);
        else {
            r->now_ms += 500;
            happens(r, (PlanEvent){.kind = PLAN_TICK});
        }
    }
    m = solo_move(&r->solo);
    is_right = m->state == (r->promised ? MOVE_MOVED : MOVE_STAYED) && r->runs == r->promised &&
               (r->promised || r->alpha);
    if (!is_right)
        g_test_message("dies %u lost %u cut %u back %u: %s", r->dies_after, r->lost, r->cut, r->back,
                       move_state_name(m->state));
    g_assert_true(is_right);
}

static void run_clear(Run *r)
{
    solo_clear(&r->solo);
    json_decref(r->records);
    g_queue_free_full(r->calls, g_free);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Run, run_clear)

/* How long it is when nothing happens to it. */
static void measure(guint *ret_records, guint *ret_calls)
{
    g_auto(Run) r = {0};

    play(&r);
    g_assert_true(r.runs && !r.yielded);
    *ret_records = r.written;
    *ret_calls = r.asked;
}

/* One thing of each kind, at each place, together with each of the others. */
static void test_whatever_happens(void)
{
    guint records, calls, moved = 0, stayed = 0;

    measure(&records, &calls);
    g_assert_cmpuint(calls, >, 4);
    for (guint dies = 0; dies <= records; dies++)
        for (guint lost = 0; lost <= calls; lost++)
            for (guint cut = 0; cut <= calls; cut++)
                for (guint back = 0; back <= calls + 1; back++) {
                    g_auto(Run) r = {.dies_after = dies, .lost = lost, .cut = cut, .back = back};

                    play(&r);
                    moved += r.promised;
                    stayed += !r.promised;
                }
    g_test_message("%u moved, %u stayed", moved, stayed);
    g_assert_cmpuint(moved, >, 100);
    g_assert_cmpuint(stayed, >, 100);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/election/ballots", test_ballots);
    g_test_add_func("/election/without-votes", test_without_votes);
    g_test_add_func("/election/good-order", test_good_order);
    g_test_add_func("/election/busy", test_busy);
    g_test_add_func("/election/refused", test_refused);
    g_test_add_func("/election/active-is-back", test_active_is_back);
    g_test_add_func("/election/promised", test_promised);
    g_test_add_func("/election/restart-before-the-promise", test_restart_before_the_promise);
    g_test_add_func("/election/standby-is-away", test_standby_is_away);
    g_test_add_func("/election/journal-lost", test_journal_lost);
    g_test_add_func("/election/promised-in-vain", test_promised_in_vain);
    g_test_add_func("/election/by-hand", test_by_hand);
    g_test_add_func("/election/goes-on-by-force", test_goes_on_by_force);
    g_test_add_func("/election/in-order", test_in_order);
    g_test_add_func("/election/text", test_text);
    g_test_add_func("/election/whatever-happens", test_whatever_happens);
    return g_test_run();
}

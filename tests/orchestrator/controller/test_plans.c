/* SPDX-License-Identifier: Apache-2.0 */
/* A plan with its journal: who listens hears of it before any engine does; and what is silent is taken over, by votes or with a fence. Hosts,
 * scenarios, votes and fences are fakes. */
#include "orchestrator/core/lease/renewal.h"
#include "orchestrator/plans.h"
#include "orchestrator/verification.h"
#include "tests/tree.h"
#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"

#include <string.h>

#define DEADLINE_MS 20000

static const Id ME = {{1}};
static const Id VM = {{7}};

static Protection *web;
static Vitals *vitals;
static GString *trace; /* "listener web\n", "call alpha plan.lock\n" */
static gboolean has_fence;

static struct {
    FenceDone done;
    void *user;
} fencing;

/* --- what is around it ----------------------------------------------------- */

/* Nobody votes. */
void voice_elect(Voice *v, const char *to, Id vm, const Ballot *ballot, RpcAnswerFunc done, void *user)
{
    g_autoptr(GError) error = g_error_new(US_ERROR, US_ERROR_REFUSED, "not today");
    json_auto_t *doc = ballot_to_json(ballot);

    (void)v;
    (void)vm;
    g_string_append_printf(trace, "elect %s %s%s\n", to, json_string_value(json_object_get(doc, "kind")),
                           ballot->sure_ms > 0 ? ", since it was fenced" : "");
    done(user, NULL, error);
}

guint64 voice_promised(const Voice *v, const Protection *p)
{
    (void)v;
    (void)p;
    return 0;
}

gboolean fence_is_set(const Fences *f, const char *host)
{
    (void)f;
    return has_fence && g_str_equal(host, "alpha");
}

void fence_start(Fences *f, const char *host, FenceDone done, void *user)
{
    (void)f;
    g_string_append_printf(trace, "fence %s\n", host);
    fencing.done = done;
    fencing.user = user;
}

const Vitals *scenarios_vitals(const Scenarios *s)
{
    (void)s;
    return vitals;
}

void hosts_call(Hosts *hosts, const char *name, const char *method, const json_t *params, gint64 limit_ms,
                RpcAnswerFunc on_answer, void *user)
{
    g_autoptr(GError) error = g_error_new(US_ERROR, US_ERROR_REFUSED, "not today");

    (void)hosts;
    (void)params;
    (void)limit_ms;
    g_string_append_printf(trace, "call %s %s\n", name, method);
    on_answer(user, NULL, error);
}

gboolean scenarios_step(Scenarios *s, const char *name, Input in, ScenariosDone done, void *user,
                        GError **error)
{
    (void)s;
    (void)name;
    (void)in;
    (void)error;
    done(user, NULL);
    return TRUE;
}

const Protection *scenarios_find(const Scenarios *s, const char *name, GError **error)
{
    (void)s;
    (void)name;
    (void)error;
    return web;
}

GPtrArray *scenarios_list(const Scenarios *s)
{
    GPtrArray *list = g_ptr_array_new();

    (void)s;
    g_ptr_array_add(list, web);
    return list;
}

void verification_start_move(Hosts *hosts, const Protection *p, const Plan *plan, VerificationDone done,
                             void *user)
{
    (void)hosts;
    (void)p;
    (void)plan;
    (void)done;
    (void)user;
    g_assert_not_reached();
}

/* --- a plan ------------------------------------------------------------------ */

static void on_calls(void *user, const char *scenario)
{
    (void)user;
    g_string_append_printf(trace, "listener %s\n", scenario);
}

static void on_begun(void *user, const GError *error)
{
    g_assert_no_error(error);
    *(gboolean *)user = TRUE;
}

static void on_patience(uv_timer_t *timer)
{
    (void)timer;
}

static void test_listener(void)
{
    const PlanOptions options = {.id = {{2}}, .reign = {{3}}, .reverse = PLAN_REVERSE_BY_POLICY};
    g_autofree char *folder = g_dir_make_tmp("understudy-plans-XXXXXX", NULL);
    gint64 end_ms = clock_steady_ms() + DEADLINE_MS;
    g_autoptr(GError) error = NULL;
    gboolean begun = FALSE;
    uv_timer_t patience;
    uv_loop_t loop;
    Plans *plans;
    Plan *plan;

    uv_loop_init(&loop);
    uv_timer_init(&loop, &patience);
    uv_timer_start(&patience, on_patience, 50, 50);
    plans = plans_new(&loop, folder, ME, 1, NULL, NULL, &error);
    g_assert_no_error(error);
    plans_listen(plans, on_calls, NULL);
    plans_link(plans, "alpha", TRUE);
    plans_link(plans, "beta", TRUE);
    plan = plan_switchover(web, &options, &error);
    g_assert_no_error(error);
    g_assert_true(plans_start(plans, plan, on_begun, &begun, &error));
    g_assert_cmpstr(trace->str, ==, ""); /* before its beginning is durable */
    while (!strstr(trace->str, "call") && clock_steady_ms() < end_ms)
        uv_run(&loop, UV_RUN_ONCE);
    g_assert_true(begun);
    g_assert_true(g_str_has_prefix(trace->str, "listener web\ncall alpha plan.lock\n"));
    plans_close(plans);
    uv_close((uv_handle_t *)&patience, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    plans_free(plans);
    g_assert_cmpint(uv_loop_close(&loop), ==, 0);
    tree_remove(folder);
}

/* --- what is silent is taken over ------------------------------------------------ */

typedef struct {
    uv_loop_t loop;
    uv_timer_t patience;
    char *folder;
    Plans *plans;
    gboolean told;
    GError *error;
} House;

static void on_taken(void *user, const GError *error)
{
    House *h = user;

    g_assert_false(h->told);
    h->told = TRUE;
    h->error = error ? g_error_copy(error) : NULL;
}

static ProtectionVm *web1(void)
{
    return web->vms->pdata[0];
}

/* web1's host is silent, its standby answers, and the countdown is over. */
static void house_begin(House *h, Isolation isolation, gboolean fenced)
{
    *h = (House){.folder = g_dir_make_tmp("understudy-plans-XXXXXX", NULL)};
    uv_loop_init(&h->loop);
    uv_timer_init(&h->loop, &h->patience);
    uv_timer_start(&h->patience, on_patience, 50, 50);
    h->plans = plans_new(&h->loop, h->folder, ME, 1, NULL, NULL, NULL);
    plans_link(h->plans, "beta", TRUE);
    g_hash_table_remove(web->up, "alpha");
    web->scenario->policy.switchover = SWITCHOVER_AUTO;
    web->scenario->policy.isolation = isolation;
    web->takeover.asked = TRUE;
    web1()->life.state = GUEST_LIFE_SILENT;
    ((ProtectionCopy *)web1()->copies->pdata[0])->complete = TRUE;
    has_fence = fenced;
    vitals = vitals_new();
    vitals_add(vitals, "alpha", (Id){{0x0a}});
    vitals_add(vitals, "beta", (Id){{0x0b}});
    vitals_link(vitals, "beta", TRUE);
    web->vitals = vitals;
    g_string_truncate(trace, 0);
}

static void house_end(House *h)
{
    plans_close(h->plans);
    uv_close((uv_handle_t *)&h->patience, NULL);
    uv_run(&h->loop, UV_RUN_DEFAULT);
    plans_free(h->plans);
    g_assert_cmpint(uv_loop_close(&h->loop), ==, 0);
    tree_remove(h->folder);
    g_free(h->folder);
    g_clear_error(&h->error);
    web->vitals = NULL;
    g_clear_pointer(&vitals, vitals_free);
    g_hash_table_add(web->up, g_strdup("alpha"));
    web->takeover.asked = FALSE;
    web1()->life.state = GUEST_LIFE_UNKNOWN;
    web->scenario->policy.switchover = SWITCHOVER_MANUAL;
}

static void end_fencing(const char *why_not)
{
    g_autoptr(GError) error = why_not ? g_error_new_literal(US_ERROR, US_ERROR_FAILED, why_not) : NULL;

    fencing.done(fencing.user, clock_steady_ms(), error);
}

/* No plan is begun, or one that asks for votes so: what was traced by then is @wanted. */
static void expect_taken(House *h, const char *wanted)
{
    gint64 end_ms = clock_steady_ms() + DEADLINE_MS;

    g_assert_true(h->told);
    g_assert_no_error(h->error);
    while (!strstr(trace->str, "elect") && clock_steady_ms() < end_ms)
        uv_run(&h->loop, UV_RUN_ONCE);
    g_assert_cmpstr(trace->str, ==, wanted);
}

static void expect_not_taken(const House *h, const char *wanted, const char *why)
{
    g_assert_true(h->told);
    g_assert_nonnull(h->error);
    g_assert_cmpstr(h->error->message, ==, why);
    g_assert_cmpstr(trace->str, ==, wanted);
    g_assert_null(runner_find_running(plans_runner(h->plans), "web"));
}

static void test_votes_alone(void)
{
    House h;

    house_begin(&h, ISOLATION_PAUSE, FALSE);
    plans_take_over(h.plans, web, on_taken, &h);
    expect_taken(&h, "elect beta election\n");
    house_end(&h);
    house_begin(&h, ISOLATION_RUN, FALSE);
    plans_take_over(h.plans, web, on_taken, &h);
    expect_not_taken(&h, "", "with isolation=run its VMs may run on, and no fence is set for alpha");
    house_end(&h);
}

static void test_fenced(void)
{
    for (Isolation i = ISOLATION_PAUSE; i <= ISOLATION_RUN; i++) {
        House h;

        house_begin(&h, i, TRUE);
        plans_take_over(h.plans, web, on_taken, &h);
        g_assert_false(h.told);
        end_fencing(NULL);
        expect_taken(&h, "fence alpha\nelect beta certified, since it was fenced\n");
        house_end(&h);
    }
}

/* It counts as nothing. */
static void test_not_fenced(void)
{
    House h;

    house_begin(&h, ISOLATION_PAUSE, TRUE);
    plans_take_over(h.plans, web, on_taken, &h);
    end_fencing("no such plug");
    expect_taken(&h, "fence alpha\nelect beta election\n");
    house_end(&h);
    house_begin(&h, ISOLATION_RUN, TRUE);
    plans_take_over(h.plans, web, on_taken, &h);
    end_fencing("no such plug");
    expect_not_taken(&h, "fence alpha\n",
                     "with isolation=run its VMs may run on, and alpha could not be fenced: no such plug");
    house_end(&h);
    /* What a verification has let pass for the fence's sake does not go by leases without it. */
    house_begin(&h, ISOLATION_PAUSE, TRUE);
    ((Protection *)web)->rests_on_fence = TRUE;
    plans_take_over(h.plans, web, on_taken, &h);
    end_fencing("no such plug");
    expect_not_taken(
        &h, "fence alpha\n",
        "a lease does not hold its VMs (see understudy verify web), and alpha could not be fenced: "
        "no such plug");
    ((Protection *)web)->rests_on_fence = FALSE;
    house_end(&h);
}

/* Whatever comes between: it is not taken by the fence's word. */
static void test_other_by_then(void)
{
    json_auto_t *word = json_pack("{s:b, s:[], s:[], s:[]}", "complete", 1, "active", "standby", "guests");

    for (guint n = 0; n < 3; n++) {
        House h;

        house_begin(&h, ISOLATION_PAUSE, TRUE);
        plans_take_over(h.plans, web, on_taken, &h);
        if (n == 0) {
            vitals_link(vitals, "alpha", TRUE);
            vitals_hear(vitals, "alpha", word);
        } else if (n == 1)
            web->takeover.asked = FALSE;
        else
            plans_close(h.plans);
        end_fencing(NULL);
        expect_not_taken(&h, "fence alpha\n",
                         n == 0 ? "alpha, which was silent, answers again"
                                : "the VMs of scenario 'web' are not to be moved any more");
        if (n == 2) {
            uv_close((uv_handle_t *)&h.patience, NULL);
            uv_run(&h.loop, UV_RUN_DEFAULT);
            plans_free(h.plans);
            h.plans = plans_new(&h.loop, h.folder, ME, 1, NULL, NULL, NULL);
            uv_timer_init(&h.loop, &h.patience);
        }
        house_end(&h);
    }
}

/* Others may live on a host that is heard: nobody switches that off. */
static void test_heard(void)
{
    json_auto_t *doc = json_pack(
        "{s:b, s:[], s:[], s:[], s:{s:[{s:s, s:[{s:s, s:s, s:b, s:b, s:i}]}], s:[], s:n}}", "complete", 1,
        "active", "standby", "guests", "watch", "hosts", "id", ID_TEXT(((Id){{0x0a}})), "checks", "kind",
        "ping", "words", "ping alpha", "tried", 1, "ever", 1, "misses", 0, "guests", "gateway");
    House h;

    for (Isolation i = ISOLATION_PAUSE; i <= ISOLATION_RUN; i++) {
        ProtectionVm other;

        house_begin(&h, i, TRUE);
        other = *web1();
        other.name = (char *)"db1";
        other.life.state = GUEST_LIFE_UNKNOWN;
        g_ptr_array_add(web->vms, &other);
        vitals_hear(vitals, "beta", doc);
        plans_take_over(h.plans, web, on_taken, &h);
        if (i == ISOLATION_PAUSE)
            expect_taken(&h, "elect beta election\n");
        else
            expect_not_taken(
                &h, "",
                "with isolation=run its VMs may run on, and alpha could not be fenced: beta hears "
                "it, and 'db1' of scenario 'web' may live there: nobody switches it off");
        g_ptr_array_steal_index(web->vms, 1);
        house_end(&h);
        /* One that is known to be dead is in nobody's way. */
        house_begin(&h, i, TRUE);
        vitals_hear(vitals, "beta", doc);
        plans_take_over(h.plans, web, on_taken, &h);
        end_fencing(NULL);
        expect_taken(&h, "fence alpha\nelect beta certified, since it was fenced\n");
        house_end(&h);
    }
}

static Protection *protection(const Roster *roster)
{
    g_autoptr(Scenario) s = scenario_new("web", "alpha");
    Protection *p;

    scenario_add_replica(s, "beta");
    scenario_add_vm(s, VM, "web1");
    p = protection_new(s, roster, VM);
    p->goal = GOAL_RUNNING;
    p->state = SCENARIO_RUNNING;
    g_hash_table_add(p->up, g_strdup("alpha"));
    g_hash_table_add(p->up, g_strdup("beta"));
    ((ProtectionCopy *)((ProtectionVm *)p->vms->pdata[0])->copies->pdata[0])->state = COPY_PROTECTED;
    return p;
}

int main(int argc, char **argv)
{
    static const char *const NOBODY[] = {"127.0.0.1:1", NULL};
    g_autoptr(Roster) roster = roster_new();
    int rc;

    g_test_init(&argc, &argv, NULL);
    trace = g_string_new(NULL);
    roster_set(roster, "alpha", (Id){{0x0a}}, NOBODY);
    roster_set(roster, "beta", (Id){{0x0b}}, NOBODY);
    web = protection(roster);
    g_test_add_func("/plans/listener", test_listener);
    g_test_add_func("/plans/votes-alone", test_votes_alone);
    g_test_add_func("/plans/fenced", test_fenced);
    g_test_add_func("/plans/not-fenced", test_not_fenced);
    g_test_add_func("/plans/other-by-then", test_other_by_then);
    g_test_add_func("/plans/heard", test_heard);
    rc = g_test_run();
    protection_free(web);
    g_string_free(trace, TRUE);
    return rc;
}

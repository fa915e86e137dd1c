/* SPDX-License-Identifier: Apache-2.0 */
/* A plan with its journal: who listens hears of it before any engine does. Hosts and scenarios are fakes. */
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
static GString *trace; /* "listener web\n", "call alpha plan.lock\n" */

/* --- what is around it ----------------------------------------------------- */

/* No plan here asks for votes. */
void voice_elect(Voice *v, const char *to, Id vm, const Ballot *ballot, RpcAnswerFunc done, void *user)
{
    (void)v;
    (void)to;
    (void)vm;
    (void)ballot;
    (void)done;
    (void)user;
    g_assert_not_reached();
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
    (void)s;
    return g_ptr_array_new();
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
    rc = g_test_run();
    protection_free(web);
    g_string_free(trace, TRUE);
    return rc;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* A plan that parks: web2 starts after web1. Of each step the engine of alpha says at once that it is done, unless the test
 * says otherwise; what it was asked is the trace. */
#include "orchestrator/core/plan.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"
#include "world.h"

#include <string.h>

#define VMS 2

static const ParkOptions OPTIONS = {.id = {{0x77}}, .reign = {{0x88}}, .host = "alpha"};

typedef struct {
    World *w;
    Plan *plan;
    GString *trace;    /* "plan.lock 2, " */
    json_t *records;   /* of the journal */
    const char *fails; /* this method, of … */
    guint of;
    gboolean silent;           /* nobody answers */
    const char *done[VMS + 1]; /* as alpha has it */
} Park;

static guint number_of(Id vm)
{
    return id_equal(vm, world_vm(1)) ? 1 : 2;
}

static void take(Park *k, const PlanEvent *ev);

static void answer(Park *k, const Action *call)
{
    static const char *const STEPS[] = {"lock", "shutdown", "final", "park", "rollback"};
    guint vm = number_of(call->vm);
    g_autofree char *method = g_strdup(call->method);
    gboolean fails = k->fails && k->of == vm && g_str_equal(k->fails, method);
    g_autoptr(GError) no = fails ? g_error_new(US_ERROR, US_ERROR_FAILED, "no") : NULL;
    json_auto_t *result = json_pack("{s:s, s:s, s:n, s:n}", "done", k->done[vm], "tip",
                                    "42424242-4242-4242-4242-424242424242", "doing", "error");

    for (guint i = 0; !fails && i < G_N_ELEMENTS(STEPS); i++)
        if (g_str_equal(method + strlen("plan."), STEPS[i]))
            k->done[vm] = STEPS[i];
    take(k, &(PlanEvent){.kind = PLAN_ANSWER,
                         .now_ms = 1000,
                         .host = "alpha",
                         .method = method,
                         .vm = world_vm(vm),
                         .result = fails ? NULL : result,
                         .failure = no});
}

static void take(Park *k, const PlanEvent *ev)
{
    g_autoptr(ActionList) out = action_list_new();

    plan_step(k->plan, ev, out);
    for (guint i = 0; i < out->len; i++) {
        const Action *a = out->pdata[i];

        if (a->kind == ACTION_PERSIST)
            json_array_append(k->records, a->record);
        if (a->kind != ACTION_CALL)
            continue;
        g_string_append_printf(k->trace, "%s %u, ", a->method, number_of(a->vm));
        if (!k->silent)
            answer(k, a);
    }
}

static void expect(Park *k, const char *trace)
{
    g_assert_cmpstr(k->trace->str, ==, trace);
    g_string_truncate(k->trace, 0);
}

static Park *park_new(const ParkOptions *options)
{
    Park *k = g_new0(Park, 1);
    g_autoptr(GError) error = NULL;
    ScenarioVm *second;
    Id first = world_vm(1);

    k->w = world_new(VMS);
    second = k->w->p->scenario->vms->pdata[1];
    g_array_append_val(second->after, first);
    world_run(k->w);
    k->trace = g_string_new(NULL);
    k->records = json_array();
    k->done[1] = k->done[2] = "none";
    k->plan = plan_park(k->w->p, options, &error);
    g_assert_no_error(error);
    return k;
}

static void park_free(Park *k)
{
    plan_free(k->plan);
    json_decref(k->records);
    g_string_free(k->trace, TRUE);
    world_free(k->w);
    g_free(k);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Park, park_free)

static MoveState state_of(const Park *k, guint vm)
{
    return plan_find(k->plan, world_vm(vm))->state;
}

/* What alpha says of both: parked, and since another boot. */
static void says_booted(Park *k, gboolean booted)
{
    json_auto_t *active = json_array();
    json_auto_t *status = json_pack("{s:O}", "active", active);

    for (guint i = 1; i <= VMS; i++)
        json_array_append_new(
            active, json_pack("{s:s, s:o, s:{s:s, s:s, s:b, s:n}}", "vm", ID_TEXT(world_vm(i)), "reign",
                              reign_to_json((Reign){1, world_id(0xee)}), "plan", "plan", ID_TEXT(k->plan->id),
                              "done", "park", "booted", booted, "certificate"));
    take(k, &(PlanEvent){.kind = PLAN_NEWS, .now_ms = 2000, .host = "alpha", .result = status});
}

static void test_there_and_back(void)
{
    g_autoptr(Park) k = park_new(&OPTIONS);

    take(k, &(PlanEvent){.kind = PLAN_BEGIN, .now_ms = 1000});
    expect(k, "plan.lock 2, plan.shutdown 2, plan.final 2, plan.park 2, "
              "plan.lock 1, plan.shutdown 1, plan.final 1, plan.park 1, ");
    g_assert_true(plan_is_parked(k->plan));
    g_assert_false(k->plan->ended);
    take(k, &(PlanEvent){.kind = PLAN_TICK, .now_ms = 90000000});
    says_booted(k, FALSE);
    expect(k, "");
    says_booted(k, TRUE);
    expect(k, "plan.rollback 1, plan.rollback 2, ");
    g_assert_true(k->plan->ended);
    g_assert_cmpint(state_of(k, 1), ==, MOVE_STAYED);
    g_assert_null(plan_find(k->plan, world_vm(1))->why);
}

static void test_until_told(void)
{
    ParkOptions options = OPTIONS;
    g_autoptr(Park) k = NULL;

    options.until_told = TRUE;
    k = park_new(&options);
    take(k, &(PlanEvent){.kind = PLAN_BEGIN, .now_ms = 1000});
    says_booted(k, TRUE);
    g_assert_true(plan_is_parked(k->plan));
    g_string_truncate(k->trace, 0);
    take(k, &(PlanEvent){.kind = PLAN_CALL_BACK, .now_ms = 3000});
    take(k, &(PlanEvent){.kind = PLAN_CALL_BACK, .now_ms = 3000});
    expect(k, "plan.rollback 1, plan.rollback 2, ");
    g_assert_true(k->plan->ended);
}

/* Its standby is away, and its operator knows it. */
static void test_alone(void)
{
    g_autoptr(Park) k = park_new(&OPTIONS);
    ParkOptions options = OPTIONS;
    g_autoptr(GError) error = NULL;

    world_link(k->w, "beta", FALSE);
    plan_free(k->plan);
    options.alone = TRUE;
    k->plan = plan_park(k->w->p, &options, &error);
    g_assert_no_error(error);
    take(k, &(PlanEvent){.kind = PLAN_BEGIN, .now_ms = 1000});
    expect(k, "plan.lock 2, plan.shutdown 2, plan.park 2, plan.lock 1, plan.shutdown 1, plan.park 1, ");
    g_assert_true(plan_is_parked(k->plan));
    says_booted(k, TRUE);
    expect(k, "plan.rollback 1, plan.rollback 2, ");
}

/* Nothing is left down by halves. */
static void test_one_does_not_shut_down(void)
{
    g_autoptr(Park) k = park_new(&OPTIONS);

    k->fails = "plan.shutdown";
    k->of = 1;
    take(k, &(PlanEvent){.kind = PLAN_BEGIN, .now_ms = 1000});
    g_assert_false(plan_is_parked(k->plan));
    g_assert_true(k->plan->called);
    g_assert_true(k->plan->ended);
    g_assert_cmpint(state_of(k, 1), ==, MOVE_STAYED);
    g_assert_cmpint(state_of(k, 2), ==, MOVE_STAYED);
    g_assert_cmpstr(plan_find(k->plan, world_vm(1))->why, ==, "no");
    g_assert_nonnull(strstr(k->trace->str, "plan.rollback 2, "));
}

static void test_one_cannot_be_locked(void)
{
    g_autoptr(Park) k = park_new(&OPTIONS);

    k->fails = "plan.lock";
    k->of = 2;
    take(k, &(PlanEvent){.kind = PLAN_BEGIN, .now_ms = 1000});
    expect(k, "plan.lock 2, ");
    g_assert_true(k->plan->ended);
    g_assert_cmpint(state_of(k, 1), ==, MOVE_STAYED);
}

/* The operator thinks better of it while a guest is shutting down. */
static void test_called_back_in_the_middle(void)
{
    g_autoptr(Park) k = park_new(&OPTIONS);

    k->silent = TRUE;
    take(k, &(PlanEvent){.kind = PLAN_BEGIN, .now_ms = 1000});
    take(k,
         &(PlanEvent){
             .kind = PLAN_ANSWER, .now_ms = 1000, .host = "alpha", .method = "plan.lock", .vm = world_vm(2)});
    expect(k, "plan.lock 2, plan.shutdown 2, ");
    k->done[2] = "lock";
    k->silent = FALSE;
    take(k, &(PlanEvent){.kind = PLAN_CALL_BACK, .now_ms = 2000});
    expect(k, "plan.rollback 2, ");
    g_assert_true(k->plan->ended);
}

/* A controller that died, at each of its records, finds what is parked parked, and what is not on its way there. */
static void test_restart(void)
{
    g_autoptr(Park) k = park_new(&OPTIONS);
    gsize whole;

    take(k, &(PlanEvent){.kind = PLAN_BEGIN, .now_ms = 1000});
    whole = json_array_size(k->records);
    for (gsize n = 1; n <= whole; n++) {
        json_auto_t *some = json_array();
        g_autoptr(GError) error = NULL;

        for (gsize i = 0; i < n; i++)
            json_array_append(some, json_array_get(k->records, i));
        plan_free(k->plan);
        k->plan = plan_from_records(some, &error);
        g_assert_no_error(error);
        g_assert_true(k->plan->parks);
        plan_order(k->plan, k->w->p);
        k->done[1] = n < whole ? "none" : "park";
        k->done[2] = n < whole ? "lock" : "park";
        take(k, &(PlanEvent){.kind = PLAN_RESUME, .now_ms = 1000});
        take(k, &(PlanEvent){.kind = PLAN_LINK_BACK, .now_ms = 1000, .host = "beta"});
        take(k, &(PlanEvent){.kind = PLAN_LINK_BACK, .now_ms = 1000, .host = "alpha"});
        take(k, &(PlanEvent){.kind = PLAN_TICK, .now_ms = 100000});
        take(k, &(PlanEvent){.kind = PLAN_TICK, .now_ms = 200000});
        g_assert_true(plan_is_parked(k->plan));
        g_assert_null(strstr(k->trace->str, "rollback"));
        g_string_truncate(k->trace, 0);
    }
    take(k, &(PlanEvent){.kind = PLAN_CALL_BACK, .now_ms = 300000});
    expect(k, "plan.rollback 1, plan.rollback 2, ");
}

/* Its host does not come back: the last generation is what the standby goes on from. */
static void test_by_force(void)
{
    g_autoptr(Park) k = park_new(&OPTIONS);
    g_autoptr(GError) error = NULL;
    g_autoptr(Plan) forced = NULL;
    PlanOptions options = {.id = {{0x77}}, .reign = {{0x99}}, .force = TRUE, .now_ms = 5000};

    take(k, &(PlanEvent){.kind = PLAN_BEGIN, .now_ms = 1000});
    world_step(k->w,
               (Input){.kind = INPUT_PLAN_BEGUN, .plan = k->plan->id, .host = (char *)"beta", .parks = TRUE},
               &error);
    g_assert_no_error(error);
    g_assert_cmpint(k->w->p->state, ==, SCENARIO_MAINTENANCE);
    g_string_truncate(k->trace, 0);
    world_link(k->w, "alpha", FALSE);
    take(k, &(PlanEvent){.kind = PLAN_LINK_LOST, .now_ms = 4000, .host = "alpha"});
    take(k, &(PlanEvent){.kind = PLAN_LINK_BACK, .now_ms = 4000, .host = "beta"});
    options.running = k->plan;
    forced = plan_switchover(k->w->p, &options, &error);
    g_assert_no_error(error);
    k->silent = TRUE;
    take(k, &(PlanEvent){.kind = PLAN_FORCE, .now_ms = 5000, .forced = forced});
    expect(k, "plan.promote 1, ");
    g_assert_false(k->plan->parks);
}

static void test_refused(void)
{
    g_autoptr(World) w = world_new(1);
    g_autoptr(GError) error = NULL;
    ParkOptions options = OPTIONS;

    world_run(w);
    options.host = "beta";
    g_assert_null(plan_park(w->p, &options, &error));
    g_assert_error(error, US_ERROR, US_ERROR_NOT_FOUND);
    g_clear_error(&error);
    world_link(w, "beta", FALSE);
    g_assert_null(plan_park(w->p, &OPTIONS, &error));
    g_assert_error(error, US_ERROR, US_ERROR_UNREACHABLE);
    g_clear_error(&error);
    world_link(w, "beta", TRUE);
    world_do(w, INPUT_PAUSE);
    g_assert_null(plan_park(w->p, &OPTIONS, &error));
    g_assert_error(error, US_ERROR, US_ERROR_REFUSED);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/park/there_and_back", test_there_and_back);
    g_test_add_func("/park/until_told", test_until_told);
    g_test_add_func("/park/alone", test_alone);
    g_test_add_func("/park/one_does_not_shut_down", test_one_does_not_shut_down);
    g_test_add_func("/park/one_cannot_be_locked", test_one_cannot_be_locked);
    g_test_add_func("/park/called_back_in_the_middle", test_called_back_in_the_middle);
    g_test_add_func("/park/restart", test_restart);
    g_test_add_func("/park/by_force", test_by_force);
    g_test_add_func("/park/refused", test_refused);
    return g_test_run();
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What a plan makes of the start order of its scenario. db, app after db, web after app; every call of an engine
 * takes a second, and what is decided about shutdowns and starts is narrated. */
#include "orchestrator/core/plan.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"
#include "world.h"

#include <string.h>

#define VMS 3
#define DB 1
#define APP 2
#define WEB 3

static const char *const NAMES[] = {"", "db", "app", "web"};

typedef struct {
    gint64 at_ms;
    const char *method;
    guint vm;
} Call;

typedef struct {
    World *w;
    Vitals *v;
    Plan *plan;
    GString *trace;
    json_t *records;
    GArray *calls;               /* of Call, that are to be answered */
    gint64 now_ms;               /* starts at 1 s */
    gint64 runs_ms[VMS + 1];     /* on beta, since; 0: not */
    gint64 wakes_ms[VMS + 1];    /* its check answers so long after that; -1: never */
    guint64 reign;               /* of the checks that beta makes */
    const char *done[VMS + 1];   /* as alpha has it */
    const char *fails[VMS + 1];  /* this method of it */
    gboolean stays_off[VMS + 1]; /* its promotion leaves it off */
} Play;

static guint number_of(Id vm)
{
    for (guint i = 1; i <= VMS; i++)
        if (id_equal(vm, world_vm(i)))
            return i;
    g_assert_not_reached();
}

static ScenarioVm *vm_of(const Play *play, guint i)
{
    return play->w->p->scenario->vms->pdata[i - 1];
}

static void set_after(Play *play, guint vm, guint other)
{
    Id id = world_vm(other);

    g_array_append_val(vm_of(play, vm)->after, id);
}

static void set_name(char **name, const char *to)
{
    g_free(*name);
    *name = g_strdup(to);
}

static Play *play_new(const char *gate)
{
    Play *play = g_new0(Play, 1);

    play->w = world_new(VMS);
    play->v = vitals_new();
    vitals_add(play->v, "beta", world_id(0xb2));
    vitals_link(play->v, "beta", TRUE);
    play->w->p->vitals = play->v;
    play->w->p->scenario->policy.start_timeout_ms = 20000;
    for (guint i = 1; i <= VMS; i++) {
        play->done[i] = "none";
        set_name(&vm_of(play, i)->name, NAMES[i]);
        set_name(&protection_find(play->w->p, world_vm(i))->name, NAMES[i]);
        g_assert_true(gate_parse(gate, &vm_of(play, i)->gate, NULL));
    }
    set_after(play, APP, DB);
    set_after(play, WEB, APP);
    world_run(play->w);
    play->trace = g_string_new(NULL);
    play->records = json_array();
    play->calls = g_array_new(FALSE, FALSE, sizeof(Call));
    play->now_ms = 1000;
    play->reign = 2;
    return play;
}

static void play_free(Play *play)
{
    plan_free(play->plan);
    world_free(play->w);
    vitals_free(play->v);
    g_string_free(play->trace, TRUE);
    json_decref(play->records);
    g_array_unref(play->calls);
    g_free(play);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Play, play_free)

static void say(Play *play, const char *format, ...) G_GNUC_PRINTF(2, 3);

static void say(Play *play, const char *format, ...)
{
    va_list args;

    g_string_append_printf(play->trace, "[%3" G_GINT64_FORMAT "] ", play->now_ms / 1000);
    va_start(args, format);
    g_string_append_vprintf(play->trace, format, args);
    va_end(args);
    g_string_append_c(play->trace, '\n');
}

static void expect(Play *play, const char *trace)
{
    if (!g_str_equal(play->trace->str, trace))
        g_test_message("got:\n%s", play->trace->str);
    g_assert_cmpstr(play->trace->str, ==, trace);
    g_string_truncate(play->trace, 0);
}

/* --- what is decided --------------------------------------------------------- */

static void take_call(Play *play, const Action *a)
{
    Call call = {play->now_ms + 1000, a->method, number_of(a->vm)};

    if (g_str_equal(a->method, "plan.shutdown") || g_str_equal(a->method, "plan.promote") ||
        g_str_equal(a->method, "plan.rollback"))
        say(play, "%s on %s: %s", NAMES[call.vm], a->host, a->method);
    g_array_append_val(play->calls, call);
}

static gboolean is_told(const char *text)
{
    return strstr(text, " held: ") || strstr(text, " stayed: ") || strstr(text, " blocked: ");
}

static void take(Play *play, const Action *a)
{
    if (a->kind == ACTION_CALL)
        take_call(play, a);
    else if (a->kind == ACTION_PERSIST)
        json_array_append(play->records, a->record);
    else if (a->kind == ACTION_LOG && is_told(a->text))
        say(play, "%s", a->text);
    else if (a->kind == ACTION_TELL && a->tell->kind == INPUT_GATE_MISSED)
        say(play, "%s on %s is waited for no longer: %s", NAMES[number_of(a->tell->vm)], a->tell->host,
            a->tell->why);
}

static void step(Play *play, PlanEvent ev)
{
    g_autoptr(ActionList) out = action_list_new();

    ev.now_ms = play->now_ms;
    plan_step(play->plan, &ev, out);
    for (guint i = 0; i < out->len; i++)
        take(play, out->pdata[i]);
}

/* --- what engines do ---------------------------------------------------------- */

/* Asked again, it runs as before. */
static void run_on_beta(Play *play, guint vm)
{
    if (play->runs_ms[vm] == 0 && !play->stays_off[vm])
        play->runs_ms[vm] = play->now_ms;
}

static json_t *result_of(Play *play, const Call *call)
{
    static const char *const WORDS[] = {"lock", "shutdown", "final", "release", "unlock", "rollback"};

    for (guint i = 0; i < G_N_ELEMENTS(WORDS); i++)
        if (g_str_equal(call->method + strlen("plan."), WORDS[i]))
            play->done[call->vm] = WORDS[i];
    if (g_str_equal(call->method, "plan.promote"))
        run_on_beta(play, call->vm);
    return json_pack("{s:s, s:n, s:n, s:s, s:s, s:b}", "done", play->done[call->vm], "doing", "error", "tip",
                     ID_TEXT(world_id(0x42)), "certificate", "paper", "running", !play->stays_off[call->vm]);
}

static void answer(Play *play, Call call)
{
    gboolean fails = g_strcmp0(play->fails[call.vm], call.method) == 0;
    g_autoptr(GError) failure = fails ? g_error_new(US_ERROR, US_ERROR_FAILED, "no") : NULL;
    json_auto_t *result = fails ? NULL : result_of(play, &call);

    step(play, (PlanEvent){.kind = PLAN_ANSWER,
                           .method = call.method,
                           .vm = world_vm(call.vm),
                           .result = result,
                           .failure = failure});
}

/* beta's checks of what it runs. */
static void hear(Play *play)
{
    json_auto_t *doc = json_pack("{s:{s:[]}}", "watch", "guests");

    for (guint i = 1; i <= VMS; i++) {
        gboolean answers = play->runs_ms[i] && play->wakes_ms[i] >= 0 &&
                           play->now_ms >= play->runs_ms[i] + play->wakes_ms[i];

        if (play->runs_ms[i])
            json_array_append_new(json_object_get(json_object_get(doc, "watch"), "guests"),
                                  json_pack("{s:s, s:I, s:[{s:s, s:b, s:b, s:i}]}", "vm",
                                            ID_TEXT(world_vm(i)), "reign", (json_int_t)play->reign, "checks",
                                            "words", "agent", "tried", 1, "ever", answers, "misses",
                                            answers ? 0 : 1));
    }
    vitals_hear(play->v, "beta", doc);
}

static void pass(Play *play, int seconds)
{
    for (; seconds > 0; seconds--) {
        g_autoptr(GArray) due = g_steal_pointer(&play->calls);

        play->now_ms += 1000;
        play->calls = g_array_new(FALSE, FALSE, sizeof(Call));
        for (guint i = 0; i < due->len; i++)
            answer(play, g_array_index(due, Call, i));
        hear(play);
        step(play, (PlanEvent){.kind = PLAN_TICK});
    }
}

static void begin(Play *play, PlanOptions options)
{
    GError *error = NULL;

    options.id = world_id(0x77);
    options.reign = world_id(0x88);
    options.now_ms = play->now_ms;
    play->plan = plan_switchover(play->w->p, &options, &error);
    g_assert_no_error(error);
    if (options.force)
        play->reign = 3;
    step(play, (PlanEvent){.kind = PLAN_BEGIN});
}

/* The controller is killed, and starts again. What it had asked for is done, @lost, or was never heard of. */
static void restart(Play *play, gboolean lost)
{
    GError *error = NULL;

    for (guint i = 0; lost && i < play->calls->len; i++)
        json_decref(result_of(play, &g_array_index(play->calls, Call, i)));
    plan_free(play->plan);
    play->plan = plan_from_records(play->records, &error);
    g_assert_no_error(error);
    plan_order(play->plan, play->w->p);
    g_array_set_size(play->calls, 0);
    play->plan->from_up = play->plan->to_up = TRUE;
    step(play, (PlanEvent){.kind = PLAN_RESUME});
    step(play,
         (PlanEvent){.kind = PLAN_NEWS, .host = "beta", .result = json_object_get(play->records, "none")});
}

static MoveState state_of(const Play *play, guint vm)
{
    return plan_find(play->plan, world_vm(vm))->state;
}

static void all_moved(const Play *play)
{
    for (guint i = 1; i <= VMS; i++)
        g_assert_cmpint(state_of(play, i), ==, MOVE_MOVED);
    g_assert_true(play->plan->ended);
}

static char *why_of(const Play *play, guint vm)
{
    json_auto_t *doc = plan_to_json(play->plan);

    return g_strdup(
        json_string_value(json_object_get(json_array_get(json_object_get(doc, "vms"), vm - 1), "why")));
}

static void says(const Play *play, guint vm, const char *why)
{
    g_autofree char *got = why_of(play, vm);

    g_assert_cmpstr(got, ==, why);
}

/* --- in good order ------------------------------------------------------------- */

#define HELD " held: the active gave the VM up for good; those it starts after come first\n"

static void test_order(void)
{
    g_autoptr(Play) play = play_new("none");

    begin(play, (PlanOptions){0});
    says(play, DB, "waits for 'app', which starts after it, to be off");
    says(play, APP, "waits for 'web', which starts after it, to be off");
    says(play, WEB, NULL);
    pass(play, 5);
    says(play, WEB, "waits for 'app': it does not run yet");
    pass(play, 15);
    expect(play, "[  2] web on alpha: plan.shutdown\n"
                 "[  4] app on alpha: plan.shutdown\n"
                 "[  5] web" HELD "[  6] db on alpha: plan.shutdown\n"
                 "[  7] app" HELD "[  9] db on beta: plan.promote\n"
                 "[ 10] app on beta: plan.promote\n"
                 "[ 11] web on beta: plan.promote\n");
    all_moved(play);
}

/* Without an order nobody waits. */
static void test_no_order(void)
{
    g_autoptr(Play) play = play_new("probe");

    for (guint i = 1; i <= VMS; i++)
        g_array_set_size(vm_of(play, i)->after, 0);
    begin(play, (PlanOptions){0});
    pass(play, 8);
    expect(play, "[  2] db on alpha: plan.shutdown\n"
                 "[  2] app on alpha: plan.shutdown\n"
                 "[  2] web on alpha: plan.shutdown\n"
                 "[  5] db on beta: plan.promote\n"
                 "[  5] app on beta: plan.promote\n"
                 "[  5] web on beta: plan.promote\n");
    all_moved(play);
}

/* db answers 4 s after it runs, app at once, and must have answered for 3 s. */
static void test_gates(void)
{
    g_autoptr(Play) play = play_new("probe");

    play->wakes_ms[DB] = 4000;
    g_assert_true(gate_parse("probe+3s", &vm_of(play, APP)->gate, NULL));
    begin(play, (PlanOptions){0});
    pass(play, 11);
    says(play, APP, "waits for 'db': its probe 'agent' is not answered yet");
    pass(play, 4);
    says(play, WEB, "waits for 'app': it has to answer for 3s first");
    pass(play, 10);
    expect(play, "[  2] web on alpha: plan.shutdown\n"
                 "[  4] app on alpha: plan.shutdown\n"
                 "[  5] web" HELD "[  6] db on alpha: plan.shutdown\n"
                 "[  7] app" HELD "[  9] db on beta: plan.promote\n"
                 "[ 14] app on beta: plan.promote\n"
                 "[ 18] web on beta: plan.promote\n");
    all_moved(play);
}

/* What was answered in another reign was answered by what ran elsewhere. */
static void test_stale_answers(void)
{
    g_autoptr(Play) play = play_new("probe");

    play->reign = 1;
    begin(play, (PlanOptions){0});
    pass(play, 20);
    g_assert_cmpint(state_of(play, APP), ==, MOVE_HELD);
    play->reign = 2;
    pass(play, 1);
    g_assert_cmpint(state_of(play, APP), ==, MOVE_PROMOTING);
}

static void test_delay(void)
{
    g_autoptr(Play) play = play_new("5s");

    begin(play, (PlanOptions){0});
    pass(play, 10);
    says(play, APP, "waits for 'db': it has to run for 5s first");
    pass(play, 15);
    g_string_erase(play->trace, 0, strstr(play->trace->str, "[  9]") - play->trace->str);
    expect(play, "[  9] db on beta: plan.promote\n"
                 "[ 15] app on beta: plan.promote\n"
                 "[ 21] web on beta: plan.promote\n");
}

/* A database that never answers leaves nobody down. */
static void test_gate_never_met(void)
{
    g_autoptr(Play) play = play_new("probe");

    play->wakes_ms[DB] = -1;
    begin(play, (PlanOptions){0});
    pass(play, 40);
    g_string_erase(play->trace, 0, strstr(play->trace->str, "[  9]") - play->trace->str);
    expect(play,
           "[  9] db on beta: plan.promote\n"
           "[ 30] db on beta is waited for no longer: its probe 'agent' was not answered within 20.0 s\n"
           "[ 30] app on beta: plan.promote\n"
           "[ 31] web on beta: plan.promote\n");
    all_moved(play);
    says(play, DB, "its probe 'agent' was not answered within 20.0 s");
}

/* --- what does not take part ----------------------------------------------------- */

/* Through what is off, or not moved, the order holds. */
static void test_left_out(void)
{
    g_autoptr(Play) play = play_new("none");
    const Id two[] = {world_vm(DB), world_vm(WEB)};

    begin(play, (PlanOptions){.vms = two, .vm_count = 2});
    pass(play, 10);
    expect(play, "[  2] web on alpha: plan.shutdown\n"
                 "[  4] db on alpha: plan.shutdown\n"
                 "[  5] web" HELD "[  7] db on beta: plan.promote\n"
                 "[  8] web on beta: plan.promote\n");
}

static void test_off_before(void)
{
    g_autoptr(Play) play = play_new("probe");

    world_news_more(play->w, APP, "protected", 500, NULL, "{\"guest\":\"off\"}");
    play->stays_off[APP] = TRUE;
    begin(play, (PlanOptions){0});
    pass(play, 20);
    expect(play, "[  2] app on alpha: plan.shutdown\n"
                 "[  2] web on alpha: plan.shutdown\n"
                 "[  4] db on alpha: plan.shutdown\n"
                 "[  5] app on beta: plan.promote\n"
                 "[  5] web" HELD "[  7] db on beta: plan.promote\n"
                 "[  8] web on beta: plan.promote\n");
    all_moved(play);
}

/* Its user has shut it down meanwhile: it is left off there, and not waited for. */
static void test_off_there(void)
{
    g_autoptr(Play) play = play_new("probe");

    play->stays_off[DB] = TRUE;
    begin(play, (PlanOptions){0});
    pass(play, 20);
    g_assert_cmpint(play->runs_ms[APP], ==, 11000);
    all_moved(play);
}

/* --- failures ---------------------------------------------------------------------- */

/* Nothing is taken from under web, which does not shut down. */
static void test_last_stays(void)
{
    g_autoptr(Play) play = play_new("none");

    play->fails[WEB] = "plan.shutdown";
    begin(play, (PlanOptions){0});
    pass(play, 10);
    expect(play, "[  2] web on alpha: plan.shutdown\n"
                 "[  3] web on alpha: plan.rollback\n"
                 "[  4] web stayed: the guest runs where it was\n"
                 "[  4] app stayed: the old active keeps what runs there: nothing was begun\n"
                 "[  4] db stayed: the old active keeps what runs there: nothing was begun\n");
    says(play, DB, "'app', which starts after it, stayed on alpha: nothing is taken from under it");
    g_assert_true(play->plan->ended);
}

/* What was released before db stayed is started, and does not wait for it. */
static void test_first_stays(void)
{
    g_autoptr(Play) play = play_new("probe");

    play->fails[DB] = "plan.final";
    begin(play, (PlanOptions){0});
    pass(play, 20);
    g_string_erase(play->trace, 0, strstr(play->trace->str, "[  8]") - play->trace->str);
    expect(play, "[  8] db on alpha: plan.rollback\n"
                 "[  9] db stayed: the guest runs where it was\n"
                 "[  9] app on beta: plan.promote\n"
                 "[ 10] web on beta: plan.promote\n");
    g_assert_true(play->plan->ended);
}

/* The others are started without what cannot be, for as long as that is so. */
static void test_blocked(void)
{
    g_autoptr(Play) play = play_new("none");

    play->fails[DB] = "plan.promote";
    begin(play, (PlanOptions){0});
    pass(play, 35);
    g_string_erase(play->trace, 0, strstr(play->trace->str, "[  9]") - play->trace->str);
    expect(play, "[  9] db on beta: plan.promote\n"
                 "[ 10] db blocked: the standby did not start the guest\n"
                 "[ 20] db on beta: plan.promote\n"
                 "[ 21] db blocked: the standby did not start the guest\n"
                 "[ 29] db on beta is waited for no longer: beta did not start it within 20.0 s: no\n"
                 "[ 29] app on beta: plan.promote\n"
                 "[ 30] web on beta: plan.promote\n"
                 "[ 31] db on beta: plan.promote\n"
                 "[ 32] db blocked: the standby did not start the guest\n");
    play->fails[DB] = NULL;
    pass(play, 20);
    all_moved(play);
}

/* alpha goes when web is released, and db and app are not: what is released comes up. */
static void test_active_goes(void)
{
    g_autoptr(Play) play = play_new("none");

    begin(play, (PlanOptions){0});
    pass(play, 4);
    g_assert_cmpint(state_of(play, WEB), ==, MOVE_HELD);
    g_array_set_size(play->calls, 0);
    step(play, (PlanEvent){.kind = PLAN_LINK_LOST, .host = "alpha"});
    pass(play, 30);
    g_string_erase(play->trace, 0, strstr(play->trace->str, "[ 25]") - play->trace->str);
    expect(play,
           "[ 25] app on beta is waited for no longer: for 20.0 s alpha has not said what became of it\n"
           "[ 25] web on beta: plan.promote\n");
    g_assert_cmpint(state_of(play, WEB), ==, MOVE_MOVED);
    g_assert_cmpint(state_of(play, DB), ==, MOVE_READING);
}

/* --- by force ------------------------------------------------------------------------ */

static void test_force(void)
{
    g_autoptr(Play) play = play_new("probe");

    play->wakes_ms[DB] = 3000;
    world_link(play->w, "alpha", FALSE);
    begin(play, (PlanOptions){.force = TRUE, .old_is_off = TRUE});
    says(play, WEB, "waits for 'app': it does not run yet");
    pass(play, 15);
    expect(play, "[  1] db on beta: plan.promote\n"
                 "[  5] app on beta: plan.promote\n"
                 "[  6] web on beta: plan.promote\n");
    all_moved(play);
}

/* What waits is not taken from a host that answers again. */
static void test_force_stops(void)
{
    g_autoptr(Play) play = play_new("none");

    world_link(play->w, "alpha", FALSE);
    begin(play, (PlanOptions){.force = TRUE});
    step(play, (PlanEvent){.kind = PLAN_LINK_BACK, .host = "alpha"});
    pass(play, 5);
    expect(play, "[  1] db on beta: plan.promote\n"
                 "[  2] app stayed: the old active keeps what runs there: nothing was begun\n"
                 "[  2] web stayed: the old active keeps what runs there: nothing was begun\n");
}

/* A plan in good order that is gone on with by force: what is released, and what is not, still come up in order. */
static void test_force_running(void)
{
    g_autoptr(Play) play = play_new("none");
    g_autoptr(Plan) forced = NULL;

    begin(play, (PlanOptions){0});
    pass(play, 4);
    g_array_set_size(play->calls, 0);
    play->w->p->plan = play->plan->id;
    world_link(play->w, "alpha", FALSE);
    step(play, (PlanEvent){.kind = PLAN_LINK_LOST, .host = "alpha"});
    forced = plan_switchover(
        play->w->p,
        &(PlanOptions){.force = TRUE, .old_is_off = TRUE, .running = play->plan, .now_ms = play->now_ms},
        NULL);
    g_string_truncate(play->trace, 0);
    step(play, (PlanEvent){.kind = PLAN_FORCE, .forced = forced});
    pass(play, 10);
    expect(play, "[  5] db on beta: plan.promote\n"
                 "[  5] app held: it is released; those it starts after come first\n"
                 "[  6] app on beta: plan.promote\n"
                 "[  7] web on beta: plan.promote\n");
    all_moved(play);
}

static const Call *asked(const Play *play, guint vm)
{
    for (guint i = 0; i < play->calls->len; i++)
        if (g_array_index(play->calls, Call, i).vm == vm)
            return &g_array_index(play->calls, Call, i);
    return NULL;
}

/* What is held by force waits for its old active, too, should that come back meanwhile. */
static void test_force_held(void)
{
    g_autoptr(Play) play = play_new("5s");
    g_autoptr(Plan) forced = NULL;

    begin(play, (PlanOptions){0});
    pass(play, 4);
    g_array_set_size(play->calls, 0);
    play->w->p->plan = play->plan->id;
    world_link(play->w, "alpha", FALSE);
    step(play, (PlanEvent){.kind = PLAN_LINK_LOST, .host = "alpha"});
    forced = plan_switchover(
        play->w->p, &(PlanOptions){.force = TRUE, .running = play->plan, .now_ms = play->now_ms}, NULL);
    step(play, (PlanEvent){.kind = PLAN_FORCE, .forced = forced});
    pass(play, 2);
    g_assert_cmpint(state_of(play, APP), ==, MOVE_HELD);
    step(play, (PlanEvent){.kind = PLAN_LINK_BACK, .host = "alpha"});
    g_assert_null(asked(play, APP));
    pass(play, 4);
    g_assert_cmpstr(asked(play, APP)->method, ==, "active.yield");
    pass(play, 1);
    g_assert_cmpstr(asked(play, APP)->method, ==, "plan.promote");
    pass(play, 10);
    all_moved(play);
}

/* --- the controller is restarted ------------------------------------------------------- */

static gboolean all_before_ran(const Play *play, guint vm)
{
    return vm == DB || (play->runs_ms[vm - 1] && play->runs_ms[vm - 1] + 2000 <= play->runs_ms[vm]);
}

static gboolean survives(int second, gboolean lost, PlanOptions options)
{
    g_autoptr(Play) play = play_new("probe");

    play->wakes_ms[DB] = play->wakes_ms[APP] = 2000;
    if (options.force)
        world_link(play->w, "alpha", FALSE);
    begin(play, options);
    pass(play, second);
    if (play->plan->ended)
        return FALSE;
    restart(play, lost);
    play->plan->from_up = !options.force;
    pass(play, 120);
    all_moved(play);
    for (guint i = 1; i <= VMS; i++)
        g_assert_true(all_before_ran(play, i));
    return TRUE;
}

/* Whatever second it dies in: all run there in the end, and nobody before the one it starts after has answered. */
static void test_restart(void)
{
    int seconds = 0;

    while (survives(seconds, FALSE, (PlanOptions){0}) && survives(seconds, TRUE, (PlanOptions){0}))
        seconds++;
    g_assert_cmpint(seconds, ==, 16);
}

static void test_restart_by_force(void)
{
    const PlanOptions options = {.force = TRUE, .old_is_off = TRUE};
    int seconds = 0;

    while (survives(seconds, FALSE, options) && survives(seconds, TRUE, options))
        seconds++;
    g_assert_cmpint(seconds, ==, 7);
}

/* The old active has gone meanwhile: what it had released by then is in the journal, and comes up. */
static void test_restart_without_active(void)
{
    g_autoptr(Play) play = play_new("none");

    begin(play, (PlanOptions){0});
    pass(play, 4);
    g_assert_cmpint(state_of(play, WEB), ==, MOVE_HELD);
    restart(play, FALSE);
    step(play, (PlanEvent){.kind = PLAN_LINK_LOST, .host = "alpha"});
    pass(play, 30);
    g_assert_cmpint(state_of(play, WEB), ==, MOVE_MOVED);
}

/* Its promotion took place, the answer was lost: what runs there waits for nobody. */
static void test_restart_runs_there(void)
{
    g_autoptr(Play) play = play_new("probe");
    json_auto_t *status =
        json_pack("{s:[], s:[{s:s, s:o}]}", "active", "standby", "vm", ID_TEXT(world_vm(WEB)), "promoted",
                  reign_to_json((Reign){2, world_id(0x88)}));

    play->wakes_ms[DB] = -1;
    begin(play, (PlanOptions){0});
    pass(play, 5);
    g_assert_cmpint(state_of(play, WEB), ==, MOVE_HELD);
    plan_free(play->plan);
    play->plan = plan_from_records(play->records, NULL);
    plan_order(play->plan, play->w->p);
    play->plan->from_up = play->plan->to_up = TRUE;
    step(play, (PlanEvent){.kind = PLAN_RESUME});
    step(play, (PlanEvent){.kind = PLAN_NEWS, .host = "beta", .result = status});
    g_assert_cmpint(state_of(play, WEB), ==, MOVE_PROMOTING);
}

/* The journal is lost while some are held: these go on, the rest is rolled back. */
static void test_journal_lost(void)
{
    g_autoptr(Play) play = play_new("none");

    begin(play, (PlanOptions){0});
    pass(play, 4);
    step(play, (PlanEvent){.kind = PLAN_JOURNAL_LOST});
    pass(play, 20);
    g_assert_cmpint(state_of(play, WEB), ==, MOVE_MOVED);
    g_assert_cmpint(state_of(play, APP), ==, MOVE_STAYED);
    g_assert_cmpint(state_of(play, DB), ==, MOVE_STAYED);
}

/* --- many -------------------------------------------------------------------------------- */

static void start_after(const World *w, guint vm, guint other)
{
    Id id = world_vm(other);

    g_array_append_val(((ScenarioVm *)w->p->scenario->vms->pdata[vm - 1])->after, id);
}

static PlanEvent answer_to(const Call *call, gboolean fails, const json_t *result, const GError *failure)
{
    return (PlanEvent){.kind = PLAN_ANSWER,
                       .now_ms = call->at_ms,
                       .method = call->method,
                       .vm = world_vm(call->vm),
                       .result = fails ? NULL : result,
                       .failure = fails ? failure : NULL};
}

/* One call after the other, until there is none; beta cannot start the VMs from @first to @last. */
static void carry_out(Plan *plan, guint first, guint last)
{
    json_auto_t *result = json_pack("{s:s, s:s}", "tip", ID_TEXT(world_id(0x42)), "certificate", "paper");
    g_autoptr(GError) failure = g_error_new(US_ERROR, US_ERROR_FAILED, "no memory");
    g_autoptr(GQueue) calls = g_queue_new();
    PlanEvent ev = {.kind = PLAN_BEGIN, .now_ms = 1000};

    for (g_autofree Call *call = NULL;;) {
        g_autoptr(ActionList) out = action_list_new();

        plan_step(plan, &ev, out);
        for (guint i = 0; i < out->len; i++) {
            const Action *a = out->pdata[i];
            Call next = {1000, a->method, (guint)(a->vm.bytes[0] - 0x10)};

            if (a->kind == ACTION_CALL)
                g_queue_push_tail(calls, g_memdup2(&next, sizeof next));
        }
        g_free(call);
        call = g_queue_pop_head(calls);
        if (!call)
            return;
        ev = answer_to(call,
                       g_str_equal(call->method, "plan.promote") && call->vm >= first && call->vm <= last,
                       result, failure);
    }
}

static guint how_many(const Plan *plan, MoveState state)
{
    guint n = 0;

    for (guint i = 0; i < plan->moves->len; i++)
        n += ((const Move *)plan->moves->pdata[i])->state == state;
    return n;
}

/* A chain longer than what may be under way at a time: who is held is not counted. */
static void test_long_chain(void)
{
    g_autoptr(World) w = world_new(40);
    g_autoptr(Plan) plan = NULL;

    for (guint i = 2; i <= 40; i++)
        start_after(w, i, i - 1);
    world_run(w);
    plan = plan_switchover(w->p, &(PlanOptions){.id = world_id(0x77)}, NULL);
    carry_out(plan, 0, 0);
    g_assert_cmpuint(how_many(plan, MOVE_MOVED), ==, 40);
}

/* Where nothing can be started no more guests are shut down, but for the one that another, which is off, waits for. */
static void test_waited_for(void)
{
    const guint db = PLAN_AT_ONCE + 2, other = PLAN_AT_ONCE + 3;
    g_autoptr(World) w = world_new(other);
    g_autoptr(Plan) plan = NULL;

    start_after(w, 1, db);
    world_run(w);
    plan = plan_switchover(w->p, &(PlanOptions){.id = world_id(0x77)}, NULL);
    carry_out(plan, 2, PLAN_AT_ONCE + 1);
    g_assert_cmpuint(how_many(plan, MOVE_BLOCKED), ==, PLAN_AT_ONCE);
    g_assert_cmpuint(how_many(plan, MOVE_MOVED), ==, 2);
    g_assert_cmpint(plan_find(plan, world_vm(1))->state, ==, MOVE_MOVED);
    g_assert_cmpint(plan_find(plan, world_vm(other))->state, ==, MOVE_WAITING);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/plan-order/order", test_order);
    g_test_add_func("/plan-order/no-order", test_no_order);
    g_test_add_func("/plan-order/gates", test_gates);
    g_test_add_func("/plan-order/stale-answers", test_stale_answers);
    g_test_add_func("/plan-order/delay", test_delay);
    g_test_add_func("/plan-order/gate-never-met", test_gate_never_met);
    g_test_add_func("/plan-order/left-out", test_left_out);
    g_test_add_func("/plan-order/off-before", test_off_before);
    g_test_add_func("/plan-order/off-there", test_off_there);
    g_test_add_func("/plan-order/last-stays", test_last_stays);
    g_test_add_func("/plan-order/first-stays", test_first_stays);
    g_test_add_func("/plan-order/blocked", test_blocked);
    g_test_add_func("/plan-order/active-goes", test_active_goes);
    g_test_add_func("/plan-order/force", test_force);
    g_test_add_func("/plan-order/force-stops", test_force_stops);
    g_test_add_func("/plan-order/force-running", test_force_running);
    g_test_add_func("/plan-order/force-held", test_force_held);
    g_test_add_func("/plan-order/restart", test_restart);
    g_test_add_func("/plan-order/restart-by-force", test_restart_by_force);
    g_test_add_func("/plan-order/restart-without-active", test_restart_without_active);
    g_test_add_func("/plan-order/restart-runs-there", test_restart_runs_there);
    g_test_add_func("/plan-order/journal-lost", test_journal_lost);
    g_test_add_func("/plan-order/long-chain", test_long_chain);
    g_test_add_func("/plan-order/waited-for", test_waited_for);
    return g_test_run();
}

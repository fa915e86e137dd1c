/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/plans.h"

#include "orchestrator/run/journal.h"
#include "orchestrator/verification.h"
#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/log.h"
#include "vmconnect/base/machine.h"
#include "vmconnect/loop/clerk.h"

#define PLANS_KEPT 100

struct Plans {
    Hosts *hosts;
    Scenarios *scenarios;
    Voice *voice;
    Fences *fences;
    Id boot;          /* of this machine; its clock is the plans' */
    Journal *journal; /* the clerk's, once something was given to it */
    Clerk *clerk;
    Runner *runner;
    GPtrArray *earlier;     /* Earlier *: plans of earlier processes, until they are taken up */
    GHashTable *unreadable; /* set of Id *: whose files are damaged */
    GHashTable *beginning;  /* Id * -> Waiter *: who started a plan that is not durable yet */
    void (*on_calls)(void *user, const char *scenario);
    void *listener;
    gboolean closed;
};

typedef struct {
    ScenariosDone done;
    void *user;
} Waiter;

typedef struct {
    Id id;
    json_t *records;
} Earlier;

static void earlier_free(gpointer data)
{
    Earlier *earlier = data;

    json_decref(earlier->records);
    g_free(earlier);
}

/* --- duties ------------------------------------------------------------ */

typedef struct {
    Plans *plans;
    Id plan;
    Id vm;
    const char *method;
} Called;

static void on_answer(void *user, const json_t *result, const GError *error)
{
    g_autofree Called *c = user;

    if (!c->plans->closed)
        runner_answer(c->plans->runner, c->plan, c->method, c->vm, result, error);
}

/* No engine's step: the voters are asked, and this controller is one of them. */
static void elect(Plans *plans, const char *to, Id vm, const json_t *params, Called *steal_called)
{
    g_autoptr(GError) error = NULL;
    Ballot ballot;

    if (ballot_from_json(json_object_get(params, "ballot"), &ballot, &error))
        voice_elect(plans->voice, to, vm, &ballot, on_answer, steal_called);
    else
        on_answer(steal_called, NULL, error);
}

static void duty_call(void *ctx, Id plan, const char *host, const char *method, Id vm, const json_t *params,
                      gint64 limit_ms)
{
    Plans *plans = ctx;
    Called *c = g_new0(Called, 1);

    if (plans->on_calls)
        plans->on_calls(plans->listener, runner_find(plans->runner, plan)->scenario);
    log_info("plan %s: %s of %s -> %s", ID_TEXT(plan), method, ID_TEXT(vm), host);
    *c = (Called){plans, plan, vm, method};
    if (g_str_equal(method, "plan.elect"))
        elect(plans, host, vm, params, c);
    else
        hosts_call(plans->hosts, host, method, params, limit_ms, on_answer, c);
}

typedef struct {
    Plans *plans;
    Id plan;
    json_t *record;
    GError *error;
} Appending;

static void append_work(void *data)
{
    Appending *a = data;

    journal_append(a->plans->journal, a->plan, a->record, &a->error);
}

/* The first of its records: whoever started the plan is told. */
static void tell_beginner(Plans *plans, Id plan, const GError *error)
{
    Waiter *w = g_hash_table_lookup(plans->beginning, &plan);

    if (!w)
        return;
    w->done(w->user, error);
    g_hash_table_remove(plans->beginning, &plan);
}

static void append_done(void *data)
{
    Appending *a = data;

    if (a->error)
        log_error("plan %s: its journal cannot be written: %s", ID_TEXT(a->plan), a->error->message);
    tell_beginner(a->plans, a->plan, a->error);
    if (!a->plans->closed)
        runner_persisted(a->plans->runner, a->plan, a->error);
    json_decref(a->record);
    g_clear_error(&a->error);
    g_free(a);
}

static void duty_persist(void *ctx, Id plan, const json_t *record)
{
    Plans *plans = ctx;
    Appending *a = g_new0(Appending, 1);

    /* Its own copy: reference counts do not cross threads. */
    *a = (Appending){plans, plan, json_deep_copy(record), NULL};
    clerk_submit(plans->clerk, append_work, append_done, a);
}

typedef struct {
    Plans *plans;
    Id plan;
} Telling;

static void on_told(void *user, const GError *error)
{
    g_autofree Telling *t = user;

    if (!t->plans->closed && !error)
        runner_told(t->plans->runner, t->plan);
}

static void duty_tell(void *ctx, const Plan *plan, const Input *in)
{
    Plans *plans = ctx;
    Telling *t = g_new0(Telling, 1);
    g_autoptr(GError) error = NULL;

    *t = (Telling){plans, plan->id};
    if (scenarios_step(plans->scenarios, plan->scenario, *in, on_told, t, &error))
        return;
    log_error("plan %s: scenario '%s' does not take its news: %s", ID_TEXT(plan->id), plan->scenario,
              error->message);
    on_told(t, NULL);
}

static void duty_note(void *ctx, const Plan *plan, const char *text)
{
    (void)ctx;
    log_info("plan %s: %s", ID_TEXT(plan->id), text);
}

static void duty_ended(void *ctx, const Plan *plan)
{
    (void)ctx;
    log_notice("plan %s: ended", ID_TEXT(plan->id));
}

static gint64 duty_now_ms(void *ctx)
{
    (void)ctx;
    return clock_steady_ms();
}

/* --- start ------------------------------------------------------------- */

static void leave_alone(Plans *plans, Id plan, const GError *why)
{
    log_error("plan %s: %s -> it is left alone, and what it moves, too", ID_TEXT(plan), why->message);
    g_hash_table_add(plans->unreadable, g_memdup2(&plan, sizeof plan));
}

static void read_one(Plans *plans, Id plan)
{
    g_autoptr(GError) error = NULL;
    json_t *records = journal_read(plans->journal, plan, &error);
    Earlier *earlier;

    if (!records) {
        if (!g_error_matches(error, US_ERROR, US_ERROR_NOT_FOUND))
            leave_alone(plans, plan, error);
        return;
    }
    earlier = g_new0(Earlier, 1);
    *earlier = (Earlier){plan, records};
    g_ptr_array_add(plans->earlier, earlier);
}

static gboolean read_all(Plans *plans, GError **error)
{
    g_autoptr(GArray) list = journal_list(plans->journal, error);

    for (guint i = 0; list && i < list->len; i++)
        read_one(plans, g_array_index(list, Id, i));
    return list != NULL;
}

Plans *plans_new(uv_loop_t *loop, const char *dir, Id controller, guint64 incarnation, Hosts *hosts,
                 Scenarios *scenarios, GError **error)
{
    static const RunnerDuties DUTIES = {duty_call, duty_persist, duty_tell,
                                        duty_note, duty_ended,   duty_now_ms};
    Plans *plans = g_new0(Plans, 1);

    plans->hosts = hosts;
    plans->scenarios = scenarios;
    plans->earlier = g_ptr_array_new_with_free_func(earlier_free);
    plans->unreadable = g_hash_table_new_full(id_hash, id_equal_func, g_free, NULL);
    plans->beginning = g_hash_table_new_full(id_hash, id_equal_func, g_free, g_free);
    plans->runner = runner_new(controller, incarnation, &DUTIES, plans);
    if (!machine_boot_id(&plans->boot, NULL))
        plans->boot = id_random(); /* no other's */
    plans->journal = journal_open(dir, PLANS_KEPT, error);
    if (!plans->journal || !read_all(plans, error)) {
        plans_free(plans);
        return NULL;
    }
    plans->clerk = clerk_new(loop);
    return plans;
}

/* A plan that has left no trace was stopped before it began; one that has ended has told so, and the database is older
 * than that. */
static void end_vanished(Plans *plans)
{
    g_autoptr(GPtrArray) list = scenarios_list(plans->scenarios);

    for (guint i = 0; i < list->len; i++) {
        const Protection *p = list->pdata[i];
        Input in = {.kind = INPUT_PLAN_ENDED, .plan = p->plan, .host = p->scenario->replicas->pdata[0]};

        if (!id_is_nil(p->plan) && !runner_runs(plans->runner, p->plan) &&
            !g_hash_table_contains(plans->unreadable, &p->plan))
            scenarios_step(plans->scenarios, p->scenario->name, in, NULL, NULL, NULL);
    }
}

static void resume_one(Plans *plans, const Earlier *earlier)
{
    g_autoptr(GError) error = NULL;
    Plan *plan = plan_from_records(earlier->records, &error);
    const Protection *p = plan ? scenarios_find(plans->scenarios, plan->scenario, NULL) : NULL;

    if (!plan) {
        leave_alone(plans, earlier->id, error);
        return;
    }
    if (!plan->ended && !plan_goes_on(plan, p))
        log_warning("plan %s: its journal has no end, but scenario '%s' is not in it any more -> it is over, "
                    "nothing is moved",
                    ID_TEXT(plan->id), plan->scenario);
    plan_forget_boot(plan, plans->boot);
    runner_resume(plans->runner, plan, p);
}

void plans_resume(Plans *plans)
{
    for (guint i = 0; i < plans->earlier->len; i++)
        resume_one(plans, plans->earlier->pdata[i]);
    g_ptr_array_set_size(plans->earlier, 0);
    end_vanished(plans);
}

void plans_set_voice(Plans *plans, Voice *voice)
{
    plans->voice = voice;
}

void plans_set_fences(Plans *plans, Fences *fences)
{
    plans->fences = fences;
}

void plans_listen(Plans *plans, void (*on_calls)(void *user, const char *scenario), void *user)
{
    plans->on_calls = on_calls;
    plans->listener = user;
}

static gboolean start(Plans *plans, Plan *steal_plan, GError **error)
{
    g_autoptr(Plan) plan = steal_plan;

    if (runner_find(plans->runner, plan->id))
        return runner_force(plans->runner, plan, error);
    return runner_start(plans->runner, g_steal_pointer(&plan), error);
}

gboolean plans_start(Plans *plans, Plan *steal_plan, ScenariosDone done, void *user, GError **error)
{
    Id id = steal_plan->id;
    Waiter *w;

    if (!start(plans, steal_plan, error))
        return FALSE;
    w = g_new0(Waiter, 1);
    *w = (Waiter){done, user};
    g_hash_table_insert(plans->beginning, g_memdup2(&id, sizeof id), w);
    return TRUE;
}

/* Its news tell the rest. */
static void nobody_waits(void *user, const GError *error)
{
    (void)user;
    (void)error;
}

/* A switchover that the controller begins itself, after the same look as an operator's. */
typedef struct {
    Plans *plans;
    char *scenario;
    char *to;
    GArray *vms;         /* Id */
    PlanOptions options; /* .to and .vms are these two's */
    PlansWanted wanted;
    ScenariosDone done;
    void *user;
} Going;

static void end_going(Going *g, const GError *error)
{
    g->done(g->user, error);
    g_free(g->scenario);
    g_free(g->to);
    g_array_unref(g->vms);
    g_free(g);
}

/* As things are by now. */
static Plan *plan_now(const Plans *plans, const Protection *p, PlanOptions *options, GError **error)
{
    options->now_ms = clock_steady_ms();
    options->running = runner_find_running(plans->runner, p->scenario->name);
    options->promised = voice_promised(plans->voice, p);
    return plan_switchover(p, options, error);
}

/* The scenario, if it still wants what was asked for before a look. */
static const Protection *still_wants(const Plans *plans, const char *scenario, PlansWanted wanted,
                                     const PlanOptions *options, GError **error)
{
    const Protection *p = plans->closed ? NULL : scenarios_find(plans->scenarios, scenario, NULL);

    if (p && (!wanted || wanted(p, options)))
        return p;
    g_set_error(error, US_ERROR, US_ERROR_CANCELLED, "the VMs of scenario '%s' are not to be moved any more",
                scenario);
    return NULL;
}

static void on_looked_there(void *user, const VerifyFacts *facts)
{
    Going *g = user;
    g_autoptr(GError) error = NULL;
    const Protection *p = still_wants(g->plans, g->scenario, g->wanted, &g->options, &error);
    g_autoptr(GPtrArray) findings = verify_check(facts);
    g_autoptr(Plan) plan = NULL;

    if (p)
        error = verify_move_failure(findings);
    if (!error)
        plan = plan_now(g->plans, p, &g->options, &error);
    if (plan)
        plans_start(g->plans, g_steal_pointer(&plan), nobody_waits, NULL, &error);
    end_going(g, error);
}

static void set_out(Going *g, const Protection *p)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(Plan) plan = plan_now(g->plans, p, &g->options, &error);

    if (plan)
        verification_start_move(g->plans->hosts, p, plan, on_looked_there, g);
    else
        end_going(g, error);
}

static Going *going_new(Plans *plans, const Protection *p, const PlanOptions *options, ScenariosDone done,
                        void *user)
{
    Going *g = g_new0(Going, 1);

    *g = (Going){.plans = plans,
                 .scenario = g_strdup(p->scenario->name),
                 .to = g_strdup(options->to),
                 .options = *options,
                 .done = done,
                 .user = user};
    g->vms = g_array_new(FALSE, FALSE, sizeof(Id));
    if (options->vm_count)
        g_array_append_vals(g->vms, options->vms, options->vm_count);
    g->options.to = g->to;
    g->options.vms = options->vm_count ? (const Id *)(const void *)g->vms->data : NULL;
    return g;
}

void plans_move(Plans *plans, const Protection *p, const PlanOptions *options, PlansWanted wanted,
                ScenariosDone done, void *user)
{
    Going *g = going_new(plans, p, options, done, user);

    g->wanted = wanted;
    set_out(g, p);
}

static gboolean wants_home(const Protection *p, const PlanOptions *options)
{
    (void)options;
    return protection_wants_home(p);
}

void plans_switch_back(Plans *plans, const Protection *p, ScenariosDone done, void *user)
{
    const PlanOptions options = {
        .id = id_random(), .reign = id_random(), .home = TRUE, .reverse = PLAN_REVERSE_BY_POLICY};

    plans_move(plans, p, &options, wants_home, done, user);
}

static gboolean wants_takeover(const Protection *p, const PlanOptions *options)
{
    (void)options;
    return protection_wants_takeover(p);
}

/* What is silent and must be taken: the VMs of one host, whose engine does not answer. */
typedef struct {
    Plans *plans;
    char *scenario;
    char *from;
    ScenariosDone done;
    void *user;
} Taking;

static void begin_taking(Plans *plans, const Protection *p, PlanOptions *options, GError **error)
{
    Plan *plan = plan_now(plans, p, options, error);

    if (plan)
        plans_start(plans, plan, nobody_waits, NULL, error);
}

static GArray *to_take_over(const Protection *p, PlanOptions *options, gboolean *ret_gone)
{
    GArray *vms = g_array_new(FALSE, FALSE, sizeof(Id));
    gboolean hangs;

    *options = (PlanOptions){.id = id_random(), .reign = id_random(), .reverse = PLAN_REVERSE_BY_POLICY};
    protection_to_take_over(p, vms, ret_gone, &hangs);
    options->vms = (const Id *)(const void *)vms->data;
    options->vm_count = vms->len;
    options->to = vms->len ? protection_keeper(protection_find(p, options->vms[0])) : NULL;
    options->force = *ret_gone;
    options->power_off = hangs && !*ret_gone;
    return vms;
}

static const char *active_of(const Protection *p, const PlanOptions *options)
{
    return protection_find(p, options->vms[0])->active;
}

/* Without a fence, or as one has made nothing certain. */
static void take_by_votes(Plans *plans, const Protection *p, PlanOptions *options, const GError *unfenced,
                          GError **error)
{
    const char *from = active_of(p, options);

    options->elected = TRUE;
    if (p->rests_on_fence)
        g_set_error(
            error, US_ERROR, US_ERROR_REFUSED,
            "a lease does not hold its VMs (see understudy verify %s), and %s could not be fenced: %s",
            p->scenario->name, from, unfenced ? unfenced->message : "no fence is set");
    else if (!protection_is_fenced_only(p))
        begin_taking(plans, p, options, error);
    else if (unfenced)
        g_set_error(error, US_ERROR, US_ERROR_REFUSED,
                    "with isolation=run its VMs may run on, and %s could not be fenced: %s", from,
                    unfenced->message);
    else
        g_set_error(error, US_ERROR, US_ERROR_REFUSED,
                    "with isolation=run its VMs may run on, and no fence is set for %s", from);
}

static void go_on_fenced(Taking *t, const Protection *p, gint64 sure_ms, const GError *unfenced,
                         GError **error)
{
    PlanOptions options;
    gboolean gone;
    g_autoptr(GArray) vms = to_take_over(p, &options, &gone);

    if (vms->len == 0 || !gone || !g_str_equal(active_of(p, &options), t->from)) {
        g_set_error(error, US_ERROR, US_ERROR_CANCELLED, "%s, which was silent, answers again", t->from);
    } else if (unfenced) {
        take_by_votes(t->plans, p, &options, unfenced, error);
    } else {
        options.fenced = TRUE;
        options.sure_ms = sure_ms;
        options.sure_boot = t->plans->boot;
        begin_taking(t->plans, p, &options, error);
    }
}

static void on_fenced(void *user, gint64 sure_ms, const GError *unfenced)
{
    Taking *t = user;
    g_autoptr(GError) error = NULL;
    const Protection *p = still_wants(t->plans, t->scenario, wants_takeover, NULL, &error);

    if (p)
        go_on_fenced(t, p, sure_ms, unfenced, &error);
    t->done(t->user, error);
    g_free(t->scenario);
    g_free(t->from);
    g_free(t);
}

/* A host that somebody hears may run guests of any scenario, and it would be all of them. */
static gboolean may_fence(const Plans *plans, const char *host, GError **error)
{
    const char *who = vitals_who_hears(scenarios_vitals(plans->scenarios), host);
    g_autoptr(GPtrArray) list = who ? scenarios_list(plans->scenarios) : g_ptr_array_new();

    for (guint i = 0; i < list->len; i++) {
        const Protection *p = list->pdata[i];
        const char *vm = protection_may_live_on(p, host);

        if (vm)
            return g_set_error(
                       error, US_ERROR, US_ERROR_REFUSED,
                       "%s hears it, and '%s' of scenario '%s' may live there: nobody switches it off", who,
                       vm, p->scenario->name),
                   FALSE;
    }
    return TRUE;
}

static void fence(Plans *plans, const Protection *p, const char *host, ScenariosDone done, void *user)
{
    g_autoptr(GError) error = NULL;
    Taking *t = g_new0(Taking, 1);

    *t = (Taking){plans, g_strdup(p->scenario->name), g_strdup(host), done, user};
    if (may_fence(plans, host, &error)) {
        fence_start(plans->fences, host, on_fenced, t);
        return;
    }
    log_warning("scenario '%s': %s is not fenced: %s", t->scenario, host, error->message);
    on_fenced(t, 0, error);
}

void plans_take_over(Plans *plans, const Protection *p, ScenariosDone done, void *user)
{
    g_autoptr(GError) error = NULL;
    PlanOptions options;
    gboolean gone;
    g_autoptr(GArray) vms = to_take_over(p, &options, &gone);

    if (vms->len == 0) {
        error = g_error_new(US_ERROR, US_ERROR_CANCELLED, "nothing of scenario '%s' is silent any more",
                            p->scenario->name);
        done(user, error);
    } else if (!gone) {
        plans_move(plans, p, &options, wants_takeover, done, user);
    } else if (fence_is_set(plans->fences, active_of(p, &options))) {
        fence(plans, p, active_of(p, &options), done, user);
    } else {
        take_by_votes(plans, p, &options, NULL, &error);
        done(user, error);
    }
}

/* --- the rest ---------------------------------------------------------- */

const Runner *plans_runner(const Plans *plans)
{
    return plans->runner;
}

json_t *plans_sign(const Plans *plans, const json_t *params)
{
    return runner_sign(plans->runner, params);
}

void plans_call_back(Plans *plans, Id plan)
{
    runner_call_back(plans->runner, plan);
}

void plans_link(Plans *plans, const char *host, gboolean up)
{
    runner_link(plans->runner, host, up);
}

/* Production is down until somebody does. */
static void take_up_orphans(Plans *plans)
{
    g_autoptr(GPtrArray) list = scenarios_list(plans->scenarios);

    for (guint i = 0; i < list->len; i++) {
        const Protection *p = list->pdata[i];
        Plan *plan = plan_orphan(p);
        Id id = plan ? plan->id : ID_NIL;

        if (plan && runner_take_up(plans->runner, plan, NULL))
            log_warning(
                "plan %s: it holds VMs of scenario '%s', and nobody here knew of it -> it is taken up",
                ID_TEXT(id), p->scenario->name);
    }
}

void plans_news(Plans *plans, const char *host, const json_t *status)
{
    runner_news(plans->runner, host, status);
}

void plans_tick(Plans *plans)
{
    take_up_orphans(plans);
    runner_tick(plans->runner);
}

void plans_close(Plans *plans)
{
    plans->closed = TRUE;
    clerk_close(g_steal_pointer(&plans->clerk));
}

/* Whose beginning was never durable, since something before it was not. */
static void tell_all_beginners(Plans *plans)
{
    g_autoptr(GError) error = g_error_new(US_ERROR, US_ERROR_CANCELLED, "the controller has ended");
    GHashTableIter iter;
    gpointer waiter;

    g_hash_table_iter_init(&iter, plans->beginning);
    while (g_hash_table_iter_next(&iter, NULL, &waiter))
        ((Waiter *)waiter)->done(((Waiter *)waiter)->user, error);
}

void plans_free(Plans *plans)
{
    if (!plans)
        return;
    tell_all_beginners(plans);
    g_hash_table_destroy(plans->beginning);
    g_hash_table_destroy(plans->unreadable);
    g_ptr_array_free(plans->earlier, TRUE);
    journal_close(plans->journal);
    runner_free(plans->runner);
    g_free(plans);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "stage.h"

#include "vmconnect/base/error.h"

#include <string.h>

#define TRAVEL_MS 10 /* one way */
#define PLAN 0x77

static const char *const NAMES[STAGE_HOSTS] = {"alpha", "beta"};

/* The steps of an engine, in order, and how long each takes. */
static const struct {
    const char *method;
    const char *word;
    gint64 takes_ms;
} STEPS[] = {{"plan.lock", "lock", 10},       {"plan.shutdown", "shutdown", 8000},
             {"plan.final", "final", 2000},   {"plan.park", "park", 10},
             {"plan.release", "release", 10}, {"plan.promote", "promote", 3000},
             {"plan.unlock", "unlock", 10},   {"plan.rollback", "rollback", 4000}};

#define PARKED_WORD "park"
#define ALONE_MS 600000 /* after a boot nobody asks for what is parked */

typedef enum { LATER, REQUEST, FINISH, ANSWER, DURABLE, TOLD, TICK } HappeningKind;

typedef struct {
    gint64 at_ms;
    HappeningKind kind;
    StageHost host;
    guint life; /* of the controller that waits for it */
    guint boot; /* of the engine that does it */
    Id vm;
    const char *method;
    json_t *json;
    GError *failure;
    gboolean plan; /* the runner's call, not the protection's */
    void (*what)(Stage *s, StageHost host);
} Happening;

static void happening_free(gpointer data)
{
    Happening *h = data;

    json_decref(h->json);
    g_clear_error(&h->failure);
    g_free(h);
}

static gint by_time(gconstpointer a, gconstpointer b, gpointer data)
{
    const Happening *x = a, *y = b;

    (void)data;
    return x->at_ms < y->at_ms ? -1 : 1; /* of two at once the earlier known comes first */
}

static Happening *expect(Stage *s, gint64 in_ms, HappeningKind kind)
{
    Happening *h = g_new0(Happening, 1);

    h->at_ms = s->w->now_ms + in_ms;
    h->kind = kind;
    h->life = s->life;
    g_sequence_insert_sorted(s->coming, h, by_time, NULL);
    return h;
}

static void say(Stage *s, const char *format, ...) G_GNUC_PRINTF(2, 3);

static void say(Stage *s, const char *format, ...)
{
    va_list args;

    g_string_append_printf(s->w->trace, "[%4" G_GINT64_FORMAT "] ", s->w->now_ms / 1000);
    va_start(args, format);
    g_string_append_vprintf(s->w->trace, format, args);
    va_end(args);
    g_string_append_c(s->w->trace, '\n');
}

/* A point at which something may go wrong. FALSE: the controller died of it. */
static gboolean point(Stage *s)
{
    if (!s->dead && ++s->points == s->fault_at && s->fault)
        s->fault(s);
    return !s->dead;
}

static StageHost host_of(const char *name)
{
    return g_str_equal(name, NAMES[ALPHA]) ? ALPHA : BETA;
}

static StageVm *vm_of(Stage *s, StageHost host, Id vm)
{
    for (guint i = 1; i <= STAGE_VMS; i++)
        if (id_equal(vm, world_vm(i)))
            return &s->engines[host].vms[i];
    g_assert_not_reached();
}

gboolean stage_runs(const Stage *s, StageHost host, guint vm)
{
    return s->engines[host].vms[vm].runs;
}

static void set_runs(Stage *s, StageHost host, guint vm, gboolean runs)
{
    s->engines[host].vms[vm].runs = runs;
    g_assert_false(stage_runs(s, ALPHA, vm) && stage_runs(s, BETA, vm));
}

static guint number_of(Id vm)
{
    return id_equal(vm, world_vm(1)) ? 1 : 2;
}

static void set_text(char **field, const char *text)
{
    char *copy = g_strdup(text);

    g_free(*field);
    *field = copy;
}

/* ---- the controller's side ---- */

static void send_request(Stage *s, const char *host, const char *method, Id vm, const json_t *params,
                         gboolean plan, gint64 limit_ms)
{
    Happening *h = expect(s, TRAVEL_MS, REQUEST);
    Happening *late;

    h->host = host_of(host);
    h->method = method;
    h->vm = vm;
    h->plan = plan;
    h->json = json_deep_copy(params);
    late = expect(s, limit_ms, ANSWER);
    late->host = h->host;
    late->method = method;
    late->vm = vm;
    late->plan = plan;
    late->failure = g_error_new(US_ERROR, US_ERROR_TIMEOUT, "%s did not answer in time", host);
}

static void on_call(void *ctx, Id plan, const char *host, const char *method, Id vm, const json_t *params,
                    gint64 limit_ms)
{
    Stage *s = ctx;

    g_assert_true(id_equal(plan, world_id(PLAN)));
    g_assert_true(json_object_get(params, "controller") || !g_str_has_prefix(method, "plan."));
    g_assert_true(json_object_get(params, "incarnation") || !g_str_has_prefix(method, "plan."));
    if (point(s))
        send_request(s, host, method, vm, params, TRUE, limit_ms);
}

static void on_protection_call(void *ctx, const Action *a)
{
    send_request(ctx, a->host, a->method, a->vm, a->params, FALSE, a->limit_ms);
}

static void on_persist(void *ctx, Id plan, const json_t *record)
{
    Stage *s = ctx;
    Happening *h;

    (void)plan;
    if (!point(s))
        return;
    if (!s->journal_broken)
        g_ptr_array_add(s->journal, json_deep_copy(record));
    h = expect(s, 1, DURABLE);
    if (s->journal_broken)
        h->failure = g_error_new(US_ERROR, US_ERROR_NO_SPACE, "no space for the journal");
}

static void on_tell(void *ctx, const Plan *plan, const Input *in)
{
    Stage *s = ctx;
    GError *error = NULL;

    (void)plan;
    if (!point(s))
        return;
    world_step(s->w, *in, &error);
    g_assert_no_error(error);
    expect(s, 1, TOLD);
}

static void on_note(void *ctx, const Plan *plan, const char *text)
{
    (void)plan;
    if (!((Stage *)ctx)->dead)
        say(ctx, "%s", text);
}

static void on_ended(void *ctx, const Plan *plan)
{
    (void)plan;
    ((Stage *)ctx)->ended = !((Stage *)ctx)->dead;
}

static gint64 on_now(void *ctx)
{
    return ((Stage *)ctx)->w->now_ms;
}

static Runner *new_runner(Stage *s)
{
    static const RunnerDuties DUTIES = {on_call, on_persist, on_tell, on_note, on_ended, on_now};

    return runner_new(world_id(0xcc), s->life, &DUTIES, s);
}

static json_t *promotions_of(const Stage *s, StageHost host)
{
    json_t *list = json_array();

    for (guint i = 1; i <= STAGE_VMS; i++)
        if (s->engines[host].vms[i].by_hand || s->engines[host].vms[i].forced)
            json_array_append_new(
                list, json_pack("{s:s, s:o}", "vm", ID_TEXT(world_vm(i)), "promoted",
                                reign_to_json(s->engines[host].vms[i].by_hand ? (Reign){3, world_id(0x99)}
                                                                              : (Reign){2, world_id(0x88)})));
    return list;
}

static gboolean is_parked(const StageVm *vm)
{
    return g_str_equal(vm->done, PARKED_WORD);
}

static gboolean was_booted(const StageEngine *e, const StageVm *vm)
{
    return is_parked(vm) && vm->parked_boot != e->boots;
}

static json_t *parked_of(const Stage *s, StageHost host)
{
    const StageEngine *e = &s->engines[host];
    json_t *list = json_array();

    for (guint i = 1; i <= STAGE_VMS; i++)
        if (is_parked(&e->vms[i]))
            json_array_append_new(list,
                                  json_pack("{s:s, s:o, s:{s:s, s:s, s:b, s:n}}", "vm", ID_TEXT(world_vm(i)),
                                            "reign", reign_to_json((Reign){1, world_id(0xee)}), "plan",
                                            "plan", ID_TEXT(world_id(PLAN)), "done", e->vms[i].done, "booted",
                                            was_booted(e, &e->vms[i]), "certificate"));
    return list;
}

/* The first thing that an engine says; in the trace only if it makes a difference. */
static void say_status(Stage *s, StageHost host)
{
    json_auto_t *status = json_pack("{s:[], s:o}", "active", "standby", promotions_of(s, host));
    gsize before = s->w->trace->len;

    world_step(s->w, (Input){.kind = INPUT_NEWS, .host = (char *)NAMES[host], .json = status}, NULL);
    if (g_str_has_suffix(s->w->trace->str, "-> nothing\n"))
        g_string_truncate(s->w->trace, before);
    json_object_set_new(status, "active", parked_of(s, host));
    runner_news(s->runner, NAMES[host], status);
}

static void link_is(Stage *s, StageHost host, gboolean up)
{
    if (s->dead)
        return;
    world_link(s->w, NAMES[host], up);
    runner_link(s->runner, NAMES[host], up);
    if (up)
        say_status(s, host);
}

/* ---- the engines' side ---- */

static void answer(Stage *s, const Happening *request, const json_t *result, int code, const char *why)
{
    Happening *h;

    if (!s->engines[request->host].linked)
        return;
    h = expect(s, TRAVEL_MS, ANSWER);
    h->life = request->life;
    h->host = request->host;
    h->method = request->method;
    h->vm = request->vm;
    h->plan = request->plan;
    h->json = result ? json_deep_copy(result) : NULL;
    h->failure = why ? g_error_new_literal(US_ERROR, code, why) : NULL;
}

static guint order_of(const char *word)
{
    for (guint i = 0; i < G_N_ELEMENTS(STEPS); i++)
        if (g_str_equal(STEPS[i].word, word))
            return i + 1;
    return 0;
}

static guint step_of(const char *method)
{
    for (guint i = 0; i < G_N_ELEMENTS(STEPS); i++)
        if (g_str_equal(STEPS[i].method, method))
            return i;
    g_assert_not_reached();
}

static json_t *state_of(const StageVm *vm)
{
    return json_pack("{s:s, s:s?, s:o, s:o, s:o}", "done", vm->done, "doing", vm->doing, "tip",
                     vm->final ? json_string(ID_TEXT(world_id(0x42))) : json_null(), "certificate",
                     vm->released ? json_string("signed") : json_null(), "error",
                     vm->error
                         ? json_pack("{s:s, s:s}", "code", us_error_name(vm->error_code), "text", vm->error)
                         : json_null());
}

/* Of a release, or of an operator who said that there is none. */
static gboolean is_paper(const json_t *certificate)
{
    return g_strcmp0(json_string_value(certificate), "signed") == 0 ||
           json_is_true(json_object_get(certificate, "forced"));
}

static void on_request(Stage *s, const Happening *h)
{
    StageEngine *e = &s->engines[h->host];
    StageVm *vm = vm_of(s, h->host, h->vm);
    Happening *end;
    guint step;

    if (!e->alive || !e->linked)
        return;
    /* It has no part in the VM any more. */
    if (g_str_equal(h->method, "active.yield")) {
        set_text(&vm->done, "unlock");
        set_runs(s, h->host, number_of(h->vm), FALSE);
    }
    if (g_str_equal(h->method, "plan.state") || !g_str_has_prefix(h->method, "plan.")) {
        json_auto_t *state = state_of(vm);

        answer(s, h, state, 0, NULL);
        return;
    }
    step = step_of(h->method);
    if (g_str_equal(vm->done, "rollback") && !g_str_equal(h->method, "plan.rollback")) {
        answer(s, h, NULL, US_ERROR_REFUSED, "the plan was rolled back");
        return;
    }
    if (order_of(vm->done) > step) {
        json_auto_t *state = state_of(vm); /* asked before: answered from what is */

        answer(s, h, state, 0, NULL);
        return;
    }
    g_assert_false(vm->released && g_str_equal(h->method, "plan.rollback"));
    if (g_str_equal(h->method, "plan.lock"))
        vm->deadline_ms = s->w->now_ms + json_integer_value(json_object_get(h->json, "deadline_ms"));
    if (g_str_equal(h->method, "plan.promote")) {
        g_assert_true(is_paper(json_object_get(h->json, "certificate")));
        vm->forces = json_is_object(json_object_get(h->json, "certificate"));
    }
    set_text(&vm->doing, STEPS[step].word);
    end = expect(s, STEPS[step].takes_ms, FINISH);
    end->host = h->host;
    end->boot = e->boots;
    end->vm = h->vm;
    end->method = h->method;
    end->plan = h->plan;
    end->life = h->life;
}

static void step_fails(Stage *s, const Happening *h, int code, const char *why)
{
    StageVm *vm = vm_of(s, h->host, h->vm);

    say(s, "%s: %s", NAMES[h->host], why);
    vm->error_code = code;
    set_text(&vm->error, why);
    answer(s, h, NULL, code, why);
}

static void step_works(Stage *s, const Happening *h, const char *word)
{
    StageVm *vm = vm_of(s, h->host, h->vm);
    guint number = number_of(h->vm);
    json_auto_t *state = NULL;

    if (g_str_equal(word, "shutdown"))
        set_runs(s, h->host, number, FALSE);
    if (g_str_equal(word, "promote") || g_str_equal(word, "rollback"))
        set_runs(s, h->host, number, TRUE);
    vm->forced |= vm->forces && g_str_equal(word, "promote");
    vm->final |= g_str_equal(word, "final");
    vm->released |= g_str_equal(word, "release");
    if (g_str_equal(word, PARKED_WORD))
        vm->parked_boot = s->engines[h->host].boots;
    set_text(&vm->done, word);
    state = state_of(vm);
    answer(s, h, state, 0, NULL);
    /* Whoever did not ask for it hears of it so. */
    if (vm->forced && s->engines[h->host].linked && !s->dead)
        say_status(s, h->host);
}

static void on_finish(Stage *s, const Happening *h)
{
    StageEngine *e = &s->engines[h->host];
    StageVm *vm = vm_of(s, h->host, h->vm);
    guint number = number_of(h->vm);
    const char *word = STEPS[step_of(h->method)].word;

    if (!e->alive || e->boots != h->boot || g_strcmp0(vm->doing, word) != 0)
        return; /* it died with the engine, or another end came first */
    g_clear_pointer(&vm->doing, g_free);
    g_clear_pointer(&vm->error, g_free);
    if (s->stubborn == number && g_str_equal(word, "shutdown"))
        step_fails(s, h, US_ERROR_TIMEOUT, "the guest does not shut down");
    else if (g_str_equal(word, "rollback") && stage_runs(s, BETA, number)) /* its standby says so */
        step_fails(s, h, US_ERROR_OVERTAKEN, "another host was made its active");
    else if (s->unstartable == number && g_str_equal(word, "promote"))
        step_fails(s, h, US_ERROR_FAILED, "no memory for the guest");
    else
        step_works(s, h, word);
}

static gboolean is_due(const Stage *s, const StageEngine *e, const StageVm *vm)
{
    guint order = order_of(vm->done);

    if (was_booted(e, vm)) /* and its standby does not say that it runs it */
        return s->w->now_ms >= e->booted_ms + ALONE_MS && !s->engines[BETA].vms[vm - e->vms].runs;
    return order >= 1 && order <= 3 && s->w->now_ms >= vm->deadline_ms;
}

/* What an engine does by itself: nothing but this. */
static void watch_deadlines(Stage *s)
{
    for (guint i = 1; i <= s->w->scenario->vms->len; i++) {
        StageVm *vm = &s->engines[ALPHA].vms[i];

        if (!s->engines[ALPHA].alive || !is_due(s, &s->engines[ALPHA], vm))
            continue;
        say(s, "alpha: deadline of web%u passed, the guest is started again", i);
        g_clear_pointer(&vm->doing, g_free);
        g_clear_pointer(&vm->error, g_free);
        set_text(&vm->done, "rollback");
        set_runs(s, ALPHA, i, TRUE);
    }
}

/* ---- what goes wrong ---- */

void stage_cut(Stage *s, StageHost host)
{
    if (!s->engines[host].linked)
        return;
    say(s, "link to %s cut", NAMES[host]);
    s->engines[host].linked = FALSE;
    link_is(s, host, FALSE);
}

void stage_heal(Stage *s, StageHost host)
{
    if (s->engines[host].linked || !s->engines[host].alive)
        return;
    say(s, "link to %s heals", NAMES[host]);
    s->engines[host].linked = TRUE;
    link_is(s, host, TRUE);
}

void stage_crash(Stage *s, StageHost host)
{
    StageEngine *e = &s->engines[host];

    if (!e->alive)
        return;
    stage_cut(s, host);
    say(s, "%s crashes", NAMES[host]);
    e->alive = FALSE;
    for (guint i = 1; i <= STAGE_VMS; i++) {
        e->vms[i].runs = FALSE;
        g_clear_pointer(&e->vms[i].doing, g_free);
    }
}

void stage_boot(Stage *s, StageHost host)
{
    StageEngine *e = &s->engines[host];

    if (e->alive)
        return;
    say(s, "%s boots", NAMES[host]);
    e->alive = TRUE;
    e->boots++;
    e->booted_ms = s->w->now_ms;
    for (guint i = 1; i <= s->w->scenario->vms->len; i++) {
        const char *done = e->vms[i].done;
        gboolean ours = host == ALPHA ? g_str_equal(done, "none") || g_str_equal(done, "rollback")
                                      : g_str_equal(done, "promote");

        if (ours)
            set_runs(s, host, i, TRUE);
    }
    stage_heal(s, host);
}

void stage_promote(Stage *s, guint vm)
{
    say(s, "beta: web%u is promoted by hand", vm);
    s->engines[BETA].vms[vm].by_hand = TRUE;
    set_runs(s, BETA, vm, TRUE);
}

void stage_kill_controller(Stage *s)
{
    say(s, "the controller dies");
    s->dead = TRUE;
    s->ended = FALSE;
}

void stage_start_controller(Stage *s)
{
    GError *error = NULL;
    json_auto_t *records = json_array();
    Plan *plan;

    runner_free(s->runner);
    s->life++;
    s->dead = FALSE;
    world_restart(s->w);
    s->runner = new_runner(s);
    for (guint i = 0; i < s->journal->len; i++)
        json_array_append(records, s->journal->pdata[i]);
    plan = s->journal->len ? plan_from_records(records, &error) : NULL;
    g_assert_no_error(error);
    if (plan)
        runner_resume(s->runner, plan, s->w->p);
    if (!id_is_nil(s->w->p->plan) && !runner_runs(s->runner, s->w->p->plan))
        world_step(s->w, (Input){.kind = INPUT_PLAN_ENDED, .plan = s->w->p->plan, .host = (char *)"beta"},
                   NULL);
    s->ended = !runner_find_running(s->runner, "web");
    for (StageHost host = 0; host < STAGE_HOSTS; host++)
        if (s->engines[host].linked)
            link_is(s, host, TRUE);
}

void stage_later(Stage *s, gint64 in_ms, void (*what)(Stage *s, StageHost host), StageHost host)
{
    Happening *h = expect(s, in_ms, LATER);

    h->what = what;
    h->host = host;
}

/* ---- the clock ---- */

static void on_answer(Stage *s, const Happening *h)
{
    if (!point(s))
        return;
    if (h->plan)
        runner_answer(s->runner, world_id(PLAN), h->method, h->vm, h->json, h->failure);
    else
        world_step(s->w,
                   (Input){.kind = INPUT_ANSWER,
                           .host = (char *)NAMES[h->host],
                           .method = h->method,
                           .vm = h->vm,
                           .failure = h->failure},
                   NULL);
}

/* Whoever waits for alpha in vain goes on without it. */
static void force(Stage *s)
{
    const Plan *running = runner_find(s->runner, world_id(PLAN));
    const PlanOptions options = {.id = world_id(PLAN),
                                 .reign = world_id(0x88),
                                 .force = TRUE,
                                 .old_is_off = TRUE,
                                 .now_ms = s->w->now_ms,
                                 .running = running};
    g_autoptr(Plan) forced =
        running && !running->ended && !running->forced ? plan_switchover(s->w->p, &options, NULL) : NULL;

    if (!forced)
        return;
    say(s, "beta goes on by force");
    runner_force(s->runner, forced, NULL);
}

/* What orchestrator/maintenances.h does, and who had it begun. */
static void maintain(Stage *s)
{
    const Plan *plan = s->dead ? NULL : runner_find(s->runner, world_id(PLAN));

    if (!plan || !plan->parks || plan->ended)
        return;
    if (s->force_at_ms && s->w->now_ms >= s->force_at_ms) {
        force(s);
        return;
    }
    if (!s->returning && plan_is_parked(plan)) {
        s->returning = TRUE;
        if (s->when_parked)
            s->when_parked(s);
    } else if (s->returning && !s->when_parked && !plan->called) {
        runner_call_back(s->runner, world_id(PLAN));
    }
}

static void tick(Stage *s)
{
    watch_deadlines(s);
    maintain(s);
    if (!s->dead)
        runner_tick(s->runner);
    expect(s, 1000, TICK);
}

static void happen(Stage *s, Happening *h)
{
    gboolean heard = h->life == s->life && !s->dead;

    switch (h->kind) {
    case LATER:
        h->what(s, h->host);
        break;
    case REQUEST:
        on_request(s, h);
        break;
    case FINISH:
        on_finish(s, h);
        break;
    case ANSWER:
        if (heard)
            on_answer(s, h);
        break;
    case DURABLE:
        if (heard && point(s))
            runner_persisted(s->runner, world_id(PLAN), h->failure);
        break;
    case TOLD:
        if (heard && point(s))
            runner_told(s->runner, world_id(PLAN));
        break;
    case TICK:
        tick(s);
        break;
    }
}

static gboolean next(Stage *s, gint64 until_ms)
{
    GSequenceIter *first = g_sequence_get_begin_iter(s->coming);
    Happening *known = g_sequence_get(first);
    Happening *h;

    if (known->at_ms > until_ms)
        return FALSE;
    s->w->now_ms = known->at_ms;
    h = g_memdup2(known, sizeof *known);
    memset(known, 0, sizeof *known);
    g_sequence_remove(first);
    happen(s, h);
    happening_free(h);
    return TRUE;
}

void stage_play(Stage *s, gint64 until_ms)
{
    while (!s->ended && next(s, until_ms))
        ;
}

void stage_play_on(Stage *s, gint64 for_ms)
{
    gint64 until_ms = s->w->now_ms + for_ms;

    while (next(s, until_ms))
        ;
}

Stage *stage_new(guint vms)
{
    Stage *s = g_new0(Stage, 1);

    g_assert(vms <= STAGE_VMS);
    s->w = world_new(vms);
    world_run(s->w);
    s->w->on_call = on_protection_call;
    s->w->ctx = s;
    s->life = 1;
    s->journal = g_ptr_array_new_with_free_func((GDestroyNotify)json_decref);
    s->coming = g_sequence_new(happening_free);
    for (StageHost host = 0; host < STAGE_HOSTS; host++) {
        s->engines[host].alive = s->engines[host].linked = TRUE;
        for (guint i = 1; i <= STAGE_VMS; i++) {
            s->engines[host].vms[i].runs = host == ALPHA && i <= vms;
            s->engines[host].vms[i].done = g_strdup("none");
        }
    }
    s->runner = new_runner(s);
    for (StageHost host = 0; host < STAGE_HOSTS; host++)
        runner_link(s->runner, NAMES[host], TRUE);
    expect(s, 1000, TICK);
    return s;
}

void stage_free(Stage *s)
{
    if (!s)
        return;
    runner_free(s->runner);
    world_free(s->w);
    g_ptr_array_free(s->journal, TRUE);
    g_sequence_free(s->coming);
    for (StageHost host = 0; host < STAGE_HOSTS; host++)
        for (guint i = 1; i <= STAGE_VMS; i++) {
            g_free(s->engines[host].vms[i].done);
            g_free(s->engines[host].vms[i].doing);
            g_free(s->engines[host].vms[i].error);
        }
    g_free(s);
}

void stage_switch_over(Stage *s)
{
    const PlanOptions options = {.id = world_id(PLAN), .reign = world_id(0x88)};
    GError *error = NULL;
    Plan *plan = plan_switchover(s->w->p, &options, &error);

    g_assert_no_error(error);
    runner_start(s->runner, plan, &error);
    g_assert_no_error(error);
}

static void start_last_after_first(Scenario *scenario)
{
    ScenarioVm *first = scenario->vms->pdata[0], *last = scenario->vms->pdata[scenario->vms->len - 1];

    if (first != last && last->after->len == 0)
        g_array_append_val(last->after, first->uuid);
}

void stage_park(Stage *s, gboolean alone)
{
    const ParkOptions options = {
        .id = world_id(PLAN), .reign = world_id(0x88), .host = NAMES[ALPHA], .alone = alone};
    GError *error = NULL;
    Plan *plan;

    start_last_after_first(s->w->p->scenario);
    start_last_after_first(s->w->scenario); /* of a controller that is started again */
    plan = plan_park(s->w->p, &options, &error);
    g_assert_no_error(error);
    runner_start(s->runner, plan, &error);
    g_assert_no_error(error);
}

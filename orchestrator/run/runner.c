/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/run/runner.h"

#include "vmconnect/base/error.h"
#include "vmconnect/base/stop.h"

/* Ended plans that are kept to be looked at. */
#define KEEP_ENDED 100

typedef struct {
    Plan *plan;
    GQueue *todo;      /* Action *, in order */
    gboolean waiting;  /* for the first of them to be durable */
    gboolean reported; /* that it ended */
    gboolean open;     /* its journal has no end, and its protection was not in it */
} Job;

struct Runner {
    Id controller;
    guint64 incarnation;
    RunnerDuties duties;
    void *ctx;
    GPtrArray *jobs; /* Job *, oldest first */
    GHashTable *up;  /* set of host names */
};

static void free_action(gpointer action)
{
    action_free(action);
}

static void job_free(gpointer data)
{
    Job *job = data;

    plan_free(job->plan);
    g_queue_free_full(job->todo, free_action);
    g_free(job);
}

Runner *runner_new(Id controller, guint64 incarnation, const RunnerDuties *duties, void *ctx)
{
    Runner *r = g_new0(Runner, 1);

    r->controller = controller;
    r->incarnation = incarnation;
    r->duties = *duties;
    r->ctx = ctx;
    r->jobs = g_ptr_array_new_with_free_func(job_free);
    r->up = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    return r;
}

void runner_free(Runner *r)
{
    if (!r)
        return;
    g_ptr_array_free(r->jobs, TRUE);
    g_hash_table_destroy(r->up);
    g_free(r);
}

json_t *runner_sign(const Runner *r, const json_t *params)
{
    json_t *signed_params = json_copy((json_t *)params);

    json_object_set_new(signed_params, "controller", json_string(ID_TEXT(r->controller)));
    json_object_set_new(signed_params, "incarnation", json_integer((json_int_t)r->incarnation));
    return signed_params;
}

static void do_call(Runner *r, const Job *job, const Action *a)
{
    /* What is not a plan's step has no place for who commands it: engines refuse what they do not know. */
    json_auto_t *params =
        g_str_has_prefix(a->method, "plan.") ? runner_sign(r, a->params) : json_incref(a->params);

    stop_at("plan.before_call");
    r->duties.call(r->ctx, job->plan->id, a->host, a->method, a->vm, params, a->limit_ms);
}

/* Answers may come from inside a duty: @waiting is set before it, and nothing of
 * the job is touched after it but what a nested pump leaves sound. */
static void do_action(Runner *r, Job *job, const Action *a)
{
    switch (a->kind) {
    case ACTION_PERSIST:
        job->waiting = TRUE;
        r->duties.persist(r->ctx, job->plan->id, a->record);
        return;
    case ACTION_TELL:
        job->waiting = TRUE;
        r->duties.tell(r->ctx, job->plan, a->tell);
        return;
    case ACTION_CALL:
        do_call(r, job, a);
        return;
    case ACTION_LOG:
        r->duties.note(r->ctx, job->plan, a->text);
        return;
    case ACTION_NOTE:
    case ACTION_PUBLISH:
    case ACTION_VERIFY:
    case ACTION_SWITCHBACK:
    case ACTION_TAKEOVER:
        break;
    }
    g_assert_not_reached(); /* no plan asks for these */
}

static void pump(Runner *r, Job *job)
{
    while (!job->waiting && !g_queue_is_empty(job->todo)) {
        Action *a = g_queue_pop_head(job->todo);

        do_action(r, job, a);
        action_free(a);
    }
    if (job->waiting || !job->plan->ended || job->reported)
        return;
    job->reported = TRUE;
    r->duties.ended(r->ctx, job->plan);
}

static void feed(Runner *r, Job *job, PlanEvent ev)
{
    g_autoptr(ActionList) out = action_list_new();

    ev.now_ms = r->duties.now_ms(r->ctx);
    plan_step(job->plan, &ev, out);
    for (guint i = 0; i < out->len; i++)
        g_queue_push_tail(job->todo, g_steal_pointer(&out->pdata[i]));
    pump(r, job);
}

static Job *find(const Runner *r, Id plan)
{
    for (guint i = 0; i < r->jobs->len; i++) {
        Job *job = r->jobs->pdata[i];

        if (id_equal(job->plan->id, plan))
            return job;
    }
    return NULL;
}

static Job *add(Runner *r, Plan *steal_plan)
{
    Job *job = g_new0(Job, 1);

    job->plan = steal_plan;
    job->todo = g_queue_new();
    g_ptr_array_add(r->jobs, job);
    return job;
}

gboolean runner_start(Runner *r, Plan *steal_plan, GError **error)
{
    if (runner_find_running(r, steal_plan->scenario)) {
        g_set_error(error, US_ERROR, US_ERROR_BUSY, "a plan of scenario '%s' runs already: wait for its end",
                    steal_plan->scenario);
        plan_free(steal_plan);
        return FALSE;
    }
    feed(r, add(r, steal_plan), (PlanEvent){.kind = PLAN_BEGIN});
    return TRUE;
}

/* What the caller waits for is the next record to be durable: it must be this one's. */
gboolean runner_force(Runner *r, const Plan *forced, GError **error)
{
    Job *job = find(r, forced->id);

    if (!job || job->plan->ended || job->plan->forced || job->plan->from_up || job->waiting) {
        g_set_error(
            error, US_ERROR, US_ERROR_BUSY,
            "the plan of scenario '%s' has gone on meanwhile: nothing was changed; look at 'understudy plan "
            "list' and try again",
            forced->scenario);
        return FALSE;
    }
    feed(r, job, (PlanEvent){.kind = PLAN_FORCE, .forced = forced});
    return TRUE;
}

void runner_call_back(Runner *r, Id plan)
{
    Job *job = find(r, plan);

    if (job && !job->plan->ended)
        feed(r, job, (PlanEvent){.kind = PLAN_CALL_BACK});
}

void runner_resume(Runner *r, Plan *steal_plan, const Protection *p)
{
    Plan *plan = steal_plan;
    Job *job = add(r, plan);

    if (p)
        plan_order(plan, p);
    job->open = !plan->ended && !plan_goes_on(plan, p);
    if (!plan_goes_on(plan, p))
        plan_conclude(plan, p);
    job->reported = plan->ended;
    plan->from_up = g_hash_table_contains(r->up, plan->from);
    plan->to_up = g_hash_table_contains(r->up, plan->to);
    if (!plan->ended)
        feed(r, job, (PlanEvent){.kind = PLAN_RESUME});
}

/* Its journal may have a beginning, of a time that its protection has forgotten. */
gboolean runner_take_up(Runner *r, Plan *steal_plan, GError **error)
{
    Job *job = find(r, steal_plan->id);

    if (!job)
        return runner_start(r, steal_plan, error);
    if (!job->open || !job->reported || runner_find_running(r, steal_plan->scenario)) {
        g_set_error(error, US_ERROR, US_ERROR_BUSY, "a plan of scenario '%s' runs already: wait for its end",
                    steal_plan->scenario);
        plan_free(steal_plan);
        return FALSE;
    }
    plan_free(job->plan);
    job->plan = steal_plan;
    job->reported = FALSE;
    job->open = FALSE;
    feed(r, job, (PlanEvent){.kind = PLAN_RESUME});
    return TRUE;
}

void runner_answer(Runner *r, Id plan, const char *method, Id vm, const json_t *result, const GError *failure)
{
    Job *job = find(r, plan);

    if (job && !job->plan->ended)
        feed(r, job,
             (PlanEvent){
                 .kind = PLAN_ANSWER, .method = method, .vm = vm, .result = result, .failure = failure});
}

/* News for the protection stay; what relied on the journal is not done. */
static void drop_calls(Job *job)
{
    GList *next;

    for (GList *l = job->todo->head; l; l = next) {
        Action *a = l->data;

        next = l->next;
        if (a->kind != ACTION_CALL && a->kind != ACTION_PERSIST)
            continue;
        action_free(a);
        g_queue_delete_link(job->todo, l);
    }
}

void runner_persisted(Runner *r, Id plan, const GError *failure)
{
    Job *job = find(r, plan);

    g_assert(job && job->waiting);
    job->waiting = FALSE;
    if (!failure) {
        pump(r, job);
        return;
    }
    drop_calls(job);
    feed(r, job, (PlanEvent){.kind = PLAN_JOURNAL_LOST});
}

void runner_told(Runner *r, Id plan)
{
    Job *job = find(r, plan);

    g_assert(job && job->waiting);
    job->waiting = FALSE;
    pump(r, job);
}

static void feed_running(Runner *r, PlanEvent ev)
{
    for (guint i = 0; i < r->jobs->len; i++) {
        Job *job = r->jobs->pdata[i];

        if (!job->plan->ended)
            feed(r, job, ev);
    }
}

void runner_link(Runner *r, const char *host, gboolean up)
{
    if (up)
        g_hash_table_add(r->up, g_strdup(host));
    else
        g_hash_table_remove(r->up, host);
    feed_running(r, (PlanEvent){.kind = up ? PLAN_LINK_BACK : PLAN_LINK_LOST, .host = host});
}

void runner_news(Runner *r, const char *host, const json_t *status)
{
    feed_running(r, (PlanEvent){.kind = PLAN_NEWS, .host = host, .result = status});
}

static void drop_oldest_ended(Runner *r)
{
    for (guint i = 0; i < r->jobs->len && r->jobs->len > KEEP_ENDED; i++)
        if (((Job *)r->jobs->pdata[i])->reported)
            g_ptr_array_remove_index(r->jobs, i--);
}

void runner_tick(Runner *r)
{
    drop_oldest_ended(r);
    feed_running(r, (PlanEvent){.kind = PLAN_TICK});
}

gboolean runner_runs(const Runner *r, Id plan)
{
    const Job *job = find(r, plan);

    return job && !job->reported;
}

const Plan *runner_find(const Runner *r, Id plan)
{
    const Job *job = find(r, plan);

    return job ? job->plan : NULL;
}

/* Until its end is durable it counts as running. */
const Plan *runner_find_running(const Runner *r, const char *scenario)
{
    for (guint i = 0; i < r->jobs->len; i++) {
        const Job *job = r->jobs->pdata[i];

        if (!job->reported && g_str_equal(job->plan->scenario, scenario))
            return job->plan;
    }
    return NULL;
}

GPtrArray *runner_list(const Runner *r)
{
    GPtrArray *list = g_ptr_array_new();

    for (guint i = 0; i < r->jobs->len; i++)
        g_ptr_array_add(list, ((const Job *)r->jobs->pdata[i])->plan);
    return list;
}

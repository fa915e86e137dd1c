/* SPDX-License-Identifier: Apache-2.0 */
/* What is: status, recovery points, plans, events. */
#include "orchestrator/core/status.h"
#include "orchestrator/operations.h"
#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"

#define POINTS_MS 30000
#define EVENTS_MAX 10000
#define EVENTS_USUAL 1000
#define WAIT_MAX_MS 55000

/* --- status ------------------------------------------------------------ */

static void status(ApiCall *call, void *user)
{
    Controller *c = user;
    g_autoptr(GError) error = NULL;
    const char *name = api_call_query(call, "scenario");
    g_autoptr(GPtrArray) list = NULL;
    const Protection *one = NULL;

    if (name && !(one = scenarios_find(c->scenarios, name, &error))) {
        api_call_fail(call, error);
        return;
    }
    list = one ? g_ptr_array_new() : scenarios_list(c->scenarios);
    if (one)
        g_ptr_array_add(list, (Protection *)one);
    api_call_answer(call, status_document(list, clock_steady_ms()));
}

/* --- recovery points --------------------------------------------------- */

typedef struct {
    ApiCall *call;
    json_t *points;
    guint open;
    GError *error; /* the first */
} Points;

typedef struct {
    Points *all;
    char *vm;
    char *host;
} PointsOf;

static void points_end(Points *all)
{
    if (--all->open > 0)
        return;
    if (all->error) {
        api_call_fail(all->call, all->error);
        json_decref(all->points);
    } else {
        api_call_answer(all->call, json_pack("{s:o}", "points", all->points));
    }
    g_clear_error(&all->error);
    g_free(all);
}

static void on_points(void *user, const json_t *result, const GError *error)
{
    PointsOf *of = user;
    const json_t *list = json_object_get(result, "points");

    if (error && !of->all->error) {
        of->all->error = g_error_copy(error);
        g_prefix_error(&of->all->error, "the points of '%s' on %s cannot be read: ", of->vm, of->host);
    }
    for (gsize i = 0; i < json_array_size(list); i++) {
        json_t *point = json_copy(json_array_get(list, i));

        json_object_del(point, "definition");
        json_object_set_new(point, "vm", json_string(of->vm));
        json_object_set_new(point, "host", json_string(of->host));
        json_array_append_new(of->all->points, point);
    }
    points_end(of->all);
    g_free(of->vm);
    g_free(of->host);
    g_free(of);
}

static void ask_points(Controller *c, Points *all, const ProtectionVm *vm)
{
    json_auto_t *params = json_pack("{s:s}", "vm", ID_TEXT(vm->uuid));

    for (guint i = 0; i < vm->copies->len; i++) {
        const ProtectionCopy *copy = vm->copies->pdata[i];
        PointsOf *of = g_new0(PointsOf, 1);

        *of = (PointsOf){all, g_strdup(vm->name), g_strdup(copy->host)};
        all->open++;
        hosts_call(c->hosts, copy->host, "standby.points", params, POINTS_MS, on_points, of);
    }
}

/* The VM that is meant, or FALSE; all of them if none is named. */
static gboolean read_vm(const ApiCall *call, const Protection *p, const ProtectionVm **ret_vm, GError **error)
{
    const char *text = api_call_query(call, "vm");
    Id id;

    *ret_vm = NULL;
    if (!text)
        return TRUE;
    if (!id_parse(text, &id, error))
        return FALSE;
    *ret_vm = protection_find(p, id);
    if (!*ret_vm)
        g_set_error(error, US_ERROR, US_ERROR_NOT_FOUND, "scenario '%s' has no VM %s", p->scenario->name,
                    text);
    return *ret_vm != NULL;
}

static void scenario_points(ApiCall *call, void *user)
{
    Controller *c = user;
    g_autoptr(GError) error = NULL;
    const Protection *p = scenarios_find(c->scenarios, api_call_parameter(call, "scenario"), &error);
    const ProtectionVm *only;
    Points *all;

    if (!p || !read_vm(call, p, &only, &error)) {
        api_call_fail(call, error);
        return;
    }
    all = g_new0(Points, 1);
    *all = (Points){call, json_array(), 1, NULL};
    for (guint i = 0; i < p->vms->len; i++)
        if (!only || only == p->vms->pdata[i])
            ask_points(c, all, p->vms->pdata[i]);
    points_end(all);
}

/* --- plans ------------------------------------------------------------- */

static void plan_list(ApiCall *call, void *user)
{
    Controller *c = user;
    g_autoptr(GPtrArray) all = runner_list(plans_runner(c->plans));
    const char *scenario = api_call_query(call, "scenario");
    json_t *list = json_array();

    for (guint i = all->len; i > 0; i--) {
        const Plan *plan = all->pdata[i - 1];

        if (!scenario || g_str_equal(plan->scenario, scenario))
            json_array_append_new(list, plan_to_json(plan));
    }
    api_call_answer(call, json_pack("{s:o}", "plans", list));
}

static void plan_show(ApiCall *call, void *user)
{
    Controller *c = user;
    g_autoptr(GError) error = NULL;
    const Plan *plan = NULL;
    Id id;

    if (id_parse(api_call_parameter(call, "plan"), &id, &error)) {
        plan = runner_find(plans_runner(c->plans), id);
        if (!plan)
            g_set_error(&error, US_ERROR, US_ERROR_NOT_FOUND,
                        "there is no plan %s; understudy plan list shows those there are", ID_TEXT(id));
    }
    if (plan)
        api_call_answer(call, plan_to_json(plan));
    else
        api_call_fail(call, error);
}

/* --- events ------------------------------------------------------------ */

typedef struct {
    Controller *c;
    ApiCall *call;
    gint64 after, limit;
    gint64 since_ms;
    gint64 until_ms; /* steady; when nobody waits any longer */
} Asked;

static void query(Asked *a);

static void on_come(void *user, gboolean come)
{
    Asked *a = user;

    if (come && !api_call_is_gone(a->call)) {
        query(a);
        return;
    }
    api_call_answer(a->call, json_pack("{s:[]}", "events"));
    g_free(a);
}

static void on_events(const json_t *rows, const GError *error, void *user)
{
    Asked *a = user;

    if (!error && json_array_size(rows) == 0 && !a->c->ending && clock_steady_ms() < a->until_ms) {
        events_wait(a->c->events, a->until_ms, on_come, a);
        return;
    }
    if (error)
        api_call_fail(a->call, error);
    else
        api_call_answer(a->call, json_pack("{s:O}", "events", rows));
    g_free(a);
}

static void query(Asked *a)
{
    DatabaseEventFilter filter = {.after = (guint64)a->after,
                                  .since_wall_ms = a->since_ms,
                                  .scenario = api_call_query(a->call, "scenario"),
                                  .host = api_call_query(a->call, "host"),
                                  .limit = (guint)a->limit};

    database_query_events(a->c->db, &filter, on_events, a);
}

static gboolean read_asked(ApiCall *call, Asked *a, GError **error)
{
    const char *since = api_call_query(call, "since");
    gint64 wait_ms;

    if (!api_call_query_number(call, "after", 0, G_MAXINT64, 0, &a->after, error) ||
        !api_call_query_number(call, "limit", 1, EVENTS_MAX, EVENTS_USUAL, &a->limit, error) ||
        !api_call_query_number(call, "wait_ms", 0, WAIT_MAX_MS, 0, &wait_ms, error))
        return FALSE;
    a->until_ms = clock_steady_ms() + wait_ms;
    return !since || clock_parse(since, &a->since_ms, error);
}

static void event_list(ApiCall *call, void *user)
{
    g_autofree Asked *a = g_new0(Asked, 1);
    g_autoptr(GError) error = NULL;

    a->c = user;
    a->call = call;
    if (read_asked(call, a, &error))
        query(g_steal_pointer(&a));
    else
        api_call_fail(call, error);
}

const Operation OPERATIONS_STATUS[] = {
    {"status", status},       {"scenario.points", scenario_points}, {"plan.list", plan_list},
    {"plan.show", plan_show}, {"event.list", event_list},           {NULL, NULL},
};

/* SPDX-License-Identifier: Apache-2.0 */
/* What is: status, plans, events. */
#include "orchestrator/core/status.h"
#include "orchestrator/operations.h"
#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"

#define EVENTS_MAX 10000
#define EVENTS_USUAL 1000
#define WAIT_MAX_MS 55000

/* --- status ------------------------------------------------------------ */

/* Which standby tries its copies out. */
static void add_tests(const Controller *c, json_t *doc)
{
    json_t *scenario;
    gsize i;

    json_array_foreach(json_object_get(doc, "scenarios"), i, scenario) json_object_set_new(
        scenario, "test",
        rehearsals_running(c->rehearsals, json_string_value(json_object_get(scenario, "name"))));
}

static void status(ApiCall *call, void *user)
{
    Controller *c = user;
    g_autoptr(GError) error = NULL;
    const char *name = api_call_query(call, "scenario");
    g_autoptr(GPtrArray) list = NULL;
    const Protection *one = NULL;
    json_t *doc;

    if (name && !(one = scenarios_find(c->scenarios, name, &error))) {
        api_call_fail(call, error);
        return;
    }
    list = one ? g_ptr_array_new() : scenarios_list(c->scenarios);
    if (one)
        g_ptr_array_add(list, (Protection *)one);
    doc = status_document(list, rehearsals_proofs(c->rehearsals), clock_steady_ms());
    add_tests(c, doc);
    api_call_answer(call, doc);
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
    {"status", status}, {"plan.list", plan_list}, {"plan.show", plan_show}, {"event.list", event_list},
    {NULL, NULL},
};

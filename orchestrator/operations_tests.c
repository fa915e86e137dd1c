/* SPDX-License-Identifier: Apache-2.0 */
/* Integrity tests: begin one, end it, and what came of those that were. */
#include "orchestrator/operations.h"
#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"

void operation_answered(void *user, const json_t *doc, const GError *error)
{
    if (error)
        api_call_fail(user, error);
    else
        api_call_answer(user, json_incref((json_t *)doc));
}

/* A plan counts from its first record on, before its scenario has heard of it. */
static gboolean is_free(const Controller *c, const Protection *p, GError **error)
{
    const char *why = runner_find_running(plans_runner(c->plans), p->scenario->name) ? "a plan moves the VMs"
                      : protection_is_maintained(p) ? "a maintenance has a host"
                                                    : NULL;

    if (why)
        g_set_error(error, US_ERROR, US_ERROR_BUSY, "%s of scenario '%s': no test was begun", why,
                    p->scenario->name);
    return !why;
}

gboolean operation_begin_test(void *controller, const char *scenario, const RehearsalWish *wish,
                              RehearsalsDone done, void *user, GError **error)
{
    Controller *c = controller;
    const Protection *p = scenarios_find(c->scenarios, scenario, error);

    return p && is_free(c, p, error) && rehearsals_start(c->rehearsals, p, wish, done, user, error);
}

static void test_start(ApiCall *call, void *user)
{
    Controller *c = user;
    const char *name = api_call_parameter(call, "scenario");
    g_autoptr(GError) error = NULL;
    RehearsalWish wish;

    if (!scenarios_find(c->scenarios, name, &error) ||
        !rehearsal_wish_read(api_call_body(call), &wish, &error) ||
        !operation_begin_test(c, name, &wish, operation_answered, call, &error))
        api_call_fail(call, error);
}

static void test_stop(ApiCall *call, void *user)
{
    Controller *c = user;
    const char *name = api_call_parameter(call, "scenario");
    g_autoptr(GError) error = NULL;

    if (!json_read(api_call_body(call), "request", &error, "{}") ||
        !scenarios_find(c->scenarios, name, &error) ||
        !rehearsals_stop(c->rehearsals, name, operation_answered, call, &error))
        api_call_fail(call, error);
}

typedef struct {
    Controller *c;
    ApiCall *call;
} Listing;

static void on_list(void *user, const json_t *doc, const GError *error)
{
    g_autofree Listing *l = user;
    const char *name = api_call_query(l->call, "scenario");
    json_t *copy = error ? NULL : json_copy((json_t *)doc);
    gint64 next_ms = name ? timetable_next(l->c->timetable, name) : CALENDAR_NEVER;
    char at[CLOCK_TEXT_LEN + 1];

    if (error) {
        api_call_fail(l->call, error);
        return;
    }
    if (name)
        json_object_set_new(copy, "next_test_at",
                            next_ms == CALENDAR_NEVER ? json_null() : json_string(clock_format(next_ms, at)));
    api_call_answer(l->call, copy);
}

static Listing *listing_new(Controller *c, ApiCall *call)
{
    Listing *l = g_new0(Listing, 1);

    *l = (Listing){c, call};
    return l;
}

static void test_list(ApiCall *call, void *user)
{
    Controller *c = user;
    const char *name = api_call_query(call, "scenario");
    g_autoptr(GError) error = NULL;

    if (name && !scenarios_find(c->scenarios, name, &error))
        api_call_fail(call, error);
    else
        rehearsals_list(c->rehearsals, name, on_list, listing_new(c, call));
}

static void test_show(ApiCall *call, void *user)
{
    g_autoptr(GError) error = NULL;
    Id id;

    if (id_parse(api_call_parameter(call, "test"), &id, &error))
        rehearsals_show(((Controller *)user)->rehearsals, id, operation_answered, call);
    else
        api_call_fail(call, error);
}

static void test_evidence(ApiCall *call, void *user)
{
    const char *vm = api_call_query(call, "vm");
    g_autoptr(GError) error = NULL;
    Id test, of;

    if (id_parse(api_call_parameter(call, "test"), &test, &error) && id_parse(vm ? vm : "", &of, &error))
        rehearsals_evidence(((Controller *)user)->rehearsals, test, of, operation_answered, call);
    else
        api_call_fail(call, error);
}

const Operation OPERATIONS_TESTS[] = {
    {"test.start", test_start}, {"test.stop", test_stop},         {"test.list", test_list},
    {"test.show", test_show},   {"test.evidence", test_evidence}, {NULL, NULL},
};

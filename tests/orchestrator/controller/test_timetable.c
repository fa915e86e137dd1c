/* SPDX-License-Identifier: Apache-2.0 */
/* Whose time has come, what is begun then, and what people are told if it is not. Beginning is a fake. */
#include "orchestrator/timetable.h"
#include "vmconnect/base/error.h"

#define MINUTE_MS ((gint64)60 * 1000)
#define HOUR_MS (60 * MINUTE_MS)
#define DAY_MS (24 * HOUR_MS)
#define TODAY_MS (20000 * DAY_MS)
#define THREE_MS (TODAY_MS + 3 * HOUR_MS)

static Protection web;
static gboolean there;
static gint64 newest_ms; /* 0: no test was there */
static guint begun;
static int refused, failed; /* with this error; 0: not */
static GString *told;

GPtrArray *scenarios_list(const Scenarios *s)
{
    GPtrArray *list = g_ptr_array_new();

    (void)s;
    if (there)
        g_ptr_array_add(list, &web);
    return list;
}

const Protection *scenarios_find(const Scenarios *s, const char *name, GError **error)
{
    (void)s;
    (void)error;
    g_assert_cmpstr(name, ==, "web");
    return there ? &web : NULL;
}

void events_publish(Events *events, const Event *event)
{
    (void)events;
    g_assert_cmpstr(event->scenario, ==, "web");
    g_string_append_printf(told, "%s %s\n", event_code_name(event->code), event->text);
}

json_t *database_load_newest_tests(Database *db, GError **error)
{
    (void)db;
    (void)error;
    return newest_ms ? json_pack("[{s:s, s:I}, {s:s, s:I}]", "scenario", "shop", "begun_ms", (json_int_t)1,
                                 "scenario", "web", "begun_ms", (json_int_t)newest_ms)
                     : json_array();
}

static gboolean begin(void *user, const char *scenario, const RehearsalWish *wish, RehearsalsDone done,
                      void *done_user, GError **error)
{
    g_autoptr(GError) why = failed ? g_error_new(US_ERROR, failed, "its disk is full") : NULL;
    json_auto_t *doc = json_object();

    g_assert_cmpstr(user, ==, "me");
    g_assert_cmpstr(scenario, ==, "web");
    g_assert_false(wish->manual);
    g_assert_null(wish->vms);
    g_assert_true(id_is_nil(wish->point));
    begun++;
    if (refused) {
        g_set_error(error, US_ERROR, refused, "so");
        return FALSE;
    }
    done(done_user, failed ? NULL : doc, why);
    return TRUE;
}

static Timetable *open_table(const char *test)
{
    Timetable *t;

    told = g_string_new(NULL);
    begun = 0;
    refused = failed = 0;
    there = TRUE;
    web.scenario = scenario_new("web", "alpha");
    g_assert_true(policy_set(&web.scenario->policy, "test", test, NULL));
    t = timetable_new(NULL, NULL, begin, (void *)"me");
    g_assert_true(timetable_load(t, NULL, NULL));
    return t;
}

static void close_table(Timetable *t)
{
    timetable_free(t);
    scenario_free(web.scenario);
    g_string_free(told, TRUE);
}

/* A tick each second from @from_ms for @duration_ms. */
static void pass(Timetable *t, gint64 from_ms, gint64 duration_ms)
{
    for (gint64 at_ms = from_ms; at_ms < from_ms + duration_ms; at_ms += 1000)
        timetable_tick(t, at_ms);
}

static void test_begins(void)
{
    Timetable *t = open_table("0 3 * * *");

    g_assert_cmpint(timetable_next(t, "web"), ==, CALENDAR_NEVER);
    pass(t, THREE_MS - MINUTE_MS, MINUTE_MS);
    g_assert_cmpuint(begun, ==, 0);
    g_assert_cmpint(timetable_next(t, "web"), ==, THREE_MS);
    g_assert_cmpint(timetable_next(t, "shop"), ==, CALENDAR_NEVER);
    pass(t, THREE_MS, DAY_MS);
    g_assert_cmpuint(begun, ==, 1);
    g_assert_cmpstr(told->str, ==, "");
    close_table(t);
}

static void test_refused(void)
{
    Timetable *t = open_table("0 3 * * *");

    refused = US_ERROR_REFUSED;
    pass(t, THREE_MS - MINUTE_MS, HOUR_MS);
    g_assert_cmpuint(begun, ==, 1);
    g_assert_cmpstr(told->str, ==,
                    "TEST_SKIPPED the time of an integrity test of scenario 'web' was passed over: so\n");
    close_table(t);
}

/* One that does not answer is waited for, ten minutes. */
static void test_silent(void)
{
    Timetable *t = open_table("0 3 * * *");

    refused = US_ERROR_UNREACHABLE;
    pass(t, THREE_MS - MINUTE_MS, 6 * MINUTE_MS);
    g_assert_cmpstr(told->str, ==, "");
    refused = 0;
    begun = 0;
    pass(t, THREE_MS + 5 * MINUTE_MS, 30 * MINUTE_MS);
    g_assert_cmpuint(begun, ==, 1);
    g_assert_cmpstr(told->str, ==, "");
    refused = US_ERROR_UNREACHABLE;
    pass(t, THREE_MS + DAY_MS - 1000, HOUR_MS);
    g_assert_cmpuint(begun, ==, 1 + 601);
    g_assert_cmpstr(told->str, ==,
                    "TEST_SKIPPED the time of an integrity test of scenario 'web' was passed over: so\n");
    close_table(t);
}

/* … and not at all when its time is not wanted any more. */
static void test_cancelled(void)
{
    Timetable *t = open_table("0 3 * * *");

    refused = US_ERROR_UNREACHABLE;
    pass(t, THREE_MS - MINUTE_MS, 2 * MINUTE_MS);
    begun = 0;
    g_assert_true(policy_set(&web.scenario->policy, "test", "never", NULL));
    pass(t, THREE_MS + MINUTE_MS, HOUR_MS);
    g_assert_cmpuint(begun, ==, 0);
    g_assert_cmpstr(told->str, ==, "");
    close_table(t);
}

static void test_failed(void)
{
    Timetable *t = open_table("0 3 * * *");

    failed = US_ERROR_TIMEOUT; /* it may have begun */
    pass(t, THREE_MS - MINUTE_MS, HOUR_MS);
    g_assert_cmpuint(begun, ==, 1);
    g_assert_cmpstr(told->str, ==, "");
    failed = US_ERROR_NO_SPACE;
    pass(t, THREE_MS + DAY_MS - MINUTE_MS, HOUR_MS);
    g_assert_cmpuint(begun, ==, 2);
    g_assert_cmpstr(
        told->str, ==,
        "TEST_SKIPPED the time of an integrity test of scenario 'web' was passed over: its disk is full\n");
    close_table(t);
}

/* Of the last hour one is made up for, unless it was done. */
static void test_restart(void)
{
    Timetable *t = open_table("*/10 3 * * *");

    pass(t, THREE_MS + 55 * MINUTE_MS, HOUR_MS);
    g_assert_cmpuint(begun, ==, 1);
    close_table(t);
    newest_ms = THREE_MS + 50 * MINUTE_MS;
    t = open_table("*/10 3 * * *");
    pass(t, THREE_MS + 55 * MINUTE_MS, HOUR_MS);
    g_assert_cmpuint(begun, ==, 0);
    close_table(t);
    newest_ms = 0;
}

/* One that was made just now had no time before. */
static void test_new(void)
{
    Timetable *t = open_table("0 3 * * *");

    there = FALSE;
    pass(t, THREE_MS, 2000);
    there = TRUE;
    pass(t, THREE_MS + MINUTE_MS, 2000);
    g_assert_cmpuint(begun, ==, 0);
    g_assert_cmpint(timetable_next(t, "web"), ==, THREE_MS + DAY_MS);
    close_table(t);
}

int main(int argc, char *argv[])
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/timetable/begins", test_begins);
    g_test_add_func("/timetable/refused", test_refused);
    g_test_add_func("/timetable/silent", test_silent);
    g_test_add_func("/timetable/cancelled", test_cancelled);
    g_test_add_func("/timetable/failed", test_failed);
    g_test_add_func("/timetable/restart", test_restart);
    g_test_add_func("/timetable/new", test_new);
    return g_test_run();
}

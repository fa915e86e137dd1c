/* SPDX-License-Identifier: Apache-2.0 */
/* Scenarios that live beside a real database and two hosts that nobody is at: what
 * is durable, who is told, and that the end answers everybody. */
#include "orchestrator/scenarios.h"
#include "tests/tree.h"
#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"

#define DEADLINE_MS 20000

static const Id ME = {{1}};
static const Id VM = {{7}};

static char *folder;

typedef struct {
    uv_loop_t loop;
    uv_timer_t patience; /* wakes the loop, so that a deadline can pass */
    Identity *identity;
    Database *db;
    Events *events;
    Hosts *hosts;
    Scenarios *scenarios;
    guint told;
    GError *error; /* of the last who was told */
    gboolean lost;
} Desk;

static void on_up(void *user, const char *host)
{
    (void)user;
    (void)host;
    g_assert_not_reached();
}

static void on_down(void *user, const char *host, const GError *why)
{
    (void)user;
    (void)host;
    (void)why;
    g_assert_not_reached();
}

static void on_news(void *user, const char *host, const json_t *status)
{
    (void)user;
    (void)host;
    (void)status;
    g_assert_not_reached();
}

static json_t *sign(void *user, const json_t *params)
{
    (void)user;
    return json_copy((json_t *)params);
}

static void switch_back(void *user, const Protection *p, ScenariosDone done, void *done_user)
{
    (void)user;
    (void)p;
    (void)done;
    (void)done_user;
    g_assert_not_reached();
}

static void on_lost(void *user, const GError *error)
{
    (void)error;
    ((Desk *)user)->lost = TRUE;
}

static void on_patience(uv_timer_t *timer)
{
    (void)timer;
}

static void desk_open(Desk *d)
{
    static const HostsEvents HOSTS = {on_up, on_down, NULL, on_news, NULL};
    static const ScenariosEvents SCENARIOS = {sign, switch_back, NULL, on_lost};
    static const char *const NOBODY[] = {"127.0.0.1:1", NULL};
    g_autofree char *path = g_build_filename(folder, "state.db", NULL);
    g_autofree char *identity = g_build_filename(folder, "identity", NULL);
    json_auto_t *rows = NULL;

    *d = (Desk){0};
    uv_loop_init(&d->loop);
    uv_timer_init(&d->loop, &d->patience);
    uv_timer_start(&d->patience, on_patience, 50, 50);
    d->identity = identity_open(identity, ROLE_CONTROLLER, NULL);
    d->db = database_open(path, ME, NULL);
    g_assert_true(d->identity && d->db);
    rows = database_load_scenarios(d->db, NULL);
    d->events = events_new(d->db, (EventsKept){1000, 1000 * 1000});
    d->hosts = hosts_new(&d->loop, d->identity, 1, &HOSTS, d);
    hosts_add(d->hosts, "alpha", (Id){{2}}, NOBODY);
    hosts_add(d->hosts, "beta", (Id){{3}}, NOBODY);
    d->scenarios = scenarios_new(d->db, d->hosts, d->events, &SCENARIOS, d);
    g_assert_true(scenarios_load(d->scenarios, rows, NULL));
    database_start(d->db, &d->loop);
}

static void desk_close(Desk *d)
{
    scenarios_close(d->scenarios);
    hosts_close(d->hosts);
    events_close(d->events);
    database_close(d->db, NULL, NULL);
    uv_close((uv_handle_t *)&d->patience, NULL);
    uv_run(&d->loop, UV_RUN_DEFAULT);
    scenarios_free(d->scenarios);
    hosts_free(d->hosts);
    events_free(d->events);
    identity_unref(d->identity);
    g_clear_error(&d->error);
    g_assert_cmpint(uv_loop_close(&d->loop), ==, 0);
}

static void told(void *user, const GError *error)
{
    Desk *d = user;

    d->told++;
    g_clear_error(&d->error);
    d->error = error ? g_error_copy(error) : NULL;
}

static void wait_told(Desk *d, guint times)
{
    gint64 end_ms = clock_steady_ms() + DEADLINE_MS;

    while (d->told < times && clock_steady_ms() < end_ms)
        uv_run(&d->loop, UV_RUN_ONCE);
    g_assert_cmpuint(d->told, ==, times);
}

static Scenario *web(const char *name)
{
    Scenario *s = scenario_new(name, "alpha");

    scenario_add_replica(s, "beta");
    scenario_add_vm(s, VM, "web1");
    return s;
}

static void create(Desk *d, guint times)
{
    g_autoptr(Scenario) s = web("web");
    g_autoptr(GError) error = NULL;

    g_assert_true(scenarios_create(d->scenarios, s, told, d, &error));
    wait_told(d, times);
    g_assert_no_error(d->error);
}

static void on_begun(void *user, const GError *error)
{
    g_assert_no_error(error);
    *(gboolean *)user = TRUE;
}

static void begin_delete(Desk *d)
{
    gboolean begun = FALSE;

    g_assert_true(scenarios_begin_delete(d->scenarios, "web", SCENARIOS_DELETE, on_begun, &begun, NULL));
    g_assert_true(begun);
}

static void delete (Desk *d, guint times)
{
    begin_delete(d);
    scenarios_delete(d->scenarios, "web", told, d);
    wait_told(d, times);
    g_assert_no_error(d->error);
}

static guint64 term(const Desk *d)
{
    const Protection *p = scenarios_find(d->scenarios, "web", NULL);

    return p ? protection_term(p) : 0;
}

static void test_is_kept(void)
{
    Desk d;
    g_autoptr(Scenario) to = web("web");
    g_autoptr(GError) error = NULL;

    desk_open(&d);
    create(&d, 1);
    g_assert_true(policy_set(&to->policy, "interval", "3s", NULL));
    g_assert_true(mapping_set(to->map, "default", "office", NULL));
    g_assert_true(scenarios_set(d.scenarios, to, told, &d, &error));
    wait_told(&d, 2);
    desk_close(&d);
    desk_open(&d);
    g_assert_cmpint(scenarios_find(d.scenarios, "web", NULL)->scenario->policy.interval_ms, ==, 3000);
    g_assert_true(scenario_may_become(scenarios_find(d.scenarios, "web", NULL)->scenario, to,
                                      POLICY_MOMENT_RUNNING, NULL));
    delete (&d, 1);
    g_assert_null(scenarios_find(d.scenarios, "web", &error));
    g_assert_error(error, US_ERROR, US_ERROR_NOT_FOUND);
    desk_close(&d);
}

static void test_reigns_go_on(void)
{
    Desk d;

    desk_open(&d);
    create(&d, 1);
    g_assert_cmpuint(term(&d), ==, 1);
    delete (&d, 2);
    create(&d, 3);
    g_assert_cmpuint(term(&d), ==, 2);
    delete (&d, 4);
    desk_close(&d);
    desk_open(&d);
    create(&d, 1);
    g_assert_cmpuint(term(&d), ==, 3);
    delete (&d, 2);
    desk_close(&d);
}

static void refused(Desk *d, const Scenario *s, UsError code)
{
    g_autoptr(GError) error = NULL;

    g_assert_false(scenarios_create(d->scenarios, s, told, d, &error));
    g_assert_error(error, US_ERROR, (int)code);
}

static void test_refusals(void)
{
    g_autoptr(Scenario) same = web("web");
    g_autoptr(Scenario) other = web("other");
    g_autoptr(Scenario) nowhere = web("nowhere");
    g_autoptr(Scenario) zone = web("zone");
    g_autoptr(GError) error = NULL;
    g_autoptr(GError) silent = NULL;
    Desk d;

    desk_open(&d);
    create(&d, 1);
    refused(&d, same, US_ERROR_EXISTS);
    refused(&d, other, US_ERROR_EXISTS);
    scenario_add_replica(nowhere, "nobody");
    refused(&d, nowhere, US_ERROR_NOT_FOUND);
    g_assert_true(policy_set(&zone->policy, "test_zone", "Europe/Atlantis", NULL));
    refused(&d, zone, US_ERROR_NOT_FOUND);
    g_assert_true(policy_set(&same->policy, "test_zone", "Europe/Atlantis", NULL));
    g_assert_false(scenarios_set(d.scenarios, same, told, &d, &error));
    g_assert_error(error, US_ERROR, US_ERROR_NOT_FOUND);
    g_assert_cmpstr(error->message, ==,
                    "test_zone: the controller's machine has no time zone 'Europe/Atlantis': see there with "
                    "'timedatectl list-timezones' (package tzdata)");
    g_clear_error(&error);
    g_assert_false(
        scenarios_begin_delete(d.scenarios, "web", SCENARIOS_DELETE_PURGE, on_begun, NULL, &silent));
    g_assert_error(silent, US_ERROR, US_ERROR_UNREACHABLE);
    begin_delete(&d);
    g_assert_false(scenarios_run(d.scenarios, "web", told, &d, &error));
    g_assert_error(error, US_ERROR, US_ERROR_BUSY);
    scenarios_keep(d.scenarios, "web");
    delete (&d, 2);
    desk_close(&d);
}

/* Nobody is at the hosts, so verification finds errors; who asked for the run learns it. */
static void test_run(void)
{
    Desk d;

    desk_open(&d);
    create(&d, 1);
    g_assert_true(scenarios_run(d.scenarios, "web", told, &d, NULL));
    g_assert_cmpint(scenarios_find(d.scenarios, "web", NULL)->state, ==, SCENARIO_VERIFYING);
    wait_told(&d, 2);
    g_assert_error(d.error, US_ERROR, US_ERROR_VERIFY);
    g_assert_cmpint(scenarios_find(d.scenarios, "web", NULL)->state, ==, SCENARIO_STOPPED);
    g_assert_true(scenarios_run(d.scenarios, "web", told, &d, NULL));
    g_assert_true(scenarios_stop(d.scenarios, "web", told, &d, NULL));
    wait_told(&d, 4); /* the run, given up, and the stop */
    delete (&d, 5);
    desk_close(&d);
}

/* What was asked of the hosts is not what it is any more: they are asked again, and who waits for the run hears of that. */
static void test_set_while_verifying(void)
{
    g_autoptr(Scenario) to = web("web");
    Desk d;

    desk_open(&d);
    create(&d, 1);
    g_assert_true(policy_set(&to->policy, "switchover", "auto", NULL));
    g_assert_true(scenarios_run(d.scenarios, "web", told, &d, NULL));
    g_assert_true(scenarios_set(d.scenarios, to, told, &d, NULL));
    wait_told(&d, 3);
    g_assert_error(d.error, US_ERROR, US_ERROR_VERIFY);
    g_assert_cmpint(scenarios_find(d.scenarios, "web", NULL)->state, ==, SCENARIO_STOPPED);
    delete (&d, 4);
    desk_close(&d);
}

static void test_end(void)
{
    Desk d;

    desk_open(&d);
    create(&d, 1);
    g_assert_true(scenarios_run(d.scenarios, "web", told, &d, NULL));
    scenarios_close(d.scenarios);
    hosts_close(d.hosts);
    events_close(d.events);
    database_close(d.db, NULL, NULL);
    uv_close((uv_handle_t *)&d.patience, NULL);
    uv_run(&d.loop, UV_RUN_DEFAULT);
    g_assert_cmpuint(d.told, ==, 1);
    scenarios_free(d.scenarios);
    g_assert_cmpuint(d.told, ==, 2);
    g_assert_error(d.error, US_ERROR, US_ERROR_CANCELLED);
    hosts_free(d.hosts);
    events_free(d.events);
    identity_unref(d.identity);
    g_clear_error(&d.error);
    g_assert_cmpint(uv_loop_close(&d.loop), ==, 0);
}

typedef struct {
    guint come, late;
} Ear;

static void on_event(void *user, gboolean come)
{
    Ear *ear = user;

    ear->come += come;
    ear->late += !come;
}

static void test_events(void)
{
    g_autoptr(Event) event = event_new(EVENT_LINK_BACK, NULL, "alpha", NULL, NULL);
    gint64 end_ms = clock_steady_ms() + DEADLINE_MS;
    Ear ear = {0};
    Desk d;

    desk_open(&d);
    events_wait(d.events, G_MAXINT64, on_event, &ear);
    events_tick(d.events, clock_steady_ms());
    g_assert_cmpuint(ear.come + ear.late, ==, 0);
    events_publish(d.events, event);
    while (ear.come == 0 && clock_steady_ms() < end_ms)
        uv_run(&d.loop, UV_RUN_ONCE);
    g_assert_cmpuint(ear.come, ==, 1);
    events_wait(d.events, 5, on_event, &ear);
    events_tick(d.events, 5);
    g_assert_cmpuint(ear.late, ==, 1);
    events_wait(d.events, G_MAXINT64, on_event, &ear);
    desk_close(&d);
    g_assert_cmpuint(ear.late, ==, 2);
}

static void in_a_folder(gconstpointer test)
{
    folder = g_dir_make_tmp("understudy-scenarios-XXXXXX", NULL);
    ((void (*)(void))test)();
    tree_remove(folder);
    g_clear_pointer(&folder, g_free);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_data_func("/scenarios/what is asked for is kept", test_is_kept, in_a_folder);
    g_test_add_data_func("/scenarios/reigns go on after a deletion", test_reigns_go_on, in_a_folder);
    g_test_add_data_func("/scenarios/refusals", test_refusals, in_a_folder);
    g_test_add_data_func("/scenarios/who asked for a run is told", test_run, in_a_folder);
    g_test_add_data_func("/scenarios/changed while it is looked at", test_set_while_verifying, in_a_folder);
    g_test_add_data_func("/scenarios/the end answers everybody", test_end, in_a_folder);
    g_test_add_data_func("/scenarios/who waits for an event", test_events, in_a_folder);
    return g_test_run();
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Drills as the controller has them: what is durable before a test is begun, what becomes of each, what people are told. Beginning a
 * test and asking for its result are fakes, the database is real. */
#include "orchestrator/core/drill.h"
#include "orchestrator/drills.h"
#include "tests/tree.h"
#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"

#include <string.h>
#include <uv.h>

#define WEB1 "aaaaaaaa-0000-4000-8000-000000000001"
#define WEB2 "bbbbbbbb-0000-4000-8000-000000000002"
#define DB1 "cccccccc-0000-4000-8000-000000000003"
#define DEADLINE_MS 20000

static const Id ME = {{1}};

static char *folder;
static GPtrArray *protections;
static GString *told; /* "CODE HOST text\n" for each event */

/* --- the tests that a drill begins ------------------------------------------ */

typedef struct {
    char *scenario;
    Id id;
    char *vms; /* as JSON */
    RehearsalsDone done;
    void *user;
} Begun;

typedef struct {
    Id id;
    RehearsalsDone done;
    void *user;
} Asked;

static GPtrArray *begun;   /* Begun * */
static GArray *asked;      /* Asked */
static GHashTable *opened; /* set of ids as text */
static GString *ended;
static const char *refuses; /* this scenario's test is refused at once … */
static int refused;         /* … with this error */
static gboolean silent;     /* their engine does not answer */

static gboolean begin(void *user, const char *scenario, const RehearsalWish *wish, RehearsalsDone done,
                      void *done_user, GError **error)
{
    Begun *b;

    g_assert_cmpstr(user, ==, "me");
    if (g_strcmp0(refuses, scenario) == 0) {
        g_set_error(error, US_ERROR, refused, "so");
        return FALSE;
    }
    g_assert_false(wish->manual);
    b = g_new0(Begun, 1);
    *b = (Begun){g_strdup(scenario), wish->test, json_dumps(wish->vms, JSON_COMPACT), done, done_user};
    g_ptr_array_add(begun, b);
    g_hash_table_add(opened, g_strdup(ID_TEXT(wish->test)));
    return TRUE;
}

static void begun_free(gpointer data)
{
    Begun *b = data;

    g_free(b->scenario);
    free(b->vms);
    g_free(b);
}

gboolean rehearsals_is_open(const Rehearsals *r, Id test)
{
    (void)r;
    return g_hash_table_contains(opened, ID_TEXT(test));
}

gboolean rehearsals_end_test(Rehearsals *r, Id test)
{
    (void)r;
    if (rehearsals_is_open(r, test))
        g_string_append_printf(ended, "%.2s ", ID_TEXT(test));
    return !silent || !rehearsals_is_open(r, test);
}

void rehearsals_show(Rehearsals *r, Id test, RehearsalsDone done, void *user)
{
    Asked a = {test, done, user};

    (void)r;
    g_array_append_val(asked, a);
}

GPtrArray *scenarios_list(const Scenarios *s)
{
    (void)s;
    return g_ptr_array_ref(protections);
}

void events_publish(Events *events, const Event *event)
{
    (void)events;
    g_string_append_printf(told, "%s %s %s\n", event_code_name(event->code), event->host, event->text);
}

static void expect_told(const char *text)
{
    g_assert_cmpstr(told->str, ==, text);
    g_string_truncate(told, 0);
}

static const Begun *test_of(const char *scenario)
{
    for (guint i = 0; i < begun->len; i++)
        if (g_str_equal(((const Begun *)begun->pdata[i])->scenario, scenario))
            return begun->pdata[i];
    g_error("no test of %s was begun", scenario);
}

/* Its engine has begun it, or says why not. */
static void has_begun(const char *scenario, int code)
{
    const Begun *b = test_of(scenario);
    g_autoptr(GError) error = code ? g_error_new(US_ERROR, code, "its disk is full") : NULL;
    json_auto_t *doc = json_object();

    if (error && !rehearsal_may_have_begun(error))
        g_hash_table_remove(opened, ID_TEXT(b->id));
    b->done(b->user, error ? NULL : doc, error);
}

static json_t *vm(const char *id, const char *name, const char *verdict, int back_ms)
{
    return json_pack("{s:s, s:s, s:s, s:s?, s:i}", "vm", id, "name", name, "verdict", verdict, "why",
                     g_str_equal(verdict, "failed") ? "it hangs" : NULL, "back_ms", back_ms);
}

/* The next that is asked for: its test's document. */
static void say_why(json_t *steal_vms, const char *verdict, const char *why)
{
    const Asked a = g_array_index(asked, Asked, 0);
    json_auto_t *doc = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s?, s:o}", "test", ID_TEXT(a.id), "host",
                                 "beta", "state", "ended", "ended_at", "2026-11-22T02:14:00.000Z", "verdict",
                                 verdict, "why", why, "vms", steal_vms);

    g_array_remove_index(asked, 0);
    a.done(a.user, doc, NULL);
}

static void say(json_t *steal_vms, const char *verdict)
{
    say_why(steal_vms, verdict, NULL);
}

static void say_unknown(void)
{
    const Asked a = g_array_index(asked, Asked, 0);
    g_autoptr(GError) error = g_error_new(US_ERROR, US_ERROR_NOT_FOUND, "there is no such test");

    g_array_remove_index(asked, 0);
    a.done(a.user, NULL, error);
}

/* --- the controller ---------------------------------------------------------- */

typedef struct {
    uv_loop_t loop;
    Database *db;
    Drills *d;
    guint answers;
    json_t *doc;
    GError *error;
} Desk;

static void on_doc(void *user, const json_t *doc, const GError *error)
{
    Desk *d = user;

    g_assert_true(!doc == !!error);
    d->answers++;
    json_decref(d->doc);
    g_clear_error(&d->error);
    d->doc = json_deep_copy(doc);
    d->error = error ? g_error_copy(error) : NULL;
}

static void desk_open(Desk *d)
{
    g_autofree char *path = g_build_filename(folder, "state.db", NULL);
    g_autoptr(GError) error = NULL;

    *d = (Desk){0};
    uv_loop_init(&d->loop);
    d->db = database_open(path, ME, &error);
    g_assert_no_error(error);
    d->d = drills_new(d->db, NULL, NULL, NULL, begin, (void *)"me");
    drills_load(d->d, &error);
    g_assert_no_error(error);
    database_start(d->db, &d->loop);
}

/* Who waits for the beginning of a test hears that all ends. */
static void desk_close(Desk *d)
{
    drills_close(d->d);
    for (guint i = 0; i < asked->len; i++) {
        g_autoptr(GError) error = g_error_new(US_ERROR, US_ERROR_CANCELLED, "the end");

        g_array_index(asked, Asked, i).done(g_array_index(asked, Asked, i).user, NULL, error);
    }
    g_array_set_size(asked, 0);
    database_close(d->db, NULL, NULL);
    uv_run(&d->loop, UV_RUN_DEFAULT);
    drills_free(d->d);
    json_decref(d->doc);
    g_clear_error(&d->error);
    g_assert_cmpint(uv_loop_close(&d->loop), ==, 0);
}

static void wait_answers(Desk *d, guint answers)
{
    gint64 end_ms = clock_steady_ms() + DEADLINE_MS;

    while (d->answers < answers && clock_steady_ms() < end_ms)
        uv_run(&d->loop, UV_RUN_ONCE);
    g_assert_cmpuint(d->answers, ==, answers);
}

/* The list as it is when all that was submitted is done. */
static const json_t *newest(Desk *d)
{
    for (guint i = 0; i < 3; i++) {
        drills_list(d->d, on_doc, d);
        wait_answers(d, d->answers + 1);
    }
    return json_array_get(json_object_get(d->doc, "drills"), 0);
}

static void start(Desk *d)
{
    g_autoptr(GError) error = NULL;
    gboolean was_begun = drills_start(d->d, "alpha", on_doc, d, &error);

    g_assert_no_error(error);
    g_assert_true(was_begun);
    g_assert_cmpuint(begun->len, ==, 0); /* before its row is there */
    wait_answers(d, d->answers + 1);
    g_assert_no_error(d->error);
}

/* A drill runs, and both of its tests. */
static void desk_open_with_both(Desk *d)
{
    desk_open(d);
    start(d);
    has_begun("web", 0);
    has_begun("db", 0);
}

/* They are over, and looked at. */
static void are_over(Desk *d)
{
    g_hash_table_remove_all(opened);
    drills_tick(d->d);
}

static const char *text(const json_t *doc, const char *key)
{
    return json_string_value(json_object_get(doc, key));
}

static const json_t *part(const json_t *drill, gsize at)
{
    return json_array_get(json_object_get(drill, "scenarios"), at);
}

#define STARTED                                                                                            \
    "DRILL_STARTED alpha a drill of alpha was started: each scenario that has VMs there is tested on its " \
    "replica, and nothing of it is moved\n"

static void test_passed(void)
{
    const json_t *drill;
    Desk d;

    desk_open(&d);
    start(&d);
    expect_told(STARTED);
    g_assert_cmpuint(begun->len, ==, 2); /* what runs on beta is none of it */
    g_assert_cmpstr(test_of("web")->vms, ==, "[\"" WEB1 "\"]");
    g_assert_cmpstr(test_of("db")->vms, ==, "[\"" DB1 "\"]");
    has_begun("web", 0);
    has_begun("db", US_ERROR_TIMEOUT); /* it may have begun */
    drills_tick(d.d);
    g_assert_cmpuint(asked->len, ==, 0);
    drill = newest(&d);
    g_assert_cmpstr(text(drill, "state"), ==, "running");
    are_over(&d);
    g_assert_cmpuint(asked->len, ==, 2);
    drills_tick(d.d);
    g_assert_cmpuint(asked->len, ==, 2); /* asked once */
    say(json_pack("[o]", vm(DB1, "db1", "passed", 4000)), "passed");
    expect_told("");
    say(json_pack("[o]", vm(WEB1, "web1", "passed", 17300)), "passed");
    drill = newest(&d);
    expect_told(
        "DRILL_PASSED alpha the drill of alpha passed: all would be back in 17.3 s (scenarios: 2, VMs: "
        "2; 'web1' was the last)\n");
    g_assert_cmpint(json_integer_value(json_object_get(drill, "back_ms")), ==, 17300);
    g_assert_cmpstr(text(drill, "verdict"), ==, "passed");
    g_assert_cmpstr(text(part(drill, 0), "on"), ==, "beta");
    desk_close(&d);
    desk_open(&d); /* it is closed: nothing is told again */
    drills_tick(d.d);
    newest(&d);
    expect_told("");
    desk_close(&d);
}

static void test_failed(void)
{
    const json_t *drill;
    Desk d;

    desk_open(&d);
    start(&d);
    has_begun("web", 0);
    has_begun("db", US_ERROR_NO_SPACE);
    are_over(&d);
    g_assert_cmpuint(asked->len, ==, 1);
    say(json_pack("[o]", vm(WEB1, "web1", "failed", 9)), "failed");
    g_string_truncate(told, 0);
    drill = newest(&d);
    expect_told(
        "DRILL_FAILED alpha the drill of alpha failed: scenarios that would not be back: 2 of 2; 'db': "
        "its disk is full\n");
    g_assert_cmpstr(text(part(drill, 1), "why"), ==, "'web1': it hangs");
    g_assert_true(
        json_is_null(json_object_get(json_array_get(json_object_get(part(drill, 1), "vms"), 0), "back_ms")));
    g_assert_true(json_is_null(json_object_get(drill, "back_ms")));
    desk_close(&d);
}

static void test_refused(void)
{
    const json_t *drill;
    Desk d;

    refuses = "db";
    desk_open(&d);
    start(&d);
    has_begun("web", 0);
    are_over(&d);
    say(json_pack("[o]", vm(WEB1, "web1", "passed", 9)), "passed");
    drill = newest(&d);
    g_assert_cmpstr(text(drill, "verdict"), ==, "failed");
    g_assert_cmpstr(text(part(drill, 0), "why"), ==, "so");
    desk_close(&d);
}

/* One after the other is not what a crash leaves. */
static void test_no_room_for_all(void)
{
    const json_t *drill;
    json_t *late;
    Desk d;

    desk_open_with_both(&d);
    are_over(&d);
    say(json_pack("[o]", vm(DB1, "db1", "passed", 4000)), "passed");
    late = vm(WEB1, "web1", "passed", 17300);
    json_object_set_new(late, "waited", json_true());
    say(json_pack("[o]", late), "passed");
    drill = newest(&d);
    g_assert_cmpstr(text(drill, "verdict"), ==, "failed");
    g_assert_nonnull(strstr(text(drill, "why"), "'web1' waited for memory"));
    g_assert_nonnull(strstr(text(drill, "why"), "beta has not enough"));
    g_assert_true(json_is_null(json_object_get(drill, "back_ms")));
    g_string_truncate(told, 0);
    desk_close(&d);
}

/* That says nothing of what would be back. */
static void test_wrong_moment(void)
{
    Desk d;

    refuses = "db";
    refused = US_ERROR_BUSY;
    desk_open(&d);
    start(&d);
    has_begun("web", 0);
    are_over(&d);
    say(json_pack("[o]", vm(WEB1, "web1", "passed", 9)), "passed");
    g_assert_cmpstr(text(newest(&d), "verdict"), ==, "stopped");
    desk_close(&d);
}

static void test_stopped(void)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *expected = NULL;
    const json_t *drill;
    Desk d;
    Id id;

    desk_open_with_both(&d);
    drill = newest(&d);
    g_assert_true(id_parse(text(drill, "drill"), &id, NULL));
    g_assert_true(drills_stop(d.d, id, &error));
    expected = g_strdup_printf("%.2s %.2s ", ID_TEXT(test_of("db")->id), ID_TEXT(test_of("web")->id));
    g_assert_cmpstr(ended->str, ==, expected);
    are_over(&d);
    say(json_pack("[o]", vm(DB1, "db1", "stopped", 4000)), "stopped");
    say(json_pack("[o]", vm(WEB1, "web1", "passed", 17300)), "passed");
    g_string_truncate(told, 0);
    newest(&d);
    expect_told(
        "DRILL_STOPPED alpha the drill of alpha was ended: scenarios that were ended before they had a "
        "verdict: 1 of 2; 'db'\n");
    g_assert_false(drills_stop(d.d, id, &error));
    g_assert_error(error, US_ERROR, US_ERROR_NOT_FOUND);
    desk_close(&d);
}

/* Who ends it need not wait for a host that may never be back; what comes of a test after that is its own affair. */
static void test_stopped_while_its_host_is_silent(void)
{
    g_autoptr(GError) error = NULL;
    const json_t *drill;
    Desk d;
    Id id;

    desk_open_with_both(&d);
    g_assert_true(id_parse(text(newest(&d), "drill"), &id, NULL));
    g_hash_table_remove(opened, ID_TEXT(test_of("web")->id));
    drills_tick(d.d);
    say(json_pack("[o]", vm(WEB1, "web1", "passed", 17300)), "passed");
    silent = TRUE;
    g_assert_true(drills_stop(d.d, id, &error));
    drill = newest(&d);
    g_assert_cmpstr(text(drill, "verdict"), ==, "stopped");
    g_assert_nonnull(strstr(text(part(drill, 0), "why"), "did not answer"));
    g_assert_cmpstr(text(part(drill, 1), "verdict"), ==, "passed");
    g_assert_false(drills_stop(d.d, id, &error));
    desk_close(&d);
}

/* Nothing was learned of a copy whose test was lost with its engine, and the drill says which and why. */
static void test_engine_restarted(void)
{
    const json_t *drill;
    Desk d;

    desk_open_with_both(&d);
    are_over(&d);
    g_string_truncate(told, 0);
    say_why(json_pack("[o]", vm(DB1, "db1", "stopped", -1)), "stopped", "the engine of beta was restarted");
    say(json_pack("[o]", vm(WEB1, "web1", "passed", 17300)), "passed");
    drill = newest(&d);
    expect_told(
        "DRILL_STOPPED alpha the drill of alpha was ended: scenarios that were ended before they had a "
        "verdict: 1 of 2; 'db': the engine of beta was restarted\n");
    g_assert_cmpstr(text(drill, "verdict"), ==, "stopped");
    g_assert_cmpstr(text(part(drill, 0), "why"), ==, "the engine of beta was restarted");
    desk_close(&d);
}

static void test_one_at_a_time(void)
{
    g_autoptr(GError) error = NULL;
    Desk d;

    desk_open(&d);
    start(&d);
    g_assert_false(drills_start(d.d, "alpha", on_doc, &d, &error));
    g_assert_error(error, US_ERROR, US_ERROR_BUSY);
    g_clear_error(&error);
    g_assert_false(drills_start(d.d, "gamma", on_doc, &d, &error));
    g_assert_error(error, US_ERROR, US_ERROR_NOT_FOUND);
    drills_show(d.d, id_random(), on_doc, &d);
    wait_answers(&d, d.answers + 1);
    g_assert_error(d.error, US_ERROR, US_ERROR_NOT_FOUND);
    has_begun("web", 0);
    has_begun("db", 0);
    desk_close(&d);
}

/* The controller dies when the row is there, and one test was begun. */
static void test_died(void)
{
    const json_t *drill;
    Desk d;

    desk_open_with_both(&d);
    desk_close(&d);
    g_string_truncate(told, 0);
    desk_open(&d);
    are_over(&d);
    say_unknown();
    say(json_pack("[o]", vm(WEB1, "web1", "passed", 17300)), "passed");
    drill = newest(&d);
    g_assert_cmpstr(text(drill, "verdict"), ==, "stopped");
    g_assert_nonnull(
        strstr(text(drill, "why"), "'db': nothing is known of its test: the controller was restarted"));
    g_assert_nonnull(strstr(told->str, "DRILL_STOPPED"));
    g_assert_null(strstr(told->str, "DRILL_STARTED"));
    desk_close(&d);
}

/* A peer's document that is none is no verdict to go by. */
static void test_odd(void)
{
    Desk d;

    desk_open_with_both(&d);
    are_over(&d);
    say(json_pack("[o]", vm(DB1, "db1", "splendid", 1)), "passed");
    say(json_pack("{}"), "passed");
    g_assert_cmpstr(text(newest(&d), "verdict"), ==, "stopped");
    desk_close(&d);
}

/* --- */

static Protection *protection(const Roster *roster, const char *name, const char *vm1, const char *vm2,
                              const char *master)
{
    g_autoptr(Scenario) s = scenario_new(name, master);
    g_autofree char *first = g_strconcat(name, "1", NULL);
    g_autofree char *second = g_strconcat(name, "2", NULL);
    Protection *p;
    Id id;

    scenario_add_replica(s, g_str_equal(master, "alpha") ? "beta" : "alpha");
    g_assert_true(id_parse(vm1, &id, NULL));
    scenario_add_vm(s, id, first);
    if (vm2) {
        g_assert_true(id_parse(vm2, &id, NULL));
        scenario_add_vm(s, id, second);
    }
    p = protection_new(s, roster, id);
    /* The second of them has moved. */
    if (vm2) {
        ProtectionVm *away = p->vms->pdata[1];

        g_free(away->active);
        away->active = g_strdup("beta");
    }
    return p;
}

static void in_a_folder(gconstpointer test)
{
    folder = g_dir_make_tmp("understudy-drills-XXXXXX", NULL);
    begun = g_ptr_array_new_with_free_func(begun_free);
    asked = g_array_new(FALSE, FALSE, sizeof(Asked));
    opened = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    told = g_string_new(NULL);
    ended = g_string_new(NULL);
    refuses = NULL;
    refused = US_ERROR_REFUSED;
    silent = FALSE;
    ((void (*)(void))test)();
    g_string_free(ended, TRUE);
    g_string_free(told, TRUE);
    g_hash_table_unref(opened);
    g_array_unref(asked);
    g_ptr_array_unref(begun);
    tree_remove(folder);
    g_clear_pointer(&folder, g_free);
}

static void add(const char *path, void (*test)(void))
{
    g_test_add_data_func(path, (gconstpointer)test, in_a_folder);
}

int main(int argc, char **argv)
{
    g_autoptr(Roster) roster = roster_new();
    static const char *const NOBODY[] = {"127.0.0.1:1", NULL};
    int rc;

    g_test_init(&argc, &argv, NULL);
    roster_set(roster, "alpha", (Id){{0x0a}}, NOBODY);
    roster_set(roster, "beta", (Id){{0x0b}}, NOBODY);
    protections = g_ptr_array_new_with_free_func((GDestroyNotify)protection_free);
    g_ptr_array_add(protections, protection(roster, "db", DB1, NULL, "alpha"));
    g_ptr_array_add(protections,
                    protection(roster, "far", "dddddddd-0000-4000-8000-000000000004", NULL, "beta"));
    g_ptr_array_add(protections, protection(roster, "web", WEB1, WEB2, "alpha"));
    add("/drills/passed", test_passed);
    add("/drills/failed", test_failed);
    add("/drills/refused", test_refused);
    add("/drills/wrong-moment", test_wrong_moment);
    add("/drills/no-room-for-all", test_no_room_for_all);
    add("/drills/stopped", test_stopped);
    add("/drills/stopped-while-its-host-is-silent", test_stopped_while_its_host_is_silent);
    add("/drills/engine-restarted", test_engine_restarted);
    add("/drills/one-at-a-time", test_one_at_a_time);
    add("/drills/died", test_died);
    add("/drills/odd", test_odd);
    rc = g_test_run();
    g_ptr_array_unref(protections);
    return rc;
}

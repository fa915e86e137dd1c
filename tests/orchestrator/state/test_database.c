/* SPDX-License-Identifier: Apache-2.0 */
/* The database: what was durable is there, what was not is not, and bad files
 * stop the start. Children of this program are stopped and killed in the middle. */
#include "orchestrator/state/database.h"

#include "vmconnect/base/durable.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <sched.h>
#include <signal.h>
#include <sqlite3.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const Id ME = {{1}};
static const Id HOST = {{2}};
static const Id WEB = {{3}};

static char *folder;
static char *path;

static void in_a_folder(gconstpointer test)
{
    static const char *const ENDINGS[] = {"", "-wal", "-shm", "-journal", ".fill"};
    g_autofree char *bound = NULL;

    folder = g_dir_make_tmp("understudy-state-XXXXXX", NULL);
    path = g_build_filename(folder, "state.db", NULL);
    ((void (*)(void))test)();
    for (guint i = 0; i < G_N_ELEMENTS(ENDINGS); i++) {
        g_autofree char *file = g_strconcat(path, ENDINGS[i], NULL);

        g_unlink(file);
    }
    bound = g_build_filename(folder, "bound.json", NULL);
    g_unlink(bound);
    g_assert_cmpint(g_rmdir(folder), ==, 0);
    g_clear_pointer(&path, g_free);
    g_clear_pointer(&folder, g_free);
}

/* --- a loop around it --- */

typedef struct {
    uv_loop_t loop;
    Database *db;
    guint outcomes; /* submissions that came back */
    GError *error;  /* of the last one */
    json_t *rows;   /* of the last question */
    guint order[64];
} Desk;

static void desk_open(Desk *desk)
{
    g_autoptr(GError) error = NULL;

    memset(desk, 0, sizeof *desk);
    desk->db = database_open(path, ME, &error);
    g_assert_no_error(error);
    uv_loop_init(&desk->loop);
    database_start(desk->db, &desk->loop);
}

static void on_durable(const GError *error, void *user)
{
    Desk *desk = user;

    g_clear_error(&desk->error);
    desk->error = error ? g_error_copy(error) : NULL;
    desk->outcomes++;
}

static void on_rows(const json_t *rows, const GError *error, void *user)
{
    Desk *desk = user;

    g_assert_no_error(error);
    g_clear_pointer(&desk->rows, json_decref);
    desk->rows = json_deep_copy(rows);
}

static void on_closed(void *user)
{
    Desk *desk = user;

    desk->db = NULL;
}

static void desk_close(Desk *desk)
{
    database_close(desk->db, on_closed, desk);
    uv_run(&desk->loop, UV_RUN_DEFAULT);
    g_assert_null(desk->db);
    g_assert_cmpint(uv_loop_close(&desk->loop), ==, 0);
    g_clear_error(&desk->error);
    g_clear_pointer(&desk->rows, json_decref);
}

static void desk_wait(Desk *desk, guint outcomes)
{
    while (desk->outcomes < outcomes)
        uv_run(&desk->loop, UV_RUN_ONCE);
}

static void submit(Desk *desk, DatabaseChanges *changes)
{
    guint before = desk->outcomes;

    database_submit(desk->db, changes, on_durable, desk);
    desk_wait(desk, before + 1);
}

static json_t *doc(const char *name)
{
    return json_pack("{s:s}", "name", name);
}

static DatabaseChanges *a_bit_of_all(guint64 sequence)
{
    DatabaseChanges *changes = database_changes_new();
    json_auto_t *host = doc("alpha");
    json_auto_t *web = doc("web");
    json_auto_t *event = json_pack("{s:I}", "sequence", (json_int_t)sequence);

    database_put_host(changes, HOST, "alpha", host);
    database_put_scenario(changes, WEB, "web", web);
    database_add_event(changes, sequence, 1000, "web", "alpha", event);
    return changes;
}

/* What was accepted is newer than all that was not, and the last that was accepted than the others. */
static void test_leap(void)
{
    g_autoptr(GError) error = NULL;
    guint64 before, after;
    Database *db;
    Desk desk;

    g_assert_false(database_leap(path, &error)); /* nothing is there */
    g_assert_nonnull(error);
    g_clear_error(&error);
    desk_open(&desk);
    before = database_incarnation(desk.db);
    g_assert_false(database_leap(path, &error));
    g_assert_error(error, US_ERROR, (int)US_ERROR_BUSY);
    g_clear_error(&error);
    desk_close(&desk);
    for (guint i = 0; i < 2; i++) {
        database_leap(path, &error);
        g_assert_no_error(error);
        db = database_open(path, ME, &error);
        g_assert_no_error(error);
        after = database_incarnation(db);
        g_assert_cmpuint(after, >, before + 1000000);
        g_assert_cmpuint(after, >, 1700000000);
        before = after;
        database_close(db, NULL, NULL);
    }
}

/* Of what is known to be a copy, every host must be heard. */
static void test_leap_doubts(void)
{
    g_autoptr(GError) error = NULL;
    json_auto_t *web = json_pack("{s:s, s:{s:s}}", "id", ID_TEXT(WEB), "protection", "goal", "running");
    json_auto_t *reigns = json_pack("{s:s}", "id", ID_TEXT(HOST));
    json_auto_t *alpha = doc("alpha");
    DatabaseChanges *changes = database_changes_new();
    json_auto_t *list = NULL;
    Database *db;
    Desk desk;

    database_put_host(changes, HOST, "alpha", alpha);
    database_put_scenario(changes, WEB, "web", web);
    database_put_scenario(changes, HOST, "reigns", reigns);
    desk_open(&desk);
    submit(&desk, changes);
    desk_close(&desk);
    database_leap(path, &error);
    g_assert_no_error(error);
    db = database_open(path, ME, &error);
    g_assert_no_error(error);
    list = database_load_scenarios(db, &error);
    g_assert_no_error(error);
    g_assert_true(json_equal(json_array_get(list, 0), reigns));
    json_object_set_new(json_object_get(web, "protection"), "unheard", json_pack("[s]", "alpha"));
    g_assert_true(json_equal(json_array_get(list, 1), web));
    database_close(db, NULL, NULL);
}

static void test_round_trip(void)
{
    Desk desk;
    struct stat st;
    g_autoptr(GError) error = NULL;
    Database *db;
    json_auto_t *hosts = NULL;
    json_auto_t *scenarios = NULL;

    desk_open(&desk);
    g_assert_cmpuint(database_incarnation(desk.db), ==, 1);
    submit(&desk, a_bit_of_all(database_take_sequence(desk.db)));
    g_assert_no_error(desk.error);
    desk_close(&desk);
    g_assert_cmpint(stat(path, &st), ==, 0);
    g_assert_cmpint(st.st_mode & 0777, ==, 0600);

    db = database_open(path, ME, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(database_incarnation(db), ==, 2);
    g_assert_cmpuint(database_take_sequence(db), ==, 2);
    hosts = database_load_hosts(db, &error);
    scenarios = database_load_scenarios(db, &error);
    g_assert_cmpstr(json_string_value(json_object_get(json_array_get(hosts, 0), "name")), ==, "alpha");
    g_assert_cmpuint(json_array_size(scenarios), ==, 1);
    database_close(db, NULL, NULL);
}

static void test_change_and_delete(void)
{
    Desk desk;
    DatabaseChanges *changes = database_changes_new();
    json_auto_t *other = doc("beta");
    json_auto_t *told = json_pack("[s]", "HOST_SILENT");
    json_auto_t *hosts = NULL;
    json_auto_t *scenarios = NULL;
    Database *db;

    desk_open(&desk);
    submit(&desk, a_bit_of_all(database_take_sequence(desk.db)));
    database_put_host(changes, HOST, "beta", other);
    database_tell_host(changes, HOST, told);
    database_maintain_host(changes, HOST, other);
    database_hold_host(changes, HOST, told);
    database_hold_host(changes, HOST, NULL);
    database_move_host(changes, HOST, told);
    database_tell_host(changes, WEB, told); /* which is none */
    database_delete_scenario(changes, WEB);
    submit(&desk, changes);
    g_assert_no_error(desk.error);
    desk_close(&desk);
    db = database_open(path, ME, NULL);
    hosts = database_load_hosts(db, NULL);
    scenarios = database_load_scenarios(db, NULL);
    g_assert_cmpuint(json_array_size(hosts), ==, 1);
    json_object_set_new(other, "maintenance", json_copy(other));
    json_object_set(other, "told", told);
    json_object_set(other, "addresses", told);
    json_object_set_new(other, "hold", json_null());
    g_assert_true(json_equal(json_array_get(hosts, 0), other));
    g_assert_cmpuint(json_array_size(scenarios), ==, 0);
    database_close(db, NULL, NULL);
}

static void expect_events(Desk *desk, const DatabaseEventFilter *filter, const char *wanted)
{
    g_autoptr(GString) got = g_string_new(NULL);
    json_t *event;
    gsize i;

    database_query_events(desk->db, filter, on_rows, desk);
    while (!desk->rows)
        uv_run(&desk->loop, UV_RUN_ONCE);
    json_array_foreach(desk->rows, i, event) g_string_append_printf(
        got, "%s%" JSON_INTEGER_FORMAT, i ? " " : "", json_integer_value(json_object_get(event, "sequence")));
    g_assert_cmpstr(got->str, ==, wanted);
    g_clear_pointer(&desk->rows, json_decref);
}

static void test_events(void)
{
    Desk desk;
    DatabaseChanges *changes = database_changes_new();

    desk_open(&desk);
    for (guint i = 0; i < 6; i++) {
        guint64 sequence = database_take_sequence(desk.db);
        json_auto_t *event = json_pack("{s:I}", "sequence", (json_int_t)sequence);

        database_add_event(changes, sequence, 1000 * sequence, i % 2 ? "web" : NULL, i % 3 ? NULL : "alpha",
                           event);
    }
    submit(&desk, changes);
    g_assert_no_error(desk.error);
    expect_events(&desk, &(DatabaseEventFilter){0}, "1 2 3 4 5 6");
    expect_events(&desk, &(DatabaseEventFilter){.limit = 2}, "5 6");
    expect_events(&desk, &(DatabaseEventFilter){.after = 2}, "3 4 5 6");
    expect_events(&desk, &(DatabaseEventFilter){.after = 2, .limit = 2}, "3 4");
    expect_events(&desk, &(DatabaseEventFilter){.after = 6}, "");
    expect_events(&desk, &(DatabaseEventFilter){.since_wall_ms = 4000}, "4 5 6");
    expect_events(&desk, &(DatabaseEventFilter){.scenario = "web"}, "2 4 6");
    expect_events(&desk, &(DatabaseEventFilter){.host = "alpha"}, "1 4");
    expect_events(&desk, &(DatabaseEventFilter){.host = "alpha", .scenario = "web"}, "4");
    expect_events(&desk, &(DatabaseEventFilter){.scenario = "'; DROP TABLE events; --"}, "");
    desk_close(&desk);
}

static void add_events(DatabaseChanges *changes, const guint64 *sequences, guint count)
{
    for (guint i = 0; i < count; i++) {
        json_auto_t *event = json_pack("{s:I}", "sequence", (json_int_t)sequences[i]);

        database_add_event(changes, sequences[i], (gint64)sequences[i] * 1000, NULL, NULL, event);
    }
}

/* By number, and by age up to the first that is young enough, whatever the clock did behind it; never the newest. */
static void test_events_are_forgotten(void)
{
    static const guint64 NUMBERS[] = {1, 2, 3, 4, 5};
    Desk desk;
    DatabaseChanges *changes = database_changes_new();
    json_auto_t *early = json_pack("{s:i}", "sequence", 6);

    desk_open(&desk);
    add_events(changes, NUMBERS, G_N_ELEMENTS(NUMBERS));
    database_add_event(changes, 6, 1500, NULL, NULL, early);
    submit(&desk, changes);
    changes = database_changes_new();
    database_forget_events(changes, -7, G_MININT64);
    submit(&desk, changes);
    expect_events(&desk, &(DatabaseEventFilter){0}, "1 2 3 4 5 6");
    changes = database_changes_new();
    database_forget_events(changes, 1, 0);
    submit(&desk, changes);
    expect_events(&desk, &(DatabaseEventFilter){0}, "2 3 4 5 6");
    changes = database_changes_new();
    database_forget_events(changes, 0, 3000);
    submit(&desk, changes);
    expect_events(&desk, &(DatabaseEventFilter){0}, "3 4 5 6");
    changes = database_changes_new();
    database_forget_events(changes, 1000, 0);
    submit(&desk, changes);
    expect_events(&desk, &(DatabaseEventFilter){0}, "6");
    changes = database_changes_new();
    database_forget_events(changes, 0, G_MAXINT64);
    submit(&desk, changes);
    g_assert_no_error(desk.error);
    expect_events(&desk, &(DatabaseEventFilter){0}, "6");
    desk_close(&desk);
}

/* --- channels --- */

static void expect_backlog(Desk *desk, const DatabaseBacklog *backlog, const char *wanted)
{
    g_autoptr(GString) got = g_string_new(NULL);
    const json_t *row;
    json_t *event;
    gsize i;

    database_query_backlog(desk->db, backlog, on_rows, desk);
    while (!desk->rows)
        uv_run(&desk->loop, UV_RUN_ONCE);
    g_assert_cmpuint(json_array_size(desk->rows), ==, 1);
    row = json_array_get(desk->rows, 0);
    g_string_printf(got, "%" JSON_INTEGER_FORMAT "-%" JSON_INTEGER_FORMAT " of %" JSON_INTEGER_FORMAT ":",
                    json_integer_value(json_object_get(row, "oldest")),
                    json_integer_value(json_object_get(row, "newest")),
                    json_integer_value(json_object_get(row, "waiting")));
    json_array_foreach(json_object_get(row, "events"), i, event) g_string_append_printf(
        got, " %" JSON_INTEGER_FORMAT, json_integer_value(json_object_get(event, "sequence")));
    g_assert_cmpstr(got->str, ==, wanted);
    g_clear_pointer(&desk->rows, json_decref);
}

static void test_backlog(void)
{
    static const struct {
        const char *severity, *scenario, *channel;
    } EVENTS[] = {{"info", NULL, NULL},     {"warning", "web", NULL}, {"error", "shop", NULL},
                  {"warning", NULL, "ops"}, {"error", "web", NULL},   {"info", "web", NULL}};
    json_auto_t *bad = json_pack("[s, s]", "warning", "error");
    json_auto_t *all = json_pack("[s, s, s]", "info", "warning", "error");
    json_auto_t *web = json_pack("[s]", "web");
    json_auto_t *odd = json_pack("[s]", "'; DROP TABLE events; --");
    DatabaseChanges *changes = database_changes_new();
    Desk desk;

    desk_open(&desk);
    expect_backlog(&desk, &(DatabaseBacklog){.severities = all, .limit = 9}, "0-0 of 0:");
    for (guint i = 0; i < G_N_ELEMENTS(EVENTS); i++) {
        json_auto_t *event = json_pack("{s:i, s:s, s:s*}", "sequence", (int)i + 2, "severity",
                                       EVENTS[i].severity, "channel", EVENTS[i].channel);

        database_add_event(changes, i + 2, 0, EVENTS[i].scenario, NULL, event);
    }
    submit(&desk, changes);
    expect_backlog(&desk, &(DatabaseBacklog){.severities = all, .limit = 9}, "2-7 of 0: 2 3 4 5 6 7");
    expect_backlog(&desk, &(DatabaseBacklog){.severities = all, .limit = 2, .after = 3}, "2-7 of 0: 4 5");
    expect_backlog(&desk, &(DatabaseBacklog){.severities = all, .limit = 9, .after = 3, .upto = 5},
                   "2-7 of 0: 4 5");
    expect_backlog(&desk, &(DatabaseBacklog){.severities = bad, .limit = 9}, "2-7 of 0: 3 4 5 6");
    expect_backlog(&desk, &(DatabaseBacklog){.severities = bad, .limit = 9, .not_about = "ops"},
                   "2-7 of 0: 3 4 6");
    expect_backlog(&desk, &(DatabaseBacklog){.severities = bad, .scenarios = web, .limit = 9},
                   "2-7 of 0: 3 6");
    expect_backlog(&desk, &(DatabaseBacklog){.severities = all, .scenarios = odd, .limit = 9}, "2-7 of 0:");
    expect_backlog(&desk, &(DatabaseBacklog){.severities = bad, .after = 3}, "2-7 of 3:");
    expect_backlog(&desk, &(DatabaseBacklog){.severities = bad, .after = 7}, "2-7 of 0:");
    desk_close(&desk);
}

static json_t *channels(void)
{
    g_autoptr(GError) error = NULL;
    Database *db = database_open(path, ME, &error);
    json_t *list = database_load_channels(db, &error);

    g_assert_no_error(error);
    database_close(db, NULL, NULL);
    return list;
}

static void test_channels(void)
{
    json_auto_t *state = json_pack("{s:i}", "cursor", 1);
    json_auto_t *later = json_pack("{s:i}", "cursor", 2);
    json_auto_t *ops = doc("ops");
    json_auto_t *want =
        json_pack("[{s:s, s:s, s:O, s:O}]", "id", ID_TEXT(HOST), "name", "ops", "doc", ops, "state", later);
    json_auto_t *got = NULL;
    json_auto_t *gone = NULL;
    json_auto_t *none = NULL;
    DatabaseChanges *changes = database_changes_new();
    Desk desk;

    desk_open(&desk);
    database_put_channel(changes, HOST, "ops", ops, state);
    submit(&desk, changes);
    g_assert_no_error(desk.error);
    changes = database_changes_new();
    database_put_channel(changes, WEB, "ops", ops, state);
    submit(&desk, changes);
    g_assert_error(desk.error, US_ERROR, US_ERROR_EXISTS);
    changes = database_changes_new();
    database_put_channel_state(changes, HOST, later);
    database_put_channel_state(changes, WEB, later); /* it is not there: nothing */
    submit(&desk, changes);
    g_assert_no_error(desk.error);
    desk_close(&desk);
    got = channels();
    g_assert_true(json_equal(got, want));
    /* A file of a version that knew none. */
    {
        sqlite3 *file = NULL;

        g_assert_cmpint(sqlite3_open(path, &file), ==, SQLITE_OK);
        g_assert_cmpint(sqlite3_exec(file, "DROP TABLE channels", NULL, NULL, NULL), ==, SQLITE_OK);
        sqlite3_close(file);
        gone = channels();
        g_assert_cmpuint(json_array_size(gone), ==, 0);
    }
    desk_open(&desk);
    changes = database_changes_new();
    database_delete_channel(changes, HOST);
    submit(&desk, changes);
    desk_close(&desk);
    none = channels();
    g_assert_cmpuint(json_array_size(none), ==, 0);
}

/* --- integrity tests --- */

static void put_test(DatabaseChanges *changes, Id id, gint64 begun_ms, gboolean open, const char *verdict)
{
    json_auto_t *state = json_pack("{s:b}", "open", open);
    json_auto_t *doc =
        json_pack("{s:s, s:s?, s:s, s:s?, s:[{s:s, s:s, s:s?, s:I, s:{s:s}}]}", "test", ID_TEXT(id),
                  "ended_at", open ? NULL : "then", "host", "beta", "point", begun_ms == 103 ? "old" : NULL,
                  "vms", "vm", ID_TEXT(WEB), "name", "web1", "verdict", verdict, "back_ms",
                  (json_int_t)begun_ms + 1000, "point", "id", ID_TEXT(HOST));

    database_put_test(changes, id, "web", begun_ms, state, doc);
}

static void ask_rows(Desk *desk, void (*ask)(Desk *desk))
{
    g_clear_pointer(&desk->rows, json_decref);
    ask(desk);
    while (!desk->rows)
        uv_run(&desk->loop, UV_RUN_ONCE);
}

static void ask_tests(Desk *desk)
{
    database_query_tests(desk->db, "web", 9, on_rows, desk);
}

static void ask_evidence(Desk *desk)
{
    database_query_evidence(desk->db, (Id){{11}}, WEB, on_rows, desk);
}

static void test_tests(void)
{
    DatabaseChanges *changes = database_changes_new();
    json_auto_t *open = NULL;
    json_auto_t *verdicts = NULL;
    g_autofree char *text = NULL;
    json_auto_t *newest = NULL;
    Desk desk;

    desk_open(&desk);
    /* The clock was wrong when the second one began. */
    for (guint8 i = 0; i < 5; i++)
        put_test(changes, (Id){{10 + i}}, i == 1 ? 99999 : 100 + i, i == 0,
                 i == 3   ? "failed"
                 : i == 0 ? NULL
                          : "passed");
    database_put_evidence(changes, (Id){{11}}, WEB, "iVBOR", NULL);
    submit(&desk, changes);
    g_assert_no_error(desk.error);
    ask_rows(&desk, ask_evidence);
    g_assert_cmpuint(json_array_size(desk.rows), ==, 1);
    ask_rows(&desk, ask_tests);
    g_assert_cmpuint(json_array_size(desk.rows), ==, 5);
    g_assert_null(
        json_object_get(json_array_get(json_object_get(json_array_get(desk.rows, 0), "vms"), 0), "point"));
    /* The open one stays, however old. */
    changes = database_changes_new();
    database_forget_tests(changes, "shop", 0);
    database_forget_tests(changes, "web", 2);
    submit(&desk, changes);
    ask_rows(&desk, ask_tests);
    g_assert_cmpuint(json_array_size(desk.rows), ==, 3);
    g_assert_cmpstr(json_string_value(json_object_get(json_array_get(desk.rows, 0), "test")), ==,
                    ID_TEXT(((Id){{14}})));
    ask_rows(&desk, ask_evidence);
    g_assert_cmpuint(json_array_size(desk.rows), ==, 0);
    g_clear_pointer(&desk.rows, json_decref);
    desk_close(&desk);
    {
        g_autoptr(GError) error = NULL;
        Database *db = database_open(path, ME, &error);

        open = database_load_open_tests(db, &error);
        verdicts = database_load_verdicts(db, &error);
        newest = database_load_newest_tests(db, &error);
        g_assert_no_error(error);
        database_close(db, NULL, NULL);
    }
    g_assert_cmpuint(json_array_size(open), ==, 1);
    g_assert_cmpstr(json_string_value(json_object_get(json_array_get(open, 0), "id")), ==,
                    ID_TEXT(((Id){{10}})));
    text = json_text(verdicts);
    g_assert_cmpstr(
        text, ==,
        "[{\"scenario\":\"web\",\"vm\":\"03000000-0000-0000-0000-000000000000\",\"point\":\"02000000-0000-"
        "0000-0000-"
        "000000000000\","
        "\"chosen\":\"old\",\"host\":\"beta\",\"verdict\":\"failed\",\"back_ms\":1103,\"ended_at\":\"then\"},"
        "{\"scenario\":\"web\",\"vm\":\"03000000-0000-0000-0000-000000000000\",\"point\":\"02000000-0000-"
        "0000-0000-000000000000\","
        "\"chosen\":null,\"host\":\"beta\",\"verdict\":\"passed\",\"back_ms\":1104,\"ended_at\":\"then\"}]");
    g_assert_cmpuint(json_array_size(newest), ==, 1);
    g_assert_cmpstr(json_string_value(json_object_get(json_array_get(newest, 0), "scenario")), ==, "web");
    g_assert_cmpint(json_integer_value(json_object_get(json_array_get(newest, 0), "begun_ms")), ==, 104);
}

static void test_all_or_nothing(void)
{
    Desk desk;
    DatabaseChanges *changes = database_changes_new();
    json_auto_t *beta = doc("beta");
    json_auto_t *taken = doc("alpha");
    json_auto_t *hosts = NULL;
    Database *db;

    desk_open(&desk);
    submit(&desk, a_bit_of_all(database_take_sequence(desk.db)));
    database_put_host(changes, (Id){{7}}, "beta", beta);
    database_put_host(changes, (Id){{8}}, "alpha", taken);
    submit(&desk, changes);
    g_assert_error(desk.error, US_ERROR, US_ERROR_EXISTS);
    /* A refused change does no harm to what follows. */
    changes = database_changes_new();
    database_put_host(changes, (Id){{9}}, "gamma", beta);
    submit(&desk, changes);
    g_assert_no_error(desk.error);
    desk_close(&desk);
    db = database_open(path, ME, NULL);
    hosts = database_load_hosts(db, NULL);
    g_assert_cmpuint(json_array_size(hosts), ==, 2); /* alpha and gamma, not beta */
    database_close(db, NULL, NULL);
}

typedef struct {
    Desk *desk;
    guint number;
} Turn;

static void on_turn(const GError *error, void *user)
{
    Turn *turn = user;

    g_assert_no_error(error);
    turn->desk->order[turn->desk->outcomes++] = turn->number;
}

/* Many at once come back in order, and closing waits for all of them. */
static void test_order_and_close(void)
{
    Desk desk;
    Turn turns[64];

    desk_open(&desk);
    for (guint i = 0; i < 64; i++) {
        DatabaseChanges *changes = database_changes_new();
        json_auto_t *host = doc("x");

        turns[i] = (Turn){&desk, i};
        database_put_host(changes, HOST, "x", host);
        database_submit(desk.db, changes, on_turn, &turns[i]);
    }
    desk_close(&desk);
    g_assert_cmpuint(desk.outcomes, ==, 64);
    for (guint i = 0; i < 64; i++)
        g_assert_cmpuint(desk.order[i], ==, i);
}

static void expect_refusal(UsError code, const char *says)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *before = NULL;
    g_autofree char *after = NULL;
    gsize before_len = 0;
    gsize after_len = 0;

    g_file_get_contents(path, &before, &before_len, NULL);
    g_assert_null(database_open(path, ME, &error));
    g_assert_error(error, US_ERROR, (int)code);
    g_assert_nonnull(strstr(error->message, says));
    g_assert_nonnull(strstr(error->message, "state.db"));
    g_file_get_contents(path, &after, &after_len, NULL);
    g_assert_cmpmem(before, before_len, after, after_len); /* left alone */
}

static void sql(const char *text)
{
    sqlite3 *file;

    g_assert_cmpint(sqlite3_open(path, &file), ==, SQLITE_OK);
    g_assert_cmpint(sqlite3_exec(file, text, NULL, NULL, NULL), ==, SQLITE_OK);
    g_assert_cmpint(sqlite3_close(file), ==, SQLITE_OK);
}

static void make_one(void)
{
    Desk desk;

    desk_open(&desk);
    submit(&desk, a_bit_of_all(database_take_sequence(desk.db)));
    desk_close(&desk);
}

static void test_not_a_database(void)
{
    g_assert_true(
        durable_replace(path, "this is a letter, not a database, and it is long enough", 56, 0600, NULL));
    expect_refusal(US_ERROR_CORRUPT, "not a database");
}

static void test_another_programs(void)
{
    sql("CREATE TABLE t (x)");
    expect_refusal(US_ERROR_CORRUPT, "another program");
}

static void test_newer_format(void)
{
    make_one();
    sql("PRAGMA user_version = 2");
    expect_refusal(US_ERROR_REFUSED, "newer version");
}

/* Files that were made when plans still had tables go on. */
static void test_tables_of_plans(void)
{
    Desk desk;

    make_one();
    sql("CREATE TABLE plans (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, scenario TEXT,"
        " finished INTEGER NOT NULL, doc TEXT NOT NULL) STRICT;"
        "CREATE TABLE journal (number INTEGER PRIMARY KEY, plan TEXT NOT NULL REFERENCES plans (id),"
        " doc TEXT NOT NULL) STRICT;"
        "INSERT INTO plans VALUES (1, 'x', NULL, 0, '{}'); INSERT INTO journal VALUES (1, 'x', '{}');");
    desk_open(&desk);
    submit(&desk, a_bit_of_all(database_take_sequence(desk.db)));
    g_assert_no_error(desk.error);
    expect_events(&desk, &(DatabaseEventFilter){0}, "1 2");
    desk_close(&desk);
}

static void test_another_controllers(void)
{
    g_autoptr(GError) error = NULL;

    make_one();
    g_assert_null(database_open(path, (Id){{99}}, &error));
    g_assert_error(error, US_ERROR, US_ERROR_REFUSED);
    g_assert_nonnull(strstr(error->message, "were not copied together"));
}

static void test_damaged(void)
{
    char noise[4096];
    int fd;

    make_one();
    memset(noise, 0x5a, sizeof noise);
    fd = open(path, O_WRONLY | O_CLOEXEC);
    g_assert_cmpint(pwrite(fd, noise, sizeof noise, 4096 * 2), ==, sizeof noise);
    close(fd);
    expect_refusal(US_ERROR_CORRUPT, "state.db");
}

static void test_second_controller(void)
{
    Desk desk;

    desk_open(&desk);
    submit(&desk, a_bit_of_all(database_take_sequence(desk.db)));
    {
        g_autoptr(GError) error = NULL;

        g_assert_null(database_open(path, ME, &error));
        g_assert_error(error, US_ERROR, US_ERROR_BUSY);
        g_assert_nonnull(strstr(error->message, "another controller runs on this state"));
    }
    submit(&desk, a_bit_of_all(database_take_sequence(desk.db)));
    g_assert_no_error(desk.error);
    desk_close(&desk);
}

/* --- children --- */

static pid_t spawn(const char *what, const char *stop_at)
{
    pid_t pid = fork();

    if (pid == 0) {
        if (stop_at)
            setenv("UNDERSTUDY_STOP_AT", stop_at, 1);
        execl("/proc/self/exe", "test_database", "--child", what, path, NULL);
        _exit(127);
    }
    g_assert_cmpint(pid, >, 0);
    return pid;
}

/* TRUE if it was stopped (and is dead now), FALSE if it went through. */
static gboolean kill_where_it_stops(pid_t pid)
{
    int status;

    g_assert_cmpint(waitpid(pid, &status, WUNTRACED), ==, pid);
    if (!WIFSTOPPED(status)) {
        g_assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        return FALSE;
    }
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
    return TRUE;
}

static int child_change(void)
{
    Desk desk;

    desk_open(&desk);
    submit(&desk, a_bit_of_all(database_take_sequence(desk.db)));
    desk_close(&desk);
    return 0;
}

/* Killed at every passage of both points: all of a set of changes is there, or nothing of it. */
static void test_killed(void)
{
#ifndef UNDERSTUDY_STOP_POINTS
    g_test_skip("this build has no stopping points");
#else
    static const char *const POINTS[] = {"state.before_commit", "state.after_commit"};
    guint killed = 0;

    for (guint p = 0; p < G_N_ELEMENTS(POINTS); p++)
        for (guint count = 1;; count++) {
            g_autofree char *stop = g_strdup_printf("%s:%u", POINTS[p], count);
            g_autoptr(GError) error = NULL;
            g_autofree char *wal = g_strconcat(path, "-wal", NULL);
            json_auto_t *hosts = NULL;
            json_auto_t *scenarios = NULL;
            gboolean stopped = kill_where_it_stops(spawn("change", stop));
            Database *db = database_open(path, ME, &error);

            g_assert_no_error(error);
            hosts = database_load_hosts(db, &error);
            scenarios = database_load_scenarios(db, &error);
            g_assert_cmpuint(json_array_size(hosts), ==, json_array_size(scenarios));
            /* The third passage is the change itself: creation and incarnation come first. */
            g_assert_cmpuint(json_array_size(hosts), ==, !stopped || (p == 1 && count == 3) ? 1 : 0);
            g_assert_cmpuint(database_incarnation(db), >=, 1);
            database_close(db, NULL, NULL);
            g_unlink(path);
            g_unlink(wal);
            killed += stopped;
            if (!stopped)
                break;
        }
    g_assert_cmpuint(killed, ==, 6);
#endif
}

/* In a file system of its own, which gets full. */
static int child_full(void)
{
    g_autofree char *dir = g_path_get_dirname(path);
    g_autofree char *fill = g_strconcat(path, ".fill", NULL);
    g_autofree char *block = g_malloc0(65536);
    Desk desk;
    int fd;

    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("tmpfs", dir, "tmpfs", 0, "size=1m") != 0)
        return 77;
    desk_open(&desk);
    submit(&desk, a_bit_of_all(database_take_sequence(desk.db)));
    g_assert_no_error(desk.error);
    fd = open(fill, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    while (write(fd, block, 65536) > 0)
        ;
    for (guint i = 0; i < 1000 && !desk.error; i++)
        submit(&desk, a_bit_of_all(database_take_sequence(desk.db)));
    g_assert_error(desk.error, US_ERROR, US_ERROR_NO_SPACE);
    g_unlink(fill);
    close(fd);
    submit(&desk, a_bit_of_all(database_take_sequence(desk.db)));
    g_assert_no_error(desk.error);
    desk_close(&desk);
    /* And one that cannot be written to. */
    g_assert_cmpint(mount("none", dir, NULL, MS_REMOUNT | MS_RDONLY, NULL), ==, 0);
    {
        g_autoptr(GError) error = NULL;

        g_assert_null(database_open(path, ME, &error));
        g_assert_nonnull(strstr(error->message, "state.db"));
        g_assert_true(g_error_matches(error, US_ERROR, US_ERROR_DENIED) ||
                      g_error_matches(error, US_ERROR, US_ERROR_IO));
    }
    return 0;
}

static void test_full(void)
{
    int status;
    pid_t pid = spawn("full", NULL);

    g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
    g_assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77)
        g_test_skip("a file system of its own needs root");
    else
        g_assert_cmpint(WEXITSTATUS(status), ==, 0);
}

/* Writes fail with something else than "full": from then on nothing is changed any more. */
static int child_broken(void)
{
    struct rlimit limit = {0, 0};
    Desk desk;

    signal(SIGXFSZ, SIG_IGN);
    desk_open(&desk);
    submit(&desk, a_bit_of_all(database_take_sequence(desk.db)));
    g_assert_no_error(desk.error);
    getrlimit(RLIMIT_FSIZE, &limit);
    limit.rlim_cur = 4096;
    g_assert_cmpint(setrlimit(RLIMIT_FSIZE, &limit), ==, 0);
    submit(&desk, a_bit_of_all(database_take_sequence(desk.db)));
    g_assert_error(desk.error, US_ERROR, US_ERROR_IO);
    limit.rlim_cur = limit.rlim_max;
    g_assert_cmpint(setrlimit(RLIMIT_FSIZE, &limit), ==, 0);
    submit(&desk, a_bit_of_all(database_take_sequence(desk.db)));
    g_assert_error(desk.error, US_ERROR, US_ERROR_IO);
    g_assert_nonnull(strstr(desk.error->message, "until it is started again"));
    desk_close(&desk);
    /* Another start finds what was durable. */
    desk_open(&desk);
    expect_events(&desk, &(DatabaseEventFilter){0}, "1");
    submit(&desk, a_bit_of_all(database_take_sequence(desk.db)));
    g_assert_no_error(desk.error);
    desk_close(&desk);
    return 0;
}

static void test_what_is_lost(void)
{
    static const UsError LOST[] = {US_ERROR_IO, US_ERROR_CORRUPT};
    static const UsError NOT[] = {US_ERROR_NO_SPACE, US_ERROR_EXISTS, US_ERROR_BUSY, US_ERROR_DENIED};

    for (guint i = 0; i < G_N_ELEMENTS(LOST); i++) {
        g_autoptr(GError) error = g_error_new(US_ERROR, (int)LOST[i], "x");

        g_assert_true(database_is_lost(error));
    }
    for (guint i = 0; i < G_N_ELEMENTS(NOT); i++) {
        g_autoptr(GError) error = g_error_new(US_ERROR, (int)NOT[i], "x");

        g_assert_false(database_is_lost(error));
    }
    g_assert_false(database_is_lost(NULL));
}

static void test_broken(void)
{
    int status;
    pid_t pid = spawn("broken", NULL);

    g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
    g_assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static int child(const char *what, char *file)
{
    path = file;
    if (g_str_equal(what, "change"))
        return child_change();
    if (g_str_equal(what, "full"))
        return child_full();
    return child_broken();
}

static void add(const char *name, void (*test)(void))
{
    g_test_add_data_func(name, (gconstpointer)test, in_a_folder);
}

int main(int argc, char **argv)
{
    if (argc == 4 && g_str_equal(argv[1], "--child"))
        return child(argv[2], argv[3]);
    g_test_init(&argc, &argv, NULL);
    add("/state/round-trip", test_round_trip);
    add("/state/leap", test_leap);
    add("/state/leap-doubts", test_leap_doubts);
    add("/state/change-and-delete", test_change_and_delete);
    add("/state/events", test_events);
    add("/state/events-are-forgotten", test_events_are_forgotten);
    add("/state/backlog", test_backlog);
    add("/state/channels", test_channels);
    add("/state/tests", test_tests);
    add("/state/all-or-nothing", test_all_or_nothing);
    add("/state/order-and-close", test_order_and_close);
    add("/state/not-a-database", test_not_a_database);
    add("/state/another-programs", test_another_programs);
    add("/state/newer-format", test_newer_format);
    add("/state/tables-of-plans", test_tables_of_plans);
    add("/state/another-controllers", test_another_controllers);
    add("/state/damaged", test_damaged);
    add("/state/second-controller", test_second_controller);
    add("/state/killed", test_killed);
    add("/state/full", test_full);
    add("/state/broken", test_broken);
    g_test_add_func("/state/what-is-lost", test_what_is_lost);
    return g_test_run();
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Integrity tests as the controller has them: what is durable when, what beta's engine is asked, what people are told. The
 * engine is a fake that answers when the test says so, the database is real. */
#include "orchestrator/core/rehearsal_result.h"
#include "orchestrator/rehearsals.h"
#include "tests/tree.h"
#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"

#include <string.h>
#include <uv.h>

#define WEB1 "aaaaaaaa-0000-4000-8000-000000000001"
#define WEB2 "bbbbbbbb-0000-4000-8000-000000000002"
#define POINT "dddddddd-0000-4000-8000-000000000004"
#define ALPHA "0a000000-0000-0000-0000-000000000000"
#define BETA "0b000000-0000-0000-0000-000000000000"
#define OTHER "eeeeeeee-0000-4000-8000-000000000005"
#define DEADLINE_MS 20000

static const Id ME = {{1}};
static const Id VM1 = {{0xaa, 0xaa, 0xaa, 0xaa, 0, 0, 0x40, 0, 0x80, 0, 0, 0, 0, 0, 0, 1}};    /* WEB1 */
static const Id POINT1 = {{0xdd, 0xdd, 0xdd, 0xdd, 0, 0, 0x40, 0, 0x80, 0, 0, 0, 0, 0, 0, 4}}; /* POINT */

static char *folder;
static Protection *web;

/* --- beta's engine ------------------------------------------------------- */

typedef struct {
    char *method;
    json_t *params;
    RpcAnswerFunc on_answer;
    void *user;
} Question;

static GQueue questions = G_QUEUE_INIT;
static GString *told; /* "CODE text\n" for each event */
static gboolean up;

gboolean hosts_is_up(const Hosts *hosts, const char *name)
{
    (void)hosts;
    g_assert_cmpstr(name, ==, "beta");
    return up;
}

void hosts_call(Hosts *hosts, const char *name, const char *method, const json_t *params, gint64 limit_ms,
                RpcAnswerFunc on_answer, void *user)
{
    Question *q = g_new0(Question, 1);

    (void)hosts;
    g_assert_cmpstr(name, ==, "beta");
    g_assert_cmpint(limit_ms, >, 0);
    *q = (Question){g_strdup(method), json_deep_copy(params), on_answer, user};
    g_queue_push_tail(&questions, q);
}

void events_publish(Events *events, const Event *event)
{
    (void)events;
    g_assert_cmpstr(event->scenario, ==, "web");
    g_assert_cmpstr(event->host, ==, "beta");
    g_string_append_printf(told, "%s %s\n", event_code_name(event->code), event->text);
}

/* The next question must be @method; @text: its answer, or NULL for an error with @code. Its params. */
static json_t *answer(const char *method, const char *text, int code)
{
    g_autofree Question *q = g_queue_pop_head(&questions);
    json_auto_t *result = text ? json_loads(text, 0, NULL) : NULL;
    g_autoptr(GError) error = text ? NULL : g_error_new(US_ERROR, code, "so");
    json_t *params;

    g_assert_nonnull(q);
    g_assert_cmpstr(q->method, ==, method);
    g_assert_true(!text || result);
    q->on_answer(q->user, result, error);
    params = q->params;
    g_free(q->method);
    return params;
}

static void says(const char *method, const char *text)
{
    json_decref(answer(method, text, 0));
}

static void fails(const char *method, int code)
{
    json_decref(answer(method, NULL, code));
}

static void asked_nothing(void)
{
    const Question *q = g_queue_peek_head(&questions);

    g_assert_cmpstr(q ? q->method : NULL, ==, NULL);
}

static void expect_told(const char *text)
{
    g_assert_cmpstr(told->str, ==, text);
    g_string_truncate(told, 0);
}

/* --- the controller -------------------------------------------------------- */

typedef struct {
    uv_loop_t loop;
    Database *db;
    Rehearsals *r;
    guint answers; /* that a caller was given */
    json_t *doc;   /* the last of them, or */
    GError *error;
    guint lists; /* that were given */
    json_t *list;
} Desk;

static void desk_open(Desk *d)
{
    g_autofree char *path = g_build_filename(folder, "state.db", NULL);
    g_autoptr(GError) error = NULL;

    *d = (Desk){0};
    uv_loop_init(&d->loop);
    d->db = database_open(path, ME, &error);
    g_assert_no_error(error);
    d->r = rehearsals_new(d->db, NULL, NULL);
    rehearsals_load(d->r, &error);
    g_assert_no_error(error);
    database_start(d->db, &d->loop);
}

/* What was asked is answered as the end of a link does. */
static void desk_close(Desk *d)
{
    rehearsals_close(d->r);
    while (!g_queue_is_empty(&questions)) {
        Question *q = g_queue_pop_head(&questions);
        g_autoptr(GError) error = g_error_new(US_ERROR, US_ERROR_CANCELLED, "the end");

        q->on_answer(q->user, NULL, error);
        json_decref(q->params);
        g_free(q->method);
        g_free(q);
    }
    database_close(d->db, NULL, NULL);
    uv_run(&d->loop, UV_RUN_DEFAULT);
    rehearsals_free(d->r);
    json_decref(d->doc);
    json_decref(d->list);
    g_clear_error(&d->error);
    g_assert_cmpint(uv_loop_close(&d->loop), ==, 0);
}

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

static void wait_answers(Desk *d, guint answers)
{
    gint64 end_ms = clock_steady_ms() + DEADLINE_MS;

    while (d->answers < answers && clock_steady_ms() < end_ms)
        uv_run(&d->loop, UV_RUN_ONCE);
    g_assert_cmpuint(d->answers, ==, answers);
}

static void on_list(void *user, const json_t *doc, const GError *error)
{
    Desk *d = user;

    g_assert_no_error(error);
    json_decref(d->list);
    d->list = json_deep_copy(doc);
    d->lists++;
}

static void list(Desk *d)
{
    gint64 end_ms = clock_steady_ms() + DEADLINE_MS;
    guint lists = d->lists;

    rehearsals_list(d->r, "web", on_list, d);
    while (d->lists == lists && clock_steady_ms() < end_ms)
        uv_run(&d->loop, UV_RUN_ONCE);
    g_assert_cmpuint(d->lists, ==, lists + 1);
}

/* Each time what was submitted is done, and what that led to submitted. */
static void settle(Desk *d)
{
    for (guint i = 0; i < 4; i++)
        list(d);
}

static void ask(Desk *d, const char *body)
{
    json_auto_t *request = json_loads(body, 0, NULL);
    g_autoptr(GError) error = NULL;
    RehearsalWish wish;

    g_assert_true(rehearsal_wish_read(request, &wish, &error));
    g_assert_true(rehearsals_start(d->r, web, &wish, on_doc, d, &error));
    g_assert_no_error(error);
}

/* Begun, and its id. */
static char *begin(Desk *d, const char *body)
{
    json_auto_t *params = NULL;

    ask(d, body);
    asked_nothing(); /* before its row is there */
    settle(d);
    params = answer("test.start", "{}", 0);
    g_assert_no_error(d->error);
    expect_told("TEST_STARTED an integrity test of scenario 'web' was started on beta: what runs and is "
                "replicated is "
                "not touched\n");
    return g_strdup(json_string_value(json_object_get(params, "test")));
}

static char *result(const char *id, const char *state, const char *verdict, const char *why)
{
    gboolean ended = g_str_equal(state, "ended");

    return g_strdup_printf(
        "{\"test\":\"%s\",\"scenario\":\"x\",\"manual\":false,\"state\":\"%s\",\"begun_at\":"
        "\"2026-11-21T22:16:54.123Z\",\"ended_at\":%s,\"verdict\":%s,\"why\":%s,\"more\":1,\"vms\":[{\"vm\":"
        "\"" WEB1
        "\",\"name\":\"web1\",\"verdict\":%s,\"why\":%s,\"state\":\"booting\",\"point\":{\"id\":\"" POINT
        "\",\"sequence\":4,\"term\":1,\"cut_at\":\"2026-11-21T22:16:54.123Z\"},\"start_ms\":600,\"boot_ms\":"
        "8400,\"back_ms\":9000,"
        "\"checks\":[],\"left_out\":[],\"vnc\":null,\"serial\":null,\"picture\":%s}]}",
        id, state, ended ? "\"2026-11-22T02:14:00.000Z\"" : "null", verdict, why, verdict, why,
        ended ? "true" : "false");
}

static void news(Desk *d, const char *id, const char *state, int changed)
{
    json_auto_t *status = json_pack("{s:[{s:s, s:s, s:s, s:i}, {s:s}]}", "tests", "test", id, "scenario",
                                    "web", "state", state, "changed", changed, "test", "nonsense");

    rehearsals_news(d->r, "beta", status);
}

/* Through its end, which has come. */
static void end(Desk *d, const char *id, const char *verdict, const char *why)
{
    g_autofree char *ended = result(id, "ended", verdict, why);

    says("test.result", ended);
    says("test.evidence", "{\"png\":\"iVBOR\",\"console\":\"login:\"}");
    settle(d);
    says("test.forget", "{}");
    asked_nothing();
}

static const json_t *first(const Desk *d)
{
    return json_array_get(json_object_get(d->list, "tests"), 0);
}

static const char *text(const json_t *doc, const char *key)
{
    return json_string_value(json_object_get(doc, key));
}

static void show(Desk *d, const char *id)
{
    Id test;

    g_assert_true(id_parse(id, &test, NULL));
    rehearsals_show(d->r, test, on_doc, d);
    wait_answers(d, d->answers + 1);
}

static void evidence(Desk *d, const char *id, const char *vm)
{
    Id test, of;

    g_assert_true(id_parse(id, &test, NULL));
    g_assert_true(id_parse(vm, &of, NULL));
    rehearsals_evidence(d->r, test, of, on_doc, d);
}

/* --- what is asked ----------------------------------------------------------- */

static void test_order(void)
{
    g_autofree char *wanted = NULL;
    json_auto_t *params = NULL;
    json_auto_t *want = NULL;
    Desk d;

    desk_open(&d);
    ask(&d, "{\"vms\":[\"" WEB2 "\"],\"point\":\"" POINT "\",\"manual\":true,\"limit_ms\":60000}");
    settle(&d);
    params = answer("test.start", "{}", 0);
    want =
        json_pack("{s:s?, s:s, s:b, s:i, s:i, s:[{s:s, s:s, s:s, s:[]}], s:[s]}", "test",
                  text(params, "test"), "scenario", "web", "manual", 1, "limit_ms", 60000, "boot_ms", 300000,
                  "vms", "vm", WEB2, "name", "web2", "point", POINT, "after", "hosts", "127.0.0.1:1");
    wanted = json_text(want);
    if (!json_equal(params, want))
        g_test_message("%s", wanted);
    g_assert_true(json_equal(params, want));
    desk_close(&d);
    g_string_truncate(told, 0);
}

/* Each VM has its own, by name or UUID, or those of "*". */
static void test_checks(void)
{
    json_auto_t *params = NULL;
    json_auto_t *list = NULL;
    json_t *vms;
    Desk d;

    desk_open(&d);
    ask(&d, "{\"checks\":{\"" WEB2 "\":[\"tcp:80\"],\"*\":[\"agent\",\"no-disks\"]}}");
    settle(&d);
    params = answer("test.start", "{}", 0);
    vms = json_object_get(params, "vms");
    list = json_pack("[[s, s], [s]]", "agent", "no-disks", "tcp:80");
    for (guint i = 0; i < 2; i++)
        g_assert_true(json_equal(json_object_get(json_array_get(vms, i), "checks"), json_array_get(list, i)));
    desk_close(&d);
    g_string_truncate(told, 0);
}

/* The checks of the VM @at of a test that its engine refuses. */
static char *checks_of(Desk *d, const char *body, guint at)
{
    json_auto_t *params = NULL;
    const json_t *checks;

    ask(d, body);
    settle(d);
    params = answer("test.start", NULL, US_ERROR_NO_SPACE);
    checks = json_object_get(json_array_get(json_object_get(params, "vms"), at), "checks");
    return g_strdup(checks ? json_string_value(json_array_get(checks, 0)) : "none");
}

/* What its scenario has counts for whom nothing else is asked of. */
static void test_checks_of_the_scenario(void)
{
    json_t **exams = &((ScenarioVm *)web->scenario->vms->pdata[0])->exams;
    Desk d;

    desk_open(&d);
    *exams = json_pack("[s]", "console:login");
    for (guint i = 0; i < 4; i++) {
        g_autofree char *checks = checks_of(&d,
                                            i == 2   ? "{\"checks\":{\"*\":[\"agent\"]}}"
                                            : i == 3 ? "{\"checks\":{\"web2\":[\"agent\"]}}"
                                                     : "{}",
                                            i == 1);

        g_assert_cmpstr(checks, ==, i == 1 ? "none" : i == 2 ? "agent" : "console:login");
    }
    g_clear_pointer(exams, json_decref);
    desk_close(&d);
}

static void test_checks_of_some(void)
{
    json_auto_t *params = NULL;
    json_t *vms;
    Desk d;

    desk_open(&d);
    ask(&d, "{\"checks\":{\"web1\":[\"tcp:80\"]}}");
    settle(&d);
    params = answer("test.start", "{}", 0);
    vms = json_object_get(params, "vms");
    g_assert_nonnull(json_object_get(json_array_get(vms, 0), "checks"));
    g_assert_null(json_object_get(json_array_get(vms, 1), "checks"));
    desk_close(&d);
    g_string_truncate(told, 0);
}

static void expect_refused(const char *body, int code, const char *says_so)
{
    json_auto_t *request = json_loads(body, 0, NULL);
    g_autoptr(GError) error = NULL;
    json_auto_t *params = NULL;
    RehearsalWish wish;

    if (rehearsal_wish_read(request, &wish, &error))
        g_assert_null(rehearsal_order(web, &wish, ME, &params, &error));
    g_assert_error(error, US_ERROR, code);
    if (!strstr(error->message, says_so))
        g_test_message("%s", error->message);
    g_assert_nonnull(strstr(error->message, says_so));
    g_assert_true(g_str_has_suffix(error->message, ": no test was begun"));
}

static void test_refused(void)
{
    ProtectionCopy *copy = ((ProtectionVm *)web->vms->pdata[1])->copies->pdata[0];

    expect_refused("{\"vms\":[\"" OTHER "\"]}", US_ERROR_NOT_FOUND, "scenario 'web' has no VM " OTHER);
    expect_refused("{\"vms\":[\"web1\"]}", US_ERROR_USAGE, "web1");
    expect_refused("{\"vms\":[]}", US_ERROR_USAGE, "left out for all");
    expect_refused("{\"limit_ms\":1}", US_ERROR_USAGE, "from 10s to 7d");
    expect_refused("{\"frob\":1}", US_ERROR_USAGE, "frob");
    expect_refused("{\"checks\":{\"web3\":[\"agent\"]}}", US_ERROR_NOT_FOUND,
                   "checks of 'web3', and scenario 'web' has no such VM");
    expect_refused("{\"checks\":{\"web1\":[\"frob\"]}}", US_ERROR_USAGE, "checks of 'web1': check 'frob'");
    expect_refused("{\"checks\":[]}", US_ERROR_USAGE, "an object of 1 to");
    expect_refused("{\"point\":\"" POINT "\"}", US_ERROR_USAGE,
                   "a point is of one VM, and 2 would be tested");
    expect_refused("{\"vms\":[\"" WEB1 "\"],\"point\":\"00000000-0000-0000-0000-000000000000\"}",
                   US_ERROR_NOT_FOUND, "there is no point 00000000");
    copy->complete = FALSE;
    expect_refused("{}", US_ERROR_REFUSED, "'web2' has no whole copy on beta yet");
    copy->complete = TRUE;
    web->plan = ME;
    expect_refused("{}", US_ERROR_REFUSED, "a plan moves the VMs of scenario 'web'");
    web->plan = ID_NIL;
    web->goal = GOAL_STOPPED;
    expect_refused("{}", US_ERROR_REFUSED, "scenario 'web' is stopped");
    web->goal = GOAL_RUNNING;
    g_hash_table_remove(web->up, "beta");
    expect_refused("{}", US_ERROR_UNREACHABLE, "the engine of beta does not answer: no test was begun");
    g_hash_table_add(web->up, g_strdup("beta"));
}

/* --- ends ---------------------------------------------------------------------- */

static void test_passed(void)
{
    g_autofree char *id = NULL;
    g_autofree char *running = NULL;
    json_auto_t *status = NULL;
    Desk d;

    desk_open(&d);
    g_assert_null(proofs_of_vm(rehearsals_proofs(d.r), VM1));
    id = begin(&d, "{}");
    g_assert_cmpstr(text(d.doc, "state"), ==, "running");
    running = result(id, "running", "null", "null");
    says("test.result", running);
    asked_nothing();
    status = rehearsals_running(d.r, "web");
    g_assert_cmpstr(text(status, "id"), ==, id);
    news(&d, id, "running", 7);
    news(&d, id, "ended", 8); /* while it is asked */
    says("test.result", running);
    end(&d, id, "\"passed\"", "null");
    expect_told("TEST_PASSED the integrity test of scenario 'web' on beta passed: 'web1' was up in 9.0 s\n"
                "TEST_ENDED the integrity test of scenario 'web' on beta has ended: passed; everything that "
                "it wrote was thrown away\n");
    g_assert_cmpint(proofs_of_vm(rehearsals_proofs(d.r), VM1)->back_ms, ==, 9000);
    desk_close(&d);

    /* All of that is known after a restart. */
    desk_open(&d);
    rehearsals_tick(d.r);
    asked_nothing();
    g_assert_cmpint(proofs_of_vm(rehearsals_proofs(d.r), VM1)->back_ms, ==, 9000);
    g_assert_cmpstr(proofs_of_point(rehearsals_proofs(d.r), VM1, POINT1), ==, "2026-11-22T02:14:00.000Z");
    list(&d);
    g_assert_cmpstr(text(first(&d), "verdict"), ==, "passed");
    g_assert_cmpstr(text(first(&d), "host"), ==, "beta");
    g_assert_null(json_object_get(json_array_get(json_object_get(first(&d), "vms"), 0), "checks"));
    show(&d, id);
    g_assert_cmpstr(text(d.doc, "scenario"), ==, "web");
    g_assert_cmpint(json_integer_value(json_object_get(d.doc, "more")), ==, 1);
    g_assert_true(json_is_null(json_object_get(d.doc, "waits")));
    evidence(&d, id, WEB1);
    wait_answers(&d, d.answers + 1);
    g_assert_cmpstr(text(d.doc, "png"), ==, "iVBOR");
    g_assert_cmpstr(text(d.doc, "console"), ==, "login:");
    evidence(&d, id, WEB2);
    wait_answers(&d, d.answers + 1);
    g_assert_error(d.error, US_ERROR, US_ERROR_NOT_FOUND);
    show(&d, OTHER);
    g_assert_error(d.error, US_ERROR, US_ERROR_NOT_FOUND);
    /* With its scenario it is forgotten. */
    rehearsals_forget(d.r, "web");
    g_assert_null(proofs_of_vm(rehearsals_proofs(d.r), VM1));
    g_assert_null(proofs_of_point(rehearsals_proofs(d.r), VM1, POINT1));
    list(&d);
    g_assert_cmpuint(json_array_size(json_object_get(d.list, "tests")), ==, 0);
    desk_close(&d);
}

/* What is said when it ends without a verdict, and whether that is news. */
static void test_undecided(void)
{
    static const char ENDED[] = "TEST_ENDED the integrity test of scenario 'web' on beta has ended: ";
    static const char UNDECIDED[] = "TEST_UNDECIDED the integrity test of scenario 'web' on beta came to no "
                                    "verdict: beta's disk is full\nTEST_ENDED ";
    g_autofree char *id = NULL;
    Desk d;

    desk_open(&d);
    id = begin(&d, "{}");
    end(&d, id, "\"stopped\"", "\"beta's disk is full\"");
    g_assert_true(g_str_has_prefix(told->str, UNDECIDED));
    g_string_truncate(told, 0);
    g_free(id);
    id = begin(&d, "{}");
    end(&d, id, "\"stopped\"", "null"); /* somebody's wish, which that engine was told */
    g_assert_true(g_str_has_prefix(told->str, ENDED));
    g_string_truncate(told, 0);
    g_free(id);
    id = begin(&d, "{}");
    rehearsals_end(d.r, "web");
    g_queue_push_tail(&questions, g_queue_pop_head(&questions));
    says("test.stop", "{}");
    end(&d, id, "\"stopped\"", "\"its VMs are promoted\"");
    g_assert_true(g_str_has_prefix(told->str, ENDED));
    g_string_truncate(told, 0);
    desk_close(&d);
}

static void test_failed(void)
{
    g_autofree char *id = NULL;
    Desk d;

    desk_open(&d);
    id = begin(&d, "{}");
    end(&d, id, "\"failed\"", "\"its agent did not answer\"");
    expect_told("TEST_FAILED the integrity test of scenario 'web' on beta failed: its agent did not answer\n"
                "TEST_ENDED the integrity test of scenario 'web' on beta has ended: failed; everything that "
                "it wrote was thrown away\n");
    for (guint i = 0; i < 2; i++) {
        const Proof *proof = proofs_of_vm(rehearsals_proofs(d.r), VM1);

        g_assert_nonnull(proof);
        g_assert_cmpstr(proof->failed_at, ==, "2026-11-22T02:14:00.000Z");
        g_assert_cmpstr(proof->host, ==, "beta");
        g_assert_null(proof->proven_at);
        desk_close(&d);
        desk_open(&d);
    }
    desk_close(&d);
}

/* A point that was asked for is marked, and says nothing of the newest: also to who reads it later. */
static void test_chosen(void)
{
    g_autofree char *id = NULL;
    Desk d;

    desk_open(&d);
    id = begin(&d, "{\"vms\":[\"" WEB1 "\"],\"point\":\"" POINT "\"}");
    g_assert_cmpstr(text(d.doc, "point"), ==, POINT);
    desk_close(&d);
    desk_open(&d);
    rehearsals_tick(d.r);
    end(&d, id, "\"passed\"", "null");
    g_string_truncate(told, 0);
    for (guint i = 0; i < 2; i++) {
        g_assert_null(proofs_of_vm(rehearsals_proofs(d.r), VM1));
        g_assert_nonnull(proofs_of_point(rehearsals_proofs(d.r), VM1, POINT1));
        show(&d, id);
        g_assert_cmpstr(text(d.doc, "point"), ==, POINT);
        desk_close(&d);
        desk_open(&d);
    }
    desk_close(&d);
}

/* What its engine refuses leaves nothing. */
static void test_engine_refuses(void)
{
    Desk d;

    desk_open(&d);
    ask(&d, "{}");
    settle(&d);
    fails("test.start", US_ERROR_NO_SPACE);
    g_assert_error(d.error, US_ERROR, US_ERROR_NO_SPACE);
    list(&d);
    g_assert_cmpuint(json_array_size(json_object_get(d.list, "tests")), ==, 0);
    expect_told("");
    asked_nothing();
    desk_close(&d);
}

/* Whether it has begun only its engine can say. */
static void test_not_sure(void)
{
    g_autofree char *id = NULL;
    g_autofree char *running = NULL;
    json_auto_t *params = NULL;
    Desk d;

    desk_open(&d);
    ask(&d, "{}");
    settle(&d);
    up = FALSE;
    params = answer("test.start", NULL, US_ERROR_UNREACHABLE);
    g_assert_error(d.error, US_ERROR, US_ERROR_UNREACHABLE);
    id = g_strdup(text(params, "test"));
    rehearsals_tick(d.r);
    asked_nothing();
    show(&d, id);
    g_assert_cmpstr(text(d.doc, "waits"), ==,
                    "the engine of beta does not answer: what became of the test is asked when it does");
    up = TRUE;
    rehearsals_host_is_up(d.r, "beta");
    running = result(id, "running", "null", "null");
    says("test.result", running);
    expect_told("TEST_STARTED an integrity test of scenario 'web' was started on beta: what runs and is "
                "replicated is "
                "not touched\n");
    desk_close(&d);
}

/* --- restarts -------------------------------------------------------------------- */

#define RESTARTED                                                                                          \
    "TEST_UNDECIDED the integrity test of scenario 'web' on beta came to no verdict: the engine of beta "  \
    "was restarted and does not know the test any more\n"                                                  \
    "TEST_ENDED the integrity test of scenario 'web' on beta has ended: the engine of beta was restarted " \
    "and does not know the test any more; what it may have left there is removed by its engine\n"

static void test_engine_restarted(void)
{
    g_autofree char *id = NULL;
    Desk d;

    desk_open(&d);
    id = begin(&d, "{}");
    settle(&d);
    desk_close(&d);
    up = FALSE;
    desk_open(&d);
    rehearsals_tick(d.r);
    asked_nothing();
    up = TRUE;
    rehearsals_host_is_up(d.r, "beta");
    fails("test.result", US_ERROR_NOT_FOUND);
    says("test.stop", "{}");
    settle(&d);
    says("test.forget", "{}");
    expect_told(RESTARTED);
    show(&d, id);
    g_assert_cmpstr(text(d.doc, "verdict"), ==, "stopped");
    g_assert_cmpstr(text(json_array_get(json_object_get(d.doc, "vms"), 0), "verdict"), ==, "stopped");
    desk_close(&d);
}

/* How it ended is as durable as that it did. */
static void test_engine_restarted_and_died(void)
{
    g_autofree char *id = NULL;
    Desk d;

    desk_open(&d);
    id = begin(&d, "{}");
    fails("test.result", US_ERROR_NOT_FOUND);
    desk_close(&d);
    expect_told("");
    desk_open(&d);
    rehearsals_tick(d.r);
    settle(&d);
    says("test.forget", "{}");
    expect_told(RESTARTED);
    show(&d, id);
    g_assert_cmpstr(text(d.doc, "verdict"), ==, "stopped");
    desk_close(&d);
}

/* What is known of a copy by then stays known. */
static void test_engine_restarted_after_a_failure(void)
{
    g_autofree char *id = NULL;
    g_autofree char *running = NULL;
    g_autoptr(GString) half = NULL;
    Desk d;

    desk_open(&d);
    id = begin(&d, "{}");
    running = result(id, "running", "null", "null");
    half = g_string_new(running);
    g_assert_cmpuint(g_string_replace(half, "\"verdict\":null,\"why\":null,\"state\"",
                                      "\"verdict\":\"failed\",\"why\":\"it hangs\",\"state\"", 0),
                     ==, 1);
    says("test.result", half->str);
    news(&d, id, "running", 7);
    fails("test.result", US_ERROR_NOT_FOUND);
    says("test.stop", "{}");
    settle(&d);
    says("test.forget", "{}");
    expect_told(
        "TEST_FAILED the integrity test of scenario 'web' on beta failed: 'web1': it hangs; after that "
        "the engine of beta was restarted and does not know the test any more\n"
        "TEST_ENDED the integrity test of scenario 'web' on beta has ended: failed; what it may have "
        "left there is removed by its engine\n");
    desk_close(&d);
}

static void test_died_before_start(void)
{
    Desk d;

    desk_open(&d);
    ask(&d, "{}");
    settle(&d);
    desk_close(&d); /* which answers CANCELLED: it is as if the question had never gone out */
    desk_open(&d);
    rehearsals_tick(d.r);
    fails("test.result", US_ERROR_NOT_FOUND);
    says("test.stop", "{}");
    settle(&d);
    says("test.forget", "{}");
    expect_told(
        "TEST_UNDECIDED the integrity test of scenario 'web' on beta came to no verdict: the engine of beta "
        "does not know the test: it was not begun there\n"
        "TEST_ENDED the integrity test of scenario 'web' on beta has ended: the engine of beta does "
        "not know the test: it was not begun there; what it may have left there is removed by its engine\n");
    desk_close(&d);
}

/* Its end was durable, and whether it was told is not known. */
static void test_died_before_telling(void)
{
    g_autofree char *id = NULL;
    g_autofree char *ended = NULL;
    Desk d;

    desk_open(&d);
    id = begin(&d, "{}");
    ended = result(id, "ended", "\"passed\"", "null");
    says("test.result", ended);
    fails("test.evidence", US_ERROR_NOT_FOUND);
    desk_close(&d);
    expect_told("");
    desk_open(&d);
    rehearsals_tick(d.r);
    asked_nothing();
    settle(&d);
    says("test.forget", "{}");
    g_assert_nonnull(strstr(told->str, "TEST_PASSED"));
    g_string_truncate(told, 0);
    desk_close(&d);
}

/* --- by hand ------------------------------------------------------------------------ */

static void test_manual(void)
{
    g_autofree char *id = NULL;
    g_autofree char *ready = NULL;
    g_autoptr(GError) none = NULL;
    Desk d;

    desk_open(&d);
    g_assert_false(rehearsals_stop(d.r, "web", on_doc, &d, &none));
    g_assert_error(none, US_ERROR, US_ERROR_NOT_FOUND);
    id = begin(&d, "{\"manual\":true}");
    ready = result(id, "ready", "null", "null");
    says("test.result", ready);
    expect_told("TEST_READY beta is ready for the manual integrity test of scenario 'web'\n");
    settle(&d);
    desk_close(&d);
    desk_open(&d);
    rehearsals_tick(d.r);
    says("test.result", ready);
    expect_told(""); /* once */
    evidence(&d, id, WEB1);
    says("test.evidence", "{\"png\":7,\"console\":\"login:\",\"more\":1}");
    g_assert_true(json_is_null(json_object_get(d.doc, "png")));
    g_assert_cmpstr(text(d.doc, "console"), ==, "login:");
    g_assert_true(rehearsals_stop(d.r, "web", on_doc, &d, NULL));
    says("test.stop", "{}");
    g_assert_cmpstr(text(d.doc, "test"), ==, id);
    end(&d, id, "\"stopped\"", "\"its operator ended it\"");
    expect_told("TEST_ENDED the integrity test of scenario 'web' on beta has ended: its operator ended it; "
                "everything that it wrote was thrown away\n");
    desk_close(&d);
}

static void test_stop_of_a_silent_host(void)
{
    g_autofree char *id = NULL;
    g_autofree char *running = NULL;
    Desk d;

    desk_open(&d);
    id = begin(&d, "{}");
    fails("test.result", US_ERROR_UNREACHABLE);
    up = FALSE;
    g_assert_true(rehearsals_stop(d.r, "web", on_doc, &d, NULL));
    g_assert_error(d.error, US_ERROR, US_ERROR_UNREACHABLE);
    asked_nothing();
    up = TRUE;
    rehearsals_host_is_up(d.r, "beta");
    says("test.stop", "{}");
    running = result(id, "running", "null", "null");
    says("test.result", running);
    desk_close(&d);
}

static void test_one_at_a_time(void)
{
    g_autofree char *id = NULL;
    g_autoptr(GError) error = NULL;
    RehearsalWish wish = {.limit_ms = REHEARSAL_LIMIT_MS};
    Desk d;

    desk_open(&d);
    id = begin(&d, "{}");
    g_assert_false(rehearsals_start(d.r, web, &wish, on_doc, &d, &error));
    g_assert_error(error, US_ERROR, US_ERROR_BUSY);
    g_assert_nonnull(strstr(error->message, id));
    desk_close(&d);
}

/* --- a plan ---------------------------------------------------------------------------- */

static void test_plan_while_it_runs(void)
{
    g_autofree char *id = NULL;
    Desk d;

    desk_open(&d);
    id = begin(&d, "{}");
    rehearsals_end(d.r, "shop");
    fails("test.result", US_ERROR_TIMEOUT);
    asked_nothing();
    rehearsals_end(d.r, "web");
    rehearsals_end(d.r, "web"); /* each of its calls */
    says("test.stop", "{}");
    end(&d, id, "\"stopped\"", "null");
    rehearsals_end(d.r, "web");
    asked_nothing();
    desk_close(&d);
    g_string_truncate(told, 0);
}

/* Said too early, test.stop finds nothing: it is said again. */
static void test_plan_while_it_starts(void)
{
    Desk d;

    desk_open(&d);
    ask(&d, "{}");
    settle(&d);
    rehearsals_end(d.r, "web");
    g_assert_cmpuint(questions.length, ==, 2);
    g_queue_push_tail(&questions, g_queue_pop_head(&questions));
    says("test.stop", "{}");
    says("test.start", "{}");
    says("test.stop", "{}");
    g_assert_cmpuint(questions.length, ==, 1);
    desk_close(&d);
    g_string_truncate(told, 0);
}

/* Its engine ends it before it has begun: that is no failure of a copy. */
static void test_stopped_while_it_starts(void)
{
    Desk d;

    desk_open(&d);
    ask(&d, "{}");
    settle(&d);
    rehearsals_end(d.r, "web");
    fails("test.start", US_ERROR_CANCELLED);
    says("test.stop", "{}");
    fails("test.result", US_ERROR_NOT_FOUND);
    settle(&d);
    g_assert_cmpstr(text(first(&d), "verdict"), ==, "stopped");
    g_assert_null(strstr(told->str, "TEST_FAILED"));
    g_assert_null(strstr(told->str, "TEST_UNDECIDED"));
    g_assert_nonnull(strstr(told->str, "TEST_ENDED"));
    g_string_truncate(told, 0);
    desk_close(&d);
}

static void test_plan_before_its_row(void)
{
    Desk d;

    desk_open(&d);
    ask(&d, "{}");
    rehearsals_end(d.r, "web");
    asked_nothing();
    settle(&d);
    asked_nothing();
    g_assert_error(d.error, US_ERROR, US_ERROR_BUSY);
    g_assert_cmpuint(json_array_size(json_object_get(d.list, "tests")), ==, 0);
    expect_told("");
    desk_close(&d);
}

/* --- odd words --------------------------------------------------------------------------- */

static void test_odd_results(void)
{
    static const char *const ODD[] = {
        "{}",
        "{\"test\":\"%s0\",\"state\":\"running\",\"verdict\":null,\"vms\":[]}",
        "{\"test\":\"%s\",\"state\":\"ended\",\"verdict\":null,\"vms\":[]}",
        "{\"test\":\"%s\",\"state\":\"ended\",\"ended_at\":\"<b>\",\"verdict\":\"passed\",\"vms\":[]}",
        "{\"test\":\"%s\",\"state\":\"running\",\"verdict\":\"great\",\"vms\":[]}",
        "{\"test\":\"%s\",\"state\":\"running\",\"verdict\":null,\"vms\":[{\"vm\":\"x\"}]}",
    };
    Desk d;

    desk_open(&d);
    for (guint i = 0; i < G_N_ELEMENTS(ODD); i++) {
        g_autofree char *id = begin(&d, "{}");
        g_auto(GStrv) parts = g_strsplit(ODD[i], "%s", 2);
        g_autofree char *odd = g_strjoinv(id, parts);

        says("test.result", odd);
        says("test.stop", "{}");
        settle(&d);
        says("test.forget", "{}");
        g_assert_nonnull(strstr(told->str,
                                "TEST_UNDECIDED the integrity test of scenario 'web' on beta came to no "
                                "verdict: what its engine says of test"));
        g_string_truncate(told, 0);
    }
    desk_close(&d);
}

static void test_unknown_tests(void)
{
    json_auto_t *params = NULL;
    Desk d;

    desk_open(&d);
    news(&d, OTHER, "running", 1);
    params = answer("test.stop", "{}", 0);
    g_assert_cmpstr(text(params, "test"), ==, OTHER);
    news(&d, OTHER, "ended", 2);
    says("test.forget", "{}");
    asked_nothing();
    desk_close(&d);
}

static void test_texts(void)
{
    g_autofree char *one = result(OTHER, "ended", "\"passed\"", "null");
    json_auto_t *doc = json_loads(one, 0, NULL);
    json_t *vms = json_object_get(doc, "vms");
    g_autoptr(RehearsalResult) r = NULL;
    g_autofree char *said = NULL;
    Id id;

    for (guint i = 0; i < 3; i++) {
        json_t *vm = json_deep_copy(json_array_get(vms, 0));

        json_object_set_new(vm, "back_ms", i == 1 ? json_integer(20600) : json_null());
        json_object_set_new(vm, "name", json_sprintf("db%u", i));
        json_array_append_new(vms, vm);
    }
    g_assert_true(id_parse(OTHER, &id, NULL));
    r = rehearsal_result_from_json(doc, id, NULL);
    g_assert_null(rehearsal_result_from_json(doc, ME, NULL)); /* of another test */
    said = rehearsal_result_passed_text(r);
    g_assert_cmpstr(said, ==, "all 4 VMs were up; 'db1' took longest and was up in 20.6 s");
}

static Protection *protection(const Roster *roster)
{
    g_autoptr(Scenario) s = scenario_new("web", "alpha");
    Protection *p;
    Id id;

    scenario_add_replica(s, "beta");
    g_assert_true(id_parse(WEB1, &id, NULL));
    scenario_add_vm(s, id, "web1");
    g_assert_true(id_parse(WEB2, &id, NULL));
    scenario_add_vm(s, id, "web2");
    p = protection_new(s, roster, id);
    p->goal = GOAL_RUNNING;
    g_hash_table_add(p->up, g_strdup("beta"));
    for (guint i = 0; i < p->vms->len; i++)
        ((ProtectionCopy *)((ProtectionVm *)p->vms->pdata[i])->copies->pdata[0])->complete = TRUE;
    return p;
}

static void in_a_folder(gconstpointer test)
{
    folder = g_dir_make_tmp("understudy-rehearsals-XXXXXX", NULL);
    up = TRUE;
    ((void (*)(void))test)();
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
    static const char *const NOBODY[] = {"127.0.0.1:1", NULL}, *const BESIDE[] = {"127.0.0.1:2", NULL};
    int rc;

    g_test_init(&argc, &argv, NULL);
    told = g_string_new(NULL);
    roster_set(roster, "alpha", (Id){{0x0a}}, NOBODY);
    roster_set(roster, "beta", (Id){{0x0b}}, BESIDE);
    web = protection(roster);
    add("/rehearsals/order", test_order);
    add("/rehearsals/refused", test_refused);
    add("/rehearsals/passed", test_passed);
    add("/rehearsals/undecided", test_undecided);
    add("/rehearsals/failed", test_failed);
    add("/rehearsals/chosen", test_chosen);
    add("/rehearsals/engine-refuses", test_engine_refuses);
    add("/rehearsals/not-sure", test_not_sure);
    add("/rehearsals/engine-restarted", test_engine_restarted);
    add("/rehearsals/engine-restarted-and-died", test_engine_restarted_and_died);
    add("/rehearsals/engine-restarted-after-a-failure", test_engine_restarted_after_a_failure);
    add("/rehearsals/died-before-start", test_died_before_start);
    add("/rehearsals/died-before-telling", test_died_before_telling);
    add("/rehearsals/manual", test_manual);
    add("/rehearsals/checks", test_checks);
    add("/rehearsals/checks-of-the-scenario", test_checks_of_the_scenario);
    add("/rehearsals/checks-of-some", test_checks_of_some);
    add("/rehearsals/stop-of-a-silent-host", test_stop_of_a_silent_host);
    add("/rehearsals/one-at-a-time", test_one_at_a_time);
    add("/rehearsals/plan-while-it-runs", test_plan_while_it_runs);
    add("/rehearsals/plan-while-it-starts", test_plan_while_it_starts);
    add("/rehearsals/stopped-while-it-starts", test_stopped_while_it_starts);
    add("/rehearsals/plan-before-its-row", test_plan_before_its_row);
    add("/rehearsals/odd-results", test_odd_results);
    add("/rehearsals/unknown-tests", test_unknown_tests);
    add("/rehearsals/texts", test_texts);
    rc = g_test_run();
    protection_free(web);
    g_string_free(told, TRUE);
    return rc;
}

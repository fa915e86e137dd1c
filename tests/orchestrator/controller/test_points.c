/* SPDX-License-Identifier: Apache-2.0 */
/* Which point an operator means, and which engines are told so. Engines, scenarios and the API
 * are fakes; what asks and tells is the real one. */
#include "orchestrator/operations.h"
#include "vmconnect/base/error.h"

#include <string.h>

#define WEB "aaaaaaaa-0000-4000-8000-000000000001"
#define SHOP "bbbbbbbb-0000-4000-8000-000000000002"

/* --- a call ------------------------------------------------------------- */

struct ApiCall {
    const char *point;
    json_t *body;
    gboolean over;
    json_t *doc;
    GError *error;
};

const char *api_call_parameter(const ApiCall *call, const char *name)
{
    return g_str_equal(name, "point") ? call->point : "web";
}

const char *api_call_query(const ApiCall *call, const char *key)
{
    (void)call;
    (void)key;
    return NULL;
}

const json_t *api_call_body(const ApiCall *call)
{
    return call->body;
}

void api_call_answer(ApiCall *call, json_t *doc)
{
    g_assert_false(call->over);
    call->over = TRUE;
    call->doc = doc;
}

void api_call_fail(ApiCall *call, const GError *error)
{
    g_assert_false(call->over);
    call->over = TRUE;
    call->error = g_error_copy(error);
}

/* --- scenarios: web on beta and gamma, shop on delta ---------------------- */

static Protection *web;
static Protection *shop;

const Protection *scenarios_find(const Scenarios *s, const char *name, GError **error)
{
    (void)s;
    (void)name;
    (void)error;
    return web;
}

GPtrArray *scenarios_list(const Scenarios *s)
{
    GPtrArray *list = g_ptr_array_new();

    (void)s;
    g_ptr_array_add(list, shop);
    g_ptr_array_add(list, web);
    return list;
}

/* --- tests: the first point was proven once -------------------------------- */

static Proofs *proofs;

const Proofs *rehearsals_proofs(const Rehearsals *r)
{
    (void)r;
    return proofs;
}

/* --- engines -------------------------------------------------------------- */

typedef struct {
    const char *host;
    const char *vm;
    const char *id;
} Point;

static const Point POINTS[] = {
    {"beta", WEB, "11110000-0000-4000-8000-000000000001"},
    {"gamma", WEB, "11110000-0000-4000-8000-000000000001"},
    {"beta", WEB, "11120000-0000-4000-8000-000000000002"},
    {"delta", SHOP, "22220000-0000-4000-8000-000000000003"},
};

typedef struct {
    char *host;
    const char *method;
    json_t *params;
    RpcAnswerFunc on_answer;
    void *user;
} Question;

static GQueue questions = G_QUEUE_INIT;
static GString *told;       /* "host point pinned\n" for each pin */
static const char *silent;  /* this host does not answer */
static const char *refuses; /* this one pins nothing */
static const char *branch = "";

void hosts_call(Hosts *hosts, const char *name, const char *method, const json_t *params, gint64 limit_ms,
                RpcAnswerFunc on_answer, void *user)
{
    Question *q = g_new0(Question, 1);

    (void)hosts;
    (void)limit_ms;
    *q = (Question){g_strdup(name), method, json_deep_copy(params), on_answer, user};
    g_queue_push_tail(&questions, q);
}

static json_t *points_of(const Question *q)
{
    const char *vm = json_string_value(json_object_get(q->params, "vm"));
    json_t *list = json_array();

    for (guint i = 0; i < G_N_ELEMENTS(POINTS); i++)
        if (g_str_equal(POINTS[i].host, q->host) && g_str_equal(POINTS[i].vm, vm))
            json_array_append_new(list, json_pack("{s:s, s:b, s:s, s:[], s:b}", "id", POINTS[i].id, "pinned",
                                                  0, "definition", "<domain/>", "disks", "branch",
                                                  *branch && g_str_has_prefix(POINTS[i].id, branch)));
    return json_pack("{s:o}", "points", list);
}

static json_t *pin(const Question *q)
{
    const char *vm, *point;
    int pinned;

    g_assert_cmpstr(q->method, ==, "standby.pin");
    g_assert_cmpint(
        json_unpack(q->params, "{s:s, s:s, s:b !}", "vm", &vm, "point", &point, "pinned", &pinned), ==, 0);
    g_string_append_printf(told, "%s %s %.4s %s\n", q->host, g_str_equal(vm, WEB) ? "web1" : "shop1", point,
                           pinned ? "keep" : "release");
    return json_object();
}

static void answer(const Question *q)
{
    g_autoptr(GError) error = NULL;
    json_auto_t *result = NULL;

    if (g_strcmp0(silent, q->host) == 0)
        error = g_error_new(US_ERROR, US_ERROR_UNREACHABLE, "its engine is not reached");
    else if (g_str_equal(q->method, "standby.points"))
        result = points_of(q);
    else if (g_strcmp0(refuses, q->host) == 0)
        error = g_error_new(US_ERROR, US_ERROR_REFUSED, "full");
    else if (g_str_equal(q->method, "standby.open"))
        result = json_pack("{s:[{s:s}]}", "disks", "uri", "nbd+unix:///vda");
    else
        result = pin(q);
    q->on_answer(q->user, result, error);
}

/* --- asking ---------------------------------------------------------------- */

static void ask(ApiCall *call, const char *operation)
{
    const Operation *o = OPERATIONS_POINTS;
    Controller c = {0};
    Question *q;

    while (!g_str_equal(o->operation, operation))
        o++;
    g_string_truncate(told, 0);
    o->handler(call, &c);
    while ((q = g_queue_pop_head(&questions))) {
        answer(q);
        g_free(q->host);
        json_decref(q->params);
        g_free(q);
    }
    g_assert_true(call->over);
}

static void call_clear(ApiCall *call)
{
    json_decref(call->body);
    json_decref(call->doc);
    g_clear_error(&call->error);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(ApiCall, call_clear)

static void expect_done(const char *operation, const char *point, const char *wanted, guint places)
{
    g_auto(ApiCall) call = {.point = point, .body = json_object()};
    const json_t *list;

    ask(&call, operation);
    g_assert_no_error(call.error);
    g_assert_cmpstr(told->str, ==, wanted);
    list = json_object_get(call.doc, "points");
    g_assert_cmpuint(json_array_size(list), ==, places);
    for (gsize i = 0; i < json_array_size(list); i++)
        g_assert_true(json_is_true(json_object_get(json_array_get(list, i), "pinned")) ==
                      g_str_equal(operation, "point.keep"));
}

static void expect_failure(const char *point, int code, const char *text, const char *wanted)
{
    g_auto(ApiCall) call = {.point = point, .body = json_object()};

    ask(&call, "point.keep");
    g_assert_error(call.error, US_ERROR, code);
    g_assert_cmpstr(call.error->message, ==, text);
    g_assert_cmpstr(told->str, ==, wanted);
}

static void test_list(void)
{
    g_auto(ApiCall) call = {.body = json_object()};
    json_auto_t *wanted = json_pack("{s:s, s:b, s:[], s:b, s:s, s:s, s:s, s:s, s:s}", "id", POINTS[0].id,
                                    "pinned", 0, "disks", "branch", 0, "scenario", "web", "vm", "web1",
                                    "vm_uuid", WEB, "host", "beta", "proven_at", "then");
    json_t *second;
    Id vm, point;

    g_assert_true(id_parse(WEB, &vm, NULL));
    g_assert_true(id_parse(POINTS[0].id, &point, NULL));
    proofs = proofs_new();
    proofs_add(proofs, &(ProofsVerdict){"web", vm, point, FALSE, "beta", TRUE, 9000, "then"});

    ask(&call, "scenario.points");
    g_assert_no_error(call.error);
    g_assert_cmpuint(json_array_size(json_object_get(call.doc, "points")), ==, 3);
    g_assert_true(json_equal(json_array_get(json_object_get(call.doc, "points"), 0), wanted));
    second = json_array_get(json_object_get(call.doc, "points"), 1);
    g_assert_true(json_is_null(json_object_get(second, "proven_at")));
    g_clear_pointer(&proofs, proofs_free);
}

static void test_one_is_meant(void)
{
    expect_done("point.keep", "22", "delta shop1 2222 keep\n", 1);
    expect_done("point.release", "22220000-0000-4000-8000-000000000003", "delta shop1 2222 release\n", 1);
    expect_done("point.keep", "1112", "beta web1 1112 keep\n", 1);
    /* On each host that has it. */
    expect_done("point.keep", "1111", "beta web1 1111 keep\ngamma web1 1111 keep\n", 2);
}

static void test_none_or_several(void)
{
    expect_failure("111", US_ERROR_USAGE,
                   "'111' means more than one point, nothing was changed: say more of its UUID", "");
    expect_failure(
        "3", US_ERROR_NOT_FOUND,
        "there is no point '3', nothing was changed: understudy points SCENARIO lists those there are", "");
}

/* A host that is silent only matters if the point is found nowhere else, or is its. */
static void test_silent(void)
{
    silent = "delta";
    expect_done("point.keep", "1112", "beta web1 1112 keep\n", 1);
    expect_failure(
        "22", US_ERROR_UNREACHABLE,
        "no point '22' was found among those that can be read, nothing was changed: the points of 'shop1' on "
        "delta cannot be read: its engine is not reached; try again when they can be",
        "");
    silent = NULL;
}

static void test_refused(void)
{
    refuses = "gamma";
    expect_failure("1111", US_ERROR_REFUSED,
                   "point 11110000-0000-4000-8000-000000000001 of 'web1' on gamma stays as it was: full",
                   "beta web1 1111 keep\n");
    refuses = NULL;
}

/* Any host's will do; none's is an error. */
static void test_opened(void)
{
    g_auto(ApiCall) call = {.point = "1111", .body = json_object()};
    g_auto(ApiCall) refused = {.point = "1112", .body = json_object()};
    g_auto(ApiCall) several = {.point = "111", .body = json_object()};
    const json_t *list;

    refuses = "beta";
    ask(&call, "point.open");
    g_assert_no_error(call.error);
    list = json_object_get(call.doc, "points");
    g_assert_cmpuint(json_array_size(list), ==, 1);
    g_assert_cmpstr(json_string_value(json_object_get(json_array_get(list, 0), "host")), ==, "gamma");
    g_assert_cmpuint(json_array_size(json_object_get(json_array_get(list, 0), "disks")), ==, 1);
    ask(&refused, "point.open");
    g_assert_error(refused.error, US_ERROR, US_ERROR_REFUSED);
    refuses = NULL;
    ask(&several, "point.open");
    g_assert_error(several.error, US_ERROR, US_ERROR_USAGE);
}

/* What nobody else holds is not let go by the way. */
static void test_branch(void)
{
    g_auto(ApiCall) by_the_way = {.point = "1112", .body = json_object()};
    g_auto(ApiCall) meant = {.point = "1112", .body = json_pack("{s:b}", "branch", 1)};

    branch = "1112";
    ask(&by_the_way, "point.release");
    g_assert_error(by_the_way.error, US_ERROR, US_ERROR_REFUSED);
    g_assert_cmpstr(told->str, ==, "");
    expect_done("point.keep", "1112", "beta web1 1112 keep\n", 1);
    ask(&meant, "point.release");
    g_assert_no_error(meant.error);
    g_assert_cmpstr(told->str, ==, "beta web1 1112 release\n");
    branch = "";
}

static Protection *protection(const Roster *roster, const char *name, const char *vm, const char *vm_name,
                              const char *const *replicas)
{
    g_autoptr(Scenario) s = scenario_new(name, "alpha");
    Id id;

    g_assert_true(id_parse(vm, &id, NULL));
    scenario_add_vm(s, id, vm_name);
    for (; *replicas; replicas++)
        scenario_add_replica(s, *replicas);
    return protection_new(s, roster, id);
}

int main(int argc, char **argv)
{
    g_autoptr(Roster) roster = roster_new();
    int rc;

    g_test_init(&argc, &argv, NULL);
    told = g_string_new(NULL);
    web = protection(roster, "web", WEB, "web1", (const char *const[]){"beta", "gamma", NULL});
    shop = protection(roster, "shop", SHOP, "shop1", (const char *const[]){"delta", NULL});
    g_test_add_func("/points/list", test_list);
    g_test_add_func("/points/one-is-meant", test_one_is_meant);
    g_test_add_func("/points/none-or-several", test_none_or_several);
    g_test_add_func("/points/silent", test_silent);
    g_test_add_func("/points/refused", test_refused);
    g_test_add_func("/points/opened", test_opened);
    g_test_add_func("/points/branch", test_branch);
    rc = g_test_run();
    protection_free(web);
    protection_free(shop);
    g_string_free(told, TRUE);
    return rc;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Routes and operations, over the real server. */
#include "orchestrator/api/api.h"

#include "tests/orchestrator/api/stage.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"

#include <openssl/crypto.h>
#include <string.h>

#define TOKEN "0123456789abcdef"

static const char *authenticate(const char *token, void *user)
{
    (void)user;
    if (strlen(token) != strlen(TOKEN) || CRYPTO_memcmp(token, TOKEN, strlen(TOKEN)) != 0)
        return NULL;
    return "admin";
}

/* Says what it got. */
static void echo(ApiCall *call, void *user)
{
    const ApiRoute *route = user;
    json_t *doc = json_pack("{s:s}", "operation", route->operation);

    if (strstr(route->path, "{scenario}"))
        json_object_set_new(doc, "scenario", json_string(api_call_parameter(call, "scenario")));
    if (route->has_body)
        json_object_set(doc, "body", (json_t *)api_call_body(call));
    if (api_call_query(call, "purge"))
        json_object_set_new(doc, "purge", json_string(api_call_query(call, "purge")));
    api_call_answer(call, doc);
}

static void accept_it(ApiCall *call, void *user)
{
    (void)user;
    api_call_accept(call, "11111111-2222-4333-8444-555555555555");
}

static void fail_it(ApiCall *call, void *user)
{
    const UsError *code = user;
    g_autoptr(GError) error = g_error_new(US_ERROR, (int)*code, "cause; consequence; next step");

    api_call_fail(call, error);
}

static void number(ApiCall *call, void *user)
{
    g_autoptr(GError) error = NULL;
    gint64 limit;

    (void)user;
    if (api_call_query_number(call, "limit", 1, 100, 7, &limit, &error))
        api_call_answer(call, json_pack("{s:I}", "limit", (json_int_t)limit));
    else
        api_call_fail(call, error);
}

static UsError fail_code;

typedef struct {
    Api *api;
    Stage *stage;
} House;

static House house_open(void)
{
    static const char *const ECHOED[] = {"scenario.list",   "scenario.create", "scenario.show",
                                         "scenario.delete", "scenario.import", "scenario.verify",
                                         "test.start",      "test.list",       "test.evidence"};
    House house = {.api = api_new(authenticate, NULL)};
    HttpConfig config = {0};

    for (guint i = 0; i < G_N_ELEMENTS(ECHOED); i++)
        api_handle(house.api, ECHOED[i], echo, (void *)api_route_by_name(ECHOED[i]));
    api_handle(house.api, "scenario.run", accept_it, NULL);
    api_handle(house.api, "scenario.stop", fail_it, &fail_code);
    api_handle(house.api, "event.list", number, NULL);
    api_serve(house.api, &config);
    house.stage = stage_new(&config);
    return house;
}

static void house_close(House *house)
{
    stage_free(house->stage);
    api_free(house->api);
}

/* Ask and expect a status and a piece of the body. */
static void expect(House *house, const char *method, const char *path, const char *token, const char *body,
                   guint status, const char *says)
{
    g_autoptr(Answer) a = stage_ask(house->stage, method, path, token, body);

    g_test_message("%s %s: %u %s", method, path, a->status, a->body);
    g_assert_cmpuint(a->status, ==, status);
    g_assert_nonnull(strstr(a->body, says));
    g_assert_nonnull(strcasestr(a->head, "content-type: application/json"));
}

static void test_tokens(void)
{
    House house = house_open();
    g_autoptr(Answer) a = stage_ask(house.stage, "GET", "/api/v1/scenarios", NULL, NULL);

    g_assert_cmpuint(a->status, ==, 401);
    g_assert_nonnull(strcasestr(a->head, "www-authenticate: bearer"));
    expect(&house, "GET", "/api/v1/scenarios", "wrong", NULL, 403, "\"denied\"");
    expect(&house, "GET", "/api/v1/scenarios", TOKEN "0", NULL, 403, "not known here");
    expect(&house, "GET", "/api/v1/scenarios", "", NULL, 403, "\"denied\"");
    /* Without a token nothing is told, not even what there is. */
    expect(&house, "GET", "/nothing", NULL, NULL, 401, "no bearer token");
    expect(&house, "GET", "/api/v1/scenarios", TOKEN, NULL, 200, "\"operation\":\"scenario.list\"");
    house_close(&house);
}

static void test_paths(void)
{
    House house = house_open();
    g_autoptr(Answer) a = NULL;

    expect(&house, "GET", "/api/v1/scenarios/web", TOKEN, NULL, 200, "\"scenario\":\"web\"");
    expect(&house, "GET", "/api/v1/scenarios/caf%C3%A9%20%26", TOKEN, NULL, 200, "\"scenario\":\"café &\"");
    expect(&house, "GET", "/api/v1/scenarios/", TOKEN, NULL, 404, "\"not-found\"");
    expect(&house, "GET", "/api/v1/scenarios/a/b", TOKEN, NULL, 404, "\"not-found\"");
    expect(&house, "GET", "/api/v1/scenarios/a%2Fb", TOKEN, NULL, 404, "\"not-found\"");
    expect(&house, "GET", "/api/v1/scenarios/a%0Ab", NULL, NULL, 400, "line break");
    expect(&house, "GET", "/api/v1/scenarios/a%0D%0Ax: y%0A", TOKEN, NULL, 400, "line break");
    expect(&house, "GET", "/api/v1/scenarios/a%07b", TOKEN, NULL, 404, "\"not-found\"");
    expect(&house, "GET", "/api/v2/scenarios", TOKEN, NULL, 404, "\"not-found\"");
    expect(&house, "GET", "/", TOKEN, NULL, 404, "\"not-found\"");
    expect(&house, "GET", "/api/v1", TOKEN, NULL, 404, "\"not-found\"");
    expect(&house, "POST", "/api/v1/scenarios/web/tests", TOKEN, "{}", 200, "\"operation\":\"test.start\"");
    expect(&house, "GET", "/api/v1/tests?scenario=web", TOKEN, NULL, 200, "\"operation\":\"test.list\"");
    expect(&house, "GET", "/api/v1/tests/x/evidence?vm=y", TOKEN, NULL, 200,
           "\"operation\":\"test.evidence\"");
    /* In the table, but nobody's. */
    expect(&house, "POST", "/api/v1/scenarios/web/tests/stop", TOKEN, "{}", 404, "does not serve test.stop");
    expect(&house, "GET", "/api/v1/hosts", TOKEN, NULL, 404, "does not serve host.list");
    expect(&house, "DELETE", "/api/v1/scenarios/web?purge=1", TOKEN, NULL, 200, "\"purge\":\"1\"");
    a = stage_ask(house.stage, "PUT", "/api/v1/scenarios", TOKEN, "{}");
    g_assert_cmpuint(a->status, ==, 405);
    g_assert_nonnull(strcasestr(a->head, "allow: GET, POST"));
    house_close(&house);
}

static void test_queries(void)
{
    House house = house_open();

    expect(&house, "GET", "/api/v1/events", TOKEN, NULL, 200, "{\"limit\":7}");
    expect(&house, "GET", "/api/v1/events?limit=5", TOKEN, NULL, 200, "{\"limit\":5}");
    expect(&house, "GET", "/api/v1/events?limit=0", TOKEN, NULL, 400, "from 1 to 100");
    expect(&house, "GET", "/api/v1/events?limit=x", TOKEN, NULL, 400, "'x' is not a whole number");
    expect(&house, "GET", "/api/v1/events?limit=5&limit=6", TOKEN, NULL, 400, "each at most once");
    expect(&house, "GET", "/api/v1/events?nonsense=1", TOKEN, NULL, 400, "event.list takes after,scenario");
    expect(&house, "GET", "/api/v1/scenarios?x", TOKEN, NULL, 400, "scenario.list takes none");
    expect(&house, "GET", "/api/v1/events?host=%ff", TOKEN, NULL, 400, "\"usage\"");
    house_close(&house);
}

static void test_bodies(void)
{
    House house = house_open();

    expect(&house, "POST", "/api/v1/scenarios", TOKEN, "{\"name\":\"web\"}", 200,
           "\"body\":{\"name\":\"web\"}");
    expect(&house, "POST", "/api/v1/scenarios/web/verify", TOKEN, "", 200, "\"body\":{}");
    expect(&house, "POST", "/api/v1/scenarios/import", TOKEN, "{}", 200, "scenario.import");
    expect(&house, "POST", "/api/v1/scenarios", TOKEN, "[]", 400, "must be a JSON object");
    expect(&house, "POST", "/api/v1/scenarios", TOKEN, "{", 400, "not a JSON document: line 1");
    expect(&house, "POST", "/api/v1/scenarios", TOKEN, "{\"a\":1,\"a\":2}", 400, "duplicate");
    expect(&house, "POST", "/api/v1/scenarios", TOKEN, "{\"a\":\"\\ud800\"}", 400, "not a JSON document");
    expect(&house, "GET", "/api/v1/scenarios", TOKEN, "{}", 400, "takes no body");
    house_close(&house);
}

static void test_answers(void)
{
    static const struct {
        UsError code;
        guint status;
        const char *name;
    } CASES[] = {{US_ERROR_REFUSED, 409, "\"refused\""},         {US_ERROR_VERIFY, 422, "\"verify\""},
                 {US_ERROR_UNREACHABLE, 502, "\"unreachable\""}, {US_ERROR_TIMEOUT, 504, "\"timeout\""},
                 {US_ERROR_NO_SPACE, 507, "\"no-space\""},       {US_ERROR_FAILED, 500, "\"failed\""}};
    House house = house_open();

    expect(&house, "POST", "/api/v1/scenarios/web/run", TOKEN, "", 202,
           "{\"plan\":\"11111111-2222-4333-8444-555555555555\"}");
    for (guint i = 0; i < G_N_ELEMENTS(CASES); i++) {
        fail_code = CASES[i].code;
        expect(&house, "POST", "/api/v1/scenarios/web/stop", TOKEN, "", CASES[i].status, CASES[i].name);
    }
    house_close(&house);
}

/* Every route is found again by its own URL, and only by its own. */
static void test_table(void)
{
    static const char *const NAMES[] = {"a b/c", NULL};
    const ApiRoute *route;

    for (guint i = 0; (route = api_route_at(i)); i++) {
        const char *plain[] = {strchr(route->path, '{') ? "x" : NULL, NULL};
        g_autofree char *url = api_route_url(route, plain);
        g_autofree char *allow = NULL;
        g_autoptr(GHashTable) parameters = NULL;
        g_autoptr(GError) error = NULL;

        g_assert_true(api_route_match(route->method, url, &parameters, &allow, &error) == route);
        g_assert_no_error(error);
        g_assert_true(api_route_by_name(route->operation) == route);
    }
    {
        g_autofree char *url = api_route_url(api_route_by_name("host.show"), NAMES);

        g_assert_cmpstr(url, ==, "/api/v1/hosts/a%20b%2Fc");
    }
    g_assert_null(api_route_by_name("nonsense"));
}

int main(int argc, char **argv)
{
    int rc;

    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/api/tokens", test_tokens);
    g_test_add_func("/api/paths", test_paths);
    g_test_add_func("/api/queries", test_queries);
    g_test_add_func("/api/bodies", test_bodies);
    g_test_add_func("/api/answers", test_answers);
    g_test_add_func("/api/table", test_table);
    rc = g_test_run();
    stage_keys_free();
    return rc;
}

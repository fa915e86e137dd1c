/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/api/api.h"

#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"

#include <string.h>

#define JSON_TYPE "application/json; charset=utf-8"

typedef struct {
    ApiHandler handler;
    void *user;
} Operation;

struct Api {
    ApiAuthenticate authenticate;
    void *user;
    GHashTable *operations; /* const ApiRoute * -> Operation * */
};

struct ApiCall {
    HttpRequest *request;
    const ApiRoute *route;
    const Operation *operation;
    GHashTable *parameters;
    GHashTable *query;
    json_t *body;
};

Api *api_new(ApiAuthenticate authenticate, void *user)
{
    Api *api = g_new0(Api, 1);

    api->authenticate = authenticate;
    api->user = user;
    api->operations = g_hash_table_new_full(NULL, NULL, NULL, g_free);
    return api;
}

void api_free(Api *api)
{
    if (!api)
        return;
    g_hash_table_destroy(api->operations);
    g_free(api);
}

void api_handle(Api *api, const char *operation, ApiHandler handler, void *user)
{
    const ApiRoute *route = api_route_by_name(operation);
    Operation *op = g_new0(Operation, 1);

    g_assert(route && !g_hash_table_contains(api->operations, route));
    op->handler = handler;
    op->user = user;
    g_hash_table_insert(api->operations, (void *)route, op);
}

static void call_free(void *data)
{
    ApiCall *call = data;

    g_clear_pointer(&call->parameters, g_hash_table_destroy);
    g_clear_pointer(&call->query, g_hash_table_destroy);
    g_clear_pointer(&call->body, json_decref);
    g_free(call);
}

/* Who calls; else the status to refuse with. */
static const char *authenticate(Api *api, HttpRequest *request, guint *ret_status, GError **error)
{
    const char *token = http_request_bearer(request);
    const char *who = token ? api->authenticate(token, api->user) : NULL;

    if (!token) {
        *ret_status = 401;
        http_request_add_header(request, "www-authenticate", "Bearer");
        g_set_error(error, US_ERROR, US_ERROR_DENIED,
                    "no bearer token came with the request: use the one of admin.json, or understudy login");
    } else if (!who) {
        *ret_status = 403;
        g_set_error(error, US_ERROR, US_ERROR_DENIED,
                    "this token is not known here: use the one of admin.json on the controller's host");
    }
    return who;
}

/* Find the operation; an operation that nobody serves does not exist. */
static gboolean find_operation(Api *api, ApiCall *call, guint *ret_status, GError **error)
{
    g_autofree char *allow = NULL;

    call->route = api_route_match(http_request_method(call->request), http_request_path(call->request),
                                  &call->parameters, &allow, error);
    if (call->route)
        call->operation = g_hash_table_lookup(api->operations, call->route);
    if (call->operation)
        return TRUE;
    if (call->route)
        g_set_error(error, US_ERROR, US_ERROR_NOT_FOUND, "this controller does not serve %s",
                    call->route->operation);
    if (allow)
        http_request_add_header(call->request, "allow", allow);
    *ret_status = allow ? 405 : 404;
    return FALSE;
}

static guint on_head(HttpRequest *request, void *user, GError **error)
{
    Api *api = user;
    guint status = 0;
    ApiCall *call;

    if (!authenticate(api, request, &status, error))
        return status;
    call = g_new0(ApiCall, 1);
    call->request = request;
    http_request_attach(request, call, call_free);
    if (!find_operation(api, call, &status, error))
        return status;
    call->query = api_route_query(call->route, http_request_query(request), error);
    return call->query ? 0 : 400;
}

static gboolean take_body(ApiCall *call, GError **error)
{
    gsize len;
    const char *text = http_request_body(call->request, &len);

    if (!call->route->has_body) {
        if (len > 0)
            g_set_error(error, US_ERROR, US_ERROR_USAGE, "%s takes no body", call->route->operation);
        return len == 0;
    }
    if (len == 0) {
        text = "{}";
        len = 2;
    }
    call->body = json_parse(text, len, len, error);
    if (call->body && !json_is_object(call->body)) {
        g_set_error(error, US_ERROR, US_ERROR_USAGE, "the body of %s must be a JSON object",
                    call->route->operation);
        return FALSE;
    }
    return call->body != NULL;
}

static void on_request(HttpRequest *request, void *user)
{
    ApiCall *call = http_request_attached(request);
    g_autoptr(GError) error = NULL;

    (void)user;
    if (!take_body(call, &error)) {
        api_call_fail(call, error);
        return;
    }
    call->operation->handler(call, call->operation->user);
}

void api_serve(Api *api, HttpConfig *config)
{
    config->on_head = on_head;
    config->on_request = on_request;
    config->user = api;
}

const char *api_call_parameter(const ApiCall *call, const char *name)
{
    const char *value = g_hash_table_lookup(call->parameters, name);

    g_assert(value);
    return value;
}

const char *api_call_query(const ApiCall *call, const char *key)
{
    return g_hash_table_lookup(call->query, key);
}

gboolean api_call_query_number(const ApiCall *call, const char *key, gint64 low, gint64 high, gint64 fallback,
                               gint64 *ret_value, GError **error)
{
    const char *text = api_call_query(call, key);
    gint64 value = fallback;

    if (text && !g_ascii_string_to_signed(text, 10, low, high, &value, NULL)) {
        g_set_error(error, US_ERROR, US_ERROR_USAGE,
                    "query %s: '%s' is not a whole number from %" G_GINT64_FORMAT " to %" G_GINT64_FORMAT,
                    key, text, low, high);
        return FALSE;
    }
    *ret_value = value;
    return TRUE;
}

const json_t *api_call_body(const ApiCall *call)
{
    return call->body;
}

gboolean api_call_is_gone(const ApiCall *call)
{
    return http_request_is_gone(call->request);
}

static void answer(ApiCall *call, guint status, json_t *doc)
{
    char *text = json_text(doc);
    g_autoptr(GBytes) body = g_bytes_new_take(text, strlen(text));

    json_decref(doc);
    http_request_answer(call->request, status, JSON_TYPE, body);
}

void api_call_answer(ApiCall *call, json_t *doc)
{
    answer(call, 200, doc);
}

void api_call_accept(ApiCall *call, const char *plan)
{
    answer(call, 202, json_pack("{s:s?}", "plan", plan));
}

void api_call_fail(ApiCall *call, const GError *error)
{
    answer(call, (guint)us_error_http(error), json_from_error(error));
}

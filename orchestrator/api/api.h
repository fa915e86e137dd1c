/* SPDX-License-Identifier: Apache-2.0 */
/* api - operations behind the routes.
 *
 * The controller registers one handler for each operation of routes.h that it
 * has; a route without one does not exist (404). The handler gets a call with
 * parameters, query and body already checked for form, and answers it now or
 * later, once. Nobody gets past the bearer token: none is 401, a wrong one 403.
 * Errors leave as {"code", "text"} with the status of us_error_http(). */
#pragma once

#include "orchestrator/api/http.h"
#include "orchestrator/api/routes.h"

#include <jansson.h>

typedef struct Api Api;
typedef struct ApiCall ApiCall;

typedef void (*ApiHandler)(ApiCall *call, void *user);

/* Who @token belongs to (borrowed, until the next call), or NULL. Must compare in constant time. */
typedef const char *(*ApiAuthenticate)(const char *token, void *user);

Api *api_new(ApiAuthenticate authenticate, void *user);
/* After http_server_close()'s callback. */
void api_free(Api *api);

/* @operation must stand in routes.h and have no handler yet. */
void api_handle(Api *api, const char *operation, ApiHandler handler, void *user);

/* Fill the callbacks of @config. @api must outlive the server. */
void api_serve(Api *api, HttpConfig *config);

/* A path parameter of the route; never NULL. */
const char *api_call_parameter(const ApiCall *call, const char *name);
/* A query value, or NULL. */
const char *api_call_query(const ApiCall *call, const char *key);
/* A query value as a number in [@low, @high]; @fallback if it is not there. FALSE with @error USAGE. */
gboolean api_call_query_number(const ApiCall *call, const char *key, gint64 low, gint64 high, gint64 fallback,
                               gint64 *ret_value, GError **error);
/* The body: an object; NULL for a route without one. Borrowed. */
const json_t *api_call_body(const ApiCall *call);
/* TRUE once nobody waits for the answer (a long poll may then end early). */
gboolean api_call_is_gone(const ApiCall *call);

/* Each of the three answers and frees @call. They take @doc resp. borrow @error. */
void api_call_answer(ApiCall *call, json_t *doc);      /* 200 */
void api_call_accept(ApiCall *call, const char *plan); /* 202 {"plan": ID or null}: it goes on by itself */
void api_call_fail(ApiCall *call, const GError *error);

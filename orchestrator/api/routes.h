/* SPDX-License-Identifier: Apache-2.0 */
/* routes - the REST interface as one table.
 *
 * Server and command line both read it: the one to find the operation of a
 * request, the other to write the request of an operation. Everything lies
 * under API_PREFIX; `{name}` in a path is one segment. docs/api.md shows the
 * same table (a test compares). */
#pragma once

#include "orchestrator/api/http.h"

#include <glib.h>

#define API_PREFIX "/api/v1"

/* clang-format off */
/*    operation             method  path                               body   query keys */
#define API_ROUTES(X)                                                                       \
    X("host.list",           GET,    "/hosts",                           FALSE, "")         \
    X("host.add",            POST,   "/hosts",                           TRUE,  "")         \
    X("host.show",           GET,    "/hosts/{host}",                    FALSE, "")         \
    X("host.set",            PATCH,  "/hosts/{host}",                    TRUE,  "")         \
    X("host.remove",         DELETE, "/hosts/{host}",                    FALSE, "")         \
    X("host.hold",           POST,   "/hosts/{host}/hold",               TRUE,  "")         \
    X("host.unhold",         DELETE, "/hosts/{host}/hold",               FALSE, "")         \
    X("host.fence",          POST,   "/hosts/{host}/fence/status",       TRUE,  "")         \
    X("host.recover",        POST,   "/hosts/{host}/recover",            TRUE,  "")         \
    X("vm.list",             GET,    "/hosts/{host}/vms",                FALSE, "")         \
    X("scenario.list",       GET,    "/scenarios",                       FALSE, "")         \
    X("scenario.create",     POST,   "/scenarios",                       TRUE,  "")         \
    X("scenario.import",     POST,   "/scenarios/import",                TRUE,  "")         \
    X("scenario.show",       GET,    "/scenarios/{scenario}",            FALSE, "")         \
    X("scenario.set",        PATCH,  "/scenarios/{scenario}",            TRUE,  "")         \
    X("scenario.delete",     DELETE, "/scenarios/{scenario}",            FALSE, "purge,force") \
    X("scenario.export",     GET,    "/scenarios/{scenario}/export",     FALSE, "")         \
    X("scenario.preview",    GET,    "/scenarios/{scenario}/preview",    FALSE, "")         \
    X("scenario.points",     GET,    "/scenarios/{scenario}/points",     FALSE, "vm")       \
    X("scenario.verify",     POST,   "/scenarios/{scenario}/verify",     TRUE,  "")         \
    X("scenario.run",        POST,   "/scenarios/{scenario}/run",        TRUE,  "")         \
    X("scenario.stop",       POST,   "/scenarios/{scenario}/stop",       TRUE,  "")         \
    X("scenario.pause",      POST,   "/scenarios/{scenario}/pause",      TRUE,  "")         \
    X("scenario.continue",   POST,   "/scenarios/{scenario}/continue",   TRUE,  "")         \
    X("scenario.hold",       POST,   "/scenarios/{scenario}/hold",       TRUE,  "")         \
    X("scenario.unhold",     DELETE, "/scenarios/{scenario}/hold",       FALSE, "")         \
    X("scenario.switchover", POST,   "/scenarios/{scenario}/switchover", TRUE,  "")         \
    X("scenario.switchback", POST,   "/scenarios/{scenario}/switchback", TRUE,  "")         \
    X("scenario.compare",    POST,   "/scenarios/{scenario}/compare",    TRUE,  "")         \
    X("test.start",          POST,   "/scenarios/{scenario}/tests",      TRUE,  "")         \
    X("test.stop",           POST,   "/scenarios/{scenario}/tests/stop", TRUE,  "")         \
    X("test.list",           GET,    "/tests",                           FALSE, "scenario") \
    X("test.show",           GET,    "/tests/{test}",                    FALSE, "")         \
    X("test.evidence",       GET,    "/tests/{test}/evidence",           FALSE, "vm")       \
    X("maintenance.start",   POST,   "/hosts/{host}/maintenance",        TRUE,  "")         \
    X("maintenance.finish",  POST,   "/hosts/{host}/maintenance/finish", TRUE,  "")         \
    X("maintenance.show",    GET,    "/hosts/{host}/maintenance",        FALSE, "")         \
    X("maintenance.list",    GET,    "/maintenances",                    FALSE, "")         \
    X("drill.start",         POST,   "/drills",                          TRUE,  "")         \
    X("drill.stop",          POST,   "/drills/{drill}/stop",             TRUE,  "")         \
    X("drill.list",          GET,    "/drills",                          FALSE, "")         \
    X("drill.show",          GET,    "/drills/{drill}",                  FALSE, "")         \
    X("point.keep",          POST,   "/points/{point}/keep",             TRUE,  "")         \
    X("point.open",          POST,   "/points/{point}/open",             TRUE,  "")         \
    X("point.release",       POST,   "/points/{point}/release",          TRUE,  "")         \
    X("status",              GET,    "/status",                          FALSE, "scenario") \
    X("plan.list",           GET,    "/plans",                           FALSE, "scenario") \
    X("plan.show",           GET,    "/plans/{plan}",                    FALSE, "")         \
    X("event.list",          GET,    "/events",                          FALSE, "after,scenario,host,since,limit,wait_ms") \
    X("notify.list",         GET,    "/notify",                          FALSE, "")         \
    X("notify.add",          POST,   "/notify",                          TRUE,  "")         \
    X("notify.show",         GET,    "/notify/{channel}",                FALSE, "")         \
    X("notify.remove",       DELETE, "/notify/{channel}",                FALSE, "")         \
    X("notify.test",         POST,   "/notify/{channel}/test",           TRUE,  "")
/* clang-format on */

typedef struct {
    const char *operation;
    const char *path;
    const char *query_keys; /* comma-separated, each at most once */
    HttpMethod method;
    gboolean has_body; /* a JSON object must come; FALSE: none may */
} ApiRoute;

/* NULL past the last. */
const ApiRoute *api_route_at(guint index);
const ApiRoute *api_route_by_name(const char *operation);

/* The route of a decoded @path (with API_PREFIX) and a new table of its
 * parameters (char * -> char *). NULL with @error NOT_FOUND, and *@ret_allow
 * then set (caller frees) if the path is known with other methods only. */
const ApiRoute *api_route_match(HttpMethod method, const char *path, GHashTable **ret_parameters,
                                char **ret_allow, GError **error);

/* Decode `a=1&b=2` into a new table, allowing only @route's keys. NULL with @error
 * USAGE for an unknown or repeated key and for what is not UTF-8 text. */
GHashTable *api_route_query(const ApiRoute *route, const char *query, GError **error);

/* The reverse, for clients: API_PREFIX, the path with its parameters in order
 * (NULL-ended, percent-encoded here), no query. The caller frees. */
char *api_route_url(const ApiRoute *route, const char *const *parameters);

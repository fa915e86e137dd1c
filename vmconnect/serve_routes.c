/* SPDX-License-Identifier: Apache-2.0 */
/* serve_routes - by which ways this host reaches others, and whoever asks, and how fast these are.
 *
 * Names are looked up, which may hang, and echoes waited for: that is done on the trials' thread, which nobody else waits for. */
#include "vmconnect/serve_parts.h"

#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"
#include "vmconnect/link/dial.h"
#include "vmconnect/link/listener.h"
#include "vmconnect/probe/line.h"
#include "vmconnect/probe/route.h"

#define ROUTES_MS 85000 /* a trial may be under way */
#define ADDRESSES_MAX 64

typedef struct {
    GPtrArray *to; /* of char *: hosts */
    char *asker;   /* NULL: it is gone */
} Ways;

static void ways_free(gpointer data)
{
    Ways *w = data;

    g_ptr_array_unref(w->to);
    g_free(w->asker);
    g_free(w);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Ways, ways_free)

static json_t *way_to(const char *host)
{
    g_autoptr(GError) error = NULL;
    json_t *way;
    Route route;
    Line line;

    if (!host || !route_find(host, &route, &error))
        return json_pack("{s:s}", "why", error ? error->message : "it asks no more");
    way = route_to_json(&route);
    line = line_measure(host);
    json_object_set_new(way, "line", line_to_json(&line));
    return way;
}

static gboolean find_ways(virConnectPtr conn, gpointer request, gpointer *ret_result, GError **error)
{
    const Ways *w = request;
    json_t *routes = json_array();

    (void)conn;
    (void)error;
    for (guint i = 0; i < w->to->len; i++)
        json_array_append_new(routes, way_to(w->to->pdata[i]));
    *ret_result = json_pack("{s:o, s:o}", "routes", routes, "asker", way_to(w->asker));
    return TRUE;
}

static char *host_of(const char *address, GError **error)
{
    char *host = NULL;
    guint16 port;

    return dial_parse(address, LISTENER_PORT, &host, &port, error) ? host : NULL;
}

static Ways *read_ways(const RpcReply *reply, const json_t *params, GError **error)
{
    g_autoptr(Ways) w = g_new0(Ways, 1);
    g_autofree char *from = rpc_asked_from(reply);
    json_t *list;

    w->to = g_ptr_array_new_with_free_func(g_free);
    if (!json_read(params, "host.routes", error, "{s:o}", "addresses", &list))
        return NULL;
    if (!json_is_array(list) || json_array_size(list) > ADDRESSES_MAX) {
        g_set_error(error, US_ERROR, US_ERROR_USAGE, "host.routes: \"addresses\" is a list of at most %d",
                    ADDRESSES_MAX);
        return NULL;
    }
    for (gsize i = 0; i < json_array_size(list); i++) {
        const char *address = json_string_value(json_array_get(list, i));
        char *host = host_of(address ? address : "", error);

        if (!host)
            return NULL;
        g_ptr_array_add(w->to, host);
    }
    w->asker = from ? host_of(from, NULL) : NULL;
    return g_steal_pointer(&w);
}

void serve_host_routes(void *user, RpcReply *reply, const json_t *params)
{
    Engine *engine = ((Visit *)user)->engine;
    g_autoptr(GError) error = NULL;
    g_autoptr(Ways) ways = read_ways(reply, params, &error);
    HandsJob job = {.what = "looking for ways to other hosts",
                    .timeout_ms = ROUTES_MS,
                    .work = find_ways,
                    .free_request = ways_free,
                    .free_result = serve_free_json};

    if (!serve_good(reply, ways != NULL, &error))
        return;
    job.request = g_steal_pointer(&ways);
    hands_submit(engine->trial_hands, &job, serve_json, reply);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/api/routes.h"

#include "vmconnect/base/error.h"

#include <string.h>

#define MAX_SEGMENT_BYTES 255
#define MAX_VALUE_BYTES 1024

static const ApiRoute ROUTES[] = {
#define X(operation, method, path, has_body, query_keys) \
    {operation, path, query_keys, HTTP_##method, has_body},
    API_ROUTES(X)
#undef X
};

const char *http_method_name(HttpMethod method)
{
    static const char *const NAMES[] = {"GET", "POST", "PUT", "PATCH", "DELETE"};

    g_assert(method < G_N_ELEMENTS(NAMES));
    return NAMES[method];
}

const ApiRoute *api_route_at(guint index)
{
    return index < G_N_ELEMENTS(ROUTES) ? &ROUTES[index] : NULL;
}

const ApiRoute *api_route_by_name(const char *operation)
{
    for (guint i = 0; i < G_N_ELEMENTS(ROUTES); i++)
        if (g_str_equal(ROUTES[i].operation, operation))
            return &ROUTES[i];
    return NULL;
}

static GHashTable *parameters_new(void)
{
    return g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
}

static gboolean is_parameter(const char *segment)
{
    return segment[0] == '{';
}

/* A name that a person could have typed: it ends up in messages and look-ups. */
static gboolean is_name(const char *text, gsize max_len)
{
    gsize len = strlen(text);

    if (len == 0 || len > max_len || !g_utf8_validate(text, (gssize)len, NULL))
        return FALSE;
    for (const char *p = text; *p; p = g_utf8_next_char(p))
        if (g_unichar_iscntrl(g_utf8_get_char(p)))
            return FALSE;
    return TRUE;
}

/* The parameters if @segments fit @path, else NULL. */
static GHashTable *fit(const char *path, char **segments)
{
    g_auto(GStrv) wanted = g_strsplit(path + 1, "/", 0);
    g_autoptr(GHashTable) parameters = parameters_new();

    if (g_strv_length(wanted) != g_strv_length(segments))
        return NULL;
    for (guint i = 0; wanted[i]; i++) {
        if (!is_parameter(wanted[i])) {
            if (!g_str_equal(wanted[i], segments[i]))
                return NULL;
            continue;
        }
        if (!is_name(segments[i], MAX_SEGMENT_BYTES))
            return NULL;
        g_hash_table_insert(parameters, g_strndup(wanted[i] + 1, strlen(wanted[i]) - 2),
                            g_strdup(segments[i]));
    }
    return g_steal_pointer(&parameters);
}

const ApiRoute *api_route_match(HttpMethod method, const char *path, GHashTable **ret_parameters,
                                char **ret_allow, GError **error)
{
    g_autoptr(GString) allow = g_string_new(NULL);
    g_auto(GStrv) segments = NULL;

    *ret_allow = NULL;
    if (g_str_has_prefix(path, API_PREFIX "/"))
        segments = g_strsplit(path + strlen(API_PREFIX "/"), "/", 0);
    for (guint i = 0; segments && i < G_N_ELEMENTS(ROUTES); i++) {
        GHashTable *parameters = fit(ROUTES[i].path, segments);

        if (parameters && ROUTES[i].method == method) {
            *ret_parameters = parameters;
            return &ROUTES[i];
        }
        if (parameters)
            g_string_append_printf(allow, "%s%s", allow->len ? ", " : "", http_method_name(ROUTES[i].method));
        g_clear_pointer(&parameters, g_hash_table_destroy);
    }
    if (allow->len)
        *ret_allow = g_strdup(allow->str);
    g_set_error(error, US_ERROR, US_ERROR_NOT_FOUND, "there is nothing at %s that can do %s", path,
                http_method_name(method));
    return NULL;
}

static gboolean allows(const ApiRoute *route, const char *key)
{
    g_auto(GStrv) keys = g_strsplit(route->query_keys, ",", 0);

    return g_strv_contains((const char *const *)keys, key);
}

/* `+` is a space here, as forms write it. */
static char *decode(const char *text)
{
    g_autofree char *spaced = g_strdelimit(g_strdup(text), "+", ' ');

    return g_uri_unescape_string(spaced, NULL);
}

static gboolean take_pair(GHashTable *values, const ApiRoute *route, const char *pair, GError **error)
{
    const char *equals = strchr(pair, '=');
    g_autofree char *raw_key = equals ? g_strndup(pair, (gsize)(equals - pair)) : g_strdup(pair);
    g_autofree char *key = decode(raw_key);
    char *value = decode(equals ? equals + 1 : "");

    if (!key || !value || !allows(route, key) || g_hash_table_contains(values, key)) {
        g_set_error(error, US_ERROR, US_ERROR_USAGE,
                    "query '%s' is not understood: %s takes %s, each at most once", pair, route->operation,
                    route->query_keys[0] ? route->query_keys : "none");
        g_free(value);
        return FALSE;
    }
    if (value[0] != '\0' && !is_name(value, MAX_VALUE_BYTES)) {
        g_set_error(error, US_ERROR, US_ERROR_USAGE, "the value of query '%s' is not a text", key);
        g_free(value);
        return FALSE;
    }
    g_hash_table_insert(values, g_steal_pointer(&key), value);
    return TRUE;
}

GHashTable *api_route_query(const ApiRoute *route, const char *query, GError **error)
{
    g_autoptr(GHashTable) values = parameters_new();
    g_auto(GStrv) pairs = g_strsplit(query, "&", 0);

    for (char **pair = pairs; *pair; pair++)
        if ((*pair)[0] != '\0' && !take_pair(values, route, *pair, error))
            return NULL;
    return g_steal_pointer(&values);
}

char *api_route_url(const ApiRoute *route, const char *const *parameters)
{
    g_autoptr(GString) url = g_string_new(API_PREFIX);
    g_auto(GStrv) segments = g_strsplit(route->path + 1, "/", 0);

    for (char **s = segments; *s; s++) {
        g_string_append_c(url, '/');
        if (!is_parameter(*s)) {
            g_string_append(url, *s);
            continue;
        }
        g_assert(*parameters);
        g_string_append_uri_escaped(url, *parameters++, NULL, FALSE);
    }
    g_assert(!parameters || !*parameters);
    return g_strdup(url->str);
}

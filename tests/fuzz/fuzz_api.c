/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_api - a request as it comes from outside: METHOD byte, path, '?', query, NUL, body. */
#include "orchestrator/api/routes.h"
#include "vmconnect/base/json.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const guint8 *data, gsize len);

static void check_route(const ApiRoute *route, GHashTable *parameters, const char *query)
{
    GHashTableIter iter;
    const char *name;
    const char *value;
    g_autoptr(GHashTable) values = api_route_query(route, query, NULL);

    g_hash_table_iter_init(&iter, parameters);
    while (g_hash_table_iter_next(&iter, (void **)&name, (void **)&value)) {
        const char *list[] = {value, NULL};
        g_autofree char *url = api_route_url(route, list);

        g_assert(value[0] && g_utf8_validate(value, -1, NULL) && !strchr(value, '/'));
        g_assert(g_str_has_prefix(url, API_PREFIX "/"));
    }
    if (!values)
        return;
    g_hash_table_iter_init(&iter, values);
    while (g_hash_table_iter_next(&iter, (void **)&name, (void **)&value))
        g_assert(strstr(route->query_keys, name) && g_utf8_validate(value, -1, NULL));
}

int LLVMFuzzerTestOneInput(const guint8 *data, gsize len)
{
    HttpMethod method = len ? data[0] % (HTTP_DELETE + 1) : HTTP_GET;
    g_autofree char *text = len ? g_strndup((const char *)data + 1, len - 1) : g_strdup("");
    gsize head_len = strlen(text) + 2; /* method and NUL */
    char *query = strchr(text, '?');
    g_autoptr(GHashTable) parameters = NULL;
    g_autofree char *allow = NULL;
    const ApiRoute *route;

    if (query)
        *query++ = '\0';
    route = api_route_match(method, text, &parameters, &allow, NULL);
    if (route)
        check_route(route, parameters, query ? query : "");
    if (head_len < len) {
        json_auto_t *body = json_parse((const char *)data + head_len, len - head_len, 4096, NULL);
        g_autofree char *back = body ? json_text(body) : NULL;

        (void)back;
    }
    return 0;
}

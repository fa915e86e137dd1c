/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/api/http_internal.h"

#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"

#include <string.h>

#define JSON_TYPE "application/json; charset=utf-8"
#define MAX_HEADER 4096

static const enum lws_token_indexes METHODS[] = {
    [HTTP_GET] = WSI_TOKEN_GET_URI,     [HTTP_POST] = WSI_TOKEN_POST_URI,     [HTTP_PUT] = WSI_TOKEN_PUT_URI,
    [HTTP_PATCH] = WSI_TOKEN_PATCH_URI, [HTTP_DELETE] = WSI_TOKEN_DELETE_URI,
};

/* A header's value, or NULL; one that is too long counts as absent. */
static char *header(struct lws *wsi, enum lws_token_indexes token)
{
    char value[MAX_HEADER];

    if (lws_hdr_copy(wsi, value, sizeof value, token) <= 0)
        return NULL;
    return g_strdup(value);
}

static gboolean take_method(HttpRequest *r, struct lws *wsi)
{
    for (HttpMethod i = 0; i < G_N_ELEMENTS(METHODS); i++)
        if (lws_hdr_total_length(wsi, METHODS[i])) {
            r->method = i;
            return TRUE;
        }
    return FALSE;
}

static void append_part(GString *query, char *part)
{
    char *value = strchr(part, '=');

    if (query->len)
        g_string_append_c(query, '&');
    if (value)
        *value++ = '\0';
    g_string_append_uri_escaped(query, part, NULL, FALSE);
    if (value) {
        g_string_append_c(query, '=');
        g_string_append_uri_escaped(query, value, NULL, FALSE);
    }
}

/* The library splits and decodes the query; put together again, a `&` within a value stays one. */
static gboolean take_query(HttpRequest *r, struct lws *wsi, guint *ret_status, GError **error)
{
    g_autoptr(GString) query = g_string_new(NULL);
    char part[MAX_HEADER];
    int i = 0;

    for (; lws_hdr_copy_fragment(wsi, part, sizeof part, WSI_TOKEN_HTTP_URI_ARGS, i) >= 0; i++)
        if (part[0] != '\0')
            append_part(query, part);
    /* The same result for the end and for one that has no room: the latter has a length. */
    if (lws_hdr_fragment_length(wsi, WSI_TOKEN_HTTP_URI_ARGS, i) > 0) {
        *ret_status = 400;
        g_set_error(error, US_ERROR, US_ERROR_USAGE,
                    "a part of the query is longer than %d bytes: nothing was done", MAX_HEADER - 1);
        return FALSE;
    }
    g_free(r->query);
    r->query = g_strdup(query->str);
    return TRUE;
}

static char *take_bearer(struct lws *wsi)
{
    g_autofree char *value = header(wsi, WSI_TOKEN_HTTP_AUTHORIZATION);

    if (!value || g_ascii_strncasecmp(value, "Bearer ", 7) != 0)
        return NULL;
    return g_strdup(g_strstrip(value + 7));
}

static gboolean take_length(HttpRequest *r, struct lws *wsi, guint *ret_status, GError **error)
{
    g_autofree char *text = header(wsi, WSI_TOKEN_HTTP_CONTENT_LENGTH);
    guint64 len = 0;

    if (lws_hdr_total_length(wsi, WSI_TOKEN_HTTP_TRANSFER_ENCODING)) {
        *ret_status = 411;
        g_set_error(error, US_ERROR, US_ERROR_UNSUPPORTED,
                    "a body in chunks is not taken: send it with a Content-Length");
        return FALSE;
    }
    if (lws_hdr_total_length(wsi, WSI_TOKEN_HTTP_CONTENT_LENGTH) &&
        (!text || !g_ascii_string_to_unsigned(text, 10, 0, G_MAXINT64, &len, NULL))) {
        *ret_status = 400;
        g_set_error(error, US_ERROR, US_ERROR_USAGE, "the Content-Length is not a number");
        return FALSE;
    }
    if (!text && r->method != HTTP_GET && r->method != HTTP_DELETE) {
        *ret_status = 411;
        g_set_error(error, US_ERROR, US_ERROR_USAGE, "a %s needs a Content-Length",
                    http_method_name(r->method));
        return FALSE;
    }
    r->len_bytes = len;
    return TRUE;
}

/* The method is what the head's sizes are read by, so it is refused last. */
static gboolean take_head(HttpRequest *r, struct lws *wsi, guint *ret_status, GError **error)
{
    gboolean known = take_method(r, wsi);

    if (!take_length(r, wsi, ret_status, error))
        return FALSE;
    if (!known) {
        *ret_status = 405;
        g_set_error(error, US_ERROR, US_ERROR_UNSUPPORTED, "this method is not served");
        return FALSE;
    }
    /* The library takes a decoded line feed in the path for the end of the line: the version is missing then. */
    if (!g_utf8_validate(r->path, -1, NULL) || !lws_hdr_total_length(wsi, WSI_TOKEN_HTTP)) {
        *ret_status = 400;
        g_set_error(error, US_ERROR, US_ERROR_USAGE, "the path is not UTF-8, or has a line break");
        return FALSE;
    }
    return take_query(r, wsi, ret_status, error);
}

HttpRequest *http_request_new(HttpConnection *connection, const char *path, guint *ret_status, GError **error)
{
    HttpRequest *r = g_new0(HttpRequest, 1);
    struct lws *wsi = connection->wsi;

    r->connection = connection;
    r->path = g_strdup(path);
    r->query = g_strdup("");
    r->bearer = take_bearer(wsi);
    r->body = g_string_new(NULL);
    r->headers = g_ptr_array_new_with_free_func(g_free);
    *ret_status = 0;
    take_head(r, wsi, ret_status, error);
    return r;
}

void http_request_free(HttpRequest *r)
{
    if (!r)
        return;
    if (r->free_attached)
        r->free_attached(r->attached);
    g_free(r->path);
    g_free(r->query);
    g_free(r->bearer);
    g_string_free(r->body, TRUE);
    g_free(r->content_type);
    g_ptr_array_unref(r->headers);
    g_clear_pointer(&r->answer, g_bytes_unref);
    g_free(r);
}

HttpMethod http_request_method(const HttpRequest *r)
{
    return r->method;
}

const char *http_request_path(const HttpRequest *r)
{
    return r->path;
}

const char *http_request_query(const HttpRequest *r)
{
    return r->query;
}

const char *http_request_bearer(const HttpRequest *r)
{
    return r->bearer;
}

const char *http_request_body(const HttpRequest *r, gsize *ret_len)
{
    *ret_len = r->body->len;
    return r->body->str;
}

gboolean http_request_is_gone(const HttpRequest *r)
{
    return !r->connection;
}

void http_request_attach(HttpRequest *r, void *data, GDestroyNotify free_data)
{
    g_assert(!r->attached);
    r->attached = data;
    r->free_attached = free_data;
}

void *http_request_attached(const HttpRequest *r)
{
    return r->attached;
}

void http_request_add_header(HttpRequest *r, const char *name, const char *value)
{
    g_assert(!strpbrk(name, "\r\n:") && !strpbrk(value, "\r\n"));
    g_ptr_array_add(r->headers, g_strdup(name));
    g_ptr_array_add(r->headers, g_strdup(value));
}

void http_request_answer(HttpRequest *r, guint status, const char *content_type, GBytes *body)
{
    g_assert(status >= 200 && status <= 599 && r->status == 0);
    g_assert(!strpbrk(content_type, "\r\n"));
    if (!r->connection) {
        http_request_free(r);
        return;
    }
    r->status = status;
    r->content_type = g_strdup(content_type);
    r->answer = g_bytes_ref(body);
    http_connection_answer(r->connection);
}

void http_request_refuse(HttpRequest *r, guint status, const GError *error)
{
    json_auto_t *doc = json_from_error(error);
    char *text = json_text(doc);
    g_autoptr(GBytes) body = g_bytes_new_take(text, strlen(text));

    http_request_answer(r, status, JSON_TYPE, body);
}

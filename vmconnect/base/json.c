/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/base/json.h"

#include "vmconnect/base/error.h"

#include <stdlib.h>
#include <string.h>

gboolean json_read(const json_t *root, const char *what, GError **error, const char *format, ...)
{
    json_error_t why;
    va_list args;
    int rc;

    va_start(args, format);
    rc = json_vunpack_ex((json_t *)root, &why, JSON_STRICT, format, args);
    va_end(args);
    if (rc != 0)
        g_set_error(error, US_ERROR, US_ERROR_USAGE, "%s: %s", what, why.text);
    return rc == 0;
}

/* jansson recurses as deep as the text says, up to 2048 times. Up to a text's first error both
 * agree on what is quoted and how deep it is; behind it jansson does not read. */
static gboolean is_shallow(const char *text, gsize len)
{
    gboolean quoted = FALSE;
    guint depth = 0;

    for (gsize i = 0; i < len; i++) {
        char c = text[i];

        if (quoted && c == '\\')
            i++;
        else if (c == '"')
            quoted = !quoted;
        else if (!quoted && (c == '{' || c == '[') && ++depth > JSON_DEPTH_MAX)
            return FALSE;
        else if (!quoted && (c == '}' || c == ']') && depth > 0)
            depth--;
    }
    return TRUE;
}

json_t *json_parse(const char *text, gsize len, gsize max_len, GError **error)
{
    json_error_t why;
    json_t *root;

    if (len > max_len) {
        g_set_error(error, US_ERROR, US_ERROR_USAGE, "a document of %zu bytes is longer than the %zu allowed",
                    len, max_len);
        return NULL;
    }
    if (!is_shallow(text, len)) {
        g_set_error(error, US_ERROR, US_ERROR_USAGE, "a document nested deeper than %d", JSON_DEPTH_MAX);
        return NULL;
    }
    root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &why);
    if (!root)
        g_set_error(error, US_ERROR, US_ERROR_USAGE, "not a JSON document: line %d: %s", why.line, why.text);
    return root;
}

char *json_text(const json_t *root)
{
    char *text = json_dumps(root, JSON_COMPACT | JSON_ENCODE_ANY);
    char *copy;

    g_assert(text);
    /* jansson's allocator and GLib's need not be the same. */
    copy = g_strdup(text);
    free(text);
    return copy;
}

const char *json_text_of(const json_t *doc, const char *key)
{
    return json_string_value(json_object_get(doc, key));
}

json_t *json_from_id(Id id)
{
    return id_is_nil(id) ? json_null() : json_string(ID_TEXT(id));
}

gboolean json_to_id(const json_t *value, Id *ret_id, GError **error)
{
    *ret_id = ID_NIL;
    if (json_is_null(value))
        return TRUE;
    if (json_is_string(value))
        return id_parse(json_string_value(value), ret_id, error);
    g_set_error(error, US_ERROR, US_ERROR_USAGE, "an id must be a text or null");
    return FALSE;
}

json_t *json_from_error(const GError *error)
{
    UsError code = error->domain == US_ERROR ? (UsError)error->code : US_ERROR_FAILED;
    g_autofree char *text = g_utf8_make_valid(error->message, -1);

    return json_pack("{s:s, s:s}", "code", us_error_name(code), "text", text);
}

GError *json_to_error(const json_t *root)
{
    const char *code = NULL;
    const char *text = NULL;

    if (!json_read(root, "error", NULL, "{s:s, s:s*}", "code", &code, "text", &text))
        return g_error_new(US_ERROR, US_ERROR_PROTOCOL, "the peer reported an error that is not one");
    return g_error_new(US_ERROR, us_error_from_name(code), "%s", text);
}

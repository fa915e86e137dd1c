/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/base/check.h"

#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"

#include <string.h>

#define TEXT_MAX 1024
#define ARGV_MAX 32

static const char *const NAMES[] = {
#define X(kind, name) [CHECK_##kind] = name,
    CHECK_KINDS(X)
#undef X
};

void check_spec_free(CheckSpec *spec)
{
    if (!spec)
        return;
    g_free(spec->address);
    g_free(spec->url);
    g_free(spec->expect);
    g_strfreev(spec->argv);
    g_free(spec);
}

static gboolean bad(GError **error, const char *kind, const char *what)
{
    g_set_error(error, US_ERROR, US_ERROR_USAGE, "check '%s': %s", kind, what);
    return FALSE;
}

static gboolean is_text(const char *text)
{
    return text && *text && strlen(text) <= TEXT_MAX;
}

/* A program of that folder, not of one beside it. */
static gboolean is_file_name(const char *name)
{
    return name[0] != '.' && !strchr(name, '/');
}

static gboolean read_argv(CheckSpec *spec, const json_t *doc, GError **error)
{
    gsize n = json_array_size(doc);

    if (n == 0 || n > ARGV_MAX)
        return bad(error, NAMES[spec->kind], "a program and its arguments, at most 31 of them, are needed");
    spec->argv = g_new0(char *, n + 1);
    for (gsize i = 0; i < n; i++) {
        const char *word = json_string_value(json_array_get(doc, i));

        if (!word || strlen(word) > TEXT_MAX || (i == 0 && !*word))
            return bad(error, NAMES[spec->kind], "an argument is no text, or longer than 1024 bytes");
        spec->argv[i] = g_strdup(word);
    }
    if (spec->kind == CHECK_SCRIPT && !is_file_name(spec->argv[0]))
        return bad(error, NAMES[spec->kind],
                   "its program is a file in the engine's folder of probes: a name without '/'");
    return TRUE;
}

/* libcurl would take others, and read files with them. */
static gboolean is_url(const char *url)
{
    return is_text(url) && (g_str_has_prefix(url, "http://") || g_str_has_prefix(url, "https://"));
}

static gboolean check_needs(const CheckSpec *spec, int port, const char *expect, GError **error)
{
    const char *kind = NAMES[spec->kind];
    gboolean has_address = spec->kind == CHECK_BEAT || spec->kind == CHECK_PING || spec->kind == CHECK_TCP;

    if (has_address != (spec->address != NULL) || (has_address && !is_text(spec->address)))
        return bad(error, kind, has_address ? "an address is needed" : "it takes no address");
    if ((spec->kind == CHECK_TCP) != (port != 0) || port < 0 || port > 65535)
        return bad(error, kind,
                   spec->kind == CHECK_TCP ? "a port from 1 to 65535 is needed" : "it takes no port");
    if (spec->kind == CHECK_HTTP ? !is_url(spec->url) : spec->url != NULL)
        return bad(error, kind,
                   spec->kind == CHECK_HTTP ? "an address that begins with http:// or https:// is needed"
                                            : "it takes no URL");
    if (expect && (spec->kind != CHECK_HTTP || strlen(expect) > TEXT_MAX))
        return bad(error, kind, "expected text is for http, and of at most 1024 bytes");
    return TRUE;
}

static gboolean read_from(CheckSpec *spec, const char *from, GError **error)
{
    gboolean by_agent = spec->kind == CHECK_AGENT || spec->kind == CHECK_COMMAND;

    spec->from_active = by_agent || g_strcmp0(from, "active") == 0;
    if (!from || g_str_equal(from, "active") || (g_str_equal(from, "standby") && !by_agent))
        return TRUE;
    return bad(error, NAMES[spec->kind],
               by_agent ? "only the host that runs the guest can ask its agent"
                        : "it is tried from \"active\" or from \"standby\"");
}

static gboolean find_kind(const char *name, CheckKind *ret_kind, GError **error)
{
    for (guint i = 0; i < G_N_ELEMENTS(NAMES); i++)
        if (g_str_equal(NAMES[i], name)) {
            *ret_kind = (CheckKind)i;
            return TRUE;
        }
    g_set_error(error, US_ERROR, US_ERROR_USAGE, "there is no check of the kind '%s'", name);
    return FALSE;
}

CheckSpec *check_spec_from_json(const json_t *doc, GError **error)
{
    const char *kind, *address = NULL, *url = NULL, *expect = NULL, *from = NULL;
    g_autoptr(CheckSpec) spec = g_new0(CheckSpec, 1);
    json_t *argv = NULL;
    gboolean has_argv;
    int port = 0;

    if (!json_read(doc, "check", error, "{s:s, s?s, s?s, s?i, s?s, s?s, s?o}", "kind", &kind, "from", &from,
                   "address", &address, "port", &port, "url", &url, "expect", &expect, "argv", &argv) ||
        !find_kind(kind, &spec->kind, error) || !read_from(spec, from, error))
        return NULL;
    spec->address = g_strdup(address);
    spec->url = g_strdup(url);
    if (!check_needs(spec, port, expect, error))
        return NULL;
    spec->port = (guint16)port;
    spec->expect = spec->kind == CHECK_HTTP ? g_strdup(expect ? expect : "") : NULL;
    has_argv = spec->kind == CHECK_COMMAND || spec->kind == CHECK_SCRIPT;
    if (has_argv ? !read_argv(spec, argv, error) : argv && !bad(error, kind, "it takes no arguments"))
        return NULL;
    return g_steal_pointer(&spec);
}

json_t *check_spec_to_json(const CheckSpec *spec)
{
    json_t *doc = json_pack("{s:s, s:s*, s:s*, s:s*}", "kind", NAMES[spec->kind], "address", spec->address,
                            "url", spec->url, "expect", spec->expect);
    json_t *argv;

    if (spec->from_active && spec->kind != CHECK_AGENT && spec->kind != CHECK_COMMAND)
        json_object_set_new(doc, "from", json_string("active"));
    if (spec->port)
        json_object_set_new(doc, "port", json_integer(spec->port));
    if (!spec->argv)
        return doc;
    argv = json_array();
    for (char **word = spec->argv; *word; word++)
        json_array_append_new(argv, json_string(*word));
    json_object_set_new(doc, "argv", argv);
    return doc;
}

CheckSpec *check_spec_copy(const CheckSpec *spec)
{
    CheckSpec *copy = g_memdup2(spec, sizeof(*spec));

    copy->address = g_strdup(spec->address);
    copy->url = g_strdup(spec->url);
    copy->expect = g_strdup(spec->expect);
    copy->argv = g_strdupv(spec->argv);
    return copy;
}

gboolean check_spec_equal(const CheckSpec *a, const CheckSpec *b)
{
    json_auto_t *left = check_spec_to_json(a);
    json_auto_t *right = check_spec_to_json(b);

    return json_equal(left, right);
}

char *check_spec_words(const CheckSpec *spec)
{
    g_autofree char *line = spec->argv ? g_strjoinv(" ", spec->argv) : NULL;

    if (spec->kind == CHECK_TCP)
        return g_strdup_printf("tcp %s port %u", spec->address, spec->port);
    return g_strjoin(" ", NAMES[spec->kind],
                     spec->address ? spec->address
                     : spec->url   ? spec->url
                                   : line,
                     NULL);
}

/* "ADDRESS:PORT", "[v6]:PORT". */
static void add_address_and_port(json_t *doc, const char *text)
{
    const char *colon = strrchr(text, ':');
    g_autofree char *address = colon ? g_strndup(text, (gsize)(colon - text)) : g_strdup(text);
    gsize len = strlen(address);
    guint64 port;

    if (address[0] == '[' && len > 2 && address[len - 1] == ']') {
        memmove(address, address + 1, len - 2);
        address[len - 2] = '\0';
    }
    json_object_set_new(doc, "address", json_string(address));
    if (colon && g_ascii_string_to_unsigned(colon + 1, 10, 1, 65535, &port, NULL))
        json_object_set_new(doc, "port", json_integer((json_int_t)port));
}

static gboolean add_words(json_t *doc, const char *text, GError **error)
{
    g_autoptr(GError) why = NULL;
    g_auto(GStrv) words = NULL;
    json_t *argv;

    if (!g_shell_parse_argv(text, NULL, &words, &why))
        return bad(error, json_string_value(json_object_get(doc, "kind")), why->message);
    argv = json_array();
    for (char **word = words; *word; word++)
        json_array_append_new(argv, json_string(*word));
    json_object_set_new(doc, "argv", argv);
    return TRUE;
}

static json_t *read_words(const char *text, GError **error)
{
    const char *colon = strchr(text, ':');
    g_autofree char *kind = colon ? g_strndup(text, (gsize)(colon - text)) : g_strdup(text);
    const char *rest = colon ? colon + 1 : "";
    gboolean is_http = g_str_equal(kind, "http") || g_str_equal(kind, "https");
    json_auto_t *doc = json_pack("{s:s}", "kind", is_http ? "http" : kind);

    if (!doc) {
        g_set_error_literal(error, US_ERROR, US_ERROR_USAGE, "a check is text in UTF-8");
        return NULL;
    }
    if (is_http)
        json_object_set_new(doc, "url", json_string(text));
    else if (g_str_equal(kind, "tcp"))
        add_address_and_port(doc, rest);
    else if (g_str_equal(kind, "ping"))
        json_object_set_new(doc, "address", json_string(rest));
    else if ((g_str_equal(kind, "command") || g_str_equal(kind, "script")) && !add_words(doc, rest, error))
        return NULL;
    return g_steal_pointer(&doc);
}

CheckSpec *check_spec_parse(const char *text, GError **error)
{
    const char *at = strrchr(text, '@');
    gboolean has_from = at && (g_str_equal(at, "@active") || g_str_equal(at, "@standby"));
    g_autofree char *what = g_strndup(text, has_from ? (gsize)(at - text) : strlen(text));
    json_auto_t *doc =
        text[0] == '{' ? json_parse(text, strlen(text), TEXT_MAX * ARGV_MAX, error) : read_words(what, error);

    if (doc && has_from && text[0] != '{')
        json_object_set_new(doc, "from", json_string(at + 1));
    return doc ? check_spec_from_json(doc, error) : NULL;
}

/* --- score ----------------------------------------------------------------- */

gboolean check_score_add(CheckScore *score, const char *why)
{
    gboolean same =
        score->tried && g_strcmp0(score->why, why) == 0 && (!why || score->misses >= CHECK_MISSES_TOLD);

    score->tried = TRUE;
    score->ever |= why == NULL;
    score->misses = why ? MIN(score->misses + 1, CHECK_MISSES_MAX) : 0;
    check_score_note(score, why);
    return !same;
}

gboolean check_score_note(CheckScore *score, const char *why)
{
    if (g_strcmp0(score->why, why) == 0)
        return FALSE;
    g_free(score->why);
    score->why = g_strdup(why);
    return TRUE;
}

void check_score_clear(CheckScore *score)
{
    g_free(score->why);
    *score = (CheckScore){0};
}

json_t *check_score_to_json(const CheckScore *score, const CheckSpec *spec)
{
    g_autofree char *words = check_spec_words(spec);
    json_t *hangs = spec->kind == CHECK_BEAT ? json_boolean(score->hangs) : NULL;

    return json_pack("{s:s, s:s, s:b, s:b, s:i, s:s?, s:o*}", "kind", NAMES[spec->kind], "words", words,
                     "tried", score->tried, "ever", score->ever, "misses",
                     (int)MIN(score->misses, CHECK_MISSES_TOLD), "why", score->why, "hangs", hangs);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/base/exam.h"

#include "vmconnect/base/error.h"

#include <arpa/inet.h>
#include <string.h>

#define TEXT_MAX 1024
#define ARGV_MAX 32
#define VMS_MAX 256
#define EXPECT " expect "

static const char *const NAMES[] = {
#define X(kind, name) [EXAM_##kind] = name,
    EXAM_KINDS(X)
#undef X
};

void exam_free(Exam *exam)
{
    if (!exam)
        return;
    g_free(exam->text);
    g_free(exam->address);
    g_free(exam->path);
    g_free(exam->expect);
    g_free(exam->word);
    g_strfreev(exam->argv);
    g_free(exam);
}

static gboolean bad(GError **error, const char *text, const char *what)
{
    g_set_error(error, US_ERROR, US_ERROR_USAGE, "check '%s': %s", text, what);
    return FALSE;
}

static gboolean find_kind(const char *text, gsize len, ExamKind *ret_kind, GError **error)
{
    g_autofree char *all = NULL;
    const char *names[G_N_ELEMENTS(NAMES) + 1] = {0};

    for (guint i = 0; i < G_N_ELEMENTS(NAMES); i++) {
        names[i] = NAMES[i];
        if (strlen(NAMES[i]) == len && strncmp(NAMES[i], text, len) == 0) {
            *ret_kind = (ExamKind)i;
            return TRUE;
        }
    }
    all = g_strjoinv(", ", (char **)names);
    g_set_error(error, US_ERROR, US_ERROR_USAGE, "check '%s' is of no kind that there is: %s", text, all);
    return FALSE;
}

static gboolean read_address(Exam *exam, const char *text, GError **error)
{
    struct in_addr number;

    if (inet_pton(AF_INET, text, &number) != 1)
        return bad(error, exam->text, "an address is an IPv4 number");
    exam->address = g_strdup(text);
    return TRUE;
}

/* "[ADDRESS:]PORT" */
static gboolean read_where(Exam *exam, const char *text, GError **error)
{
    const char *colon = strrchr(text, ':');
    g_autofree char *address = colon ? g_strndup(text, (gsize)(colon - text)) : NULL;
    guint64 port;

    if (!g_ascii_string_to_unsigned(colon ? colon + 1 : text, 10, 1, 65535, &port, NULL))
        return bad(error, exam->text, "a port from 1 to 65535 is needed");
    exam->port = (guint16)port;
    return !address || read_address(exam, address, error);
}

/* It becomes a line of the request. */
static gboolean is_path(const char *path)
{
    for (const char *c = path; *c; c++)
        if (!g_ascii_isgraph(*c))
            return FALSE;
    return TRUE;
}

static gboolean read_http(Exam *exam, const char *rest, GError **error)
{
    const char *expect = strstr(rest, EXPECT);
    g_autofree char *what = expect ? g_strndup(rest, (gsize)(expect - rest)) : g_strdup(rest);
    const char *slash = strchr(what, '/');
    g_autofree char *where = slash ? g_strndup(what, (gsize)(slash - what)) : g_strdup(what);

    if (slash && !is_path(slash))
        return bad(
            error, exam->text,
            "a path has no spaces, and no characters beyond ASCII; what is expected follows ' expect '");
    exam->path = g_strdup(slash ? slash : "/");
    if (expect && !expect[strlen(EXPECT)])
        return bad(error, exam->text, "the text that is expected is missing");
    exam->expect = expect ? g_strdup(expect + strlen(EXPECT)) : NULL;
    return read_where(exam, where, error);
}

static gboolean read_argv(Exam *exam, const char *rest, GError **error)
{
    g_autoptr(GError) why = NULL;

    if (!g_shell_parse_argv(rest, NULL, &exam->argv, &why))
        return bad(error, exam->text, why->message);
    if (!*exam->argv[0] || g_strv_length(exam->argv) > ARGV_MAX)
        return bad(error, exam->text, "a program and its arguments, at most 31 of them, are needed");
    return TRUE;
}

/* It becomes an argument of a program in the guest. */
static gboolean is_service(const char *name)
{
    return name[0] != '-' && strspn(name, G_CSET_a_2_z G_CSET_A_2_Z G_CSET_DIGITS "@._-:\\") == strlen(name);
}

static gboolean read_word(Exam *exam, const char *rest, GError **error)
{
    if (!*rest)
        return bad(error, exam->text, "what is asked is to follow a colon");
    if (exam->kind == EXAM_SERVICE && !is_service(rest))
        return bad(error, exam->text, "that is not the name of a service");
    if (exam->kind == EXAM_MOUNTED && rest[0] == '-')
        return bad(error, exam->text, "that is not a mount point");
    exam->word = g_strdup(rest);
    return TRUE;
}

/* @rest NULL: there is no colon. */
static gboolean read_rest(Exam *exam, const char *rest, GError **error)
{
    switch (exam->kind) {
    case EXAM_PING:
        return !rest || read_address(exam, rest, error);
    case EXAM_TCP:
        return read_where(exam, rest ? rest : "", error);
    case EXAM_HTTP:
    case EXAM_HTTPS:
        return read_http(exam, rest ? rest : "", error);
    case EXAM_COMMAND:
        return read_argv(exam, rest ? rest : "", error);
    case EXAM_CONSOLE:
    case EXAM_HOSTNAME:
    case EXAM_MOUNTED:
    case EXAM_SERVICE:
        return read_word(exam, rest ? rest : "", error);
    case EXAM_AGENT:
    case EXAM_SCREEN:
    case EXAM_DISKS:
    case EXAM_NO_DISKS:
        return !rest || bad(error, exam->text, "nothing follows it");
    }
    g_assert_not_reached();
}

Exam *exam_parse(const char *text, GError **error)
{
    const char *colon = strchr(text, ':');
    g_autoptr(Exam) exam = g_new0(Exam, 1);

    if (strlen(text) > TEXT_MAX || !g_utf8_validate(text, -1, NULL)) {
        g_set_error_literal(error, US_ERROR, US_ERROR_USAGE,
                            "a check is text in UTF-8 of at most 1024 bytes");
        return NULL;
    }
    exam->text = g_strdup(text);
    if (!find_kind(text, colon ? (gsize)(colon - text) : strlen(text), &exam->kind, error) ||
        !read_rest(exam, colon ? colon + 1 : NULL, error))
        return NULL;
    return g_steal_pointer(&exam);
}

/* --- lists ----------------------------------------------------------------- */

static gboolean has(const GPtrArray *list, const char *text)
{
    for (guint i = 0; i < list->len; i++)
        if (g_str_equal(((const Exam *)list->pdata[i])->text, text))
            return TRUE;
    return FALSE;
}

static gboolean add(GPtrArray *list, const char *text, GError **error)
{
    Exam *exam = exam_parse(text, error);

    if (!exam)
        return FALSE;
    if (has(list, text)) {
        exam_free(exam);
        return bad(error, text, "it is there twice");
    }
    g_ptr_array_add(list, exam);
    return TRUE;
}

GPtrArray *exam_list_from_json(const json_t *list, GError **error)
{
    g_autoptr(GPtrArray) exams = g_ptr_array_new_with_free_func((GDestroyNotify)exam_free);
    gsize n = json_array_size(list);

    if (n == 0 || n > EXAM_LIST_MAX) {
        g_set_error(error, US_ERROR, US_ERROR_USAGE, "checks are a list of 1 to %u texts", EXAM_LIST_MAX);
        return NULL;
    }
    for (gsize i = 0; i < n; i++) {
        const char *text = json_string_value(json_array_get(list, i));

        if (!text) {
            g_set_error(error, US_ERROR, US_ERROR_USAGE, "check %zu of the list is no text", i + 1);
            return NULL;
        }
        if (!add(exams, text, error))
            return NULL;
    }
    return g_steal_pointer(&exams);
}

gboolean exam_document_check(const json_t *doc, GError **error)
{
    const char *vm;
    json_t *list;

    if (json_object_size(doc) == 0 || json_object_size(doc) > VMS_MAX) {
        g_set_error(error, US_ERROR, US_ERROR_USAGE,
                    "checks are an object of 1 to %u members, {\"VM\": [\"CHECK\", …], \"*\": […]}", VMS_MAX);
        return FALSE;
    }
    json_object_foreach((json_t *)doc, vm, list)
    {
        g_autoptr(GPtrArray) exams = exam_list_from_json(list, error);

        if (!exams) {
            g_prefix_error(error, "checks of '%s': ", vm);
            return FALSE;
        }
    }
    return TRUE;
}

json_t *exam_document_find(const json_t *doc, const char *uuid, const char *name)
{
    json_t *list = json_object_get(doc, uuid);

    if (!list)
        list = json_object_get(doc, name);
    return list ? list : json_object_get(doc, "*");
}

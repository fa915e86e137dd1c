/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/cli/cli.h"

#include "vmconnect/base/error.h"
#include "vmconnect/base/id.h"
#include "vmconnect/base/json.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define MAX_TOKEN_BYTES 4096

const char *cli_argument(const Cli *cli, guint index)
{
    g_assert(index < cli->arguments->len);
    return cli->arguments->pdata[index];
}

const char *const *cli_options(const Cli *cli, const char *name)
{
    static const char *const NONE[] = {NULL};
    GPtrArray *values = g_hash_table_lookup(cli->options, name);

    return values ? (const char *const *)values->pdata : NONE;
}

const char *cli_option(const Cli *cli, const char *name)
{
    const char *const *values = cli_options(cli, name);
    const char *last = NULL;

    for (; *values; values++)
        last = *values;
    return last;
}

gboolean cli_flag(const Cli *cli, const char *name)
{
    return g_hash_table_contains(cli->options, name);
}

#define PLAIN_MAX 256 /* nobody's name is as long */

/* As names of hosts and scenarios are, and ids. */
static gboolean is_plain(const char *text)
{
    return g_ascii_isalnum(text[0]) && strlen(text) <= PLAIN_MAX &&
           text[strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")] == '\0';
}

json_t *cli_call(Cli *cli, const char *operation, const char *parameter, const json_t *query,
                 const json_t *body, GError **error)
{
    const char *parameters[] = {parameter, NULL};

    /* A server takes `..` and `/` for the way to something else. */
    if (parameter && !is_plain(parameter)) {
        g_set_error(error, US_ERROR, US_ERROR_USAGE,
                    "'%.80s' is neither a name nor an id: nothing was asked for", parameter);
        return NULL;
    }
    return client_call(cli->client, operation, parameters, query, body, error);
}

void cli_show(const Cli *cli, const json_t *doc, char *text)
{
    if (cli->json) {
        json_dumpf(doc, stdout, JSON_INDENT(2) | JSON_ENSURE_ASCII);
        fputc('\n', stdout);
    } else {
        fputs(text, stdout);
    }
    fflush(stdout);
    g_free(text);
}

void cli_say(const Cli *cli, const char *format, ...)
{
    g_autofree char *text = NULL;
    va_list args;

    va_start(args, format);
    text = g_strdup_vprintf(format, args);
    va_end(args);
    if (!cli->json)
        puts(text);
    fflush(stdout);
}

gboolean cli_printed(GError **error)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return TRUE;
    g_set_error(error, US_ERROR, US_ERROR_IO,
                "standard output could not be written to: what it has is not all; make room, or write "
                "elsewhere");
    return FALSE;
}

gboolean cli_confirm(const Cli *cli, const char *question, GError **error)
{
    char answer[16] = "";

    if (cli->yes)
        return TRUE;
    if (cli->json || !isatty(STDIN_FILENO)) {
        g_set_error(error, US_ERROR, US_ERROR_USAGE, "%s Nobody can be asked here: say --yes", question);
        return FALSE;
    }
    fprintf(stderr, "%s [y/N] ", question);
    if (fgets(answer, sizeof answer, stdin) && (answer[0] == 'y' || answer[0] == 'Y'))
        return TRUE;
    g_set_error(error, US_ERROR, US_ERROR_REFUSED, "nothing was done");
    return FALSE;
}

gboolean cli_confirm_name(const Cli *cli, const char *question, const char *name, GError **error)
{
    g_autofree char *wanted = g_strconcat(name, "\n", NULL);
    char answer[256] = "";

    if (cli->yes)
        return TRUE;
    if (cli->json || !isatty(STDIN_FILENO)) {
        g_set_error(error, US_ERROR, US_ERROR_USAGE, "%s Nobody can be asked here: say --yes", question);
        return FALSE;
    }
    fprintf(stderr, "%s ", question);
    if (fgets(answer, sizeof answer, stdin) && g_str_equal(answer, wanted))
        return TRUE;
    g_set_error(error, US_ERROR, US_ERROR_REFUSED, "nothing was done");
    return FALSE;
}

char *cli_read(const char *path, gsize max_bytes, gsize *ret_len, GError **error)
{
    gboolean ours = !g_str_equal(path, "-");
    FILE *file = ours ? fopen(path, "re") : stdin;
    g_autofree char *text = g_malloc(max_bytes + 2);
    gsize len = file ? fread(text, 1, max_bytes + 1, file) : 0;
    int why = !file || ferror(file) ? errno : 0;

    if (file && ours)
        fclose(file);
    if (why || len > max_bytes) {
        g_set_error(error, US_ERROR, US_ERROR_USAGE, "%s: %s", path,
                    why ? g_strerror(why) : "it is longer than any such file may be");
        return NULL;
    }
    text[len] = '\0';
    *ret_len = len;
    return g_steal_pointer(&text);
}

static char *read_words(const char *what, const char *text, GError **error)
{
    char buf[MAX_TOKEN_BYTES] = "";
    g_autofree char *contents = NULL;
    gsize len;

    if (text[0] == '@') {
        contents = cli_read(text + 1, MAX_TOKEN_BYTES, &len, error);
        if (!contents) {
            g_prefix_error(error, "the %s cannot be read: ", what);
            return NULL;
        }
    } else if (g_str_equal(text, "-")) {
        contents = g_strdup(fgets(buf, sizeof buf, stdin) ? buf : "");
    } else {
        contents = g_strdup(text);
    }
    g_strstrip(contents);
    if (contents[0] == '\0' || strlen(contents) >= MAX_TOKEN_BYTES) {
        g_set_error(error, US_ERROR, US_ERROR_USAGE, "the %s is empty or too long", what);
        return NULL;
    }
    return g_steal_pointer(&contents);
}

char *cli_token(const char *text, GError **error)
{
    return read_words("token", text, error);
}

char *cli_secret(const char *what, const char *text, GError **error)
{
    if (text[0] == '@' || g_str_equal(text, "-"))
        return read_words(what, text, error);
    g_set_error(
        error, US_ERROR, US_ERROR_USAGE,
        "--%s: every user of this machine sees what is an argument; write it into a file and say @FILE, or - "
        "for standard input",
        what);
    return NULL;
}

/* The only one of @docs that is meant, by its whole name or by how its UUID begins; @ret_several if
 * it is not the only one. */
static const char *find_one(const json_t *docs, const char *key, const char *text, gboolean by_name,
                            gboolean *ret_several)
{
    const char *found = NULL;
    json_t *doc;
    gsize i;

    json_array_foreach((json_t *)docs, i, doc)
    {
        const char *id = json_text_of(doc, key);
        gboolean meant = by_name ? g_strcmp0(json_text_of(doc, "name"), text) == 0
                                 : id && g_ascii_strncasecmp(id, text, strlen(text)) == 0;

        if (!id || !meant)
            continue;
        *ret_several |= found && !g_str_equal(found, id);
        found = id;
    }
    return found;
}

char *cli_find(const json_t *docs, const char *key, const char *what, const char *text, GError **error)
{
    gboolean several = FALSE;
    const char *found = find_one(docs, key, text, TRUE, &several);

    if (text[0] == '\0') {
        g_set_error(error, US_ERROR, US_ERROR_USAGE, "'' names no %s", what);
        return NULL;
    }
    if (!found)
        found = find_one(docs, key, text, FALSE, &several);
    if (several) {
        g_set_error(error, US_ERROR, US_ERROR_USAGE, "'%s' means more than one %s: say more of its UUID",
                    text, what);
        return NULL;
    }
    if (!found)
        g_set_error(error, US_ERROR, US_ERROR_NOT_FOUND, "there is no %s '%s'", what, text);
    return g_strdup(found);
}

char *cli_listed(Cli *cli, const char *operation, const char *list, const char *key, const char *what,
                 const char *text, GError **error)
{
    json_auto_t *all = NULL;
    Id id;

    if (id_parse(text, &id, NULL))
        return g_strdup(ID_TEXT(id));
    all = cli_call(cli, operation, NULL, NULL, NULL, error);
    return all ? cli_find(json_object_get(all, list), key, what, text, error) : NULL;
}

json_t *cli_vms(Cli *cli, GError **error)
{
    const char *const *vm = cli_options(cli, "vm");
    json_auto_t *scenario =
        *vm ? cli_call(cli, "scenario.show", cli_argument(cli, 0), NULL, NULL, error) : NULL;
    json_auto_t *uuids = json_array();

    if (*vm && !scenario)
        return NULL;
    for (; *vm; vm++) {
        g_autofree char *uuid = cli_find(json_object_get(scenario, "vms"), "uuid", "VM", *vm, error);

        if (!uuid)
            return NULL;
        json_array_append_new(uuids, json_string(uuid));
    }
    return g_steal_pointer(&uuids);
}

char *cli_point(Cli *cli, const char *begins, GError **error)
{
    json_auto_t *doc = NULL;
    const json_t *points;
    const char *found = NULL;
    Id whole;

    if (id_parse(begins, &whole, NULL))
        return g_strdup(begins);
    doc = cli_call(cli, "scenario.points", cli_argument(cli, 0), NULL, NULL, error);
    if (!doc)
        return NULL;
    points = json_object_get(doc, "points");
    for (gsize i = 0; i < json_array_size(points); i++) {
        const char *id = json_string_value(json_object_get(json_array_get(points, i), "id"));

        if (!id || !*begins || !g_str_has_prefix(id, begins) || g_strcmp0(id, found) == 0)
            continue;
        if (found) {
            g_set_error(error, US_ERROR, US_ERROR_USAGE,
                        "'%s' means more than one point, nothing was begun: say more of its UUID", begins);
            return NULL;
        }
        found = id;
    }
    if (!found)
        g_set_error(error, US_ERROR, US_ERROR_NOT_FOUND,
                    "there is no point '%s', nothing was begun: understudy points %s lists those there are",
                    begins, cli_argument(cli, 0));
    return g_strdup(found);
}

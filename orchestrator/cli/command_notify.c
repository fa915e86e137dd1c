/* SPDX-License-Identifier: Apache-2.0 */
/* Channels: who is told of events, and how. No secret is an argument, since every user of a host sees those. */
#include "orchestrator/cli/commands.h"
#include "orchestrator/cli/page.h"
#include "vmconnect/base/error.h"

#include <string.h>

#define TEST "notify.test"
#define CA_MAX_BYTES (512 << 10) /* a request has a megabyte */

static const char *const KINDS[] = {"mail", "webhook", "syslog", "hook"};

/* "a,b" as an array; the caller's. */
static json_t *split(const char *text)
{
    g_auto(GStrv) parts = g_strsplit(text, ",", 0);
    json_t *list = json_array();

    for (char **part = parts; *part; part++)
        json_array_append_new(list, json_string(g_strstrip(*part)));
    return list;
}

static gboolean set_secret(const Cli *cli, json_t *doc, const char *key, GError **error)
{
    const char *text = cli_option(cli, key);
    g_autofree char *secret = text ? cli_secret(key, text, error) : NULL;

    if (secret)
        json_object_set_new(doc, key, json_string(secret));
    return secret || !text;
}

static gboolean set_ca(const Cli *cli, json_t *doc, GError **error)
{
    const char *path = cli_option(cli, "ca");
    gsize len;
    g_autofree char *pem = path ? cli_read(path, CA_MAX_BYTES, &len, error) : NULL;

    if (path && !pem) {
        g_prefix_error(error, "--ca: ");
        return FALSE;
    }
    if (pem)
        json_object_set_new(doc, "ca", json_string(pem));
    return TRUE;
}

static json_t *mail_of(const Cli *cli, GError **error)
{
    static const char *const KEYS[] = {"from", "smtp", "tls", "user"};
    json_auto_t *doc = json_pack("{s:o}", "to", split(cli_option(cli, "mail")));

    for (guint i = 0; i < G_N_ELEMENTS(KEYS); i++)
        if (cli_option(cli, KEYS[i]))
            json_object_set_new(doc, KEYS[i], json_string(cli_option(cli, KEYS[i])));
    if (!json_object_get(doc, "from") || !json_object_get(doc, "smtp")) {
        g_set_error(error, US_ERROR, US_ERROR_USAGE,
                    "--mail needs --smtp smtp://HOST[:PORT], the server that takes it, and --from ADDRESS");
        return NULL;
    }
    return set_secret(cli, doc, "password", error) && set_ca(cli, doc, error) ? g_steal_pointer(&doc) : NULL;
}

/* The URL may be a secret, too. */
static json_t *webhook_of(const Cli *cli, GError **error)
{
    const char *text = cli_option(cli, "webhook");
    gboolean elsewhere = text[0] == '@' || g_str_equal(text, "-");
    g_autofree char *url = elsewhere ? cli_secret("webhook", text, error) : g_strdup(text);
    json_auto_t *doc = url ? json_pack("{s:s}", "url", url) : NULL;

    return doc && set_secret(cli, doc, "secret", error) && set_ca(cli, doc, error) ? g_steal_pointer(&doc)
                                                                                   : NULL;
}

static json_t *kind_of(const Cli *cli, const char **ret_kind, GError **error)
{
    guint there = 0;

    for (guint i = 0; i < G_N_ELEMENTS(KINDS); i++)
        if (cli_flag(cli, KINDS[i])) {
            *ret_kind = KINDS[i];
            there++;
        }
    if (there != 1) {
        g_set_error(error, US_ERROR, US_ERROR_USAGE,
                    "notify add needs one of --mail TO, --webhook URL, --syslog and --hook FILE");
        return NULL;
    }
    if (g_str_equal(*ret_kind, "mail"))
        return mail_of(cli, error);
    if (g_str_equal(*ret_kind, "webhook"))
        return webhook_of(cli, error);
    return cli_flag(cli, "hook") ? json_pack("{s:s}", "file", cli_option(cli, "hook")) : json_object();
}

gboolean command_notify_add(Cli *cli, GError **error)
{
    const char *name = cli_argument(cli, 0), *kind = NULL, *rate = cli_option(cli, "rate");
    json_t *own = kind_of(cli, &kind, error);
    json_auto_t *body =
        own ? json_pack("{s:s, s:o, s:s*}", "name", name, kind, own, "severity", cli_option(cli, "severity"))
            : NULL;
    json_auto_t *doc = NULL;
    gint64 messages = 0;

    if (!body)
        return FALSE;
    if (rate && !g_ascii_string_to_signed(rate, 10, 0, G_MAXINT32, &messages, NULL)) {
        g_set_error(error, US_ERROR, US_ERROR_USAGE, "--rate %s: it must be a number of messages an hour",
                    rate);
        return FALSE;
    }
    if (rate)
        json_object_set_new(body, "rate", json_integer(messages));
    if (cli_option(cli, "scenario"))
        json_object_set_new(body, "scenarios", split(cli_option(cli, "scenario")));
    doc = cli_call(cli, "notify.add", NULL, NULL, body, error);
    if (doc)
        cli_show(cli, doc,
                 g_strdup_printf(
                     "channel '%s' is told of what happens from now on; understudy notify test %s tries it\n",
                     name, name));
    return doc != NULL;
}

/* --- looking ------------------------------------------------------------- */

static const char *kind_in(const json_t *channel)
{
    for (guint i = 0; i < G_N_ELEMENTS(KINDS); i++)
        if (json_object_get(channel, KINDS[i]))
            return KINDS[i];
    return NULL;
}

/* Why nothing is delivered, or, of those who are refused what others have, who does not get it and why. */
static char *trouble(const json_t *state)
{
    GString *text = g_string_new(json_string_value(json_object_get(state, "error")));
    json_t *one;
    gsize i;

    json_array_foreach(json_object_get(state, "apart"), i, one)
    {
        const char *why = json_string_value(json_object_get(one, "error"));

        g_string_append_printf(text, "%snot to %s%s%s", text->len ? "; " : "",
                               json_string_value(json_object_get(one, "to")), why ? ": " : "",
                               why ? why : "");
    }
    return g_string_free(text, FALSE);
}

static void row(Page *page, const json_t *channel)
{
    static const char *const WHERE[] = {"to", "url", NULL, "file"};
    static const char *const STATE[] = {"delivered_at", "waiting", "next_try_at"};
    const json_t *state = json_object_get(channel, "state");
    g_autofree char *why = trouble(state);
    const char *kind = kind_in(channel), *where = NULL;

    for (guint i = 0; i < G_N_ELEMENTS(KINDS); i++)
        if (g_strcmp0(kind, KINDS[i]) == 0)
            where = WHERE[i];
    page_value(page, channel, "name");
    page_cell(page, kind);
    page_value(page, kind ? json_object_get(channel, kind) : NULL, where ? where : "");
    page_value(page, channel, "severity");
    page_value(page, channel, "scenarios");
    page_value(page, channel, "rate");
    for (guint i = 0; i < G_N_ELEMENTS(STATE); i++)
        page_value(page, state, STATE[i]);
    page_cell(page, *why ? why : NULL);
}

gboolean command_notify_list(Cli *cli, GError **error)
{
    static const char *const TITLES[] = {"NAME",  "KIND",           "TO",       "SEVERITY", "SCENARIOS",
                                         ">RATE", "LAST DELIVERED", ">WAITING", "NEXT TRY", "ERROR",
                                         NULL};
    json_auto_t *doc = cli_call(cli, "notify.list", NULL, NULL, NULL, error);
    g_autoptr(Page) page = page_new(TITLES);
    json_t *channel;
    gsize i;

    if (!doc)
        return FALSE;
    json_array_foreach(json_object_get(doc, "channels"), i, channel) row(page, channel);
    cli_show(cli, doc, page_text(page, 0));
    return TRUE;
}

gboolean command_notify_show(Cli *cli, GError **error)
{
    json_auto_t *doc = cli_call(cli, "notify.show", cli_argument(cli, 0), NULL, NULL, error);

    if (doc)
        cli_show(cli, doc, page_of(doc));
    return doc != NULL;
}

gboolean command_notify_remove(Cli *cli, GError **error)
{
    const char *name = cli_argument(cli, 0);
    g_autofree char *question =
        g_strdup_printf("Remove channel '%s'? What it has not told yet it never tells.", name);
    json_auto_t *doc =
        cli_confirm(cli, question, error) ? cli_call(cli, "notify.remove", name, NULL, NULL, error) : NULL;

    if (doc)
        cli_show(cli, doc, g_strdup_printf("channel '%s' is gone\n", name));
    return doc != NULL;
}

/* --- test ---------------------------------------------------------------- */

/* The names that are meant: the argument, or all. */
static json_t *tested(Cli *cli, GError **error)
{
    json_auto_t *doc = NULL;
    json_t *names = json_array();
    json_t *channel;
    gsize i;

    if (cli->arguments->len > 0) {
        json_array_append_new(names, json_string(cli_argument(cli, 0)));
        return names;
    }
    doc = cli_call(cli, "notify.list", NULL, NULL, NULL, error);
    json_array_foreach(json_object_get(doc, "channels"), i, channel)
        json_array_append(names, json_object_get(channel, "name"));
    if (doc && json_array_size(names) == 0)
        g_set_error(error, US_ERROR, US_ERROR_NOT_FOUND,
                    "there is no channel, so nobody is told of anything: understudy notify add makes one");
    if (json_array_size(names) == 0)
        g_clear_pointer(&names, json_decref);
    return names;
}

/* One that was tried: delivered, or *@ret_why. */
static json_t *try(Cli *cli, const char *name, GError **ret_why)
{
    json_auto_t *doc = cli_call(cli, TEST, name, NULL, NULL, ret_why);

    if (doc)
        cli_say(cli, "channel '%s' delivers: it took %" JSON_INTEGER_FORMAT " ms", name,
                json_integer_value(json_object_get(doc, "took_ms")));
    return json_pack("{s:s, s:b, s:O?, s:s?}", "name", name, "delivered", doc != NULL, "took_ms",
                     json_object_get(doc, "took_ms"), "error", doc ? NULL : (*ret_why)->message);
}

gboolean command_notify_test(Cli *cli, GError **error)
{
    json_auto_t *names = tested(cli, error);
    json_auto_t *doc = json_pack("{s:[]}", "channels");
    g_autoptr(GError) first = NULL;
    json_t *name;
    gsize i;

    if (!names)
        return FALSE;
    json_array_foreach(names, i, name)
    {
        g_autoptr(GError) why = NULL;

        json_array_append_new(json_object_get(doc, "channels"), try(cli, json_string_value(name), &why));
        if (!why)
            continue;
        g_prefix_error(&why, "channel '%s' does not deliver: ", json_string_value(name));
        if (json_array_size(names) > 1)
            cli_say(cli, "%s", why->message);
        if (!first)
            first = g_steal_pointer(&why);
    }
    if (cli->json)
        cli_show(cli, doc, NULL);
    if (!first)
        return TRUE;
    g_propagate_error(error, g_steal_pointer(&first));
    return FALSE;
}

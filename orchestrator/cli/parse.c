/* SPDX-License-Identifier: Apache-2.0 */
/* From argv to a handler, and from its error to an exit code. */
#include "orchestrator/cli/commands.h"
#include "orchestrator/cli/page.h"
#include "orchestrator/cli/session.h"
#include "orchestrator/core/policy.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/units.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define ADMIN_FILE "/var/lib/understudy/controller/admin.json"

static const CliOption *find_in(const CliOption *options, const char *name)
{
    for (; options->name; options++)
        if (g_str_equal(options->name, name))
            return options;
    return NULL;
}

/* A policy's property as an option: dashes may stand for underscores. */
static const CliOption *find_policy(const char *name)
{
    static const CliOption PROPERTY = {"", "VALUE", "", FALSE};
    g_autofree char *key = g_strdelimit(g_strdup(name), "-", '_');

    return policy_find(key) ? &PROPERTY : NULL;
}

static const CliOption *find_option(const Command *command, const char *name)
{
    const CliOption *option = find_in(command_common_options(), name);

    if (!option && command)
        option = find_in(command->options, name);
    if (!option && command && command->properties == PROPERTIES_OPTIONS)
        option = find_policy(name);
    return option;
}

static void values_free(void *values)
{
    g_ptr_array_unref(values);
}

/* NULL-ended at all times; its len counts the values. */
static void append(GPtrArray *values, const char *value)
{
    if (values->len > 0)
        g_ptr_array_set_size(values, (int)values->len - 1);
    g_ptr_array_add(values, g_strdup(value));
    g_ptr_array_add(values, NULL);
}

static gboolean store(Cli *cli, const CliOption *option, const char *name, const char *value, GError **error)
{
    GPtrArray *values = g_hash_table_lookup(cli->options, name);

    if (values && !option->repeats && option->value) {
        g_set_error(error, US_ERROR, US_ERROR_USAGE, "--%s is there twice", name);
        return FALSE;
    }
    if (!values) {
        values = g_ptr_array_new_with_free_func(g_free);
        g_ptr_array_add(values, NULL);
        g_hash_table_insert(cli->options, g_strdup(name), values);
    }
    if (value)
        append(values, value);
    return TRUE;
}

/* One option at @argv; *@argv is moved to the last word it took. */
static gboolean take_option(Cli *cli, char ***argv, GError **error)
{
    const char *equals = strchr(**argv, '=');
    g_autofree char *name =
        equals ? g_strndup(**argv + 2, (gsize)(equals - **argv - 2)) : g_strdup(**argv + 2);
    const CliOption *option = find_option(cli->command, name);
    const char *value = equals ? equals + 1 : NULL;

    if (!option) {
        g_set_error(error, US_ERROR, US_ERROR_USAGE, "--%s is not an option here: --help lists them", name);
        return FALSE;
    }
    if (!option->value && value) {
        g_set_error(error, US_ERROR, US_ERROR_USAGE, "--%s takes no value", name);
        return FALSE;
    }
    if (option->value && !value) {
        value = (*argv)[1];
        if (!value) {
            g_set_error(error, US_ERROR, US_ERROR_USAGE, "--%s needs a value: %s", name, option->value);
            return FALSE;
        }
        (*argv)++;
    }
    return store(cli, option, name, value, error);
}

static gboolean is_option(const char *word)
{
    return word[0] == '-' && word[1] == '-' && word[2] != '\0';
}

static gboolean check_arguments(const Cli *cli, GError **error)
{
    const Command *c = cli->command;

    if (cli->arguments->len >= c->min_arguments && cli->arguments->len <= c->max_arguments)
        return TRUE;
    g_set_error(error, US_ERROR, US_ERROR_USAGE, "it must be: understudy %s %s", c->words, c->arguments);
    return FALSE;
}

static gboolean take_common(Cli *cli, GError **error)
{
    const char *timeout = cli_option(cli, "timeout");

    cli->json = cli_flag(cli, "json");
    cli->yes = cli_flag(cli, "yes");
    cli->wait = cli_flag(cli, "wait");
    cli->terminal = isatty(STDERR_FILENO);
    return !timeout || units_parse_duration(timeout, &cli->timeout_ms, error);
}

/* What is not UTF-8 cannot be said in JSON, and must not be left out silently. */
static gboolean check_text(char *const *argv, GError **error)
{
    for (; *argv; argv++)
        if (!g_utf8_validate(*argv, -1, NULL)) {
            g_autofree char *shown = g_utf8_make_valid(*argv, -1);

            g_set_error(error, US_ERROR, US_ERROR_USAGE,
                        "'%s' is not UTF-8: nothing was done; names and values are texts in UTF-8", shown);
            return FALSE;
        }
    return TRUE;
}

/* Options may come before, between and after the words. */
static gboolean parse(Cli *cli, char **argv, GError **error)
{
    gboolean more_options = TRUE;
    guint used;

    if (!check_text(argv, error))
        return FALSE;
    for (; *argv && is_option(*argv); argv++)
        if (!take_option(cli, &argv, error))
            return FALSE;
    if (!*argv)
        return take_common(cli, error);
    cli->command = command_find((const char *const *)argv, &used, error);
    if (!cli->command)
        return FALSE;
    for (argv += used; *argv; argv++) {
        if (more_options && g_str_equal(*argv, "--"))
            more_options = FALSE;
        else if (!more_options || !is_option(*argv))
            g_ptr_array_add(cli->arguments, g_strdup(*argv));
        else if (!take_option(cli, &argv, error))
            return FALSE;
    }
    if (cli_flag(cli, "help"))
        return TRUE;
    return check_arguments(cli, error) && take_common(cli, error);
}

static gboolean open_client(Cli *cli, GError **error)
{
    g_autofree char *conf = session_conf_path();
    g_autoptr(Session) session = session_open(cli_option(cli, "controller"), conf, ADMIN_FILE, error);

    if (session)
        cli->client = client_new(session->url, session->ca, session->token);
    return session != NULL;
}

static gboolean run(Cli *cli, GError **error)
{
    if (cli_flag(cli, "help") || !cli->command) {
        g_autofree char *help = command_help(cli->command);

        if (!cli_flag(cli, "help")) {
            g_set_error(error, US_ERROR, US_ERROR_USAGE, "a command is missing\n\n%s", help);
            return FALSE;
        }
        fputs(help, stdout);
        return cli_printed(error);
    }
    return (cli->command->offline || open_client(cli, error)) && cli->command->run(cli, error) &&
           cli_printed(error);
}

/* What comes from elsewhere may hold anything; line breaks are ours. */
static void complain(const GError *error)
{
    g_auto(GStrv) lines = g_strsplit(error->message, "\n", 0);

    for (char **line = lines; *line; line++) {
        g_autofree char *clean = page_clean(*line);

        fprintf(stderr, "%s%s\n", line == lines ? "understudy: " : "", clean);
    }
}

int command_main(int argc, char **argv)
{
    Cli cli = {.arguments = g_ptr_array_new_with_free_func(g_free),
               .options = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, values_free)};
    g_autoptr(GError) error = NULL;
    int code = 0;

    g_assert(argc > 0);
    signal(SIGPIPE, SIG_DFL); /* a closed pager ends us quietly */
    if (!parse(&cli, argv + 1, &error) || !run(&cli, &error)) {
        complain(error);
        code = us_error_exit(error);
    }
    client_free(cli.client);
    g_hash_table_destroy(cli.options);
    g_ptr_array_unref(cli.arguments);
    return code;
}

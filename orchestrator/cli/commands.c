/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/cli/commands.h"

#include "orchestrator/core/policy.h"
#include "vmconnect/base/error.h"

#include <string.h>

#define MANY G_MAXUINT

#define OPTIONS(name, ...) static const CliOption name[] = {__VA_ARGS__, {NULL}}

OPTIONS(COMMON, {"json", NULL, "one JSON document on standard output"},
        {"controller", "URL", "instead of the one that was logged in to"}, {"yes", NULL, "ask nothing"},
        {"wait", NULL, "until what was begun has ended"},
        {"timeout", "TIME", "wait at most that long (exit code 7)"}, {"help", NULL, "this text"});
OPTIONS(NO_OPTIONS, {NULL});
OPTIONS(LOGIN, {"fingerprint", "SHA256", "of the controller's authority, instead of being asked"},
        {"token", "@FILE|-", "where the bearer token is, instead of being asked"});
OPTIONS(HOST_ADD, {"address", "HOST[:PORT]", "where its engine listens (port 25000)"},
        {"token", "TOKEN|@FILE|-", "of /run/understudy/engine/token on that host"},
        {"via", "ADDRESS", "a further path to it; may be repeated", TRUE});
OPTIONS(HOST_SET, {"address", "HOST[:PORT]", "where its engine listens (port 25000)"},
        {"via", "ADDRESS", "a further path to it; may be repeated", TRUE});
OPTIONS(FENCE, {"status", NULL, "that, and nothing is done to the host"});
OPTIONS(CREATE, {"master", "HOST", "where the VMs run"},
        {"replica", "HOST[,HOST…]", "where their copies go, by priority"},
        {"vm", "VM", "by name or UUID; may be repeated; without it: all of the master", TRUE},
        {"except", "VM", "not this one; may be repeated", TRUE},
        {"map", "FROM=TO",
         "network of the master = of the replica; may be repeated (understudy(1), NETWORKS)", TRUE},
        {"file", "FILE", "a scenario document to start from"});
OPTIONS(
    SET,
    {"map", "FROM=TO", "while stopped: network of the master = of the replica (FROM= takes it out)", TRUE},
    {"vm", "VM", "with what follows: of which VM; may be repeated; without it: of all", TRUE},
    {"check", "CHECK",
     "how to see that the guest lives; may be repeated (understudy(1), CHECKS); none: by its agent", TRUE},
    {"need", "any|all", "with --check: how many of them must be answered"},
    {"test-check", "CHECK",
     "what it must show in an integrity test; may be repeated (test start); none: the defaults", TRUE},
    {"after", "VM",
     "it starts after this one, and is shut down before; may be repeated; none: after no other", TRUE},
    {"gate", "GATE", "what must be true of it before those after it start: none, probe, TIME or probe+TIME"});
OPTIONS(DELETE, {"purge", NULL, "the copies on the replica, too"},
        {"force", NULL, "also if a host that is gone for good cannot be told; it is, should it come back"});
OPTIONS(VERIFY, {"fix", NULL, "show what can be put right by itself, and do it after a yes"});
OPTIONS(SWITCHOVER,
        {"to", "HOST", "instead of the first replica; with --force instead of the host that is left"},
        {"vm", "VM", "only this one; may be repeated", TRUE},
        {"power-off", NULL, "switch a guest off that does not shut down in time"},
        {"reverse", NULL, "replicate back to the old host at once, whatever the scenario says"},
        {"no-reverse", NULL, "do not, whatever the scenario says"},
        {"point", "ID", "go on from this recovery point or branch instead of the newest point"},
        {"force", NULL, "the old host is gone: go on from the newest point on the replica"},
        {"old-is-off", NULL, "with --force: certify that the old host is off"});
OPTIONS(SWITCHBACK, {"vm", "VM", "only this one; may be repeated", TRUE},
        {"power-off", NULL, "switch a guest off that does not shut down in time"});
OPTIONS(COMPARE, {"repair", NULL, "have what differs sent"});
OPTIONS(TEST_START, {"manual", NULL, "it stays up until test stop, for you to look at"},
        {"vm", "VM", "only this one; may be repeated", TRUE},
        {"point", "ID", "from this recovery point instead of the newest"},
        {"checks", "FILE", "what each VM must show to pass, instead of the defaults"},
        {"limit", "TIME", "of a manual one: it is ended then by itself (4h)"});
OPTIONS(TEST_SHOW, {"html", "FILE", "write a page with what was on the screens and consoles"});
OPTIONS(MAINTENANCE, {"move", NULL, "move what runs there to its replica instead, and home again afterwards"},
        {"without", "HOST", "also if this one, which keeps copies, is away: they get no last generation"},
        {"until-finish", NULL, "a boot alone does not end it: maintenance finish does"},
        {"power-off", NULL, "switch a guest off that does not shut down in time"},
        {"patient", NULL,
         "wait for a guest that does not shut down, up to a day, instead of taking all of it back"});
OPTIONS(STATUS, {"watch", NULL, "again and again"});
OPTIONS(POINTS, {"vm", "VM", "only of this one"});
OPTIONS(PLANS, {"scenario", "SCENARIO", "only of this one"});
OPTIONS(EVENTS, {"follow", NULL, "go on with those to come"}, {"scenario", "SCENARIO", "only of this one"},
        {"host", "HOST", "only of this one"}, {"since", "TIME", "2h, or 2026-11-21T22:16:54.123Z"},
        {"limit", "N", "at most so many, the newest"});
OPTIONS(HOLD, {"release", NULL, "it is held no longer"},
        {"why", "TEXT", "the reason, for who looks at the status"},
        {"kind", "scenario|host", "which of the two is meant, if both have that name"});
OPTIONS(
    NOTIFY_ADD, {"mail", "TO[,TO…]", "a mail to these addresses"},
    {"smtp", "URL", "the server that takes it: smtp://HOST:587 (STARTTLS), smtps://HOST"},
    {"from", "ADDRESS", "the mail's sender"}, {"user", "USER", "of that server"},
    {"password", "@FILE|-", "where the user's password is"},
    {"tls", "required|never", "never: also if the server offers none"},
    {"webhook", "URL|@FILE|-", "a POST of the event as JSON"},
    {"secret", "@FILE|-", "where the key is that signs it (X-Understudy-Signature)"},
    {"ca", "FILE", "certificates in PEM to believe instead of the system's"},
    {"syslog", NULL, "a line in the log of the controller's host"},
    {"hook", "FILE", "a program in /etc/understudy/hooks of the controller's host"},
    {"severity", "SEVERITY", "the least: info, significant, warning (default), error, critical"},
    {"scenario", "SCENARIO[,…]", "only events of these"},
    {"rate", "N",
     "messages an hour, what exceeds comes as a digest, at once if it is critical (20; syslog 0: no limit)"});

static const Command COMMANDS[] = {
    {"login", "FILE|URL", 1, 1, LOGIN, PROPERTIES_NONE, TRUE,
     "remember a controller, its authority and your token", command_login},
    {"host add", "NAME", 1, 1, HOST_ADD, PROPERTIES_NONE, FALSE, "take a host into the controller's care",
     command_host_add},
    {"host set", "NAME", 1, 1, HOST_SET, PROPERTIES_NONE, FALSE, "say where a host is reached from now on",
     command_host_set},
    {"host list", "", 0, 0, NO_OPTIONS, PROPERTIES_NONE, FALSE, "the hosts there are", command_host_list},
    {"host show", "NAME", 1, 1, NO_OPTIONS, PROPERTIES_NONE, FALSE, "everything about one host",
     command_host_show},
    {"host remove", "NAME", 1, 1, NO_OPTIONS, PROPERTIES_NONE, FALSE,
     "let a host go; its engine has no owner then", command_host_remove},
    {"fence", "HOST", 1, 1, FENCE, PROPERTIES_NONE, FALSE,
     "ask the agent that can switch a host off how it is", command_fence},
    {"vm list", "HOST", 1, 1, NO_OPTIONS, PROPERTIES_NONE, FALSE,
     "the VMs of a host, and what the guests call themselves", command_vm_list},
    {"scenario create", "NAME", 1, 1, CREATE, PROPERTIES_OPTIONS, FALSE, "protect VMs of one host on another",
     command_scenario_create},
    {"scenario list", "", 0, 0, NO_OPTIONS, PROPERTIES_NONE, FALSE, "the scenarios there are",
     command_scenario_list},
    {"scenario show", "NAME", 1, 1, NO_OPTIONS, PROPERTIES_NONE, FALSE, "one scenario's document",
     command_scenario_show},
    {"scenario set", "NAME [KEY=VALUE…]", 1, MANY, SET, PROPERTIES_ARGUMENTS, FALSE, "change properties",
     command_scenario_set},
    {"scenario delete", "NAME", 1, 1, DELETE, PROPERTIES_NONE, FALSE, "forget a stopped scenario",
     command_scenario_delete},
    {"scenario export", "NAME", 1, 1, NO_OPTIONS, PROPERTIES_NONE, FALSE, "its document, for import",
     command_scenario_export},
    {"scenario import", "FILE", 1, 1, NO_OPTIONS, PROPERTIES_NONE, FALSE,
     "create a scenario from a document (- is standard input)", command_scenario_import},
    {"verify", "SCENARIO", 1, 1, VERIFY, PROPERTIES_NONE, FALSE,
     "look for everything that would keep it from running", command_verify},
    {"run", "SCENARIO", 1, 1, NO_OPTIONS, PROPERTIES_NONE, FALSE,
     "start replication, after showing what will be sent", command_run},
    {"start", "SCENARIO", 1, 1, NO_OPTIONS, PROPERTIES_NONE, FALSE, "the same as run", command_run},
    {"stop", "SCENARIO", 1, 1, NO_OPTIONS, PROPERTIES_NONE, FALSE,
     "end replication; guests and copies stay as they are", command_stop},
    {"pause", "SCENARIO", 1, 1, NO_OPTIONS, PROPERTIES_NONE, FALSE, "remember changes and send nothing",
     command_pause},
    {"continue", "SCENARIO", 1, 1, NO_OPTIONS, PROPERTIES_NONE, FALSE, "send what was remembered, and go on",
     command_continue},
    {"hold", "SCENARIO|HOST", 1, 1, HOLD, PROPERTIES_NONE, FALSE,
     "nothing of it is moved or started again by itself, until it is released", command_hold},
    {"switchover", "SCENARIO", 1, 1, SWITCHOVER, PROPERTIES_NONE, FALSE,
     "move the VMs to the replica, in good order", command_switchover},
    {"switchback", "SCENARIO", 1, 1, SWITCHBACK, PROPERTIES_NONE, FALSE,
     "move the VMs home to the master, in good order", command_switchback},
    {"compare", "SCENARIO", 1, 1, COMPARE, PROPERTIES_NONE, FALSE,
     "are the copies what the VMs' disks are? Nothing is sent", command_compare},
    {"test start", "SCENARIO", 1, 1, TEST_START, PROPERTIES_NONE, FALSE,
     "boot the copies on the replica, apart from everything, check them, and throw that away",
     command_test_start},
    {"test stop", "SCENARIO", 1, 1, NO_OPTIONS, PROPERTIES_NONE, FALSE, "end the integrity test that runs",
     command_test_stop},
    {"test list", "[SCENARIO]", 0, 1, NO_OPTIONS, PROPERTIES_NONE, FALSE,
     "the integrity tests that run and have run, newest first", command_test_list},
    {"test show", "ID", 1, 1, TEST_SHOW, PROPERTIES_NONE, FALSE, "one integrity test, VM by VM",
     command_test_show},
    {"drill start", "HOST", 1, 1, NO_OPTIONS, PROPERTIES_NONE, FALSE,
     "if it died now, would all that runs there be back, and when? Tests of all of it at once",
     command_drill_start},
    {"drill stop", "ID", 1, 1, NO_OPTIONS, PROPERTIES_NONE, FALSE, "end those of its tests that run",
     command_drill_stop},
    {"drill list", "", 0, 0, NO_OPTIONS, PROPERTIES_NONE, FALSE,
     "the drills that run and have run, newest first", command_drill_list},
    {"drill show", "ID", 1, 1, TEST_SHOW, PROPERTIES_NONE, FALSE, "one drill, VM by VM", command_drill_show},
    {"maintenance start", "HOST", 1, 1, MAINTENANCE, PROPERTIES_NONE, FALSE,
     "prepare a host for a reboot, so that nothing of it is resynchronised afterwards",
     command_maintenance_start},
    {"maintenance rolling", "HOST HOST…", 2, MANY, MAINTENANCE, PROPERTIES_NONE, FALSE,
     "the same of several, the next when all is protected again", command_maintenance_rolling},
    {"maintenance finish", "HOST", 1, 1, NO_OPTIONS, PROPERTIES_NONE, FALSE,
     "it is over, rebooted or not: start what was shut down", command_maintenance_finish},
    {"maintenance list", "", 0, 0, NO_OPTIONS, PROPERTIES_NONE, FALSE,
     "of each host the newest, and how far it is", command_maintenance_list},
    {"status", "[SCENARIO]", 0, 1, STATUS, PROPERTIES_NONE, FALSE, "how protected everything is",
     command_status},
    {"points", "SCENARIO | keep ID | release ID", 1, 2, POINTS, PROPERTIES_NONE, FALSE,
     "the recovery points that are kept; keep one until it is released", command_points},
    {"branch list", "SCENARIO", 1, 1, NO_OPTIONS, PROPERTIES_NONE, FALSE,
     "what hosts held that were not the active any more", command_branch_list},
    {"branch open", "ID", 1, 1, NO_OPTIONS, PROPERTIES_NONE, FALSE, "offer one for reading, on its host",
     command_branch_open},
    {"branch release", "ID", 1, 1, NO_OPTIONS, PROPERTIES_NONE, FALSE, "keep it no longer",
     command_branch_release},
    {"plan list", "", 0, 0, PLANS, PROPERTIES_NONE, FALSE, "what was carried out, newest first",
     command_plan_list},
    {"plan show", "ID", 1, 1, NO_OPTIONS, PROPERTIES_NONE, FALSE, "one plan, step by step",
     command_plan_show},
    {"events", "", 0, 0, EVENTS, PROPERTIES_NONE, FALSE, "what happened", command_events},
    {"notify add", "NAME", 1, 1, NOTIFY_ADD, PROPERTIES_NONE, FALSE, "have somebody told of events",
     command_notify_add},
    {"notify list", "", 0, 0, NO_OPTIONS, PROPERTIES_NONE, FALSE,
     "the channels there are, and whether they deliver", command_notify_list},
    {"notify show", "NAME", 1, 1, NO_OPTIONS, PROPERTIES_NONE, FALSE, "everything about one channel",
     command_notify_show},
    {"notify remove", "NAME", 1, 1, NO_OPTIONS, PROPERTIES_NONE, FALSE, "tell through it no more",
     command_notify_remove},
    {"notify test", "[NAME]", 0, 1, NO_OPTIONS, PROPERTIES_NONE, FALSE,
     "send a test message through one channel, or through all, and wait for the outcome",
     command_notify_test},
};

const Command *command_at(guint index)
{
    return index < G_N_ELEMENTS(COMMANDS) ? &COMMANDS[index] : NULL;
}

const CliOption *command_common_options(void)
{
    return COMMON;
}

static gboolean begins_with(const char *const *words, char **wanted)
{
    for (; *wanted; words++, wanted++)
        if (!*words || !g_str_equal(*words, *wanted))
            return FALSE;
    return TRUE;
}

/* "add, list, show, remove" for `host`, so that half a command is helped on. */
static char *second_words(const char *first)
{
    g_autoptr(GString) list = g_string_new(NULL);
    gsize len = strlen(first);

    for (guint i = 0; i < G_N_ELEMENTS(COMMANDS); i++)
        if (strncmp(COMMANDS[i].words, first, len) == 0 && COMMANDS[i].words[len] == ' ')
            g_string_append_printf(list, "%s%s", list->len ? ", " : "", COMMANDS[i].words + len + 1);
    return g_strdup(list->str);
}

const Command *command_find(const char *const *words, guint *ret_used, GError **error)
{
    g_autofree char *more = NULL;

    for (guint i = 0; i < G_N_ELEMENTS(COMMANDS); i++) {
        g_auto(GStrv) wanted = g_strsplit(COMMANDS[i].words, " ", 0);

        if (!begins_with(words, wanted))
            continue;
        *ret_used = g_strv_length(wanted);
        return &COMMANDS[i];
    }
    more = second_words(words[0]);
    if (more[0])
        g_set_error(error, US_ERROR, US_ERROR_USAGE, "after '%s' comes one of: %s", words[0], more);
    else
        g_set_error(error, US_ERROR, US_ERROR_USAGE, "'%s' is no command: understudy --help lists them",
                    words[0]);
    return NULL;
}

#define LEFT_WIDTH 30

static void append_row(GString *out, const char *left, const char *help)
{
    glong pad = LEFT_WIDTH - g_utf8_strlen(left, -1);

    if (pad < 0)
        g_string_append_printf(out, "  %s\n  %*s %s\n", left, LEFT_WIDTH, "", help);
    else
        g_string_append_printf(out, "  %s%*s %s\n", left, (int)pad, "", help);
}

static void append_options(GString *out, const CliOption *options)
{
    for (; options->name; options++) {
        g_autofree char *left = options->value ? g_strdup_printf("--%s %s", options->name, options->value)
                                               : g_strdup_printf("--%s", options->name);

        append_row(out, left, options->help);
    }
}

static void append_properties(GString *out, CliProperties how)
{
    g_string_append(out, "\nProperties:\n");
    for (guint i = 0; i < policy_count(); i++) {
        const PolicyProperty *p = policy_at(i);
        g_autofree char *name = g_strdelimit(g_strdup(p->key), "_", '-');
        g_autofree char *left = how == PROPERTIES_OPTIONS ? g_strdup_printf("--%s %s", name, p->fallback)
                                                          : g_strdup_printf("%s=%s", name, p->fallback);
        g_autofree char *help = g_strdup_printf("%s (%s)", p->help, p->accepts);

        append_row(out, left, help);
    }
}

static char *help_of(const Command *c)
{
    GString *out = g_string_new(NULL);

    g_string_append_printf(out, "understudy %s %s%s\n\n%c%s.\n\nOptions:\n", c->words, c->arguments,
                           c->arguments[0] ? " [OPTION…]" : "[OPTION…]", g_ascii_toupper(c->help[0]),
                           c->help + 1);
    append_options(out, c->options);
    append_options(out, COMMON);
    if (c->properties != PROPERTIES_NONE)
        append_properties(out, c->properties);
    return g_string_free(out, FALSE);
}

char *command_help(const Command *command)
{
    GString *out;

    if (command)
        return help_of(command);
    out = g_string_new("understudy COMMAND [ARGUMENT…] [OPTION…]\n\nCommands:\n");
    for (guint i = 0; i < G_N_ELEMENTS(COMMANDS); i++) {
        g_autofree char *left = g_strdup_printf("%s %s", COMMANDS[i].words, COMMANDS[i].arguments);

        append_row(out, left, COMMANDS[i].help);
    }
    g_string_append(out, "\nOptions of every command:\n");
    append_options(out, COMMON);
    g_string_append(out, "\nExit codes: 0 done, 1 failed, 2 usage, 3 verification found errors, 4 refused, "
                         "5 not reachable, 6 not allowed, 7 timed out.\n");
    return g_string_free(out, FALSE);
}

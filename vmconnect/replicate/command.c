/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/replicate/command.h"

static const char *const NAMES[] = {
#define X(verb) [COMMAND_##verb] = #verb,
    COMMAND_VERBS(X)
#undef X
};

const char *command_verb_name(CommandVerb verb)
{
    g_assert(verb < G_N_ELEMENTS(NAMES));
    return NAMES[verb];
}

Command *command_new(CommandVerb verb, json_t *params, void *user)
{
    Command *command = g_new0(Command, 1);

    command->verb = verb;
    command->params = params;
    command->user = user;
    return command;
}

void command_free(Command *command)
{
    if (!command)
        return;
    json_decref(command->params);
    json_decref(command->result);
    link_free(command->link);
    identity_unref(command->identity);
    g_clear_error(&command->error);
    g_free(command);
}

void report_free(Report *report)
{
    if (!report)
        return;
    json_decref(report->status);
    command_free(report->done);
    g_free(report);
}

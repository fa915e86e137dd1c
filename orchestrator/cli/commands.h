/* SPDX-License-Identifier: Apache-2.0 */
/* commands - the table of what `understudy` can do.
 *
 * Help, the manual's list and the parser are all made from it. */
#pragma once

#include "orchestrator/cli/cli.h"

/* NULL past the last. */
const Command *command_at(guint index);

/* Options that every command takes. */
const CliOption *command_common_options(void);

/* The command that @words (NULL-ended) begins with, and how many words it took; NULL with @error USAGE. */
const Command *command_find(const char *const *words, guint *ret_used, GError **error);

/* What --help shows, for one command or for all (NULL). The caller frees. */
char *command_help(const Command *command);

/* Parse and run; the exit code. @argv as main() has it. */
int command_main(int argc, char **argv);

/* The handlers, by file. */
gboolean command_login(Cli *cli, GError **error);
gboolean command_host_add(Cli *cli, GError **error);
gboolean command_host_set(Cli *cli, GError **error);
gboolean command_host_list(Cli *cli, GError **error);
gboolean command_host_show(Cli *cli, GError **error);
gboolean command_fence(Cli *cli, GError **error);
gboolean command_host_remove(Cli *cli, GError **error);
gboolean command_vm_list(Cli *cli, GError **error);
gboolean command_scenario_create(Cli *cli, GError **error);
gboolean command_scenario_list(Cli *cli, GError **error);
gboolean command_scenario_show(Cli *cli, GError **error);
gboolean command_scenario_set(Cli *cli, GError **error);
gboolean command_scenario_delete(Cli *cli, GError **error);
gboolean command_scenario_export(Cli *cli, GError **error);
gboolean command_scenario_import(Cli *cli, GError **error);
gboolean command_verify(Cli *cli, GError **error);
gboolean command_run(Cli *cli, GError **error);
gboolean command_stop(Cli *cli, GError **error);
gboolean command_hold(Cli *cli, GError **error);
gboolean command_pause(Cli *cli, GError **error);
gboolean command_continue(Cli *cli, GError **error);
gboolean command_branch_list(Cli *cli, GError **error);
gboolean command_branch_open(Cli *cli, GError **error);
gboolean command_branch_release(Cli *cli, GError **error);
gboolean command_switchover(Cli *cli, GError **error);
gboolean command_switchback(Cli *cli, GError **error);
gboolean command_compare(Cli *cli, GError **error);
gboolean command_test_start(Cli *cli, GError **error);
gboolean command_test_stop(Cli *cli, GError **error);
gboolean command_test_list(Cli *cli, GError **error);
gboolean command_test_show(Cli *cli, GError **error);
gboolean command_maintenance_start(Cli *cli, GError **error);
gboolean command_maintenance_rolling(Cli *cli, GError **error);
gboolean command_maintenance_finish(Cli *cli, GError **error);
gboolean command_maintenance_list(Cli *cli, GError **error);
gboolean command_drill_start(Cli *cli, GError **error);
gboolean command_drill_stop(Cli *cli, GError **error);
gboolean command_drill_list(Cli *cli, GError **error);
gboolean command_drill_show(Cli *cli, GError **error);
gboolean command_status(Cli *cli, GError **error);
gboolean command_points(Cli *cli, GError **error);
gboolean command_plan_list(Cli *cli, GError **error);
gboolean command_plan_show(Cli *cli, GError **error);
gboolean command_events(Cli *cli, GError **error);
gboolean command_notify_add(Cli *cli, GError **error);
gboolean command_notify_list(Cli *cli, GError **error);
gboolean command_notify_show(Cli *cli, GError **error);
gboolean command_notify_remove(Cli *cli, GError **error);
gboolean command_notify_test(Cli *cli, GError **error);

/* SPDX-License-Identifier: Apache-2.0 */
/* progress - waiting for the end of what was begun, and showing how far it is.
 *
 * On a terminal one line that is written over; elsewhere a plain line when
 * something changed, at most one a second. Nothing with --json. */
#pragma once

#include "orchestrator/cli/cli.h"

/* "1.20 GiB of 4.00 GiB (30 %), 85.0 MiB/s, 34 s left", or NULL if @standby is not synchronising. The caller frees. */
char *progress_of_standby(const json_t *standby);

/* Until scenario @name is in one of @states (NULL-ended): its status, or NULL with @error
 * FAILED if it is "failed" (or "stopped", where that is not waited for), TIMEOUT. "stopped" counts when nothing is owed to an
 * engine any more: what is, is shown, and said with a TIMEOUT. */
json_t *progress_wait_scenario(Cli *cli, const char *name, const char *const *states, GError **error);

/* Until each comparison of @begun ({vm, name, host, compare}…) has ended: {"vms"}, the same with how it ended, or NULL with
 * @error FAILED if one ended without a result, TIMEOUT. */
json_t *progress_wait_compared(Cli *cli, const char *name, const json_t *begun, GError **error);

/* Until @plan has ended: its document, or NULL with @error FAILED if not every VM was moved, TIMEOUT. */
json_t *progress_wait_plan(Cli *cli, const char *plan, GError **error);

/* Until integrity test @id has ended, or with @ready is ready for its operator: its document, or NULL with @error TIMEOUT. How it
 * ended is the caller's to judge. */
json_t *progress_wait_test(Cli *cli, const char *id, gboolean ready, GError **error);
/* Until the maintenance of @host has ended, or with @ready is ready for the reboot. */
json_t *progress_wait_maintenance(Cli *cli, const char *host, gboolean ready, GError **error);
/* The same of a drill, which is never ready. */
json_t *progress_wait_drill(Cli *cli, const char *id, GError **error);

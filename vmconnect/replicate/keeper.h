/* SPDX-License-Identifier: Apache-2.0 */
/* keeper - the thread that keeps one VM's copy on this standby host.
 *
 * It alone uses the VM's store. It serves one active at a time (a newer link
 * pushes out the older one), merges old points while nothing comes, answers
 * questions, and at a promotion runs the VM here. Everything it is told comes
 * as a Command; everything it says goes as a Report to @reports. */
#pragma once

#include "vmconnect/loop/mailbox.h"
#include "vmconnect/policy.h"
#include "vmconnect/replicate/command.h"
#include "vmconnect/replicate/host_paths.h"

#include <glib.h>

typedef struct Keeper Keeper;

typedef struct {
    const StandbyRole *role;
    const char *dir;     /* the VM's folder in the store */
    const char *run_dir; /* for its storage daemon's sockets */
    const HostPaths *paths;
} KeeperSpec;

/* Everything is copied, but for the strings of @spec->paths. */
Keeper *keeper_start(const KeeperSpec *spec, Mailbox *reports);

/* Takes @command. Not after QUIT or PURGE. */
void keeper_tell(Keeper *keeper, Command *command);

/* After the report with `ended`; frees. */
void keeper_join(Keeper *keeper);

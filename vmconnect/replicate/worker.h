/* SPDX-License-Identifier: Apache-2.0 */
/* worker - the thread that replicates one VM of this host.
 *
 * It makes a generation each interval (active.h), carries out the plan's steps
 * (handover.h), and keeps the start guard true for its VM. Everything it is told
 * comes as a Command; everything it says goes as a Report to @reports. */
#pragma once

#include "vmconnect/loop/mailbox.h"
#include "vmconnect/replicate/active.h"
#include "vmconnect/replicate/command.h"

#include <glib.h>

typedef struct Worker Worker;

/* @role is taken; @paths' strings, @identity, @rescuer and @reports outlive the worker. */
Worker *worker_start(ActiveRole *role, const HostPaths *paths, Identity *identity, Rescuer *rescuer,
                     Mailbox *reports);

/* Takes @command. Not after QUIT or STOP. */
void worker_tell(Worker *worker, Command *command);

/* After the report with `ended`; frees. */
void worker_join(Worker *worker);

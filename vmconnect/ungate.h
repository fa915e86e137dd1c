/* SPDX-License-Identifier: Apache-2.0 */
/* ungate - takes guests out of the kernel's gate (guard/shutter.h) where their guard does not.
 *
 * What a guard has laid there closes by itself when the lease ends, and a guard that hangs or is away opens it for nobody, not even for a guest that
 * needs no lease by then. So the engine does. A guard that is back lays what it is told; whoever is to be held to a lease by it waits until nothing is
 * under way here, for what is opened late would be opened under its hands. Loop thread only. */
#pragma once

#include "vmconnect/base/id.h"
#include "vmconnect/loop/clerk.h"

#include <glib.h>
#include <sys/types.h>

typedef struct Ungate Ungate;

/* @on_idle: nothing is under way any more. @clerk is borrowed, and closed before ungate_free(). */
Ungate *ungate_new(Clerk *clerk, void (*on_idle)(void *user), void *user);
/* Nothing is told any more. Both accept NULL. */
void ungate_close(Ungate *u);
void ungate_free(Ungate *u);

/* All frames of @vm's process pass from now on, soon. Nothing may be enforced for it. @pidfd: borrowed; of @pid. What fails is logged. */
void ungate_open(Ungate *u, Id vm, int pidfd, pid_t pid);
gboolean ungate_is_busy(const Ungate *u);

/* The work itself; blocks for some milliseconds. TRUE as well if no gate is there, or that process has ended. */
gboolean ungate_process(int pidfd, pid_t pid, GError **error);

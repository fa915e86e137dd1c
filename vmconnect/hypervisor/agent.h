/* SPDX-License-Identifier: Apache-2.0 */
/* agent - the guest's agent, with deadlines, as far as we need it.
 *
 * For worker threads. A guest without an agent, or with a dead one, is an
 * ordinary answer (UNSUPPORTED, TIMEOUT), never a failure of protection. */
#pragma once

#include "vmconnect/base/id.h"
#include "vmconnect/hypervisor/virt_error.h"

#include <glib.h>

#define AGENT_FREEZE_MAX_MS 2000

gboolean agent_ping(virDomainPtr dom, gint64 timeout_ms, GError **error);

/* Run @argv in the guest and wait for its end. FALSE unless it ended with 0; one that takes longer is left to the guest. */
gboolean agent_run(virDomainPtr dom, const char *const *argv, gint64 timeout_ms, GError **error);

/* What the guest calls itself; the caller frees. */
char *agent_host_name(virDomainPtr dom, gint64 timeout_ms, GError **error);

/* Does the agent name @path, exactly, as a mount point? It names those of block devices. */
gboolean agent_has_mount(virDomainPtr dom, const char *path, gint64 timeout_ms, GError **error);

/* Freeze all file systems. A mark in @run_folder, there before the freeze and
 * taken away by agent_thaw(), tells the rescuer whom it
 * must thaw should we die. The caller thaws within AGENT_FREEZE_MAX_MS, also
 * after an error: a late agent may still freeze. */
gboolean agent_freeze(virDomainPtr dom, const char *run_folder, guint *ret_frozen, GError **error);

/* Thaw, also when not frozen. The mark goes only when the agent said yes. */
gboolean agent_thaw(virDomainPtr dom, const char *run_folder, GError **error);

/* TRUE if the mark of @vm is there. */
gboolean agent_is_marked(Id vm, const char *run_folder);

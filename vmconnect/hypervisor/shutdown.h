/* SPDX-License-Identifier: Apache-2.0 */
/* shutdown - a guest brought down, and seen to be down.
 *
 * For worker threads; each call keeps its own deadline. "Off" means that the
 * QEMU process is gone, seen on its pidfd, and that libvirt has noticed;
 * libvirt's word alone comes up to 30 s late when a backup job was open. */
#pragma once

#include "vmconnect/base/id.h"
#include "vmconnect/hypervisor/virt_error.h"

#include <glib.h>

typedef enum {
    SHUTDOWN_WAS_OFF,
    SHUTDOWN_BY_AGENT,
    SHUTDOWN_BY_ACPI,
    SHUTDOWN_BY_FORCE,
} ShutdownHow;

const char *shutdown_how_name(ShutdownHow how);

typedef struct {
    gint64 timeout_ms;  /* for the guest to go by itself */
    int cancel_fd;      /* readable: give up at once (CANCELLED); -1: none */
    gboolean power_off; /* the guest stays up: pull the plug instead of REFUSED */
} ShutdownRules;

/* Ask the guest to shut down: by its agent if that answers a ping, and by ACPI
 * when there is none or a third of the time has passed; ACPI again each 15 s,
 * for a guest that was still booting. REFUSED: it stays up and runs on. TIMEOUT: its plug was pulled, and QEMU does not
 * exit. */
gboolean shutdown_guest(virConnectPtr conn, Id vm, const ShutdownRules *rules, ShutdownHow *ret_how,
                        GError **error);

/* End it now. A VM that is off is no error. */
gboolean shutdown_force(virConnectPtr conn, Id vm, GError **error);

/* A guest is going down by itself while a job of ours (its socket in
 * @run_folder) may be open: abort that, wait up to @timeout_ms for QEMU to be
 * gone, and only then make libvirt notice. TRUE: the disks are at rest. */
gboolean shutdown_settle(virConnectPtr conn, Id vm, const char *run_folder, gint64 timeout_ms,
                         GError **error);

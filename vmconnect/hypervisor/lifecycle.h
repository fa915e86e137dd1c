/* SPDX-License-Identifier: Apache-2.0 */
/* lifecycle - start, stop and define a VM, each verified where it is true.
 *
 * For worker threads: every function blocks, within its own deadline where it
 * has one. "Off" means that the QEMU process is gone, seen on its pidfd;
 * libvirt's word alone comes up to 30 s late when a backup job was open. */
#pragma once

#include "vmconnect/base/id.h"
#include "vmconnect/hypervisor/virt_error.h"

#include <glib.h>

/* libvirt's folder of NAME.pid files. */
#define LIFECYCLE_PID_FOLDER "/run/libvirt/qemu"

/* A pidfd of the QEMU process that runs @vm, proved by its command line; the
 * caller closes it. -1 with @error NOT_FOUND: no such process. */
int lifecycle_pidfd(const char *name, Id vm, GError **error);

typedef enum {
    SHUTDOWN_WAS_OFF,
    SHUTDOWN_BY_AGENT,
    SHUTDOWN_BY_ACPI,
    SHUTDOWN_BY_FORCE,
} ShutdownHow;

typedef struct {
    gint64 timeout_ms;  /* for the guest to go by itself */
    int cancel_fd;      /* readable: give up at once (CANCELLED); -1: none */
    gboolean power_off; /* the guest stays up: pull the plug instead of TIMEOUT */
} ShutdownRules;

/* Ask the guest to shut down, by its agent and then by ACPI, and wait until its
 * QEMU is gone and libvirt agrees. TIMEOUT: it stays up, and runs on as before. */
gboolean lifecycle_shutdown(virConnectPtr conn, Id vm, const ShutdownRules *rules, ShutdownHow *ret_how,
                            GError **error);

/* End it now. Done when QEMU is gone; a VM that is off is no error. */
gboolean lifecycle_destroy(virConnectPtr conn, Id vm, GError **error);

/* A guest shut itself down while a job of ours was open (@run_folder names our
 * sockets): abort that job, wait up to @timeout_ms for QEMU to be gone, and only
 * then make libvirt notice. The disks are whole when it returns TRUE. */
gboolean lifecycle_settle(virConnectPtr conn, Id vm, const char *run_folder, gint64 timeout_ms,
                          GError **error);

/* Start it paused; refused starts (the hook's sentence) come as REFUSED. */
gboolean lifecycle_start_paused(virConnectPtr conn, Id vm, GError **error);
gboolean lifecycle_start(virConnectPtr conn, Id vm, GError **error);
gboolean lifecycle_resume(virConnectPtr conn, Id vm, GError **error);
gboolean lifecycle_suspend(virConnectPtr conn, Id vm, GError **error);

/* Define from XML, validated; an existing domain of the same UUID is replaced.
 * EXISTS: the name belongs to another UUID. */
gboolean lifecycle_define(virConnectPtr conn, const char *xml, GError **error);

/* Remove the definition and the metadata of checkpoints and snapshots; NVRAM and
 * TPM state stay, the managed save image goes. Refused (REFUSED) while it runs; an unknown VM is no error. */
gboolean lifecycle_undefine(virConnectPtr conn, Id vm, GError **error);

gboolean lifecycle_get_autostart(virConnectPtr conn, Id vm, gboolean *ret_on, GError **error);
gboolean lifecycle_set_autostart(virConnectPtr conn, Id vm, gboolean on, GError **error);

/* The domain, or NULL with NOT_FOUND or UNREACHABLE; virDomainFree() it. */
virDomainPtr lifecycle_lookup(virConnectPtr conn, Id vm, GError **error);

/* SPDX-License-Identifier: Apache-2.0 */
/* host - a libvirt host of the test's own: namespaces, libvirtd, VMs with disks and no system in them.
 *
 * The test runs as a child in mount, pid and network namespaces of its own, so
 * that /run, /etc/libvirt and /var/lib/libvirt are its own too and everything
 * it started ends with it. What a guest would do to its disks is done through
 * QEMU's monitor (qemu-io), so a test knows each byte. Needs root. */
#pragma once

#include "vmconnect/base/id.h"

#include <glib.h>
#include <libvirt/libvirt.h>
#include <sys/types.h>

#define HOST_RUN "/run/understudy/engine"
#define HOST_NBD HOST_RUN "/nbd"

/* Run @body in a new host and return its result; answers as a skipped TAP test without root. */
int host_main(int argc, char **argv, int (*body)(void));

/* A folder on disk that goes with the host: images and scratch. */
const char *host_folder(void);

void host_start_libvirtd(void);
void host_kill_libvirtd(void); /* -9 */
pid_t host_libvirtd_pid(void);
virConnectPtr host_connect(void);

/* Define "NAME" with disks vda, vdb, … of these sizes, fresh qcow2 images
 * FOLDER/NAME-vdX.qcow2. The UUID is random and returned. */
Id host_define(virConnectPtr conn, const char *name, const guint64 *sizes, guint n);
char *host_image(const char *name, const char *target);
virDomainPtr host_domain(virConnectPtr conn, const char *name);
void host_start(virConnectPtr conn, const char *name);

/* One qemu-io command on the disk with this number (0: vda), as if the guest did it. */
void host_io(virConnectPtr conn, const char *name, guint disk, const char *format, ...) G_GNUC_PRINTF(4, 5);

/* The guest shuts down: QEMU ends cleanly, libvirt has noticed on return. */
void host_shut_down(virConnectPtr conn, const char *name);
/* The same without waiting. */
void host_quit(virConnectPtr conn, const char *name);
/* kill -9 of its QEMU, libvirt has noticed on return. */
void host_kill_qemu(virConnectPtr conn, const char *name);
/* Before a test fails: what the host knows about this VM, its state and the ends of the logs. */
void host_tell(virConnectPtr conn, const char *name);
void host_wait_state(virConnectPtr conn, const char *name, int state);

/* Run a program to its end; fails the test unless it exits with 0. */
void host_run(const char *const *argv);

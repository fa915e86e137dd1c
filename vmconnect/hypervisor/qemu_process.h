/* SPDX-License-Identifier: Apache-2.0 */
/* qemu_process - the QEMU process of a VM, held by a pidfd.
 *
 * The kernel's word on whether a guest can still write: no libvirt in it, so
 * it holds while libvirtd hangs, and no pid that could have been given anew. */
#pragma once

#include "vmconnect/base/id.h"

#include <glib.h>
#include <sys/types.h>

/* libvirt's folder of NAME.xml files, its record of what runs. (NAME.pid lies
 * there too, under a name that libvirt escapes as if it were XML.) */
#define QEMU_PROCESS_FOLDER "/run/libvirt/qemu"

/* A pidfd of the process that runs @vm, proved by its command line: the one that libvirt's record in
 * @folder names for @name, or one that libvirt has lost; the caller closes it. -1 with IO, or
 * with NOT_FOUND: then *ret_gone says whether there is a record whose process
 * has exited. No record proves nothing. */
int qemu_process_open(const char *folder, const char *name, Id vm, gboolean *ret_gone, GError **error);

/* The process that such a descriptor is of; 0: it has exited, or that cannot be told. */
pid_t qemu_process_pid(int pidfd);

/* Kill the process that runs @vm, if there is one. Only for VMs that are thrown away: what its guest has not written is lost, and so is QEMU's
 * record of changes. */
void qemu_process_kill(const char *folder, const char *name, Id vm);

/* How long ago the process that runs @vm was started; -1: there is none, or that cannot be told. */
gint64 qemu_process_age_ms(const char *folder, const char *name, Id vm);

/* libvirt says that @vm, called @name, is off. FALSE with STUCK and the remedy: its QEMU runs all the same.
 * libvirt 9.0, killed while it begins a backup job, can leave a record that it does not take back;
 * it knows nothing of the VM from then on, and would start a second one. */
gboolean qemu_process_expect_none(Id vm, const char *name, GError **error);

/* That of @vm, called @name, which was stopped by a signal, or is traced: libvirt says that it runs. 0: it is not, or there is none. */
pid_t qemu_process_stopped(const char *folder, const char *name, Id vm);

/* libvirt waits for what it asks a QEMU that was stopped by a signal, perhaps for ever, and keeps whoever has asked. FALSE with BUSY: that of
 * @vm is (qemu_process_stopped()). It does nothing now, which is no word about later: its guard may have it go on. */
gboolean qemu_process_expect_awake(const char *folder, const char *name, Id vm, GError **error);

/* Wait until it has exited. FALSE with TIMEOUT, or with CANCELLED as soon as
 * @cancel_fd (-1: none) is readable. */
gboolean qemu_process_wait(int pidfd, int cancel_fd, gint64 timeout_ms, GError **error);

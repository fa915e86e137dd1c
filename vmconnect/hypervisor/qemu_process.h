/* SPDX-License-Identifier: Apache-2.0 */
/* qemu_process - the QEMU process of a VM, held by a pidfd.
 *
 * The kernel's word on whether a guest can still write: no libvirt in it, so
 * it holds while libvirtd hangs, and no pid that could have been given anew. */
#pragma once

#include "vmconnect/base/id.h"

#include <glib.h>

/* libvirt's folder of NAME.pid files. */
#define QEMU_PROCESS_PID_FOLDER "/run/libvirt/qemu"

/* A pidfd of the process whose number stands in @pid_folder/@name.pid, proved
 * to be @vm's by its command line; the caller closes it. -1 with NOT_FOUND: no
 * such process (then @vm does not run under this name), or IO. */
int qemu_process_open(const char *pid_folder, const char *name, Id vm, GError **error);

/* Wait until it has exited. FALSE with TIMEOUT, or with CANCELLED as soon as
 * @cancel_fd (-1: none) is readable. */
gboolean qemu_process_wait(int pidfd, int cancel_fd, gint64 timeout_ms, GError **error);

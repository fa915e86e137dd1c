/* SPDX-License-Identifier: Apache-2.0 */
/* remains - what a test's VM has on this host, made before it and removed after it, whoever died in between.
 *
 *   STORE/understudy-test-UUID/       its overlays, variables and console log, and a marker file
 *   NBD/UUID-…                        sockets of its screen and console, folder of that of its disks
 *   libvirt's TPM folder UUID         a copy of its TPM's state
 *   the VM with that UUID, transient  libvirt ends it with the engine's connection, if it lives itself
 *
 * The marker names the run of the engine that made the folder, by an id of its own: what another run made is left over. A folder
 * without a marker, or with somebody else's, is not touched unless it is empty, as a removal leaves it that was cut off; in one of ours everything
 * is ours. Until it has its marker a folder is called understudy-test-UUID.RUN. */
#pragma once

#include "vmconnect/base/id.h"

#include <glib.h>
#include <libvirt/libvirt.h>

#define REMAINS_PREFIX "understudy-test-"
#define REMAINS_DISKS "disks" /* in the folder: where its file systems are looked into */

/* Borrowed. */
typedef struct {
    const char *store_dir;
    const char *nbd_dir;
    const char *tpm_dir;
    const char *permit_dir; /* of tests' VMs, for the start hook */
    Id run;                 /* of this engine's process */
} RemainsSite;

/* Make the folder of the VM @as with its marker, durably: before there is anything to be left over. The caller frees; NULL with @error. */
char *remains_make(const RemainsSite *site, Id as, GError **error);
/* Where it is. */
char *remains_folder(const RemainsSite *site, Id as);

/* End @dom, and with it what somebody may have had libvirt keep of it (`virsh edit` defines a transient VM), or its name is taken. */
gboolean remains_end_vm(virDomainPtr dom, GError **error);

/* End the VM @as and remove all that it had; what is not there is no error. On failure what is left is found by remains_sweep(). */
gboolean remains_remove(virConnectPtr conn, const RemainsSite *site, Id as, GError **error);

/* The same of one that was never started: libvirt is not asked. */
gboolean remains_remove_files(const RemainsSite *site, Id as, GError **error);

/* The same for all that other runs have left, and for what this one has given up; @error is of the first that cannot be removed. */
gboolean remains_sweep(virConnectPtr conn, const RemainsSite *site, GError **error);

/* This run does nothing with it any more: it is swept. */
void remains_give_up(const RemainsSite *site, Id as);

/* The VM may be started, or not any more: a file for the start hook, named by its UUID. */
gboolean remains_permit(const RemainsSite *site, Id as, GError **error);
void remains_forbid(const RemainsSite *site, Id as);

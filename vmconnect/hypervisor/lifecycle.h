/* SPDX-License-Identifier: Apache-2.0 */
/* lifecycle - define, start, pause a VM: libvirt's calls by UUID, with our errors.
 *
 * For worker threads and the hands. Bringing a guest down is shutdown's. */
#pragma once

#include "vmconnect/base/id.h"
#include "vmconnect/hypervisor/virt_error.h"

#include <glib.h>

/* Start it, paused or not; what the start hook refuses comes as REFUSED with its sentence. STUCK: it runs,
 * and libvirt does not know.
 *
 * Paused is for a VM that runs on this host for the first time in its reign: it must not write before its
 * first checkpoint stands. One that has run here in this reign already (autostart after a boot, a
 * plan that was rolled back) starts running: its bitmaps are in its images and go on with its first write,
 * and if they were lost with QEMU a pause would not bring them back; but for a moment, if its lease is enforced, so that its guard has it first. */
gboolean lifecycle_start_paused(virConnectPtr conn, Id vm, GError **error);
gboolean lifecycle_start(virConnectPtr conn, Id vm, GError **error);
gboolean lifecycle_resume(virConnectPtr conn, Id vm, GError **error);
gboolean lifecycle_suspend(virConnectPtr conn, Id vm, GError **error);

/* The guest's clock is this host's, by its agent, which has libvirt's time to answer. */
gboolean lifecycle_set_clock(virConnectPtr conn, Id vm, GError **error);

/* It runs no more here: paused if it lives, and not destroyed, since what its memory holds may be wanted by whoever
 * looks at what two hosts have each. *@ret_guest: "paused" or "off". STUCK as above; BUSY: its QEMU was stopped by a signal, and libvirt, which
 * would hang, is not asked. */
gboolean lifecycle_stand_still(virConnectPtr conn, Id vm, const char **ret_guest, GError **error);

typedef enum {
    REVIVE_DEAD,      /* it died */
    REVIVE_SHUT_DOWN, /* the same, also if it was shut down: that was its watchdog (guests.h) */
    REVIVE_HANGING    /* it runs on in vain */
} ReviveWhat;

/* What died is started, or reset inside its QEMU, if libvirt has kept that (on_crash); what hangs is reset.
 * *@ret_how: "started", "reset" or "found running". REFUSED if it is otherwise: somebody else has brought it back, or ended it. */
gboolean lifecycle_revive(virConnectPtr conn, Id vm, ReviveWhat what, const char **ret_how, GError **error);

/* Define from XML; an existing domain of the same UUID is replaced. EXISTS: the
 * name belongs to another UUID. Not validated against the schema: what libvirt
 * took on the other host it must take here. */
gboolean lifecycle_define(virConnectPtr conn, const char *xml, GError **error);

/* Remove the definition and the metadata of checkpoints and snapshots; NVRAM and
 * TPM state stay. REFUSED while it runs (libvirt would let it go on, transient)
 * or has a saved memory image, STUCK as above; an unknown VM is no error. */
gboolean lifecycle_undefine(virConnectPtr conn, Id vm, GError **error);

/* Does a saved memory image wait for the next start? Then its disks alone are not the VM. */
gboolean lifecycle_is_saved(virConnectPtr conn, Id vm, gboolean *ret_saved, GError **error);

/* Has libvirt no definition of it, so that it is gone as soon as it ends? */
gboolean lifecycle_is_transient(virConnectPtr conn, Id vm, gboolean *ret_transient, GError **error);

gboolean lifecycle_get_autostart(virConnectPtr conn, Id vm, gboolean *ret_on, GError **error);
gboolean lifecycle_set_autostart(virConnectPtr conn, Id vm, gboolean on, GError **error);

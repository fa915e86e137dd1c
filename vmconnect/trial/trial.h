/* SPDX-License-Identifier: Apache-2.0 */
/* trial - can this host do what protection needs? It is tried, with a VM of one second.
 *
 *   images in the store → a transient VM, paused, on them → a backup job with a checkpoint, read from
 *   → the VM is ended → a definition is made and removed → the images are removed
 *
 * With our own folders, so that ownership, modes, AppArmor, SELinux and disk space speak now
 * and not in the hour of a switchover. The VM has no system, no network, and never executes an
 * instruction. libvirt ends it when the connection that made it goes, so an engine that is killed leaves
 * files, and at most a definition: leftovers.h. The images are as a promotion leaves them:
 * a chain of two, named in full, in a folder of mode 0711.
 *
 * Blocking, on a connection that nobody else uses. One trial at a time on a host. */
#pragma once

#include <glib.h>
#include <jansson.h>
#include <libvirt/libvirt.h>

/* Borrowed, absolute. */
typedef struct {
    const char *store_dir;   /* where copies are kept and promoted */
    const char *run_dir;     /* as CaptureSettings */
    const char *nbd_dir;     /* the same */
    const char *scratch_dir; /* the same */
    const char *hook_file;   /* the start hook, where libvirtd looks for it */
    const char *hook_mark;   /* TRIAL_MARK */
} TrialSite;

/* {"problems": [{"id", "text"}], "kvm": bool, "hook_seen": bool|null, "security", "took_ms"}.
 * problems: none found is an empty list; ids are remedy.h's, a text is what failed, in the host's words, and
 * the next step where it is known. kvm: a KVM guest started. hook_seen: libvirtd asked the start hook, null:
 * nothing started. security: "apparmor", "selinux" or "none", null: libvirt does not say.
 * New reference. NULL with @error if libvirtd was lost: nothing is known then. */
json_t *trial_run(virConnectPtr conn, const TrialSite *site, GError **error);

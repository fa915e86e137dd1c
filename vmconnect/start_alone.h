/* SPDX-License-Identifier: Apache-2.0 */
/* start_alone - `understudy-engine start SCENARIO --alone`: root starts VMs of a scenario here,
 * and certifies with it that the other host is off.
 *
 * For a host that came up alone: its engine does not run, or has not permitted
 * the start. The guard files and plan files decide what may start; nothing in them
 * is changed, but that a guard which was put back counts again, and for the permit of this boot, so that the start hook has the last word.
 *
 * With `--gone` root certifies that the other host never comes back, with all that it had: then a VM that this host gave up, and whose
 * disks it still has as it left them, is started from these, or its guest, which lives on here and was paused, is resumed; and
 * its protection here ends. A role as its standby, which the engine may still have, is without a guard file from then on, and takes nothing. */
#pragma once

#include "vmconnect/hypervisor/guard_file.h"
#include "vmconnect/replicate/handover.h"

#include <glib.h>

typedef struct {
    const char *libvirt_uri;
    const char *guard_dir;
    const char *plan_dir;
    const char *permit_dir;
    const char *policy; /* the file */
    gboolean gone;      /* the other host never comes back */
} AlonePlace;

/* What this host's files say of one VM. */
typedef struct {
    Id vm;
    Guard *
        guard; /* from elsewhere: or the engine's last role, if that is of a later reign; NULL: it cannot be read */
    Handover *plan; /* the last one's; NULL: none, or it cannot be read */
    GError *unread; /* why guard or plan cannot be read; NULL: they can */
} AloneVm;

void alone_vm_free(AloneVm *vm);

/* Every VM with a guard file: of AloneVm *. Only the folder itself may fail. */
GPtrArray *alone_look(const AlonePlace *place, GError **error);

/* Those of @all that are of @scenario, and those of which that cannot be read, since they may be: borrowed.
 * NULL with NOT_FOUND, naming the scenarios there are, if none is of it. */
GPtrArray *alone_select(const GPtrArray *all, const char *scenario, GError **error);

/* May @vm start here, if the other host is off, or even @gone? Else REFUSED or CORRUPT, with what to do instead. */
gboolean alone_may_start(const AloneVm *vm, gboolean gone, GError **error);

/* Start those that may, and say of each on standard output and standard error what became of it.
 * FALSE with the first failure, when all were tried. */
gboolean start_alone(const AlonePlace *place, const char *scenario, GError **error);

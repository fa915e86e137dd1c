/* SPDX-License-Identifier: Apache-2.0 */
/* rescue - one guest freed from what we did to it.
 *
 * End our backup job, thaw what we froze, resume what our scratch space had
 * stopped. Each guest is rescued on a thread and a connection of its own,
 * because a hung QEMU holds up whoever asks it. */
#pragma once

#include "vmconnect/base/id.h"
#include "vmconnect/hypervisor/job_gate.h"
#include "vmconnect/hypervisor/virt_error.h"

#include <glib.h>

typedef enum {
    RESCUE_END = 1 << 0,    /* end our job */
    RESCUE_THAW = 1 << 1,   /* thaw, if the mark is there; resume what stands still in a pivot of ours */
    RESCUE_RESUME = 1 << 2, /* resume after an I/O error even if no job of ours was there any more */
} RescueFlags;

typedef struct {
    Id vm;
    RescueFlags flags;  /* as asked */
    char *name;         /* NULL if libvirt was not reached */
    gboolean job_ended; /* there was a job of ours */
    gboolean resumed;   /* it had stopped for an I/O error and runs again */
    gboolean thawed;
    gboolean stuck; /* locked by a job that libvirtd lost */
    GError *error;  /* what could not be done; NULL: all done, or nothing to do */
} RescueOutcome;

void rescue_outcome_free(RescueOutcome *o);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RescueOutcome, rescue_outcome_free)

/* Do it now, on this thread; blocks as long as QEMU does. @gate is closed before a job is ended;
 * NULL: whoever could be connecting to it is dead. Never NULL. */
RescueOutcome *rescue_vm(const char *uri, const char *run_folder, JobGate *gate, Id vm, RescueFlags flags);

/* The same on a thread of its own. @on_done is called there, with the outcome
 * given away; it may only post a letter, and must stay callable: a rescue of a
 * hung QEMU cannot be taken back. */
void rescue_start(const char *uri, const char *run_folder, JobGate *gate, Id vm, RescueFlags flags,
                  void (*on_done)(void *user, RescueOutcome *outcome), void *user);

/* For the unit's stop hook, in a process of its own: every guest of this host
 * that has a job of ours open, or may be about to get one from the engine that died, or carries our freeze mark.
 * The jobs' scratch files in @scratch_folder (may be NULL) are removed.
 * Done after at most @timeout_ms; *ret_outcomes (may be NULL) gets an array of RescueOutcome *.
 * FALSE with the first error, or TIMEOUT naming how many did not answer. */
gboolean rescue_all(const char *uri, const char *run_folder, const char *scratch_folder, gint64 timeout_ms,
                    GPtrArray **ret_outcomes, GError **error);

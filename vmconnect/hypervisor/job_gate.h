/* SPDX-License-Identifier: Apache-2.0 */
/* job_gate - while anybody connects to the NBD server of a backup job, nobody ends that job.
 *
 * Ending it makes QEMU stop the server, on its main thread, where it waits for every connection to
 * end. One whose handshake is under way only goes on in the main loop, so that the guest would
 * stand still for ever; killing QEMU is all that helps (measured with 7.2+dfsg-7+deb12u18,
 * whose nbd_server_free() waits so since CVE-2024-7409). A worker enters for the length
 * of a handshake, and the rescuer, who ends jobs over a worker's head, closes the gate first. */
#pragma once

#include "vmconnect/base/id.h"

#include <glib.h>

typedef struct JobGate JobGate;

/* One for all VMs of the engine, shared by threads. */
JobGate *job_gate_new(void);
JobGate *job_gate_ref(JobGate *gate);
void job_gate_unref(JobGate *gate);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(JobGate, job_gate_unref)

/* A new job of @vm is about to begin; there is none now. */
void job_gate_open(JobGate *gate, Id vm);

/* FALSE: the job is being ended, or has been: do not connect. Else leave when the handshake is
 * over, done or given up and its socket closed. */
gboolean job_gate_enter(JobGate *gate, Id vm);
void job_gate_leave(JobGate *gate, Id vm);

/* Before a job is ended: nobody enters any more until the gate is opened for another job, and not before
 * job_gate_ended() either, since it may be that other job which is met and ended. Waits for who
 * is inside: no longer than a handshake may take. */
void job_gate_close(JobGate *gate, Id vm);
void job_gate_ended(JobGate *gate, Id vm);

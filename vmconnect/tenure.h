/* SPDX-License-Identifier: Apache-2.0 */
/* tenure - what this engine has to do with leases: its VMs hold them. What it says about the copies that it keeps is its voice's (voice.h).
 *
 * For each VM that it is the active of, and that another may be elected for, the voters are asked (leases.h): the engine of its standby over a
 * link of ours (peers.h), the controller over its own. What they grant goes to the guard (warden.h), which stops the guest when nothing
 * is left, and into a file that the start hook reads (lease_file.h). Before a VM is armed, guard and file have it, so that it is held to its
 * lease before anybody may vote. What the guard has stopped goes on when the lease is back. Loop thread only. */
#pragma once

#include "vmconnect/hypervisor/ears.h"
#include "vmconnect/link/identity.h"

#include <glib.h>
#include <jansson.h>

typedef struct Tenure Tenure;
struct Engine;

/* Blocking, before the loop turns. */
Tenure *tenure_new(struct Engine *engine);
/* From now on. All that the policy says is known by then, and the clerk and the hands are there. */
void tenure_begin(Tenure *t);
/* Nothing follows. Freed when loop and clerk are through. NULL is accepted by both. */
void tenure_close(Tenure *t);
void tenure_free(Tenure *t);
void tenure_set_identity(Tenure *t, Identity *identity);

/* Before an end in good order: nothing is armed any more, so that no guest is stopped for want of who is away. @on_left comes once, soon;
 * before the end at the latest, though those that vote have not all heard. */
void tenure_leave(Tenure *t, void (*on_left)(void *user), void *user);

/* The policy is another, or this engine another's. */
void tenure_review(Tenure *t);
void tenure_hear(Tenure *t, const EarEvent *event);
/* A guest's word or process may be another. */
void tenure_look(Tenure *t);

/* Its active's role is about to be ended, for another host is to run it: what its guard has stopped stays so, lease or not, unless the role is
 * given anew.
 *
 * @on_still comes once, perhaps before this returns: who asks libvirt for it from then on is not hung by a QEMU that its guard has stopped
 * by a signal, for what is in the guard's care has been suspended. Or why not: BUSY: it may be tried again; OVERTAKEN: the role was given anew;
 * CANCELLED. */
void tenure_yield(Tenure *t, Id vm, void (*on_still)(void *user, const GError *error), void *user);

/* As leases_hear(); @answers: JSON (renewal.h). PROTOCOL. */
gboolean tenure_hear_answers(Tenure *t, Id voter, const json_t *answers, GError **error);

/* Of a VM that has leases, into @guest (serve_watch.c): "lease": "free" (nothing is enforced), "held", "lost" (it may not go on); "halts": how often
 * it stood still for want of one, since this engine runs; "halted_ms": how long, the last time. */
void tenure_describe(const Tenure *t, Id vm, json_t *guest);
/* {"up" (null: not known yet), "why" (null: it is), "older" (than this engine), "wanted": a VM here has leases}. New reference. */
json_t *tenure_describe_guard(const Tenure *t);

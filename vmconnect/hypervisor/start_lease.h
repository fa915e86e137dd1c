/* SPDX-License-Identifier: Apache-2.0 */
/* start_lease - a VM whose lease is enforced starts with a lease, and in the guard's care: the start hook's part in it.
 *
 * Before QEMU runs: its lease is of this reign and lasts, and the guard answers. When QEMU runs: its process and its taps are given to the guard.
 * A VM that is in no lease file needs neither. Waits for no libvirt, which is waiting for the hook. */
#pragma once

#include "vmconnect/hypervisor/guard_file.h"
#include "vmconnect/hypervisor/lease_file.h"

#include <glib.h>

/* What must be left of a lease for a start: more than it takes libvirt to start a guest, and the hook to give it to the guard. */
#define LEASE_START_MS 3000
/* What the guard has for an answer. */
#define START_LEASE_ANSWER_MS 2000

typedef struct {
    const char *guard_folder;   /* GUARD_FOLDER */
    const char *lease_file;     /* LEASE_FILE */
    const char *process_folder; /* QEMU_PROCESS_FOLDER */
    const char *socket;         /* SENTRY_SOCKET */
} StartLease;

/* May the VM of @g, an active's, called @name, run here by its lease for another @least_ms? FALSE with the sentence for whoever tried. *@ret_entry: its
 * lease, of no VM: it needs none. */
gboolean start_lease_judge(const char *lease_file, const Guard *g, const char *name, gint64 least_ms,
                           LeaseEntry *ret_entry, GError **error);

/* QEMU is about to run: will there be a guard to give it to? FALSE with the sentence. */
gboolean start_lease_expect_guard(const StartLease *at, Id vm, const char *name, GError **error);

/* QEMU runs: give it to the guard. FALSE with the sentence: it must not go on running. */
gboolean start_lease_give(const StartLease *at, Id vm, const char *name, GError **error);

/* SPDX-License-Identifier: Apache-2.0 */
/* proofs - what integrity tests have shown: which points of which VMs came up, when, and how fast.
 *
 * Filled from the tests that passed, oldest first; a later one of the same VM, or point, counts instead. Knows no test. */
#pragma once

#include "vmconnect/base/id.h"

#include <glib.h>

typedef struct Proofs Proofs;

typedef struct {
    gint64 back_ms;  /* from the test's start until its checks passed; -1: not measured */
    char *proven_at; /* wall time, as text */
} Proof;

Proofs *proofs_new(void);
void proofs_free(Proofs *p);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Proofs, proofs_free)

/* @point nil: of which is not known. */
void proofs_add(Proofs *p, Id vm, Id point, gint64 back_ms, const char *proven_at);

/* The VM's newest; NULL: it was never proven, or @p is NULL. Borrowed until the next proofs_add(). */
const Proof *proofs_of_vm(const Proofs *p, Id vm);
/* When this point of the VM was proven last; NULL: never. Borrowed likewise. */
const char *proofs_of_point(const Proofs *p, Id vm, Id point);

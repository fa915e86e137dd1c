/* SPDX-License-Identifier: Apache-2.0 */
/* proofs - what integrity tests have shown: which points of which VMs came up, when, and how fast, and which VM has failed since.
 *
 * Filled with the verdicts of tests, oldest first; a later one of the same VM, or point, counts instead. Knows no test. */
#pragma once

#include "vmconnect/base/id.h"

#include <glib.h>

typedef struct Proofs Proofs;

/* Of one VM in one test; borrowed. */
typedef struct {
    const char *scenario; /* whose VM it was */
    Id vm;
    Id point;        /* nil: of which is not known */
    gboolean chosen; /* asked for by its id: it says nothing of the newest, from which the VM would be back */
    const char *host; /* the replica that it was tested on */
    gboolean passed;  /* else it failed */
    gint64 back_ms;   /* from the test's start until its checks passed; -1: not measured */
    const char *at;   /* when the test ended: wall time, as text */
} ProofsVerdict;

typedef struct {
    char *host;      /* on whose copy; of another's this says nothing */
    gint64 back_ms;  /* -1: not measured, or it has failed since */
    char *proven_at; /* NULL: it never passed there */
    char *failed_at; /* NULL: it has not, since then */
} Proof;

Proofs *proofs_new(void);
void proofs_free(Proofs *p);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Proofs, proofs_free)

void proofs_add(Proofs *p, const ProofsVerdict *verdict);

/* What was seen of a scenario's VMs: it is no more. */
void proofs_forget(Proofs *p, const char *scenario);

/* What the VM's newest points have shown; NULL: nothing, or @p is NULL. Borrowed until the next proofs_add(). */
const Proof *proofs_of_vm(const Proofs *p, Id vm);
/* When this point of the VM was proven last; NULL: never. Borrowed likewise. */
const char *proofs_of_point(const Proofs *p, Id vm, Id point);

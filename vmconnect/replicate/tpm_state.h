/* SPDX-License-Identifier: Apache-2.0 */
/* tpm_state - the state of an emulated TPM, in libvirt's folder of this host for a VM that shall run here.
 *
 * libvirt looks for it at DIR/UUID/tpm2 (or tpm1.2) at each start of the VM, gives it to its swtpm
 * user then, and makes a new TPM only where there is no such folder. So what we put is root's,
 * closed to all others, and there as a whole or not at all.
 *
 * Nothing that was there is lost: it moves aside to DIR/UUID.before-POINT, with all that is in it.
 * The VM must be off. Each call can be repeated, and is, after a crash at any moment. */
#pragma once

#include "vmconnect/base/belongings.h"
#include "vmconnect/base/id.h"

#include <glib.h>

typedef struct {
    const char *dir; /* GATHER_TPM_DIR, but in tests */
    Id vm;
    Id point;          /* that is promoted: names what is moved aside */
    gboolean expected; /* the VM has an emulated TPM, whatever the point has of it */
} TpmPlace;

/* Put there what @belongings (of Belonging *, described) has of a TPM, each file of it given by
 * @read(@user, …) as store_belonging() does. Nothing is done if just that is there. If it has none of a TPM that is
 * expected, what this host has of an older time moves aside all the same: a new TPM is honest, an old one is not. */
typedef GBytes *(*TpmRead)(const void *user, const Belonging *b, GError **error);
gboolean tpm_state_put(const TpmPlace *place, const GPtrArray *belongings, TpmRead read, const void *user,
                       GError **error);

/* Undo it: what was moved aside comes back. If what is there is not what was put, the VM has
 * run with it, and all stays as it is. */
gboolean tpm_state_take_back(const TpmPlace *place, const GPtrArray *belongings, GError **error);

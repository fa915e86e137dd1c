/* SPDX-License-Identifier: Apache-2.0 */
/* roll - who is in the guard's care, for the guard that comes after it.
 *
 * A file in /run, of one boot: a line that says which, then one line for each VM, with the sum that tells whether it is whole. What is not
 * whole, or of another version, has no lease: its VM is treated as one whose lease is over, as far as it says which process that is. What cannot even
 * say that is left to the kernel, which ends by itself what it was told. */
#pragma once

#include "vmconnect/guard/ward.h"

/* The caller frees. */
char *roll_text(const GPtrArray *wards, const char *boot_id);

/* Wards of the roll, each owned by the array, with a Subject that is only named and not held. Empty if it is of another boot. Each line that was not
 * whole adds a sentence to @faults. */
GPtrArray *roll_parse(const char *text, gsize len, const char *boot_id, GPtrArray *faults);

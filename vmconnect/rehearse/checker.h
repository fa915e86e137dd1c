/* SPDX-License-Identifier: Apache-2.0 */
/* checker - one file system, asked by the distribution's own checker whether it is clean.
 *
 * What is asked about is thrown away afterwards: a journal is replayed into it, and marks that say no more than "was in use" are taken out.
 * Nothing is mounted. */
#pragma once

#include "vmconnect/rehearse/sandbox.h"

#include <glib.h>

typedef enum {
    CHECKER_CLEAN,
    CHECKER_DAMAGED,
    CHECKER_UNKNOWN, /* nobody has looked, or who looked cannot tell */
} CheckerState;

/* "clean", "damaged", "unknown"; static. */
const char *checker_state_name(CheckerState state);

typedef struct {
    CheckerState state;
    char *text; /* a sentence, or its first words: one line of printable UTF-8; NULL: nothing to say */
} CheckerFinding;

void checker_finding_clear(CheckerFinding *finding);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(CheckerFinding, checker_finding_clear)

/* What is on @fd? *@ret_kind: libblkid's name of the file system ("ext4", "vfat", "swap", …), *@ret_table: of the partition table ("dos", "gpt",
 * "PMBR": a GPT that is none); NULL: there is none. Both may be there. The caller frees. UNSUPPORTED: it cannot be told (the error says
 * why); TIMEOUT, CANCELLED. */
gboolean checker_recognize(int fd, SandboxLimits limits, char **ret_kind, char **ret_table, GError **error);

/* The file system @kind (NULL: none is known) on @fd, open for reading and writing and SANDBOX_USER's. FALSE with @error
 * TIMEOUT, CANCELLED; everything else is a finding. */
gboolean checker_look(const char *kind, int fd, SandboxLimits limits, CheckerFinding *ret_finding,
                      GError **error);

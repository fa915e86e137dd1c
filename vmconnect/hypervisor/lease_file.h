/* SPDX-License-Identifier: Apache-2.0 */
/* lease_file - until when each VM of this host may run whose lease is enforced: what the engine tells the start hook.
 *
 * One file for all of them, in /run, which ends with the boot as the clocks of a lease do. It is not fsynced: who dies with the host takes the
 * file along. A VM that is not in it needs no lease. The guard is told by words (word.h) and never reads it. */
#pragma once

#include "orchestrator/core/lease/lease.h"
#include "vmconnect/base/generation.h"
#include "vmconnect/base/id.h"

#include <glib.h>

#define LEASE_FILE "/run/understudy/engine/leases"
#define LEASE_FILE_MAX_BYTES (1 << 20) /* of some four thousand VMs */

typedef struct {
    Id vm;
    Reign reign;
    LeaseMoment until;
} LeaseEntry;

/* @entries: of LeaseEntry, each of another VM. The caller frees. */
char *lease_file_text(const GArray *entries);

/* Of LeaseEntry. NULL with CORRUPT, also if a VM is there twice, or UNSUPPORTED: a newer format. @text ends with a NUL beyond @len. */
GArray *lease_file_parse(const char *text, gsize len, GError **error);

/* All or nothing, for root alone. USAGE: longer than what is read. */
gboolean lease_file_write(const char *path, const char *text, GError **error);

/* All of them; NULL with NOT_FOUND: there is no file. */
GArray *lease_file_read(const char *path, GError **error);
/* FALSE with NOT_FOUND: its lease is not enforced, also if there is no file. Anything else: that cannot be told. */
gboolean lease_file_find(const char *path, Id vm, LeaseEntry *ret_entry, GError **error);

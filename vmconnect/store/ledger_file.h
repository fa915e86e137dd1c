/* SPDX-License-Identifier: Apache-2.0 */
/* ledger_file - a ledger on disk: what it says is durable before it is believed.
 *
 * Appended to and fdatasynced record by record, and now and then replaced as a
 * whole by the one record of its model. Opening always replaces it: what was read
 * may be in the page cache only, left by a process whose fdatasync failed. */
#pragma once

#include "vmconnect/store/ledger.h"

typedef struct LedgerFile LedgerFile;

/* Open @path, or begin a ledger of @vm there if @may_create. A torn tail is kept
 * aside as PATH.torn and cut off. NULL with @error: NOT_FOUND (none, and not allowed to
 * begin one), CORRUPT and UNSUPPORTED (the file is left as it is), REFUSED (another VM's), NO_SPACE, IO. */
LedgerFile *ledger_file_open(const char *path, Id vm, gboolean may_create, GError **error);
void ledger_file_close(LedgerFile *file);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LedgerFile, ledger_file_close)

/* Is the file that is open the one at its path? */
gboolean ledger_file_is_there(const LedgerFile *file);
/* The model as of the last record that is durable; borrowed. */
const Ledger *ledger_file_model(const LedgerFile *file);

/* Make @record (stolen) durable and apply it. REFUSED for one that cannot follow from the model. On failure the model is unchanged and the record
 * is taken back from the file; if not even that succeeds the ledger is in doubt. */
gboolean ledger_file_append(LedgerFile *file, json_t *record, GError **error);

/* Is the file known to say what the model says? While it does not (it may hold a record
 * that was taken back), no image may be removed; this tries to make it so by replacing it. */
gboolean ledger_file_settle(LedgerFile *file, GError **error);

/* Replace the whole ledger by an empty one of the same VM: every file is a leftover then. */
gboolean ledger_file_reset(LedgerFile *file, GError **error);

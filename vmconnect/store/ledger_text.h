/* SPDX-License-Identifier: Apache-2.0 */
/* ledger_text - a ledger's bytes: one record a line, checksum and JSON.
 *
 *     9f86d081884c7d65 {"record":"chain","format":1,…}
 *
 * Pure. The checksum (XXH3, 64 bits, of the JSON) tells damage, not malice: the
 * folder is root's. A last line without its newline was never believed by
 * anybody, whatever stands in it: a torn tail. Any other damage is CORRUPT. */
#pragma once

#include "vmconnect/store/ledger.h"

/* @record as a line with its newline. The caller frees. */
char *ledger_text_line(const json_t *record);

/* Apply all whole lines of @text to the empty @ledger (of a nil VM). @ret_good is their length; what
 * follows is a torn tail. FALSE with @error CORRUPT, naming the line, or UNSUPPORTED. */
gboolean ledger_text_replay(Ledger *ledger, const char *text, gsize len, gsize *ret_good, GError **error);

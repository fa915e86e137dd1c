/* SPDX-License-Identifier: Apache-2.0 */
/* reigns - the highest reign of VMs whose scenarios are deleted.
 *
 * Engines remember of every VM in whose reign it was last: what was once said under a
 * reign must never be said by another. So a VM that gets a new scenario goes on
 * counting. Kept in a row of its own, {"reigns": {UUID: number}}, which changes with the deletion. */
#pragma once

#include "orchestrator/state/database.h"

typedef struct Reigns Reigns;

Reigns *reigns_new(void);
void reigns_free(Reigns *r);

/* 0: it never had one. */
guint64 reigns_last(const Reigns *r, Id vm);
void reigns_remember(Reigns *r, Id vm, guint64 number);

/* Is this row, of those of the scenarios, ours? */
gboolean reigns_is_document(const json_t *doc);
gboolean reigns_load(Reigns *r, const json_t *doc, GError **error);
void reigns_put(const Reigns *r, DatabaseChanges *changes);

/* SPDX-License-Identifier: Apache-2.0 */
/* ledger_internal - what the ledger_*.c files share, and nobody else uses.
 *
 * JSON readers check form, not meaning: whether a layer exists is asked when the record
 * is applied. What they return is new and the caller's; NULL or FALSE with @error USAGE, which
 * ledger_apply() turns into CORRUPT. */
#pragma once

#include "vmconnect/store/ledger.h"

/* A UUID, or null for nil. */
json_t *ledger_id_to_json(Id id);
gboolean ledger_id_from_json(const json_t *doc, Id *ret_id, GError **error);

json_t *ledger_ids_to_json(const GArray *ids);
GArray *ledger_ids_from_json(const json_t *doc, GError **error);

json_t *ledger_layers_to_json(const GPtrArray *layers);
GPtrArray *ledger_layers_from_json(const json_t *doc, GError **error);

json_t *ledger_disks_to_json(const GPtrArray *disks);
GPtrArray *ledger_disks_from_json(const json_t *doc, GError **error);

json_t *ledger_point_to_json(const LedgerPoint *point);
LedgerPoint *ledger_point_from_json(const json_t *doc, GError **error);

json_t *ledger_partial_to_json(const LedgerPartial *partial);
LedgerPartial *ledger_partial_from_json(const json_t *doc, GError **error);

json_t *ledger_merge_to_json(const LedgerMerge *merge);
LedgerMerge *ledger_merge_from_json(const json_t *doc, GError **error);

GPtrArray *ledger_merge_disks_new(void);
void ledger_point_free(LedgerPoint *point);
void ledger_partial_free(LedgerPartial *partial);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LedgerPoint, ledger_point_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LedgerPartial, ledger_partial_free)

/* Set @error CORRUPT; always FALSE. */
gboolean ledger_impossible(GError **error, const char *format, ...) G_GNUC_PRINTF(2, 3);

int ledger_find_index(const Ledger *ledger, Id generation); /* -1: no such point */
LedgerLayer *ledger_find_in(const GPtrArray *layers, Id id);
void ledger_remove_layer(Ledger *ledger, Id id);

/* Can @merge be carried out once points [@first, @end) are struck out: its layers are
 * there, stand on each other, and nothing else needs them? */
gboolean ledger_check_merge(const Ledger *ledger, const LedgerMerge *merge, guint first, guint end,
                            GError **error);

/* One record of that kind: read, check against the model, then carry out; nothing
 * fails once the model is being changed. */
#define X(kind, name, meaning) \
    gboolean ledger_apply_##name(Ledger *ledger, const json_t *record, GError **error);
LEDGER_RECORDS(X)
#undef X

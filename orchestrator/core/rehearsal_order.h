/* SPDX-License-Identifier: Apache-2.0 */
/* rehearsal_order - may an integrity test be begun now, and what is its host told?
 *
 * Pure. Whether another test of the scenario, or a plan, runs is known to who asks. */
#pragma once

#include "orchestrator/core/protection.h"

#define REHEARSAL_LIMIT_MS ((gint64)4 * 3600 * 1000) /* of a manual test, if nothing else is asked for */

typedef struct {
    Id test; /* its id; nil: a new one */
    gboolean manual;
    json_t *vms;     /* array of UUIDs; NULL: all */
    Id point;        /* nil: the newest of each */
    gint64 limit_ms; /* after which a manual test is ended */
    json_t *
        checks; /* as exam.h has the document; NULL, and whom it does not name: the scenario's, else the engine's own */
} RehearsalWish;

/* From a request's body: {"manual", "vms", "point", "limit_ms", "checks"}, each may be left out. FALSE with @error USAGE; @ret_wish
 * borrows from @body. */
gboolean rehearsal_wish_read(const json_t *body, RehearsalWish *ret_wish, GError **error);

/* The host that keeps the copies of all that is asked for, and *@ret_params for its test.start; the caller frees. NULL with
 * @error: REFUSED (a plan has it, it is stopped, a VM has no whole copy), NOT_FOUND for a VM, USAGE, UNREACHABLE. */
const char *rehearsal_order(const Protection *p, const RehearsalWish *wish, Id test, json_t **ret_params,
                            GError **error);

/* What is known of the test @params before its engine has said a word: a document as the engine's, with "host", and
 * "point": the one that was asked for by its id, or null. */
json_t *rehearsal_first_document(const json_t *params, const char *host, gint64 now_wall_ms);

/* @error: what its engine, or the way to it, answered to test.start. Then it is open, and its own end will be told. */
gboolean rehearsal_may_have_begun(const GError *error);

/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/link/order.h"

#include "vmconnect/base/error.h"

static const struct {
    BulkState from;
    guint16 type;
    BulkState to;
} EDGES[] = {
#define X(from, message, to) {BULK_##from, MESSAGE_##message, BULK_##to},
    BULK_EDGES(X)
#undef X
};

static const char *const STATES[] = {
#define X(name) #name,
    BULK_STATES(X)
#undef X
};

const char *bulk_state_name(BulkState state)
{
    g_assert(state < G_N_ELEMENTS(STATES));
    return STATES[state];
}

gboolean bulk_step(BulkState *state, guint16 type, GError **error)
{
    for (guint i = 0; i < G_N_ELEMENTS(EDGES); i++)
        if (EDGES[i].from == *state && EDGES[i].type == type) {
            *state = EDGES[i].to;
            return TRUE;
        }
    g_set_error(error, US_ERROR, US_ERROR_PROTOCOL, "%s may not come while the session is %s",
                message_name(type), bulk_state_name(*state));
    return FALSE;
}

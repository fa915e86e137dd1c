/* SPDX-License-Identifier: Apache-2.0 */
/* order - what may follow what on a bulk link.
 *
 * Pure data, the same on both sides: each keeps one BulkState and moves it by
 * every frame it sends or takes. What is not an edge is refused, so a peer
 * cannot seal what was not begun. BULK_EDGES is also the picture in docs/protocol.md. */
#pragma once

#include "vmconnect/link/message.h"

#include <glib.h>

/* clang-format off */
#define BULK_STATES(X)                                                            \
    X(FRESH)      /* connected, nothing said */                                   \
    X(ATTACHING)  /* the active said who it is */                                 \
    X(IDLE)       /* both know the tip */                                         \
    X(RECEIVING)  /* a generation is open */                                      \
    X(SEALING)    /* all is sent, not yet durable */                              \
    X(CONFIRMING) /* nothing changed: the tip is the truth at a later instant */  \
    X(DISCARDING) /* what is unsealed is being thrown away */
/* clang-format on */

/* clang-format off */
/*    from        message     to */
#define BULK_EDGES(X)                     \
    X(FRESH,      ATTACH,     ATTACHING)  \
    X(ATTACHING,  ATTACHED,   IDLE)       \
    X(IDLE,       BEGIN,      RECEIVING)  \
    X(IDLE,       CONFIRM,    CONFIRMING) \
    X(IDLE,       DISCARD,    DISCARDING) \
    X(IDLE,       CREDIT,     IDLE)       \
    X(IDLE,       SLOW,       IDLE)       \
    X(RECEIVING,  DATA,       RECEIVING)  \
    X(RECEIVING,  ZERO,       RECEIVING)  \
    X(RECEIVING,  COMPARE,    RECEIVING)  \
    X(RECEIVING,  HASHES,     RECEIVING)  \
    X(RECEIVING,  SAME,       RECEIVING)  \
    X(RECEIVING,  SLICE,      RECEIVING)  \
    X(RECEIVING,  SLICE_KEPT, RECEIVING)  \
    X(RECEIVING,  CREDIT,     RECEIVING)  \
    X(RECEIVING,  SLOW,       RECEIVING)  \
    X(RECEIVING,  SEAL,       SEALING)    \
    X(RECEIVING,  DISCARD,    DISCARDING) \
    X(SEALING,    CREDIT,     SEALING)    \
    X(SEALING,    SLICE_KEPT, SEALING)    \
    X(SEALING,    SLOW,       SEALING)    \
    X(SEALING,    SEALED,     IDLE)       \
    X(CONFIRMING, CREDIT,     CONFIRMING) \
    X(CONFIRMING, SLOW,       CONFIRMING) \
    X(CONFIRMING, CONFIRMED,  IDLE)       \
    X(DISCARDING, CREDIT,     DISCARDING) \
    X(DISCARDING, SLICE_KEPT, DISCARDING) \
    X(DISCARDING, HASHES,     DISCARDING) \
    X(DISCARDING, SLOW,       DISCARDING) \
    X(DISCARDING, DISCARDED,  IDLE)
/* clang-format on */

typedef enum {
#define X(name) BULK_##name,
    BULK_STATES(X)
#undef X
} BulkState;

const char *bulk_state_name(BulkState state);

/* Move @state by a message sent or taken; FALSE with @error PROTOCOL and @state
 * unchanged if it may not come here. FAIL and BYE end the link and are not asked about. */
gboolean bulk_step(BulkState *state, guint16 type, GError **error);

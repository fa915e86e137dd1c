/* SPDX-License-Identifier: Apache-2.0 */
/* enrol - how an engine gets an owner: both sides, pure.
 *
 *   controller                                   engine (no owner, live token)
 *     ENROL {proof}                 ->   knows the token? else count, FAIL
 *           the same word, or FAIL  <-   ENROL_PROOF {proof, id, public_key}
 *     ENROL_CERTIFICATE {certificate, authority} ->   checks, stores durably
 *                                   <-   ENROLLED {}
 *
 * A proof is HMAC-SHA256(secret, label ‖ who ‖ binding of this TLS session ‖
 * fingerprint of the dialer's key ‖ fingerprint of the listener's): a man in the middle has
 * two sessions and so two bindings, and what he passes on proves nothing.
 * No socket, clock or file in here: what must be stored comes out as a wish,
 * and the next frame goes out only after it is durable. */
#pragma once

#include "vmconnect/link/identity.h"
#include "vmconnect/link/message.h"
#include "vmconnect/link/token.h"

#include <glib.h>
#include <jansson.h>

typedef struct {
    guint8 session[32];               /* link_binding() */
    guint8 dialer[FINGERPRINT_LEN];   /* the controller's key */
    guint8 listener[FINGERPRINT_LEN]; /* the engine's key */
} EnrolBinding;

#define ENROL_PROOF_LEN 32
void enrol_proof(const Token *token, Role who, const EnrolBinding *binding,
                 guint8 out[static ENROL_PROOF_LEN]);

/* --- the engine's side --- */

typedef enum {
    ENROL_STORE_NOTHING, /* send the reply now */
    ENROL_STORE_TOKEN,   /* store the token's state, then send (it counts a wrong proof) */
    ENROL_STORE_OWNER,   /* identity_adopt(), remove the token, then send */
} EnrolStore;

typedef struct {
    EnrolStore store;
    MessageType type; /* the reply */
    json_t *doc;
    GError *fail;      /* set: reply FAIL with it instead and close */
    char *certificate; /* ENROL_STORE_OWNER */
    char *authority;
} EnrolStep;
void enrol_step_clear(EnrolStep *step);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(EnrolStep, enrol_step_clear)

typedef struct EnrolEngine EnrolEngine;

/* @state is the engine's one token, shared by all who try; borrowed. */
EnrolEngine *enrol_engine_new(Identity *identity, TokenState *state, const EnrolBinding *binding);
void enrol_engine_free(EnrolEngine *engine);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(EnrolEngine, enrol_engine_free)

/* A frame came; *@ret_step is what to do. A peer's mistake is a step with fail. */
void enrol_engine_take(EnrolEngine *engine, const Frame *frame, gint64 wall_ms, EnrolStep *ret_step);

/* --- the controller's side --- */

/* Sign the engine's key. Certificate and authority in PEM, the caller's. */
typedef gboolean (*EnrolSignFunc)(void *user, GBytes *public_key, Id engine, char **ret_certificate,
                                  char **ret_authority, GError **error);

typedef struct EnrolController EnrolController;

EnrolController *enrol_controller_new(const Token *token, const EnrolBinding *binding, EnrolSignFunc sign,
                                      void *user);
void enrol_controller_free(EnrolController *controller);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(EnrolController, enrol_controller_free)

/* The first message's document; NULL with @error DENIED if the key is not the one the
 * token names: nothing must be sent then. */
json_t *enrol_controller_start(EnrolController *controller, GError **error);

/* A frame came. Either *@ret_doc is to be sent as *@ret_type, or *@ret_done is TRUE and
 * *@ret_engine is ours. FALSE with @error. */
gboolean enrol_controller_take(EnrolController *controller, const Frame *frame, MessageType *ret_type,
                               json_t **ret_doc, gboolean *ret_done, Id *ret_engine, GError **error);

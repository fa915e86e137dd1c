/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/link/enrol.h"

#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>
#include <string.h>

static const char LABEL[] = "understudy enrol 1";

void enrol_proof(const Token *token, Role who, const EnrolBinding *binding,
                 guint8 out[static ENROL_PROOF_LEN])
{
    g_autoptr(GByteArray) text = g_byte_array_new();
    const char *role = role_name(who);
    guint len = 0;

    /* Each part is of fixed length or ends in a NUL: no two meanings give the same bytes. */
    g_byte_array_append(text, (const guint8 *)LABEL, sizeof(LABEL));
    g_byte_array_append(text, (const guint8 *)role, (guint)strlen(role) + 1);
    g_byte_array_append(text, binding->session, sizeof(binding->session));
    g_byte_array_append(text, binding->dialer, sizeof(binding->dialer));
    g_byte_array_append(text, binding->listener, sizeof(binding->listener));
    g_assert(HMAC(EVP_sha256(), token->secret, TOKEN_SECRET_LEN, text->data, text->len, out, &len));
    g_assert(len == ENROL_PROOF_LEN);
}

/* A proof in base64, as it stands in the documents. */
static char *proof_text(const Token *token, Role who, const EnrolBinding *binding)
{
    guint8 proof[ENROL_PROOF_LEN];

    enrol_proof(token, who, binding, proof);
    return g_base64_encode(proof, sizeof(proof));
}

static gboolean proof_is_right(const char *text, const Token *token, Role who, const EnrolBinding *binding)
{
    g_autofree char *right = proof_text(token, who, binding);

    return strlen(text) == strlen(right) && CRYPTO_memcmp(text, right, strlen(right)) == 0;
}

void enrol_step_clear(EnrolStep *step)
{
    json_decref(step->doc);
    g_clear_error(&step->fail);
    g_free(step->certificate);
    g_free(step->authority);
    memset(step, 0, sizeof(*step));
}

/* The document of a frame that must be of @type. */
static json_t *expect(const Frame *frame, MessageType type, GError **error)
{
    if (frame->head.type == type)
        return message_decode_json(frame, error);
    g_set_error(error, US_ERROR, US_ERROR_PROTOCOL, "%s came where %s was due",
                message_name(frame->head.type), message_name(type));
    return NULL;
}

/* --- the engine's side ---------------------------------------------------- */

struct EnrolEngine {
    Identity *identity;
    TokenState *state;
    EnrolBinding binding;
    MessageType due; /* what must come next; 0: nothing */
};

EnrolEngine *enrol_engine_new(Identity *identity, TokenState *state, const EnrolBinding *binding)
{
    EnrolEngine *engine = g_new0(EnrolEngine, 1);

    engine->identity = identity_ref(identity);
    engine->state = state;
    engine->binding = *binding;
    engine->due = MESSAGE_ENROL;
    return engine;
}

void enrol_engine_free(EnrolEngine *engine)
{
    if (!engine)
        return;
    identity_unref(engine->identity);
    g_free(engine);
}

static void refuse_dead_token(EnrolEngine *engine, EnrolStep *step)
{
    engine->due = 0;
    g_set_error(&step->fail, US_ERROR, US_ERROR_DENIED,
                "the token of this engine has been used, has expired or was ended by %d wrong ones; run "
                "'understudy-engine token' on it for another",
                TOKEN_WRONG_MAX);
}

/* Counted before it is answered, or a restart would forget it. */
static void refuse_wrong_token(EnrolEngine *engine, EnrolStep *step)
{
    guint left = TOKEN_WRONG_MAX - ++engine->state->wrong;

    engine->due = 0;
    step->store = ENROL_STORE_TOKEN;
    if (left > 0)
        g_set_error(&step->fail, US_ERROR, US_ERROR_DENIED, "the token is wrong; %u more wrong ones end it",
                    left);
    else
        g_set_error(
            &step->fail, US_ERROR, US_ERROR_DENIED,
            "the token is wrong and has ended now; run 'understudy-engine token' on that host for another");
}

static void take_enrol(EnrolEngine *engine, const json_t *doc, EnrolStep *step)
{
    g_autoptr(GBytes) key = identity_public_key(engine->identity);
    g_autofree char *key_text = g_base64_encode(g_bytes_get_data(key, NULL), g_bytes_get_size(key));
    g_autofree char *mine = proof_text(&engine->state->token, ROLE_ENGINE, &engine->binding);
    const char *theirs = "";

    json_read(doc, "ENROL", NULL, "{s:s}", "proof", &theirs);
    if (!proof_is_right(theirs, &engine->state->token, ROLE_CONTROLLER, &engine->binding)) {
        refuse_wrong_token(engine, step);
        return;
    }
    engine->due = MESSAGE_ENROL_CERTIFICATE;
    step->type = MESSAGE_ENROL_PROOF;
    step->doc = json_pack("{s:s, s:s, s:s}", "proof", mine, "id", ID_TEXT(identity_peer(engine->identity).id),
                          "public_key", key_text);
}

static void take_certificate(EnrolEngine *engine, const json_t *doc, EnrolStep *step)
{
    const char *certificate, *authority;

    engine->due = 0;
    if (!json_read(doc, "ENROL_CERTIFICATE", &step->fail, "{s:s, s:s}", "certificate", &certificate,
                   "authority", &authority)) {
        message_blame(&step->fail);
        return;
    }
    if (!identity_check(engine->identity, certificate, authority, &step->fail))
        return;
    /* Nobody else, from here on. */
    engine->state->used = TRUE;
    step->store = ENROL_STORE_OWNER;
    step->certificate = g_strdup(certificate);
    step->authority = g_strdup(authority);
    step->type = MESSAGE_ENROLLED;
    step->doc = json_object();
}

void enrol_engine_take(EnrolEngine *engine, const Frame *frame, gint64 wall_ms, EnrolStep *ret_step)
{
    json_auto_t *doc = NULL;

    memset(ret_step, 0, sizeof(*ret_step));
    doc = expect(frame, engine->due, &ret_step->fail);
    if (!doc)
        engine->due = 0;
    else if (!token_state_live(engine->state, wall_ms))
        refuse_dead_token(engine, ret_step);
    else if (engine->due == MESSAGE_ENROL)
        take_enrol(engine, doc, ret_step);
    else
        take_certificate(engine, doc, ret_step);
}

/* --- the controller's side -------------------------------------------------- */

struct EnrolController {
    Token token;
    EnrolBinding binding;
    EnrolSignFunc sign;
    void *user;
    MessageType due;
    Id engine;
};

EnrolController *enrol_controller_new(const Token *token, const EnrolBinding *binding, EnrolSignFunc sign,
                                      void *user)
{
    EnrolController *c = g_new0(EnrolController, 1);

    c->token = *token;
    c->binding = *binding;
    c->sign = sign;
    c->user = user;
    return c;
}

void enrol_controller_free(EnrolController *controller)
{
    if (!controller)
        return;
    OPENSSL_cleanse(&controller->token, sizeof(controller->token));
    g_free(controller);
}

json_t *enrol_controller_start(EnrolController *c, GError **error)
{
    g_autofree char *proof = NULL;

    g_assert(!c->due);
    if (CRYPTO_memcmp(c->token.fingerprint, c->binding.listener, FINGERPRINT_LEN) != 0) {
        g_set_error(
            error, US_ERROR, US_ERROR_DENIED,
            "another key answers than the one the token names: wrong address, a token of another host, or "
            "somebody in between; nothing was sent");
        return NULL;
    }
    c->due = MESSAGE_ENROL_PROOF;
    proof = proof_text(&c->token, ROLE_CONTROLLER, &c->binding);
    return json_pack("{s:s}", "proof", proof);
}

static gboolean liar(GError **error)
{
    g_set_error(error, US_ERROR, US_ERROR_DENIED,
                "the engine did not prove that it knows the token; nothing was signed");
    return FALSE;
}

/* The engine's word, and its key; *@ret_key is the caller's. */
static gboolean read_proof(EnrolController *c, const json_t *doc, GBytes **ret_key, GError **error)
{
    const char *proof, *id, *key_text;
    guint8 digest[SHA256_DIGEST_LENGTH];
    guint8 *key;
    gsize len;

    if (!json_read(doc, "ENROL_PROOF", error, "{s:s, s:s, s:s}", "proof", &proof, "id", &id, "public_key",
                   &key_text) ||
        !id_parse(id, &c->engine, error))
        return message_blame(error);
    if (!proof_is_right(proof, &c->token, ROLE_ENGINE, &c->binding))
        return liar(error);
    key = g_base64_decode(key_text, &len);
    SHA256(key, len, digest);
    *ret_key = g_bytes_new_take(key, len);
    if (memcmp(digest, c->token.fingerprint, FINGERPRINT_LEN) == 0)
        return TRUE;
    g_clear_pointer(ret_key, g_bytes_unref);
    return liar(error);
}

static json_t *certify(EnrolController *c, const json_t *doc, GError **error)
{
    g_autoptr(GBytes) key = NULL;
    g_autofree char *certificate = NULL;
    g_autofree char *authority = NULL;

    if (!read_proof(c, doc, &key, error) ||
        !c->sign(c->user, key, c->engine, &certificate, &authority, error))
        return NULL;
    return json_pack("{s:s, s:s}", "certificate", certificate, "authority", authority);
}

gboolean enrol_controller_take(EnrolController *c, const Frame *frame, MessageType *ret_type,
                               json_t **ret_doc, gboolean *ret_done, Id *ret_engine, GError **error)
{
    json_auto_t *doc = expect(frame, c->due, error);

    *ret_done = FALSE;
    *ret_doc = NULL;
    if (!doc)
        return FALSE;
    if (c->due == MESSAGE_ENROLLED) {
        c->due = 0;
        *ret_done = TRUE;
        *ret_engine = c->engine;
        return TRUE;
    }
    c->due = MESSAGE_ENROLLED;
    *ret_type = MESSAGE_ENROL_CERTIFICATE;
    *ret_doc = certify(c, doc, error);
    return *ret_doc != NULL;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/link/token.h"

#include "vmconnect/base/durable.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"

#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <string.h>

#define PREFIX "us1."
#define BODY_LEN (TOKEN_SECRET_LEN + FINGERPRINT_LEN)
#define CHECK_LEN 3
#define RAW_LEN (BODY_LEN + CHECK_LEN) /* a multiple of 3: no padding */
#define TEXT_LEN (RAW_LEN / 3 * 4)
#define FORMAT 1
#define FILE_MAX 4096

Token token_random(const guint8 fingerprint[static FINGERPRINT_LEN])
{
    Token token;

    g_assert(RAND_bytes(token.secret, sizeof(token.secret)) == 1);
    memcpy(token.fingerprint, fingerprint, FINGERPRINT_LEN);
    return token;
}

static void add_check(guint8 raw[static RAW_LEN])
{
    guint8 digest[SHA256_DIGEST_LENGTH];

    SHA256(raw, BODY_LEN, digest);
    memcpy(raw + BODY_LEN, digest, CHECK_LEN);
}

char *token_format(const Token *token)
{
    guint8 raw[RAW_LEN];
    g_autofree char *body = NULL;

    memcpy(raw, token->secret, TOKEN_SECRET_LEN);
    memcpy(raw + TOKEN_SECRET_LEN, token->fingerprint, FINGERPRINT_LEN);
    add_check(raw);
    body = g_base64_encode(raw, RAW_LEN);
    g_strdelimit(body, "+", '-');
    g_strdelimit(body, "/", '_');
    return g_strconcat(PREFIX, body, NULL);
}

/* The text without the white space around it, if it can be a token at all. */
static char *strip(const char *text)
{
    char *copy;

    if (strnlen(text, 1024) == 1024)
        return NULL;
    copy = g_strstrip(g_strdup(text));
    if (strlen(copy) == strlen(PREFIX) + TEXT_LEN && g_str_has_prefix(copy, PREFIX))
        return copy;
    g_free(copy);
    return NULL;
}

gboolean token_parse(const char *text, Token *ret_token, GError **error)
{
    g_autofree char *stripped = strip(text);
    g_autofree char *body = stripped ? g_strdup(stripped + strlen(PREFIX)) : NULL;
    g_autofree guint8 *raw = NULL;
    g_autofree char *again = NULL;
    Token token;
    gsize len = 0;

    if (!body)
        goto bad;
    g_strdelimit(body, "-", '+');
    g_strdelimit(body, "_", '/');
    raw = g_base64_decode(body, &len);
    if (len != RAW_LEN)
        goto bad;
    memcpy(token.secret, raw, TOKEN_SECRET_LEN);
    memcpy(token.fingerprint, raw + TOKEN_SECRET_LEN, FINGERPRINT_LEN);
    /* GLib skips what is not base64, and this also compares the check. */
    again = token_format(&token);
    if (strcmp(again, stripped) != 0)
        goto bad;
    *ret_token = token;
    return TRUE;
bad:
    g_set_error(
        error, US_ERROR, US_ERROR_USAGE,
        "this is not a token, or it was mistyped; a token is one word of %zu characters that begins with %s",
        strlen(PREFIX) + TEXT_LEN, PREFIX);
    return FALSE;
}

TokenState token_state_new(const guint8 fingerprint[static FINGERPRINT_LEN], gint64 wall_ms)
{
    return (TokenState){.token = token_random(fingerprint), .expires_at_ms = wall_ms + TOKEN_VALID_MS};
}

gboolean token_state_live(const TokenState *state, gint64 wall_ms)
{
    /* A clock that went back must not make it live longer than a day. */
    return !state->used && state->wrong < TOKEN_WRONG_MAX && wall_ms < state->expires_at_ms &&
           wall_ms >= state->expires_at_ms - TOKEN_VALID_MS;
}

gboolean token_state_save(const TokenState *state, const char *path, GError **error)
{
    g_autofree char *token = token_format(&state->token);
    json_auto_t *doc = json_pack("{s:i, s:s, s:I, s:i}", "format", FORMAT, "token", token, "expires_at_ms",
                                 (json_int_t)state->expires_at_ms, "wrong", (int)state->wrong);
    g_autofree char *text = json_text(doc);

    return durable_replace(path, text, strlen(text), 0600, error);
}

static gboolean read_state(const json_t *doc, TokenState *ret_state, GError **error)
{
    const char *token;
    json_int_t expires;
    int format, wrong;
    TokenState s = {0};

    if (!json_read(doc, "token file", error, "{s:i*}", "format", &format))
        return FALSE;
    if (format > FORMAT) {
        g_set_error(error, US_ERROR, US_ERROR_REFUSED,
                    "format %d is newer than this program's %d; the file is left alone", format, FORMAT);
        return FALSE;
    }
    if (!json_read(doc, "token file", error, "{s:i, s:s, s:I, s:i}", "format", &format, "token", &token,
                   "expires_at_ms", &expires, "wrong", &wrong) ||
        !token_parse(token, &s.token, error))
        return FALSE;
    s.expires_at_ms = expires;
    s.wrong = wrong < 0 ? TOKEN_WRONG_MAX : (guint)wrong;
    *ret_state = s;
    return TRUE;
}

gboolean token_state_load(const char *path, TokenState *ret_state, GError **error)
{
    g_autoptr(GError) why = NULL;
    g_autofree char *text = NULL;
    json_auto_t *doc = NULL;
    gsize len;

    if (!durable_read(path, &text, &len, error))
        return FALSE;
    doc = json_parse(text, len, FILE_MAX, &why);
    OPENSSL_cleanse(text, len);
    if (doc && read_state(doc, ret_state, &why))
        return TRUE;
    if (g_error_matches(why, US_ERROR, US_ERROR_USAGE))
        why->code = US_ERROR_CORRUPT;
    g_propagate_prefixed_error(error, g_steal_pointer(&why), "%s: ", path);
    return FALSE;
}

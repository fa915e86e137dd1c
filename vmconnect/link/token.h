/* SPDX-License-Identifier: Apache-2.0 */
/* token - the word with which a controller may take an engine into its care.
 *
 * 128 random bits and the fingerprint of the engine's key, as one printable
 * word with a check against typing errors. It never travels: both ends prove
 * that they know it (enrol.h). Valid 24 hours, once; five wrong proofs end it. */
#pragma once

#include "vmconnect/link/peer.h"

#include <glib.h>

#define TOKEN_SECRET_LEN 16
#define TOKEN_WRONG_MAX 5
#define TOKEN_VALID_MS (24 * 3600 * (gint64)1000)

typedef struct {
    guint8 secret[TOKEN_SECRET_LEN];
    guint8 fingerprint[FINGERPRINT_LEN];
} Token;

Token token_random(const guint8 fingerprint[static FINGERPRINT_LEN]);

/* us1. and 68 characters of A-Z a-z 0-9 - _; the caller frees. */
char *token_format(const Token *token);

/* USAGE; surrounding white space is ignored. The text is never repeated in the message. */
gboolean token_parse(const char *text, Token *ret_token, GError **error);

/* The engine's side: the token in force and what is left of it. */
typedef struct {
    Token token;
    gint64 expires_at_ms; /* wall clock: it must survive a reboot */
    guint wrong;          /* proofs that were wrong */
    gboolean used;        /* an owner is being stored; not in the file, which goes when that is done */
} TokenState;

TokenState token_state_new(const guint8 fingerprint[static FINGERPRINT_LEN], gint64 wall_ms);

/* Not expired and not used up. */
gboolean token_state_live(const TokenState *state, gint64 wall_ms);

/* A small JSON file, 0600, durable. Both block on the disk. Load: NOT_FOUND if there is none, CORRUPT, REFUSED
 * for a newer format. */
gboolean token_state_save(const TokenState *state, const char *path, GError **error);
gboolean token_state_load(const char *path, TokenState *ret_state, GError **error);

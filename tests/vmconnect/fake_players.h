/* SPDX-License-Identifier: Apache-2.0 */
/* fake_players - worker.h and keeper.h without a thread: they remember what they were
 * told, and say what a test wants them to say.
 *
 * A program that has this file's functions takes no worker or keeper from the library. */
#pragma once

#include "vmconnect/replicate/keeper.h"
#include "vmconnect/replicate/worker.h"

#include <glib.h>

typedef struct {
    Id vm;
    gboolean standby;
    Mailbox *reports;
    ActiveRole *role;   /* a worker's */
    Identity *identity; /* a worker's, borrowed */
    GQueue told;        /* of Command *, not answered yet */
} FakePlayer;

/* The one that plays that side of @vm, or NULL. */
FakePlayer *fake_player(Id vm, gboolean standby);

/* How many were ever started. */
guint fake_players_started(void);

/* Answer the oldest command; it must be @verb. @error is taken, NULL: it was done. */
void fake_player_answer(FakePlayer *player, CommandVerb verb, GError *error);
/* The same with @result, which is taken. */
void fake_player_give(FakePlayer *player, CommandVerb verb, json_t *result);

/* Say @state of itself. */
void fake_player_say(FakePlayer *player, const char *state);

/* Say the last word: the loop joins and frees it. */
void fake_player_end(FakePlayer *player);

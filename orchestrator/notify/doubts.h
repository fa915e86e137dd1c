/* SPDX-License-Identifier: Apache-2.0 */
/* doubts - messages that their receiver has refused, of which it is not known whether they or the channel are at fault.
 *
 * Pure. They are tried in turn, the oldest first. That one is at fault shows when it is refused while others are taken; when,
 * and what then, is courier.h's. */
#pragma once

#include <glib.h>
#include <jansson.h>

/* So many refused in a row are the channel's fault: no further ones are tried. */
#define DOUBTS_MANY 100

/* Where such a message stands in the history. */
typedef struct {
    guint64 after, upto; /* sequences: its events come after the one, and end with the other */
    guint64 events;      /* how many are in it */
} Doubt;

typedef struct {
    GArray *list; /* Doubt, oldest first */
    guint turn;
} Doubts;

void doubts_init(Doubts *d);
void doubts_clear(Doubts *d);

/* Behind those there are. */
void doubts_add(Doubts *d, Doubt doubt);
/* Whose turn it is; NULL: there are none. Until the next change. */
const Doubt *doubts_current(const Doubts *d);
/* It was refused again: the next one's turn. */
void doubts_turn(Doubts *d);
/* A message was taken: the oldest's turn. */
void doubts_rewind(Doubts *d);
/* Whose turn it is is none any more, and it is the oldest's. */
void doubts_settle(Doubts *d);

/* Whose turn it is is two: @before of its events end with @at, @behind come after it. It is the first one's turn. FALSE: there
 * are many, and it is not the oldest: who refuses all for days is not sent each event by itself then. */
gboolean doubts_split(Doubts *d, guint64 at, guint64 before, guint64 behind);

gboolean doubts_are_many(const Doubts *d);
/* How many events are in them. */
guint64 doubts_events(const Doubts *d);

/* [[after, upto, events]…], NULL for none, and back: without what comes after @newest, which is not in the history. CORRUPT. */
json_t *doubts_to_json(const Doubts *d);
gboolean doubts_from_json(Doubts *d, const json_t *doc, guint64 newest, GError **error);

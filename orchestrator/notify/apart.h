/* SPDX-License-Identifier: Apache-2.0 */
/* apart - the recipients of a channel's mails who lack what the others have.
 *
 * Each has a courier of his own, made for him alone, which begins with the message that he alone was refused, goes on up to
 * where the channel is, and is taken back when it stands still there: then the next message is the next for both. Their
 * states stand in the channel's, so they are durable together. Loop's thread only. */
#pragma once

#include "orchestrator/notify/courier.h"

typedef struct Apart Apart;

/* Nobody yet. @whole: the channel's courier, which outlives it. */
Apart *apart_new(Courier *whole);
/* Begin nothing any more for any of them, and forget them; their states are not kept. */
void apart_close(Apart *a);
void apart_free(Apart *a);

/* {address: courier_state()} and back, before apart_start(). NULL: nobody. CORRUPT. */
json_t *apart_to_json(const Apart *a);
gboolean apart_read(Apart *a, const json_t *doc, GError **error);
/* Those that were read may begin. */
void apart_start(Apart *a);

/* @recipient is apart from now on, since @why; @state says where he stands. */
void apart_part(Apart *a, const char *recipient, const json_t *state, const char *why);
/* Those who stand where the channel is are apart no more; the channel is between two messages. Was there one? */
gboolean apart_take_back(Apart *a);
/* Those of @to who are not apart. The caller frees. */
char **apart_others(const Apart *a, char *const *to);

/* The channel is at another event than before. */
void apart_poke(Apart *a);
/* Try at once what failed. */
void apart_retry(Apart *a);

/* [courier_trouble()] */
json_t *apart_describe(const Apart *a);

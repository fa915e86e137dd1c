/* SPDX-License-Identifier: Apache-2.0 */
/* courier - brings the events of the history to one channel, in order, at least once each.
 *
 * What has come so far is durable: after each message the number of its last event, and before it that of the event that
 * it will end with. So one that died in the middle makes the same message again, with the same id, by which a
 * receiver knows it. Between its messages are the pauses of pace.h. While more than one is allowed, an
 * event is a message; the last that the rate allows takes all that wait. Nothing is ever passed over but what the
 * channel does not want, what the history has forgotten, which the next message then says, and what the receiver
 * refuses.
 *
 * One whose receiver says that he will never take it may be at fault itself, or the channel is: that shows by others. It is
 * then in doubt (doubts.h): what comes after it is tried, too. When something was taken, it is tried once more, and
 * given up if it is refused again, which an event tells. If nothing is taken, nothing is given up.
 *
 * Of a mail with several recipients the server may refuse one. He is then apart (apart.h): brought what he lacks by a
 * courier of his own, which is as patient, until he has what the others have; nobody waits for him.
 * Loop's thread only. */
#pragma once

#include "orchestrator/notify/channel.h"
#include "orchestrator/notify/pace.h"
#include "orchestrator/notify/sending.h"
#include "orchestrator/state/database.h"

typedef struct {
    SendingGround ground;
    Database *db;
    Id controller;
    PaceSettings pace;
    gint64 idle_ms; /* how far it has looked without finding anything is kept so often */
    void (*on_event)(void *user, const Event *event);
    void *user;
} CourierGround;

typedef struct Courier Courier;

/* Takes @channel. @state: of courier_state(), or courier_first_state(). CORRUPT. */
Courier *courier_new(const CourierGround *ground, Id id, Channel *channel, const json_t *state,
                     GError **error);

/* Of a new channel: it is told what comes after @newest. New reference. */
json_t *courier_first_state(guint64 newest);

/* There may be new events. */
void courier_poke(Courier *c);
/* Try at once what failed, for those apart, too. */
void courier_retry(Courier *c);

Id courier_id(const Courier *c);
const Channel *courier_channel(const Courier *c);

/* {…channel_describe(), "state": {"delivered", "delivered_at", "waiting", "refused": {"count", "last": {"sequence",
 * "code", "to", "at", "error"} or null}, "failing_since", "error", "next_try_at", "apart": [{"to", "failing_since",
 * "error", "next_try_at"}]}} is told once, on the loop, also when the courier was closed meanwhile; borrowed. */
void courier_describe(Courier *c, void (*on_described)(void *user, const json_t *doc), void *user);

/* Begin nothing any more, give up what is on its way, and free it when the database has answered. Its state is
 * kept once more if @keep. */
void courier_close(Courier *c, gboolean keep);

/* --- for apart.c, not for others ------------------------------------------------ */

/* Of @whole's channel to @recipient alone, @state: of courier_state(). It begins with courier_start(). */
Courier *courier_new_apart(Courier *whole, const char *recipient, const json_t *state, GError **error);
void courier_start(Courier *c);
/* Its last message was not taken. */
void courier_note_failure(Courier *c, const char *why);
/* Nothing is under way to him, and he has all that the others have. */
gboolean courier_is_level(const Courier *one);
const char *courier_recipient(const Courier *one);
/* New references; of courier_describe()'s "apart" one element. */
json_t *courier_state(const Courier *c);
json_t *courier_trouble(Courier *one);

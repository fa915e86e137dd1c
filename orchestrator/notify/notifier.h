/* SPDX-License-Identifier: Apache-2.0 */
/* notifier - tells people: every channel there is, each with a courier of its own.
 *
 * What is told are the events of the database, so nothing is lost while a mail server or this controller is down. No
 * channel waits for another. Loop's thread only. */
#pragma once

#include "orchestrator/notify/channel.h"
#include "orchestrator/notify/courier.h"

#define NOTIFIER_MAX_CHANNELS 64

typedef struct Notifier Notifier;

/* The loop, deadlines, pauses and places of a controller as it is run; its database, identity and what is done with an
 * event about a channel are the caller's to fill in. */
CourierGround notifier_ground(uv_loop_t *loop, const char *hooks);

/* @ground is copied, with its texts. */
Notifier *notifier_new(const CourierGround *ground);

/* What the database had at its start, before database_start(). CORRUPT. */
gboolean notifier_load(Notifier *n, const json_t *channels, GError **error);

/* There may be new events: after database_start(), and whenever some come. */
void notifier_poke(Notifier *n);

/* It is done, or why not; once, possibly before the function that takes it returns. */
typedef void (*NotifierDone)(void *user, const GError *error);

/* Takes @channel. @done when it is durable: it is told what comes from now on. EXISTS, REFUSED (too many). */
void notifier_add(Notifier *n, Channel *channel, NotifierDone done, void *user);
/* NOT_FOUND. What waited is not told any more. */
void notifier_remove(Notifier *n, const char *name, NotifierDone done, void *user);
/* Send something through it now, whatever its severity and rate; @done has the real outcome. If it was delivered, what
 * waits is tried at once, too. */
void notifier_test(Notifier *n, const char *name, NotifierDone done, void *user);

/* {"channels": [courier_describe()…]} by name; with @name that one alone. @doc is given away; NULL with @error NOT_FOUND. */
typedef void (*NotifierDescribed)(void *user, json_t *doc, const GError *error);
void notifier_describe(Notifier *n, const char *name, NotifierDescribed done, void *user);

/* Begin nothing any more; who waits for a test is told CANCELLED. Before database_close(). */
void notifier_close(Notifier *n);
/* After the database's close. */
void notifier_free(Notifier *n);

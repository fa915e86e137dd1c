/* SPDX-License-Identifier: Apache-2.0 */
/* sower - lays what a seed has under what is about to be compared.
 *
 * A range that the active asks about is first copied from the seed into the overlay that was begun, and only then
 * hashed there: what is equal lies where it belongs already, what is not is overwritten. So the seed is read once,
 * as far as it is asked for, and a hash never stands for anything but what is in the store. What was laid and is
 * not decided when a link ends is nothing that anybody has: it is asked for again, or sent.
 *
 * A fixed number of buffers; nothing here waits but the opening of a connection. It is the receiver's, and polled
 * together with it. */
#pragma once

#include "vmconnect/base/generation.h"
#include "vmconnect/link/bulk.h"
#include "vmconnect/replicate/seed.h"
#include "vmconnect/store/store.h"

#include <glib.h>
#include <poll.h>

typedef struct Sower Sower;

/* For what was begun in @store. All is borrowed, and outlives it. */
Sower *sower_new(Store *store, const Generation *begun, Seed *seed);
/* What was not laid is forgotten. store_disk()s must have been drained. NULL is accepted. */
void sower_free(Sower *s);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Sower, sower_free)

/* @range lies on its disk. @lay: nothing of it has come yet; else it only keeps its place in the row. FALSE with
 * @error PROTOCOL: more is open than MESSAGE_COMPARES_MAX allows. */
gboolean sower_ask(Sower *s, MessageRange range, gboolean lay, GError **error);

#define SOWER_POLL 2

/* Fill @fds for poll(). TRUE: there is something to do at once. */
gboolean sower_prepare(Sower *s, struct pollfd fds[static SOWER_POLL]);

/* Do what the revents in @fds (NULL: none were asked for) and what ended allow. FALSE with @error: the seed was
 * lost (seed_lost()), or the store's disk failed. */
gboolean sower_pump(Sower *s, const struct pollfd *fds, GError **error);

/* The next range under which all is laid, in the order in which they were asked for. */
gboolean sower_take(Sower *s, MessageRange *ret_range);

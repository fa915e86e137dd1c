/* SPDX-License-Identifier: Apache-2.0 */
/* hasher - the standby's answers to COMPARE: hashes of what lies on its side.
 *
 * Ranges are answered in the order in which they were asked, piece by piece: holes as such, which are never read;
 * the rest read with several reads in flight and hashed as they end. A fixed number of buffers, so memory does not
 * depend on what is asked. Nothing here waits but the opening of a connection; it is the receiver's, and polled
 * together with it. */
#pragma once

#include "vmconnect/base/generation.h"
#include "vmconnect/link/bulk.h"
#include "vmconnect/store/store.h"

#include <glib.h>
#include <poll.h>

typedef struct Hasher Hasher;

/* Reads what was begun in @store, and hashes it with @key (DIGEST_KEY_LEN). @held (of Extents *, one a disk; NULL: nobody asks) gets what the begun
 * overlays themselves hold of each range that is compared. All but @key are borrowed, and outlive it. */
Hasher *hasher_new(Store *store, const Generation *begun, const guint8 *key, GPtrArray *held);
/* What was not answered is forgotten. store_disk()s must have been drained. NULL is accepted. */
void hasher_free(Hasher *h);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Hasher, hasher_free)

/* @range lies on its disk. FALSE with @error PROTOCOL: more is open than MESSAGE_COMPARES_MAX allows. */
gboolean hasher_ask(Hasher *h, MessageRange range, GError **error);

#define HASHER_POLL 2

/* Fill @fds for poll(). TRUE: there is something to do at once. */
gboolean hasher_prepare(Hasher *h, struct pollfd fds[static HASHER_POLL]);

/* Do what the revents in @fds (NULL: none were asked for) and answered reads allow. FALSE with @error if a
 * read failed or the export is gone. */
gboolean hasher_pump(Hasher *h, const struct pollfd *fds, GError **error);

/* The next answer, if it is there. ret->hashes is borrowed until the next call. */
gboolean hasher_take(Hasher *h, MessageHashes *ret_hashes);

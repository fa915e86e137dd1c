/* SPDX-License-Identifier: Apache-2.0 */
/* receiver - the standby's end of a bulk link: frames in, store calls out.
 *
 * Used by the keeper's thread. It trusts the peer's certificate and reign, and
 * nothing that it says: every range is checked against the disk, every block
 * against its checksum. Memory is bounded by the credit it gave, the hasher's and the sower's.
 *
 * A receiver lives as long as its link. What it leaves unsealed is the store's
 * business at the next attach. */
#pragma once

#include "vmconnect/link/link.h"
#include "vmconnect/replicate/hasher.h"
#include "vmconnect/replicate/seed.h"
#include "vmconnect/replicate/sower.h"
#include "vmconnect/store/store.h"

#include <glib.h>
#include <poll.h>

#define RECEIVER_CREDIT (8u << 20)

typedef struct Receiver Receiver;

/* Takes @link (OPEN, bulk; ATTACH was its first frame) and begins a new session
 * on @store. @seed is taken, too, and closed when it is needed no more; NULL: none, or @store has a tip.
 * NULL with @error: refused by the store; the peer has been told. */
Receiver *receiver_new(Link *link, Store *store, Reign reign, Seed *seed, GError **error);
/* The link is closed at once; writes in flight are waited for. NULL is accepted. */
void receiver_free(Receiver *r);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Receiver, receiver_free)

#define RECEIVER_DISKS_MAX 65 /* more than a PCI bus takes */
#define RECEIVER_POLL_MAX \
    (1 + RECEIVER_DISKS_MAX + HASHER_POLL + SOWER_POLL) /* the link, disks, their comparison */

/* Fill @fds for poll(); *@ret_timeout_ms as link_timeout_ms(). Returns how many. */
guint receiver_prepare(Receiver *r, struct pollfd fds[static RECEIVER_POLL_MAX], int *ret_timeout_ms);

/* Do what came. FALSE with @error when the link is over; the peer has been told why if
 * it was our doing. */
gboolean receiver_pump(Receiver *r, const struct pollfd *fds, guint n, GError **error);

/* Has the store lost what was begun (its storage daemon died)? Then nothing may be
 * called any more but receiver_close() or _free(). */
gboolean receiver_is_stranded(const Receiver *r);

/* As the seed says it; NULL if there is none (any more). */
const char *receiver_seed_why(const Receiver *r);
const char *receiver_seed_lost(const Receiver *r);

/* A sentence for the operator when this session should be shown as waiting, or NULL. */
const char *receiver_slow(const Receiver *r);

/* Steady: when something last came from the active; while it lives, it asks every two seconds if nothing else. */
gint64 receiver_heard_ms(const Receiver *r);

Reign receiver_reign(const Receiver *r);

/* End it: the peer is told @why. */
void receiver_close(Receiver *r, const GError *why);

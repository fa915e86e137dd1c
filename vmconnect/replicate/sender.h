/* SPDX-License-Identifier: Apache-2.0 */
/* sender - the active's end of a bulk link: says what docs/protocol.md has the active say.
 *
 * Blocking, for the worker's thread; every wait has a deadline. It knows the
 * protocol, not where data comes from (stream.h) nor what is worth sending
 * (worker.h). After any error the link is over: free the sender and attach anew.
 *
 * Happy path: sender_attach → { sender_begin → sender_data, sender_zero, sender_compare, sender_same …
 * [→ sender_slice, sender_sliced …] → sender_seal, sender_sealed | sender_confirm }…
 * Slices and seals keep the standby busy with its disk: they are said first, and the
 * answer is waited for when there is nothing else to do. */
#pragma once

#include "vmconnect/link/bulk.h"
#include "vmconnect/link/link.h"
#include "vmconnect/replicate/digest.h"
#include "vmconnect/replicate/pacer.h"
#include "vmconnect/replicate/position.h"
#include "vmconnect/replicate/squeeze.h"

#include <glib.h>
#include <poll.h>

#define SENDER_BLOCK_MAX (256u << 10) /* bytes of one DATA frame: 16 of them in flight fill a fast link */

typedef struct Sender Sender;

/* How long an answer is waited for. Read at each wait: its owner may change it. */
typedef struct {
    int wake_fd;       /* readable: only some seconds more; -1: none */
    gint64 give_up_ms; /* steady time at which every wait ends; 0: none */
} Patience;

/* Takes @link (OPEN, bulk); borrows @patience. NULL with @error: the standby's refusal, or why the link is over. */
Sender *sender_attach(Link *link, const Attach *attach, const Patience *patience, GError **error);

/* Without last words. NULL is accepted. */
void sender_free(Sender *s);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Sender, sender_free)

/* Where the standby stood at attach; kept true by seals made since. Borrowed. */
const Position *sender_position(const Sender *s);

/* Why the standby asked for a slower pace, or NULL; borrowed until the next call. */
const char *sender_slow(const Sender *s);

void sender_set_limits(Sender *s, guint64 bandwidth_bytes_per_s, SqueezeMode squeeze);

/* Payload bytes of data that went out on the wire, since the attach. */
guint64 sender_payload_bytes(const Sender *s);

/* Start an unsealed generation; @g->id names it until sender_seal() gives the id that stays. */
gboolean sender_begin(Sender *s, const Generation *g, GError **error);

/* Is there room for one more block of @len bytes: credit, queue, bandwidth? If
 * not, *@ret_wait_ms is how long poll may wait for it (-1: until the link moves). */
gboolean sender_has_room(Sender *s, gsize len, int *ret_wait_ms);

/* Send one block (@len at most SENDER_BLOCK_MAX; sender_has_room() said yes). A block of zeros goes as a
 * zero range. @data is borrowed until @on_sent(@user), which is called exactly once, also
 * by sender_free(), but not after FALSE. */
gboolean sender_data(Sender *s, guint disk, guint64 offset, const guint8 *data, gsize len,
                     GDestroyNotify on_sent, void *user, GError **error);
gboolean sender_zero(Sender *s, guint disk, guint64 offset, guint64 len, GError **error);

/* Can disks be compared? Not if the standby's program is of an older version. */
gboolean sender_compares(const Sender *s);

/* Told by sender_pump() what lies on the standby. FALSE with @error ends the link. */
typedef gboolean (*SenderHashes)(void *user, const MessageHashes *hashes, GError **error);

/* Whom to tell from now on; NULL: nobody, late answers are dropped. */
void sender_set_hashes(Sender *s, SenderHashes on_hashes, void *user);

/* The key of both sides' hashes, digest.h. */
void sender_digest_key(const Sender *s, guint8 out[static DIGEST_KEY_LEN]);

/* Ask for a range, from a whole block on; at most MESSAGE_COMPARES_MAX are open. Answers come in the order of
 * the questions, each in one piece or several, in ascending order; until the next slice, which ends all that are open. */
gboolean sender_compare(Sender *s, guint disk, guint64 offset, guint64 len, GError **error);

/* What lies there is what would be sent. */
gboolean sender_same(Sender *s, guint disk, guint64 offset, guint64 len, GError **error);

/* For the caller's poll(); and to be called with its revents. */
void sender_prepare(Sender *s, struct pollfd *pfd, int *ret_timeout_ms);
gboolean sender_pump(Sender *s, short revents, GError **error);

/* Everything sent since BEGIN or the former slice shall be durable on the standby, as part of this
 * pass; it is, when sender_sliced() says TRUE. A @pass->since other than before starts a new
 * pass: the standby forgets what the old one had. */
gboolean sender_slice(Sender *s, const Pass *pass, GError **error);
gboolean sender_sliced(Sender *s, GError **error);

/* @g shall be the tip from now on, durably; it is, when sender_sealed() says TRUE, which sets @g->sealed_at_ms.
 * Of its belongings those bytes go along that the former tip does not have. */
gboolean sender_seal(Sender *s, const Generation *g, GError **error);
gboolean sender_sealed(Sender *s, Generation *g, GError **error);

/* The tip is still the truth at @at_ms (wall clock). */
gboolean sender_confirm(Sender *s, gint64 at_ms, GError **error);

/* The standby gives up what is unsealed. */
gboolean sender_discard(Sender *s, GError **error);

/* BYE, at most 2 s; frees. */
void sender_close(Sender *s);

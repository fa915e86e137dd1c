/* SPDX-License-Identifier: Apache-2.0 */
/* digest - the hash by which both sides of a link compare a block of a disk.
 *
 * A guest chooses what its blocks hold, and must not be able to make two of them look equal. So it is a GMAC under
 * a key of the link's session, of which the guest never sees anything: a polynomial of the block at a secret point,
 * at which two blocks of 64 KiB meet with a chance below 2^-115, whoever chose them, and at a third of the cost of
 * SHA-256 on a host whose cores are its guests'. It proves nothing to who has the key, and is kept nowhere.
 * One thread. */
#pragma once

#include "vmconnect/link/message.h"

#include <glib.h>

typedef struct Digest Digest;

#define DIGEST_KEY_LEN 32 /* link_binding() */

Digest *digest_new(const guint8 key[static DIGEST_KEY_LEN]);
void digest_free(Digest *digest);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Digest, digest_free)

/* The hash of each block of @len bytes, the last of which may be shorter: MESSAGE_HASH_LEN bytes of @out a block. */
void digest_blocks(Digest *digest, const guint8 *data, gsize len, guint8 *out);

/* The same of one block of @len (1 … MESSAGE_BLOCK) zeros, without reading any; borrowed until the next call. */
const guint8 *digest_zeros(Digest *digest, gsize len);

/* SPDX-License-Identifier: Apache-2.0 */
/* digest - the hash by which both sides of a link compare a block of a disk.
 *
 * The first 128 bits of SHA-256: a guest chooses what its blocks hold, and must not be able to make two
 * of them look equal. One thread; what a hash needs is set up once and not for each block. */
#pragma once

#include "vmconnect/link/message.h"

#include <glib.h>

typedef struct Digest Digest;

Digest *digest_new(void);
void digest_free(Digest *digest);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Digest, digest_free)

/* The hash of each block of @len bytes, the last of which may be shorter: MESSAGE_HASH_LEN bytes of @out a block. */
void digest_blocks(Digest *digest, const guint8 *data, gsize len, guint8 *out);

/* The same of one block of @len (1 … MESSAGE_BLOCK) zeros, without reading any; borrowed until the next call. */
const guint8 *digest_zeros(Digest *digest, gsize len);

/* SPDX-License-Identifier: Apache-2.0 */
/* belongings - what a VM has beside its disks: a few small files, all of them secret.
 *
 *   nvram                   the store of firmware variables
 *   tpm2/tpm2-00.permall    state of an emulated TPM, by its path below libvirt's folder for the VM;
 *   tpm1.2/tpm-00.permall   … of the older kind
 *
 * A set is a GPtrArray of Belonging *, sorted by name. Name, size and digest describe a file for
 * ledgers and comparisons; what is in it is there only on its way, compressed: such a
 * store is mostly one byte value. Never to be shown or logged. */
#pragma once

#include <glib.h>
#include <jansson.h>

#define BELONGINGS_NVRAM "nvram"

#define BELONGINGS_MAX 17                         /* files: the variable store, and 16 of a TPM */
#define BELONGINGS_NVRAM_MAX ((64u << 20) + 4096) /* bytes: one of aarch64 has 64 MiB */
#define BELONGINGS_TPM_MAX (1u << 20)             /* bytes of each */
#define BELONGINGS_PACKED_MAX \
    (2u << 20) /* compressed, of a whole set: with a definition it fits into a frame */

typedef struct {
    char *name;
    guint64 size_bytes;
    char *digest;   /* SHA-256 of the file, 64 lower-case hexadecimal digits */
    GBytes *packed; /* the file as one zstd frame; NULL: only described */
} Belonging;

GPtrArray *belongings_new(void);
GPtrArray *belongings_copy(const GPtrArray *set);

/* Could a file be called so, and how long may it be? 0: no. */
guint64 belonging_max_bytes(const char *name);

/* Of a file's bytes, at most belonging_max_bytes(). The caller frees. */
Belonging *belonging_new(const char *name, const void *data, gsize len);
Belonging *belonging_copy(const Belonging *b); /* `packed` is shared */
void belonging_free(Belonging *b);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Belonging, belonging_free)

/* The file. NULL with @error CORRUPT: not what size and digest say; not for a mere description. */
GBytes *belonging_unpack(const Belonging *b, GError **error);

const Belonging *belongings_find(const GPtrArray *set, const char *name);
/* Is a file with these bytes in @set (NULL: an empty one), under whatever name? */
gboolean belongings_has_digest(const GPtrArray *set, const char *digest);
/* The same names with the same bytes? */
gboolean belongings_equal(const GPtrArray *a, const GPtrArray *b);

/* [{"name", "size_bytes", "sha256"}…]; with @packed also "zstd" (base64) of what is there and not
 * in @known (NULL: nothing is). Reading takes both and refuses (USAGE) all else: names
 * that are none or out of order, more or longer than the limits above, before anything is allocated. */
json_t *belongings_to_json(const GPtrArray *set);
json_t *belongings_to_json_packed(const GPtrArray *set, const GPtrArray *known);
GPtrArray *belongings_from_json(const json_t *doc, GError **error);

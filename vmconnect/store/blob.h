/* SPDX-License-Identifier: Apache-2.0 */
/* blob - small files named by what is in them: extent lists, definitions, belongings.
 *
 * Written once and never changed, so a record that names one by its digest (SHA-256:
 * guests choose which blocks they write) is all the ledger needs. What no record
 * names is a leftover; the store removes it. Files are 0600: definitions hold secrets,
 * belongings are. */
#pragma once

#include "vmconnect/base/extents.h"

#include <glib.h>

typedef enum {
    BLOB_EXTENTS,    /* <digest>.extents */
    BLOB_DEFINITION, /* <digest>.xml */
    BLOB_SECRET,     /* <digest>.secret: firmware variables, TPM state */
} BlobKind;

/* Write @data into @dir if it is not there yet, fsynced; the directory's entry is the caller's to
 * sync. Returns the digest, the caller frees; NULL with @error NO_SPACE or IO. */
char *blob_put(const char *dir, BlobKind kind, const void *data, gsize len, GError **error);

/* Read it back and compare. NULL with @error CORRUPT (missing, or not what was written) or IO. */
GBytes *blob_get(const char *dir, BlobKind kind, const char *digest, GError **error);

/* The same for a list of extents. */
char *blob_put_extents(const char *dir, const Extents *extents, GError **error);
Extents *blob_get_extents(const char *dir, const char *digest, GError **error);

/* "<digest>.extents"; the caller frees. */
char *blob_file_name(BlobKind kind, const char *digest);

/* Could a file called so be a blob of ours? */
gboolean blob_is_name(const char *file_name);

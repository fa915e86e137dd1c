/* SPDX-License-Identifier: Apache-2.0 */
/* layer_file - the files of layers: their names, and whether they can be what the ledger says.
 *
 * Looks at headers and lengths only, in microseconds: a chain has up to 64 files
 * and a promotion waits for it. It finds what is missing, cut short, of another size
 * or marked corrupt; damage inside the data it cannot find. Nothing is probed:
 * a file that is not qcow2 is an error. */
#pragma once

#include "vmconnect/base/id.h"

#include <glib.h>

/* "<id>.<target>.qcow2"; the caller frees. */
char *layer_file_name(Id id, const char *target);
char *layer_file_path(const char *dir, Id id, const char *target);

/* Could a file called so be a layer of ours? *@ret_id (may be NULL): which. */
gboolean layer_file_is_name(const char *file_name, Id *ret_id);

typedef struct {
    guint64 size_bytes; /* virtual size */
    guint64 file_bytes; /* length of the file */
    char *backing;      /* what the header names, or NULL */
} LayerFacts;

void layer_facts_clear(LayerFacts *facts);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(LayerFacts, layer_facts_clear)

/* FALSE with @error: CORRUPT (missing, not a qcow2 image, marked corrupt or with
 * features that we never use), IO. */
gboolean layer_file_read(const char *path, LayerFacts *ret_facts, GError **error);

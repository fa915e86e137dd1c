/* SPDX-License-Identifier: Apache-2.0 */
/* chain - one disk's files, opened in the storage daemon as the ledger says.
 *
 *     bottom … sealed layers, read-only … tip   <- overlay that may be written, exported
 *
 * The sealed layers are **links**; the overlay above them, if any, is the **top**: a
 * staged empty one, or the unsealed generation's. A top always lies there while
 * merging, so that no link is ever the uppermost image. Nothing here creates
 * records or removes files. After UNREACHABLE (the daemon died) only chain_free() is of use. */
#pragma once

#include "vmconnect/image/commit.h"
#include "vmconnect/image/nbd.h"
#include "vmconnect/image/storage_daemon.h"
#include "vmconnect/store/ledger.h"

typedef struct Chain Chain;

typedef struct {
    StorageDaemon *daemon; /* borrowed for the chain's life */
    const char *dir;       /* borrowed for the chain's life */
} ChainPlace;

/* Compare the files from @layer down with the ledger: present, long enough, of the right
 * size; where a header names another backing, correct it; an image that lies elsewhere is as it was signed. FALSE with @error CORRUPT or IO. */
gboolean chain_check_files(const Ledger *ledger, const char *dir, Id layer, GError **error);
/* The same beside a daemon that has them open, and may merge them: nothing is corrected. */
gboolean chain_check_open_files(const Ledger *ledger, const char *dir, Id layer, GError **error);

/* Open the layers from @layer (nil: none, an empty chain) down, read-only. */
Chain *chain_open(const ChainPlace *place, const Ledger *ledger, const char *target, Id layer,
                  GError **error);
void chain_free(Chain *chain);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Chain, chain_free)
/* Close everything in the daemon; the object remains to be freed. */
gboolean chain_close(Chain *chain, GError **error);

const char *chain_target(const Chain *chain);
/* The uppermost link, nil if there is none. */
Id chain_tip(const Chain *chain);
/* The overlay above it, nil if there is none. */
Id chain_top(const Chain *chain);
guint64 chain_top_size(const Chain *chain);
/* Do the links read as @layer and all below it, exactly? */
gboolean chain_is(const Chain *chain, const Ledger *ledger, Id layer);

/* Lay a new empty overlay of @size_bytes on top; there must be none. An export goes on with it. */
gboolean chain_lay(Chain *chain, guint64 size_bytes, GError **error);
/* The same with the existing file of an unsealed layer. */
gboolean chain_resume(Chain *chain, Id layer, guint64 size_bytes, GError **error);
/* Take the top away, with its export; the file stays. */
gboolean chain_drop_top(Chain *chain, GError **error);
/* The top has been sealed: it is a link now. Its export stays, but must not be written to any more. */
void chain_settle(Chain *chain);

/* Offer the top for writing, once; and take it away, cutting off requests in flight. */
gboolean chain_export(Chain *chain, GError **error);
gboolean chain_unexport(Chain *chain, GError **error);
/* NULL unless exported; borrowed. */
NbdDisk *chain_disk(Chain *chain);
/* One more connection to what is exported, with @context (as NbdSpec); the caller's, and of no use once it is not. */
NbdDisk *chain_connect(const Chain *chain, const char *context, GError **error);

/* What the uppermost link itself holds, zeros included, and not what is below it. The caller frees. */
Extents *chain_list_tip(Chain *chain, GError **error);

/* Length of the top's file, and whether it has grown since it was laid: whatever is
 * written to an empty overlay, zeros included, makes its file longer. */
gboolean chain_measure(const Chain *chain, guint64 *ret_file_bytes, gboolean *ret_grown, GError **error);
/* fsync the top's file. */
gboolean chain_sync_top(const Chain *chain, GError **error);
/* As durable_start(). */
void chain_start_top(const Chain *chain);

/* Begin merging links @layers (bottom to top) into the first of them. */
Commit *chain_commit(Chain *chain, const GArray *layers, GError **error);
/* They have been merged and switched: close all but the first. */
gboolean chain_merged(Chain *chain, const GArray *layers, GError **error);

/* SPDX-License-Identifier: Apache-2.0 */
/* node - images opened in a storage daemon.
 *
 * One node is one image with its file below it; what backs it is always said,
 * never taken from the image's header. Caches are small (l2 1 MiB with 4 KiB
 * entries, refcounts 256 KiB), so that 48 overlays on 1 TiB fit into 80 MiB.
 * discard=unmap and detect-zeroes=unmap: zeros cost no space, in merges too.
 * Node names are made here, at most 31 characters: a counter and the file's name. */
#pragma once

#include "vmconnect/image/storage_daemon.h"

#include <glib.h>

typedef struct {
    const char *path;    /* absolute; a regular file or a block device */
    const char *format;  /* "qcow2" or "raw"; never probed. NULL: qcow2 */
    const char *backing; /* the node below; NULL: nothing, whatever the header says */
    gboolean read_only;
    gboolean force_share; /* keep nobody out who writes; needs read_only */
    gboolean unlocked;    /* nor anybody who wants that nobody reads; needs force_share */
} NodeSpec;

/* Open an image. @ret_node: its name, the caller frees. FALSE with @error: NOT_FOUND no
 * such file, BUSY somebody else has it open (QEMU's image lock), else as storage_daemon_call(). */
gboolean node_open(StorageDaemon *daemon, const NodeSpec *spec, char **ret_node, GError **error);

typedef struct {
    const char *path;         /* absolute, must not exist */
    guint64 size_bytes;       /* virtual size, a multiple of 512 */
    const char *backing_name; /* recorded in the header, relative to @path's folder; NULL: none */
} NodeNewImage;

/* Create an empty qcow2 (compat 1.1, clusters of 64 KiB, no lazy refcounts, backing format
 * qcow2) and open it for writing with no backing, ready for node_snapshot() or, as the
 * first of a chain, for export_add(). Nothing below is opened or touched. The file is not
 * durable yet: that is its sealer's work. On error the file is removed; EXISTS if it was there. */
gboolean node_create(StorageDaemon *daemon, const NodeNewImage *image, char **ret_node, GError **error);

/* Lay @overlay (from node_create()) on top of @top: what used @top, an export for instance,
 * goes on with @overlay; @top is flushed and written no more. An export keeps the size it
 * had: for a new size remove it first and add it again after. */
gboolean node_snapshot(StorageDaemon *daemon, const char *top, const char *overlay, GError **error);

/* What the NBD server at the Unix socket @path offers as @name, for reading. @ret_node as node_open(). */
gboolean node_open_offer(StorageDaemon *daemon, const char *path, const char *name, char **ret_node,
                         GError **error);

/* A part of @node, as a node of its own. */
gboolean node_open_part(StorageDaemon *daemon, const char *node, guint64 offset_bytes, guint64 size_bytes,
                        char **ret_node, GError **error);

/* Close an image that nothing uses any more; for writable ones this flushes. @node stays the caller's. */
gboolean node_close(StorageDaemon *daemon, const char *node, GError **error);

/* Close @top and all below it, as one opened them; @nodes in order from the top. */
gboolean node_close_chain(StorageDaemon *daemon, const char *const *nodes, guint n, GError **error);

/* SPDX-License-Identifier: Apache-2.0 */
/* export - a node of a storage daemon, offered on its NBD socket.
 *
 * The export's name is what nbd_disk_open() asks for. One node may have several. */
#pragma once

#include "vmconnect/image/storage_daemon.h"

#include <glib.h>

typedef struct {
    const char *name; /* [A-Za-z0-9_-], 1 to 64 characters */
    const char *node;
    gboolean writable;
    const char *bitmap;        /* offered as qemu:dirty-bitmap:BITMAP; NULL: none */
    gboolean allocation_depth; /* offered as qemu:allocation-depth */
} ExportSpec;

gboolean export_add(StorageDaemon *daemon, const ExportSpec *spec, GError **error);

/* Offer @node as what the file @path holds, by FUSE, to be taken away as @name: @path, which is there and empty, is hidden meanwhile. Its size
 * stays. It belongs to us, and may be given to another user. FALSE with @error also where there is no FUSE. */
gboolean export_add_file(StorageDaemon *daemon, const char *name, const char *node, const char *path,
                         gboolean writable, GError **error);

/* Take it away, cutting off whoever is connected, and wait until it is gone (its node can
 * be closed then). An export that is not there is no error. */
gboolean export_remove(StorageDaemon *daemon, const char *name, GError **error);

/* Make durable what was written to @node and what the daemon holds back of it: the NBD
 * flush through a read-only export of its own. QMP has no flush. @node must be open for
 * writing (as base is while it is merged into): QEMU passes over a flush of any other. */
gboolean export_flush_node(StorageDaemon *daemon, const char *node, int timeout_ms, GError **error);

/* SPDX-License-Identifier: Apache-2.0 */
/* daemon_reader - reads the disks of a VM that is off, without being in its owner's way.
 *
 * A storage daemon opens every image of the chain read-only and without locks
 * (force-share on each node), so the owner's `virsh start` works while we read.
 * Therefore what was read counts only if the VM was off before and after and the
 * images' signatures did not change: that is the caller's check.
 *
 * force-share still tells others that somebody reads, which keeps a merge (block-commit) from beginning. An image of a store, whose
 * lease (store_lease_share()) says why merges do no harm, is opened `unlocked`. */
#pragma once

#include "vmconnect/image/storage_daemon.h"

#include <glib.h>

typedef struct {
    const char *path;
    const char *format; /* "qcow2" or "raw" */
    gboolean unlocked;  /* nobody is told that it is read */
} ReaderLayer;

typedef struct DaemonReader DaemonReader;

/* As storage_daemon_start(). */
DaemonReader *daemon_reader_start(const char *run_dir, const char *name, GError **error);
void daemon_reader_free(DaemonReader *reader);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DaemonReader, daemon_reader_free)

/* Export the image layers[0] on its chain (top first; taken from the definition, never from
 * headers) as @target, with base:allocation and, if @bitmap is not NULL,
 * qemu:dirty-bitmap:BITMAP (a persistent bitmap of the topmost image). FALSE with @error
 * NOT_FOUND: no such file or bitmap; UNSUPPORTED: the bitmap is inconsistent (QEMU died): synchronise anew. */
gboolean daemon_reader_add(DaemonReader *reader, const char *target, const ReaderLayer *layers,
                           guint n_layers, const char *bitmap, GError **error);

/* Where nbd_disk_open() finds the exports; the daemon itself, for its cancel fd and pidfd. */
const char *daemon_reader_nbd_path(const DaemonReader *reader);
StorageDaemon *daemon_reader_daemon(DaemonReader *reader);

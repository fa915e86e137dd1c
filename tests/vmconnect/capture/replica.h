/* SPDX-License-Identifier: Apache-2.0 */
/* replica - the simplest standby there is: a raw file per disk, written as a cut tells.
 *
 * It exists to prove captures right: after each cut the files must equal the
 * VM's images, byte for byte. */
#pragma once

#include "vmconnect/capture/cut.h"

#include <glib.h>

typedef struct {
    char *path;
    int fd;
    guint64 size_bytes;
} ReplicaDisk;

typedef struct {
    char *folder;
    GHashTable *disks; /* target to ReplicaDisk */
    gboolean frozen;
    guint64 data_bytes, zero_bytes;             /* of the newest replica_take() */
    gint64 begin_us, dirty_us, read_us, end_us; /* what its parts took */
} Replica;

/* Files are FOLDER/TARGET.raw, new and empty. */
Replica *replica_new(const char *folder);
/* The files stay. */
void replica_free(Replica *r);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Replica, replica_free)

/* Read what @cut has for each of its disks and lay it over ours. */
gboolean replica_read(Replica *r, Cut *cut, GError **error);

/* Look, cut all disks (those unknown here whole) since @since, read, check that
 * it is valid, end. */
gboolean replica_take(Replica *r, Capture *c, Id since, Id checkpoint, GError **error);

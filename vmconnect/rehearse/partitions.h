/* SPDX-License-Identifier: Apache-2.0 */
/* partitions - a disk's partition table, as `sfdisk --json` tells it.
 *
 * A guest wrote the table, so nothing of it is believed: what is returned lies inside the disk and apart. Pure. */
#pragma once

#include <glib.h>

#define PARTITIONS_MAX 128 /* as many as a GPT has usually */

typedef struct {
    guint number; /* the guest's: 1 is its vda1 */
    guint64 offset_bytes;
    guint64 size_bytes; /* not 0 */
} Partition;

/* Without those that hold other partitions (a MBR's extended one); there may be none. The caller unrefs (of Partition).
 * NULL with @error CORRUPT (a partition that ends beyond @disk_bytes, or lies over another), UNSUPPORTED (more than
 * PARTITIONS_MAX, or nothing that sfdisk would say). */
GArray *partitions_read(const char *text, gsize len, guint64 disk_bytes, GError **error);

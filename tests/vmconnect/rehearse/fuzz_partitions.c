/* SPDX-License-Identifier: Apache-2.0 */
/* What sfdisk says of a guest's partition table: whatever it is, what comes out lies inside the disk and apart. */
#include "vmconnect/rehearse/partitions.h"

#define DISK_BYTES (64ULL << 20)

int LLVMFuzzerTestOneInput(const guint8 *data, gsize len);

int LLVMFuzzerTestOneInput(const guint8 *data, gsize len)
{
    g_autoptr(GArray) parts = partitions_read((const char *)data, len, DISK_BYTES, NULL);

    for (guint i = 0; parts && i < parts->len; i++) {
        const Partition *p = &g_array_index(parts, Partition, i);

        g_assert(p->number > 0 && p->size_bytes > 0 && p->offset_bytes <= DISK_BYTES &&
                 p->size_bytes <= DISK_BYTES - p->offset_bytes);
        for (guint j = 0; j < i; j++) {
            const Partition *q = &g_array_index(parts, Partition, j);

            g_assert(q->offset_bytes + q->size_bytes <= p->offset_bytes ||
                     p->offset_bytes + p->size_bytes <= q->offset_bytes);
        }
    }
    return 0;
}

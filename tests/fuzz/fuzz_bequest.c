/* SPDX-License-Identifier: Apache-2.0 */
/* The file that a host leaves to itself when it gives a VM away. */
#include "vmconnect/base/error.h"
#include "vmconnect/replicate/bequest.h"

int LLVMFuzzerTestOneInput(const guint8 *data, gsize size);

int LLVMFuzzerTestOneInput(const guint8 *data, gsize size)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(Bequest) b = bequest_parse((const char *)data, size, &error);

    if (!b) {
        g_assert(error && error->domain == US_ERROR);
        return 0;
    }
    g_assert(b->disks->len == b->generation->disks->len);
    g_assert(b->generation->definition || !b->exact);
    for (guint i = 0; i < b->disks->len; i++)
        g_assert(((const BequestDisk *)b->disks->pdata[i])->images->len > 0);
    return 0;
}

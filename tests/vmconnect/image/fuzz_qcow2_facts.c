/* SPDX-License-Identifier: Apache-2.0 */
/* What qemu-img says of an image, and, in the same bytes, the head of one. */
#include "vmconnect/image/qcow2.h"
#include "vmconnect/image/qcow2_header.h"

int LLVMFuzzerTestOneInput(const guint8 *data, gsize len);

int LLVMFuzzerTestOneInput(const guint8 *data, gsize len)
{
    g_autoptr(Qcow2Facts) facts = qcow2_facts_from_json((const char *)data, len, NULL);
    Qcow2Header header;

    if (qcow2_header_decode(data, len, &header, NULL))
        g_assert(len >= QCOW2_HEADER_LEN);

    if (facts) {
        g_assert(facts->format);
        for (guint i = 0; i < facts->bitmaps->len; i++)
            g_assert(((Qcow2Bitmap *)facts->bitmaps->pdata[i])->name);
    }
    return 0;
}

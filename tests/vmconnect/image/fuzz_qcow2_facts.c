/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/image/qcow2.h"

int LLVMFuzzerTestOneInput(const guint8 *data, gsize len);

int LLVMFuzzerTestOneInput(const guint8 *data, gsize len)
{
    g_autoptr(Qcow2Facts) facts = qcow2_facts_from_json((const char *)data, len, NULL);

    if (facts) {
        g_assert(facts->format);
        for (guint i = 0; i < facts->bitmaps->len; i++)
            g_assert(((Qcow2Bitmap *)facts->bitmaps->pdata[i])->name);
    }
    return 0;
}

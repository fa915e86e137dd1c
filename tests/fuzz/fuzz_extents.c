/* SPDX-License-Identifier: Apache-2.0 */
/* A list of extents, on the wire and in a store's blob: there is one way to write each set. */
#include "vmconnect/base/error.h"
#include "vmconnect/base/extents.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const guint8 *data, gsize size);

int LLVMFuzzerTestOneInput(const guint8 *data, gsize size)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(Extents) set = extents_decode(data, size, &error);
    g_autoptr(GBytes) again = NULL;
    guint64 end = 0;

    if (!set) {
        g_assert(g_error_matches(error, US_ERROR, US_ERROR_PROTOCOL));
        return 0;
    }
    for (guint i = 0; i < extents_count(set); i++) {
        Extent e = extents_at(set, i);

        g_assert(e.len > 0 && (i == 0 || e.offset > end) && e.len <= EXTENTS_MAX_OFFSET - e.offset);
        end = e.offset + e.len;
    }
    again = extents_encode(set);
    g_assert(g_bytes_get_size(again) == size);
    g_assert(memcmp(g_bytes_get_data(again, NULL), data, size) == 0);
    return 0;
}

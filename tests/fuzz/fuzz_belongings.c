/* SPDX-License-Identifier: Apache-2.0 */
/* Firmware variables and TPM state as an active may send them. What is accepted says the same
 * again, and unfolds to what its size and digest say or not at all. */
#include "vmconnect/base/belongings.h"
#include "vmconnect/base/json.h"

int LLVMFuzzerTestOneInput(const guint8 *data, gsize size);

int LLVMFuzzerTestOneInput(const guint8 *data, gsize size)
{
    json_auto_t *doc = json_parse((const char *)data, size, 1 << 20, NULL);
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) set = doc ? belongings_from_json(doc, &error) : NULL;
    g_autoptr(GPtrArray) back = NULL;
    json_auto_t *text = NULL;

    if (!set) {
        g_assert(!doc || error);
        return 0;
    }
    for (guint i = 0; i < set->len; i++) {
        const Belonging *b = set->pdata[i];
        g_autoptr(GBytes) file = b->packed ? belonging_unpack(b, NULL) : NULL;

        g_assert(b->size_bytes <= belonging_max_bytes(b->name));
        g_assert(!file || g_bytes_get_size(file) == b->size_bytes);
    }
    text = belongings_to_json_packed(set, NULL);
    back = belongings_from_json(text, NULL);
    g_assert(back && belongings_equal(set, back));
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Where a standby says it stands. What is accepted says the same again. */
#include "vmconnect/base/json.h"
#include "vmconnect/replicate/position.h"

int LLVMFuzzerTestOneInput(const guint8 *data, gsize size);

int LLVMFuzzerTestOneInput(const guint8 *data, gsize size)
{
    json_auto_t *doc = json_parse((const char *)data, size, 1 << 20, NULL);
    g_autoptr(GError) error = NULL;
    g_autoptr(Position) position = doc ? position_from_json(doc, &error) : NULL;
    g_autoptr(Position) back = NULL;
    json_auto_t *text = NULL;
    json_auto_t *again = NULL;

    if (!position) {
        g_assert(!doc || error);
        return 0;
    }
    text = position_to_json(position);
    back = position_from_json(text, NULL);
    g_assert(back);
    again = position_to_json(back);
    g_assert(json_equal(text, again));
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The file of a plan on the active's host. */
#include "vmconnect/base/error.h"
#include "vmconnect/replicate/handover.h"

int LLVMFuzzerTestOneInput(const guint8 *data, gsize size);

int LLVMFuzzerTestOneInput(const guint8 *data, gsize size)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(Handover) h = handover_parse((const char *)data, size, &error);
    json_auto_t *doc = NULL;

    if (!h) {
        g_assert(error && error->domain == US_ERROR);
        return 0;
    }
    g_assert(handover_state_name(h->state));
    doc = handover_to_json(h);
    g_assert(doc);
    return 0;
}

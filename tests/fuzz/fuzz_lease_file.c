/* SPDX-License-Identifier: Apache-2.0 */
/* A lease file's bytes, and any body behind a good checksum. What is accepted reads back the same, and names each VM once. */
#include "vmconnect/base/error.h"
#include "vmconnect/hypervisor/lease_file.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const guint8 *data, gsize size);

static void try(const char *text, gsize len)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GArray) entries = lease_file_parse(text, len, &error), back = NULL;
    g_autofree char *again = NULL;

    if (!entries) {
        g_assert(g_error_matches(error, US_ERROR, US_ERROR_CORRUPT) ||
                 g_error_matches(error, US_ERROR, US_ERROR_UNSUPPORTED));
        return;
    }
    again = lease_file_text(entries);
    back = lease_file_parse(again, strlen(again), NULL);
    g_assert(back && back->len == entries->len);
    for (guint i = 0; i < entries->len; i++) {
        const LeaseEntry *a = &g_array_index(entries, LeaseEntry, i),
                         *b = &g_array_index(back, LeaseEntry, i);

        g_assert(id_equal(a->vm, b->vm) && reign_equal(a->reign, b->reign));
        g_assert(a->until.boot_ms == b->until.boot_ms && a->until.raw_ms == b->until.raw_ms);
        g_assert(a->until.boot_ms >= 0 && a->until.raw_ms >= 0 && !id_is_nil(a->vm));
        for (guint other = 0; other < i; other++)
            g_assert(!id_equal(g_array_index(entries, LeaseEntry, other).vm, a->vm));
    }
}

int LLVMFuzzerTestOneInput(const guint8 *data, gsize size)
{
    g_autofree char *raw = g_malloc0(size + 1);
    g_autofree char *sum = g_compute_checksum_for_data(G_CHECKSUM_SHA256, data, size);
    g_autoptr(GString) sealed = g_string_new("understudy-leases 1 ");

    if (size > 0)
        memcpy(raw, data, size);
    g_string_append_printf(sealed, "%s\n", sum);
    g_string_append_len(sealed, (const char *)data, (gssize)size);
    try(raw, size);
    try(sealed->str, sealed->len);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* A guard file's bytes, and any body behind a good checksum. What is accepted
 * reads back the same. */
#include "vmconnect/base/error.h"
#include "vmconnect/hypervisor/guard_file.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const guint8 *data, gsize size);

static void try(const char *text, gsize len)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(Guard) g = guard_decode(text, len, "here 1 2.3", &error);
    g_autoptr(Guard) back = NULL;
    g_autofree char *again = NULL;

    if (!g) {
        g_assert(g_error_matches(error, US_ERROR, US_ERROR_CORRUPT) ||
                 g_error_matches(error, US_ERROR, US_ERROR_UNSUPPORTED));
        return;
    }
    again = guard_encode(g, "here 1 2.3");
    back = guard_decode(again, strlen(again), "here 1 2.3", NULL);
    g_assert(back && id_equal(back->vm, g->vm) && reign_equal(back->reign, g->reign) &&
             back->role == g->role && back->journal_open == g->journal_open &&
             back->elsewhere == g->elsewhere && strcmp(back->scenario, g->scenario) == 0);
}

int LLVMFuzzerTestOneInput(const guint8 *data, gsize size)
{
    g_autofree char *raw = g_strndup((const char *)data, size);
    g_autofree char *sum = g_compute_checksum_for_data(G_CHECKSUM_SHA256, data, size);
    g_autoptr(GString) sealed = g_string_new("understudy-guard 2 ");

    memcpy(raw, data, size);
    g_string_append_printf(sealed, "%s\n", sum);
    g_string_append_len(sealed, (const char *)data, (gssize)size);
    try(raw, size);
    try(sealed->str, sealed->len);
    return 0;
}

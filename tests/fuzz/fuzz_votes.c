/* SPDX-License-Identifier: Apache-2.0 */
/* A file of votes, and any body behind a good checksum. What is accepted reads back the same. */
#include "orchestrator/votes/vote_file.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/sealed.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const guint8 *data, gsize size);

static void try(const char *text, gsize len)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(VoteFile) f = vote_file_parse(text, len, "here", &error);
    json_auto_t *doc = f ? vote_file_document(f) : NULL;
    g_autoptr(VoteFile) back = NULL;
    json_auto_t *again = NULL;
    g_autofree char *written = NULL;

    if (!f) {
        g_assert(g_error_matches(error, US_ERROR, US_ERROR_CORRUPT) ||
                 g_error_matches(error, US_ERROR, US_ERROR_UNSUPPORTED));
        return;
    }
    json_object_set_new(doc, "place", json_string("here"));
    written = sealed_text("votes", 1, json_incref(doc));
    back = vote_file_parse(written, strlen(written), "here", NULL);
    g_assert(back && !vote_file_is_copy(back));
    again = vote_file_document(back);
    json_object_set_new(again, "place", json_string("here"));
    g_assert(json_equal(doc, again));
}

int LLVMFuzzerTestOneInput(const guint8 *data, gsize size)
{
    g_autofree char *raw = g_strndup((const char *)data, size);
    g_autofree char *sum = g_compute_checksum_for_data(G_CHECKSUM_SHA256, data, size);
    g_autoptr(GString) sealed = g_string_new("understudy-votes 1 ");

    if (size > 0)
        memcpy(raw, data, size);
    g_string_append_printf(sealed, "%s\n", sum);
    g_string_append_len(sealed, (const char *)data, (gssize)size);
    try(raw, size);
    try(sealed->str, sealed->len);
    return 0;
}

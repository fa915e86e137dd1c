/* SPDX-License-Identifier: Apache-2.0 */
/* What a guest may answer to HTTP. Whatever it is, something printable and short is said of it. */
#include "vmconnect/rehearse/fetch.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const guint8 *data, gsize size);

int LLVMFuzzerTestOneInput(const guint8 *data, gsize size)
{
    g_autofree char *says = NULL;
    g_autofree char *says_any = NULL;
    gboolean good = fetch_answer_is_good((const char *)data, size, "well", &says);
    gboolean any = fetch_answer_is_good((const char *)data, size, NULL, &says_any);

    g_assert_true(any || !good);
    g_assert_true(g_utf8_validate(says, -1, NULL) && strlen(says) < 512);
    g_assert_null(strpbrk(says, "\n\033"));
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* A console of a guest. Nothing of what is shown can do anything, and nothing is left to be taken out. */
#include "vmconnect/base/tail.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const guint8 *data, gsize len);

int LLVMFuzzerTestOneInput(const guint8 *data, gsize len)
{
    g_autofree char *text = tail_plain((const char *)data, len);
    g_autofree char *again = tail_plain(text, strlen(text));

    g_assert(strcmp(text, again) == 0);
    g_assert(strlen(text) <= 2 * len + 3);
    g_assert(g_utf8_validate(text, -1, NULL));
    for (const char *p = text; *p; p = g_utf8_next_char(p))
        g_assert(*p == '\n' || *p == '\t' || !g_unichar_iscntrl(g_utf8_get_char(p)));
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Targets: word_decode(), what an engine says to the guard, and roll_parse(), what an earlier guard left. */
#include "vmconnect/guard/roll.h"
#include "vmconnect/guard/word.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const guint8 *data, gsize len);

int LLVMFuzzerTestOneInput(const guint8 *data, gsize len)
{
    g_autoptr(GPtrArray) faults = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GPtrArray) wards = roll_parse((const char *)data, len, "boot", faults);
    guint8 again[WORD_BYTES];
    Word w;

    for (guint i = 0; i < wards->len; i++)
        g_assert_cmpint(((const Ward *)wards->pdata[i])->subject.pid, >, 1);
    if (!word_decode(data, len, &w, NULL))
        return 0;
    word_encode(&w, again);
    g_assert_cmpmem(again, sizeof(again), data, len);
    return 0;
}

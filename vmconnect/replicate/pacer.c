/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/replicate/pacer.h"

#define DEPTH_MS 250

static void fill(Pacer *pacer, gint64 now_ms)
{
    gint64 depth = (gint64)(pacer->bytes_per_s / 1000 * DEPTH_MS + 1);
    gint64 elapsed_ms = CLAMP(now_ms - pacer->filled_ms, 0, 60000);
    /* The product fits: a minute at 100 GB/s is 6e15. */
    gint64 earned = (gint64)(pacer->bytes_per_s * (guint64)elapsed_ms / 1000);

    if (earned == 0)
        return; /* let fractions add up */
    pacer->filled_ms = now_ms;
    pacer->tokens = MIN(pacer->tokens + earned, depth);
}

void pacer_set(Pacer *pacer, guint64 bytes_per_s, gint64 now_ms)
{
    if (pacer->bytes_per_s)
        fill(pacer, now_ms);
    pacer->bytes_per_s = bytes_per_s;
    pacer->filled_ms = now_ms;
}

gint64 pacer_wait_ms(Pacer *pacer, gint64 now_ms)
{
    if (pacer->bytes_per_s == 0)
        return 0;
    fill(pacer, now_ms);
    if (pacer->tokens >= 0)
        return 0;
    return (gint64)((guint64)-pacer->tokens * 1000 / pacer->bytes_per_s) + 1;
}

void pacer_spend(Pacer *pacer, guint64 bytes)
{
    if (pacer->bytes_per_s)
        pacer->tokens -= (gint64)bytes;
}

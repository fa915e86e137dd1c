/* SPDX-License-Identifier: Apache-2.0 */
/* A picture of a screen from anywhere. One that is read is the same when it is written and read again. */
#include "vmconnect/hypervisor/settle.h"

#include <string.h>

#define SMALL_PIXELS (1 << 16) /* a larger one is only slower */

int LLVMFuzzerTestOneInput(const guint8 *data, gsize len);

static void judge(const Screen *s)
{
    g_autoptr(GBytes) png = screen_png(s, NULL);
    g_autoptr(Screen) back = NULL;
    const guint8 *bytes;
    Settle settle;
    gsize size;

    g_assert(png);
    bytes = g_bytes_get_data(png, &size);
    back = screen_parse("image/png", bytes, size, NULL);
    g_assert(back && screen_difference(s, back) == 0);
    g_assert(memcmp(s->rgb, back->rgb, (gsize)s->width * s->height * 3) == 0);
    settle_init(&settle, 1);
    settle_add(&settle, s, 0);
    g_assert(settle_add(&settle, back, 1) == !screen_is_blank(s));
    settle_clear(&settle);
}

int LLVMFuzzerTestOneInput(const guint8 *data, gsize len)
{
    static const char *const TYPES[] = {"image/png", "image/x-portable-pixmap"};

    for (guint i = 0; i < G_N_ELEMENTS(TYPES); i++) {
        g_autoptr(Screen) s = screen_parse(TYPES[i], data, len, NULL);

        if (s && s->width * s->height <= SMALL_PIXELS)
            judge(s);
    }
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/hypervisor/settle.h"

void settle_init(Settle *s, gint64 rest_ms)
{
    *s = (Settle){.rest_ms = rest_ms};
}

void settle_clear(Settle *s)
{
    g_clear_pointer(&s->first, screen_free);
}

gboolean settle_add(Settle *s, const Screen *screen, gint64 at_ms)
{
    if (screen_is_blank(screen)) {
        g_clear_pointer(&s->first, screen_free);
        return FALSE;
    }
    if (!s->first || screen_difference(s->first, screen) > SETTLE_CHANGE) {
        screen_free(s->first);
        s->first = screen_copy(screen);
        s->since_ms = at_ms;
    }
    return at_ms - s->since_ms >= s->rest_ms;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Target: calendar_read(), what somebody wrote for cron; what it takes has a next time. */
#include "orchestrator/core/calendar.h"
#include "vmconnect/base/error.h"

int LLVMFuzzerTestOneInput(const guint8 *data, gsize len);

int LLVMFuzzerTestOneInput(const guint8 *data, gsize len)
{
    static const gint64 AFTER_MS = 1790000000000;
    g_autofree char *text = g_strndup((const char *)data, len);
    g_autoptr(GError) error = NULL;
    gint64 next_ms, again_ms;
    Calendar c;

    (void)calendar_zone_check(text, NULL);
    if (!calendar_read(text, &c, &error)) {
        g_assert(g_error_matches(error, US_ERROR, US_ERROR_USAGE));
        return 0;
    }
    g_assert(c.minutes && c.hours && c.days && c.months && c.weekdays);
    g_assert(calendar_next(&c, AFTER_MS, "UTC", &next_ms, NULL));
    g_assert(next_ms > AFTER_MS && next_ms < CALENDAR_NEVER && next_ms % 60000 == 0);
    g_assert(calendar_next(&c, next_ms - 1, "UTC", &again_ms, NULL) && again_ms == next_ms);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/base/clock.h"

#include "vmconnect/base/error.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static gint64 read_ms(clockid_t id)
{
    struct timespec ts;
    int rc = clock_gettime(id, &ts);

    g_assert(rc == 0);
    return (gint64)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

gint64 clock_steady_ms(void)
{
    return read_ms(CLOCK_BOOTTIME);
}

gint64 clock_wall_ms(void)
{
    return read_ms(CLOCK_REALTIME);
}

int clock_left_ms(gint64 deadline_ms)
{
    gint64 left_ms = deadline_ms - clock_steady_ms();

    return (int)CLAMP(left_ms, 0, G_MAXINT);
}

int clock_shorter_ms(int a_ms, int b_ms)
{
    return a_ms < 0 ? b_ms : b_ms < 0 ? a_ms : MIN(a_ms, b_ms);
}

char *clock_format(gint64 wall_ms, char buf[static CLOCK_TEXT_LEN + 1])
{
    time_t s = wall_ms / 1000;
    struct tm tm;

    g_assert(wall_ms >= 0 && wall_ms < G_GINT64_CONSTANT(253402300800000)); /* year 10000 */
    gmtime_r(&s, &tm);
    strftime(buf, CLOCK_TEXT_LEN + 1, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(buf + 19, 6, ".%03dZ", (int)(wall_ms % 1000));
    return buf;
}

/* The number in the @digits characters at @p, or -1. */
static int number(const char *p, int digits)
{
    int n = 0;

    for (int i = 0; i < digits; i++) {
        if (!g_ascii_isdigit(p[i]))
            return -1;
        n = n * 10 + (p[i] - '0');
    }
    return n;
}

gboolean clock_parse(const char *text, gint64 *ret_wall_ms, GError **error)
{
    g_autoptr(GDateTime) at = NULL;

    /* GLib accepts far more than the one form that we write. */
    if (strnlen(text, CLOCK_TEXT_LEN + 1) == CLOCK_TEXT_LEN && text[10] == 'T' && text[19] == '.' &&
        text[23] == 'Z' && number(text + 20, 3) >= 0)
        at = g_date_time_new_from_iso8601(text, NULL);
    /* Nor is there anything before 1970 that clock_format() could write. */
    if (!at || g_date_time_to_unix(at) < 0) {
        g_set_error(error, US_ERROR, US_ERROR_USAGE, "'%.64s' is not a time like 2026-11-21T22:16:54.123Z",
                    text);
        return FALSE;
    }
    *ret_wall_ms = g_date_time_to_unix(at) * 1000 + number(text + 20, 3);
    return TRUE;
}

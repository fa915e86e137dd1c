/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/base/units.h"

#include "vmconnect/base/error.h"

#include <errno.h>
#include <stdlib.h>

typedef struct {
    const char *suffix;
    guint64 factor;
} Unit;

/* Each table ascends, the spelling that is written comes first among equals. */
static const Unit DURATIONS[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}, {0}};

static const Unit SIZES[] = {{"", 1},
                             {"B", 1},
                             {"KiB", 1ULL << 10},
                             {"K", 1ULL << 10},
                             {"MiB", 1ULL << 20},
                             {"M", 1ULL << 20},
                             {"GiB", 1ULL << 30},
                             {"G", 1ULL << 30},
                             {"TiB", 1ULL << 40},
                             {"T", 1ULL << 40},
                             {0}};

/* In bits a second; tc's "bps" is bytes. */
static const Unit RATES[] = {{"bit", 1},           {"bps", 8},           {"kbit", 1000},
                             {"kbps", 8000},       {"mbit", 1000000},    {"mbps", 8000000},
                             {"gbit", 1000000000}, {"gbps", 8000000000}, {0}};

static gboolean parse(const char *text, const Unit *units, guint64 *ret_value)
{
    char *end = NULL;
    guint64 n;

    if (!g_ascii_isdigit(text[0]))
        return FALSE;
    errno = 0;
    n = g_ascii_strtoull(text, &end, 10);
    if (errno)
        return FALSE;
    for (const Unit *u = units; u->suffix; u++)
        if (g_ascii_strcasecmp(u->suffix, end) == 0)
            return g_uint64_checked_mul(ret_value, n, u->factor);
    return FALSE;
}

static char *format(guint64 value, const Unit *units)
{
    const Unit *best = units;

    for (const Unit *u = units; u->suffix; u++)
        if (u->factor > best->factor && value % u->factor == 0 && value != 0)
            best = u;
    return g_strdup_printf("%" G_GUINT64_FORMAT "%s", value / best->factor, best->suffix);
}

gboolean units_parse_duration(const char *text, gint64 *ret_ms, GError **error)
{
    guint64 ms;

    if (!parse(text, DURATIONS, &ms) || ms > G_MAXINT64) {
        g_set_error(error, US_ERROR, US_ERROR_USAGE,
                    "'%.64s' is not a duration: write 250ms, 5s, 3m, 2h or 1d", text);
        return FALSE;
    }
    *ret_ms = (gint64)ms;
    return TRUE;
}

gboolean units_parse_size(const char *text, guint64 *ret_bytes, GError **error)
{
    if (!parse(text, SIZES, ret_bytes)) {
        g_set_error(error, US_ERROR, US_ERROR_USAGE,
                    "'%.64s' is not a size: write bytes, or 64KiB, 10MiB, 1GiB", text);
        return FALSE;
    }
    return TRUE;
}

gboolean units_parse_rate(const char *text, guint64 *ret_bytes_per_s, GError **error)
{
    guint64 bits;

    if (g_str_equal(text, "0")) {
        *ret_bytes_per_s = 0;
        return TRUE;
    }
    if (!parse(text, RATES, &bits) || bits < 8) {
        g_set_error(error, US_ERROR, US_ERROR_USAGE,
                    "'%.64s' is not a rate: write 100mbit, 1gbit (bits) or 10mbps (bytes), 0 for no limit",
                    text);
        return FALSE;
    }
    *ret_bytes_per_s = bits / 8;
    return TRUE;
}

char *units_format_duration(gint64 ms)
{
    g_assert(ms >= 0);
    return format((guint64)ms, DURATIONS);
}

char *units_format_size(guint64 bytes)
{
    return format(bytes, SIZES);
}

char *units_format_rate(guint64 bytes_per_s)
{
    return bytes_per_s == 0 ? g_strdup("0") : format(bytes_per_s * 8, RATES);
}

char *units_human_size(guint64 bytes)
{
    static const char *const NAMES[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    double x = (double)bytes;
    guint i = 0;

    while (x >= 1000 && i + 1 < G_N_ELEMENTS(NAMES)) {
        x /= 1024;
        i++;
    }
    return g_strdup_printf("%.*f %s", i == 0 || x >= 100 ? 0 : x >= 10 ? 1 : 2, x, NAMES[i]);
}

char *units_human_duration(gint64 ms)
{
    if (ms < 1000)
        return g_strdup_printf("%d ms", (int)ms);
    if (ms < 120000)
        return g_strdup_printf("%.1f s", (double)ms / 1000);
    if (ms < 7200000)
        return g_strdup_printf("%.0f min", (double)ms / 60000);
    return g_strdup_printf("%.1f h", (double)ms / 3600000);
}

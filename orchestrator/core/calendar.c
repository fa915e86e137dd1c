/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/core/calendar.h"

#include "vmconnect/base/error.h"

#include <string.h>

#define FIELDS 5
#define SUNDAY 7 /* the other one */
#define SEARCH_DAYS (40 * 366)

typedef struct {
    const char *name;
    guint min, max;
    const char *accepts;
    const char *names; /* three letters each, the first of them @min; NULL: none */
} Field;

enum { MINUTE, HOUR, DAY, MONTH, WEEKDAY };

static const Field FIELD[FIELDS] = {
    [MINUTE] = {"minute", 0, 59, "0 to 59", NULL},
    [HOUR] = {"hour", 0, 23, "0 to 23", NULL},
    [DAY] = {"day of month", 1, 31, "1 to 31", NULL},
    [MONTH] = {"month", 1, 12, "1 to 12 or JAN to DEC", "janfebmaraprmayjunjulaugsepoctnovdec"},
    [WEEKDAY] = {"day of week", 0, SUNDAY, "0 to 7 or SUN to SAT", "sunmontuewedthufrisat"},
};

static const char *const SHORT[][2] = {
    {"@hourly", "0 * * * *"},
    {"@daily", "0 0 * * *"},
    {"@weekly", "0 0 * * 0"},
    {"@monthly", "0 0 1 * *"},
};

/* --- reading ----------------------------------------------------------- */

/* What stands at *@text, which is moved behind it. */
static gboolean read_number(const char **text, guint *ret_n)
{
    guint n = 0;

    if (!g_ascii_isdigit(**text))
        return FALSE;
    for (; g_ascii_isdigit(**text); (*text)++)
        n = MIN(n * 10 + (guint)(**text - '0'), 1000);
    *ret_n = n;
    return TRUE;
}

static gboolean read_name(const Field *f, const char **text, guint *ret_n)
{
    for (guint i = 0; f->names && f->names[i * 3]; i++)
        if (g_ascii_strncasecmp(*text, f->names + (gsize)i * 3, 3) == 0) {
            *text += 3;
            *ret_n = f->min + i;
            return TRUE;
        }
    return FALSE;
}

static gboolean read_value(const Field *f, const char **text, guint *ret_n)
{
    return (read_name(f, text, ret_n) || read_number(text, ret_n)) && *ret_n >= f->min && *ret_n <= f->max;
}

static gboolean read_range(const Field *f, const char **text, guint *ret_low, guint *ret_high)
{
    if (**text == '*') {
        (*text)++;
        *ret_low = f->min;
        *ret_high = f == &FIELD[WEEKDAY] ? SUNDAY - 1 : f->max;
        return TRUE;
    }
    if (!read_value(f, text, ret_low))
        return FALSE;
    *ret_high = *ret_low;
    if (**text != '-')
        return **text != '/'; /* a step has a range */
    (*text)++;
    if (!read_value(f, text, ret_high))
        return FALSE;
    /* A week may end with its Sunday, as in FRI-SUN. */
    if (f == &FIELD[WEEKDAY] && *ret_high == 0)
        *ret_high = *ret_low > 0 ? SUNDAY : 0;
    return *ret_low <= *ret_high;
}

static gboolean read_item(const Field *f, const char *item, guint64 *set)
{
    guint low, high, step = 1;

    if (!read_range(f, &item, &low, &high))
        return FALSE;
    if (*item == '/') {
        item++;
        if (!read_number(&item, &step) || step == 0 || step > f->max)
            return FALSE;
    }
    for (guint n = low; n <= high; n += step)
        *set |= G_GUINT64_CONSTANT(1) << n;
    return *item == '\0';
}

static gboolean read_field(const Field *f, const char *text, guint64 *ret_set, GError **error)
{
    g_auto(GStrv) items = g_strsplit(text, ",", 0);
    guint64 set = 0;

    for (guint i = 0; items[i]; i++)
        if (!read_item(f, items[i], &set)) {
            g_set_error(
                error, US_ERROR, US_ERROR_USAGE,
                "the %s cannot be '%.64s': write *, or values from %s, as a list (1,4), a range (1-4), "
                "or every so many (*/2, 1-4/2)",
                f->name, text, f->accepts);
            return FALSE;
        }
    *ret_set = set;
    return TRUE;
}

/* The words of a line; the caller frees. */
static char **split(const char *text)
{
    g_auto(GStrv) parts = NULL;
    GPtrArray *words = g_ptr_array_new();

    for (guint i = 0; i < G_N_ELEMENTS(SHORT); i++)
        if (g_ascii_strcasecmp(text, SHORT[i][0]) == 0)
            text = SHORT[i][1];
    parts = g_strsplit_set(text, " \t", 0);
    for (guint i = 0; parts[i]; i++)
        if (*parts[i])
            g_ptr_array_add(words, g_strdup(parts[i]));
    g_ptr_array_add(words, NULL);
    return (char **)g_ptr_array_free(words, FALSE);
}

static gboolean has(guint64 set, guint n)
{
    return (set >> n & 1) != 0;
}

static gboolean has_date(const Calendar *c, const GDate *date)
{
    gboolean day = has(c->days, g_date_get_day(date));
    gboolean weekday = has(c->weekdays, (guint)g_date_get_weekday(date) % 7);

    return has(c->months, (guint)g_date_get_month(date)) &&
           (c->any_day || c->any_weekday ? day && weekday : day || weekday);
}

/* In years that are the same for all who read it, now and later. */
static gboolean occurs(const Calendar *c)
{
    GDate date;

    g_date_clear(&date, 1);
    g_date_set_dmy(&date, 1, G_DATE_JANUARY, 2024);
    for (; g_date_get_year(&date) <= 2028; g_date_add_days(&date, 1))
        if (has_date(c, &date))
            return TRUE;
    return FALSE;
}

gboolean calendar_read(const char *text, Calendar *ret_calendar, GError **error)
{
    g_auto(GStrv) words = split(text);
    guint64 sets[FIELDS];
    Calendar c;

    if (strlen(text) > CALENDAR_MAX || g_strv_length(words) != FIELDS) {
        g_set_error(error, US_ERROR, US_ERROR_USAGE,
                    "'%.64s' is not a time that recurs: write minute, hour, day of month, month and day of "
                    "week, as '30 3 * * SUN', or @hourly, @daily, @weekly or @monthly",
                    text);
        return FALSE;
    }
    for (guint i = 0; i < FIELDS; i++)
        if (!read_field(&FIELD[i], words[i], &sets[i], error))
            return FALSE;
    c = (Calendar){.minutes = sets[MINUTE],
                   .hours = sets[HOUR],
                   .days = sets[DAY],
                   .months = sets[MONTH],
                   .weekdays = sets[WEEKDAY] | sets[WEEKDAY] >> SUNDAY,
                   .any_day = *words[DAY] == '*',
                   .any_weekday = *words[WEEKDAY] == '*'};
    if (!occurs(&c)) {
        g_set_error(error, US_ERROR, US_ERROR_USAGE,
                    "'%.64s' never comes, or not in five years: no month of those has that day of month",
                    text);
        return FALSE;
    }
    *ret_calendar = c;
    return TRUE;
}

/* --- zones ------------------------------------------------------------- */

static gboolean is_zone_name(const char *zone)
{
    gboolean place = strchr(zone, '/') != NULL;

    if (!g_ascii_isalpha(*zone) || strlen(zone) > CALENDAR_ZONE_MAX || strstr(zone, "//") ||
        g_str_has_suffix(zone, "/"))
        return FALSE;
    for (const char *c = zone; *c; c++)
        if (!g_ascii_isalpha(*c) && !strchr("-_/", *c) && !(place && (g_ascii_isdigit(*c) || *c == '+')))
            return FALSE;
    return TRUE;
}

gboolean calendar_zone_check(const char *zone, GError **error)
{
    if (is_zone_name(zone))
        return TRUE;
    g_set_error(error, US_ERROR, US_ERROR_USAGE,
                "'%.64s' is not the name of a time zone: write UTC, local, or a place as Europe/Berlin",
                zone);
    return FALSE;
}

static GTimeZone *open_zone(const char *zone, GError **error)
{
    GTimeZone *tz;

    if (!calendar_zone_check(zone, error))
        return NULL;
    tz = g_str_equal(zone, "local") ? g_time_zone_new_local()
         : g_str_equal(zone, "UTC") ? g_time_zone_new_utc()
                                    : g_time_zone_new_identifier(zone);
    if (!tz)
        g_set_error(error, US_ERROR, US_ERROR_NOT_FOUND,
                    "the controller's machine has no time zone '%s': see there with 'timedatectl "
                    "list-timezones' (package tzdata)",
                    zone);
    return tz;
}

gboolean calendar_zone_find(const char *zone, GError **error)
{
    g_autoptr(GTimeZone) tz = open_zone(zone, error);

    return tz != NULL;
}

/* --- the next time ----------------------------------------------------- */

/* Local times in their order are instants in theirs: g_date_time_new() moves what is left out to the end of the gap, and
 * takes the second of two. */
static gboolean next_on(const Calendar *c, const GDate *date, GTimeZone *tz, gint64 after_ms, gint64 *ret_ms)
{
    for (guint at = 0; at < 24 * 60; at++) {
        g_autoptr(GDateTime) time = NULL;

        if (!has(c->hours, at / 60) || !has(c->minutes, at % 60))
            continue;
        time = g_date_time_new(tz, g_date_get_year(date), (int)g_date_get_month(date), g_date_get_day(date),
                               (int)at / 60, (int)at % 60, 0);
        if (time && g_date_time_to_unix(time) * 1000 > after_ms) {
            *ret_ms = g_date_time_to_unix(time) * 1000;
            return TRUE;
        }
    }
    return FALSE;
}

gboolean calendar_next(const Calendar *c, gint64 after_wall_ms, const char *zone, gint64 *ret_wall_ms,
                       GError **error)
{
    g_autoptr(GTimeZone) tz = open_zone(zone, error);
    g_autoptr(GDateTime) utc = tz ? g_date_time_new_from_unix_utc(after_wall_ms / 1000) : NULL;
    g_autoptr(GDateTime) local = utc ? g_date_time_to_timezone(utc, tz) : NULL;
    gint64 next_ms = CALENDAR_NEVER;
    GDate date;

    if (!tz)
        return FALSE;
    if (local) {
        g_date_clear(&date, 1);
        g_date_set_dmy(&date, (GDateDay)g_date_time_get_day_of_month(local),
                       (GDateMonth)g_date_time_get_month(local), (GDateYear)g_date_time_get_year(local));
        /* Where clocks are put back over midnight, some of yesterday is still to come. */
        g_date_subtract_days(&date, 1);
        for (guint i = 0; i < SEARCH_DAYS; i++, g_date_add_days(&date, 1))
            if (has_date(c, &date) && next_on(c, &date, tz, after_wall_ms, &next_ms))
                break;
    }
    *ret_wall_ms = next_ms;
    return TRUE;
}

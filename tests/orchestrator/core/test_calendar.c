/* SPDX-License-Identifier: Apache-2.0 */
/* Times worked out by hand. In 2026 clocks were put forward on 29 March in Berlin and on 8 March in New York, and back on 25
 * October and 1 November; 28 November is a Saturday. */
#include "orchestrator/core/calendar.h"
#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"

static gint64 wall_ms(const char *minute)
{
    g_autofree char *text = g_strdup_printf("%s:00.000Z", minute);
    gint64 ms;

    g_assert_true(clock_parse(text, &ms, NULL));
    return ms;
}

static void test_next(void)
{
    static const struct {
        const char *text, *zone, *after, *next;
    } CASES[] = {
        {"* * * * *", "UTC", "2026-11-28T10:10", "2026-11-28T10:11"},
        {"@hourly", "UTC", "2026-11-28T10:10", "2026-11-28T11:00"},
        {"@Daily", "UTC", "2026-11-28T10:10", "2026-11-29T00:00"},
        {"@weekly", "UTC", "2026-11-28T10:10", "2026-11-29T00:00"},
        {"@monthly", "UTC", "2026-11-28T10:10", "2026-12-01T00:00"},
        {"*/20 9-17/4 * * 1-5", "UTC", "2026-11-27T17:20", "2026-11-27T17:40"},
        {"*/20 9-17/4 * * 1-5", "UTC", "2026-11-27T17:40", "2026-11-30T09:00"},
        {"59 23 31 12 *", "UTC", "2026-11-28T10:10", "2026-12-31T23:59"},
        {" 5\t 0  *  * 7 ", "UTC", "2026-11-28T10:10", "2026-11-29T00:05"},
        {"0 12 * * FRI-SUN", "UTC", "2026-11-28T12:00", "2026-11-29T12:00"},
        {"0 12 * * FRI-SUN", "UTC", "2026-11-29T12:00", "2026-12-04T12:00"},
        {"0 12 * JAN,jul sat", "UTC", "2026-11-28T10:10", "2027-01-02T12:00"},
        /* Either day will do, … */
        {"0 0 13 * FRI", "UTC", "2026-11-28T00:00", "2026-12-04T00:00"},
        {"0 0 13 * FRI", "UTC", "2026-12-11T00:00", "2026-12-13T00:00"},
        {"0 0 13 * FRI", "UTC", "2026-12-13T00:00", "2026-12-18T00:00"},
        {"0 0 30 2 MON", "UTC", "2026-11-28T00:00", "2027-02-01T00:00"},
        /* … both must, if a star begins one of them. */
        {"0 0 */2 * MON", "UTC", "2026-11-28T00:00", "2026-12-07T00:00"},
        {"0 0 13 * *", "UTC", "2026-11-28T00:00", "2026-12-13T00:00"},
        {"0 0 29 2 *", "UTC", "2026-01-01T00:00", "2028-02-29T00:00"},
        {"0 0 29 2 *", "UTC", "2096-02-29T00:00", "2104-02-29T00:00"},
        {"0 3 * * *", "Europe/Berlin", "2026-01-15T00:00", "2026-01-15T02:00"},
        {"0 3 * * *", "Europe/Berlin", "2026-07-15T00:00", "2026-07-15T01:00"},
        {"30 2 * * *", "Europe/Berlin", "2026-03-28T12:00", "2026-03-29T01:00"},
        {"30 2 * * *", "Europe/Berlin", "2026-03-29T01:00", "2026-03-30T00:30"},
        {"*/30 2-3 * * *", "Europe/Berlin", "2026-03-29T01:00", "2026-03-29T01:30"},
        {"30 2 * * *", "Europe/Berlin", "2026-10-24T12:00", "2026-10-25T01:30"},
        {"30 2 * * *", "Europe/Berlin", "2026-10-25T01:30", "2026-10-26T01:30"},
        {"@hourly", "Europe/Berlin", "2026-10-24T23:00", "2026-10-25T01:00"},
        {"30 2 * * SUN", "America/New_York", "2026-03-07T12:00", "2026-03-08T07:00"},
        {"15 1 * * SUN", "America/New_York", "2026-10-31T12:00", "2026-11-01T06:15"},
        {"0 20 * * *", "America/New_York", "2026-11-28T10:10", "2026-11-29T01:00"},
        {"0 9 1 * *", "Asia/Tokyo", "2026-11-28T10:10", "2026-12-01T00:00"},
        {"0 3 * * SUN", "Asia/Tokyo", "2026-11-28T10:10", "2026-11-28T18:00"},
    };

    for (guint i = 0; i < G_N_ELEMENTS(CASES); i++) {
        g_autoptr(GError) error = NULL;
        char at[CLOCK_TEXT_LEN + 1];
        g_autofree char *next = g_strdup_printf("%s:00.000Z", CASES[i].next);
        gint64 ms;
        Calendar c;

        g_assert_true(calendar_read(CASES[i].text, &c, &error));
        g_assert_true(calendar_next(&c, wall_ms(CASES[i].after), CASES[i].zone, &ms, &error));
        g_assert_no_error(error);
        g_assert_cmpstr(clock_format(ms, at), ==, next);
        /* The instant before it has the same. */
        g_assert_true(calendar_next(&c, ms - 1, CASES[i].zone, &ms, &error));
        g_assert_cmpstr(clock_format(ms, at), ==, next);
    }
}

/* Where clocks are put back at a minute past midnight, yesterday comes again. */
static void test_midnight(void)
{
    Calendar c;
    gint64 ms;

    g_assert_true(calendar_read("30 23 * * *", &c, NULL));
    /* 2010-11-07 00:01 NDT, 02:31 UTC, becomes 23:01 NST of the day before. */
    g_assert_true(calendar_next(&c, wall_ms("2010-11-07T02:30"), "America/St_Johns", &ms, NULL));
    g_assert_cmpint(ms, ==, wall_ms("2010-11-07T03:00"));
}

static void test_refusals(void)
{
    static const struct {
        const char *text, *sentence;
    } BAD[] = {
        {"", "'' is not a time that recurs: write minute, hour, day of month, month and day of week, as "
             "'30 3 * * SUN', or @hourly, @daily, @weekly or @monthly"},
        {"* * * *", NULL},
        {"* * * * * *", NULL},
        {"@yearly", NULL},
        {"* * * *\n*", NULL},
        {"60 * * * *",
         "the minute cannot be '60': write *, or values from 0 to 59, as a list (1,4), a range (1-4), or "
         "every so many (*/2, 1-4/2)"},
        {"* 24 * * *", "the hour cannot be '24': write *, or values from 0 to 23, as a list (1,4), a range "
                       "(1-4), or every so many (*/2, 1-4/2)"},
        {"* * 0 * *", "the day of month cannot be '0': write *, or values from 1 to 31, as a list (1,4), a "
                      "range (1-4), or every so many (*/2, 1-4/2)"},
        {"* * * 13 *", "the month cannot be '13': write *, or values from 1 to 12 or JAN to DEC, as a list "
                       "(1,4), a range (1-4), or every so many (*/2, 1-4/2)"},
        {"* * * * 8", "the day of week cannot be '8': write *, or values from 0 to 7 or SUN to SAT, as a "
                      "list (1,4), a range (1-4), or every so many (*/2, 1-4/2)"},
        {"* * 32 * *", NULL},
        {"* * * 0 *", NULL},
        {"* * * MON *", NULL},
        {"* * * * MAY", NULL},
        {"* * * JANU *", NULL},
        {"5-1 * * * *", NULL},
        {"1- * * * *", NULL},
        {"-1 * * * *", NULL},
        {"1,,2 * * * *", NULL},
        {", * * * *", NULL},
        {"*/0 * * * *", NULL},
        {"*/60 * * * *", NULL},
        {"*/ * * * *", NULL},
        {"5/10 * * * *", NULL},
        {"** * * * *", NULL},
        {"1x * * * *", NULL},
        {"4294967296 * * * *", NULL},
        {"0 0 30 2 *",
         "'0 0 30 2 *' never comes, or not in five years: no month of those has that day of month"},
        {"0 0 31 4,6 *", NULL},
    };
    g_autofree char *longer = g_strdup_printf("%*s* * * * *", CALENDAR_MAX, "");
    Calendar c;

    for (guint i = 0; i < G_N_ELEMENTS(BAD); i++) {
        g_autoptr(GError) error = NULL;

        g_assert_false(calendar_read(BAD[i].text, &c, &error));
        g_assert_error(error, US_ERROR, US_ERROR_USAGE);
        if (BAD[i].sentence)
            g_assert_cmpstr(error->message, ==, BAD[i].sentence);
    }
    g_assert_false(calendar_read(longer, &c, NULL));
}

static void test_zones(void)
{
    static const char *const GOOD[] = {
        "UTC",     "local",     "Europe/Berlin",         "America/Argentina/Buenos_Aires",
        "NZ-CHAT", "Etc/GMT+1", "America/Port-au-Prince"};
    static const char *const BAD[] = {"",          "UTC+2",       "+01:00",       "GMT-3",   "/etc/passwd",
                                      "../passwd", "a/../b",      "Europe//Rome", "Europe/", "CET-1CEST",
                                      ":UTC",      "Europe/Köln", "A B"};
    g_autoptr(GError) error = NULL;
    Calendar c;
    gint64 ms = 7;

    for (guint i = 0; i < G_N_ELEMENTS(GOOD); i++)
        g_assert_true(calendar_zone_find(GOOD[i], NULL));
    for (guint i = 0; i < G_N_ELEMENTS(BAD); i++)
        g_assert_false(calendar_zone_check(BAD[i], NULL));
    g_assert_false(calendar_zone_check("UTC+2", &error));
    g_assert_error(error, US_ERROR, US_ERROR_USAGE);
    g_assert_cmpstr(error->message, ==,
                    "'UTC+2' is not the name of a time zone: write UTC, local, or a place as Europe/Berlin");
    g_clear_error(&error);
    g_assert_true(calendar_zone_check("Europe/Atlantis", &error));
    g_assert_true(calendar_read("@daily", &c, NULL));
    g_assert_false(calendar_next(&c, 0, "Europe/Atlantis", &ms, &error));
    g_assert_error(error, US_ERROR, US_ERROR_NOT_FOUND);
    g_assert_cmpstr(
        error->message, ==,
        "the controller's machine has no time zone 'Europe/Atlantis': see there with 'timedatectl "
        "list-timezones' (package tzdata)");
    g_assert_cmpint(ms, ==, 7);
}

int main(int argc, char *argv[])
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/calendar/next", test_next);
    g_test_add_func("/calendar/midnight", test_midnight);
    g_test_add_func("/calendar/refusals", test_refusals);
    g_test_add_func("/calendar/zones", test_zones);
    return g_test_run();
}

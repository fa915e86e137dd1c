/* SPDX-License-Identifier: Apache-2.0 */
/* calendar - when something recurs, as people write it down for cron (crontab(5)).
 *
 * Pure: no clock is read; time zones are those of the machine's time zone data. Not a timer: who waits is somebody else. */
#pragma once

#include <glib.h>

#define CALENDAR_MAX 127 /* bytes of its text */
#define CALENDAR_ZONE_MAX 63
#define CALENDAR_NEVER G_MAXINT64

/* Bit n of a set: the value n is in it. */
typedef struct {
    guint64 minutes;      /* 0 to 59 */
    guint64 hours;        /* 0 to 23 */
    guint64 days;         /* 1 to 31 */
    guint64 months;       /* 1 to 12 */
    guint64 weekdays;     /* 0, Sunday, to 6 */
    gboolean any_day;     /* the field begins with a star: then both must match, … */
    gboolean any_weekday; /* … else one of the two is enough */
} Calendar;

/* "minute hour day-of-month month day-of-week", each *, a value, range, list or step, with JAN-DEC and SUN-SAT, 0 and 7 for
 * Sunday; or @hourly, @daily, @weekly, @monthly. FALSE with @error USAGE, which names the field; also for what the years 2024
 * to 2028 do not have, such as 30 February. */
gboolean calendar_read(const char *text, Calendar *ret_calendar, GError **error);

/* Could that be a zone's name: "UTC", "local" (the machine's), or as Europe/Berlin? FALSE with @error USAGE. No offsets:
 * POSIX and people disagree about the sign of UTC+2. */
gboolean calendar_zone_check(const char *zone, GError **error);
/* The same, and this machine knows it; else NOT_FOUND. */
gboolean calendar_zone_find(const char *zone, GError **error);

/* The first time of @c after @after_wall_ms, by the clocks of @zone; CALENDAR_NEVER if the next 40 years have none. What clocks
 * that are put forward leave out is taken when they go on, what they say twice once, the second time. FALSE with @error of
 * calendar_zone_find(). */
gboolean calendar_next(const Calendar *c, gint64 after_wall_ms, const char *zone, gint64 *ret_wall_ms,
                       GError **error);

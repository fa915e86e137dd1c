/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/core/rehearsal_due.h"

#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"

RehearsalDue *rehearsal_due_new(gint64 from_wall_ms)
{
    RehearsalDue *d = g_new0(RehearsalDue, 1);

    d->from_ms = from_wall_ms;
    d->next_ms = CALENDAR_NEVER;
    return d;
}

void rehearsal_due_free(gpointer due)
{
    RehearsalDue *d = due;

    g_free(d->of);
    g_free(d);
}

static gboolean look_ahead(RehearsalDue *d, const Policy *policy, gint64 after_ms, GError **error)
{
    Calendar calendar;

    d->next_ms = CALENDAR_NEVER;
    if (g_str_equal(policy->test, POLICY_NO_TEST))
        return TRUE;
    if (!calendar_read(policy->test, &calendar, NULL))
        g_assert_not_reached(); /* policy_set() has read it */
    return calendar_next(&calendar, after_ms, policy->test_zone, &d->next_ms, error);
}

/* Who waits for what a wrong clock has shown waits for years. By less than what may be late it is another look at the same times. */
static gboolean was_put_back(RehearsalDue *d, gint64 now_ms)
{
    gboolean back = now_ms < d->seen_ms - REHEARSAL_LATE_MS;

    d->seen_ms = now_ms;
    return back;
}

/* The first properties that are seen were there before, others hold from now on. */
static gboolean turn_to(RehearsalDue *d, const Policy *policy, gint64 now_ms, GError **error)
{
    g_autofree char *of = g_strdup_printf("%s %s", policy->test_zone, policy->test);
    gint64 from_ms = d->of ? now_ms : CLAMP(d->from_ms, now_ms - REHEARSAL_LATE_MS, now_ms);
    gboolean back = was_put_back(d, now_ms);

    if (g_strcmp0(d->of, of) == 0 && !back)
        return TRUE;
    g_free(d->of);
    d->of = g_steal_pointer(&of);
    d->until_ms = 0;
    return look_ahead(d, policy, from_ms, error);
}

gboolean rehearsal_due_step(RehearsalDue *d, const Policy *policy, gint64 now_wall_ms, GError **error)
{
    char at[CLOCK_TEXT_LEN + 1];
    gint64 time_ms;

    if (!turn_to(d, policy, now_wall_ms, error) || now_wall_ms < d->next_ms)
        return FALSE;
    time_ms = d->next_ms;
    if (!look_ahead(d, policy, now_wall_ms, error))
        return FALSE;
    if (now_wall_ms - time_ms <= REHEARSAL_LATE_MS)
        return TRUE;
    g_set_error(error, US_ERROR, US_ERROR_TIMEOUT, "it is more than an hour after %s: no test was begun",
                clock_format(time_ms, at));
    return FALSE;
}

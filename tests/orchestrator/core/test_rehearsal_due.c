/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/core/rehearsal_due.h"
#include "vmconnect/base/error.h"

#define MINUTE_MS ((gint64)60 * 1000)
#define HOUR_MS (60 * MINUTE_MS)
#define DAY_MS (24 * HOUR_MS)
#define TODAY_MS (20000 * DAY_MS) /* a midnight */

G_DEFINE_AUTOPTR_CLEANUP_FUNC(RehearsalDue, rehearsal_due_free)

static Policy policy(const char *test, const char *zone)
{
    Policy p;

    policy_init(&p);
    g_assert_true(policy_set(&p, "test", test, NULL));
    g_assert_true(policy_set(&p, "test_zone", zone, NULL));
    return p;
}

static gboolean is_due(RehearsalDue *d, const Policy *p, gint64 now_ms)
{
    g_autoptr(GError) error = NULL;
    gboolean due = rehearsal_due_step(d, p, now_ms, &error);

    g_assert_no_error(error);
    return due;
}

static void test_once(void)
{
    g_autoptr(RehearsalDue) d = rehearsal_due_new(0);
    Policy p = policy("0 3 * * *", "UTC");
    guint times = 0;

    for (gint64 now_ms = TODAY_MS; now_ms < TODAY_MS + 3 * DAY_MS; now_ms += MINUTE_MS / 2)
        if (is_due(d, &p, now_ms + 7)) {
            g_assert_cmpint(now_ms, ==, TODAY_MS + times * DAY_MS + 3 * HOUR_MS);
            times++;
        }
    g_assert_cmpuint(times, ==, 3);
    g_assert_cmpint(d->next_ms, ==, TODAY_MS + 3 * DAY_MS + 3 * HOUR_MS);
}

static void test_never(void)
{
    g_autoptr(RehearsalDue) d = rehearsal_due_new(0);
    Policy p = policy(POLICY_NO_TEST, "UTC");

    for (gint64 now_ms = TODAY_MS; now_ms < TODAY_MS + DAY_MS; now_ms += MINUTE_MS)
        g_assert_false(is_due(d, &p, now_ms));
    g_assert_cmpint(d->next_ms, ==, CALENDAR_NEVER);
}

/* What came while nobody looked is one test, if it is not long ago, and none that was done. */
static void test_away(void)
{
    Policy hourly = policy("@hourly", "UTC"), often = policy("* * * * *", "UTC"),
           daily = policy("0 3 * * *", "UTC");
    g_autoptr(RehearsalDue) a = rehearsal_due_new(TODAY_MS - 5 * DAY_MS);
    g_autoptr(RehearsalDue) b = rehearsal_due_new(0);
    g_autoptr(RehearsalDue) c = rehearsal_due_new(0);
    g_autoptr(RehearsalDue) d = rehearsal_due_new(TODAY_MS + 3 * HOUR_MS + 5000);
    g_autoptr(RehearsalDue) e = rehearsal_due_new(TODAY_MS + 9 * DAY_MS); /* the clock was wrong then */

    g_assert_true(is_due(a, &hourly, TODAY_MS + 10 * MINUTE_MS));
    g_assert_false(is_due(a, &hourly, TODAY_MS + 11 * MINUTE_MS));
    g_assert_true(is_due(b, &often, TODAY_MS));
    g_assert_false(is_due(b, &often, TODAY_MS + 1));
    g_assert_false(is_due(c, &daily, TODAY_MS + 4 * HOUR_MS));
    g_assert_false(is_due(d, &daily, TODAY_MS + 3 * HOUR_MS + 2 * MINUTE_MS));
    g_assert_false(is_due(e, &daily, TODAY_MS + 2 * HOUR_MS));
    g_assert_true(is_due(e, &daily, TODAY_MS + 3 * HOUR_MS));
}

/* A time that was over when it was set is none. */
static void test_changed(void)
{
    g_autoptr(RehearsalDue) d = rehearsal_due_new(0);
    Policy never = policy(POLICY_NO_TEST, "UTC"), daily = policy("0 3 * * *", "UTC"),
           tokyo = policy("0 3 * * *", "Asia/Tokyo");

    g_assert_false(is_due(d, &never, TODAY_MS + 3 * HOUR_MS));
    g_assert_false(is_due(d, &daily, TODAY_MS + 3 * HOUR_MS + MINUTE_MS));
    g_assert_cmpint(d->next_ms, ==, TODAY_MS + DAY_MS + 3 * HOUR_MS);
    g_assert_false(is_due(d, &tokyo, TODAY_MS + 3 * HOUR_MS + MINUTE_MS));
    g_assert_cmpint(d->next_ms, ==, TODAY_MS + 18 * HOUR_MS);
}

static void test_passed_over(void)
{
    g_autoptr(RehearsalDue) d = rehearsal_due_new(0);
    Policy daily = policy("0 3 * * *", "UTC"), nowhere = policy("0 3 * * *", "Europe/Atlantis");
    g_autoptr(GError) error = NULL;

    g_assert_false(is_due(d, &daily, TODAY_MS));
    g_assert_false(rehearsal_due_step(d, &daily, TODAY_MS + 5 * HOUR_MS, &error));
    g_assert_error(error, US_ERROR, US_ERROR_TIMEOUT);
    g_assert_cmpstr(error->message, ==,
                    "it is more than an hour after 2024-10-04T03:00:00.000Z: no test was begun");
    g_clear_error(&error);
    g_assert_false(is_due(d, &daily, TODAY_MS + 5 * HOUR_MS + 1));
    g_assert_false(rehearsal_due_step(d, &nowhere, TODAY_MS, &error));
    g_assert_error(error, US_ERROR, US_ERROR_NOT_FOUND);
    g_assert_false(is_due(d, &nowhere, TODAY_MS + DAY_MS));
}

/* The clock is put right after it was years ahead, in the middle of the waiting for an engine, too; but a second is not a test more. */
static void test_put_back(void)
{
    g_autoptr(RehearsalDue) d = rehearsal_due_new(0);
    Policy daily = policy("0 3 * * *", "UTC");

    g_assert_false(is_due(d, &daily, TODAY_MS + 1500 * DAY_MS));
    d->until_ms = TODAY_MS + 1500 * DAY_MS + 10 * MINUTE_MS;
    g_assert_false(is_due(d, &daily, TODAY_MS));
    g_assert_cmpint(d->next_ms, ==, TODAY_MS + 3 * HOUR_MS);
    g_assert_cmpint(d->until_ms, ==, 0);
    g_assert_true(is_due(d, &daily, TODAY_MS + 3 * HOUR_MS));
    g_assert_false(is_due(d, &daily, TODAY_MS + 3 * HOUR_MS - 1000));
    g_assert_false(is_due(d, &daily, TODAY_MS + 3 * HOUR_MS + 1));
}

int main(int argc, char *argv[])
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/rehearsal-due/once", test_once);
    g_test_add_func("/rehearsal-due/never", test_never);
    g_test_add_func("/rehearsal-due/away", test_away);
    g_test_add_func("/rehearsal-due/changed", test_changed);
    g_test_add_func("/rehearsal-due/passed-over", test_passed_over);
    g_test_add_func("/rehearsal-due/put-back", test_put_back);
    return g_test_run();
}

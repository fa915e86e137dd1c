/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/store/retention.h"

#include <string.h>

/* A point is written by the minute it was sealed in (0: a Thursday begins); behind it p pinned,
 * b a branch stands on it. Merges are carried out until there is none left. */
static char *settle(RetentionPolicy policy, const char *text)
{
    g_auto(GStrv) words = g_strsplit(text, " ", 0);
    guint n = g_strv_length(words);
    RetentionPoint *points = g_new0(RetentionPoint, n);
    RetentionMerge merge;
    char *result;

    for (guint i = 0; i < n; i++) {
        points[i] = (RetentionPoint){
            .at_ms = g_ascii_strtoll(words[i], NULL, 10) * 60000,
            .pinned = strchr(words[i], 'p') != NULL,
            .children = strchr(words[i], 'b') ? 2 : 1,
        };
    }
    while (retention_next(policy, points, n, &merge)) {
        guint gone = merge.survivor - merge.first;

        g_assert_cmpuint(merge.first, <, merge.survivor);
        g_assert_cmpuint(merge.survivor, <, n);
        g_assert_cmpuint(gone, <=, RETENTION_MAX_RANGE);
        for (guint i = merge.first; i < merge.survivor; i++)
            g_free(words[i]);
        memmove(points + merge.first, points + merge.survivor, (n - merge.survivor) * sizeof(*points));
        memmove(words + merge.first, words + merge.survivor, (n - merge.survivor + 1) * sizeof(*words));
        n -= gone;
    }
    result = g_strjoinv(" ", words);
    g_free(points);
    return result;
}

static const struct {
    const char *name;
    RetentionPolicy policy;
    const char *before;
    const char *after;
} CASES[] = {
    {"one", {24, 24}, "5", "5"},
    {"newest", {3, 0}, "1 2 3 4 5 6", "4 5 6"},
    {"never-the-tip", {0, 0}, "1 2 3", "3"},
    {"pinned", {1, 0}, "1 2p 3 4 5", "2p 5"},
    {"branch", {1, 0}, "1 2b 3 4", "2b 4"},
    {"first-of-each-hour", {1, 3}, "1 2 61 62 63 121 122", "1 61 121 122"},
    {"hours-run-out", {1, 2}, "1 2 61 62 121 122", "61 121 122"},
    {"hours-and-newest", {2, 24}, "0 10 20 30 40 50 60 70 80", "0 60 70 80"},
    {"counted-from-the-newest-point", {1, 2}, "1 61", "1 61"},
    {"clock-set-back", {2, 24}, "600 601 5 6 7", "600 5 6 7"},
    {"clock-jumps-keep-no-more", {1, 2}, "600 1200 1800 5 6", "1800 5 6"},
    {"first-of-each-day", {1, 0, 2}, "0 10 1440 1450 2880 2890", "1440 2880 2890"},
    {"weeks-begin-on-monday", {1, 0, 0, 2}, "0 4320 5759 5760 5761", "0 5760 5761"},
    {"weeks-run-out", {1, 0, 0, 1}, "0 4320 5759 5760 5761", "5760 5761"},
    {"before-1970", {1, 0, 1, 2}, "-4321 -4320 -4319 -1441 -1440 -1 0 1", "-4321 -4320 0 1"},
    {"one-stands-for-hour-day-and-week", {1, 2, 2, 2}, "5700 5760 5761 5820 5821", "5700 5760 5820 5821"},
    {"the-oldest-there-is-stands", {1, 0, 1}, "1500 1501 1502", "1500 1502"},
    {"long-range", {1, 0}, "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20", "20"},
};

static void test_case(gconstpointer user)
{
    guint i = GPOINTER_TO_UINT(user);
    g_autofree char *after = settle(CASES[i].policy, CASES[i].before);

    g_assert_cmpstr(after, ==, CASES[i].after);
}

/* A day and a half of a generation a minute: never more than the policy names, and one for each full hour. */
static void test_a_day(void)
{
    RetentionPolicy policy = RETENTION_DEFAULT;
    RetentionPoint points[64];
    guint most = 0;
    guint n = 0;

    for (gint64 minute = 0; minute < 36 * (gint64)60; minute++) {
        RetentionMerge merge;

        points[n++] = (RetentionPoint){.at_ms = minute * 60000, .children = 1};
        while (retention_next(policy, points, n, &merge)) {
            memmove(points + merge.first, points + merge.survivor, (n - merge.survivor) * sizeof(*points));
            n -= merge.survivor - merge.first;
        }
        most = MAX(most, n);
    }
    g_assert_cmpuint(most, <=, 48);
    for (guint hour = 12; hour < 36; hour++) {
        gboolean found = FALSE;

        for (guint i = 0; i < n; i++)
            found |= points[i].at_ms == hour * (gint64)3600000;
        g_assert_true(found);
    }
}

/* --- played against a model --------------------------------------------- */

#define PLAYED 400

typedef struct {
    RetentionPoint point;
    guint number; /* of its sealing */
} Sealed;

/* The model's calendar: GLib's. */
typedef struct {
    const char *name; /* of a span, by strftime */
    GDateTime *(*add)(GDateTime *, int);
} Calendar;

static const Calendar HOURS = {"%F %H", g_date_time_add_hours};
static const Calendar DAYS = {"%F", g_date_time_add_days};
static const Calendar WEEKS = {"%G-%V", g_date_time_add_weeks};

static char *span_name(Calendar calendar, gint64 at_ms, int back)
{
    g_autoptr(GDateTime) at = g_date_time_new_from_unix_utc(at_ms / 1000);
    g_autoptr(GDateTime) then = calendar.add(at, -back);

    return g_date_time_format(then, calendar.name);
}

/* Of everything that was ever sealed, the first of each of the last @count spans. */
static void model_spans(Calendar calendar, guint count, const gint64 *at_ms, guint n, gboolean *kept)
{
    for (guint back = 0; back < count; back++) {
        g_autofree char *wanted = span_name(calendar, at_ms[n - 1], (int)back);

        for (guint i = 0; i < n; i++) {
            g_autofree char *own = span_name(calendar, at_ms[i], 0);

            if (g_str_equal(own, wanted)) {
                kept[i] = TRUE;
                break;
            }
        }
    }
}

static RetentionPolicy random_policy(void)
{
    return (RetentionPolicy){.newest = (guint)g_test_rand_int_range(1, 6),
                             .hours = (guint)g_test_rand_int_range(0, 6),
                             .days = (guint)g_test_rand_int_range(0, 5),
                             .weeks = (guint)g_test_rand_int_range(0, 4)};
}

/* Minutes as a rule, now and then hours or days. */
static gint64 random_step_ms(void)
{
    static const gint32 MOST_S[] = {600, 600, 600, 600, 7200, 100000, 1000000};

    return 1000 * (gint64)g_test_rand_int_range(1, MOST_S[g_test_rand_int_range(0, G_N_ELEMENTS(MOST_S))]);
}

static gboolean is_bound(const RetentionPoint *p)
{
    return p->pinned || p->children > 1;
}

static guint count_bound(const GArray *points)
{
    guint n = 0;

    for (guint i = 0; i < points->len; i++)
        n += is_bound(&g_array_index(points, Sealed, i).point);
    return n;
}

/* Merge until nothing is left to merge. */
static void settle_all(RetentionPolicy policy, GArray *points)
{
    for (;;) {
        g_autofree RetentionPoint *bare = g_new(RetentionPoint, points->len);
        RetentionMerge merge;

        for (guint i = 0; i < points->len; i++)
            bare[i] = g_array_index(points, Sealed, i).point;
        if (!retention_next(policy, bare, points->len, &merge))
            return;
        g_assert_cmpuint(merge.first, <, merge.survivor);
        g_assert_cmpuint(merge.survivor, <, points->len);
        g_assert_cmpuint(merge.survivor - merge.first, <=, RETENTION_MAX_RANGE);
        for (guint i = merge.first; i < merge.survivor; i++)
            g_assert_false(is_bound(&bare[i]));
        g_array_remove_range(points, merge.first, merge.survivor - merge.first);
    }
}

/* Somebody pins, or branches off; and lets go of it again. */
static void change_one(GArray *points)
{
    RetentionPoint *p = &g_array_index(points, Sealed, g_test_rand_int_range(0, (gint32)points->len)).point;

    if (is_bound(p))
        *p = (RetentionPoint){.at_ms = p->at_ms, .children = 1};
    else if (g_test_rand_bit())
        p->pinned = TRUE;
    else
        p->children = 2;
}

static void seal(GArray *points, gint64 at_ms, guint number)
{
    Sealed sealed = {.point = {.at_ms = at_ms, .children = 1}, .number = number};

    g_array_append_val(points, sealed);
    if (g_test_rand_int_range(0, 8) == 0)
        change_one(points);
}

/* What is kept is what the policy says of the whole history, not only of what is left of it: who stood for a
 * span never gives way to a later one, and what went is never missed. */
static void test_model(void)
{
    g_autoptr(GArray) points = g_array_new(FALSE, FALSE, sizeof(Sealed));
    RetentionPolicy policy = random_policy();
    gint64 at_ms[PLAYED];
    gint64 now_ms = 1795299414123;

    for (guint n = 0; n < PLAYED; n++) {
        gboolean kept[PLAYED] = {FALSE};
        guint k = 0;

        at_ms[n] = now_ms += random_step_ms();
        seal(points, now_ms, n);
        settle_all(policy, points);
        for (guint i = 0; i < policy.newest && i <= n; i++)
            kept[n - i] = TRUE;
        model_spans(HOURS, policy.hours, at_ms, n + 1, kept);
        model_spans(DAYS, policy.days, at_ms, n + 1, kept);
        model_spans(WEEKS, policy.weeks, at_ms, n + 1, kept);
        for (guint i = 0; i <= n; i++) {
            const Sealed *there = k < points->len ? &g_array_index(points, Sealed, k) : NULL;

            if (there && there->number == i && (kept[i] || is_bound(&there->point)))
                k++;
            else
                g_assert_false(kept[i]);
        }
        g_assert_cmpuint(k, ==, points->len);
    }
}

/* A clock that says anything, and a policy that changes: never more than was asked for, never the tip. */
static void test_any_clock(void)
{
    g_autoptr(GArray) points = g_array_new(FALSE, FALSE, sizeof(Sealed));
    RetentionPolicy policy = random_policy();

    for (guint n = 0; n < PLAYED; n++) {
        gint64 now_ms = random_step_ms() * g_test_rand_int_range(-50, 50);

        if (g_test_rand_int_range(0, 20) == 0)
            policy = random_policy();
        seal(points, now_ms, n);
        settle_all(policy, points);
        g_assert_cmpuint(g_array_index(points, Sealed, points->len - 1).number, ==, n);
        g_assert_cmpuint(points->len - count_bound(points), <=,
                         policy.newest + policy.hours + policy.days + policy.weeks);
    }
}

/* Whoever asks for more keeps all that who asks for less does. */
static void test_more_keeps_more(void)
{
    for (guint round = 0; round < 200; round++) {
        g_autoptr(GArray) less = g_array_new(FALSE, FALSE, sizeof(Sealed));
        g_autoptr(GArray) more = g_array_new(FALSE, FALSE, sizeof(Sealed));
        RetentionPolicy policy = random_policy();
        RetentionPolicy larger = {policy.newest + 1, policy.hours + 2, policy.days + 1, policy.weeks + 1};
        gint64 now_ms = 0;
        guint k = 0;

        for (guint n = 0; n < 60; n++) {
            Sealed sealed = {.point = {.at_ms = now_ms += random_step_ms(), .children = 1}, .number = n};

            g_array_append_val(less, sealed);
            g_array_append_val(more, sealed);
        }
        settle_all(policy, less);
        settle_all(larger, more);
        for (guint i = 0; i < less->len; i++) {
            while (k < more->len &&
                   g_array_index(more, Sealed, k).number != g_array_index(less, Sealed, i).number)
                k++;
            g_assert_cmpuint(k, <, more->len);
        }
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (guint i = 0; i < G_N_ELEMENTS(CASES); i++) {
        g_autofree char *path = g_strdup_printf("/retention/%s", CASES[i].name);

        g_test_add_data_func(path, GUINT_TO_POINTER(i), test_case);
    }
    g_test_add_func("/retention/a-day", test_a_day);
    g_test_add_func("/retention/model", test_model);
    g_test_add_func("/retention/any-clock", test_any_clock);
    g_test_add_func("/retention/more-keeps-more", test_more_keeps_more);
    return g_test_run();
}

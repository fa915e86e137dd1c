/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/store/retention.h"

#include <string.h>

/* A point is written by the minute it was sealed in; behind it p pinned, h held,
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
            .held = strchr(words[i], 'h') != NULL,
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
    {"held", {1, 0}, "1h 2h 3 4 5", "1h 2h 5"},
    {"branch", {1, 0}, "1 2b 3 4", "2b 4"},
    {"first-of-each-hour", {1, 3}, "1 2 61 62 63 121 122", "1 61 121 122"},
    {"hours-run-out", {1, 2}, "1 2 61 62 121 122", "61 121 122"},
    {"hours-and-newest", {2, 24}, "0 10 20 30 40 50 60 70 80", "0 60 70 80"},
    {"counted-from-the-newest-point", {1, 2}, "1 61", "1 61"},
    {"clock-set-back", {2, 24}, "600 601 5 6 7", "600 5 6 7"},
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

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (guint i = 0; i < G_N_ELEMENTS(CASES); i++) {
        g_autofree char *path = g_strdup_printf("/retention/%s", CASES[i].name);

        g_test_add_data_func(path, GUINT_TO_POINTER(i), test_case);
    }
    g_test_add_func("/retention/a-day", test_a_day);
    return g_test_run();
}

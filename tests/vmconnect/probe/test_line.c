/* SPDX-License-Identifier: Apache-2.0 */
/* A line to a kernel that answers echoes, to one that does not, and to nobody. */
#include "alone.h"

#include "vmconnect/probe/line.h"

static gboolean is_alone;

static void test_answered(void)
{
    Line line;

    alone_answer(TRUE, TRUE);
    line = line_measure("127.0.0.1");
    g_assert_cmpuint(line.sent, ==, 20);
    g_assert_cmpuint(line.answered, ==, 20);
    g_assert_cmpint(line.rtt_ms, >=, 0);
    g_assert_cmpuint(line_measure("::1").answered, ==, 20);
}

static void test_silent(void)
{
    static const char *const NOBODY[] = {"127.0.0.1", "192.0.2.1", "no such name"};

    alone_answer(FALSE, FALSE);
    for (guint i = 0; i < G_N_ELEMENTS(NOBODY); i++) {
        Line line = line_measure(NOBODY[i]);

        g_assert_cmpuint(line.sent, ==, 20);
        g_assert_cmpuint(line.answered, ==, 0);
        g_assert_cmpint(line.rtt_ms, ==, 0);
    }
}

static void run(gconstpointer data)
{
    void (*const *test)(void) = data;

    if (is_alone)
        (*test)();
    else
        g_test_skip("it takes root to have a network of one's own, and to ask for pings");
}

int main(int argc, char **argv)
{
    static void (*const TESTS[])(void) = {test_answered, test_silent};

    g_test_init(&argc, &argv, NULL);
    is_alone = alone();
    g_test_add_data_func("/line/answered", &TESTS[0], run);
    g_test_add_data_func("/line/silent", &TESTS[1], run);
    return g_test_run();
}

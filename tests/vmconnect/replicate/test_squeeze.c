/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/base/error.h"
#include "vmconnect/replicate/squeeze.h"

#include <string.h>

#define LEN 262144

static void test_round_trip(void)
{
    g_autoptr(Squeeze) s = squeeze_new(SQUEEZE_ALWAYS);
    g_autofree guint8 *data = g_malloc(LEN);
    g_autofree guint8 *out = g_malloc(LEN);
    g_autofree guint8 *back = g_malloc(LEN);
    g_autoptr(GError) error = NULL;
    gsize n;

    for (gsize i = 0; i < LEN; i++)
        data[i] = (guint8)(i / 100);
    n = squeeze_run(s, data, LEN, out);
    g_assert_cmpuint(n, >, 0);
    g_assert_cmpuint(n, <, LEN / 8);
    g_assert_true(squeeze_undo(out, n, back, LEN, &error));
    g_assert_cmpmem(back, LEN, data, LEN);
    g_assert_false(squeeze_undo(out, n, back, LEN - 1, &error));
    g_assert_error(error, US_ERROR, US_ERROR_PROTOCOL);
    g_clear_error(&error);
    g_assert_false(squeeze_undo(out, n - 1, back, LEN, &error));
    g_clear_error(&error);
    g_assert_false(squeeze_undo((const guint8 *)"", 0, back, LEN, &error));
}

static void test_noise_goes_as_it_is(void)
{
    g_autoptr(Squeeze) s = squeeze_new(SQUEEZE_ALWAYS);
    g_autofree guint8 *data = g_malloc(LEN);
    g_autofree guint8 *out = g_malloc(LEN);

    for (gsize i = 0; i < LEN; i++)
        data[i] = (guint8)g_test_rand_int();
    g_assert_cmpuint(squeeze_run(s, data, LEN, out), ==, 0);
}

static void test_when(void)
{
    g_autoptr(Squeeze) never = squeeze_new(squeeze_mode("never"));
    g_autoptr(Squeeze) always = squeeze_new(squeeze_mode("always"));
    g_autoptr(Squeeze) aut = squeeze_new(squeeze_mode("auto"));
    guint64 idle = 0;

    g_assert_false(squeeze_wanted(never, TRUE, 1));
    g_assert_true(squeeze_wanted(always, FALSE, 1));
    g_assert_false(squeeze_wanted(aut, FALSE, 1)); /* a queue that is not full, whatever the cores do */
    g_assert_false(squeeze_wanted(aut, TRUE, 2));  /* nothing known of the cores yet */
    g_assert_true(squeeze_idle_jiffies("cpu  1 2 3 44 5 6\ncpu0 …", &idle));
    g_assert_cmpuint(idle, ==, 44);
    g_assert_false(squeeze_idle_jiffies("intr 5", &idle));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/replicate/squeeze/round-trip", test_round_trip);
    g_test_add_func("/replicate/squeeze/noise", test_noise_goes_as_it_is);
    g_test_add_func("/replicate/squeeze/when", test_when);
    return g_test_run();
}

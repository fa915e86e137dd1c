/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/replicate/pacer.h"

#define FRAME 262144

/* Bytes that pass in @ms of virtual time when there is always something to send. */
static guint64 run(Pacer *pacer, gint64 from_ms, gint64 ms)
{
    guint64 sent = 0;

    for (gint64 now = from_ms; now < from_ms + ms;) {
        gint64 wait = pacer_wait_ms(pacer, now);

        if (wait == 0) {
            pacer_spend(pacer, FRAME);
            sent += FRAME;
        }
        now += wait;
    }
    return sent;
}

static void expect_rate(guint64 rate)
{
    Pacer pacer = {0};
    guint64 sent;

    pacer_set(&pacer, rate, 1000);
    sent = run(&pacer, 1000, 20000);
    g_assert_cmpuint(sent, >=, rate * 20 * 95 / 100);
    g_assert_cmpuint(sent, <=, rate * 20 + rate / 4 + 2 * FRAME);
}

static void test_rates(void)
{
    expect_rate(125000);     /* 1 mbit */
    expect_rate(12500000);   /* 100 mbit */
    expect_rate(1250000000); /* 10 gbit */
}

static void test_no_burst_after_a_pause(void)
{
    Pacer pacer = {0};

    pacer_set(&pacer, 1000000, 0);
    run(&pacer, 0, 1000);
    g_assert_cmpuint(run(&pacer, 3600000, 100), <=, 1000000 / 4 + 100000 + 2 * FRAME);
}

static void test_unlimited(void)
{
    Pacer pacer = {0};

    pacer_spend(&pacer, G_MAXINT32);
    g_assert_cmpint(pacer_wait_ms(&pacer, 0), ==, 0);
}

static void test_limit_removed(void)
{
    Pacer pacer = {0};

    pacer_set(&pacer, 1000, 0);
    pacer_spend(&pacer, FRAME);
    g_assert_cmpint(pacer_wait_ms(&pacer, 0), >, 0);
    pacer_set(&pacer, 0, 0);
    g_assert_cmpint(pacer_wait_ms(&pacer, 0), ==, 0);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/replicate/pacer/rates", test_rates);
    g_test_add_func("/replicate/pacer/no-burst", test_no_burst_after_a_pause);
    g_test_add_func("/replicate/pacer/unlimited", test_unlimited);
    g_test_add_func("/replicate/pacer/limit-removed", test_limit_removed);
    return g_test_run();
}

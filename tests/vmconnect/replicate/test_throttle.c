/* SPDX-License-Identifier: Apache-2.0 */
/* A guest, its disks and we are played: requests take longer the more is read beside them. */
#include "vmconnect/replicate/throttle.h"

#include <string.h>

#define MIB ((guint64)1 << 20)
#define MS G_GUINT64_CONSTANT(1000000)
#define PIECE (MIB / 4)
#define FAST (400 * MIB) /* what is read in a second if nothing holds it back */

typedef struct {
    Throttle throttle;
    gint64 now_ms;
    guint64 requests;
    guint64 total_ns;
    guint64 read_bytes;
} Play;

static void play_init(Play *p)
{
    *p = (Play){.now_ms = 5000, .requests = 1000, .total_ns = 1000 * MS};
}

static void sample(Play *p)
{
    throttle_sample(&p->throttle, p->now_ms, p->requests, p->total_ns);
}

/* @n requests in a quarter of a second in which nothing is read. */
static void idle(Play *p, guint n, guint64 each_ns)
{
    sample(p);
    p->now_ms += 250;
    p->requests += n;
    p->total_ns += n * each_ns;
    sample(p);
}

/* A quarter of a second in which as much is read as may be; what a request takes then, @each_ns says by the rate. */
static guint64 busy(Play *p, guint n, guint64 (*each_ns)(guint64 rate))
{
    gint64 end_ms = p->now_ms + 250;
    guint64 bytes = 0;

    while (p->now_ms < end_ms) {
        gint64 wait_ms = throttle_wait_ms(&p->throttle, p->now_ms);

        if (wait_ms == 0) {
            /* At FAST, one piece takes less than a millisecond. */
            for (guint64 ms_bytes = 0;
                 ms_bytes < FAST / 1000 && throttle_wait_ms(&p->throttle, p->now_ms) == 0;
                 ms_bytes += PIECE, bytes += PIECE)
                throttle_read(&p->throttle, PIECE);
        }
        p->now_ms += MAX(wait_ms, 1);
    }
    p->requests += n;
    p->total_ns += n * each_ns(bytes * 4);
    g_assert_true(throttle_is_due(&p->throttle, p->now_ms));
    sample(p);
    p->read_bytes += bytes;
    return bytes * 4;
}

static guint64 always_fast(guint64 rate)
{
    (void)rate;
    return 2 * MS;
}

/* A disk that bears 100 MiB a second beside its guest. */
static guint64 bears_100(guint64 rate)
{
    return rate > 100 * MIB ? 60 * MS : 3 * MS;
}

static guint64 slow_by_itself(guint64 rate)
{
    (void)rate;
    return 300 * MS;
}

static void test_not_slowed(void)
{
    Play p;

    play_init(&p);
    g_assert_true(throttle_is_due(&p.throttle, p.now_ms));
    idle(&p, 20, MS);
    for (guint i = 0; i < 40; i++)
        g_assert_cmpuint(busy(&p, 20, always_fast), >=, FAST);
    g_assert_null(throttle_why(&p.throttle));
    throttle_clear(&p.throttle);
}

/* Below what disturbs, around what the disk bears, and never stuck at the least. */
static void test_finds_what_is_borne(void)
{
    guint64 slow = 0, most = 0;
    Play p;

    play_init(&p);
    idle(&p, 20, 2 * MS);
    busy(&p, 20, bears_100);
    g_assert_cmpstr(
        throttle_why(&p.throttle), ==,
        "the guest's disks answered in 60.0 ms instead of 2.0 while they were read for a comparison: "
        "it goes on slowly until they are faster");
    for (guint i = 0; i < 8; i++)
        busy(&p, 20, bears_100);
    p.read_bytes = 0;
    for (guint i = 0; i < 400; i++) {
        guint64 rate = busy(&p, 20, bears_100);

        slow += rate > 100 * MIB;
        most = MAX(most, rate);
    }
    g_assert_nonnull(throttle_why(&p.throttle));
    g_assert_cmpuint(slow, <, 60);
    g_assert_cmpuint(most, <, 140 * MIB);
    g_assert_cmpuint(p.read_bytes / 100, >, 60 * MIB);
    throttle_clear(&p.throttle);
}

/* What we do not cause does not hold us up. */
static void test_slow_by_itself(void)
{
    guint64 least = G_MAXUINT64;
    Play p;

    play_init(&p);
    idle(&p, 20, 2 * MS);
    for (guint i = 0; i < 10; i++)
        least = MIN(least, busy(&p, 20, slow_by_itself));
    g_assert_cmpuint(least, >=, THROTTLE_LEAST_BYTES_PER_S / 2);
    g_assert_cmpuint(least, <=, THROTTLE_LEAST_BYTES_PER_S * 3 / 2);
    for (guint i = 0; i < 300; i++)
        busy(&p, 20, slow_by_itself);
    g_assert_null(throttle_why(&p.throttle));
    g_assert_cmpuint(busy(&p, 20, slow_by_itself), >=, FAST);
    throttle_clear(&p.throttle);
}

static guint64 slow_once(guint64 rate)
{
    (void)rate;
    return 45 * MS;
}

/* Who hardly asks hardly waits; but who waits for one request all the time is disturbed. */
static void test_few_requests(void)
{
    Play p;

    play_init(&p);
    sample(&p);
    for (guint i = 0; i < 10; i++)
        g_assert_cmpuint(busy(&p, i % 2, slow_once), >=, FAST);
    g_assert_null(throttle_why(&p.throttle));
    busy(&p, 1, slow_by_itself);
    g_assert_nonnull(throttle_why(&p.throttle));
    for (guint i = 0; i < 300; i++)
        busy(&p, 0, slow_by_itself);
    g_assert_null(throttle_why(&p.throttle));
    throttle_clear(&p.throttle);
}

/* A request that waited while we read ends when we do not. */
static void test_usual(void)
{
    Play p;

    play_init(&p);
    idle(&p, 20, 2 * MS);
    for (guint i = 0; i < 4; i++)
        idle(&p, 20, 6 * MS);
    g_assert_cmpuint(p.throttle.usual_ns, <, 4 * MS);
    idle(&p, 20, 2 * MS);
    g_assert_cmpuint(p.throttle.usual_ns, <, 3 * MS);
    idle(&p, 1, 30 * MS);
    g_assert_cmpuint(p.throttle.usual_ns, <, 3 * MS);
    throttle_clear(&p.throttle);
}

/* Its QEMU was started anew: no difference, and no wrap-around. */
static void test_counters_begin_anew(void)
{
    Play p;

    play_init(&p);
    idle(&p, 20, 2 * MS);
    p.requests = 3;
    p.total_ns = MS;
    busy(&p, 20, always_fast);
    g_assert_cmpuint(p.throttle.usual_ns, ==, 2 * MS);
    g_assert_null(throttle_why(&p.throttle));
    throttle_clear(&p.throttle);
}

static void test_ends(void)
{
    Play p;

    play_init(&p);
    idle(&p, 20, 2 * MS);
    busy(&p, 20, slow_by_itself);
    g_assert_nonnull(throttle_why(&p.throttle));
    throttle_rest(&p.throttle);
    g_assert_null(throttle_why(&p.throttle));
    g_assert_cmpint(throttle_wait_ms(&p.throttle, p.now_ms), ==, 0);
    busy(&p, 20, slow_by_itself);
    g_assert_nonnull(throttle_why(&p.throttle));
    throttle_go_blind(&p.throttle, "nobody says");
    g_assert_cmpstr(p.throttle.blind, ==, "nobody says");
    g_assert_null(throttle_why(&p.throttle));
    g_assert_true(throttle_is_due(&p.throttle, p.now_ms));
    g_assert_cmpuint(busy(&p, 20, slow_by_itself), >=, FAST);
    g_assert_null(p.throttle.blind);
    throttle_clear(&p.throttle);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/replicate/throttle/not-slowed", test_not_slowed);
    g_test_add_func("/replicate/throttle/finds-what-is-borne", test_finds_what_is_borne);
    g_test_add_func("/replicate/throttle/slow-by-itself", test_slow_by_itself);
    g_test_add_func("/replicate/throttle/few-requests", test_few_requests);
    g_test_add_func("/replicate/throttle/usual", test_usual);
    g_test_add_func("/replicate/throttle/counters-begin-anew", test_counters_begin_anew);
    g_test_add_func("/replicate/throttle/ends", test_ends);
    return g_test_run();
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/replicate/throttle.h"

#define DUE_MS 250
#define JUDGED_MS 100 /* what is shorter says nothing */
#define FEW_REQUESTS 4
#define WAITS_SHARE 5 /* who waits for less than a fifth of the time is not disturbed */
#define FLOOR_NS G_GUINT64_CONSTANT(10000000) /* what is faster disturbs nobody */
#define SLOW_FACTOR 3
#define STEP_BYTES_PER_S ((guint64)4 << 20) /* … faster with each sample */
#define RISE \
    8 /* so slowly the usual rises: what was asked for while we read may end when we do not any more */

void throttle_clear(Throttle *t)
{
    g_free(t->why);
    g_free(t->blind);
    *t = (Throttle){0};
}

gboolean throttle_is_due(const Throttle *t, gint64 now_ms)
{
    return !t->sampled || now_ms - t->sampled_ms >= DUE_MS;
}

static void lift(Throttle *t, gint64 now_ms)
{
    pacer_set(&t->pacer, 0, now_ms);
    g_clear_pointer(&t->why, g_free);
}

static char *describe(const Throttle *t, guint64 mean_ns)
{
    g_autofree char *usual =
        t->usual_ns ? g_strdup_printf(" instead of %.1f", (double)t->usual_ns / 1e6) : g_strdup("");

    return g_strdup_printf(
        "the guest's disks answered in %.1f ms%s while they were read for a comparison: it "
        "goes on slowly until they are faster",
        (double)mean_ns / 1e6, usual);
}

static void slow_down(Throttle *t, gint64 now_ms, guint64 rate, guint64 mean_ns)
{
    guint64 now_rate = t->pacer.bytes_per_s ? MIN(t->pacer.bytes_per_s, rate) : rate;

    if (!t->why) {
        t->from_rate = rate;
        t->why = describe(t, mean_ns);
    }
    pacer_set(&t->pacer, MAX(now_rate / 2, THROTTLE_LEAST_BYTES_PER_S), now_ms);
}

static void speed_up(Throttle *t, gint64 now_ms)
{
    guint64 rate = t->pacer.bytes_per_s + STEP_BYTES_PER_S;

    /* More than that was never read, so it is no limit any more. */
    if (rate > 2 * t->from_rate)
        lift(t, now_ms);
    else
        pacer_set(&t->pacer, rate, now_ms);
}

static void note_usual(Throttle *t, guint64 mean_ns)
{
    if (t->usual_ns == 0)
        t->usual_ns = mean_ns;
    else if (mean_ns < t->usual_ns)
        t->usual_ns = (t->usual_ns + mean_ns) / 2;
    else
        t->usual_ns += (mean_ns - t->usual_ns) / RISE;
}

static void judge(Throttle *t, guint64 elapsed_ms, guint64 requests, guint64 total_ns)
{
    gint64 now_ms = t->sampled_ms + (gint64)elapsed_ms;
    gboolean waits = total_ns >= elapsed_ms * 1000000 / WAITS_SHARE;
    gboolean at_least = t->pacer.bytes_per_s == THROTTLE_LEAST_BYTES_PER_S;
    guint64 mean_ns = requests ? total_ns / requests : 0;
    gboolean slow;

    if (requests > 0 && (t->read_bytes == 0 || at_least) && (waits || requests >= FEW_REQUESTS))
        note_usual(t, mean_ns);
    if (t->read_bytes == 0)
        return;
    slow = waits && mean_ns > MAX(FLOOR_NS, SLOW_FACTOR * t->usual_ns);
    if (slow && !at_least)
        slow_down(t, now_ms, t->read_bytes * 1000 / elapsed_ms, mean_ns);
    else if (!slow && t->why)
        speed_up(t, now_ms);
}

void throttle_sample(Throttle *t, gint64 now_ms, guint64 requests, guint64 total_ns)
{
    if (t->sampled && now_ms - t->sampled_ms >= JUDGED_MS && requests >= t->requests &&
        total_ns >= t->total_ns)
        judge(t, (guint64)(now_ms - t->sampled_ms), requests - t->requests, total_ns - t->total_ns);
    /* Nothing is saved up for the moment in which reading begins. */
    if (t->read_bytes == 0)
        t->pacer = (Pacer){.bytes_per_s = t->pacer.bytes_per_s, .filled_ms = now_ms};
    g_clear_pointer(&t->blind, g_free);
    t->sampled = TRUE;
    t->sampled_ms = now_ms;
    t->requests = requests;
    t->total_ns = total_ns;
    t->read_bytes = 0;
}

void throttle_go_blind(Throttle *t, const char *why)
{
    throttle_rest(t);
    g_free(t->blind);
    t->blind = g_strdup(why);
    t->sampled = FALSE;
    t->read_bytes = 0;
}

void throttle_rest(Throttle *t)
{
    lift(t, t->sampled_ms);
}

gint64 throttle_wait_ms(Throttle *t, gint64 now_ms)
{
    return pacer_wait_ms(&t->pacer, now_ms);
}

void throttle_read(Throttle *t, guint64 bytes)
{
    t->read_bytes += bytes;
    pacer_spend(&t->pacer, bytes);
}

const char *throttle_why(const Throttle *t)
{
    return t->why;
}

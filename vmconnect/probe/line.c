/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/probe/line.h"

#include "vmconnect/base/clock.h"
#include "vmconnect/probe/pinger.h"

#define ECHOES 20
#define EACH_MS 10
#define ECHO_LIMIT_MS 1000

typedef struct Measuring Measuring;

typedef struct {
    Measuring *measuring;
    gint64 sent_ms;
} Echo;

struct Measuring {
    const char *host;
    Pinger *pinger;
    uv_timer_t timer;
    Echo echoes[ECHOES];
    guint sent, ended;
    GArray *times; /* gint64: of those that came back */
};

static void on_done(void *user, gboolean found, const char *why)
{
    const Echo *e = user;
    Measuring *m = e->measuring;
    gint64 took_ms = clock_steady_ms() - e->sent_ms;

    (void)found;
    if (!why)
        g_array_append_val(m->times, took_ms);
    if (++m->ended == ECHOES)
        pinger_close(m->pinger);
}

static void send_one(uv_timer_t *timer)
{
    Measuring *m = timer->data;
    Echo *e = &m->echoes[m->sent++];

    *e = (Echo){m, clock_steady_ms()};
    (void)pinger_ask(m->pinger, m->host, ECHO_LIMIT_MS, on_done, e);
    if (m->sent == ECHOES)
        uv_close((uv_handle_t *)timer, NULL);
}

static gint compare(gconstpointer a, gconstpointer b)
{
    gint64 left = *(const gint64 *)a, right = *(const gint64 *)b;

    return (left > right) - (left < right);
}

Line line_measure(const char *host)
{
    Measuring m = {.host = host};
    Line line = {.sent = ECHOES};
    uv_loop_t loop;

    uv_loop_init(&loop);
    m.times = g_array_new(FALSE, FALSE, sizeof(gint64));
    m.pinger = pinger_new(&loop);
    uv_timer_init(&loop, &m.timer);
    m.timer.data = &m;
    uv_timer_start(&m.timer, send_one, 0, EACH_MS);
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_loop_close(&loop);
    g_array_sort(m.times, compare);
    line.answered = m.times->len;
    line.rtt_ms = m.times->len > 0 ? g_array_index(m.times, gint64, m.times->len / 2) : 0;
    g_array_unref(m.times);
    return line;
}

json_t *line_to_json(const Line *l)
{
    return json_pack("{s:i, s:i, s:I}", "sent", (int)l->sent, "answered", (int)l->answered, "rtt_ms",
                     (json_int_t)l->rtt_ms);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/probe/beat.h"

#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/link/dial.h"
#include "vmconnect/link/link_loop.h"

struct Beat {
    uv_loop_t *loop;
    Identity *identity;
    Id engine;
    char *address;
    gint64 interval_ms;
    uv_timer_t again;
    Dial *dial;
    LinkLoop *link;
    gboolean met;    /* at the last dialling: it is the engine that is meant */
    gint64 heard_ms; /* steady; 0: never */
    char *why;       /* the last failure … */
    gboolean hangs;  /* … was that nobody said anything */
};

static void dial(Beat *b);

static void on_again(uv_timer_t *timer)
{
    dial(timer->data);
}

static void again(Beat *b, const GError *error)
{
    g_free(b->why);
    b->why = g_strdup(error->message);
    b->hangs = g_error_matches(error, US_ERROR, US_ERROR_TIMEOUT);
    uv_timer_start(&b->again, on_again, (guint64)b->interval_ms, 0);
}

static void on_closed(void *user, const GError *error)
{
    Beat *b = user;

    b->link = NULL;
    again(b, error);
}

/* It answered, and does not speak so. */
static gboolean is_of_before(const GError *error)
{
    return g_error_matches(error, US_ERROR, US_ERROR_DENIED) ||
           g_error_matches(error, US_ERROR, US_ERROR_UNSUPPORTED) ||
           g_error_matches(error, US_ERROR, US_ERROR_PROTOCOL);
}

static void on_dialled(void *user, Link *link, const GError *error)
{
    static const LinkLoopEvents EVENTS = {.on_closed = on_closed};
    Beat *b = user;

    b->dial = NULL;
    if (link || (b->met && is_of_before(error)))
        b->heard_ms = clock_steady_ms();
    if (!link) {
        again(b, error);
        return;
    }
    link_set_heartbeat(link, b->interval_ms / 2, b->interval_ms * 3);
    b->link = link_loop_new(b->loop, link, &EVENTS, b);
}

static void dial(Beat *b)
{
    const char *addresses[] = {b->address, NULL};
    LinkSettings settings = {
        .identity = b->identity, .purpose = PURPOSE_BEAT, .expect = b->engine, .ret_met = &b->met};

    b->met = FALSE;
    b->dial = dial_start(b->loop, addresses, &settings, b->interval_ms, on_dialled, b);
}

Beat *beat_new(uv_loop_t *loop, Identity *identity, Id engine, const char *address, gint64 interval_ms)
{
    Beat *b = g_new0(Beat, 1);

    b->loop = loop;
    b->identity = identity_ref(identity);
    b->engine = engine;
    b->address = g_strdup(address);
    b->interval_ms = interval_ms;
    uv_timer_init(loop, &b->again);
    b->again.data = b;
    dial(b);
    return b;
}

const char *beat_why(const Beat *b, gint64 within_ms)
{
    gint64 heard_ms = b->link ? MAX(b->heard_ms, link_heard_ms(link_loop_link(b->link))) : b->heard_ms;

    if (heard_ms > 0 && clock_steady_ms() - heard_ms <= within_ms)
        return NULL;
    return b->why && !b->link ? b->why : "its engine says nothing";
}

gboolean beat_hangs(const Beat *b)
{
    return b->hangs && !b->link;
}

static void on_timer_closed(uv_handle_t *handle)
{
    Beat *b = handle->data;

    identity_unref(b->identity);
    g_free(b->address);
    g_free(b->why);
    g_free(b);
}

void beat_close(Beat *b)
{
    if (!b)
        return;
    dial_cancel(b->dial);
    link_loop_close(b->link);
    uv_close((uv_handle_t *)&b->again, on_timer_closed);
}

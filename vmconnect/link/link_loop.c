/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/link/link_loop.h"

#include "vmconnect/base/clock.h"

#include <poll.h>

struct LinkLoop {
    uv_poll_t poll;
    uv_timer_t timer;
    guint handles; /* not yet closed by uv */
    Link *link;    /* NULL: released or closed, only uv still knows us */
    LinkLoopEvents events;
    void *user;
    gboolean was_up;
    gint64 turned_ms; /* when it turned last … */
    gint64 stood_ms;  /* … and how long it had not until then */
};

static void turn(LinkLoop *ll);

static void on_poll(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    turn(poll->data);
}

static void on_timer(uv_timer_t *timer)
{
    turn(timer->data);
}

static void on_handle_closed(uv_handle_t *handle)
{
    LinkLoop *ll = handle->data;

    if (--ll->handles == 0)
        g_free(ll);
}

/* Wait for what the link waits for. */
static void arm(LinkLoop *ll)
{
    short wants = link_events(ll->link);
    int events = (wants & POLLIN ? UV_READABLE : 0) | (wants & POLLOUT ? UV_WRITABLE : 0);
    int timeout_ms = link_timeout_ms(ll->link);

    if (events)
        uv_poll_start(&ll->poll, events, on_poll);
    else
        uv_poll_stop(&ll->poll);
    if (timeout_ms < 0)
        uv_timer_stop(&ll->timer);
    else
        uv_timer_start(&ll->timer, on_timer, (guint64)timeout_ms, 0);
}

static gboolean is_up(const Link *link)
{
    return link_state(link) == LINK_OPEN || link_state(link) == LINK_STRANGER;
}

/* Each callback may release or close us: then ll->link is NULL. */
static void deliver(LinkLoop *ll)
{
    Frame *frame;

    if (!ll->was_up && is_up(ll->link)) {
        ll->was_up = TRUE;
        if (ll->events.on_open)
            ll->events.on_open(ll->user);
    }
    while (ll->link && (frame = link_take(ll->link))) {
        if (ll->events.on_frame)
            ll->events.on_frame(ll->user, frame);
        else
            frame_free(frame);
    }
}

static void turn(LinkLoop *ll)
{
    gint64 now_ms = clock_steady_ms();
    g_autoptr(GError) error = NULL;
    gboolean over = !link_pump(ll->link, 0, &error);

    ll->stood_ms = now_ms - ll->turned_ms;
    ll->turned_ms = now_ms;
    deliver(ll);
    if (!ll->link)
        return;
    if (!over) {
        arm(ll);
        return;
    }
    link_free(link_loop_release(ll));
    if (ll->events.on_closed)
        ll->events.on_closed(ll->user, error);
}

LinkLoop *link_loop_new(uv_loop_t *loop, Link *link, const LinkLoopEvents *events, void *user)
{
    LinkLoop *ll = g_new0(LinkLoop, 1);
    int rc = uv_poll_init(loop, &ll->poll, link_fd(link));

    g_assert(rc == 0);
    rc = uv_timer_init(loop, &ll->timer);
    g_assert(rc == 0);
    ll->poll.data = ll->timer.data = ll;
    ll->handles = 2;
    ll->link = link;
    ll->events = *events;
    ll->user = user;
    ll->was_up = is_up(link);
    ll->turned_ms = clock_steady_ms();
    /* Frames may wait in it already. */
    uv_timer_start(&ll->timer, on_timer, 0, 0);
    return ll;
}

Link *link_loop_link(LinkLoop *ll)
{
    return ll->link;
}

gint64 link_loop_stood_ms(const LinkLoop *ll)
{
    return ll->stood_ms;
}

/* From the loop, not from here: the caller may be in the middle of something. */
void link_loop_kick(LinkLoop *ll)
{
    if (ll->link)
        uv_timer_start(&ll->timer, on_timer, 0, 0);
}

Link *link_loop_release(LinkLoop *ll)
{
    Link *link = g_steal_pointer(&ll->link);

    g_assert(link);
    uv_poll_stop(&ll->poll);
    uv_close((uv_handle_t *)&ll->poll, on_handle_closed);
    uv_close((uv_handle_t *)&ll->timer, on_handle_closed);
    return link;
}

void link_loop_close(LinkLoop *ll)
{
    if (ll && ll->link)
        link_free(link_loop_release(ll));
}

void link_loop_leave(LinkLoop *ll, const GError *why)
{
    if (why)
        link_fail(ll->link, why);
    else
        link_bye(ll->link);
    ll->events = (LinkLoopEvents){0};
    link_loop_kick(ll);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/link/link_wait.h"

#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"

#include <poll.h>

#define CLOSE_MS 2500 /* the link's own last words take 2 s at most */

typedef enum {
    TURN_OVER, /* the link is, with its error */
    TURN_DONE,
    TURN_WOKEN,
    TURN_LATE,
} Turn;

static Turn turn(Link *link, gint64 deadline_ms, int wake_fd, GError **error)
{
    struct pollfd fds[2] = {{.fd = link_fd(link), .events = link_events(link)},
                            {.fd = wake_fd, .events = POLLIN}};
    int left = deadline_ms < 0 ? -1 : clock_left_ms(deadline_ms);

    if (poll(fds, 2, clock_shorter_ms(left, link_timeout_ms(link))) < 0)
        fds[0].revents = fds[1].revents = 0;
    if (!link_pump(link, fds[0].revents, error))
        return TURN_OVER;
    if (fds[1].revents)
        return TURN_WOKEN;
    return deadline_ms >= 0 && clock_steady_ms() >= deadline_ms ? TURN_LATE : TURN_DONE;
}

/* Set the error of a turn that ended the wait. */
static void explain(Turn how, const Link *link, const char *what, GError **error)
{
    if (how == TURN_LATE)
        g_set_error(error, US_ERROR, US_ERROR_TIMEOUT, "%s: no %s in time", link_name(link), what);
}

Frame *link_wait(Link *link, gint64 deadline_ms, int wake_fd, GError **error)
{
    GError *why = NULL;
    Turn how = TURN_DONE;
    Frame *frame;

    while (!(frame = link_take(link)) && how == TURN_DONE)
        how = turn(link, deadline_ms, wake_fd, &why);
    if (frame) {
        /* What ended the link is said again by the next call. */
        g_clear_error(&why);
        return frame;
    }
    explain(how, link, "answer", &why);
    if (why)
        g_propagate_error(error, why);
    return NULL;
}

Frame *link_wait_for(Link *link, MessageType type, gint64 deadline_ms, int wake_fd, GError **error)
{
    Frame *frame = link_wait(link, deadline_ms, wake_fd, error);

    if (!frame || frame->head.type == type)
        return frame;
    g_set_error(error, US_ERROR, US_ERROR_PROTOCOL, "%s: %s came where %s was due", link_name(link),
                message_name(frame->head.type), message_name(type));
    frame_free(frame);
    return NULL;
}

gboolean link_wait_sent(Link *link, gsize bytes, gint64 deadline_ms, int wake_fd, GError **error)
{
    Turn how = TURN_DONE;

    while (how == TURN_DONE && link_queued_bytes(link) > bytes)
        how = turn(link, deadline_ms, wake_fd, error);
    if (how == TURN_DONE || (how != TURN_OVER && link_queued_bytes(link) <= bytes))
        return TRUE;
    explain(how, link, "progress", error);
    return FALSE;
}

gboolean link_wait_open(Link *link, gint64 deadline_ms, int wake_fd, GError **error)
{
    Turn how = TURN_DONE;

    while (how == TURN_DONE && link_state(link) < LINK_OPEN)
        how = turn(link, deadline_ms, wake_fd, error);
    /* A refusal is said before the link is over. */
    while (how == TURN_DONE && link_state(link) == LINK_CLOSING)
        how = turn(link, deadline_ms, wake_fd, error);
    if (how != TURN_OVER && (link_state(link) == LINK_OPEN || link_state(link) == LINK_STRANGER))
        return TRUE;
    explain(how, link, "handshake", error);
    return FALSE;
}

void link_wait_close(Link *link, const GError *why)
{
    gint64 deadline_ms = clock_steady_ms() + CLOSE_MS;

    if (why)
        link_fail(link, why);
    else
        link_bye(link);
    while (turn(link, deadline_ms, -1, NULL) == TURN_DONE)
        ;
    link_free(link);
}

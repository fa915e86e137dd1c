/* SPDX-License-Identifier: Apache-2.0 */
/* link_loop - a link on a uv loop. All calls and callbacks are the loop's thread's. */
#pragma once

#include "vmconnect/link/link.h"

#include <glib.h>
#include <uv.h>

typedef struct LinkLoop LinkLoop;

/* Any may be NULL. Inside a callback everything is allowed, also release and close. */
typedef struct {
    /* Handshake and hello are done: the link is OPEN or STRANGER. Not called if it was so already. */
    void (*on_open)(void *user);
    /* A frame; it is the callee's. */
    void (*on_frame)(void *user, Frame *frame);
    /* The link is over, after its last frame; never called after release or close. Then the
     * LinkLoop and its link are gone. */
    void (*on_closed)(void *user, const GError *error);
} LinkLoopEvents;

/* Takes @link. Nothing is called back before the loop turns. */
LinkLoop *link_loop_new(uv_loop_t *loop, Link *link, const LinkLoopEvents *events, void *user);

/* The link, for what link.h can do; after link_send…(), link_fail() or link_bye() on it call link_loop_kick(). */
Link *link_loop_link(LinkLoop *ll);

/* For how long nobody had looked at it when it turned last: what comes then may have waited for so long, and a peer with a
 * heartbeat has heard nothing. */
gint64 link_loop_stood_ms(const LinkLoop *ll);

/* Something was queued: let the loop write it. */
void link_loop_kick(LinkLoop *ll);

/* Stop watching and give the link back, with what waits in it; the loop has let go of
 * its socket when this returns, so that a thread may have it. @ll is gone. */
Link *link_loop_release(LinkLoop *ll);

/* Close at once: no callback comes any more. NULL is accepted. */
void link_loop_close(LinkLoop *ll);

/* Say goodbye (@why NULL: BYE, else FAIL), after what is queued already, and close when that is
 * out, at most 2 s from now. No callback comes any more; @ll is gone. */
void link_loop_leave(LinkLoop *ll, const GError *why);

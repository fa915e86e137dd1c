/* SPDX-License-Identifier: Apache-2.0 */
/* post - an engine's port on 127.0.0.1 that takes beats. On the loop. */
#pragma once

#include "vmconnect/link/link_loop.h"
#include "vmconnect/link/listener.h"

#include <glib.h>
#include <uv.h>

typedef struct {
    uv_loop_t *loop;
    Listener *listener;
    guint16 port;     /* stays the same when it is opened again */
    GPtrArray *links; /* of LinkLoop *, that were taken */
    guint came;
    guint refused;
} Post;

/* As @identity; a Post of zeroes gets any port. */
void post_open(Post *post, uv_loop_t *loop, Identity *identity);
/* Nobody listens any more; what was taken stays. */
void post_shut(Post *post);
/* With all that was taken. One that was never opened is accepted. */
void post_close(Post *post);

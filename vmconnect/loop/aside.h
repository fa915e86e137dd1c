/* SPDX-License-Identifier: Apache-2.0 */
/* aside - one piece of work that may hang for ever, on a thread of its own, with a deadline.
 *
 * For what looks at a file system that others brought: a dead network mount holds up whoever touches it, and neither
 * the loop, nor the clerk, nor libuv's pool may be that. A thread whose time is over is given up: what it brings one
 * day is thrown away, and it ends by itself. Loop's thread only. */
#pragma once

#include <glib.h>
#include <stdatomic.h>
#include <uv.h>

/* Once, on the loop, never from within aside_run(). @result is the callee's; NULL: its time is over, or no
 * thread could be started. */
typedef void (*AsideDone)(void *user, gpointer result);

typedef struct {
    gint64 timeout_ms;
    gpointer (*work)(gpointer request); /* on the thread; never NULL */
    gpointer request;                   /* given away */
    GDestroyNotify free_request;
    GDestroyNotify free_result; /* of one that comes too late */
    atomic_uint *lost; /* static: so many of its kind were given up and are not back; NULL: nobody asks */
} AsideWork;

/* @work is copied. The loop does not end before the work or its deadline. */
void aside_run(uv_loop_t *loop, const AsideWork *work, AsideDone on_done, void *user);

/* The same of all kinds together. */
guint aside_lost(void);

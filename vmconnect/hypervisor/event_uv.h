/* SPDX-License-Identifier: Apache-2.0 */
/* event_uv - libvirt's event loop is our event loop.
 *
 * libvirt asks the program for file descriptors and timers to be watched; this
 * does it on the one uv loop, for every connection of every thread. There is
 * one in a process (libvirt's registration cannot be taken back).
 *
 * Any thread may add, change and remove a watch: identifiers are given out
 * under a lock, uv itself is touched on the loop only, woken by a uv_async. A
 * loop that stalls for 15 s loses every connection to keepalive. */
#pragma once

#include <glib.h>
#include <uv.h>

/* Once in a process, on the loop's thread, before the first virConnectOpen().
 * Also ignores SIGPIPE. */
void event_uv_start(uv_loop_t *loop);
/* Was it? Any thread. */
gboolean event_uv_is_started(void);

/* How many watches libvirt has now. Zero only when every connection is closed
 * and uv has closed their handles: the loop must turn until then. Any thread. */
guint event_uv_watches(void);

/* On the loop's thread, no other turn of it under way: turns it until no watch
 * is left. FALSE if one is after @timeout_ms: whoever opens a connection to a
 * libvirtd that hangs keeps his, even if nobody waits for him any more. */
gboolean event_uv_drain(guint64 timeout_ms);

/* On the loop's thread, with no watches left: releases the async, so that
 * uv_run() can end. No connection may be opened afterwards. */
void event_uv_stop(void);

/* SPDX-License-Identifier: Apache-2.0 */
/* clerk - a thread that does what the loop must not wait for, one thing after
 * the other: fsync, a folder's size, a name look-up.
 *
 * Work is done in the order it was given; its end comes back to the loop. Not
 * for libvirt calls: those belong to the threads that own the connections. */
#pragma once

#include <uv.h>

typedef struct Clerk Clerk;

Clerk *clerk_new(uv_loop_t *loop);

/* @work runs in the clerk's thread, then @done on the loop; both get @data,
 * which is theirs. @done is called exactly once, also when the clerk closes. */
void clerk_submit(Clerk *clerk, void (*work)(void *data), void (*done)(void *data), void *data);

/* Finish what was given, call its @done, end the thread and free. Blocks for
 * as long as the work takes; loop's thread, as all of these. NULL is accepted. */
void clerk_close(Clerk *clerk);

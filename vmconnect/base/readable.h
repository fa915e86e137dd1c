/* SPDX-License-Identifier: Apache-2.0 */
/* readable - has somebody rung? Of descriptors that say one thing: that a thread is to stop, that letters wait, that a process has ended (a
 * pidfd). */
#pragma once

#include <glib.h>

/* poll(2): is @fd (-1: never) readable, or broken, at the latest @wait_ms from now? A signal begins the wait anew. */
gboolean readable_within(int fd, int wait_ms);

/* SPDX-License-Identifier: Apache-2.0 */
/* link_wait - a link in a worker thread: straight-line code around one poll(2). */
#pragma once

#include "vmconnect/link/link.h"

#include <glib.h>

/* The next frame, waited for until clock_steady_ms() reaches @deadline_ms (-1: for
 * ever). @wake_fd (-1: none) is also watched while there is no frame: when it is readable, NULL
 * without @error is returned (it is not read). NULL with @error: TIMEOUT, or why the link is over. */
Frame *link_wait(Link *link, gint64 deadline_ms, int wake_fd, GError **error);

/* As above, but only frames of @type: any other is PROTOCOL. */
Frame *link_wait_for(Link *link, MessageType type, gint64 deadline_ms, int wake_fd, GError **error);

/* Wait until at most @bytes wait to be sent. FALSE with @error; or without, if woken. */
gboolean link_wait_sent(Link *link, gsize bytes, gint64 deadline_ms, int wake_fd, GError **error);

/* Pump until the link is OPEN or STRANGER. */
gboolean link_wait_open(Link *link, gint64 deadline_ms, int wake_fd, GError **error);

/* Say goodbye (@why NULL: BYE, else FAIL) and free the link; at most 2 s. */
void link_wait_close(Link *link, const GError *why);

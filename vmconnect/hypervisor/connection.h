/* SPDX-License-Identifier: Apache-2.0 */
/* connection - one thread's connection to libvirtd, opened again when lost.
 *
 * It belongs to the thread that calls connection_get(), with one call in
 * flight: two threads on one connection hang when libvirtd does. Never the
 * loop's thread: a call to a hung libvirtd takes 15-20 s (keepalive), and its
 * open never returns, so the open itself runs on a helper thread and only the
 * wait for it has a deadline. In a process without the loop of event_uv.h, a command, nobody notices that a connection
 * is lost. libvirt prints nothing any more from the first connection_new() on: what it says is in our errors.
 *
 * A lost connection says something about libvirtd and nothing about a guest. */
#pragma once

#include "vmconnect/hypervisor/virt_error.h"

#include <glib.h>

#define CONNECTION_DEFAULT_URI "qemu:///system"
#define CONNECTION_OPEN_MS 10000
#define CONNECTION_KEEPALIVE_S 5
#define CONNECTION_KEEPALIVE_COUNT 3

typedef struct Connection Connection;

/* Nothing is opened yet. @on_lost (may be NULL) is called once for each
 * connection that closes without us, from any thread, also the loop's: it may
 * only ring a bell. */
Connection *connection_new(const char *uri, void (*on_lost)(void *user), void *user);

/* Closes it, from the owner's thread; takes up to 20 s if libvirtd hangs. An
 * open that is still under way closes itself when it returns. */
void connection_free(Connection *c);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Connection, connection_free)

/* The live connection, opened (again) if there is none; borrowed until the next
 * call. Waits at most @timeout_ms. NULL with @error TIMEOUT when libvirtd does
 * not answer, UNREACHABLE when it refuses; after a refusal the next attempts
 * come after 100 ms, doubling to 5 s, and calls in between are answered
 * UNREACHABLE at once with the reason of the last. IO: there is no thread to open it with. */
virConnectPtr connection_get(Connection *c, gint64 timeout_ms, GError **error);

/* Is there a connection and is it not known to be lost? Asks nobody. */
gboolean connection_is_live(const Connection *c);

/* How many times it has been opened: another number means another libvirtd
 * may have come and everything registered on it is gone. */
guint64 connection_count(const Connection *c);

/* When the next attempt makes sense, for a thread that sleeps until then;
 * 0 now. Milliseconds. */
gint64 connection_wait_ms(const Connection *c);

/* SPDX-License-Identifier: Apache-2.0 */
/* nbd - one NBD export on a unix socket: libvirt's pull-mode backup, or our storage daemon.
 *
 * libnbd does the protocol. One thread owns a disk; many requests are in flight
 * at once and several disks are polled together:
 *
 *   while (work) {
 *       submit reads or writes while nbd_disk_has_room();
 *       ready |= nbd_disk_prepare(disk, &pfd[i]);        // for each disk
 *       poll(pfd, n, ready ? 0 : timeout);
 *       nbd_disk_pump(disk, pfd[i].revents, &error);     // for each; callbacks run here
 *   }
 *
 * Status, flush and drain block with a deadline, and run callbacks too; the thread's other disks move on meanwhile (wait.h). A failed
 * request fails through its callback; when the connection itself is lost every
 * request in flight fails and every further call says so (UNREACHABLE). A server
 * that lets a deadline of these three pass, or is no longer waited for, is given
 * up like a lost one. Errors name disk and offset. */
#pragma once

#include "vmconnect/base/extents.h"

#include <glib.h>
#include <poll.h>

#define NBD_CONTEXT_ALLOCATION "base:allocation"
#define NBD_CONTEXT_DEPTH "qemu:allocation-depth"
#define NBD_CONTEXT_DIRTY_PREFIX "qemu:dirty-bitmap:"

typedef struct NbdDisk NbdDisk;

typedef struct {
    const char *socket_path;
    const char *export_name;
    const char *disk;    /* for messages: vda */
    const char *context; /* the one metadata context to ask for; NULL: none. Status of bitmap and
                          * allocation go on separate disks: QEMU answers all contexts at once, cut
                          * to the shortest. */
    int timeout_ms;      /* to connect and negotiate */
    int cancel_fd;       /* readable: every wait of this disk ends with CANCELLED; 0 or -1: none */
} NbdSpec;

/* NULL with @error UNREACHABLE, TIMEOUT, CANCELLED, NOT_FOUND (the server has no such
 * export), UNSUPPORTED (it does not offer the context). */
NbdDisk *nbd_disk_open(const NbdSpec *spec, GError **error);

/* Requests in flight get their callback with CANCELLED. NULL is accepted. */
void nbd_disk_close(NbdDisk *disk);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(NbdDisk, nbd_disk_close)

guint64 nbd_disk_size(const NbdDisk *disk);
gboolean nbd_disk_read_only(const NbdDisk *disk);

/* Called once for each accepted request, never from inside the call that submitted it.
 * @error is NULL on success, else borrowed. The buffer is the caller's again. Disks may
 * be used from inside, but not closed. */
typedef void (*NbdDone)(void *user, const GError *error);

/* Requests of 256 KiB go fastest (measured against a storage daemon: 64 KiB half as fast).
 * Submit; @data lives until @on_done. Ranges lie inside the disk, and nbd_disk_has_room()
 * said yes (own mistakes otherwise). Any length: what is longer than the server's maximum
 * is cut into several commands. FALSE with @error, and no callback, if the connection is lost.
 * Zero writes zeroes as such (no data travels, none is allocated), never TRIM. */
gboolean nbd_disk_read(NbdDisk *disk, void *data, guint64 offset, gsize len, NbdDone on_done, void *user,
                       GError **error);
gboolean nbd_disk_write(NbdDisk *disk, const void *data, guint64 offset, gsize len, NbdDone on_done,
                        void *user, GError **error);
gboolean nbd_disk_zero(NbdDisk *disk, guint64 offset, guint64 len, NbdDone on_done, void *user,
                       GError **error);

/* Requests in flight, and whether one more is welcome (64, or 32 MiB of data). */
guint nbd_disk_in_flight(const NbdDisk *disk);
gboolean nbd_disk_has_room(const NbdDisk *disk);

/* Fill @pfd for poll(). TRUE: completions wait already, poll with time-out 0. */
gboolean nbd_disk_prepare(NbdDisk *disk, struct pollfd *pfd);

/* Do what @revents allows and run callbacks. FALSE with @error UNREACHABLE once the connection is lost. */
gboolean nbd_disk_pump(NbdDisk *disk, short revents, GError **error);

/* Wait until nothing is in flight. */
gboolean nbd_disk_drain(NbdDisk *disk, int timeout_ms, GError **error);

/* Drain, then flush: whatever was written is durable as far as the server can say. Never
 * to be tried a second time after a failure. Refused (UNSUPPORTED) if the server has no flush. */
gboolean nbd_disk_flush(NbdDisk *disk, int timeout_ms, GError **error);

/* Status inside @in (clipped to the disk) by the disk's context; results are added to the
 * sets, which together then cover @in.
 * dirty: a qemu:dirty-bitmap context. split: base:allocation; @zero reads as zeros without
 * being read, @data is the rest. depth: qemu:allocation-depth; @local is what the topmost
 * image itself says, be it data or zeros. Any set may be NULL. */
gboolean nbd_disk_list_dirty(NbdDisk *disk, const Extents *in, Extents *dirty, int timeout_ms,
                             GError **error);
gboolean nbd_disk_split(NbdDisk *disk, const Extents *in, Extents *data, Extents *zero, int timeout_ms,
                        GError **error);
gboolean nbd_disk_list_local(NbdDisk *disk, const Extents *in, Extents *local, int timeout_ms,
                             GError **error);

/* The same of one range inside the disk without waiting, as a request like the others: @says gets what is zero,
 * local or dirty, as the disk's context has it, and is complete, and the caller's again, at @on_done. */
gboolean nbd_disk_ask(NbdDisk *disk, guint64 offset, guint64 len, Extents *says, NbdDone on_done, void *user,
                      GError **error);

/* SPDX-License-Identifier: Apache-2.0 */
/* storage_daemon - one qemu-storage-daemon process: the only writer of a standby's images.
 *
 * This is the process, its QMP connection and its NBD server; what is done with
 * it is in node.h (images), export.h (NBD exports) and commit.h (merging).
 *
 * One worker thread starts it, uses it and closes it: the kernel kills the
 * daemon when that thread ends (process.h), so no daemon outlives its engine,
 * and one is never handed to another thread. It may be killed at any moment:
 * what was flushed stays, the rest belongs to an unsealed overlay.
 *
 * A run folder belongs to one daemon: NAME/nbd.sock, NAME/daemon.pid. QMP runs
 * over a socket pair, so nobody else can command it. */
#pragma once

#include "vmconnect/image/qmp.h"

#include <glib.h>

typedef struct StorageDaemon StorageDaemon;

/* Start one in @run_dir (created 0700; a socket's path has at most 107 bytes), after
 * ending a leftover of ours there. @name (a VM's or disk's name) is for messages.
 * NULL with @error NOT_FOUND (not installed), UNREACHABLE, TIMEOUT, FAILED, USAGE. */
StorageDaemon *storage_daemon_start(const char *run_dir, const char *name, GError **error);

/* Ask it to quit (which closes all images cleanly), wait at most @timeout_ms, then kill
 * it; remove socket and pid file. With @timeout_ms 0 it is killed at once. TRUE if it quit
 * by itself: everything is in its files. NULL is accepted. */
gboolean storage_daemon_close(StorageDaemon *daemon, int timeout_ms);

/* As above with 2 s, for g_autoptr. */
void storage_daemon_free(StorageDaemon *daemon);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(StorageDaemon, storage_daemon_free)

/* As qmp_set_cancel(); a flush heeds it, too. */
void storage_daemon_set_cancel(StorageDaemon *daemon, int cancel_fd);
int storage_daemon_cancel(const StorageDaemon *daemon);

/* Every single command waits at most this long (10 s until called). */
void storage_daemon_set_timeout(StorageDaemon *daemon, int timeout_ms);
int storage_daemon_timeout(const StorageDaemon *daemon);

Qmp *storage_daemon_qmp(StorageDaemon *daemon);
const char *storage_daemon_nbd_path(const StorageDaemon *daemon);
const char *storage_daemon_name(const StorageDaemon *daemon);

/* Readable once the daemon has died. */
int storage_daemon_pidfd(const StorageDaemon *daemon);
pid_t storage_daemon_pid(const StorageDaemon *daemon);

/* 1, 2, 3, …: for names of nodes and jobs that were never used before. */
guint storage_daemon_next_number(StorageDaemon *daemon);

/* qmp_call() with the daemon's timeout. When the daemon is dead, the error (UNREACHABLE)
 * says how it ended and its last words. */
gboolean storage_daemon_call(StorageDaemon *daemon, const char *command, json_t *args, json_t **ret_result,
                             GError **error);

/* Wait until the daemon has any event to tell (a job's step, the end of an export), and
 * drop it: the caller then asks what is true. An event that came after the caller's last
 * question is never missed. */
gboolean storage_daemon_wait_news(StorageDaemon *daemon, int timeout_ms, GError **error);

/* End what an engine before us left in the run folders directly below @root (or in one
 * folder). Only a process is touched whose pid, start time, program and NBD socket are
 * those that the folder's pid file and path say; anything else with that pid is not ours,
 * and only the file is removed. @ret_ended (may be NULL): how many were ended. */
gboolean storage_daemon_end_leftovers(const char *root, guint *ret_ended, GError **error);
gboolean storage_daemon_end_leftover(const char *run_dir, gboolean *ret_ended, GError **error);

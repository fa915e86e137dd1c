/* SPDX-License-Identifier: Apache-2.0 */
/* commit - merging overlays downward inside a chain, crash-safe.
 *
 * Everything between base (not included) and top is copied into base; then the
 * overlay above top gets base as its backing, in its header too. The merged nodes
 * are then the caller's to close (node_close_chain()). QEMU rewrites that header before the merged data is durable,
 * so the order here is: copy, flush base, switch; a kill at any moment leaves
 * either the old chain or the new one, both reading the same from above.
 * Base is destroyed as a point at the first byte copied.
 *
 *   begin -> wait_copied -> flush_base -> switch_over -> free
 *
 * Not for the topmost image (nothing above it to switch). */
#pragma once

#include "vmconnect/image/storage_daemon.h"

#include <glib.h>

typedef struct Commit Commit;

typedef struct {
    const char *root;         /* the chain's topmost node; an overlay may be laid on it meanwhile */
    const char *top;          /* the uppermost node to merge, below root */
    const char *base;         /* merged into this one */
    const char *backing_name; /* base's name for the header of the image above top */
    guint64 bytes_per_s;      /* 0: no limit */
} CommitSpec;

typedef struct {
    guint64 done_bytes;
    guint64 total_bytes;
} CommitProgress;

/* Start copying. NULL with @error. */
Commit *commit_begin(StorageDaemon *daemon, const CommitSpec *spec, GError **error);

/* Wait until all is copied. FALSE with @error: TIMEOUT it goes on copying (call again, or
 * cancel), CANCELLED, NO_SPACE, IO or FAILED the copy failed and the job is gone. */
gboolean commit_wait_copied(Commit *commit, int timeout_ms, GError **error);
gboolean commit_progress(Commit *commit, CommitProgress *ret_progress, GError **error);

/* Hold and go on; the reply comes at once, copying stops a moment later. */
gboolean commit_pause(Commit *commit, GError **error);
gboolean commit_resume(Commit *commit, GError **error);

/* After wait_copied: make base durable (through the daemon; fsync of the file follows by the caller's rules). */
gboolean commit_flush_base(Commit *commit, int timeout_ms, GError **error);

/* After flush_base: switch the overlay above to base, header included, and wait for it. */
gboolean commit_switch_over(Commit *commit, GError **error);

/* Give up before switch_over; base keeps what was copied, which the overlays mask. Waits
 * until the job is gone. */
gboolean commit_cancel(Commit *commit, GError **error);

/* Frees; a job under way is cancelled as far as the daemon answers. */
void commit_free(Commit *commit);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Commit, commit_free)

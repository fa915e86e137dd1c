/* SPDX-License-Identifier: Apache-2.0 */
/* pass - which part of a big generation the standby already has.
 *
 * A generation that one short backup job cannot read is built in passes, each
 * of several jobs (slices). A pass reads everything dirty since the checkpoint
 * `since` (nil: every block). Its first job creates the checkpoint `guard`, so
 * that whatever the guest changes after a block was read is in guard's bitmap.
 *
 * Invariant at the start of a pass: the unsealed overlay reads as the disk did
 * at `since`, but for blocks dirty since then. So
 *   - when the first job of a pass reads all that is dirty, the overlay is the
 *     disk at the instant of that job: the generation is sealed there, and
 *     the job's checkpoint bears its id;
 *   - else, when all that was dirty has been read in later jobs, the overlay is
 *     the disk at `guard`, but for blocks dirty since: the next pass has
 *     since = guard.
 * The ordinary generation is the first pass ending in its first job.
 *
 * Pure bookkeeping: no I/O. One thread. Disks are counted as in BEGIN. */
#pragma once

#include "vmconnect/base/extents.h"
#include "vmconnect/base/id.h"

typedef struct {
    Id since;       /* nil: every block */
    Id guard;       /* nil until the first job of this pass ended unfinished */
    GPtrArray *has; /* of Extents *, one a disk: read at or after guard */
} Pass;

Pass *pass_new(Id since, guint n_disks);
void pass_free(Pass *pass);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Pass, pass_free)

/* What is left of @dirty (a whole list since pass->since, read in the present
 * job). Given to the caller. */
Extents *pass_todo(const Pass *pass, guint disk, const Extents *dirty);

/* The standby was sent this range in the present job. */
void pass_add(Pass *pass, guint disk, guint64 offset, guint64 len);

/* The job ended with work left over. If it was the first, @guard is the
 * checkpoint that it created; later jobs create none, and pass nil. */
void pass_break(Pass *pass, Id guard);

/* Everything dirty has been read, in more than one job: go on from the guard. */
void pass_next(Pass *pass);

/* The first job of a pass is the only one that makes a checkpoint and may seal. */
gboolean pass_is_first_job(const Pass *pass);

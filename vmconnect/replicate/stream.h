/* SPDX-License-Identifier: Apache-2.0 */
/* stream - carries what a cut must still be read for to the standby.
 *
 * A pipeline of a fixed number of blocks: each is free, being read, or being
 * sent; so memory is bounded whatever the disk, and a slow link slows the
 * reading, never the guest. Of a disk whose changes are not known, but which the standby
 * has, both sides hash what they have, and what differs is sent. Straight-line code around one poll(2), for the
 * worker's thread. */
#pragma once

#include "vmconnect/capture/cut.h"
#include "vmconnect/replicate/pass.h"
#include "vmconnect/replicate/sender.h"
#include "vmconnect/replicate/throttle.h"

#include <glib.h>

typedef struct Stream Stream;

/* The blocks are borrowed by the sender while they wait in its queue: free the
 * sender first. */
Stream *stream_new(void);
void stream_free(Stream *stream);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Stream, stream_free)

/* When to break off with work left over. */
typedef struct {
    int wake_fd;               /* readable: break; -1: none … */
    gint64 wake_grace_ms;      /* … so long after it was seen */
    gint64 end_by_ms;          /* steady time; 0: none */
    guint64 scratch_max_bytes; /* of the cut's job; 0: none */
    gboolean blank;            /* nothing has ever been written where this lands: zeros need not be sent */
    /* One a disk: so many bytes of it the standby has a copy of, which are compared if it is read as a whole; NULL:
     * nothing is. */
    const guint64 *copies;
    guint64
        hole_max; /* so much that reads as zeros is compared at once, in whole blocks; 0: as much as can be */
    Throttle *throttle;    /* holds back what is read for a comparison; NULL: nothing does */
    const GPtrArray *also; /* of Extents *, one a disk: is sent as if it had changed; NULL: nothing */
} StreamLimits;

/* Told now and then, and at the end: bytes of ranges handled, of all in this job. */
typedef void (*StreamProgress)(void *user, guint64 done_bytes, guint64 total_bytes);

/* Send what is dirty in @cut and not yet in @pass, and note it there. *@ret_all:
 * nothing is left; else a limit was reached. FALSE with @error: cut or link failed;
 * @pass is then ahead of what the standby has, and must be dropped. */
gboolean stream_run(Stream *stream, Cut *cut, Sender *sender, Pass *pass, const StreamLimits *limits,
                    StreamProgress on_progress, void *user, gboolean *ret_all, GError **error);

/* Compare what lies here and on the standby, of @todo (of Extents *, one a disk), and send nothing: what was
 * compared leaves @todo, and is in @differing, too, if it differs. Blocks all of which has changed since the cut's base leave it
 * without being compared, since the next generation brings them; those of which a part has stay. A generation is begun, of the
 * disks and sizes of the tip, and nothing was written to it. *@ret_all: no limit was reached. FALSE with @error: cut or
 * link failed; what was found until then is true nevertheless, if the cut was valid. */
gboolean stream_audit(Stream *stream, Cut *cut, Sender *sender, GPtrArray *todo, GPtrArray *differing,
                      const StreamLimits *limits, StreamProgress on_progress, void *user, gboolean *ret_all,
                      GError **error);

/* Bytes of ranges that were compared, by all runs. */
guint64 stream_compared_bytes(const Stream *stream);

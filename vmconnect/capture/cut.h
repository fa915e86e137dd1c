/* SPDX-License-Identifier: Apache-2.0 */
/* cut - all disks of a VM at one instant, open for reading until it is ended.
 *
 * Of a running VM: a libvirt backup job in pull mode. It holds up snapshots,
 * saves and other tools and fills scratch, so it lasts seconds, and what is
 * larger is read in several cuts (slices): each lists what it will read with
 * cut_dirty() or from its caller's own list. Of a VM that is off: its images,
 * opened so that the user can start it at any moment; what was read counts
 * only if cut_still_valid() says so at the end.
 *
 * Any failure: free the cut. The job ends at once, and both checkpoints, the
 * old one and the new one, stay until the standby has named its tip. */
#pragma once

#include "vmconnect/base/extents.h"
#include "vmconnect/base/id.h"
#include "vmconnect/capture/capture.h"
#include "vmconnect/image/nbd.h"

#include <glib.h>

/* What is wanted of one disk. A replicated disk that is not listed is not read. */
typedef struct {
    const char *target;
    Id since;                 /* our checkpoint; nil: the whole disk counts as changed */
    guint64 since_size_bytes; /* its size where this lands: what lies beyond counts as changed */
    gboolean zeros_changed;   /* and so does whatever reads as zeros */
} CutWish;

typedef struct {
    const char *target;
    guint64 size_bytes; /* at the cut */
    gboolean whole;     /* since was nil */
} CutDisk;

typedef struct Cut Cut;

/* Cut now, by the newest capture_look(). @checkpoint (nil: none) is created over
 * all replicated disks in the same instant. REFUSED: the VM is in no state for
 * it; BUSY, with who does what: somebody else's job; NOT_FOUND: no such disk or
 * `since` (redefine it); TRACKING_LOST; STUCK; NO_SPACE; CANCELLED: the rescuer ended its job; as
 * scratch_make(). On failure no job is left, and @checkpoint is there or not (ask; it does no harm). */
gboolean cut_begin(Capture *c, const CutWish *wishes, guint n, Id checkpoint, Cut **ret_cut, GError **error);

/* End at once; returns when libvirt would take the next job. An error says
 * that the job may still be there (rescuer_end() it); the cut
 * is freed in any case. cut_free() does the same and drops the error. */
gboolean cut_end(Cut *cut, GError **error);
void cut_free(Cut *cut);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Cut, cut_free)

/* Steady and wall clock just before the cut was asked for. */
gint64 cut_asked_at_ms(const Cut *cut);
gint64 cut_asked_at_wall_ms(const Cut *cut);
gboolean cut_is_offline(const Cut *cut);
gboolean cut_is_frozen(const Cut *cut); /* file systems were frozen at the instant */

guint cut_disk_count(const Cut *cut);
const CutDisk *cut_disk(const Cut *cut, guint disk); /* in the order of the wishes */

/* What changed since the wish's checkpoint; everything for a whole disk.
 * Within [0, size_bytes), at the bitmap's granularity (64 KiB as a rule). */
Extents *cut_dirty(Cut *cut, guint disk, GError **error);

/* Divide @ranges by what the image holds: @ret_data must be read, @ret_zero
 * reads as zeros. Asked of these ranges alone, never of the whole disk. */
gboolean cut_split(Cut *cut, guint disk, const Extents *ranges, Extents **ret_data, Extents **ret_zero,
                   GError **error);

/* The connection for reading @disk's data, for as many requests at once as it
 * bears; it carries nothing else. The cut's. */
NbdDisk *cut_reader(Cut *cut, guint disk);

/* As capture_guest_requests(); never offline. */
gboolean cut_guest_requests(Cut *cut, guint64 *ret_requests, guint64 *ret_total_ns, GError **error);

/* Bytes this job has in scratch on disk (0 offline), and of what there was for it when it began:
 * the settings' share, less if less was free. Cheap: a stat per disk. */
guint64 cut_scratch_used(const Cut *cut);
guint64 cut_scratch_bytes(const Cut *cut);

/* Is what was read still the truth of one instant? Asked after the last read.
 * Running: the job is still there and ours. Off: the VM was off all the time
 * and nobody wrote into an image. CANCELLED with the reason if not. */
gboolean cut_still_valid(Cut *cut, GError **error);

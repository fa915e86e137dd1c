/* SPDX-License-Identifier: Apache-2.0 */
/* active_parts - what the files of active.h share.
 *
 * active.c holds the VM and decides what a cycle does, active_reconcile.c finds
 * where to go on from, active_disks.c of which disks the base can tell what changed,
 * active_generation.c makes one job of a generation, active_room.c mends a full folder. */
#pragma once

#include "vmconnect/capture/cut.h"
#include "vmconnect/capture/disk_files.h"

#include "vmconnect/replicate/active.h"

/* A command waits so long for a job that ends soon: who asks again and again must not keep small generations from
 * their seal. */
#define ACTIVE_GRACE_MS 1000

/* What was sent of the unsealed generation counts only with the present link. */
void active_forget_begun(Active *a);

/* Choose the checkpoint to read since, go on with what the standby has of an
 * unsealed generation if that is possible, and delete checkpoints that no way
 * leads from. After each attach, once the standby has named its tip. */
gboolean active_reconcile(Active *a, GError **error);

#define ACTIVE_SCRATCH_SHARE \
    5 /* a job breaks off at a fifth of its scratch; the rescuer's limit is a quarter */

/* What holds back the reading of @cut for a comparison; NULL: nothing does, since there is no guest to wait for. */
Throttle *active_throttle(Active *a, const Cut *cut);

/* What would be sent next on the standby's tip: of the VM's disks, without an instant yet. */
Generation *active_next_generation(Active *a);

/* A disk may have got another size between its look and its cut: CANCELLED. */
gboolean active_expect_sizes(const Generation *g, const Cut *cut, GError **error);

/* Of a guest that stands still after an I/O error: lacks it only room in our folder, and is that there again, then
 * it goes on. */
gboolean active_give_room(Active *a, GError **error);

/* One job: cut, stream, end; then seal, or keep a slice. */
gboolean active_make_generation(Active *a, ActiveOutcome *ret_outcome, GError **error);

/* The standby's newest sealed generation; nil: none. */
Id active_tip(const Active *a);

/* Are the VM's disks, in number, names and sizes, those of @g? */
gboolean active_same_disks(Active *a, const Generation *g);

/* A checkpoint looks as if it had lost track. TRUE: it has. FALSE with @error BUSY: it may be the moment,
 * with a disk on its way out or a VM between two states; look again. */
gboolean active_has_lost_track(Active *a, GError **error);

/* Everything is being sent: `status` shows how far it is. */
void active_show_sync(Active *a);

/* A disk, or one that is gone for the moment, since active_watch_anew(). */
typedef struct {
    char *target;
    DiskFiles *files; /* when last seen; NULL: that could not be told */
    Signature image;  /* of a VM that is off: as the newest look found it and we ourselves left it, if … */
    gboolean is_signed;  /* … it was off at that look */
    gboolean written;    /* another program wrote to it since that look */
    gboolean clean;      /* off since the base was made, and nobody else wrote to it */
    guint64 size_bytes;  /* when last seen; 0: not yet */
    guint64 least_bytes; /* the smallest size that was seen: what lies beyond was cut off */
    gboolean whole;      /* the base cannot tell what changed on it … */
    gboolean misleads;   /* … and its image, of a VM that is off, does not say so to the next engine */
    gboolean holes;      /* what reads as zeros may have changed, too */
    gboolean stale;      /* what was sent of an unsealed generation may not be there any more */
} WatchedDisk;

GPtrArray *active_watched_new(void);

/* NULL: no such disk was seen. */
WatchedDisk *active_watched(const Active *a, const char *target);

/* Others have written to it, as far as is known; before a look. */
void active_distrust(Active *a, const char *target);

/* After each look: compare with the one before. FALSE: it is off, and was started since then, so that what is in its
 * images is known at the next look. */
gboolean active_watch_disks(Active *a);

/* Checkpoint @since was just made over the disks as they were looked at, of a VM that was @off. */
void active_watch_anew(Active *a, Id since, gboolean off);

/* Go on watching since @since. If that is not what was watched since, the checkpoint says what it was made over, and
 * what was seen until now counts as seen after it. */
void active_watch_since(Active *a, Id since);

/* Of DiskFiles *: what is known here of the disks that @checkpoint was made over. The caller unrefs. */
GPtrArray *active_files_at(const Active *a, Id checkpoint);

/* Is @target the disk that @checkpoint was made over? One that does not say is not trusted. */
gboolean active_same_files(Active *a, Id checkpoint, const char *target);

/* Can the base tell of any disk of the tip what changed? */
gboolean active_tells_anything(const Active *a);

/* Of all disks that the VM has? */
gboolean active_tells_all(const Active *a);

/* A disk that has another size than the tip's, which nobody here saw change, is whole: nobody saw how, either. */
void active_judge_sizes(Active *a);

/* Find those disks of the tip whose record since the base is lost: they are whole from now on. *@ret_lost: there
 * were some. FALSE with @error: BUSY as active_has_lost_track(). */
gboolean active_judge_disks(Active *a, gboolean *ret_lost, GError **error);

/* After each step that may have written into the images of a VM that is off: that was nobody else. */
void active_follow_writes(Active *a);

/* They are still what was looked at, but for what we wrote; CANCELLED if not. */
gboolean active_expect_untouched(const Active *a, GError **error);

/* Off since the base was made, and no other program wrote to any disk. */
gboolean active_is_clean(const Active *a);

/* Is what was sent of one of its disks stale? Not if it was begun after active_forget_stale(). */
gboolean active_is_stale(const Active *a, const Generation *begun);
void active_forget_stale(Active *a);

/* SPDX-License-Identifier: Apache-2.0 */
/* capture - one VM of this host, as the thread that replicates it sees it.
 *
 * Blocking, for a worker thread: every call may take as long as libvirtd does.
 * The connection is the worker's own, and never has two calls in flight. What
 * a running VM has changed since an instant is known by a checkpoint of ours,
 * named `understudy-` and the generation's UUID; the reading itself is cut.h's.
 *
 * Nothing that is not ours is ever touched: checkpoints by their name, jobs by
 * their socket, files by their folder and name.
 *
 * Besides the usual codes: TRACKING_LOST means that a checkpoint cannot tell
 * any more what changed since (send everything again), STUCK that libvirtd
 * lost a job and holds the VM locked (JOB_STUCK), or lost the VM itself, BUSY that somebody else works on
 * it, NOT_FOUND that the VM or checkpoint is gone, UNREACHABLE that the
 * connection is dead: make a new Capture on a new one and capture_recover(). */
#pragma once

#include "vmconnect/base/belongings.h"
#include "vmconnect/base/id.h"
#include "vmconnect/hypervisor/inventory.h"
#include "vmconnect/hypervisor/rescuer.h"
#include "vmconnect/image/signature.h"

#include <glib.h>
#include <libvirt/libvirt.h>

typedef struct {
    const char *run_dir; /* the engine's; tells our jobs from others', keeps freeze marks */
    const char *nbd_dir; /* inside run_dir, for jobs' sockets: QEMU's user must be able to bind there */
    const char
        *permit_dir; /* where starts are locked out while images are written to (start_lock.h); NULL: not */
    const char *scratch_dir; /* local file system without quota, where QEMU's user may write */
    guint64 scratch_bytes;   /* what may lie there, if it is free; a job ends at a quarter. 0: what is free */
    gint64 job_ms;           /* the rescuer ends a job that is older */
    Rescuer *rescuer;        /* watches over jobs and freezes; NULL: nobody does (tests) */
    int cancel_fd;           /* readable: waits on a disk end with CANCELLED; -1: none */
} CaptureSettings;

typedef enum {
    CAPTURE_OFF,
    CAPTURE_RUNNING,  /* also while its user has paused it: it can be cut */
    CAPTURE_IO_ERROR, /* stopped by a full or failing disk or scratch: not cut until it runs */
    CAPTURE_ENDING,   /* shutting down or crashed: neither kind of cut is possible; look again */
} CaptureState;

typedef struct Capture Capture;

/* The VM with UUID @vm. @conn and the strings of @settings must outlive it.
 * NULL with @error: NOT_FOUND, UNREACHABLE, or USAGE for folders whose socket
 * paths would be too long. Does not look yet. */
Capture *capture_new(virConnectPtr conn, Id vm, const CaptureSettings *settings, GError **error);
void capture_free(Capture *c);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Capture, capture_free)

/* Does the running guest have a channel for an agent, and none on it? An agent that connects while a job of ours is open
 * is not noticed by libvirt 9.0, ever, and holds its thread up for half a minute. */
gboolean capture_lacks_agent(const Capture *c);
/* How long ago its QEMU was started; -1: that cannot be told. */
gint64 capture_age_ms(const Capture *c);

/* Ask libvirt anew: state, name, definition, disks and their sizes. The rest
 * of these answer from the newest look, and borrow until the next one. */
gboolean capture_look(Capture *c, GError **error);
CaptureState capture_state(const Capture *c);
const char *capture_name(const Capture *c);
const char *capture_definition(const Capture *c); /* inactive XML, with its secrets: never to be shown */
const char *capture_live(const Capture *c);       /* without them, as it runs; off: the definition */
const GPtrArray *capture_disks(const Capture *c); /* of Disk *: the replicated ones, sizes known */
const Disk *capture_find_disk(const Capture *c, const char *target); /* of them, or NULL */
const GPtrArray *capture_files(const Capture *c);                    /* of DiskFiles *: of those disks */
const char *capture_remark(const Capture *c); /* definition_disks_at_stop(); NULL: nothing, or off */

/* What the VM of the newest look has beside its disks, at present: as gather_look(). */
GPtrArray *capture_belongings(Capture *c, char **ret_why);

/* Why the VM cannot be protected, one sentence per reason (of char *), empty
 * when it can; @ret_remarks (may be NULL): what the operator should know
 * although it can. Reads the images' headers, some 10 ms each. The caller unrefs both. */
GPtrArray *capture_problems(Capture *c, GPtrArray **ret_remarks);

/* Freeze the guest's file systems around each cut from now on (off until said),
 * at most AGENT_FREEZE_MAX_MS. A guest that cannot is cut all the same. */
void capture_set_freeze(Capture *c, gboolean freeze);

/* First thing on a new connection: end a job of ours that a dead predecessor
 * left, and remove leftovers of our jobs of this VM. STUCK, or UNREACHABLE. */
gboolean capture_recover(Capture *c, GError **error);

/* Sockets and scratch files of jobs of @vm, of which none may run: also of a VM that is gone. */
void capture_remove_files(const char *nbd_dir, const char *scratch_dir, Id vm);

/* Our checkpoints, oldest first (GArray of Id). The caller unrefs. */
GArray *capture_checkpoints(Capture *c, GError **error);

/* Remember changes from now on, without a job. Running: one libvirt
 * transaction over all replicated disks. Off: a bitmap is added to each image
 * (it is locked for some 10 ms, in which a start of the VM would fail) and
 * announced to libvirt, so that tracking is there at the first write after the
 * next start. EXISTS if it is there already. */
gboolean capture_create_checkpoint(Capture *c, Id id, GError **error);

/* Forget. One that is inconsistent is removed from libvirt's list alone. No
 * error when it is not there. Off: bitmaps are taken out of the images, too. */
gboolean capture_delete_checkpoint(Capture *c, Id id, GError **error);

/* What the running guest's own requests to all its disks came to, since its QEMU began: how many have ended, and how
 * long these took together. What others read through QEMU is not among them. Cheap, and no question of QEMU's block nodes
 * (disk_size.h). UNSUPPORTED if they are not counted. */
gboolean capture_guest_requests(Capture *c, guint64 *ret_requests, guint64 *ret_total_ns, GError **error);

/* Off: take the record of changes out of the top image of @target, so that nobody trusts it again whatever becomes
 * of this engine. BUSY: somebody has it open. */
gboolean capture_withdraw(Capture *c, const char *target, GError **error);

/* What we wrote into the top image of a disk of the VM while it was off, in several steps as a rule. */
typedef struct {
    char *target;
    OwnWrite own;     /* from before the first to after the last */
    gboolean touched; /* somebody else wrote between two of ours */
} CaptureWrite;

/* Of CaptureWrite *: what was written since this was last asked. The caller unrefs. */
GPtrArray *capture_take_writes(Capture *c);

/* Forget all: when replication of this VM ends. What a broken checkpoint left
 * inside an image goes only while the VM is off. */
gboolean capture_delete_all(Capture *c, GError **error);

/* Make libvirt know @id again, whose bitmaps over those of @targets that the VM
 * still has have outlived an `undefine`, as made over @files. That they are there is checked: TRACKING_LOST if not. */
gboolean capture_announce(Capture *c, Id id, const GPtrArray *files, const char *const *targets, guint n,
                          GError **error);

/* Bytes that a cut since checkpoint @since would read now, by libvirt's
 * estimate: no job, nothing is held up. One value per disk of capture_disks(),
 * in @ret_bytes[n]; G_MAXUINT64 for a disk that @since cannot tell about, so that it
 * must be read whole: it was added later, or its bitmap is broken or gone. TRACKING_LOST
 * if that is so of all of them, NOT_FOUND without such a checkpoint, REFUSED unless running, BUSY while
 * another tool's job is under way (QEMU 7.2 may die of the question). */
gboolean capture_spool(Capture *c, Id since, guint64 *ret_bytes, GError **error);

/* Of which disks of capture_disks() can @since tell what changed, as far as its bitmaps go: @ret_tells[n].
 * Off: reads the images' headers. NOT_FOUND without such a checkpoint, BUSY as above. */
gboolean capture_tells(Capture *c, Id since, gboolean *ret_tells, GError **error);

/* The files that the disks consisted of when @id was made (of DiskFiles *); NULL: it does not say, or is not
 * there. The caller unrefs. */
GPtrArray *capture_files_at(Capture *c, Id id);

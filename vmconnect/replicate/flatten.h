/* SPDX-License-Identifier: Apache-2.0 */
/* flatten - a VM that came home runs from its original images again.
 *
 * After a switchback it runs from overlays in the store's folder, on the images that it left behind when it went away.
 * Each trip would add to that chain. So, while it runs and is protected, what lies above each image is
 * committed into it, in the background:
 *
 *   store dissolved → { lowest overlay into the image }… → overlay that is written to: mirrored, paused, pivoted,
 *   definition on the disk, resumed → files removed
 *
 * libvirt makes no cut while a block job runs, so a job of ours is short: it is given up when its time is over or a
 * command waits, and tried again later with more of it. What was committed is masked by what lies above, so that a job
 * given up, or a host that dies, changes nothing of what the VM reads. The definition is on the disk
 * before the guest writes behind the overlay that it would otherwise be started from; where libvirt cannot save it, the start from that is refused
 * instead (pivot.h).
 *
 * The recovery points that the overlays are go with the first step; nothing is done while one is pinned (a branch). */
#pragma once

#include "vmconnect/replicate/active.h"
#include "vmconnect/store/store.h"

#include <glib.h>

typedef struct {
    const char *store_dir;  /* the VM's folder */
    const char *run_dir;    /* for the store's daemon, of this VM alone */
    gboolean looked;        /* it is known what is kept in the folder … */
    StoreBranches branches; /* … namely these, at the last look */
    gint64 job_ms; /* how long a job may take; doubled whenever it was not enough; 0: not yet tried */
} Flatten;

typedef enum {
    FLATTEN_NOTHING, /* the VM does not run from a store's folder, or from nothing else: no need to ask again */
    FLATTEN_MORE,    /* one job is done, and another may follow */
    FLATTEN_LATER,   /* a job was given up, or none can be begun now: let cuts go on for a while */
    FLATTEN_DONE,    /* it runs from its images, and the folder is empty */
} FlattenOutcome;

/* One step, at most one job. FALSE with @error: REFUSED while a point is pinned, a disk is detached whose overlay is
 * here, or has a snapshot on it, and what libvirt and the store say: try again later. */
gboolean flatten_step(Flatten *f, Active *a, FlattenOutcome *ret_outcome, GError **error);

/* Is each disk that the VM was started from (@given, of StoreGiven *) still one of its disks, whose files are the keys of
 * @live; or has it, once flattening has @begun, gone back to its image? REFUSED if one was detached and its
 * overlay is still there: nothing is committed or removed then. Looks for that file alone. */
gboolean flatten_expect_all(const GPtrArray *given, GHashTable *live, gboolean begun, GError **error);

/* Is there a copy in the folder, and that copy. BUSY as store_open(); the caller closes. */
gboolean flatten_has_store(const Flatten *f);
Store *flatten_open_store(const Flatten *f, const Active *a, GError **error);
/* Remember what is kept in @store; NULL: there is no copy in the folder. */
void flatten_look(Flatten *f, const Store *store);

/* First thing after a restart of the engine, and after a step that failed: a job of ours that is left is given up, and a
 * guest that stands still between pivot and resume goes on. Jobs of its user are left alone. */
gboolean flatten_recover(Active *a, GError **error);

/* Nothing to do, unless libvirt could not save what file a disk goes on from, and the guard file has a note of it: is it saved
 * now, or does it not matter any more? FALSE with @error: once it is off the VM may not be started. */
gboolean flatten_settle(Active *a, GError **error);

/* SPDX-License-Identifier: Apache-2.0 */
/* store - the standby's side of one VM: generations in, recovery points out.
 *
 * One folder per VM, named by its UUID and 0700: the ledger (ledger_file.h), one
 * qcow2 file per layer, extent lists and definitions by content (blob.h). A
 * storage daemon of its own writes the images; it dies with this process.
 *
 * Used by one thread, the one that opened it (the storage daemon ends with it).
 * Blocking, but for merging, which goes on in the storage daemon and is driven by
 * store_pump() between two frames. It talks to no peer and does not decide what is sent.
 *
 * Happy path:  store_open → store_attach → { store_begin → write to store_disk()
 * → [store_slice …] → store_seal }… ; store_pump whenever store_fd is readable or
 * store_timeout_ms has passed.
 *
 * On any error of a write, of store_slice or store_seal call store_discard: the
 * generation is lost, the tip is untouched, and the next store_begin makes good what it
 * can: a new storage daemon, a new overlay. Errors say what an operator has to do. */
#pragma once

#include "vmconnect/base/extents.h"
#include "vmconnect/base/generation.h"
#include "vmconnect/image/signed_image.h"
#include "vmconnect/store/retention.h"

#include <glib.h>

typedef struct Store Store;
typedef struct NbdDisk NbdDisk;

/* Asked when a generation of @reign is about to be sealed: FALSE with @error, and it is lost. After TRUE, `sealed` is called when the
 * record is durable, or could not be made so; what was asked about must not change in between. */
typedef struct {
    gboolean (*may_seal)(void *user, Reign reign, GError **error);
    void (*sealed)(void *user);
    void *user;
} StoreNotary;

typedef struct {
    const char *dir;     /* the VM's folder; made if it is not there */
    const char *run_dir; /* for the storage daemon's sockets, of this VM alone; made if it is not there */
    Id vm;
    RetentionPolicy retain;
    int hurry_fd; /* readable: something is to be done that waits for no merge, store_pump ends with CANCELLED; 0: none */
    StoreNotary notary; /* without functions: whatever is of the session's reign may be sealed */
} StoreOptions;

/* Open the folder and recover: cut off a torn ledger, finish or restart a merge,
 * repair headers, remove leftovers of ours, start the storage daemon. @options and
 * what it points to are copied.
 * NULL with @error: CORRUPT (ledger or an image is not what was written; nothing is
 * deleted), UNSUPPORTED (written by a newer version), BUSY (another process has
 * it), NO_SPACE, IO. */
Store *store_open(const StoreOptions *options, GError **error);
/* End the storage daemon. Sealed generations and slices stay; the rest is a leftover. */
void store_close(Store *store);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Store, store_close)

void store_set_retention(Store *store, RetentionPolicy policy);

/* The newest session that was attached, 0 if none: the next one is higher. Outlives restarts. */
guint64 store_session(const Store *store);

/* The newest sealed generation (without definition), or NULL; borrowed until the next call that is not const. */
const Generation *store_tip(const Store *store);
/* Older generations of the tip's reign, at most @max (GArray of Id): an increment since
 * any of them may land on the tip. Those kept, then those merged away, each newest first. The caller unrefs. */
GArray *store_ancestors(const Store *store, guint max);
/* Wall clock up to which the tip is known to be the truth: its cut, or the last store_confirm. 0 without a tip. */
gint64 store_truth_ms(const Store *store);

/* ---- receiving ---- */

/* One pass over the disks: what is read is what changed since `since` (nil: everything), and
 * what changes after it was read is in `guard` (nil: its first job has not ended yet). */
typedef struct {
    Id since;
    Id guard;
} StorePass;

/* A disk's list of ranges; borrowed. */
typedef struct {
    const char *target;
    const Extents *extents;
} StoreExtents;

/* How far one disk of an unsealed generation is; borrowed in both directions. */
typedef struct {
    const char *target;
    const Extents *has;     /* what this pass has brought, all of it */
    const Extents *changed; /* what all passes have brought */
} StoreProgress;

/* An unsealed generation that survived, to be gone on with. */
typedef struct {
    const Generation *generation; /* as it was begun */
    StorePass pass;
    const StoreProgress *disks; /* as in the generation */
    guint n_disks;
} StorePartial;

/* NULL if nothing can be gone on with; borrowed until the next call that is not const. */
const StorePartial *store_partial(Store *store);

/* From here on only (@reign, @session) may speak; durable. What older sessions left
 * unsealed is discarded, unless it is a partial. Name the tip to the peer only after this.
 * REFUSED: an older reign, another of the same number, a session that is not
 * newer, or this store is promoted. */
gboolean store_attach(Store *store, Reign reign, guint64 session, GError **error);

/* Make ready for writing @g. `parent` must be the tip (nil: there is none),
 * `since` nil, the tip, or an ancestor of it in the same reign. A disk new here is an
 * empty chain of its own, one no longer named ends; a changed size is a new export.
 * If @g is the partial's generation with the same disks, it goes on; any other
 * unsealed generation is discarded.
 * REFUSED: not this session, wrong parent, since or reign, chain full (store_room).
 * CORRUPT, NO_SPACE, IO as store_open. */
gboolean store_begin(Store *store, guint64 session, const Generation *g, GError **error);

/* Where @target's data of the begun generation goes: zeros as WRITE_ZEROES, never
 * TRIM. NULL if nothing is begun or there is no such disk. Borrowed until seal,
 * discard or attach. */
NbdDisk *store_disk(Store *store, const char *target);

/* Another connection to the same disk, with a metadata context (nbd.h); the caller's, to be closed
 * before seal, discard or attach. There must be a store_disk(). */
NbdDisk *store_connect(Store *store, const char *target, const char *context, GError **error);

/* Much was written to store_disk(): let the disk begin with it, while more is on its way. */
void store_start_writing(Store *store);

/* Make what was written durable and record how far each disk of the generation is. */
gboolean store_slice(Store *store, guint64 session, StorePass pass, const StoreProgress *disks, guint n,
                     GError **error);

/* Make @g the tip: flush, fsync, ledger. Parent, reign and disks are what was begun; id,
 * since, sequence, cut_at, definition and belongings may only be known now (the id of a
 * beginning names a partial, that of a seal the point). Belongings bring their bytes, unless the
 * former tip has them (else REFUSED). @changed lists per disk what differs from
 * the parent (a superset is right). On success `sealed_at_ms` is in store_tip(). A
 * failed flush or fsync is never tried again: the generation is gone, the
 * storage daemon starts anew, the error names the file system. */
gboolean store_seal(Store *store, guint64 session, const Generation *g, const StoreExtents *changed, guint n,
                    GError **error);

/* Give up what is begun, partial or not; nothing begun is no error. The ledger is
 * told if it knew. Errors leave the store usable: store_begin tries again. */
gboolean store_discard(Store *store, GError **error);

/* Record that generation @tip, which must be the tip, was still the truth at @at_ms (wall clock). */
gboolean store_confirm(Store *store, guint64 session, Id tip, gint64 at_ms, GError **error);

typedef enum {
    STORE_ROOM_FREE,
    STORE_ROOM_SLOW, /* 48 files in some chain: cut less often */
    STORE_ROOM_NONE, /* 64: store_begin refuses until something is merged */
} StoreRoom;

/* Why nothing is merged any more until the process ends; borrowed; NULL: it is. */
const char *store_given_up(const Store *store);

/* @ret_why (may be NULL): NULL when free, else a sentence; the caller frees. */
StoreRoom store_room(const Store *store, char **ret_why);

/* ---- merging ---- */

/* For poll(): a descriptor that becomes readable (POLLIN), -1 for none, and the
 * time until store_pump() should be called anyway, -1 for never, 0 for now. */
int store_fd(const Store *store);
int store_timeout_ms(const Store *store);

/* Take one bounded step: prepare the next overlay, start, watch or finish a merge.
 * FALSE with @error: that went wrong and is tried again later; receiving goes on. Log it.
 * If the storage daemon was lost, so is what was begun: store_disk() answers NULL then. */
gboolean store_pump(Store *store, GError **error);

/* ---- readers ---- */

/* The files of one disk, top to bottom. */
typedef struct {
    char *target;
    guint64 size_bytes;
    GPtrArray *files;   /* of char *, absolute paths, … */
    GPtrArray *formats; /* … and, one for each, "qcow2" or "raw", static */
} StoreFiles;

void store_files_free(StoreFiles *files);

typedef struct StoreLease StoreLease;

/* For who opens all of @ret_files (of StoreFiles *, with free function) before the next store_pump(), read-only and without locks
 * (daemon_reader.h), and reads on whatever happens to their names: point @generation stays one until released, and merges below it go
 * on, for they write into a file only what another one hides that lies above it and is open, too. Nothing waits for a lease, and no
 * chain grows by it. A merge under way is cancelled, and starts again. NOT_FOUND for a point that is not kept, CORRUPT if a file of it is
 * missing, shorter than when it was sealed, or not what was signed.
 * Leases are not durable: who reads beyond a restart takes them again. */
StoreLease *store_lease_share(Store *store, Id generation, GPtrArray **ret_files, GError **error);
void store_lease_release(Store *store, StoreLease *lease);

/* Keep a point whatever retention says, durably; or no longer. REFUSED if a chain could not bear all that is
 * pinned beside all that retention names: it would be full one day, and nothing would be received any more. */
gboolean store_pin(Store *store, Id generation, gboolean pinned, GError **error);

typedef struct {
    Generation *generation; /* without definition */
    gboolean pinned;
    gboolean branch;       /* what a VM left here that nobody received from it */
    guint64 changed_bytes; /* since the point before it */
} StorePoint;

/* Newest first; of StorePoint *, with free function. */
GPtrArray *store_points(const Store *store);

typedef struct {
    guint count;  /* branches that are kept */
    gint64 bytes; /* at most so much nothing but they hold; -1: on one of them no copy is whole yet */
} StoreBranches;

/* By the ledger alone. */
StoreBranches store_branches(const Store *store);

/* The domain definition of a point, or NULL with @error. The caller frees. */
char *store_definition(Store *store, Id generation, GError **error);

/* What the VM of a point had beside its disks (of Belonging *, described); borrowed as store_tip().
 * NULL with @error NOT_FOUND. */
const GPtrArray *store_belongings(const Store *store, Id generation, GError **error);
/* One of those. NULL with @error CORRUPT (lost, or not what was received) or IO. The caller unrefs. */
GBytes *store_belonging(const Store *store, const Belonging *b, GError **error);

/* What changed on @target in all points after @generation up to the tip. */
Extents *store_changed_since(Store *store, Id generation, const char *target, GError **error);

typedef struct {
    guint files;
    guint64 bytes; /* allocated on the file system */
} StoreUsage;

gboolean store_usage(const Store *store, StoreUsage *ret_usage, GError **error);

/* ---- promotion ---- */

/* Give @generation (nil: the tip) to a VM: a running merge is cancelled, waited for until
 * @deadline_ms (clock_steady_ms) and then killed with the storage daemon; what is unsealed is
 * discarded; a new empty overlay per disk is made and recorded. From then on the
 * store receives nothing and touches no image. @ret_files: of StoreFiles *, the new
 * overlay first. Asked again for the same point it answers the same; another: REFUSED. */
gboolean store_promote(Store *store, Id generation, gint64 deadline_ms, GPtrArray **ret_files,
                       GError **error);

/* The promoted VM's variable store, a file beside its overlays, which is never a point's own; to be written
 * before the VM is defined. The caller frees. */
char *store_nvram_path(const Store *store);

/* Take a promotion back whose VM has never run: its overlays and its variable store are removed, the store
 * receives again after store_attach. That it never ran is the caller's word. */
gboolean store_demote(Store *store, GError **error);

/* ---- adoption ---- */

/* A disk of a VM that was shut down on this host for good, as @g describes it. */
typedef struct {
    const char *target;
    guint64 size_bytes;
    const GPtrArray *images; /* of SignedImage *, top to bottom */
} StoreAdopted;

/* The VM that ran here has gone to another host, whose copy is kept here from now on: what it was shut down on is
 * @g, and the tip. After a promotion its overlays must be the uppermost images, on what the ledger has below
 * them; else the store must be empty, and the images stay where they are; those above the first that is not of an earlier copy
 * in this store's folder are its layers again. Belongings
 * bring their bytes. Nothing but the ledger is written, in one record. Asked again for the tip: no error.
 * A @branch is a point that nobody else knows, kept until store_pin() lets it go.
 * CORRUPT: an image is not any more what it was signed as, REFUSED: the VM ran from other files, or this
 * store has a copy of its own; nothing was changed. */
gboolean store_adopt(Store *store, const Generation *g, const StoreAdopted *disks, guint n, gboolean branch,
                     GError **error);
/* Whether it would, to be asked before anything of the VM's is removed: REFUSED. */
gboolean store_may_adopt(Store *store, const Generation *g, const StoreAdopted *disks, guint n,
                         GError **error);
gboolean store_has_adopted(const Store *store, Id generation);

/* The point that was promoted, nil if none. */
Id store_promoted(const Store *store);
/* The files of the VM that runs from it, as store_promote() gave them: of StoreFiles *. */
GPtrArray *store_promoted_files(const Store *store);
/* Is the ledger that was opened still the one in its folder? Somebody may have moved that away. */
gboolean store_is_there(const Store *store);

/* The VM that was promoted stays here, and needs none of what it was promoted from any more: all points are given up, and
 * the files are the VM's. REFUSED while a point is pinned. What is promoted already dissolved is no error. */
gboolean store_dissolve(Store *store, GError **error);
gboolean store_is_dissolved(const Store *store);
/* A disk of the VM as it was started from here. */
typedef struct {
    char *target;
    char *overlay; /* that it wrote to */
    char *home;    /* the image outside of the folder that all that lies in it stands on; NULL: none */
} StoreGiven;

/* Of StoreGiven *, with free function, until it is cleared; empty if nothing was promoted, or if it was dissolved by a
 * version that did not keep that. CORRUPT, IO. */
GPtrArray *store_given(const Store *store, GError **error);
/* …and when no file of ours in the folder is the VM's any more, but its variable store: they are removed. */
gboolean store_clear(Store *store, GError **error);

/* Remove everything of ours in the folder, and the folder if nothing else is in it; @store is
 * closed in any case. REFUSED while promoted or a reader has a lease. */
gboolean store_purge(Store *store, GError **error);

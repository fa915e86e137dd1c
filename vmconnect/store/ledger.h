/* SPDX-License-Identifier: Apache-2.0 */
/* ledger - what the standby holds of one VM, as a replay of records.
 *
 * Pure: records in, model out; ledger_file.h keeps them on disk. The ledger is
 * the only truth about a chain: which files a disk has, from bottom to top, and
 * which recovery points may be read. qcow2 headers are never asked.
 *
 * Two nouns. A **layer** is one qcow2 file of one disk, over at most one other.
 * A **point** is a sealed generation: for each of its disks the layer it reads
 * from. A disk that did not change keeps its parent's layer, so a layer may
 * belong to several points. Layers not named here are leftovers.
 *
 * An **image** is a layer that was not made here: the disk of a VM that ran on this host
 * before it became a standby. It lies where it always lay, is opened for reading
 * alone, and nothing is ever merged into it. It is what it was as long as its signature is.
 *
 * A record that cannot follow from the model is CORRUPT and leaves it unchanged. */
#pragma once

#include "vmconnect/base/generation.h"
#include "vmconnect/base/id.h"
#include "vmconnect/image/signed_image.h"

#include <glib.h>
#include <jansson.h>

/* 2: a point's generation names its belongings, and says if it is incomplete.
 * 3: a layer may be an image that lies elsewhere. */
#define LEDGER_FORMAT 3

/*    kind       name        what has become durable */
#define LEDGER_RECORDS(X)                                                                     \
    X(CHAIN, chain, "the whole model; always and only the first record")                      \
    X(SESSION, session, "a newer session speaks for the active, older ones are over")         \
    X(SLICE, slice, "an unsealed generation has these ranges")                                \
    X(SEAL, seal, "a generation is whole, and the tip")                                       \
    X(DISCARD, discard, "the unsealed generation is given up")                                \
    X(CONFIRM, confirm, "the tip is the truth at a later instant")                            \
    X(RETAIN, retain, "a point is pinned, or no longer")                                      \
    X(WITHDRAWN, withdrawn,                                                                   \
      "points are struck out; which of their files go into which; these may be written")      \
    X(FLUSHED, flushed, "the lowest file of each disk holds everything of the ones above it") \
    X(SWITCHED, switched, "nothing stands on the ones above any more")                        \
    X(REMOVED, removed, "their files are gone, the merge is over")                            \
    X(PROMOTED, promoted, "a VM runs from here, nothing is received any more")                \
    X(DEMOTED, demoted, "the promotion was taken back, its overlays are given up")            \
    X(ADOPTED, adopted, "the images that a VM was shut down on are a point, and the tip")     \
    X(DISSOLVED, dissolved, "there are no points any more; the VM goes on with the files")

typedef enum {
#define X(kind, name, meaning) LEDGER_##kind,
    LEDGER_RECORDS(X)
#undef X
} LedgerKind;

const char *ledger_kind_name(LedgerKind kind);

/* How many ids `past` remembers. */
#define LEDGER_MAX_PAST 1024

typedef struct {
    Id id; /* its own, random; names the file: <id>.<target>.qcow2 */
    char *target;
    Id below;           /* the layer it stands on, of the same target; nil: the bottom */
    guint64 size_bytes; /* virtual size */
    guint64 file_bytes; /* length of the file when it last became durable; it never shrinks */
    SignedImage *image; /* NULL: a file of ours in the store's folder */
} LedgerLayer;

typedef struct {
    char *target;
    Id layer;
    char *extents;         /* digest of the list of what changed since the point below, or NULL */
    guint64 changed_bytes; /* how much that is */
    char *has;             /* unsealed only: digest of the list of what this pass has brought */
} LedgerDisk;

typedef struct {
    Generation *generation; /* its `definition` is NULL */
    char *definition;       /* digest, or NULL */
    GPtrArray *disks;       /* of LedgerDisk *, as in the generation */
    gboolean pinned;
    gboolean branch; /* adopted, and no generation that its active ever told of */
} LedgerPoint;

/* An unsealed generation that was worth a durable slice. Its id is only that of its
 * beginning: the point that comes of it has one of its own. */
typedef struct {
    Generation *generation;
    Id since;         /* where this pass counts from; nil: everything is read */
    Id guard;         /* the checkpoint made when it began; nil: not yet */
    GPtrArray *disks; /* of LedgerDisk *: `extents` is what all its passes have brought */
} LedgerPartial;

/* One disk's part of a merge. */
typedef struct {
    char *target;
    GArray *layers;  /* of Id, bottom to top: all go into the first. Fewer than two: nothing to copy */
    GArray *dropped; /* of Id: layers that nothing will read from */
} LedgerMergeDisk;

typedef struct {
    LedgerKind state; /* WITHDRAWN, FLUSHED, SWITCHED */
    Id survivor;      /* the point that the lowest layers will read as */
    GPtrArray *disks; /* of LedgerMergeDisk * */
} LedgerMerge;

typedef struct {
    Id vm;       /* nil until the first record */
    Reign reign; /* of the newest session; number 0: none yet */
    guint64 session;
    int format;             /* that it was read in, at most LEDGER_FORMAT, which is what is written */
    gint64 confirmed_at_ms; /* the tip is known to be the truth up to then; 0: its own cut */
    GPtrArray *points;      /* of LedgerPoint *, oldest first; the last one is the tip */
    GPtrArray *layers;      /* of LedgerLayer *, those of `partial` and `promoted` included */
    GArray *past;           /* of Id: points of the tip's reign merged away, oldest first, bounded */
    LedgerPartial *partial; /* or NULL */
    LedgerMerge *merge;     /* or NULL */
    Id promoted;            /* the point a VM was started from; nil: none */
    GPtrArray *active;      /* of LedgerDisk *: its overlays, without extents; empty unless promoted */
    gboolean dissolved;     /* files in the folder may be a VM's still; else all above is empty */
} Ledger;

/* Empty, of one VM. */
Ledger *ledger_new(Id vm);
void ledger_free(Ledger *ledger);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Ledger, ledger_free)

/* Advance @ledger by one record. FALSE with @error set and @ledger unchanged:
 * CORRUPT for what cannot be; UNSUPPORTED for a `chain` record of a newer format.
 * @record stays the caller's. */
gboolean ledger_apply(Ledger *ledger, const json_t *record, GError **error);

/* The `chain` record that reproduces the whole model. New reference. */
json_t *ledger_to_json(const Ledger *ledger);

/* What merging points @first … @survivor - 1 (indices) into @survivor means for every disk. If they are the same, layers alone are
 * merged that no point reads from. */
LedgerMerge *ledger_plan_merge(const Ledger *ledger, guint first, guint survivor);
/* How many there are of these below point @index, of the disk that has most. */
guint ledger_count_unread(const Ledger *ledger, guint index);
/* Whether point @index may be struck out at all: not the tip, not pinned, not below a branch, and no disk of
 * it shrinks above (a merge cannot shrink a file's disk). */
gboolean ledger_can_withdraw(const Ledger *ledger, guint index);
void ledger_merge_free(LedgerMerge *merge);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LedgerMerge, ledger_merge_free)

/* Records for ledger_apply(); new references. @layers, of LedgerLayer *, are those made
 * for this record; their `below` must be what follows from the model. */
json_t *ledger_record_session(Reign reign, guint64 session);
json_t *ledger_record_slice(const LedgerPartial *partial, const GPtrArray *layers);
/* @begun: the id under which the point was begun. */
json_t *ledger_record_seal(Id begun, const LedgerPoint *point, const GPtrArray *layers);
json_t *ledger_record_discard(Id generation);
json_t *ledger_record_confirm(Id generation, gint64 at_ms);
json_t *ledger_record_retain(Id generation, gboolean pinned);
/* @extents (of LedgerDisk *, `layer` not read) are the survivor's lists, grown by what the struck out had. */
json_t *ledger_record_withdrawn(Id first, const LedgerMerge *merge, const GPtrArray *extents);
json_t *ledger_record_flushed(void);
/* @bases (of LedgerLayer *): the lowest file of each merged disk and its new length. */
json_t *ledger_record_switched(const GPtrArray *bases);
json_t *ledger_record_removed(void);
json_t *ledger_record_promoted(Id generation, const GPtrArray *layers);
json_t *ledger_record_demoted(void);
json_t *ledger_record_dissolved(void);
/* @layers (of LedgerLayer *): after a promotion its overlays with the size and length that they have now, then images below them,
 * signed anew, and those of disks that came since; else images, and files of ours above them; each disk's from the lowest to the
 * uppermost. A merge that is only withdrawn is given up. */
json_t *ledger_record_adopted(const LedgerPoint *point, const GPtrArray *layers);
/* The layer that is this very file; NULL: none is. */
const LedgerLayer *ledger_find_image(const Ledger *ledger, const SignedImage *image);
/* The one of them that @target is read from; @overlays: how many come first. NULL: it has none. */
const LedgerLayer *ledger_top_in(const GPtrArray *layers, guint overlays, const char *target);

/* For those arrays and the model's: the array frees its items. */
LedgerLayer *ledger_layer_new(Id id, const char *target, Id below, guint64 size_bytes, guint64 file_bytes);
GPtrArray *ledger_layers_new(void);
/* The file of a layer, relative to the store's folder unless it lies elsewhere; the caller frees. */
char *ledger_layer_file(const LedgerLayer *layer);
LedgerDisk *ledger_disk_new(const char *target, Id layer, const char *extents, guint64 changed_bytes);
GPtrArray *ledger_disks_new(void);

/* Borrowed; NULL if there is none. */
const LedgerPoint *ledger_tip(const Ledger *ledger);
const LedgerPoint *ledger_find_point(const Ledger *ledger, Id generation);
const LedgerLayer *ledger_find_layer(const Ledger *ledger, Id layer);
const LedgerDisk *ledger_find_disk(const GPtrArray *disks, const char *target);
/* Does @layer belong to the unsealed generation? */
gboolean ledger_is_unsealed(const Ledger *ledger, Id layer);
/* Does a point, the promoted VM, or what comes in, read from it? A disk that is gone leaves an image that nobody does. */
gboolean ledger_is_read(const Ledger *ledger, Id layer);
/* The layer that @point (NULL: none) reads @target from; nil if it has no such disk. */
Id ledger_layer_of(const LedgerPoint *point, const char *target);

/* Whether @since may be what a generation of @reign on top of the tip was read
 * from: nil, the tip itself, or an ancestor of it in the same reign. */
gboolean ledger_is_ancestor(const Ledger *ledger, Id since, Reign reign);

/* TRUE if every name in the model resolves; for tests, after anything. */
gboolean ledger_is_sound(const Ledger *ledger, GError **error);

/* Files from @layer down to the bottom. */
guint ledger_depth(const Ledger *ledger, Id layer);

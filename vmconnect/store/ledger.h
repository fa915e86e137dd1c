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
 * A record that cannot follow from the model is CORRUPT and leaves it unchanged. */
#pragma once

#include "vmconnect/base/generation.h"
#include "vmconnect/base/id.h"

#include <glib.h>
#include <jansson.h>

#define LEDGER_FORMAT 1

/*    kind       name         what has become durable */
#define LEDGER_RECORDS(X)                                                               \
    X(CHAIN, "chain", "the whole model; always and only the first record")              \
    X(SESSION, "session", "a newer session speaks for the active, older ones are over") \
    X(SLICE, "slice", "an unsealed generation has these ranges")                        \
    X(SEAL, "seal", "a generation is whole, and the tip")                               \
    X(DISCARD, "discard", "the unsealed generation is given up")                        \
    X(CONFIRM, "confirm", "the tip is the truth at a later instant")                    \
    X(RETAIN, "retain", "a point is pinned, or no longer")                              \
    X(WITHDRAWN, "withdrawn", "points are struck out, their files may be written to")   \
    X(PLANNED, "planned", "which files of a disk go into which")                        \
    X(COPYING, "copying", "the lowest of them is being written")                        \
    X(FLUSHED, "flushed", "the lowest holds everything of the ones above it")           \
    X(SWITCHED, "switched", "nothing stands on the ones above any more")                \
    X(REMOVED, "removed", "their files are gone")                                       \
    X(PROMOTED, "promoted", "a VM runs from here, nothing is received any more")        \
    X(DEMOTED, "demoted", "the promotion was taken back, its overlays are given up")

typedef enum {
#define X(kind, name, meaning) LEDGER_##kind,
    LEDGER_RECORDS(X)
#undef X
} LedgerKind;

const char *ledger_kind_name(LedgerKind kind);

typedef struct {
    Id id; /* names the file: <id>.<target>.qcow2 */
    char *target;
    Id below;           /* the layer it stands on, of the same target; nil: the bottom */
    guint64 size_bytes; /* virtual size */
    guint64 file_bytes; /* length of the file when it last became durable; it never shrinks */
} LedgerLayer;

typedef struct {
    char *target;
    Id layer;
    char *extents;         /* digest of the list of what changed since the point below */
    guint64 changed_bytes; /* how much that is */
} LedgerDisk;

typedef struct {
    Generation *generation; /* its `definition` is NULL */
    char *definition;       /* digest, or NULL */
    GPtrArray *disks;       /* of LedgerDisk *, as in the generation */
    gboolean pinned;
} LedgerPoint;

/* An unsealed generation that was worth a durable slice. */
typedef struct {
    Generation *generation;
    Id since;         /* where this pass counts from; nil: everything is read */
    Id guard;         /* the checkpoint made when it began */
    GPtrArray *disks; /* of LedgerDisk *: `extents` is what the overlay has, as of this pass */
} LedgerPartial;

/* One disk's part of a merge. */
typedef struct {
    char *target;
    LedgerKind state; /* WITHDRAWN, then PLANNED … REMOVED */
    GArray *layers;   /* of Id, bottom to top: all go into the first. One: nothing to do */
    GArray *dropped;  /* of Id: layers that no point reads from any more */
} LedgerMergeDisk;

typedef struct {
    Id survivor;      /* the point that the lowest layers will read as */
    GPtrArray *disks; /* of LedgerMergeDisk * */
} LedgerMerge;

typedef struct {
    Id vm;
    Reign reign; /* of the newest session; number 0: none yet */
    guint64 session;
    gint64 confirmed_at_ms; /* the tip is known to be the truth up to then; 0: its own cut */
    GPtrArray *points;      /* of LedgerPoint *, oldest first; the last one is the tip */
    GPtrArray *layers;      /* of LedgerLayer *, those of `partial` and `promoted` included */
    GArray *past;           /* of Id: points of the tip's reign merged away, oldest first, bounded */
    LedgerPartial *partial; /* or NULL */
    LedgerMerge *merge;     /* or NULL */
    Id promoted;            /* the point a VM was started from; nil: none */
    GPtrArray *active;      /* of LedgerDisk *: its overlays, without extents; empty unless promoted */
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

/* Records for ledger_apply(); new references. Lists are arrays of LedgerDisk *. */
json_t *ledger_record_session(Reign reign, guint64 session);
json_t *ledger_record_slice(const LedgerPartial *partial, const GPtrArray *layers);
json_t *ledger_record_seal(const LedgerPoint *point, const GPtrArray *layers);
json_t *ledger_record_discard(Id generation);
json_t *ledger_record_confirm(Id generation, gint64 at_ms);
json_t *ledger_record_retain(Id generation, gboolean pinned);
/* @first … survivor - 1 are struck out; @extents (of LedgerDisk *) are the survivor's lists, grown by theirs. */
json_t *ledger_record_withdrawn(Id first, Id survivor, const GPtrArray *extents);
json_t *ledger_record_merge(LedgerKind state, const char *target, guint64 file_bytes);
json_t *ledger_record_promoted(Id generation, const GPtrArray *layers);
json_t *ledger_record_demoted(void);

/* Borrowed; NULL if there is none. */
const LedgerPoint *ledger_tip(const Ledger *ledger);
const LedgerPoint *ledger_find_point(const Ledger *ledger, Id generation);
const LedgerLayer *ledger_find_layer(const Ledger *ledger, Id layer, const char *target);
const LedgerDisk *ledger_find_disk(const GPtrArray *disks, const char *target);

/* Whether @since may be what a generation of @reign on top of the tip was read
 * from: nil, the tip itself, or an ancestor of it in the same reign. */
gboolean ledger_is_ancestor(const Ledger *ledger, Id since, Reign reign);

/* Files from @layer down to the bottom. */
guint ledger_depth(const Ledger *ledger, Id layer, const char *target);

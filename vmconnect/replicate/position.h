/* SPDX-License-Identifier: Apache-2.0 */
/* position - where a standby stands with one VM, as it tells the active in ATTACHED.
 *
 * The tip (newest sealed generation), its ancestors of the same reign, and what
 * an unsealed generation has already got. From it the active decides what to
 * read: since which checkpoint, and which ranges not again. */
#pragma once

#include "vmconnect/base/generation.h"
#include "vmconnect/replicate/pass.h"

#include <glib.h>
#include <jansson.h>

#define POSITION_ANCESTORS_MAX 256
#define POSITION_SEED_WHY_MAX 8192 /* bytes */

typedef struct {
    Generation *begun; /* as BEGIN described it */
    Pass *pass;        /* its lists are parallel to begun->disks */
} PositionPartial;

typedef struct {
    Generation *tip;          /* NULL: nothing sealed yet; without definition */
    GArray *ancestors;        /* of Id: older generations of the tip's reign, newest first */
    PositionPartial *partial; /* NULL: none */
    json_t *seed;             /* {TARGET: bytes}: copies from elsewhere; NULL: none was looked for */
    char *seed_why;           /* what of them cannot be used, for the operator; NULL: nothing */
} Position;

Position *position_new(void);
void position_free(Position *position);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Position, position_free)

/* Takes both. */
void position_set_partial(Position *position, Generation *begun, Pass *pass);

/* How much of @target lies there though nothing is sealed: it can be compared. */
guint64 position_seed_bytes(const Position *position, const char *target);

/* May an increment read since @checkpoint land on the tip? The tip itself or an ancestor. */
gboolean position_descends_from(const Position *position, Id checkpoint);

/* {"tip": generation | null, "ancestors": [id…], "partial": null | {"generation", "since", "guard",
 * "has": [[offset, length, …] per disk]}, "seed": {"disks": {TARGET: bytes}, "why": text | null} (absent: nothing was
 * looked for)}. Reading refuses (USAGE) all else: more ancestors
 * than POSITION_ANCESTORS_MAX, lists that are not sorted and disjoint, or of another number than disks. */
json_t *position_to_json(const Position *position);
Position *position_from_json(const json_t *doc, GError **error);

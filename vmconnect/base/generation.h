/* SPDX-License-Identifier: Apache-2.0 */
/* generation - one sealed increment of one VM: all its disks at one instant.
 *
 * The description only (no data): who it is, where it lands, what it was read
 * from. It travels in BEGIN and SEAL, stands in the ledger and in `points`. */
#pragma once

#include "vmconnect/base/belongings.h"
#include "vmconnect/base/id.h"

#include <glib.h>
#include <jansson.h>

/* The rule of one active over a scenario. A lower number is refused everywhere,
 * an equal one with another id is a conflict for the operator. */
typedef struct {
    guint64 number;
    Id id;
} Reign;

#define REIGN_NUMBER_MAX (G_GINT64_CONSTANT(1) << 52) /* in JSON: the next ones can be counted, too */

gboolean reign_equal(Reign a, Reign b);
json_t *reign_to_json(Reign reign);
gboolean reign_from_json(const json_t *doc, Reign *ret_reign, GError **error);

typedef struct {
    char *target;       /* libvirt's target name: vda */
    guint64 size_bytes; /* virtual size at the cut */
} GenerationDisk;

typedef struct {
    Id id;
    Id parent; /* the standby's tip it lands on; nil: the first of a chain */
    Id since;  /* the checkpoint it was read from; nil: everything was read */
    Reign reign;
    guint64 sequence;      /* 1, 2, … within the reign */
    gint64 cut_at_ms;      /* wall clock of the active, for people */
    gint64 sealed_at_ms;   /* wall clock of the standby, 0 until sealed */
    gboolean frozen;       /* file systems were frozen at the cut */
    GPtrArray *disks;      /* of GenerationDisk *, in the order of the definition */
    char *definition;      /* inactive domain XML; NULL where it is kept beside (ledger) */
    GPtrArray *belongings; /* of Belonging *: firmware variables and TPM state, at the cut */
    char *incomplete; /* why `belongings` are not those of the disks' instant, one sentence; NULL: they are */
} Generation;

Generation *generation_new(void);
Generation *generation_copy(const Generation *g);
void generation_free(Generation *g);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Generation, generation_free)

#define GENERATION_INCOMPLETE_MAX 8192 /* bytes of that sentence: it may name a path */

/* May a disk be called so? [A-Za-z0-9_-]{1,32}: it becomes part of file names. */
gboolean generation_is_target(const char *text);

void generation_add_disk(Generation *g, const char *target, guint64 size_bytes);
const GenerationDisk *generation_find_disk(const Generation *g, const char *target);

/* {"id", "parent", "since" (null for nil), "term", "reign", "sequence", "cut_at",
 *  "sealed_at" (null), "frozen", "disks": [{"target", "size_bytes"}], "definition" (null),
 *  "belongings" (as belongings.h; absent: none), "incomplete" (absent: no)}.
 * Reading refuses (USAGE) what is not exactly that, disks that repeat a target,
 * and targets that are not [A-Za-z0-9_-]{1,32} (they become file names). */
json_t *generation_to_json(const Generation *g);
/* The same with the bytes of those belongings that are not in @known (NULL: nothing is): SEAL. */
json_t *generation_to_json_packed(const Generation *g, const GPtrArray *known);
/* For people: without definition and belongings; "incomplete" always (null). */
json_t *generation_describe(const Generation *g);
Generation *generation_from_json(const json_t *doc, GError **error);

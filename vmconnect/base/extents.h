/* SPDX-License-Identifier: Apache-2.0 */
/* extents - a set of byte ranges of one disk.
 *
 * Kept sorted, disjoint and merged (no two touch), so equal sets are equal
 * arrays. Work, dirty and "has" lists are all this; its size follows what
 * changed, never the disk. Units are bytes throughout. */
#pragma once

#include <glib.h>

typedef struct {
    guint64 offset;
    guint64 len; /* never 0 */
} Extent;

typedef struct Extents Extents;

/* No disk is larger (qcow2's and libnbd's own limit is 2^63). */
#define EXTENTS_MAX_OFFSET ((guint64)G_MAXINT64)

Extents *extents_new(void);
Extents *extents_copy(const Extents *set);
void extents_free(Extents *set);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Extents, extents_free)

guint extents_count(const Extents *set);
Extent extents_at(const Extents *set, guint index);
guint64 extents_bytes(const Extents *set);
gboolean extents_is_empty(const Extents *set);
gboolean extents_equal(const Extents *a, const Extents *b);
/* Is anything of this range (@len above 0) in it? */
gboolean extents_overlaps(const Extents *set, guint64 offset, guint64 len);

/* Union and difference with one range; offset + len must not pass EXTENTS_MAX_OFFSET.
 * Adding in ascending order is O(1) a call. @len 0 is nothing. */
void extents_add(Extents *set, guint64 offset, guint64 len);
void extents_remove(Extents *set, guint64 offset, guint64 len);
void extents_clear(Extents *set);

/* set := set ∪ other, set := set \ other, set := set ∩ [0, size). O(n + m). */
void extents_add_all(Extents *set, const Extents *other);
void extents_remove_all(Extents *set, const Extents *other);
void extents_clip(Extents *set, guint64 size);

/* Round every extent outward to @block (a power of two), then merge. */
void extents_round(Extents *set, guint64 block);

/* Wire and disk form: count, then (offset, length) pairs, little-endian 64 bits
 * each. Decoding refuses with PROTOCOL whatever is not a canonical set: unsorted,
 * touching, empty, beyond EXTENTS_MAX_OFFSET, or of another length than it says. */
GBytes *extents_encode(const Extents *set);
Extents *extents_decode(const guint8 *data, gsize len, GError **error);

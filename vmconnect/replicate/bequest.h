/* SPDX-License-Identifier: Apache-2.0 */
/* bequest - what a host that is not the active of a VM any more leaves to itself: the VM's disks.
 *
 * An exact one is written just before the release, when the guest is off and nobody else has written to an image
 * since its base was made: its disks are the final generation. It is worth as much as the signatures in it. Any other
 * says only that the VM ran here in that reign; what its disks hold nobody knows, and its generation is one of its own.
 * Read by the keeper that this host may become (adoption.h). */
#pragma once

#include "vmconnect/base/generation.h"
#include "vmconnect/image/signed_image.h"

#include <glib.h>

typedef struct {
    char *target;
    guint64 size_bytes;
    GPtrArray *images; /* of SignedImage *, top to bottom */
} BequestDisk;

typedef struct {
    Id vm;
    gboolean exact;
    Generation *generation; /* the final one, or that of what is found here; of the reign that has ended */
    GPtrArray *disks; /* exact: of BequestDisk *, as in the generation, with its definition; else empty */
} Bequest;

/* An exact one, whose disks are to be added. */
Bequest *bequest_new(Id vm, const Generation *generation);
/* Of a VM that was the active's in @reign. */
Bequest *bequest_new_found(Id vm, Reign reign);
void bequest_free(Bequest *b);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Bequest, bequest_free)
/* Its images are to be added. */
BequestDisk *bequest_add_disk(Bequest *b, const char *target, guint64 size_bytes);

/* In folder @plan_dir, beside the plan file; durable, replacing an older one. It holds the definition's secrets: 0600. */
gboolean bequest_write(const Bequest *b, const char *plan_dir, GError **error);
gboolean bequest_remove(const char *plan_dir, Id vm, GError **error);
/* NULL without @error if there is none; CORRUPT, UNSUPPORTED, IO. */
Bequest *bequest_read(const char *plan_dir, Id vm, GError **error);
/* The text of such a file: USAGE, UNSUPPORTED. */
Bequest *bequest_parse(const char *text, gsize len, GError **error);

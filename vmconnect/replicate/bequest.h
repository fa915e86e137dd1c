/* SPDX-License-Identifier: Apache-2.0 */
/* bequest - what a host that gives a VM away leaves to itself: the VM's disks as the final generation says they are.
 *
 * Written by the active just before the release, when the guest is off and nobody else has written to an image since
 * its base was made; read by the keeper that this host may become (adoption.h). It is worth as much as the
 * signatures in it: an image that is not as it was signed is no copy of anything. */
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
    Generation *generation; /* the final one, with its definition */
    GPtrArray *disks;       /* of BequestDisk *, as in the generation */
} Bequest;

Bequest *bequest_new(Id vm, const Generation *generation);
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

/* SPDX-License-Identifier: Apache-2.0 */
/* chain - the image files that one disk of a VM consists of, topmost first.
 *
 * As libvirt would open them at the next start: what the definition's
 * <backingStore> says, and where that is silent, what the images' headers say.
 * Nothing is probed: a level without a format is refused, as libvirt does. */
#pragma once

#include <glib.h>

struct _xmlDoc; /* libxml2's */

#define CHAIN_MAX_LAYERS 200 /* libvirt's own limit */

typedef struct {
    char *path;
    char *format; /* "qcow2" or "raw" */
} ChainLayer;

/* Of ChainLayer *, at least one. @domain_xml: live or inactive. Reads headers
 * where it must: blocking, @timeout_ms and @cancel_fd for each (-1: none).
 * NULL with @error: NOT_FOUND no such disk, or it has no medium; UNSUPPORTED a
 * level that is not a local file or has no known format; as qcow2_read(). */
GPtrArray *chain_of_disk(const char *domain_xml, const char *target, int timeout_ms, int cancel_fd,
                         GError **error);

/* Only what the definition says; @ret_closed: its last level is the end of the
 * chain, not merely the last that is told. Pure. */
GPtrArray *chain_in_definition(const char *domain_xml, const char *target, gboolean *ret_closed,
                               GError **error);
GPtrArray *chain_in_document(struct _xmlDoc *doc, const char *target, gboolean *ret_closed, GError **error);

/* The file that a block copy or commit, which runs, will put the disk on; NULL: none. The caller frees. Pure. */
char *chain_mirror_in_document(struct _xmlDoc *doc, const char *target);

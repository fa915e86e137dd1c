/* SPDX-License-Identifier: Apache-2.0 */
/* translate - a domain's definition, rewritten for the host that takes it over.
 *
 * Pure: XML and facts in, XML or every reason why not out. No I/O, no libvirt.
 * What changes: each replicated disk names its chain of files explicitly, with a
 * format on each level, so that nothing is probed (https://libvirt.org/formatdomain.html,
 * backingStore); each interface on a virtual network names the mapped one; the
 * emulator is the host's own; media in CD-ROM and floppy drives stay behind. UUID,
 * name, MAC addresses and all else are kept. */
#pragma once

#include <glib.h>

#define NETMAP_ERROR (netmap_error_quark())
GQuark netmap_error_quark(void);

typedef enum {
    NETMAP_ERROR_XML,      /* not a domain definition, too large, or with a document type */
    NETMAP_ERROR_DISK,     /* a replicated disk is not in the definition */
    NETMAP_ERROR_UNMAPPED, /* an interface's network has no counterpart */
} NetmapError;

#define NETMAP_DEFINITION_MAX (16u << 20)

typedef struct {
    const char *target;       /* vda */
    const char *const *files; /* absolute paths, top to bottom, all qcow2; ends with NULL */
} TranslateDisk;

/* @networks: char * -> char *, network of the definition -> network here. The
 * caller frees the result. NULL with @error naming every disk and interface that
 * stands in the way. */
char *translate_definition(const char *definition, const TranslateDisk *disks, guint n_disks,
                           GHashTable *networks, GError **error);

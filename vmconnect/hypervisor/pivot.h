/* SPDX-License-Identifier: Apache-2.0 */
/* pivot - a disk of a running guest goes on from another file, and no crash makes it start from the one it left.
 *
 *   mark → guest suspended → disk pivoted → its definition's file names the new one, durable → guest resumed → mark removed
 *
 * The mark is a file in our run folder: who finds it after our death resumes the guest. Gone after a boot, as the pause
 * is. Where libvirt cannot save the definition the guest goes on all the same, once its guard file has a note of the pivot: the
 * start hook refuses a definition that names the file that was left, and the engine mends it when it can (definition_file.h). */
#pragma once

#include "vmconnect/base/id.h"

#include <glib.h>
#include <jansson.h>

struct _xmlDoc; /* libxml2's */
struct _xmlNode;

typedef struct {
    char *disk;   /* vda */
    char *from;   /* the file it leaves, … */
    char *to;     /* … that it goes on from, … */
    char *format; /* … and what that is: "qcow2" or "raw" */
} Pivot;

void pivot_free(Pivot *p);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Pivot, pivot_free)

/* {"disk", "from", "to", "format"}. */
json_t *pivot_to_json(const Pivot *p);
Pivot *pivot_from_json(const json_t *root, GError **error);

/* Would a VM of this definition (root <domain>, live or inactive) have the file that was left, as whatever disk? FALSE with @error: not XML. */
gboolean pivot_is_behind(const Pivot *p, const char *xml, gsize len, gboolean *ret_behind, GError **error);

/* That disk, in a document of it; NULL: none has the file. */
struct _xmlNode *pivot_find_left(const Pivot *p, struct _xmlDoc *doc);

gboolean pivot_mark_set(Id vm, const char *run_folder, const Pivot *p, GError **error);
void pivot_mark_clear(Id vm, const char *run_folder);
gboolean pivot_is_marked(Id vm, const char *run_folder);
/* NULL with @error; NOT_FOUND: there is no mark. */
Pivot *pivot_mark_read(Id vm, const char *run_folder, GError **error);

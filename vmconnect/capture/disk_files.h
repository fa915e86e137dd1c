/* SPDX-License-Identifier: Apache-2.0 */
/* disk_files - the files that a disk consists of, to tell whether it is still the same disk.
 *
 * A target's name says nothing: its user may detach an image and attach another
 * under it. Nor does a bitmap of ours: each image of the VM has one of the same
 * name. What an external snapshot, a commit and a block copy have in common is that
 * each goes on from a file that was part of the disk before. */
#pragma once

#include "vmconnect/image/file_id.h"

#include <glib.h>

typedef struct {
    char *target;
    GArray *ids;   /* of FileId: the image, what is behind it, and the target of a copy or commit that runs */
    guint n_chain; /* how many of them are the disk now */
} DiskFiles;

void disk_files_free(DiskFiles *files);
DiskFiles *disk_files_copy(const DiskFiles *files);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DiskFiles, disk_files_free)

/* Of @targets, as @domain_xml names them (a stopped VM's may name images alone); of DiskFiles *, with free
 * function. A disk of which that cannot be told is left out: its image is no regular file, or not there. */
GPtrArray *disk_files_read(const char *domain_xml, const char *const *targets, guint n);

/* The one of @target in @list (of DiskFiles *), or NULL. */
const DiskFiles *disk_files_find(const GPtrArray *list, const char *target);

/* May what was @before have become @now by snapshots, commits and copies alone? */
gboolean disk_files_continue(const DiskFiles *before, const DiskFiles *now);

/* One line for a list of DiskFiles *; the caller frees. Reading gives NULL for what is not exactly that. */
char *disk_files_to_text(const GPtrArray *list);
GPtrArray *disk_files_from_text(const char *text);

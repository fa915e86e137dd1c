/* SPDX-License-Identifier: Apache-2.0 */
/* backup_xml - what libvirt is asked for and answers about backups and checkpoints, as XML.
 *
 * Pure. Formats: https://libvirt.org/formatbackup.html, formatcheckpoint.html.
 * A checkpoint and its bitmaps have one name, `understudy-UUID`; what is named
 * otherwise is not ours. */
#pragma once

#include "vmconnect/base/id.h"

#include <glib.h>

#define CHECKPOINT_PREFIX "understudy-"
#define CHECKPOINT_NAME_LEN (sizeof(CHECKPOINT_PREFIX) - 1 + ID_TEXT_LEN)

/* The name of checkpoint @id, into @buf, which is returned. */
char *checkpoint_name(Id id, char buf[static CHECKPOINT_NAME_LEN + 1]);
#define CHECKPOINT_NAME(id) checkpoint_name((id), (char[CHECKPOINT_NAME_LEN + 1]){0})

/* FALSE if @name is not one of ours. */
gboolean checkpoint_name_parse(const char *name, Id *ret_id);

typedef struct {
    const char *target;
    const char *scratch; /* absolute path of an empty qcow2 image */
    Id since;            /* nil: the whole disk */
} BackupXmlDisk;

/* <domainbackup mode='pull'> on the unix socket @socket_path. The export of a
 * disk is its target, its bitmap BACKUP_BITMAP_PREFIX and the target. The caller frees. */
char *backup_xml(const char *socket_path, const BackupXmlDisk *disks, guint n);
#define BACKUP_BITMAP_PREFIX "backup-"

/* <domaincheckpoint> over @targets, with @description (one line, NULL: none). The caller frees. */
char *checkpoint_xml(Id id, const char *description, const char *const *targets, guint n);

/* The same for re-announcing one whose bitmaps are in the images: needs its
 * @parent (libvirt's newest checkpoint, NULL: none), seconds since 1970 of its
 * creation, and the domain's definition as libvirt printed it. */
char *checkpoint_redefine_xml(Id id, const char *description, const char *parent, gint64 created_s,
                              const char *const *targets, guint n, const char *domain_xml);

/* What libvirt prints of a checkpoint with its sizes. */
typedef struct {
    char *target;
    gboolean tracked;   /* has a bitmap in this checkpoint */
    guint64 size_bytes; /* changed since, G_MAXUINT64: not said */
} CheckpointDisk;

/* Of CheckpointDisk *. NULL with @error USAGE: not a checkpoint. */
GPtrArray *checkpoint_xml_disks(const char *xml, GError **error);

/* Its description; NULL: none. The caller frees. */
char *checkpoint_xml_description(const char *xml);

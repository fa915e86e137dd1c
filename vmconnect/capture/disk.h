/* SPDX-License-Identifier: Apache-2.0 */
/* disk - one disk of a VM's definition, and whether it can be replicated.
 *
 * Pure: domain XML in, facts and a verdict out; what only the image's header
 * knows (compat level, data file, internal snapshots) is filled in by whoever
 * has read it, before the verdict is asked for. */
#pragma once

#include <glib.h>

typedef enum {
    DISK_REPLICATED, /* every generation holds it */
    DISK_LEFT_OUT,   /* holds nothing of the guest's own: CD-ROM, floppy, read-only */
    DISK_REFUSED,    /* holds data and cannot be followed: the VM is not protected */
} DiskVerdict;

typedef struct {
    char *target;       /* vda */
    char *device;       /* disk, cdrom, floppy, lun */
    char *type;         /* file, block, network, volume, … */
    char *source;       /* path; NULL: no medium, or not a local file */
    char *format;       /* the driver's: qcow2, raw; "raw" where the XML says nothing */
    char *error_policy; /* NULL: QEMU's default */
    GStrv backing;      /* paths behind the source, nearest first, as far as the definition says */
    gboolean readonly;
    gboolean shareable;
    gboolean transient;
    gboolean encrypted;
    guint64 size_bytes; /* virtual size; 0 until capture_look() has asked */

    /* From the header of a qcow2 image; known is FALSE until it was read. */
    struct {
        gboolean known;
        gboolean compat_0_10;
        gboolean encrypted;
        gboolean data_file;
        guint snapshots; /* internal ones */
    } header;
} Disk;

void disk_free(Disk *disk);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Disk, disk_free)

/* The disks of a domain XML in its order (of Disk *), or NULL with @error
 * USAGE when it is not a domain's. */
GPtrArray *disks_of_domain(const char *domain_xml, GError **error);

/* The verdict, and in @ret_why a whole sentence for the operator (cause,
 * consequence, remedy; the caller frees) unless it is REPLICATED without remark.
 * A replicated disk can have a remark, too: an error policy that would let
 * scratch errors reach the guest, internal snapshots that could not be reverted. */
DiskVerdict disk_verdict(const Disk *disk, const char *vm_name, char **ret_why);

/* What is wrong with the set: no disk that can be replicated, or two targets
 * on one image. NULL: nothing; else a sentence that the caller frees. */
char *disks_problem(const GPtrArray *disks, const char *vm_name);

/* SPDX-License-Identifier: Apache-2.0 */
/* capture_internal - what the files of this folder know of a Capture. */
#pragma once

#include "vmconnect/capture/capture.h"
#include "vmconnect/capture/disk_files.h"
#include "vmconnect/capture/gather.h"

/* qemu-img on a file system that hangs is given up after this. */
#define CAPTURE_IMAGE_MS 10000
/* A job of ours that does not go away after this is the rescuer's, one without data is lost. */
#define CAPTURE_JOB_END_MS 5000

struct Capture {
    virConnectPtr conn;
    virDomainPtr domain;
    Id vm;
    CaptureSettings settings; /* strings are ours */
    gboolean freeze;
    Gather *gather;

    /* Of the newest look. */
    CaptureState state;
    gboolean executing; /* not even paused */
    char *definition;
    char *live; /* the running VM's XML; the definition when it is off */
    Definition *parsed;
    GPtrArray *disks; /* borrowed from parsed */
    GPtrArray *files; /* of DiskFiles * */
    char *remark;

    GPtrArray *writes; /* of CaptureWrite * */
};

GPtrArray *capture_writes_new(void);

/* What libvirt says now; does not change what was looked at. @ret_executing may be NULL. */
gboolean capture_state_now(Capture *c, CaptureState *ret_state, gboolean *ret_executing, GError **error);

/* The files of the disks of the newest look as they are now (of DiskFiles *); the caller unrefs. */
GPtrArray *capture_files_now(Capture *c, GError **error);

/* No job is on the VM, so that the next call does not wait for one. A leftover
 * of ours is ended; BUSY names another's; STUCK. */
gboolean capture_expect_no_job(Capture *c, GError **error);

/* The same of other tools' jobs alone: ours is left as it is. Before whatever makes libvirt ask QEMU for its
 * block nodes, see disk_size.h. */
gboolean capture_expect_no_foreign_job(Capture *c, GError **error);

/* Set @error from libvirt's last error, with our two codes where they fit; always FALSE. */
gboolean capture_error(GError **error, const char *what);

/* Targets of the replicated disks; borrowed strings, the caller g_free()s the array. */
const char **capture_targets(const Capture *c);

/* Files of a job are called by VM and job: FOLDER/VM-JOB-REST. The caller frees. */
char *capture_job_file(const Capture *c, const char *folder, const char *job, const char *rest);
void capture_remove_leftovers(const Capture *c);

/* Those of @layers (of ChainLayer *, borrowed) that hold @bitmap, topmost first: an external snapshot continues a bitmap
 * in the new image, so what changed is the union. TRACKING_LOST unless the top
 * has it and each is whole. */
GPtrArray *capture_bitmap_layers(const Capture *c, const GPtrArray *layers, const char *bitmap,
                                 GError **error);

/* Off: the bitmaps of @id are whole in the images of each of @targets; TRACKING_LOST if not. */
gboolean capture_check_bitmaps(Capture *c, Id id, const char *const *targets, guint n, GError **error);

/* Off: put bitmap @id into the top image of each replicated disk. BUSY: somebody has one open.
 * Some may have it after an error. */
gboolean capture_add_bitmaps(Capture *c, Id id, GError **error);

/* Off: take those of ours whose names begin with @prefix out of every image. */
gboolean capture_remove_bitmaps(Capture *c, const char *prefix, GError **error);

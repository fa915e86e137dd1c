/* SPDX-License-Identifier: Apache-2.0 */
/* qcow2 - facts of one image file, and small repairs, by qemu-img.
 *
 * Blocking, for worker threads. The image is always named with its driver, so
 * nothing is probed; only this file is opened, never what its header names.
 * Reading takes no lock (others may have it open, a running VM too). */
#pragma once

#include "vmconnect/base/json.h"
#include "vmconnect/image/signature.h"

#include <glib.h>

typedef struct {
    char *name;
    guint64 granularity_bytes;
    gboolean enabled; /* qcow2's "auto": records by itself when the image is opened */
    gboolean in_use;  /* was not closed cleanly: worthless */
} Qcow2Bitmap;

typedef struct {
    char *format; /* as asked for */
    guint64 size_bytes;
    guint64 file_bytes;    /* allocated on the file system */
    guint64 cluster_bytes; /* 0 for raw */
    char *compat;          /* "0.10" (no bitmaps possible) or "1.1"; NULL for raw */
    char *backing;         /* as the header says, NULL: none */
    char *backing_format;
    char *data_file; /* external data file, NULL: none */
    gboolean encrypted;
    gboolean dirty;       /* not closed cleanly (lazy refcounts) */
    gboolean corrupt;     /* marked corrupt by QEMU */
    GPtrArray *bitmaps;   /* of Qcow2Bitmap * */
    GPtrArray *snapshots; /* of char *: names of internal snapshots */
} Qcow2Facts;

void qcow2_facts_free(Qcow2Facts *facts);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Qcow2Facts, qcow2_facts_free)

const Qcow2Bitmap *qcow2_facts_bitmap(const Qcow2Facts *facts, const char *name);

/* @format "qcow2" or "raw". NULL with @error NOT_FOUND, CORRUPT (not an image of that
 * format), TIMEOUT (hung file system), CANCELLED, FAILED, UNSUPPORTED (name is not UTF-8). */
Qcow2Facts *qcow2_read(const char *path, const char *format, int timeout_ms, int cancel_fd, GError **error);

/* From the output of `qemu-img info --output=json`; split off so that it can be tested. */
Qcow2Facts *qcow2_facts_from_json(const char *text, gsize len, GError **error);

/* A new empty image of 64 KiB clusters, readable by us alone, over @backing_name (NULL: none), whose
 * format is qcow2 and which is not opened. Not durable yet. NO_SPACE, TIMEOUT, CANCELLED, FAILED. */
gboolean qcow2_create(const char *path, guint64 size_bytes, const char *backing_name, int timeout_ms,
                      int cancel_fd, GError **error);

/* Write @backing_name (NULL: none) with format qcow2 into the header; data is not touched and
 * the name is not opened. Durable when it returns. */
gboolean qcow2_set_backing(const char *path, const char *backing_name, int timeout_ms, GError **error);

/* Add an enabled persistent bitmap of 64 KiB granularity, or remove one, under the image's lock. BUSY: somebody has
 * it open. *@ret_write is all zeros if nothing was begun, and tells what was done whatever went wrong then. */
gboolean qcow2_add_bitmap(const char *path, const char *name, int timeout_ms, OwnWrite *ret_write,
                          GError **error);
gboolean qcow2_remove_bitmap(const char *path, const char *name, int timeout_ms, OwnWrite *ret_write,
                             GError **error);

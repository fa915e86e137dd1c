/* SPDX-License-Identifier: Apache-2.0 */
/* cut_internal - a cut, and its two kinds: cut_live.c and cut_offline.c. */
#pragma once

#include "vmconnect/capture/capture_internal.h"
#include "vmconnect/capture/cut.h"
#include "vmconnect/image/daemon_reader.h"
#include "vmconnect/image/signature.h"

#define CUT_CONNECT_MS 10000
#define CUT_STATUS_MS 30000

/* Where a part of the dirty list is read: the export, and the bitmap it offers. */
typedef struct {
    char *export_name;
    char *bitmap;
} CutBitmap;

/* An image of a VM that is off, as it was when we opened it. */
typedef struct {
    char *path;
    Signature signature;
} CutImage;

typedef struct {
    CutDisk told; /* what cut_disk() shows; target is ours */
    Id since;
    guint64 since_size_bytes;
    gboolean zeros_changed;
    char *scratch;      /* of a job; NULL offline */
    GPtrArray *bitmaps; /* of CutBitmap *; empty for a whole disk */
    NbdDisk *reader;
    NbdDisk *allocation; /* NULL until it is asked for the first time */
} CutSource;

struct Cut {
    Capture *capture;
    gint64 asked_at_ms;
    gint64 asked_at_wall_ms;
    gboolean frozen;
    GPtrArray *sources; /* of CutSource * */
    char *socket;       /* where all exports are */

    /* Of a running VM. */
    gboolean job; /* one was asked for: it may be there, whatever libvirt answered */
    guint64 scratch_bytes;

    /* Of a VM that is off. */
    DaemonReader *daemon;
    GPtrArray *images; /* of CutImage * */
};

void cut_add_bitmap(CutSource *source, const char *export_name, const char *bitmap);

/* Say that somebody has ended the job. Always FALSE. */
gboolean cut_fail_ended(const Cut *cut, GError **error);

gboolean cut_live_begin(Cut *cut, Id checkpoint, GError **error);
gboolean cut_live_end(Cut *cut, GError **error);
/* Nobody may have them open: no job was begun, or it has ended. */
void cut_live_remove_scratch(const Cut *cut);
gboolean cut_live_still_valid(Cut *cut, GError **error);

gboolean cut_offline_begin(Cut *cut, Id checkpoint, GError **error);
void cut_offline_end(Cut *cut);
gboolean cut_offline_still_valid(Cut *cut, GError **error);

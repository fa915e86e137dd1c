/* SPDX-License-Identifier: Apache-2.0 */
/* signature - how a file looked when we last knew what was in it.
 *
 * Device, inode, size, mtime and ctime (ns). A difference means that somebody
 * else may have written: doubt, never proof of either. One is read only when the tick of the
 * kernel's clock in which the file was written to is over, some milliseconds: a second write within it
 * would not show. (Nor does it where a file system keeps times no finer than a second.) */
#pragma once

#include <glib.h>

typedef struct {
    guint64 device;
    guint64 inode;
    guint64 size_bytes;
    gint64 mtime_ns;
    gint64 ctime_ns;
} Signature;

/* What we ourselves did to a file, under its lock: nobody else did anything in between. */
typedef struct {
    Signature before;
    Signature after;
} OwnWrite;

gboolean signature_read(const char *path, Signature *ret_signature, GError **error);
/* Of an open file. */
gboolean signature_read_open(int fd, Signature *ret_signature, GError **error);
gboolean signature_equal(const Signature *a, const Signature *b);

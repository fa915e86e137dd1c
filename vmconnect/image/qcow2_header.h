/* SPDX-License-Identifier: Apache-2.0 */
/* qcow2_header - the head of a qcow2 image of unknown origin, read without QEMU.
 *
 * QEMU, and qemu-img too, opens the data file that an image names, whatever that is, before it can be asked
 * anything: an image that a stranger may have made is looked at here first.
 * Source: QEMU, docs/interop/qcow2.txt ("Header"). */
#pragma once

#include <glib.h>

#define QCOW2_HEADER_LEN 80 /* bytes that are looked at; an image has more */

typedef struct {
    guint64 size_bytes;
    gboolean has_backing;   /* it names another image behind it */
    gboolean has_data_file; /* it names another file in which its data lies */
    gboolean encrypted;
    gboolean corrupt; /* marked so by QEMU */
} Qcow2Header;

/* From the first @len bytes of a file. FALSE with @error CORRUPT: that is no qcow2 image. */
gboolean qcow2_header_decode(const guint8 *data, gsize len, Qcow2Header *ret_header, GError **error);

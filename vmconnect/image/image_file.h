/* SPDX-License-Identifier: Apache-2.0 */
/* image_file - how QEMU is told which file to open: by options, never by a file name
 * alone, which QEMU would search for protocols, formats and JSON. */
#pragma once

#include "vmconnect/base/json.h"

#include <glib.h>

/* Options of QEMU's file (or host_device) driver for @path; NULL if the name is not UTF-8. */
json_t *image_file_options(const char *path);

typedef enum {
    IMAGE_FILE_SHARED, /* read-only, and whoever else has it open does not matter */
    IMAGE_FILE_LOCKED, /* to be written to by a child that has its lock (image_lock.h) */
} ImageFileAccess;

/* The same, with a format on top and nothing behind, as one argument of qemu-img
 * ("json:{…}"), which takes no lock. NULL with @error UNSUPPORTED if the name is not UTF-8. The caller frees. */
char *image_file_argument(const char *path, const char *format, ImageFileAccess access, GError **error);

/* SPDX-License-Identifier: Apache-2.0 */
/* signed_image - an image file that others may write to, and how it looked when we last knew what was in it.
 *
 * Which file it is (file_id.h) and its signature, but for the device, whose number may be another after a boot. As
 * long as both are the same nobody has written to it, or put another file in its place. */
#pragma once

#include "vmconnect/image/file_id.h"
#include "vmconnect/image/signature.h"

#include <glib.h>
#include <jansson.h>

typedef struct {
    char *path;   /* absolute */
    char *format; /* "qcow2" or "raw" */
    FileId file;
    Signature signature;
} SignedImage;

/* As it is now; NULL with @error IO or NOT_FOUND, UNSUPPORTED for what is no regular file: time stamps of others say
 * nothing about writes. */
SignedImage *signed_image_read(const char *path, const char *format, GError **error);
SignedImage *signed_image_copy(const SignedImage *image);
void signed_image_free(SignedImage *image);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(SignedImage, signed_image_free)

/* Is it still so? CORRUPT with the reason, IO, NOT_FOUND. */
gboolean signed_image_check(const SignedImage *image, GError **error);
/* The same, but its owner, mode and names may have changed, and with them its ctime: for what has been ours since. */
gboolean signed_image_check_data(const SignedImage *image, GError **error);

/* {"path", "format", "file", "length_bytes", "mtime_ns", "ctime_ns"}. Reading refuses (USAGE) all else. */
json_t *signed_image_to_json(const SignedImage *image);
SignedImage *signed_image_from_json(const json_t *doc, GError **error);

/* SPDX-License-Identifier: Apache-2.0 */
/* image_lock - the lock that a QEMU which writes to an image has on it, taken by ourselves.
 *
 * While it is held no QEMU and no qemu-img opens the image but with shared access for reading, and a child
 * that is told to do without locks writes on our behalf: what the file's signature says before and after
 * that is all there was. Source: QEMU, docs/devel/multi-process.rst and block/file-posix.c (raw_apply_lock_bytes()). */
#pragma once

#include <glib.h>

/* A descriptor whose close() lets go. -1 with @error: BUSY if somebody has the image open, NOT_FOUND, FAILED. */
int image_lock_hold(const char *path, GError **error);

/* SPDX-License-Identifier: Apache-2.0 */
/* image_lock - the lock that a QEMU which writes to an image has on it, taken by ourselves.
 *
 * While it is held no QEMU and no qemu-img opens the image but with shared access for reading, and a child
 * that is told to do without locks writes on our behalf: what the file's signature says before and after
 * that is all there was. The child is given the descriptor, so that the lock lives as long as it does.
 * Source: QEMU, docs/system/qemu-block-drivers.rst.inc ("Disk image file locking") and block/file-posix.c (raw_apply_lock_bytes()). */
#pragma once

#include <glib.h>

/* What a child calls the image, whose lock it has as ProcessSpec.pass_fd. */
#define IMAGE_LOCK_PATH "/proc/self/fd/3"

/* A descriptor, of which the last close() lets go; on a file system that has no locks it is just open, as QEMU
 * has it there. -1 with @error: BUSY if another program writes to it or keeps writers out, NOT_FOUND, FAILED. */
int image_lock_hold(const char *path, GError **error);

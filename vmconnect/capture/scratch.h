/* SPDX-License-Identifier: Apache-2.0 */
/* scratch - the image in which QEMU keeps what the guest overwrites while a job reads.
 *
 * Made by us before the job is asked for: left to libvirt, QEMU creates it inside the call
 * that begins the job, which takes a sixth longer for it. It is a copy of a blank image of the
 * same size, which qemu-img makes once. */
#pragma once

#include <glib.h>

/* A new empty image for a disk of @size_bytes, given to the owner of its folder, who is the user of
 * QEMU. The blank one is kept in @blank_dir. NO_SPACE, DENIED, NOT_FOUND (no such folder, no
 * qemu-img), IO (also: there is such a file); nothing is left of it then. @cancel_fd readable
 * ends the wait for qemu-img with CANCELLED; -1: none. */
gboolean scratch_make(const char *path, guint64 size_bytes, const char *blank_dir, int cancel_fd,
                      GError **error);

/* SPDX-License-Identifier: Apache-2.0 */
/* place - which file on which machine this is, so that what is written of it can tell a copy from itself.
 *
 * A backup that was put back is another file; a cloned machine has, or should have, another id. What puts a whole disk back, with its
 * file system, is not noticed by this. */
#pragma once

#include <glib.h>

/* Machine, inode number, and time of birth where the file system keeps that: the same as long as the file lives, and through a
 * rename. @path as of openat(2), or "": @fd itself. The caller frees; NULL with @error: IO. */
char *place_of(int fd, const char *path, GError **error);

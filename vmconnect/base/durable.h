/* SPDX-License-Identifier: Apache-2.0 */
/* durable - files that are there after the power fails.
 *
 * "Durable" here means: the data and the directory entry were both fsynced and
 * the kernel said yes. A failed fsync never gets a second try (the kernel may
 * have dropped the dirty pages and would then say yes about nothing): the
 * error is returned, and the caller must treat the file as lost. */
#pragma once

#include <glib.h>

/* Replace @path by a file with exactly these bytes, all or nothing: written
 * beside it, fsynced, renamed, directory fsynced. @mode as open(2). After an
 * error the old file is still there (a leftover PATH.new may be, too). */
gboolean durable_replace(const char *path, const void *data, gsize len, guint mode, GError **error);

/* Its two halves, for a file that says of itself which one it is (place.h): what will be @path, empty, -1 with @error; then its
 * bytes. The second closes @fd in any case. */
int durable_replace_begin(const char *path, guint mode, GError **error);
gboolean durable_replace_end(const char *path, int fd, const void *data, gsize len, GError **error);

/* The two halves of durable_append(), for who must tell which one failed: what was only
 * half written can be cut off, what was not synced can never be relied on. */
gboolean durable_write(int fd, const void *data, gsize len, GError **error);
gboolean durable_sync(int fd, GError **error);

/* Write all of @data at the end of @fd and fdatasync it. */
gboolean durable_append(int fd, const void *data, gsize len, GError **error);

/* fsync a directory: a created, renamed or removed entry is durable only then. */
gboolean durable_sync_dir(const char *path, GError **error);

/* fsync a file that somebody else wrote. */
gboolean durable_sync_file(const char *path, GError **error);

/* Let the kernel begin to write what of a file is only in memory, so that a later
 * fsync finds less to do. Promises nothing, and a failure shows there. */
void durable_start(const char *path);

/* The same for a part of it, and wait for the disk. *@ret_end: nothing of the file is behind that part. It is not
 * durable yet, but a failure counts as that of an fsync. */
gboolean durable_write_out(const char *path, guint64 offset, guint64 len, gboolean *ret_end, GError **error);

/* A file that does nothing but take this room, until it is unlinked because it is needed. It may be gone after a crash:
 * it only helps. */
gboolean durable_set_aside(const char *path, guint64 bytes, GError **error);

/* The whole of a small file. NOT_FOUND: there is none; IO. */
gboolean durable_read(const char *path, char **ret_data, gsize *ret_len, GError **error);

/* Remove @path and make that durable; a file that is not there is no error. */
gboolean durable_remove(const char *path, GError **error);

/* Create @path and its parents as needed with @mode and make that durable. */
gboolean durable_mkdir(const char *path, guint mode, GError **error);

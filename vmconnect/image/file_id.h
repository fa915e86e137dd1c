/* SPDX-License-Identifier: Apache-2.0 */
/* file_id - which file this is, whatever it is called and whatever was written to it.
 *
 * Inode and time of birth. Not the device: its number may be another after a
 * boot. A block device is told by what the kernel says of it for ever (a volume's UUID, a disk's WWID), or,
 * where it says nothing, by its number and name: then it may look like another one after a boot,
 * never the other way round. Says nothing about what is in the file: that is signature.h's. */
#pragma once

#include <glib.h>

#define FILE_ID_TEXT_LEN 33

typedef struct {
    guint64 inode;
    gint64 born_ns; /* 0: the file system does not know */
} FileId;

/* FALSE if there is neither a regular file nor a block device. */
gboolean file_id_read(const char *path, FileId *ret_id);
gboolean file_id_equal(FileId a, FileId b);

/* "INODE:BORN" in hexadecimal, into @buf, which is returned. */
char *file_id_format(FileId id, char buf[static FILE_ID_TEXT_LEN + 1]);
gboolean file_id_parse(const char *text, FileId *ret_id);

/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/image/file_id.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

gboolean file_id_read(const char *path, FileId *ret_id)
{
    struct statx st;

    if (statx(AT_FDCWD, path, 0, STATX_TYPE | STATX_INO | STATX_BTIME, &st) != 0 || !S_ISREG(st.stx_mode))
        return FALSE;
    *ret_id = (FileId){.inode = st.stx_ino};
    if (st.stx_mask & STATX_BTIME)
        ret_id->born_ns = (gint64)st.stx_btime.tv_sec * 1000000000 + st.stx_btime.tv_nsec;
    return TRUE;
}

gboolean file_id_equal(FileId a, FileId b)
{
    return a.inode == b.inode && a.born_ns == b.born_ns;
}

char *file_id_format(FileId id, char buf[static FILE_ID_TEXT_LEN + 1])
{
    g_snprintf(buf, FILE_ID_TEXT_LEN + 1, "%" G_GINT64_MODIFIER "x:%" G_GINT64_MODIFIER "x", id.inode,
               (guint64)id.born_ns);
    return buf;
}

gboolean file_id_parse(const char *text, FileId *ret_id)
{
    g_auto(GStrv) parts = g_strsplit(text, ":", 2);
    guint64 inode, born;

    if (g_strv_length(parts) != 2 ||
        !g_ascii_string_to_unsigned(parts[0], 16, 0, G_MAXUINT64, &inode, NULL) ||
        !g_ascii_string_to_unsigned(parts[1], 16, 0, G_MAXUINT64, &born, NULL))
        return FALSE;
    *ret_id = (FileId){inode, (gint64)born};
    return TRUE;
}

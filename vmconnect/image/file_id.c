/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/image/file_id.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

/* What no file system gives as a time of birth. */
#define BORN_BLOCK G_MININT64

static char *lasting_name(guint major, guint minor)
{
    static const char *const NAMES[] = {"dm/uuid", "wwid", "device/wwid", "loop/backing_file"};

    for (guint i = 0; i < G_N_ELEMENTS(NAMES); i++) {
        g_autofree char *path = g_strdup_printf("/sys/dev/block/%u:%u/%s", major, minor, NAMES[i]);
        char *name = NULL;

        if (g_file_get_contents(path, &name, NULL, NULL) && *g_strstrip(name))
            return name;
        g_free(name);
    }
    return NULL;
}

static FileId block_id(const char *path, const struct statx *st)
{
    g_autofree char *name = lasting_name(st->stx_rdev_major, st->stx_rdev_minor);
    g_autofree char *text = name ? g_steal_pointer(&name)
                                 : g_strdup_printf("%u:%u %s", st->stx_rdev_major, st->stx_rdev_minor, path);
    g_autofree char *sum = g_compute_checksum_for_string(G_CHECKSUM_SHA256, text, -1);
    guint64 inode = 0;

    sum[16] = '\0';
    g_ascii_string_to_unsigned(sum, 16, 0, G_MAXUINT64, &inode, NULL);
    return (FileId){inode, BORN_BLOCK};
}

gboolean file_id_read(const char *path, FileId *ret_id)
{
    struct statx st;

    if (statx(AT_FDCWD, path, 0, STATX_TYPE | STATX_INO | STATX_BTIME, &st) != 0)
        return FALSE;
    if (S_ISBLK(st.stx_mode)) {
        *ret_id = block_id(path, &st);
        return TRUE;
    }
    if (!S_ISREG(st.stx_mode))
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

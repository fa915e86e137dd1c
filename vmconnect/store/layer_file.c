/* SPDX-License-Identifier: Apache-2.0 */
/* The header is that of docs/interop/qcow2.txt in QEMU's tree: big-endian, version 3. */
#include "vmconnect/store/layer_file.h"

#include "vmconnect/base/error.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define HEADER_LEN 104
#define MAGIC 0x514649fbu
#define MAX_NAME 1023

/* Bit 0, dirty, is set for lazy refcounts only, which we never use; bit 1 is "corrupt". */
#define INCOMPATIBLE_CORRUPT 2u

static const char SUFFIX[] = ".qcow2";

char *layer_file_name(Id id, const char *target)
{
    return g_strdup_printf("%s.%s%s", ID_TEXT(id), target, SUFFIX);
}

char *layer_file_path(const char *dir, Id id, const char *target)
{
    g_autofree char *name = layer_file_name(id, target);

    return g_build_filename(dir, name, NULL);
}

gboolean layer_file_is_name(const char *file_name, Id *ret_id)
{
    g_autofree char *id_text = g_strndup(file_name, ID_TEXT_LEN);
    Id id;

    return id_parse(id_text, ret_id ? ret_id : &id, NULL) && file_name[ID_TEXT_LEN] == '.' &&
           g_str_has_suffix(file_name + ID_TEXT_LEN + 1, SUFFIX);
}

void layer_facts_clear(LayerFacts *facts)
{
    g_clear_pointer(&facts->backing, g_free);
}

static guint32 read_u32(const guint8 *p)
{
    guint32 v;

    memcpy(&v, p, sizeof(v));
    return GUINT32_FROM_BE(v);
}

static guint64 read_u64(const guint8 *p)
{
    guint64 v;

    memcpy(&v, p, sizeof(v));
    return GUINT64_FROM_BE(v);
}

static gboolean corrupt(GError **error, const char *what)
{
    g_set_error(error, US_ERROR, US_ERROR_CORRUPT, "%s", what);
    return FALSE;
}

static gboolean read_backing(int fd, const guint8 *header, char **ret_backing, GError **error)
{
    guint64 offset = read_u64(header + 8);
    guint32 len = read_u32(header + 16);
    g_autofree char *name = NULL;

    if (offset == 0) {
        *ret_backing = NULL;
        return TRUE;
    }
    if (len > MAX_NAME || offset > G_MAXINT32)
        return corrupt(error, "its header is damaged");
    name = g_malloc0(len + 1);
    if (pread(fd, name, len, (off_t)offset) != (gssize)len)
        return corrupt(error, "it is cut short");
    *ret_backing = g_steal_pointer(&name);
    return TRUE;
}

static gboolean read_header(int fd, LayerFacts *facts, GError **error)
{
    guint8 header[HEADER_LEN];
    struct stat st;

    if (fstat(fd, &st) != 0)
        return us_error_errno(error, errno, "cannot be asked for");
    if (pread(fd, header, sizeof(header), 0) != (gssize)sizeof(header))
        return corrupt(error, "it is cut short");
    if (read_u32(header) != MAGIC || read_u32(header + 4) != 3)
        return corrupt(error, "it is no qcow2 image of version 3");
    if (read_u64(header + 72) & INCOMPATIBLE_CORRUPT)
        return corrupt(error, "QEMU has marked it corrupt");
    if (read_u64(header + 72) != 0 || read_u32(header + 32) != 0)
        return corrupt(error, "it has features that its writer does not use");
    facts->size_bytes = read_u64(header + 24);
    facts->file_bytes = (guint64)st.st_size;
    return read_backing(fd, header, &facts->backing, error);
}

gboolean layer_file_read(const char *path, LayerFacts *ret_facts, GError **error)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    gboolean ok;

    if (fd < 0 && errno == ENOENT) {
        g_set_error(error, US_ERROR, US_ERROR_CORRUPT, "image %s is missing", path);
        return FALSE;
    }
    if (fd < 0)
        return us_error_errno(error, errno, "cannot open image %s", path);
    *ret_facts = (LayerFacts){0};
    ok = read_header(fd, ret_facts, error);
    close(fd);
    if (!ok)
        g_prefix_error(error, "image %s: ", path);
    return ok;
}

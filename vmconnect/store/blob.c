/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/store/blob.h"

#include "vmconnect/base/durable.h"
#include "vmconnect/base/error.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

#define DIGEST_LEN 64

static const char *const SUFFIXES[] = {
    [BLOB_EXTENTS] = ".extents", [BLOB_DEFINITION] = ".xml", [BLOB_SECRET] = ".secret"};

char *blob_file_name(BlobKind kind, const char *digest)
{
    g_assert(strlen(digest) == DIGEST_LEN);
    return g_strconcat(digest, SUFFIXES[kind], NULL);
}

gboolean blob_is_name(const char *file_name)
{
    if (strspn(file_name, "0123456789abcdef") != DIGEST_LEN)
        return FALSE;
    for (guint i = 0; i < G_N_ELEMENTS(SUFFIXES); i++)
        if (g_str_equal(file_name + DIGEST_LEN, SUFFIXES[i]))
            return TRUE;
    return FALSE;
}

static char *path_of(const char *dir, BlobKind kind, const char *digest)
{
    g_autofree char *name = blob_file_name(kind, digest);

    return g_build_filename(dir, name, NULL);
}

static gboolean write_new(const char *path, const void *data, gsize len, GError **error)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    gboolean ok;

    if (fd < 0)
        return us_error_errno(error, errno, "cannot create %s", path);
    ok = durable_append(fd, data, len, error);
    close(fd);
    if (!ok) {
        g_prefix_error(error, "%s: ", path);
        g_unlink(path);
    }
    return ok;
}

char *blob_put(const char *dir, BlobKind kind, const void *data, gsize len, GError **error)
{
    g_autofree char *digest = g_compute_checksum_for_data(G_CHECKSUM_SHA256, data, len);
    g_autofree char *path = path_of(dir, kind, digest);
    g_autoptr(GBytes) there = blob_get(dir, kind, digest, NULL);

    /* What a crash left half written is written again. */
    if (!there && !write_new(path, data, len, error))
        return NULL;
    if (there && !durable_sync_file(path, error))
        return NULL;
    return g_steal_pointer(&digest);
}

GBytes *blob_get(const char *dir, BlobKind kind, const char *digest, GError **error)
{
    g_autofree char *path = path_of(dir, kind, digest);
    g_autofree char *found = NULL;
    g_autoptr(GError) why = NULL;
    char *data;
    gsize len;

    if (!durable_read(path, &data, &len, &why)) {
        if (g_error_matches(why, US_ERROR, US_ERROR_NOT_FOUND))
            why->code = US_ERROR_CORRUPT;
        g_propagate_error(error, g_steal_pointer(&why));
        return NULL;
    }
    found = g_compute_checksum_for_data(G_CHECKSUM_SHA256, (const guchar *)data, len);
    if (!g_str_equal(found, digest)) {
        g_free(data);
        g_set_error(error, US_ERROR, US_ERROR_CORRUPT, "%s is not what was written", path);
        return NULL;
    }
    return g_bytes_new_take(data, len);
}

char *blob_put_extents(const char *dir, const Extents *extents, GError **error)
{
    g_autoptr(GBytes) bytes = extents_encode(extents);
    gsize len;
    const void *data = g_bytes_get_data(bytes, &len);

    return blob_put(dir, BLOB_EXTENTS, data, len, error);
}

Extents *blob_get_extents(const char *dir, const char *digest, GError **error)
{
    g_autoptr(GBytes) bytes = blob_get(dir, BLOB_EXTENTS, digest, error);
    Extents *extents;
    gsize len;
    const void *data;

    if (!bytes)
        return NULL;
    data = g_bytes_get_data(bytes, &len);
    extents = extents_decode(data, len, error);
    if (!extents)
        g_prefix_error(error, "%s.extents: ", digest);
    return extents;
}

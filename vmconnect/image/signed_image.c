/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/image/signed_image.h"

#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"

SignedImage *signed_image_copy(const SignedImage *image)
{
    SignedImage *copy = g_memdup2(image, sizeof(*image));

    copy->path = g_strdup(image->path);
    copy->format = g_strdup(image->format);
    return copy;
}

void signed_image_free(SignedImage *image)
{
    if (!image)
        return;
    g_free(image->path);
    g_free(image->format);
    g_free(image);
}

SignedImage *signed_image_read(const char *path, const char *format, GError **error)
{
    SignedImage image = {.path = (char *)path, .format = (char *)format};

    if (!signature_read(path, &image.signature, error))
        return NULL;
    if (!g_file_test(path, G_FILE_TEST_IS_REGULAR) || !file_id_read(path, &image.file)) {
        g_set_error(error, US_ERROR, US_ERROR_UNSUPPORTED,
                    "%s is no regular file: nobody can tell whether it was written to", path);
        return NULL;
    }
    return signed_image_copy(&image);
}

static gboolean check(const SignedImage *image, gboolean attributes, GError **error)
{
    Signature now, then = image->signature;
    FileId file;

    if (!signature_read(image->path, &now, error))
        return FALSE;
    then.device = now.device;
    if (!attributes)
        then.ctime_ns = now.ctime_ns;
    if (file_id_read(image->path, &file) && file_id_equal(file, image->file) && signature_equal(&now, &then))
        return TRUE;
    g_set_error(error, US_ERROR, US_ERROR_CORRUPT,
                "image %s was written to, or replaced, since its VM was shut down", image->path);
    return FALSE;
}

gboolean signed_image_check(const SignedImage *image, GError **error)
{
    return check(image, TRUE, error);
}

gboolean signed_image_check_data(const SignedImage *image, GError **error)
{
    return check(image, FALSE, error);
}

json_t *signed_image_to_json(const SignedImage *image)
{
    const Signature *s = &image->signature;

    return json_pack("{s:s, s:s, s:s, s:I, s:I, s:I}", "path", image->path, "format", image->format, "file",
                     file_id_format(image->file, (char[FILE_ID_TEXT_LEN + 1]){0}), "length_bytes",
                     (json_int_t)s->size_bytes, "mtime_ns", (json_int_t)s->mtime_ns, "ctime_ns",
                     (json_int_t)s->ctime_ns);
}

SignedImage *signed_image_from_json(const json_t *doc, GError **error)
{
    const char *path, *format, *file;
    json_int_t length, mtime_ns, ctime_ns;
    SignedImage image = {0};

    if (!json_read(doc, "image", error, "{s:s, s:s, s:s, s:I, s:I, s:I}", "path", &path, "format", &format,
                   "file", &file, "length_bytes", &length, "mtime_ns", &mtime_ns, "ctime_ns", &ctime_ns))
        return NULL;
    if (!g_path_is_absolute(path) || !(g_str_equal(format, "qcow2") || g_str_equal(format, "raw")) ||
        length < 0 || !file_id_parse(file, &image.file)) {
        g_set_error(error, US_ERROR, US_ERROR_USAGE, "an image is named or signed wrongly");
        return NULL;
    }
    image.path = (char *)path;
    image.format = (char *)format;
    image.signature = (Signature){
        .inode = image.file.inode, .size_bytes = (guint64)length, .mtime_ns = mtime_ns, .ctime_ns = ctime_ns};
    return signed_image_copy(&image);
}

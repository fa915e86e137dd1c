/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/image/image_file.h"

#include "vmconnect/base/error.h"
#include "vmconnect/image/image_lock.h"

#include <sys/stat.h>

json_t *image_file_options(const char *path)
{
    struct stat st;
    gboolean device = stat(path, &st) == 0 && S_ISBLK(st.st_mode);

    /* Nothing is said about writing or sharing: the file inherits both from the image above it, and
     * follows when QEMU reopens that one (read-only under a snapshot, writable as the base of a merge). */
    return json_pack("{s:s, s:s, s:s}", "driver", device ? "host_device" : "file", "filename", path,
                     "discard", "unmap");
}

char *image_file_argument(const char *path, const char *format, ImageFileAccess access, GError **error)
{
    gboolean share = access == IMAGE_FILE_SHARED;
    json_auto_t *doc = json_pack("{s:s, s:b, s:b, s:o}", "driver", format, "read-only", share, "force-share",
                                 share, "file", image_file_options(path));
    g_autofree char *text = NULL;

    if (!doc) {
        g_set_error(error, US_ERROR, US_ERROR_UNSUPPORTED, "image %s: QEMU takes only file names in UTF-8",
                    path);
        return NULL;
    }
    if (!share) {
        json_object_set_new(json_object_get(doc, "file"), "locking", json_string("off"));
        json_object_set_new(json_object_get(doc, "file"), "filename", json_string(IMAGE_LOCK_PATH));
    }
    if (g_str_equal(format, "qcow2"))
        json_object_set_new(doc, "backing", json_null());
    text = json_text(doc);
    return g_strconcat("json:", text, NULL);
}

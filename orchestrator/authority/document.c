/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/authority/document.h"

#include "vmconnect/base/durable.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#define MAX_BYTES (1024 * 1024)

gboolean document_check_mode(const char *path, GError **error)
{
    struct stat st;

    if (stat(path, &st) != 0)
        return us_error_errno(error, errno, "cannot look at %s", path);
    if (!(st.st_mode & 077))
        return TRUE;
    g_set_error(error, US_ERROR, US_ERROR_DENIED,
                "%s can be read by others than its owner: its secrets may be known; chmod go= it, and make "
                "new ones if "
                "anybody else has an account here",
                path);
    return FALSE;
}

static gboolean check_format(const char *path, const json_t *doc, GError **error)
{
    const json_t *format = json_object_get(doc, "format");

    if (!json_is_integer(format) || json_integer_value(format) < 1) {
        g_set_error(error, US_ERROR, US_ERROR_CORRUPT, "%s is not a file of ours: it has no format", path);
        return FALSE;
    }
    if (json_integer_value(format) > DOCUMENT_FORMAT) {
        g_set_error(error, US_ERROR, US_ERROR_REFUSED,
                    "%s has format %" JSON_INTEGER_FORMAT
                    ", this program knows %d: it was written by a newer version and is left alone",
                    path, json_integer_value(format), DOCUMENT_FORMAT);
        return FALSE;
    }
    return TRUE;
}

json_t *document_load(const char *path, GError **error)
{
    g_autofree char *text = NULL;
    json_auto_t *doc = NULL;
    gsize len;

    if (!g_file_test(path, G_FILE_TEST_EXISTS)) {
        g_set_error(error, US_ERROR, US_ERROR_NOT_FOUND, "there is no %s", path);
        return NULL;
    }
    if (!document_check_mode(path, error) || !durable_read(path, &text, &len, error))
        return NULL;
    doc = json_parse(text, len, MAX_BYTES, error);
    if (!doc) {
        g_prefix_error(error, "%s: ", path);
        if (error)
            (*error)->code = US_ERROR_CORRUPT;
        return NULL;
    }
    return check_format(path, doc, error) ? g_steal_pointer(&doc) : NULL;
}

gboolean document_save(const char *path, const json_t *doc, GError **error)
{
    g_autofree char *text = json_text(doc);

    return durable_replace(path, text, strlen(text), 0600, error);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/base/folder.h"

#include "vmconnect/base/error.h"

#include <string.h>

static gboolean is_printable(const char *text)
{
    if (!g_utf8_validate(text, -1, NULL))
        return FALSE;
    for (; *text; text++)
        if (g_ascii_iscntrl(*text))
            return FALSE;
    return TRUE;
}

gboolean folder_check(const char *what, const char *path, GError **error)
{
    g_auto(GStrv) parts = g_strsplit(path, "/", -1);

    if (path[0] == '/' && strlen(path) <= FOLDER_MAX && is_printable(path) &&
        !g_strv_contains((const char *const *)parts, ".."))
        return TRUE;
    g_set_error(error, US_ERROR, US_ERROR_USAGE,
                "%s '%.64s' is not the name of a folder: write it from / on, without '..', as "
                "/media/usb/images",
                what, path);
    return FALSE;
}

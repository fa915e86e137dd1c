/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/state/bound.h"

#include "vmconnect/base/durable.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"
#include "vmconnect/base/machine.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define FORMAT 1
#define MAX_BYTES 4096

/* A backup that was put back is another file; a cloned machine has, or should have, another id. */
static char *place_of(const char *dir, const char *file, GError **error)
{
    g_autofree char *path = g_build_filename(dir, file, NULL);
    g_autofree char *machine = machine_id();
    struct statx st;

    if (statx(AT_FDCWD, path, 0, STATX_INO | STATX_BTIME, &st) != 0) {
        us_error_errno(error, errno, "%s", path);
        return NULL;
    }
    return g_strdup_printf("%s %" G_GUINT64_FORMAT " %" G_GINT64_FORMAT ".%09u", machine, (guint64)st.stx_ino,
                           (gint64)st.stx_btime.tv_sec, st.stx_btime.tv_nsec);
}

static char *bound_path(const char *dir)
{
    return g_build_filename(dir, "bound.json", NULL);
}

static gboolean write_place(const char *dir, const char *place, GError **error)
{
    g_autofree char *path = bound_path(dir);
    json_auto_t *doc = json_pack("{s:i, s:s}", "format", FORMAT, "place", place);
    g_autofree char *text = json_text(doc);

    return durable_replace(path, text, strlen(text), 0600, error);
}

/* NULL without @error: never bound. */
static char *read_place(const char *dir, GError **error)
{
    g_autofree char *path = bound_path(dir);
    g_autofree char *text = NULL;
    g_autoptr(GError) why = NULL;
    json_auto_t *doc = NULL;
    const char *place;
    int format;
    gsize len;

    if (!g_file_get_contents(path, &text, &len, &why)) {
        if (!g_error_matches(why, G_FILE_ERROR, G_FILE_ERROR_NOENT))
            g_set_error(error, US_ERROR, US_ERROR_IO, "%s", why->message);
        return NULL;
    }
    doc = json_parse(text, len, MAX_BYTES, error);
    if (!doc || !json_read(doc, "bound.json", error, "{s:i, s:s}", "format", &format, "place", &place))
        return NULL;
    if (format != FORMAT) {
        g_set_error(error, US_ERROR, US_ERROR_UNSUPPORTED, "%s was written by another version", path);
        return NULL;
    }
    return g_strdup(place);
}

gboolean bound_check(const char *dir, const char *file, GError **error)
{
    g_autoptr(GError) why = NULL;
    g_autofree char *here = place_of(dir, file, error);
    g_autofree char *bound = here ? read_place(dir, &why) : NULL;

    if (!here)
        return FALSE;
    if (why) {
        g_propagate_error(error, g_steal_pointer(&why));
        return FALSE;
    }
    if (!bound)
        return write_place(dir, here, error);
    if (g_str_equal(bound, here))
        return TRUE;
    g_set_error(
        error, US_ERROR, US_ERROR_REFUSED,
        "%s is a copy of a controller's state, made elsewhere or put back from a backup: two controllers "
        "on one memory would contradict each other, so it is not used; if the other one is gone for good, "
        "run `understudy-controller accept-copy` as root here, and start it again",
        dir);
    return FALSE;
}

gboolean bound_accept(const char *dir, const char *file, GError **error)
{
    g_autofree char *here = place_of(dir, file, error);

    return here && write_place(dir, here, error);
}

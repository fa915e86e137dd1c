/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/state/bound.h"

#include "vmconnect/base/durable.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"
#include "vmconnect/base/place.h"

#include <fcntl.h>
#include <string.h>

#define FORMAT 1
#define MAX_BYTES 4096

static char *place_of_file(const char *dir, const char *file, GError **error)
{
    g_autofree char *path = g_build_filename(dir, file, NULL);

    return place_of(AT_FDCWD, path, error);
}

static char *bound_path(const char *dir)
{
    return g_build_filename(dir, "bound.json", NULL);
}

typedef struct {
    char *place;
    gint64 newest; /* event of the database, when it was looked at last */
} Bound;

static void bound_clear(Bound *b)
{
    g_free(b->place);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Bound, bound_clear)

static gboolean write_bound(const char *dir, const char *place, guint64 newest, GError **error)
{
    g_autofree char *path = bound_path(dir);
    json_auto_t *doc =
        json_pack("{s:i, s:s, s:I}", "format", FORMAT, "place", place, "newest", (json_int_t)newest);
    g_autofree char *text = json_text(doc);

    return durable_replace(path, text, strlen(text), 0600, error);
}

/* @ret_bound's place is NULL: never bound. */
static gboolean read_bound(const char *dir, Bound *ret_bound, GError **error)
{
    g_autofree char *path = bound_path(dir);
    g_autofree char *text = NULL;
    g_autoptr(GError) why = NULL;
    json_auto_t *doc = NULL;
    json_int_t newest = 0;
    const char *place;
    int format;
    gsize len;

    *ret_bound = (Bound){0};
    if (!g_file_get_contents(path, &text, &len, &why)) {
        if (g_error_matches(why, G_FILE_ERROR, G_FILE_ERROR_NOENT))
            return TRUE;
        g_set_error(error, US_ERROR, US_ERROR_IO, "%s", why->message);
        return FALSE;
    }
    doc = json_parse(text, len, MAX_BYTES, error);
    if (!doc || !json_read(doc, "bound.json", error, "{s:i, s:s, s?I}", "format", &format, "place", &place,
                           "newest", &newest))
        return FALSE;
    if (format != FORMAT) {
        g_set_error(error, US_ERROR, US_ERROR_UNSUPPORTED, "%s was written by another version", path);
        return FALSE;
    }
    *ret_bound = (Bound){g_strdup(place), newest};
    return TRUE;
}

gboolean bound_check(const char *dir, const char *file, guint64 newest, GError **error)
{
    g_autofree char *here = place_of_file(dir, file, error);
    g_auto(Bound) bound = {0};

    if (!here || !read_bound(dir, &bound, error))
        return FALSE;
    if (!bound.place || (g_str_equal(bound.place, here) && newest >= (guint64)MAX(bound.newest, 0)))
        return write_bound(dir, here, newest, error);
    g_set_error(
        error, US_ERROR, US_ERROR_REFUSED,
        "%s is a copy of a controller's state, made elsewhere or put back from a backup: two controllers "
        "on one memory would contradict each other, so it is not used; if the other one is gone for good, "
        "run `understudy-controller accept-copy` as root here, and start it again",
        dir);
    return FALSE;
}

gboolean bound_mark(const char *dir, const char *file, guint64 newest, GError **error)
{
    g_autofree char *here = place_of_file(dir, file, error);

    return here && write_bound(dir, here, newest, error);
}

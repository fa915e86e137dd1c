/* SPDX-License-Identifier: Apache-2.0 */
/* serve_scenarios - the controller's own memory of the scenarios that this host has a part in, kept here for the day on
 * which the controller is lost. A file each, which means nothing to this engine. */
#include "vmconnect/serve_parts.h"

#include "vmconnect/base/durable.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"

#include <string.h>

#define SUFFIX ".json"
#define NAME_MAX_LEN 63

typedef struct {
    RpcReply *reply;
    char *dir;
    char *name; /* NULL: which there are */
    char *text; /* to be written; NULL: to be removed, or read */
    json_t *result;
    GError *error;
} Work;

static void work_free(Work *w)
{
    g_free(w->dir);
    g_free(w->name);
    g_free(w->text);
    g_clear_error(&w->error);
    g_free(w);
}

static Work *work_new(const Visit *visit, RpcReply *reply, const char *name)
{
    Work *w = g_new0(Work, 1);

    *w = (Work){.reply = reply,
                .dir = g_build_filename(visit->engine->paths.state, "scenarios", NULL),
                .name = g_strdup(name)};
    return w;
}

static char *path_of(const Work *w)
{
    g_autofree char *file = g_strconcat(w->name, SUFFIX, NULL);

    return g_build_filename(w->dir, file, NULL);
}

/* A peer names a file: letters, digits, '.', '_' and '-', and no '.' first. */
static gboolean check_name(const char *name, GError **error)
{
    static const char GOOD[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    gsize len = strlen(name);

    if (len > 0 && len <= NAME_MAX_LEN && name[0] != '.' && strspn(name, GOOD) == len)
        return TRUE;
    g_set_error(error, US_ERROR, US_ERROR_USAGE, "'%.64s' is no name of a scenario", name);
    return FALSE;
}

static void answer(void *data)
{
    Work *w = data;

    serve_done(w->reply, w->result, w->error);
    json_decref(w->result);
    work_free(w);
}

/* --- keeping --------------------------------------------------------------- */

static void keep(void *data)
{
    Work *w = data;
    g_autofree char *path = path_of(w);

    if (!w->text)
        durable_remove(path, &w->error);
    else if (durable_mkdir(w->dir, 0700, &w->error))
        durable_replace(path, w->text, strlen(w->text), 0600, &w->error);
}

void serve_scenario_keep(void *user, RpcReply *reply, const json_t *params)
{
    g_autoptr(GError) error = NULL;
    const char *name;
    json_t *document;
    Work *w;

    if (!serve_good(reply,
                    json_read(params, "scenario.keep", &error, "{s:s, s:o}", "scenario", &name, "document",
                              &document) &&
                        check_name(name, &error),
                    &error))
        return;
    w = work_new(user, reply, name);
    w->text = json_is_null(document) ? NULL : json_text(document);
    clerk_submit(((Visit *)user)->engine->clerk, keep, answer, w);
}

/* --- what is kept ----------------------------------------------------------- */

static void list(Work *w)
{
    g_autoptr(GDir) dir = g_dir_open(w->dir, 0, NULL);
    json_t *names = json_array();
    const char *file;

    while (dir && (file = g_dir_read_name(dir)))
        if (g_str_has_suffix(file, SUFFIX))
            json_array_append_new(names, json_stringn(file, strlen(file) - strlen(SUFFIX)));
    w->result = json_pack("{s:o}", "scenarios", names);
}

static void read_one(Work *w)
{
    g_autofree char *path = path_of(w);
    g_autofree char *text = NULL;
    json_t *document;
    gsize len;

    if (!durable_read(path, &text, &len, &w->error))
        return;
    document = json_parse(text, len, MESSAGE_JSON_MAX, &w->error);
    w->result = document ? json_pack("{s:o}", "document", document) : NULL;
}

static void look(void *data)
{
    Work *w = data;

    if (w->name)
        read_one(w);
    else
        list(w);
}

void serve_scenario_kept(void *user, RpcReply *reply, const json_t *params)
{
    g_autoptr(GError) error = NULL;
    const char *name = NULL;

    if (serve_good(reply,
                   json_read(params, "scenario.kept", &error, "{s?s}", "scenario", &name) &&
                       (!name || check_name(name, &error)),
                   &error))
        clerk_submit(((Visit *)user)->engine->clerk, look, answer, work_new(user, reply, name));
}

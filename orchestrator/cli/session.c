/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/cli/session.h"

#include "vmconnect/base/durable.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"

#include <string.h>
#include <unistd.h>

#define FALLBACK_URL "https://127.0.0.1:25443"
#define MAX_BYTES (256 * 1024)

void session_free(Session *s)
{
    if (!s)
        return;
    g_free(s->url);
    g_free(s->ca);
    g_free(s->token);
    g_free(s);
}

static Session *session_new(const char *url, const char *ca, const char *token)
{
    Session *s = g_new0(Session, 1);

    s->url = g_strdup(url);
    s->ca = g_strdup(ca);
    s->token = g_strdup(token);
    return s;
}

char *session_conf_path(void)
{
    return g_build_filename(g_get_user_config_dir(), "understudy", "cli.conf", NULL);
}

Session *session_read_admin(const char *path, GError **error)
{
    g_autofree char *text = NULL;
    g_autoptr(GError) why = NULL;
    json_auto_t *doc = NULL;
    const char *url;
    const char *ca;
    const char *token;
    int format;
    gsize len;

    if (!g_file_get_contents(path, &text, &len, &why)) {
        g_set_error(
            error, US_ERROR,
            g_error_matches(why, G_FILE_ERROR, G_FILE_ERROR_NOENT) ? US_ERROR_NOT_FOUND : US_ERROR_DENIED,
            "%s: it is admin.json of the controller's state, which root on its host may read", why->message);
        return NULL;
    }
    doc = json_parse(text, len, MAX_BYTES, error);
    if (!doc || !json_read(doc, path, error, "{s:i, s:s, s:s, s:s}", "format", &format, "url", &url, "ca",
                           &ca, "token", &token))
        return NULL;
    if (format != 1) {
        g_set_error(error, US_ERROR, US_ERROR_UNSUPPORTED, "%s has format %d, this program knows 1", path,
                    format);
        return NULL;
    }
    return session_new(url, ca, token);
}

static GKeyFile *load(const char *conf, GError **error)
{
    g_autoptr(GKeyFile) file = g_key_file_new();
    g_autoptr(GError) why = NULL;

    if (g_key_file_load_from_file(file, conf, G_KEY_FILE_KEEP_COMMENTS, &why) ||
        g_error_matches(why, G_FILE_ERROR, G_FILE_ERROR_NOENT))
        return g_steal_pointer(&file);
    g_set_error(error, US_ERROR, US_ERROR_USAGE, "%s: %s", conf, why->message);
    return NULL;
}

static char *without_slash(const char *url)
{
    gsize len = strlen(url);

    return g_strndup(url, len > 0 && url[len - 1] == '/' ? len - 1 : len);
}

/* A group of the file cannot have the brackets of an IPv6 address in its name. */
static char *group_of(const char *url)
{
    return g_uri_escape_string(url, ":/", FALSE);
}

/* In the order that the manual gives; NULL: none is named anywhere. */
static char *named(const char *controller, GKeyFile *file)
{
    const char *environment = g_getenv("UNDERSTUDY_CONTROLLER");
    g_autofree char *conf = g_key_file_get_string(file, "cli", "controller", NULL);
    const char *url = controller ? controller : environment && environment[0] ? environment : conf;

    return url ? without_slash(url) : NULL;
}

Session *session_open(const char *controller, const char *conf, const char *admin, GError **error)
{
    g_autoptr(GKeyFile) file = load(conf, error);
    g_autofree char *name = file ? named(controller, file) : NULL;
    const char *url = name ? name : FALLBACK_URL;
    g_autofree char *group = group_of(url);
    g_autofree char *ca = file ? g_key_file_get_string(file, group, "ca", NULL) : NULL;
    g_autofree char *token = file ? g_key_file_get_string(file, group, "token", NULL) : NULL;
    g_autoptr(Session) own = NULL;

    if (!file)
        return NULL;
    if (ca && token)
        return session_new(url, ca, token);
    own = session_read_admin(admin, NULL);
    if (own && (!name || g_str_equal(own->url, name)))
        return g_steal_pointer(&own);
    g_set_error(error, US_ERROR, US_ERROR_DENIED,
                "there is no login for the controller at %s: understudy login FILE, with admin.json from its "
                "state folder, "
                "or understudy login URL",
                url);
    return NULL;
}

gboolean session_save(const Session *s, const char *conf, GError **error)
{
    g_autoptr(GKeyFile) file = load(conf, error);
    g_autofree char *folder = g_path_get_dirname(conf);
    g_autofree char *url = without_slash(s->url);
    g_autofree char *group = group_of(url);
    g_autofree char *text = NULL;
    gsize len;

    if (!file)
        return FALSE;
    g_key_file_set_string(file, "cli", "controller", url);
    g_key_file_set_string(file, group, "ca", s->ca);
    g_key_file_set_string(file, group, "token", s->token);
    text = g_key_file_to_data(file, &len, NULL);
    return durable_mkdir(folder, 0700, error) && durable_replace(conf, text, len, 0600, error);
}

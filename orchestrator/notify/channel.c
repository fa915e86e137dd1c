/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/notify/channel.h"

#include "orchestrator/core/scenario.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"

#include <curl/curl.h>
#include <string.h>

#define DEFAULT_RATE 20
#define MAX_SCENARIOS 1000
#define MAX_URL_BYTES 2048
#define MAX_ADDRESS_BYTES 254 /* RFC 5321, 4.5.3.1.3 */
#define MAX_SECRET_BYTES 1024
#define MAX_CA_BYTES ((gsize)256 * 1024)

static const char *const KINDS[] = {"mail", "webhook", "syslog", "hook"};

const char *channel_kind_name(ChannelKind kind)
{
    g_assert(kind < G_N_ELEMENTS(KINDS));
    return KINDS[kind];
}

void channel_free(Channel *c)
{
    if (!c)
        return;
    g_free(c->name);
    g_strfreev(c->scenarios);
    g_strfreev(c->to);
    g_free(c->from);
    g_free(c->smtp);
    g_free(c->user);
    g_free(c->password);
    g_free(c->url);
    g_free(c->secret);
    g_free(c->ca);
    g_free(c->file);
    g_free(c);
}

/* --- what is allowed ----------------------------------------------------- */

static gboolean refuse(GError **error, const char *format, ...) G_GNUC_PRINTF(2, 3);

static gboolean refuse(GError **error, const char *format, ...)
{
    g_autofree char *text = NULL;
    va_list args;

    va_start(args, format);
    text = g_strdup_vprintf(format, args);
    va_end(args);
    g_set_error_literal(error, US_ERROR, US_ERROR_USAGE, text);
    return FALSE;
}

/* It goes into SMTP's commands and a mail's head: neither may be left by it. Internationalised addresses are not
 * taken: not every server forwards them. */
static gboolean check_address(const char *key, const char *text, GError **error)
{
    const char *at = strchr(text, '@');
    gboolean good = at && at > text && at[1] && !strchr(at + 1, '@') && strlen(text) <= MAX_ADDRESS_BYTES;

    for (const char *p = text; *p && good; p++)
        good = *p > 0x20 && *p < 0x7f && !strchr("<>()[]\\,;:\"", *p);
    return good || refuse(error, "%s: '%.80s' is not a mail address like ops@example.org", key, text);
}

static char *url_part(CURLU *url, CURLUPart part)
{
    char *text = NULL;
    char *copy;

    if (curl_url_get(url, part, &text, 0) != CURLUE_OK)
        return NULL;
    copy = g_strdup(text);
    curl_free(text);
    return copy;
}

/* @schemes: two of them. */
static gboolean check_url_parts(const char *key, CURLU *url, const char *const schemes[2], GError **error)
{
    g_autofree char *scheme = url_part(url, CURLUPART_SCHEME);
    g_autofree char *host = url_part(url, CURLUPART_HOST);
    g_autofree char *user = url_part(url, CURLUPART_USER);
    g_autofree char *path = url_part(url, CURLUPART_PATH);

    if (!scheme || !host || (!g_str_equal(scheme, schemes[0]) && !g_str_equal(scheme, schemes[1])))
        return refuse(error, "%s: it must begin with %s:// or %s://, and name a host", key, schemes[0],
                      schemes[1]);
    if (user)
        return refuse(error, "%s: it holds a user's name: nothing that may be secret stands in it", key);
    if (g_str_equal(key, "smtp") && path && !g_str_equal(path, "/"))
        return refuse(error, "smtp: it has a path: it must be like smtp://mail.example.org:587");
    return TRUE;
}

static gboolean check_url(const char *key, const char *text, const char *const schemes[2], GError **error)
{
    CURLU *url = curl_url();
    gboolean good = strlen(text) <= MAX_URL_BYTES;

    for (const char *p = text; *p && good; p++)
        good = *p > 0x20 && *p < 0x7f;
    /* The text is not repeated: it may be a secret. */
    good = (good && curl_url_set(url, CURLUPART_URL, text, 0) == CURLUE_OK) ||
           refuse(error, "%s: it is not a URL", key);
    good = good && check_url_parts(key, url, schemes, error);
    curl_url_cleanup(url);
    return good;
}

static gboolean check_secret(const char *key, const char *text, GError **error)
{
    for (const char *p = text; *p; p++)
        if ((guchar)*p < 0x20 || *p == 0x7f)
            return refuse(error, "%s: it holds a control character", key);
    return (text[0] && strlen(text) <= MAX_SECRET_BYTES) ||
           refuse(error, "%s: it is empty or longer than %d bytes", key, MAX_SECRET_BYTES);
}

static gboolean check_ca(const char *text, GError **error)
{
    return (strlen(text) <= MAX_CA_BYTES && strstr(text, "-----BEGIN CERTIFICATE-----")) ||
           refuse(error, "ca: it must be certificates in PEM, at most %zu KiB", MAX_CA_BYTES / 1024);
}

/* --- reading ------------------------------------------------------------- */

/* An array of texts as a list; NULL with @error if one is none, or there are not 1 to @max. */
static char **read_list(const char *key, const json_t *list, gsize max, GError **error)
{
    g_autoptr(GPtrArray) texts = g_ptr_array_new_with_free_func(g_free);

    for (gsize i = 0; i < json_array_size(list); i++) {
        const char *text = json_string_value(json_array_get(list, i));

        if (text)
            g_ptr_array_add(texts, g_strdup(text));
    }
    if (texts->len != json_array_size(list) || texts->len < 1 || texts->len > max) {
        refuse(error, "%s: it must be an array of 1 to %zu texts", key, max);
        return NULL;
    }
    g_ptr_array_add(texts, NULL);
    return (char **)g_ptr_array_free(g_steal_pointer(&texts), FALSE);
}

static gboolean read_mail(Channel *c, const json_t *doc, GError **error)
{
    static const char *const SCHEMES[] = {"smtp", "smtps"};
    const char *from, *smtp, *tls = "required", *user = NULL, *password = NULL, *ca = NULL;
    json_t *to;

    if (!json_read(doc, "mail", error, "{s:o, s:s, s:s, s?s, s?s, s?s, s?s}", "to", &to, "from", &from,
                   "smtp", &smtp, "tls", &tls, "user", &user, "password", &password, "ca", &ca))
        return FALSE;
    c->to = read_list("to", to, CHANNEL_MAX_TO, error);
    for (char **one = c->to; one && *one; one++)
        if (!check_address("to", *one, error))
            return FALSE;
    if (!c->to || !check_address("from", from, error) || !check_url("smtp", smtp, SCHEMES, error))
        return FALSE;
    if (!g_str_equal(tls, "required") && !g_str_equal(tls, "never"))
        return refuse(error, "tls: '%.32s' is neither required nor never", tls);
    if (!user != !password)
        return refuse(error, "user and password: one is there without the other");
    if (user && (!check_secret("user", user, error) || !check_secret("password", password, error)))
        return FALSE;
    if (user && g_str_equal(tls, "never") && g_str_has_prefix(smtp, "smtp:"))
        return refuse(error, "tls=never: a password is not sent over a line that everybody can read");
    if (ca && !check_ca(ca, error))
        return FALSE;
    c->from = g_strdup(from);
    c->smtp = g_strdup(smtp);
    c->tls = g_str_equal(tls, "required");
    c->user = g_strdup(user);
    c->password = g_strdup(password);
    c->ca = g_strdup(ca);
    return TRUE;
}

static gboolean read_webhook(Channel *c, const json_t *doc, GError **error)
{
    static const char *const SCHEMES[] = {"https", "http"};
    const char *url, *secret = NULL, *ca = NULL;

    if (!json_read(doc, "webhook", error, "{s:s, s?s, s?s}", "url", &url, "secret", &secret, "ca", &ca) ||
        !check_url("url", url, SCHEMES, error) || (secret && !check_secret("secret", secret, error)) ||
        (ca && !check_ca(ca, error)))
        return FALSE;
    c->url = g_strdup(url);
    c->secret = g_strdup(secret);
    c->ca = g_strdup(ca);
    return TRUE;
}

static gboolean read_syslog(Channel *c, const json_t *doc, GError **error)
{
    (void)c;
    return json_read(doc, "syslog", error, "{}");
}

static gboolean read_hook(Channel *c, const json_t *doc, GError **error)
{
    const char *file;

    /* The same letters as a name: so it can neither leave the folder nor be an option. */
    if (!json_read(doc, "hook", error, "{s:s}", "file", &file) ||
        !scenario_name_check("hook's file", file, error))
        return FALSE;
    c->file = g_strdup(file);
    return TRUE;
}

static gboolean read_kind(Channel *c, json_t *const kinds[], GError **error)
{
    static gboolean (*const READ[])(Channel * c, const json_t *doc,
                                    GError **error) = {read_mail, read_webhook, read_syslog, read_hook};
    guint there = 0;

    for (guint i = 0; i < G_N_ELEMENTS(KINDS); i++)
        if (kinds[i]) {
            c->kind = (ChannelKind)i;
            there++;
        }
    if (there != 1)
        return refuse(error, "a channel is one of mail, webhook, syslog and hook; this is %u of them", there);
    return READ[c->kind](c, kinds[c->kind], error);
}

static gboolean read_common(Channel *c, const char *severity, const json_t *scenarios, json_int_t rate,
                            GError **error)
{
    if (!scenario_name_check("channel", c->name, error) ||
        !event_severity_parse(severity, &c->severity, error))
        return FALSE;
    if (scenarios && !(c->scenarios = read_list("scenarios", scenarios, MAX_SCENARIOS, error)))
        return FALSE;
    for (char **one = c->scenarios; one && *one; one++)
        if (!scenario_name_check("scenario", *one, error))
            return FALSE;
    if (rate < 0 || rate > CHANNEL_MAX_RATE)
        return refuse(error, "rate: it must be 0 (no limit) to %d messages an hour", CHANNEL_MAX_RATE);
    c->rate = (guint)rate;
    return TRUE;
}

Channel *channel_from_json(const json_t *doc, GError **error)
{
    g_autoptr(Channel) c = g_new0(Channel, 1);
    json_t *kinds[G_N_ELEMENTS(KINDS)] = {NULL};
    const char *name, *severity = "warning";
    json_t *scenarios = NULL;
    json_int_t rate = -1;

    if (!json_read(doc, "channel", error, "{s:s, s?s, s?o, s?I, s?o, s?o, s?o, s?o}", "name", &name,
                   "severity", &severity, "scenarios", &scenarios, "rate", &rate, KINDS[0], &kinds[0],
                   KINDS[1], &kinds[1], KINDS[2], &kinds[2], KINDS[3], &kinds[3]))
        return NULL;
    /* A log takes every line; the others are read by people. */
    if (!json_object_get(doc, "rate"))
        rate = kinds[CHANNEL_SYSLOG] ? 0 : DEFAULT_RATE;
    c->name = g_strdup(name);
    if (!read_common(c, severity, scenarios, rate, error) || !read_kind(c, kinds, error))
        return NULL;
    return g_steal_pointer(&c);
}

/* --- writing ------------------------------------------------------------- */

static json_t *list_of(char *const *texts)
{
    json_t *list = json_array();

    for (; *texts; texts++)
        json_array_append_new(list, json_string(*texts));
    return list;
}

/* Whom it reaches. */
static char *reached(const char *text)
{
    const char *host = strstr(text, "://");
    gsize len;

    g_assert(host);
    host += strlen("://");
    len = strcspn(host, "/?#");
    return g_strdup_printf("%.*s%s", (int)(host - text + (gssize)len), text,
                           strlen(host + len) > 1 ? "/…" : host + len);
}

static json_t *settings(const Channel *c, gboolean secrets)
{
    g_autofree char *shown = c->url && !secrets ? reached(c->url) : g_strdup(c->url);

    switch (c->kind) {
    case CHANNEL_MAIL:
        return json_pack("{s:o, s:s, s:s, s:s, s:s*, s:s*, s:s*}", "to", list_of(c->to), "from", c->from,
                         "smtp", c->smtp, "tls", c->tls ? "required" : "never", "user", c->user, "password",
                         secrets ? c->password : NULL, "ca", c->ca);
    case CHANNEL_WEBHOOK:
        return json_pack("{s:s, s:s*, s:s*}", "url", shown, "secret", secrets ? c->secret : NULL, "ca",
                         c->ca);
    case CHANNEL_SYSLOG:
        return json_object();
    case CHANNEL_HOOK:
        return json_pack("{s:s}", "file", c->file);
    }
    g_assert_not_reached();
}

static json_t *document(const Channel *c, gboolean secrets)
{
    json_t *doc = json_pack("{s:s, s:s, s:I}", "name", c->name, "severity", event_severity_name(c->severity),
                            "rate", (json_int_t)c->rate);

    if (c->scenarios)
        json_object_set_new(doc, "scenarios", list_of(c->scenarios));
    json_object_set_new(doc, KINDS[c->kind], settings(c, secrets));
    return doc;
}

json_t *channel_to_json(const Channel *c)
{
    return document(c, TRUE);
}

json_t *channel_describe(const Channel *c)
{
    json_t *doc = document(c, FALSE);
    json_t *own = json_object_get(doc, KINDS[c->kind]);

    if (c->kind == CHANNEL_MAIL)
        json_object_set_new(own, "has_password", json_boolean(c->password));
    if (c->kind == CHANNEL_WEBHOOK)
        json_object_set_new(own, "has_secret", json_boolean(c->secret));
    return doc;
}

json_t *channel_severities(const Channel *c)
{
    json_t *list = json_array();

    for (guint i = c->severity; i <= EVENT_CRITICAL; i++)
        json_array_append_new(list, json_string(event_severity_name((EventSeverity)i)));
    return list;
}

json_t *channel_scenarios(const Channel *c)
{
    return c->scenarios ? list_of(c->scenarios) : NULL;
}

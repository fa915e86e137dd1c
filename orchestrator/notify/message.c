/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/notify/message.h"

#include "orchestrator/notify/line.h"
#include "vmconnect/base/clock.h"
#include "vmconnect/base/json.h"

#include <string.h>
#include <time.h>

#define SUBJECT_BYTES 160
#define SYSLOG_BYTES 2048 /* what every syslog daemon takes */
#define VALUE_BYTES 1024
#define NAME_BYTES 300 /* a host's, a VM's */
#define MAIL_LINE 76
#define WORD_BYTES 39 /* of a subject in one encoded word: 52 letters in base64 */
#define FACILITY_DAEMON (3 << 3)

/* NULL: there is none. */
static char *line_of_key(const json_t *doc, const char *key, gsize max_bytes)
{
    const char *text = json_text_of(doc, key);

    return text ? line_of(text, max_bytes) : NULL;
}

static EventSeverity severity_of(const json_t *event)
{
    EventSeverity severity = EVENT_INFO;

    event_severity_parse(json_text_of(event, "severity") ?: "", &severity, NULL);
    return severity;
}

/* --- making -------------------------------------------------------------- */

/* "1 critical, 3 error" */
static char *counts(const json_t *events)
{
    guint counted[EVENT_CRITICAL + 1] = {0};
    GString *text = g_string_new(NULL);
    json_t *event;
    gsize i;

    json_array_foreach((json_t *)events, i, event) counted[severity_of(event)]++;
    for (int s = EVENT_CRITICAL; s >= EVENT_INFO; s--)
        if (counted[s])
            g_string_append_printf(text, "%s%u %s", text->len ? ", " : "", counted[s],
                                   event_severity_name((EventSeverity)s));
    return g_string_free(text, FALSE);
}

static json_t *digest(json_t *events)
{
    const json_t *first = json_array_get(events, 0);
    const json_t *last = json_array_get(events, json_array_size(events) - 1);
    g_autofree char *how_many = counts(events);
    g_autofree char *text = g_strdup_printf("%zu events from %s to %s: %s", json_array_size(events),
                                            json_text_of(first, "at"), json_text_of(last, "at"), how_many);
    EventSeverity worst = EVENT_INFO;
    json_t *event;
    gsize i;

    json_array_foreach(events, i, event) worst = MAX(worst, severity_of(event));
    return json_pack("{s:O, s:O, s:s, s:s, s:n, s:n, s:n, s:s, s:n, s:O}", "sequence",
                     json_object_get(last, "sequence"), "at", json_object_get(last, "at"), "code", "DIGEST",
                     "severity", event_severity_name(worst), "scenario", "host", "vm", "text", text, "next",
                     "events", events);
}

static Message *message(Id controller, const char *name, json_t *events, char *local)
{
    Message *m = g_new0(Message, 1);

    m->controller = g_strdup(ID_TEXT(controller));
    m->id = g_strdup_printf("%s@%s", local, m->controller);
    m->channel = g_strdup(name);
    m->events = json_incref(events);
    m->document = json_array_size(events) == 1 ? json_incref(json_array_get(events, 0)) : digest(events);
    g_free(local);
    return m;
}

/* The time is in it because a state that was put back from a copy gives numbers again. */
Message *message_new(Id controller, Id channel, const char *name, json_t *events)
{
    const json_t *first = json_array_get(events, 0);
    const json_t *last = json_array_get(events, json_array_size(events) - 1);
    gint64 at_ms = 0;

    clock_parse(json_text_of(last, "at"), &at_ms, NULL);
    return message(
        controller, name, events,
        g_strdup_printf("%" JSON_INTEGER_FORMAT "-%" JSON_INTEGER_FORMAT ".%" G_GINT64_FORMAT ".%s",
                        json_integer_value(json_object_get(first, "sequence")),
                        json_integer_value(json_object_get(last, "sequence")), at_ms, ID_TEXT(channel)));
}

Message *message_new_test(Id controller, const char *name, gint64 wall_ms)
{
    g_autoptr(Event) event = event_new_about_channel(EVENT_NOTIFY_TEST, name, NULL);
    json_auto_t *events = json_array();

    json_array_append_new(events, event_to_json(event, 0, wall_ms));
    return message(controller, name, events, g_strdup_printf("test.%s", ID_TEXT(id_random())));
}

void message_free(Message *m)
{
    if (!m)
        return;
    g_free(m->id);
    g_free(m->controller);
    g_free(m->channel);
    json_decref(m->events);
    json_decref(m->document);
    g_free(m);
}

char *message_title(const Message *m)
{
    json_int_t first = json_integer_value(json_object_get(json_array_get(m->events, 0), "sequence"));
    json_int_t last = json_integer_value(json_object_get(m->document, "sequence"));

    if (json_array_size(m->events) == 1)
        return g_strdup_printf("event %" JSON_INTEGER_FORMAT " (%s)", last,
                               json_text_of(m->document, "code"));
    return g_strdup_printf("events %" JSON_INTEGER_FORMAT " to %" JSON_INTEGER_FORMAT, first, last);
}

gboolean message_is_only(const Message *m, EventCode code)
{
    json_t *event;
    gsize i;

    json_array_foreach(m->events, i, event) if (g_strcmp0(json_text_of(event, "code"),
                                                          event_code_name(code)) != 0) return FALSE;
    return TRUE;
}

/* --- mail ---------------------------------------------------------------- */

/* RFC 2047: words of whole characters, each on a line of its own. */
static void append_encoded(GString *out, const char *text)
{
    while (*text) {
        const char *end = text;
        g_autofree char *word = NULL;

        while (*end && g_utf8_next_char(end) - text <= WORD_BYTES)
            end = g_utf8_next_char(end);
        word = g_base64_encode((const guchar *)text, (gsize)(end - text));
        g_string_append_printf(out, "=?UTF-8?B?%s?=%s", word, *end ? "\r\n " : "");
        text = end;
    }
}

static void append_subject(GString *out, const Message *m)
{
    g_autofree char *text = line_of_key(m->document, "text", SUBJECT_BYTES);
    g_autofree char *subject =
        g_strdup_printf("[understudy] %s: %s", json_text_of(m->document, "severity"), text ? text : "");
    const char *p = subject;

    g_string_append(out, "Subject: ");
    while (*p >= 0x20 && *p < 0x7f)
        p++;
    if (*p == '\0' && p - subject <= MAIL_LINE - 10 && !strstr(subject, "=?"))
        g_string_append(out, subject);
    else
        append_encoded(out, subject);
    g_string_append(out, "\r\n");
}

static void append_head(GString *out, const Message *m, const char *from, char *const *to, gint64 wall_ms)
{
    time_t now = (time_t)(wall_ms / 1000);
    struct tm tm;
    char date[64];

    gmtime_r(&now, &tm);
    strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S +0000", &tm);
    g_string_append_printf(out, "Date: %s\r\nFrom: %s\r\nTo: %s", date, from, to[0]);
    for (guint i = 1; to[i]; i++)
        g_string_append_printf(out, ",\r\n %s", to[i]);
    g_string_append_printf(out, "\r\nMessage-ID: <%s>\r\n", m->id);
    append_subject(out, m);
    g_string_append_printf(out,
                           "Auto-Submitted: auto-generated\r\nX-Understudy-Channel: %s\r\n"
                           "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=UTF-8\r\n"
                           "Content-Transfer-Encoding: quoted-printable\r\n\r\n",
                           m->channel);
}

static void append_field(GString *body, const char *title, const json_t *event, const char *key)
{
    g_autofree char *value = line_of_key(event, key, NAME_BYTES);

    if (value)
        g_string_append_printf(body, "%-10s %s\n", title, value);
}

static void append_event(GString *body, const json_t *event, const char *indent)
{
    g_autofree char *text = line_of_key(event, "text", G_MAXINT32);
    g_autofree char *next = line_of_key(event, "next", G_MAXINT32);

    g_string_append_printf(body, "%s%s\n", indent, text ? text : "");
    if (next)
        g_string_append_printf(body, "%sNext step: %s\n", indent, next);
}

static void append_one(GString *body, const json_t *event)
{
    append_event(body, event, "");
    g_string_append_c(body, '\n');
    append_field(body, "Severity:", event, "severity");
    append_field(body, "Code:", event, "code");
    append_field(body, "Scenario:", event, "scenario");
    append_field(body, "Host:", event, "host");
    append_field(body, "VM:", event, "vm");
    append_field(body, "Time:", event, "at");
    g_string_append_printf(body, "%-10s %" JSON_INTEGER_FORMAT "\n",
                           "Number:", json_integer_value(json_object_get(event, "sequence")));
}

static void append_list(GString *body, const Message *m)
{
    json_t *event;
    gsize i;

    g_string_append_printf(body, "%s\n", json_text_of(m->document, "text"));
    json_array_foreach(m->events, i, event)
    {
        g_string_append_printf(body, "\n* %s %s %s (%" JSON_INTEGER_FORMAT ")\n", json_text_of(event, "at"),
                               json_text_of(event, "severity"), json_text_of(event, "code"),
                               json_integer_value(json_object_get(event, "sequence")));
        append_event(body, event, "  ");
    }
}

/* RFC 2045, 6.7: @text's lines end in LF. */
static void append_quoted(GString *out, const char *text)
{
    gsize column = 0;

    for (; *text; text++) {
        guchar c = (guchar)*text;
        gboolean plain =
            (c > ' ' && c < 0x7f && c != '=') || (c == ' ' && text[1] != '\n' && text[1] != '\0');

        if (c == '\n') {
            g_string_append(out, "\r\n");
            column = 0;
            continue;
        }
        if (column + (plain ? 1 : 3) > MAIL_LINE - 1) {
            g_string_append(out, "=\r\n");
            column = 0;
        }
        if (plain)
            g_string_append_c(out, (char)c);
        else
            g_string_append_printf(out, "=%02X", c);
        column += plain ? 1 : 3;
    }
}

char *message_mail(const Message *m, const char *from, char *const *to, gint64 wall_ms)
{
    GString *out = g_string_new(NULL);
    g_autoptr(GString) body = g_string_new(NULL);

    append_head(out, m, from, to, wall_ms);
    if (json_array_size(m->events) == 1)
        append_one(body, m->document);
    else
        append_list(body, m);
    g_string_append_printf(body, "\n-- \nUnderstudy controller %s, channel %s\n", m->controller, m->channel);
    append_quoted(out, body->str);
    return g_string_free(out, FALSE);
}

/* --- syslog -------------------------------------------------------------- */

static char *syslog_line(const json_t *event, int pid)
{
    const char *next = json_text_of(event, "next");
    g_autofree char *what =
        g_strdup_printf("%s: %s", json_text_of(event, "code"), json_text_of(event, "text"));
    g_autofree char *step = next ? line_of(next, SYSLOG_BYTES / 2) : NULL;
    /* Of what is too long the next step is what must not be cut off. */
    g_autofree char *begun = line_of(what, SYSLOG_BYTES - (step ? strlen(step) + 2 : 0));
    g_autofree char *line = g_strconcat(begun, step ? "; " : NULL, step, NULL);
    gint64 at_ms = 0;
    time_t at;
    struct tm tm;
    char date[32];

    clock_parse(json_text_of(event, "at"), &at_ms, NULL);
    at = (time_t)(at_ms / 1000);
    localtime_r(&at, &tm);
    strftime(date, sizeof date, "%b %e %T", &tm);
    return g_strdup_printf("<%d>%s understudy-events[%d]: %s",
                           FACILITY_DAEMON | event_severity_syslog(severity_of(event)), date, pid, line);
}

char **message_syslog(const Message *m, int pid)
{
    char **lines = g_new0(char *, json_array_size(m->events) + 1);
    json_t *event;
    gsize i;

    json_array_foreach(m->events, i, event) lines[i] = syslog_line(event, pid);
    return lines;
}

/* --- environment --------------------------------------------------------- */

char **message_environment(const Message *m)
{
    static const struct {
        const char *name, *key;
    } FIELDS[] = {{"CODE", "code"}, {"SEVERITY", "severity"}, {"SCENARIO", "scenario"}, {"HOST", "host"},
                  {"VM", "vm"},     {"TEXT", "text"},         {"NEXT", "next"},         {"AT", "at"}};
    GPtrArray *list = g_ptr_array_new();

    g_ptr_array_add(list, g_strdup_printf("UNDERSTUDY_CHANNEL=%s", m->channel));
    g_ptr_array_add(list, g_strdup_printf("UNDERSTUDY_ID=%s", m->id));
    for (guint i = 0; i < G_N_ELEMENTS(FIELDS); i++) {
        g_autofree char *value = line_of_key(m->document, FIELDS[i].key, VALUE_BYTES);

        g_ptr_array_add(list, g_strdup_printf("UNDERSTUDY_%s=%s", FIELDS[i].name, value ? value : ""));
    }
    g_ptr_array_add(list, NULL);
    return (char **)g_ptr_array_free(list, FALSE);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/core/event.h"

#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"

#include <string.h>

typedef struct {
    const char *name;
    EventSeverity severity;
    const char *text;
    const char *next;
} Entry;

static const Entry CATALOGUE[] = {
#define X(code, severity, text, next) [EVENT_##code] = {#code, EVENT_##severity, text, next},
    EVENT_CODES(X)
#undef X
};

static const struct {
    const char *name;
    int syslog;
} SEVERITIES[] = {
#define X(severity, json, level) [EVENT_##severity] = {json, level},
    EVENT_SEVERITIES(X)
#undef X
};

typedef struct {
    const char *key;
    const char *value;
} Field;

static const char *field_value(const Field *fields, const char *key, gsize len)
{
    for (const Field *f = fields; f->key; f++)
        if (strlen(f->key) == len && memcmp(f->key, key, len) == 0)
            return f->value;
    return NULL;
}

/* Values are put in as they are: a VM may be called '{why}'. */
static char *fill(const char *template, const Field *fields)
{
    GString *text = g_string_new(NULL);

    while (*template) {
        gsize plain = strcspn(template, "{");
        gsize key;
        const char *value;

        g_string_append_len(text, template, plain);
        template += plain;
        if (*template == '\0')
            break;
        key = strcspn(template, "}");
        value = field_value(fields, template + 1, key - 1);
        g_assert(value);
        g_string_append(text, value);
        template += key + 1;
    }
    return g_string_free(text, FALSE);
}

static const Entry *entry_of(EventCode code)
{
    g_assert(code > EVENT_NONE && code < G_N_ELEMENTS(CATALOGUE));
    return &CATALOGUE[code];
}

static Event *filled(EventCode code, const Field *fields)
{
    const Entry *entry = entry_of(code);
    Event *e = g_new0(Event, 1);

    e->code = code;
    e->text = fill(entry->text, fields);
    e->next = entry->next ? fill(entry->next, fields) : NULL;
    return e;
}

Event *event_new(EventCode code, const char *scenario, const char *host, const char *vm, const char *why)
{
    const Field fields[] = {{"scenario", scenario}, {"host", host}, {"vm", vm}, {"why", why}, {0}};
    Event *e = filled(code, fields);

    e->scenario = g_strdup(scenario);
    e->host = g_strdup(host);
    e->vm = g_strdup(vm);
    return e;
}

Event *event_new_with_command(EventCode code, const char *scenario, const char *why, const char *command)
{
    const Field fields[] = {{"scenario", scenario}, {"why", why}, {"command", command}, {0}};
    Event *e = filled(code, fields);

    e->scenario = g_strdup(scenario);
    return e;
}

Event *event_new_about_channel(EventCode code, const char *channel, const char *why)
{
    Event *e = event_new_through_channel(code, channel, why);

    e->channel = g_strdup(channel);
    return e;
}

Event *event_new_through_channel(EventCode code, const char *channel, const char *why)
{
    const Field fields[] = {{"channel", channel}, {"why", why}, {0}};

    return filled(code, fields);
}

void event_free(Event *e)
{
    if (!e)
        return;
    g_free(e->scenario);
    g_free(e->host);
    g_free(e->vm);
    g_free(e->text);
    g_free(e->next);
    g_free(e->channel);
    g_free(e);
}

const char *event_code_name(EventCode code)
{
    return entry_of(code)->name;
}

gboolean event_is_named(const json_t *names, EventCode code)
{
    for (gsize i = 0; i < json_array_size(names); i++)
        if (g_strcmp0(json_string_value(json_array_get(names, i)), event_code_name(code)) == 0)
            return TRUE;
    return FALSE;
}

EventSeverity event_severity(EventCode code)
{
    return entry_of(code)->severity;
}

const char *event_severity_name(EventSeverity severity)
{
    g_assert(severity < G_N_ELEMENTS(SEVERITIES));
    return SEVERITIES[severity].name;
}

int event_severity_syslog(EventSeverity severity)
{
    g_assert(severity < G_N_ELEMENTS(SEVERITIES));
    return SEVERITIES[severity].syslog;
}

gboolean event_severity_parse(const char *name, EventSeverity *ret_severity, GError **error)
{
    for (guint i = 0; i < G_N_ELEMENTS(SEVERITIES); i++)
        if (g_str_equal(SEVERITIES[i].name, name)) {
            *ret_severity = (EventSeverity)i;
            return TRUE;
        }
    g_set_error(error, US_ERROR, US_ERROR_USAGE,
                "severity '%.32s' is none of info, significant, warning, error and critical", name);
    return FALSE;
}

json_t *event_to_json(const Event *e, guint64 sequence, gint64 at_ms)
{
    char at[CLOCK_TEXT_LEN + 1];

    return json_pack("{s:I, s:s, s:s, s:s, s:s?, s:s?, s:s?, s:s, s:s?, s:s*}", "sequence",
                     (json_int_t)sequence, "at", clock_format(at_ms, at), "code", event_code_name(e->code),
                     "severity", event_severity_name(event_severity(e->code)), "scenario", e->scenario,
                     "host", e->host, "vm", e->vm, "text", e->text, "next", e->next, "channel", e->channel);
}

char *event_catalogue_text(void)
{
    GString *text = g_string_new("| code | severity | text | next step |\n|---|---|---|---|\n");

    for (guint code = EVENT_NONE + 1; code < G_N_ELEMENTS(CATALOGUE); code++) {
        const Entry *entry = &CATALOGUE[code];

        g_string_append_printf(text, "| `%s` | %s | %s | %s |\n", entry->name,
                               SEVERITIES[entry->severity].name, entry->text, entry->next ? entry->next : "");
    }
    return g_string_free(text, FALSE);
}

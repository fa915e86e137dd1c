/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/guard/roll.h"

#include "vmconnect/base/json.h"
#include "vmconnect/base/sealed.h"

#include <string.h>

#define VERSION 1
#define LINE_MAX_BYTES 8192

/* --- writing ------------------------------------------------------------- */

static json_t *taps_to_json(const Ward *w)
{
    json_t *taps = json_array();

    for (guint i = 0; i < w->taps; i++)
        json_array_append_new(taps, json_pack("[s, I]", w->tap[i].name, (json_int_t)w->tap[i].index));
    return taps;
}

static json_t *until_to_json(const Ladder *l)
{
    return l->is_enforced ? json_pack("[I, I]", (json_int_t)l->until.boot_ms, (json_int_t)l->until.raw_ms)
                          : json_null();
}

static json_t *ward_to_json(const Ward *w)
{
    return json_pack("{s:o, s:i, s:I, s:o, s:o, s:o, s:s}", "vm", json_from_id(w->vm), "pid",
                     (int)w->subject.pid, "start", (json_int_t)w->subject.start, "reign",
                     reign_to_json(w->reign), "taps", taps_to_json(w), "until", until_to_json(&w->ladder),
                     "state", ladder_state_name(w->ladder.state));
}

static void append_line(GString *out, json_t *doc)
{
    g_autofree char *line = sealed_line(doc);

    g_string_append(out, line);
    json_decref(doc);
}

char *roll_text(const GPtrArray *wards, const char *boot_id)
{
    GString *out = g_string_new(NULL);

    append_line(out, json_pack("{s:i, s:s}", "version", VERSION, "boot", boot_id));
    for (guint i = 0; i < wards->len; i++)
        append_line(out, ward_to_json(wards->pdata[i]));
    return g_string_free(out, FALSE);
}

/* --- reading ------------------------------------------------------------- */

/* *@ret_whole: it is what was written. NULL: not even JSON. New reference. */
static json_t *parse_line(const char *line, gboolean *ret_whole)
{
    const char *text = strchr(line, ' ');

    if (!text)
        return NULL;
    *ret_whole = sealed_line_is_whole(line, strlen(line));
    return json_parse(text + 1, strlen(text + 1), LINE_MAX_BYTES, NULL);
}

/* Which process it is; without that there is nothing to be done. */
static gboolean read_subject(const json_t *doc, Ward *w)
{
    json_int_t pid = json_integer_value(json_object_get(doc, "pid"));
    json_int_t start = json_integer_value(json_object_get(doc, "start"));

    if (pid <= 1 || pid > G_MAXINT || start <= 0 || !json_to_id(json_object_get(doc, "vm"), &w->vm, NULL) ||
        id_is_nil(w->vm))
        return FALSE;
    w->subject = (Subject){.fd = -1, .pid = (pid_t)pid, .start = (guint64)start};
    return TRUE;
}

/* As many as can be read. FALSE: not all. */
static gboolean read_taps(const json_t *taps, Ward *w)
{
    const json_t *tap;
    gsize i;

    json_array_foreach(taps, i, tap)
    {
        const char *name = json_string_value(json_array_get(tap, 0));
        json_int_t index = json_integer_value(json_array_get(tap, 1));

        if (!name || strlen(name) >= IF_NAMESIZE || index <= 0 || index > G_MAXINT ||
            w->taps == WORD_TAPS_MAX)
            return FALSE;
        g_strlcpy(w->tap[w->taps].name, name, IF_NAMESIZE);
        w->tap[w->taps++].index = (guint)index;
    }
    return json_is_array(taps);
}

static gboolean read_until(const json_t *until, Ladder *l)
{
    const json_t *boot = json_array_get(until, 0), *raw = json_array_get(until, 1);

    l->is_enforced = !json_is_null(until);
    l->until = (LeaseMoment){json_integer_value(boot), json_integer_value(raw)};
    return json_is_null(until) || (json_is_integer(boot) && json_is_integer(raw));
}

static Ward *read_ward(const json_t *doc, gboolean *whole)
{
    g_autoptr(Ward) w = g_new0(Ward, 1);

    w->subject.fd = -1;
    w->lay_ms = G_MAXINT64;
    if (!read_subject(doc, w))
        return NULL;
    *whole = read_taps(json_object_get(doc, "taps"), w) && *whole &&
             reign_from_json(json_object_get(doc, "reign"), &w->reign, NULL) &&
             read_until(json_object_get(doc, "until"), &w->ladder) &&
             ladder_state_parse(json_string_value(json_object_get(doc, "state")), &w->ladder.state);
    if (!*whole)
        w->ladder = (Ladder){.is_enforced = TRUE};
    /* When it was sent is not known any more: it is sent again. */
    if (w->ladder.state == LADDER_HALTED)
        w->ladder.state = LADDER_ASKED;
    return g_steal_pointer(&w);
}

static void add_fault(GPtrArray *faults, guint line, const Ward *w)
{
    g_ptr_array_add(
        faults,
        w ? g_strdup_printf("line %u of the roll, of VM %s, is not whole -> as if its lease were over", line,
                            ID_TEXT(w->vm))
          : g_strdup_printf("line %u of the roll cannot be read -> the kernel's gate ends what it names",
                            line));
}

static Ward *take_line(const char *line, guint number, gboolean known, GPtrArray *faults)
{
    gboolean whole = FALSE;
    json_auto_t *doc = parse_line(line, &whole);
    Ward *w;

    whole = whole && known;
    w = doc ? read_ward(doc, &whole) : NULL;
    if (!w || !whole)
        add_fault(faults, number, w);
    return w;
}

/* FALSE: it is of another boot. A first line that is not whole may be of this one. */
static gboolean take_head(const char *line, const char *boot_id, gboolean *ret_known, GPtrArray *faults)
{
    gboolean whole = FALSE;
    json_auto_t *doc = parse_line(line, &whole);
    const char *boot = json_string_value(json_object_get(doc, "boot"));

    if (whole && boot && strcmp(boot, boot_id) != 0)
        return FALSE;
    *ret_known = whole && boot && json_integer_value(json_object_get(doc, "version")) == VERSION;
    if (!*ret_known)
        g_ptr_array_add(faults,
                        g_strdup("the roll is damaged, or of another version -> as if all leases were over"));
    return TRUE;
}

GPtrArray *roll_parse(const char *text, gsize len, const char *boot_id, GPtrArray *faults)
{
    GPtrArray *wards = g_ptr_array_new_with_free_func((GDestroyNotify)ward_free);
    g_autofree char *copy = g_strndup(text, len);
    g_auto(GStrv) lines = g_strsplit(copy, "\n", -1);
    gboolean known;

    if (!lines[0] || !*lines[0] || !take_head(lines[0], boot_id, &known, faults))
        return wards;
    for (guint i = 1; lines[i]; i++) {
        Ward *w = *lines[i] ? take_line(lines[i], i + 1, known, faults) : NULL;

        if (w)
            g_ptr_array_add(wards, w);
    }
    return wards;
}

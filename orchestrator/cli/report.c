/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/cli/report.h"

#include "orchestrator/cli/page.h"
#include "vmconnect/base/json.h"
#include "vmconnect/base/units.h"

#include <string.h>

#define PNG_BEGINS "iVBORw0KGgo" /* its signature in base64 */
#define BASE64 "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="

static const char HEAD[] =
    "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; style-src "
    "'unsafe-inline'\">\n<title>Integrity test</title>\n<style>\n"
    "body{font:15px/1.5 system-ui,sans-serif;max-width:60em;margin:2em auto;padding:0 1em;color:#222}\n"
    "table{border-collapse:collapse;margin-bottom:1em}th,td{text-align:left;padding:.2em 1em .2em "
    "0;vertical-align:top}\n"
    "th{font-weight:600;color:#555}section{border-top:1px solid #ccc;margin-top:2em}\n"
    "img{max-width:100%;border:1px solid #ccc}pre{background:#f5f5f5;padding:1em;overflow:auto}\n"
    ".passed{color:#1a7f37}.failed{color:#c62828}\n</style></head><body>\n";

/* As text of the page. The caller frees. */
static char *plain(const char *text)
{
    g_autofree char *clean = page_clean(text ? text : "-");

    return g_markup_escape_text(clean, -1);
}

/* A line of a table; nothing if there is no @value. */
static void row(GString *out, const char *title, const char *value)
{
    g_autofree char *clean = plain(value);

    if (value)
        g_string_append_printf(out, "<tr><th>%s</th><td>%s</td></tr>\n", title, clean);
}

static void row_time(GString *out, const char *title, const json_t *doc, const char *key)
{
    const json_t *ms = json_object_get(doc, key);
    g_autofree char *text = json_is_integer(ms) ? units_human_duration(json_integer_value(ms)) : NULL;

    row(out, title, text);
}

/* In its colour; one that is not known has none. */
static char *verdict_of(const json_t *doc)
{
    const char *verdict = json_text_of(doc, "verdict");
    g_autofree char *clean = plain(verdict ? verdict : "no verdict yet");
    gboolean known = g_strcmp0(verdict, "passed") == 0 || g_strcmp0(verdict, "failed") == 0;

    return g_strdup_printf("<span class=\"%s\">%s</span>", known ? verdict : "other", clean);
}

static void append_checks(GString *out, const json_t *vm)
{
    const json_t *checks = json_object_get(vm, "checks");
    json_t *check;
    gsize i;

    if (json_array_size(checks) == 0)
        return;
    g_string_append(out, "<table><tr><th>Check</th><th></th><th>After</th><th></th></tr>\n");
    json_array_foreach((json_t *)checks, i, check)
    {
        const json_t *after = json_object_get(check, "after_ms");
        g_autofree char *time =
            json_is_integer(after) ? units_human_duration(json_integer_value(after)) : NULL;
        g_autofree char *what = plain(json_text_of(check, "what"));
        g_autofree char *state = plain(json_text_of(check, "state"));
        g_autofree char *text = plain(json_text_of(check, "text"));

        g_string_append_printf(out, "<tr><td>%s</td><td>%s</td><td>%s</td><td>%s</td></tr>\n", what, state,
                               time ? time : "-", text);
    }
    g_string_append(out, "</table>\n");
}

static void append_console(GString *out, const char *console)
{
    g_auto(GStrv) lines = g_strsplit(console ? console : "", "\n", 0);

    if (!console)
        return;
    g_string_append(out, "<details><summary>Console</summary><pre>");
    for (char **line = lines; *line; line++) {
        g_autofree char *clean = plain(g_strchomp(*line));

        g_string_append_printf(out, "%s\n", clean);
    }
    g_string_append(out, "</pre></details>\n");
}

static void append_picture(GString *out, const char *png, const char *name)
{
    if (png && g_str_has_prefix(png, PNG_BEGINS) && png[strspn(png, BASE64)] == '\0')
        g_string_append_printf(out, "<p><img alt=\"screen of %s\" src=\"data:image/png;base64,%s\"></p>\n",
                               name, png);
}

static void append_vm(GString *out, guint level, const json_t *vm, const json_t *seen)
{
    const json_t *point = json_object_get(vm, "point");
    g_autofree char *name = plain(json_text_of(vm, "name"));
    g_autofree char *verdict = verdict_of(vm);
    json_t *what;
    gsize i;

    g_string_append_printf(out, "<section><h%u>%s: %s</h%u>\n<table>\n", level, name, verdict, level);
    row(out, "Why", json_text_of(vm, "why"));
    row(out, "Recovery point", json_text_of(point, "id"));
    row(out, "of", json_text_of(point, "cut_at"));
    row_time(out, "Until its start", vm, "start_ms");
    row_time(out, "from then until its checks passed", vm, "boot_ms");
    row_time(out, "Back, from the beginning of the test", vm, "back_ms");
    json_array_foreach(json_object_get(vm, "left_out"), i, what)
        row(out, "Left out", json_string_value(what));
    g_string_append(out, "</table>\n");
    append_checks(out, vm);
    append_picture(out, json_text_of(seen, "png"), name);
    append_console(out, json_text_of(seen, "console"));
    g_string_append(out, "</section>\n");
}

char *report_isolation(const json_t *test)
{
    const json_t *proof = json_object_get(test, "proof");
    const json_t *places = json_object_get(json_object_get(proof, "probes"), "places");
    const json_t *leaked = json_object_get(json_object_get(proof, "counters"), "leaked");
    g_autoptr(GHashTable) silent = g_hash_table_new(g_str_hash, g_str_equal);
    json_t *place, *address;
    gsize i, k;

    json_array_foreach((json_t *)places, i, place)
        json_array_foreach(json_object_get(place, "silent"), k, address) if (json_is_string(address))
            g_hash_table_add(silent, (gpointer)json_string_value(address));
    if (g_hash_table_size(silent) == 0 || !json_is_integer(leaked))
        return NULL;
    return g_strdup_printf(
        "before its VMs ran, none of %u addresses of hosts, of their gateway and of the outside "
        "answered; %" JSON_INTEGER_FORMAT " frames leaked",
        g_hash_table_size(silent), json_integer_value(leaked));
}

/* Its title as a heading of @level, what is said of it, and its VMs. */
static void append_test(GString *out, guint level, const json_t *test, const json_t *evidence)
{
    g_autofree char *scenario = plain(json_text_of(test, "scenario"));
    g_autofree char *verdict = verdict_of(test);
    g_autofree char *isolation = report_isolation(test);
    json_t *vm;
    gsize i;

    g_string_append_printf(out, "<h%u>Integrity test of %s: %s</h%u>\n<table>\n", level, scenario, verdict,
                           level);
    row(out, "Why", json_text_of(test, "why"));
    row(out, "On", json_text_of(test, "host"));
    row(out, "Begun", json_text_of(test, "begun_at"));
    row(out, "Ended", json_text_of(test, "ended_at"));
    row(out, "How", json_is_true(json_object_get(test, "manual")) ? "by hand" : "its checks decided");
    row(out, "Isolation", isolation);
    row(out, "Test", json_text_of(test, "test"));
    g_string_append(out, "</table>\n");
    json_array_foreach(json_object_get(test, "vms"), i, vm)
    {
        const char *id = json_text_of(vm, "vm");

        append_vm(out, level + 1, vm, id ? json_object_get(evidence, id) : NULL);
    }
}

char *report_html(const json_t *test, const json_t *evidence)
{
    GString *out = g_string_new(HEAD);

    append_test(out, 1, test, evidence);
    g_string_append(out, "</body></html>\n");
    return g_string_free(out, FALSE);
}

static void cell(GString *out, const char *text)
{
    g_autofree char *clean = plain(text);

    g_string_append_printf(out, "<td>%s</td>", clean);
}

static void append_part_vm(GString *out, const json_t *part, const json_t *vm)
{
    const json_t *back = json_object_get(vm, "back_ms");
    g_autofree char *time = json_is_integer(back) ? units_human_duration(json_integer_value(back)) : NULL;
    g_autofree char *verdict = verdict_of(vm);

    g_string_append(out, "<tr>");
    cell(out, json_text_of(part, "scenario"));
    cell(out, json_text_of(vm, "name"));
    cell(out, json_text_of(part, "on"));
    g_string_append_printf(out, "<td>%s</td>", verdict);
    cell(out, time);
    cell(out, json_text_of(vm, "why") ?: json_text_of(part, "why"));
    g_string_append(out, "</tr>\n");
}

static void append_parts(GString *out, const json_t *drill)
{
    json_t *part, *vm;
    gsize i, k;

    g_string_append(out, "<table><tr><th>Scenario</th><th>VM</th><th>On</th><th></th><th>Back "
                         "after</th><th></th></tr>\n");
    json_array_foreach(json_object_get(drill, "scenarios"), i, part)
        json_array_foreach(json_object_get(part, "vms"), k, vm) append_part_vm(out, part, vm);
    g_string_append(out, "</table>\n");
}

char *report_drill_html(const json_t *drill, const json_t *tests, const json_t *evidence)
{
    GString *out = g_string_new(HEAD);
    g_autofree char *host = plain(json_text_of(drill, "host"));
    g_autofree char *verdict = verdict_of(drill);
    json_t *test;
    gsize i;

    g_string_append_printf(out, "<h1>Drill: if %s died, would all be back? %s</h1>\n<table>\n", host,
                           verdict);
    row(out, "Result", json_text_of(drill, "why"));
    row_time(out, "All back after", drill, "back_ms");
    row(out, "Begun", json_text_of(drill, "begun_at"));
    row(out, "Ended", json_text_of(drill, "ended_at"));
    row(out, "Drill", json_text_of(drill, "drill"));
    g_string_append(out, "</table>\n");
    append_parts(out, drill);
    json_array_foreach((json_t *)tests, i, test) append_test(out, 2, test, evidence);
    g_string_append(out, "</body></html>\n");
    return g_string_free(out, FALSE);
}

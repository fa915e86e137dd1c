/* SPDX-License-Identifier: Apache-2.0 */
/* Integrity tests: would the copies start, and what came of the tests that were. */
#include "orchestrator/cli/commands.h"
#include "orchestrator/cli/keepsake.h"
#include "orchestrator/cli/page.h"
#include "orchestrator/cli/progress.h"
#include "orchestrator/cli/report.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/exam.h"
#include "vmconnect/base/id.h"
#include "vmconnect/base/json.h"
#include "vmconnect/base/units.h"

#define CHECKS_MAX_BYTES (1 << 20)

/* --- one of them, in words ------------------------------------------------ */

static char *head_of(const json_t *test)
{
    const char *why = json_text_of(test, "why") ?: json_text_of(test, "waits");
    g_autofree char *line =
        g_strdup_printf("test %s of %s on %s: %s%s%s", json_text_of(test, "test") ?: "-", json_text_of(test, "scenario") ?: "-",
                        json_text_of(test, "host") ?: "-", json_text_of(test, "verdict") ?: json_text_of(test, "state") ?: "-",
                        why ? ", " : "", why ?: "");
    g_autofree char *times = g_strdup_printf("begun %s, ended %s", json_text_of(test, "begun_at") ?: "-",
                                             json_text_of(test, "ended_at") ?: "-");
    g_autofree char *clean = page_clean(line);
    g_autofree char *clean_times = page_clean(times);
    g_autofree char *isolation = report_isolation(test);

    return g_strdup_printf("%s\n%s\n%s%s%s\n", clean, clean_times, isolation ? "isolated: " : "",
                           isolation ? isolation : "", isolation ? "\n" : "");
}

static char *vms_of(const json_t *test)
{
    static const char *const TITLES[] = {"VM",    "STATE", "VERDICT", "POINT OF", ">START",
                                         ">BOOT", ">BACK", "WHY",     NULL};
    g_autoptr(Page) page = page_new(TITLES);
    json_t *vm;
    gsize i;

    json_array_foreach(json_object_get(test, "vms"), i, vm)
    {
        page_value(page, vm, "name");
        page_value(page, vm, "state");
        page_value(page, vm, "verdict");
        page_value(page, json_object_get(vm, "point"), "cut_at");
        page_duration(page, vm, "start_ms");
        page_duration(page, vm, "boot_ms");
        page_duration(page, vm, "back_ms");
        page_value(page, vm, "why");
    }
    return page_text(page, 0);
}

/* "" if there is no check. */
static char *checks_of(const json_t *test)
{
    static const char *const TITLES[] = {"VM", "CHECK", "STATE", ">AFTER", "SAYS", NULL};
    g_autoptr(Page) page = page_new(TITLES);
    g_autofree char *table = NULL;
    gboolean any = FALSE;
    json_t *vm, *check;
    gsize i, k;

    json_array_foreach(json_object_get(test, "vms"), i, vm)
        json_array_foreach(json_object_get(vm, "checks"), k, check)
    {
        any = TRUE;
        page_value(page, vm, "name");
        page_value(page, check, "what");
        page_value(page, check, "state");
        page_duration(page, check, "after_ms");
        page_value(page, check, "text");
    }
    table = page_text(page, 0);
    return any ? g_strconcat("\n", table, NULL) : g_strdup("");
}

static void append_line(GString *out, const json_t *vm, const char *text)
{
    g_autofree char *line = g_strdup_printf("%s: %s", json_text_of(vm, "name") ?: "-", text);
    g_autofree char *clean = page_clean(line);

    g_string_append_printf(out, "%s%s\n", out->len ? "" : "\n", clean);
}

/* What to type, for who is not on its host. */
static void append_consoles(GString *out, const json_t *test, const json_t *vm)
{
    const char *host = json_text_of(test, "host") ?: "-", *vnc = json_text_of(vm, "vnc");
    g_autofree char *serial = g_strdup_printf("serial console: as root on %s, understudy-engine console %s",
                                              host, json_text_of(vm, "name") ?: "-");
    g_autofree char *screen =
        vnc ? g_strdup_printf("screen: ssh -L 5901:%s root@%s, and a VNC viewer at localhost:5901", vnc, host)
            : NULL;

    if (json_text_of(vm, "serial"))
        append_line(out, vm, serial);
    if (screen)
        append_line(out, vm, screen);
}

/* Where its consoles are while it runs, and what it was booted without. */
static char *notes_of(const json_t *test)
{
    GString *out = g_string_new(NULL);
    json_t *vm, *left;
    gsize i, k;

    json_array_foreach(json_object_get(test, "vms"), i, vm)
    {
        append_consoles(out, test, vm);
        json_array_foreach(json_object_get(vm, "left_out"), k, left)
        {
            g_autofree char *text = g_strconcat("left out: ", json_string_value(left), NULL);

            append_line(out, vm, text);
        }
    }
    return g_string_free(out, FALSE);
}

static char *test_text(const json_t *test)
{
    g_autofree char *head = head_of(test);
    g_autofree char *vms = vms_of(test);
    g_autofree char *checks = checks_of(test);
    g_autofree char *notes = notes_of(test);

    return g_strconcat(head, vms, checks, notes, NULL);
}

/* --- start and stop ---------------------------------------------------------- */

static json_t *read_checks(const char *path, GError **error)
{
    gsize len;
    g_autofree char *text = cli_read(path, CHECKS_MAX_BYTES, &len, error);
    json_auto_t *doc = NULL;

    if (!text) {
        g_prefix_error(error, "no test was begun, the checks cannot be read: ");
        return NULL;
    }
    doc = json_parse(text, len, CHECKS_MAX_BYTES, error);
    if (!doc || !exam_document_check(doc, error)) {
        g_prefix_error(
            error, "no test was begun, put the checks right ('test start' in 'man understudy'): %s: ", path);
        return NULL;
    }
    return g_steal_pointer(&doc);
}

static json_t *start_body(Cli *cli, GError **error)
{
    json_auto_t *body = json_pack("{s:b}", "manual", cli_flag(cli, "manual"));
    const char *limit = cli_option(cli, "limit");
    json_auto_t *vms = NULL;
    gint64 limit_ms;

    if (limit) {
        if (!units_parse_duration(limit, &limit_ms, error))
            return NULL;
        json_object_set_new(body, "limit_ms", json_integer(limit_ms));
    }
    if (cli_option(cli, "checks")) {
        json_t *checks = read_checks(cli_option(cli, "checks"), error);

        if (!checks)
            return NULL;
        json_object_set_new(body, "checks", checks);
    }
    vms = cli_vms(cli, error);
    if (!vms)
        return NULL;
    if (json_array_size(vms) > 0)
        json_object_set(body, "vms", vms);
    if (cli_option(cli, "point")) {
        g_autofree char *point = cli_point(cli, cli_option(cli, "point"), error);

        if (!point)
            return NULL;
        json_object_set_new(body, "point", json_string(point));
    }
    return g_steal_pointer(&body);
}

/* @may_be_stopped: to be ended by its operator is how it is to end. */
static gboolean went_well(const json_t *test, gboolean may_be_stopped, GError **error)
{
    const char *verdict = json_text_of(test, "verdict");
    const char *why = json_text_of(test, "why");

    if (!verdict || g_str_equal(verdict, "passed") || (may_be_stopped && g_str_equal(verdict, "stopped")))
        return TRUE;
    g_set_error(error, US_ERROR, US_ERROR_FAILED, "the integrity test %s%s%s",
                g_str_equal(verdict, "stopped") ? "was ended before there was a verdict" : "failed",
                why ? ": " : "", why ? why : "");
    return FALSE;
}

/* A manual one is ended by its operator, who waits for it to be ready. */
gboolean command_test_start(Cli *cli, GError **error)
{
    gboolean manual = cli_flag(cli, "manual");
    json_auto_t *body = start_body(cli, error);
    json_auto_t *begun = body ? cli_call(cli, "test.start", cli_argument(cli, 0), NULL, body, error) : NULL;
    const char *id = json_text_of(begun, "test");
    json_auto_t *test = NULL;

    if (!begun)
        return FALSE;
    if (!id) {
        g_set_error(error, US_ERROR, US_ERROR_PROTOCOL, "the controller's answer names no test");
        return FALSE;
    }
    if (!cli->wait) {
        cli_show(cli, begun,
                 g_strdup_printf("test %s was begun on %s; understudy test show %.8s says how far it is\n",
                                 id, json_text_of(begun, "host") ?: "-", id));
        return TRUE;
    }
    test = progress_wait_test(cli, id, manual, error);
    if (!test)
        return FALSE;
    cli_show(cli, test, test_text(test));
    return went_well(test, FALSE, error);
}

gboolean command_test_stop(Cli *cli, GError **error)
{
    json_auto_t *doc = cli_call(cli, "test.stop", cli_argument(cli, 0), NULL, NULL, error);
    const char *id = json_text_of(doc, "test");
    json_auto_t *test = NULL;

    if (!doc)
        return FALSE;
    if (!cli->wait || !id) {
        cli_show(cli, doc,
                 g_strdup_printf("test %s ends, and what it wrote is thrown away\n", id ? id : "-"));
        return TRUE;
    }
    test = progress_wait_test(cli, id, FALSE, error);
    if (!test)
        return FALSE;
    cli_show(cli, test, test_text(test));
    return went_well(test, TRUE, error);
}

/* --- what there is -------------------------------------------------------------- */

static char *with_next(char *steal_page, const char *next_at)
{
    g_autofree char *page = steal_page;

    return next_at ? g_strdup_printf("%s\nnext test: %s\n", page, next_at) : g_steal_pointer(&page);
}

gboolean command_test_list(Cli *cli, GError **error)
{
    static const char *const TITLES[] = {"ID",      "SCENARIO", "HOST", "BEGUN AT", "STATE",
                                         "VERDICT", "VMS",      "WHY",  NULL};
    static const char *const KEYS[] = {"test", "scenario", "host", "begun_at", "state", "verdict"};
    json_auto_t *query = cli->arguments->len ? json_pack("{s:s}", "scenario", cli_argument(cli, 0)) : NULL;
    json_auto_t *doc = cli_call(cli, "test.list", NULL, query, NULL, error);
    g_autoptr(Page) page = page_new(TITLES);
    json_t *test;
    gsize i;

    if (!doc)
        return FALSE;
    json_array_foreach(json_object_get(doc, "tests"), i, test)
    {
        for (guint k = 0; k < G_N_ELEMENTS(KEYS); k++)
            page_value(page, test, KEYS[k]);
        page_cellf(page, "%zu", json_array_size(json_object_get(test, "vms")));
        page_cell(page, json_text_of(test, "why") ?: json_text_of(test, "waits"));
    }
    cli_show(cli, doc, with_next(page_text(page, 0), json_text_of(doc, "next_test_at")));
    return TRUE;
}

static gboolean write_page(Cli *cli, const json_t *test, GError **error)
{
    json_auto_t *evidence = json_object();
    g_autofree char *html = NULL;

    if (!keepsake_collect(cli, test, evidence, error))
        return FALSE;
    html = report_html(test, evidence);
    return keepsake_write(cli, test, html, error);
}

gboolean command_test_show(Cli *cli, GError **error)
{
    g_autofree char *id = cli_listed(cli, "test.list", "tests", "test", "test", cli_argument(cli, 0), error);
    json_auto_t *test = id ? cli_call(cli, "test.show", id, NULL, NULL, error) : NULL;

    if (!test)
        return FALSE;
    if (cli_option(cli, "html"))
        return write_page(cli, test, error);
    cli_show(cli, test, test_text(test));
    return TRUE;
}

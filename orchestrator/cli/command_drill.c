/* SPDX-License-Identifier: Apache-2.0 */
/* Drills: if a host died now, would all that runs there be back, and when? */
#include "orchestrator/cli/commands.h"
#include "orchestrator/cli/keepsake.h"
#include "orchestrator/cli/page.h"
#include "orchestrator/cli/progress.h"
#include "orchestrator/cli/report.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/id.h"
#include "vmconnect/base/json.h"

/* --- one of them, in words --------------------------------------------------- */

static char *parts_of(const json_t *drill)
{
    static const char *const TITLES[] = {"SCENARIO", "VM", "ON", "VERDICT", ">BACK", "WHY", NULL};
    g_autoptr(Page) page = page_new(TITLES);
    json_t *part, *vm;
    gsize i, k;

    json_array_foreach(json_object_get(drill, "scenarios"), i, part)
        json_array_foreach(json_object_get(part, "vms"), k, vm)
    {
        page_value(page, part, "scenario");
        page_value(page, vm, "name");
        page_value(page, part, "on");
        page_value(page, vm, "verdict");
        page_duration(page, vm, "back_ms");
        page_cell(page, json_text_of(vm, "why") ?: json_text_of(part, "why"));
    }
    return page_text(page, 0);
}

static char *drill_text(const json_t *drill)
{
    const char *why = json_text_of(drill, "why");
    g_autofree char *head =
        g_strdup_printf("drill %s of %s: %s%s%s", json_text_of(drill, "drill") ?: "-", json_text_of(drill, "host") ?: "-",
                        json_text_of(drill, "verdict") ?: json_text_of(drill, "state") ?: "-", why ? ", " : "", why ?: "");
    g_autofree char *clean = page_clean(head);
    g_autofree char *times = g_strdup_printf("begun %s, ended %s", json_text_of(drill, "begun_at") ?: "-",
                                             json_text_of(drill, "ended_at") ?: "-");
    g_autofree char *clean_times = page_clean(times);
    g_autofree char *parts = parts_of(drill);

    return g_strconcat(clean, "\n", clean_times, "\n\n", parts, NULL);
}

/* --- start and stop ------------------------------------------------------------- */

static gboolean went_well(const json_t *drill, GError **error)
{
    const char *verdict = json_text_of(drill, "verdict");

    if (g_strcmp0(verdict, "passed") == 0)
        return TRUE;
    g_set_error(error, US_ERROR, US_ERROR_FAILED, "the drill %s: %s",
                g_strcmp0(verdict, "failed") == 0 ? "failed" : "was ended before there was a verdict",
                json_text_of(drill, "why") ?: "-");
    return FALSE;
}

gboolean command_drill_start(Cli *cli, GError **error)
{
    json_auto_t *body = json_pack("{s:s}", "host", cli_argument(cli, 0));
    json_auto_t *begun = cli_call(cli, "drill.start", NULL, NULL, body, error);
    const char *id = json_text_of(begun, "drill");
    json_auto_t *drill = NULL;

    if (!begun)
        return FALSE;
    if (!id) {
        g_set_error(error, US_ERROR, US_ERROR_PROTOCOL, "the controller's answer names no drill");
        return FALSE;
    }
    if (!cli->wait) {
        cli_show(cli, begun,
                 g_strdup_printf(
                     "drill %s was begun, of %zu scenarios; understudy drill show %.8s says how far it is\n",
                     id, json_array_size(json_object_get(begun, "scenarios")), id));
        return TRUE;
    }
    drill = progress_wait_drill(cli, id, error);
    if (!drill)
        return FALSE;
    cli_show(cli, drill, drill_text(drill));
    return went_well(drill, error);
}

gboolean command_drill_stop(Cli *cli, GError **error)
{
    g_autofree char *id =
        cli_listed(cli, "drill.list", "drills", "drill", "drill", cli_argument(cli, 0), error);
    json_auto_t *doc = id ? cli_call(cli, "drill.stop", id, NULL, NULL, error) : NULL;
    json_auto_t *drill = NULL;

    if (!doc)
        return FALSE;
    if (!cli->wait) {
        cli_show(cli, doc, g_strdup_printf("drill %s ends, and what its tests wrote is thrown away\n", id));
        return TRUE;
    }
    drill = progress_wait_drill(cli, id, error);
    if (!drill)
        return FALSE;
    cli_show(cli, drill, drill_text(drill));
    return TRUE;
}

/* --- what there is -------------------------------------------------------------- */

gboolean command_drill_list(Cli *cli, GError **error)
{
    static const char *const TITLES[] = {"ID", "HOST", "BEGUN AT", "STATE", "VERDICT", ">BACK", "WHY", NULL};
    static const char *const KEYS[] = {"drill", "host", "begun_at", "state", "verdict"};
    json_auto_t *doc = cli_call(cli, "drill.list", NULL, NULL, NULL, error);
    g_autoptr(Page) page = page_new(TITLES);
    json_t *drill;
    gsize i;

    if (!doc)
        return FALSE;
    json_array_foreach(json_object_get(doc, "drills"), i, drill)
    {
        for (guint k = 0; k < G_N_ELEMENTS(KEYS); k++)
            page_value(page, drill, KEYS[k]);
        page_duration(page, drill, "back_ms");
        page_value(page, drill, "why");
    }
    cli_show(cli, doc, page_text(page, 0));
    return TRUE;
}

/* Those of its tests that there are (one that was not begun is not), and what was seen in them. */
static gboolean collect(Cli *cli, const json_t *drill, json_t *tests, json_t *evidence, GError **error)
{
    json_t *part;
    gsize i;

    json_array_foreach(json_object_get(drill, "scenarios"), i, part)
    {
        g_autoptr(GError) why = NULL;
        json_auto_t *test = cli_call(cli, "test.show", json_text_of(part, "test") ?: "", NULL, NULL, &why);

        if (!test && !g_error_matches(why, US_ERROR, US_ERROR_NOT_FOUND)) {
            g_propagate_error(error, g_steal_pointer(&why));
            return FALSE;
        }
        if (test && (json_array_append(tests, test) != 0 || !keepsake_collect(cli, test, evidence, error)))
            return FALSE;
    }
    return TRUE;
}

static gboolean write_page(Cli *cli, const json_t *drill, GError **error)
{
    json_auto_t *tests = json_array();
    json_auto_t *evidence = json_object();
    g_autofree char *html = NULL;

    if (!collect(cli, drill, tests, evidence, error))
        return FALSE;
    html = report_drill_html(drill, tests, evidence);
    return keepsake_write(cli, drill, html, error);
}

gboolean command_drill_show(Cli *cli, GError **error)
{
    g_autofree char *id =
        cli_listed(cli, "drill.list", "drills", "drill", "drill", cli_argument(cli, 0), error);
    json_auto_t *drill = id ? cli_call(cli, "drill.show", id, NULL, NULL, error) : NULL;

    if (!drill)
        return FALSE;
    if (cli_option(cli, "html"))
        return write_page(cli, drill, error);
    cli_show(cli, drill, drill_text(drill));
    return TRUE;
}

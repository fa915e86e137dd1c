/* SPDX-License-Identifier: Apache-2.0 */
/* Maintenance: a host is about to be restarted, and nothing of it is to be resynchronised afterwards. */
#include "orchestrator/cli/commands.h"
#include "orchestrator/cli/page.h"
#include "orchestrator/cli/progress.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"

#define ASK_EVERY_US 500000

/* --- start ------------------------------------------------------------------- */

/* What would be done, VM by VM. */
static char *preview_text(const json_t *preview)
{
    static const char *const TITLES[] = {"SCENARIO", "VM", ">SHUTDOWN TOOK", "WHAT", NULL};
    g_autoptr(Page) page = page_new(TITLES);
    json_t *part, *vm;
    gsize i, k;

    json_array_foreach(json_object_get(preview, "scenarios"), i, part)
        json_array_foreach(json_object_get(part, "vms"), k, vm)
    {
        page_value(page, part, "scenario");
        page_value(page, vm, "name");
        page_duration(page, vm, "off_ms");
        page_cell(page, json_text_of(part, "why") ?: json_text_of(vm, "what"));
    }
    return page_text(page, 0);
}

static char *maintenance_text(const json_t *doc)
{
    const char *why = json_text_of(doc, "why"), *ready_at = json_text_of(doc, "ready_at");
    const json_t *resync = json_object_get(doc, "resync_bytes"),
                 *changes = json_object_get(doc, "change_bytes");
    g_autoptr(GString) text = g_string_new(NULL);
    g_autofree char *clean = NULL;

    g_string_append_printf(text, "maintenance of %s: %s%s%s; since %s", json_text_of(doc, "host") ?: "-",
                           json_text_of(doc, "state") ?: "-", why ? ", it failed: " : "", why ?: "",
                           json_text_of(doc, "since") ?: "-");
    if (ready_at)
        g_string_append_printf(text, ", ready for reboot at %s", ready_at);
    if (json_text_of(doc, "ended_at"))
        g_string_append_printf(text, ", over at %s", json_text_of(doc, "ended_at"));
    if (json_is_integer(resync))
        g_string_append_printf(text,
                               "; bytes resynchronised: %" JSON_INTEGER_FORMAT
                               ", of ordinary changes: %" JSON_INTEGER_FORMAT,
                               json_integer_value(resync), json_integer_value(changes));
    clean = page_clean(text->str);
    return g_strconcat(clean, "\n", NULL);
}

/* All hosts but the first have their turn after it. */
static json_t *body_of(const Cli *cli, gboolean preview)
{
    json_t *then = json_array();
    json_t *body;

    for (guint i = 1; i < cli->arguments->len; i++)
        json_array_append_new(then, json_string(cli_argument(cli, i)));
    body = json_pack("{s:b, s:b, s:b, s:b, s:b, s:s*}", "preview", preview, "until_finish",
                     cli_flag(cli, "until-finish"), "power_off", cli_flag(cli, "power-off"), "patient",
                     cli_flag(cli, "patient"), "move", cli_flag(cli, "move"), "without",
                     cli_option(cli, "without"));
    if (json_array_size(then) > 0)
        json_object_set(body, "then", then);
    json_decref(then);
    return body;
}

static gboolean went_well(const json_t *doc, GError **error)
{
    if (!json_text_of(doc, "why"))
        return TRUE;
    g_set_error(error, US_ERROR, US_ERROR_FAILED,
                "the maintenance of %s failed, and what was shut down for it is started again: %s",
                json_text_of(doc, "host") ?: "-", json_text_of(doc, "why"));
    return FALSE;
}

/* What would be done to the first, and after a yes it is. NULL with @error, or if nobody agreed. */
static json_t *begin(Cli *cli, const char *question, GError **error)
{
    const char *host = cli_argument(cli, 0);
    json_auto_t *ask = body_of(cli, TRUE), *body = body_of(cli, FALSE);
    json_auto_t *preview = cli_call(cli, "maintenance.start", host, NULL, ask, error);
    g_autofree char *text = preview ? preview_text(preview) : NULL;

    if (!preview)
        return NULL;
    cli_say(cli, "%s", text);
    return cli_confirm(cli, question, error) ? cli_call(cli, "maintenance.start", host, NULL, body, error)
                                             : NULL;
}

gboolean command_maintenance_start(Cli *cli, GError **error)
{
    const char *host = cli_argument(cli, 0);
    g_autofree char *question = g_strdup_printf("Prepare %s for a reboot?", host);
    json_auto_t *begun = begin(cli, question, error);
    json_auto_t *doc = NULL;

    if (!begun)
        return FALSE;
    if (!cli->wait) {
        cli_show(
            cli, begun,
            g_strdup_printf(
                "%s is being prepared; the event MAINTENANCE_READY says when it may be rebooted\n", host));
        return TRUE;
    }
    doc = progress_wait_maintenance(cli, host, TRUE, error);
    if (!doc)
        return FALSE;
    cli_show(cli, doc,
             json_text_of(doc, "why") ? maintenance_text(doc)
                                      : g_strdup_printf("Ready for reboot: %s\n", host));
    return went_well(doc, error);
}

/* --- one host after the other ------------------------------------------------ */

/* Is the newest of @host of the turns that began then? One whose turn has not come may have had none at all. */
static gboolean has_its_turn(Cli *cli, const char *host, const char *since, gboolean *ret_has, GError **error)
{
    g_autoptr(GError) why = NULL;
    json_auto_t *doc = cli_call(cli, "maintenance.show", host, NULL, NULL, &why);

    /* Times of the controller's, all in one form. */
    *ret_has = doc && g_strcmp0(json_text_of(doc, "since"), since) >= 0;
    if (doc || g_error_matches(why, US_ERROR, US_ERROR_NOT_FOUND))
        return TRUE;
    g_propagate_error(error, g_steal_pointer(&why));
    return FALSE;
}

/* The one before is struck off its list when this one has begun, or could not. */
static gboolean is_waited_for(Cli *cli, const char *before, gboolean *ret_is, GError **error)
{
    json_auto_t *doc = cli_call(cli, "maintenance.show", before, NULL, NULL, error);

    *ret_is = doc && json_array_size(json_object_get(doc, "then")) > 0;
    return doc != NULL;
}

/* @before: whose turn was before; NULL: nobody's. */
static gboolean wait_turn(Cli *cli, const char *before, const char *host, const char *since, GError **error)
{
    json_auto_t *doc = NULL;
    gboolean has = FALSE, waits = before != NULL;

    while (waits) {
        if (!is_waited_for(cli, before, &waits, error))
            return FALSE;
        g_usleep(ASK_EVERY_US);
    }
    if (!has_its_turn(cli, host, since, &has, error))
        return FALSE;
    if (!has) {
        g_set_error(error, US_ERROR, US_ERROR_FAILED,
                    "the maintenance of %s could not be begun; the event MAINTENANCE_FAILED says why", host);
        return FALSE;
    }
    doc = progress_wait_maintenance(cli, host, FALSE, error);
    if (doc)
        cli_show(cli, doc, maintenance_text(doc));
    return doc && went_well(doc, error);
}

gboolean command_maintenance_rolling(Cli *cli, GError **error)
{
    json_auto_t *begun = begin(cli, "Prepare these hosts for a reboot, one after the other?", error);

    if (!begun)
        return FALSE;
    if (!cli->wait) {
        cli_show(cli, begun,
                 g_strdup_printf(
                     "%s is being prepared; the event MAINTENANCE_READY says of each host when it may be "
                     "rebooted\n",
                     cli_argument(cli, 0)));
        return TRUE;
    }
    for (guint i = 0; i < cli->arguments->len; i++)
        if (!wait_turn(cli, i > 0 ? cli_argument(cli, i - 1) : NULL, cli_argument(cli, i),
                       json_text_of(begun, "since"), error))
            return FALSE;
    return TRUE;
}

/* --- the rest ---------------------------------------------------------------- */

gboolean command_maintenance_finish(Cli *cli, GError **error)
{
    const char *host = cli_argument(cli, 0);
    json_auto_t *ending = cli_call(cli, "maintenance.finish", host, NULL, NULL, error);
    json_auto_t *doc = NULL;

    if (!ending)
        return FALSE;
    if (!cli->wait) {
        cli_show(cli, ending, g_strdup_printf("what was shut down on %s is started again\n", host));
        return TRUE;
    }
    doc = progress_wait_maintenance(cli, host, FALSE, error);
    if (doc)
        cli_show(cli, doc, maintenance_text(doc));
    return doc != NULL;
}

gboolean command_maintenance_list(Cli *cli, GError **error)
{
    static const char *const TITLES[] = {"HOST",     "SINCE",           "STATE", "READY AT",
                                         "ENDED AT", ">RESYNCHRONISED", "WHY",   NULL};
    static const char *const KEYS[] = {"host", "since", "state", "ready_at", "ended_at"};
    json_auto_t *doc = cli_call(cli, "maintenance.list", NULL, NULL, NULL, error);
    g_autoptr(Page) page = page_new(TITLES);
    json_t *one;
    gsize i;

    if (!doc)
        return FALSE;
    json_array_foreach(json_object_get(doc, "maintenances"), i, one)
    {
        for (guint k = 0; k < G_N_ELEMENTS(KEYS); k++)
            page_value(page, one, KEYS[k]);
        page_bytes(page, one, "resync_bytes");
        page_value(page, one, "why");
    }
    cli_show(cli, doc, page_text(page, 0));
    return TRUE;
}

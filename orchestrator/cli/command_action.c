/* SPDX-License-Identifier: Apache-2.0 */
/* What makes a scenario do something. Where it matters it is shown first, and asked for. */
#include "orchestrator/cli/commands.h"
#include "orchestrator/cli/order.h"
#include "orchestrator/cli/page.h"
#include "orchestrator/cli/progress.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/id.h"
#include "vmconnect/base/units.h"

/* Shows @findings of verify; how many errors there are. */
static char *findings_text(const json_t *doc)
{
    GString *out = g_string_new(NULL);
    json_t *f;
    gsize i;

    json_array_foreach(json_object_get(doc, "findings"), i, f)
    {
        g_autofree char *text = page_of(f);

        g_string_append_printf(out, "%s%s", i ? "\n" : "", text);
    }
    if (out->len == 0)
        g_string_append(out, "nothing was found that would keep it from running\n");
    return g_string_free(out, FALSE);
}

/* Shows what could be put right by itself, and does it after a yes: the document of another look, @doc if there is
 * nothing to do, NULL with @error. */
static json_t *fixed(Cli *cli, json_t *doc, GError **error)
{
    const json_t *fixes = json_object_get(doc, "fixes");
    g_autofree char *question = g_strdup_printf("Do that for '%s'?", cli_argument(cli, 0));
    json_auto_t *body = json_pack("{s:b, s:[]}", "fix", 1, "fixes");
    json_t *fix;
    gsize i;

    if (json_array_size(fixes) == 0) {
        fputs("there is nothing that could be put right by itself\n", stderr);
        return json_incref(doc);
    }
    json_array_foreach((json_t *)fixes, i, fix)
    {
        g_autofree char *line = page_clean(json_string_value(json_object_get(fix, "what")));

        fprintf(stderr, "  %s\n", line);
        json_array_append(json_object_get(body, "fixes"), json_object_get(fix, "what"));
    }
    return cli_confirm(cli, question, error)
               ? cli_call(cli, "scenario.verify", cli_argument(cli, 0), NULL, body, error)
               : NULL;
}

gboolean command_verify(Cli *cli, GError **error)
{
    json_auto_t *body = json_object();
    json_auto_t *found = cli_call(cli, "scenario.verify", cli_argument(cli, 0), NULL, body, error);
    json_auto_t *doc = !found ? NULL : cli_flag(cli, "fix") ? fixed(cli, found, error) : json_incref(found);
    gint64 errors;

    if (!doc)
        return FALSE;
    cli_show(cli, doc, findings_text(doc));
    errors = json_integer_value(json_object_get(doc, "errors"));
    if (errors > 0)
        g_set_error(error, US_ERROR, US_ERROR_VERIFY,
                    "verification of '%s' found %" G_GINT64_FORMAT " error%s: it cannot run "
                    "until what is listed is put right%s",
                    cli_argument(cli, 0), errors, errors == 1 ? "" : "s",
                    json_array_size(json_object_get(doc, "fixes")) > 0 ? "; --fix can do some of it" : "");
    return errors == 0;
}

/* The answer to an action: its plan or scenario, waited for if asked. */
static gboolean follow(Cli *cli, const json_t *accepted, const char *const *states, const char *done,
                       const char *begun, GError **error)
{
    const char *name = cli_argument(cli, 0);
    const char *plan = json_string_value(json_object_get(accepted, "plan"));
    json_auto_t *doc = NULL;

    if (!cli->wait) {
        cli_show(cli, accepted, g_strdup_printf("%s%s%s\n", begun, plan ? "; plan " : "", plan ? plan : ""));
        return TRUE;
    }
    doc = plan ? progress_wait_plan(cli, plan, error) : progress_wait_scenario(cli, name, states, error);
    if (doc)
        cli_show(cli, doc, g_strdup_printf("%s\n", done));
    return doc != NULL;
}

/* What run will send, and how. */
static char *preview_text(const json_t *preview)
{
    static const char *const TITLES[] = {"VM", "FROM", "TO", ">SIZE", ">TO SEND", "HOW", NULL};
    g_autoptr(Page) page = page_new(TITLES);
    json_t *vm;
    gsize i;

    json_array_foreach(json_object_get(preview, "vms"), i, vm)
    {
        page_value(page, vm, "name");
        page_value(page, preview, "from");
        page_value(page, preview, "to");
        page_bytes(page, vm, "size_bytes");
        page_bytes(page, vm, "send_bytes");
        page_value(page, vm, "how");
    }
    return page_text(page, 0);
}

gboolean command_run(Cli *cli, GError **error)
{
    static const char *const STATES[] = {"running", "switched", NULL};
    const char *name = cli_argument(cli, 0);
    json_auto_t *preview = cli_call(cli, "scenario.preview", name, NULL, NULL, error);
    g_autofree char *text = preview ? preview_text(preview) : NULL;
    g_autofree char *question = g_strdup_printf("Run scenario '%s'?", name);
    json_auto_t *accepted = NULL;

    if (!preview)
        return FALSE;
    cli_say(cli, "%s", text);
    if (cli_confirm(cli, question, error))
        accepted = cli_call(cli, "scenario.run", name, NULL, NULL, error);
    return accepted && follow(cli, accepted, STATES, "every VM is protected",
                              "replication was started; understudy status --watch", error);
}

gboolean command_stop(Cli *cli, GError **error)
{
    static const char *const STATES[] = {"stopped", NULL};
    const char *name = cli_argument(cli, 0);
    g_autofree char *question =
        g_strdup_printf("End the protection of scenario '%s'? Guests run on, their copies stay.", name);
    json_auto_t *accepted =
        cli_confirm(cli, question, error) ? cli_call(cli, "scenario.stop", name, NULL, NULL, error) : NULL;

    return accepted && follow(cli, accepted, STATES, "stopped", "it is being stopped", error);
}

gboolean command_pause(Cli *cli, GError **error)
{
    static const char *const STATES[] = {"paused", NULL};
    json_auto_t *accepted = cli_call(cli, "scenario.pause", cli_argument(cli, 0), NULL, NULL, error);

    return accepted &&
           follow(cli, accepted, STATES, "paused; changes are remembered", "it is being paused", error);
}

gboolean command_continue(Cli *cli, GError **error)
{
    static const char *const STATES[] = {"running", "switched", NULL};
    json_auto_t *accepted = cli_call(cli, "scenario.continue", cli_argument(cli, 0), NULL, NULL, error);

    return accepted && follow(cli, accepted, STATES, "every VM is protected", "it goes on", error);
}

static gboolean is_there(Cli *cli, const char *operation)
{
    json_auto_t *doc = cli_call(cli, operation, cli_argument(cli, 0), NULL, NULL, NULL);

    return doc != NULL;
}

/* "scenario" or "host", whichever has the name; the first if none has: the answer will say so. NULL with @error if both have. */
static const char *kind_of(Cli *cli, GError **error)
{
    const char *name = cli_argument(cli, 0), *kind = cli_option(cli, "kind");
    gboolean scenario, host;

    if (kind && !g_str_equal(kind, "scenario") && !g_str_equal(kind, "host")) {
        g_set_error(error, US_ERROR, US_ERROR_USAGE, "--kind: '%s' is neither scenario nor host", kind);
        return NULL;
    }
    if (kind)
        return kind;
    scenario = is_there(cli, "scenario.show");
    host = is_there(cli, "host.show");
    if (scenario && host) {
        g_set_error(error, US_ERROR, US_ERROR_USAGE,
                    "'%s' is a scenario and a host: say which with --kind scenario or --kind host", name);
        return NULL;
    }
    return host ? "host" : "scenario";
}

gboolean command_hold(Cli *cli, GError **error)
{
    const char *name = cli_argument(cli, 0), *why = cli_option(cli, "why");
    gboolean release = cli_flag(cli, "release");
    const char *kind = kind_of(cli, error);
    json_auto_t *body = release ? NULL : json_pack("{s:s*}", "why", why);
    g_autofree char *operation = NULL;
    json_auto_t *doc = NULL;

    if (!kind)
        return FALSE;
    operation = g_strdup_printf("%s.%s", kind, release ? "unhold" : "hold");
    doc = cli_call(cli, operation, name, NULL, body, error);
    if (!doc)
        return FALSE;
    cli_show(cli, doc,
             release
                 ? g_strdup_printf("%s '%s' is not held any more\n", kind, name)
                 : g_strdup_printf("%s '%s' is held: nothing of it is moved or started again by itself until "
                                   "understudy hold %s --release\n",
                                   kind, name, name));
    return TRUE;
}

/* {"to", "vms": [UUID…], "power_off", "reverse"}, with "preview" if it is only to be shown. */
static json_t *switchover_body(Cli *cli, gboolean preview, GError **error)
{
    json_auto_t *body = json_pack("{s:b, s:b}", "preview", preview, "power_off", cli_flag(cli, "power-off"));
    json_auto_t *vms = cli_vms(cli, error);

    if (!vms)
        return NULL;
    if (json_array_size(vms) > 0)
        json_object_set(body, "vms", vms);
    if (cli_option(cli, "to"))
        json_object_set_new(body, "to", json_string(cli_option(cli, "to")));
    if (cli_flag(cli, "reverse") && cli_flag(cli, "no-reverse")) {
        g_set_error(error, US_ERROR, US_ERROR_USAGE, "--reverse and --no-reverse exclude each other");
        return NULL;
    }
    if (cli_option(cli, "point")) {
        g_autofree char *point = cli_point(cli, cli_option(cli, "point"), error);

        if (!point)
            return NULL;
        json_object_set_new(body, "point", json_string(point));
    }
    if (cli_flag(cli, "force"))
        json_object_set_new(body, "force", json_true());
    if (cli_flag(cli, "old-is-off"))
        json_object_set_new(body, "old_is_off", json_true());
    if (cli_flag(cli, "reverse") || cli_flag(cli, "no-reverse"))
        json_object_set_new(body, "reverse", json_boolean(cli_flag(cli, "reverse")));
    return g_steal_pointer(&body);
}

static char *steps_text(const json_t *plan)
{
    static const char *const TITLES[] = {"VM", "HOST", "STEP", ">USUALLY", ">AT MOST", NULL};
    g_autoptr(Page) page = page_new(TITLES);
    json_t *vm;
    json_t *step;
    gsize i;
    gsize j;

    json_array_foreach(json_object_get(plan, "vms"), i, vm)
        json_array_foreach(json_object_get(vm, "steps"), j, step)
    {
        page_value(page, vm, "name");
        page_value(page, step, "host");
        page_value(page, step, "text");
        page_duration(page, step, "expected_ms");
        page_duration(page, step, "limit_ms");
    }
    return page_text(page, 0);
}

/* As the host has it where the VMs go; NULL: it cannot be read now. */
static json_t *find_point(Cli *cli, const json_t *plan, const char *id)
{
    json_auto_t *doc = cli_call(cli, "scenario.points", cli_argument(cli, 0), NULL, NULL, NULL);
    const char *to = json_string_value(json_object_get(plan, "to"));
    const json_t *points = json_object_get(doc, "points");

    for (gsize i = 0; i < json_array_size(points); i++) {
        json_t *point = json_array_get(points, i);

        if (g_strcmp0(json_string_value(json_object_get(point, "id")), id) == 0 &&
            g_strcmp0(json_string_value(json_object_get(point, "host")), to) == 0)
            return json_incref(point);
    }
    return NULL;
}

/* Of a point that was named. */
static char *origin_text(Cli *cli, const json_t *plan, const char *id)
{
    json_auto_t *point = find_point(cli, plan, id);
    g_autofree char *to = page_clean(json_string_value(json_object_get(plan, "to")));
    g_autofree char *cut = page_clean(json_string_value(json_object_get(point, "cut_at")));

    if (json_is_true(json_object_get(point, "branch")))
        return g_strdup_printf("branch %s, what %s alone held at the end of term %" JSON_INTEGER_FORMAT
                               "; what was written on other hosts since is not in it",
                               id, to, json_integer_value(json_object_get(point, "term")));
    return g_strdup_printf("point %s%s%s; what came after it is kept beside", id, point ? " of " : "",
                           point ? cut : "");
}

/* What is lost, as far as anybody knows: nothing is sent any more. */
static char *loss_text(Cli *cli, const json_t *plan)
{
    GString *text = g_string_new(NULL);
    json_t *vm;
    gsize i;

    json_array_foreach(json_object_get(plan, "vms"), i, vm)
    {
        const json_t *lose_ms = json_object_get(vm, "lose_ms");
        g_autofree char *name = page_clean(json_string_value(json_object_get(vm, "name")));
        g_autofree char *time = units_human_duration(json_integer_value(lose_ms));
        const char *point = json_string_value(json_object_get(vm, "point"));
        g_autofree char *origin = point ? origin_text(cli, plan, point) : NULL;

        if (origin)
            g_string_append_printf(text, "%s goes on from %s\n", name, origin);
        else if (json_is_integer(lose_ms))
            g_string_append_printf(text, "%s loses what it wrote in its last %s\n", name, time);
        else
            g_string_append_printf(text, "%s goes on from the newest point; how old that is is not known\n",
                                   name);
    }
    return g_string_free(text, FALSE);
}

/* What may keep it from being started there: that is looked at before a disaster, and by force all the same. */
static char *warnings_text(const json_t *plan)
{
    GString *text = g_string_new(NULL);
    json_t *warning;
    gsize i;

    json_array_foreach(json_object_get(plan, "warnings"), i, warning)
    {
        g_autofree char *clean = page_clean(json_string_value(warning) ?: "-");

        g_string_append_printf(text, "it may not start there: %s\n", clean);
    }
    return g_string_free(text, FALSE);
}

static gboolean confirm_force(Cli *cli, const json_t *plan, GError **error)
{
    const char *name = cli_argument(cli, 0);
    const char *from = json_string_value(json_object_get(plan, "from"));
    g_autofree char *loss = loss_text(cli, plan);
    g_autofree char *warnings = warnings_text(plan);
    g_autofree char *question =
        g_strdup_printf("The VMs of '%s' are started on %s. If they still run on %s, both write. Type the "
                        "scenario's name if %s "
                        "is off:",
                        name, json_string_value(json_object_get(plan, "to")), from, from);

    cli_say(cli, "%s%s", loss, warnings);
    return cli_confirm_name(cli, question, name, error);
}

static gboolean show_move(Cli *cli, const char *operation, GError **error)
{
    const char *name = cli_argument(cli, 0);
    json_auto_t *body = switchover_body(cli, TRUE, error);
    json_auto_t *plan = body ? cli_call(cli, operation, name, NULL, body, error) : NULL;
    g_autofree char *text = plan ? steps_text(plan) : NULL;
    g_autofree char *order = plan ? order_text(plan) : NULL;
    const char *point = json_string_value(json_object_get(body, "point"));
    g_autofree char *origin = NULL;
    g_autofree char *question = NULL;

    if (!plan)
        return FALSE;
    question = g_strdup_printf("Shut the VMs of '%s' down on %s and start them on %s?", name,
                               json_string_value(json_object_get(plan, "from")),
                               json_string_value(json_object_get(plan, "to")));
    cli_say(cli, "%s%s", text, order);
    if (json_is_true(json_object_get(plan, "forced")))
        return confirm_force(cli, plan, error);
    if (point) {
        origin = origin_text(cli, plan, point);
        cli_say(cli, "it goes on from %s\n", origin);
    }
    return cli_confirm(cli, question, error);
}

static gboolean command_move(Cli *cli, const char *operation, const char *begun, GError **error)
{
    static const char *const STATES[] = {"switched", "running", NULL};
    json_auto_t *body = show_move(cli, operation, error) ? switchover_body(cli, FALSE, error) : NULL;
    json_auto_t *accepted = body ? cli_call(cli, operation, cli_argument(cli, 0), NULL, body, error) : NULL;

    return accepted && follow(cli, accepted, STATES, "every VM was moved", begun, error);
}

gboolean command_switchover(Cli *cli, GError **error)
{
    return command_move(cli, "scenario.switchover", "the switchover was started", error);
}

gboolean command_switchback(Cli *cli, GError **error)
{
    return command_move(cli, "scenario.switchback", "the switchback was started", error);
}

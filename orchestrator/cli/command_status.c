/* SPDX-License-Identifier: Apache-2.0 */
/* What is: status, points, plans, events. */
#include "orchestrator/cli/commands.h"
#include "orchestrator/cli/order.h"
#include "orchestrator/cli/page.h"
#include "orchestrator/cli/progress.h"
#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/id.h"
#include "vmconnect/base/units.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LONG_POLL_MS "25000"

static void add_standby(Page *page, const json_t *vm, const json_t *standby)
{
    g_autofree char *progress = progress_of_standby(standby);
    const char *why = json_string_value(json_object_get(standby, "why"));
    g_autofree char *both = progress && why ? g_strdup_printf("%s; %s", progress, why) : NULL;

    page_value(page, vm, "name");
    page_value(page, vm, "state");
    page_value(page, vm, "active");
    page_value(page, vm, "guest");
    page_value(page, standby, "host");
    page_duration(page, standby, "lag_ms");
    page_bytes(page, vm, "spool_bytes");
    page_value(page, json_object_get(standby, "tip"), "cut_at");
    page_cell(page, both ? both : progress ? progress : why);
}

static void add_vm(Page *page, const json_t *vm)
{
    const json_t *standbys = json_object_get(vm, "standbys");
    json_t *standby;
    gsize i;

    json_array_foreach((json_t *)standbys, i, standby) add_standby(page, vm, standby);
    if (json_array_size(standbys) == 0)
        add_standby(page, vm, NULL);
}

static void append_branch(GString *out, const json_t *s, const json_t *vm, const json_t *branch)
{
    const json_t *bytes = json_object_get(branch, "bytes");
    gint64 count = json_integer_value(json_object_get(branch, "count"));
    g_autofree char *size =
        json_is_integer(bytes) ? units_human_size((guint64)MAX(0, json_integer_value(bytes))) : NULL;
    g_autofree char *holds =
        size ? g_strdup_printf("at most %s that", size) : g_strdup("it is not known yet how much");
    g_autofree char *line = g_strdup_printf(
        "%" G_GINT64_FORMAT " branch%s of '%s' on %s: %s nothing else holds; understudy branch list %s, then "
        "branch open ID or branch release ID",
        count, count == 1 ? "" : "es", json_string_value(json_object_get(vm, "name")) ?: "-",
        json_string_value(json_object_get(branch, "host")) ?: "-", holds,
        json_string_value(json_object_get(s, "name")) ?: "-");
    g_autofree char *clean = page_clean(line);

    g_string_append_printf(out, "  %s\n", clean);
}

/* What single hosts hold alone, for the operator to look at or let go. */
static void append_branches(GString *out, const json_t *s)
{
    json_t *vm, *branch;
    gsize i, k;

    json_array_foreach(json_object_get(s, "vms"), i, vm)
        json_array_foreach(json_object_get(vm, "branches"), k, branch) append_branch(out, s, vm, branch);
}

static void append_hold(GString *out, const json_t *hold)
{
    const char *kind = json_string_value(json_object_get(hold, "kind")) ?: "-";
    const char *name = json_string_value(json_object_get(hold, "name")) ?: "-";
    const char *why = json_string_value(json_object_get(hold, "why"));
    g_autofree char *line =
        g_strdup_printf("%s '%s' is held since %s%s%s%s: nothing is moved or started again by itself; "
                        "understudy hold %s --release",
                        kind, name, json_string_value(json_object_get(hold, "since")) ?: "-", why ? " (" : "",
                        why ?: "", why ? ")" : "", name);
    g_autofree char *clean = page_clean(line);

    g_string_append_printf(out, "  %s\n", clean);
}

static void append_holds(GString *out, const json_t *s)
{
    json_t *hold;
    gsize i;

    json_array_foreach(json_object_get(s, "holds"), i, hold) append_hold(out, hold);
}

static void append_unheard(GString *out, const json_t *s)
{
    json_t *host;
    gsize i;

    json_array_foreach(json_object_get(s, "unheard"), i, host)
    {
        g_autofree char *clean = page_clean(json_string_value(host) ?: "-");

        g_string_append_printf(out,
                               "  nothing is ordered before the engine of %s has said what it knows: what is "
                               "known here comes from elsewhere, and may be old\n",
                               clean);
    }
}

/* What does not live, and how long it has still to answer. */
static void append_silence(GString *out, const json_t *s)
{
    const json_t *left = json_object_get(s, "countdown_s");
    g_autofree char *time =
        json_is_integer(left) ? units_human_duration(json_integer_value(left) * 1000) : NULL;
    g_autofree char *way_out = page_clean(json_string_value(json_object_get(s, "way_out")) ?: "-");
    json_t *vm;
    gsize i;

    json_array_foreach(json_object_get(s, "vms"), i, vm)
    {
        const char *why = json_string_value(json_object_get(vm, "guest_why"));
        g_autofree char *line = NULL;
        g_autofree char *clean = NULL;

        if (g_strcmp0(json_string_value(json_object_get(vm, "guest")), "silent") != 0)
            continue;
        line =
            g_strdup_printf("'%s' does not live: %s", json_string_value(json_object_get(vm, "name")) ?: "-",
                            why ?: "no reason is known");
        clean = page_clean(line);
        g_string_append_printf(out, "  %s\n", clean);
    }
    if (time && json_integer_value(left) > 0)
        g_string_append_printf(out, "  a switchover is required in %s if that does not answer\n", time);
    else if (time)
        g_string_append_printf(out, "  a switchover is required: %s\n", way_out);
}

static void append_automatic(GString *out, const json_t *s)
{
    const json_t *automatic = json_object_get(s, "automatic");
    g_autofree char *why = page_clean(json_string_value(json_object_get(automatic, "why")) ?: "-");

    if (!json_is_object(automatic))
        return;
    if (json_is_true(json_object_get(automatic, "armed")))
        g_string_append(out, "  switches over by itself\n");
    else
        g_string_append_printf(out, "  does not switch over by itself at present: %s\n", why);
}

/* What integrity tests have shown of a VM, as one sentence. The caller frees; NULL: nothing. */
static char *proof_text(const json_t *vm, const char *scenario)
{
    const json_t *lose = json_object_get(vm, "lose_ms"), *back = json_object_get(vm, "back_ms");
    const char *proven_at = json_string_value(json_object_get(vm, "proven_at"));
    const char *failed_at = json_string_value(json_object_get(vm, "test_failed_at"));
    const char *active = json_string_value(json_object_get(vm, "active")) ?: "-";
    const char *name = json_string_value(json_object_get(vm, "name")) ?: "-";
    g_autofree char *lose_text = json_is_integer(lose) ? units_human_duration(json_integer_value(lose))
                                                       : g_strdup("nobody knows how much");
    g_autofree char *back_text =
        json_is_integer(back) ? units_human_duration(json_integer_value(back)) : NULL;

    if (failed_at)
        return g_strdup_printf(
            "if %s died now, '%s' would lose %s, and its last test FAILED at %s: understudy "
            "test list %s",
            active, name, lose_text, failed_at, scenario);
    return back_text ? g_strdup_printf("if %s died now, '%s' would lose %s and be back in %s (proven %s)",
                                       active, name, lose_text, back_text, proven_at ?: "-")
                     : NULL;
}

static void append_proof(GString *out, const json_t *vm, const char *scenario)
{
    g_autofree char *line = proof_text(vm, scenario);
    g_autofree char *clean = line ? page_clean(line) : NULL;

    if (clean)
        g_string_append_printf(out, "  %s\n", clean);
}

static void append_tests(GString *out, const json_t *s)
{
    const json_t *test = json_object_get(s, "test");
    g_autofree char *host = page_clean(json_string_value(json_object_get(test, "host")) ?: "-");
    g_autofree char *id = page_clean(json_string_value(json_object_get(test, "id")) ?: "-");
    json_t *vm;
    gsize i;

    if (json_is_object(test))
        g_string_append_printf(out, "  the copies on %s are being tested; understudy test show %s\n", host,
                               id);
    json_array_foreach(json_object_get(s, "vms"), i, vm)
        append_proof(out, vm, json_string_value(json_object_get(s, "name")) ?: "-");
}

/* When the VMs are moved home by themselves. The caller frees. */
static char *switchback_text(const json_t *s)
{
    const json_t *left_s = json_object_get(s, "switchback_s");
    g_autofree char *left =
        json_is_integer(left_s) ? units_human_duration(json_integer_value(left_s) * 1000) : NULL;

    return left ? g_strdup_printf(", moved there by itself in %s", left) : g_strdup("");
}

static void append_scenario(GString *out, const json_t *s)
{
    static const char *const TITLES[] = {"VM",   "STATE",    "ACTIVE",       "GUEST", "STANDBY",
                                         ">LAG", ">TO SEND", "NEWEST POINT", "NOTE",  NULL};
    g_autoptr(Page) page = page_new(TITLES);
    g_autofree char *text = NULL;
    g_autofree char *name = page_clean(json_string_value(json_object_get(s, "name")) ?: "-");
    g_autofree char *state = page_clean(json_string_value(json_object_get(s, "state")) ?: "-");
    g_autofree char *active = page_clean(json_string_value(json_object_get(s, "active")) ?: "several hosts");
    g_autofree char *master = page_clean(json_string_value(json_object_get(s, "master")) ?: "-");
    g_autofree char *home = switchback_text(s);
    const char *plan = json_string_value(json_object_get(s, "plan"));
    json_t *vm;
    gsize i;

    json_array_foreach(json_object_get(s, "vms"), i, vm) add_vm(page, vm);
    text = page_text(page, 2);
    g_string_append_printf(out, "%s%s: %s, active on %s, home is %s%s%s%s\n%s", out->len ? "\n" : "", name,
                           state, active, master, home, plan ? ", plan " : "", plan ? plan : "", text);
    append_automatic(out, s);
    append_tests(out, s);
    append_silence(out, s);
    append_holds(out, s);
    append_unheard(out, s);
    append_branches(out, s);
}

static char *status_text(const json_t *doc)
{
    GString *out = g_string_new(NULL);
    json_t *s;
    gsize i;

    json_array_foreach(json_object_get(doc, "scenarios"), i, s) append_scenario(out, s);
    if (out->len == 0)
        g_string_append(out, "there is no scenario; understudy scenario create makes one\n");
    return g_string_free(out, FALSE);
}

static void print_line(const json_t *doc)
{
    json_dumpf(doc, stdout, JSON_COMPACT | JSON_ENSURE_ASCII);
    fputc('\n', stdout);
    fflush(stdout);
}

/* Who looks on for hours goes on when a controller that was there before is back. */
static json_t *ask_on(Cli *cli, const char *operation, const json_t *query, gboolean *heard, GError **error)
{
    for (gboolean told = FALSE;; told = TRUE) {
        GError *why = NULL;
        json_t *doc = cli_call(cli, operation, NULL, query, NULL, &why);

        *heard |= doc != NULL;
        if (doc)
            return doc;
        if (!*heard || !g_error_matches(why, US_ERROR, US_ERROR_UNREACHABLE)) {
            g_propagate_error(error, why);
            return NULL;
        }
        if (!told)
            g_printerr("understudy: %s; it is asked again each second\n", why->message);
        g_error_free(why);
        g_usleep(G_USEC_PER_SEC);
    }
}

/* Each second; where nobody looks at a screen, only what changed. Ends with the process. */
static gboolean watch(Cli *cli, const json_t *query, GError **error)
{
    gboolean screen = isatty(STDOUT_FILENO), heard = FALSE;
    json_auto_t *last = NULL;

    for (;; g_usleep(G_USEC_PER_SEC)) {
        json_t *doc = ask_on(cli, "status", query, &heard, error);
        g_autofree char *text = NULL;

        if (!doc)
            return FALSE;
        text = status_text(doc);
        if (cli->json)
            print_line(doc);
        else if (screen)
            printf("\033[H\033[2J%s", text);
        else if (!json_equal(doc, last))
            printf("%s\n", text);
        json_decref(last);
        last = doc;
        if (!cli_printed(error))
            return FALSE;
    }
}

gboolean command_status(Cli *cli, GError **error)
{
    json_auto_t *query = cli->arguments->len ? json_pack("{s:s}", "scenario", cli_argument(cli, 0)) : NULL;
    json_auto_t *doc = NULL;

    if (cli_flag(cli, "watch"))
        return watch(cli, query, error);
    doc = cli_call(cli, "status", NULL, query, NULL, error);
    if (!doc)
        return FALSE;
    cli_show(cli, doc, status_text(doc));
    return TRUE;
}

static char *pinned_text(const json_t *doc)
{
    GString *out = g_string_new(NULL);
    json_t *point;
    gsize i;

    json_array_foreach(json_object_get(doc, "points"), i, point)
    {
        g_autofree char *line = g_strdup_printf(
            "point %s of '%s' on %s %s", json_string_value(json_object_get(point, "id")) ?: "-",
            json_string_value(json_object_get(point, "vm")) ?: "-",
            json_string_value(json_object_get(point, "host")) ?: "-",
            json_is_true(json_object_get(point, "pinned")) ? "is kept until it is released"
                                                           : "is kept as long as retain says");
        g_autofree char *clean = page_clean(line);

        g_string_append_printf(out, "%s\n", clean);
    }
    return g_string_free(out, FALSE);
}

/* Two words: a scenario that is called `keep` or `release` is a word alone. */
static gboolean keep_or_release(Cli *cli, GError **error)
{
    const char *what = cli_argument(cli, 0);
    const char *point = cli_argument(cli, 1);
    const char *operation = g_str_equal(what, "keep")      ? "point.keep"
                            : g_str_equal(what, "release") ? "point.release"
                                                           : NULL;
    json_auto_t *doc = NULL;

    if (!operation || !*point || cli_option(cli, "vm")) {
        g_set_error(error, US_ERROR, US_ERROR_USAGE,
                    "it must be: understudy points SCENARIO [--vm VM], points keep ID, or points release ID");
        return FALSE;
    }
    doc = cli_call(cli, operation, point, NULL, NULL, error);
    if (!doc)
        return FALSE;
    cli_show(cli, doc, pinned_text(doc));
    return TRUE;
}

static gboolean list_points(Cli *cli, GError **error)
{
    static const char *const TITLES[] = {"VM",      "HOST",   "POINT",  "CUT AT",    "SEALED AT",  ">TERM",
                                         ">NUMBER", "FROZEN", "PINNED", "PROVEN AT", "INCOMPLETE", NULL};
    json_auto_t *vms = cli_vms(cli, error);
    json_auto_t *query = json_array_size(vms) > 0 ? json_pack("{s:O}", "vm", json_array_get(vms, 0)) : NULL;
    json_auto_t *doc =
        vms ? cli_call(cli, "scenario.points", cli_argument(cli, 0), query, NULL, error) : NULL;
    g_autoptr(Page) page = page_new(TITLES);
    json_t *point;
    gsize i;

    if (!doc)
        return FALSE;
    json_array_foreach(json_object_get(doc, "points"), i, point)
    {
        static const char *const KEYS[] = {"vm",       "host",   "id",     "cut_at",    "sealed_at", "term",
                                           "sequence", "frozen", "pinned", "proven_at", "incomplete"};

        for (guint k = 0; k < G_N_ELEMENTS(KEYS); k++)
            page_value(page, point, KEYS[k]);
    }
    cli_show(cli, doc, page_text(page, 0));
    return TRUE;
}

gboolean command_points(Cli *cli, GError **error)
{
    return cli->arguments->len == 2 ? keep_or_release(cli, error) : list_points(cli, error);
}

/* "moved" for one VM, "3 moved, 1 stayed" for several. */
static char *outcome(const json_t *plan)
{
    g_autoptr(GHashTable) counts = g_hash_table_new(g_str_hash, g_str_equal);
    g_autoptr(GString) out = g_string_new(NULL);
    json_t *vm;
    gsize i;

    json_array_foreach(json_object_get(plan, "vms"), i, vm)
    {
        const char *state = json_string_value(json_object_get(vm, "state")) ?: "-";
        guint n = GPOINTER_TO_UINT(g_hash_table_lookup(counts, state));

        g_hash_table_insert(counts, (void *)state, GUINT_TO_POINTER(n + 1));
    }
    json_array_foreach(json_object_get(plan, "vms"), i, vm)
    {
        const char *state = json_string_value(json_object_get(vm, "state")) ?: "-";
        guint n = GPOINTER_TO_UINT(g_hash_table_lookup(counts, state));

        if (n > 0)
            g_string_append_printf(out, "%s%u %s", out->len ? ", " : "", n, state);
        g_hash_table_remove(counts, state);
    }
    return g_strdup(out->str);
}

gboolean command_plan_list(Cli *cli, GError **error)
{
    static const char *const TITLES[] = {"ID", "SCENARIO", "FROM", "TO", "ENDED", "VMS", NULL};
    const char *scenario = cli_option(cli, "scenario");
    json_auto_t *query = scenario ? json_pack("{s:s}", "scenario", scenario) : NULL;
    json_auto_t *doc = cli_call(cli, "plan.list", NULL, query, NULL, error);
    g_autoptr(Page) page = page_new(TITLES);
    json_t *plan;
    gsize i;

    if (!doc)
        return FALSE;
    json_array_foreach(json_object_get(doc, "plans"), i, plan)
    {
        g_autofree char *vms = outcome(plan);

        page_value(page, plan, "id");
        page_value(page, plan, "scenario");
        page_value(page, plan, "from");
        page_value(page, plan, "to");
        page_value(page, plan, "ended");
        page_cell(page, vms);
    }
    cli_show(cli, doc, page_text(page, 0));
    return TRUE;
}

static char *plan_text_of(const json_t *plan)
{
    static const char *const TITLES[] = {"VM", "STATE", "HOST", "STEP", "DONE", "WHY", NULL};
    g_autoptr(Page) page = page_new(TITLES);
    json_t *vm;
    json_t *step;
    gsize i;
    gsize j;

    json_array_foreach(json_object_get(plan, "vms"), i, vm)
        json_array_foreach(json_object_get(vm, "steps"), j, step)
    {
        page_value(page, vm, "name");
        page_value(page, vm, "state");
        page_value(page, step, "host");
        page_value(page, step, "text");
        page_value(page, step, "state");
        page_value(page, vm, "why");
    }
    return page_text(page, 0);
}

gboolean command_plan_show(Cli *cli, GError **error)
{
    g_autofree char *id = cli_listed(cli, "plan.list", "plans", "id", "plan", cli_argument(cli, 0), error);
    json_auto_t *plan = id ? cli_call(cli, "plan.show", id, NULL, NULL, error) : NULL;
    g_autofree char *steps = plan ? plan_text_of(plan) : NULL;
    g_autofree char *order = plan ? order_text(plan) : NULL;

    if (!plan)
        return FALSE;
    cli_show(cli, plan, g_strconcat(steps, order, NULL));
    return TRUE;
}

static void print_event(const json_t *event)
{
    static const char *const KEYS[] = {"at", "severity", "code", "scenario", "host", "text", "next"};
    const char *v[G_N_ELEMENTS(KEYS)];
    g_autofree char *line = NULL;
    g_autofree char *clean = NULL;

    for (guint i = 0; i < G_N_ELEMENTS(KEYS); i++)
        v[i] = json_string_value(json_object_get(event, KEYS[i])) ?: "";
    line = g_strdup_printf("%s %-11s %-20s %s%s%s", v[0], v[1], v[2], v[5], v[6][0] ? "; " : "", v[6]);
    clean = page_clean(line);
    puts(clean);
}

static void print_events(const Cli *cli, const json_t *events)
{
    for (gsize i = 0; i < json_array_size(events); i++) {
        const json_t *event = json_array_get(events, i);

        if (cli->json)
            print_line(event);
        else
            print_event(event);
    }
    fflush(stdout);
}

/* RFC 3339 as it is, a duration counted back from now. The caller frees. */
static char *since(const char *text, GError **error)
{
    gint64 ms;

    if (clock_parse(text, &ms, NULL))
        return g_strdup(text);
    if (units_parse_duration(text, &ms, NULL)) {
        ms = clock_wall_ms() - ms;
        return g_strdup(clock_format(MAX(0, ms), (char[CLOCK_TEXT_LEN + 1]){0}));
    }
    g_set_error(error, US_ERROR, US_ERROR_USAGE, "--since %s: it must be like 2h or 2026-11-21T22:16:54.123Z",
                text);
    return NULL;
}

static json_t *event_query(const Cli *cli, GError **error)
{
    static const char *const KEYS[] = {"scenario", "host", "limit"};
    const char *from = cli_option(cli, "since");
    g_autofree char *at = from ? since(from, error) : NULL;
    json_t *query;

    if (from && !at)
        return NULL;
    query = json_object();
    if (at)
        json_object_set_new(query, "since", json_string(at));
    for (guint i = 0; i < G_N_ELEMENTS(KEYS); i++)
        if (cli_option(cli, KEYS[i]))
            json_object_set_new(query, KEYS[i], json_string(cli_option(cli, KEYS[i])));
    return query;
}

static void go_on_after(json_t *query, const json_t *events)
{
    const json_t *last = json_array_get(events, json_array_size(events) - 1);
    g_autofree char *sequence =
        g_strdup_printf("%" JSON_INTEGER_FORMAT, json_integer_value(json_object_get(last, "sequence")));

    json_object_set_new(query, "wait_ms", json_string(LONG_POLL_MS));
    /* Until the first has come, what was asked for is still the question. */
    if (json_array_size(events) == 0)
        return;
    json_object_set_new(query, "after", json_string(sequence));
    json_object_del(query, "since");
    json_object_del(query, "limit");
}

/* Each question waits at the controller until there is something to tell. Ends with the process. */
static gboolean follow(Cli *cli, json_t *query, GError **error)
{
    gboolean heard = FALSE;

    for (;;) {
        json_auto_t *doc = ask_on(cli, "event.list", query, &heard, error);

        if (!doc)
            return FALSE;
        print_events(cli, json_object_get(doc, "events"));
        if (!cli_printed(error))
            return FALSE;
        go_on_after(query, json_object_get(doc, "events"));
    }
}

gboolean command_events(Cli *cli, GError **error)
{
    json_auto_t *query = event_query(cli, error);
    json_auto_t *doc = NULL;

    if (!query)
        return FALSE;
    if (cli_flag(cli, "follow"))
        return follow(cli, query, error);
    doc = cli_call(cli, "event.list", NULL, query, NULL, error);
    if (!doc)
        return FALSE;
    if (cli->json)
        cli_show(cli, doc, NULL);
    else
        print_events(cli, json_object_get(doc, "events"));
    return TRUE;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/cli/progress.h"

#include "orchestrator/cli/page.h"
#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/units.h"

#include <stdio.h>
#include <string.h>

#define ASK_EVERY_US (G_USEC_PER_SEC / 2)

typedef struct {
    const Cli *cli;
    gint64 start_ms;
    char *last; /* what was shown last */
} Watch;

static void show(Watch *w, const char *text)
{
    g_autofree char *clean = page_clean(text);

    if (w->cli->json || g_strcmp0(w->last, clean) == 0)
        return;
    if (w->cli->terminal)
        fprintf(stderr, "\r\033[K%s", clean);
    else
        fprintf(stderr, "%s\n", clean);
    fflush(stderr);
    g_free(w->last);
    w->last = g_steal_pointer(&clean);
}

static void end(Watch *w)
{
    if (w->last && w->cli->terminal)
        fputc('\n', stderr);
    g_clear_pointer(&w->last, g_free);
}

/* @missing: what is waited for, as far as is known; "": nothing. */
static gboolean is_late(const Watch *w, const char *what, const char *missing, GError **error)
{
    if (w->cli->timeout_ms == 0 || clock_steady_ms() - w->start_ms < w->cli->timeout_ms)
        return FALSE;
    g_set_error(error, US_ERROR, US_ERROR_TIMEOUT,
                "%s has not ended in time%s: it goes on by itself, only the waiting ended", what, missing);
    return TRUE;
}

static gint64 number(const json_t *doc, const char *key)
{
    return json_integer_value(json_object_get(doc, key));
}

char *progress_of_standby(const json_t *standby)
{
    const json_t *sync = json_object_get(standby, "sync");
    gint64 total = number(sync, "total_bytes");
    gint64 done = MIN(number(sync, "done_bytes"), total);
    g_autofree char *done_text = units_human_size((guint64)MAX(done, 0));
    g_autofree char *total_text = units_human_size((guint64)MAX(total, 0));
    g_autofree char *rate = units_human_size((guint64)MAX(number(sync, "rate_bps"), 0));
    const json_t *left = json_object_get(sync, "left_s");
    g_autofree char *left_text =
        json_is_number(left) ? units_human_duration((gint64)json_number_value(left) * 1000) : NULL;

    if (total <= 0 || done == total)
        return NULL;
    return g_strdup_printf("%s of %s (%d %%), %s/s%s%s%s", done_text, total_text,
                           (int)((double)done * 100 / (double)total), rate, left_text ? ", " : "",
                           left_text ? left_text : "", left_text ? " left" : "");
}

/* "; alpha has not confirmed it for web1: WHY" of each call that is still owed to an engine. The caller frees. */
static char *owed_text(const json_t *scenario)
{
    GString *text = g_string_new(NULL);
    json_t *vm;
    json_t *owed;
    gsize i;
    gsize j;

    json_array_foreach(json_object_get(scenario, "vms"), i, vm)
        json_array_foreach(json_object_get(vm, "owed"), j, owed)
    {
        const char *why = json_string_value(json_object_get(owed, "why"));

        g_string_append_printf(text, "; %s has not confirmed it for %s%s%s",
                               json_string_value(json_object_get(owed, "host")) ?: "-",
                               json_string_value(json_object_get(vm, "name")) ?: "-", why ? ": " : "",
                               why ? why : "");
    }
    return g_string_free(text, FALSE);
}

static char *line_of_scenario(const json_t *scenario, const char *missing)
{
    g_autoptr(GString) line = g_string_new(NULL);
    json_t *vm;
    json_t *standby;
    gsize i;
    gsize j;

    g_string_append_printf(line, "%s: %s", json_string_value(json_object_get(scenario, "name")),
                           json_string_value(json_object_get(scenario, "state")));
    json_array_foreach(json_object_get(scenario, "vms"), i, vm)
        json_array_foreach(json_object_get(vm, "standbys"), j, standby)
    {
        g_autofree char *progress = progress_of_standby(standby);

        if (progress)
            g_string_append_printf(line, "; %s %s", json_string_value(json_object_get(vm, "name")), progress);
    }
    g_string_append(line, missing);
    return g_strdup(line->str);
}

/* The scenario of a status document; PROTOCOL if it is none. */
static const json_t *first_scenario(const json_t *doc, const char *name, GError **error)
{
    const json_t *s = json_array_get(json_object_get(doc, "scenarios"), 0);

    if (json_is_string(json_object_get(s, "state")) && json_is_string(json_object_get(s, "name")))
        return s;
    g_set_error(error, US_ERROR, US_ERROR_PROTOCOL, "the controller's status has no scenario '%s'", name);
    return NULL;
}

/* TRUE if waiting is over, with @error if that is not what was waited for. It is stopped at once, and has ended when every
 * engine has confirmed that. */
static gboolean scenario_is_over(const json_t *scenario, const char *const *states, const char *missing,
                                 GError **error)
{
    const char *state = json_string_value(json_object_get(scenario, "state"));

    if (g_strv_contains(states, state))
        return !g_str_equal(state, "stopped") || !*missing;
    if (g_str_equal(state, "failed") || g_str_equal(state, "stopped")) {
        g_set_error(error, US_ERROR, US_ERROR_FAILED,
                    "scenario '%s' is %s: understudy events --scenario %s says why",
                    json_string_value(json_object_get(scenario, "name")), state,
                    json_string_value(json_object_get(scenario, "name")));
        return TRUE;
    }
    return FALSE;
}

json_t *progress_wait_scenario(Cli *cli, const char *name, const char *const *states, GError **error)
{
    Watch w = {.cli = cli, .start_ms = clock_steady_ms()};
    json_auto_t *query = json_pack("{s:s}", "scenario", name);
    g_autoptr(GError) why = NULL;
    json_auto_t *doc = NULL;

    for (;; g_usleep(ASK_EVERY_US)) {
        const json_t *scenario;
        g_autofree char *missing = NULL;
        g_autofree char *line = NULL;

        json_decref(doc);
        doc = cli_call(cli, "status", NULL, query, NULL, &why);
        scenario = doc ? first_scenario(doc, name, &why) : NULL;
        if (!scenario)
            break;
        missing = g_strv_contains(states, "stopped") ? owed_text(scenario) : g_strdup("");
        line = line_of_scenario(scenario, missing);
        show(&w, line);
        if (scenario_is_over(scenario, states, missing, &why) || is_late(&w, name, missing, &why))
            break;
    }
    end(&w);
    if (!why)
        return g_steal_pointer(&doc);
    g_propagate_error(error, g_steal_pointer(&why));
    return NULL;
}

static char *line_of_plan(const json_t *plan)
{
    g_autoptr(GString) line = g_string_new(NULL);
    json_t *vm;
    gsize i;

    json_array_foreach(json_object_get(plan, "vms"), i, vm)
    {
        const char *name = json_string_value(json_object_get(vm, "name"));
        const char *state = json_string_value(json_object_get(vm, "state"));

        const char *why = json_string_value(json_object_get(vm, "why"));
        gboolean waits = why && (g_strcmp0(state, "waiting") == 0 || g_strcmp0(state, "held") == 0);

        g_string_append_printf(line, "%s%s: %s%s%s", i ? "; " : "", name ? name : "-", state ? state : "-",
                               waits ? ", " : "", waits ? why : "");
    }
    return g_strdup(line->str);
}

/* Every VM moved? Else the first that was not, and why. */
static gboolean plan_went_well(const json_t *plan, GError **error)
{
    json_t *vm;
    gsize i;

    json_array_foreach(json_object_get(plan, "vms"), i, vm)
    {
        const char *state = json_string_value(json_object_get(vm, "state"));
        const char *why = json_string_value(json_object_get(vm, "why"));

        if (g_strcmp0(state, "moved") == 0)
            continue;
        g_set_error(error, US_ERROR, US_ERROR_FAILED, "'%s' was not moved (%s): %s",
                    json_string_value(json_object_get(vm, "name")), state ? state : "-",
                    why ? why : "no reason is known");
        return FALSE;
    }
    return TRUE;
}

json_t *progress_wait_plan(Cli *cli, const char *plan, GError **error)
{
    Watch w = {.cli = cli, .start_ms = clock_steady_ms()};
    g_autoptr(GError) why = NULL;
    json_auto_t *doc = NULL;

    for (;; g_usleep(ASK_EVERY_US)) {
        g_autofree char *line = NULL;

        json_decref(doc);
        doc = cli_call(cli, "plan.show", plan, NULL, NULL, &why);
        if (!doc)
            break;
        line = line_of_plan(doc);
        show(&w, line);
        if (json_is_true(json_object_get(doc, "ended"))) {
            plan_went_well(doc, &why);
            break;
        }
        if (is_late(&w, "the plan", "", &why))
            break;
    }
    end(&w);
    if (!why)
        return g_steal_pointer(&doc);
    g_propagate_error(error, g_steal_pointer(&why));
    return NULL;
}

/* --- comparisons -------------------------------------------------------- */

/* What status says of the copy that @begun names, or NULL. */
static const json_t *comparison_of(const json_t *scenario, const json_t *begun)
{
    const char *uuid = json_string_value(json_object_get(begun, "vm"));
    const char *host = json_string_value(json_object_get(begun, "host"));
    json_t *vm;
    json_t *standby;
    gsize i;
    gsize j;

    json_array_foreach(json_object_get(scenario, "vms"), i, vm)
        json_array_foreach(json_object_get(vm, "standbys"), j, standby)
    {
        if (g_strcmp0(json_string_value(json_object_get(vm, "uuid")), uuid) == 0 &&
            g_strcmp0(json_string_value(json_object_get(standby, "host")), host) == 0)
            return json_object_get(standby, "compare");
    }
    return NULL;
}

static gboolean is_same_comparison(const json_t *a, const json_t *b)
{
    return g_strcmp0(json_string_value(json_object_get(a, "id")),
                     json_string_value(json_object_get(b, "id"))) == 0;
}

/* *@ret_running: one has not ended. An engine's news of one comes before its answer. */
static gboolean take_compared(json_t *list, const json_t *scenario, gboolean *ret_running, GError **error)
{
    json_t *vm;
    gsize i;

    *ret_running = FALSE;
    json_array_foreach(list, i, vm)
    {
        const json_t *now = comparison_of(scenario, vm);

        if (!is_same_comparison(json_object_get(vm, "compare"), now)) {
            g_set_error(
                error, US_ERROR, US_ERROR_FAILED,
                "the comparison of '%s' broke off (its engine was restarted, the VM was moved, or another "
                "comparison was begun): nothing is known; begin it again",
                json_string_value(json_object_get(vm, "name")));
            return FALSE;
        }
        json_object_set(vm, "compare", (json_t *)now);
        *ret_running |= !json_is_string(json_object_get(now, "ended_at")) ||
                        json_is_true(json_object_get(now, "repairing"));
    }
    return TRUE;
}

static char *line_of_compared(const json_t *list)
{
    g_autoptr(GString) line = g_string_new(NULL);
    json_t *vm;
    gsize i;

    json_array_foreach(list, i, vm)
    {
        const json_t *compare = json_object_get(vm, "compare");
        gint64 total = number(compare, "total_bytes");
        g_autofree char *total_text = units_human_size((guint64)MAX(total, 0));
        g_autofree char *different = units_human_size((guint64)MAX(number(compare, "different_bytes"), 0));
        const char *why = json_string_value(json_object_get(compare, "why"));

        g_string_append_printf(line, "%s%s: %d %% of %s, %s different%s%s", i ? "; " : "",
                               json_string_value(json_object_get(vm, "name")),
                               total > 0 ? (int)((double)number(compare, "done_bytes") * 100 / (double)total)
                                         : 0,
                               total_text, different, why ? ", " : "", why ? why : "");
    }
    return g_strdup(line->str);
}

json_t *progress_wait_compared(Cli *cli, const char *name, const json_t *begun, GError **error)
{
    Watch w = {.cli = cli, .start_ms = clock_steady_ms()};
    json_auto_t *query = json_pack("{s:s}", "scenario", name);
    json_auto_t *list = json_deep_copy(begun);
    g_autoptr(GError) why = NULL;
    gboolean running = TRUE;

    while (running) {
        json_auto_t *doc = cli_call(cli, "status", NULL, query, NULL, &why);
        const json_t *scenario = doc ? first_scenario(doc, name, &why) : NULL;
        g_autofree char *line = NULL;

        if (!scenario || !take_compared(list, scenario, &running, &why) ||
            (running && is_late(&w, "the comparison", "", &why)))
            break;
        line = line_of_compared(list);
        show(&w, line);
        if (running)
            g_usleep(ASK_EVERY_US);
    }
    end(&w);
    if (why) {
        g_propagate_error(error, g_steal_pointer(&why));
        return NULL;
    }
    return json_pack("{s:O}", "vms", list);
}

/* --- integrity tests ----------------------------------------------------- */

static char *line_of_test(const json_t *test)
{
    const char *waits = json_string_value(json_object_get(test, "waits"));
    g_autoptr(GString) line = g_string_new(NULL);
    json_t *vm;
    gsize i;

    json_array_foreach(json_object_get(test, "vms"), i, vm)
    {
        const char *verdict = json_string_value(json_object_get(vm, "verdict"));

        g_string_append_printf(line, "%s%s: %s", i ? "; " : "", json_string_value(json_object_get(vm, "name")) ?: "-",
                               verdict ?: json_string_value(json_object_get(vm, "state")) ?: "-");
    }
    if (waits)
        g_string_append_printf(line, "; %s", waits);
    return g_strdup(line->str);
}

static char *line_of_drill(const json_t *drill)
{
    g_autoptr(GString) line = g_string_new(NULL);
    json_t *part;
    gsize i;

    json_array_foreach(json_object_get(drill, "scenarios"), i, part) g_string_append_printf(
        line, "%s%s: %s", i ? "; " : "", json_string_value(json_object_get(part, "scenario")) ?: "-",
        json_string_value(json_object_get(part, "verdict")) ?: "running");
    return g_strdup(line->str);
}

/* Until what @operation shows of @id has ended, or is ready. */
static json_t *wait_ended(Cli *cli, const char *operation, const char *id, char *(*line_of)(const json_t *),
                          const char *what, gboolean ready, GError **error)
{
    Watch w = {.cli = cli, .start_ms = clock_steady_ms()};
    g_autoptr(GError) why = NULL;
    json_auto_t *doc = NULL;

    for (;; g_usleep(ASK_EVERY_US)) {
        g_autofree char *line = NULL;
        const char *state;

        json_decref(doc);
        doc = cli_call(cli, operation, id, NULL, NULL, &why);
        if (!doc)
            break;
        line = line_of(doc);
        show(&w, line);
        state = json_string_value(json_object_get(doc, "state"));
        if (g_strcmp0(state, "ended") == 0 || (ready && g_strcmp0(state, "ready") == 0) ||
            is_late(&w, what, "", &why))
            break;
    }
    end(&w);
    if (!why)
        return g_steal_pointer(&doc);
    g_propagate_error(error, g_steal_pointer(&why));
    return NULL;
}

json_t *progress_wait_test(Cli *cli, const char *id, gboolean ready, GError **error)
{
    return wait_ended(cli, "test.show", id, line_of_test, "the test", ready, error);
}

json_t *progress_wait_drill(Cli *cli, const char *id, GError **error)
{
    return wait_ended(cli, "drill.show", id, line_of_drill, "the drill", FALSE, error);
}

static char *line_of_maintenance(const json_t *doc)
{
    g_autoptr(GString) line = g_string_new(json_string_value(json_object_get(doc, "state")));
    json_t *part;
    gsize i;

    json_array_foreach(json_object_get(doc, "scenarios"), i, part) g_string_append_printf(
        line, "%s%s%s", i ? ", " : "; ", json_string_value(json_object_get(part, "scenario")) ?: "-",
        json_is_true(json_object_get(part, "ready")) ? " is ready" : "");
    return g_strdup(line->str);
}

json_t *progress_wait_maintenance(Cli *cli, const char *host, gboolean ready, GError **error)
{
    return wait_ended(cli, "maintenance.show", host, line_of_maintenance, "the maintenance", ready, error);
}

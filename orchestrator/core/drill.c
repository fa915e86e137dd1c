/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/core/drill.h"

#include "orchestrator/core/rehearsal_result.h"
#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"
#include "vmconnect/base/units.h"

/* --- one that begins ------------------------------------------------------- */

/* Of the VMs that run on @host; empty: none does. */
static json_t *vms_on(const Protection *p, const char *host)
{
    json_t *vms = json_array();

    for (guint i = 0; i < p->vms->len; i++) {
        const ProtectionVm *vm = p->vms->pdata[i];

        if (g_str_equal(vm->active, host))
            json_array_append_new(vms, json_pack("{s:s, s:s, s:n, s:n, s:n}", "vm", ID_TEXT(vm->uuid), "name",
                                                 vm->name, "verdict", "why", "back_ms"));
    }
    return vms;
}

json_t *drill_document(Id drill, const char *host, const GPtrArray *protections, gint64 now_wall_ms,
                       GError **error)
{
    json_auto_t *scenarios = json_array();
    char at[CLOCK_TEXT_LEN + 1];

    for (guint i = 0; i < protections->len; i++) {
        const Protection *p = protections->pdata[i];
        json_auto_t *vms = vms_on(p, host);
        Id test = id_random();

        if (json_array_size(vms) > 0)
            json_array_append_new(scenarios, json_pack("{s:s, s:s, s:n, s:n, s:n, s:n, s:O}", "scenario",
                                                       p->scenario->name, "test", ID_TEXT(test), "on",
                                                       "verdict", "why", "back_ms", "vms", vms));
    }
    if (json_array_size(scenarios) == 0) {
        g_set_error(error, US_ERROR, US_ERROR_NOT_FOUND,
                    "no scenario has VMs that run on %s: there is nothing to drill", host);
        return NULL;
    }
    return json_pack("{s:s, s:s, s:s, s:s, s:n, s:n, s:n, s:n, s:O}", "drill", ID_TEXT(drill), "host", host,
                     "state", "running", "begun_at", clock_format(now_wall_ms, at), "ended_at", "verdict",
                     "why", "back_ms", "scenarios", scenarios);
}

/* --- its parts --------------------------------------------------------------- */

static json_t *part(const json_t *drill, gsize at)
{
    return json_array_get(json_object_get(drill, "scenarios"), at);
}

gsize drill_len(const json_t *drill)
{
    return json_array_size(json_object_get(drill, "scenarios"));
}

const char *drill_scenario(const json_t *drill, gsize at)
{
    return json_text_of(part(drill, at), "scenario");
}

Id drill_test(const json_t *drill, gsize at)
{
    Id id = ID_NIL;

    id_parse(json_text_of(part(drill, at), "test"), &id, NULL);
    return id;
}

json_t *drill_wish(const json_t *drill, gsize at)
{
    json_t *ids = json_array();
    json_t *vm;
    gsize i;

    json_array_foreach(json_object_get(part(drill, at), "vms"), i, vm)
        json_array_append(ids, json_object_get(vm, "vm"));
    return json_pack("{s:o}", "vms", ids);
}

static gboolean is_part(const json_t *doc)
{
    const char *test = json_text_of(doc, "test");
    Id id;

    return json_text_of(doc, "scenario") && test && id_parse(test, &id, NULL) &&
           json_is_array(json_object_get(doc, "vms"));
}

gboolean drill_read(const json_t *drill, Id *ret_id, const char **ret_host, gboolean *ret_ended,
                    GError **error)
{
    const char *id = json_text_of(drill, "drill"), *state = json_text_of(drill, "state");
    gboolean sound = id && id_parse(id, ret_id, NULL) && state && drill_len(drill) > 0;

    for (gsize i = 0; sound && i < drill_len(drill); i++)
        sound = is_part(part(drill, i));
    *ret_host = json_text_of(drill, "host");
    if (!sound || !*ret_host) {
        g_set_error(error, US_ERROR, US_ERROR_CORRUPT, "the database has an unsound drill: %s",
                    id ? id : "-");
        return FALSE;
    }
    *ret_ended = g_str_equal(state, "ended");
    return TRUE;
}

gboolean drill_has(const json_t *drill, gsize at)
{
    return json_text_of(part(drill, at), "verdict") != NULL;
}

/* --- what came of them ---------------------------------------------------------- */

static void set_text(json_t *doc, const char *key, const char *text)
{
    json_object_set_new(doc, key, text ? json_string(text) : json_null());
}

static void set_back(json_t *doc, gint64 back_ms)
{
    json_object_set_new(doc, "back_ms", back_ms < 0 ? json_null() : json_integer(back_ms));
}

static gint64 back_of(const json_t *doc)
{
    const json_t *ms = json_object_get(doc, "back_ms");

    return json_is_integer(ms) ? json_integer_value(ms) : -1;
}

/* Of the slowest; -1: one of them is not known. */
static gint64 slowest(const json_t *list, const json_t **ret_which)
{
    gint64 longest_ms = -1;
    json_t *one;
    gsize i;

    json_array_foreach((json_t *)list, i, one)
    {
        if (back_of(one) < 0)
            return -1;
        if (back_of(one) > longest_ms) {
            longest_ms = back_of(one);
            *ret_which = one;
        }
    }
    return longest_ms;
}

static const char *name_of(RehearsalVerdict verdict)
{
    static const char *const NAMES[] = {NULL, "passed", "failed", "stopped"};

    return NAMES[verdict];
}

static json_t *vms_of(const RehearsalResult *r)
{
    json_t *vms = json_array();

    for (guint i = 0; i < r->vms->len; i++) {
        const RehearsalVm *vm = r->vms->pdata[i];
        json_t *one = json_pack("{s:s, s:s, s:s?, s:s?}", "vm", ID_TEXT(vm->vm), "name", vm->name, "verdict",
                                name_of(vm->verdict), "why", vm->why);

        set_back(one, vm->verdict == REHEARSAL_PASSED ? vm->back_ms : -1);
        json_array_append_new(vms, one);
    }
    return vms;
}

/* After a crash nobody would make room for it. */
static const RehearsalVm *first_that_waited(const RehearsalResult *r)
{
    for (guint i = 0; i < r->vms->len; i++) {
        const RehearsalVm *vm = r->vms->pdata[i];

        if (vm->waited)
            return vm;
    }
    return NULL;
}

static void take_waiting(json_t *of, const RehearsalVm *vm)
{
    g_autofree char *why = g_strdup_printf(
        "'%s' waited for memory that other tests' VMs had: %s has not enough for all of them at once",
        vm->name, json_text_of(of, "on"));

    set_text(of, "verdict", "failed");
    set_text(of, "why", why);
    set_back(of, -1);
}

gboolean drill_take(json_t *drill, gsize at, const json_t *test, GError **error)
{
    json_t *of = part(drill, at);
    g_autoptr(RehearsalResult) r = rehearsal_result_from_json(test, drill_test(drill, at), error);
    g_autofree char *why = NULL;
    const json_t *last = NULL;

    if (!r || !r->ended) {
        if (r)
            g_set_error(error, US_ERROR, US_ERROR_PROTOCOL, "its test has not ended");
        return FALSE;
    }
    if (drill_has(drill, at))
        return TRUE;
    why = r->verdict == REHEARSAL_FAILED ? rehearsal_result_failed_text(r) : g_strdup(r->why);
    set_text(of, "on", json_text_of(test, "host"));
    set_text(of, "verdict", name_of(r->verdict));
    set_text(of, "why", why);
    json_object_set_new(of, "vms", vms_of(r));
    set_back(of, r->verdict == REHEARSAL_PASSED ? slowest(json_object_get(of, "vms"), &last) : -1);
    if (r->verdict == REHEARSAL_PASSED && first_that_waited(r))
        take_waiting(of, first_that_waited(r));
    return TRUE;
}

void drill_miss(json_t *drill, gsize at, gboolean unsure, const char *why)
{
    const char *verdict = unsure ? "stopped" : "failed";
    json_t *of = part(drill, at);
    json_t *vm;
    gsize i;

    if (drill_has(drill, at))
        return;
    set_text(of, "verdict", verdict);
    set_text(of, "why", why);
    json_array_foreach(json_object_get(of, "vms"), i, vm) set_text(vm, "verdict", verdict);
}

/* --- and of all ------------------------------------------------------------------- */

/* How many of the parts have @verdict, and the first of them. */
static guint count(const json_t *drill, const char *verdict, const json_t **ret_first)
{
    guint found = 0;

    for (gsize i = drill_len(drill); i-- > 0;)
        if (g_strcmp0(json_text_of(part(drill, i), "verdict"), verdict) == 0) {
            *ret_first = part(drill, i);
            found++;
        }
    return found;
}

static gsize vms_in(const json_t *drill)
{
    gsize vms = 0;

    for (gsize i = 0; i < drill_len(drill); i++)
        vms += json_array_size(json_object_get(part(drill, i), "vms"));
    return vms;
}

static char *passed_text(const json_t *drill, gint64 back_ms, const json_t *last)
{
    g_autofree char *time = back_ms < 0 ? NULL : units_human_duration(back_ms);
    const json_t *vm = NULL;

    if (!time || slowest(json_object_get(last, "vms"), &vm) < 0)
        return g_strdup_printf("all would be back (scenarios: %zu, VMs: %zu)", drill_len(drill),
                               vms_in(drill));
    return g_strdup_printf("all would be back in %s (scenarios: %zu, VMs: %zu; '%s' was the last)", time,
                           drill_len(drill), vms_in(drill), json_text_of(vm, "name"));
}

static char *other_text(const json_t *drill, const char *what, guint found, const json_t *first)
{
    const char *why = json_text_of(first, "why");

    return g_strdup_printf("scenarios that %s: %u of %zu; '%s'%s%s", what, found, drill_len(drill),
                           json_text_of(first, "scenario"), why ? ": " : "", why ? why : "");
}

gboolean drill_conclude(json_t *drill, gint64 now_wall_ms)
{
    const json_t *failed = NULL, *stopped = NULL, *last = NULL, *unused = NULL;
    guint failures = count(drill, "failed", &failed), stops = count(drill, "stopped", &stopped);
    g_autofree char *why = NULL;
    char at[CLOCK_TEXT_LEN + 1];
    gint64 back_ms = -1;

    if (count(drill, "passed", &unused) + failures + stops < drill_len(drill))
        return FALSE;
    if (failures > 0) {
        why = other_text(drill, "would not be back", failures, failed);
    } else if (stops > 0) {
        why = other_text(drill, "were ended before they had a verdict", stops, stopped);
    } else {
        back_ms = slowest(json_object_get(drill, "scenarios"), &last);
        why = passed_text(drill, back_ms, last);
    }
    set_text(drill, "state", "ended");
    set_text(drill, "ended_at", clock_format(now_wall_ms, at));
    set_text(drill, "verdict", failures > 0 ? "failed" : stops > 0 ? "stopped" : "passed");
    set_text(drill, "why", why);
    set_back(drill, back_ms);
    return TRUE;
}

const char *drill_verdict(const json_t *drill)
{
    return json_text_of(drill, "verdict");
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/core/rehearsal_order.h"

#include "orchestrator/core/start_order.h"
#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/exam.h"
#include "vmconnect/base/json.h"

#define LIMIT_MIN_MS 10000
#define LIMIT_MAX_MS ((gint64)7 * 24 * 3600 * 1000)

static gboolean no(GError **error, UsError code, const char *format, ...) G_GNUC_PRINTF(3, 4);
static gboolean no(GError **error, UsError code, const char *format, ...)
{
    g_autofree char *text = NULL;
    va_list args;

    va_start(args, format);
    text = g_strdup_vprintf(format, args);
    va_end(args);
    g_set_error(error, US_ERROR, (int)code, "%s: no test was begun", text);
    return FALSE;
}

/* The nil UUID is what stands for none: who names it as a point does not mean the newest one. */
static gboolean wrong(GError **error, const char *what)
{
    g_set_error_literal(error, US_ERROR, US_ERROR_USAGE, what);
    return FALSE;
}

static gboolean read_point(const char *text, Id *ret_point, GError **error)
{
    if (!id_parse(text, ret_point, error))
        return FALSE;
    if (!id_is_nil(*ret_point))
        return TRUE;
    g_set_error(error, US_ERROR, US_ERROR_NOT_FOUND, "there is no point %s", text);
    return FALSE;
}

static gboolean read_wish(const json_t *body, RehearsalWish *ret_wish, GError **error)
{
    RehearsalWish wish = {.limit_ms = REHEARSAL_LIMIT_MS};
    json_int_t limit_ms = REHEARSAL_LIMIT_MS;
    const char *point = NULL;
    int manual = FALSE;

    if (!json_read(body, "test", error, "{s?b, s?o, s?s, s?I, s?o}", "manual", &manual, "vms", &wish.vms,
                   "point", &point, "limit_ms", &limit_ms, "checks", &wish.checks) ||
        (point && !read_point(point, &wish.point, error)))
        return FALSE;
    if (wish.vms && json_array_size(wish.vms) == 0)
        return wrong(error, "\"vms\" must be UUIDs, or be left out for all of them");
    if (limit_ms < LIMIT_MIN_MS || limit_ms > LIMIT_MAX_MS)
        return wrong(error, "the limit must be from 10s to 7d");
    if (wish.checks && !exam_document_check(wish.checks, error))
        return FALSE;
    wish.manual = manual;
    wish.limit_ms = limit_ms;
    *ret_wish = wish;
    return TRUE;
}

gboolean rehearsal_wish_read(const json_t *body, RehearsalWish *ret_wish, GError **error)
{
    g_autoptr(GError) why = NULL;

    if (read_wish(body, ret_wish, &why))
        return TRUE;
    no(error, (UsError)why->code, "%s", why->message);
    return FALSE;
}

static gboolean may_begin(const Protection *p, GError **error)
{
    const char *name = p->scenario->name;

    if (!id_is_nil(p->plan))
        return no(error, US_ERROR_REFUSED, "a plan moves the VMs of scenario '%s'", name);
    if (p->goal == GOAL_STOPPED)
        return no(
            error, US_ERROR_REFUSED,
            "scenario '%s' is stopped, and nobody keeps its copies ready; use 'understudy run %s' first",
            name, name);
    return protection_is_sure(p, error);
}

/* A point that is named is asked of its host. */
static gboolean check_vm(const Protection *p, const ProtectionVm *vm, const char *host, Id point,
                         GError **error)
{
    const ProtectionCopy *copy = vm->copies->pdata[0];

    if (!g_str_equal(protection_keeper(vm), host))
        return no(error, US_ERROR_REFUSED,
                  "the copies of scenario '%s' are on several hosts: name VMs of one of them with --vm",
                  p->scenario->name);
    return copy->complete || !id_is_nil(point) ||
           no(error, US_ERROR_REFUSED, "'%s' has no whole copy on %s yet", vm->name, host);
}

static gboolean is_vm(const Protection *p, const char *text)
{
    for (guint i = 0; i < p->vms->len; i++) {
        const ProtectionVm *vm = p->vms->pdata[i];

        if (g_str_equal(text, vm->name) || g_str_equal(text, ID_TEXT(vm->uuid)))
            return TRUE;
    }
    return FALSE;
}

static gboolean check_checks(const Protection *p, const json_t *checks, GError **error)
{
    const char *vm;
    json_t *list;

    json_object_foreach((json_t *)checks, vm, list)
    {
        if (!g_str_equal(vm, "*") && !is_vm(p, vm))
            return no(error, US_ERROR_NOT_FOUND, "there are checks of '%s', and scenario '%s' has no such VM",
                      vm, p->scenario->name);
    }
    return TRUE;
}

static const ProtectionVm *find_wanted(const Protection *p, const json_t *uuid, GError **error)
{
    const char *text = json_string_value(uuid);
    const ProtectionVm *vm;
    Id id;

    if (!id_parse(text ? text : "", &id, NULL)) {
        no(error, US_ERROR_USAGE, "\"vms\" are UUIDs, and '%.64s' is none", text ? text : "");
        return NULL;
    }
    vm = protection_find(p, id);
    if (!vm)
        no(error, US_ERROR_NOT_FOUND, "scenario '%s' has no VM %s", p->scenario->name, text);
    return vm;
}

/* Of ProtectionVm *, each once, in the scenario's order or the one that was asked for. */
static GPtrArray *choose(const Protection *p, const json_t *uuids, GError **error)
{
    g_autoptr(GPtrArray) chosen = g_ptr_array_new();

    for (guint i = 0; !uuids && i < p->vms->len; i++)
        g_ptr_array_add(chosen, p->vms->pdata[i]);
    for (gsize i = 0; i < json_array_size(uuids); i++) {
        const ProtectionVm *vm = find_wanted(p, json_array_get(uuids, i), error);

        if (!vm)
            return NULL;
        if (!g_ptr_array_find(chosen, vm, NULL))
            g_ptr_array_add(chosen, (gpointer)vm);
    }
    return g_steal_pointer(&chosen);
}

static gboolean is_chosen(const void *user, Id vm)
{
    const GPtrArray *vms = user;

    for (guint i = 0; i < vms->len; i++)
        if (id_equal(((const ProtectionVm *)vms->pdata[i])->uuid, vm))
            return TRUE;
    return FALSE;
}

/* As a plan would start them, of those that are tested. */
static json_t *after_of(const Protection *p, const GPtrArray *vms, Id vm)
{
    g_autoptr(GArray) before = start_order_before(p->scenario, vm, is_chosen, vms);
    json_t *list = json_array();

    for (guint i = 0; i < before->len; i++)
        json_array_append_new(list, json_from_id(g_array_index(before, Id, i)));
    return list;
}

/* Its agent has answered at home: then its absence in the test is a failure. */
static gboolean has_agent(const Protection *p, const ProtectionVm *vm)
{
    const json_t *answers = p->vitals ? vitals_answers_of(p->vitals, vm->active, vm->uuid) : NULL;

    return json_is_true(json_object_get(answers, "agent"));
}

/* As it was asked for, else as its scenario has it; NULL: as the engine does. */
static json_t *checks_of(const Protection *p, const ProtectionVm *vm, const RehearsalWish *wish)
{
    json_t *checks = exam_document_find(wish->checks, ID_TEXT(vm->uuid), vm->name);
    const ScenarioVm *rules = scenario_find_vm(p->scenario, vm->uuid);

    return checks ? checks : rules ? rules->exams : NULL;
}

static json_t *order_of(const Protection *p, const GPtrArray *vms, const ProtectionVm *vm,
                        const RehearsalWish *wish)
{
    json_t *checks = checks_of(p, vm, wish);
    json_t *doc = json_pack("{s:s, s:s, s:o, s:o}", "vm", ID_TEXT(vm->uuid), "name", vm->name, "point",
                            json_from_id(wish->point), "after", after_of(p, vms, vm->uuid));

    if (has_agent(p, vm))
        json_object_set_new(doc, "agent", json_true());
    if (checks)
        json_object_set(doc, "checks", checks);
    return doc;
}

static json_t *params_of(const Protection *p, const GPtrArray *vms, const RehearsalWish *wish, Id test,
                         const char *host)
{
    json_t *list = json_array();

    for (guint i = 0; i < vms->len; i++)
        json_array_append_new(list, order_of(p, vms, vms->pdata[i], wish));
    return json_pack("{s:s, s:s, s:b, s:I, s:I, s:o, s:o}", "test", ID_TEXT(test), "scenario",
                     p->scenario->name, "manual", wish->manual, "limit_ms", (json_int_t)wish->limit_ms,
                     "boot_ms", (json_int_t)p->scenario->policy.start_timeout_ms, "vms", list, "hosts",
                     roster_addresses_of_others(p->roster, host));
}

const char *rehearsal_order(const Protection *p, const RehearsalWish *wish, Id test, json_t **ret_params,
                            GError **error)
{
    g_autoptr(GPtrArray) vms = may_begin(p, error) ? choose(p, wish->vms, error) : NULL;
    const char *host = vms ? protection_keeper(vms->pdata[0]) : NULL;

    if (!host || !check_checks(p, wish->checks, error))
        return NULL;
    if (!id_is_nil(wish->point) && vms->len != 1) {
        no(error, US_ERROR_USAGE, "a point is of one VM, and %u would be tested; name it with --vm",
           vms->len);
        return NULL;
    }
    for (guint i = 0; i < vms->len; i++)
        if (!check_vm(p, vms->pdata[i], host, wish->point, error))
            return NULL;
    if (!protection_is_up(p, host)) {
        no(error, US_ERROR_UNREACHABLE, "the engine of %s does not answer", host);
        return NULL;
    }
    *ret_params = params_of(p, vms, wish, test, host);
    return host;
}

json_t *rehearsal_first_document(const json_t *params, const char *host, gint64 now_wall_ms)
{
    char at[CLOCK_TEXT_LEN + 1];
    json_t *vms = json_array();
    json_t *of = json_object_get(params, "vms");
    json_t *point = json_object_get(json_array_get(of, 0), "point"); /* of each the same */
    json_t *vm;
    gsize i;

    json_array_foreach(of, i, vm) json_array_append_new(
        vms, json_pack("{s:O, s:O, s:n, s:n, s:s, s:n, s:n, s:n, s:n, s:[], s:[], s:n, s:n, s:b}", "vm",
                       json_object_get(vm, "vm"), "name", json_object_get(vm, "name"), "verdict", "why",
                       "state", "waiting", "point", "start_ms", "boot_ms", "back_ms", "checks", "left_out",
                       "vnc", "serial", "picture", 0));
    return json_pack("{s:O, s:O, s:s, s:O, s:O, s:s, s:s, s:n, s:n, s:n, s:o}", "test",
                     json_object_get(params, "test"), "scenario", json_object_get(params, "scenario"), "host",
                     host, "manual", json_object_get(params, "manual"), "point", point, "state", "running",
                     "begun_at", clock_format(now_wall_ms, at), "ended_at", "verdict", "why", "vms", vms);
}

gboolean rehearsal_may_have_begun(const GError *error)
{
    return g_error_matches(error, US_ERROR, US_ERROR_UNREACHABLE) ||
           g_error_matches(error, US_ERROR, US_ERROR_TIMEOUT) ||
           g_error_matches(error, US_ERROR, US_ERROR_CANCELLED);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/core/scenario.h"

#include "netmap/mapping_json.h"
#include "orchestrator/core/start_order.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/exam.h"
#include "vmconnect/base/json.h"

#include <string.h>

/* libvirt's own limit for a name is the file system's; ours is for messages and rows. */
#define MAX_VM_NAME 1024
#define MAX_CHECKS 16

static void vm_free(gpointer p)
{
    ScenarioVm *vm = p;

    g_free(vm->name);
    g_ptr_array_unref(vm->checks);
    g_array_unref(vm->after);
    json_decref(vm->exams);
    g_free(vm);
}

Scenario *scenario_new(const char *name, const char *master)
{
    Scenario *s = g_new0(Scenario, 1);

    s->name = g_strdup(name);
    s->master = g_strdup(master);
    s->replicas = g_ptr_array_new_with_free_func(g_free);
    s->vms = g_ptr_array_new_with_free_func(vm_free);
    s->map = mapping_new();
    policy_init(&s->policy);
    return s;
}

static void copy_checks(ScenarioVm *to, const ScenarioVm *from)
{
    g_ptr_array_set_size(to->checks, 0);
    for (guint i = 0; i < from->checks->len; i++)
        g_ptr_array_add(to->checks, check_spec_copy(from->checks->pdata[i]));
    to->need_all = from->need_all;
}

static void copy_exams(ScenarioVm *to, const ScenarioVm *from)
{
    json_decref(to->exams);
    to->exams = json_incref(from->exams);
}

static void copy_order(ScenarioVm *to, const ScenarioVm *from)
{
    g_array_set_size(to->after, 0);
    g_array_append_vals(to->after, from->after->data, from->after->len);
    to->gate = from->gate;
}

Scenario *scenario_copy(const Scenario *s)
{
    Scenario *copy = scenario_new(s->name, s->master);

    for (guint i = 0; i < s->replicas->len; i++)
        scenario_add_replica(copy, s->replicas->pdata[i]);
    for (guint i = 0; i < s->vms->len; i++) {
        const ScenarioVm *vm = s->vms->pdata[i];

        ScenarioVm *to = scenario_add_vm(copy, vm->uuid, vm->name);

        copy_checks(to, vm);
        copy_exams(to, vm);
        copy_order(to, vm);
    }
    scenario_set_map(copy, s);
    copy->policy = s->policy;
    return copy;
}

void scenario_free(Scenario *s)
{
    if (!s)
        return;
    g_ptr_array_free(s->replicas, TRUE);
    g_ptr_array_free(s->vms, TRUE);
    mapping_free(s->map);
    g_free(s->name);
    g_free(s->master);
    g_free(s);
}

void scenario_add_replica(Scenario *s, const char *host)
{
    g_ptr_array_add(s->replicas, g_strdup(host));
}

ScenarioVm *scenario_add_vm(Scenario *s, Id uuid, const char *name)
{
    ScenarioVm *vm = g_new0(ScenarioVm, 1);

    vm->uuid = uuid;
    vm->name = g_strdup(name);
    vm->checks = g_ptr_array_new_with_free_func((GDestroyNotify)check_spec_free);
    vm->after = g_array_new(FALSE, FALSE, sizeof(Id));
    g_ptr_array_add(s->vms, vm);
    return vm;
}

void scenario_set_map(Scenario *s, const Scenario *from)
{
    mapping_free(s->map);
    s->map = mapping_copy(from->map);
}

void scenario_set_rules(Scenario *s, const Scenario *from)
{
    for (guint i = 0; i < s->vms->len; i++) {
        ScenarioVm *vm = s->vms->pdata[i];
        const ScenarioVm *other = scenario_find_vm(from, vm->uuid);

        if (!other)
            continue;
        copy_checks(vm, other);
        copy_exams(vm, other);
        copy_order(vm, other);
    }
}

const ScenarioVm *scenario_find_vm(const Scenario *s, Id uuid)
{
    for (guint i = 0; i < s->vms->len; i++) {
        const ScenarioVm *vm = s->vms->pdata[i];

        if (id_equal(vm->uuid, uuid))
            return vm;
    }
    return NULL;
}

static gboolean has_replica(const Scenario *s, const char *host)
{
    return g_ptr_array_find_with_equal_func(s->replicas, host, g_str_equal, NULL);
}

gboolean scenario_has_host(const Scenario *s, const char *host)
{
    return g_str_equal(s->master, host) || has_replica(s, host);
}

gboolean scenario_name_check(const char *what, const char *name, GError **error)
{
    gsize len = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");

    if (g_ascii_isalnum(name[0]) && name[len] == '\0' && len <= SCENARIO_MAX_NAME)
        return TRUE;
    g_set_error(
        error, US_ERROR, US_ERROR_USAGE,
        "'%.80s' cannot be the name of a %s: take letters, digits, '.', '_', '-', starting with a letter or "
        "digit, at most %d",
        name, what, SCENARIO_MAX_NAME);
    return FALSE;
}

static gboolean refuse(GError **error, UsError code, const char *format, ...) G_GNUC_PRINTF(3, 4);

static gboolean refuse(GError **error, UsError code, const char *format, ...)
{
    g_autofree char *text = NULL;
    va_list args;

    va_start(args, format);
    text = g_strdup_vprintf(format, args);
    va_end(args);
    g_set_error_literal(error, US_ERROR, code, text);
    return FALSE;
}

ScenarioVm *scenario_mean_vm(const Scenario *s, const char *meant, GError **error)
{
    ScenarioVm *found = NULL;
    gboolean several = FALSE;
    Id id = ID_NIL;

    id_parse(meant, &id, NULL);
    for (guint i = 0; i < s->vms->len; i++) {
        ScenarioVm *vm = s->vms->pdata[i];

        if (id_equal(vm->uuid, id))
            return vm;
        if (!g_str_equal(vm->name, meant))
            continue;
        several |= found != NULL;
        found = vm;
    }
    if (found && !several)
        return found;
    refuse(error, US_ERROR_USAGE,
           several ? "scenario '%s' has several VMs '%.64s': name it by its UUID"
                   : "scenario '%s' has no VM '%.64s'; understudy scenario show lists those it has",
           s->name, meant);
    return NULL;
}

static gboolean check_hosts(const Scenario *s, GError **error)
{
    if (!scenario_name_check("host", s->master, error))
        return FALSE;
    for (guint i = 0; i < s->replicas->len; i++)
        if (!scenario_name_check("host", s->replicas->pdata[i], error))
            return FALSE;
    if (has_replica(s, s->master))
        return refuse(
            error, US_ERROR_USAGE,
            "host '%s' is master and replica of scenario '%s': a copy on the same host protects nothing; "
            "name another host as replica",
            s->master, s->name);
    if (s->replicas->len == 0)
        return refuse(error, US_ERROR_USAGE, "scenario '%s' has no replica host: name one with --replica",
                      s->name);
    if (s->replicas->len > 1)
        return refuse(error, US_ERROR_UNSUPPORTED,
                      "scenario '%s' names %u replica hosts: this version keeps one copy of a VM; name one",
                      s->name, s->replicas->len);
    return TRUE;
}

static gboolean check_vms(const Scenario *s, GError **error)
{
    g_autoptr(GHashTable) seen = g_hash_table_new(id_hash, id_equal_func);

    if (s->vms->len == 0)
        return refuse(error, US_ERROR_USAGE, "scenario '%s' has no VM: name one with --vm", s->name);
    if (s->vms->len > SCENARIO_MAX_VMS)
        return refuse(error, US_ERROR_USAGE, "scenario '%s' has %u VMs, more than the %d allowed: split it",
                      s->name, s->vms->len, SCENARIO_MAX_VMS);
    for (guint i = 0; i < s->vms->len; i++) {
        ScenarioVm *vm = s->vms->pdata[i];

        if (id_is_nil(vm->uuid) || vm->name[0] == '\0' || strlen(vm->name) > MAX_VM_NAME ||
            !g_utf8_validate(vm->name, -1, NULL))
            return refuse(error, US_ERROR_USAGE, "VM %s of scenario '%s' has no UUID or no usable name",
                          ID_TEXT(vm->uuid), s->name);
        if (!g_hash_table_add(seen, &vm->uuid))
            return refuse(error, US_ERROR_USAGE, "VM '%.64s' (%s) is named twice in scenario '%s'", vm->name,
                          ID_TEXT(vm->uuid), s->name);
    }
    return TRUE;
}

static gboolean check_map(const Scenario *s, GError **error)
{
    g_autoptr(GError) why = NULL;

    return mapping_check(s->map, &why) ||
           refuse(error, US_ERROR_USAGE, "map of scenario '%s': %s", s->name, why->message);
}

gboolean scenario_check(const Scenario *s, GError **error)
{
    return scenario_name_check("scenario", s->name, error) && check_hosts(s, error) && check_vms(s, error) &&
           start_order_check(s, error) && check_map(s, error) && policy_check(&s->policy, error);
}

static gboolean check_apart(const Scenario *s, const Scenario *other, GError **error)
{
    for (guint i = 0; i < s->vms->len; i++) {
        const ScenarioVm *vm = s->vms->pdata[i];

        if (scenario_find_vm(other, vm->uuid))
            return refuse(
                error, US_ERROR_EXISTS,
                "VM '%.64s' is already in scenario '%s': a VM is protected by one scenario; take it out "
                "there first",
                vm->name, other->name);
    }
    return TRUE;
}

gboolean scenario_check_beside(const Scenario *s, const GPtrArray *others, gboolean replacing, GError **error)
{
    for (guint i = 0; i < others->len; i++) {
        const Scenario *other = others->pdata[i];
        gboolean same_name = g_str_equal(other->name, s->name);

        if (same_name && replacing)
            continue;
        if (same_name)
            return refuse(error, US_ERROR_EXISTS, "there is a scenario '%s' already: choose another name",
                          s->name);
        if (!check_apart(s, other, error))
            return FALSE;
    }
    return TRUE;
}

/* What may change while it runs. */
static void drop_rules(json_t *doc)
{
    static const char *const RULES[] = {"checks", "need", "after", "gate", "test_checks"};
    json_t *vms = json_object_get(doc, "vms");

    json_object_del(doc, "policy");
    for (gsize i = 0; i < json_array_size(vms); i++)
        for (guint k = 0; k < G_N_ELEMENTS(RULES); k++)
            json_object_del(json_array_get(vms, i), RULES[k]);
}

static gboolean same_shape(const Scenario *a, const Scenario *b)
{
    json_auto_t *x = scenario_to_json(a);
    json_auto_t *y = scenario_to_json(b);

    drop_rules(x);
    drop_rules(y);
    return json_equal(x, y);
}

gboolean scenario_may_become(const Scenario *from, const Scenario *to, PolicyMoment moment, GError **error)
{
    if (!g_str_equal(from->name, to->name))
        return refuse(
            error, US_ERROR_REFUSED,
            "scenario '%s' cannot be renamed to '%s': export it, delete it and import it under the new name",
            from->name, to->name);
    if (moment != POLICY_MOMENT_STOPPED && !same_shape(from, to))
        return refuse(
            error, US_ERROR_REFUSED,
            "hosts, VMs and networks of scenario '%s' may only change while it is stopped: nothing was "
            "changed; stop it first",
            from->name);
    return policy_may_become(&from->policy, &to->policy, moment, error);
}

static gboolean patch_policy(Scenario *s, json_t *policy, GError **error)
{
    const char *key;
    json_t *value;

    if (policy && !json_is_object(policy))
        return refuse(error, US_ERROR_USAGE, "\"policy\" must be an object");
    json_object_foreach(policy, key, value)
    {
        if (!json_is_string(value))
            return refuse(error, US_ERROR_USAGE, "policy %s: its value must be a text", key);
        if (!policy_set(&s->policy, key, json_string_value(value), error))
            return FALSE;
    }
    return TRUE;
}

/* Instead of those there are. */
static gboolean read_checks(ScenarioVm *vm, const json_t *list, const char *need, GError **error)
{
    if (need && !g_str_equal(need, "all") && !g_str_equal(need, "any"))
        return refuse(error, US_ERROR_USAGE, "VM '%.64s': \"need\" is \"any\" or \"all\" of its checks",
                      vm->name);
    if (list && (!json_is_array(list) || json_array_size(list) > MAX_CHECKS))
        return refuse(error, US_ERROR_USAGE, "VM '%.64s': \"checks\" is a list of at most %d", vm->name,
                      MAX_CHECKS);
    g_ptr_array_set_size(vm->checks, 0);
    for (gsize i = 0; i < json_array_size(list); i++) {
        CheckSpec *spec = check_spec_from_json(json_array_get(list, i), error);

        if (!spec)
            return FALSE;
        g_ptr_array_add(vm->checks, spec);
        if (spec->kind == CHECK_BEAT)
            return refuse(error, US_ERROR_USAGE, "VM '%.64s': a guest has no engine to beat", vm->name);
    }
    vm->need_all = g_strcmp0(need, "all") == 0;
    return TRUE;
}

/* NULL: nothing is said; an empty list takes back what was. */
static gboolean read_exams(ScenarioVm *vm, const json_t *list, GError **error)
{
    g_autoptr(GPtrArray) exams = NULL;

    if (!list)
        return TRUE;
    if (!json_is_array(list))
        return refuse(error, US_ERROR_USAGE, "VM '%.64s': \"test_checks\" is a list of texts", vm->name);
    g_clear_pointer(&vm->exams, json_decref);
    if (json_array_size(list) == 0)
        return TRUE;
    exams = exam_list_from_json(list, error);
    if (!exams) {
        g_prefix_error(error, "VM '%.64s': \"test_checks\": ", vm->name);
        return FALSE;
    }
    vm->exams = json_deep_copy(list);
    return TRUE;
}

static gboolean read_order(const Scenario *s, ScenarioVm *vm, const json_t *after, const char *gate,
                           GError **error)
{
    return (!after || start_order_read(s, vm, after, error)) && (!gate || gate_parse(gate, &vm->gate, error));
}

/* What is not said stays as it is. */
static gboolean patch_vm(Scenario *s, const char *meant, const json_t *change, GError **error)
{
    ScenarioVm *vm = scenario_mean_vm(s, meant, error);
    const char *need = NULL, *gate = NULL;
    json_t *checks = NULL, *after = NULL, *exams = NULL;

    if (!vm || !json_read(change, "change of a VM", error, "{s?o, s?s, s?o, s?s, s?o}", "checks", &checks,
                          "need", &need, "after", &after, "gate", &gate, "test_checks", &exams))
        return FALSE;
    if (need && !checks)
        return refuse(error, US_ERROR_USAGE, "VM '%.64s': \"need\" goes with \"checks\"", vm->name);
    return (!checks || read_checks(vm, checks, need, error)) && read_exams(vm, exams, error) &&
           read_order(s, vm, after, gate, error);
}

static gboolean patch_vms(Scenario *s, json_t *vms, GError **error)
{
    const char *meant;
    json_t *change;

    if (vms && !json_is_object(vms))
        return refuse(error, US_ERROR_USAGE, "\"vms\" must be an object");
    json_object_foreach(vms, meant, change)
    {
        if (!patch_vm(s, meant, change, error))
            return FALSE;
    }
    return TRUE;
}

gboolean scenario_patch(Scenario *s, const json_t *patch, GError **error)
{
    json_t *policy = NULL, *map = NULL, *vms = NULL;

    if (!json_read(patch, "change", error, "{s?o, s?o, s?o}", "policy", &policy, "map", &map, "vms", &vms))
        return FALSE;
    if (!policy && !map && !vms)
        return refuse(error, US_ERROR_USAGE,
                      "there is nothing to change: neither \"policy\" nor \"map\" nor \"vms\"");
    return patch_policy(s, policy, error) && patch_vms(s, vms, error) &&
           (!map || mapping_merge_json(s->map, map, TRUE, error)) && scenario_check(s, error);
}

static void checks_to_json(const ScenarioVm *vm, json_t *doc)
{
    json_t *checks = json_array();

    for (guint i = 0; i < vm->checks->len; i++)
        json_array_append_new(checks, check_spec_to_json(vm->checks->pdata[i]));
    json_object_set_new(doc, "checks", checks);
    json_object_set_new(doc, "need", json_string(vm->need_all ? "all" : "any"));
}

/* What is as it is without being said is left out. */
static json_t *vm_to_json(const Scenario *s, const ScenarioVm *vm)
{
    json_t *doc = json_pack("{s:s, s:s}", "uuid", ID_TEXT(vm->uuid), "name", vm->name);
    g_autofree char *gate = gate_text(&vm->gate);

    if (vm->checks->len > 0)
        checks_to_json(vm, doc);
    if (vm->after->len > 0)
        json_object_set_new(doc, "after", start_order_to_json(s, vm));
    if (!gate_is_none(&vm->gate))
        json_object_set_new(doc, "gate", json_string(gate));
    if (vm->exams)
        json_object_set(doc, "test_checks", vm->exams);
    return doc;
}

json_t *scenario_to_json(const Scenario *s)
{
    json_t *replicas = json_array();
    json_t *vms = json_array();

    for (guint i = 0; i < s->replicas->len; i++)
        json_array_append_new(replicas, json_string(s->replicas->pdata[i]));
    for (guint i = 0; i < s->vms->len; i++) {
        const ScenarioVm *vm = s->vms->pdata[i];

        json_array_append_new(vms, vm_to_json(s, vm));
    }
    return json_pack("{s:i, s:s, s:s, s:o, s:o, s:o, s:o}", "format", SCENARIO_FORMAT, "name", s->name,
                     "master", s->master, "replicas", replicas, "vms", vms, "map", mapping_to_json(s->map),
                     "policy", policy_to_json(&s->policy));
}

static gboolean read_replicas(Scenario *s, const json_t *list, GError **error)
{
    if (!json_is_array(list))
        return refuse(error, US_ERROR_USAGE, "scenario: \"replicas\" is a list of host names");
    for (gsize i = 0; i < json_array_size(list); i++) {
        const char *host = json_string_value(json_array_get(list, i));

        if (!host)
            return refuse(error, US_ERROR_USAGE, "scenario: \"replicas\" is a list of host names");
        scenario_add_replica(s, host);
    }
    return TRUE;
}

/* When all are known: one may be named before its own turn. */
static gboolean read_orders(const Scenario *s, const json_t *list, GError **error)
{
    for (guint i = 0; i < s->vms->len; i++) {
        const json_t *doc = json_array_get(list, i);

        if (!read_order(s, s->vms->pdata[i], json_object_get(doc, "after"),
                        json_string_value(json_object_get(doc, "gate")), error))
            return FALSE;
    }
    return TRUE;
}

static gboolean read_vms(Scenario *s, const json_t *list, GError **error)
{
    if (!json_is_array(list))
        return refuse(error, US_ERROR_USAGE, "scenario: \"vms\" is a list of {\"uuid\", \"name\"}");
    for (gsize i = 0; i < json_array_size(list); i++) {
        const char *uuid, *name, *need = NULL, *gate = NULL;
        json_t *checks = NULL, *after = NULL, *exams = NULL;
        ScenarioVm *vm;
        Id id;

        if (!json_read(json_array_get(list, i), "VM of a scenario", error,
                       "{s:s, s:s, s?o, s?s, s?o, s?s, s?o}", "uuid", &uuid, "name", &name, "checks", &checks,
                       "need", &need, "after", &after, "gate", &gate, "test_checks", &exams) ||
            !id_parse(uuid, &id, error))
            return FALSE;
        vm = scenario_add_vm(s, id, name);
        if (!read_checks(vm, checks, need, error) || !read_exams(vm, exams, error))
            return FALSE;
    }
    return read_orders(s, list, error);
}

static gboolean read_map(Scenario *s, json_t *doc, GError **error)
{
    Mapping *map = mapping_from_json(doc, error);

    if (!map)
        return FALSE;
    mapping_free(s->map);
    s->map = map;
    return TRUE;
}

static gboolean check_format(const json_t *doc, GError **error)
{
    json_t *format = json_object_get(doc, "format");

    if (!json_is_integer(format) || json_integer_value(format) < 1)
        return refuse(error, US_ERROR_USAGE, "not a scenario: it has no \"format\": %d", SCENARIO_FORMAT);
    if (json_integer_value(format) > SCENARIO_FORMAT)
        return refuse(error, US_ERROR_UNSUPPORTED,
                      "the scenario is of format %" JSON_INTEGER_FORMAT
                      ", this version reads up to %d: it was left "
                      "alone; use a newer version",
                      json_integer_value(format), SCENARIO_FORMAT);
    return TRUE;
}

Scenario *scenario_from_json(const json_t *doc, GError **error)
{
    g_autoptr(Scenario) s = NULL;
    const char *name, *master;
    json_t *replicas, *vms, *map = NULL, *policy = NULL;
    json_int_t format;

    if (!check_format(doc, error))
        return NULL;
    if (!json_read(doc, "scenario", error, "{s:I, s:s, s:s, s:o, s:o, s?o, s?o}", "format", &format, "name",
                   &name, "master", &master, "replicas", &replicas, "vms", &vms, "map", &map, "policy",
                   &policy))
        return NULL;
    s = scenario_new(name, master);
    if (!read_replicas(s, replicas, error) || !read_vms(s, vms, error) || !read_map(s, map, error) ||
        (policy && !policy_from_json(policy, &s->policy, error)) || !scenario_check(s, error))
        return NULL;
    return g_steal_pointer(&s);
}

Scenario *scenario_parse(const char *text, gsize len, GError **error)
{
    json_auto_t *doc = json_parse(text, len, SCENARIO_MAX_BYTES, error);

    return doc ? scenario_from_json(doc, error) : NULL;
}

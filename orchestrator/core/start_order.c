/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/core/start_order.h"

#include "vmconnect/base/error.h"

static gboolean refuse(GError **error, const Scenario *s, const ScenarioVm *vm, const char *what)
{
    g_set_error(error, US_ERROR, US_ERROR_USAGE, "VM '%.64s' of scenario '%s': %s; nothing was changed",
                vm->name, s->name, what);
    return FALSE;
}

gboolean start_order_read(const Scenario *s, ScenarioVm *vm, const json_t *list, GError **error)
{
    if (!json_is_array(list))
        return refuse(error, s, vm, "what it starts after is a list of VMs, by name or UUID");
    g_array_set_size(vm->after, 0);
    for (gsize i = 0; i < json_array_size(list); i++) {
        const char *text = json_string_value(json_array_get(list, i));
        const ScenarioVm *one = text ? scenario_mean_vm(s, text, error) : NULL;

        if (!text)
            return refuse(error, s, vm, "what it starts after is a list of VMs, by name or UUID");
        if (!one) {
            g_prefix_error(error, "what '%.64s' starts after: ", vm->name);
            return FALSE;
        }
        g_array_append_val(vm->after, one->uuid);
    }
    return TRUE;
}

json_t *start_order_to_json(const Scenario *s, const ScenarioVm *vm)
{
    json_t *list = json_array();

    for (guint i = 0; i < vm->after->len; i++) {
        const ScenarioVm *one = scenario_find_vm(s, g_array_index(vm->after, Id, i));
        gboolean by_name = scenario_mean_vm(s, one->name, NULL) == one;

        json_array_append_new(list, json_string(by_name ? one->name : ID_TEXT(one->uuid)));
    }
    return list;
}

/* --- cycles -------------------------------------------------------------- */

typedef struct {
    const Scenario *s;
    GHashTable *sound; /* of ScenarioVm *: on no cycle, nor what they start after */
    GPtrArray *path;   /* ScenarioVm *, each after the next */
} Walk;

static gboolean refuse_cycle(const Walk *walk, guint from, GError **error)
{
    g_autoptr(GString) text = g_string_new(NULL);

    for (guint i = from; i < walk->path->len; i++)
        g_string_append_printf(text, "'%.64s' after ", ((const ScenarioVm *)walk->path->pdata[i])->name);
    g_set_error(error, US_ERROR, US_ERROR_USAGE,
                "the VMs of scenario '%s' cannot start in that order: %s'%.64s'; nothing was changed; leave "
                "one of these out",
                walk->s->name, text->str, ((const ScenarioVm *)walk->path->pdata[from])->name);
    return FALSE;
}

static gboolean walk_from(Walk *walk, const ScenarioVm *vm, GError **error)
{
    guint seen;

    if (g_hash_table_contains(walk->sound, vm))
        return TRUE;
    if (g_ptr_array_find(walk->path, vm, &seen))
        return refuse_cycle(walk, seen, error);
    g_ptr_array_add(walk->path, (void *)vm);
    for (guint i = 0; i < vm->after->len; i++)
        if (!walk_from(walk, scenario_find_vm(walk->s, g_array_index(vm->after, Id, i)), error))
            return FALSE;
    g_ptr_array_set_size(walk->path, (int)walk->path->len - 1);
    g_hash_table_add(walk->sound, (void *)vm);
    return TRUE;
}

gboolean start_order_check(const Scenario *s, GError **error)
{
    g_autoptr(GHashTable) sound = g_hash_table_new(NULL, NULL);
    g_autoptr(GPtrArray) path = g_ptr_array_new();
    Walk walk = {s, sound, path};

    for (guint i = 0; i < s->vms->len; i++) {
        const ScenarioVm *vm = s->vms->pdata[i];

        if (vm->after->len > START_ORDER_MAX)
            return refuse(error, s, vm, "it starts after more than " G_STRINGIFY(START_ORDER_MAX) " others");
        if (!walk_from(&walk, vm, error))
            return FALSE;
    }
    return TRUE;
}

/* --- asked ---------------------------------------------------------------- */

typedef struct {
    const Scenario *s;
    StartOrderFunc counts;
    const void *user;
    GHashTable *seen; /* of ScenarioVm * */
    GArray *list;     /* Id */
} Search;

static void search(Search *look, const ScenarioVm *vm)
{
    for (guint i = 0; i < vm->after->len; i++) {
        const ScenarioVm *one = scenario_find_vm(look->s, g_array_index(vm->after, Id, i));

        if (!g_hash_table_add(look->seen, (void *)one))
            continue;
        if (look->counts(look->user, one->uuid))
            g_array_append_val(look->list, one->uuid);
        else
            search(look, one);
    }
}

GArray *start_order_before(const Scenario *s, Id vm, StartOrderFunc counts, const void *user)
{
    g_autoptr(GHashTable) seen = g_hash_table_new(NULL, NULL);
    const ScenarioVm *known = scenario_find_vm(s, vm);
    Search look = {s, counts, user, seen, g_array_new(FALSE, FALSE, sizeof(Id))};

    if (known)
        search(&look, known);
    return look.list;
}

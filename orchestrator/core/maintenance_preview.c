/* SPDX-License-Identifier: Apache-2.0 */
/* What a maintenance would do, VM by VM, and what keeps it from being begun. */
#include "orchestrator/core/maintenance_parts.h"

#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"

/* --- which VMs --------------------------------------------------------------- */

/* What runs there, or what it keeps the copies of. */
static GPtrArray *vms_of(const Protection *p, const char *host, gboolean active)
{
    GPtrArray *vms = g_ptr_array_new();

    for (guint i = 0; i < p->vms->len; i++) {
        const ProtectionVm *vm = p->vms->pdata[i];

        if (g_strcmp0(active ? vm->active : protection_keeper(vm), host) == 0)
            g_ptr_array_add(vms, p->vms->pdata[i]);
    }
    return vms;
}

json_t *maintenance_each_part(const RosterHost *host, const GPtrArray *protections,
                              const MaintenanceWish *wish, MaintenancePart describe)
{
    json_t *list = json_array();

    for (guint i = 0; i < protections->len; i++) {
        const Protection *p = protections->pdata[i];
        g_autoptr(GPtrArray) active = vms_of(p, host->name, TRUE), kept = vms_of(p, host->name, FALSE);

        if (p->goal == GOAL_STOPPED || !scenario_has_host(p->scenario, host->name))
            continue;
        if (active->len > 0)
            json_array_append_new(list, describe(host, p, wish, active, TRUE));
        if (kept->len > 0 || active->len == 0)
            json_array_append_new(list, describe(host, p, wish, kept, FALSE));
    }
    return list;
}

/* --- shown first ------------------------------------------------------------- */

/* How long its shutdown took in the last one. */
static json_t *last_off_ms(const json_t *last, Id vm)
{
    json_t *part, *one;
    gsize i, k;

    json_array_foreach(json_object_get(last, "scenarios"), i, part)
    {
        json_array_foreach(json_object_get(part, "vms"), k, one)
        {
            json_t *off_ms = json_object_get(one, "off_ms");

            if (off_ms && g_strcmp0(json_text_of(one, "vm"), ID_TEXT(vm)) == 0)
                return json_incref(off_ms);
        }
    }
    return json_null();
}

gboolean maintenance_goes_alone(const Protection *p, const GPtrArray *vms, const MaintenanceWish *wish)
{
    const char *keeper = vms->len ? protection_keeper(vms->pdata[0]) : NULL;

    return keeper && g_strcmp0(keeper, wish->without) == 0 && !protection_is_up(p, keeper);
}

static char *cannot_park(const Protection *p, const char *host, const GPtrArray *vms,
                         const MaintenanceWish *wish)
{
    const ParkOptions options = {.id = id_random(),
                                 .reign = id_random(),
                                 .host = host,
                                 .power_off = wish->power_off,
                                 .alone = maintenance_goes_alone(p, vms, wish)};
    g_autoptr(GError) error = NULL;
    g_autoptr(Plan) plan = plan_park(p, &options, &error);

    return plan ? NULL : g_strdup(error->message);
}

static GArray *ids_of(const GPtrArray *vms)
{
    GArray *ids = g_array_new(FALSE, FALSE, sizeof(Id));

    for (guint i = 0; i < vms->len; i++)
        g_array_append_val(ids, ((const ProtectionVm *)vms->pdata[i])->uuid);
    return ids;
}

static char *cannot_move(const Protection *p, const GPtrArray *vms, const MaintenanceWish *wish)
{
    g_autoptr(GArray) ids = ids_of(vms);
    const PlanOptions options = {.id = id_random(),
                                 .reign = id_random(),
                                 .to = protection_keeper(vms->pdata[0]),
                                 .vms = (const Id *)(const void *)ids->data,
                                 .vm_count = ids->len,
                                 .power_off = wish->power_off,
                                 .reverse = TRUE};
    g_autoptr(GError) error = NULL;
    g_autoptr(Plan) plan = plan_switchover(p, &options, &error);

    return plan ? NULL : g_strdup(error->message);
}

static char *cannot_rest(const Protection *p, const char *host)
{
    if (!id_is_nil(p->plan))
        return g_strdup("a plan has its VMs: wait for its end, see 'understudy plan list'");
    if (protection_is_up(p, host))
        return NULL;
    return g_strdup_printf("the engine of %s does not answer", host);
}

/* It hears nobody who asks it to shut down. */
static char *stands_still(const GPtrArray *vms)
{
    for (guint i = 0; i < vms->len; i++) {
        const ProtectionVm *vm = vms->pdata[i];

        if (vm->life.paused)
            return g_strdup_printf("'%s' cannot be shut down, since %s: resume it first", vm->name,
                                   vm->life.why ? vm->life.why : "it is paused");
    }
    return NULL;
}

/* Those that run there. */
static char *cannot_leave(const Protection *p, const char *host, const GPtrArray *vms,
                          const MaintenanceWish *wish)
{
    char *still = stands_still(vms);

    if (still)
        return still;
    return wish->move ? cannot_move(p, vms, wish) : cannot_park(p, host, vms, wish);
}

/* One at a time: where both are off, nothing of the VM is left that could go on. */
static char *other_in_maintenance(const Protection *p, const char *host)
{
    for (guint i = 0; i <= p->scenario->replicas->len; i++) {
        const char *name = i == 0 ? p->scenario->master : p->scenario->replicas->pdata[i - 1];
        const RosterHost *other = roster_find(p->roster, name);

        if (other && !g_str_equal(name, host) && maintenance_runs(other->maintenance))
            return g_strdup_printf(
                "%s is in maintenance: wait for its end, or 'understudy maintenance finish %s'", name, name);
    }
    return NULL;
}

static const char *what_becomes(const ProtectionVm *vm, gboolean active, gboolean move, gboolean alone)
{
    if (!active)
        return "runs on; its copy is closed, and what changes is remembered where it runs";
    if (move)
        return "is moved to its replica, and home again afterwards";
    if (alone)
        return "is shut down, without a last generation, and started again";
    return vm->life.state == GUEST_LIFE_OFF ? "is off, and stays so; its last generation is sealed"
                                            : "is shut down, its last generation sealed, and started again";
}

static json_t *preview_part(const RosterHost *host, const Protection *p, const MaintenanceWish *wish,
                            const GPtrArray *vms, gboolean active)
{
    g_autofree char *other = other_in_maintenance(p, host->name);
    g_autofree char *why = other    ? g_steal_pointer(&other)
                           : active ? cannot_leave(p, host->name, vms, wish)
                                    : cannot_rest(p, host->name);
    json_t *list = json_array();

    for (guint i = 0; i < vms->len; i++) {
        const ProtectionVm *vm = vms->pdata[i];

        json_array_append_new(
            list, json_pack("{s:s, s:s, s:s, s:o}", "vm", ID_TEXT(vm->uuid), "name", vm->name, "what",
                            what_becomes(vm, active, wish->move, maintenance_goes_alone(p, vms, wish)),
                            "off_ms", last_off_ms(host->maintenance, vm->uuid)));
    }
    return json_pack("{s:s, s:s, s:s?, s:o}", "scenario", p->scenario->name, "part",
                     active ? "active" : "standby", "why", why, "vms", list);
}

json_t *maintenance_preview(const RosterHost *host, const GPtrArray *protections, const MaintenanceWish *wish)
{
    return json_pack("{s:s, s:o}", "host", host->name, "scenarios",
                     maintenance_each_part(host, protections, wish, preview_part));
}

gboolean maintenance_may_begin(const json_t *preview, GError **error)
{
    json_t *part;
    gsize i;

    json_array_foreach(json_object_get(preview, "scenarios"), i, part)
    {
        if (!json_text_of(part, "why"))
            continue;
        g_set_error(error, US_ERROR, US_ERROR_REFUSED,
                    "scenario '%s' cannot be prepared, so nothing was begun: %s",
                    json_text_of(part, "scenario"), json_text_of(part, "why"));
        return FALSE;
    }
    return TRUE;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/core/maintenance.h"

#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"
#include "vmconnect/base/units.h"

#define LATE_MS 1800000 /* so long a restart may take before people are told */
#define NOT_WHOLE "It was ended before all that came back was protected again."

static const char *const PHASES[] = {"preparing", "ready", "returning", "ended"};

static void set_text(json_t *doc, const char *key, const char *text)
{
    json_object_set_new(doc, key, text ? json_string(text) : json_null());
}

static void set_time(json_t *doc, const char *key, gint64 wall_ms)
{
    set_text(doc, key, clock_format(wall_ms, (char[CLOCK_TEXT_LEN + 1]){0}));
}

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

typedef json_t *(*DescribePart)(const RosterHost *host, const Protection *p, const MaintenanceWish *wish,
                                const GPtrArray *vms, gboolean active);

/* A running scenario has one part in it, or two, if some of its VMs were moved. New reference. */
static json_t *each_part(const RosterHost *host, const GPtrArray *protections, const MaintenanceWish *wish,
                         DescribePart describe)
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

/* Their standby is away, and their operator knows it. */
static gboolean goes_alone(const Protection *p, const GPtrArray *vms, const MaintenanceWish *wish)
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
                                 .alone = goes_alone(p, vms, wish)};
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

        json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:o}", "vm", ID_TEXT(vm->uuid), "name",
                                              vm->name, "what",
                                              what_becomes(vm, active, wish->move, goes_alone(p, vms, wish)),
                                              "off_ms", last_off_ms(host->maintenance, vm->uuid)));
    }
    return json_pack("{s:s, s:s, s:s?, s:o}", "scenario", p->scenario->name, "part",
                     active ? "active" : "standby", "why", why, "vms", list);
}

json_t *maintenance_preview(const RosterHost *host, const GPtrArray *protections, const MaintenanceWish *wish)
{
    return json_pack("{s:s, s:o}", "host", host->name, "scenarios",
                     each_part(host, protections, wish, preview_part));
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

/* --- the document ------------------------------------------------------------ */

static const NewsCopy *copy_of(const ProtectionVm *vm)
{
    return vm->last && vm->last->copies->len > 0 ? vm->last->copies->pdata[0] : NULL;
}

static json_t *new_part(const RosterHost *host, const Protection *p, const MaintenanceWish *wish,
                        const GPtrArray *vms, gboolean active)
{
    json_t *list = json_array();

    (void)host;
    for (guint i = 0; i < vms->len; i++) {
        const ProtectionVm *vm = vms->pdata[i];
        const NewsCopy *copy = copy_of(vm);

        json_array_append_new(
            list, json_pack("{s:s, s:s, s:n, s:I, s:I}", "vm", ID_TEXT(vm->uuid), "name", vm->name, "off_ms",
                            "synced_bytes", (json_int_t)(copy ? MAX(copy->synced_bytes, 0) : 0),
                            "payload_bytes", (json_int_t)(copy ? MAX(copy->payload_bytes, 0) : 0)));
    }
    return json_pack("{s:s, s:o, s:b, s:b, s:b, s:b, s:n, s:n, s:o}", "scenario", p->scenario->name, "plan",
                     active ? json_from_id(id_random()) : json_null(), "alone",
                     active && goes_alone(p, vms, wish), "begun", 0, "settled", 0, "ready", 0, "stays",
                     "away_bytes", "vms", list);
}

json_t *maintenance_new(const RosterHost *host, const GPtrArray *protections, const MaintenanceWish *wish,
                        const char *boot, gint64 now_wall_ms)
{
    json_t *doc = json_pack(
        "{s:s, s:s, s:s, s:n, s:n, s:n, s:n, s:b, s:s?, s:b, s:b, s:b, s:b, s:o, s:b, s:n, s:n, s:n, s:o}",
        "id", ID_TEXT(id_random()), "host", host->name, "state", PHASES[MAINTENANCE_PREPARING], "ready_at",
        "back_at", "ended_at", "silent_at", "late", 0, "boot", boot, "until_finish", wish->until_finish,
        "power_off", wish->power_off, "patient", wish->patient, "move", wish->move, "then",
        wish->then ? json_deep_copy(wish->then) : json_array(), "finish", 0, "why", "resync_bytes",
        "change_bytes", "scenarios", each_part(host, protections, wish, new_part));

    set_time(doc, "since", now_wall_ms);
    return doc;
}

/* FALSE for what is no phase, and for NULL. */
static gboolean parse_phase(const char *word, MaintenancePhase *ret_phase)
{
    for (guint i = 0; i < G_N_ELEMENTS(PHASES); i++) {
        if (g_strcmp0(PHASES[i], word) != 0)
            continue;
        *ret_phase = (MaintenancePhase)i;
        return TRUE;
    }
    return FALSE;
}

static gboolean check_part(const json_t *part, GError **error)
{
    const char *scenario;
    json_t *plan, *vms;
    int begun, ready;
    Id id;

    return json_read(part, "maintenance", error, "{s:s, s:o, s:b, s:b, s:o*}", "scenario", &scenario, "plan",
                     &plan, "begun", &begun, "ready", &ready, "vms", &vms) &&
           (json_is_null(plan) || json_to_id(plan, &id, error));
}

gboolean maintenance_check(const json_t *doc, GError **error)
{
    const char *id, *host, *word, *since;
    MaintenancePhase phase;
    json_t *parts;
    int until_finish, finish;

    if (!doc)
        return TRUE;
    if (!json_read(doc, "maintenance", error, "{s:s, s:s, s:s, s:s, s:b, s:b, s:o*}", "id", &id, "host",
                   &host, "state", &word, "since", &since, "until_finish", &until_finish, "finish", &finish,
                   "scenarios", &parts))
        return FALSE;
    for (gsize i = 0; i < json_array_size(parts); i++)
        if (!check_part(json_array_get(parts, i), error))
            return FALSE;
    if (parse_phase(word, &phase))
        return TRUE;
    g_set_error(error, US_ERROR, US_ERROR_USAGE, "'%.32s' is no phase of a maintenance", word);
    return FALSE;
}

MaintenancePhase maintenance_phase(const json_t *doc)
{
    MaintenancePhase phase;

    return parse_phase(json_text_of(doc, "state"), &phase) ? phase : MAINTENANCE_OVER;
}

gboolean maintenance_runs(const json_t *doc)
{
    return maintenance_phase(doc) != MAINTENANCE_OVER;
}

static json_t *part_at(const json_t *doc, gsize at)
{
    return json_array_get(json_object_get(doc, "scenarios"), at);
}

gsize maintenance_len(const json_t *doc)
{
    return json_array_size(json_object_get(doc, "scenarios"));
}

const char *maintenance_scenario(const json_t *doc, gsize at)
{
    return json_text_of(part_at(doc, at), "scenario");
}

Id maintenance_plan(const json_t *doc, gsize at)
{
    const char *text = json_text_of(part_at(doc, at), "plan");
    Id id;

    return text && id_parse(text, &id, NULL) ? id : ID_NIL;
}

gboolean maintenance_has_begun(const json_t *doc, gsize at)
{
    return json_is_true(json_object_get(part_at(doc, at), "begun"));
}

static gboolean moves(const json_t *doc, const json_t *part)
{
    return json_is_true(json_object_get(doc, "move")) && json_text_of(part, "plan");
}

gboolean maintenance_moves(const json_t *doc, gsize at)
{
    return moves(doc, part_at(doc, at));
}

GArray *maintenance_vms(const json_t *doc, gsize at)
{
    GArray *ids = g_array_new(FALSE, FALSE, sizeof(Id));
    json_t *one;
    gsize i;

    json_array_foreach(json_object_get(part_at(doc, at), "vms"), i, one)
    {
        Id id;

        if (id_parse(json_text_of(one, "vm"), &id, NULL))
            g_array_append_val(ids, id);
    }
    return ids;
}

gboolean maintenance_parks(const json_t *doc, Id plan)
{
    for (gsize i = 0; i < maintenance_len(doc); i++)
        if (id_equal(maintenance_plan(doc, i), plan))
            return TRUE;
    return FALSE;
}

static gboolean prepares(const Protection *p, const char *host, Id plan)
{
    const RosterHost *known = roster_find(p->roster, host);

    return known && maintenance_phase(known->maintenance) == MAINTENANCE_PREPARING &&
           maintenance_parks(known->maintenance, plan);
}

gboolean maintenance_is_prepared(const Protection *p, Id plan)
{
    gboolean any = prepares(p, p->scenario->master, plan);

    for (guint i = 0; i < p->scenario->replicas->len; i++)
        any |= prepares(p, p->scenario->replicas->pdata[i], plan);
    return any;
}

gboolean maintenance_closes_all(const json_t *doc, gsize at)
{
    const json_t *part = part_at(doc, at);

    return moves(doc, part) ? json_is_true(json_object_get(part, "settled")) : !json_text_of(part, "plan");
}

gboolean maintenance_closes(const json_t *doc, const char *vm)
{
    json_t *one;
    gsize k;

    for (gsize i = 0; i < maintenance_len(doc); i++) {
        if (!maintenance_closes_all(doc, i))
            continue;
        json_array_foreach(json_object_get(part_at(doc, i), "vms"), k, one)
        {
            if (g_strcmp0(json_text_of(one, "vm"), vm) == 0)
                return TRUE;
        }
    }
    return FALSE;
}

gboolean maintenance_park_options(const json_t *doc, gsize at, Id reign, ParkOptions *ret_options)
{
    *ret_options = (ParkOptions){.id = maintenance_plan(doc, at),
                                 .reign = reign,
                                 .host = json_text_of(doc, "host"),
                                 .power_off = json_is_true(json_object_get(doc, "power_off")),
                                 .patient = json_is_true(json_object_get(doc, "patient")),
                                 .until_told = json_is_true(json_object_get(doc, "until_finish")),
                                 .alone = json_is_true(json_object_get(part_at(doc, at), "alone"))};
    return !id_is_nil(ret_options->id) && !maintenance_moves(doc, at);
}

/* --- what becomes of it ------------------------------------------------------ */

static gboolean has_plan(const json_t *part)
{
    return json_text_of(part, "plan") != NULL;
}

/* NULL: it is gone from its scenario, or that is; of it nothing is asked any more. */
static const ProtectionVm *vm_of(const Protection *p, const json_t *one)
{
    Id id;

    return p && id_parse(json_text_of(one, "vm"), &id, NULL) ? protection_find(p, id) : NULL;
}

/* Run all of its VMs on the host, or all elsewhere? */
static gboolean all_run(const json_t *doc, const json_t *part, const MaintenanceSight *sight, gboolean there)
{
    json_t *one;
    gsize i;

    json_array_foreach(json_object_get(part, "vms"), i, one)
    {
        const ProtectionVm *vm = vm_of(sight->protection, one);

        if (vm && g_str_equal(vm->active, json_text_of(doc, "host")) != there)
            return FALSE;
    }
    return TRUE;
}

static gboolean is_away(const json_t *doc, const json_t *part, const MaintenanceSight *sight)
{
    return all_run(doc, part, sight, FALSE);
}

static gboolean is_home(const json_t *doc, const json_t *part, const MaintenanceSight *sight)
{
    return all_run(doc, part, sight, TRUE);
}

/* Its plan is over. One that is not known was never begun, or is of long ago. */
static gboolean has_ended(const json_t *part, const MaintenanceSight *sight)
{
    return !has_plan(part) || !sight->plan || sight->plan->ended;
}

static gboolean have_ended(const json_t *doc, const MaintenanceSight *parts)
{
    for (gsize i = 0; i < maintenance_len(doc); i++)
        if (!has_ended(part_at(doc, i), &parts[i]))
            return FALSE;
    return TRUE;
}

static gboolean is_ready(const json_t *doc, const json_t *part, const MaintenanceSight *sight)
{
    if (moves(doc, part))
        return json_is_true(json_object_get(part, "settled")) && sight->rested;
    return has_plan(part) ? sight->plan && plan_is_parked(sight->plan) : sight->rested;
}

/* What its standby holds is younger than the way back, of a VM that wants to be protected. */
static gboolean has_caught_up(const Protection *p, const ProtectionVm *vm, const MaintenanceNow *now,
                              gint64 back_wall_ms)
{
    for (guint i = 0; i < vm->copies->len; i++) {
        const ProtectionCopy *copy = vm->copies->pdata[i];
        gint64 lag_ms = protection_lag_ms(vm, copy->host, now->steady_ms);

        if (copy->state == COPY_PROTECTED && lag_ms >= 0 && lag_ms < now->wall_ms - back_wall_ms)
            return protection_is_up(p, copy->host);
    }
    return FALSE;
}

static gboolean is_whole(const json_t *part, const MaintenanceSight *sight, const MaintenanceNow *now,
                         gint64 back_wall_ms)
{
    const Protection *p = sight->protection;
    json_t *one;
    gsize i;

    /* It does not want to be protected any more; or its standby was away before, and is no part of this. */
    if (!p || p->goal != GOAL_RUNNING || json_is_true(json_object_get(part, "alone")))
        return TRUE;
    json_array_foreach(json_object_get(part, "vms"), i, one)
    {
        const ProtectionVm *vm = vm_of(p, one);

        if (vm && !has_caught_up(p, vm, now, back_wall_ms))
            return FALSE;
    }
    return id_is_nil(p->plan);
}

/* Why it cannot be prepared; NULL: it may yet. The caller frees. */
static char *failure(const json_t *doc, const json_t *part, const MaintenanceSight *sight)
{
    const char *name = json_text_of(part, "scenario");

    if (sight->why)
        return g_strdup_printf("scenario '%s': %s", name, sight->why);
    if (moves(doc, part) && is_away(doc, part, sight))
        return NULL;
    if (!sight->plan && json_is_true(json_object_get(part, "begun")))
        return g_strdup_printf("scenario '%s': the controller has lost its plan", name);
    if (!sight->plan || (!sight->plan->called && !sight->plan->ended))
        return NULL;
    for (guint i = 0; i < sight->plan->moves->len; i++) {
        const Move *m = sight->plan->moves->pdata[i];

        if (m->why)
            return g_strdup_printf("'%s' of scenario '%s': %s", m->name, name, m->why);
    }
    return g_strdup_printf("scenario '%s': its VMs were %s", name,
                           moves(doc, part) ? "not moved" : "taken back");
}

static void tell(GPtrArray *out, EventCode code, const json_t *doc, const char *scenario, const char *why)
{
    g_ptr_array_add(out, event_new(code, scenario, json_text_of(doc, "host"), NULL, why));
}

static gboolean enter(json_t *doc, MaintenancePhase phase)
{
    set_text(doc, "state", PHASES[phase]);
    return TRUE;
}

static gboolean turn_back(json_t *doc, gint64 now_wall_ms)
{
    set_time(doc, "back_at", now_wall_ms);
    json_object_set_new(doc, "finish", json_false());
    return enter(doc, MAINTENANCE_RETURNING);
}

static gboolean fail(json_t *doc, const char *why, gint64 now_wall_ms)
{
    set_text(doc, "why", why);
    return turn_back(doc, now_wall_ms);
}

static gboolean was_booted(const json_t *doc, const char *boot)
{
    return boot && json_text_of(doc, "boot") && !g_str_equal(boot, json_text_of(doc, "boot"));
}

/* How long each took: for the next preview. */
static void note_shutdowns(json_t *part, const Plan *plan)
{
    json_t *one;
    gsize i;

    json_array_foreach(json_object_get(part, "vms"), i, one)
    {
        Id id;
        const Move *m = plan && id_parse(json_text_of(one, "vm"), &id, NULL) ? plan_find(plan, id) : NULL;

        if (m && m->off_at_ms && m->asked_at_ms)
            json_object_set_new(one, "off_ms", json_integer((json_int_t)(m->off_at_ms - m->asked_at_ms)));
    }
}

static gboolean note_ready(json_t *doc, json_t *part, const MaintenanceSight *sight, GPtrArray *out)
{
    const char *name = json_text_of(part, "scenario");
    g_autofree char *what = g_strdup_printf("%sscenario '%s'", has_plan(part) ? "" : "copies of ", name);

    if (json_is_true(json_object_get(part, "ready")) || !is_ready(doc, part, sight))
        return FALSE;
    json_object_set_new(part, "ready", json_true());
    note_shutdowns(part, sight->plan);
    tell(out, EVENT_MAINTENANCE_READY, doc, name, what);
    return TRUE;
}

/* Moved away, and followed from there. */
static gboolean note_settled(const json_t *doc, json_t *part, const MaintenanceSight *sight,
                             const MaintenanceNow *now)
{
    if (!moves(doc, part) || json_is_true(json_object_get(part, "settled")) || !has_ended(part, sight) ||
        !is_away(doc, part, sight) || !is_whole(part, sight, now, 0))
        return FALSE;
    json_object_set_new(part, "settled", json_true());
    note_shutdowns(part, sight->plan);
    return TRUE;
}

/* Two parts of one scenario stand side by side. */
static guint scenarios_of(const json_t *doc)
{
    guint n = 0;

    for (gsize i = 0; i < maintenance_len(doc); i++)
        n += i == 0 || !g_str_equal(maintenance_scenario(doc, i), maintenance_scenario(doc, i - 1));
    return n;
}

static gboolean prepare(json_t *doc, const MaintenanceSight *parts, const MaintenanceNow *now, GPtrArray *out)
{
    gboolean changed = FALSE, all = TRUE;
    g_autofree char *what = NULL;

    if (json_is_true(json_object_get(doc, "finish")))
        return fail(doc, "it was ended before it was ready", now->wall_ms);
    if (was_booted(doc, now->boot))
        return fail(doc, "it was booted before it was ready", now->wall_ms);
    for (gsize i = 0; i < maintenance_len(doc); i++) {
        json_t *part = part_at(doc, i);
        g_autofree char *why = failure(doc, part, &parts[i]);

        if (why)
            return fail(doc, why, now->wall_ms);
        if (parts[i].plan && !maintenance_has_begun(doc, i)) {
            json_object_set_new(part, "begun", json_true());
            changed = TRUE;
        }
        changed |= note_settled(doc, part, &parts[i], now);
        changed |= note_ready(doc, part, &parts[i], out);
        all &= is_ready(doc, part, &parts[i]);
    }
    if (!all)
        return changed;
    set_time(doc, "ready_at", now->wall_ms);
    what = g_strdup_printf("all of it, %u scenario%s", scenarios_of(doc), scenarios_of(doc) == 1 ? "" : "s");
    tell(out, EVENT_MAINTENANCE_READY, doc, NULL, what);
    return enter(doc, MAINTENANCE_READY);
}

static gboolean wait_for_boot(json_t *doc, const MaintenanceSight *parts, const MaintenanceNow *now)
{
    if (json_is_true(json_object_get(doc, "finish")) ||
        (was_booted(doc, now->boot) && json_is_false(json_object_get(doc, "until_finish"))))
        return turn_back(doc, now->wall_ms);
    /* Its engine saw the boot, or somebody goes on with it by force. */
    for (gsize i = 0; i < maintenance_len(doc); i++)
        if (has_plan(part_at(doc, i)) && !maintenance_moves(doc, i) &&
            (has_ended(part_at(doc, i), &parts[i]) || parts[i].plan->called))
            return turn_back(doc, now->wall_ms);
    return FALSE;
}

/* Of counters that begin at nothing when the engine that counts starts anew. */
static gint64 since(gint64 now, const json_t *one, const char *key, gboolean anew)
{
    gint64 then = json_integer_value(json_object_get(one, key));

    return anew || now < then ? MAX(now, 0) : now - then;
}

static void count(const json_t *doc, const json_t *part, const MaintenanceSight *sight, gboolean booted,
                  gint64 *resync, gint64 *all)
{
    json_t *one;
    gsize i;

    json_array_foreach(json_object_get(part, "vms"), i, one)
    {
        const ProtectionVm *vm = vm_of(sight->protection, one);
        const NewsCopy *copy = vm ? copy_of(vm) : NULL;
        gboolean anew = booted && has_plan(part);

        if (!copy)
            continue;
        /* In each reign it counts from nothing. */
        *resync += since(copy->synced_bytes, one, "synced_bytes", anew || moves(doc, part));
        *all += since(copy->payload_bytes, one, "payload_bytes", anew);
    }
}

/* "" if all of it is where it was. The caller frees. */
static char *stays_text(const json_t *doc)
{
    GString *text = g_string_new(NULL);

    for (gsize i = 0; i < maintenance_len(doc); i++) {
        const char *stays = json_text_of(part_at(doc, i), "stays");

        if (stays)
            g_string_append_printf(text, " The VMs of scenario '%s' stay where they were moved: %s.",
                                   maintenance_scenario(doc, i), stays);
    }
    return g_string_free(text, FALSE);
}

static char *proof(json_t *doc, const MaintenanceSight *parts, const char *boot)
{
    g_autofree char *stays = stays_text(doc);
    gint64 resync = 0, all = 0, changes;

    for (gsize i = 0; i < maintenance_len(doc); i++)
        count(doc, part_at(doc, i), &parts[i], was_booted(doc, boot), &resync, &all);
    changes = MAX(all - resync, 0);
    for (gsize i = 0; i < maintenance_len(doc); i++)
        resync += json_integer_value(json_object_get(part_at(doc, i), "away_bytes"));
    json_object_set_new(doc, "resync_bytes", json_integer((json_int_t)resync));
    json_object_set_new(doc, "change_bytes", json_integer((json_int_t)changes));
    return g_strdup_printf("Replication resumed%s. (bytes resynchronised: %" G_GINT64_FORMAT
                           ", bytes of ordinary changes: %" G_GINT64_FORMAT ")%s",
                           resync == 0 ? " without resynchronization" : "", resync, changes, stays);
}

static gint64 back_wall_ms(const json_t *doc, const MaintenanceNow *now)
{
    const char *text = json_text_of(doc, "back_at");
    gint64 back_ms;

    return text && clock_parse(text, &back_ms, NULL) ? back_ms : now->wall_ms;
}

/* Once it is followed on the way home: what had to be sent for that, since other engines count from there on. */
static gboolean note_away(const json_t *doc, json_t *part, const MaintenanceSight *sight)
{
    gint64 resync = 0, all = 0;

    if (json_is_integer(json_object_get(part, "away_bytes")))
        return FALSE;
    count(doc, part, sight, TRUE, &resync, &all);
    json_object_set_new(part, "away_bytes", json_integer((json_int_t)resync));
    return TRUE;
}

gboolean maintenance_may_come_home(const json_t *doc, gsize at, const MaintenanceSight *sight,
                                   const MaintenanceNow *now)
{
    const json_t *part = part_at(doc, at);

    return maintenance_phase(doc) == MAINTENANCE_RETURNING && moves(doc, part) && has_ended(part, sight) &&
           !is_home(doc, part, sight) && !json_text_of(part, "stays") &&
           json_is_integer(json_object_get(part, "away_bytes")) &&
           is_whole(part, sight, now, back_wall_ms(doc, now));
}

/* TRUE: it is where it shall be. *@ret_changed: its part is another now. */
static gboolean has_come_home(json_t *doc, json_t *part, const MaintenanceSight *sight,
                              const MaintenanceNow *now, gboolean *ret_changed)
{
    if (!moves(doc, part) || is_home(doc, part, sight) || json_text_of(part, "stays"))
        return TRUE;
    if (sight->stays) {
        set_text(part, "stays", sight->stays);
        *ret_changed = TRUE;
    } else if (is_whole(part, sight, now, back_wall_ms(doc, now))) {
        *ret_changed |= note_away(doc, part, sight);
    }
    return FALSE;
}

static gboolean come_back(json_t *doc, const MaintenanceSight *parts, const MaintenanceNow *now,
                          GPtrArray *out)
{
    const char *failed = json_text_of(doc, "why");
    gboolean changed = FALSE, ended = TRUE, whole = TRUE;
    g_autofree char *text = NULL;

    for (gsize i = 0; i < maintenance_len(doc); i++) {
        json_t *part = part_at(doc, i);
        gboolean back = has_ended(part, &parts[i]);

        ended &= back;
        whole &= back && has_come_home(doc, part, &parts[i], now, &changed) &&
                 (failed || is_whole(part, &parts[i], now, back_wall_ms(doc, now)));
    }
    if (!ended || (!whole && !json_is_true(json_object_get(doc, "finish"))))
        return changed;
    set_time(doc, "ended_at", now->wall_ms);
    text = failed ? g_strdup(failed) : whole ? proof(doc, parts, now->boot) : g_strdup(NOT_WHOLE);
    tell(out, failed ? EVENT_MAINTENANCE_FAILED : EVENT_MAINTENANCE_DONE, doc, NULL, text);
    if (!whole && !failed)
        set_text(doc, "why", NOT_WHOLE);
    return enter(doc, MAINTENANCE_OVER);
}

/* That it is silent, or not protected, is what its operator wants, and told by nobody else; not for ever. */
static gboolean watch_time(json_t *doc, const MaintenanceNow *now, GPtrArray *out)
{
    gboolean returns = maintenance_phase(doc) == MAINTENANCE_RETURNING;
    const char *since =
        now->boot ? (returns ? json_text_of(doc, "back_at") : NULL) : json_text_of(doc, "silent_at");
    g_autofree char *time = units_human_duration(LATE_MS);
    g_autofree char *why = NULL;
    gint64 since_wall_ms;

    if ((now->boot != NULL) == (json_text_of(doc, "silent_at") != NULL)) {
        set_text(doc, "silent_at", NULL);
        json_object_set_new(doc, "late", json_false());
        if (!now->boot)
            set_time(doc, "silent_at", now->wall_ms);
        return TRUE;
    }
    if (!since || json_is_true(json_object_get(doc, "late")) || !clock_parse(since, &since_wall_ms, NULL) ||
        now->wall_ms - since_wall_ms < LATE_MS)
        return FALSE;
    json_object_set_new(doc, "late", json_true());
    why = g_strdup_printf(now->boot ? "it is on its way back for %s, and not all of it runs, or is protected"
                                    : "it has not answered for %s",
                          time);
    tell(out, EVENT_MAINTENANCE_LATE, doc, NULL, why);
    return TRUE;
}

static gboolean step(json_t *doc, const MaintenanceSight *parts, const MaintenanceNow *now, GPtrArray *out)
{
    switch (maintenance_phase(doc)) {
    case MAINTENANCE_PREPARING:
        return prepare(doc, parts, now, out);
    case MAINTENANCE_READY:
        return wait_for_boot(doc, parts, now);
    case MAINTENANCE_RETURNING:
        return come_back(doc, parts, now, out);
    case MAINTENANCE_OVER:
        return FALSE;
    }
    g_assert_not_reached();
}

gboolean maintenance_step(json_t *doc, const MaintenanceSight *parts, const MaintenanceNow *now,
                          GPtrArray *out)
{
    return step(doc, parts, now, out) || (maintenance_runs(doc) && watch_time(doc, now, out));
}

const char *maintenance_next(const json_t *doc, MaintenanceWish *ret_wish, json_t **ret_then)
{
    const json_t *then = json_object_get(doc, "then");
    const char *next = json_string_value(json_array_get(then, 0));

    if (!next || maintenance_runs(doc) || json_text_of(doc, "why"))
        return NULL;
    *ret_then = json_array();
    for (gsize i = 1; i < json_array_size(then); i++)
        json_array_append(*ret_then, json_array_get(then, i));
    *ret_wish = (MaintenanceWish){.until_finish = json_is_true(json_object_get(doc, "until_finish")),
                                  .power_off = json_is_true(json_object_get(doc, "power_off")),
                                  .patient = json_is_true(json_object_get(doc, "patient")),
                                  .move = json_is_true(json_object_get(doc, "move")),
                                  .then = *ret_then};
    return next;
}

void maintenance_forget_next(json_t *doc)
{
    json_object_set_new(doc, "then", json_array());
}

gboolean maintenance_finish(json_t *doc, const MaintenanceSight *parts, GError **error)
{
    if (!maintenance_runs(doc)) {
        g_set_error(error, US_ERROR, US_ERROR_NOT_FOUND, "it is in no maintenance: nothing is to be ended");
        return FALSE;
    }
    if (json_is_true(json_object_get(doc, "finish")) ||
        (maintenance_phase(doc) == MAINTENANCE_RETURNING && !have_ended(doc, parts))) {
        g_set_error(error, US_ERROR, US_ERROR_EXISTS,
                    "its maintenance ends already: what was shut down is being started");
        return FALSE;
    }
    json_object_set_new(doc, "finish", json_true());
    return TRUE;
}

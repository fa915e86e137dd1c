/* SPDX-License-Identifier: Apache-2.0 */
/* The document of a maintenance: made, checked, asked. */
#include "orchestrator/core/maintenance_parts.h"

#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"

static const char *const PHASES[] = {"preparing", "ready", "returning", "ended"};

void maintenance_set_text(json_t *doc, const char *key, const char *text)
{
    json_object_set_new(doc, key, text ? json_string(text) : json_null());
}

void maintenance_set_time(json_t *doc, const char *key, gint64 wall_ms)
{
    maintenance_set_text(doc, key, clock_format(wall_ms, (char[CLOCK_TEXT_LEN + 1]){0}));
}

gboolean maintenance_enter(json_t *doc, MaintenancePhase phase)
{
    maintenance_set_text(doc, "state", PHASES[phase]);
    return TRUE;
}

const NewsCopy *maintenance_copy_of(const ProtectionVm *vm)
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
        const NewsCopy *copy = maintenance_copy_of(vm);

        json_array_append_new(
            list, json_pack("{s:s, s:s, s:n, s:I, s:I}", "vm", ID_TEXT(vm->uuid), "name", vm->name, "off_ms",
                            "synced_bytes", (json_int_t)(copy ? MAX(copy->synced_bytes, 0) : 0),
                            "payload_bytes", (json_int_t)(copy ? MAX(copy->payload_bytes, 0) : 0)));
    }
    return json_pack("{s:s, s:o, s:b, s:b, s:b, s:b, s:n, s:n, s:o}", "scenario", p->scenario->name, "plan",
                     active ? json_from_id(id_random()) : json_null(), "alone",
                     active && maintenance_goes_alone(p, vms, wish), "begun", 0, "settled", 0, "ready", 0,
                     "stays", "away_bytes", "vms", list);
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
        "change_bytes", "scenarios", maintenance_each_part(host, protections, wish, new_part));

    maintenance_set_time(doc, "since", now_wall_ms);
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

json_t *maintenance_part(const json_t *doc, gsize at)
{
    return json_array_get(json_object_get(doc, "scenarios"), at);
}

gsize maintenance_len(const json_t *doc)
{
    return json_array_size(json_object_get(doc, "scenarios"));
}

const char *maintenance_scenario(const json_t *doc, gsize at)
{
    return json_text_of(maintenance_part(doc, at), "scenario");
}

Id maintenance_plan(const json_t *doc, gsize at)
{
    const char *text = json_text_of(maintenance_part(doc, at), "plan");
    Id id;

    return text && id_parse(text, &id, NULL) ? id : ID_NIL;
}

gboolean maintenance_has_begun(const json_t *doc, gsize at)
{
    return json_is_true(json_object_get(maintenance_part(doc, at), "begun"));
}

gboolean maintenance_part_moves(const json_t *doc, const json_t *part)
{
    return json_is_true(json_object_get(doc, "move")) && json_text_of(part, "plan");
}

gboolean maintenance_moves(const json_t *doc, gsize at)
{
    return maintenance_part_moves(doc, maintenance_part(doc, at));
}

GArray *maintenance_vms(const json_t *doc, gsize at)
{
    GArray *ids = g_array_new(FALSE, FALSE, sizeof(Id));
    json_t *one;
    gsize i;

    json_array_foreach(json_object_get(maintenance_part(doc, at), "vms"), i, one)
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
    const json_t *part = maintenance_part(doc, at);

    return maintenance_part_moves(doc, part) ? json_is_true(json_object_get(part, "settled"))
                                             : !json_text_of(part, "plan");
}

gboolean maintenance_closes(const json_t *doc, const char *vm)
{
    json_t *one;
    gsize k;

    for (gsize i = 0; i < maintenance_len(doc); i++) {
        if (!maintenance_closes_all(doc, i))
            continue;
        json_array_foreach(json_object_get(maintenance_part(doc, i), "vms"), k, one)
        {
            if (g_strcmp0(json_text_of(one, "vm"), vm) == 0)
                return TRUE;
        }
    }
    return FALSE;
}

MaintenanceWish maintenance_wish(const json_t *doc)
{
    return (MaintenanceWish){.until_finish = json_is_true(json_object_get(doc, "until_finish")),
                             .power_off = json_is_true(json_object_get(doc, "power_off")),
                             .patient = json_is_true(json_object_get(doc, "patient")),
                             .move = json_is_true(json_object_get(doc, "move"))};
}

gboolean maintenance_park_options(const json_t *doc, gsize at, Id reign, ParkOptions *ret_options)
{
    const MaintenanceWish wish = maintenance_wish(doc);

    *ret_options = (ParkOptions){.id = maintenance_plan(doc, at),
                                 .reign = reign,
                                 .host = json_text_of(doc, "host"),
                                 .power_off = wish.power_off,
                                 .patient = wish.patient,
                                 .until_told = wish.until_finish,
                                 .alone = json_is_true(json_object_get(maintenance_part(doc, at), "alone"))};
    return !id_is_nil(ret_options->id) && !maintenance_moves(doc, at);
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
    *ret_wish = maintenance_wish(doc);
    ret_wish->then = *ret_then;
    return next;
}

void maintenance_forget_next(json_t *doc)
{
    json_object_set_new(doc, "then", json_array());
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What becomes of a maintenance by what is known. */
#include "orchestrator/core/maintenance_parts.h"

#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"
#include "vmconnect/base/units.h"

#define LATE_MS 1800000 /* so long a restart may take before people are told */
#define NOT_WHOLE "It was ended before all that came back was protected again."

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
        if (!has_ended(maintenance_part(doc, i), &parts[i]))
            return FALSE;
    return TRUE;
}

static gboolean is_ready(const json_t *doc, const json_t *part, const MaintenanceSight *sight)
{
    if (maintenance_part_moves(doc, part))
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
    if (maintenance_part_moves(doc, part) && is_away(doc, part, sight))
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
                           maintenance_part_moves(doc, part) ? "not moved" : "taken back");
}

static void tell(GPtrArray *out, EventCode code, const json_t *doc, const char *scenario, const char *why)
{
    g_ptr_array_add(out, event_new(code, scenario, json_text_of(doc, "host"), NULL, why));
}

static gboolean turn_back(json_t *doc, gint64 now_wall_ms)
{
    maintenance_set_time(doc, "back_at", now_wall_ms);
    json_object_set_new(doc, "finish", json_false());
    return maintenance_enter(doc, MAINTENANCE_RETURNING);
}

static gboolean fail(json_t *doc, const char *why, gint64 now_wall_ms)
{
    maintenance_set_text(doc, "why", why);
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
    if (!maintenance_part_moves(doc, part) || json_is_true(json_object_get(part, "settled")) ||
        !has_ended(part, sight) || !is_away(doc, part, sight) || !is_whole(part, sight, now, 0))
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
        json_t *part = maintenance_part(doc, i);
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
    maintenance_set_time(doc, "ready_at", now->wall_ms);
    what = g_strdup_printf("all of it, %u scenario%s", scenarios_of(doc), scenarios_of(doc) == 1 ? "" : "s");
    tell(out, EVENT_MAINTENANCE_READY, doc, NULL, what);
    return maintenance_enter(doc, MAINTENANCE_READY);
}

static gboolean wait_for_boot(json_t *doc, const MaintenanceSight *parts, const MaintenanceNow *now)
{
    if (json_is_true(json_object_get(doc, "finish")) ||
        (was_booted(doc, now->boot) && json_is_false(json_object_get(doc, "until_finish"))))
        return turn_back(doc, now->wall_ms);
    /* Its engine saw the boot, or somebody goes on with it by force. */
    for (gsize i = 0; i < maintenance_len(doc); i++)
        if (has_plan(maintenance_part(doc, i)) && !maintenance_moves(doc, i) &&
            (has_ended(maintenance_part(doc, i), &parts[i]) || parts[i].plan->called))
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
        const NewsCopy *copy = vm ? maintenance_copy_of(vm) : NULL;
        gboolean anew = booted && has_plan(part);

        if (!copy)
            continue;
        /* In each reign it counts from nothing. */
        *resync += since(copy->synced_bytes, one, "synced_bytes", anew || maintenance_part_moves(doc, part));
        *all += since(copy->payload_bytes, one, "payload_bytes", anew);
    }
}

/* "" if all of it is where it was. The caller frees. */
static char *stays_text(const json_t *doc)
{
    GString *text = g_string_new(NULL);

    for (gsize i = 0; i < maintenance_len(doc); i++) {
        const char *stays = json_text_of(maintenance_part(doc, i), "stays");

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
        count(doc, maintenance_part(doc, i), &parts[i], was_booted(doc, boot), &resync, &all);
    changes = MAX(all - resync, 0);
    for (gsize i = 0; i < maintenance_len(doc); i++)
        resync += json_integer_value(json_object_get(maintenance_part(doc, i), "away_bytes"));
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
    const json_t *part = maintenance_part(doc, at);

    return maintenance_phase(doc) == MAINTENANCE_RETURNING && maintenance_part_moves(doc, part) &&
           has_ended(part, sight) && !is_home(doc, part, sight) && !json_text_of(part, "stays") &&
           json_is_integer(json_object_get(part, "away_bytes")) &&
           is_whole(part, sight, now, back_wall_ms(doc, now));
}

/* TRUE: it is where it shall be. *@ret_changed: its part is another now. */
static gboolean has_come_home(json_t *doc, json_t *part, const MaintenanceSight *sight,
                              const MaintenanceNow *now, gboolean *ret_changed)
{
    if (!maintenance_part_moves(doc, part) || is_home(doc, part, sight) || json_text_of(part, "stays"))
        return TRUE;
    if (sight->stays) {
        maintenance_set_text(part, "stays", sight->stays);
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
        json_t *part = maintenance_part(doc, i);
        gboolean back = has_ended(part, &parts[i]);

        ended &= back;
        whole &= back && has_come_home(doc, part, &parts[i], now, &changed) &&
                 (failed || is_whole(part, &parts[i], now, back_wall_ms(doc, now)));
    }
    if (!ended || (!whole && !json_is_true(json_object_get(doc, "finish"))))
        return changed;
    maintenance_set_time(doc, "ended_at", now->wall_ms);
    text = failed ? g_strdup(failed) : whole ? proof(doc, parts, now->boot) : g_strdup(NOT_WHOLE);
    tell(out, failed ? EVENT_MAINTENANCE_FAILED : EVENT_MAINTENANCE_DONE, doc, NULL, text);
    if (!whole && !failed)
        maintenance_set_text(doc, "why", NOT_WHOLE);
    return maintenance_enter(doc, MAINTENANCE_OVER);
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
        maintenance_set_text(doc, "silent_at", NULL);
        json_object_set_new(doc, "late", json_false());
        if (!now->boot)
            maintenance_set_time(doc, "silent_at", now->wall_ms);
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

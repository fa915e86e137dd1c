/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/core/plan.h"

#include "orchestrator/core/maintenance.h"
#include "orchestrator/core/plan_parts.h"
#include "orchestrator/core/vitals.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/units.h"

#define LOCK_LIMIT_MS 10000
#define FINAL_LIMIT_MS 120000
#define ELECT_LIMIT_MS 10000
#define VOTES_MARGIN_MS 10000
#define PAPER_LIMIT_MS 30000 /* release and unlock: a file written and fsynced */
/* Between the guest's own time and the engine's answer: the agent first, then ACPI. */
#define SHUTDOWN_MARGIN_MS 30000

static const PlanStep STEPS[STEP_COUNT] = {
    [STEP_LOCK] = {"plan.lock", "nobody else can start the guest any more", "the engine's answer",
                   "the lock ends at the plan's deadline", FALSE, 100},
    [STEP_SHUTDOWN] = {"plan.shutdown", "cutting ends, the guest is asked to shut down", "the guest is off",
                       "the guest is started again", FALSE, 10000},
    [STEP_FINAL] = {"plan.final", "the last generation is cut and sealed", "the standby has sealed it",
                    "the guest is started again", FALSE, 2000},
    [STEP_RELEASE] = {"plan.release", "the old active gives the VM up, durably", "the engine's certificate",
                      "nothing: from here only forwards", FALSE, 200},
    [STEP_PROMOTE] = {"plan.promote", "the VM is defined, started paused, tracked, and let run",
                      "the guest runs", "nothing: it is tried again until it runs", TRUE, 3000},
    [STEP_UNLOCK] = {"plan.unlock", "the old active's lock comes off", "the engine's answer", "nothing",
                     FALSE, 100},
    [STEP_ROLLBACK] = {"plan.rollback", "the guest is started where it was, cutting goes on",
                       "the guest runs", "nothing", FALSE, 5000},
    [STEP_PARK] = {"plan.park", "the VM stays off until it is called back, durably", "the engine's answer",
                   "the guest is started again", FALSE, 200},
    [STEP_ELECT] = {"plan.elect", "who votes promises the next reign, and renews this one no more",
                    "every lease that was granted has ended", "nothing: it is promised to nobody else", TRUE,
                    100},
};

const char *step_method(StepKind step)
{
    g_assert(step < STEP_COUNT);
    return STEPS[step].method;
}

gint64 step_limit_ms(const Plan *plan, StepKind step)
{
    switch (step) {
    case STEP_LOCK:
        return LOCK_LIMIT_MS;
    case STEP_SHUTDOWN:
        return plan->shutdown_timeout_ms + SHUTDOWN_MARGIN_MS;
    case STEP_FINAL:
        return FINAL_LIMIT_MS;
    case STEP_PARK:
    case STEP_RELEASE:
    case STEP_UNLOCK:
        return PAPER_LIMIT_MS;
    case STEP_ELECT:
        return ELECT_LIMIT_MS;
    case STEP_PROMOTE:
    case STEP_ROLLBACK:
        return plan->start_timeout_ms;
    case STEP_COUNT:
        break;
    }
    g_assert_not_reached();
}

void plan_steps(const Plan *plan, PlanStep ret_steps[static STEP_COUNT])
{
    for (guint i = 0; i < STEP_COUNT; i++) {
        ret_steps[i] = STEPS[i];
        ret_steps[i].limit_ms = step_limit_ms(plan, i);
    }
}

static void move_free(gpointer data)
{
    Move *m = data;

    g_free(m->name);
    g_free(m->why);
    g_ptr_array_unref(m->before);
    g_ptr_array_unref(m->behind);
    json_decref(m->certificate);
    g_free(m);
}

Plan *plan_new(Id id, const char *scenario, const char *from, const char *to)
{
    Plan *plan = g_new0(Plan, 1);

    plan->id = id;
    plan->scenario = g_strdup(scenario);
    plan->from = g_strdup(from);
    plan->to = g_strdup(to);
    plan->moves = g_ptr_array_new_with_free_func(move_free);
    return plan;
}

Move *plan_add_move(Plan *plan, Id vm, const char *name, Reign reign)
{
    Move *m = g_new0(Move, 1);

    m->vm = vm;
    m->name = g_strdup(name);
    m->reign = reign;
    m->lose_ms = -1;
    m->before = g_ptr_array_new();
    m->behind = g_ptr_array_new();
    g_ptr_array_add(plan->moves, m);
    return m;
}

void plan_free(Plan *plan)
{
    if (!plan)
        return;
    g_ptr_array_free(plan->moves, TRUE);
    g_free(plan->scenario);
    g_free(plan->from);
    g_free(plan->to);
    g_free(plan);
}

Move *plan_find(const Plan *plan, Id vm)
{
    for (guint i = 0; i < plan->moves->len; i++) {
        Move *m = plan->moves->pdata[i];

        if (id_equal(m->vm, vm))
            return m;
    }
    return NULL;
}

gboolean move_is_over(const Move *m)
{
    return m->state == MOVE_MOVED || m->state == MOVE_STAYED || m->state == MOVE_DOWN;
}

gboolean plan_refuse(GError **error, UsError code, const char *format, ...)
{
    g_autofree char *text = NULL;
    va_list args;

    va_start(args, format);
    text = g_strdup_vprintf(format, args);
    va_end(args);
    g_set_error_literal(error, US_ERROR, code, text);
    return FALSE;
}

static gboolean check_scenario(const Protection *p, const char *to, gboolean force, GError **error)
{
    const RosterHost *known = roster_find(p->roster, to);
    const char *name = p->scenario->name;

    if (!scenario_has_host(p->scenario, to))
        return plan_refuse(error, US_ERROR_NOT_FOUND, "host '%.64s' is not of scenario '%s'", to, name);
    if (!id_is_nil(p->plan))
        return plan_refuse(
            error, US_ERROR_BUSY,
            "a plan %s the VMs of scenario '%s' already: wait for its end, see 'understudy plan list'",
            p->parks ? "for the maintenance of a host has" : "moves", name);
    if (p->goal == GOAL_PAUSED && !force)
        return plan_refuse(
            error, US_ERROR_REFUSED,
            "scenario '%s' is paused, its copies are old: nothing was begun; use 'understudy continue' first",
            name);
    if (!force && known && maintenance_phase(known->maintenance) < MAINTENANCE_RETURNING)
        return plan_refuse(
            error, US_ERROR_REFUSED,
            "%s is in maintenance, and receives nothing: nothing was begun; wait for its end, or "
            "'understudy maintenance finish %s'",
            to, to);
    if (p->goal == GOAL_STOPPED)
        return plan_refuse(
            error, US_ERROR_REFUSED,
            "scenario '%s' does not run: there is no current copy to switch over to; run it first", name);
    return TRUE;
}

static const ProtectionCopy *copy_on(const ProtectionVm *vm, const char *host)
{
    for (guint i = 0; i < vm->copies->len; i++)
        if (g_str_equal(((const ProtectionCopy *)vm->copies->pdata[i])->host, host))
            return vm->copies->pdata[i];
    g_assert_not_reached();
}

/* What was asked of its active after the last plan it may never do again. Of a point that its operator names it is not the
 * copy that has to be whole, but that point: its host is asked for it before anything is begun. */
gboolean plan_check_forced_vm(const ProtectionVm *vm, const char *to, Id point, GError **error)
{
    return !id_is_nil(point) || copy_on(vm, to)->complete ||
           plan_refuse(error, US_ERROR_REFUSED,
                       "'%s' cannot be switched over to %s: there is no complete copy of it there; nothing "
                       "was begun. If the VM is to go on from what there is, an older point or a branch, "
                       "`understudy points` lists those: name one with --point ID",
                       vm->name, to);
}

/* libvirt would be asked, and wait for that QEMU as long as it stands. */
static gboolean check_not_frozen(const Protection *p, const ProtectionVm *vm, GError **error)
{
    g_autofree char *what = vm->life.frozen ? protection_frozen_text(p, vm) : NULL;

    return !what || plan_refuse(error, US_ERROR_REFUSED, "nothing was begun: %s", what);
}

static gboolean check_vm(const Protection *p, const ProtectionVm *vm, const char *to, const PlanOptions *o,
                         GError **error)
{
    const ProtectionCopy *copy;

    if (g_str_equal(vm->active, to))
        return plan_refuse(error, US_ERROR_REFUSED, "'%s' runs on %s already: nothing was begun", vm->name,
                           to);
    if (vm->owes && !o->force)
        return plan_refuse(
            error, US_ERROR_BUSY,
            "the last plan's lock of '%s' is still to be taken off: nothing was begun; bring that host back "
            "first",
            vm->name);
    if (o->force)
        return plan_check_forced_vm(vm, to, o->point, error);
    if (!check_not_frozen(p, vm, error))
        return FALSE;
    copy = copy_on(vm, to);
    if (copy->state == COPY_PROTECTED || copy->state == COPY_LAGGING)
        return TRUE;
    return plan_refuse(
        error, US_ERROR_REFUSED,
        "'%s' cannot be switched over to %s, its copy there is %s%s%s: nothing was begun; wait until it is "
        "protected, or name the other VMs with --vm",
        vm->name, to, copy_state_name(copy->state), copy->why ? ", " : "", copy->why ? copy->why : "");
}

/* Which VMs: those that were named, or all that are not there yet. */
static GPtrArray *choose(const Protection *p, const PlanOptions *o, const char *to, GError **error)
{
    g_autoptr(GPtrArray) chosen = g_ptr_array_new();

    for (guint i = 0; i < o->vm_count; i++) {
        ProtectionVm *vm = protection_find(p, o->vms[i]);

        if (!vm) {
            plan_refuse(error, US_ERROR_NOT_FOUND, "VM %s is not of scenario '%s'", ID_TEXT(o->vms[i]),
                        p->scenario->name);
            return NULL;
        }
        if (!g_ptr_array_find(chosen, vm, NULL))
            g_ptr_array_add(chosen, vm);
    }
    for (guint i = 0; o->vm_count == 0 && i < p->vms->len; i++)
        if (!g_str_equal(((ProtectionVm *)p->vms->pdata[i])->active, to))
            g_ptr_array_add(chosen, p->vms->pdata[i]);
    if (chosen->len == 0) {
        plan_refuse(error, US_ERROR_REFUSED,
                    "every VM of scenario '%s' runs on %s already: nothing was begun", p->scenario->name, to);
        return NULL;
    }
    return g_steal_pointer(&chosen);
}

static gboolean check_engine(const Protection *p, const char *host, GError **error)
{
    if (protection_is_up(p, host) && roster_find(p->roster, host))
        return TRUE;
    return plan_refuse(
        error, US_ERROR_UNREACHABLE,
        "the engine of %s does not answer: a switchover in good order needs both; nothing was begun", host);
}

/* Its host lives, and so its guests may: the controller alone, or its engine, cannot be heard. */
static gboolean check_gone(const Protection *p, const Plan *plan, GError **error)
{
    const char *who = plan->old_is_off || plan->fenced || plan->elected || !p->vitals
                          ? NULL
                          : vitals_who_hears(p->vitals, plan->from);

    return !who ||
           plan_refuse(
               error, US_ERROR_REFUSED,
               "%s has not gone: %s has heard it a moment ago, though its engine does not answer the "
               "controller, and what runs there may run on; nothing was begun; look at it, or ask again in "
               "some seconds if it has gone just now; if its VMs are off for certain, --old-is-off says so",
               plan->from, who);
}

/* By force only where the old active cannot be asked to release. */
gboolean plan_check_engines(const Protection *p, const Plan *plan, GError **error)
{
    if (!plan->forced)
        return check_engine(p, plan->to, error) &&
               (check_engine(p, plan->from, error) ||
                (g_prefix_error(error, "if %s is gone, `--force` goes on from the newest point on %s: ",
                                plan->from, plan->to),
                 FALSE));
    if (!protection_is_up(p, plan->to) || !roster_find(p->roster, plan->to))
        return plan_refuse(
            error, US_ERROR_UNREACHABLE,
            "the engine of %s does not answer: nothing can be started there; nothing was begun", plan->to);
    if (!protection_is_up(p, plan->from))
        return check_gone(p, plan, error);
    return plan_refuse(
        error, US_ERROR_REFUSED,
        "the engine of %s answers: a switchover in good order loses nothing; nothing was begun; leave "
        "--force away (--power-off switches a guest off that does not shut down); where the VM is not "
        "defined there any more, `understudy-engine promote %s --old-is-off` on %s, as root, goes on from "
        "the copy",
        plan->from, plan->scenario, plan->to);
}

static gboolean check_point(const PlanOptions *o, const GPtrArray *chosen, GError **error)
{
    return id_is_nil(o->point) || chosen->len == 1 ||
           plan_refuse(error, US_ERROR_USAGE,
                       "a point is of one VM, and %u would be moved: name it with --vm; nothing was begun",
                       chosen->len);
}

/* Is it off because its user wants it so, or since it died and could not be started? */
static void see_guest(const ProtectionVm *vm, Move *m)
{
    gboolean off = vm->last && g_strcmp0(vm->last->guest, "off") == 0;

    m->died = off && vm->life.state == GUEST_LIFE_SILENT;
    m->was_off = off && !m->died;
}

/* What its release would have said of the VM, as far as it is known. */
void plan_force_move(const ProtectionVm *vm, const Plan *plan, gint64 now_ms, Move *m)
{
    m->tip = plan->point;
    m->lose_ms = id_is_nil(plan->point) ? protection_lag_ms(vm, plan->to, now_ms) : -1;
    /* Nobody votes while a lease may last. */
    m->certificate =
        json_pack("{s:b, s:b, s:b, s:b}", "forced", 1, "old_is_off",
                  plan->old_is_off || plan->fenced || plan->elected, "running", !m->was_off, "autostart", 0);
}

static void set_deadline(Plan *plan)
{
    plan->deadline_ms =
        LOCK_LIMIT_MS + plan->shutdown_timeout_ms + SHUTDOWN_MARGIN_MS + FINAL_LIMIT_MS + PAPER_LIMIT_MS;
}

void plan_set_times(Plan *plan, const Policy *policy)
{
    plan->shutdown_timeout_ms = policy->shutdown_timeout_ms;
    plan->start_timeout_ms = policy->start_timeout_ms;
    set_deadline(plan);
}

static void add_moves(const GPtrArray *chosen, const PlanOptions *o, Plan *plan)
{
    for (guint i = 0; i < chosen->len; i++) {
        const ProtectionVm *vm = chosen->pdata[i];
        Move *m = plan_add_move(plan, vm->uuid, vm->name, vm->reign);

        see_guest(vm, m);
        if (plan->forced)
            plan_force_move(vm, plan, o->now_ms, m);
    }
}

gint64 plan_votes_ms(const Protection *p)
{
    return protection_has_leases(p) ? p->scenario->policy.countdown_ms + VOTES_MARGIN_MS : 0;
}

static Plan *build(const Protection *p, const GPtrArray *chosen, const char *to, const PlanOptions *o)
{
    const Policy *policy = &p->scenario->policy;
    Plan *plan = plan_new(o->id, p->scenario->name, ((const ProtectionVm *)chosen->pdata[0])->active, to);

    /* By force: the next number may have been given away by a release that nobody who is left has heard of. */
    plan->next = (Reign){protection_term(p) + (o->force ? 2 : 1), o->reign};
    /* And nobody promises a number twice, or keeps one below what he has promised. */
    plan->next.number = MAX(plan->next.number, o->promised + 1);
    plan->power_off = o->power_off;
    plan->reverse = o->reverse == PLAN_REVERSE_BY_POLICY ? policy_reverses(policy) : o->reverse;
    plan->forced = o->force;
    plan->old_is_off = o->old_is_off;
    plan->fenced = o->fenced;
    plan->sure_ms = o->sure_ms;
    plan->sure_boot = o->sure_boot;
    plan->elected = o->force && o->elected;
    plan->votes_ms = o->force ? plan_votes_ms(p) : 0;
    plan->point = o->point;
    plan->from_up = !o->force;
    plan->to_up = TRUE;
    plan_set_times(plan, policy);
    return plan;
}

/* If its operator does not say it: home; by force away from a host that is gone, whichever of the two that is; or to the replica. */
static const char *destination(const Protection *p, const PlanOptions *o)
{
    if (o->to || o->home)
        return o->to ? o->to : p->scenario->master;
    for (guint i = 0; o->force && i < p->vms->len; i++) {
        const ProtectionVm *vm = p->vms->pdata[i];

        if (!protection_is_up(p, vm->active))
            return protection_keeper(vm);
    }
    return p->scenario->replicas->pdata[0];
}

static Plan *switchover(const Protection *p, const PlanOptions *o, GError **error)
{
    const char *to = destination(p, o);
    g_autoptr(GPtrArray) chosen = NULL;
    g_autoptr(Plan) plan = NULL;

    if (!check_scenario(p, to, o->force, error))
        return NULL;
    chosen = choose(p, o, to, error);
    if (!chosen || !check_point(o, chosen, error))
        return NULL;
    for (guint i = 0; i < chosen->len; i++)
        if (!check_vm(p, chosen->pdata[i], to, o, error))
            return NULL;
    plan = build(p, chosen, to, o);
    if (!plan_check_engines(p, plan, error))
        return NULL;
    plan->to_id = roster_find(p->roster, to)->id;
    add_moves(chosen, o, plan);
    plan_order(plan, p);
    return g_steal_pointer(&plan);
}

/* --- maintenance -------------------------------------------------------- */

static GPtrArray *those_on(const Protection *p, const char *host, GError **error)
{
    g_autoptr(GPtrArray) chosen = g_ptr_array_new();

    for (guint i = 0; i < p->vms->len; i++)
        if (g_str_equal(((ProtectionVm *)p->vms->pdata[i])->active, host))
            g_ptr_array_add(chosen, p->vms->pdata[i]);
    if (chosen->len > 0)
        return g_steal_pointer(&chosen);
    plan_refuse(error, US_ERROR_NOT_FOUND, "no VM of scenario '%s' runs on %s", p->scenario->name, host);
    return NULL;
}

Plan *plan_park(const Protection *p, const ParkOptions *o, GError **error)
{
    const PlanOptions options = {
        .id = o->id, .reign = o->reign, .power_off = o->power_off, .reverse = PLAN_REVERSE_BY_POLICY};
    g_autoptr(GPtrArray) chosen = protection_is_sure(p, error) ? those_on(p, o->host, error) : NULL;
    g_autoptr(Plan) plan = NULL;
    const char *to;

    if (!chosen)
        return NULL;
    to = protection_keeper(chosen->pdata[0]);
    if (!check_scenario(p, to, FALSE, error))
        return NULL;
    for (guint i = 0; i < chosen->len; i++)
        if (!(o->alone ? check_not_frozen(p, chosen->pdata[i], error)
                       : check_vm(p, chosen->pdata[i], to, &options, error)))
            return NULL;
    plan = build(p, chosen, to, &options);
    plan->parks = TRUE;
    plan->alone = o->alone;
    plan->to_up = protection_is_up(p, to);
    plan->until_told = o->until_told;
    if (o->patient) {
        plan->shutdown_timeout_ms = PLAN_PATIENCE_MS;
        set_deadline(plan);
    }
    if (!(o->alone ? check_engine(p, o->host, error) : plan_check_engines(p, plan, error)))
        return NULL;
    plan->to_id = roster_find(p->roster, to) ? roster_find(p->roster, to)->id : ID_NIL;
    add_moves(chosen, &options, plan);
    plan_order(plan, p);
    return g_steal_pointer(&plan);
}

gboolean plan_is_parked(const Plan *plan)
{
    if (!plan->parks || plan->called)
        return FALSE;
    for (guint i = 0; i < plan->moves->len; i++)
        if (((const Move *)plan->moves->pdata[i])->state != MOVE_PARKED)
            return FALSE;
    return TRUE;
}

Plan *plan_switchover(const Protection *p, const PlanOptions *o, GError **error)
{
    if (!o->force && !protection_is_sure(p, error))
        return NULL;
    /* Until its end is durable, an ended one counts as running, and is waited for. */
    if (o->force && o->running && !o->running->ended && id_equal(p->plan, o->running->id))
        return plan_switchover_running(p, o, error);
    return switchover(p, o, error);
}

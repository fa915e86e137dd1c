/* SPDX-License-Identifier: Apache-2.0 */
/* What a plan tells: all of it may be told twice, because a restarted controller does. */
#include "orchestrator/core/protection_parts.h"
#include "vmconnect/base/error.h"

gboolean protection_on_plan_begun(Protection *p, const Input *in, ActionList *out, GError **error)
{
    if (id_equal(p->plan, in->plan)) {
        /* Told again after a restart; or gone on with by force. */
        if (p->parks && !in->parks) {
            p->parks = FALSE;
            action_persist(out, NULL);
            protection_publish(p, EVENT_SWITCHOVER_STARTED, in->host, NULL, NULL, out);
        }
        return TRUE;
    }
    if (!protection_no_plan(p, error))
        return FALSE;
    if (p->goal == GOAL_STOPPED) {
        g_set_error(error, US_ERROR, US_ERROR_REFUSED,
                    "scenario '%s' does not run: no plan may move its VMs; run it first", p->scenario->name);
        return FALSE;
    }
    p->plan = in->plan;
    p->parks = in->parks;
    EACH_VM (p, vm) {
        vm->part = PART_NONE;
        g_clear_pointer(&vm->stayed, g_free);
    }
    action_persist(out, NULL);
    if (!p->parks)
        protection_publish(p, EVENT_SWITCHOVER_STARTED, in->host, NULL, NULL, out);
    return TRUE;
}

static gboolean on_moving(Protection *p, ProtectionVm *vm, const Input *in, ActionList *out)
{
    (void)p;
    (void)in;
    (void)out;
    vm->part = PART_MOVING;
    vm->asked = NULL;
    return TRUE;
}

/* What was said, asked and refused in the one before counts no more. */
static void enter_reign(ProtectionVm *vm, Reign reign)
{
    vm->reign = reign;
    vm->told = TOLD_NOTHING;
    vm->asked = NULL;
    vm->retry_at_ms = 0;
    g_clear_pointer(&vm->last, news_free);
    g_clear_pointer(&vm->stayed, g_free);
    g_clear_pointer(&vm->rival, g_free);
    g_ptr_array_set_size(vm->troubles, 0);
    protection_life_anew(vm);
}

static void runs_there(Protection *p, ProtectionVm *vm, const char *host, Reign reign, gboolean reverse)
{
    enter_reign(vm, reign);
    vm->reverse = reverse && !g_str_equal(host, p->scenario->master);
    protection_set_active(p, vm, host, COPY_SWITCHING);
}

/* The host that we took for the active has no part in it, or knows already. */
void protection_runs_there(Protection *p, ProtectionVm *vm, const char *host, Reign reign, EventCode code,
                           ActionList *out)
{
    runs_there(p, vm, host, reign, policy_reverses(&p->scenario->policy));
    vm->owes = (vm->owes & ~(guint)OWES_UNLOCK) | OWES_YIELD;
    /* It has the standby's role that it was promoted from, which a stop ends, too. */
    if (p->goal == GOAL_STOPPED && !protection_vm_is_home(p, vm))
        vm->owes |= OWES_LEAVE;
    action_persist(out, NULL);
    protection_publish(p, code, host, vm->name, NULL, out);
}

/* It was away and is back, and the database is older than that: its copies were admitted in an older reign. */
void protection_rules_on(Protection *p, ProtectionVm *vm, Reign reign, ActionList *out)
{
    enter_reign(vm, reign);
    for (guint i = 0; i < vm->copies->len; i++)
        ((ProtectionCopy *)vm->copies->pdata[i])->admitted = FALSE;
    action_persist(out, NULL);
    protection_publish(p, EVENT_REIGN_LEARNT, vm->active, vm->name, NULL, out);
}

static gboolean on_moved(Protection *p, ProtectionVm *vm, const Input *in, ActionList *out)
{
    vm->part = PART_MOVED;
    if (g_str_equal(vm->active, in->host) && reign_equal(vm->reign, in->reign))
        return TRUE; /* told again */
    runs_there(p, vm, in->host, in->reign, in->reverse);
    if (in->forced) {
        vm->owes = (vm->owes & ~(guint)OWES_UNLOCK) | OWES_YIELD;
        /* Nobody can know of a later reign than the one that was just made. */
        g_hash_table_remove_all(p->unheard);
    } else if (!in->unlocked) {
        vm->owes |= OWES_UNLOCK;
        vm->owed_plan = p->plan;
    }
    action_persist(out, NULL);
    protection_publish(p, EVENT_VM_MOVED, in->host, vm->name, NULL, out);
    return TRUE;
}

static gboolean on_stayed(Protection *p, ProtectionVm *vm, const Input *in, ActionList *out)
{
    vm->part = PART_STAYED;
    vm->told = TOLD_NOTHING;
    if (p->parks) {
        /* It is back as it was; why it could not be parked is news all the same. */
        if (in->why)
            protection_publish(p, EVENT_VM_NOT_PARKED, vm->active, vm->name, in->why, out);
        return TRUE;
    }
    g_free(vm->stayed);
    vm->stayed = g_strdup(in->why);
    protection_publish(p, EVENT_VM_STAYED, vm->active, vm->name, in->why, out);
    return TRUE;
}

static gboolean on_blocked(Protection *p, ProtectionVm *vm, const Input *in, ActionList *out)
{
    vm->part = PART_BLOCKED;
    g_free(vm->stayed);
    vm->stayed =
        g_strdup_printf("it is off: %s gave it up, and %s cannot start it (%s); remove the cause, then it is "
                        "started: it is tried again and again",
                        vm->active, in->host, in->why);
    protection_publish(p, EVENT_VM_BLOCKED, in->host, vm->name, in->why, out);
    return TRUE;
}

static gboolean on_down(Protection *p, ProtectionVm *vm, const Input *in, ActionList *out)
{
    vm->part = PART_DOWN;
    vm->told = TOLD_NOTHING;
    g_clear_pointer(&vm->last, news_free);
    g_free(vm->stayed);
    vm->stayed = g_strdup(in->why);
    protection_publish(p, EVENT_VM_DOWN, vm->active, vm->name, in->why, out);
    return TRUE;
}

/* NULL: every VM of the plan moved. */
static char *why_not_done(const Protection *p)
{
    GString *text = g_string_new(NULL);
    gboolean begun = FALSE;

    EACH_VM (p, vm) {
        begun |= vm->part != PART_NONE;
        if (vm->part == PART_STAYED || vm->part == PART_DOWN)
            g_string_append_printf(text, "%s'%s' %s", text->len ? ", " : "", vm->name,
                                   vm->part == PART_STAYED ? "stayed" : "is down");
    }
    if (!begun)
        g_string_append(text, "the controller was restarted before it began");
    return g_string_free(text, text->len == 0);
}

gboolean protection_on_plan_ended(Protection *p, const Input *in, ActionList *out, GError **error)
{
    g_autofree char *why = NULL;
    gboolean parked;

    (void)error;
    if (!id_equal(p->plan, in->plan))
        return TRUE; /* told again */
    why = why_not_done(p);
    parked = p->parks;
    p->plan = ID_NIL;
    p->parks = FALSE;
    EACH_VM (p, vm)
        vm->part = vm->part == PART_DOWN ? PART_DOWN : PART_NONE;
    action_persist(out, NULL);
    if (!parked)
        protection_publish(p, why ? EVENT_SWITCHOVER_FAILED : EVENT_SWITCHOVER_DONE, in->host, NULL, why,
                           out);
    return TRUE;
}

gboolean protection_on_plan_vm(Protection *p, const Input *in, ActionList *out, GError **error)
{
    ProtectionVm *vm = protection_find(p, in->vm);

    if (!vm || !id_equal(p->plan, in->plan)) {
        g_set_error(error, US_ERROR, US_ERROR_REFUSED,
                    "plan %s tells of VM %s, and scenario '%s' has no such VM in a plan of that id: it is "
                    "not counted; see 'understudy status' for where the VM runs",
                    ID_TEXT(in->plan), ID_TEXT(in->vm), p->scenario->name);
        return FALSE;
    }
    switch (in->kind) {
    case INPUT_MOVING:
        return on_moving(p, vm, in, out);
    case INPUT_YIELDED:
        protection_yielded(p, vm, in->host, in->why, out);
        return TRUE;
    case INPUT_MOVED:
        return on_moved(p, vm, in, out);
    case INPUT_STAYED:
        return on_stayed(p, vm, in, out);
    case INPUT_BLOCKED:
        return on_blocked(p, vm, in, out);
    case INPUT_GATE_MISSED:
        protection_publish(p, EVENT_GATE_MISSED, in->host, vm->name, in->why, out);
        return TRUE;
    default:
        return on_down(p, vm, in, out);
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Automatic switchover: when may another host be elected, and is that to be done now?
 *
 * The actives of an automatic scenario hold leases (lease/lease.h), and are armed by the controller's order as long as a switchover would be
 * wanted and would work. When the countdown is over it begins the plan by itself: with the votes, if the active's engine is gone; as an
 * operator would, if that answers and a guest of it does not. Where the active's host has a fence, that may make certain what no lease
 * does: of one that was not armed, and with isolation=run, which arms nobody, it is the only way. A try that comes to nothing is repeated after another countdown, a few
 * times; its operator is told at the first that a switchover is required. */
#include "orchestrator/core/protection_parts.h"

#include "orchestrator/core/lease/lease.h"

#define TRIES_MAX 3

gboolean protection_is_automatic(const Protection *p)
{
    return p->scenario->policy.switchover == SWITCHOVER_AUTO;
}

gboolean protection_has_leases(const Protection *p)
{
    if (protection_is_automatic(p))
        return TRUE;
    EACH_VM (p, vm)
        if (vm->lease == LEASE_HELD || vm->lease == LEASE_LOST)
            return TRUE;
    return FALSE;
}

LeaseWord lease_word_of(const char *word)
{
    return g_strcmp0(word, "held") == 0   ? LEASE_HELD
           : g_strcmp0(word, "lost") == 0 ? LEASE_LOST
           : g_strcmp0(word, "free") == 0 ? LEASE_FREE
                                          : LEASE_NONE;
}

/* --- arming ------------------------------------------------------------------ */

static gboolean has_fence(const Protection *p, const char *host)
{
    const RosterHost *known = roster_find(p->roster, host);

    return known && known->has_fence;
}

gboolean protection_is_fenced_only(const Protection *p)
{
    return p->scenario->policy.isolation == ISOLATION_RUN;
}

/* What holds for all of its VMs; static, NULL: nothing. */
static const char *why_none(const Protection *p)
{
    if (p->goal != GOAL_RUNNING)
        return "it does not run";
    if (!id_is_nil(p->plan))
        return "a plan has its VMs";
    if (protection_is_maintained(p))
        return "a host of it is in maintenance";
    if (protection_is_held(p))
        return "it is held";
    if (!protection_is_sure(p, NULL))
        return "not every host has said what it knows";
    if (p->unfit)
        return p->unfit;
    return NULL;
}

static const char *why_unarmed(const Protection *p, const ProtectionVm *vm)
{
    const char *keeper = protection_keeper(vm);
    const ProtectionCopy *copy = protection_copy_on(vm, keeper);

    if (vm->rival)
        return "two hosts say that they are the active";
    if (!protection_vm_is_covered(p, vm))
        return "nothing replicates it from where it runs";
    if (!protection_is_up(p, keeper))
        return "its standby does not answer";
    /* It is armed when its copy is as new as it should be, and stays so while that can be used. */
    if (!copy->complete || (!vm->arm && copy->state != COPY_PROTECTED))
        return "its copy is not protected yet";
    return NULL;
}

const char *protection_unarmed(const Protection *p, const ProtectionVm *vm)
{
    const char *why = why_none(p);

    if (!protection_is_automatic(p))
        return "switchover=manual";
    if (!why && protection_is_fenced_only(p))
        return "isolation=run: nobody is stopped for want of a lease";
    return why ? why : why_unarmed(p, vm);
}

const char *protection_unattended(const Protection *p, const ProtectionVm *vm)
{
    const char *why = why_none(p);

    if (why || !protection_is_fenced_only(p) || !protection_is_automatic(p))
        return protection_unarmed(p, vm);
    return has_fence(p, vm->active) ? why_unarmed(p, vm)
                                    : "isolation=run, and no fence is set for the host that runs it";
}

/* Whoever cannot be told stays what he is: armed, if he was. */
void protection_review_arms(Protection *p)
{
    EACH_VM (p, vm) {
        gboolean arm = protection_unarmed(p, vm) == NULL;

        if (arm == vm->arm || !id_is_nil(p->plan) || !protection_is_up(p, vm->active))
            continue;
        vm->arm = arm;
        vm->told = vm->told == TOLD_PROTECT ? TOLD_NOTHING : vm->told;
        /* What is under way says the old one. */
        if (g_strcmp0(vm->asked, "active.protect") == 0)
            vm->asked = NULL;
    }
}

json_t *protection_lease_of(const Protection *p, const ProtectionVm *vm)
{
    /* Until its engine says that nothing is enforced any more: one that is started anew meanwhile must still wait for that. */
    if (!protection_is_automatic(p) && vm->lease != LEASE_HELD && vm->lease != LEASE_LOST)
        return NULL;
    return json_pack("{s:I, s:s, s:b}", "countdown_ms", (json_int_t)p->scenario->policy.countdown_ms,
                     "controller", ID_TEXT(roster_controller(p->roster)), "arm", vm->arm);
}

/* --- taking over ---------------------------------------------------------------- */

/* What leaves it to the operator now; static, NULL: nothing. */
static const char *why_left(const Protection *p)
{
    if (!protection_is_automatic(p))
        return "switchover=manual";
    if (p->scenario->policy.confirm == CONFIRM_YES)
        return "confirm=yes";
    return why_none(p);
}

static gboolean may_take_over(const Protection *p)
{
    gboolean some = FALSE;

    if (why_left(p) || p->takeover.asked || p->takeover.tries >= TRIES_MAX)
        return FALSE;
    EACH_VM (p, vm)
        if (vm->life.state == GUEST_LIFE_SILENT && !vm->life.presumed) {
            some = TRUE;
            /* Of one that was not armed when it was heard last nobody knows that it has stopped; of two that rule, which. */
            if (((vm->lease == LEASE_FREE || protection_is_fenced_only(p)) && !has_fence(p, vm->active)) ||
                vm->rival || !protection_is_up(p, protection_keeper(vm)))
                return FALSE;
        }
    return some;
}

gboolean protection_take_over(Protection *p, gint64 now_ms, ActionList *out)
{
    if (!may_take_over(p))
        return FALSE;
    p->takeover.asked = TRUE;
    p->takeover.tries++;
    p->takeover.at_ms = now_ms;
    action_takeover(out);
    return TRUE;
}

/* What was asked for, and is not begun, is overtaken by who has said otherwise since. */
void protection_review_takeover(Protection *p)
{
    p->takeover.asked = p->takeover.asked && !why_left(p);
}

/* Why the last did not begin, or moved nothing; borrowed, NULL: not known. */
static const char *why_in_vain(const Protection *p)
{
    const char *why = why_left(p);

    EACH_VM (p, vm)
        if (!why && vm->life.state == GUEST_LIFE_SILENT)
            why = vm->stayed;
    return why;
}

static void tell_in_vain(Protection *p, const char *why, gint64 now_ms, ActionList *out)
{
    if (p->takeover.told)
        return;
    p->takeover.told = TRUE;
    protection_require(p, why, now_ms, out);
}

/* The last has come to nothing; it is repeated when all of the time has passed again. */
void protection_take_over_again(Protection *p, gint64 now_ms, ActionList *out)
{
    const char *why = why_in_vain(p);

    if (p->takeover.tries == 0 || p->takeover.asked)
        return;
    if (why || p->takeover.tries >= TRIES_MAX)
        tell_in_vain(p, why, now_ms, out);
    if (now_ms >= p->takeover.at_ms + p->scenario->policy.countdown_ms)
        (void)protection_take_over(p, now_ms, out);
}

gboolean protection_wants_takeover(const Protection *p)
{
    return p->takeover.asked && id_is_nil(p->plan);
}

void protection_to_take_over(const Protection *p, GArray *vms, gboolean *ret_gone, gboolean *ret_hangs)
{
    const char *from = NULL;

    *ret_gone = *ret_hangs = FALSE;
    EACH_VM (p, vm) {
        if (vm->life.state != GUEST_LIFE_SILENT || (from && !g_str_equal(vm->active, from)))
            continue;
        from = vm->active;
        g_array_append_val(vms, vm->uuid);
        *ret_gone |= !vitals_answers(p->vitals, vm->active);
        *ret_hangs |= !vm->life.revivable || vm->life.hangs;
    }
}

const char *protection_may_live_on(const Protection *p, const char *host)
{
    EACH_VM (p, vm)
        if (g_str_equal(vm->active, host) &&
            (vm->life.state == GUEST_LIFE_ALIVE || vm->life.state == GUEST_LIFE_UNKNOWN))
            return vm->name;
    return NULL;
}

gboolean protection_on_takeover(Protection *p, const Input *in, ActionList *out, GError **error)
{
    (void)error;
    p->takeover.asked = FALSE;
    if (!in->failure)
        return TRUE;
    tell_in_vain(p, in->failure->message, in->now_ms, out);
    action_note(out);
    return TRUE;
}

gboolean protection_on_looked(Protection *p, const Input *in, ActionList *out, GError **error)
{
    (void)error;
    g_free(p->unfit);
    p->unfit = in->failure ? g_strdup(in->failure->message) : NULL;
    if (p->rests_on_fence != in->rests_on_fence)
        action_note(out);
    p->rests_on_fence = in->rests_on_fence;
    return TRUE;
}

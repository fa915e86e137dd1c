/* SPDX-License-Identifier: Apache-2.0 */
/* A guest that died, or whose checks are missed, is first started or reset where it is: once, and a start that fails is tried again
 * as long as nobody waits for its end.
 *
 * Of several, as after the boot of their host, each waits in the start order for those that are being started before it and for
 * their gates, as in a plan: not for one that nobody starts, nor longer than start_timeout for one that does not answer. */
#include "orchestrator/core/protection_parts.h"
#include "orchestrator/core/start_order.h"

#include "vmconnect/base/error.h"

#define REVIVE_LIMIT_MS 60000
/* What libvirtd of version 9 still has to do about the QEMU that died may hit the new one, if it is slow: it ends that, too. */
#define REVIVE_TRIES 3
#define REVIVE_AGAIN_MS 5000
/* What a guest needs of its host may come late after a boot, as a folder of the network does. Longer than that nothing is tried: its operator
 * may be putting an image back, of which half is no image. */
#define LATE_MS 15000
#define LATEST_MS 120000
/* What dies in one moment is heard of one after the other. */
#define TOGETHER_MS 2000

static void try_revival(const Protection *p, ProtectionVm *vm, gint64 now_ms, ActionList *out)
{
    gint64 limit_ms = MAX(REVIVE_LIMIT_MS, p->scenario->policy.start_timeout_ms);
    ProtectionLife *life = &vm->life;

    life->reviving = TRUE;
    life->revived = FALSE;
    life->revived_ms = now_ms;
    life->again_ms = 0;
    life->rest_ms = now_ms + p->scenario->policy.start_timeout_ms;
    life->tries++;
    life->tried_boots = life->boots;
    action_call(out, vm->active, "guest.revive", vm->uuid, limit_ms,
                json_pack("{s:s, s:b, s:I}", "vm", ID_TEXT(vm->uuid), "hangs", life->hangs, "limit_ms",
                          (json_int_t)limit_ms));
    ((Action *)out->pdata[out->len - 1])->order = ++life->order;
}

/* By the engine of its host, from where it is replicated, and its libvirtd; it is known who has the VM, and its operator has
 * nothing against it. */
static gboolean may_revive(const Protection *p, const ProtectionVm *vm, gint64 now_ms)
{
    return vm->life.state == GUEST_LIFE_SILENT && vm->life.revivable && !vm->rival &&
           vitals_answers(p->vitals, vm->active) && vitals_has_libvirt(p->vitals, vm->active) &&
           protection_vm_is_covered(p, vm) && protection_is_sure(p, NULL) &&
           !protection_must_wait(p, now_ms) && p->scenario->policy.restart != RESTART_NEVER &&
           !protection_is_held(p);
}

/* Guests that are missed from outside, several at once, and live as far as their host knows: it is what lies in between. */
static gboolean is_cut_off(const Protection *p, const ProtectionVm *vm)
{
    guint n = 0;

    EACH_VM (p, other)
        n += other->life.outside && other->life.state == GUEST_LIFE_SILENT &&
             g_str_equal(other->active, vm->active);
    return vm->life.outside && n > 1;
}

/* What runs on, and answers no more, may be shutting down or starting again, as its user wants it: it is ended only when that would
 * have taken too long. */
static gboolean may_reset(const Protection *p, const ProtectionVm *vm, gint64 now_ms)
{
    return now_ms >= vm->life.silent_ms + p->scenario->policy.reset_after_ms && !is_cut_off(p, vm);
}

/* It has not given up, nor is it tried too soon after the last time. */
static gboolean is_due(const Protection *p, const ProtectionVm *vm, gint64 now_ms)
{
    const ProtectionLife *life = &vm->life;
    gboolean rested = life->gave_up ? life->late_ms > 0 && now_ms >= life->late_ms : now_ms >= life->rest_ms;

    return may_revive(p, vm, now_ms) && rested && (!life->hangs || may_reset(p, vm, now_ms));
}

/* What must be true of one that was started before those after it are. Whose checks were never answered is waited for, too. */
static gboolean gate_is_met(const Protection *p, const ProtectionVm *vm, gint64 now_ms)
{
    const ProtectionLife *life = &vm->life;
    const Gate *gate = &scenario_find_vm(p->scenario, vm->uuid)->gate;

    if (!life->revived)
        return TRUE;
    if (gate->probe && !life->proven)
        return now_ms >= life->revived_ms + p->scenario->policy.start_timeout_ms;
    return now_ms >= life->back_ms + gate->delay_ms;
}

typedef struct {
    const Protection *p;
    gint64 now_ms;
} Moment;

static gboolean is_coming(const void *user, Id uuid)
{
    const Moment *m = user;
    const ProtectionVm *vm = protection_find(m->p, uuid);

    if (!vm)
        return FALSE;
    return vm->life.state == GUEST_LIFE_ALIVE ? !gate_is_met(m->p, vm, m->now_ms)
                                              : vm->life.reviving || is_due(m->p, vm, m->now_ms);
}

/* The first of those that it starts after and that are not there yet, or of which it is not known yet whether they died with it;
 * nil: it need not wait. */
static Id waited_for(const Protection *p, const ProtectionVm *vm, gint64 now_ms)
{
    const GArray *after = scenario_find_vm(p->scenario, vm->uuid)->after;
    Moment m = {p, now_ms};
    g_autoptr(GArray) before = start_order_before(p->scenario, vm->uuid, is_coming, &m);

    if (before->len > 0)
        return g_array_index(before, Id, 0);
    return after->len > 0 && now_ms < vm->life.silent_ms + TOGETHER_MS ? g_array_index(after, Id, 0) : ID_NIL;
}

/* Not again before it has lived since, nor within the time that a start may take: what dies each time is its operator's. */
static void begin_revival(const Protection *p, ProtectionVm *vm, gint64 now_ms, ActionList *out)
{
    ProtectionLife *life = &vm->life;

    /* What could not be started while libvirtd was ill, or before its host went down, may be when it is back; what was, in vain, is
     * its operator's. */
    if (!vitals_has_libvirt(p->vitals, vm->active) && !life->reviving && !life->revived) {
        life->gave_up = FALSE;
        life->rest_ms = MIN(life->rest_ms, now_ms + REVIVE_AGAIN_MS);
    }
    life->waits_for = ID_NIL;
    if (life->reviving || !is_due(p, vm, now_ms))
        return;
    life->waits_for = waited_for(p, vm, now_ms);
    if (!id_is_nil(life->waits_for))
        return;
    life->first_ms = life->gave_up ? life->first_ms : now_ms;
    life->tries = life->gave_up ? REVIVE_TRIES - 1 : 0;
    try_revival(p, vm, now_ms, out);
}

/* @again_ms: when it is tried all the same; 0: not. */
static void fail_revival(const Protection *p, ProtectionVm *vm, gint64 again_ms, const char *why,
                         ActionList *out)
{
    gboolean known = vm->life.gave_up;

    vm->life.reviving = FALSE;
    vm->life.gave_up = TRUE;
    vm->life.late_ms = again_ms;
    if (!known)
        protection_publish_guest(p, vm, EVENT_GUEST_RESTART_FAILED, why, out);
}

static gboolean ends_before(const Protection *p, gint64 at_ms)
{
    return p->countdown.runs && !p->countdown.over &&
           at_ms >= p->countdown.since_ms + p->scenario->policy.countdown_ms;
}

/* It may be tried once more, but nobody is kept waiting for the end of the countdown. @started: it has died after its start. */
static void fail_try(const Protection *p, ProtectionVm *vm, gint64 now_ms, gboolean started, const char *why,
                     ActionList *out)
{
    gint64 again_ms = now_ms + REVIVE_AGAIN_MS, late_ms = now_ms + LATE_MS;

    if (vm->life.tries >= REVIVE_TRIES || ends_before(p, again_ms)) {
        gboolean late = !started && late_ms < vm->life.first_ms + LATEST_MS && !ends_before(p, late_ms);

        fail_revival(p, vm, late ? late_ms : 0, why, out);
        return;
    }
    vm->life.revived = FALSE;
    vm->life.again_ms = again_ms;
}

/* Its start has succeeded, and it has ended since: with each of the two its host counts a boot. */
static gboolean has_died_again(const ProtectionLife *life)
{
    return life->revived && life->state == GUEST_LIFE_SILENT && life->revivable &&
           life->boots >= life->tried_boots + 2;
}

static void end_revival(const Protection *p, ProtectionVm *vm, gint64 now_ms, ActionList *out)
{
    ProtectionLife *life = &vm->life;

    if (!life->reviving)
        return;
    /* Somebody else has started it, or it cannot be now: then it begins anew when it can. */
    if (life->again_ms > 0 && !may_revive(p, vm, now_ms)) {
        life->reviving = FALSE;
        life->rest_ms = life->again_ms;
        life->again_ms = 0;
    } else if (life->again_ms > 0) {
        if (now_ms >= life->again_ms)
            try_revival(p, vm, now_ms, out);
    } else if (life->state == GUEST_LIFE_OFF || (life->state == GUEST_LIFE_ALIVE && life->revived)) {
        life->reviving = FALSE;
        life->back_ms = now_ms;
    } else if (has_died_again(life))
        fail_try(p, vm, now_ms, TRUE, life->why ? life->why : "it has died again", out);
    else if (now_ms >= life->revived_ms + p->scenario->policy.start_timeout_ms)
        fail_revival(p, vm, 0, life->why ? life->why : "it does not answer", out);
}

/* Nobody has tried, nor was one asked in time to: that is no reason to leave it down. That one could not be started before was told, and stays so. */
static void put_off(ProtectionLife *life, gint64 again_ms)
{
    gboolean late = life->reviving && life->gave_up;

    life->reviving = FALSE;
    life->gave_up = late;
    life->tries = 0;
    life->again_ms = 0;
    *(late ? &life->late_ms : &life->rest_ms) = again_ms;
}

void protection_on_revived(Protection *p, ProtectionVm *vm, const Input *in, ActionList *out)
{
    const char *how = json_string_value(json_object_get(in->json, "how"));

    /* An answer to another try, or of a host that it has left since, says nothing of this one. */
    if (!g_str_equal(in->host, vm->active) || (in->order && in->order != vm->life.order))
        return;
    if (g_error_matches(in->failure, US_ERROR, US_ERROR_BUSY)) {
        put_off(&vm->life, in->now_ms + REVIVE_AGAIN_MS);
        return;
    }
    if (!vm->life.reviving || vm->life.again_ms > 0)
        return;
    if (in->failure) {
        fail_try(p, vm, in->now_ms, FALSE, in->failure->message, out);
        return;
    }
    /* By its user, or after a boot by its host's engine itself, a moment before. */
    if (g_strcmp0(how, "found running") == 0) {
        vm->life.reviving = FALSE;
        return;
    }
    vm->life.revived = TRUE;
    protection_publish_guest(p, vm, EVENT_GUEST_RESTARTED, g_strcmp0(how, "reset") == 0 ? "reset" : "started",
                             out);
}

void protection_revive(Protection *p, gint64 now_ms, ActionList *out)
{
    EACH_VM (p, vm)
        end_revival(p, vm, now_ms, out);
    EACH_VM (p, vm)
        begin_revival(p, vm, now_ms, out);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Guests that are stopped for want of a lease, go on when it is back, or must stand still because they are another host's by now. */
#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/log.h"
#include "vmconnect/tenure_private.h"

#define STILL_MS 30000     /* so long a guest may take to stand still that is another host's … */
#define STILL_EACH_MS 1000 /* … asked again and again … */
#define STILL_LENDS 8      /* … and lent so often for it */

/* It knows nothing of the time in which it stood still. */
static void on_clock_set(void *user, gpointer result, const GError *error)
{
    g_autofree Asked *asked = user;

    (void)result;
    if (error)
        log_info("vm %s: its clock is not set, and may be late: %s", ID_TEXT(asked->id), error->message);
}

static void on_resumed(void *user, gpointer result, const GError *error)
{
    g_autofree Asked *asked = user;
    Hold *h = hold_find(asked->tenure, asked->id);

    (void)result;
    if (h && !asked->tenure->closed &&
        (error || guests_word(asked->tenure->engine->guests, h->vm) != GUEST_PAUSED))
        h->resumes = FALSE;
    if (error)
        log_error(
            "vm %s: its lease is back, and it cannot be resumed: %s -> resume it by hand (virsh resume)",
            ID_TEXT(asked->id), error->message);
    else if (!asked->tenure->closed)
        hands_set_clock(asked->tenure->engine->hands, asked->id, on_clock_set,
                        tenure_asked(asked->tenure, asked->id));
}

void hold_resume(const Hold *h)
{
    hands_resume(h->tenure->engine->lease_hands, h->vm, on_resumed, tenure_asked(h->tenure, h->vm));
}

/* Nobody wants it to stand still. */
void hold_forget_stop(Hold *h)
{
    h->is_asked = h->is_fenced = h->is_signalled = h->is_lent = h->was_paused = FALSE;
    leases_stopped(h->tenure->leases, h->vm, FALSE);
}

/* Whatever its guard has done is undone by that, or nothing was done yet. */
void hold_go_on(Hold *h)
{
    Tenure *t = h->tenure;

    if (!h->is_asked)
        return;
    log_notice("vm %s: its lease is back -> it goes on", ID_TEXT(h->vm));
    if (h->is_fenced) {
        h->halts++;
        h->halted_ms = clock_steady_ms() - h->fenced_at_ms;
    }
    h->resumes = !h->was_paused;
    if (h->resumes)
        hold_resume(h);
    hold_forget_stop(h);
    guests_set_fenced(t->engine->guests, h->vm, FALSE);
}

/* Whoever waits for it to stand still; @h may be gone then. */
void hold_say_still(Hold *h, const GError *error)
{
    void (*on_still)(void *user, const GError *error) = h->on_still;

    h->on_still = NULL;
    g_clear_pointer(&h->still_why, g_free);
    if (on_still)
        on_still(h->stiller, error);
}

static void lend_for_still(Hold *h)
{
    if (h->still_lends++ < STILL_LENDS)
        warden_lend(h->tenure->warden, h->vm);
}

/* libvirt's word counts alone: a QEMU that its guard has stopped does nothing either, but may go on again to be suspended (its engine may have asked
 * for that and died), and would write to disks that are taken for those of a guest that stands still. So it goes on, behind its shut gate, until libvirt has
 * suspended it, or it has ended. */
static void hear_still(Hold *h, const GError *error)
{
    if (!hold_is_yielding(h)) {
        g_autoptr(GError) anew =
            g_error_new(US_ERROR, US_ERROR_OVERTAKEN, "its role was given anew meanwhile: nothing is ended");

        hold_say_still(h, anew);
        return;
    }
    if (!error) {
        hold_say_still(h, NULL);
        return;
    }
    g_free(h->still_why);
    h->still_why = g_strdup(error->message);
    if (h->still_lends == 0 && g_error_matches(error, US_ERROR, US_ERROR_BUSY))
        lend_for_still(h);
}

static void on_suspended(void *user, gpointer result, const GError *error)
{
    g_autofree Asked *asked = user;
    Hold *h = hold_find(asked->tenure, asked->id);

    (void)result;
    if (!error && !asked->tenure->closed)
        warden_tell(asked->tenure->warden, asked->id, TRUE);
    if (error && !(h && h->on_still))
        log_warning("vm %s: its lease ends, and libvirt does not suspend it: %s -> its guard stops it",
                    ID_TEXT(asked->id), error->message);
    if (!h)
        return;
    /* What was not asked for is not done late. */
    if (error && !g_error_matches(error, US_ERROR, US_ERROR_BUSY))
        h->is_late = TRUE;
    if (h->suspends == asked->number)
        h->suspends = 0;
    if (h->on_still && asked->number > h->still_from)
        hear_still(h, error);
}

static void suspend(Tenure *t, Id vm)
{
    Asked *asked = tenure_asked(t, vm);
    Hold *h = hold_find(t, vm);

    asked->number = ++t->suspends;
    if (h)
        h->suspends = asked->number;
    hands_suspend(t->engine->lease_hands, vm, on_suspended, asked);
}

void halts_on_please_stop(void *user, Id vm)
{
    Tenure *t = user;
    Hold *h = hold_find(t, vm);

    if (h && !h->is_asked) {
        h->is_asked = TRUE;
        h->was_paused = guests_word(t->engine->guests, vm) == GUEST_PAUSED && !h->resumes;
        log_warning("vm %s: its lease ends, since nobody whose voice counts answers -> it is suspended",
                    ID_TEXT(vm));
    }
    suspend(t, vm);
    if (h)
        hold_know_in_guard(h);
}

void halts_on_fenced(void *user, Id vm, Fenced how)
{
    Tenure *t = user;
    Hold *h = hold_find(t, vm);

    log_warning("vm %s: its lease has ended -> %s", ID_TEXT(vm),
                how == FENCED_KILLED    ? "it did not stop otherwise, and was killed"
                : how == FENCED_STOPPED ? "libvirt did not suspend it, and its QEMU was stopped"
                                        : "it stands still");
    if (!h)
        return;
    if (!h->is_fenced)
        h->fenced_at_ms = clock_steady_ms();
    h->is_asked = h->is_fenced = TRUE;
    h->is_signalled = how == FENCED_STOPPED;
    /* Once: a libvirtd that hangs does not suspend it the next time, either. More often if it is another host's: it must stand still, and
     * whoever waits for that asks again. */
    if (how == FENCED_STOPPED && hold_is_yielding(h)) {
        lend_for_still(h);
    } else if (how == FENCED_STOPPED && !h->is_lent) {
        h->is_lent = TRUE;
        warden_lend(t->warden, vm);
    }
    guests_set_fenced(t->engine->guests, vm, TRUE);
    leases_stopped(t->leases, vm, TRUE);
    hold_know_in_guard(h);
}

static gboolean wait_for_still(Hold *h)
{
    g_autoptr(GError) busy = NULL;

    if (!h->on_still)
        return FALSE;
    if (clock_steady_ms() < h->still_by_ms) {
        if (h->suspends == 0)
            suspend(h->tenure, h->vm);
        return TRUE;
    }
    busy = g_error_new(US_ERROR, US_ERROR_BUSY, "its guest here does not stand still yet: %s",
                       h->still_why ? h->still_why : "libvirt has not answered");
    hold_say_still(h, busy);
    return FALSE;
}

void halts_on_still_timer(uv_timer_t *timer)
{
    const Tenure *t = timer->data;
    g_autoptr(GList) known = g_hash_table_get_values(t->holds);
    gboolean any = FALSE;

    /* (Nobody lets a hold go from within its answer: what follows from that waits for a disk.) */
    for (GList *one = known; one; one = one->next)
        any = wait_for_still(one->data) || any;
    if (!any)
        uv_timer_stop(timer);
}

/* Nobody else could know whether what is in a guard's care is about to go on, or to be stopped in the middle of libvirt's asking. */
void tenure_yield(Tenure *t, Id vm, void (*on_still)(void *user, const GError *error), void *user)
{
    const ActiveRole *role = policy_active(t->engine->policy, vm);
    Hold *h = t->closed ? NULL : hold_find(t, vm);
    g_autoptr(GError) again =
        g_error_new(US_ERROR, US_ERROR_CANCELLED, "that was asked again: who asked last is answered");

    if (h && role)
        h->yields = role->serial;
    if (!h || !role || (!h->in_guard && warden_is_up(t->warden))) {
        on_still(user, NULL);
        return;
    }
    hold_say_still(h, again);
    h->on_still = on_still;
    h->stiller = user;
    h->still_by_ms = clock_steady_ms() + STILL_MS;
    h->still_from = t->suspends;
    h->still_lends = 0;
    if (h->is_signalled)
        lend_for_still(h);
    suspend(t, vm);
    uv_timer_start(&t->still_timer, halts_on_still_timer, STILL_EACH_MS, STILL_EACH_MS);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/tenure.h"

#include "orchestrator/votes/leases.h"
#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"
#include "vmconnect/base/log.h"
#include "vmconnect/engine.h"
#include "vmconnect/guard/taps.h"
#include "vmconnect/hypervisor/lease_file.h"
#include "vmconnect/peers.h"
#include "vmconnect/warden.h"

#include <string.h>

#define RENEW_LIMIT_MS 10000 /* an answer that comes later is worth nothing */
#define TAPS_EACH_MS \
    30000 /* libvirt says when a card is plugged, but if it hangs or was restarted just then */
#define SAME_MS 20
#define WRITE_AGAIN_MS 1000
#define STILL_MS 30000     /* so long a guest may take to stand still that is another host's … */
#define STILL_EACH_MS 1000 /* … asked again and again … */
#define STILL_LENDS 8      /* … and lent so often for it */
#define LEAVE_MS 3000      /* so long those that vote may take to hear that nothing is armed */
#define VOTERS 2           /* its standby and the controller */

/* One VM of which this host is the active. */
typedef struct {
    Tenure *tenure;
    Id vm;
    Reign reign;
    Id voters[VOTERS];
    guint64 yields;   /* this gift of the role is being ended: nobody lets its guest go on; 0: none is */
    gboolean dropped; /* it is to have no leases any more, once nothing is enforced */
    gboolean wants_arm;
    LeaseUntil until; /* as the leases have it … */
    LeaseMoment
        former; /* … and as the engine before this one had it, whose leases last as long as they did */
    gboolean readies;  /* held to its lease already, and not armed yet … */
    guint64 in_file;   /* … what must be written before it is … */
    gboolean is_kept;  /* … and the guard has confirmed */
    gboolean in_guard; /* the guard was told of it */
    pid_t pid;         /* that it was told, and until when (enforced, until) */
    LeaseUntil told;
    char taps[WORD_TAPS_MAX][IF_NAMESIZE];
    guint tap_count;
    gint64 taps_at_ms;
    gboolean is_asked;     /* the guard wants it suspended, or did so itself … */
    gboolean is_fenced;    /* … and it does nothing any more … */
    gboolean is_signalled; /* … stopped by a signal … */
    gboolean is_lent;      /* … and libvirt was to suspend it instead … */
    gboolean was_paused;   /* … which was so before: nobody resumes it */
    gint64 fenced_at_ms;   /* … since then */
    guint halts;           /* how often that has ended … */
    gint64 halted_ms;      /* … and how long it had lasted, the last time */
    gboolean resumes;      /* libvirt was asked to have it go on, and has not said that it does */
    gboolean is_late;      /* libvirt may yet do what it was asked to, and nobody waited for */
    guint64 suspends; /* the number of the last asking to suspend it that was not answered; 0: all were */
    /* Who waits for it to stand still; NULL: nobody. */
    void (*on_still)(void *user, const GError *error);
    void *stiller;
    gint64 still_by_ms;
    guint64 still_from; /* whatever was asked before does not count: it may have gone on since */
    guint still_lends;
    char *still_why; /* it does not, yet; NULL: nobody has said */
} Hold;

struct Tenure {
    Engine *engine;
    Leases *leases;
    Peers *peers;
    Warden *warden;
    GHashTable *holds; /* Id * (its own) -> Hold * */
    GHashTable *freed; /* set of Id *: let go by this engine, when nothing was enforced */
    GArray *before;    /* LeaseEntry: what the engine before this one enforced; NULL: none since the boot */
    guint64 changes;   /* of the file … */
    guint64 written;   /* … and how many of them it has */
    gboolean writing;
    gboolean file_fails;         /* told once, until it works again … */
    uv_timer_t again_timer;      /* … and tried again when that fires */
    void (*on_left)(void *user); /* NULL: it does not leave */
    void *leaver;
    uv_timer_t leave_timer;
    uv_timer_t still_timer; /* while somebody waits for a guest to stand still */
    guint64 suspends;       /* asked so far */
    gboolean closed;
};

static void hold_free(gpointer data)
{
    Hold *h = data;

    g_free(h->still_why);
    g_free(h);
}

static Hold *find(const Tenure *t, Id vm)
{
    return g_hash_table_lookup(t->holds, &vm);
}

static gboolean is_enforced(const Hold *h)
{
    return h->until.enforced || h->readies;
}

static LeaseMoment end_of(const Hold *h)
{
    return h->until.is_over ? (LeaseMoment){0} : lease_moment_later(h->former, h->until.until);
}

static gboolean is_yielding(const Hold *h)
{
    const ActiveRole *role = policy_active(h->tenure->engine->policy, h->vm);

    return h->yields > 0 && role && role->serial == h->yields;
}

/* Nothing stands in the way of what stands still. What was said last of its lease may be true no more: time passes, and nobody says so. */
static gboolean may_run(const Hold *h)
{
    LeaseUntil now = h->until;

    if (is_yielding(h))
        return FALSE;
    (void)leases_until(h->tenure->leases, h->vm, &now);
    return now.may_start || (!now.is_over && !now.enforced && !h->readies);
}

/* What was stopped, and is another host's, stays so, lease or not: its guard hears that none is left. */
static gboolean stays(const Hold *h)
{
    return h->is_asked && (h->until.is_over || is_yielding(h));
}

/* --- what the start hook reads ------------------------------------------------- */

typedef struct {
    Tenure *tenure;
    char *text;
    guint64 has;
    GError *error;
} Writing;

static void write_file(void *data)
{
    Writing *w = data;

    (void)lease_file_write(LEASE_FILE, w->text, &w->error);
}

static void write_soon(Tenure *t);
static void arm_if_due(Hold *h);
static void leave_if_free(Tenure *t);

static void arm_all(Tenure *t)
{
    GHashTableIter it;
    gpointer hold;

    g_hash_table_iter_init(&it, t->holds);
    while (g_hash_table_iter_next(&it, NULL, &hold))
        arm_if_due(hold);
}

static void on_again(uv_timer_t *timer)
{
    write_soon(timer->data);
}

static void on_written(void *data)
{
    Writing *w = data;
    Tenure *t = w->tenure;
    gboolean failed = w->error != NULL;

    t->writing = FALSE;
    if (failed && !t->file_fails)
        log_error("leases cannot be written for the start hook: %s -> no VM is armed", w->error->message);
    if (!failed)
        t->written = w->has;
    t->file_fails = failed;
    g_clear_error(&w->error);
    g_free(w->text);
    g_free(w);
    if (t->closed)
        return;
    if (failed) {
        uv_timer_start(&t->again_timer, on_again, WRITE_AGAIN_MS, 0);
        return;
    }
    if (t->written != t->changes) {
        write_soon(t);
        return;
    }
    arm_all(t);
    leave_if_free(t);
}

static GArray *entries(const Tenure *t)
{
    GArray *list = g_array_new(FALSE, FALSE, sizeof(LeaseEntry));
    GHashTableIter it;
    gpointer value;

    g_hash_table_iter_init(&it, t->holds);
    while (g_hash_table_iter_next(&it, NULL, &value)) {
        const Hold *h = value;
        const LeaseEntry entry = {h->vm, h->reign, end_of(h)};

        if (is_enforced(h))
            g_array_append_val(list, entry);
    }
    return list;
}

static void write_soon(Tenure *t)
{
    g_autoptr(GArray) list = NULL;
    Writing *w;

    if (t->writing || t->closed || !t->engine->clerk)
        return;
    list = entries(t);
    w = g_new0(Writing, 1);
    *w = (Writing){t, lease_file_text(list), t->changes, NULL};
    t->writing = TRUE;
    clerk_submit(t->engine->clerk, write_file, on_written, w);
}

static void change_file(Tenure *t)
{
    t->changes++;
    write_soon(t);
}

/* --- the guard ------------------------------------------------------------------ */

static void read_taps(Hold *h, pid_t pid)
{
    gint64 now_ms = clock_steady_ms();
    gboolean more = FALSE;

    if (pid == h->pid && now_ms < h->taps_at_ms + TAPS_EACH_MS)
        return;
    h->tap_count = taps_of_process(pid, h->taps, &more);
    h->taps_at_ms = now_ms;
    if (more)
        log_warning("vm %s: not all of its taps can be seen, or it has more than %d -> the others are not "
                    "held by its guard",
                    ID_TEXT(h->vm), WORD_TAPS_MAX);
}

/* What the guard hears. */
static gboolean is_held(const Hold *h)
{
    return is_enforced(h) || stays(h);
}

static LeaseMoment end_for_guard(const Hold *h)
{
    return stays(h) ? (LeaseMoment){0} : end_of(h);
}

/* The guard has that, but for a moment that is not worth a word: of two answers to one asking the second says what the first has said. */
static gboolean is_told(const Hold *h)
{
    LeaseMoment end = end_for_guard(h);

    return h->told.enforced == is_held(h) && ABS(end.boot_ms - h->told.until.boot_ms) < SAME_MS &&
           ABS(end.raw_ms - h->told.until.raw_ms) < SAME_MS;
}

/* One that needs no lease, and never did, is none of the guard's. */
static void give_to_guard(Hold *h)
{
    Tenure *t = h->tenure;
    pid_t pid = 0;
    int pidfd = guests_process(t->engine->guests, h->vm, &pid);

    if (pidfd < 0 || (!is_enforced(h) && !h->in_guard))
        return;
    if (pid == h->pid && h->in_guard && is_told(h))
        return;
    read_taps(h, pid);
    h->told = (LeaseUntil){.enforced = is_held(h), .until = end_for_guard(h)};
    warden_keep(t->warden, h->vm, h->reign, pid == h->pid ? -1 : pidfd, (const char(*)[IF_NAMESIZE])h->taps,
                h->tap_count, is_held(h), end_for_guard(h));
    h->pid = pid;
    h->in_guard = TRUE;
    h->is_kept = FALSE;
}

/* A card may have been plugged, or be gone: until the guard has heard of its tap, its frames are nobody's. */
static void look_at_taps(Hold *h)
{
    char before[WORD_TAPS_MAX][IF_NAMESIZE];
    guint count = h->tap_count;

    if (!h->in_guard || h->pid == 0)
        return;
    memcpy(before, h->taps, sizeof(before));
    h->taps_at_ms = -TAPS_EACH_MS;
    read_taps(h, h->pid);
    if (count == h->tap_count && memcmp(before, h->taps, count * (gsize)IF_NAMESIZE) == 0)
        return;
    h->told = (LeaseUntil){.until = {-1, -1}}; /* which nothing is: it is said anew */
    give_to_guard(h);
}

/* What was plugged while libvirtd was not there is told by nobody. */
static void look_at_all_taps(Tenure *t)
{
    GHashTableIter it;
    gpointer hold;

    g_hash_table_iter_init(&it, t->holds);
    while (g_hash_table_iter_next(&it, NULL, &hold))
        look_at_taps(hold);
}

static void leave_guard(Hold *h)
{
    if (h->in_guard)
        warden_release(h->tenure->warden, h->vm);
    h->in_guard = FALSE;
    h->pid = 0;
}

/* Nothing runs that a lease could hold. */
static gboolean is_off(const Hold *h)
{
    switch (guests_word(h->tenure->engine->guests, h->vm)) {
    case GUEST_OFF:
    case GUEST_IDLE:
    case GUEST_DEAD:
        return TRUE;
    default:
        return FALSE;
    }
}

/* --- arming ---------------------------------------------------------------------- */

static void stop_readying(Hold *h)
{
    if (!h->readies)
        return;
    h->readies = FALSE;
    change_file(h->tenure);
    give_to_guard(h);
}

static void ready(Hold *h)
{
    h->readies = TRUE;
    h->is_kept = FALSE;
    change_file(h->tenure);
    h->in_file = h->tenure->changes;
    give_to_guard(h);
}

/* Held to its lease first, then armed: whoever may vote finds it held. Without its guard nobody would stop it. */
static void arm_if_due(Hold *h)
{
    Tenure *t = h->tenure;
    gboolean wants = h->wants_arm && !h->dropped && !t->on_left && warden_is_up(t->warden);

    if (!wants) {
        leases_arm(t->leases, h->vm, FALSE);
        stop_readying(h);
    } else if (h->until.enforced) {
        h->readies = FALSE;
        leases_arm(t->leases, h->vm, TRUE);
    } else if (!h->until.may_arm) {
        stop_readying(h);
    } else if (!h->readies) {
        ready(h);
    } else if (t->written >= h->in_file && (h->is_kept || is_off(h))) {
        leases_arm(t->leases, h->vm, TRUE);
    }
}

/* --- guests that were stopped ----------------------------------------------------- */

typedef struct {
    Tenure *tenure;
    Id id;          /* a VM, or a voter */
    guint64 number; /* of one that is to suspend it */
} Asked;

static Asked *asked_new(Tenure *t, Id id)
{
    Asked *asked = g_new0(Asked, 1);

    *asked = (Asked){t, id, 0};
    return asked;
}

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
    Hold *h = find(asked->tenure, asked->id);

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
                        asked_new(asked->tenure, asked->id));
}

static void resume(const Hold *h)
{
    hands_resume(h->tenure->engine->lease_hands, h->vm, on_resumed, asked_new(h->tenure, h->vm));
}

/* Nobody wants it to stand still. */
static void forget_stop(Hold *h)
{
    h->is_asked = h->is_fenced = h->is_signalled = h->is_lent = h->was_paused = FALSE;
    leases_stopped(h->tenure->leases, h->vm, FALSE);
}

/* Whatever its guard has done is undone by that, or nothing was done yet. */
static void go_on(Hold *h)
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
        resume(h);
    forget_stop(h);
    guests_set_fenced(t->engine->guests, h->vm, FALSE);
}

/* Whoever waits for it to stand still; @h may be gone then. */
static void say_still(Hold *h, const GError *error)
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
    if (!is_yielding(h)) {
        g_autoptr(GError) anew =
            g_error_new(US_ERROR, US_ERROR_OVERTAKEN, "its role was given anew meanwhile: nothing is ended");

        say_still(h, anew);
        return;
    }
    if (!error) {
        say_still(h, NULL);
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
    Hold *h = find(asked->tenure, asked->id);

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
    Asked *asked = asked_new(t, vm);
    Hold *h = find(t, vm);

    asked->number = ++t->suspends;
    if (h)
        h->suspends = asked->number;
    hands_suspend(t->engine->lease_hands, vm, on_suspended, asked);
}

/* The guard has it from an engine before this one: it is told what holds by now, also that no lease is needed. */
static void know_in_guard(Hold *h)
{
    if (h->in_guard)
        return;
    h->in_guard = TRUE;
    h->is_kept = FALSE;
    h->pid = 0;
    give_to_guard(h);
}

static void on_please_stop(void *user, Id vm)
{
    Tenure *t = user;
    Hold *h = find(t, vm);

    if (h && !h->is_asked) {
        h->is_asked = TRUE;
        h->was_paused = guests_word(t->engine->guests, vm) == GUEST_PAUSED && !h->resumes;
        log_warning("vm %s: its lease ends, since nobody whose voice counts answers -> it is suspended",
                    ID_TEXT(vm));
    }
    suspend(t, vm);
    if (h)
        know_in_guard(h);
}

static void on_fenced(void *user, Id vm, Fenced how)
{
    Tenure *t = user;
    Hold *h = find(t, vm);

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
    if (how == FENCED_STOPPED && is_yielding(h)) {
        lend_for_still(h);
    } else if (how == FENCED_STOPPED && !h->is_lent) {
        h->is_lent = TRUE;
        warden_lend(t->warden, vm);
    }
    guests_set_fenced(t->engine->guests, vm, TRUE);
    leases_stopped(t->leases, vm, TRUE);
    know_in_guard(h);
}

static void end_hold(Hold *h);

static void on_kept(void *user, Id vm, const GError *why_not)
{
    Tenure *t = user;
    Hold *h = find(t, vm);

    if (why_not)
        log_warning("vm %s: its guard does not take it: %s -> it is not armed", ID_TEXT(vm),
                    why_not->message);
    if (!h)
        return;
    if (why_not) {
        /* All of it is said anew with the next renewal: a card may have been unplugged, or its process be another. */
        h->pid = 0;
        return;
    }
    h->is_kept = TRUE;
    if (h->dropped && !is_enforced(h)) {
        end_hold(h);
        return;
    }
    arm_if_due(h);
    if (may_run(h))
        go_on(h);
    leave_if_free(t);
}

static void on_gone(void *user, Id vm)
{
    Hold *h = find(user, vm);

    if (!h)
        return;
    h->in_guard = h->resumes = FALSE;
    h->pid = 0;
    forget_stop(h);
}

static gboolean wants(void *user, Id vm)
{
    return find(user, vm) != NULL;
}

static void on_warden(void *user, gboolean up)
{
    (void)up;
    arm_all(user);
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
    say_still(h, busy);
    return FALSE;
}

static void on_still_timer(uv_timer_t *timer)
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
    Hold *h = t->closed ? NULL : find(t, vm);
    g_autoptr(GError) again =
        g_error_new(US_ERROR, US_ERROR_CANCELLED, "that was asked again: who asked last is answered");

    if (h && role)
        h->yields = role->serial;
    if (!h || !role || (!h->in_guard && warden_is_up(t->warden))) {
        on_still(user, NULL);
        return;
    }
    say_still(h, again);
    h->on_still = on_still;
    h->stiller = user;
    h->still_by_ms = clock_steady_ms() + STILL_MS;
    h->still_from = t->suspends;
    h->still_lends = 0;
    if (h->is_signalled)
        lend_for_still(h);
    suspend(t, vm);
    uv_timer_start(&t->still_timer, on_still_timer, STILL_EACH_MS, STILL_EACH_MS);
}

/* --- leaving -------------------------------------------------------------------------- */

static void on_leave(uv_timer_t *timer)
{
    Tenure *t = timer->data;

    if (t->on_left)
        g_steal_pointer (&t->on_left)(t->leaver);
}

/* --- leases ----------------------------------------------------------------------- */

static void let_go(Hold *h)
{
    Tenure *t = h->tenure;
    g_autoptr(GError) ended = g_error_new(US_ERROR, US_ERROR_CANCELLED, "its role has ended meanwhile");

    say_still(h, ended);

    if (is_enforced(h))
        g_hash_table_remove(t->freed, &h->vm);
    else
        g_hash_table_add(t->freed, g_memdup2(&h->vm, sizeof(h->vm)));
    leave_guard(h);
    leases_let_go(t->leases, h->vm);
    g_hash_table_remove(t->holds, &h->vm);
    change_file(t);
}

/* Nothing is enforced any more. A guard does not let go of what it has stopped, and nobody would resume it: that goes on first, when the guard has heard that it
 * may. */
static void end_hold(Hold *h)
{
    stop_readying(h);
    if (h->is_asked && !stays(h)) {
        give_to_guard(h);
        if (h->in_guard && !h->is_kept)
            return;
        go_on(h);
    }
    let_go(h);
}

static void leave_if_free(Tenure *t)
{
    GHashTableIter it;
    gpointer hold;

    if (!t->on_left || t->written != t->changes)
        return;
    g_hash_table_iter_init(&it, t->holds);
    while (g_hash_table_iter_next(&it, NULL, &hold)) {
        const Hold *h = hold;

        if (h->until.enforced || (h->in_guard && !h->is_kept))
            return;
    }
    uv_timer_start(&t->leave_timer, on_leave, 0, 0);
}

static void on_until(void *user, Id vm, const LeaseUntil *until)
{
    Tenure *t = user;
    Hold *h = find(t, vm);
    const LeaseUntil before = h ? h->until : (LeaseUntil){0};

    if (!h)
        return;
    if (until->is_over && !before.is_over)
        log_warning("vm %s: another host was made its active -> it runs here no more", ID_TEXT(vm));
    h->until = *until;
    if (h->dropped && !until->enforced) {
        end_hold(h);
        return;
    }
    arm_if_due(h);
    if (is_enforced(h) || before.enforced)
        change_file(t);
    give_to_guard(h);
    if (!h->in_guard && may_run(h))
        go_on(h);
    leave_if_free(t);
    if (until->enforced != before.enforced || until->may_start != before.may_start ||
        until->is_over != before.is_over)
        serve_news(t->engine);
}

static Visit *find_controller(const Tenure *t, Id id)
{
    for (guint i = 0; i < t->engine->visits->len; i++) {
        Visit *visit = t->engine->visits->pdata[i];

        if (id_equal(visit->controller, id) && !visit->former && visit->incarnation > 0)
            return visit;
    }
    return NULL;
}

static gboolean is_standby(const Tenure *t, Id voter)
{
    GHashTableIter it;
    gpointer hold;

    g_hash_table_iter_init(&it, t->holds);
    while (g_hash_table_iter_next(&it, NULL, &hold))
        if (id_equal(((const Hold *)hold)->voters[0], voter))
            return TRUE;
    return FALSE;
}

static void on_peer_answered(void *user, const json_t *result, const GError *error)
{
    g_autofree Asked *asked = user;
    Tenure *t = asked->tenure;
    g_autoptr(GError) odd = NULL;

    if (error || t->closed)
        return;
    if (!tenure_hear_answers(t, asked->id, json_object_get(result, "answers"), &odd))
        log_warning("engine %s answers oddly: %s -> it renews nothing", ID_TEXT(asked->id), odd->message);
}

static void on_ask(void *user, Id voter, const GArray *renewals)
{
    Tenure *t = user;
    json_auto_t *params = json_pack("{s:o}", "renewals", renewals_to_json(renewals));
    Visit *controller;

    if (is_standby(t, voter)) {
        peers_call(t->peers, voter, "lease.renew", params, RENEW_LIMIT_MS, on_peer_answered,
                   asked_new(t, voter));
        return;
    }
    controller = find_controller(t, voter);
    json_object_set_new(params, "event", json_string("renewals"));
    if (controller)
        rpc_news(controller->rpc, params);
}

gboolean tenure_hear_answers(Tenure *t, Id voter, const json_t *answers, GError **error)
{
    g_autoptr(GArray) list = renewal_answers_from_json(answers, error);

    if (list)
        leases_hear(t->leases, voter, list);
    return list != NULL;
}

/* What the engine before this one has left of @vm; NULL: nothing was enforced. */
static const LeaseEntry *find_former(const Tenure *t, Id vm)
{
    for (guint i = 0; t->before && i < t->before->len; i++)
        if (id_equal(g_array_index(t->before, LeaseEntry, i).vm, vm))
            return &g_array_index(t->before, LeaseEntry, i);
    return NULL;
}

/* It goes by the file that the engine before this one has left; where there is none since the boot, nobody knows, but of what was let go since. */
static void begin_hold(Hold *h, Reign reign, const LeaseTimes *times)
{
    Tenure *t = h->tenure;
    const LeaseEntry *former = find_former(t, h->vm);

    if (!reign_equal(h->reign, reign))
        h->readies = FALSE;
    h->reign = reign;
    h->former = former && reign_equal(former->reign, reign) ? former->until : (LeaseMoment){0};
    leases_hold(t->leases, h->vm, reign, h->voters, VOTERS, times,
                !g_hash_table_contains(t->freed, &h->vm) && (former || !t->before));
}

static void hold(Tenure *t, const ActiveRole *role, const LeaseTimes *times)
{
    Hold *h = find(t, role->vm);

    if (!h) {
        h = g_new0(Hold, 1);
        h->tenure = t;
        h->vm = role->vm;
        g_hash_table_insert(t->holds, &h->vm, h);
    }
    h->voters[0] = role->standby;
    h->voters[1] = role->lease.controller;
    /* What is not cut at present is not taken over, either. */
    h->wants_arm = role->lease.arm && !role->paused;
    h->dropped = FALSE;
    begin_hold(h, role->reign, times);
    if (!leases_until(t->leases, role->vm, &h->until))
        h->until = (LeaseUntil){0};
    peers_want(t->peers, role->standby, (const char *const *)role->addresses);
    arm_if_due(h);
    if (is_enforced(h))
        change_file(t);
    give_to_guard(h);
}

/* Its leases end with its role; if only they are to end, when enough have heard that it is not armed. */
static void drop(Tenure *t, Hold *h)
{
    h->dropped = TRUE;
    h->wants_arm = FALSE;
    if (!policy_active(t->engine->policy, h->vm))
        let_go(h);
    else if (!h->until.enforced)
        end_hold(h);
    else
        arm_if_due(h);
}

static void review_peers(Tenure *t)
{
    g_autoptr(GHashTable) wanted = g_hash_table_new(id_hash, id_equal_func);
    GHashTableIter it;
    gpointer hold;

    g_hash_table_iter_init(&it, t->holds);
    while (g_hash_table_iter_next(&it, NULL, &hold))
        g_hash_table_add(wanted, &((Hold *)hold)->voters[0]);
    peers_keep_only(t->peers, wanted);
}

void tenure_review(Tenure *t)
{
    g_autoptr(GPtrArray) actives = policy_actives(t->engine->policy);
    g_autoptr(GList) known = NULL;

    if (t->closed || !t->leases)
        return;
    for (guint i = 0; i < actives->len; i++) {
        const ActiveRole *role = actives->pdata[i];
        LeaseTimes times;

        if (role->lease.countdown_ms && lease_times(role->lease.countdown_ms, &times, NULL))
            hold(t, role, &times);
    }
    known = g_hash_table_get_values(t->holds);
    for (GList *one = known; one; one = one->next) {
        Hold *h = one->data;
        const ActiveRole *role = policy_active(t->engine->policy, h->vm);

        if (!role || role->lease.countdown_ms == 0)
            drop(t, h);
    }
    review_peers(t);
}

/* --- the whole ----------------------------------------------------------------------- */

Tenure *tenure_new(Engine *engine)
{
    Tenure *t = g_new0(Tenure, 1);

    t->engine = engine;
    t->holds = g_hash_table_new_full(id_hash, id_equal_func, NULL, hold_free);
    t->freed = g_hash_table_new_full(id_hash, id_equal_func, g_free, NULL);
    t->before = lease_file_read(LEASE_FILE, NULL);
    return t;
}

void tenure_begin(Tenure *t)
{
    static const LeasesEvents LEASES = {.on_ask = on_ask, .on_until = on_until};
    static const WardenEvents WARDEN = {.on_up = on_warden,
                                        .on_please_stop = on_please_stop,
                                        .on_fenced = on_fenced,
                                        .on_gone = on_gone,
                                        .on_kept = on_kept,
                                        .wants = wants};

    t->peers = peers_new(&t->engine->loop, t->engine->identity);
    t->warden = warden_new(&t->engine->loop, SENTRY_SOCKET, &WARDEN, t);
    t->leases = leases_new(&t->engine->loop, voice_voters(t->engine->voice), &LEASES, t);
    uv_timer_init(&t->engine->loop, &t->leave_timer);
    t->leave_timer.data = t;
    uv_timer_init(&t->engine->loop, &t->again_timer);
    t->again_timer.data = t;
    uv_timer_init(&t->engine->loop, &t->still_timer);
    t->still_timer.data = t;
    /* From then on it is known of this boot what is enforced: so the first one that is written has all of it. */
    t->writing = TRUE;
    tenure_review(t);
    t->writing = FALSE;
    change_file(t);
}

void tenure_set_identity(Tenure *t, Identity *identity)
{
    if (t && t->peers)
        peers_set_identity(t->peers, identity);
}

static void hear_lifecycle(Hold *h, const EarEvent *event)
{
    Tenure *t = h->tenure;

    if (event->event == VIR_DOMAIN_EVENT_SUSPENDED) {
        warden_tell(t->warden, h->vm, TRUE);
        /* What was given up has been done after all. */
        if (h->is_late && !h->is_asked && may_run(h))
            resume(h);
        h->is_late = FALSE;
    } else if (event->event == VIR_DOMAIN_EVENT_RESUMED) {
        warden_tell(t->warden, h->vm, FALSE);
        h->resumes = FALSE;
    }
    tenure_look(t);
}

void tenure_hear(Tenure *t, const EarEvent *event)
{
    Hold *h = find(t, event->vm);

    if (t->closed)
        return;
    if (event->kind == EAR_RESYNC)
        look_at_all_taps(t);
    else if (h && event->kind == EAR_LIFECYCLE)
        hear_lifecycle(h, event);
    else if (h && event->kind == EAR_DEVICE)
        look_at_taps(h);
}

/* Those whose process is another by now. */
void tenure_look(Tenure *t)
{
    GHashTableIter it;
    gpointer value;

    if (!t || t->closed || !t->leases)
        return;
    g_hash_table_iter_init(&it, t->holds);
    while (g_hash_table_iter_next(&it, NULL, &value)) {
        Hold *h = value;
        pid_t pid = 0;

        if (guests_process(t->engine->guests, h->vm, &pid) >= 0 && pid != h->pid)
            give_to_guard(h);
        /* Its guard may have said so before libvirt had named it. */
        guests_set_fenced(t->engine->guests, h->vm, h->is_fenced);
        arm_if_due(h);
    }
}

void tenure_leave(Tenure *t, void (*on_left)(void *user), void *user)
{
    t->on_left = on_left;
    t->leaver = user;
    arm_all(t);
    uv_timer_start(&t->leave_timer, on_leave, LEAVE_MS, 0);
    leave_if_free(t);
}

static const char *word_of(const Hold *h)
{
    if (!h->until.enforced)
        return "free";
    return h->is_fenced || h->until.is_over || !h->until.may_start ? "lost" : "held";
}

void tenure_describe(const Tenure *t, Id vm, json_t *guest)
{
    const Hold *h = find(t, vm);

    if (!h)
        return;
    json_object_set_new(guest, "lease", json_string(word_of(h)));
    json_object_set_new(guest, "halts", json_integer(h->halts));
    json_object_set_new(guest, "halted_ms", json_integer((json_int_t)h->halted_ms));
}

void tenure_close(Tenure *t)
{
    g_autoptr(GError) ends = g_error_new(US_ERROR, US_ERROR_CANCELLED, "this engine ends");
    GHashTableIter it;
    gpointer hold;

    if (!t || t->closed)
        return;
    t->closed = TRUE;
    if (!t->leases)
        return; /* it never began */
    g_hash_table_iter_init(&it, t->holds);
    while (g_hash_table_iter_next(&it, NULL, &hold))
        say_still(hold, ends);
    leases_close(t->leases);
    peers_close(t->peers);
    warden_close(t->warden);
    uv_close((uv_handle_t *)&t->leave_timer, NULL);
    uv_close((uv_handle_t *)&t->again_timer, NULL);
    uv_close((uv_handle_t *)&t->still_timer, NULL);
}

void tenure_free(Tenure *t)
{
    if (!t)
        return;
    g_hash_table_unref(t->holds);
    g_hash_table_unref(t->freed);
    g_clear_pointer(&t->before, g_array_unref);
    g_free(t);
}

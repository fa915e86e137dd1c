/* SPDX-License-Identifier: Apache-2.0 */
/* The wards: what engines say of them, what is done with them.
 *
 * A change is first made in memory, then written into the roll, then laid into the kernel, and only then answered; a failure takes it back. An older
 * roll may be stricter than what was answered, never laxer: so a lease that is only prolonged stands without one. */
#include "orchestrator/votes/lease_clock.h"
#include "vmconnect/base/durable.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/log.h"
#include "vmconnect/guard/roll.h"
#include "vmconnect/guard/sentry_private.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

#define LAY_AGAIN_MS 100 /* what lives shorter is not laid once more */
#define LAY_RETRY_MS 500
#define HEED_MS \
    1000 /* that an engine which runs has to say what holds by now; it looks for a guard twice a second */
#define BUSY_NS         \
    G_GUINT64_CONSTANT( \
        20000000) /* that processors of a paused guest may have run: for QEMU's own questions to them */

static Ward *find(const Sentry *s, Id vm)
{
    for (guint i = 0; i < s->wards->len; i++)
        if (id_equal(((Ward *)s->wards->pdata[i])->vm, vm))
            return s->wards->pdata[i];
    return NULL;
}

/* --- the roll ------------------------------------------------------------ */

static gboolean write_roll(Sentry *s, GError **error)
{
    g_autofree char *text = roll_text(s->wards, s->boot_id);
    gboolean done = durable_replace(s->roll_path, text, strlen(text), 0600, error);

    if (done)
        s->roll_fails = FALSE;
    return done;
}

/* Where an older roll does no harm. */
static void try_roll(Sentry *s)
{
    g_autoptr(GError) error = NULL;

    if (write_roll(s, &error) || s->roll_fails)
        return;
    s->roll_fails = TRUE;
    log_error(
        "%s -> should this guard die, the next one knows of older leases only, and may stop guests early",
        error->message);
}

/* --- the kernel's table -------------------------------------------------- */

static void add_taps(GArray *out, const Ward *w, gint64 open_ms)
{
    for (guint i = 0; i < w->taps; i++) {
        ShutterTap tap = {w->tap[i].index, open_ms};

        g_array_append_val(out, tap);
    }
}

static gint64 open_ms_of(const Ward *w, LeaseMoment at)
{
    return w->ladder.is_enforced ? ladder_open_ms(&w->ladder, at) : SHUTTER_ENDLESS;
}

static GArray *taps_of(GPtrArray *wards)
{
    GArray *taps = g_array_new(FALSE, FALSE, sizeof(ShutterTap));
    LeaseMoment at = lease_clock_now();

    for (guint i = 0; i < wards->len; i++)
        add_taps(taps, wards->pdata[i], open_ms_of(wards->pdata[i], at));
    return taps;
}

static void plan_next(Ward *w)
{
    LeaseMoment at = lease_clock_now();
    gint64 open_ms = open_ms_of(w, at), life_ms = shutter_life_ms(open_ms);

    w->lay_ms = open_ms != SHUTTER_ENDLESS && life_ms >= LAY_AGAIN_MS ? at.boot_ms + life_ms / 2 : G_MAXINT64;
}

static gboolean make_table(Sentry *s, GError **error)
{
    g_autoptr(GArray) all = taps_of(s->wards);

    if (s->has_table)
        log_warning("somebody removed the kernel's gate (table bridge " SHUTTER_TABLE
                    ") -> it is made anew; meanwhile it held nothing");
    s->has_table = shutter_make(s->shutter, (const ShutterTap *)(const void *)all->data, all->len, error);
    return s->has_table;
}

static gboolean lay(Sentry *s, GPtrArray *wards, GError **error)
{
    g_autoptr(GArray) taps = taps_of(wards);
    gboolean done = shutter_lay(s->shutter, (const ShutterTap *)(const void *)taps->data, taps->len, error);

    if (!done && !shutter_stands(s->shutter)) {
        g_clear_error(error);
        done = make_table(s, error);
    }
    if (done)
        s->has_table = TRUE;
    for (guint i = 0; done && i < wards->len; i++)
        plan_next(wards->pdata[i]);
    return done;
}

/* Also of a table that is gone: then they are not kept either. */
static gboolean release(Sentry *s, GArray *taps, GError **error)
{
    if (shutter_release(s->shutter, (const ShutterTap *)(const void *)taps->data, taps->len, error))
        return TRUE;
    if (shutter_stands(s->shutter))
        return FALSE;
    g_clear_error(error);
    return TRUE;
}

static void end_if_empty(Sentry *s)
{
    g_autoptr(GError) error = NULL;

    if (s->wards->len > 0 || !s->has_table)
        return;
    s->has_table = FALSE;
    if (!shutter_end(s->shutter, &error))
        log_warning("%s: the empty table bridge " SHUTTER_TABLE " stays", error->message);
}

/* By itself, while nobody prolongs it. */
static void lay_due(Sentry *s)
{
    g_autoptr(GPtrArray) due = g_ptr_array_new();
    g_autoptr(GError) error = NULL;
    gint64 at_ms = lease_clock_now().boot_ms;

    for (guint i = 0; i < s->wards->len; i++)
        if (((Ward *)s->wards->pdata[i])->lay_ms <= at_ms)
            g_ptr_array_add(due, s->wards->pdata[i]);
    if (due->len == 0)
        return;
    if (lay(s, due, &error)) {
        s->lay_fails = FALSE;
        return;
    }
    for (guint i = 0; i < due->len; i++)
        ((Ward *)due->pdata[i])->lay_ms = at_ms + LAY_RETRY_MS;
    if (!s->lay_fails)
        log_error("%s -> frames may be held before their lease ends", error->message);
    s->lay_fails = TRUE;
}

/* --- what engines say ---------------------------------------------------- */

static gboolean refuse(Request *r, UsError code, const char *why)
{
    g_set_error_literal(&r->error, US_ERROR, code, why);
    return FALSE;
}

static gboolean may_reign(const Ward *w, Request *r)
{
    if (w->reign.number > r->word.reign.number)
        return refuse(r, US_ERROR_OVERTAKEN, "a later reign of that VM is kept here");
    if (w->reign.number == r->word.reign.number && !reign_equal(w->reign, r->word.reign))
        return refuse(r, US_ERROR_REFUSED, "another reign of the same number is kept here");
    return TRUE;
}

/* Its process, held anew or the one that is held. */
static gboolean take_subject(const Ward *known, Request *r, Subject *ret_subject)
{
    Subject came = {.fd = -1};
    gboolean same;

    if (r->fd < 0 && known) {
        *ret_subject = known->subject;
        return TRUE;
    }
    if (r->fd < 0)
        return refuse(r, US_ERROR_USAGE, "the first KEEP of a VM brings its process");
    if (!subject_hold(g_steal_fd(&r->fd), &came, &r->error))
        return FALSE;
    same = known && subject_equal(&came, &known->subject);
    *ret_subject = known ? known->subject : came;
    if (known)
        subject_clear(&came);
    return !known || same ||
           refuse(r, US_ERROR_BUSY, "that VM is kept in another process, which has not ended");
}

static gboolean take_taps(Request *r, Ward *w)
{
    w->taps = r->word.taps;
    for (guint i = 0; i < w->taps; i++) {
        g_strlcpy(w->tap[i].name, r->word.tap[i], IF_NAMESIZE);
        w->tap[i].index = if_nametoindex(r->word.tap[i]);
        if (w->tap[i].index == 0) {
            g_set_error(&r->error, US_ERROR, US_ERROR_NOT_FOUND, "there is no interface '%s'",
                        r->word.tap[i]);
            return FALSE;
        }
    }
    return TRUE;
}

static gboolean keep(Sentry *s, Request *r)
{
    Ward *known = find(s, r->word.vm), next = known ? *known : (Ward){.vm = r->word.vm, .lay_ms = G_MAXINT64};

    if ((known && !may_reign(known, r)) || !take_taps(r, &next) || !take_subject(known, r, &next.subject))
        return FALSE;
    next.reign = r->word.reign;
    next.ladder.is_enforced = r->word.is_enforced;
    next.ladder.until = r->word.until;
    next.heed_ms = 0;
    next.given_ms = next.ladder.is_enforced ? lease_left_ms(next.ladder.until, lease_clock_now()) : 0;
    r->is_new = !known;
    if (!known)
        g_ptr_array_add(s->wards, known = g_new0(Ward, 1));
    r->before = *known;
    r->ward = known;
    *known = next;
    return TRUE;
}

/* A guest that runs without a lease would be let out of the gate. */
static gboolean may_leave(const Ward *w, Request *r)
{
    gboolean over = w->ladder.is_enforced && ladder_open_ms(&w->ladder, lease_clock_now()) == 0;

    return !over || subject_is_gone(&w->subject) ||
           refuse(r, US_ERROR_REFUSED, "its lease is over and its process lives: it stays behind the gate");
}

static gboolean let_go(Sentry *s, Request *r)
{
    Ward *w = find(s, r->word.vm);
    guint at;

    if (!w)
        return TRUE;
    if (!may_leave(w, r))
        return FALSE;
    g_ptr_array_find(s->wards, w, &at);
    r->ward = g_ptr_array_steal_index_fast(s->wards, at);
    return TRUE;
}

static gboolean hear_event(Sentry *s, Request *r)
{
    Ward *w = find(s, r->word.vm);

    if (!w)
        return refuse(r, US_ERROR_NOT_FOUND, "that VM is not kept here");
    w->said_stopped = r->word.kind == WORD_STOPPED;
    if (w->said_stopped)
        w->computed_ns = subject_computed_ns(&w->subject);
    return TRUE;
}

static gboolean lend(Sentry *s, Request *r)
{
    Ward *w = find(s, r->word.vm);

    if (!w)
        return refuse(r, US_ERROR_NOT_FOUND, "that VM is not kept here");
    if (w->ladder.state != LADDER_STOPPED)
        return refuse(r, US_ERROR_REFUSED, "it does not stand still by a signal");
    w->ladder.is_to_lend = TRUE;
    return TRUE;
}

static void make_change(Sentry *s, Request *r)
{
    switch (r->word.kind) {
    case WORD_KEEP:
        keep(s, r);
        break;
    case WORD_RELEASE:
        let_go(s, r);
        break;
    case WORD_STOPPED:
    case WORD_RUNNING:
        hear_event(s, r);
        break;
    case WORD_LEND:
        lend(s, r);
        break;
    case WORD_LIST:
        break;
    default:
        refuse(r, US_ERROR_PROTOCOL, "that word is the guard's");
    }
    if (r->fd >= 0)
        close(r->fd);
    r->fd = -1;
}

/* Is it more than a prolongation? */
static gboolean is_stricter(const Request *r)
{
    const Ladder *old = &r->before.ladder, *new = r->ward ? &r->ward->ladder : NULL;

    if (r->word.kind != WORD_KEEP)
        return TRUE;
    return r->is_new || r->before.taps != r->ward->taps ||
           memcmp(r->before.tap, r->ward->tap, sizeof(r->before.tap)) != 0 ||
           (new->is_enforced && (!old->is_enforced || new->until.boot_ms < old->until.boot_ms ||
                                 new->until.raw_ms < old->until.raw_ms));
}

static gboolean has_tap(const Ward *w, guint index)
{
    for (guint i = 0; i < w->taps; i++)
        if (w->tap[i].index == index)
            return TRUE;
    return FALSE;
}

/* Those that were kept before and are not any more. */
static GArray *taps_left(const Sentry *s)
{
    GArray *taps = g_array_new(FALSE, FALSE, sizeof(ShutterTap));

    for (guint i = 0; i < s->requests->len; i++) {
        const Request *r = &g_array_index(s->requests, Request, i);
        const Ward *old = !r->ward ? NULL : r->word.kind == WORD_RELEASE ? r->ward : &r->before;

        for (guint t = 0; old && t < old->taps; t++) {
            ShutterTap tap = {.index = old->tap[t].index};

            if (r->word.kind == WORD_RELEASE || !has_tap(r->ward, tap.index))
                g_array_append_val(taps, tap);
        }
    }
    return taps;
}

/* The wards that KEEP has changed; *@ret_strict: an older roll must not stand. */
static GPtrArray *wards_changed(const Sentry *s, gboolean *ret_strict)
{
    GPtrArray *changed = g_ptr_array_new();

    *ret_strict = FALSE;
    for (guint i = 0; i < s->requests->len; i++) {
        const Request *r = &g_array_index(s->requests, Request, i);

        if (!r->ward)
            continue;
        *ret_strict = *ret_strict || is_stricter(r);
        if (r->word.kind == WORD_KEEP && !g_ptr_array_find(changed, r->ward, NULL) &&
            g_ptr_array_find(s->wards, r->ward, NULL))
            g_ptr_array_add(changed, r->ward);
    }
    return changed;
}

/* Let go of taps before the roll forgets them, and lay those that it knows by then: killed in between, the next guard does it again. */
static gboolean settle(Sentry *s, gboolean *ret_written, GError **error)
{
    gboolean strict;
    g_autoptr(GArray) left = taps_left(s);
    g_autoptr(GPtrArray) changed = wards_changed(s, &strict);

    if (!strict && changed->len == 0)
        return TRUE;
    if (left->len > 0 && !release(s, left, error))
        return FALSE;
    if (strict && !write_roll(s, error))
        return FALSE;
    if (!strict)
        try_roll(s);
    *ret_written = TRUE;
    return changed->len == 0 || lay(s, changed, error);
}

static void take_back(Sentry *s, Request *r)
{
    if (!r->ward)
        return;
    if (r->word.kind == WORD_RELEASE)
        g_ptr_array_add(s->wards, r->ward);
    else if (r->is_new)
        g_ptr_array_remove_fast(s->wards, r->ward);
    else
        *r->ward = r->before;
    r->ward = NULL;
}

/* Taps may have been let go of for what does not stand. */
static void lay_all_again(Sentry *s)
{
    g_autoptr(GError) error = NULL;

    if (s->has_table && s->wards->len > 0 && !lay(s, s->wards, &error))
        log_error("%s -> the kernel's gate may lack taps until the next word", error->message);
}

/* Of VMs of which the roll would have to say more by now, and cannot. Whether there are others, whose leases are only prolonged: they must not
 * be stopped for those. */
static gboolean take_strict_back(Sentry *s, const GError *error)
{
    g_autoptr(GHashTable) vms = g_hash_table_new(id_hash, id_equal_func);
    gboolean others = FALSE;

    for (guint i = 0; i < s->requests->len; i++) {
        Request *r = &g_array_index(s->requests, Request, i);

        if (r->ward && is_stricter(r))
            g_hash_table_add(vms, &r->word.vm);
    }
    for (guint i = s->requests->len; i > 0; i--) {
        Request *r = &g_array_index(s->requests, Request, i - 1);

        if (r->ward && !g_hash_table_contains(vms, &r->word.vm)) {
            others = TRUE;
        } else if (r->ward) {
            r->error = g_error_copy(error);
            take_back(s, r);
        }
    }
    return others;
}

/* None of the changes stands, because some could not be kept. */
static void take_all_back(Sentry *s, gboolean written, const GError *error)
{
    for (guint i = s->requests->len; i > 0; i--) {
        Request *r = &g_array_index(s->requests, Request, i - 1);

        if (!r->error && r->ward)
            r->error = g_error_copy(error);
        take_back(s, r);
    }
    log_error("%s -> what engines said of VMs does not stand, and they were told", error->message);
    if (written)
        try_roll(s);
    lay_all_again(s);
}

/* What can be kept, is. */
static void settle_what_can_be(Sentry *s)
{
    g_autoptr(GError) error = NULL, again = NULL;
    gboolean written = FALSE;

    if (settle(s, &written, &error))
        return;
    if (written || !take_strict_back(s, error))
        take_all_back(s, written, error);
    else if (settle(s, &written, &again))
        lay_all_again(s);
    else
        take_all_back(s, written, again);
}

static void answer_list(Sentry *s, int client)
{
    for (guint i = 0; i < s->wards->len; i++) {
        const Ward *w = s->wards->pdata[i];
        Word said = {.kind = WORD_WARD,
                     .vm = w->vm,
                     .reign = w->reign,
                     .how = ladder_fenced(w->ladder.state),
                     .is_enforced = w->ladder.is_enforced,
                     .until = w->ladder.until,
                     .taps = w->taps};

        for (guint t = 0; t < w->taps; t++)
            g_strlcpy(said.tap[t], w->tap[t].name, IF_NAMESIZE);
        g_snprintf(said.text, WORD_TEXT_MAX, "process %d %s", (int)w->subject.pid,
                   ladder_state_text(w->ladder.state));
        sentry_answer(s, client, &said);
    }
}

static void answer(Sentry *s, Request *r)
{
    Word said = {.kind = r->error ? WORD_REFUSED : WORD_DONE, .vm = r->word.vm};

    if (r->word.kind == WORD_LIST && !r->error) {
        answer_list(s, r->client);
        sentry_know(s, r->client, r->word.words);
        said.words = WORDS_KNOWN;
    }
    if (r->error) {
        log_warning("vm %s: %s refused: %s", ID_TEXT(r->word.vm), word_kind_name(r->word.kind),
                    r->error->message);
        g_strlcpy(said.text, r->error->message, WORD_TEXT_MAX);
    }
    sentry_answer(s, r->client, &said);
}

static void log_change(const Request *r)
{
    const Ward *w = r->ward;

    if (!w ||
        (r->word.kind == WORD_KEEP && !r->is_new && r->before.ladder.is_enforced == w->ladder.is_enforced))
        return;
    if (r->word.kind == WORD_RELEASE)
        log_notice("vm %s: released by an engine -> its process %d and %u taps are left alone",
                   ID_TEXT(w->vm), (int)w->subject.pid, w->taps);
    else
        log_notice("vm %s: kept in reign %" G_GUINT64_FORMAT ", process %d, %u taps -> %s", ID_TEXT(w->vm),
                   w->reign.number, (int)w->subject.pid, w->taps,
                   w->ladder.is_enforced ? "it needs a lease from now on"
                                         : "nothing is done with it while it needs no lease");
}

static void finish(Sentry *s, Request *r)
{
    log_change(r);
    answer(s, r);
    if (r->word.kind == WORD_RELEASE && r->ward)
        ward_free(r->ward);
    g_clear_error(&r->error);
}

void care_serve(Sentry *s)
{
    for (guint i = 0; i < s->requests->len; i++)
        make_change(s, &g_array_index(s->requests, Request, i));
    settle_what_can_be(s);
    for (guint i = 0; i < s->requests->len; i++)
        finish(s, &g_array_index(s->requests, Request, i));
    g_array_set_size(s->requests, 0);
    end_if_empty(s);
}

/* --- what the clocks say ------------------------------------------------- */

static LadderSight look(Ward *w)
{
    LadderSight sight = {.now = lease_clock_now(), .said_stopped = w->said_stopped};

    if (w->ladder.state == LADDER_PAUSED)
        sight.is_busy = subject_computed_ns(&w->subject) > w->computed_ns + BUSY_NS;
    if (w->ladder.state == LADDER_HALTED || w->ladder.state == LADDER_STOPPED)
        sight.is_still = subject_is_still(&w->subject);
    return sight;
}

static void send_signal(const Ward *w, int signum)
{
    g_autoptr(GError) error = NULL;

    if (!subject_signal(&w->subject, signum, &error) && !subject_is_gone(&w->subject))
        log_error("vm %s: %s", ID_TEXT(w->vm), error->message);
}

static void tell(Sentry *s, const Ward *w, WordKind kind, Fenced how)
{
    sentry_tell(s, &(Word){.kind = kind,
                           .vm = w->vm,
                           .reign = w->reign,
                           .how = how,
                           .is_enforced = w->ladder.is_enforced,
                           .until = w->ladder.until});
}

static void act(Sentry *s, Ward *w, LadderAct what)
{
    switch (what) {
    case LADDER_ASK:
        /* What was said before may be over: it is said again. */
        w->said_stopped = FALSE;
        tell(s, w, WORD_PLEASE_STOP, FENCED_NOT);
        break;
    case LADDER_LEND:
        send_signal(w, SIGCONT);
        w->said_stopped = FALSE;
        tell(s, w, WORD_PLEASE_STOP, FENCED_NOT);
        break;
    case LADDER_STOP:
        send_signal(w, SIGSTOP);
        break;
    case LADDER_KILL:
        send_signal(w, SIGKILL);
        break;
    case LADDER_CONT:
        send_signal(w, SIGCONT);
        break;
    case LADDER_TELL:
        tell(s, w, WORD_FENCED, ladder_fenced(w->ladder.state));
        break;
    default:
        break;
    }
}

/* Whether anything was done. */
static gboolean climb(Sentry *s, Ward *w)
{
    gboolean any = FALSE;

    if (lease_clock_now().boot_ms < w->heed_ms)
        return FALSE;
    for (;;) {
        LadderSight sight = look(w);
        const char *why;
        LadderAct what = ladder_step(&w->ladder, &sight, &why);
        g_autofree char *reason = NULL;

        if (what == LADDER_NOTHING)
            return any;
        act(s, w, what);
        reason = ladder_reason(&w->ladder, sight.now, what, why);
        log_notice("vm %s: %s -> %s", ID_TEXT(w->vm), reason, ladder_state_text(w->ladder.state));
        any = TRUE;
    }
}

static void forget(Sentry *s, guint i)
{
    g_autoptr(GArray) taps = g_array_new(FALSE, FALSE, sizeof(ShutterTap));
    g_autoptr(GError) error = NULL;
    Ward *w = s->wards->pdata[i];
    gboolean killed = w->ladder.state == LADDER_KILLED;

    log_notice("vm %s: process %d has ended -> %s", ID_TEXT(w->vm), (int)w->subject.pid,
               killed ? "fenced, and out of the guard's care" : "out of the guard's care");
    if (killed)
        tell(s, w, WORD_FENCED, FENCED_KILLED);
    tell(s, w, WORD_GONE, FENCED_NOT);
    add_taps(taps, w, 0);
    if (s->has_table && taps->len > 0 && !release(s, taps, &error))
        log_warning("%s -> the kernel's gate names interfaces that are gone", error->message);
    g_ptr_array_remove_index_fast(s->wards, i);
}

/* Its lease has ended, and nothing was done about it. */
static gboolean is_behind(const Ward *w, LeaseMoment at)
{
    return w->ladder.state == LADDER_RUNS && w->ladder.is_enforced && ladder_open_ms(&w->ladder, at) == 0;
}

static void climb_all(Sentry *s)
{
    gboolean changed = FALSE;
    guint before = s->wards->len;

    for (guint i = 0; i < s->wards->len; i++)
        if (!subject_is_gone(&((Ward *)s->wards->pdata[i])->subject))
            changed = climb(s, s->wards->pdata[i]) || changed;
    /* Guests first: what waits for the kernel's table or a file comes behind. */
    for (guint i = s->wards->len; i > 0; i--)
        if (subject_is_gone(&((Ward *)s->wards->pdata[i - 1])->subject))
            forget(s, i - 1);
    if (changed || s->wards->len != before)
        try_roll(s);
}

gboolean care_was_held_up(const Sentry *s)
{
    LeaseMoment at = lease_clock_now();

    for (guint i = 0; i < s->wards->len; i++)
        if (is_behind(s->wards->pdata[i], at))
            return TRUE;
    return FALSE;
}

void care_walk(Sentry *s)
{
    climb_all(s);
    lay_due(s);
    end_if_empty(s);
}

gint64 care_wait_ms(const Sentry *s)
{
    gint64 least_ms = G_MAXINT64, watchdog_ms;
    LeaseMoment at = lease_clock_now();

    for (guint i = 0; i < s->wards->len; i++) {
        const Ward *w = s->wards->pdata[i];
        gint64 ladder_ms = at.boot_ms < w->heed_ms ? w->heed_ms - at.boot_ms : ladder_wait_ms(&w->ladder, at);

        if (ladder_ms >= 0)
            least_ms = MIN(least_ms, ladder_ms);
        if (w->lay_ms != G_MAXINT64)
            least_ms = MIN(least_ms, MAX(w->lay_ms - at.boot_ms, 0));
    }
    watchdog_ms = s->watchdog ? watchdog_wait_ms(s->watchdog, s->wards, at) : -1;
    if (watchdog_ms >= 0)
        least_ms = MIN(least_ms, watchdog_ms);
    return least_ms == G_MAXINT64 ? -1 : least_ms;
}

void care_write(Sentry *s)
{
    if (s->wards->len > 0)
        try_roll(s);
}

/* --- the end ------------------------------------------------------------- */

static guint count_enforced(const Sentry *s)
{
    guint n = 0;

    for (guint i = 0; i < s->wards->len; i++)
        n += ((const Ward *)s->wards->pdata[i])->ladder.is_enforced != 0;
    return n;
}

gboolean care_is_enforced(const Sentry *s)
{
    return count_enforced(s) > 0;
}

static void remove_gate(Sentry *s)
{
    g_autoptr(GArray) taps = taps_of(s->wards);
    g_autoptr(GError) error = NULL;

    if (!s->has_table)
        return;
    if (!release(s, taps, &error) || !shutter_end(s->shutter, &error))
        log_warning("%s -> the table bridge " SHUTTER_TABLE " stays, and holds nothing", error->message);
}

void care_end(Sentry *s)
{
    guint n = count_enforced(s);

    if (n > 0) {
        log_warning(
            "it ends while %u guests need their leases -> the kernel holds their frames from the end of "
            "these, and nobody stops them before a guard is back: start it again",
            n);
        return;
    }
    remove_gate(s);
    log_notice(
        "it ends, and no guest needs a lease -> nothing is held; no VM of this host is switched over by "
        "itself before a guard is back");
}

/* --- taking over --------------------------------------------------------- */

static GPtrArray *read_roll(Sentry *s)
{
    g_autoptr(GPtrArray) faults = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GError) error = NULL;
    g_autofree char *text = NULL;
    gsize len = 0;
    GPtrArray *wards;

    if (!durable_read(s->roll_path, &text, &len, &error) &&
        !g_error_matches(error, US_ERROR, US_ERROR_NOT_FOUND))
        log_error("%s -> the kernel's gate ends what the roll names", error->message);
    wards = roll_parse(text ? text : "", len, s->boot_id, faults);
    for (guint i = 0; i < faults->len; i++)
        log_error("%s", (const char *)faults->pdata[i]);
    return wards;
}

/* Its process, if it is the same one still. */
static gboolean find_again(Ward *w)
{
    Subject found;

    if (!subject_find(w->subject.pid, w->subject.start, &found, NULL)) {
        log_notice("vm %s: process %d has ended while no guard ran -> out of the guard's care",
                   ID_TEXT(w->vm), (int)w->subject.pid);
        return FALSE;
    }
    w->subject = found;
    w->given_ms = G_MAXINT64;
    w->computed_ns = subject_computed_ns(&found);
    w->said_stopped = w->ladder.state == LADDER_PAUSED;
    return TRUE;
}

/* What ended long ago may be needed no more, as the engine knows that saw no guard. Meanwhile the gate is shut. */
static void heed(Sentry *s, gint64 ms)
{
    LeaseMoment at = lease_clock_now();

    for (guint i = 0; i < s->wards->len; i++) {
        Ward *w = s->wards->pdata[i];

        w->heed_ms = ms > 0 && is_behind(w, at) ? at.boot_ms + ms : 0;
    }
}

void care_begin(Sentry *s)
{
    g_autoptr(GPtrArray) wards = read_roll(s);
    g_autoptr(GArray) gone = g_array_new(FALSE, FALSE, sizeof(ShutterTap));
    g_autoptr(GError) error = NULL;

    if (wards->len == 0)
        return;
    s->has_table = shutter_stands(s->shutter);
    while (wards->len > 0) {
        Ward *w = g_ptr_array_steal_index(wards, wards->len - 1);

        if (find_again(w)) {
            g_ptr_array_add(s->wards, w);
        } else {
            add_taps(gone, w, 0);
            ward_free(w);
        }
    }
    heed(s, HEED_MS);
    climb_all(s);
    log_notice("%u VMs are taken over from the guard before", s->wards->len);
    if ((s->has_table && gone->len > 0 && !release(s, gone, &error)) ||
        (s->wards->len > 0 && !lay(s, s->wards, &error))) {
        log_error("%s -> what an earlier guard laid goes on", error->message);
        heed(s, 0);
        climb_all(s);
    }
    try_roll(s);
    end_if_empty(s);
}

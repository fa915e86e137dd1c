/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/replicate/worker.h"

#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"
#include "vmconnect/base/log.h"
#include "vmconnect/base/priority.h"
#include "vmconnect/base/stop.h"
#include "vmconnect/hypervisor/guard_file.h"
#include "vmconnect/hypervisor/lifecycle.h"
#include "vmconnect/hypervisor/pivot.h"
#include "vmconnect/hypervisor/qemu_process.h"
#include "vmconnect/image/process.h"
#include "vmconnect/replicate/audit.h"
#include "vmconnect/replicate/bequest.h"
#include "vmconnect/replicate/flatten.h"
#include "vmconnect/replicate/handover.h"
#include "vmconnect/replicate/point_desk.h"

#define RETRY_MIN_MS 250
#define RETRY_MAX_MS 5000
#define SLICE_GAP_MS 50
#define SLOW_FACTOR 4    /* the standby's chain is long: cut so much less often */
#define PROGRESS_MS 250  /* at most so often is progress told */
#define AUDIT_MIN_MS 500 /* a step of a comparison */
#define AUDIT_MAX_MS 8000
#define CONFIRM_MS 10000
#define ASK_MS 3000
#define ASK_EVERY_MS 30000
#define RESTART_MS 60000
#define FLATTEN_FIRST_MS 10000
#define FLATTEN_BUSY_MS 1000 /* so long one job follows the other; most are short */
#define FLATTEN_GAP_MS 2000
#define FLATTEN_RETRY_MS 60000
#define SETTLE_RETRY_MS 30000
#define RESTART_EACH_MS 600000 /* what did not help is not done again and again */

struct Worker {
    Active *active;
    Mailbox *box;
    Mailbox *reports;
    uv_thread_t thread;

    /* The thread's own: */
    Handover *handover; /* the last plan's, or NULL */
    GError *plan_error; /* why its last step failed; NULL: it did not */
    gboolean guarded;   /* guard file and permit are in place */
    gboolean looked;    /* whether this is the first look since the host's boot … */
    gboolean booted;    /* … it is, and autostart was not done yet */
    gboolean doubted;   /* … it is, or the guard is a copy: another host may have become the active */
    gboolean confirmed; /* since then somebody has said that this host is the active still */
    gboolean vouched;   /* since then the controller has, which has heard the standby */
    gint64 due_ms;      /* next cycle */
    gint64
        ask_ms; /* when the standby is asked whether this host is the active still, unless a cycle does so before */
    gint64 retry_ms; /* wait after the next failure */
    gint64 told_ms;
    gint64 cycle_ms;      /* how long the last cycle that sealed a generation took */
    char *why;            /* why the last cycle failed; NULL: it did not */
    const char *why_code; /* its code (static) */
    gboolean unsupported;
    gint64 restart_at_ms; /* not before that is libvirtd restarted (again) */
    gboolean stuck;       /* libvirtd has lost a job of ours and keeps the VM locked */
    Audit *audit;         /* the last comparison that was asked for, or NULL */
    gboolean held;        /* it was said that the guest holds a comparison back, … */
    gboolean blind;       /* … and that it cannot be known whether it should */
    PointDesk *desk;
    Flatten flatten; /* strings owned */
    gboolean flatten_recovered;
    gboolean unsettled;   /* its definition may name a file that a disk has left */
    gboolean flat;        /* nothing is to be flattened, as far as is known … */
    gint64 flatten_at_ms; /* … else not before */
    char *flatten_why;    /* why it cannot be; NULL */
    gboolean blocked;     /* the plan file cannot be read: nothing is done for this VM */
    gboolean quit;
};

/* --- telling ----------------------------------------------------------- */

static const Position *position_of(const Worker *w)
{
    return w->active->sender ? sender_position(w->active->sender) : NULL;
}

static const char *state_of(const Worker *w)
{
    const Active *a = w->active;

    if (handover_holds(w->handover))
        return "switching";
    if (a->role->paused)
        return "paused";
    if (w->unsupported || w->stuck || w->blocked)
        return "failed";
    if (a->sync.running)
        return a->sync.resync_reason ? "resyncing" : "synchronizing";
    return a->truth_ms ? "protected" : "unprotected";
}

static const char *guest_of(const Worker *w)
{
    if (!w->active->capture)
        return "unknown";
    return capture_state(w->active->capture) == CAPTURE_OFF ? "off" : "alive";
}

static json_t *sync_of(const Active *a)
{
    const SyncFigures *s = &a->sync;
    guint64 synced_bytes = a->synced_bytes + (s->running ? s->sent_bytes : 0);
    gint64 elapsed_ms = s->running ? clock_steady_ms() - s->started_ms : 0;
    guint64 payload_bytes = a->payload_before + (a->sender ? sender_payload_bytes(a->sender) : 0);
    guint64 rate = elapsed_ms > 0 ? s->sent_bytes * 1000 / (guint64)elapsed_ms : 0;
    guint64 handled_per_s = elapsed_ms > 0 ? s->done_bytes * 1000 / (guint64)elapsed_ms : 0;
    json_t *left =
        /* Rounded up: what is not done yet does not take no time. */
        handled_per_s
            ? json_integer((json_int_t)((s->total_bytes - s->done_bytes + handled_per_s - 1) / handled_per_s))
            : json_null();

    return json_pack("{s:I, s:I, s:I, s:I, s:o, s:I, s:I}", "done_bytes", (json_int_t)s->done_bytes,
                     "total_bytes", (json_int_t)s->total_bytes, "sent_bytes", (json_int_t)s->sent_bytes,
                     "rate_bps", (json_int_t)rate, "left_s", left, "synced_bytes", (json_int_t)synced_bytes,
                     "payload_bytes", (json_int_t)payload_bytes);
}

static json_t *tip_of(const Worker *w)
{
    const Position *position = position_of(w);

    return position && position->tip ? generation_describe(position->tip) : json_null();
}

/* Why the last cycle failed, why cuts are less often, or what else must be known. */
static const char *why_of(const Worker *w)
{
    const Active *a = w->active;
    const Position *position = position_of(w);
    const char *slow = a->sender ? sender_slow(a->sender) : NULL;
    const char *incomplete = position && position->tip ? position->tip->incomplete : NULL;

    if (w->why || slow || incomplete)
        return w->why ? w->why : slow ? slow : incomplete;
    if (position && !position->tip && position->seed_why)
        return position->seed_why;
    if (w->flatten_why)
        return w->flatten_why;
    if (throttle_why(&a->throttle))
        return throttle_why(&a->throttle);
    return a->capture ? capture_remark(a->capture) : NULL;
}

static json_t *standby_of(const Worker *w)
{
    const Active *a = w->active;

    return json_pack("{s:s, s:s, s:s, s:I, s:s?, s:o, s:{s:s?, s:I, s:I}, s:o, s:o}", "id",
                     ID_TEXT(a->role->standby), "host", a->role->host, "state", state_of(w), "truth_ms",
                     (json_int_t)a->truth_ms, "why", why_of(w), "sync", sync_of(a), "resync", "reason",
                     a->sync.resync_reason, "compared_bytes", (json_int_t)a->sync.compared_bytes,
                     "sent_bytes", (json_int_t)(a->sync.resync_reason ? a->sync.sent_bytes : 0), "tip",
                     tip_of(w), "compare", w->audit ? audit_to_json(w->audit) : json_null());
}

static json_t *plan_status(const Worker *w)
{
    json_t *doc = w->handover ? handover_to_json(w->handover) : json_null();

    if (w->handover)
        json_object_set_new(doc, "error", w->plan_error ? json_from_error(w->plan_error) : json_null());
    return doc;
}

/* Of a copy from before the VM ran here. */
static json_t *branches_of(const Worker *w)
{
    return w->flatten.looked ? point_desk_branches(w->flatten.branches) : json_null();
}

static json_t *status_of(const Worker *w)
{
    const Active *a = w->active;

    return json_pack("{s:s, s:s, s:o, s:s, s:s?, s:s?, s:s, s:s, s:I, s:I, s:I, s:o, s:o, s:[o]}", "vm",
                     ID_TEXT(a->vm), "scenario", a->role->scenario, "reign", reign_to_json(a->role->reign),
                     "state", state_of(w), "why", w->why, "why_code", w->why_code, "guest", guest_of(w),
                     "tracking", "bitmap", "spool_bytes", (json_int_t)a->spool_bytes, "interval_ms",
                     (json_int_t)a->role->settings.interval_ms, "cycle_ms", (json_int_t)w->cycle_ms, "plan",
                     plan_status(w), "branches", branches_of(w), "standbys", standby_of(w));
}

static Report *report_of(const Worker *w)
{
    Report *report = g_new0(Report, 1);

    report->vm = w->active->vm;
    report->status = status_of(w);
    return report;
}

static void watch_throttle(Worker *w)
{
    Throttle *t = &w->active->throttle;

    if (!w->active->sync.running && (!w->audit || audit_has_ended(w->audit)))
        throttle_rest(t);
    if (t->blind && !w->blind)
        log_notice("vm %s: %s -> what is compared is read without regard to the guest",
                   ID_TEXT(w->active->vm), t->blind);
    w->blind |= t->blind != NULL;
    if (w->held == (throttle_why(t) != NULL))
        return;
    w->held = !w->held;
    if (w->held)
        log_notice("vm %s: %s", ID_TEXT(w->active->vm), throttle_why(t));
    else
        log_info("vm %s: comparisons are not held back any more", ID_TEXT(w->active->vm));
}

static void tell(Worker *w, Command *done)
{
    Report *report;

    watch_throttle(w);
    report = report_of(w);

    report->done = done;
    w->told_ms = clock_steady_ms();
    mailbox_send(w->reports, report);
}

static void on_progress(void *user)
{
    Worker *w = user;

    if (clock_steady_ms() - w->told_ms >= PROGRESS_MS)
        tell(w, NULL);
}

static void set_why(Worker *w, const GError *error)
{
    const char *why = error ? error->message : NULL;

    /* Nothing was looked at: what it cannot do it cannot do still. */
    if (w->unsupported && g_error_matches(error, US_ERROR, US_ERROR_BUSY))
        return;
    w->unsupported = g_error_matches(error, US_ERROR, US_ERROR_UNSUPPORTED);
    w->stuck = g_error_matches(error, US_ERROR, US_ERROR_STUCK);
    w->why_code = error ? us_error_name((UsError)error->code) : NULL;
    if (g_strcmp0(why, w->why) == 0)
        return;
    if (why)
        log_notice("vm %s: %s -> try again, changes are remembered", ID_TEXT(w->active->vm), why);
    else
        log_info("vm %s: replication goes on", ID_TEXT(w->active->vm));
    g_free(w->why);
    w->why = g_strdup(why);
}

/* --- the start guard --------------------------------------------------- */

/* What the user had set, remembered since the VM came under protection. */
static gboolean autostart_of(Worker *w, virConnectPtr conn, const Guard *before, gboolean *ret_on,
                             GError **error)
{
    if (before) {
        *ret_on = before->autostart;
        return TRUE;
    }
    return lifecycle_get_autostart(conn, w->active->vm, ret_on, error);
}

/* No active of a reign has a standby's guard of an older one, unless that was put back: then it says nothing of this reign. */
static gboolean is_handed_over(const Guard *guard, Reign reign)
{
    return guard->reign.number > reign.number ||
           (guard->role == GUARD_STANDBY && !(guard->elsewhere && guard->reign.number < reign.number));
}

/* From here on libvirt starts this VM only with our permit. Guard first: a permit
 * without a guard means nothing, a guard without a permit refuses. */
static gboolean set_guard(Worker *w, GError **error)
{
    Active *a = w->active;
    g_autoptr(GError) why = NULL;
    g_autoptr(Guard) before = guard_read(a->paths.guard_dir, a->vm, &why);
    Guard guard = {.vm = a->vm, .scenario = a->role->scenario, .reign = a->role->reign, .role = GUARD_ACTIVE};
    virConnectPtr conn;

    if (!before && !g_error_matches(why, US_ERROR, US_ERROR_NOT_FOUND)) {
        g_propagate_error(error, g_steal_pointer(&why));
        return FALSE;
    }
    if (before && is_handed_over(before, a->role->reign)) {
        g_set_error(error, US_ERROR, US_ERROR_REFUSED,
                    "this VM was handed over in reign %" G_GUINT64_FORMAT
                    ": this host is not its active any more",
                    before->reign.number);
        return FALSE;
    }
    conn = active_connection(a, error);
    return conn && autostart_of(w, conn, before, &guard.autostart, error) &&
           guard_write(a->paths.guard_dir, &guard, error) &&
           lifecycle_set_autostart(conn, a->vm, FALSE, error) &&
           permit_grant(a->paths.permit_dir, a->vm, a->role->reign, error);
}

/* After a boot the engine does what libvirt's autostart would have done. */
static gboolean autostart(Worker *w, GError **error)
{
    Active *a = w->active;
    g_autoptr(Guard) guard = guard_read(a->paths.guard_dir, a->vm, error);
    virConnectPtr conn;
    CaptureState state;

    if (!guard)
        return FALSE;
    if (!w->booted || !guard->autostart)
        return TRUE;
    if (!active_look(a, &state, error))
        return FALSE;
    conn = active_connection(a, error);
    if (!conn)
        return FALSE;
    if (state == CAPTURE_OFF && !flatten_settle(a, error))
        return FALSE;
    /* Once, as libvirt does: a VM that cannot start is its user's to look after. */
    w->booted = FALSE;
    if (state != CAPTURE_OFF)
        return TRUE;
    log_info("vm %s: host was booted, autostart was set -> start it", ID_TEXT(a->vm));
    return lifecycle_start(conn, a->vm, error);
}

static gboolean has_permit(const Worker *w)
{
    g_autofree char *path = g_build_filename(w->active->paths.permit_dir, ID_TEXT(w->active->vm), NULL);

    return g_file_test(path, G_FILE_TEST_EXISTS);
}

static gboolean is_permitted(const Worker *w, const Guard *guard)
{
    return guard && !guard->elsewhere && has_permit(w);
}

/* A VM under protection from before, whose permit is gone with /run. One that comes under protection now, or whose guard was
 * put back, has not been stopped by a boot: it stays as its user left it. */
static void look_for_boot(Worker *w)
{
    g_autoptr(Guard) before = w->looked ? NULL : guard_read(w->active->paths.guard_dir, w->active->vm, NULL);

    w->booted = w->booted || (before && !has_permit(w));
    w->doubted = w->doubted || w->booted || (before && before->elsewhere);
    w->looked = TRUE;
}

/* While this host was down, or since its guard was copied, another may have been made the active. Nothing starts before
 * somebody who would have to know has said that it was not: the standby, or, if it does not answer, the controller (by giving the role anew, and
 * only if it has heard the standby itself), or root (by a permit). */
static gboolean confirm(Worker *w, GError **error)
{
    g_autoptr(GError) why = NULL;
    g_autoptr(Guard) known = NULL;

    if (!w->doubted || w->confirmed)
        return TRUE;
    known = guard_read(w->active->paths.guard_dir, w->active->vm, NULL);
    w->confirmed = is_permitted(w, known) || active_is_acknowledged(w->active, CONFIRM_MS, &why) ||
                   (w->vouched && !g_error_matches(why, US_ERROR, US_ERROR_OVERTAKEN));
    if (w->confirmed)
        return TRUE;
    g_set_error(
        error, US_ERROR, US_ERROR_BUSY,
        "%s, and nobody has said yet that no other host has become the active of the VM (%s): it is neither "
        "started nor replicated here; bring the standby back, or, if that host is off, use "
        "`understudy-engine start %s --alone`",
        known && known->elsewhere ? GUARD_COPIED : "this host was booted", why->message,
        w->active->role->scenario);
    return FALSE;
}

/* Under our eyes: what was said until now was said before that. */
static void look_for_copy(Worker *w)
{
    g_autoptr(Guard) now = guard_read(w->active->paths.guard_dir, w->active->vm, NULL);

    if (!now || !now->elsewhere)
        return;
    w->doubted = TRUE;
    w->guarded = w->confirmed = w->vouched = FALSE;
}

static gboolean guard(Worker *w, GError **error)
{
    if (w->guarded)
        look_for_copy(w);
    if (w->guarded)
        return TRUE;
    look_for_boot(w);
    w->guarded = confirm(w, error) && set_guard(w, error) && autostart(w, error);
    return w->guarded;
}

/* As the user had it. Of a VM that is not there any more nothing is left to do. */
static gboolean give_autostart_back(const Active *a, virConnectPtr conn, GError **error)
{
    g_autoptr(Guard) before = guard_read(a->paths.guard_dir, a->vm, NULL);
    g_autoptr(GError) why = NULL;

    if (!before || !before->autostart || lifecycle_set_autostart(conn, a->vm, TRUE, &why) ||
        g_error_matches(why, US_ERROR, US_ERROR_NOT_FOUND))
        return TRUE;
    g_propagate_error(error, g_steal_pointer(&why));
    return FALSE;
}

static gboolean lift_guard(Worker *w, GError **error)
{
    Active *a = w->active;
    virConnectPtr conn = active_connection(a, error);

    if (!conn || !give_autostart_back(a, conn, error))
        return FALSE;
    return bequest_remove(a->paths.plan_dir, a->vm, error) &&
           guard_remove(a->paths.guard_dir, a->vm, error) && permit_remove(a->paths.permit_dir, a->vm, error);
}

/* --- commands ---------------------------------------------------------- */

static gboolean set_role(Worker *w, const Command *c, GError **error)
{
    Active *a = w->active;
    ActiveRole *role = active_role_from_json(c->params, error);

    if (!role)
        return FALSE;
    g_assert(id_equal(role->vm, a->vm));
    if (!reign_equal(role->reign, a->role->reign) || !g_str_equal(role->scenario, a->role->scenario))
        w->guarded = FALSE;
    if (!id_equal(role->standby, a->role->standby)) {
        g_clear_pointer(&w->audit, audit_free);
        active_forget_resend(a);
    }
    w->vouched |= role->vouched;
    active_set_role(a, role);
    w->flat = FALSE;
    w->due_ms = 0;
    return TRUE;
}

/* Another owner: its standbys know this engine by a new certificate. */
static void set_identity(Worker *w, Command *c)
{
    identity_unref(w->active->identity);
    w->active->identity = g_steal_pointer(&c->identity);
    active_detach(w->active);
    w->due_ms = 0;
}

static gboolean stop(Worker *w, GError **error)
{
    g_autoptr(GError) why = NULL;

    if (handover_holds(w->handover)) {
        g_set_error(error, US_ERROR, US_ERROR_REFUSED, "plan %s holds this VM: wait for its end",
                    ID_TEXT(w->handover->plan));
        return FALSE;
    }
    if (!active_remove_traces(w->active, &why) && !g_error_matches(why, US_ERROR, US_ERROR_NOT_FOUND)) {
        g_propagate_error(error, g_steal_pointer(&why));
        return FALSE;
    }
    if (!lift_guard(w, error))
        return FALSE;
    w->quit = TRUE;
    return TRUE;
}

/* Asked for again while one runs, it is that one. */
static gboolean compare(Worker *w, Command *c, GError **error)
{
    const Active *a = w->active;
    gboolean repair;

    if (!json_read(c->params, "compare", error, "{s:b*}", "repair", &repair))
        return FALSE;
    if (a->role->paused || !a->truth_ms || a->sync.running) {
        g_set_error(error, US_ERROR, US_ERROR_REFUSED, "%s: there is nothing to compare with yet",
                    a->role->paused ? "replication is paused" : "the copy is not whole");
        return FALSE;
    }
    if (!w->audit || audit_has_ended(w->audit) || (repair && !audit_repairs(w->audit))) {
        audit_free(w->audit);
        w->audit = audit_new(repair);
        w->due_ms = 0;
    }
    c->result = audit_to_json(w->audit);
    return TRUE;
}

static gboolean need_lock(const Worker *w, GError **error)
{
    if (w->handover)
        return TRUE;
    g_set_error(error, US_ERROR, US_ERROR_REFUSED, "no plan holds this VM: it was rolled back, begin again");
    return FALSE;
}

/* What has died here is started again: it is this host's, and no plan has it. Who asks does not vouch for that: he may have missed
 * that another host was made the active. An order that comes late could hit what has been brought back since. */
static gboolean revive(Worker *w, Command *c, GError **error)
{
    json_int_t until_ms;
    virConnectPtr conn;
    const char *how;
    int hangs, by_watchdog;
    ReviveWhat what;

    if (!json_read(c->params, "guest.revive", error, "{s:b, s:b, s:I*}", "hangs", &hangs, "by_watchdog",
                   &by_watchdog, "until_ms", &until_ms))
        return FALSE;
    if (clock_steady_ms() >= until_ms) {
        g_set_error_literal(error, US_ERROR, US_ERROR_TIMEOUT,
                            "it could not be done in time, and who asked for it has given it up");
        return FALSE;
    }
    if (handover_holds(w->handover)) {
        g_set_error(error, US_ERROR, US_ERROR_REFUSED,
                    "plan %s has this VM: it is not started by others meanwhile", ID_TEXT(w->handover->plan));
        return FALSE;
    }
    if (!guard(w, error))
        return FALSE;
    what = hangs ? REVIVE_HANGING : by_watchdog ? REVIVE_SHUT_DOWN : REVIVE_DEAD;
    /* A reset needs no definition; of a start the hook knows better. */
    flatten_settle(w->active, NULL);
    if (!(conn = active_connection(w->active, error)) ||
        !lifecycle_revive(conn, w->active->vm, what, &how, error))
        return FALSE;
    c->result = json_pack("{s:s}", "how", how);
    return TRUE;
}

/* After a release the role is over; after a rollback there is nothing to unlock. */
static gboolean unlock(Worker *w, const Command *c, GError **error)
{
    if (!handover_holds(w->handover)) {
        w->quit = w->handover && w->handover->state == HANDOVER_UNLOCKED;
        return TRUE;
    }
    w->quit = handover_unlock(w->handover, w->active, c->params, error);
    return w->quit;
}

/* In this reign: the file of a plan outlives it. */
static gboolean has_released(const Worker *w)
{
    return handover_was_released(w->handover) && reign_equal(w->handover->reign, w->active->role->reign);
}

/* No more of it in this reign: nobody starts it, and it stands still if it lives. */
static gboolean let_it_stand(Worker *w, const char **ret_guest, GError **error)
{
    Active *a = w->active;
    virConnectPtr conn;

    /* From now on it is we who let it stand still, and nobody resumes it. */
    pivot_mark_clear(a->vm, a->paths.run_dir);
    return permit_remove(a->paths.permit_dir, a->vm, error) && (conn = active_connection(a, error)) &&
           lifecycle_stand_still(conn, a->vm, ret_guest, error);
}

/* The guard says standby already. What was left here in that reign is known to be nobody's final generation, unless
 * it was released as that. */
static gboolean yield(Worker *w, Command *c, GError **error)
{
    Active *a = w->active;
    g_autoptr(Bequest) found = NULL;
    const char *guest;

    active_detach(a);
    if (!let_it_stand(w, &guest, error))
        return FALSE;
    stop_at("yield.paused");
    if (!has_released(w)) {
        found = bequest_new_found(a->vm, a->role->reign);
        if (!bequest_write(found, a->paths.plan_dir, error))
            return FALSE;
    }
    c->result = json_pack("{s:s}", "guest", guest);
    w->quit = TRUE;
    return TRUE;
}

/* Points of a copy from before the VM ran here, for as long as it runs from them. */
static gboolean on_points(Worker *w, Command *c, GError **error)
{
    g_autoptr(Store) store = NULL;
    gint64 soon_ms;

    if (c->verb == COMMAND_POINTS && !flatten_has_store(&w->flatten)) {
        c->result = json_pack("{s:[]}", "points");
        return TRUE;
    }
    store = flatten_open_store(&w->flatten, w->active, error);
    if (!store)
        return FALSE;
    /* One that was let go may have been all that kept it from its original images. */
    soon_ms = clock_steady_ms() + FLATTEN_GAP_MS;
    w->flatten_at_ms = MIN(w->flatten_at_ms, soon_ms);
    if (c->verb == COMMAND_PIN) {
        gboolean ok = point_desk_pin(w->desk, store, c->params, error);

        flatten_look(&w->flatten, store);
        return ok;
    }
    if (c->verb == COMMAND_OPEN)
        return point_desk_open(w->desk, store, c->params, &c->result, error);
    c->result = point_desk_list(w->desk, store);
    return TRUE;
}

/* A job of ours that is left would be in anybody's way, and a guest that stands still between pivot and resume shuts down
 * for nobody. */
static gboolean recover(Worker *w, GError **error)
{
    w->flatten_recovered = w->flatten_recovered || flatten_recover(w->active, error);
    return w->flatten_recovered;
}

/* Who asks for the plan's state is told what it has come to, too. */
static gboolean rollback(Worker *w, GError **error)
{
    GError *why = NULL;

    w->due_ms = 0;
    g_clear_error(&w->plan_error);
    if (handover_rollback(w->handover, w->active, &why))
        return TRUE;
    w->plan_error = g_error_copy(why);
    g_propagate_error(error, why);
    return FALSE;
}

static gboolean carry_out(Worker *w, Command *c, GError **error)
{
    /* Who orders this as the active's part knows that it is the active. */
    w->confirmed |= c->verb >= COMMAND_LOCK && c->verb <= COMMAND_UNLOCK;
    w->confirmed |= c->verb == COMMAND_ROLLBACK;
    if (c->verb == COMMAND_YIELD)
        return yield(w, c, error);
    if (w->blocked && c->verb != COMMAND_QUIT) {
        g_set_error(error, US_ERROR, US_ERROR_REFUSED, "%s", w->why);
        return FALSE;
    }
    switch (c->verb) {
    case COMMAND_QUIT:
        w->quit = TRUE;
        return TRUE;
    case COMMAND_ROLE:
        return set_role(w, c, error);
    case COMMAND_IDENTITY:
        set_identity(w, c);
        return TRUE;
    case COMMAND_STOP:
        return recover(w, error) && flatten_settle(w->active, error) && stop(w, error);
    case COMMAND_COMPARE:
        return compare(w, c, error);
    case COMMAND_REVIVE:
        return recover(w, error) && revive(w, c, error);
    case COMMAND_LOCK:
        return recover(w, error) && guard(w, error) && flatten_settle(w->active, error) &&
               handover_lock(&w->handover, w->active, c->params, error);
    case COMMAND_SHUTDOWN:
        return need_lock(w, error) && handover_shutdown(w->handover, w->active, c->params, error);
    case COMMAND_FINAL:
        return need_lock(w, error) && handover_final(w->handover, w->active, c->params, error);
    case COMMAND_PARK:
        return need_lock(w, error) && handover_park(w->handover, w->active, c->params, error);
    case COMMAND_RELEASE:
        return need_lock(w, error) && handover_release(w->handover, w->active, c->params, error);
    case COMMAND_UNLOCK:
        return unlock(w, c, error);
    case COMMAND_POINTS:
    case COMMAND_PIN:
    case COMMAND_OPEN:
        return on_points(w, c, error);
    case COMMAND_ROLLBACK:
        return rollback(w, error);
    default:
        g_assert_not_reached();
    }
}

static void obey(Worker *w, Command *c)
{
    if (!carry_out(w, c, &c->error))
        log_notice("vm %s: %s failed: %s", ID_TEXT(w->active->vm), command_verb_name(c->verb),
                   c->error->message);
    else if (w->handover && !c->result)
        c->result = handover_to_json(w->handover);
    tell(w, c);
}

/* --- turning ----------------------------------------------------------- */

/* What is released is the successor's; what is parked comes back when it is asked for, and by itself only some time after a boot. */
static gboolean waits_for_word(const Handover *h)
{
    return h->state == HANDOVER_RELEASED ||
           (h->state == HANDOVER_PARKED && (h->until_told || !handover_was_booted(h)));
}

/* A plan that this engine found at its start, or whose time is over, and that has not released
 * the VM: production comes back by itself. */
static void end_plan(Worker *w)
{
    g_autoptr(GError) error = NULL;

    if (!w->handover || waits_for_word(w->handover) || clock_steady_ms() < w->handover->deadline_ms)
        return;
    log_warning("vm %s: plan %s %s -> take the VM back", ID_TEXT(w->active->vm), ID_TEXT(w->handover->plan),
                w->handover->state == HANDOVER_PARKED
                    ? "has parked it, this host was booted since, and nobody asked for it"
                    : "has not come to its release in time");
    if (!confirm(w, &error) || !handover_rollback(w->handover, w->active, &error)) {
        set_why(w, error);
        /* Still held: libvirtd could not be asked. Not in a hurry, but until it works. */
        w->handover->deadline_ms = clock_steady_ms() + w->retry_ms;
    }
    g_clear_error(&w->plan_error);
    w->plan_error = g_steal_pointer(&error);
    w->due_ms = 0;
    tell(w, NULL);
}

static gint64 interval_ms(const Worker *w)
{
    const Active *a = w->active;

    return a->role->settings.interval_ms * (a->sender && sender_slow(a->sender) ? SLOW_FACTOR : 1);
}

/* Only where the host's configuration says how: others' work with libvirtd is cut off by it. */
static void restart_if_stuck(Worker *w)
{
    const char *how = w->active->paths.restart_libvirtd;
    g_auto(GStrv) argv = NULL;
    g_autoptr(GError) why = NULL;

    if (!w->stuck || !how || !*how || clock_steady_ms() < w->restart_at_ms)
        return;
    w->restart_at_ms = clock_steady_ms() + RESTART_EACH_MS;
    log_notice("vm %s: libvirtd has lost a job of ours -> %s", ID_TEXT(w->active->vm), how);
    if (!g_shell_parse_argv(how, NULL, &argv, &why) ||
        !process_run((const char *const *)argv, RESTART_MS, -1, 65536, NULL, &why))
        log_warning("vm %s: libvirtd was not restarted: %s", ID_TEXT(w->active->vm), why->message);
}

/* --- back to the original images ----------------------------------------- */

static void set_flatten_why(Worker *w, const GError *error)
{
    g_autofree char *why =
        error ? g_strdup_printf("it runs from more files than its original images: %s", error->message)
              : NULL;

    if (g_strcmp0(why, w->flatten_why) == 0)
        return;
    if (why)
        log_notice("vm %s: %s -> try again", ID_TEXT(w->active->vm), why);
    g_free(w->flatten_why);
    w->flatten_why = g_steal_pointer(&why);
}

/* Between two cuts, of a VM that runs and is protected; cuts go on for as long as a job took. */
static void flatten(Worker *w)
{
    const Active *a = w->active;
    gint64 started_ms = clock_steady_ms(), now_ms;
    FlattenOutcome outcome = FLATTEN_MORE;
    g_autoptr(GError) error = NULL;

    if (w->flat || started_ms < w->flatten_at_ms || !a->truth_ms || a->role->paused || w->why ||
        capture_state(a->capture) != CAPTURE_RUNNING)
        return;
    while (outcome == FLATTEN_MORE && clock_steady_ms() - started_ms < FLATTEN_BUSY_MS)
        if (!flatten_step(&w->flatten, w->active, &outcome, &error))
            outcome = FLATTEN_LATER;
    /* What it has left, its job or a guest that stands still, is seen to before the next cut, and that soon. */
    w->flatten_recovered = !error;
    set_flatten_why(w, error);
    w->flat = outcome == FLATTEN_NOTHING || outcome == FLATTEN_DONE;
    now_ms = clock_steady_ms();
    w->flatten_at_ms = now_ms + (error ? FLATTEN_RETRY_MS : MAX(FLATTEN_GAP_MS, now_ms - started_ms));
    if (error)
        w->due_ms = MIN(w->due_ms, now_ms + RETRY_MIN_MS);
}

/* Between two cuts, for at most half of the time from one to the next; users' own operations get libvirt's lock before and
 * after it. A standby whose chains are long has better things to do. */
static void audit(Worker *w)
{
    Active *a = w->active;
    gint64 after_ms;
    g_autoptr(GError) error = NULL;

    if (w->audit)
        audit_look_at_repair(w->audit, a);
    if (!w->audit || audit_has_ended(w->audit) || a->role->paused || w->why ||
        (a->sender && sender_slow(a->sender)))
        return;
    g_usleep(SLICE_GAP_MS * 1000);
    if (!audit_step(w->audit, a, CLAMP(a->role->settings.interval_ms / 2, AUDIT_MIN_MS, AUDIT_MAX_MS),
                    &error))
        log_info("vm %s: comparison: %s", ID_TEXT(a->vm), error->message);
    after_ms = clock_steady_ms() + SLICE_GAP_MS;
    w->due_ms = MAX(w->due_ms, after_ms);
    tell(w, NULL);
}

static void undo_late_shutdown(Worker *w)
{
    g_autoptr(GError) error = NULL;

    if (!handover_undo_late_shutdown(w->handover, w->active, &error))
        log_warning("vm %s: it did not start: %s", ID_TEXT(w->active->vm), error->message);
}

/* Its standby says that it was made the active, in a higher reign: a guest that lives here must not go on, whether the
 * controller can be heard or not. All else is for that to order. Not if it runs here in a higher reign itself, of which this
 * role does not know yet. */
static void stand_back(Worker *w)
{
    const Active *a = w->active;
    g_autoptr(Guard) own = guard_read(a->paths.guard_dir, a->vm, NULL);
    g_autoptr(GError) error = NULL;
    const char *guest;

    if (own && reign_equal(own->reign, a->role->reign) && !let_it_stand(w, &guest, &error))
        log_warning("vm %s: another host is its active, and it does not stand still here: %s", ID_TEXT(a->vm),
                    error->message);
}

/* Who lives on while its standby is made the active is to hear of it soon, however seldom it is replicated. */
static void ask_standby(Worker *w)
{
    g_autoptr(GError) error = NULL;

    w->ask_ms = clock_steady_ms() + ASK_EVERY_MS;
    /* One session takes the place of the other. */
    active_detach(w->active);
    if (active_is_acknowledged(w->active, ASK_MS, &error) ||
        !g_error_matches(error, US_ERROR, US_ERROR_OVERTAKEN))
        return;
    stand_back(w);
    set_why(w, error);
    tell(w, NULL);
}

/* Whatever the guest and its replication do meanwhile. */
static void settle(Worker *w)
{
    g_autoptr(GError) error = NULL;
    gboolean settled = flatten_settle(w->active, &error);

    if (!settled || w->unsettled)
        set_flatten_why(w, error);
    if (settled && w->unsettled)
        w->flatten_at_ms = clock_steady_ms();
    w->unsettled = !settled;
}

static void cycle(Worker *w)
{
    gint64 started_ms = clock_steady_ms(), settle_ms;
    ActiveOutcome outcome = ACTIVE_CONFIRMED;
    g_autoptr(GError) error = NULL;

    settle(w);
    if (!recover(w, &error) || !guard(w, &error) ||
        (w->active->role->paused ? !active_measure(w->active, &error)
                                 : !active_cycle(w->active, &outcome, &error))) {
        w->due_ms = clock_steady_ms() + w->retry_ms;
        w->retry_ms = MIN(w->retry_ms * 2, RETRY_MAX_MS);
        /* libvirt would be waited for once more: for nothing, or by who gave the command that waits, QUIT perhaps. */
        if (!g_error_matches(error, US_ERROR, US_ERROR_STUCK) && !active_is_waited_for(w->active, 0))
            active_measure(w->active, NULL);
    } else {
        /* Between two jobs users' own operations get libvirt's lock. */
        w->due_ms =
            outcome == ACTIVE_UNFINISHED ? clock_steady_ms() + SLICE_GAP_MS : started_ms + interval_ms(w);
        w->retry_ms = RETRY_MIN_MS;
        if (!w->active->role->paused)
            w->ask_ms = clock_steady_ms() + ASK_EVERY_MS;
        if (outcome == ACTIVE_SEALED)
            w->cycle_ms = clock_steady_ms() - started_ms;
    }
    /* Until then nobody can start it. */
    settle_ms = clock_steady_ms() + SETTLE_RETRY_MS;
    if (w->unsettled)
        w->due_ms = MIN(w->due_ms, settle_ms);
    if (g_error_matches(error, US_ERROR, US_ERROR_OVERTAKEN))
        stand_back(w);
    set_why(w, error);
    tell(w, NULL);
    restart_if_stuck(w);
    undo_late_shutdown(w);
    if (outcome != ACTIVE_UNFINISHED) {
        audit(w);
        flatten(w);
    }
}

static int wait_ms(const Worker *w)
{
    gboolean held = handover_holds(w->handover);
    gint64 until = held ? w->handover->deadline_ms : MIN(w->due_ms, w->ask_ms);

    if (w->blocked || (held && waits_for_word(w->handover)))
        return -1;
    return clock_left_ms(until);
}

/* A plan file from before this process: released, or to be taken back at once. */
static void load_plan(Worker *w)
{
    g_autoptr(GError) error = NULL;

    w->handover = handover_load(w->active->paths.plan_dir, w->active->vm, &error);
    w->blocked = error != NULL;
    /* It ended with its reign, by force: what this host gave up then it was given again since. */
    if (w->handover && w->handover->reign.number < w->active->role->reign.number)
        g_clear_pointer(&w->handover, handover_free);
    /* Before a rollback writes the permit that tells a boot. */
    look_for_boot(w);
    if (w->handover && w->handover->state == HANDOVER_RELEASED)
        handover_finish_release(w->handover, w->active, &error);
    if (w->handover && w->handover->state == HANDOVER_PARKED)
        w->handover->deadline_ms = clock_steady_ms() + HANDOVER_ALONE_MS;
    if (error)
        set_why(w, error);
}

static void run(void *arg)
{
    Worker *w = arg;
    Report *last;

    priority_behind_guests();
    load_plan(w);
    /* Whoever asks hears of this VM, also while its first cycle hangs in libvirt. */
    tell(w, NULL);
    while (!w->quit) {
        Command *c = mailbox_wait(w->box, wait_ms(w));

        if (c)
            obey(w, c);
        else if (handover_holds(w->handover))
            end_plan(w);
        else if (clock_steady_ms() >= w->due_ms)
            cycle(w);
        else
            ask_standby(w);
    }
    last = report_of(w);
    last->ended = TRUE;
    /* Closing a connection to a hung libvirtd takes its time: here, not on the loop. */
    g_clear_pointer(&w->active, active_free);
    g_clear_pointer(&w->desk, point_desk_free);
    g_clear_pointer(&w->audit, audit_free);
    mailbox_send(w->reports, last);
}

Worker *worker_start(ActiveRole *role, const HostPaths *paths, Identity *identity, Rescuer *rescuer,
                     Mailbox *reports)
{
    Worker *w = g_new0(Worker, 1);
    int rc;

    w->box = mailbox_new_thread((GDestroyNotify)command_free);
    w->reports = reports;
    w->retry_ms = RETRY_MIN_MS;
    w->active = active_new(role, paths, identity, rescuer, mailbox_fd(w->box));
    w->flatten.store_dir = g_build_filename(paths->store_dir, ID_TEXT(w->active->vm), NULL);
    w->flatten.run_dir = g_build_filename(paths->run_dir, "keep", ID_TEXT(w->active->vm), NULL);
    w->ask_ms = clock_steady_ms() + ASK_EVERY_MS;
    w->flatten_at_ms = clock_steady_ms() + FLATTEN_FIRST_MS;
    w->desk = point_desk_new(paths->run_dir, w->active->vm, FALSE);
    w->active->on_progress = on_progress;
    w->active->user = w;
    rc = uv_thread_create(&w->thread, run, w);
    g_assert(rc == 0);
    return w;
}

void worker_tell(Worker *w, Command *command)
{
    mailbox_send(w->box, command);
}

void worker_join(Worker *w)
{
    uv_thread_join(&w->thread);
    handover_free(w->handover);
    g_clear_error(&w->plan_error);
    mailbox_close(w->box);
    g_free(w->flatten_why);
    g_free((char *)w->flatten.store_dir);
    g_free((char *)w->flatten.run_dir);
    g_free(w->why);
    g_free(w);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/tenure.h"

#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"
#include "vmconnect/base/log.h"
#include "vmconnect/hypervisor/lease_file.h"
#include "vmconnect/tenure_private.h"

#define RENEW_LIMIT_MS 10000 /* an answer that comes later is worth nothing */
#define LEAVE_MS 3000        /* so long those that vote may take to hear that nothing is armed */

static void hold_free(gpointer data)
{
    Hold *h = data;

    g_free(h->still_why);
    g_free(h);
}

Hold *hold_find(const Tenure *t, Id vm)
{
    return g_hash_table_lookup(t->holds, &vm);
}

gboolean hold_is_enforced(const Hold *h)
{
    return h->until.enforced || h->readies;
}

LeaseMoment hold_end(const Hold *h)
{
    return h->until.is_over ? (LeaseMoment){0} : lease_moment_later(h->former, h->until.until);
}

gboolean hold_is_yielding(const Hold *h)
{
    const ActiveRole *role = policy_active(h->tenure->engine->policy, h->vm);

    return h->yields > 0 && role && role->serial == h->yields;
}

/* Nothing stands in the way of what stands still. What was said last of its lease may be true no more: time passes, and nobody says so. */
gboolean hold_may_run(const Hold *h)
{
    LeaseUntil now = h->until;

    if (hold_is_yielding(h))
        return FALSE;
    (void)leases_until(h->tenure->leases, h->vm, &now);
    return now.may_start || (!now.is_over && !now.enforced && !h->readies);
}

/* What was stopped, and is another host's, stays so, lease or not: its guard hears that none is left. */
gboolean hold_stays(const Hold *h)
{
    return h->is_asked && (h->until.is_over || hold_is_yielding(h));
}

Asked *tenure_asked(Tenure *t, Id id)
{
    Asked *asked = g_new0(Asked, 1);

    *asked = (Asked){t, id, 0};
    return asked;
}

/* --- what the start hook reads ------------------------------------------------- */

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

static void on_written(void *user)
{
    arm_all(user);
    leave_if_free(user);
}

static GArray *entries(void *user)
{
    const Tenure *t = user;
    GArray *list = g_array_new(FALSE, FALSE, sizeof(LeaseEntry));
    GHashTableIter it;
    gpointer value;

    g_hash_table_iter_init(&it, t->holds);
    while (g_hash_table_iter_next(&it, NULL, &value)) {
        const Hold *h = value;
        const LeaseEntry entry = {h->vm, h->reign, hold_end(h)};

        if (hold_is_enforced(h))
            g_array_append_val(list, entry);
    }
    return list;
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
    (void)lease_writer_change(h->tenure->file);
    hold_give_to_guard(h);
}

static void ready(Hold *h)
{
    h->readies = TRUE;
    h->is_kept = FALSE;
    h->in_file = lease_writer_change(h->tenure->file);
    hold_give_to_guard(h);
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
        if (!ungate_is_busy(t->ungate))
            ready(h);
    } else if (lease_writer_has(t->file, h->in_file) && (h->is_kept || is_off(h))) {
        leases_arm(t->leases, h->vm, TRUE);
    }
}

/* --- the guard ------------------------------------------------------------------ */

/* What was plugged while libvirtd was not there is told by nobody. */
static void look_at_all_taps(Tenure *t)
{
    GHashTableIter it;
    gpointer hold;

    g_hash_table_iter_init(&it, t->holds);
    while (g_hash_table_iter_next(&it, NULL, &hold))
        hold_look_at_taps(hold);
}

static void end_hold(Hold *h);

static void on_kept(void *user, Id vm, const GError *why_not)
{
    Tenure *t = user;
    Hold *h = hold_find(t, vm);

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
    if (h->dropped && !hold_is_enforced(h)) {
        end_hold(h);
        return;
    }
    arm_if_due(h);
    if (hold_may_run(h))
        hold_go_on(h);
    leave_if_free(t);
}

static void on_gone(void *user, Id vm)
{
    Hold *h = hold_find(user, vm);

    if (!h)
        return;
    h->in_guard = h->resumes = FALSE;
    h->pid = 0;
    hold_forget_stop(h);
}

static gboolean wants(void *user, Id vm)
{
    return hold_find(user, vm) != NULL;
}

static void on_warden(void *user, gboolean up)
{
    Tenure *t = user;
    GHashTableIter it;
    gpointer hold;

    g_hash_table_iter_init(&it, t->holds);
    while (g_hash_table_iter_next(&it, NULL, &hold)) {
        if (up)
            ((Hold *)hold)->ungated = 0;
        else
            hold_ungate(hold);
    }
    arm_all(t);
    serve_news(t->engine);
}

static void on_ungated(void *user)
{
    arm_all(user);
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

    hold_say_still(h, ended);

    if (hold_is_enforced(h))
        g_hash_table_remove(t->freed, &h->vm);
    else
        g_hash_table_add(t->freed, g_memdup2(&h->vm, sizeof(h->vm)));
    hold_ungate(h);
    hold_leave_guard(h);
    leases_let_go(t->leases, h->vm);
    g_hash_table_remove(t->holds, &h->vm);
    (void)lease_writer_change(t->file);
}

/* Nothing is enforced any more. A guard does not let go of what it has stopped, and nobody would resume it: that goes on first, when the guard has heard that it
 * may. */
static void end_hold(Hold *h)
{
    stop_readying(h);
    if (h->is_asked && !hold_stays(h)) {
        hold_give_to_guard(h);
        if (h->in_guard && !h->is_kept)
            return;
        hold_go_on(h);
    }
    let_go(h);
}

static void leave_if_free(Tenure *t)
{
    GHashTableIter it;
    gpointer hold;

    if (!t->on_left || !lease_writer_is_done(t->file))
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
    Hold *h = hold_find(t, vm);
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
    if (hold_is_enforced(h) || before.enforced)
        (void)lease_writer_change(t->file);
    hold_give_to_guard(h);
    hold_ungate(h);
    if (!h->in_guard && hold_may_run(h))
        hold_go_on(h);
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
                   tenure_asked(t, voter));
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
    leases_hold(t->leases, h->vm, reign, h->voters, TENURE_VOTERS, times,
                !g_hash_table_contains(t->freed, &h->vm) && (former || !t->before));
}

static void hold(Tenure *t, const ActiveRole *role, const LeaseTimes *times)
{
    Hold *h = hold_find(t, role->vm);

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
    if (hold_is_enforced(h))
        (void)lease_writer_change(t->file);
    hold_give_to_guard(h);
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
    static const LeaseWriterEvents FILE_EVENTS = {.entries = entries, .on_written = on_written};
    static const WardenEvents WARDEN = {.on_up = on_warden,
                                        .on_please_stop = halts_on_please_stop,
                                        .on_fenced = halts_on_fenced,
                                        .on_gone = on_gone,
                                        .on_kept = on_kept,
                                        .wants = wants};

    t->peers = peers_new(&t->engine->loop, t->engine->identity);
    t->ungate = ungate_new(t->engine->clerk, on_ungated, t);
    t->warden = warden_new(&t->engine->loop, SENTRY_SOCKET, &WARDEN, t);
    t->leases = leases_new(&t->engine->loop, voice_voters(t->engine->voice), &LEASES, t);
    uv_timer_init(&t->engine->loop, &t->leave_timer);
    t->leave_timer.data = t;
    uv_timer_init(&t->engine->loop, &t->still_timer);
    t->still_timer.data = t;
    t->file = lease_writer_new(&t->engine->loop, t->engine->clerk, &FILE_EVENTS, t);
    /* From then on it is known of this boot what is enforced: so the first one that is written has all of it. */
    tenure_review(t);
    lease_writer_begin(t->file);
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
        if (h->is_late && !h->is_asked && hold_may_run(h))
            hold_resume(h);
        h->is_late = FALSE;
    } else if (event->event == VIR_DOMAIN_EVENT_RESUMED) {
        warden_tell(t->warden, h->vm, FALSE);
        h->resumes = FALSE;
    }
    tenure_look(t);
}

void tenure_hear(Tenure *t, const EarEvent *event)
{
    Hold *h = hold_find(t, event->vm);

    if (t->closed)
        return;
    if (event->kind == EAR_RESYNC)
        look_at_all_taps(t);
    else if (h && event->kind == EAR_LIFECYCLE)
        hear_lifecycle(h, event);
    else if (h && event->kind == EAR_DEVICE)
        hold_look_at_taps(h);
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
            hold_give_to_guard(h);
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
    const Hold *h = hold_find(t, vm);

    if (!h)
        return;
    json_object_set_new(guest, "lease", json_string(word_of(h)));
    json_object_set_new(guest, "halts", json_integer(h->halts));
    json_object_set_new(guest, "halted_ms", json_integer((json_int_t)h->halted_ms));
}

json_t *tenure_describe_guard(const Tenure *t)
{
    const char *why = t->warden ? warden_why_away(t->warden) : NULL;
    gboolean up = t->warden && warden_is_up(t->warden);

    return json_pack("{s:o, s:s?, s:b, s:b}", "up", up || why ? json_boolean(up) : json_null(), "why", why,
                     "older", up && warden_is_older(t->warden), "wanted", g_hash_table_size(t->holds) > 0);
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
        hold_say_still(hold, ends);
    leases_close(t->leases);
    peers_close(t->peers);
    warden_close(t->warden);
    ungate_close(t->ungate);
    uv_close((uv_handle_t *)&t->leave_timer, NULL);
    lease_writer_close(t->file);
    uv_close((uv_handle_t *)&t->still_timer, NULL);
}

void tenure_free(Tenure *t)
{
    if (!t)
        return;
    ungate_free(t->ungate);
    lease_writer_free(t->file);
    g_hash_table_unref(t->holds);
    g_hash_table_unref(t->freed);
    g_clear_pointer(&t->before, g_array_unref);
    g_free(t);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/votes/leases.h"

#include "orchestrator/votes/lease_clock.h"
#include "vmconnect/base/log.h"

#include <string.h>

/* What stands still waits for the first answer, and for the one after that, which is the first that it asks to be granted. */
#define STOPPED_RENEW_MS 500

typedef struct {
    Id vm;
    Holder holder;
    Id voters[LEASE_VOTERS_MAX];
    LeaseTimes times;
    gboolean stopped;
    gboolean wants_armed;
    gboolean keeps; /* the arm that it wants is being made durable: until then the old one is told */
    LeaseMoment due;
} Held;

struct Leases {
    Voters *voters;
    LeasesEvents events;
    void *user;
    GHashTable *by_vm; /* Id * -> Held * */
    uv_timer_t timer;
    guint32 processes; /* the upper half of nonces: another for each holder, and for each process */
    guint refs;        /* the owner's, and one for each arm that is being kept */
    gboolean closed;
};

static void unref(Leases *l)
{
    if (--l->refs > 0)
        return;
    g_hash_table_unref(l->by_vm);
    g_free(l);
}

static LeaseUntil until_of(const Held *held)
{
    const Holder *h = &held->holder;
    LeaseMoment now = lease_clock_now();
    gint64 left_ms = holder_left_ms(h, now);

    return (LeaseUntil){.may_start = holder_may_start(h, now),
                        .may_arm = holder_may_arm(h, now),
                        .is_over = h->higher.number > 0 || h->rival,
                        .enforced = h->enforces,
                        .until = lease_moment_after(now, MAX(left_ms, 0))};
}

static void tell(Leases *l, const Held *held)
{
    const LeaseUntil until = until_of(held);

    if (!l->closed)
        l->events.on_until(l->user, held->vm, &until);
}

/* --- asking ------------------------------------------------------------------ */

static gboolean is_due(const Held *held, LeaseMoment now)
{
    return lease_left_ms(held->due, now) <= 0;
}

static GArray *list_for(GHashTable *lists, Id voter)
{
    GArray *list = g_hash_table_lookup(lists, &voter);

    if (!list) {
        list = g_array_new(FALSE, FALSE, sizeof(Renewal));
        g_hash_table_insert(lists, g_memdup2(&voter, sizeof(voter)), list);
    }
    return list;
}

static void free_list(gpointer list)
{
    g_array_unref(list);
}

static void ask_for(Held *held, GHashTable *lists, LeaseMoment now)
{
    for (guint i = 0; i < held->holder.quorum.voters; i++) {
        const Renewal r = {held->vm, holder_ask(&held->holder, i, held->stopped, &held->times, now)};

        g_array_append_val(list_for(lists, held->voters[i]), r);
    }
    held->due = lease_moment_after(now, held->stopped ? MIN(held->times.renew_ms, STOPPED_RENEW_MS)
                                                      : held->times.renew_ms);
}

static void keep_arm(Leases *l, Held *held);

/* With one all that are due within half of their time: so those of one voter come together, and stay so. */
static void ask_all(Leases *l)
{
    g_autoptr(GHashTable) lists = g_hash_table_new_full(id_hash, id_equal_func, g_free, free_list);
    g_autoptr(GArray) asked = g_array_new(FALSE, FALSE, sizeof(Id));
    LeaseMoment now = lease_clock_now();
    GHashTableIter iter;
    gpointer key, value;

    g_hash_table_iter_init(&iter, l->by_vm);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        Held *held = value;

        if (!is_due(held, lease_moment_after(now, held->times.renew_ms / 2)))
            continue;
        ask_for(held, lists, now);
        g_array_append_val(asked, held->vm);
    }
    g_hash_table_iter_init(&iter, lists);
    while (g_hash_table_iter_next(&iter, &key, &value))
        l->events.on_ask(l->user, *(Id *)key, value);
    for (guint i = 0; i < asked->len; i++)
        keep_arm(l, g_hash_table_lookup(l->by_vm, &g_array_index(asked, Id, i)));
}

static void wait_for_next(Leases *l);

static void on_timer(uv_timer_t *timer)
{
    Leases *l = timer->data;

    ask_all(l);
    wait_for_next(l);
}

static void wait_for_next(Leases *l)
{
    LeaseMoment now = lease_clock_now();
    gint64 next_ms = G_MAXINT64;
    GHashTableIter iter;
    gpointer value;

    if (l->closed)
        return;
    g_hash_table_iter_init(&iter, l->by_vm);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        gint64 left_ms = lease_left_ms(((const Held *)value)->due, now);

        next_ms = MIN(next_ms, left_ms);
    }
    if (next_ms == G_MAXINT64)
        uv_timer_stop(&l->timer);
    else
        uv_timer_start(&l->timer, on_timer, (guint64)MAX(next_ms, 0), 0);
}

static void ask_soon(Leases *l, Held *held)
{
    held->due = lease_clock_now();
    wait_for_next(l);
}

/* --- holding ----------------------------------------------------------------- */

Leases *leases_new(uv_loop_t *loop, Voters *voters, const LeasesEvents *events, void *user)
{
    Leases *l = g_new0(Leases, 1);

    l->voters = voters;
    l->events = *events;
    l->user = user;
    l->by_vm = g_hash_table_new_full(id_hash, id_equal_func, g_free, g_free);
    l->processes = g_random_int();
    l->refs = 1;
    uv_timer_init(loop, &l->timer);
    l->timer.data = l;
    return l;
}

static void on_timer_closed(uv_handle_t *timer)
{
    unref(timer->data);
}

void leases_close(Leases *l)
{
    if (!l || l->closed)
        return;
    l->closed = TRUE;
    g_hash_table_remove_all(l->by_vm);
    uv_close((uv_handle_t *)&l->timer, on_timer_closed);
}

static gboolean is_same(const Held *held, Reign reign, const Id *voters, guint voter_count)
{
    return reign_equal(held->holder.reign, reign) && held->holder.quorum.voters == voter_count &&
           memcmp(held->voters, voters, voter_count * sizeof(Id)) == 0;
}

void leases_hold(Leases *l, Id vm, Reign reign, const Id *voters, guint voter_count, const LeaseTimes *times,
                 gboolean enforced)
{
    Held *held = g_hash_table_lookup(l->by_vm, &vm);

    if (held && is_same(held, reign, voters, voter_count)) {
        held->times = *times;
        return;
    }
    /* What others were told of it holds for its new voters, too. */
    if (held && reign_equal(held->holder.reign, reign))
        enforced |= held->holder.enforces;
    held = g_new0(Held, 1);
    held->vm = vm;
    held->times = *times;
    memcpy(held->voters, voters, voter_count * sizeof(Id));
    /* 0 is no process. */
    l->processes += l->processes == G_MAXUINT32 ? 2 : 1;
    holder_start(&held->holder, reign, voters_own_arm(l->voters, vm, reign), enforced,
                 lease_quorum(voter_count), l->processes);
    held->wants_armed = lease_is_armed(held->holder.arm);
    g_hash_table_insert(l->by_vm, g_memdup2(&vm, sizeof(vm)), held);
    ask_soon(l, held);
}

static void on_nothing(void *user, const GError *error)
{
    (void)user;
    if (error)
        log_warning("that a VM is not armed any more cannot be kept: %s -> should it be held here again, it "
                    "needs a lease at "
                    "once",
                    error->message);
}

/* Nobody renews it any more, so it must not begin armed should it be held again: its guest would be stopped until it has a lease. */
static void end_arm(Leases *l, const Held *held)
{
    const Holder *h = &held->holder;

    if (lease_is_armed(h->arm) || held->keeps)
        voters_keep_arm(l->voters, held->vm, h->reign, h->arm + (lease_is_armed(h->arm) ? 1 : 2), on_nothing,
                        NULL);
}

void leases_let_go(Leases *l, Id vm)
{
    const Held *held = g_hash_table_lookup(l->by_vm, &vm);

    if (held)
        end_arm(l, held);
    g_hash_table_remove(l->by_vm, &vm);
    wait_for_next(l);
}

void leases_stopped(Leases *l, Id vm, gboolean stopped)
{
    Held *held = g_hash_table_lookup(l->by_vm, &vm);

    if (!held || held->stopped == stopped)
        return;
    held->stopped = stopped;
    ask_soon(l, held);
}

/* --- arming ------------------------------------------------------------------ */

typedef struct {
    Leases *leases;
    Id vm;
    guint32 process; /* it may be another holder's by then */
    guint64 arm;
} Arming;

static guint32 process_of_holder(const Holder *h)
{
    return (guint32)(h->nonce >> 32);
}

/* Durable first, then enforced, then told. What could not be written is tried again with the next renewal. */
static void on_arm_kept(void *user, const GError *error)
{
    g_autofree Arming *a = user;
    Leases *l = a->leases;
    Held *held = g_hash_table_lookup(l->by_vm, &a->vm);

    if (held && process_of_holder(&held->holder) == a->process) {
        held->keeps = FALSE;
        if (!error && held->holder.arm + 1 == a->arm) {
            (void)(lease_is_armed(held->holder.arm) ? holder_disarm(&held->holder)
                                                    : holder_arm(&held->holder));
            ask_soon(l, held);
            tell(l, held); /* who hears it may let it go */
        }
    }
    unref(l);
}

static gboolean may_change_arm(const Held *held)
{
    return lease_is_armed(held->holder.arm) || holder_may_arm(&held->holder, lease_clock_now());
}

/* NULL: it was let go. */
static void keep_arm(Leases *l, Held *held)
{
    Arming *a;

    if (!held || held->keeps || held->wants_armed == lease_is_armed(held->holder.arm) ||
        !may_change_arm(held))
        return;
    held->keeps = TRUE;
    l->refs++;
    a = g_new0(Arming, 1);
    *a = (Arming){l, held->vm, process_of_holder(&held->holder), held->holder.arm + 1};
    voters_keep_arm(l->voters, held->vm, held->holder.reign, a->arm, on_arm_kept, a);
}

void leases_arm(Leases *l, Id vm, gboolean armed)
{
    Held *held = g_hash_table_lookup(l->by_vm, &vm);

    if (held)
        held->wants_armed = armed;
    keep_arm(l, held);
}

static void on_remembered(void *user, const GError *error)
{
    (void)user;
    if (error)
        log_warning("what a voter says of a VM's arm cannot be kept: %s -> it is asked again",
                    error->message);
}

/* What was forgotten here, and is told by a voter, is kept anew. */
static void hear(Leases *l, Held *held, guint voter, const LeaseAnswer *answer)
{
    guint64 before = held->holder.arm;

    holder_hear(&held->holder, voter, answer);
    if (held->holder.arm != before)
        voters_keep_arm(l->voters, held->vm, held->holder.reign, held->holder.arm, on_remembered, NULL);
}

void leases_hear(Leases *l, Id voter, const GArray *answers)
{
    for (guint i = 0; i < answers->len; i++) {
        const RenewalAnswer *r = &g_array_index(answers, RenewalAnswer, i);
        Held *held = g_hash_table_lookup(l->by_vm, &r->vm);

        for (guint k = 0; held && k < held->holder.quorum.voters; k++)
            if (id_equal(held->voters[k], voter)) {
                hear(l, held, k, &r->answer);
                tell(l, held);
                break;
            }
    }
}

gboolean leases_until(const Leases *l, Id vm, LeaseUntil *ret_until)
{
    const Held *held = g_hash_table_lookup(l->by_vm, &vm);

    if (held)
        *ret_until = until_of(held);
    return held != NULL;
}

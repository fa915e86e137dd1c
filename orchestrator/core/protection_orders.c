/* SPDX-License-Identifier: Apache-2.0 */
/* Orders to engines: one call at a time per VM, every one of them repeatable.
 * What an engine was told counts only while its link lasts; then it is told again. */
#include "orchestrator/core/protection_parts.h"

#include "netmap/mapping_json.h"
#include "vmconnect/base/error.h"

#define CALL_LIMIT_MS 30000
/* Removing the checkpoints of a busy guest waits for its jobs. */
#define STOP_LIMIT_MS 120000
#define RETRY_LINK_MS 5000
#define RETRY_REFUSED_MS 30000

static json_t *vm_only(const ProtectionVm *vm)
{
    return json_pack("{s:s}", "vm", ID_TEXT(vm->uuid));
}

static json_t *host_or_null(const Protection *p, const char *name, json_t *(*describe)(const RosterHost *))
{
    const RosterHost *host = roster_find(p->roster, name);

    return host ? describe(host) : json_null();
}

json_t *protection_networks_of(const Protection *p, const ProtectionVm *vm)
{
    g_autoptr(Mapping) there = NULL;
    g_autoptr(Mapping) back = NULL;

    if (protection_vm_is_home(p, vm))
        return json_incref(p->networks);
    there = mapping_from_json(p->networks, NULL);
    back = there ? mapping_turn(there) : mapping_new();
    return mapping_to_json(back);
}

/* NULL: none. It is a folder of the replica's host, and nothing that engines of before know. */
static const char *seed_of(const Protection *p, const ProtectionVm *vm)
{
    const char *seed = p->scenario->policy.seed;

    return *seed && protection_vm_is_home(p, vm) ? seed : NULL;
}

static json_t *admit_params(const Protection *p, const ProtectionVm *vm)
{
    return json_pack("{s:s, s:o, s:s, s:s, s:o, s:o, s:o, s:s*}", "scenario", p->scenario->name, "reign",
                     reign_to_json(vm->reign), "vm", ID_TEXT(vm->uuid), "name", vm->name, "active",
                     host_or_null(p, vm->active, roster_host_brief), "networks",
                     protection_networks_of(p, vm), "retain", policy_for_standby(&p->scenario->policy),
                     "seed", seed_of(p, vm));
}

gboolean protection_vouches(const Protection *p, const ProtectionVm *vm)
{
    const char *keeper = protection_keeper(vm);

    return keeper && !vm->rival && g_hash_table_contains(p->met, keeper);
}

static json_t *protect_params(const Protection *p, const ProtectionVm *vm, const char *standby)
{
    return json_pack("{s:s, s:o, s:s, s:o, s:o, s:o*, s:b}", "scenario", p->scenario->name, "reign",
                     reign_to_json(vm->reign), "vm", ID_TEXT(vm->uuid), "standby",
                     host_or_null(p, standby, roster_host_full), "policy",
                     policy_for_active(&p->scenario->policy), "lease", protection_lease_of(p, vm), "vouched",
                     protection_vouches(p, vm));
}

static gboolean ask(Protection *p, ProtectionVm *vm, const char *host, const char *method, gint64 limit_ms,
                    json_t *steal_params, ActionList *out)
{
    if (!protection_is_up(p, host)) {
        json_decref(steal_params);
        return FALSE;
    }
    vm->asked = method;
    g_free(vm->asked_host);
    vm->asked_host = g_strdup(host);
    action_call(out, host, method, vm->uuid, limit_ms, steal_params);
    ((Action *)out->pdata[out->len - 1])->order = ++vm->order;
    return TRUE;
}

/* After a stop, and after a plan whose old active was gone at its end; in this order. */
static const struct {
    ProtectionOwed owed;
    gboolean by_active; /* … else the keeper's part */
    const char *method;
    gint64 limit_ms;
} OWED[] = {
    {OWES_UNLOCK, FALSE, "plan.unlock", CALL_LIMIT_MS},
    {OWES_YIELD, FALSE, "active.yield", STOP_LIMIT_MS},
    {OWES_STOP, TRUE, "active.stop", STOP_LIMIT_MS},
    {OWES_LEAVE, TRUE, "standby.dismiss", CALL_LIMIT_MS},
    {OWES_DISMISS, FALSE, "standby.dismiss", CALL_LIMIT_MS},
};

static const char *owed_host(const ProtectionVm *vm, guint i)
{
    return OWED[i].by_active ? vm->active : protection_keeper(vm);
}

static json_t *owed_params(const ProtectionVm *vm, ProtectionOwed owed)
{
    switch (owed) {
    case OWES_UNLOCK:
        return json_pack("{s:s, s:s}", "plan", ID_TEXT(vm->owed_plan), "vm", ID_TEXT(vm->uuid));
    case OWES_YIELD:
        return json_pack("{s:s, s:o}", "vm", ID_TEXT(vm->uuid), "reign", reign_to_json(vm->reign));
    case OWES_STOP:
        return vm_only(vm);
    case OWES_LEAVE:
    case OWES_DISMISS:
        break;
    }
    return json_pack("{s:s, s:b}", "vm", ID_TEXT(vm->uuid), "purge", 0);
}

/* With an end a host that was the active gets its autostart back: not before it was heard, and the one that keeps the
 * copy, if it is there: it may have been promoted by hand, and then another is owed the end. */
static gboolean can_be_paid(const Protection *p, const ProtectionVm *vm, guint i)
{
    const char *keeper = protection_keeper(vm);

    return (OWED[i].owed & (OWES_UNLOCK | OWES_YIELD)) ||
           (protection_has_heard(p, owed_host(vm, i)) &&
            (!protection_is_up(p, keeper) || protection_has_heard(p, keeper)));
}

static gboolean order_owed(Protection *p, ProtectionVm *vm, ActionList *out)
{
    for (guint i = 0; i < G_N_ELEMENTS(OWED); i++)
        if ((vm->owes & ~vm->failed & OWED[i].owed) && can_be_paid(p, vm, i) &&
            ask(p, vm, owed_host(vm, i), OWED[i].method, OWED[i].limit_ms, owed_params(vm, OWED[i].owed),
                out))
            return TRUE;
    return FALSE;
}

void protection_each_owed(const Protection *p, ProtectionOwedFunc each, void *user)
{
    EACH_VM (p, vm)
        for (guint i = 0; i < G_N_ELEMENTS(OWED); i++)
            if (vm->owes & OWED[i].owed)
                each(user, owed_host(vm, i), OWED[i].method, owed_params(vm, OWED[i].owed));
}

static gboolean held_by_engine(const ProtectionVm *vm)
{
    const NewsCopy *last = vm->last ? news_find(vm->last, protection_keeper(vm)) : NULL;

    return last && last->state == COPY_PAUSED;
}

/* The standby first: the active dials it as soon as it is told. */
static void order_protect(Protection *p, ProtectionVm *vm, ActionList *out)
{
    for (guint i = 0; i < vm->copies->len; i++) {
        const ProtectionCopy *c = vm->copies->pdata[i];

        if (c->admitted)
            continue;
        if (ask(p, vm, c->host, "standby.admit", CALL_LIMIT_MS, admit_params(p, vm), out))
            return;
    }
    if (vm->told != TOLD_PROTECT)
        ask(p, vm, vm->active, "active.protect", CALL_LIMIT_MS, protect_params(p, vm, protection_keeper(vm)),
            out);
    else if (held_by_engine(vm))
        ask(p, vm, vm->active, "active.continue", CALL_LIMIT_MS, vm_only(vm), out);
}

gboolean protection_must_wait(const Protection *p, gint64 now_ms)
{
    return now_ms < p->wait_until_ms && !protection_has_heard_all(p);
}

void protection_order(Protection *p, ProtectionVm *vm, gint64 now_ms, ActionList *out)
{
    if (now_ms >= vm->retry_at_ms)
        vm->failed = 0;
    /* What failed waits, and with it all but the rest of what is owed. */
    if (vm->asked || (now_ms < vm->retry_at_ms && !vm->failed) || !id_is_nil(p->plan) || p->purging)
        return;
    /* An end can be ordered in any case: it starts nothing. */
    if (p->goal != GOAL_STOPPED && !protection_is_sure(p, NULL))
        return;
    if (order_owed(p, vm, out) || vm->failed || !protection_vm_is_covered(p, vm) ||
        protection_must_wait(p, now_ms))
        return;
    if (p->goal == GOAL_RUNNING)
        order_protect(p, vm, out);
    else if (p->goal == GOAL_PAUSED && vm->told != TOLD_PAUSE)
        ask(p, vm, vm->active, "active.pause", CALL_LIMIT_MS, vm_only(vm), out);
    /* No order is left that was refused. */
    if (!vm->asked)
        g_ptr_array_set_size(vm->troubles, 0);
}

/* --- what was refused ---------------------------------------------------- */

void protection_trouble_free(gpointer trouble)
{
    ProtectionTrouble *t = trouble;

    g_free(t->method);
    g_free(t->host);
    g_free(t->why);
    g_free(t);
}

/* NULL: the order was not refused. */
static ProtectionTrouble *find_trouble(const ProtectionVm *vm, const char *host, const char *method)
{
    for (guint i = 0; i < vm->troubles->len; i++) {
        ProtectionTrouble *t = vm->troubles->pdata[i];

        if (g_str_equal(t->host, host) && g_str_equal(t->method, method))
            return t;
    }
    return NULL;
}

const char *protection_trouble(const ProtectionVm *vm)
{
    return vm->troubles->len ? ((const ProtectionTrouble *)vm->troubles->pdata[0])->why : NULL;
}

/* Why it has not been paid; NULL: it is being paid, as far as is known. */
static const char *why_owed(const Protection *p, const ProtectionVm *vm, guint i)
{
    const ProtectionTrouble *t = find_trouble(vm, owed_host(vm, i), OWED[i].method);

    if (t)
        return t->why;
    return protection_is_up(p, owed_host(vm, i)) ? NULL : "it does not answer";
}

json_t *protection_owed(const Protection *p, const ProtectionVm *vm)
{
    json_t *list = json_array();

    for (guint i = 0; i < G_N_ELEMENTS(OWED); i++)
        if (vm->owes & OWED[i].owed)
            json_array_append_new(
                list, json_pack("{s:s, s:s?}", "host", owed_host(vm, i), "why", why_owed(p, vm, i)));
    return list;
}

char *protection_owed_text(const Protection *p, const ProtectionVm *vm)
{
    const char *host = NULL, *why = NULL;

    for (guint i = 0; i < G_N_ELEMENTS(OWED) && !why; i++) {
        if (!(vm->owes & OWED[i].owed))
            continue;
        why = why_owed(p, vm, i);
        host = why || !host ? owed_host(vm, i) : host;
    }
    if (!host)
        return NULL;
    if (!why)
        return g_strdup_printf("%s has not confirmed yet that replication has ended", host);
    if (!protection_is_up(p, host))
        return g_strdup_printf("%s does not answer: it is told to end replication when it is back", host);
    return g_strdup_printf("%s has not ended replication (%s): it is told again and again", host, why);
}

static void pay(ProtectionVm *vm, guint owed, ActionList *out)
{
    vm->owes &= ~owed;
    action_persist(out, NULL);
}

static gboolean says_paused(const ProtectionVm *vm)
{
    const NewsCopy *first = vm->last && vm->last->copies->len > 0 ? vm->last->copies->pdata[0] : NULL;

    return first && first->state == COPY_PAUSED;
}

void protection_yielded(const Protection *p, const ProtectionVm *vm, const char *host, const char *guest,
                        ActionList *out)
{
    protection_publish(p, g_strcmp0(guest, "paused") == 0 ? EVENT_DIVERGED : EVENT_OLD_ACTIVE_BACK, host,
                       vm->name, NULL, out);
}

static void done(const Protection *p, ProtectionVm *vm, const Input *in, ActionList *out)
{
    const char *host = in->host, *method = in->method;
    ProtectionCopy *c = protection_copy_on(vm, host);

    if (g_str_equal(method, "standby.admit") && c)
        c->admitted = TRUE;
    else if (g_str_equal(method, "active.protect"))
        vm->told = TOLD_PROTECT;
    else if (g_str_equal(method, "active.pause"))
        vm->told = TOLD_PAUSE;
    else if (g_str_equal(method, "active.stop"))
        pay(vm, OWES_STOP, out);
    else if (g_str_equal(method, "standby.dismiss"))
        pay(vm, g_str_equal(host, vm->active) ? OWES_LEAVE : OWES_DISMISS, out);
    else if (g_str_equal(method, "plan.unlock"))
        pay(vm, OWES_UNLOCK, out);
    else if (g_str_equal(method, "active.yield")) {
        pay(vm, OWES_YIELD, out);
        if (!in->failure) /* else it had no part in it any more */
            protection_yielded(p, vm, host, json_string_value(json_object_get(in->json, "guest")), out);
    } else if (g_str_equal(method, "active.continue") && says_paused(vm))
        g_clear_pointer(&vm->last, news_free); /* no longer true, the next word counts */
    g_ptr_array_remove(vm->troubles, find_trouble(vm, host, method));
}

/* Nothing to end is as good as ended. */
static gboolean is_as_good_as_done(const char *method, const GError *failure)
{
    return g_error_matches(failure, US_ERROR, US_ERROR_NOT_FOUND) && !g_str_equal(method, "standby.admit") &&
           !g_str_equal(method, "active.protect");
}

static gboolean is_silence(const GError *failure)
{
    return g_error_matches(failure, US_ERROR, US_ERROR_UNREACHABLE) ||
           g_error_matches(failure, US_ERROR, US_ERROR_TIMEOUT) ||
           g_error_matches(failure, US_ERROR, US_ERROR_CANCELLED);
}

static void refused(const Protection *p, ProtectionVm *vm, const Input *in, ActionList *out)
{
    ProtectionTrouble *t = find_trouble(vm, in->host, in->method);

    if (t && g_str_equal(t->why, in->failure->message))
        return;
    g_ptr_array_remove(vm->troubles, t);
    t = g_new0(ProtectionTrouble, 1);
    *t = (ProtectionTrouble){g_strdup(in->method), g_strdup(in->host), g_strdup(in->failure->message)};
    g_ptr_array_add(vm->troubles, t);
    action_publish(out, event_new(EVENT_ENGINE_REFUSED, p->scenario->name, in->host, vm->name, t->why));
}

/* Which of those that are owed it was; 0: none. */
static guint owed_of(const ProtectionVm *vm, const Input *in)
{
    for (guint i = 0; i < G_N_ELEMENTS(OWED); i++)
        if ((vm->owes & OWED[i].owed) && g_str_equal(OWED[i].method, in->method) &&
            g_str_equal(owed_host(vm, i), in->host))
            return OWED[i].owed;
    return 0;
}

static void failed(const Protection *p, ProtectionVm *vm, const Input *in, ActionList *out)
{
    gboolean silent = is_silence(in->failure);

    vm->retry_at_ms = in->now_ms + (silent ? RETRY_LINK_MS : RETRY_REFUSED_MS);
    vm->failed |= owed_of(vm, in);
    if (!silent)
        refused(p, vm, in, out);
}

void protection_answered(Protection *p, ProtectionVm *vm, const Input *in, ActionList *out)
{
    /* An answer after its link was lost, or after a newer order, belongs to one that no longer counts. */
    if (in->order && in->order != vm->order)
        return;
    if (g_strcmp0(vm->asked, in->method) != 0 || g_strcmp0(vm->asked_host, in->host) != 0)
        return;
    vm->asked = NULL;
    if (!in->failure || is_as_good_as_done(in->method, in->failure))
        done(p, vm, in, out);
    else
        failed(p, vm, in, out);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* One handler an input. A handler checks first and changes after, so that a
 * refused input leaves no trace; then states are settled and orders given. */
#include "orchestrator/core/hold.h"
#include "orchestrator/core/protection_parts.h"
#include "vmconnect/base/error.h"

/* From the start of the controller: links need a moment, and a host may be gone. */
#define FIRST_WAIT_MS 30000

static gboolean refuse(GError **error, UsError code, const char *text, const char *name)
{
    g_set_error(error, US_ERROR, code, text, name);
    return FALSE;
}

void protection_publish(const Protection *p, EventCode code, const char *host, const char *vm,
                        const char *why, ActionList *out)
{
    action_publish(out, event_new(code, p->scenario->name, host, vm, why));
}

gboolean protection_no_plan(const Protection *p, GError **error)
{
    return id_is_nil(p->plan) ||
           refuse(error, US_ERROR_REFUSED,
                  "a plan moves the VMs of scenario '%s': nothing else may change them; wait for "
                  "its end, see 'understudy plan list'",
                  p->scenario->name);
}

/* Some VM runs elsewhere than at home, and nothing replicates it from there. */
static gboolean is_bare(const Protection *p)
{
    EACH_VM (p, vm)
        if (!protection_vm_is_covered(p, vm))
            return TRUE;
    return FALSE;
}

/* What was decided about each VM counts no more: it is ordered anew. */
static void begin_anew(Protection *p)
{
    p->goal = GOAL_RUNNING;
    protection_home_anew(p);
    EACH_VM (p, vm) {
        /* What was armed when it was stopped is not, and those that vote may not have heard so. */
        vm->lease = LEASE_FREE;
        vm->told = TOLD_NOTHING;
        vm->retry_at_ms = 0;
        vm->part = PART_NONE;
        g_clear_pointer(&vm->last, news_free);
        g_ptr_array_set_size(vm->troubles, 0);
        g_clear_pointer(&vm->stayed, g_free);
        for (guint i = 0; i < vm->copies->len; i++)
            ((ProtectionCopy *)vm->copies->pdata[i])->admitted = FALSE;
    }
}

/* From where they are, to where they came from. The verification is of the way from the master, which
 * they are not on; the engines themselves refuse what they cannot do. */
static void run_back(Protection *p, ActionList *out)
{
    begin_anew(p);
    EACH_VM (p, vm)
        vm->reverse = !protection_vm_is_home(p, vm);
    action_persist(out, NULL);
    protection_publish(p, EVENT_SCENARIO_STARTED, NULL, NULL, NULL, out);
}

/* What a plan left owed to a host that is away is paid when it is back, before it keeps a copy. */
static gboolean owes_an_end(const Protection *p)
{
    EACH_VM (p, vm)
        if (vm->owes & ~(guint)(OWES_UNLOCK | OWES_YIELD))
            return TRUE;
    return FALSE;
}

static gboolean on_run(Protection *p, const Input *in, ActionList *out, GError **error)
{
    (void)in;
    if (!protection_no_plan(p, error))
        return FALSE;
    if (p->verifying || (p->goal == GOAL_RUNNING && !is_bare(p)))
        return refuse(error, US_ERROR_EXISTS, "scenario '%s' runs already", p->scenario->name);
    if (p->goal == GOAL_PAUSED)
        return refuse(error, US_ERROR_REFUSED, "scenario '%s' is paused: use 'understudy continue'",
                      p->scenario->name);
    if (owes_an_end(p))
        return refuse(
            error, US_ERROR_REFUSED,
            "an engine of scenario '%s' has not confirmed its last stop: run it again when 'understudy "
            "status' shows no reason any more",
            p->scenario->name);
    if (protection_away(p)) {
        run_back(p, out);
        return TRUE;
    }
    p->verifying = TRUE;
    action_verify(out);
    return TRUE;
}

static gboolean on_verified(Protection *p, const Input *in, ActionList *out, GError **error)
{
    (void)error;
    if (!p->verifying)
        return TRUE; /* stopped meanwhile */
    p->verifying = FALSE;
    if (in->failure) {
        protection_publish(p, EVENT_VERIFY_FAILED, NULL, NULL, in->failure->message, out);
        return TRUE;
    }
    json_decref(p->networks);
    p->networks = in->networks ? json_deep_copy(in->networks) : json_object();
    g_clear_pointer(&p->unfit, g_free);
    p->rests_on_fence = in->rests_on_fence;
    begin_anew(p);
    action_persist(out, NULL);
    protection_publish(p, EVENT_SCENARIO_STARTED, NULL, NULL, NULL, out);
    return TRUE;
}

static gboolean on_stop(Protection *p, const Input *in, ActionList *out, GError **error)
{
    (void)in;
    if (!protection_no_plan(p, error))
        return FALSE;
    if (p->verifying) {
        p->verifying = FALSE;
        return TRUE;
    }
    if (p->goal == GOAL_STOPPED)
        return refuse(error, US_ERROR_EXISTS, "scenario '%s' is stopped already", p->scenario->name);
    p->goal = GOAL_STOPPED;
    EACH_VM (p, vm) {
        vm->owes |= OWES_STOP | (protection_vm_is_covered(p, vm) ? OWES_DISMISS : 0) |
                    (protection_vm_is_home(p, vm) ? 0 : OWES_LEAVE);
        vm->retry_at_ms = 0;
        vm->part = PART_NONE;
        vm->asked = NULL; /* an order under way is overtaken by the stop */
        g_clear_pointer(&vm->last, news_free);
        g_ptr_array_set_size(vm->troubles, 0);
        g_clear_pointer(&vm->stayed, g_free);
    }
    action_persist(out, NULL);
    protection_publish(p, EVENT_SCENARIO_STOPPED, NULL, NULL, NULL, out);
    return TRUE;
}

static gboolean on_pause(Protection *p, const Input *in, ActionList *out, GError **error)
{
    (void)in;
    if (!protection_no_plan(p, error))
        return FALSE;
    if (p->goal == GOAL_PAUSED)
        return refuse(error, US_ERROR_EXISTS, "scenario '%s' is paused already", p->scenario->name);
    if (p->goal != GOAL_RUNNING)
        return refuse(error, US_ERROR_REFUSED, "scenario '%s' does not run: there is nothing to pause",
                      p->scenario->name);
    p->goal = GOAL_PAUSED;
    EACH_VM (p, vm)
        vm->retry_at_ms = 0;
    action_persist(out, NULL);
    protection_publish(p, EVENT_SCENARIO_PAUSED, NULL, NULL, NULL, out);
    return TRUE;
}

static gboolean on_continue(Protection *p, const Input *in, ActionList *out, GError **error)
{
    (void)in;
    if (!protection_no_plan(p, error))
        return FALSE;
    if (p->goal != GOAL_PAUSED)
        return refuse(error, US_ERROR_REFUSED, "scenario '%s' is not paused", p->scenario->name);
    p->goal = GOAL_RUNNING;
    EACH_VM (p, vm)
        vm->retry_at_ms = 0;
    action_persist(out, NULL);
    protection_publish(p, EVENT_SCENARIO_CONTINUED, NULL, NULL, NULL, out);
    return TRUE;
}

static gboolean on_hold(Protection *p, const Input *in, ActionList *out, GError **error)
{
    if (p->hold)
        return refuse(error, US_ERROR_EXISTS, "scenario '%s' is held already", p->scenario->name);
    p->hold = json_deep_copy(in->json);
    action_persist(out, NULL);
    protection_publish(p, EVENT_SCENARIO_HELD, NULL, NULL, hold_reason(p->hold), out);
    return TRUE;
}

static gboolean on_unhold(Protection *p, const Input *in, ActionList *out, GError **error)
{
    (void)in;
    if (!p->hold)
        return refuse(error, US_ERROR_EXISTS, "nobody holds scenario '%s'", p->scenario->name);
    json_decref(g_steal_pointer(&p->hold));
    action_persist(out, NULL);
    protection_publish(p, EVENT_SCENARIO_RELEASED, NULL, NULL, NULL, out);
    return TRUE;
}

static gboolean goes_home_as_before(const Policy *a, const Policy *b)
{
    return a->switchback == b->switchback && a->switchback_after_ms == b->switchback_after_ms;
}

static gboolean on_policy(Protection *p, const Input *in, ActionList *out, GError **error)
{
    (void)out;
    (void)error;
    if (!goes_home_as_before(&p->scenario->policy, &in->scenario->policy))
        protection_home_anew(p);
    p->scenario->policy = in->scenario->policy;
    scenario_set_map(p->scenario, in->scenario);
    scenario_set_rules(p->scenario, in->scenario);
    EACH_VM (p, vm) {
        vm->told = vm->told == TOLD_PROTECT ? TOLD_NOTHING : vm->told;
        vm->asked = NULL; /* what is under way says the old one */
        for (guint i = 0; i < vm->copies->len; i++)
            ((ProtectionCopy *)vm->copies->pdata[i])->admitted = FALSE;
    }
    return TRUE;
}

/* Durable before anything is admitted: whatever ends the purge, the roles do not stay. */
static gboolean on_purge(Protection *p, const Input *in, ActionList *out, GError **error)
{
    (void)in;
    if (p->goal != GOAL_STOPPED || p->verifying || !id_is_nil(p->plan) || protection_owes(p))
        return refuse(error, US_ERROR_REFUSED,
                      "scenario '%s' is not stopped: its copies are not deleted; stop it first",
                      p->scenario->name);
    p->purging = TRUE;
    EACH_VM (p, vm)
        vm->owes |= OWES_DISMISS;
    action_persist(out, NULL);
    return TRUE;
}

static gboolean on_keep(Protection *p, const Input *in, ActionList *out, GError **error)
{
    (void)in;
    (void)out;
    (void)error;
    p->purging = FALSE;
    return TRUE;
}

/* What was said to this host, or asked of it, no longer counts. */
static void forget_session(Protection *p, const char *host)
{
    EACH_VM (p, vm) {
        ProtectionCopy *c = protection_copy_on(vm, host);

        if (c)
            c->admitted = FALSE;
        if (g_str_equal(vm->active, host))
            vm->told = TOLD_NOTHING;
        if (vm->asked && g_str_equal(vm->asked_host, host))
            vm->asked = NULL;
        vm->retry_at_ms = 0;
    }
    g_hash_table_remove(p->heard, host);
}

/* Who replicates to it was told where it is. */
static gboolean on_has_moved(Protection *p, const Input *in, ActionList *out, GError **error)
{
    (void)out;
    (void)error;
    EACH_VM (p, vm)
        if (protection_copy_on(vm, in->host)) {
            vm->told = vm->told == TOLD_PROTECT ? TOLD_NOTHING : vm->told;
            vm->asked = NULL; /* what is under way says the old place */
        }
    return TRUE;
}

static gboolean on_link_back(Protection *p, const Input *in, ActionList *out, GError **error)
{
    (void)out;
    (void)error;
    forget_session(p, in->host);
    g_hash_table_add(p->up, g_strdup(in->host));
    return TRUE;
}

static gboolean on_link_lost(Protection *p, const Input *in, ActionList *out, GError **error)
{
    (void)out;
    (void)error;
    forget_session(p, in->host);
    g_hash_table_remove(p->up, in->host);
    return TRUE;
}

/* What happened on the active since its last word. One that has just started counts from nothing. */
static void tell_what_happened(const Protection *p, const ProtectionVm *vm, const News *word, ActionList *out)
{
    const News *last = vm->last;

    if (word->stuck && !(last && last->stuck))
        protection_publish(p, EVENT_JOB_STUCK, vm->active, vm->name, word->why ? word->why : "", out);
    if (last && word->rescues > last->rescues)
        protection_publish(p, EVENT_SCRATCH_LOW, vm->active, vm->name,
                           word->rescue_why ? word->rescue_why : "", out);
}

static gboolean is_known_to_have_ended(const ProtectionVm *vm, const NewsCopy *copy)
{
    const NewsCopy *before = vm->last ? news_find(vm->last, copy->host) : NULL;

    return before && before->compare.ended_at && id_equal(before->compare.id, copy->compare.id);
}

/* Of a copy that is good a controller that has just started need not speak once more. */
static void tell_compared(const Protection *p, const ProtectionVm *vm, const News *word, ActionList *out)
{
    for (guint i = 0; i < word->copies->len; i++) {
        const NewsCopy *copy = word->copies->pdata[i];
        const NewsCompare *now = &copy->compare;

        if (!now->ended_at || is_known_to_have_ended(vm, copy))
            continue;
        if (now->different_bytes > 0)
            protection_publish(p, EVENT_COPY_DIFFERS, copy->host, vm->name, NULL, out);
        else if (g_str_equal(now->state, "failed"))
            protection_publish(p, EVENT_COMPARE_FAILED, copy->host, vm->name, now->why ? now->why : "", out);
        else if (vm->last)
            protection_publish(p, EVENT_COPY_EQUAL, copy->host, vm->name, NULL, out);
    }
}

/* An engine that has just started knows of no sealed instant yet: what it said before still holds, and
 * grows older. Of a copy that is really gone it says that a new one is made. */
static void keep_what_was_known(const ProtectionVm *vm, News *word, gint64 now_ms)
{
    for (guint i = 0; i < word->copies->len; i++) {
        NewsCopy *copy = word->copies->pdata[i];
        const NewsCopy *before = vm->last ? news_find(vm->last, copy->host) : NULL;

        if (copy->state != COPY_UNPROTECTED || copy->lag_ms >= 0 || !before || before->lag_ms < 0)
            continue;
        copy->state = before->state;
        copy->lag_ms = protection_lag_ms(vm, copy->host, now_ms);
        news_copy_tip(copy, before);
    }
}

/* Of a higher reign than any that we gave: somebody else did, or our database is older than that, perhaps by a way
 * there and back. While a plan moves its VMs, that is the one. */
static void take_reign(Protection *p, ProtectionVm *vm, const char *host, Reign reign, EventCode code,
                       ActionList *out)
{
    if (reign.number <= vm->reign.number || !scenario_has_host(p->scenario, host) || !id_is_nil(p->plan))
        return;
    if (g_str_equal(vm->active, host))
        protection_rules_on(p, vm, reign, out);
    else
        protection_runs_there(p, vm, host, reign, code, out);
}

static gboolean rivals(const ProtectionVm *vm, Id uuid, Reign reign)
{
    return id_equal(vm->uuid, uuid) && vm->reign.number == reign.number && !reign_equal(vm->reign, reign);
}

/* @words: News *; @promotions: NewsPromotion; what its host says it is the active of. A reign that somebody else made with
 * the number of ours is nothing that can be judged here: who rules is for people to say, by a higher one. */
static void take_rivalry(const Protection *p, ProtectionVm *vm, const Input *in, const GPtrArray *words,
                         const GArray *promotions, ActionList *out)
{
    gboolean found = FALSE;

    for (guint i = 0; i < words->len; i++)
        found |= rivals(vm, ((const News *)words->pdata[i])->vm, ((const News *)words->pdata[i])->reign);
    for (guint i = 0; i < promotions->len; i++)
        found |= rivals(vm, g_array_index(promotions, NewsPromotion, i).vm,
                        g_array_index(promotions, NewsPromotion, i).reign);
    if (found && !vm->rival && scenario_has_host(p->scenario, in->host)) {
        vm->rival = g_strdup(in->host);
        protection_publish(p, EVENT_REIGN_CONFLICT, in->host, vm->name, NULL, out);
    } else if (!found && g_strcmp0(vm->rival, in->host) == 0 && news_is_complete(in->json)) {
        g_clear_pointer(&vm->rival, g_free);
    }
}

/* An active of an older reign than the VM is in, which it was never told that it is over: it may start its guest. */
static void take_remnant(Protection *p, ProtectionVm *vm, const char *host, Reign reign, ActionList *out)
{
    if (reign.number >= vm->reign.number || !g_str_equal(host, protection_keeper(vm)) ||
        !id_is_nil(p->plan) || (vm->owes & (OWES_UNLOCK | OWES_YIELD)))
        return;
    vm->owes |= OWES_YIELD;
    action_persist(out, NULL);
}

/* Only the active's own word counts, and only of the reign we know. */
static void take_word(Protection *p, const char *host, News *steal_word, gint64 now_ms, ActionList *out)
{
    g_autoptr(News) word = steal_word;
    ProtectionVm *vm = protection_find(p, word->vm);

    if (vm) {
        take_reign(p, vm, host, word->reign, EVENT_REIGN_LEARNT, out);
        take_remnant(p, vm, host, word->reign, out);
    }
    if (!vm || !g_str_equal(vm->active, host) || !reign_equal(vm->reign, word->reign))
        return;
    tell_what_happened(p, vm, word, out);
    tell_compared(p, vm, word, out);
    keep_what_was_known(vm, word, now_ms);
    news_free(vm->last);
    vm->last = g_steal_pointer(&word);
    vm->heard_at_ms = now_ms;
    if (vm->part == PART_DOWN)
        vm->part = PART_NONE;
}

gboolean protection_has_vm(const void *p, Id vm)
{
    return protection_find(p, vm) != NULL;
}

static gboolean on_news(Protection *p, const Input *in, ActionList *out, GError **error)
{
    g_autoptr(GPtrArray) list = news_list_from_json(in->json, protection_has_vm, p, error);
    g_autoptr(GArray) promotions = NULL;

    if (!list)
        return FALSE;
    protection_take_branches(p, in, out);
    promotions = news_promotions_from_json(in->json, protection_has_vm, p);
    for (guint i = 0; i < promotions->len; i++)
        take_reign(p, protection_find(p, g_array_index(promotions, NewsPromotion, i).vm), in->host,
                   g_array_index(promotions, NewsPromotion, i).reign, EVENT_PROMOTED_BY_HAND, out);
    EACH_VM (p, vm)
        take_rivalry(p, vm, in, list, promotions, out);
    for (guint i = 0; i < list->len; i++)
        take_word(p, in->host, g_steal_pointer((News **)&list->pdata[i]), in->now_ms, out);
    /* An engine that has just started does not know yet what its VMs' threads will find. */
    if (!news_is_complete(in->json) || !protection_is_up(p, in->host))
        return TRUE;
    g_hash_table_add(p->heard, g_strdup(in->host));
    g_hash_table_add(p->met, g_strdup(in->host));
    if (g_hash_table_remove(p->unheard, in->host) && g_hash_table_size(p->unheard) == 0)
        action_persist(out, NULL);
    return TRUE;
}

static gboolean on_answer(Protection *p, const Input *in, ActionList *out, GError **error)
{
    ProtectionVm *vm = protection_find(p, in->vm);

    (void)error;
    if (vm && g_str_equal(in->method, "guest.revive"))
        protection_on_revived(p, vm, in, out);
    else if (vm)
        protection_answered(p, vm, in, out);
    return TRUE;
}

static gboolean handle(Protection *p, const Input *in, ActionList *out, GError **error)
{
    switch (in->kind) {
    case INPUT_RUN:
        return on_run(p, in, out, error);
    case INPUT_STOP:
        return on_stop(p, in, out, error);
    case INPUT_PAUSE:
        return on_pause(p, in, out, error);
    case INPUT_CONTINUE:
        return on_continue(p, in, out, error);
    case INPUT_HOLD:
        return on_hold(p, in, out, error);
    case INPUT_UNHOLD:
        return on_unhold(p, in, out, error);
    case INPUT_VERIFIED:
        return on_verified(p, in, out, error);
    case INPUT_POLICY:
        return on_policy(p, in, out, error);
    case INPUT_PURGE:
        return on_purge(p, in, out, error);
    case INPUT_KEEP:
        return on_keep(p, in, out, error);
    case INPUT_LINK_BACK:
        return on_link_back(p, in, out, error);
    case INPUT_HAS_MOVED:
        return on_has_moved(p, in, out, error);
    case INPUT_LINK_LOST:
        return on_link_lost(p, in, out, error);
    case INPUT_NEWS:
        return on_news(p, in, out, error);
    case INPUT_ANSWER:
        return on_answer(p, in, out, error);
    case INPUT_PLAN_BEGUN:
        return protection_on_plan_begun(p, in, out, error);
    case INPUT_PLAN_ENDED:
        return protection_on_plan_ended(p, in, out, error);
    case INPUT_MOVING:
    case INPUT_YIELDED:
    case INPUT_MOVED:
    case INPUT_STAYED:
    case INPUT_BLOCKED:
    case INPUT_DOWN:
    case INPUT_GATE_MISSED:
        return protection_on_plan_vm(p, in, out, error);
    case INPUT_SWITCHBACK:
        return protection_on_switchback(p, in, out, error);
    case INPUT_TAKEOVER:
        return protection_on_takeover(p, in, out, error);
    case INPUT_LOOKED:
        return protection_on_looked(p, in, out, error);
    case INPUT_TICK:
        return TRUE;
    }
    g_assert_not_reached();
}

gboolean protection_step(Protection *p, const Input *in, ActionList *out, GError **error)
{
    gboolean required;

    if (!handle(p, in, out, error))
        return FALSE;
    p->wall_ms = in->wall_ms;
    if (p->wait_until_ms < 0)
        p->wait_until_ms = in->now_ms + FIRST_WAIT_MS;
    protection_settle(p, in->now_ms, out);
    required = p->countdown.over;
    protection_live(p, in->now_ms, out);
    /* Then only its operator can go on. */
    if (p->countdown.over != required)
        protection_settle(p, in->now_ms, out);
    protection_go_home(p, in->now_ms, out);
    protection_review_takeover(p);
    protection_review_arms(p);
    EACH_VM (p, vm)
        protection_order(p, vm, in->now_ms, out);
    return TRUE;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/core/protection.h"

#include "orchestrator/core/hold.h"
#include "orchestrator/core/maintenance.h"
#include "orchestrator/core/protection_parts.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"

#define PROTECTION_FORMAT 1

static const char *const GOALS[] = {
    [GOAL_STOPPED] = "stopped",
    [GOAL_RUNNING] = "running",
    [GOAL_PAUSED] = "paused",
};

static void copy_free(gpointer data)
{
    ProtectionCopy *c = data;

    g_free(c->host);
    g_free(c->why);
    g_free(c);
}

static void vm_free(gpointer data)
{
    ProtectionVm *vm = data;

    g_free(vm->name);
    g_free(vm->active);
    g_ptr_array_free(vm->copies, TRUE);
    g_ptr_array_free(vm->branches, TRUE);
    news_free(vm->last);
    g_free(vm->asked_host);
    g_ptr_array_free(vm->troubles, TRUE);
    g_free(vm->rival);
    g_free(vm->stayed);
    g_free(vm->life.why);
    g_free(vm);
}

static void add_copy(ProtectionVm *vm, const char *host, CopyState state)
{
    ProtectionCopy *c;

    if (g_str_equal(host, vm->active))
        return;
    c = g_new0(ProtectionCopy, 1);
    c->host = g_strdup(host);
    c->state = state;
    g_ptr_array_add(vm->copies, c);
}

void protection_set_active(Protection *p, ProtectionVm *vm, const char *host, CopyState state)
{
    char *active = g_strdup(host); /* @host may be the old one */

    g_free(vm->active);
    vm->active = active;
    vm->lease = LEASE_NONE;
    vm->arm = FALSE;
    g_ptr_array_set_size(vm->copies, 0);
    add_copy(vm, p->scenario->master, state);
    for (guint i = 0; i < p->scenario->replicas->len; i++)
        add_copy(vm, p->scenario->replicas->pdata[i], state);
}

static void add_vm(Protection *p, const ScenarioVm *known, Id reign_id)
{
    ProtectionVm *vm = g_new0(ProtectionVm, 1);

    vm->uuid = known->uuid;
    vm->name = g_strdup(known->name);
    vm->reign = (Reign){1, reign_id};
    vm->copies = g_ptr_array_new_with_free_func(copy_free);
    vm->branches = g_ptr_array_new_with_free_func(protection_branches_free);
    vm->troubles = g_ptr_array_new_with_free_func(protection_trouble_free);
    protection_set_active(p, vm, p->scenario->master, COPY_STOPPED);
    g_ptr_array_add(p->vms, vm);
}

Protection *protection_new(const Scenario *scenario, const Roster *roster, Id reign_id)
{
    Protection *p = g_new0(Protection, 1);

    p->scenario = scenario_copy(scenario);
    p->roster = roster;
    p->networks = json_object();
    p->vms = g_ptr_array_new_with_free_func(vm_free);
    p->hangs = g_ptr_array_new_with_free_func(protection_hang_free);
    p->up = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    p->unheard = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    p->heard = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    p->met = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    for (guint i = 0; i < scenario->vms->len; i++)
        add_vm(p, scenario->vms->pdata[i], reign_id);
    return p;
}

void protection_free(Protection *p)
{
    if (!p)
        return;
    scenario_free(p->scenario);
    json_decref(p->hold);
    json_decref(p->networks);
    g_ptr_array_free(p->vms, TRUE);
    g_ptr_array_free(p->hangs, TRUE);
    g_free(p->unfit);
    g_hash_table_destroy(p->up);
    g_hash_table_destroy(p->unheard);
    g_hash_table_destroy(p->heard);
    g_hash_table_destroy(p->met);
    g_free(p->home.why);
    g_free(p);
}

static json_t *copies_to_json(const ProtectionVm *vm)
{
    json_t *list = json_array();

    for (guint i = 0; i < vm->copies->len; i++) {
        const ProtectionCopy *c = vm->copies->pdata[i];

        json_array_append_new(list, json_pack("{s:s, s:b}", "host", c->host, "complete", c->complete));
    }
    return list;
}

json_t *protection_unheard(const Protection *p)
{
    g_autoptr(GList) hosts = g_list_sort(g_hash_table_get_keys(p->unheard), (GCompareFunc)g_strcmp0);
    json_t *list = json_array();

    for (const GList *host = hosts; host; host = host->next)
        json_array_append_new(list, json_string(host->data));
    return list;
}

json_t *protection_to_json(const Protection *p)
{
    json_t *vms = json_array();
    json_t *doc;

    for (guint i = 0; i < p->vms->len; i++) {
        const ProtectionVm *vm = p->vms->pdata[i];

        json_array_append_new(
            vms, json_pack("{s:s, s:s, s:o, s:b, s:i, s:s, s:o, s:o, s:o, s:o, s:o}", "vm", ID_TEXT(vm->uuid),
                           "active", vm->active, "reign", reign_to_json(vm->reign), "reverse", vm->reverse,
                           "owes", (int)vm->owes, "owed_plan", ID_TEXT(vm->owed_plan), "branches",
                           protection_branches_to_json(vm), "life", protection_life_to_json(vm), "told",
                           protection_told_to_json(vm), "answers", protection_answers_to_json(p, vm),
                           "copies", copies_to_json(vm)));
    }
    doc = json_pack("{s:i, s:s, s:s, s:i, s:O?, s:O, s:o, s:o, s:o, s:o}", "format", PROTECTION_FORMAT,
                    "goal", GOALS[p->goal], "plan", ID_TEXT(p->plan), "switchbacks", (int)p->home.tries,
                    "hold", p->hold, "networks", p->networks, "unheard", protection_unheard(p), "hangs",
                    protection_hangs_to_json(p), "countdown", protection_countdown_to_json(p), "vms", vms);

    /* An earlier version reads nothing that it does not know. */
    if (p->parks)
        json_object_set_new(doc, "parks", json_true());
    if (p->rests_on_fence)
        json_object_set_new(doc, "rests_on_fence", json_true());
    return doc;
}

static gboolean read_copies(ProtectionVm *vm, Goal goal, const json_t *list, GError **error)
{
    for (gsize i = 0; i < json_array_size(list); i++) {
        ProtectionCopy *c;
        const char *host;
        int complete;

        if (!json_read(json_array_get(list, i), "copy", error, "{s:s, s:b}", "host", &host, "complete",
                       &complete))
            return FALSE;
        c = protection_copy_on(vm, host);
        if (!c) {
            g_set_error(error, US_ERROR, US_ERROR_USAGE, "host '%.63s' keeps no copy of '%s'", host,
                        vm->name);
            return FALSE;
        }
        c->complete = complete;
        if (goal == GOAL_STOPPED)
            continue;
        /* How old it is the active will say; that it can take over is known. */
        c->restored = TRUE;
        c->state = complete ? COPY_LAGGING : COPY_UNPROTECTED;
    }
    return TRUE;
}

static gboolean read_vm(Protection *p, const json_t *doc, const char *owed_plan, GError **error)
{
    const char *uuid, *active;
    json_t *reign, *copies, *branches = NULL, *life = NULL, *told = NULL, *answers = NULL;
    int reverse = FALSE;
    ProtectionVm *vm;
    int owes;
    Id id;

    if (!json_read(doc, "VM", error, "{s:s, s:s, s:o, s?b, s:i, s?s, s?o, s?o, s?o, s?o, s:o}", "vm", &uuid,
                   "active", &active, "reign", &reign, "reverse", &reverse, "owes", &owes, "owed_plan",
                   &owed_plan, "branches", &branches, "life", &life, "told", &told, "answers", &answers,
                   "copies", &copies) ||
        !id_parse(uuid, &id, error))
        return FALSE;
    vm = protection_find(p, id);
    if (!vm || !scenario_has_host(p->scenario, active)) {
        g_set_error(error, US_ERROR, US_ERROR_USAGE, "VM %.36s on '%.63s' is not of this scenario", uuid,
                    active);
        return FALSE;
    }
    protection_set_active(p, vm, active, COPY_STOPPED);
    vm->reverse = reverse && !protection_vm_is_home(p, vm);
    protection_branches_from_json(vm, branches);
    protection_life_from_json(vm, life);
    protection_told_from_json(vm, told);
    vm->owes = (guint)owes & (OWES_STOP | OWES_DISMISS | OWES_UNLOCK | OWES_LEAVE | OWES_YIELD);
    return id_parse(owed_plan, &vm->owed_plan, error) && reign_from_json(reign, &vm->reign, error) &&
           read_copies(vm, p->goal, copies, error);
}

static gboolean read_goal(Protection *p, const char *word, GError **error)
{
    for (guint i = 0; i < G_N_ELEMENTS(GOALS); i++) {
        if (!g_str_equal(GOALS[i], word))
            continue;
        p->goal = i;
        return TRUE;
    }
    g_set_error(error, US_ERROR, US_ERROR_USAGE, "'%.32s' is no goal", word);
    return FALSE;
}

static void miss(Protection *p, const char *host)
{
    if (host && scenario_has_host(p->scenario, host))
        g_hash_table_add(p->unheard, g_strdup(host));
}

static gboolean read_all(Protection *p, const json_t *doc, GError **error)
{
    const char *goal, *plan, *owed = ID_TEXT(ID_NIL); /* of all VMs, as it was kept before */
    json_t *networks, *vms, *unheard = NULL, *hold = NULL, *hangs = NULL, *countdown = NULL;
    int format, tries = 0, parks = FALSE, rests = FALSE;

    if (!json_read(doc, "state", error, "{s:i, s:s, s:s, s?b, s?b, s?s, s?i, s?o, s:o, s?o, s?o, s?o, s:o}",
                   "format", &format, "goal", &goal, "plan", &plan, "parks", &parks, "rests_on_fence", &rests,
                   "owed_plan", &owed, "switchbacks", &tries, "hold", &hold, "networks", &networks, "unheard",
                   &unheard, "hangs", &hangs, "countdown", &countdown, "vms", &vms) ||
        !read_goal(p, goal, error) || !id_parse(plan, &p->plan, error) || !hold_read(hold, &p->hold, error))
        return FALSE;
    if (format != PROTECTION_FORMAT || json_array_size(vms) != p->vms->len || !json_is_object(networks)) {
        g_set_error(error, US_ERROR, US_ERROR_USAGE, "format %d with %zu VMs", format, json_array_size(vms));
        return FALSE;
    }
    for (gsize i = 0; i < json_array_size(unheard); i++)
        miss(p, json_string_value(json_array_get(unheard, i)));
    protection_countdown_from_json(p, countdown);
    protection_hangs_from_json(p, hangs);
    json_decref(p->networks);
    p->networks = json_incref(networks);
    p->parks = parks;
    p->rests_on_fence = rests;
    p->home.tries = (guint)MAX(0, tries);
    for (gsize i = 0; i < json_array_size(vms); i++)
        if (!read_vm(p, json_array_get(vms, i), owed, error))
            return FALSE;
    return TRUE;
}

Protection *protection_from_json(const json_t *doc, const Scenario *scenario, const Roster *roster,
                                 GError **error)
{
    g_autoptr(Protection) p = protection_new(scenario, roster, ID_NIL);
    g_autoptr(GError) why = NULL;

    if (!read_all(p, doc, &why)) {
        g_set_error(
            error, US_ERROR, US_ERROR_CORRUPT,
            "what is kept about scenario '%s' does not fit it (%s): nothing is decided for it; restore the "
            "controller's state",
            scenario->name, why->message);
        return NULL;
    }
    p->wait_until_ms = -1; /* counted from its first input */
    p->resumes = TRUE;
    protection_restore(p);
    return g_steal_pointer(&p);
}

gboolean protection_has_heard(const Protection *p, const char *host)
{
    return g_hash_table_contains(p->heard, host);
}

gboolean protection_has_heard_all(const Protection *p)
{
    gboolean all = protection_has_heard(p, p->scenario->master);

    for (guint i = 0; i < p->scenario->replicas->len; i++)
        all &= protection_has_heard(p, p->scenario->replicas->pdata[i]);
    return all;
}

static void add_hold(const Protection *p, const char *host, json_t *list)
{
    const RosterHost *h = roster_find(p->roster, host);

    if (h && h->hold)
        json_array_append_new(list, hold_describe(h->hold, "host", host));
}

json_t *protection_holds(const Protection *p)
{
    json_t *list = json_array();

    if (p->hold)
        json_array_append_new(list, hold_describe(p->hold, "scenario", p->scenario->name));
    add_hold(p, p->scenario->master, list);
    for (guint i = 0; i < p->scenario->replicas->len; i++)
        add_hold(p, p->scenario->replicas->pdata[i], list);
    return list;
}

gboolean protection_is_held(const Protection *p)
{
    json_auto_t *holds = protection_holds(p);

    return json_array_size(holds) > 0 || protection_is_maintained(p);
}

static gboolean is_maintained(const Protection *p, const char *host)
{
    const RosterHost *known = roster_find(p->roster, host);

    return known && maintenance_runs(known->maintenance);
}

gboolean protection_is_maintained(const Protection *p)
{
    gboolean any = p->parks || is_maintained(p, p->scenario->master);

    for (guint i = 0; i < p->scenario->replicas->len; i++)
        any |= is_maintained(p, p->scenario->replicas->pdata[i]);
    return any;
}

void protection_doubt(Protection *p)
{
    miss(p, p->scenario->master);
    for (guint i = 0; i < p->scenario->replicas->len; i++)
        miss(p, p->scenario->replicas->pdata[i]);
}

gboolean protection_is_sure(const Protection *p, GError **error)
{
    json_auto_t *unheard = NULL;

    if (g_hash_table_size(p->unheard) == 0)
        return TRUE;
    unheard = protection_unheard(p);
    g_set_error(
        error, US_ERROR, US_ERROR_REFUSED,
        "what is known of scenario '%s' comes from elsewhere, and may be old: nothing is done before "
        "the engine of %s has said what it knows; bring that host back, or, if it is gone, use --force",
        p->scenario->name, json_string_value(json_array_get(unheard, 0)));
    return FALSE;
}

ProtectionVm *protection_find(const Protection *p, Id vm)
{
    for (guint i = 0; i < p->vms->len; i++) {
        ProtectionVm *one = p->vms->pdata[i];

        if (id_equal(one->uuid, vm))
            return one;
    }
    return NULL;
}

ProtectionCopy *protection_copy_on(const ProtectionVm *vm, const char *host)
{
    for (guint i = 0; i < vm->copies->len; i++) {
        ProtectionCopy *c = vm->copies->pdata[i];

        if (g_str_equal(c->host, host))
            return c;
    }
    return NULL;
}

const json_t *protection_networks(const Protection *p)
{
    return p->goal == GOAL_STOPPED ? NULL : p->networks;
}

gboolean protection_is_up(const Protection *p, const char *host)
{
    return g_hash_table_contains(p->up, host);
}

gboolean protection_lacks_word(const Protection *p, const char *host)
{
    if (!protection_is_up(p, host))
        return FALSE;
    if (!protection_has_heard(p, host))
        return TRUE;
    EACH_VM (p, vm)
        if (!vm->last && vm->told != TOLD_NOTHING && g_str_equal(vm->active, host))
            return TRUE;
    return FALSE;
}

gboolean protection_vm_is_home(const Protection *p, const ProtectionVm *vm)
{
    return g_str_equal(vm->active, p->scenario->master);
}

PolicyMoment protection_moment(const Protection *p)
{
    for (guint i = 0; i < p->vms->len; i++)
        if (!protection_vm_is_home(p, p->vms->pdata[i]))
            return POLICY_MOMENT_MOVED;
    return p->state == SCENARIO_STOPPED && !protection_owes(p) ? POLICY_MOMENT_STOPPED
                                                               : POLICY_MOMENT_RUNNING;
}

gboolean protection_owes(const Protection *p)
{
    for (guint i = 0; i < p->vms->len; i++)
        if (((const ProtectionVm *)p->vms->pdata[i])->owes)
            return TRUE;
    return FALSE;
}

gboolean protection_vm_is_covered(const Protection *p, const ProtectionVm *vm)
{
    return vm->reverse || protection_vm_is_home(p, vm);
}

const char *protection_keeper(const ProtectionVm *vm)
{
    return ((const ProtectionCopy *)vm->copies->pdata[0])->host;
}

gint64 protection_lag_ms(const ProtectionVm *vm, const char *standby, gint64 now_ms)
{
    const NewsCopy *last = vm->last ? news_find(vm->last, standby) : NULL;

    if (!last || last->lag_ms < 0)
        return -1;
    return last->lag_ms + MAX(0, now_ms - vm->heard_at_ms);
}

gint64 protection_lag_limit_ms(const Policy *policy)
{
    return 3 * policy->interval_ms + 5000;
}

CopyState protection_vm_state(const ProtectionVm *vm)
{
    /* From the best to the worst, as far as taking over goes. */
    static const CopyState ORDER[] = {COPY_SWITCHING,     COPY_PROTECTED,   COPY_LAGGING,
                                      COPY_RESYNCING,     COPY_PAUSED,      COPY_FAILED,
                                      COPY_SYNCHRONIZING, COPY_UNPROTECTED, COPY_STOPPED};

    for (guint s = 0; s < G_N_ELEMENTS(ORDER); s++)
        for (guint i = 0; i < vm->copies->len; i++)
            if (((const ProtectionCopy *)vm->copies->pdata[i])->state == ORDER[s])
                return ORDER[s];
    g_assert_not_reached();
}

guint64 protection_term(const Protection *p)
{
    guint64 term = 0;

    for (guint i = 0; i < p->vms->len; i++)
        term = MAX(term, ((const ProtectionVm *)p->vms->pdata[i])->reign.number);
    return term;
}

const ProtectionVm *protection_away(const Protection *p)
{
    for (guint i = 0; i < p->vms->len; i++) {
        const ProtectionVm *vm = p->vms->pdata[i];

        if (!g_str_equal(vm->active, p->scenario->master))
            return vm;
    }
    return NULL;
}

const char *protection_active(const Protection *p)
{
    const ProtectionVm *first = p->vms->pdata[0];

    for (guint i = 1; i < p->vms->len; i++)
        if (!g_str_equal(((const ProtectionVm *)p->vms->pdata[i])->active, first->active))
            return NULL;
    return first->active;
}

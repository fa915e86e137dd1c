/* SPDX-License-Identifier: Apache-2.0 */
/* The list itself: what is in it, and what may be added, changed and taken away.
 * How one of them lives is scenario_live.c. */
#include "orchestrator/scenarios.h"

#include "orchestrator/core/maintenance.h"
#include "orchestrator/scenario_live.h"
#include "orchestrator/told.h"
#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"
#include "vmconnect/base/log.h"

static const ProtectionVm *find_vm(const Scenarios *s, Id vm)
{
    for (guint i = 0; i < s->list->len; i++) {
        const ProtectionVm *found = protection_find(((const Live *)s->list->pdata[i])->p, vm);

        if (found)
            return found;
    }
    return NULL;
}

/* To end the protection of a VM would free its guest there, and it may run elsewhere by now, in a later reign: then
 * the host is told so. */
static json_t *word_for(void *user, const char *host, const char **method, const json_t *params)
{
    const Scenarios *s = user;
    const char *text = json_string_value(json_object_get(params, "vm"));
    const ProtectionVm *vm;
    Id id;

    if (g_str_has_prefix(*method, "plan."))
        return s->duties.sign(s->user, params);
    if (!g_str_equal(*method, "active.stop") || !text || !id_parse(text, &id, NULL))
        return json_incref((json_t *)params);
    vm = find_vm(s, id);
    if (!vm || g_str_equal(vm->active, host))
        return json_incref((json_t *)params);
    *method = "active.yield";
    return json_pack("{s:s, s:o}", "vm", text, "reign", reign_to_json(vm->reign));
}

Scenarios *scenarios_new(Database *db, Hosts *hosts, Events *events, const ScenariosEvents *duties,
                         void *user)
{
    Scenarios *s = g_new0(Scenarios, 1);

    s->db = db;
    s->hosts = hosts;
    s->events = events;
    s->duties = *duties;
    s->user = user;
    s->list = g_ptr_array_new_with_free_func(live_free);
    s->reigns = reigns_new();
    s->debts = debts_new(db, hosts, word_for, s);
    s->vitals = vitals_new();
    s->watches = watches_new(hosts, s->vitals);
    return s;
}

static int by_name(gconstpointer a, gconstpointer b)
{
    return g_strcmp0((*(Live *const *)a)->p->scenario->name, (*(Live *const *)b)->p->scenario->name);
}

static Live *add(Scenarios *s, Id id, Protection *steal_protection)
{
    Live *live = live_new(s, id, steal_protection);

    g_ptr_array_add(s->list, live);
    g_ptr_array_sort(s->list, by_name);
    watches_changed(s->watches);
    return live;
}

/* Of a row, wherever it was kept. NULL with @error. */
static Protection *read_row(const Scenarios *s, const json_t *doc, Id *ret_id, guint64 *ret_row,
                            GError **error)
{
    g_autoptr(Scenario) scenario = NULL;
    json_t *scenario_doc, *protection_doc;
    json_int_t row = 1;
    const char *id;

    if (!json_read(doc, "scenario", error, "{s:s, s?I, s:o, s:o}", "id", &id, "row", &row, "scenario",
                   &scenario_doc, "protection", &protection_doc) ||
        !id_parse(id, ret_id, error))
        return NULL;
    *ret_row = (guint64)MAX(row, 1);
    scenario = scenario_from_json(scenario_doc, error);
    return scenario ? protection_from_json(protection_doc, scenario, hosts_roster(s->hosts), error) : NULL;
}

/* Also those whose engine never answered. */
static void know_hosts(Scenarios *s)
{
    g_autoptr(GPtrArray) names = hosts_names(s->hosts);

    for (guint i = 0; i < names->len; i++) {
        const RosterHost *host = roster_find(hosts_roster(s->hosts), names->pdata[i]);

        vitals_add(s->vitals, host->name, host->id);
        vitals_excuse(s->vitals, host->name, maintenance_runs(host->maintenance));
    }
}

static gboolean load_one(Scenarios *s, const json_t *doc, GError **error)
{
    Protection *p;
    guint64 row;
    Id id;

    if (reigns_is_document(doc))
        return reigns_load(s->reigns, doc, error);
    if (debts_is_document(doc))
        return debts_load(s->debts, doc, error);
    p = read_row(s, doc, &id, &row, error);
    if (!p)
        return FALSE;
    add(s, id, p)->row = row;
    protection_recall_answers(json_object_get(doc, "protection"), s->vitals);
    return TRUE;
}

/* So that it is not told again, and that it is over is. */
static void recall_hosts(Scenarios *s)
{
    static const EventCode CODES[] = {EVENT_HOST_SILENT, EVENT_HYPERVISOR_SILENT, EVENT_GUARD_SILENT,
                                      EVENT_WATCH_BLIND, EVENT_PATH_LOST};
    g_autoptr(GPtrArray) names = hosts_names(s->hosts);

    for (guint i = 0; i < names->len; i++)
        for (guint k = 0; k < G_N_ELEMENTS(CODES); k++)
            if (told_is(s->hosts, names->pdata[i], CODES[k]))
                vitals_recall(s->vitals, names->pdata[i], CODES[k]);
}

gboolean scenarios_load(Scenarios *s, const json_t *documents, GError **error)
{
    know_hosts(s);
    for (gsize i = 0; i < json_array_size(documents); i++) {
        g_autoptr(GError) why = NULL;

        if (!load_one(s, json_array_get(documents, i), &why)) {
            g_set_error(error, US_ERROR, US_ERROR_CORRUPT, "the database has an unsound scenario: %s",
                        why->message);
            return FALSE;
        }
    }
    recall_hosts(s);
    return TRUE;
}

static Live *find(const Scenarios *s, const char *name, GError **error)
{
    for (guint i = 0; i < s->list->len; i++) {
        Live *live = s->list->pdata[i];

        if (g_str_equal(live->p->scenario->name, name))
            return live;
    }
    g_set_error(error, US_ERROR, US_ERROR_NOT_FOUND,
                "there is no scenario '%s'; understudy scenario list shows those there are", name);
    return NULL;
}

const Vitals *scenarios_vitals(const Scenarios *s)
{
    return s->vitals;
}

const Protection *scenarios_find(const Scenarios *s, const char *name, GError **error)
{
    const Live *live = find(s, name, error);

    return live ? live->p : NULL;
}

GPtrArray *scenarios_list(const Scenarios *s)
{
    GPtrArray *list = g_ptr_array_new();

    for (guint i = 0; i < s->list->len; i++)
        g_ptr_array_add(list, ((Live *)s->list->pdata[i])->p);
    return list;
}

const char *scenarios_using(const Scenarios *s, const char *host)
{
    for (guint i = 0; i < s->list->len; i++) {
        const Scenario *scenario = ((Live *)s->list->pdata[i])->p->scenario;

        if (scenario_has_host(scenario, host))
            return scenario->name;
    }
    return NULL;
}

const char *scenarios_of_vm(const Scenarios *s, Id vm)
{
    for (guint i = 0; i < s->list->len; i++) {
        const Scenario *scenario = ((Live *)s->list->pdata[i])->p->scenario;

        if (scenario_find_vm(scenario, vm))
            return scenario->name;
    }
    return NULL;
}

/* --- inputs ------------------------------------------------------------ */

/* To all that have @host, which the others do not ask about. */
static void step_those_with(Scenarios *s, const char *host, Input in)
{
    g_autoptr(GPtrArray) list = scenarios_list(s);

    in.host = (char *)host;
    for (guint i = 0; i < list->len; i++) {
        const Scenario *scenario = ((Protection *)list->pdata[i])->scenario;
        g_autoptr(GError) error = NULL;

        if (scenario_has_host(scenario, host) && !scenarios_step(s, scenario->name, in, NULL, NULL, &error))
            log_warning("%s: %s said what it must not -> not counted: %s", scenario->name, host,
                        error->message);
    }
}

static void on_debts_paid(void *user, const char *host)
{
    Scenarios *s = user;

    if (!s->closed && hosts_is_up(s->hosts, host))
        step_those_with(s, host, (Input){.kind = INPUT_LINK_BACK});
}

static void tell_vitals(Scenarios *s)
{
    g_autoptr(ActionList) out = action_list_new();

    vitals_step(s->vitals, clock_steady_ms(), out);
    for (guint i = 0; i < out->len; i++) {
        const Event *event = ((const Action *)out->pdata[i])->event;

        events_publish(s->events, event);
        told_note(s->db, s->hosts, event);
    }
}

void scenarios_host_is_up(Scenarios *s, const char *host)
{
    know_hosts(s);
    vitals_link(s->vitals, host, TRUE);
    watches_forget(s->watches, host);
    debts_pay(s->debts, host, on_debts_paid, s);
}

/* Watches are told what they want whenever that is another than before: they need no word. */
void scenarios_host_has_moved(Scenarios *s, const char *host)
{
    step_those_with(s, host, (Input){.kind = INPUT_HAS_MOVED});
}

void scenarios_host_is_gone(Scenarios *s, const char *host)
{
    vitals_remove(s->vitals, host);
    watches_forget(s->watches, host);
    debts_forget(s->debts, host);
}

void scenarios_host_is_down(Scenarios *s, const char *host)
{
    vitals_link(s->vitals, host, FALSE);
    watches_forget(s->watches, host);
    for (guint i = 0; i < s->list->len; i++)
        live_forget_papers(s->list->pdata[i], host);
    step_those_with(s, host, (Input){.kind = INPUT_LINK_LOST});
}

void scenarios_news(Scenarios *s, const char *host, const json_t *status)
{
    vitals_hear(s->vitals, host, status);
    tell_vitals(s);
    step_those_with(s, host, (Input){.kind = INPUT_NEWS, .json = status});
}

/* What has changed alone does not say what somebody has forgotten, or never heard. */
static void want_words(Scenarios *s, const Protection *p)
{
    if (protection_lacks_word(p, p->scenario->master))
        hosts_want_status(s->hosts, p->scenario->master);
    for (guint i = 0; i < p->scenario->replicas->len; i++)
        if (protection_lacks_word(p, p->scenario->replicas->pdata[i]))
            hosts_want_status(s->hosts, p->scenario->replicas->pdata[i]);
}

void scenarios_tick(Scenarios *s)
{
    g_autoptr(GPtrArray) list = scenarios_list(s);

    debts_tick(s->debts);
    know_hosts(s);
    watches_tick(s->watches, list);
    tell_vitals(s);
    for (guint i = 0; i < s->list->len; i++)
        live_persist_again(s->list->pdata[i]);
    for (guint i = 0; i < s->list->len; i++)
        live_look(s->list->pdata[i]);
    for (guint i = 0; i < s->list->len; i++)
        live_give_papers(s->list->pdata[i]);
    for (guint i = 0; i < list->len; i++)
        want_words(s, list->pdata[i]);
    for (guint i = 0; i < list->len; i++)
        scenarios_step(s, ((Protection *)list->pdata[i])->scenario->name, (Input){.kind = INPUT_TICK}, NULL,
                       NULL, NULL);
}

gboolean scenarios_step(Scenarios *s, const char *name, Input in, ScenariosDone done, void *user,
                        GError **error)
{
    Live *live = find(s, name, error);

    return live && live_step(live, in, done, user, error);
}

gboolean scenarios_run(Scenarios *s, const char *name, ScenariosDone done, void *user, GError **error)
{
    Live *live = find(s, name, error);

    /* On the way back nothing is verified. */
    if (live && protection_away(live->p))
        return live_step(live, (Input){.kind = INPUT_RUN}, done, user, error);
    if (!live || !live_step(live, (Input){.kind = INPUT_RUN}, NULL, NULL, error))
        return FALSE;
    live_wait_verified(live, done, user);
    return TRUE;
}

gboolean scenarios_stop(Scenarios *s, const char *name, ScenariosDone done, void *user, GError **error)
{
    Live *live = find(s, name, error);

    if (!live || !live_step(live, (Input){.kind = INPUT_STOP}, NULL, NULL, error))
        return FALSE;
    live_wait_stopped(live, done, user);
    return TRUE;
}

/* --- the list ---------------------------------------------------------- */

static gboolean check_hosts(const Scenarios *s, const Scenario *scenario, GError **error)
{
    const char *missing = roster_find(hosts_roster(s->hosts), scenario->master) ? NULL : scenario->master;

    for (guint i = 0; i < scenario->replicas->len && !missing; i++)
        if (!roster_find(hosts_roster(s->hosts), scenario->replicas->pdata[i]))
            missing = scenario->replicas->pdata[i];
    if (missing)
        g_set_error(error, US_ERROR, US_ERROR_NOT_FOUND,
                    "there is no host '%s': no scenario can use it; understudy host add", missing);
    return !missing;
}

static gboolean check_beside(const Scenarios *s, const Scenario *scenario, GError **error)
{
    g_autoptr(GPtrArray) others = g_ptr_array_new();

    for (guint i = 0; i < s->list->len; i++)
        g_ptr_array_add(others, ((Live *)s->list->pdata[i])->p->scenario);
    return scenario_check_beside(scenario, others, FALSE, error);
}

/* One that was there stays, whatever became of its zone. */
static gboolean check_zone(const Scenario *scenario, GError **error)
{
    if (calendar_zone_find(scenario->policy.test_zone, error))
        return TRUE;
    g_prefix_error(error, "test_zone: ");
    return FALSE;
}

/* A new protection learns first which of its hosts are there. */
static void greet(Scenarios *s, Live *live)
{
    g_autoptr(GPtrArray) names = hosts_names(s->hosts);

    for (guint i = 0; i < names->len; i++) {
        char *host = names->pdata[i];

        if (!hosts_is_up(s->hosts, host) || !scenario_has_host(live->p->scenario, host))
            continue;
        if (debts_owes(s->debts, host))
            scenarios_host_is_up(s, host);
        else
            live_step(live, (Input){.kind = INPUT_LINK_BACK, .host = host}, NULL, NULL, NULL);
    }
}

gboolean scenarios_create(Scenarios *s, const Scenario *scenario, ScenariosDone done, void *user,
                          GError **error)
{
    Live *live;

    if (!check_hosts(s, scenario, error) || !check_zone(scenario, error) || !check_beside(s, scenario, error))
        return FALSE;
    live = add(s, id_random(), protection_new(scenario, hosts_roster(s->hosts), id_random()));
    for (guint i = 0; i < live->p->vms->len; i++) {
        ProtectionVm *vm = live->p->vms->pdata[i];

        vm->reign.number = reigns_last(s->reigns, vm->uuid) + 1;
    }
    live_persist_first(live, done, user);
    greet(s, live);
    return TRUE;
}

/* A plan's journal is lost with the controller that wrote it; engines end by themselves what was not released. And whatever
 * the row says of who is the active, another host may know better. */
gboolean scenarios_recover(Scenarios *s, const json_t *document, ScenariosDone done, void *user,
                           GError **error)
{
    guint64 row;
    Id former;
    g_autoptr(Protection) p = read_row(s, document, &former, &row, error);
    Live *live;

    if (!p || !check_hosts(s, p->scenario, error) || !check_beside(s, p->scenario, error))
        return FALSE;
    p->plan = ID_NIL;
    protection_doubt(p);
    live = add(s, id_random(), g_steal_pointer(&p));
    live->row = row;
    live_persist_first(live, done, user);
    greet(s, live);
    return TRUE;
}

gboolean scenarios_set(Scenarios *s, const Scenario *to, ScenariosDone done, void *user, GError **error)
{
    Live *live = find(s, to->name, error);

    if (live && !g_str_equal(live->p->scenario->policy.test_zone, to->policy.test_zone) &&
        !check_zone(to, error))
        return FALSE;
    return live && scenario_may_become(live->p->scenario, to, protection_moment(live->p), error) &&
           live_step(live, (Input){.kind = INPUT_POLICY, .scenario = to}, done, user, error);
}

static gboolean is_home(const Protection *p)
{
    return g_strcmp0(protection_active(p), p->scenario->master) == 0;
}

/* Engines that have not confirmed their last stop. */
typedef struct {
    const Protection *p;
    const char *silent;  /* the first of those that do not answer; NULL: none */
    const char *answers; /* … of those that do */
} Creditors;

static void look_at_creditor(void *user, const char *host, const char *method, json_t *params)
{
    Creditors *c = user;
    const char **first = protection_is_up(c->p, host) ? &c->answers : &c->silent;

    (void)method;
    json_decref(params);
    *first = *first ? *first : host;
}

static gboolean check_owed(const Protection *p, gboolean force, GError **error)
{
    Creditors c = {.p = p};

    protection_each_owed(p, look_at_creditor, &c);
    if (c.answers)
        g_set_error(error, US_ERROR, US_ERROR_REFUSED,
                    "scenario '%s': the engine of %s has not confirmed its last stop: wait until "
                    "understudy status shows no reason any more",
                    p->scenario->name, c.answers);
    else if (c.silent && !force)
        g_set_error(error, US_ERROR, US_ERROR_REFUSED,
                    "scenario '%s': the engine of %s has not confirmed its last stop, and does not answer: "
                    "bring it back, or, if it is gone for good, leave it out with --force; should it come "
                    "back after all, it is told then",
                    p->scenario->name, c.silent);
    return !c.answers && (!c.silent || force);
}

static gboolean check_delete(const Live *live, ScenariosDelete how, GError **error)
{
    const Protection *p = live->p;
    const char *why = NULL;

    if (live->leaving)
        why = "it is being deleted already";
    else if (!id_is_nil(p->plan) || p->goal != GOAL_STOPPED || p->verifying)
        why = "it is not stopped: deleting it would end its protection unasked; understudy stop first";
    else if (how == SCENARIOS_DELETE_PURGE && !is_home(p))
        why = "its VMs run from the copies on the replica, which cannot be deleted";
    if (why)
        g_set_error(error, US_ERROR, US_ERROR_REFUSED, "scenario '%s': %s", p->scenario->name, why);
    return !why && check_owed(p, how == SCENARIOS_DELETE_FORCE, error);
}

static gboolean check_keeper(const Protection *p, GError **error)
{
    const char *keeper = protection_keeper(p->vms->pdata[0]);

    if (!protection_is_up(p, keeper))
        g_set_error(error, US_ERROR, US_ERROR_UNREACHABLE,
                    "the engine of %s does not answer: the copies of scenario '%s' cannot be deleted and "
                    "nothing was begun; bring it back, or delete the scenario alone",
                    keeper, p->scenario->name);
    return protection_is_up(p, keeper);
}

gboolean scenarios_begin_delete(Scenarios *s, const char *name, ScenariosDelete how, ScenariosDone done,
                                void *user, GError **error)
{
    Live *live = find(s, name, error);
    gboolean purge = how == SCENARIOS_DELETE_PURGE;

    if (!live || !check_delete(live, how, error) || (purge && !check_keeper(live->p, error)))
        return FALSE;
    live->leaving = TRUE;
    if (purge)
        return live_step(live, (Input){.kind = INPUT_PURGE}, done, user, error);
    done(user, NULL);
    return TRUE;
}

static void stay(Live *live)
{
    live->leaving = FALSE;
    if (live->p->purging)
        live_step(live, (Input){.kind = INPUT_KEEP}, NULL, NULL, NULL);
}

void scenarios_keep(Scenarios *s, const char *name)
{
    Live *live = find(s, name, NULL);

    if (live)
        stay(live);
}

typedef struct {
    Scenarios *s;
    char *name;
    ScenariosDone done;
    void *user;
} Deleting;

static void on_deleted(const GError *error, void *user)
{
    Deleting *d = user;
    Live *live = find(d->s, d->name, NULL);

    g_assert(live);
    if (error) {
        stay(live);
    } else {
        live_take_papers(live);
        g_ptr_array_remove(d->s->list, live);
        watches_changed(d->s->watches);
    }
    d->done(d->user, error);
    g_free(d->name);
    g_free(d);
}

/* Who answers has been told, or is being told. */
static void add_debt(void *user, const char *host, const char *method, json_t *params)
{
    Live *live = user;

    if (protection_is_up(live->p, host))
        json_decref(params);
    else
        debts_add(live->owner->debts, host, method, params);
}

void scenarios_delete(Scenarios *s, const char *name, ScenariosDone done, void *user)
{
    Live *live = find(s, name, NULL);
    DatabaseChanges *changes = database_changes_new();
    Deleting *d = g_new0(Deleting, 1);

    g_assert(live && live->leaving);
    for (guint i = 0; i < live->p->vms->len; i++) {
        const ProtectionVm *vm = live->p->vms->pdata[i];

        reigns_remember(s->reigns, vm->uuid, vm->reign.number);
    }
    reigns_put(s->reigns, changes);
    /* Should this not become durable, the scenario owes the same itself. */
    protection_each_owed(live->p, add_debt, live);
    debts_put(s->debts, changes);
    *d = (Deleting){s, g_strdup(name), done, user};
    database_delete_scenario(changes, live->id);
    database_submit(s->db, changes, on_deleted, d);
}

void scenarios_close(Scenarios *s)
{
    s->closed = TRUE;
    watches_close(s->watches);
}

void scenarios_free(Scenarios *s)
{
    if (!s)
        return;
    g_ptr_array_free(s->list, TRUE);
    reigns_free(s->reigns);
    debts_free(s->debts);
    watches_free(s->watches);
    vitals_free(s->vitals);
    g_free(s);
}

Live *scenarios_live(const Scenarios *s, Id id)
{
    for (guint i = 0; i < s->list->len; i++) {
        Live *live = s->list->pdata[i];

        if (id_equal(live->id, id))
            return live;
    }
    return NULL;
}

void scenarios_drop(Scenarios *s, Live *live)
{
    g_ptr_array_remove(s->list, live);
}

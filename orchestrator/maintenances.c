/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/maintenances.h"

#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"
#include "vmconnect/base/log.h"
#include "vmconnect/base/stop.h"

#include <string.h>

#define CALL_MS 30000
#define HOME_TRIES 3
#define HOME_AGAIN_MS 60000

struct Maintenances {
    Database *db;
    Hosts *hosts;
    Scenarios *scenarios;
    Plans *plans;
    Events *events;
    GHashTable *busy;   /* set of char *: hosts whose document is being made durable */
    GHashTable *asked;  /* set of char *: "host VM", of which an answer is waited for */
    GHashTable *rested; /* the same, of copies that are closed, as their engines say */
    GHashTable *why;    /* "host scenario" -> char *: why its plan could not be begun */
    GHashTable *home;   /* "host scenario" -> Homeward *: what was tried of it */
    gboolean closed;
};

/* A way home that does not come to its end is tried again. */
typedef struct {
    gboolean busy; /* it is being begun */
    guint tries;
    gint64 again_ms; /* steady: the next is not before */
    char *why;       /* why the last was not begun */
} Homeward;

static void homeward_free(gpointer data)
{
    g_free(((Homeward *)data)->why);
    g_free(data);
}

Maintenances *maintenances_new(Database *db, Hosts *hosts, Scenarios *scenarios, Plans *plans, Events *events)
{
    Maintenances *m = g_new0(Maintenances, 1);

    *m = (Maintenances){.db = db, .hosts = hosts, .scenarios = scenarios, .plans = plans, .events = events};
    m->busy = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    m->asked = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    m->rested = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    m->why = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    m->home = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, homeward_free);
    return m;
}

void maintenances_close(Maintenances *m)
{
    m->closed = TRUE;
}

void maintenances_free(Maintenances *m)
{
    if (!m)
        return;
    g_hash_table_destroy(m->busy);
    g_hash_table_destroy(m->asked);
    g_hash_table_destroy(m->rested);
    g_hash_table_destroy(m->why);
    g_hash_table_destroy(m->home);
    g_free(m);
}

static const RosterHost *find(const Maintenances *m, const char *host)
{
    return roster_find(hosts_roster(m->hosts), host);
}

static gboolean tells_boot(const Maintenances *m, const char *host)
{
    return hosts_is_up(m->hosts, host) && hosts_boot(m->hosts, host);
}

/* --- durable first ----------------------------------------------------------- */

typedef struct {
    Maintenances *m;
    char *host;
    json_t *doc;
    GPtrArray *events; /* Event *: told then */
    MaintenancesDone done;
    void *user;
} Keeping;

static void on_kept(const GError *error, void *user)
{
    Keeping *k = user;
    Maintenances *m = k->m;

    /* A host that has gone meanwhile had no row any more. */
    if (!m->closed) {
        g_hash_table_remove(m->busy, k->host);
        if (!error && find(m, k->host)) {
            stop_at("maintenance.kept");
            hosts_maintain(m->hosts, k->host, k->doc);
            for (guint i = 0; i < k->events->len; i++)
                events_publish(m->events, k->events->pdata[i]);
        }
    }
    if (error)
        log_warning("maintenance of %s: what has become of it is not durable: %s -> again", k->host,
                    error->message);
    if (k->done)
        k->done(k->user, error ? NULL : k->doc, error);
    json_decref(k->doc);
    g_ptr_array_unref(k->events);
    g_free(k->host);
    g_free(k);
}

static void free_event(gpointer event)
{
    event_free(event);
}

static void keep(Maintenances *m, const char *host, json_t *doc, GPtrArray *events, MaintenancesDone done,
                 void *user)
{
    DatabaseChanges *changes = database_changes_new();
    Keeping *k = g_new0(Keeping, 1);

    *k = (Keeping){m,
                   g_strdup(host),
                   json_incref(doc),
                   events ? g_ptr_array_ref(events) : g_ptr_array_new_with_free_func(free_event),
                   done,
                   user};
    g_hash_table_add(m->busy, g_strdup(host));
    database_maintain_host(changes, find(m, host)->id, doc);
    database_submit(m->db, changes, on_kept, k);
}

/* --- what is known of it ------------------------------------------------------ */

static char *key_of(const char *host, const char *what)
{
    return g_strconcat(host, " ", what, NULL);
}

static void look(const Maintenances *m, const char *host, const json_t *doc, GArray *ret_sights)
{
    for (gsize i = 0; i < maintenance_len(doc); i++) {
        const char *scenario = maintenance_scenario(doc, i);
        g_autofree char *key = key_of(host, scenario);
        Id id = maintenance_plan(doc, i);
        MaintenanceSight sight = {.protection = scenarios_find(m->scenarios, scenario, NULL),
                                  .plan = id_is_nil(id) ? NULL : runner_find(plans_runner(m->plans), id),
                                  .why = g_hash_table_lookup(m->why, key)};
        g_autoptr(GArray) vms = maintenance_vms(doc, i);
        const Homeward *h = g_hash_table_lookup(m->home, key);

        if (h && h->tries == HOME_TRIES && !h->busy && clock_steady_ms() >= h->again_ms)
            sight.stays = h->why;
        sight.rested = TRUE;
        for (guint k = 0; k < vms->len; k++) {
            g_autofree char *vm = key_of(host, ID_TEXT(g_array_index(vms, Id, k)));

            sight.rested &= g_hash_table_contains(m->rested, vm);
        }
        g_array_append_val(ret_sights, sight);
    }
}

/* --- what its operator asks for ---------------------------------------------- */

static gboolean expect_host(const Maintenances *m, const char *host, GError **error)
{
    if (find(m, host))
        return TRUE;
    g_set_error(error, US_ERROR, US_ERROR_NOT_FOUND,
                "there is no host '%s'; understudy host list shows those there are", host);
    return FALSE;
}

json_t *maintenances_preview(const Maintenances *m, const char *host, const MaintenanceWish *wish,
                             GError **error)
{
    g_autoptr(GPtrArray) list = scenarios_list(m->scenarios);

    if (!expect_host(m, host, error))
        return NULL;
    if (maintenance_runs(find(m, host)->maintenance)) {
        g_set_error(
            error, US_ERROR, US_ERROR_EXISTS,
            "%s is in maintenance already; understudy maintenance list says how far it is, understudy "
            "maintenance finish %s ends it",
            host, host);
        return NULL;
    }
    if (!tells_boot(m, host)) {
        g_set_error(
            error, US_ERROR, US_ERROR_UNREACHABLE,
            "the engine of %s does not answer: nothing there can be prepared, and nothing was begun; what "
            "runs there is not touched",
            host);
        return NULL;
    }
    return maintenance_preview(find(m, host), list, wish);
}

/* Each host once, and one that is there. */
static gboolean check_turns(const Maintenances *m, const char *first, const json_t *then, GError **error)
{
    for (gsize i = 0; i < json_array_size(then); i++) {
        const char *host = json_string_value(json_array_get(then, i));
        gboolean again = g_strcmp0(host, first) == 0;

        for (gsize k = 0; k < i; k++)
            again |= g_strcmp0(host, json_string_value(json_array_get(then, k))) == 0;
        if (!host || again) {
            g_set_error(error, US_ERROR, US_ERROR_USAGE, "host '%s' has its turn twice: nothing was begun",
                        host ? host : "-");
            return FALSE;
        }
        if (!expect_host(m, host, error))
            return FALSE;
    }
    return TRUE;
}

static gboolean has_prefix(gpointer key, gpointer value, gpointer prefix)
{
    (void)value;
    return g_str_has_prefix(key, prefix);
}

/* What was refused to one that is over, or tried for it, says nothing of the next. */
static void forget(Maintenances *m, const char *host)
{
    g_autofree char *prefix = key_of(host, "");

    g_hash_table_foreach_remove(m->why, has_prefix, prefix);
    g_hash_table_foreach_remove(m->home, has_prefix, prefix);
}

gboolean maintenances_start(Maintenances *m, const char *host, const MaintenanceWish *wish,
                            MaintenancesDone done, void *user, GError **error)
{
    json_auto_t *preview = maintenances_preview(m, host, wish, error);
    g_autoptr(GPtrArray) list = scenarios_list(m->scenarios);
    g_autoptr(GPtrArray) events = g_ptr_array_new_with_free_func(free_event);
    json_auto_t *doc = NULL;

    if (!preview || !maintenance_may_begin(preview, error) || !check_turns(m, host, wish->then, error))
        return FALSE;
    /* Of any host: one that begins is not seen as such before it is durable. */
    if (g_hash_table_size(m->busy) > 0) {
        g_set_error(error, US_ERROR, US_ERROR_BUSY, "a maintenance is being begun or ended: ask again");
        return FALSE;
    }
    forget(m, host);
    doc = maintenance_new(find(m, host), list, wish, hosts_boot(m->hosts, host), clock_wall_ms());
    g_ptr_array_add(events, event_new(EVENT_MAINTENANCE_STARTED, NULL, host, NULL, NULL));
    keep(m, host, doc, events, done, user);
    return TRUE;
}

gboolean maintenances_finish(Maintenances *m, const char *host, MaintenancesDone done, void *user,
                             GError **error)
{
    g_autoptr(GArray) sights = g_array_new(FALSE, FALSE, sizeof(MaintenanceSight));
    json_auto_t *doc = NULL;

    if (!expect_host(m, host, error))
        return FALSE;
    if (g_hash_table_contains(m->busy, host)) {
        g_set_error(error, US_ERROR, US_ERROR_BUSY, "a maintenance of %s is being begun or ended: ask again",
                    host);
        return FALSE;
    }
    doc = json_deep_copy(find(m, host)->maintenance);
    look(m, host, doc, sights);
    if (!maintenance_finish(doc, (const MaintenanceSight *)(const void *)sights->data, error)) {
        g_prefix_error(error, "%s: ", host);
        return FALSE;
    }
    keep(m, host, doc, NULL, done, user);
    return TRUE;
}

json_t *maintenances_find(const Maintenances *m, const char *host, GError **error)
{
    if (!expect_host(m, host, error))
        return NULL;
    if (!find(m, host)->maintenance)
        g_set_error(error, US_ERROR, US_ERROR_NOT_FOUND, "%s was never in maintenance", host);
    return find(m, host)->maintenance;
}

json_t *maintenances_list(const Maintenances *m)
{
    g_autoptr(GPtrArray) names = hosts_names(m->hosts);
    json_t *list = json_array();

    for (guint i = 0; i < names->len; i++) {
        json_t *doc = find(m, names->pdata[i])->maintenance;

        if (doc)
            json_array_append(list, doc);
    }
    return json_pack("{s:o}", "maintenances", list);
}

/* --- carried out ------------------------------------------------------------- */

static void note_rest(Maintenances *m, const char *key, gboolean rests)
{
    if (rests)
        g_hash_table_add(m->rested, g_strdup(key));
    else
        g_hash_table_remove(m->rested, key);
}

void maintenances_news(Maintenances *m, const char *host, const json_t *status)
{
    json_t *item;
    gsize i;

    json_array_foreach(json_object_get(status, "standby"), i, item)
    {
        const char *vm = json_string_value(json_object_get(item, "vm"));
        g_autofree char *key = vm ? key_of(host, vm) : NULL;

        if (key)
            note_rest(m, key, g_strcmp0(json_string_value(json_object_get(item, "state")), "resting") == 0);
    }
}

typedef struct {
    Maintenances *m;
    char *key; /* of asked and rested */
    gboolean rest;
} Resting;

/* One that keeps no copy (any more) has nothing that is open. */
static void on_rested(void *user, const json_t *result, const GError *error)
{
    Resting *r = user;
    gboolean done = !error || g_error_matches(error, US_ERROR, US_ERROR_NOT_FOUND);

    (void)result;
    if (!r->m->closed) {
        g_hash_table_remove(r->m->asked, r->key);
        if (done)
            note_rest(r->m, r->key, r->rest);
    }
    g_free(r->key);
    g_free(r);
}

static void ask_rest(Maintenances *m, const char *host, const char *vm, gboolean rest)
{
    g_autofree char *key = key_of(host, vm);
    json_auto_t *params = json_pack("{s:s, s:b}", "vm", vm, "rest", rest);
    Resting *r;

    if (g_hash_table_contains(m->asked, key) || !hosts_is_up(m->hosts, host))
        return;
    r = g_new0(Resting, 1);
    *r = (Resting){m, g_strdup(key), rest};
    g_hash_table_add(m->asked, g_strdup(key));
    hosts_call(m->hosts, host, "standby.rest", params, CALL_MS, on_rested, r);
}

/* By force, meanwhile. */
static gboolean runs_there(const Maintenances *m, const char *scenario, Id vm, const char *host)
{
    const Protection *p = scenarios_find(m->scenarios, scenario, NULL);
    const ProtectionVm *known = p ? protection_find(p, vm) : NULL;

    return known && g_str_equal(known->active, host);
}

/* Of a part whose copies are there: each of its VMs. */
static void rest_all(Maintenances *m, const char *host, const json_t *doc, gsize at)
{
    g_autoptr(GArray) vms = maintenance_vms(doc, at);

    for (guint i = 0; i < vms->len; i++) {
        Id vm = g_array_index(vms, Id, i);
        g_autofree char *key = key_of(host, ID_TEXT(vm));

        if (!g_hash_table_contains(m->rested, key) && !runs_there(m, maintenance_scenario(doc, at), vm, host))
            ask_rest(m, host, ID_TEXT(vm), TRUE);
    }
}

typedef struct {
    Maintenances *m;
    char *key; /* of why */
} Beginning;

static void on_plan_begun(void *user, const GError *error)
{
    Beginning *b = user;

    if (error && !b->m->closed)
        g_hash_table_insert(b->m->why, g_strdup(b->key), g_strdup(error->message));
    g_free(b->key);
    g_free(b);
}

static void on_move_begun(void *user, const GError *error)
{
    Beginning *b = user;

    if (!b->m->closed)
        g_hash_table_remove(b->m->asked, b->key);
    on_plan_begun(user, error);
}

/* Its maintenance may have ended while the way was looked at. */
static gboolean is_still_prepared(const Protection *p, const PlanOptions *options)
{
    return maintenance_is_prepared(p, options->id);
}

static void begin_move(Maintenances *m, const char *host, const json_t *doc, gsize at, const Protection *p)
{
    g_autoptr(GArray) vms = maintenance_vms(doc, at);
    const ProtectionVm *first = vms->len ? protection_find(p, g_array_index(vms, Id, 0)) : NULL;
    const PlanOptions options = {.id = maintenance_plan(doc, at),
                                 .reign = id_random(),
                                 .to = first ? protection_keeper(first) : NULL,
                                 .vms = (const Id *)(const void *)vms->data,
                                 .vm_count = vms->len,
                                 .power_off = maintenance_wish(doc).power_off,
                                 .reverse = TRUE};
    Beginning *b = g_new0(Beginning, 1);

    *b = (Beginning){m, key_of(host, p->scenario->name)};
    g_hash_table_add(m->asked, g_strdup(b->key));
    plans_move(m->plans, p, &options, is_still_prepared, on_move_begun, b);
}

static void begin_plan(Maintenances *m, const char *host, const json_t *doc, gsize at)
{
    const char *scenario = maintenance_scenario(doc, at);
    g_autofree char *key = key_of(host, scenario);
    g_autoptr(GError) error = NULL;
    const Protection *p = scenarios_find(m->scenarios, scenario, &error);
    g_autoptr(Plan) plan = NULL;
    ParkOptions options;
    Beginning *b;

    if (p && maintenance_moves(doc, at)) {
        if (!g_hash_table_contains(m->asked, key))
            begin_move(m, host, doc, at, p);
        return;
    }
    if (p && maintenance_park_options(doc, at, id_random(), &options))
        plan = plan_park(p, &options, &error);
    if (plan) {
        b = g_new0(Beginning, 1);
        *b = (Beginning){m, g_strdup(key)};
        stop_at("maintenance.begin");
        if (plans_start(m->plans, g_steal_pointer(&plan), on_plan_begun, b, &error))
            return;
        g_free(b->key);
        g_free(b);
    }
    g_hash_table_insert(m->why, g_strdup(key), g_strdup(error ? error->message : "no reason is known"));
}

typedef struct {
    Maintenances *m;
    char *key; /* of home */
} Returning;

static void on_way_home(void *user, const GError *error)
{
    Returning *r = user;
    Homeward *h = r->m->closed ? NULL : g_hash_table_lookup(r->m->home, r->key);

    if (h) {
        h->busy = FALSE;
        h->again_ms = clock_steady_ms() + HOME_AGAIN_MS;
        g_free(h->why);
        h->why = g_strdup(error ? error->message : "they were not all moved");
    }
    g_free(r->key);
    g_free(r);
}

static void go_home(Maintenances *m, const char *host, const json_t *doc, gsize at, const Protection *p)
{
    g_autoptr(GArray) all = maintenance_vms(doc, at), away = g_array_new(FALSE, FALSE, sizeof(Id));
    g_autofree char *key = key_of(host, p->scenario->name);
    Homeward *h = g_hash_table_lookup(m->home, key);
    PlanOptions options = {.id = id_random(), .reign = id_random(), .to = host, .reverse = TRUE};
    Returning *r;

    if (!h) {
        h = g_new0(Homeward, 1);
        g_hash_table_insert(m->home, g_strdup(key), h);
    }
    if (h->busy || h->tries == HOME_TRIES || clock_steady_ms() < h->again_ms)
        return;
    for (guint i = 0; i < all->len; i++) {
        const ProtectionVm *vm = protection_find(p, g_array_index(all, Id, i));

        if (vm && !g_str_equal(vm->active, host))
            g_array_append_val(away, vm->uuid);
    }
    options.vms = (const Id *)(const void *)away->data;
    options.vm_count = away->len;
    h->tries++;
    h->busy = TRUE;
    r = g_new0(Returning, 1);
    *r = (Returning){m, g_strdup(key)};
    plans_move(m->plans, p, &options, NULL, on_way_home, r);
}

static void carry_out(Maintenances *m, const char *host, const json_t *doc, const MaintenanceSight *sights,
                      const MaintenanceNow *now)
{
    MaintenancePhase phase = maintenance_phase(doc);

    for (gsize i = 0; i < maintenance_len(doc); i++) {
        Id id = maintenance_plan(doc, i);

        if (phase < MAINTENANCE_RETURNING && maintenance_closes_all(doc, i))
            rest_all(m, host, doc, i);
        if (maintenance_may_come_home(doc, i, &sights[i], now))
            go_home(m, host, doc, i, sights[i].protection);
        else if (!id_is_nil(id) && phase == MAINTENANCE_PREPARING && !maintenance_has_begun(doc, i) &&
                 !runner_find(plans_runner(m->plans), id))
            begin_plan(m, host, doc, i);
    }
}

/* --- undone ------------------------------------------------------------------ */

/* Whatever rests or is parked, and by no maintenance (any more), comes back: one is over, or has failed, or the controller that knew of it
 * was lost, or is an older one. */

/* It, if what it asks for is to be so now. One that is becoming another is waited for. */
static const json_t *preparing(const Maintenances *m, const char *host)
{
    const json_t *doc = find(m, host) ? find(m, host)->maintenance : NULL;

    return maintenance_phase(doc) < MAINTENANCE_RETURNING ? doc : NULL;
}

static void wake_others(Maintenances *m, const char *host)
{
    g_autofree char *prefix = key_of(host, "");
    const json_t *doc = preparing(m, host);
    GHashTableIter iter;
    gpointer key;

    g_hash_table_iter_init(&iter, m->rested);
    while (g_hash_table_iter_next(&iter, &key, NULL)) {
        const char *vm = (const char *)key + strlen(prefix);

        if (!g_str_has_prefix(key, prefix))
            continue;
        if (!hosts_is_up(m->hosts, host))
            g_hash_table_iter_remove(&iter); /* it says so again, or was booted */
        else if (!maintenance_closes(doc, vm))
            ask_rest(m, host, vm, FALSE);
    }
}

static void call_others_back(Maintenances *m)
{
    g_autoptr(GPtrArray) list = scenarios_list(m->scenarios);

    for (guint i = 0; i < list->len; i++) {
        const Protection *p = list->pdata[i];
        const Plan *plan = runner_find(plans_runner(m->plans), p->plan);

        if (plan && plan->parks && !plan->ended && !plan->called &&
            !g_hash_table_contains(m->busy, plan->from) &&
            !maintenance_parks(preparing(m, plan->from), plan->id))
            plans_call_back(m->plans, plan->id);
    }
}

static void turn(Maintenances *m, const char *host)
{
    g_autoptr(GArray) sights = g_array_new(FALSE, FALSE, sizeof(MaintenanceSight));
    g_autoptr(GPtrArray) events = g_ptr_array_new_with_free_func(free_event);
    const MaintenanceNow now = {clock_steady_ms(), clock_wall_ms(),
                                tells_boot(m, host) ? hosts_boot(m->hosts, host) : NULL};
    json_auto_t *doc = NULL;

    if (!maintenance_runs(find(m, host)->maintenance) || g_hash_table_contains(m->busy, host))
        return;
    doc = json_deep_copy(find(m, host)->maintenance);
    look(m, host, doc, sights);
    if (maintenance_step(doc, (const MaintenanceSight *)(const void *)sights->data, &now, events)) {
        keep(m, host, doc, events, NULL, NULL);
        return;
    }
    carry_out(m, host, doc, (const MaintenanceSight *)(const void *)sights->data, &now);
}

/* Of several hosts in turn the next. Begun first, and then struck off: whoever dies in between finds it in maintenance already. */
static void go_on(Maintenances *m, const char *host)
{
    json_auto_t *then = NULL;
    MaintenanceWish wish;
    const char *next = g_hash_table_contains(m->busy, host)
                           ? NULL
                           : maintenance_next(find(m, host)->maintenance, &wish, &then);
    g_autoptr(GPtrArray) events = g_ptr_array_new_with_free_func(free_event);
    g_autoptr(GError) error = NULL;
    json_auto_t *doc = NULL;

    if (!next)
        return;
    (void)maintenances_start(m, next, &wish, NULL, NULL, &error);
    if (g_error_matches(error, US_ERROR, US_ERROR_BUSY))
        return;
    if (error && !g_error_matches(error, US_ERROR, US_ERROR_EXISTS))
        g_ptr_array_add(events, event_new(EVENT_MAINTENANCE_FAILED, NULL, next, NULL, error->message));
    doc = json_deep_copy(find(m, host)->maintenance);
    maintenance_forget_next(doc);
    keep(m, host, doc, events, NULL, NULL);
}

void maintenances_tick(Maintenances *m)
{
    g_autoptr(GPtrArray) names = hosts_names(m->hosts);

    for (guint i = 0; i < names->len; i++) {
        turn(m, names->pdata[i]);
        go_on(m, names->pdata[i]);
        wake_others(m, names->pdata[i]);
    }
    call_others_back(m);
}

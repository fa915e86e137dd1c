/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/roles.h"

#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/log.h"

#define LAG_INTERVALS 3   /* a VM lags when its newest sealed instant is older than … */
#define LAG_EXTRA_MS 5000 /* … so many intervals and this */

/* One thread and what the loop knows of it. */
typedef struct {
    Id vm;
    Worker *worker; /* one of the two */
    Keeper *keeper;
    json_t *status;    /* its last word; NULL: none yet */
    GHashTable *asked; /* Question * that wait for their answer; a set */
    gboolean ending;   /* QUIT, STOP or PURGE was carried out */
    guint rescues;     /* how often the rescuer had to free the guest from a job of ours … */
    char *rescue_why;  /* … and what it said the last time */
} Player;

typedef struct {
    CommandVerb verb;
    char *plan; /* of a plan's step; NULL: none */
    RolesAnswer on_answer;
    void *user;
} Question;

struct Roles {
    HostPaths paths;
    Rescuer *rescuer;
    RolesEvents events;
    void *user;
    Mailbox *reports;
    GHashTable *active;  /* Id (in the player) -> Player */
    GHashTable *standby; /* the same */
    gboolean quitting;
};

/* --- players ----------------------------------------------------------- */

static Player *player_new(GHashTable *side, Id vm)
{
    Player *p = g_new0(Player, 1);

    p->vm = vm;
    p->asked = g_hash_table_new(NULL, NULL);
    g_hash_table_insert(side, &p->vm, p);
    return p;
}

static void answer(Player *p, Question *q, const json_t *result, const GError *error)
{
    if (!q)
        return;
    g_hash_table_remove(p->asked, q);
    if (q->on_answer)
        q->on_answer(q->user, result, error);
    g_free(q->plan);
    g_free(q);
}

static void answer_all(Player *p)
{
    g_autoptr(GError) error = g_error_new(US_ERROR, US_ERROR_CANCELLED, "this VM's thread has ended");
    g_autoptr(GList) left = g_hash_table_get_keys(p->asked);

    for (GList *l = left; l; l = l->next)
        answer(p, l->data, NULL, error);
}

static void player_free(Player *p)
{
    if (p->worker)
        worker_join(p->worker);
    if (p->keeper)
        keeper_join(p->keeper);
    answer_all(p);
    g_hash_table_destroy(p->asked);
    json_decref(p->status);
    g_free(p->rescue_why);
    g_free(p);
}

static void tell(Player *p, CommandVerb verb, json_t *params, RolesAnswer on_answer, void *user)
{
    Question *q = g_new0(Question, 1);
    Command *command = command_new(verb, params, q);

    *q = (Question){verb, g_strdup(json_string_value(json_object_get(params, "plan"))), on_answer, user};
    g_hash_table_add(p->asked, q);
    if (p->worker)
        worker_tell(p->worker, command);
    else
        keeper_tell(p->keeper, command);
}

/* --- reports ----------------------------------------------------------- */

static void check_quiet(Roles *roles)
{
    if (roles->quitting && g_hash_table_size(roles->active) == 0 && g_hash_table_size(roles->standby) == 0)
        roles->events.on_quiet(roles->user);
}

static void on_report(void *user, void *letter)
{
    Roles *roles = user;
    g_autoptr(Report) report = letter;
    GHashTable *side = report->standby ? roles->standby : roles->active;
    Player *p = g_hash_table_lookup(side, &report->vm);

    g_assert(p);
    if (report->status) {
        json_decref(p->status);
        p->status = g_steal_pointer(&report->status);
    }
    if (report->done) {
        roles->events.on_status(roles->user, TRUE);
        answer(p, report->done->user, report->done->result, report->done->error);
    }
    if (report->ended) {
        g_hash_table_remove(side, &report->vm);
        player_free(p);
        if (!roles->quitting)
            roles->events.on_ended(roles->user, report->vm, report->standby);
    }
    /* Once for each report: before an answer, or when nothing waits for it. */
    if (!report->done || report->ended)
        roles->events.on_status(roles->user, FALSE);
    /* Last: whoever hears that all is quiet frees us. */
    check_quiet(roles);
}

/* --- roles ------------------------------------------------------------- */

Roles *roles_new(uv_loop_t *loop, const HostPaths *paths, Rescuer *rescuer, const RolesEvents *events,
                 void *user)
{
    Roles *roles = g_new0(Roles, 1);

    roles->paths = *paths;
    roles->rescuer = rescuer;
    roles->events = *events;
    roles->user = user;
    roles->reports = mailbox_new_loop(loop, on_report, roles, (GDestroyNotify)report_free);
    roles->active = g_hash_table_new(id_hash, id_equal_func);
    roles->standby = g_hash_table_new(id_hash, id_equal_func);
    return roles;
}

void roles_free(Roles *roles)
{
    if (!roles)
        return;
    g_assert(g_hash_table_size(roles->active) == 0 && g_hash_table_size(roles->standby) == 0);
    g_hash_table_destroy(roles->active);
    g_hash_table_destroy(roles->standby);
    mailbox_close(roles->reports);
    g_free(roles);
}

void roles_play_active(Roles *roles, ActiveRole *role, Identity *identity)
{
    Player *p = g_hash_table_lookup(roles->active, &role->vm);

    if (p) {
        tell(p, COMMAND_ROLE, active_role_to_json(role), NULL, NULL);
        active_role_free(role);
        return;
    }
    p = player_new(roles->active, role->vm);
    p->worker = worker_start(role, &roles->paths, identity, roles->rescuer, roles->reports);
}

void roles_set_identity(Roles *roles, Identity *identity)
{
    GHashTableIter it;
    gpointer value;

    g_hash_table_iter_init(&it, roles->active);
    while (g_hash_table_iter_next(&it, NULL, &value)) {
        Command *command = command_new(COMMAND_IDENTITY, NULL, NULL);
        const Player *p = value;

        command->identity = identity_ref(identity);
        if (p->ending)
            command_free(command);
        else
            worker_tell(p->worker, command);
    }
}

gboolean roles_is_promoted(const Roles *roles, Id vm)
{
    const Player *p = g_hash_table_lookup(roles->standby, &vm);
    const char *state = p ? json_string_value(json_object_get(p->status, "state")) : NULL;

    return g_strcmp0(state, "promoted") == 0;
}

Reign roles_promoted_reign(const Roles *roles, Id vm)
{
    const Player *p = g_hash_table_lookup(roles->standby, &vm);
    const json_t *doc = p ? json_object_get(p->status, "promoted") : NULL;
    Reign reign = {0};

    return json_is_object(doc) && reign_from_json(doc, &reign, NULL) ? reign : (Reign){0};
}

void roles_play_standby(Roles *roles, const StandbyRole *role)
{
    Player *p = g_hash_table_lookup(roles->standby, &role->vm);
    g_autofree char *dir = NULL;
    g_autofree char *run_dir = NULL;
    KeeperSpec spec;

    if (p) {
        tell(p, COMMAND_ROLE, standby_role_to_json(role), NULL, NULL);
        return;
    }
    p = player_new(roles->standby, role->vm);
    dir = g_build_filename(roles->paths.store_dir, ID_TEXT(role->vm), NULL);
    run_dir = g_build_filename(roles->paths.run_dir, "keep", ID_TEXT(role->vm), NULL);
    g_mkdir_with_parents(run_dir, 0700);
    spec = (KeeperSpec){.role = role, .dir = dir, .run_dir = run_dir, .paths = &roles->paths};
    p->keeper = keeper_start(&spec, roles->reports);
}

static void tell_side(GHashTable *side, const char *what, Id vm, CommandVerb verb, json_t *params,
                      RolesAnswer on_answer, void *user)
{
    Player *p = g_hash_table_lookup(side, &vm);
    g_autoptr(GError) error = NULL;

    if (p && !p->ending) {
        p->ending = verb == COMMAND_QUIT;
        tell(p, verb, params, on_answer, user);
        return;
    }
    json_decref(params);
    error = g_error_new(US_ERROR, US_ERROR_NOT_FOUND, "this host is not the %s of VM %s", what, ID_TEXT(vm));
    on_answer(user, NULL, error);
}

void roles_tell_active(Roles *roles, Id vm, CommandVerb verb, json_t *params, RolesAnswer on_answer,
                       void *user)
{
    tell_side(roles->active, "active", vm, verb, params, on_answer, user);
}

void roles_tell_standby(Roles *roles, Id vm, CommandVerb verb, json_t *params, RolesAnswer on_answer,
                        void *user)
{
    tell_side(roles->standby, "standby", vm, verb, params, on_answer, user);
}

void roles_attach(Roles *roles, Id vm, Link *link, Reign reign, json_t *images)
{
    Player *p = g_hash_table_lookup(roles->standby, &vm);
    Command *command;

    if (!p || p->ending) {
        link_free(link);
        json_decref(images);
        return;
    }
    command = command_new(COMMAND_ATTACH, images, NULL);
    command->link = link;
    command->reign = reign;
    keeper_tell(p->keeper, command);
}

/* --- status ------------------------------------------------------------ */

/* A worker says when its newest sealed instant was; how long ago that is, is a matter of now. */
static void age(json_t *status, json_t *standby, gint64 now_ms)
{
    gint64 truth_ms = json_integer_value(json_object_get(standby, "truth_ms"));
    gint64 interval_ms = json_integer_value(json_object_get(status, "interval_ms"));
    gint64 lag_ms = now_ms - truth_ms;

    json_object_del(standby, "truth_ms");
    json_object_set_new(standby, "lag_ms", truth_ms ? json_integer(lag_ms) : json_null());
    if (truth_ms && lag_ms > LAG_INTERVALS * interval_ms + LAG_EXTRA_MS &&
        g_strcmp0(json_string_value(json_object_get(standby, "state")), "protected") == 0) {
        json_object_set_new(standby, "state", json_string("lagging"));
        json_object_set_new(status, "state", json_string("lagging"));
    }
}

static json_t *aged(const Player *p, gint64 now_ms)
{
    json_t *status = json_deep_copy(p->status);
    json_t *standby;
    gsize i;

    json_array_foreach(json_object_get(status, "standbys"), i, standby) age(status, standby, now_ms);
    if (p->worker)
        json_object_set_new(status, "rescues",
                            json_pack("{s:i, s:s?}", "count", (int)p->rescues, "why", p->rescue_why));
    return status;
}

static json_t *list(GHashTable *side, gint64 now_ms)
{
    json_t *out = json_array();
    GHashTableIter it;
    gpointer value;

    g_hash_table_iter_init(&it, side);
    while (g_hash_table_iter_next(&it, NULL, &value)) {
        const Player *p = value;

        if (p->status)
            json_array_append_new(out, aged(p, now_ms));
    }
    return out;
}

static gboolean all_have_spoken(GHashTable *side)
{
    GHashTableIter it;
    gpointer value;

    g_hash_table_iter_init(&it, side);
    while (g_hash_table_iter_next(&it, NULL, &value))
        if (!((const Player *)value)->status)
            return FALSE;
    return TRUE;
}

json_t *roles_status(const Roles *roles, gint64 now_ms)
{
    return json_pack("{s:b, s:o, s:o}", "complete",
                     all_have_spoken(roles->active) && all_have_spoken(roles->standby), "active",
                     list(roles->active, now_ms), "standby", list(roles->standby, now_ms));
}

void roles_rescued(Roles *roles, Id vm, const char *why)
{
    Player *p = g_hash_table_lookup(roles->active, &vm);

    if (!p)
        return;
    p->rescues++;
    g_free(p->rescue_why);
    p->rescue_why = g_strdup(why);
    roles->events.on_status(roles->user, FALSE);
}

/* --- plans ------------------------------------------------------------- */

/* The step of @plan that the worker has been asked for and has not answered. */
static const char *doing(const Player *p, const char *plan)
{
    static const char *const STEPS[] = {
        [COMMAND_LOCK] = "lock",         [COMMAND_SHUTDOWN] = "shutdown", [COMMAND_FINAL] = "final",
        [COMMAND_PARK] = "park",         [COMMAND_RELEASE] = "release",   [COMMAND_UNLOCK] = "unlock",
        [COMMAND_ROLLBACK] = "rollback",
    };
    GHashTableIter it;
    gpointer key;

    g_hash_table_iter_init(&it, p->asked);
    while (g_hash_table_iter_next(&it, &key, NULL)) {
        const Question *q = key;

        if (q->verb < G_N_ELEMENTS(STEPS) && STEPS[q->verb] && g_strcmp0(q->plan, plan) == 0)
            return STEPS[q->verb];
    }
    return NULL;
}

json_t *roles_plan_state(const Roles *roles, Id vm, const char *plan)
{
    const Player *p = g_hash_table_lookup(roles->active, &vm);
    const json_t *known;
    json_t *state;

    if (!p || !p->status)
        return NULL;
    known = json_object_get(p->status, "plan");
    if (g_strcmp0(json_string_value(json_object_get(known, "plan")), plan) == 0)
        state = json_deep_copy(known);
    else
        state = json_pack("{s:s, s:n, s:n, s:n}", "done", "none", "tip", "certificate", "error");
    json_object_set_new(state, "doing", doing(p, plan) ? json_string(doing(p, plan)) : json_null());
    return state;
}

static void quit_side(GHashTable *side)
{
    GHashTableIter it;
    gpointer value;

    g_hash_table_iter_init(&it, side);
    while (g_hash_table_iter_next(&it, NULL, &value)) {
        Player *p = value;

        if (!p->ending)
            tell(p, COMMAND_QUIT, NULL, NULL, NULL);
        p->ending = TRUE;
    }
}

void roles_quit(Roles *roles)
{
    roles->quitting = TRUE;
    quit_side(roles->active);
    quit_side(roles->standby);
    check_quiet(roles);
}

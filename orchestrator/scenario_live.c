/* SPDX-License-Identifier: Apache-2.0 */
/* Inputs come from everywhere, also from within what an action starts; so one pump
 * at a time empties the queue. What comes back later finds the scenario by its id, since
 * it may be gone by then. */
#include "orchestrator/scenario_live.h"

#include "orchestrator/core/verify.h"
#include "orchestrator/verification.h"
#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/log.h"

/* Engines that are busy with a stop for longer go on with it by themselves. */
#define STOP_WAIT_MS 20000

/* An action, or somebody to tell that all before it is done. */
typedef struct {
    Action *action;
    Waiter waiter;
    gint64 until_ms; /* a call is not made any more after it */
} Todo;

/* What a callback gets: a scenario that may be gone. */
typedef struct {
    Scenarios *owner;
    Id id;
    guint round; /* of a verification */
    Id vm;       /* of a call */
    guint64 order;
    char *host;
    const char *method;
} Ticket;

static Ticket *ticket_new(const Live *live)
{
    Ticket *t = g_new0(Ticket, 1);

    t->owner = live->owner;
    t->id = live->id;
    t->round = live->round;
    return t;
}

static Live *ticket_use(Ticket *t)
{
    return t->owner->closed ? NULL : scenarios_live(t->owner, t->id);
}

static void ticket_free(Ticket *t)
{
    g_free(t->host);
    g_free(t);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Ticket, ticket_free)

static void todo_free(Todo *todo)
{
    action_free(todo->action);
    g_free(todo);
}

Live *live_new(Scenarios *owner, Id id, Protection *steal_protection)
{
    Live *live = g_new0(Live, 1);

    live->owner = owner;
    live->id = id;
    live->p = steal_protection;
    live->p->vitals = owner->vitals;
    live->todo = g_queue_new();
    live->papers = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    live->look_at_ms = clock_steady_ms() + steal_protection->scenario->policy.verify_interval_ms;
    return live;
}

static void tell(Waiter *waiter, const GError *error)
{
    Waiter w = *waiter;

    *waiter = (Waiter){0};
    if (w.done)
        w.done(w.user, error);
}

void live_free(gpointer data)
{
    Live *live = data;
    g_autoptr(GError) cancelled =
        g_error_new(US_ERROR, US_ERROR_CANCELLED, "the controller has ended, or the scenario is gone");
    Todo *todo;

    tell(&live->runner, cancelled);
    tell(&live->stopper, cancelled);
    while ((todo = g_queue_pop_head(live->todo))) {
        if (todo->waiter.done)
            todo->waiter.done(todo->waiter.user, cancelled);
        todo_free(todo);
    }
    g_queue_free(live->todo);
    verify_memory_free(live->known);
    g_hash_table_destroy(live->papers);
    protection_free(live->p);
    g_free(live);
}

/* --- the row ----------------------------------------------------------- */

static void pump(Live *live);

json_t *live_document(const Live *live, guint64 row)
{
    return json_pack("{s:s, s:I, s:o, s:o}", "id", ID_TEXT(live->id), "row", (json_int_t)row, "scenario",
                     scenario_to_json(live->p->scenario), "protection", protection_to_json(live->p));
}

/* The first row could not be made: whoever asked for it is told, and it is as if nothing had been. */
static void give_up_first(Live *live, const GError *error)
{
    Todo *first = g_queue_pop_head(live->todo);
    Todo *waiter = g_queue_pop_head(live->todo);

    waiter->waiter.done(waiter->waiter.user, error);
    todo_free(first);
    todo_free(waiter);
    scenarios_drop(live->owner, live);
}

static void on_kept(const GError *error, void *user)
{
    g_autoptr(Ticket) t = user;
    Live *live = ticket_use(t);

    if (!live)
        return;
    if (error && live->is_new) {
        give_up_first(live, error);
        return;
    }
    if (error) {
        live->keep_again = TRUE;
        log_error("%s: what it decided cannot be kept: %s -> it is tried again, and nothing is done before",
                  live->p->scenario->name, error->message);
        if (database_is_lost(error))
            t->owner->duties.on_lost(t->owner->user, error);
        return;
    }
    live->is_new = FALSE;
    live->keeping = FALSE;
    live->note_again = FALSE;
    live->row++;
    todo_free(g_queue_pop_head(live->todo));
    pump(live);
}

/* As it is now, which may be newer than what was decided on: never older. */
static void keep(Live *live)
{
    DatabaseChanges *changes = database_changes_new();
    json_auto_t *doc = live_document(live, live->row + 1);

    live->keeping = TRUE;
    live->keep_again = FALSE;
    database_put_scenario(changes, live->id, live->p->scenario->name, doc);
    database_submit(live->owner->db, changes, on_kept, ticket_new(live));
}

static void note(Live *live);

void live_persist_again(Live *live)
{
    if (live->keep_again)
        keep(live);
    else if (live->note_again && !live->keeping && live->noting == 0)
        note(live);
}

static void on_noted(const GError *error, void *user)
{
    g_autoptr(Ticket) t = user;
    Live *live = ticket_use(t);

    if (!live)
        return;
    live->noting--;
    if (!error)
        return;
    if (!live->note_again)
        log_warning("%s: what was told cannot be kept, and would be told again by a controller that starts: "
                    "%s -> it is tried again",
                    live->p->scenario->name, error->message);
    live->note_again = TRUE;
    if (database_is_lost(error))
        t->owner->duties.on_lost(t->owner->user, error);
}

/* Its number is used up, whatever comes of it: the row behind it may be under way before. */
static void note(Live *live)
{
    DatabaseChanges *changes;
    json_auto_t *doc = NULL;

    if (live->is_new || live->leaving)
        return;
    changes = database_changes_new();
    doc = live_document(live, ++live->row);
    live->noting++;
    database_put_scenario(changes, live->id, live->p->scenario->name, doc);
    database_submit(live->owner->db, changes, on_noted, ticket_new(live));
}

/* --- actions ----------------------------------------------------------- */

static void on_answer(void *user, const json_t *result, const GError *error)
{
    g_autoptr(Ticket) t = user;
    Live *live = ticket_use(t);
    Input in = {.kind = INPUT_ANSWER,
                .vm = t->vm,
                .host = t->host,
                .method = t->method,
                .order = t->order,
                .failure = error,
                .json = result};

    if (live)
        live_step(live, in, NULL, NULL, NULL);
}

static void do_call(Live *live, const Action *a, gint64 until_ms)
{
    Scenarios *s = live->owner;
    Ticket *t = ticket_new(live);
    g_autoptr(GError) late = NULL;
    /* What moves a VM says who commands it; of an older controller the engines learn by the reign. */
    json_auto_t *params =
        g_str_has_prefix(a->method, "plan.") ? s->duties.sign(s->user, a->params) : json_incref(a->params);

    t->vm = a->vm;
    t->order = a->order;
    t->host = g_strdup(a->host);
    t->method = a->method;
    if (clock_steady_ms() < until_ms) {
        hosts_call(s->hosts, a->host, a->method, params, a->limit_ms, on_answer, t);
        return;
    }
    /* What is decided waits until it is durable, on a full disk for hours: by then nobody counts on it any more. */
    late = g_error_new(US_ERROR, US_ERROR_BUSY,
                       "what was decided could not be kept in time: %s was not asked", a->host);
    on_answer(t, NULL, late);
}

static void remember(Live *live, const GPtrArray *findings)
{
    verify_memory_free(live->known);
    live->known = verify_memory_new(findings);
    live->look_at_ms = clock_steady_ms() + live->p->scenario->policy.verify_interval_ms;
}

static void on_verified(void *user, const VerifyFacts *facts)
{
    g_autoptr(Ticket) t = user;
    Live *live = ticket_use(t);
    g_autoptr(GPtrArray) findings = verify_check(facts);
    g_autoptr(GError) failure = verify_failure(findings);
    json_auto_t *networks = verify_networks(facts);
    Input in = {.kind = INPUT_VERIFIED,
                .failure = failure,
                .networks = networks,
                .rests_on_fence = verify_rests_on_fence(findings)};
    Waiter runner;

    /* It was stopped, changed and perhaps run again meanwhile: this is the answer to another question. */
    if (!live || t->round != live->round)
        return;
    remember(live, findings);
    if (failure) {
        live_step(live, in, NULL, NULL, NULL);
        tell(&live->runner, failure);
        return;
    }
    runner = live->runner;
    live->runner = (Waiter){0};
    live_step(live, in, runner.done, runner.user, NULL);
}

/* Of one that a command, or what breaks the waiting, has overtaken there is nothing to say. */
static void on_switched_back(void *user, const GError *error)
{
    g_autoptr(Ticket) t = user;
    Live *live = ticket_use(t);

    if (live && (!error || protection_wants_home(live->p)))
        live_step(live, (Input){.kind = INPUT_SWITCHBACK, .failure = error}, NULL, NULL, NULL);
}

static void do_switchback(Live *live)
{
    Scenarios *s = live->owner;

    /* A command has overtaken it while it was made durable. */
    if (!protection_wants_home(live->p))
        return;
    s->duties.switch_back(s->user, live->p, on_switched_back, ticket_new(live));
}

static void on_taken_over(void *user, const GError *error)
{
    g_autoptr(Ticket) t = user;
    Live *live = ticket_use(t);

    if (live && (!error || protection_wants_takeover(live->p)))
        live_step(live, (Input){.kind = INPUT_TAKEOVER, .failure = error}, NULL, NULL, NULL);
}

static void do_takeover(Live *live)
{
    Scenarios *s = live->owner;

    if (protection_wants_takeover(live->p))
        s->duties.take_over(s->user, live->p, on_taken_over, ticket_new(live));
}

static void do_action(Live *live, const Todo *todo)
{
    const Action *a = todo->action;

    switch (a->kind) {
    case ACTION_CALL:
        do_call(live, a, todo->until_ms);
        return;
    case ACTION_PUBLISH:
        events_publish(live->owner->events, a->event);
        return;
    case ACTION_VERIFY:
        verification_start(live->owner->hosts, live->p->scenario, NULL, on_verified, ticket_new(live));
        return;
    case ACTION_SWITCHBACK:
        do_switchback(live);
        return;
    case ACTION_TAKEOVER:
        do_takeover(live);
        return;
    case ACTION_LOG:
        log_info("%s", a->text);
        return;
    case ACTION_NOTE:
        note(live);
        return;
    case ACTION_PERSIST:
    case ACTION_TELL:
        break;
    }
    g_assert_not_reached(); /* keep() does the one, and only plans ask for the other */
}

static void do_todo(Live *live, const Todo *todo)
{
    if (todo->action)
        do_action(live, todo);
    else
        todo->waiter.done(todo->waiter.user, NULL);
}

static gboolean all_are_up(const Protection *p)
{
    return protection_is_up(p, p->scenario->master) && protection_is_up(p, p->scenario->replicas->pdata[0]);
}

/* --- looking by itself --------------------------------------------------- */

/* A host that is away is an event of its own. */
static gboolean is_at_home(const Protection *p)
{
    return !protection_away(p) && id_is_nil(p->plan) && !p->verifying && all_are_up(p);
}

static void on_looked(void *user, const VerifyFacts *facts)
{
    g_autoptr(Ticket) t = user;
    Live *live = ticket_use(t);
    g_autoptr(GPtrArray) findings = verify_check(facts);
    g_autoptr(GError) failure = NULL;
    g_autoptr(Event) news = NULL;

    if (!live)
        return;
    live->looking = FALSE;
    /* It was begun before things moved: what it found says nothing of how they are. */
    if (t->round != live->round || !is_at_home(live->p))
        return;
    news = verify_memory_news(live->known, findings, live->p->scenario->name);
    if (news)
        events_publish(live->owner->events, news);
    remember(live, findings);
    failure = verify_takeover_failure(findings, live->p->scenario->master);
    live_step(
        live,
        (Input){.kind = INPUT_LOOKED, .failure = failure, .rests_on_fence = verify_rests_on_fence(findings)},
        NULL, NULL, NULL);
}

void live_look(Live *live)
{
    gint64 latest_ms = clock_steady_ms() + live->p->scenario->policy.verify_interval_ms;

    /* The interval may have become shorter. */
    live->look_at_ms = MIN(live->look_at_ms, latest_ms);
    if (live->looking || live->leaving || clock_steady_ms() < live->look_at_ms || !is_at_home(live->p))
        return;
    live->looking = TRUE;
    verification_start(live->owner->hosts, live->p->scenario, protection_networks(live->p), on_looked,
                       ticket_new(live));
}

/* --- the pump ------------------------------------------------------------ */

static void tell_stopper(Live *live)
{
    gboolean engines_work =
        protection_owes(live->p) && all_are_up(live->p) && clock_steady_ms() < live->stop_until_ms;

    if (live->stopper.done && g_queue_is_empty(live->todo) && !engines_work)
        tell(&live->stopper, NULL);
}

static void pump(Live *live)
{
    const Todo *first;

    if (live->pumping)
        return;
    live->pumping = TRUE;
    while (!live->owner->closed && !live->keeping && (first = g_queue_peek_head(live->todo))) {
        Todo *todo;

        if (first->action && first->action->kind == ACTION_PERSIST) {
            keep(live);
            break;
        }
        todo = g_queue_pop_head(live->todo);
        do_todo(live, todo);
        todo_free(todo);
    }
    live->pumping = FALSE;
    if (!live->owner->closed)
        tell_stopper(live);
}

/* --- inputs ------------------------------------------------------------ */

static void push(Live *live, Action *steal_action, ScenariosDone done, void *user)
{
    Todo *todo = g_new0(Todo, 1);

    *todo = (Todo){.action = steal_action, .waiter = {done, user}};
    if (steal_action)
        todo->until_ms = clock_steady_ms() + steal_action->limit_ms;
    g_queue_push_tail(live->todo, todo);
}

static void push_persist(Live *live)
{
    g_autoptr(ActionList) list = action_list_new();

    action_persist(list, NULL);
    push(live, g_steal_pointer(&list->pdata[0]), NULL, NULL);
}

/* `condition -> decision`, one line an action that a person may want to know of. */
static void narrate(const Live *live, const Input *in, const ActionList *out)
{
    const ProtectionVm *about = protection_find(live->p, in->vm);
    g_autofree char *condition = input_words(in, about ? about->name : NULL);

    for (guint i = 0; i < out->len; i++) {
        const Action *a = out->pdata[i];
        const ProtectionVm *vm = protection_find(live->p, a->vm);
        g_autofree char *decision = NULL;

        if (a->kind == ACTION_LOG || a->kind == ACTION_PERSIST || a->kind == ACTION_NOTE)
            continue;
        decision = action_words(a, vm ? vm->name : NULL);
        log_info("%s: %s -> %s", live->p->scenario->name, condition, decision);
    }
}

static gboolean may_step(const Live *live, const Input *in, GError **error)
{
    gboolean command = in->kind <= INPUT_CONTINUE || in->kind == INPUT_POLICY;

    if (live->leaving && command)
        g_set_error(error, US_ERROR, US_ERROR_BUSY, "scenario '%s' is being deleted",
                    live->p->scenario->name);
    return !live->leaving || !command;
}

/* A stop overtakes the run whose verification is still under way. */
static void tell_stopped(Live *live)
{
    g_autoptr(GError) stopped =
        g_error_new(US_ERROR, US_ERROR_CANCELLED, "scenario '%s' was stopped while its hosts were looked at",
                    live->p->scenario->name);

    tell(&live->runner, stopped);
}

/* Time that passes and an engine's word change who is to be watched only where they change what is durable. */
static gboolean may_move(const Input *in, const ActionList *out)
{
    if (in->kind != INPUT_TICK && in->kind != INPUT_NEWS)
        return TRUE;
    for (guint i = 0; i < out->len; i++)
        if (((const Action *)out->pdata[i])->kind == ACTION_PERSIST)
            return TRUE;
    return FALSE;
}

gboolean live_step(Live *live, Input in, ScenariosDone done, void *user, GError **error)
{
    g_autoptr(ActionList) out = action_list_new();

    in.now_ms = clock_steady_ms();
    in.wall_ms = clock_wall_ms();
    if (!may_step(live, &in, error) || !protection_step(live->p, &in, out, error))
        return FALSE;
    narrate(live, &in, out);
    if (may_move(&in, out))
        watches_changed(live->owner->watches);
    if (in.kind == INPUT_STOP || in.kind == INPUT_POLICY || in.kind == INPUT_RUN)
        live->round++;
    if (in.kind == INPUT_STOP)
        tell_stopped(live);
    if (in.kind == INPUT_POLICY)
        push_persist(live); /* the scenario's document, which the protection's state has not */
    if (in.kind == INPUT_POLICY && live->p->verifying)
        action_verify(out); /* before it is run: what is looked at is not what it is any more */
    for (guint i = 0; i < out->len; i++)
        push(live, g_steal_pointer(&out->pdata[i]), NULL, NULL);
    if (done)
        push(live, NULL, done, user);
    pump(live);
    return TRUE;
}

void live_wait_verified(Live *live, ScenariosDone done, void *user)
{
    g_assert(!live->runner.done);
    live->runner = (Waiter){done, user};
}

void live_wait_stopped(Live *live, ScenariosDone done, void *user)
{
    tell(&live->stopper, NULL);
    live->stopper = (Waiter){done, user};
    live->stop_until_ms = clock_steady_ms() + STOP_WAIT_MS;
    pump(live);
}

void live_persist_first(Live *live, ScenariosDone done, void *user)
{
    live->is_new = TRUE;
    push_persist(live);
    push(live, NULL, done, user);
    pump(live);
}

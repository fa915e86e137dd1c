/* SPDX-License-Identifier: Apache-2.0 */
/* Happy path: row, test.start, test.result again and again, test.evidence of each VM, row with the end, events, row closed,
 * test.forget. What an engine does not answer is asked again; what it does not know any more was stopped, which says nothing of
 * the copies. A callback finds its test by its id: it may be gone. */
#include "orchestrator/rehearsal_live.h"

#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"
#include "vmconnect/base/log.h"
#include "vmconnect/base/stop.h"

#define CALL_MS 30000
#define EACH_MS 10000 /* news come at once; this is for those that do not */
#define AGAIN_MS 5000

typedef struct {
    Rehearsals *owner;
    Id id;
} Word;

static Word *word_new(const Rehearsal *t)
{
    Word *w = g_new0(Word, 1);

    *w = (Word){t->owner, t->id};
    return w;
}

/* NULL: it is gone, or all ends. */
static Rehearsal *word_of(Word *steal_word)
{
    g_autofree Word *w = steal_word;

    return w->owner->closed ? NULL : rehearsals_find(w->owner, w->id);
}

Rehearsal *rehearsal_new(Rehearsals *owner, Id id, const char *scenario, const char *host,
                         json_t *steal_params, json_t *steal_doc)
{
    Rehearsal *t = g_new0(Rehearsal, 1);

    *t = (Rehearsal){.owner = owner,
                     .id = id,
                     .scenario = g_strdup(scenario),
                     .host = g_strdup(host),
                     .params = steal_params,
                     .doc = steal_doc,
                     .changed = -1};
    return t;
}

static void tell_beginner(Rehearsal *t, const GError *error)
{
    RehearsalsDone done = t->done;

    t->done = NULL;
    if (done)
        done(t->user, error ? NULL : t->doc, error);
}

void rehearsal_free(gpointer rehearsal)
{
    Rehearsal *t = rehearsal;
    g_autoptr(GError) ended =
        g_error_new(US_ERROR, US_ERROR_CANCELLED, "scenario '%s': it is not known whether the test has begun",
                    t->scenario);

    tell_beginner(t, ended);
    rehearsal_result_free(t->result);
    json_decref(t->params);
    json_decref(t->doc);
    g_free(t->scenario);
    g_free(t->host);
    g_free(t);
}

gboolean rehearsal_has_ended(const Rehearsal *t)
{
    return t->phase >= REHEARSAL_FETCHING;
}

json_t *rehearsal_describe(const Rehearsal *t)
{
    json_t *doc = json_copy(t->doc);
    gboolean silent = t->phase <= REHEARSAL_FETCHING && !hosts_is_up(t->owner->hosts, t->host);

    json_object_set_new(
        doc, "waits",
        silent
            ? json_sprintf("the engine of %s does not answer: what became of the test is asked when it does",
                           t->host)
            : json_null());
    return doc;
}

static void put_row(const Rehearsal *t, gboolean open, DatabaseChanges *changes)
{
    json_auto_t *state = json_pack("{s:b, s:s, s:b, s:b}", "open", open, "host", t->host, "begun", t->begun,
                                   "ready", t->ready);

    /* An earlier version reads no row that has what it does not know. */
    if (t->given_up)
        json_object_set_new(state, "given_up", json_true());
    database_put_test(changes, t->id, t->scenario, t->begun_ms, state, t->doc);
}

static void on_noted(const GError *error, void *user)
{
    (void)user;
    if (error)
        log_warning("what is known of an integrity test could not be kept: %s", error->message);
}

/* What is asked for again after a restart need not be waited for. */
static void note(const Rehearsal *t)
{
    DatabaseChanges *changes = database_changes_new();

    put_row(t, TRUE, changes);
    database_submit(t->owner->db, changes, on_noted, NULL);
}

static void publish(const Rehearsal *t, EventCode code, const char *why)
{
    g_autoptr(Event) event = event_new(code, t->scenario, t->host, NULL, why);

    events_publish(t->owner->events, event);
}

/* --- the end ---------------------------------------------------------------- */

static void on_forgotten(void *user, const json_t *result, const GError *error)
{
    (void)user;
    (void)result;
    (void)error; /* its news say whether it still knows it */
}

static void on_closed(const GError *error, void *user)
{
    Rehearsal *t = word_of(user);
    json_auto_t *params = t ? json_pack("{s:s}", "test", ID_TEXT(t->id)) : NULL;

    if (!t)
        return;
    t->busy = FALSE;
    if (error) {
        log_warning("integrity test %s: its end is told, and its row still open: %s -> try again",
                    ID_TEXT(t->id), error->message);
        t->again_ms = clock_steady_ms() + EACH_MS;
        return;
    }
    stop_at("test.closed");
    hosts_call(t->owner->hosts, t->host, "test.forget", params, CALL_MS, on_forgotten, NULL);
    g_ptr_array_remove(t->owner->list, t);
}

static void close_row(Rehearsal *t)
{
    DatabaseChanges *changes = database_changes_new();

    put_row(t, FALSE, changes);
    database_forget_tests(changes, t->scenario, REHEARSALS_KEPT);
    t->busy = TRUE;
    database_submit(t->owner->db, changes, on_closed, word_new(t));
}

/* Nobody wanted it so: a test each night that says nothing must not go unseen. */
static gboolean was_cut_short(const Rehearsal *t)
{
    gboolean manual = json_is_true(json_object_get(t->doc, "manual"));

    return t->result->verdict == REHEARSAL_STOPPED && !t->stop &&
           (t->given_up || (t->result->why && !manual));
}

static void tell_end(Rehearsal *t)
{
    static const char *const HOW[] = {"-", "passed", "failed", "stopped"};
    const RehearsalResult *r = t->result;
    g_autofree char *text = r->verdict == REHEARSAL_PASSED   ? rehearsal_result_passed_text(r)
                            : r->verdict == REHEARSAL_FAILED ? rehearsal_result_failed_text(r)
                                                             : NULL;
    g_autofree char *end =
        g_strdup_printf("%s; %s", !text && r->why ? r->why : HOW[r->verdict],
                        t->given_up ? "what it may have left there is removed by its engine"
                                    : "everything that it wrote was thrown away");

    if (text)
        publish(t, r->verdict == REHEARSAL_PASSED ? EVENT_TEST_PASSED : EVENT_TEST_FAILED, text);
    if (was_cut_short(t))
        publish(t, EVENT_TEST_UNDECIDED, r->why ? r->why : "its engine says no reason");
    publish(t, EVENT_TEST_ENDED, end);
}

static void prove(const Rehearsal *t)
{
    for (guint i = 0; i < t->result->vms->len; i++) {
        const RehearsalVm *vm = t->result->vms->pdata[i];
        const ProofsVerdict verdict = {.scenario = t->scenario,
                                       .vm = vm->vm,
                                       .point = vm->point,
                                       .chosen = json_is_string(json_object_get(t->doc, "point")),
                                       .host = t->host,
                                       .passed = vm->verdict == REHEARSAL_PASSED,
                                       .back_ms = vm->back_ms,
                                       .at = t->result->ended_at};

        if (verdict.passed || vm->verdict == REHEARSAL_FAILED)
            proofs_add(t->owner->proofs, &verdict);
    }
}

static void on_kept(const GError *error, void *user)
{
    Rehearsal *t = word_of(user);

    if (!t)
        return;
    t->busy = FALSE;
    if (error) {
        log_warning("integrity test %s: its result could not be kept: %s -> try again", ID_TEXT(t->id),
                    error->message);
        t->again_ms = clock_steady_ms() + EACH_MS;
        return;
    }
    stop_at("test.kept");
    prove(t);
    t->phase = REHEARSAL_KEPT;
    t->again_ms = 0;
    rehearsal_pump(t);
}

static void keep(Rehearsal *t)
{
    DatabaseChanges *changes = database_changes_new();

    put_row(t, TRUE, changes);
    t->busy = TRUE;
    database_submit(t->owner->db, changes, on_kept, word_new(t));
}

/* At once, since many screens are much memory; durable before the end is, which comes after it. */
static void keep_evidence(const Rehearsal *t, const json_t *seen)
{
    const RehearsalVm *vm = t->result->vms->pdata[t->at];
    DatabaseChanges *changes = database_changes_new();

    database_put_evidence(changes, t->id, vm->vm, json_string_value(json_object_get(seen, "png")),
                          json_string_value(json_object_get(seen, "console")));
    database_submit(t->owner->db, changes, on_noted, NULL);
}

static void on_evidence(void *user, const json_t *result, const GError *error)
{
    Rehearsal *t = word_of(user);

    if (!t)
        return;
    t->busy = FALSE;
    if (error && us_error_may_pass(error)) {
        t->again_ms = clock_steady_ms() + AGAIN_MS;
        return;
    }
    if (!error)
        keep_evidence(t, result);
    stop_at("test.seen");
    t->at++;
    rehearsal_pump(t);
}

static void fetch(Rehearsal *t)
{
    const RehearsalVm *vm = t->at < t->result->vms->len ? t->result->vms->pdata[t->at] : NULL;
    json_auto_t *params = vm ? json_pack("{s:s, s:s}", "test", ID_TEXT(t->id), "vm", ID_TEXT(vm->vm)) : NULL;

    if (!vm) {
        t->phase = REHEARSAL_KEEPING;
        keep(t);
        return;
    }
    t->busy = TRUE;
    hosts_call(t->owner->hosts, t->host, "test.evidence", params, CALL_MS, on_evidence, word_new(t));
}

/* What a VM of it has failed by; NULL: none has. The caller frees. */
static char *failure(const Rehearsal *t)
{
    json_t *vm;
    gsize i;

    json_array_foreach(json_object_get(t->doc, "vms"), i, vm)
    {
        if (g_strcmp0(json_string_value(json_object_get(vm, "verdict")), "failed") == 0)
            return g_strdup_printf("'%s': %s", json_string_value(json_object_get(vm, "name")) ?: "-",
                                   json_string_value(json_object_get(vm, "why")) ?: "no reason is known");
    }
    return NULL;
}

/* Nobody will say more of it: what is known so far is the result, and one VM that has failed makes it a failure as ever. */
static void give_up(Rehearsal *t, const char *why)
{
    g_autofree char *failed = failure(t);
    const char *whole = failed ? "failed" : "stopped";
    gboolean was_to_end = t->stop;
    g_autofree char *all = failed ? g_strdup_printf("%s; after that %s", failed, why) : g_strdup(why);
    char at[CLOCK_TEXT_LEN + 1];
    json_t *vm;
    gsize i;

    log_warning("integrity test %s of scenario '%s': %s -> %s", ID_TEXT(t->id), t->scenario, why, whole);
    rehearsal_end(t); /* if a word of ours reached it late, or it says what cannot be read */
    t->stop = was_to_end;
    t->given_up = TRUE;
    json_object_set_new(t->doc, "state", json_string("ended"));
    json_object_set_new(t->doc, "ended_at", json_string(clock_format(clock_wall_ms(), at)));
    json_object_set_new(t->doc, "verdict", json_string(whole));
    json_object_set_new(t->doc, "why", json_string(all));
    json_array_foreach(json_object_get(t->doc, "vms"), i, vm)
    {
        json_object_set_new(vm, "state", json_string("ended"));
        if (!json_is_string(json_object_get(vm, "verdict")))
            json_object_set_new(vm, "verdict", json_string("stopped"));
    }
    t->result = rehearsal_result_from_json(t->doc, t->id, NULL);
    g_assert(t->result);
    t->phase = REHEARSAL_KEEPING;
    keep(t);
}

/* --- while it runs ---------------------------------------------------------- */

static void tell_begun(Rehearsal *t)
{
    t->begun = TRUE;
    note(t);
    publish(t, EVENT_TEST_STARTED, NULL);
}

static void take(Rehearsal *t, const json_t *doc, RehearsalResult *steal_result)
{
    g_autoptr(RehearsalResult) r = steal_result;
    json_auto_t *before = t->doc;
    json_t *point = json_object_get(before, "point");

    t->doc = json_deep_copy(doc);
    json_object_set(t->doc, "point", point ? point : json_null());
    json_object_set_new(t->doc, "scenario", json_string(t->scenario));
    json_object_set_new(t->doc, "host", json_string(t->host));
    if (!t->begun)
        tell_begun(t);
    if (r->ready && !t->ready) {
        stop_at("test.ready");
        t->ready = TRUE;
        note(t);
        publish(t, EVENT_TEST_READY, ID_TEXT(t->id));
    }
    if (!r->ended)
        return;
    stop_at("test.result");
    t->result = g_steal_pointer(&r);
    t->phase = REHEARSAL_FETCHING;
    t->again_ms = 0;
}

static void on_result(void *user, const json_t *doc, const GError *error)
{
    Rehearsal *t = word_of(user);
    g_autoptr(GError) odd = NULL;
    g_autofree char *why = NULL;
    RehearsalResult *r;

    if (!t)
        return;
    t->busy = FALSE;
    t->again_ms = t->changed == t->asked ? clock_steady_ms() + EACH_MS : 0;
    if (g_error_matches(error, US_ERROR, US_ERROR_NOT_FOUND)) {
        why = t->begun ? g_strdup_printf("the engine of %s was restarted and does not know the test any more",
                                         t->host)
                       : g_strdup_printf("the engine of %s does not know the test: it was not begun there",
                                         t->host);
        give_up(t, why);
        return;
    }
    if (error) {
        t->again_ms = clock_steady_ms() + AGAIN_MS;
        return;
    }
    r = rehearsal_result_from_json(doc, t->id, &odd);
    if (r)
        take(t, doc, r);
    else
        give_up(t, odd->message);
    rehearsal_pump(t);
}

static void ask(Rehearsal *t)
{
    json_auto_t *params = json_pack("{s:s}", "test", ID_TEXT(t->id));

    t->busy = TRUE;
    t->asked = t->changed;
    hosts_call(t->owner->hosts, t->host, "test.result", params, CALL_MS, on_result, word_new(t));
}

static void on_stopped(void *user, const json_t *result, const GError *error)
{
    Rehearsal *t = word_of(user);

    (void)result;
    if (t)
        rehearsal_end_said(t, error);
}

void rehearsal_end_said(Rehearsal *t, const GError *error)
{
    t->stopping--;
    /* Said before it had begun it may have found nothing to end. */
    t->stopped |= !error && t->begun;
    t->stop_ms = clock_steady_ms() + AGAIN_MS;
    rehearsal_hurry(t);
}

void rehearsal_end(Rehearsal *t)
{
    json_auto_t *params = json_pack("{s:s}", "test", ID_TEXT(t->id));

    t->stop = TRUE;
    if (t->phase == REHEARSAL_ROW || rehearsal_has_ended(t) || t->stopped || t->stopping > 0 ||
        !hosts_is_up(t->owner->hosts, t->host))
        return;
    t->stopping++;
    hosts_call(t->owner->hosts, t->host, "test.stop", params, CALL_MS, on_stopped, word_new(t));
}

void rehearsal_hurry(Rehearsal *t)
{
    if (t->phase <= REHEARSAL_FETCHING)
        t->again_ms = 0;
    rehearsal_pump(t);
}

void rehearsal_pump(Rehearsal *t)
{
    gboolean due = !t->busy && clock_steady_ms() >= t->again_ms;

    switch (t->phase) {
    case REHEARSAL_ROW:
    case REHEARSAL_STARTING:
        return;
    case REHEARSAL_RUNNING:
        if (t->stop && clock_steady_ms() >= t->stop_ms)
            rehearsal_end(t);
        if (due && hosts_is_up(t->owner->hosts, t->host))
            ask(t);
        return;
    case REHEARSAL_FETCHING:
        if (due && hosts_is_up(t->owner->hosts, t->host))
            fetch(t);
        return;
    case REHEARSAL_KEEPING:
        if (due)
            keep(t);
        return;
    case REHEARSAL_KEPT:
        if (!due)
            return;
        if (t->result) {
            tell_end(t);
            g_clear_pointer(&t->result, rehearsal_result_free);
        }
        close_row(t);
        return;
    }
}

/* --- the beginning ---------------------------------------------------------- */

/* Nothing was begun, and nothing is kept of it. */
static void drop(Rehearsal *t, const GError *error)
{
    DatabaseChanges *changes = database_changes_new();

    database_delete_test(changes, t->id);
    database_submit(t->owner->db, changes, on_noted, NULL);
    tell_beginner(t, error);
    g_ptr_array_remove(t->owner->list, t);
}

static void on_started(void *user, const json_t *result, const GError *error)
{
    Rehearsal *t = word_of(user);
    g_autoptr(GError) why = error ? g_error_copy(error) : NULL;

    (void)result;
    if (!t)
        return;
    t->busy = FALSE;
    if (error && !rehearsal_may_have_begun(error)) {
        drop(t, error);
        return;
    }
    stop_at("test.told");
    t->phase = REHEARSAL_RUNNING;
    if (error) {
        g_prefix_error(
            &why,
            "scenario '%s': it is not known whether the test has begun, understudy test list %s will say: ",
            t->scenario, t->scenario);
    } else {
        tell_begun(t);
    }
    t->stop_ms = 0;
    tell_beginner(t, why);
    rehearsal_pump(t);
}

static void on_row(const GError *error, void *user)
{
    Rehearsal *t = word_of(user);
    g_autoptr(GError) late = NULL;

    if (!t)
        return;
    t->busy = FALSE;
    if (!error && t->stop)
        late = g_error_new(US_ERROR, US_ERROR_BUSY,
                           "scenario '%s': its VMs are needed elsewhere: no test was begun", t->scenario);
    if (error || late) {
        drop(t, error ? error : late);
        return;
    }
    stop_at("test.row");
    t->phase = REHEARSAL_STARTING;
    t->busy = TRUE;
    hosts_call(t->owner->hosts, t->host, "test.start", t->params, CALL_MS, on_started, word_new(t));
}

void rehearsal_begin(Rehearsal *t)
{
    DatabaseChanges *changes = database_changes_new();

    t->begun_ms = clock_wall_ms();
    t->busy = TRUE;
    put_row(t, TRUE, changes);
    database_submit(t->owner->db, changes, on_row, word_new(t));
}

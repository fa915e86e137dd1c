/* SPDX-License-Identifier: Apache-2.0 */
/* Which tests there are, and what is said of them; how one of them lives is rehearsal_live.c. */
#include "orchestrator/rehearsals.h"

#include "orchestrator/rehearsal_live.h"
#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"
#include "vmconnect/base/log.h"

#define CALL_MS 30000

Rehearsals *rehearsals_new(Database *db, Hosts *hosts, Events *events)
{
    Rehearsals *r = g_new0(Rehearsals, 1);

    r->db = db;
    r->hosts = hosts;
    r->events = events;
    r->proofs = proofs_new();
    r->list = g_ptr_array_new_with_free_func(rehearsal_free);
    return r;
}

void rehearsals_close(Rehearsals *r)
{
    r->closed = TRUE;
}

void rehearsals_free(Rehearsals *r)
{
    if (!r)
        return;
    g_ptr_array_unref(r->list);
    proofs_free(r->proofs);
    g_free(r);
}

/* --- what was there --------------------------------------------------------- */

static gboolean load_verdict(Rehearsals *r, const json_t *row, GError **error)
{
    const json_t *back_ms = json_object_get(row, "back_ms");
    const char *point = json_string_value(json_object_get(row, "point"));
    const char *vm = json_string_value(json_object_get(row, "vm"));
    ProofsVerdict verdict = {.scenario = json_string_value(json_object_get(row, "scenario")),
                             .chosen = json_is_string(json_object_get(row, "chosen")),
                             .host = json_string_value(json_object_get(row, "host")),
                             .passed =
                                 g_strcmp0(json_string_value(json_object_get(row, "verdict")), "passed") == 0,
                             .back_ms = json_is_integer(back_ms) ? json_integer_value(back_ms) : -1,
                             .at = json_string_value(json_object_get(row, "ended_at"))};

    if (!id_parse(vm ? vm : "", &verdict.vm, error) || (point && !id_parse(point, &verdict.point, error)))
        return FALSE;
    proofs_add(r->proofs, &verdict);
    return TRUE;
}

/* One whose end is durable may not have been told: it is told, perhaps once more. */
static gboolean load_open(Rehearsals *r, const json_t *row, GError **error)
{
    json_t *state = json_object_get(row, "state"), *doc = json_object_get(row, "doc");
    const char *host, *scenario = json_string_value(json_object_get(doc, "scenario"));
    int open, begun, ready, given_up = FALSE;
    Rehearsal *t;
    Id id;

    if (!json_read(state, "state", error, "{s:b, s:s, s:b, s:b, s?b}", "open", &open, "host", &host, "begun",
                   &begun, "ready", &ready, "given_up", &given_up) ||
        !id_parse(json_string_value(json_object_get(row, "id")), &id, error))
        return FALSE;
    t = rehearsal_new(r, id, scenario ? scenario : "", host, NULL, json_deep_copy(doc));
    g_ptr_array_add(r->list, t);
    t->begun = begun;
    t->ready = ready;
    t->given_up = given_up;
    t->result = rehearsal_result_from_json(doc, id, error);
    if (!t->result)
        return FALSE;
    t->phase = t->result->ended ? REHEARSAL_KEPT : REHEARSAL_RUNNING;
    if (!t->result->ended)
        g_clear_pointer(&t->result, rehearsal_result_free);
    return TRUE;
}

static gboolean load_all(Rehearsals *r, const json_t *rows,
                         gboolean (*one)(Rehearsals *, const json_t *, GError **), GError **error)
{
    for (gsize i = 0; i < json_array_size(rows); i++)
        if (!one(r, json_array_get(rows, i), error)) {
            (*error)->code = US_ERROR_CORRUPT;
            g_prefix_error(error, "the database has an unsound integrity test: ");
            return FALSE;
        }
    return rows != NULL;
}

gboolean rehearsals_load(Rehearsals *r, GError **error)
{
    g_autoptr(GError) why = NULL;
    json_auto_t *verdicts = database_load_verdicts(r->db, &why);
    json_auto_t *open = verdicts ? database_load_open_tests(r->db, &why) : NULL;

    if (load_all(r, verdicts, load_verdict, &why) && load_all(r, open, load_open, &why))
        return TRUE;
    g_propagate_error(error, g_steal_pointer(&why));
    return FALSE;
}

const Proofs *rehearsals_proofs(const Rehearsals *r)
{
    return r->proofs;
}

/* --- those that run ---------------------------------------------------------- */

Rehearsal *rehearsals_find(const Rehearsals *r, Id id)
{
    for (guint i = 0; i < r->list->len; i++) {
        Rehearsal *t = r->list->pdata[i];

        if (id_equal(t->id, id))
            return t;
    }
    return NULL;
}

/* That of the scenario that has not ended; NULL: none. */
static Rehearsal *running_of(const Rehearsals *r, const char *scenario)
{
    for (guint i = 0; i < r->list->len; i++) {
        Rehearsal *t = r->list->pdata[i];

        if (!rehearsal_has_ended(t) && g_str_equal(t->scenario, scenario))
            return t;
    }
    return NULL;
}

gboolean rehearsals_start(Rehearsals *r, const Protection *p, const RehearsalWish *wish, RehearsalsDone done,
                          void *user, GError **error)
{
    const char *scenario = p->scenario->name;
    const Rehearsal *other = running_of(r, scenario);
    const char *host = NULL;
    json_t *params = NULL;
    Id id = id_is_nil(wish->test) ? id_random() : wish->test;
    Rehearsal *t;

    if (other) {
        g_set_error(error, US_ERROR, US_ERROR_BUSY,
                    "test %s of scenario '%s' runs on %s: no other was begun; wait for its end, or use "
                    "'understudy test "
                    "stop %s'",
                    ID_TEXT(other->id), scenario, other->host, scenario);
        return FALSE;
    }
    host = rehearsal_order(p, wish, id, &params, error);
    if (!host)
        return FALSE;
    t = rehearsal_new(r, id, scenario, host, params, rehearsal_first_document(params, host, clock_wall_ms()));
    t->done = done;
    t->user = user;
    g_ptr_array_add(r->list, t);
    rehearsal_begin(t);
    return TRUE;
}

typedef struct {
    Rehearsals *r;
    Id id, vm;
    RehearsalsDone done;
    void *user;
} Question;

static Question *question_new(Rehearsals *r, Id id, RehearsalsDone done, void *user)
{
    Question *q = g_new0(Question, 1);

    *q = (Question){.r = r, .id = id, .done = done, .user = user};
    return q;
}

static void on_stop_said(void *user, const json_t *result, const GError *error)
{
    g_autofree Question *q = user;
    Rehearsal *t = q->r->closed ? NULL : rehearsals_find(q->r, q->id);
    json_auto_t *doc = json_pack("{s:s}", "test", ID_TEXT(q->id));

    (void)result;
    if (t)
        rehearsal_end_said(t, error);
    q->done(q->user, error ? NULL : doc, error);
}

gboolean rehearsals_stop(Rehearsals *r, const char *scenario, RehearsalsDone done, void *user, GError **error)
{
    Rehearsal *t = running_of(r, scenario);
    json_auto_t *params = t ? json_pack("{s:s}", "test", ID_TEXT(t->id)) : NULL;

    if (!t) {
        g_set_error(error, US_ERROR, US_ERROR_NOT_FOUND,
                    "no test of scenario '%s' runs: nothing is to be ended", scenario);
        return FALSE;
    }
    /* Whatever becomes of this one question, it is told until it has heard. */
    t->stop = TRUE;
    if (hosts_is_up(r->hosts, t->host)) {
        t->stopping++;
        hosts_call(r->hosts, t->host, "test.stop", params, CALL_MS, on_stop_said,
                   question_new(r, t->id, done, user));
    } else {
        g_autoptr(GError) silent = g_error_new(
            US_ERROR, US_ERROR_UNREACHABLE,
            "the engine of %s does not answer: test %s is ended as soon as it does", t->host, ID_TEXT(t->id));

        done(user, NULL, silent);
    }
    return TRUE;
}

void rehearsals_end(Rehearsals *r, const char *scenario)
{
    Rehearsal *t = running_of(r, scenario);

    if (t)
        rehearsal_end(t);
}

gboolean rehearsals_end_test(Rehearsals *r, Id test)
{
    Rehearsal *t = rehearsals_find(r, test);

    if (!t)
        return TRUE;
    rehearsal_end(t);
    return hosts_is_up(r->hosts, t->host);
}

gboolean rehearsals_is_open(const Rehearsals *r, Id test)
{
    return rehearsals_find(r, test) != NULL;
}

static void on_swept(const GError *error, void *user)
{
    (void)user;
    if (error)
        log_warning("tests of a scenario that was deleted could not be forgotten: %s", error->message);
}

static gboolean is_of(gconstpointer rehearsal, gconstpointer scenario)
{
    return g_str_equal(((const Rehearsal *)rehearsal)->scenario, scenario);
}

void rehearsals_forget(Rehearsals *r, const char *scenario)
{
    DatabaseChanges *changes = database_changes_new();
    guint at;

    while (g_ptr_array_find_with_equal_func(r->list, scenario, is_of, &at)) {
        Rehearsal *t = r->list->pdata[at];

        rehearsal_end(t);
        database_delete_test(changes, t->id);
        g_ptr_array_remove_index(r->list, at);
    }
    proofs_forget(r->proofs, scenario);
    database_forget_tests(changes, scenario, 0);
    database_submit(r->db, changes, on_swept, NULL);
}

json_t *rehearsals_running(const Rehearsals *r, const char *scenario)
{
    const Rehearsal *t = running_of(r, scenario);

    return t ? json_pack("{s:s, s:s, s:O, s:O}", "id", ID_TEXT(t->id), "host", t->host, "manual",
                         json_object_get(t->doc, "manual"), "state", json_object_get(t->doc, "state"))
             : json_null();
}

/* --- what happens ------------------------------------------------------------- */

/* Those that are gone afterwards do not disturb. */
static void each(Rehearsals *r, const char *host, void (*what)(Rehearsal *))
{
    g_autoptr(GArray) ids = g_array_new(FALSE, FALSE, sizeof(Id));

    for (guint i = 0; i < r->list->len; i++) {
        const Rehearsal *t = r->list->pdata[i];

        if (!host || g_str_equal(t->host, host))
            g_array_append_val(ids, t->id);
    }
    for (guint i = 0; i < ids->len; i++) {
        Rehearsal *t = rehearsals_find(r, g_array_index(ids, Id, i));

        if (t)
            what(t);
    }
}

void rehearsals_host_is_up(Rehearsals *r, const char *host)
{
    each(r, host, rehearsal_hurry);
}

void rehearsals_tick(Rehearsals *r)
{
    each(r, NULL, rehearsal_pump);
}

static void on_tidied(void *user, const json_t *result, const GError *error)
{
    (void)user;
    (void)result;
    (void)error; /* its next news name it again */
}

/* Nobody waits for a test that is not open here: its row is closed, or was lost with an older state. */
static void tidy(Rehearsals *r, const char *host, const RehearsalNews *news)
{
    json_auto_t *params = json_pack("{s:s}", "test", ID_TEXT(news->test));

    hosts_call(r->hosts, host, news->ended ? "test.forget" : "test.stop", params, CALL_MS, on_tidied, NULL);
}

void rehearsals_news(Rehearsals *r, const char *host, const json_t *status)
{
    g_autoptr(GArray) list = rehearsal_news_from_json(status);

    for (guint i = 0; i < list->len; i++) {
        const RehearsalNews *news = &g_array_index(list, RehearsalNews, i);
        Rehearsal *t = rehearsals_find(r, news->test);

        if (!t) {
            tidy(r, host, news);
        } else if (t->changed != news->changed) {
            t->changed = news->changed;
            rehearsal_hurry(t);
        }
    }
}

/* --- what is told of them ------------------------------------------------------ */

/* As it is now, if it is open; else @doc, of its row. New reference. */
static json_t *current(const Rehearsals *r, const json_t *doc)
{
    const char *text = json_string_value(json_object_get(doc, "test"));
    const Rehearsal *t = NULL;
    json_t *copy;
    Id id;

    if (text && id_parse(text, &id, NULL))
        t = rehearsals_find(r, id);
    if (t)
        return rehearsal_describe(t);
    copy = json_copy((json_t *)doc);
    json_object_set_new(copy, "waits", json_null());
    return copy;
}

static json_t *brief(json_t *steal_doc)
{
    static const char *const KEYS[] = {"vm", "name", "verdict", "why"};
    json_t *vms = json_array();
    json_t *vm;
    gsize i;

    json_array_foreach(json_object_get(steal_doc, "vms"), i, vm)
    {
        json_t *one = json_object();

        for (guint k = 0; k < G_N_ELEMENTS(KEYS); k++)
            if (json_object_get(vm, KEYS[k]))
                json_object_set(one, KEYS[k], json_object_get(vm, KEYS[k]));
        json_array_append_new(vms, one);
    }
    json_object_set_new(steal_doc, "vms", vms);
    return steal_doc;
}

static void on_list(const json_t *rows, const GError *error, void *user)
{
    g_autofree Question *q = user;
    json_auto_t *doc = json_pack("{s:[]}", "tests");

    for (gsize i = 0; i < json_array_size(rows); i++)
        json_array_append_new(json_object_get(doc, "tests"), brief(current(q->r, json_array_get(rows, i))));
    q->done(q->user, error ? NULL : doc, error);
}

void rehearsals_list(Rehearsals *r, const char *scenario, RehearsalsDone done, void *user)
{
    database_query_tests(r->db, scenario, REHEARSALS_LISTED, on_list, question_new(r, ID_NIL, done, user));
}

static void on_one(const json_t *rows, const GError *error, void *user)
{
    g_autofree Question *q = user;
    json_auto_t *doc = json_array_size(rows) > 0 ? current(q->r, json_array_get(rows, 0)) : NULL;
    g_autoptr(GError) none =
        g_error_new(US_ERROR, US_ERROR_NOT_FOUND,
                    "there is no test %s; understudy test list shows those there are", ID_TEXT(q->id));

    if (error || !doc)
        q->done(q->user, NULL, error ? error : none);
    else
        q->done(q->user, doc, NULL);
}

void rehearsals_show(Rehearsals *r, Id test, RehearsalsDone done, void *user)
{
    database_query_test(r->db, test, on_one, question_new(r, test, done, user));
}

static void on_seen(const json_t *rows, const GError *error, void *user)
{
    g_autofree Question *q = user;
    const json_t *doc = json_array_get(rows, 0);
    g_autoptr(GError) none = g_error_new(US_ERROR, US_ERROR_NOT_FOUND, "nothing was seen of VM %s in test %s",
                                         ID_TEXT(q->vm), ID_TEXT(q->id));

    if (error || !doc)
        q->done(q->user, NULL, error ? error : none);
    else
        q->done(q->user, doc, NULL);
}

static void on_seen_now(void *user, const json_t *result, const GError *error)
{
    g_autofree Question *q = user;
    json_auto_t *doc = json_pack("{s:s?, s:s?}", "png", json_string_value(json_object_get(result, "png")),
                                 "console", json_string_value(json_object_get(result, "console")));

    q->done(q->user, error ? NULL : doc, error);
}

void rehearsals_evidence(Rehearsals *r, Id test, Id vm, RehearsalsDone done, void *user)
{
    const Rehearsal *t = rehearsals_find(r, test);
    Question *q = question_new(r, test, done, user);
    json_auto_t *params = json_pack("{s:s, s:s}", "test", ID_TEXT(test), "vm", ID_TEXT(vm));

    q->vm = vm;
    if (t && t->phase < REHEARSAL_KEPT)
        hosts_call(r->hosts, t->host, "test.evidence", params, CALL_MS, on_seen_now, q);
    else
        database_query_evidence(r->db, test, vm, on_seen, q);
}

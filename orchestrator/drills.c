/* SPDX-License-Identifier: Apache-2.0 */
/* Happy path: row, rehearsals_start() of each scenario, their documents as they end, row with the end, event, row closed. A
 * callback finds its drill by its id: it may be gone. */
#include "orchestrator/drills.h"

#include "orchestrator/core/drill.h"
#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/log.h"

#define AGAIN_MS 10000

typedef enum {
    DRILL_ROW,     /* its row is being made; no test was begun */
    DRILL_RUNNING, /* its tests are looked at */
    DRILL_KEEPING, /* its end is to be durable */
    DRILL_KEPT,    /* it is: it is told, and its row to be closed */
} DrillPhase;

typedef struct {
    Id id;
    DrillPhase phase;
    json_t *doc;         /* core/drill.h */
    gint64 begun_ms;     /* wall; 0: it was loaded */
    gboolean told;       /* its end, since this process runs */
    gboolean busy;       /* a change of its row is under way */
    gint64 again_ms;     /* steady: the next is not before */
    gboolean *asked;     /* of each scenario: its test is being begun, or its document was asked for */
    RehearsalsDone done; /* who began it, and is not told yet; NULL: nobody */
    void *user;
} Drill;

struct Drills {
    Database *db;
    Scenarios *scenarios;
    Rehearsals *rehearsals;
    Events *events;
    TimetableBegin begin;
    void *begin_user;
    GPtrArray *list; /* Drill *: those that are open */
    gboolean closed;
};

static void tell_beginner(Drill *drill, const GError *error)
{
    RehearsalsDone done = drill->done;

    drill->done = NULL;
    if (done)
        done(drill->user, error ? NULL : drill->doc, error);
}

static void drill_free(gpointer data)
{
    Drill *drill = data;
    g_autoptr(GError) ended =
        g_error_new(US_ERROR, US_ERROR_CANCELLED, "it is not known whether the drill has begun");

    tell_beginner(drill, ended);
    json_decref(drill->doc);
    g_free(drill->asked);
    g_free(drill);
}

static Drill *drill_new(Id id, json_t *steal_doc, DrillPhase phase)
{
    Drill *drill = g_new0(Drill, 1);

    drill->id = id;
    drill->doc = steal_doc;
    drill->phase = phase;
    drill->asked = g_new0(gboolean, drill_len(steal_doc));
    return drill;
}

Drills *drills_new(Database *db, Scenarios *scenarios, Rehearsals *rehearsals, Events *events,
                   TimetableBegin begin, void *user)
{
    Drills *d = g_new0(Drills, 1);

    *d = (Drills){.db = db,
                  .scenarios = scenarios,
                  .rehearsals = rehearsals,
                  .events = events,
                  .begin = begin,
                  .begin_user = user,
                  .list = g_ptr_array_new_with_free_func(drill_free)};
    return d;
}

gboolean drills_load(Drills *d, GError **error)
{
    json_auto_t *rows = database_load_open_drills(d->db, error);

    for (gsize i = 0; i < json_array_size(rows); i++) {
        json_t *doc = json_array_get(rows, i);
        const char *host;
        gboolean ended;
        Id id;

        if (!drill_read(doc, &id, &host, &ended, error))
            return FALSE;
        g_ptr_array_add(d->list, drill_new(id, json_deep_copy(doc), ended ? DRILL_KEPT : DRILL_RUNNING));
    }
    return rows != NULL;
}

void drills_close(Drills *d)
{
    d->closed = TRUE;
}

void drills_free(Drills *d)
{
    if (!d)
        return;
    g_ptr_array_unref(d->list);
    g_free(d);
}

static Drill *find(const Drills *d, Id id)
{
    for (guint i = 0; i < d->list->len; i++) {
        Drill *drill = d->list->pdata[i];

        if (id_equal(drill->id, id))
            return drill;
    }
    return NULL;
}

typedef struct {
    Drills *owner;
    Id id;
    gsize at; /* of which scenario */
} Word;

static Word *word_new(Drills *d, const Drill *drill, gsize at)
{
    Word *w = g_new0(Word, 1);

    *w = (Word){d, drill->id, at};
    return w;
}

/* NULL: it is gone, or all ends. */
static Drill *word_of(const Word *w)
{
    return w->owner->closed ? NULL : find(w->owner, w->id);
}

static const char *host_of(const Drill *drill)
{
    return json_string_value(json_object_get(drill->doc, "host"));
}

static void publish(const Drills *d, EventCode code, const Drill *drill)
{
    g_autoptr(Event) event =
        event_new(code, NULL, host_of(drill), NULL, json_string_value(json_object_get(drill->doc, "why")));

    events_publish(d->events, event);
}

/* --- its row ---------------------------------------------------------------- */

static DatabaseChanges *row_of(const Drill *drill, gboolean open)
{
    DatabaseChanges *changes = database_changes_new();

    database_put_drill(changes, drill->id, drill->begun_ms, open, drill->doc);
    return changes;
}

/* Its row is changed, or, with @error, tried again: then NULL, as for one that is gone. */
static Drill *row_changed(const Word *w, const char *what, const GError *error)
{
    Drill *drill = word_of(w);

    if (!drill)
        return NULL;
    drill->busy = FALSE;
    if (!error)
        return drill;
    log_warning("the drill of %s: %s: %s -> try again", host_of(drill), what, error->message);
    drill->again_ms = clock_steady_ms() + AGAIN_MS;
    return NULL;
}

static void on_closed(const GError *error, void *user)
{
    g_autofree Word *w = user;
    Drill *drill = row_changed(w, "its end is told, and its row still open", error);

    if (drill)
        g_ptr_array_remove(w->owner->list, drill);
}

static void close_row(Drills *d, Drill *drill)
{
    DatabaseChanges *changes = row_of(drill, FALSE);

    database_forget_drills(changes, DRILLS_KEPT);
    drill->busy = TRUE;
    database_submit(d->db, changes, on_closed, word_new(d, drill, 0));
}

static EventCode end_of(const Drill *drill)
{
    const char *verdict = drill_verdict(drill->doc);

    return g_strcmp0(verdict, "passed") == 0   ? EVENT_DRILL_PASSED
           : g_strcmp0(verdict, "failed") == 0 ? EVENT_DRILL_FAILED
                                               : EVENT_DRILL_STOPPED;
}

/* Told when it is durable, perhaps once more after a restart. */
static void finish(Drills *d, Drill *drill)
{
    if (!drill->told)
        publish(d, end_of(drill), drill);
    drill->told = TRUE;
    close_row(d, drill);
}

static void on_kept(const GError *error, void *user)
{
    g_autofree Word *w = user;
    Drill *drill = row_changed(w, "its result could not be kept", error);

    if (!drill)
        return;
    drill->phase = DRILL_KEPT;
    finish(w->owner, drill);
}

static void keep(Drills *d, Drill *drill)
{
    drill->phase = DRILL_KEEPING;
    drill->busy = TRUE;
    database_submit(d->db, row_of(drill, TRUE), on_kept, word_new(d, drill, 0));
}

/* --- its tests ---------------------------------------------------------------- */

static void conclude(Drills *d, Drill *drill)
{
    if (drill->phase == DRILL_RUNNING && drill_conclude(drill->doc, clock_wall_ms()))
        keep(d, drill);
}

/* Of what would be back: it was the wrong moment, or this controller or its host's engine lacked something. */
static gboolean says_nothing(const GError *error)
{
    return g_error_matches(error, US_ERROR, US_ERROR_BUSY) || g_error_matches(error, US_ERROR, US_ERROR_IO) ||
           g_error_matches(error, US_ERROR, US_ERROR_TIMEOUT) ||
           g_error_matches(error, US_ERROR, US_ERROR_CANCELLED);
}

static void on_test(void *user, const json_t *test, const GError *error)
{
    g_autofree Word *w = user;
    Drill *drill = word_of(w);
    g_autoptr(GError) odd = NULL;

    if (!drill)
        return;
    drill->asked[w->at] = FALSE;
    if (g_error_matches(error, US_ERROR, US_ERROR_NOT_FOUND))
        drill_miss(
            drill->doc, w->at, TRUE,
            "nothing is known of its test: the controller was restarted before it had begun it, or the "
            "scenario was deleted");
    else if (error)
        log_warning("the drill of %s: a test of it cannot be read: %s -> ask again", host_of(drill),
                    error->message);
    else if (!drill_take(drill->doc, w->at, test, &odd))
        drill_miss(drill->doc, w->at, TRUE, odd->message);
    conclude(w->owner, drill);
}

/* Those that are through have a row, and those that were never begun have none. */
static void look(Drills *d, Drill *drill)
{
    for (gsize i = 0; i < drill_len(drill->doc); i++) {
        Id test = drill_test(drill->doc, i);

        if (drill->asked[i] || drill_has(drill->doc, i) || rehearsals_is_open(d->rehearsals, test))
            continue;
        drill->asked[i] = TRUE;
        rehearsals_show(d->rehearsals, test, on_test, word_new(d, drill, i));
    }
}

/* One that may have begun is open, and its own end says what came of it. */
static void on_begun(void *user, const json_t *doc, const GError *error)
{
    g_autofree Word *w = user;
    Drill *drill = word_of(w);

    (void)doc;
    if (!drill)
        return;
    drill->asked[w->at] = FALSE;
    if (error && !rehearsal_may_have_begun(error))
        drill_miss(drill->doc, w->at, says_nothing(error), error->message);
    conclude(w->owner, drill);
}

static void begin_test(Drills *d, Drill *drill, gsize at)
{
    json_auto_t *body = drill_wish(drill->doc, at);
    Word *w = word_new(d, drill, at);
    g_autoptr(GError) error = NULL;
    RehearsalWish wish;

    drill->asked[at] = TRUE;
    if (rehearsal_wish_read(body, &wish, &error)) {
        wish.test = drill_test(drill->doc, at);
        if (d->begin(d->begin_user, drill_scenario(drill->doc, at), &wish, on_begun, w, &error))
            return;
    }
    drill->asked[at] = FALSE;
    drill_miss(drill->doc, at, says_nothing(error), error->message);
    g_free(w);
}

static void on_row(const GError *error, void *user)
{
    g_autofree Word *w = user;
    Drill *drill = word_of(w);

    if (!drill)
        return;
    drill->busy = FALSE;
    tell_beginner(drill, error);
    if (error) {
        g_ptr_array_remove(w->owner->list, drill);
        return;
    }
    drill->phase = DRILL_RUNNING;
    publish(w->owner, EVENT_DRILL_STARTED, drill);
    for (gsize i = 0; i < drill_len(drill->doc); i++)
        begin_test(w->owner, drill, i);
    conclude(w->owner, drill);
}

gboolean drills_start(Drills *d, const char *host, RehearsalsDone done, void *user, GError **error)
{
    g_autoptr(GPtrArray) protections = scenarios_list(d->scenarios);
    gint64 now_ms = clock_wall_ms();
    Id id = id_random();
    Drill *drill;
    json_t *doc;

    for (guint i = 0; i < d->list->len; i++) {
        const Drill *other = d->list->pdata[i];

        if (g_str_equal(host_of(other), host)) {
            g_set_error(error, US_ERROR, US_ERROR_BUSY, "drill %s of %s runs: no other was begun",
                        ID_TEXT(other->id), host);
            return FALSE;
        }
    }
    doc = drill_document(id, host, protections, now_ms, error);
    if (!doc)
        return FALSE;
    drill = drill_new(id, doc, DRILL_ROW);
    drill->begun_ms = now_ms;
    drill->done = done;
    drill->user = user;
    drill->busy = TRUE;
    g_ptr_array_add(d->list, drill);
    database_submit(d->db, row_of(drill, TRUE), on_row, word_new(d, drill, 0));
    return TRUE;
}

gboolean drills_stop(Drills *d, Id id, GError **error)
{
    Drill *drill = find(d, id);

    if (!drill) {
        g_set_error(error, US_ERROR, US_ERROR_NOT_FOUND, "no drill %s runs: nothing is to be ended",
                    ID_TEXT(id));
        return FALSE;
    }
    for (gsize i = 0; i < drill_len(drill->doc); i++)
        if (!rehearsals_end_test(d->rehearsals, drill_test(drill->doc, i)))
            drill_miss(
                drill->doc, i, TRUE,
                "the drill was ended while the engine that tests it did not answer: the test ends when "
                "that does, or at its limit");
    conclude(d, drill);
    return TRUE;
}

void drills_tick(Drills *d)
{
    for (guint i = 0; i < d->list->len; i++) {
        Drill *drill = d->list->pdata[i];

        if (drill->busy || clock_steady_ms() < drill->again_ms)
            continue;
        if (drill->phase == DRILL_RUNNING)
            look(d, drill);
        else if (drill->phase == DRILL_KEEPING)
            keep(d, drill);
        else if (drill->phase == DRILL_KEPT)
            finish(d, drill);
    }
}

/* --- what is told of them -------------------------------------------------------- */

typedef struct {
    Drills *d;
    Id id;
    RehearsalsDone done;
    void *user;
} Question;

static Question *question_new(Drills *d, Id id, RehearsalsDone done, void *user)
{
    Question *q = g_new0(Question, 1);

    *q = (Question){d, id, done, user};
    return q;
}

/* As it is now, if it is open; else @row. Borrowed. */
static json_t *current(const Drills *d, json_t *row)
{
    const char *text = json_string_value(json_object_get(row, "drill"));
    const Drill *drill = NULL;
    Id id;

    if (text && id_parse(text, &id, NULL))
        drill = find(d, id);
    return drill ? drill->doc : row;
}

static void on_list(const json_t *rows, const GError *error, void *user)
{
    g_autofree Question *q = user;
    json_auto_t *doc = json_pack("{s:[]}", "drills");

    for (gsize i = 0; i < json_array_size(rows); i++)
        json_array_append(json_object_get(doc, "drills"), current(q->d, json_array_get(rows, i)));
    q->done(q->user, error ? NULL : doc, error);
}

void drills_list(Drills *d, RehearsalsDone done, void *user)
{
    database_query_drills(d->db, ID_NIL, on_list, question_new(d, ID_NIL, done, user));
}

static void on_one(const json_t *rows, const GError *error, void *user)
{
    g_autofree Question *q = user;
    json_t *row = json_array_get(rows, 0);
    g_autoptr(GError) none =
        g_error_new(US_ERROR, US_ERROR_NOT_FOUND,
                    "there is no drill %s; understudy drill list shows those there are", ID_TEXT(q->id));

    if (error || !row)
        q->done(q->user, NULL, error ? error : none);
    else
        q->done(q->user, current(q->d, row), NULL);
}

void drills_show(Drills *d, Id drill, RehearsalsDone done, void *user)
{
    database_query_drills(d->db, drill, on_one, question_new(d, drill, done, user));
}

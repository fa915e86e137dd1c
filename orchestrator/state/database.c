/* SPDX-License-Identifier: Apache-2.0 */
/* The writer thread: takes one letter after the other (a set of changes, or a
 * question), does it, and sends it back to the loop with its outcome. Letters are
 * done in order and come back in order, so that an answer follows every change
 * submitted before the question. */
#include "orchestrator/state/database.h"

#include "orchestrator/state/bound.h"
#include "orchestrator/state/changes.h"
#include "orchestrator/state/file.h"
#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"
#include "vmconnect/loop/mailbox.h"

#define DEFAULT_LIMIT 1000
#define MARK_MS 5000 /* at most so often is written down beside the file how far it has come */

struct Database {
    char *path;
    sqlite3 *file;
    guint64 incarnation;
    guint64 next_sequence;
    uv_thread_t thread;
    gboolean started;
    Mailbox *inbox;  /* of the thread */
    Mailbox *outbox; /* of the loop */
    void (*on_closed)(void *user);
    void *closed_user;

    /* The thread's own. */
    GError *broken; /* set: the file is lost to this process */
    guint64 marked; /* newest event that was written down beside the file */
    gint64 marked_ms;
};

typedef struct {
    DatabaseChanges *changes; /* or: */
    Change *query;            /* or neither: the end */

    GError *error;
    char *rows; /* JSON, made by the thread, read by the loop */

    DatabaseDone on_durable;
    DatabaseRows on_rows;
    void *user;
} Letter;

static void letter_free(Letter *letter)
{
    database_changes_free(letter->changes);
    g_clear_pointer(&letter->query, change_free);
    g_clear_error(&letter->error);
    g_free(letter->rows);
    g_free(letter);
}

Database *database_open(const char *path, Id controller, GError **error)
{
    Database *db = g_new0(Database, 1);
    guint64 newest;

    db->file = file_open(path, controller, &db->incarnation, &newest, error);
    if (!db->file) {
        g_free(db);
        return NULL;
    }
    db->path = g_strdup(path);
    db->next_sequence = newest + 1;
    return db;
}

gboolean database_leap(const char *path, GError **error)
{
    return file_leap(path, error);
}

guint64 database_incarnation(const Database *db)
{
    return db->incarnation;
}

guint64 database_take_sequence(Database *db)
{
    return db->next_sequence++;
}

guint64 database_last_sequence(const Database *db)
{
    return db->next_sequence - 1;
}

static json_t *load(Database *db, const char *sql, GError **error)
{
    Change query = {.sql = sql};

    g_assert(!db->started);
    return file_query(db->file, &query, error);
}

json_t *database_load_hosts(Database *db, GError **error)
{
    return load(db, "SELECT doc FROM hosts ORDER BY name", error);
}

json_t *database_load_scenarios(Database *db, GError **error)
{
    return load(db, "SELECT doc FROM scenarios ORDER BY name", error);
}

json_t *database_load_channels(Database *db, GError **error)
{
    return load(db,
                "SELECT json_object('id', id, 'name', name, 'doc', json(doc), 'state', json(state))"
                " FROM channels ORDER BY name",
                error);
}

json_t *database_load_open_tests(Database *db, GError **error)
{
    return load(db,
                "SELECT json_object('id', id, 'state', json(state), 'doc', json(doc)) FROM tests"
                " WHERE json_extract(state, '$.open') ORDER BY rowid",
                error);
}

json_t *database_load_verdicts(Database *db, GError **error)
{
    return load(db,
                "SELECT json_object('scenario', scenario, 'vm', json_extract(v.value, '$.vm'),"
                " 'point', json_extract(v.value, '$.point.id'), 'chosen', json_extract(doc, '$.point'),"
                " 'host', json_extract(doc, '$.host'), 'verdict', json_extract(v.value, '$.verdict'),"
                " 'back_ms', json_extract(v.value, '$.back_ms'), 'ended_at', json_extract(doc, '$.ended_at'))"
                " FROM tests, json_each(doc, '$.vms') AS v"
                " WHERE json_extract(v.value, '$.verdict') IN ('passed', 'failed')"
                " AND json_extract(doc, '$.ended_at') IS NOT NULL ORDER BY tests.rowid",
                error);
}

json_t *database_load_newest_tests(Database *db, GError **error)
{
    return load(db,
                "SELECT json_object('scenario', scenario, 'begun_ms', begun_ms) FROM tests"
                " WHERE rowid IN (SELECT max(rowid) FROM tests GROUP BY scenario)",
                error);
}

json_t *database_load_open_drills(Database *db, GError **error)
{
    return load(db, "SELECT doc FROM drills WHERE open ORDER BY rowid", error);
}

gboolean database_is_lost(const GError *error)
{
    return g_error_matches(error, US_ERROR, US_ERROR_IO) ||
           g_error_matches(error, US_ERROR, US_ERROR_CORRUPT);
}

/* What cannot be written down now is when something changes next. */
static void mark(Database *db)
{
    g_autofree char *dir = g_path_get_dirname(db->path);
    g_autofree char *name = g_path_get_basename(db->path);
    guint64 newest;

    db->marked_ms = clock_steady_ms();
    if (!db->broken && file_newest_event(db->file, &newest, NULL) && newest > db->marked &&
        bound_mark(dir, name, newest, NULL))
        db->marked = newest;
}

static void commit(Database *db, Letter *letter)
{
    if (db->broken) {
        letter->error = g_error_copy(db->broken);
        return;
    }
    if (file_commit(db->file, letter->changes, &letter->error)) {
        if (clock_steady_ms() >= db->marked_ms + MARK_MS)
            mark(db);
        return;
    }
    if (database_is_lost(letter->error))
        db->broken = g_error_new(
            US_ERROR, letter->error->code,
            "the controller's state is lost to this process since: %s; nothing is changed any more "
            "until it is started again on a sound file system",
            letter->error->message);
}

static void answer(Database *db, Letter *letter)
{
    json_auto_t *rows = file_query(db->file, letter->query, &letter->error);

    if (rows)
        letter->rows = json_text(rows);
}

static void run(void *data)
{
    Database *db = data;

    for (gboolean on = TRUE; on;) {
        Letter *letter = mailbox_wait(db->inbox, -1);

        if (!letter)
            continue;
        if (letter->changes) {
            commit(db, letter);
        } else if (letter->query) {
            answer(db, letter);
        } else {
            mark(db);
            on = FALSE;
        }
        mailbox_send(db->outbox, letter);
    }
}

static void finish(Database *db)
{
    void (*on_closed)(void *user) = db->on_closed;
    void *user = db->closed_user;

    file_close(db->file);
    g_free(db->path);
    g_clear_error(&db->broken);
    g_free(db);
    if (on_closed)
        on_closed(user);
}

static void on_letter(void *user, void *data)
{
    Database *db = user;
    Letter *letter = data;

    if (letter->changes) {
        letter->on_durable(letter->error, letter->user);
        letter_free(letter);
    } else if (letter->query) {
        json_auto_t *rows = letter->rows ? json_loads(letter->rows, 0, NULL) : NULL;

        g_assert(rows || letter->error);
        letter->on_rows(rows, letter->error, letter->user);
        letter_free(letter);
    } else {
        letter_free(letter);
        uv_thread_join(&db->thread);
        mailbox_close(db->inbox);
        mailbox_close(db->outbox);
        finish(db);
    }
}

void database_start(Database *db, uv_loop_t *loop)
{
    int rc;

    g_assert(!db->started);
    db->started = TRUE;
    db->inbox = mailbox_new_thread((GDestroyNotify)letter_free);
    db->outbox = mailbox_new_loop(loop, on_letter, db, (GDestroyNotify)letter_free);
    rc = uv_thread_create(&db->thread, run, db);
    g_assert(rc == 0);
}

void database_submit(Database *db, DatabaseChanges *changes, DatabaseDone on_durable, void *user)
{
    Letter *letter = g_new0(Letter, 1);

    g_assert(db->started && changes && on_durable);
    letter->changes = changes;
    letter->on_durable = on_durable;
    letter->user = user;
    mailbox_send(db->inbox, letter);
}

static void ask(Database *db, Change *query, DatabaseRows on_rows, void *user)
{
    Letter *letter = g_new0(Letter, 1);

    g_assert(db->started && on_rows);
    letter->query = query;
    letter->on_rows = on_rows;
    letter->user = user;
    mailbox_send(db->inbox, letter);
}

void database_query_events(Database *db, const DatabaseEventFilter *filter, DatabaseRows on_rows, void *user)
{
    static const char OLDEST[] =
        "SELECT doc FROM events WHERE sequence > ?1 AND at_ms >= ?2 AND (?3 IS NULL OR scenario = ?3)"
        " AND (?4 IS NULL OR host = ?4) ORDER BY sequence LIMIT ?5";
    static const char NEWEST[] =
        "SELECT doc FROM (SELECT sequence, doc FROM events WHERE sequence > ?1 AND at_ms >= ?2"
        " AND (?3 IS NULL OR scenario = ?3) AND (?4 IS NULL OR host = ?4) ORDER BY sequence DESC LIMIT ?5)"
        " ORDER BY sequence";
    Change *query = change_new(filter->after ? OLDEST : NEWEST);

    change_number(query, (gint64)filter->after);
    change_number(query, filter->since_wall_ms);
    change_text(query, filter->scenario);
    change_text(query, filter->host);
    change_number(query, filter->limit ? filter->limit : DEFAULT_LIMIT);
    ask(db, query, on_rows, user);
}

static void change_list(Change *change, const json_t *list)
{
    g_autofree char *text = list ? json_text(list) : NULL;

    change_text(change, text);
}

void database_query_backlog(Database *db, const DatabaseBacklog *backlog, DatabaseRows on_rows, void *user)
{
#define MEANT                                                                   \
    "FROM events WHERE sequence > ?1 AND sequence <= ?2"                        \
    " AND json_extract(doc, '$.severity') IN (SELECT value FROM json_each(?3))" \
    " AND (?4 IS NULL OR scenario IN (SELECT value FROM json_each(?4)))"        \
    " AND (?5 IS NULL OR json_extract(doc, '$.channel') IS NOT ?5)"
    static const char BACKLOG[] = "SELECT json_object('oldest', (SELECT min(sequence) FROM events),"
                                  " 'newest', (SELECT max(sequence) FROM events),"
                                  " 'waiting', CASE WHEN ?6 = 0 THEN (SELECT count(*) " MEANT ") END,"
                                  " 'events', (SELECT json_group_array(json(doc)) FROM (SELECT doc " MEANT
                                  " ORDER BY sequence LIMIT ?6)))";
#undef MEANT
    Change *query = change_new(BACKLOG);

    change_number(query, (gint64)backlog->after);
    change_number(query, backlog->upto ? (gint64)backlog->upto : G_MAXINT64);
    change_list(query, backlog->severities);
    change_list(query, backlog->scenarios);
    change_text(query, backlog->not_about);
    change_number(query, backlog->limit);
    ask(db, query, on_rows, user);
}

void database_query_tests(Database *db, const char *scenario, guint limit, DatabaseRows on_rows, void *user)
{
    Change *query =
        change_new("SELECT json_set(doc, '$.vms', json((SELECT json_group_array(json_object("
                   "'vm', json_extract(v.value, '$.vm'), 'name', json_extract(v.value, '$.name'),"
                   " 'verdict', json_extract(v.value, '$.verdict'), 'why', json_extract(v.value, '$.why')))"
                   " FROM json_each(doc, '$.vms') AS v))) FROM tests WHERE ?1 IS NULL OR scenario = ?1"
                   " ORDER BY rowid DESC LIMIT ?2");

    change_text(query, scenario);
    change_number(query, limit);
    ask(db, query, on_rows, user);
}

void database_query_test(Database *db, Id id, DatabaseRows on_rows, void *user)
{
    Change *query = change_new("SELECT doc FROM tests WHERE id = ?1");

    change_id(query, id);
    ask(db, query, on_rows, user);
}

void database_query_evidence(Database *db, Id test, Id vm, DatabaseRows on_rows, void *user)
{
    Change *query = change_new("SELECT json_object('png', png, 'console', console) FROM evidence"
                               " WHERE test = ?1 AND vm = ?2");

    change_id(query, test);
    change_id(query, vm);
    ask(db, query, on_rows, user);
}

void database_query_drills(Database *db, Id id, DatabaseRows on_rows, void *user)
{
    Change *query = change_new("SELECT doc FROM drills WHERE ?1 IS NULL OR id = ?1 ORDER BY rowid DESC");

    change_id(query, id);
    ask(db, query, on_rows, user);
}

void database_close(Database *db, void (*on_closed)(void *user), void *user)
{
    if (!db)
        return;
    db->on_closed = on_closed;
    db->closed_user = user;
    if (db->started)
        mailbox_send(db->inbox, g_new0(Letter, 1));
    else
        finish(db);
}

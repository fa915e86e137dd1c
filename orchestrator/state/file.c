/* SPDX-License-Identifier: Apache-2.0 */
/* Opening: is it ours, whole, of a format we know, and nobody else's? Only then
 * is anything written. An empty file is a new one: SQLite makes it so before
 * its first commit. */
#include "orchestrator/state/file.h"

#include "vmconnect/base/durable.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"
#include "vmconnect/base/stop.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

/* "Usty", in the header of the file: file(1) shows it. */
#define APPLICATION_ID 0x55737479

/* More than anybody starts a controller. */
#define LEAP "1000000"

static const char SCHEMA[] =
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;"
    "CREATE TABLE hosts (id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, doc TEXT NOT NULL) STRICT, WITHOUT "
    "ROWID;"
    "CREATE TABLE scenarios (id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, doc TEXT NOT NULL) STRICT, "
    "WITHOUT ROWID;"
    "CREATE TABLE events (sequence INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, scenario TEXT, host TEXT,"
    " doc TEXT NOT NULL) STRICT;"
    "INSERT INTO meta VALUES ('incarnation', '0');";

/* Came later than the format's first files; an older program passes over them. */
static const char LATER[] =
    "CREATE TABLE IF NOT EXISTS channels (id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, doc TEXT NOT NULL,"
    " state TEXT NOT NULL) STRICT, WITHOUT ROWID;"
    /* The order of tests and drills is that of their rows, whatever the clock did meanwhile. */
    "CREATE TABLE IF NOT EXISTS tests (id TEXT PRIMARY KEY, scenario TEXT NOT NULL, begun_ms INTEGER NOT "
    "NULL,"
    " state TEXT NOT NULL, doc TEXT NOT NULL) STRICT;"
    "CREATE INDEX IF NOT EXISTS tests_of ON tests (scenario, begun_ms);"
    "CREATE TABLE IF NOT EXISTS evidence (test TEXT NOT NULL, vm TEXT NOT NULL, png TEXT, console TEXT,"
    " PRIMARY KEY (test, vm)) STRICT;"
    "CREATE TABLE IF NOT EXISTS drills (id TEXT PRIMARY KEY, begun_ms INTEGER NOT NULL, open INTEGER NOT "
    "NULL,"
    " doc TEXT NOT NULL) STRICT;";

static UsError code_of(int rc)
{
    switch (rc & 0xff) {
    case SQLITE_FULL:
        return US_ERROR_NO_SPACE;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return US_ERROR_BUSY;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return US_ERROR_CORRUPT;
    case SQLITE_PERM:
    case SQLITE_READONLY:
    case SQLITE_AUTH:
        return US_ERROR_DENIED;
    case SQLITE_CONSTRAINT:
        return US_ERROR_EXISTS;
    default:
        return US_ERROR_IO;
    }
}

gboolean file_error(GError **error, sqlite3 *file, const char *what)
{
    g_set_error(error, US_ERROR, (int)code_of(sqlite3_extended_errcode(file)), "%s: %s", what,
                sqlite3_errmsg(file));
    return FALSE;
}

static gboolean run(sqlite3 *file, const char *sql, const char *what, GError **error)
{
    return sqlite3_exec(file, sql, NULL, NULL, NULL) == SQLITE_OK || file_error(error, file, what);
}

/* The first column of the only row; the caller frees. */
static char *value_of(sqlite3 *file, const char *sql, GError **error)
{
    sqlite3_stmt *stmt = NULL;
    char *value = NULL;

    if (sqlite3_prepare_v2(file, sql, -1, &stmt, NULL) == SQLITE_OK && sqlite3_step(stmt) == SQLITE_ROW)
        value = g_strdup((const char *)sqlite3_column_text(stmt, 0));
    if (!value)
        file_error(error, file, "cannot read the controller's state");
    sqlite3_finalize(stmt);
    return value;
}

static gboolean number_of(sqlite3 *file, const char *sql, guint64 *ret_value, GError **error)
{
    g_autofree char *text = value_of(file, sql, error);

    if (text && !g_ascii_string_to_unsigned(text, 10, 0, G_MAXINT64, ret_value, NULL)) {
        g_set_error(error, US_ERROR, US_ERROR_CORRUPT, "'%s' is not a number", text);
        return FALSE;
    }
    return text != NULL;
}

gboolean file_newest_event(sqlite3 *file, guint64 *ret_sequence, GError **error)
{
    return number_of(file, "SELECT coalesce(max(sequence), 0) FROM events", ret_sequence, error);
}

static gboolean settle(sqlite3 *file, GError **error)
{
    sqlite3_extended_result_codes(file, 1);
    sqlite3_db_config(file, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    /* A file that is refused must not be touched by closing it. */
    sqlite3_db_config(file, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    /* With the exclusive lock the log's index needs no shared memory, and nobody else gets in. */
    return run(file,
               "PRAGMA locking_mode = EXCLUSIVE; PRAGMA trusted_schema = OFF; PRAGMA foreign_keys = ON;",
               "cannot open the controller's state", error);
}

static gboolean check_ours(sqlite3 *file, guint64 *ret_format, GError **error)
{
    guint64 tables;
    guint64 application;
    g_autofree char *verdict = NULL;

    if (!number_of(file, "SELECT count(*) FROM sqlite_schema", &tables, error) ||
        !number_of(file, "PRAGMA application_id", &application, error) ||
        !number_of(file, "PRAGMA user_version", ret_format, error))
        return FALSE;
    if (tables > 0 && application != APPLICATION_ID) {
        g_set_error(error, US_ERROR, US_ERROR_CORRUPT, "it is a database of another program");
        return FALSE;
    }
    if (tables == 0 && *ret_format == 0)
        return TRUE;
    if (*ret_format > DATABASE_FORMAT) {
        g_set_error(error, US_ERROR, US_ERROR_REFUSED,
                    "it has format %" G_GUINT64_FORMAT
                    ", this program knows %d: it was written by a newer version and is left alone",
                    *ret_format, DATABASE_FORMAT);
        return FALSE;
    }
    verdict = value_of(file, "PRAGMA integrity_check(1)", error);
    if (verdict && !g_str_equal(verdict, "ok"))
        g_set_error(error, US_ERROR, US_ERROR_CORRUPT, "%s", verdict);
    return verdict && g_str_equal(verdict, "ok");
}

static gboolean begin(sqlite3 *file, GError **error)
{
    return run(file, "BEGIN IMMEDIATE", "cannot begin a change of the controller's state", error);
}

static gboolean end(sqlite3 *file, gboolean ok, GError **error)
{
    if (ok) {
        stop_at("state.before_commit");
        ok = run(file, "COMMIT", "cannot make a change of the controller's state durable", error);
    }
    stop_at("state.after_commit");
    if (!sqlite3_get_autocommit(file))
        sqlite3_exec(file, "ROLLBACK", NULL, NULL, NULL);
    return ok;
}

static gboolean create(sqlite3 *file, Id controller, GError **error)
{
    g_autofree char *sql = g_strdup_printf("%sINSERT INTO meta VALUES ('controller', '%s');"
                                           "PRAGMA application_id = %d; PRAGMA user_version = %d;",
                                           SCHEMA, ID_TEXT(controller), APPLICATION_ID, DATABASE_FORMAT);

    return begin(file, error) &&
           end(file, run(file, sql, "cannot create the controller's state", error), error);
}

static gboolean check_owner(sqlite3 *file, Id controller, GError **error)
{
    g_autofree char *owner = value_of(file, "SELECT value FROM meta WHERE key = 'controller'", error);

    if (owner && !g_str_equal(owner, ID_TEXT(controller)))
        g_set_error(
            error, US_ERROR, US_ERROR_REFUSED,
            "it belongs to controller %s, and this is %s: state and authority were not copied together",
            owner, ID_TEXT(controller));
    return owner && g_str_equal(owner, ID_TEXT(controller));
}

static gboolean begin_incarnation(sqlite3 *file, guint64 *ret_incarnation, GError **error)
{
    if (!begin(file, error))
        return FALSE;
    return end(
        file,
        run(file, "UPDATE meta SET value = CAST(value AS INTEGER) + 1 WHERE key = 'incarnation'",
            "cannot begin a new incarnation", error) &&
            number_of(file, "SELECT value FROM meta WHERE key = 'incarnation'", ret_incarnation, error),
        error);
}

static gboolean prepare(sqlite3 *file, Id controller, guint64 *ret_incarnation, guint64 *ret_newest_event,
                        GError **error)
{
    guint64 format = 0;

    if (!settle(file, error) || !check_ours(file, &format, error))
        return FALSE;
    /* Only now is it certain that the file may be written to. */
    sqlite3_db_config(file, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
    if (!run(file, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;",
             "cannot open the controller's state", error))
        return FALSE;
    if (format == 0 && !create(file, controller, error))
        return FALSE;
    return check_owner(file, controller, error) &&
           run(file, LATER, "cannot add a table to the controller's state", error) &&
           begin_incarnation(file, ret_incarnation, error) &&
           file_newest_event(file, ret_newest_event, error);
}

/* SQLite would create it for everybody to read. */
static gboolean touch(const char *path, GError **error)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    if (fd < 0)
        return us_error_errno(error, errno, "cannot open the controller's state");
    close(fd);
    return TRUE;
}

static sqlite3 *open_checked(const char *path, Id controller, guint64 *ret_incarnation,
                             guint64 *ret_newest_event, GError **error)
{
    g_autofree char *folder = g_path_get_dirname(path);
    sqlite3 *file = NULL;

    if (!touch(path, error))
        return NULL;
    if (sqlite3_open_v2(path, &file, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK)
        file_error(error, file, "cannot open the controller's state");
    else if (prepare(file, controller, ret_incarnation, ret_newest_event, error) &&
             durable_sync_dir(folder, error))
        return file;
    sqlite3_close(file);
    return NULL;
}

sqlite3 *file_open(const char *path, Id controller, guint64 *ret_incarnation, guint64 *ret_newest_event,
                   GError **error)
{
    g_autoptr(GError) why = NULL;
    sqlite3 *file = open_checked(path, controller, ret_incarnation, ret_newest_event, &why);

    if (file)
        return file;
    if (g_error_matches(why, US_ERROR, US_ERROR_BUSY))
        g_prefix_error(&why, "another controller runs on this state: ");
    g_propagate_prefixed_error(error, g_steal_pointer(&why), "%s: ", path);
    return NULL;
}

/* As a wall clock counts seconds, the one that was accepted last is the newest of several copies. */
#define RAISE                                                                                         \
    "UPDATE meta SET value = max(CAST(value AS INTEGER) + " LEAP ", CAST(strftime('%s') AS INTEGER))" \
    " WHERE key = 'incarnation';"

/* A copy may be older than the last switchover: every host must be heard (protection.h), also one that the copy
 * takes for a standby. A scenario leaves out those that are none of its own. */
#define DOUBT                                                          \
    "UPDATE scenarios SET doc = json_set(doc, '$.protection.unheard'," \
    " (SELECT json_group_array(name) FROM hosts)) WHERE json_type(doc, '$.protection') = 'object';"

static gboolean leap(sqlite3 *file, GError **error)
{
    guint64 format;

    if (!settle(file, error) || !check_ours(file, &format, error))
        return FALSE;
    if (format == 0) {
        g_set_error_literal(error, US_ERROR, US_ERROR_NOT_FOUND, "there is nothing in it");
        return FALSE;
    }
    sqlite3_db_config(file, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
    return run(file, "PRAGMA synchronous = FULL;", "cannot open the controller's state", error) &&
           begin(file, error) &&
           end(file, run(file, RAISE DOUBT, "cannot raise the incarnation", error), error);
}

gboolean file_leap(const char *path, GError **error)
{
    g_autoptr(GError) why = NULL;
    sqlite3 *file = NULL;
    gboolean ok = sqlite3_open_v2(path, &file, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) == SQLITE_OK
                      ? leap(file, &why)
                      : file_error(&why, file, "cannot open the controller's state");

    sqlite3_close(file);
    if (g_error_matches(why, US_ERROR, US_ERROR_BUSY))
        g_prefix_error(&why, "a controller runs on this state: ");
    if (why)
        g_propagate_prefixed_error(error, g_steal_pointer(&why), "%s: ", path);
    return ok;
}

void file_close(sqlite3 *file)
{
    int rc = sqlite3_close(file);

    g_assert(rc == SQLITE_OK);
}

static gboolean apply(sqlite3 *file, const Change *change, GError **error)
{
    sqlite3_stmt *stmt = change_prepare(change, file, error);
    gboolean ok = stmt && sqlite3_step(stmt) == SQLITE_DONE;

    if (stmt && !ok)
        file_error(error, file, "cannot change the controller's state");
    sqlite3_finalize(stmt);
    return ok;
}

gboolean file_commit(sqlite3 *file, const DatabaseChanges *changes, GError **error)
{
    gboolean ok = TRUE;

    if (!begin(file, error))
        return FALSE;
    for (guint i = 0; ok && i < changes->list->len; i++)
        ok = apply(file, changes->list->pdata[i], error);
    return end(file, ok, error);
}

static json_t *parse(const char *text, GError **error)
{
    json_t *doc = json_parse(text, strlen(text), G_MAXINT32, error);

    if (!doc && error)
        (*error)->code = US_ERROR_CORRUPT;
    return doc;
}

json_t *file_query(sqlite3 *file, const Change *query, GError **error)
{
    sqlite3_stmt *stmt = change_prepare(query, file, error);
    json_auto_t *rows = json_array();
    int rc = SQLITE_DONE;

    if (!stmt)
        return NULL;
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        json_t *row = parse((const char *)sqlite3_column_text(stmt, 0), error);

        if (!row)
            break;
        json_array_append_new(rows, row);
    }
    if (rc != SQLITE_DONE && rc != SQLITE_ROW)
        file_error(error, file, "cannot read the controller's state");
    sqlite3_finalize(stmt);
    return rc == SQLITE_DONE ? g_steal_pointer(&rows) : NULL;
}

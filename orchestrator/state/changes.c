/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/state/changes.h"

#include "orchestrator/state/file.h"
#include "vmconnect/base/json.h"

Change *change_new(const char *sql)
{
    Change *change = g_new0(Change, 1);

    change->sql = sql;
    return change;
}

void change_free(Change *change)
{
    for (guint i = 0; i < change->count; i++)
        g_free(change->values[i].text);
    g_free(change);
}

void change_text(Change *change, const char *text)
{
    g_assert(change->count < CHANGE_MAX_VALUES);
    change->values[change->count].text = g_strdup(text);
    change->values[change->count++].null = !text;
}

void change_id(Change *change, Id id)
{
    change_text(change, id_is_nil(id) ? NULL : ID_TEXT(id));
}

void change_number(Change *change, gint64 number)
{
    g_assert(change->count < CHANGE_MAX_VALUES);
    change->values[change->count++].number = number;
}

sqlite3_stmt *change_prepare(const Change *change, sqlite3 *file, GError **error)
{
    sqlite3_stmt *stmt = NULL;

    if (sqlite3_prepare_v2(file, change->sql, -1, &stmt, NULL) != SQLITE_OK) {
        file_error(error, file, "cannot prepare a change");
        return NULL;
    }
    g_assert((int)change->count == sqlite3_bind_parameter_count(stmt));
    for (guint i = 0; i < change->count; i++) {
        int at = (int)i + 1;
        int rc = change->values[i].null ? sqlite3_bind_null(stmt, at)
                 : change->values[i].text
                     ? sqlite3_bind_text(stmt, at, change->values[i].text, -1, SQLITE_STATIC)
                     : sqlite3_bind_int64(stmt, at, change->values[i].number);

        g_assert(rc == SQLITE_OK);
    }
    return stmt;
}

DatabaseChanges *database_changes_new(void)
{
    DatabaseChanges *changes = g_new0(DatabaseChanges, 1);

    changes->list = g_ptr_array_new_with_free_func((GDestroyNotify)change_free);
    return changes;
}

void database_changes_free(DatabaseChanges *changes)
{
    if (!changes)
        return;
    g_ptr_array_unref(changes->list);
    g_free(changes);
}

static Change *add(DatabaseChanges *changes, const char *sql)
{
    Change *change = change_new(sql);

    g_ptr_array_add(changes->list, change);
    return change;
}

static void add_document(Change *change, const json_t *doc)
{
    g_autofree char *text = NULL;

    g_assert(json_is_object(doc));
    text = json_text(doc);
    change_text(change, text);
}

static void put_named(DatabaseChanges *changes, const char *sql, Id id, const char *name, const json_t *doc)
{
    Change *change = add(changes, sql);

    g_assert(!id_is_nil(id));
    change_id(change, id);
    change_text(change, name);
    add_document(change, doc);
}

void database_put_host(DatabaseChanges *changes, Id id, const char *name, const json_t *doc)
{
    put_named(changes,
              "INSERT INTO hosts (id, name, doc) VALUES (?, ?, ?)"
              " ON CONFLICT (id) DO UPDATE SET name = excluded.name, doc = excluded.doc",
              id, name, doc);
}

/* One member of its document. */
static void set_member(DatabaseChanges *changes, const char *sql, Id id, const json_t *value)
{
    Change *change = add(changes, sql);
    g_autofree char *text = value ? json_text(value) : g_strdup("null");

    change_text(change, text);
    change_id(change, id);
}

void database_hold_host(DatabaseChanges *changes, Id id, const json_t *hold)
{
    set_member(changes, "UPDATE hosts SET doc = json_set(doc, '$.hold', json(?1)) WHERE id = ?2", id, hold);
}

void database_tell_host(DatabaseChanges *changes, Id id, const json_t *told)
{
    set_member(changes, "UPDATE hosts SET doc = json_set(doc, '$.told', json(?1)) WHERE id = ?2", id, told);
}

void database_move_host(DatabaseChanges *changes, Id id, const json_t *addresses)
{
    set_member(changes, "UPDATE hosts SET doc = json_set(doc, '$.addresses', json(?1)) WHERE id = ?2", id,
               addresses);
}

void database_maintain_host(DatabaseChanges *changes, Id id, const json_t *maintenance)
{
    set_member(changes, "UPDATE hosts SET doc = json_set(doc, '$.maintenance', json(?1)) WHERE id = ?2", id,
               maintenance);
}

void database_delete_host(DatabaseChanges *changes, Id id)
{
    change_id(add(changes, "DELETE FROM hosts WHERE id = ?"), id);
}

void database_put_scenario(DatabaseChanges *changes, Id id, const char *name, const json_t *doc)
{
    put_named(changes,
              "INSERT INTO scenarios (id, name, doc) VALUES (?, ?, ?)"
              " ON CONFLICT (id) DO UPDATE SET name = excluded.name, doc = excluded.doc",
              id, name, doc);
}

void database_delete_scenario(DatabaseChanges *changes, Id id)
{
    change_id(add(changes, "DELETE FROM scenarios WHERE id = ?"), id);
}

void database_add_event(DatabaseChanges *changes, guint64 sequence, gint64 at_wall_ms, const char *scenario,
                        const char *host, const json_t *doc)
{
    Change *change =
        add(changes, "INSERT INTO events (sequence, at_ms, scenario, host, doc) VALUES (?, ?, ?, ?, ?)");

    change_number(change, (gint64)sequence);
    change_number(change, at_wall_ms);
    change_text(change, scenario);
    change_text(change, host);
    add_document(change, doc);
}

/* Always a beginning of the history, so that a gap at its start says what was forgotten; found by going up from there,
 * so that this costs no more than what it forgets. */
void database_forget_events(DatabaseChanges *changes, gint64 upto, gint64 before_wall_ms)
{
    change_number(add(changes, "DELETE FROM events WHERE sequence <= ?1"
                               " AND sequence < (SELECT max(sequence) FROM events)"),
                  upto);
    change_number(add(changes,
                      "DELETE FROM events WHERE sequence <"
                      " coalesce((SELECT sequence FROM events WHERE at_ms >= ?1 ORDER BY sequence LIMIT 1),"
                      " (SELECT max(sequence) FROM events))"),
                  before_wall_ms);
}

void database_put_channel(DatabaseChanges *changes, Id id, const char *name, const json_t *doc,
                          const json_t *state)
{
    Change *change = add(changes, "INSERT INTO channels (id, name, doc, state) VALUES (?, ?, ?, ?)");

    change_id(change, id);
    change_text(change, name);
    add_document(change, doc);
    add_document(change, state);
}

void database_put_channel_state(DatabaseChanges *changes, Id id, const json_t *state)
{
    Change *change = add(changes, "UPDATE channels SET state = ?1 WHERE id = ?2");

    add_document(change, state);
    change_id(change, id);
}

void database_delete_channel(DatabaseChanges *changes, Id id)
{
    change_id(add(changes, "DELETE FROM channels WHERE id = ?"), id);
}

void database_put_test(DatabaseChanges *changes, Id id, const char *scenario, gint64 begun_wall_ms,
                       const json_t *state, const json_t *doc)
{
    Change *change =
        add(changes, "INSERT INTO tests (id, scenario, begun_ms, state, doc) VALUES (?, ?, ?, ?, ?)"
                     " ON CONFLICT (id) DO UPDATE SET state = excluded.state, doc = excluded.doc");

    g_assert(!id_is_nil(id));
    change_id(change, id);
    change_text(change, scenario);
    change_number(change, begun_wall_ms);
    add_document(change, state);
    add_document(change, doc);
}

void database_put_evidence(DatabaseChanges *changes, Id test, Id vm, const char *png, const char *console)
{
    Change *change =
        add(changes, "INSERT OR REPLACE INTO evidence (test, vm, png, console) VALUES (?, ?, ?, ?)");

    change_id(change, test);
    change_id(change, vm);
    change_text(change, png);
    change_text(change, console);
}

void database_delete_test(DatabaseChanges *changes, Id id)
{
    change_id(add(changes, "DELETE FROM evidence WHERE test = ?"), id);
    change_id(add(changes, "DELETE FROM tests WHERE id = ?"), id);
}

void database_forget_tests(DatabaseChanges *changes, const char *scenario, guint keep)
{
    Change *change =
        add(changes, "DELETE FROM tests WHERE scenario = ?1 AND json_extract(state, '$.open') = 0"
                     " AND id NOT IN (SELECT id FROM tests WHERE scenario = ?1"
                     " ORDER BY rowid DESC LIMIT ?2)");

    change_text(change, scenario);
    change_number(change, keep);
    add(changes, "DELETE FROM evidence WHERE test NOT IN (SELECT id FROM tests)");
}

void database_put_drill(DatabaseChanges *changes, Id id, gint64 begun_wall_ms, gboolean open,
                        const json_t *doc)
{
    Change *change = add(changes, "INSERT INTO drills (id, begun_ms, open, doc) VALUES (?, ?, ?, ?)"
                                  " ON CONFLICT (id) DO UPDATE SET open = excluded.open, doc = excluded.doc");

    g_assert(!id_is_nil(id));
    change_id(change, id);
    change_number(change, begun_wall_ms);
    change_number(change, open);
    add_document(change, doc);
}

void database_forget_drills(DatabaseChanges *changes, guint keep)
{
    change_number(add(changes, "DELETE FROM drills WHERE NOT open AND id NOT IN"
                               " (SELECT id FROM drills ORDER BY rowid DESC LIMIT ?)"),
                  keep);
}

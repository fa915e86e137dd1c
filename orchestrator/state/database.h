/* SPDX-License-Identifier: Apache-2.0 */
/* database - what the controller remembers, in one SQLite file.
 *
 * Three phases. database_open() checks the file and may take a while; then the
 * database_load_…() functions read what was there, still on the caller's thread;
 * then database_start() hands the file to its one writer thread, and from there
 * on everything is asynchronous: a set of changes is submitted, and @on_durable
 * comes on the loop when all of it is on the disk, or none of it. The loop acts
 * only then. No SQL outside this folder; documents go in and out as JSON. */
#pragma once

#include "vmconnect/base/id.h"

#include <glib.h>
#include <jansson.h>
#include <uv.h>

/* The file's format; a newer one is refused and left alone. There is no older one yet: the
 * first change of format brings its upgrade, after a copy was kept. A file of format 1 may have
 * the tables plans and journal, too, which nothing uses: plans are in files of their own; one
 * that an earlier version made has no tables channels, tests, evidence and drills before this one opens it, and that version
 * passes over them. */
#define DATABASE_FORMAT 1

typedef struct Database Database;

/* Open or create the file of @controller, check its integrity, and begin a new
 * incarnation, durably. NULL with @error: BUSY if another process has it, CORRUPT if it
 * is not what we wrote (it is left alone), REFUSED for a newer format or another
 * controller's file, IO, NO_SPACE or DENIED from the file system. */
Database *database_open(const char *path, Id controller, GError **error);

/* The next incarnation of the file, which nobody has open, is far above any that what it was copied from can have reached
 * by starting: engines obey the newest. What it says of scenarios is doubted: each of their hosts must be heard
 * before anything is ordered. FALSE with @error as database_open(). */
gboolean database_leap(const char *path, GError **error);

/* 1, 2, … one for each open. */
guint64 database_incarnation(const Database *db);

/* Before database_start(). New arrays, in order of name, as they were put; or NULL with @error. A channel is
 * {"id", "name", "doc": as it was put, "state": as it was put last}. */
json_t *database_load_hosts(Database *db, GError **error);
json_t *database_load_scenarios(Database *db, GError **error);
json_t *database_load_channels(Database *db, GError **error);
/* Of integrity tests: those whose state is open, {"id", "state", "doc"} as they were put last, oldest first; of those
 * that have ended each VM that passed or failed, {"vm", "point" it was booted from, "chosen": the one that was asked for, or null, "host",
 * "verdict", "back_ms", "ended_at"}, oldest first; and of each scenario {"scenario", "begun_ms"} of its newest. */
json_t *database_load_open_tests(Database *db, GError **error);
json_t *database_load_verdicts(Database *db, GError **error);
json_t *database_load_newest_tests(Database *db, GError **error);
/* The documents of drills that are open, oldest first. */
json_t *database_load_open_drills(Database *db, GError **error);

/* Give the file to the writer thread. */
void database_start(Database *db, uv_loop_t *loop);

/* A set of changes that becomes durable as one. */
typedef struct DatabaseChanges DatabaseChanges;

DatabaseChanges *database_changes_new(void);
void database_changes_free(DatabaseChanges *changes);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DatabaseChanges, database_changes_free)

/* Documents are objects, borrowed and written out at once. put = insert or replace. */
void database_put_host(DatabaseChanges *changes, Id id, const char *name, const json_t *doc);
/* Of one that is there (nothing if it is not any more) one member of its document alone: the others may be under way to be
 * others. NULL: null. */
void database_hold_host(DatabaseChanges *changes, Id id, const json_t *hold);
void database_tell_host(DatabaseChanges *changes, Id id, const json_t *told);
void database_move_host(DatabaseChanges *changes, Id id, const json_t *addresses);
void database_maintain_host(DatabaseChanges *changes, Id id, const json_t *maintenance);
void database_delete_host(DatabaseChanges *changes, Id id);
void database_put_scenario(DatabaseChanges *changes, Id id, const char *name, const json_t *doc);
void database_delete_scenario(DatabaseChanges *changes, Id id);
/* @doc: what the operator set; @state: how far it has come. */
void database_put_channel(DatabaseChanges *changes, Id id, const char *name, const json_t *doc,
                          const json_t *state);
/* Of one that is there; nothing if it is not any more. */
void database_put_channel_state(DatabaseChanges *changes, Id id, const json_t *state);
void database_delete_channel(DatabaseChanges *changes, Id id);
/* An integrity test: @doc is what people are shown, @state what the controller needs besides; its "open" is true until nothing
 * is left to be done about it. */
void database_put_test(DatabaseChanges *changes, Id id, const char *scenario, gint64 begun_wall_ms,
                       const json_t *state, const json_t *doc);
/* What was seen of one of its VMs: a picture in base64, the text of its console; either may be NULL. */
void database_put_evidence(DatabaseChanges *changes, Id test, Id vm, const char *png, const char *console);
void database_delete_test(DatabaseChanges *changes, Id id);
/* Of those of @scenario that are not open all but the newest @keep, with their evidence. */
void database_forget_tests(DatabaseChanges *changes, const char *scenario, guint keep);
/* A drill of a host: @open until nothing is left to be done about it. */
void database_put_drill(DatabaseChanges *changes, Id id, gint64 begun_wall_ms, gboolean open,
                        const json_t *doc);
/* Of those that are not open all but the newest @keep. */
void database_forget_drills(DatabaseChanges *changes, guint keep);
/* @sequence from database_take_sequence(), also where @doc says it. @scenario, @host: NULL if none. */
void database_add_event(DatabaseChanges *changes, guint64 sequence, gint64 at_wall_ms, const char *scenario,
                        const char *host, const json_t *doc);
/* Forget the oldest events: all up to @upto, and those before the first that is not older than @before_wall_ms. The
 * newest stays whatever they say: the next one's number is told by it. */
void database_forget_events(DatabaseChanges *changes, gint64 upto, gint64 before_wall_ms);

/* The next event's number: 1, 2, …, never given twice; one not used is a gap. */
guint64 database_take_sequence(Database *db);
/* The last that was given out, 0 if none; it may not be durable yet. */
guint64 database_last_sequence(const Database *db);

/* @error NULL: durable. EXISTS: another host or scenario has that name. NO_SPACE: nothing
 * was changed, a later submission may work. IO, CORRUPT: database_is_lost(). */
typedef void (*DatabaseDone)(const GError *error, void *user);

/* Is the file lost to this process? Then every further submission fails the same way: a failed
 * fsync never gets a second try, and what is damaged is not written to. */
gboolean database_is_lost(const GError *error);

/* Takes @changes. Submissions become durable in order; callbacks come in order. */
void database_submit(Database *db, DatabaseChanges *changes, DatabaseDone on_durable, void *user);

/* Answers come on the loop, after everything submitted before the question.
 * @rows is an array, NULL if @error; borrowed. */
typedef void (*DatabaseRows)(const json_t *rows, const GError *error, void *user);

typedef struct {
    guint64 after;        /* events with a larger sequence */
    gint64 since_wall_ms; /* 0: any */
    const char *scenario; /* NULL: any */
    const char *host;     /* NULL: any */
    guint limit; /* 0: 1000. With @after 0 the newest so many, else the oldest; rising order always */
} DatabaseEventFilter;

void database_query_events(Database *db, const DatabaseEventFilter *filter, DatabaseRows on_rows, void *user);

/* What somebody who has been told all up to @after has not been told yet. */
typedef struct {
    guint64 after;
    guint64 upto;             /* not what came later; 0: all */
    const json_t *severities; /* array of texts */
    const json_t *scenarios;  /* array of names; NULL: of all, and of none */
    const char *not_about;    /* no event whose "channel" this is */
    guint limit;              /* the oldest so many; 0: they are only counted */
} DatabaseBacklog;

/* The only row: {"oldest", "newest": sequences of the whole history, null if it is empty; "waiting": how many there are,
 * null unless they are only counted; "events": […] in rising order}. */
void database_query_backlog(Database *db, const DatabaseBacklog *backlog, DatabaseRows on_rows, void *user);

/* The documents of tests, newest first, with no more of each VM than "vm", "name", "verdict" and "why". @scenario NULL: of all. */
void database_query_tests(Database *db, const char *scenario, guint limit, DatabaseRows on_rows, void *user);
/* Of one, if it is there. */
void database_query_test(Database *db, Id id, DatabaseRows on_rows, void *user);
/* {"png", "console"}, if there is any of this VM; each may be null. */
void database_query_evidence(Database *db, Id test, Id vm, DatabaseRows on_rows, void *user);
/* The documents of drills, newest first. @id nil: of all. */
void database_query_drills(Database *db, Id id, DatabaseRows on_rows, void *user);

/* Do what was submitted, end the thread, close the file, free. Callbacks still come;
 * @on_closed (may be NULL) is the last. Before database_start() it frees at once. */
void database_close(Database *db, void (*on_closed)(void *user), void *user);

/* SPDX-License-Identifier: Apache-2.0 */
/* file - the SQLite file itself: opening, checking, upgrading, one transaction.
 *
 * Blocking, one thread at a time. Write-ahead log with synchronous=FULL: when
 * a commit returns, the log was fsynced. The lock is exclusive for as long as
 * the file is open, so that a second controller on it is refused. */
#pragma once

#include "orchestrator/state/changes.h"

#include <sqlite3.h>

/* As database_open(); on success the schema is DATABASE_FORMAT's. */
sqlite3 *file_open(const char *path, Id controller, guint64 *ret_incarnation, guint64 *ret_newest_event,
                   GError **error);
void file_close(sqlite3 *file);
/* As database_leap(). */
gboolean file_leap(const char *path, GError **error);

/* 0: there is none. */
gboolean file_newest_event(sqlite3 *file, guint64 *ret_sequence, GError **error);

/* All of @changes or none. */
gboolean file_commit(sqlite3 *file, const DatabaseChanges *changes, GError **error);

/* Every row of @query, whose first column is a document, as an array; CORRUPT if one is none. */
json_t *file_query(sqlite3 *file, const Change *query, GError **error);

/* Set @error from what SQLite says about @file. Always FALSE. */
gboolean file_error(GError **error, sqlite3 *file, const char *what);

/* SPDX-License-Identifier: Apache-2.0 */
/* changes - the inside of DatabaseChanges: statements with their values, as text.
 *
 * Filled on the loop, carried out on the writer's thread: nothing in it is
 * shared, JSON has become text before it crosses. */
#pragma once

#include "orchestrator/state/database.h"

#include <sqlite3.h>

#define CHANGE_MAX_VALUES 8

typedef struct {
    const char *sql; /* static */
    guint count;
    struct {
        char *text; /* NULL: @number, unless @null */
        gint64 number;
        gboolean null;
    } values[CHANGE_MAX_VALUES];
} Change;

struct DatabaseChanges {
    GPtrArray *list; /* of Change */
};

Change *change_new(const char *sql);
void change_free(Change *change);
/* The next value, in the order of the statement's question marks. */
void change_text(Change *change, const char *text); /* NULL: SQL's null */
void change_id(Change *change, Id id);              /* nil: SQL's null */
void change_number(Change *change, gint64 number);

/* A prepared statement with the values bound; NULL with @error. */
sqlite3_stmt *change_prepare(const Change *change, sqlite3 *file, GError **error);

/* SPDX-License-Identifier: Apache-2.0 */
/* journal - the intentions of plans, durable before they are acted on.
 *
 * One file a plan, PLAN-UUID.plan in the controller's journal folder, a record
 * a line: sixteen hex digits of the SHA-256 of the text, a space, the JSON.
 * Only appended to, so that a kill leaves whole records and at most one torn
 * line at the end, which never counted. A damaged line anywhere else is CORRUPT:
 * the file is left alone for the operator.
 *
 * It is a file and not a row of the database, because a plan must also end
 * when the database cannot be written, and because an operator can read it
 * with less(1) when everything else is down. Calls block on fsync: they belong
 * on a worker thread, one at a time. */
#pragma once

#include "vmconnect/base/id.h"

#include <glib.h>
#include <jansson.h>

typedef struct Journal Journal;

/* @dir is created if need be. Of the plans beyond the newest @keep those that have
 * ended are removed. */
Journal *journal_open(const char *dir, guint keep, GError **error);
void journal_close(Journal *j);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Journal, journal_close)

/* Append @record to the plan's file and make it durable. After an error the
 * plan's file takes no more records (a failed fsync gets no second try). */
gboolean journal_append(Journal *j, Id plan, const json_t *record, GError **error);

/* All plans there are, oldest first: GArray of Id. */
GArray *journal_list(Journal *j, GError **error);

/* A plan's records in order, a JSON array; a torn last line is cut off the file. A
 * plan of an earlier process is read before anything is appended to it. A file without a
 * whole record is removed: the plan was stopped before it began. NULL with
 * @error NOT_FOUND, IO or CORRUPT. */
json_t *journal_read(Journal *j, Id plan, GError **error);

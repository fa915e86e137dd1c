/* SPDX-License-Identifier: Apache-2.0 */
/* point_desk - what is asked of a VM's recovery points: which there are, which are kept, and to read one.
 *
 * An open point is offered read-only, each disk as an NBD export on a unix socket of this host's run folder, until the point is
 * let go or the thread that opened it ends. A copy goes on underneath, with its merges (store_lease_share()). Used by the thread that has the store open. */
#pragma once

#include "vmconnect/store/store.h"

#include <glib.h>
#include <jansson.h>

typedef struct PointDesk PointDesk;

/* @run_dir: the engine's. @merges: the store merges while points are open, and point_desk_clear() comes before it is closed; FALSE: it
 * may be closed while they are, and does nothing, as a VM runs from it. One that is promoted merges nothing, too. */
PointDesk *point_desk_new(const char *run_dir, Id vm, gboolean merges);
/* Everything that was opened is closed. */
void point_desk_clear(PointDesk *desk, Store *store);
void point_desk_free(PointDesk *desk);

/* {"points": […]} as docs/protocol.md has `standby.points`. New reference. */
json_t *point_desk_list(const PointDesk *desk, const Store *store);

/* {"count", "bytes"} as docs/protocol.md has the branches of `status`. New reference. */
json_t *point_desk_branches(StoreBranches branches);

/* @params of `standby.pin`. One that is let go is closed. */
gboolean point_desk_pin(PointDesk *desk, Store *store, const json_t *params, GError **error);

/* @params of `standby.open`; *@ret_result: {"disks": [{"target", "uri"}]}. The point must be pinned, so that it stays
 * (REFUSED). Asked again it answers the same. */
gboolean point_desk_open(PointDesk *desk, Store *store, const json_t *params, json_t **ret_result,
                         GError **error);

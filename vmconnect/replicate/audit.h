/* SPDX-License-Identifier: Apache-2.0 */
/* audit - is the copy what the disks are?
 *
 * While a VM is protected and replication goes on, both sides hash what they have, and nothing is sent. In short jobs
 * between two generations, each of which compares with the tip of its moment: of a block that is not among the changes since the tip
 * both sides must have the same. A block that is among them comes with the next generation, whatever it was before.
 *
 * What differs is noted; where that is wanted, the next generation brings it. */
#pragma once

#include "vmconnect/replicate/active.h"

#include <glib.h>
#include <jansson.h>

typedef struct Audit Audit;

Audit *audit_new(gboolean repair);
/* NULL is accepted. */
void audit_free(Audit *audit);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Audit, audit_free)

/* Is it wanted that what differs is sent? */
gboolean audit_repairs(const Audit *audit);

/* One job, of about @most_ms, of a VM that was just looked at and whose generation is sealed. FALSE with @error: it
 * is gone on with at the next call, which must be after an active_cycle(); UNSUPPORTED: never. */
gboolean audit_step(Audit *audit, Active *active, gint64 most_ms, GError **error);

/* All was compared but what changes all the time, or it cannot be: disks that cannot be read. */
gboolean audit_has_ended(const Audit *audit);

/* A generation was sealed since: with what differed, if that is repaired? */
void audit_look_at_repair(Audit *audit, const Active *active);

/* As `status` shows it: {id, state: "running", "equal", "different", "repaired" or "failed", repairing (what differs is on its way),
 * done_bytes, total_bytes, compared_bytes, different_bytes, ranges: [{disk, offset, len}] (the first ones), point, started_at,
 * ended_at, why}. */
json_t *audit_to_json(const Audit *audit);

/* SPDX-License-Identifier: Apache-2.0 */
/* maintenance_parts - what the files of maintenance share, and nobody else uses. */
#pragma once

#include "orchestrator/core/maintenance.h"

typedef json_t *(*MaintenancePart)(const RosterHost *host, const Protection *p, const MaintenanceWish *wish,
                                   const GPtrArray *vms, gboolean active);

/* A running scenario has one part in it, or two, if some of its VMs were moved. New reference. */
json_t *maintenance_each_part(const RosterHost *host, const GPtrArray *protections,
                              const MaintenanceWish *wish, MaintenancePart describe);
/* Their standby is away, and their operator knows it. */
gboolean maintenance_goes_alone(const Protection *p, const GPtrArray *vms, const MaintenanceWish *wish);

json_t *maintenance_part(const json_t *doc, gsize at);
gboolean maintenance_part_moves(const json_t *doc, const json_t *part);
/* The first, as its engine said last; NULL: it did not. */
const NewsCopy *maintenance_copy_of(const ProtectionVm *vm);

void maintenance_set_text(json_t *doc, const char *key, const char *text);
void maintenance_set_time(json_t *doc, const char *key, gint64 wall_ms);
/* TRUE: so it has changed. */
gboolean maintenance_enter(json_t *doc, MaintenancePhase phase);

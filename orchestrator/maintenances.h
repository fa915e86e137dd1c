/* SPDX-License-Identifier: Apache-2.0 */
/* maintenances - what core/maintenance.h decides, carried out: plans that park and call back, copies that are closed and opened.
 *
 * What a maintenance has come to is durable with its host before anybody is told. All else is looked at anew, about once a
 * second: whoever dies in the middle goes on where it is. Loop thread only. */
#pragma once

#include "orchestrator/core/maintenance.h"
#include "orchestrator/events.h"
#include "orchestrator/plans.h"

typedef struct Maintenances Maintenances;

/* A document or why there is none. */
typedef void (*MaintenancesDone)(void *user, const json_t *doc, const GError *error);

/* All borrowed. */
Maintenances *maintenances_new(Database *db, Hosts *hosts, Scenarios *scenarios, Plans *plans,
                               Events *events);
void maintenances_free(Maintenances *m);
/* From now on nothing is carried out any more. */
void maintenances_close(Maintenances *m);

/* maintenance_preview(). NULL with @error NOT_FOUND (no such host), EXISTS (it is in one), UNREACHABLE. New reference. */
json_t *maintenances_preview(const Maintenances *m, const char *host, const MaintenanceWish *wish,
                             GError **error);
/* @done with its document when it is durable. FALSE with @error as above, or REFUSED: something of it cannot be prepared. */
gboolean maintenances_start(Maintenances *m, const char *host, const MaintenanceWish *wish,
                            MaintenancesDone done, void *user, GError **error);
/* The same of its end, by hand. FALSE with @error NOT_FOUND, EXISTS. */
gboolean maintenances_finish(Maintenances *m, const char *host, MaintenancesDone done, void *user,
                             GError **error);
/* The newest of that host. NULL with @error NOT_FOUND. Borrowed. */
json_t *maintenances_find(const Maintenances *m, const char *host, GError **error);
/* {"maintenances": [document…]}, of each host the newest. New reference. */
json_t *maintenances_list(const Maintenances *m);

/* What an engine says of the copies that rest there. */
void maintenances_news(Maintenances *m, const char *host, const json_t *status);
/* About once a second. */
void maintenances_tick(Maintenances *m);

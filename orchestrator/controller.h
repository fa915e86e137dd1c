/* SPDX-License-Identifier: Apache-2.0 */
/* controller - what the program's parts share: one struct, the loop's own.
 *
 * controller.c makes and ends it, the operations files answer the API. Only the
 * loop's thread touches it. */
#pragma once

#include "orchestrator/api/api.h"
#include "orchestrator/authority/authority.h"
#include "orchestrator/drills.h"
#include "orchestrator/events.h"
#include "orchestrator/fence.h"
#include "orchestrator/hosts.h"
#include "orchestrator/maintenances.h"
#include "orchestrator/notify/notifier.h"
#include "orchestrator/plans.h"
#include "orchestrator/rehearsals.h"
#include "orchestrator/scenarios.h"
#include "orchestrator/state/database.h"
#include "orchestrator/timetable.h"
#include "vmconnect/base/conf.h"

#include <uv.h>

typedef struct Controller {
    uv_loop_t loop;
    const Conf *conf;
    Authority *authority;
    Database *db;
    Events *events;
    Hosts *hosts;
    Scenarios *scenarios;
    Plans *plans;
    Voice *voice;
    Fences *fences;
    Rehearsals *rehearsals;
    Timetable *timetable;
    Drills *drills;
    Maintenances *maintenances;
    Notifier *notifier;
    Api *api;
    HttpServer *server;
    GPtrArray *enrolling; /* Enrolling *, operations_enrol.c */
    GHashTable *excused;  /* set of char *: hosts in maintenance as of the last tick */
    uv_timer_t tick;
    uv_signal_t signals[2];
    guint open; /* asynchronous closes under way */
    gboolean ending;
    int exit_code;
} Controller;

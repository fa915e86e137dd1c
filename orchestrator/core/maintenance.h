/* SPDX-License-Identifier: Apache-2.0 */
/* maintenance - a host's operator is about to restart it, and nothing of it is to be resynchronised afterwards.
 *
 *   preparing -> ready -> returning -> ended
 *       └──────────────────┘
 *
 * Of every running scenario that the host has a part in: what runs there is parked (plan.h), the copies that it keeps are closed. When
 * all of that is so, the operator is told that he may reboot. When the host was booted since, or he says that it is over, all of it
 * comes back; it is over when all of it is protected again. What cannot be prepared takes all of it back.
 *
 * Pure: here is the document, durable with the host, and what it becomes by what is known; to carry out what its phase
 * asks for is orchestrator/maintenances.h's. One that is over is kept until the next one of the host:
 *
 *   {"id", "host", "state", "since", "ready_at", "back_at", "ended_at", "silent_at", "late", "boot", "until_finish", "power_off", "patient", "finish", "why",
 *    "then", "resync_bytes", "change_bytes", "move", "scenarios": [{"scenario", "plan", "alone", "begun", "settled", "ready", "stays", "vms": [{"vm", "name", "off_ms", "synced_bytes",
 *    "payload_bytes"}]}]}
 *
 * Each entry of "scenarios" is a part in one: of which VMs run there, or of which it keeps the copies; a scenario of which some VMs were
 * moved has both, one after the other. "silent_at": since when the host does not answer, "late": that, or that its way back takes long, was told after half an hour.
 * "then" are the hosts whose turn comes when this one is over and all is protected again. "plan" is null where it keeps the copies; "why" is what it failed of. */
#pragma once

#include "orchestrator/core/event.h"
#include "orchestrator/core/plan.h"

/* What its operator asks for. */
typedef struct {
    gboolean until_finish; /* a boot alone does not end it: he will say when */
    gboolean power_off;    /* a guest that does not shut down is switched off … */
    gboolean patient;      /* … or waited for; else all of it is taken back */
    gboolean move;       /* instead of shutting guests down they are moved away, and home again afterwards */
    const char *without; /* a host that is away, and whose copies get no last generation; NULL: none */
    const json_t *then;  /* names of hosts whose turn comes after it, one after the other; NULL: none */
} MaintenanceWish;

typedef enum {
    MAINTENANCE_PREPARING,
    MAINTENANCE_READY,
    MAINTENANCE_RETURNING,
    MAINTENANCE_OVER,
} MaintenancePhase;

/* What would be done, of all @protections (Protection *): {"host", "scenarios": [{"scenario", "part": "active" or "standby", "why": null or
 * what keeps it from being prepared, "vms": [{"vm", "name", "what", "off_ms": how long its shutdown took last time, or null}]}]}.
 * @roster_host has the last one. New reference. */
json_t *maintenance_preview(const RosterHost *host, const GPtrArray *protections,
                            const MaintenanceWish *wish);
/* The first reason in a preview that keeps it from being begun, as @error REFUSED; FALSE: there is one. */
gboolean maintenance_may_begin(const json_t *preview, GError **error);

/* One that begins now; @boot: of the host. New reference. */
json_t *maintenance_new(const RosterHost *host, const GPtrArray *protections, const MaintenanceWish *wish,
                        const char *boot, gint64 now_wall_ms);

/* CORRUPT for what is no such document; NULL is none. */
gboolean maintenance_check(const json_t *doc, GError **error);
/* FALSE for NULL, and for one that is over. */
gboolean maintenance_runs(const json_t *doc);
MaintenancePhase maintenance_phase(const json_t *doc);

/* What is known of a part. */
typedef struct {
    const Protection *protection; /* NULL: the scenario is gone */
    const Plan *plan;             /* NULL: it is not known */
    gboolean rested;              /* the copies that it keeps are closed */
    const char *why;              /* it could not be begun; NULL: nothing stands against it */
    const char *stays;            /* its VMs do not come home; NULL: they may yet */
} MaintenanceSight;

typedef struct {
    gint64 steady_ms;
    gint64 wall_ms;
    const char *boot; /* of the host, as it says now; NULL: it does not */
} MaintenanceNow;

/* What was asked for, but for the hosts that are no part of it: without, then. */
MaintenanceWish maintenance_wish(const json_t *doc);

/* Its parts; borrowed. */
gsize maintenance_len(const json_t *doc);
const char *maintenance_scenario(const json_t *doc, gsize at);
/* nil: it keeps copies there. */
Id maintenance_plan(const json_t *doc, gsize at);
gboolean maintenance_has_begun(const json_t *doc, gsize at);
/* Are its VMs, which ran there, moved away? */
gboolean maintenance_moves(const json_t *doc, gsize at);
/* Of them all: Id. The caller unrefs. */
GArray *maintenance_vms(const json_t *doc, gsize at);
/* Are the copies of all of them there to be closed: it keeps them, or they run elsewhere now, protected? */
gboolean maintenance_closes_all(const json_t *doc, gsize at);
/* Those that are to come home now, and can: that is asked for, unless it is under way. */
gboolean maintenance_may_come_home(const json_t *doc, gsize at, const MaintenanceSight *sight,
                                   const MaintenanceNow *now);
/* Is that plan one of its own, or that VM (as text) one whose copy it closes? FALSE for NULL. */
gboolean maintenance_parks(const json_t *doc, Id plan);
gboolean maintenance_closes(const json_t *doc, const char *vm);
/* Is one of a host of @p's being prepared that has that plan? */
gboolean maintenance_is_prepared(const Protection *p, Id plan);
/* For plan_park(); FALSE: nothing is parked of it. */
gboolean maintenance_park_options(const json_t *doc, gsize at, Id reign, ParkOptions *ret_options);

/* What has become of it: @parts, as many as it has. TRUE: @doc is another now, and @out (Event *) is to be told when that
 * is durable. */
gboolean maintenance_step(json_t *doc, const MaintenanceSight *parts, const MaintenanceNow *now,
                          GPtrArray *out);
/* One that went well and is over: whose turn is next (borrowed), and what was asked for the first, with those after it; NULL: nobody's. */
const char *maintenance_next(const json_t *doc, MaintenanceWish *ret_wish, json_t **ret_then);
/* That was begun, or cannot be. */
void maintenance_forget_next(json_t *doc);
/* The operator says that it is over; of one whose VMs are all back, that he does not wait until they are protected. FALSE with
 * @error EXISTS: he has, or they are being started, or NOT_FOUND: none runs. */
gboolean maintenance_finish(json_t *doc, const MaintenanceSight *parts, GError **error);

/* SPDX-License-Identifier: Apache-2.0 */
/* handover - the active's side of a switchover in good order, or of its host's maintenance, one step after the other.
 *
 *   LOCKED → SHUT → FINAL → RELEASED → UNLOCKED
 *       │      │      └→ PARKED
 *       └──────┴──────┴────┴→ ROLLING_BACK → ROLLED_BACK
 *
 * Each state is durable before its step is answered. Until RELEASED the active
 * takes the VM back by itself: on request, at the plan's deadline, and at a
 * restart of the engine, whatever the controller does. ROLLING_BACK is durable before
 * anything may start the guest, and no step goes forward from it. RELEASED names the
 * successor and is final: this host never runs the VM again in this reign. A step
 * asked again by the same plan is answered from what is.
 *
 * PARKED waits for a restart of the host, or for what else is done to it: the VM is off, its last generation sealed, and nobody takes it
 * back but on request. How its images looked then is kept (bequest.h): whoever touches one meanwhile is found before the guest
 * starts, and that disk is compared. If the host was booted since and nobody has asked for HANDOVER_ALONE_MS, its engine
 * takes the VM back by itself, unless the plan is to wait for a word (`until_told`).
 *
 * LOCKED is only entered when the standby answers and it is known of each disk of a guest that runs what changed, so that the last
 * generation is no comparison. UNREACHABLE, TIMEOUT and CANCELLED of a step are to the controller a missing answer, after which it
 * reads plan.state and asks again: libvirtd that is away has these codes, the standby's silence and the guest's disobedience have not.
 *
 * The guard file's journal is open from LOCKED to the end, so that nobody
 * starts the guest between two steps. */
#pragma once

#include "vmconnect/replicate/active.h"

#include <glib.h>
#include <jansson.h>

/*    state        the step that it completed, as the protocol names it */
#define HANDOVER_STATES(X)                                                                               \
    X(LOCKED, "lock")               /* no cut starts by itself, no start of the guest passes the hook */ \
    X(SHUT, "shutdown")             /* QEMU is gone */                                                   \
    X(FINAL, "final")               /* the last generation is sealed on the standby */                   \
    X(PARKED, "park")               /* it stays off until it is taken back */                            \
    X(RELEASED, "release")          /* the successor may run it */                                       \
    X(UNLOCKED, "unlock")           /* end: this host has nothing to do with the VM any more */          \
    X(ROLLING_BACK, "rolling-back") /* the guest may run again, and the plan is not over yet */          \
    X(ROLLED_BACK, "rollback")      /* end: the VM is as it was before the plan */

/* After a boot a controller needs a moment, and all hosts it waits for. */
#define HANDOVER_ALONE_MS 600000

typedef enum {
#define X(state, name) HANDOVER_##state,
    HANDOVER_STATES(X)
#undef X
} HandoverState;

typedef struct {
    Id vm;
    Id plan;
    HandoverState state;
    gboolean was_running; /* what a rollback has to restore */
    gboolean died;        /* it was off, and nobody wanted that: the successor starts it all the same */
    gboolean autostart;   /* what its user had set, for the successor to go on with */
    Id tip;               /* FINAL on */
    Id boot;              /* PARKED: of which boot of this host … */
    gboolean until_told;  /* … and another one does not end it */
    gboolean alone;       /* its standby has no part in it: it is parked without a last generation */
    Id successor;         /* RELEASED on */
    Reign reign;          /* that ends */
    Reign reign_next;     /* RELEASED on */
    gint64 deadline_ms;   /* steady time of this boot; not stored */
    gboolean doubtful;    /* RELEASED was written and may or may not be durable; not stored */
    gint64
        start_until_ms; /* parked, and its host was booted since: so long a start that fails is tried again; not stored */
    gint64 late_until_ms; /* so long the guest, which did not shut down in time, may do so late; not stored */
} Handover;

const char *handover_state_name(HandoverState state);

/* The one of @vm in folder @plan_dir, NULL without @error if there is none; CORRUPT, UNSUPPORTED, IO. */
Handover *handover_load(const char *plan_dir, Id vm, GError **error);
/* The text of such a file: USAGE, UNSUPPORTED. */
Handover *handover_parse(const char *text, gsize len, GError **error);
void handover_free(Handover *h);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Handover, handover_free)

/* Parked, and the host was booted since? */
gboolean handover_was_booted(const Handover *h);

/* Does a plan have the VM now? FALSE for NULL and for the two ends. */
gboolean handover_holds(const Handover *h);
/* Has it given the VM to its successor, whether that runs it already or not? */
gboolean handover_was_released(const Handover *h);

/* {"plan", "done", "tip", "certificate", "booted", "until_told", "alone"}: what `plan.state` answers, and each step. The certificate
 * (certificate.h) is null before the release. */
json_t *handover_to_json(const Handover *h);

/* The steps; *@h is NULL before the first lock, and remembers the last plan after its
 * end. REFUSED for another plan's lock, out of order, or a VM that is saved, or transient. @params as command.h has them. */
gboolean handover_lock(Handover **h, Active *a, const json_t *params, GError **error);
gboolean handover_shutdown(Handover *h, Active *a, const json_t *params, GError **error);
gboolean handover_final(Handover *h, Active *a, const json_t *params, GError **error);
gboolean handover_park(Handover *h, Active *a, const json_t *params, GError **error);
gboolean handover_release(Handover *h, Active *a, const json_t *params, GError **error);
gboolean handover_unlock(Handover *h, Active *a, const json_t *params, GError **error);

/* After a restart that found RELEASED: it is surely durable, and guard and permit say so, too. */
gboolean handover_finish_release(const Handover *h, Active *a, GError **error);

/* Take the VM back: start it if it ran, close the journal. REFUSED after the release, OVERTAKEN when another host was made
 * its active meanwhile. If the plan
 * still holds it after an error: try again. Else the rollback has ended all the same, and
 * the guest must be started by hand. */
gboolean handover_rollback(Handover *h, Active *a, GError **error);

/* After a rollback, when its guest is found to be off: start it, if it has obeyed late. FALSE with @error: it did not start,
 * and is its user's to look after. @h may be NULL. */
gboolean handover_undo_late_shutdown(Handover *h, Active *a, GError **error);

/* SPDX-License-Identifier: Apache-2.0 */
/* rescuer - the production guest never waits for a worker of ours.
 *
 * A thread with its own connection that watches what workers have open, and
 * does nothing but end their jobs, thaw, and resume guests that our scratch
 * space stopped. A worker says what it is about to do; from then on the rescuer
 * acts when the scratch passes its limit (by event, and by a look each second),
 * when the job outlives its deadline, or when the guest stops for it. The
 * looks ask nothing of QEMU; each rescue has a thread of its own (rescue.h). */
#pragma once

#include "vmconnect/base/id.h"
#include "vmconnect/hypervisor/ears.h"

#include <glib.h>
#include <uv.h>

typedef struct Rescuer Rescuer;

typedef enum {
    RESCUER_JOB_ENDED, /* a job was ended over its worker's head, which sees its reads fail */
    RESCUER_RESUMED,   /* a guest that had stopped for an I/O error runs again, after `paused_ms` */
    RESCUER_THAWED,    /* thawed for a worker that did not */
    RESCUER_STUCK,     /* the domain is locked by a job that libvirtd lost; `why` has the remedy */
    RESCUER_FAILED,    /* tried and could not; it tries again each second and says so once */
} RescuerKind;

/* Borrowed for the length of the callback. */
typedef struct {
    RescuerKind kind;
    Id vm;
    const char *why; /* the sentence for the operator */
    gint64 paused_ms;
} RescuerNews;

/* What a worker is about to do. Times by clock_steady_ms(). */
typedef struct {
    Id vm;
    const char *const *scratch;  /* paths of its scratch files, NULL-terminated; may be NULL */
    guint64 scratch_limit_bytes; /* of what they allocate together; 0: no limit */
    gint64 end_by_ms;            /* the job may not live longer; 0: no limit */
    gint64 thaw_by_ms;           /* nor its freeze; 0: does not freeze */
    gboolean was_running;        /* before: only then is a stop laid at our door */
} RescuerWatch;

/* On the loop's thread. @run_folder: absolute; sockets and freeze marks of our
 * jobs lie in it. @on_news is called on @loop. */
Rescuer *rescuer_new(uv_loop_t *loop, const char *uri, const char *run_folder,
                     void (*on_news)(void *user, const RescuerNews *news), void *user);
/* No news follows; @on_closed comes on the loop when the thread is gone. */
void rescuer_close(Rescuer *r, void (*on_closed)(void *user), void *user);

/* From any thread, never blocks. Watch before virDomainBackupBegin() or a
 * freeze; unwatch when the job is gone and the guest thawed: a guest that stands
 * still for an I/O error then is resumed once. @watch is copied and replaces
 * the one its VM has: there is no job of ours on the VM now, and from now on rescuer_enter() lets in. */
void rescuer_watch(Rescuer *r, const RescuerWatch *watch);
void rescuer_unwatch(Rescuer *r, Id vm);

/* Around each handshake with the NBD server of a watched job (job_gate.h says why). FALSE: the
 * rescuer ends that job. */
gboolean rescuer_enter(Rescuer *r, Id vm);
void rescuer_leave(Rescuer *r, Id vm);

/* From any thread: end our job on @vm and thaw it now, watched or not. */
void rescuer_end(Rescuer *r, Id vm);

/* On the loop: hand every event here; thresholds and I/O errors make it look at once. */
void rescuer_hear(Rescuer *r, const EarEvent *event);

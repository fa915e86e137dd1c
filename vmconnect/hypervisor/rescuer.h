/* SPDX-License-Identifier: Apache-2.0 */
/* rescuer - the production guest never waits for a worker of ours.
 *
 * A thread with its own connection that does nothing but end our backup jobs,
 * resume guests that our scratch space stopped, and thaw file systems. A worker
 * registers what it is about to open; from then on the rescuer ends it when
 * the scratch passes its limit (by event and by a look each second), when the
 * job is older than its deadline, or when the guest stops for it. */
#pragma once

#include "vmconnect/base/id.h"
#include "vmconnect/hypervisor/ears.h"
#include "vmconnect/hypervisor/virt_error.h"

#include <glib.h>
#include <uv.h>

typedef struct Rescuer Rescuer;

typedef enum {
    RESCUE_JOB_ENDED, /* a job was ended by us; the worker will see its reads fail */
    RESCUE_RESUMED,   /* a guest that our scratch had stopped runs again; `paused_ms` at most so long */
    RESCUE_THAWED,    /* its file systems were thawed for a worker that did not */
    RESCUE_STUCK,     /* the domain is locked by a job without data; `why` has the remedy */
    RESCUE_FAILED,    /* tried and could not; tried again each second */
} RescueKind;

typedef struct {
    RescueKind kind;
    Id vm;
    char *why; /* the sentence for the operator */
    gint64 paused_ms;
} RescueNews;

/* What a worker is about to do; plain copies, times by clock_steady_ms(). */
typedef struct {
    Id vm;
    guint64 scratch_limit_bytes; /* sum over its scratch files; 0: no limit */
    gint64 end_by_ms;            /* the job may not live longer */
} RescueWatch;

/* @run_folder: absolute; our jobs' sockets and freeze marks lie in it. @on_news
 * is called on @loop. On the loop's thread. */
Rescuer *rescuer_new(uv_loop_t *loop, const char *uri, const char *run_folder,
                     void (*on_news)(void *user, const RescueNews *news), void *user);
void rescuer_close(Rescuer *r, void (*on_closed)(void *user), void *user);

/* From any thread, never blocks. Watch before virDomainBackupBegin() or a
 * freeze; unwatch when the job is gone and the guest thawed. A watch on a VM
 * that has one replaces it. */
void rescuer_watch(Rescuer *r, const RescueWatch *watch);
void rescuer_unwatch(Rescuer *r, Id vm);

/* From any thread: end our job on @vm now and thaw it, whether it is watched or not. */
void rescuer_end(Rescuer *r, Id vm);

/* On the loop: hand every event here; thresholds and I/O errors make it look at once. */
void rescuer_hear(Rescuer *r, const EarEvent *event);

/* What was done, for the command's output. */
typedef struct {
    guint jobs_ended;
    guint resumed;
    guint thawed;
} RescueReport;

/* For the unit's stop hook, in a process of its own: end every job of ours on
 * this host, resume and thaw what they stopped. Goes on after an error and
 * returns the first. Needs event_uv only for keepalive; without it a hung
 * libvirtd blocks, so the unit sets its own deadline. */
gboolean rescue_all(virConnectPtr conn, const char *run_folder, RescueReport *ret_report, GError **error);

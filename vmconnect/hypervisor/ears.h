/* SPDX-License-Identifier: Apache-2.0 */
/* ears - everything that libvirt says by itself, told to the loop.
 *
 * A thread of its own opens the connection, registers the events and reads the
 * inventory; events then arrive on the loop. Whenever the connection came
 * (back) a RESYNC with everything there is follows, so that nothing can have
 * been missed; a domain about which an event was heard while that inventory
 * was made has its newest lifecycle event told again after it. A panic that
 * libvirt lost (vm_has_panicked()) is told as if libvirt had.
 *
 * DOWN means that libvirtd is gone or hangs. It says nothing about any guest. */
#pragma once

#include "vmconnect/base/id.h"
#include "vmconnect/hypervisor/inventory.h"

#include <glib.h>
#include <uv.h>

typedef enum {
    EAR_DOWN,      /* connection lost or never made; `why` */
    EAR_RESYNC,    /* `inventory`: all there is; events flow from here on */
    EAR_LIFECYCLE, /* `event`, `detail`: VIR_DOMAIN_EVENT_* and its detail */
    EAR_REBOOT,    /* the guest restarted inside its QEMU */
    EAR_WATCHDOG, /* the guest has not fed it in time; `detail`: VIR_DOMAIN_EVENT_WATCHDOG_*, what QEMU does about it */
    EAR_IO_ERROR, /* `disk` (target or path), `detail`: VIR_DOMAIN_EVENT_IO_ERROR_*, `reason` */
    EAR_BLOCK_JOB, /* `disk` (target), `event`: VIR_DOMAIN_BLOCK_JOB_TYPE_*, `detail`: VIR_DOMAIN_BLOCK_JOB_* */
    EAR_BLOCK_THRESHOLD, /* `disk` ("vda[7]"), `bytes`: threshold, `excess_bytes` */
    EAR_JOB_COMPLETED, /* `event`: VIR_DOMAIN_JOB_OPERATION_*, -1 unknown; `detail`: 1 success, 0 not, -1 unknown */
    EAR_AGENT,         /* `event`: VIR_CONNECT_DOMAIN_EVENT_AGENT_LIFECYCLE_STATE_* */
    EAR_DEVICE,        /* one was plugged into the guest, or is gone; `event`: 1 or 0, `reason`: its alias */
    EAR_METADATA, /* somebody changed a metadata element; `event`: VIR_DOMAIN_METADATA_* */
} EarKind;

/* Borrowed for the length of the callback. */
typedef struct {
    EarKind kind;
    Id vm;            /* nil for DOWN and RESYNC */
    const char *name; /* of the VM; NULL for DOWN and RESYNC */
    int event;
    int detail;
    const char *disk;
    const char *reason;
    guint64 bytes;
    guint64 excess_bytes;
    const Inventory *inventory;
    const GError *why;
} EarEvent;

typedef struct Ears Ears;

/* On the loop's thread; @on_event is called there. event_uv_start() comes first. */
Ears *ears_new(uv_loop_t *loop, const char *uri, void (*on_event)(void *user, const EarEvent *event),
               void *user);

/* Ask for one more RESYNC, e.g. when the engine finds itself in doubt. */
void ears_resync(Ears *ears);

/* What is lost from now on is not opened anew: an opening may hang, and ears_close(), which is to follow, would wait for it. What the
 * connection says until then is told. */
void ears_open_no_more(Ears *ears);

/* No event follows. @on_closed is called on the loop when thread and connection
 * are gone and @ears is freed: up to 20 s later if libvirtd hangs. */
void ears_close(Ears *ears, void (*on_closed)(void *user), void *user);

const char *ear_kind_name(EarKind kind);

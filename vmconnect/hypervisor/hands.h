/* SPDX-License-Identifier: Apache-2.0 */
/* hands - short calls to libvirt, done for the loop by one thread.
 *
 * Jobs are done one after the other on the thread's own connection. Each has a
 * deadline from its submission; when that passes the loop's caller gets its
 * answer and what comes later is thrown away, so a hung libvirtd costs this
 * thread and nothing else. Long work belongs to a worker, not here. */
#pragma once

#include "vmconnect/base/id.h"
#include "vmconnect/hypervisor/inventory.h"

#include <glib.h>
#include <uv.h>

#define HANDS_TIMEOUT_MS 15000

typedef struct Hands Hands;

/* Called exactly once for each job, on the loop, never from within submit.
 * Either @result, which is the callee's to free (NULL if the job has none), or @error. */
typedef void (*HandsDone)(void *user, gpointer result, const GError *error);

typedef struct {
    const char *what;  /* static, for messages: "reading the inventory" */
    gint64 timeout_ms; /* 0: HANDS_TIMEOUT_MS */
    /* On the hands' thread. FALSE with @error; *ret_result NULL unless it makes one. */
    gboolean (*work)(virConnectPtr conn, gpointer request, gpointer *ret_result, GError **error);
    gpointer request;            /* given away */
    GDestroyNotify free_request; /* may be NULL */
    GDestroyNotify free_result;  /* for a result that comes too late; may be NULL */
} HandsJob;

/* On the loop's thread. */
Hands *hands_new(uv_loop_t *loop, const char *uri);

/* @job is copied. Errors: TIMEOUT (deadline), UNREACHABLE (no libvirtd), CANCELLED (closing), and those of the work. */
void hands_submit(Hands *hands, const HandsJob *job, HandsDone on_done, void *user);

/* Jobs that its thread is at, or that wait for it. */
guint hands_load(const Hands *hands);

/* Waiting jobs are answered CANCELLED at once; @on_closed comes on the loop when
 * the thread is gone, up to 20 s later if libvirtd hangs. */
void hands_close(Hands *hands, void (*on_closed)(void *user), void *user);

/* The everyday jobs; result types as named. */
void hands_inventory(Hands *hands, HandsDone on_done, void *user);         /* Inventory * */
void hands_vm(Hands *hands, Id vm, HandsDone on_done, void *user);         /* Vm * */
void hands_definition(Hands *hands, Id vm, HandsDone on_done, void *user); /* char *, inactive */
void hands_host(Hands *hands, HandsDone on_done, void *user);              /* json_t * */
/* It stands still, if it ran; it goes on, if it is paused. */
void hands_suspend(Hands *hands, Id vm, HandsDone on_done, void *user); /* NULL */
void hands_resume(Hands *hands, Id vm, HandsDone on_done, void *user);  /* NULL */
/* The guest's clock is this host's, by its agent. */
void hands_set_clock(Hands *hands, Id vm, HandsDone on_done, void *user);                  /* NULL */
void hands_set_autostart(Hands *hands, Id vm, gboolean on, HandsDone on_done, void *user); /* NULL */

/* SPDX-License-Identifier: Apache-2.0 */
/* prober - one try of a check, of any kind but BEAT, which never ends (beat.h).
 *
 * Everything on the loop, or on threads that may hang; a try that does not end in time is missed. Nothing that a guest, a
 * script or a server says is taken as more than its answer. A script that not even the kernel can end is left where it is, and tries
 * of the same check are missed without another being begun, until it is gone. */
#pragma once

#include "vmconnect/base/check.h"
#include "vmconnect/base/id.h"

#include <glib.h>
#include <uv.h>

typedef struct Prober Prober;
typedef struct Probe Probe;

typedef struct {
    const char *libvirt_uri;
    const char *script_dir; /* root's own: what a SCRIPT may be is in there */
} ProberPaths;

typedef enum {
    PROBE_ANSWERED,
    PROBE_MISSED,  /* @why */
    PROBE_NOT_MADE /* what it needs on this host is not there, libvirtd, a name server, a script or a route: it says nothing about
                      the other */
} ProbeResult;

/* Called once, never from within prober_try(). */
typedef void (*ProbeDone)(void *user, ProbeResult result, const char *why);

/* @paths is copied. */
Prober *prober_new(uv_loop_t *loop, const ProberPaths *paths);

/* @spec is borrowed until the end. @vm: whose guest, for what asks its agent. */
Probe *prober_try(Prober *prober, const CheckSpec *spec, Id vm, gint64 timeout_ms, ProbeDone on_done,
                  void *user);
/* @on_done will not be called. NULL is accepted. */
void prober_cancel(Probe *probe);

/* After all were cancelled or done. @on_closed comes on the loop when the threads that ask agents are gone; a script or a page that
 * was cancelled goes on aside until its own time is over (aside.h), and only the loop waits for it. */
void prober_close(Prober *prober, void (*on_closed)(void *user), void *user);

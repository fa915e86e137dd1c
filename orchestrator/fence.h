/* SPDX-License-Identifier: Apache-2.0 */
/* fence - a host is switched off, and is known to be.
 *
 * Its agent (fence_file.h) is run with action=off, and then with action=status until that says "off". Only both together make it certain: a host that is off
 * by chance may be on its way up again, and an agent that did as it was told says nothing of the host. What is not certain counts as
 * nothing. Nobody is waited for here; agents have a minute altogether, and are killed with all that they have started. Who asks for a host
 * that is being switched off hears of that. Loop thread only. */
#pragma once

#include "orchestrator/core/event.h"

#include <glib.h>
#include <jansson.h>
#include <uv.h>

typedef struct Fences Fences;

typedef struct {
    gint64 limit_ms; /* until it is off … */
    gint64 again_ms; /* … and is asked whether it is */
    gint64 look_ms;  /* one such question alone */
} FenceTimes;

extern const FenceTimes FENCE_TIMES_USUAL;

/* @folder: FENCE_FOLDER; @tell of each host that was fenced, or could not be: FENCED, FENCE_FAILED. */
Fences *fences_new(uv_loop_t *loop, const char *folder, const FenceTimes *times,
                   void (*tell)(void *user, const Event *event), void *user);

/* Has it a fence, good or not? */
gboolean fence_is_set(const Fences *f, const char *host);
/* {"agent", "why"}: "why" it cannot be used, null: it can; json null: none is set. New reference. */
json_t *fence_describe(const Fences *f, const char *host);

/* @error NULL: it is off, as it was at @sure_ms (steady). Once, never before fence_start() returns. */
typedef void (*FenceDone)(void *user, gint64 sure_ms, const GError *error);
void fence_start(Fences *f, const char *host, FenceDone done, void *user);

/* Does it say on or off? Nothing is done to the host. */
typedef void (*FenceLooked)(void *user, gboolean is_off, const GError *error);
void fence_look(Fences *f, const char *host, FenceLooked looked, void *user);

/* Agents are killed, and whoever waits is told: CANCELLED. */
void fences_close(Fences *f);
/* When nothing can answer any more. NULL is accepted. */
void fences_free(Fences *f);

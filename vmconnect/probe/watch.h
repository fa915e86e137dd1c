/* SPDX-License-Identifier: Apache-2.0 */
/* watch - what this engine looks after for the controller: hosts and guests, each by its checks.
 *
 * Told as a whole (watch.set), kept in memory alone: without a controller nobody listens, and one that is back tells it
 * again. Each check is tried once an interval, from a moment of its own so that they do not come all at once; a
 * check that goes on under the next telling keeps its score, unless the guest is in another reign by then. Its findings are a part of the engine's status; @on_news
 * when they are other than before, so that 20 guests that live say nothing. Loop thread only. */
#pragma once

#include "vmconnect/link/identity.h"
#include "vmconnect/probe/prober.h"

#include <glib.h>
#include <jansson.h>
#include <uv.h>

typedef struct Watch Watch;

/* @on_news is called from the loop. */
Watch *watch_new(uv_loop_t *loop, const ProberPaths *paths, void (*on_news)(void *user), void *user);

/* As who it knocks at other engines' ports; referenced. Whoever is not owned watches nobody: NULL. */
void watch_set_identity(Watch *watch, Identity *identity);

/* {"hosts": [{"id", "addresses", "interval_ms", "timeout_ms"}], "guests": [{"vm", "reign", "checks",
 * "interval_ms", "timeout_ms"}]}; "reign" may be left out. FALSE with USAGE, and all is as before. */
gboolean watch_set(Watch *watch, const json_t *params, GError **error);

/* {"hosts": [{"id", "checks": [score]}], "guests": [{"vm", "reign", "checks": [score]}], "gateway": score or null}: check.h. "gateway"
 * is this host's own way to anywhere (gateway.h), with "unresolved", too: if it is silent, so will others seem to be. New reference. */
json_t *watch_status(const Watch *watch);

/* @on_closed when all of it is gone. */
void watch_close(Watch *watch, void (*on_closed)(void *user), void *user);

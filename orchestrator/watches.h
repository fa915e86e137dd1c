/* SPDX-License-Identifier: Apache-2.0 */
/* watches - what each engine is told to look after, for all scenarios together.
 *
 * The host that keeps a copy watches the one that runs the VM, and what of the guest is to be seen from outside; the one
 * that runs it asks its agent; what a plan has just started, its new host alone. Told as a whole, again when it has changed, or the engine's link is new. Loop thread only. */
#pragma once

#include "orchestrator/core/vitals.h"
#include "orchestrator/hosts.h"

typedef struct Watches Watches;

/* Borrows both. */
Watches *watches_new(Hosts *hosts, Vitals *vitals);
void watches_free(Watches *w);

/* Nothing of what it was told counts any more. */
void watches_forget(Watches *w, const char *host);

/* A scenario, or who has a part in one, is another than it was: what is wanted is put together anew. */
void watches_changed(Watches *w);

/* About once a second. @protections: of Protection *. */
void watches_tick(Watches *w, const GPtrArray *protections);
/* No answer is waited for any more. */
void watches_close(Watches *w);

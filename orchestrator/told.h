/* SPDX-License-Identifier: Apache-2.0 */
/* told - what the operator was told of a host, and not yet that it is over.
 *
 * Durable with the host, as an array of the events' names, and written when one of them is told: so a controller that has started
 * anew says none of it twice, and says when it is over. What of it the rest of the controller goes by is its own
 * affair; of scenarios and VMs the same is kept in their rows (core/protection_life.c). Loop thread only. */
#pragma once

#include "orchestrator/core/event.h"
#include "orchestrator/hosts.h"
#include "orchestrator/state/database.h"

/* @event is told, whatever it is about; after its publication, so that what is noted was said. */
void told_note(Database *db, Hosts *hosts, const Event *event);

/* Was it told of @host, which may be gone, and nothing since that ends it? */
gboolean told_is(const Hosts *hosts, const char *host, EventCode code);

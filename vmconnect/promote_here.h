/* SPDX-License-Identifier: Apache-2.0 */
/* promote_here - what `understudy-engine promote SCENARIO --old-is-off` does: run the VMs of a scenario from their
 * copies on this host, when neither the active nor the controller is there any more.
 *
 * The engine of this host does it, asked by root with the host's own key; it goes on by the role that the
 * controller gave it last. Each VM gets the reign after that, so that the old active, once it is back,
 * starts nothing, and a controller that is back hears from this engine who the active is. What has begun is asked for
 * again in the same reign; what runs already is left alone, and what is off or paused is started. */
#pragma once

#include "vmconnect/base/id.h"

#include <glib.h>

typedef struct {
    const char *identity_dir;
    const char *policy; /* file */
    const char *guard_dir;
    const char *address; /* of this host's engine */
} PromotePlace;

/* From the newest point of each VM, or, of that one alone whose point it is, from @point (nil: none is named); never from
 * a branch that nobody named. Say of each VM on standard output and standard error what became of it. FALSE with the first failure, when all
 * were tried: NOT_FOUND if no copy of @scenario, or no such point, is kept here, naming those that are; UNREACHABLE if the
 * engine does not answer. */
gboolean promote_here(const PromotePlace *place, const char *scenario, Id point, GError **error);

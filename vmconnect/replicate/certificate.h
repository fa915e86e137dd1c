/* SPDX-License-Identifier: Apache-2.0 */
/* certificate - why a copy may be promoted: its active has released the VM, or whoever answers for that says it is gone.
 *
 * A release travels active → controller → successor, and is worth what it says: this VM, by this plan, to this
 * host, for this reign. A successor takes no other for it, whatever mixed them up. From which point the VM goes on there is its
 * operator's choice. */
#pragma once

#include "vmconnect/base/generation.h"
#include "vmconnect/base/id.h"

#include <glib.h>
#include <jansson.h>

typedef struct {
    Id vm;
    Id plan;
    Id tip;       /* its final generation */
    Id successor; /* the host's id */
    Reign reign;  /* the one that ends, … */
    Reign next;   /* … and the one that begins */
    gboolean running;
    gboolean autostart; /* both before the plan */
} Release;

/* {"vm", "plan", "tip", "successor", "reign", "reign_next", "running", "autostart"}. */
json_t *certificate_of_release(const Release *r);

/* Does the certificate in @params ({"plan", "reign_next", "certificate", …}) allow what they ask of @here: to
 * promote its copy of @vm? REFUSED if it is of anything else. One without a release, {"forced": true, …}, allows it. */
gboolean certificate_check(const json_t *params, Id vm, Id here, GError **error);

/* SPDX-License-Identifier: Apache-2.0 */
/* start_order - which VMs of a scenario start after which; they are shut down the other way round.
 *
 * Kept with each VM (ScenarioVm.after and .gate); here is what is about several of them. Pure. */
#pragma once

#include "orchestrator/core/scenario.h"

#define START_ORDER_MAX 64 /* VMs that one may start after, directly */

/* Set what @vm of @s starts after from a list of texts, each a UUID or a name of a VM of @s; instead of what there
 * is. USAGE: what is no list, no VM of @s, or the name of several. */
gboolean start_order_read(const Scenario *s, ScenarioVm *vm, const json_t *list, GError **error);
/* The same back: names where they mean one VM, else UUIDs. New reference. */
json_t *start_order_to_json(const Scenario *s, const ScenarioVm *vm);

/* USAGE: a VM after itself, also by way of others, or after too many. */
gboolean start_order_check(const Scenario *s, GError **error);

/* Those that @vm starts after, as far as they count; through each that does not, those that it starts after itself: what is
 * left out of an order does not turn it into none. An array of Id; the caller frees. */
typedef gboolean (*StartOrderFunc)(const void *user, Id vm);
GArray *start_order_before(const Scenario *s, Id vm, StartOrderFunc counts, const void *user);

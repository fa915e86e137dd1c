/* SPDX-License-Identifier: Apache-2.0 */
/* promotion - a standby's copy becomes the running VM.
 *
 *   guard: active, journal open → chain given away → firmware variables, TPM state → defined
 *   → guard: journal closed, permit → started paused → first checkpoint → resumed
 *
 * A VM that was off before the plan gets its checkpoint and stays off, and so does one that its user has shut down
 * since it was promoted, unless root asks.
 *
 * Every step can be repeated, and the whole is repeated after a crash: each asks
 * what is before it does anything. Until the start nothing has run here, so a
 * promotion given up before it can be undone. The first checkpoint bears the id of
 * the promoted generation: all that changes here since is known, from the first
 * instruction on, for replication in the other direction.
 *
 * Blocking, in the keeper's thread, on a connection of its own. */
#pragma once

#include "vmconnect/replicate/host_paths.h"
#include "vmconnect/store/store.h"

#include <glib.h>
#include <jansson.h>

typedef struct {
    Id vm;
    Store *store;
    const char *dir; /* the store's folder: QEMU's user must be able to enter it */
    const HostPaths *paths;
} PromotionSite;

/* Is there what promotion_run() would go on from? Nothing is changed. */
gboolean promotion_check(const PromotionSite *site, const json_t *params, GError **error);

/* @params: {"scenario", "tip": id | null, "reign_next": {…}, "here": id, "from": id,
 * "networks": {from: to}, "plan", "certificate": as
 * certificate.h, "by_hand": root asks, …}. *@ret_result:
 * {"running": true, "point": id, "reign": {…}}; a reign that is not the one asked for is one in which the VM was
 * promoted here by hand. REFUSED if the certificate is of something else, a guard here knows a higher reign and the VM was not promoted in it,
 * EXISTS if another VM has the name, and all that libvirt or the store say. */
gboolean promotion_run(const PromotionSite *site, const json_t *params, json_t **ret_result, GError **error);

/* At the engine's start: a VM that was promoted here may be started by its user again, after a boot
 * too, for this host has looked; and is started, once a boot, if its user had autostart set.
 * Nothing to do for a VM that was not promoted. FALSE with @error: try again; *@start_due,
 * FALSE at first, is kept between the tries. */
gboolean promotion_settle(const PromotionSite *site, gboolean *start_due, GError **error);

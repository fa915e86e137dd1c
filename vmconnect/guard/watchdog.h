/* SPDX-License-Identifier: Apache-2.0 */
/* watchdog - the device that resets this host when a guest outlives its lease, or the guard cannot see to it that none does.
 *
 * Opt-in. It is open while a guest in the guard's care needs a lease, and petted only while each of those has one that lasts longer than the device would
 * wait, or stands still: so it fires before the end of a lease, whether it is the guard that hangs or the guest that does not stop. It is closed in
 * order only when none needs a lease. A guard that dies leaves it to fire, unless the next one is there in time.
 *
 * Devices count whole seconds, and each has its least. Who waits longer stops to be petted earlier, not later; but a lease that is not longer
 * than that when it is given is not held by the device. */
#pragma once

#include "vmconnect/guard/ward.h"

#define WATCHDOG_LEAST_S 3    /* one that waits less resets a host that was stopped for a moment from below */
#define WATCHDOG_MOST_S 60    /* nor is one asked for that waits longer */
#define WATCHDOG_EARLY_MS 300 /* before the end: a guest that had to be killed is gone by then */

/* How long it may still be petted, if it fires @timeout_ms after that; 0 or less: not any more; G_MAXINT64: as long as nothing changes. */
gint64 watchdog_room_ms(const GPtrArray *wards, gint64 timeout_ms, LeaseMoment now);
/* Its lease was no longer than that when it was given: it has no part in the above. */
gboolean watchdog_is_too_slow(const Ward *w, gint64 timeout_ms);

typedef struct {
    int fd;
    gint64 timeout_ms;
    gboolean stays; /* it cannot be stopped any more once it is open */
} WatchdogDevice;

/* With the least time that it takes. */
typedef gboolean (*WatchdogOpen)(const char *path, WatchdogDevice *ret_device, GError **error);
gboolean watchdog_open_device(const char *path, WatchdogDevice *ret_device, GError **error);

typedef struct Watchdog Watchdog;

/* Nothing is opened yet. @opener: watchdog_open_device. */
Watchdog *watchdog_new(const char *path, WatchdogOpen opener);
/* With what an earlier guard left: FALSE with @error if the device cannot be used. One that it left running, and that is not needed, is stopped. */
gboolean watchdog_begin(Watchdog *w, const GPtrArray *wards, LeaseMoment now, GError **error);
/* Open, pet or close it, whichever is due. After each look at the guests. */
void watchdog_step(Watchdog *w, const GPtrArray *wards, LeaseMoment now);
/* When that is due again, at the latest; -1: when something changes. */
gint64 watchdog_wait_ms(const Watchdog *w, const GPtrArray *wards, LeaseMoment now);
/* The guard ends: it is stopped if nobody needs it. */
void watchdog_end(Watchdog *w, const GPtrArray *wards);
void watchdog_free(Watchdog *w);

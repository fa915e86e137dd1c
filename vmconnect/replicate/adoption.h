/* SPDX-License-Identifier: Apache-2.0 */
/* adoption - the disks of a VM that this host gave away become the copy that it keeps of it.
 *
 *   released and unlocked → definition removed → our bitmaps taken out → store: adopted → bequest removed
 *
 * Every step can be repeated, and the whole is, after a crash. The definition that goes is the final generation's, which
 * the store keeps. No data is read or sent: that the images are that generation is the bequest's word, and each of
 * its signatures is compared. Where one is not as it was, nothing is adopted, and the images stay as they are.
 *
 * Blocking, in the keeper's thread, before anything is received. */
#pragma once

#include "vmconnect/replicate/host_paths.h"
#include "vmconnect/store/store.h"

#include <glib.h>

typedef struct {
    Id vm;
    Store *store;
    const HostPaths *paths;
} AdoptionSite;

/* Nothing to adopt is no error. FALSE with @error: REFUSED or CORRUPT, what is here is no copy of the final
 * generation; with all others try again, and take nothing meanwhile. */
gboolean adoption_run(const AdoptionSite *site, GError **error);

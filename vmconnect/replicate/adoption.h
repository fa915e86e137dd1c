/* SPDX-License-Identifier: Apache-2.0 */
/* adoption - the disks of a VM whose active this host was become the copy that it keeps of it.
 *
 *   bequest → what is here is signed → definition removed → our bitmaps taken out → store: adopted → bequest removed
 *
 * Every step can be repeated, and the whole is, after a crash. No data is read or sent. If the bequest is exact and each
 * image is as it was signed, what is here is the final generation, and the new active goes on from it. Else
 * nobody knows what it is: it becomes a branch, a point of its own that is kept until it is released, and the
 * first generation on top of it brings what differs. In both cases the images stay as and where they are, the
 * definition goes into the store, and libvirt forgets it.
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

/* Nothing to adopt is no error. FALSE with @error: try again, and take nothing meanwhile; REFUSED if it
 * waits for its operator: the guest lives here still. */
gboolean adoption_run(const AdoptionSite *site, GError **error);

/* Would what @vm left on this host become a part of its copy, if one is kept here? FALSE if that cannot be read. */
gboolean adoption_is_due(Id vm, const char *guard_dir, const char *plan_dir);

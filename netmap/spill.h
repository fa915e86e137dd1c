/* SPDX-License-Identifier: Apache-2.0 */
/* spill - what a guest does to others past the gate that is shut when its lease ends.
 *
 * Frames that a bridge of the kernel's takes from a guest's tap are held there, and what it writes goes to images of its own, which are no other
 * host's. All else takes effect at once: a guest whose host stood still, and goes on when another runs it, does that once more before anybody
 * can stop it. Devices that are known to be harmless are named in spill.c; one that is not known is none of them. */
#pragma once

#include "netmap/host.h"

#include <glib.h>

/* Of a definition, live or inactive, on @here, of which networks and bridges count. A list of char *, each to stand after "'web1' ": "shares the
 * folder /srv of its host". NULL with @error XML. The caller frees. */
GPtrArray *spill_of(const char *definition, const Host *here, GError **error);

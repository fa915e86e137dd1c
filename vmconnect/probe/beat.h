/* SPDX-License-Identifier: Apache-2.0 */
/* beat - the heartbeat of another host's engine, on one of its addresses.
 *
 * A link of its own, dialled again for as long as the beat lives, on which nothing is said but the link's own
 * questions whether the other is there. One that breaks off or cannot be made is a miss each interval. An engine of
 * before that knows no such links lives, too: it says so. Loop thread only. */
#pragma once

#include "vmconnect/link/identity.h"

#include <glib.h>
#include <uv.h>

typedef struct Beat Beat;

/* @identity is referenced; @engine is who must answer there. */
Beat *beat_new(uv_loop_t *loop, Identity *identity, Id engine, const char *address, gint64 interval_ms);

/* NULL: it was heard within the last @within_ms. Else why not; borrowed until the next call into beat.h. */
const char *beat_why(const Beat *beat, gint64 within_ms);

/* Of one that is missed: did nobody say anything at the last try, not even that nobody is there? So it is when the engine hangs,
 * or all of its host but the kernel; an engine that does not run is refused at its port. */
gboolean beat_hangs(const Beat *beat);

/* It frees itself when the loop is through with it. NULL is accepted. */
void beat_close(Beat *beat);

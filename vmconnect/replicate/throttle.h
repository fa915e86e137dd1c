/* SPDX-License-Identifier: Apache-2.0 */
/* throttle - how fast may be read beside a guest that shares its disks with us?
 *
 * Fed with what the guest's own requests took. Of a time in which nothing was read the figure is the usual one; where they
 * take much longer than that while we read, reading is slowed to the half, again and again, and gets faster by small steps
 * once they do not. What is read at the least rate hardly matters, so what requests take then is the disks' own and becomes
 * the usual: a guest that is slow for reasons of its own does not hold us up for ever.
 *
 * A mean over all disks of the guest, since they may share what is slow. Pure: time and figures are arguments, and times
 * are steady. A zeroed one is ready: nothing is known, nothing is slowed. */
#pragma once

#include "vmconnect/replicate/pacer.h"

#include <glib.h>

#define THROTTLE_LEAST_BYTES_PER_S ((guint64)8 << 20) /* never slower: it ends one day */

typedef struct {
    Pacer pacer;       /* without a limit: not slowed */
    guint64 from_rate; /* bytes a second that were read when it was slowed first */
    guint64 usual_ns;  /* what a request takes when nothing is read; 0: not known yet */
    char *why;         /* why it is slowed, when that began; NULL: it is not */
    char *blind;       /* why the newest figures could not be had; NULL: they could */
    /* Since the newest sample, if there is one: */
    gboolean sampled;
    gint64 sampled_ms;
    guint64 requests;
    guint64 total_ns;
    guint64 read_bytes;
} Throttle;

void throttle_clear(Throttle *t);

/* Is it time for a sample? */
gboolean throttle_is_due(const Throttle *t, gint64 now_ms);

/* The guest's requests that have ended until now, and what all of them took; counted from any moment on, for instance
 * the start of its QEMU: if they are less than before they begin anew. Also when reading begins and ends, so that what lies
 * between is a time in which nothing was read. */
void throttle_sample(Throttle *t, gint64 now_ms, guint64 requests, guint64 total_ns);

/* They cannot be had, @why: not slowed any more. */
void throttle_go_blind(Throttle *t, const char *why);

/* Nothing is to be read any more for the time being: not slowed, what is usual stays known. */
void throttle_rest(Throttle *t);

/* Milliseconds until something may be read; 0: now. */
gint64 throttle_wait_ms(Throttle *t, gint64 now_ms);

/* @bytes were asked for. */
void throttle_read(Throttle *t, guint64 bytes);

/* A sentence for the operator, NULL: not slowed. Borrowed. */
const char *throttle_why(const Throttle *t);

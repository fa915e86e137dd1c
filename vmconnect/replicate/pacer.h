/* SPDX-License-Identifier: Apache-2.0 */
/* pacer - a bandwidth limit as a token bucket.
 *
 * Holds at most a quarter of a second's worth, so that a pause is not followed
 * by a burst that the operator's line would feel. Pure: time is an argument. */
#pragma once

#include <glib.h>

typedef struct {
    guint64 bytes_per_s; /* 0: no limit */
    gint64 tokens;       /* may go below zero by one frame */
    gint64 filled_ms;    /* steady time up to which tokens were given */
} Pacer;

/* Change the limit; keeps the debt. @now_ms is steady time, here and below. */
void pacer_set(Pacer *pacer, guint64 bytes_per_s, gint64 now_ms);

/* Milliseconds until something may be sent; 0: now. */
gint64 pacer_wait_ms(Pacer *pacer, gint64 now_ms);

/* @bytes were handed to the wire. */
void pacer_spend(Pacer *pacer, guint64 bytes);

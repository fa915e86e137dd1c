/* SPDX-License-Identifier: Apache-2.0 */
/* line - how long an echo takes to another host and back, and how many of a few get lost. */
#pragma once

#include <glib.h>
#include <jansson.h>

typedef struct {
    guint sent;
    guint answered; /* within a second; 0: it is not there, or answers no echoes */
    gint64 rtt_ms;  /* their median */
} Line;

/* To @host, a number or a name. Blocks for a fifth of a second, and a second longer if one does not come back; a name may hang as long as its
 * server does. Needs root (pinger.h). */
Line line_measure(const char *host);

/* {"sent", "answered", "rtt_ms"}; new reference. */
json_t *line_to_json(const Line *l);

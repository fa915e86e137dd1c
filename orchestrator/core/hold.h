/* SPDX-License-Identifier: Apache-2.0 */
/* hold - an operator's word that nothing is moved and nothing started again by itself, given to a scenario or to a host,
 * and durable with it.
 *
 * While a scenario is held, or a host of it, what is silent is told and the countdown runs all the same: nothing
 * is done about it. What the operator asks for is done. {"since": wall clock, "why": his reason or null} */
#pragma once

#include <glib.h>
#include <jansson.h>

/* From a request, {"why"} (optional); one begins now. NULL with @error USAGE. */
json_t *hold_from_request(const json_t *request, gint64 now_wall_ms, GError **error);

/* One that was kept, as a new reference; NULL or null: none, and *@ret_hold is NULL. FALSE with @error USAGE. */
gboolean hold_read(const json_t *doc, json_t **ret_hold, GError **error);

/* Borrowed; "no reason was given" if there is none. */
const char *hold_reason(const json_t *hold);

/* For people: {"kind": "scenario" or "host", "name", "since", "why"}. */
json_t *hold_describe(const json_t *hold, const char *kind, const char *name);

/* SPDX-License-Identifier: Apache-2.0 */
/* tidings - what of an engine's status one controller is told, and when.
 *
 * The first news are all of it, later ones what is other than was told: a VM's item as a whole, and so "guests", "libvirt",
 * "watch" and "tests". What only goes on (a new tip, bytes done, an age) waits until a second after the last news; a state, a reason, a
 * guest's word, a check do not. An age that only grew is no news: who heard it counts by himself. Pure; one for each link. */
#pragma once

#include <glib.h>
#include <jansson.h>

#define TIDINGS_EACH_MS 1000

typedef struct Tidings Tidings;

/* @whole: of a peer that knows no changes; it is told all of it each time. */
Tidings *tidings_new(gboolean whole);
void tidings_free(Tidings *t);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Tidings, tidings_free)

/* What to say of @status (borrowed, and not to be changed any more), which is as of @now_ms: a document {"event": "status" or
 * "changes", …}, which counts as told; a new reference. @at_once: nothing waits. NULL: nothing to say before *@ret_due_ms, or
 * -1, nothing at all. */
json_t *tidings_take(Tidings *t, const json_t *status, gint64 now_ms, gboolean at_once, gint64 *ret_due_ms);

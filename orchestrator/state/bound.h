/* SPDX-License-Identifier: Apache-2.0 */
/* bound - does this state live where it was made, or is it a copy?
 *
 * A controller that wakes up on a restored backup or a cloned machine would command the
 * same engines as the one it was copied from, by an older memory. Beside the state is
 * written which machine and which very file it lives in, and how far it had come; one that finds itself
 * elsewhere, or further back, is used only after root has said that the other is gone. Blocking. */
#pragma once

#include <glib.h>

/* @dir: the state's folder, with its database @file in it, whose newest event has the number @newest. A state that was never
 * bound is bound here. REFUSED, with what to do: it is a copy. */
gboolean bound_check(const char *dir, const char *file, guint64 newest, GError **error);

/* It lives here, and has come so far: its newest event is durable. 0: nobody knows. */
gboolean bound_mark(const char *dir, const char *file, guint64 newest, GError **error);

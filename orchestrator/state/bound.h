/* SPDX-License-Identifier: Apache-2.0 */
/* bound - does this state live where it was made, or is it a copy?
 *
 * A controller that wakes up on a restored backup or a cloned machine would command the
 * same engines as the one it was copied from, by an older memory. The state remembers
 * the machine and the very file that it lives in; one that finds itself elsewhere is
 * used only after root has said that the other is gone. Blocking: for the start. */
#pragma once

#include <glib.h>

/* @dir: the state's folder, with its database @file in it. A state that was never bound is bound
 * here. REFUSED, with what to do: it is a copy. */
gboolean bound_check(const char *dir, const char *file, GError **error);

/* It lives here from now on. */
gboolean bound_accept(const char *dir, const char *file, GError **error);

/* SPDX-License-Identifier: Apache-2.0 */
/* pivot_mark - this guest stands still because we let a disk of it go on from another file.
 *
 * A file in our run folder, there from before the guest is paused until it runs again: who finds it after our
 * death resumes the guest. Gone after a boot, as the pause is. */
#pragma once

#include "vmconnect/base/id.h"

#include <glib.h>

gboolean pivot_mark_set(Id vm, const char *run_folder, GError **error);
void pivot_mark_clear(Id vm, const char *run_folder);
gboolean pivot_is_marked(Id vm, const char *run_folder);

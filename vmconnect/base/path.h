/* SPDX-License-Identifier: Apache-2.0 */
/* path - what can be told of a path by its text alone. */
#pragma once

#include <glib.h>

/* Does @path name something below the folder @dir? No link is followed, and no ".." understood. */
gboolean path_is_in(const char *dir, const char *path);

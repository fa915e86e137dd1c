/* SPDX-License-Identifier: Apache-2.0 */
/* folder - the name of a folder on another host, as a person writes it down here.
 *
 * Whether there is such a folder only that host can say. */
#pragma once

#include <glib.h>

#define FOLDER_MAX 1023 /* bytes */

/* An absolute path without "..", in UTF-8, without control characters, of at most FOLDER_MAX bytes. FALSE with
 * @error USAGE; @what ("seed") is for the message. */
gboolean folder_check(const char *what, const char *path, GError **error);

/* SPDX-License-Identifier: Apache-2.0 */
/* tail - the end of a text that somebody else writes, made fit to be shown.
 *
 * For a guest's console and the logs of programs: neither what stands there nor who writes it is trusted, and it
 * may grow meanwhile. */
#pragma once

#include <glib.h>

/* The last @max_bytes of a regular file, as tail_plain() has them; of a longer file from the first whole line on, if
 * there is one. Symbolic links are not followed. The caller frees; NULL with @error: NOT_FOUND, DENIED, REFUSED (not a
 * file), IO. */
char *tail_read(const char *path, gsize max_bytes, GError **error);

/* Valid UTF-8 without escape sequences (ECMA-48), and without control and format characters other than newline and
 * tab. A carriage return that does not end a line becomes a newline: what a terminal would overwrite is kept. A run of
 * what is not UTF-8 becomes one U+FFFD, and a character that is cut off at the end is dropped. At most twice as long
 * as @data, and 3 bytes. Safe on a terminal; HTML's own characters (<, &) are still to be escaped. The caller frees. */
char *tail_plain(const char *data, gsize len);

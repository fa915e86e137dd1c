/* SPDX-License-Identifier: Apache-2.0 */
/* sealed - small files of ours, and lines of files, that must be whole or nothing.
 *
 * A file: "understudy-KIND FORMAT SHA256\n", then one line of JSON that the sum is over. A newer format is refused and left alone.
 * A line: sixteen hex digits of the SHA-256 of its text, a space, the text. */
#pragma once

#include <glib.h>
#include <jansson.h>

/* The file's text; takes @body. The caller frees. */
char *sealed_text(const char *kind, int format, json_t *body);

/* All of @path, a regular file of at most @max_len bytes, with a NUL behind it. *@ret_place: where that was (place.h); NULL: not asked for. The caller
 * frees; NULL with @error NOT_FOUND, IO, or CORRUPT: it is longer. */
char *sealed_read(const char *path, gsize max_len, gsize *ret_len, char **ret_place, GError **error);

/* The body, new reference, of any format up to @newest. @text ends with a NUL beyond @len. NULL with @error CORRUPT, or UNSUPPORTED: a newer one. */
json_t *sealed_parse(const char *kind, gulong newest, const char *text, gsize len, gsize max_len,
                     GError **error);

/* @record as a line, with its newline. The caller frees. */
char *sealed_line(const json_t *record);
/* @line is without its newline. */
gboolean sealed_line_is_whole(const char *line, gsize len);
/* Its record, new reference; NULL: it is not whole, or longer than @max_len. */
json_t *sealed_line_parse(const char *line, gsize len, gsize max_len);

/* Always FALSE, with @error CORRUPT: what the body says is not what was written. */
gboolean sealed_corrupt(GError **error, const char *why);

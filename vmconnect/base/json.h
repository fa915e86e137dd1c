/* SPDX-License-Identifier: Apache-2.0 */
/* json - jansson with our errors.
 *
 * jansson's own pack and unpack are the codec: json_pack() to write,
 * json_read() to read; a document's shape stands in one format string.
 * Ownership as jansson has it; `json_auto_t *` dies with its scope. */
#pragma once

#include "vmconnect/base/id.h"

#include <glib.h>
#include <jansson.h>

/* json_unpack_ex() with JSON_STRICT (an unknown key is an error) whatever the
 * format says, unless it ends in '*'. @what names the document in the message.
 * FALSE with @error USAGE; the outputs are then not to be used. Strings and
 * objects are borrowed from @root. Format letters: `I` takes json_int_t *. */
gboolean json_read(const json_t *root, const char *what, GError **error, const char *format, ...);

#define JSON_DEPTH_MAX 32

/* Parse one whole document of at most @max_len bytes and JSON_DEPTH_MAX levels. Duplicate
 * keys, trailing text and NULs in strings are refused. New reference, or NULL
 * with @error USAGE, naming the line where there is one. */
json_t *json_parse(const char *text, gsize len, gsize max_len, GError **error);

/* One line, keys in the order they were set. The caller frees. */
char *json_text(const json_t *root);

/* The text that it has at @key; borrowed, NULL: none. */
const char *json_text_of(const json_t *doc, const char *key);

/* A UUID as text, the nil UUID as null; reading refuses (USAGE) anything else. */
json_t *json_from_id(Id id);
gboolean json_to_id(const json_t *value, Id *ret_id, GError **error);

/* {"code": "refused", "text": "…"} and back. */
json_t *json_from_error(const GError *error);
GError *json_to_error(const json_t *root);

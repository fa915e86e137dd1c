/* SPDX-License-Identifier: Apache-2.0 */
/* document - a small JSON file of the authority: 0600, durable, with a format. */
#pragma once

#include <glib.h>
#include <jansson.h>

#define DOCUMENT_FORMAT 1

/* NOT_FOUND; CORRUPT: not an object with a "format"; DENIED: others than its owner
 * may read it; REFUSED: a newer format. */
json_t *document_load(const char *path, GError **error);
gboolean document_save(const char *path, const json_t *doc, GError **error);

/* DENIED if others than its owner may read @path. */
gboolean document_check_mode(const char *path, GError **error);

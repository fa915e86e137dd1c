/* SPDX-License-Identifier: Apache-2.0 */
/* people - who may use the API: a name and the SHA-256 of a bearer token.
 *
 * The token itself is shown once and kept nowhere. {"format": 1, "people":
 * [{"name", "sha256", "created_at"}]}. Changes are durable before they count. */
#pragma once

#include <glib.h>

typedef struct People People;

/* A file that is not there is nobody. */
People *people_open(const char *path, GError **error);
void people_free(People *p);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(People, people_free)

/* As authority.h says of the functions with these names. */
char *people_add(People *p, const char *name, GError **error);
gboolean people_remove(People *p, const char *name, GError **error);
const char *people_find(const People *p, const char *token);
gboolean people_has(const People *p, const char *name);

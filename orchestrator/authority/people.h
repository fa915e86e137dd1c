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

/* A new token for @name (256 random bits as text); the caller frees. EXISTS if there is one, USAGE for
 * a name that is not 1 to 63 of [A-Za-z0-9._-]. */
char *people_add(People *p, const char *name, GError **error);
/* NOT_FOUND if there is none. */
gboolean people_remove(People *p, const char *name, GError **error);

/* Whose token it is (borrowed until people change), or NULL; constant time in @token. */
const char *people_find(const People *p, const char *token);
gboolean people_has(const People *p, const char *name);

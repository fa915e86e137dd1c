/* SPDX-License-Identifier: Apache-2.0 */
/* authority - who is who: the controller's certificate authority and people's tokens.
 *
 * One folder, 0700: `ca.pem` and `ca.key` (made at the first start, the key never
 * leaves it), the controller's own certificate for the link, the HTTPS server's,
 * and `tokens.json`, which holds SHA-256 sums only. Certificates name their
 * holder in a URI subject alternative name: `urn:understudy:controller:UUID`,
 * `urn:understudy:engine:UUID`. Blocking (files, fsync): open it before the loop
 * runs; issuing and checking are computation only. */
#pragma once

#include "vmconnect/base/id.h"

#include <glib.h>

typedef struct Authority Authority;

/* @names: NULL-ended, host names and addresses that the HTTPS server is reached by,
 * beside localhost and this machine's own name; the server's certificate is made
 * anew when they change or its time comes. NULL with @error: CORRUPT or DENIED for
 * files that are not ours or that others may read, REFUSED if the folder belongs to
 * another controller than @controller. */
Authority *authority_open(const char *folder, Id controller, const char *const *names, GError **error);
void authority_free(Authority *a);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Authority, authority_free)

/* PEM, borrowed. */
const char *authority_ca(const Authority *a);
const char *authority_controller_certificate(const Authority *a);
const char *authority_controller_key(const Authority *a);
const char *authority_server_certificate(const Authority *a);
const char *authority_server_key(const Authority *a);

/* A certificate for @engine over the public key of its request (PKCS #10, PEM; the
 * request's own subject and extensions are ignored). New PEM text, or NULL with
 * @error USAGE if the request is not one or is not signed by its own key. */
char *authority_issue_engine(const Authority *a, Id engine, const char *request, GError **error);

/* A new bearer token for @person (256 random bits as text); only its SHA-256 is
 * stored, durably. The caller frees. EXISTS if @person has one. */
char *authority_add_person(Authority *a, const char *person, GError **error);
gboolean authority_remove_person(Authority *a, const char *person, GError **error);

/* Whose token it is, or NULL; constant time in @token. Fits ApiAuthenticate with the authority as @authority. */
const char *authority_check(const char *token, void *authority);

/* First start: write {"format": 1, "url", "ca", "token"} for a new person `admin` to
 * @path, 0600, unless that file is there. */
gboolean authority_write_admin(Authority *a, const char *path, const char *url, GError **error);

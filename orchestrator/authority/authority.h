/* SPDX-License-Identifier: Apache-2.0 */
/* authority - who is who: the controller's certificate authority and people's tokens.
 *
 * One folder, 0700: `issuer.pem` (the authority's key, made at the first start, which
 * never leaves it), `identity/` (the controller's own key and certificate for the
 * link), `server.json` (the HTTPS server's), and `tokens.json`, which holds SHA-256
 * sums only. What X.509 looks like is vmconnect/link/issuer.h's business; here is
 * who gets a certificate. Opening and changing tokens block on the disk: do it
 * before the loop runs; signing and checking are computation only. */
#pragma once

#include "vmconnect/link/identity.h"

#include <glib.h>

typedef struct Authority Authority;

/* @names: NULL-ended, host names and addresses that the HTTPS server is reached by,
 * beside localhost, 127.0.0.1, ::1 and this machine's own name if that can be certified; one of
 * @names that cannot is USAGE. The server's certificate is made anew when they change or its last year begins. NULL with @error: CORRUPT for a file that
 * is not ours, DENIED for one that others may read, REFUSED for a newer format, IO. */
Authority *authority_open(const char *folder, const char *const *names, GError **error);
void authority_free(Authority *a);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Authority, authority_free)

/* The controller's own identity, owned by this authority, for the link; borrowed.
 * identity_peer() of it says the controller's UUID. */
Identity *authority_identity(const Authority *a);

/* PEM, borrowed. The server's certificate is followed by the authority's, so that
 * `understudy login URL` can show whose it is. */
const char *authority_ca(const Authority *a);
const char *authority_server_certificate(const Authority *a);
const char *authority_server_key(const Authority *a);

/* A certificate for an engine; an EnrolSignFunc with the authority as @authority. */
gboolean authority_sign(void *authority, GBytes *public_key, Id engine, char **ret_certificate,
                        char **ret_authority, GError **error);

/* Whose token it is (borrowed until people change), or NULL; constant time in @token.
 * An ApiAuthenticate with the authority as @authority. */
const char *authority_check(const char *token, void *authority);

/* Keep {"format": 1, "url", "ca", "token"} for the person `admin` in @path, 0600: written at the
 * first start, and again when URL or authority are others; the token stays. Without the
 * file, or with a token that is not admin's any more, there is a new one, and the old ends. Errors as
 * of authority_open(). */
gboolean authority_write_admin(Authority *a, const char *path, const char *url, GError **error);

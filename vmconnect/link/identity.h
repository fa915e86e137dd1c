/* SPDX-License-Identifier: Apache-2.0 */
/* identity - this program's key, its certificate, and whose word it takes.
 *
 * A folder of two files, both 0600, both opening with a format line:
 *   key.pem    the private key (EC P-256) and a self-signed certificate, which
 *              gives the role and UUID; made at the first start, never changed
 *   owner.pem  the certificate issued for that key and the authority's own;
 *              there only while the identity has an owner
 * Both parts of owner.pem change in one rename: no crash leaves half an owner.
 *
 * An Identity never changes: a new owner makes a new one, so that a worker
 * thread may hold the old one while the loop takes the new. It is not the
 * authority; that is issuer.h. */
#pragma once

#include "vmconnect/link/peer.h"

#include <glib.h>

#define IDENTITY_OWNER_FILE "owner.pem"

typedef struct Identity Identity;

/* Load the identity of @dir, or make one (durably) if there is none. An expired
 * certificate is loaded; peers will refuse it. @error CORRUPT, IO, or REFUSED
 * for a newer format. Blocks on the disk. */
Identity *identity_open(const char *dir, Role role, GError **error);

/* Store certificate and authority (PEM, one each) durably and return the
 * identity that uses them. DENIED if the certificate is not for this key, role
 * and UUID, not from that authority, or not valid now. Blocks on the disk. */
Identity *identity_adopt(const Identity *identity, const char *certificate, const char *authority,
                         GError **error);

/* The same checks without storing. */
gboolean identity_check(const Identity *identity, const char *certificate, const char *authority,
                        GError **error);

/* Forget the owner durably; returns the identity without one. Blocks on the disk. */
Identity *identity_disown(const Identity *identity, GError **error);

void identity_unref(Identity *identity);
Identity *identity_ref(Identity *identity); /* atomic: any thread */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Identity, identity_unref)

gboolean identity_is_owned(const Identity *identity);
Peer identity_peer(const Identity *identity);

/* When the certificate in use ends, wall clock. */
gint64 identity_expires_at_ms(const Identity *identity);

/* SubjectPublicKeyInfo, DER: what an authority signs. */
GBytes *identity_public_key(const Identity *identity);

/* SHA-256 of the authority's certificate (DER) in lower-case hexadecimal, or NULL without an owner: which
 * authority this is, for people. The caller frees. */
char *identity_authority_fingerprint(const Identity *identity);

/* For tls.c only: the OpenSSL context made of it. */
struct ssl_ctx_st *identity_tls(const Identity *identity);

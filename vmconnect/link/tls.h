/* SPDX-License-Identifier: Apache-2.0 */
/* tls - how we use OpenSSL: TLS 1.3 only, both sides show certificates, no resumption.
 *
 * A certificate that does not pass does not end the handshake: the peer is then told why
 * in words (link.c), and is allowed nothing. So tls_verify_peer() must be asked after every
 * handshake; it fails closed. Private to this folder. */
#pragma once

#include "vmconnect/link/certificate.h"

#include <openssl/ssl.h>

/* @authority NULL: no peer passes. References what it needs. */
SSL_CTX *tls_context(EVP_PKEY *key, X509 *certificate, X509 *authority, GError **error);

/* Who is there; DENIED if its certificate does not pass. *@ret_peer has the fingerprint of its
 * key even then (all zero if it showed none), role and UUID only if it passed. */
gboolean tls_verify_peer(SSL *ssl, gboolean have_authority, Peer *ret_peer, GError **error);

/* Speak on @fd, with a buffer before it that many records go into. FALSE: no memory. */
gboolean tls_attach(SSL *ssl, int fd);
/* Bytes of records that wait in that buffer; and on their way with them, as far as the
 * socket takes them now: FALSE with errno if the connection is gone. */
gsize tls_unsent(const SSL *ssl);
gboolean tls_flush(SSL *ssl);

void tls_binding(SSL *ssl, const char *label, guint8 out[static 32]);

/* The reason on OpenSSL's error queue, which is emptied; for messages; borrowed. */
const char *tls_reason(void);

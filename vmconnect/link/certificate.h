/* SPDX-License-Identifier: Apache-2.0 */
/* certificate - the X.509 that we use, and nothing more of it. Private to this folder:
 * OpenSSL's types stay behind identity.h and issuer.h. */
#pragma once

#include "vmconnect/link/peer.h"

#include <glib.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

G_DEFINE_AUTOPTR_CLEANUP_FUNC(EVP_PKEY, EVP_PKEY_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(X509, X509_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BIO, BIO_free_all)

/* A new EC P-256 key. */
EVP_PKEY *key_new(void);

/* SubjectPublicKeyInfo, DER, and its SHA-256. */
GBytes *key_public(EVP_PKEY *key);
void key_fingerprint(EVP_PKEY *key, guint8 out[static FINGERPRINT_LEN]);

/* What a new certificate says. */
typedef struct {
    const char *name;         /* common name, for people */
    const char *uri;          /* NULL: none */
    const char *const *hosts; /* DNS names and IP addresses; NULL: none */
    gboolean authority;
    gint64 seconds; /* from now; negative: it ended already */
} CertificateText;

/* Can this stand among the hosts: a DNS name (no underscores) or an IP address? */
gboolean certificate_may_name(const char *host);

/* Sign @key with @issuer_key; @issuer NULL: self-signed. USAGE for a name that cannot stand in a certificate. */
X509 *certificate_new(EVP_PKEY *key, const CertificateText *text, X509 *issuer, EVP_PKEY *issuer_key,
                      GError **error);

/* Role, UUID and key of a certificate of ours; PROTOCOL if it is none. Says nothing about its truth. */
gboolean certificate_peer(X509 *certificate, Peer *ret_peer, GError **error);

/* Wall clock; 0 if what stands there is no time, which certificate_verify() refuses. */
gint64 certificate_expires_at_ms(X509 *certificate);

/* Is @certificate signed by @authority and valid now? DENIED. */
gboolean certificate_verify(X509 *certificate, X509 *authority, GError **error);

/* Why a certificate did not pass, as a sentence about "its certificate"; @code is OpenSSL's. */
const char *certificate_complaint(int code);

char *certificate_to_pem(X509 *certificate);
/* Exactly one certificate and nothing after it; CORRUPT. */
X509 *certificate_from_pem(const char *pem, GError **error);

/* --- our PEM files: a format line "KIND 1", then the objects ------------- */

/* The parts may be NULL and come in this order. 0600, durable. */
gboolean pem_save(const char *path, const char *kind, EVP_PKEY *key, X509 *first, X509 *second,
                  GError **error);

/* Each non-NULL output must be there. NOT_FOUND, CORRUPT, REFUSED (newer format), IO. */
gboolean pem_load(const char *path, const char *kind, EVP_PKEY **ret_key, X509 **ret_first, X509 **ret_second,
                  GError **error);

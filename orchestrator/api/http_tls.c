/* SPDX-License-Identifier: Apache-2.0 */
/* The TLS context is filled by us, not by the library, which takes no chain from memory. */
#include "orchestrator/api/http_internal.h"

#include "vmconnect/base/error.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <string.h>

G_DEFINE_AUTOPTR_CLEANUP_FUNC(BIO, BIO_vfree)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(X509, X509_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(EVP_PKEY, EVP_PKEY_free)

static gboolean refuse(GError **error, const char *what)
{
    const char *why = ERR_reason_error_string(ERR_peek_last_error());

    g_set_error(error, US_ERROR, US_ERROR_USAGE, "the HTTPS server's %s cannot be used: %s", what,
                why ? why : "not PEM text");
    ERR_clear_error();
    return FALSE;
}

/* Fails instead of asking at a terminal. */
static int no_passphrase(char *buf, int size, int writing, void *user)
{
    (void)buf;
    (void)size;
    (void)writing;
    (void)user;
    return -1;
}

static gboolean use_certificate(SSL_CTX *ctx, const char *pem, GError **error)
{
    g_autoptr(BIO) bio = BIO_new_mem_buf(pem, -1);
    g_autoptr(X509) own = PEM_read_bio_X509(bio, NULL, no_passphrase, NULL);
    X509 *next;

    if (!own || SSL_CTX_use_certificate(ctx, own) != 1)
        return refuse(error, "certificate");
    while ((next = PEM_read_bio_X509(bio, NULL, no_passphrase, NULL)))
        if (SSL_CTX_add0_chain_cert(ctx, next) != 1) {
            X509_free(next);
            return refuse(error, "certificate chain");
        }
    ERR_clear_error(); /* the end of the text is an error to PEM_read_bio */
    return TRUE;
}

static gboolean use_key(SSL_CTX *ctx, const char *pem, GError **error)
{
    g_autoptr(BIO) bio = BIO_new_mem_buf(pem, -1);
    g_autoptr(EVP_PKEY) key = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);

    if (!key || SSL_CTX_use_PrivateKey(ctx, key) != 1 || SSL_CTX_check_private_key(ctx) != 1)
        return refuse(error, "key");
    return TRUE;
}

gboolean http_tls_configure(void *opaque, const HttpConfig *config, GError **error)
{
    SSL_CTX *ctx = opaque;

    ERR_clear_error();
    SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
    return use_certificate(ctx, config->certificate, error) && use_key(ctx, config->key, error);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/link/tls.h"

#include "vmconnect/base/error.h"

#include <openssl/err.h>
#include <string.h>

/* Longest chain of certificates a peer may make us parse. */
#define CHAIN_MAX (16 * 1024)
/* Read up to so much from the socket at once: four records for one system call. */
#define READ_AHEAD (64 * 1024)
/* So many records wait for one system call, which makes few large segments of them. */
#define WRITE_BEHIND (256 * 1024)

const char *tls_reason(void)
{
    unsigned long code = ERR_peek_last_error();
    const char *reason = code ? ERR_reason_error_string(code) : NULL;

    ERR_clear_error();
    return reason ? reason : "no reason given";
}

/* Judge, keep the verdict in the SSL (SSL_get_verify_result()), and go on. */
static int on_certificate(X509_STORE_CTX *ctx, void *unused)
{
    (void)unused;
    if (X509_verify_cert(ctx) != 1 && X509_STORE_CTX_get_error(ctx) == X509_V_OK)
        X509_STORE_CTX_set_error(ctx, X509_V_ERR_UNSPECIFIED);
    ERR_clear_error();
    return 1;
}

static gboolean fill(SSL_CTX *ctx, EVP_PKEY *key, X509 *certificate, X509 *authority)
{
    SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    /* One record a call: what is counted as sent is in a record. */
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE);
    SSL_CTX_set_max_cert_list(ctx, CHAIN_MAX);
    SSL_CTX_set_read_ahead(ctx, 1);
    SSL_CTX_set_default_read_buffer_len(ctx, READ_AHEAD);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_cert_verify_callback(ctx, on_certificate, NULL);
    return SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) &&
           SSL_CTX_set_max_proto_version(ctx, TLS1_3_VERSION) && SSL_CTX_set_num_tickets(ctx, 0) &&
           SSL_CTX_use_certificate(ctx, certificate) && SSL_CTX_use_PrivateKey(ctx, key) &&
           SSL_CTX_check_private_key(ctx) &&
           (!authority || X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), authority));
}

SSL_CTX *tls_context(EVP_PKEY *key, X509 *certificate, X509 *authority, GError **error)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_method());

    g_assert(ctx);
    if (fill(ctx, key, certificate, authority))
        return ctx;
    g_set_error(error, US_ERROR, US_ERROR_CORRUPT, "key and certificate do not fit: %s", tls_reason());
    SSL_CTX_free(ctx);
    return NULL;
}

static gboolean deny(GError **error, const char *why)
{
    g_set_error_literal(error, US_ERROR, US_ERROR_DENIED, why);
    return FALSE;
}

gboolean tls_verify_peer(SSL *ssl, gboolean have_authority, Peer *ret_peer, GError **error)
{
    X509 *x = SSL_get0_peer_certificate(ssl);
    Peer peer;

    memset(ret_peer, 0, sizeof(*ret_peer));
    if (!x || !X509_get0_pubkey(x))
        return deny(error, "it showed no certificate");
    key_fingerprint(X509_get0_pubkey(x), ret_peer->fingerprint);
    if (!have_authority)
        return deny(error, "this program has no owner yet and trusts nobody; enrol it first");
    if (SSL_get_verify_result(ssl) != X509_V_OK)
        return deny(error, certificate_complaint((int)SSL_get_verify_result(ssl)));
    if (!certificate_peer(x, &peer, error)) {
        if (error)
            (*error)->code = US_ERROR_DENIED;
        return FALSE;
    }
    *ret_peer = peer;
    return TRUE;
}

gboolean tls_attach(SSL *ssl, int fd)
{
    BIO *in = BIO_new_socket(fd, BIO_NOCLOSE);
    BIO *out = BIO_new_socket(fd, BIO_NOCLOSE);
    BIO *buffer = BIO_new(BIO_f_buffer());
    gboolean ok = in && out && buffer && BIO_set_write_buffer_size(buffer, WRITE_BEHIND) == 1;

    if (!ok) {
        BIO_free(in);
        BIO_free(out);
        BIO_free(buffer);
        return FALSE;
    }
    SSL_set_bio(ssl, in, BIO_push(buffer, out));
    return TRUE;
}

gsize tls_unsent(const SSL *ssl)
{
    return BIO_ctrl_wpending(SSL_get_wbio(ssl));
}

gboolean tls_flush(SSL *ssl)
{
    BIO *out = SSL_get_wbio(ssl);

    return BIO_flush(out) > 0 || BIO_should_retry(out);
}

void tls_binding(SSL *ssl, const char *label, guint8 out[static 32])
{
    g_assert(SSL_export_keying_material(ssl, out, 32, label, strlen(label), NULL, 0, 0) == 1);
}

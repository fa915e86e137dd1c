/* SPDX-License-Identifier: Apache-2.0 */
#include "vault.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PATIENCE_MS 30000

static X509 *certificate_new(EVP_PKEY *key)
{
    X509 *x = X509_new();
    X509_NAME *name = X509_get_subject_name(x);

    ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
    X509_gmtime_adj(X509_getm_notBefore(x), -7200);
    X509_gmtime_adj(X509_getm_notAfter(x), -3600);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const guint8 *)"elsewhere.example", -1, -1, 0);
    X509_set_issuer_name(x, name);
    X509_set_pubkey(x, key);
    g_assert_cmpint(X509_sign(x, key, EVP_sha256()), >, 0);
    return x;
}

static void say(SSL *ssl, const char *text)
{
    if (text) {
        SSL_write(ssl, text, (int)strlen(text));
        SSL_shutdown(ssl);
        return;
    }
    while (SSL_key_update(ssl, SSL_KEY_UPDATE_NOT_REQUESTED) == 1 && SSL_do_handshake(ssl) == 1) {
    }
}

static void vault_run(void *data)
{
    Vault *v = data;
    struct pollfd p = {.fd = v->door, .events = POLLIN};
    SSL *ssl = SSL_new(v->context);
    char in[4096];
    int fd;

    g_assert_cmpint(poll(&p, 1, PATIENCE_MS), ==, 1);
    fd = accept(v->door, NULL, NULL);
    SSL_set_fd(ssl, fd);
    if (SSL_accept(ssl) == 1 && SSL_read(ssl, in, sizeof(in)) > 0)
        say(ssl, v->text);
    SSL_free(ssl);
    close(fd);
}

void vault_open(Vault *v, int door, const char *text)
{
    struct sockaddr_in at = {0};
    socklen_t len = sizeof(at);
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *certificate = certificate_new(key);

    v->text = text;
    v->context = SSL_CTX_new(TLS_server_method());
    g_assert_cmpint(SSL_CTX_use_certificate(v->context, certificate), ==, 1);
    g_assert_cmpint(SSL_CTX_use_PrivateKey(v->context, key), ==, 1);
    X509_free(certificate);
    EVP_PKEY_free(key);
    v->door = door;
    g_assert_cmpint(getsockname(door, (struct sockaddr *)&at, &len), ==, 0);
    v->url = g_strdup_printf("https://127.0.0.1:%u/", ntohs(at.sin_port));
    g_assert_cmpint(uv_thread_create(&v->thread, vault_run, v), ==, 0);
}

void vault_close(Vault *v)
{
    uv_thread_join(&v->thread);
    SSL_CTX_free(v->context);
    close(v->door);
    g_free(v->url);
}

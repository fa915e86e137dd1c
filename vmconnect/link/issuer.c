/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/link/issuer.h"

#include "vmconnect/base/error.h"
#include "vmconnect/link/certificate.h"

#include <openssl/err.h>

#define KIND "understudy-authority"
#define AUTHORITY_SECONDS (30 * 365 * 24 * (gint64)3600)

struct Issuer {
    EVP_PKEY *key;
    X509 *certificate;
    char *pem;
};

static Issuer *issuer_take(EVP_PKEY *key, X509 *certificate)
{
    Issuer *issuer = g_new0(Issuer, 1);

    issuer->key = key;
    issuer->certificate = certificate;
    issuer->pem = certificate_to_pem(certificate);
    return issuer;
}

Issuer *issuer_new(const char *name, GError **error)
{
    CertificateText text = {.name = name, .authority = TRUE, .seconds = AUTHORITY_SECONDS};
    g_autoptr(EVP_PKEY) key = key_new();
    X509 *certificate = certificate_new(key, &text, NULL, key, error);

    return certificate ? issuer_take(g_steal_pointer(&key), certificate) : NULL;
}

Issuer *issuer_load(const char *path, GError **error)
{
    EVP_PKEY *key;
    X509 *certificate;
    Issuer *issuer;

    if (!pem_load(path, KIND, &key, &certificate, NULL, error))
        return NULL;
    issuer = issuer_take(key, certificate);
    if (X509_check_private_key(certificate, key) == 1 && X509_check_ca(certificate) > 0)
        return issuer;
    ERR_clear_error();
    g_set_error(error, US_ERROR, US_ERROR_CORRUPT, "%s: key and certificate are not those of an authority",
                path);
    issuer_free(issuer);
    return NULL;
}

gboolean issuer_save(const Issuer *issuer, const char *path, GError **error)
{
    return pem_save(path, KIND, issuer->key, issuer->certificate, NULL, error);
}

void issuer_free(Issuer *issuer)
{
    if (!issuer)
        return;
    EVP_PKEY_free(issuer->key);
    X509_free(issuer->certificate);
    g_free(issuer->pem);
    g_free(issuer);
}

const char *issuer_certificate(const Issuer *issuer)
{
    return issuer->pem;
}

/* The key in @der, which a peer may have sent. */
static EVP_PKEY *read_key(GBytes *der, GError **error)
{
    gsize len;
    const guint8 *data = g_bytes_get_data(der, &len);
    const guint8 *p = data;
    g_autoptr(EVP_PKEY) key = data && len <= 4096 ? d2i_PUBKEY(NULL, &p, (long)len) : NULL;
    char group[32] = "";

    if (key && p == data + len && EVP_PKEY_is_a(key, "EC"))
        EVP_PKEY_get_group_name(key, group, sizeof(group), NULL);
    ERR_clear_error();
    if (g_str_equal(group, "prime256v1"))
        return g_steal_pointer(&key);
    g_set_error(error, US_ERROR, US_ERROR_USAGE, "not a public key on the curve P-256");
    return NULL;
}

static char *issue(const Issuer *issuer, GBytes *public_key, const CertificateText *text, GError **error)
{
    g_autoptr(EVP_PKEY) key = read_key(public_key, error);
    g_autoptr(X509) x = key ? certificate_new(key, text, issuer->certificate, issuer->key, error) : NULL;

    return x ? certificate_to_pem(x) : NULL;
}

char *issuer_issue_peer(const Issuer *issuer, GBytes *public_key, Role role, Id id, gint64 seconds,
                        GError **error)
{
    g_autofree char *uri = peer_uri(role, id);
    g_autofree char *name = g_strdup_printf("%s %s", role_name(role), ID_TEXT(id));
    CertificateText text = {.name = name, .uri = uri, .seconds = seconds};

    return issue(issuer, public_key, &text, error);
}

char *issuer_issue_hosts(const Issuer *issuer, GBytes *public_key, const char *const *hosts, gint64 seconds,
                         GError **error)
{
    CertificateText text = {.name = "controller", .hosts = hosts, .seconds = seconds};

    g_assert(hosts[0]);
    return issue(issuer, public_key, &text, error);
}

gboolean issuer_may_name(const char *host)
{
    return certificate_may_name(host);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/authority/server_key.h"

#include "orchestrator/authority/document.h"
#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"

#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <string.h>

#define DAY_S ((gint64)24 * 3600)
#define VALID_S (10 * 365 * DAY_S)
#define RENEW_MS (365 * DAY_S * 1000)

G_DEFINE_AUTOPTR_CLEANUP_FUNC(EVP_PKEY, EVP_PKEY_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BIO, BIO_free_all)

void server_key_free(ServerKey *k)
{
    if (!k)
        return;
    g_free(k->certificate);
    if (k->key)
        OPENSSL_cleanse(k->key, strlen(k->key));
    g_free(k->key);
    g_free(k);
}

static json_t *names_to_json(const char *const *names)
{
    json_t *array = json_array();

    for (; *names; names++)
        json_array_append_new(array, json_string(*names));
    return array;
}

/* NULL without an error: the file is sound but no longer fits. */
static ServerKey *load(const char *path, const Issuer *issuer, const char *const *names, gint64 now_wall_ms,
                       GError **error)
{
    json_auto_t *doc = document_load(path, error);
    json_auto_t *wanted = names_to_json(names);
    const char *authority;
    const char *expires_at;
    const char *certificate;
    const char *key;
    json_t *had;
    gint64 expires_ms;
    ServerKey *k;

    if (!doc)
        return NULL;
    if (!json_read(doc, path, error, "{s:i, s:o, s:s, s:s, s:s, s:s}", "format", &(int){0}, "names", &had,
                   "authority", &authority, "expires_at", &expires_at, "certificate", &certificate, "key",
                   &key) ||
        !clock_parse(expires_at, &expires_ms, error)) {
        if (error)
            (*error)->code = US_ERROR_CORRUPT;
        return NULL;
    }
    if (!json_equal(had, wanted) || !g_str_equal(authority, issuer_certificate(issuer)) ||
        expires_ms - now_wall_ms < RENEW_MS)
        return NULL;
    k = g_new0(ServerKey, 1);
    k->certificate = g_strdup(certificate);
    k->key = g_strdup(key);
    return k;
}

static GBytes *public_of(EVP_PKEY *key)
{
    guint8 *der = NULL;
    int len = i2d_PUBKEY(key, &der);
    GBytes *bytes;

    g_assert(len > 0);
    bytes = g_bytes_new(der, (gsize)len);
    OPENSSL_free(der);
    return bytes;
}

static char *key_to_pem(EVP_PKEY *key)
{
    g_autoptr(BIO) bio = BIO_new(BIO_s_secmem()); /* wiped when freed */
    char *data;
    long len;

    g_assert(bio && PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL));
    len = BIO_get_mem_data(bio, &data);
    return g_strndup(data, (gsize)len);
}

static ServerKey *make(const char *path, const Issuer *issuer, const char *const *names, gint64 now_wall_ms,
                       GError **error)
{
    g_autoptr(EVP_PKEY) key = EVP_EC_gen("P-256");
    g_autoptr(ServerKey) k = g_new0(ServerKey, 1);
    g_autoptr(GBytes) public_key = NULL;
    json_auto_t *doc = NULL;

    g_assert(key);
    public_key = public_of(key);
    k->key = key_to_pem(key);
    k->certificate = issuer_issue_hosts(issuer, public_key, names, VALID_S, error);
    if (!k->certificate)
        return NULL;
    doc = json_pack("{s:i, s:o, s:s, s:s, s:s, s:s}", "format", DOCUMENT_FORMAT, "names",
                    names_to_json(names), "authority", issuer_certificate(issuer), "expires_at",
                    clock_format(now_wall_ms + VALID_S * 1000, (char[CLOCK_TEXT_LEN + 1]){0}), "certificate",
                    k->certificate, "key", k->key);
    return document_save(path, doc, error) ? g_steal_pointer(&k) : NULL;
}

ServerKey *server_key_open(const char *path, const Issuer *issuer, const char *const *names,
                           gint64 now_wall_ms, GError **error)
{
    g_autoptr(GError) why = NULL;
    ServerKey *k = load(path, issuer, names, now_wall_ms, &why);

    if (k)
        return k;
    if (why && !g_error_matches(why, US_ERROR, US_ERROR_NOT_FOUND)) {
        g_propagate_error(error, g_steal_pointer(&why));
        return NULL;
    }
    return make(path, issuer, names, now_wall_ms, error);
}

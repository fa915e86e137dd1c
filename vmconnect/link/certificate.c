/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/link/certificate.h"

#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"

#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <string.h>

/* What OpenSSL can only refuse for want of memory, or because we asked wrongly. */
#define must(x) g_assert(x)

EVP_PKEY *key_new(void)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");

    must(key);
    return key;
}

GBytes *key_public(EVP_PKEY *key)
{
    unsigned char *der = NULL;
    int len = i2d_PUBKEY(key, &der);
    GBytes *bytes;

    must(len > 0);
    bytes = g_bytes_new(der, (gsize)len);
    OPENSSL_free(der);
    return bytes;
}

void key_fingerprint(EVP_PKEY *key, guint8 out[static FINGERPRINT_LEN])
{
    g_autoptr(GBytes) der = key_public(key);
    gsize len;
    const guint8 *data = g_bytes_get_data(der, &len);

    SHA256(data, len, out);
}

static void set_serial(X509 *x)
{
    BIGNUM *bn = BN_new();

    must(bn && BN_rand(bn, 127, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY));
    must(BN_to_ASN1_INTEGER(bn, X509_get_serialNumber(x)));
    BN_free(bn);
}

static void set_names(X509 *x, const char *name, X509 *issuer)
{
    X509_NAME *subject = X509_get_subject_name(x);

    must(X509_NAME_add_entry_by_txt(subject, "O", MBSTRING_UTF8, (const guchar *)"Understudy", -1, -1, 0));
    must(X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, (const guchar *)name, -1, -1, 0));
    must(X509_set_issuer_name(x, issuer ? X509_get_subject_name(issuer) : subject));
}

static void set_times(X509 *x, gint64 seconds)
{
    static const long DAY = 24 * 3600;
    long end = (long)seconds;

    /* A day of slack for wrong clocks; one that ended has to have begun before. */
    must(X509_gmtime_adj(X509_getm_notBefore(x), MIN(0, end) - DAY));
    must(X509_gmtime_adj(X509_getm_notAfter(x), end));
}

/* @value is text of ours, never a peer's or user's: OpenSSL would parse it. */
static void add_extension(X509 *x, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509_EXTENSION *extension;

    X509V3_set_ctx(&ctx, issuer ? issuer : x, x, NULL, NULL, 0);
    extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    must(extension && X509_add_ext(x, extension, -1));
    X509_EXTENSION_free(extension);
}

static void add_extensions(X509 *x, X509 *issuer, gboolean authority)
{
    add_extension(x, issuer, NID_basic_constraints,
                  authority ? "critical,CA:TRUE,pathlen:0" : "critical,CA:FALSE");
    add_extension(x, issuer, NID_key_usage, authority ? "critical,keyCertSign" : "critical,digitalSignature");
    if (!authority)
        add_extension(x, issuer, NID_ext_key_usage, "serverAuth,clientAuth");
    add_extension(x, issuer, NID_subject_key_identifier, "hash");
    if (issuer)
        add_extension(x, issuer, NID_authority_key_identifier, "keyid:always");
}

static void push_text_name(GENERAL_NAMES *names, int type, const char *text)
{
    GENERAL_NAME *name = GENERAL_NAME_new();
    ASN1_IA5STRING *string = ASN1_IA5STRING_new();

    must(name && string && ASN1_STRING_set(string, text, -1));
    GENERAL_NAME_set0_value(name, type, string);
    must(sk_GENERAL_NAME_push(names, name));
}

gboolean certificate_may_name(const char *host)
{
    ASN1_OCTET_STRING *address = a2i_IPADDRESS(host);
    gsize len = strlen(host);
    gboolean is_address = address != NULL;

    ASN1_OCTET_STRING_free(address);
    return is_address ||
           (len > 0 && len <= 253 &&
            strspn(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-") == len);
}

static gboolean push_host(GENERAL_NAMES *names, const char *host, GError **error)
{
    ASN1_OCTET_STRING *address = a2i_IPADDRESS(host);
    GENERAL_NAME *name;

    if (!address) {
        if (!certificate_may_name(host)) {
            g_set_error(error, US_ERROR, US_ERROR_USAGE, "'%.80s' is neither a host name nor an IP address",
                        host);
            return FALSE;
        }
        push_text_name(names, GEN_DNS, host);
        return TRUE;
    }
    name = GENERAL_NAME_new();
    must(name);
    GENERAL_NAME_set0_value(name, GEN_IPADD, address);
    must(sk_GENERAL_NAME_push(names, name));
    return TRUE;
}

static gboolean add_subject_names(X509 *x, const CertificateText *text, GError **error)
{
    GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
    gboolean ok = TRUE;

    if (text->uri)
        push_text_name(names, GEN_URI, text->uri);
    for (guint i = 0; ok && text->hosts && text->hosts[i]; i++)
        ok = push_host(names, text->hosts[i], error);
    if (ok && sk_GENERAL_NAME_num(names) > 0)
        must(X509_add1_ext_i2d(x, NID_subject_alt_name, names, 0, 0));
    GENERAL_NAMES_free(names);
    return ok;
}

X509 *certificate_new(EVP_PKEY *key, const CertificateText *text, X509 *issuer, EVP_PKEY *issuer_key,
                      GError **error)
{
    g_autoptr(X509) x = X509_new();

    must(x && X509_set_version(x, X509_VERSION_3) && X509_set_pubkey(x, key));
    set_serial(x);
    set_names(x, text->name, issuer);
    set_times(x, text->seconds);
    add_extensions(x, issuer, text->authority);
    if (!add_subject_names(x, text, error))
        return NULL;
    must(X509_sign(x, issuer_key, EVP_sha256()) > 0);
    return g_steal_pointer(&x);
}

/* The one URI among the certificate's names; NULL if there is none, or several. */
static char *only_uri(X509 *certificate)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    char *uri = NULL;
    guint found = 0;

    for (int i = 0; names && i < sk_GENERAL_NAME_num(names); i++) {
        int type;
        const ASN1_STRING *value = GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names, i), &type);

        if (type != GEN_URI || found++ > 0)
            continue;
        uri = g_strndup((const char *)ASN1_STRING_get0_data(value), (gsize)ASN1_STRING_length(value));
        /* A NUL inside would make two readers see two names. */
        if (strlen(uri) != (gsize)ASN1_STRING_length(value))
            found++;
    }
    GENERAL_NAMES_free(names);
    if (found != 1)
        g_clear_pointer(&uri, g_free);
    return uri;
}

gboolean certificate_peer(X509 *certificate, Peer *ret_peer, GError **error)
{
    g_autofree char *uri = only_uri(certificate);
    EVP_PKEY *key = X509_get0_pubkey(certificate);
    Peer peer;

    if (!uri || !key) {
        g_set_error(error, US_ERROR, US_ERROR_PROTOCOL, "its certificate names no program of Understudy");
        return FALSE;
    }
    if (!peer_parse_uri(uri, &peer.role, &peer.id, error))
        return FALSE;
    key_fingerprint(key, peer.fingerprint);
    *ret_peer = peer;
    return TRUE;
}

gint64 certificate_expires_at_ms(X509 *certificate)
{
    int days = 0;
    int seconds = 0;

    if (!ASN1_TIME_diff(&days, &seconds, NULL, X509_get0_notAfter(certificate))) {
        ERR_clear_error();
        return 0;
    }
    return clock_wall_ms() + ((gint64)days * 24 * 3600 + seconds) * 1000;
}

const char *certificate_complaint(int code)
{
    switch (code) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
        return "its certificate has expired; enrol that host again";
    case X509_V_ERR_CERT_NOT_YET_VALID:
        return "its certificate is not valid yet; compare the clocks of both hosts";
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
        return "its certificate is self-signed: it has no owner; enrol it first";
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
        return "its certificate is from another authority; it belongs to another controller";
    default:
        return X509_verify_cert_error_string(code);
    }
}

gboolean certificate_verify(X509 *certificate, X509 *authority, GError **error)
{
    X509_STORE *store = X509_STORE_new();
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    int code;

    must(store && ctx && X509_STORE_add_cert(store, authority));
    must(X509_STORE_CTX_init(ctx, store, certificate, NULL));
    code = X509_verify_cert(ctx) == 1 ? X509_V_OK : X509_STORE_CTX_get_error(ctx);
    X509_STORE_CTX_free(ctx);
    X509_STORE_free(store);
    ERR_clear_error();
    if (code != X509_V_OK)
        g_set_error(error, US_ERROR, US_ERROR_DENIED, "the certificate does not pass: %s",
                    certificate_complaint(code));
    return code == X509_V_OK;
}

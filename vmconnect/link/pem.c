/* SPDX-License-Identifier: Apache-2.0 */
/* The files that hold keys and certificates: certificate.h's last part. */
#include "vmconnect/base/durable.h"
#include "vmconnect/base/error.h"
#include "vmconnect/link/certificate.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <string.h>

#define PEM_FORMAT 1
#define PEM_MAX (256 * 1024)

/* Nothing of ours is encrypted. OpenSSL's own way to get a password is to ask on the terminal and wait,
 * whoever sent the text. */
static int no_password(char *buf, int size, int writing, void *user)
{
    (void)buf;
    (void)size;
    (void)writing;
    (void)user;
    return -1;
}

char *certificate_to_pem(X509 *certificate)
{
    g_autoptr(BIO) bio = BIO_new(BIO_s_mem());
    char *data;
    long len;

    g_assert(bio && PEM_write_bio_X509(bio, certificate));
    len = BIO_get_mem_data(bio, &data);
    return g_strndup(data, (gsize)len);
}

X509 *certificate_from_pem(const char *pem, GError **error)
{
    g_autoptr(BIO) bio = BIO_new_mem_buf(pem, (int)strnlen(pem, PEM_MAX));
    g_autoptr(X509) x = PEM_read_bio_X509(bio, NULL, no_password, NULL);
    g_autoptr(X509) more = x ? PEM_read_bio_X509(bio, NULL, no_password, NULL) : NULL;

    ERR_clear_error();
    if (x && !more)
        return g_steal_pointer(&x);
    g_set_error(error, US_ERROR, US_ERROR_CORRUPT, "not one certificate in PEM form");
    return NULL;
}

gboolean pem_save(const char *path, const char *kind, EVP_PKEY *key, X509 *first, X509 *second,
                  GError **error)
{
    /* Secure memory is wiped when freed. */
    g_autoptr(BIO) bio = BIO_new(BIO_s_secmem());
    char *data;
    long len;

    g_assert(bio && BIO_printf(bio, "%s %d\n", kind, PEM_FORMAT) > 0);
    g_assert(!key || PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL));
    g_assert(!first || PEM_write_bio_X509(bio, first));
    g_assert(!second || PEM_write_bio_X509(bio, second));
    len = BIO_get_mem_data(bio, &data);
    return durable_replace(path, data, (gsize)len, 0600, error);
}

/* Check the format line and return where the PEM starts. */
static const char *after_format(const char *text, const char *path, const char *kind, GError **error)
{
    gsize n = strlen(kind);
    char *end;
    long format;

    if (strncmp(text, kind, n) != 0 || text[n] != ' ')
        goto bad;
    format = strtol(text + n + 1, &end, 10);
    if (end == text + n + 1 || *end != '\n' || format < 1)
        goto bad;
    if (format > PEM_FORMAT) {
        g_set_error(
            error, US_ERROR, US_ERROR_REFUSED,
            "%s has format %ld, this program knows %d: it was written by a newer version and is left alone",
            path, format, PEM_FORMAT);
        return NULL;
    }
    return end + 1;
bad:
    g_set_error(error, US_ERROR, US_ERROR_CORRUPT, "%s does not begin with '%s %d'", path, kind, PEM_FORMAT);
    return NULL;
}

static gboolean read_parts(BIO *bio, EVP_PKEY **key, X509 **first, X509 **second)
{
    g_autoptr(X509) more = NULL;

    if (key && !PEM_read_bio_PrivateKey(bio, key, no_password, NULL))
        return FALSE;
    if (first && !PEM_read_bio_X509(bio, first, no_password, NULL))
        return FALSE;
    if (second && !PEM_read_bio_X509(bio, second, no_password, NULL))
        return FALSE;
    more = PEM_read_bio_X509(bio, NULL, no_password, NULL);
    return !more;
}

gboolean pem_load(const char *path, const char *kind, EVP_PKEY **ret_key, X509 **ret_first, X509 **ret_second,
                  GError **error)
{
    g_autoptr(EVP_PKEY) key = NULL;
    g_autoptr(X509) first = NULL;
    g_autoptr(X509) second = NULL;
    g_autoptr(BIO) bio = NULL;
    g_autofree char *text = NULL;
    const char *pem;
    gboolean ok;
    gsize len;

    if (!durable_read(path, &text, &len, error))
        return FALSE;
    pem = after_format(text, path, kind, error);
    if (!pem)
        return FALSE;
    bio = BIO_new_mem_buf(pem, (int)MIN(len - (gsize)(pem - text), PEM_MAX));
    ok = read_parts(bio, ret_key ? &key : NULL, ret_first ? &first : NULL, ret_second ? &second : NULL);
    ERR_clear_error();
    OPENSSL_cleanse(text, len);
    if (!ok) {
        g_set_error(error, US_ERROR, US_ERROR_CORRUPT, "%s does not hold what a file '%s' holds", path, kind);
        return FALSE;
    }
    if (ret_key)
        *ret_key = g_steal_pointer(&key);
    if (ret_first)
        *ret_first = g_steal_pointer(&first);
    if (ret_second)
        *ret_second = g_steal_pointer(&second);
    return TRUE;
}

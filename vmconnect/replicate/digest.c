/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/replicate/digest.h"

#include <openssl/evp.h>
#include <string.h>

struct Digest {
    EVP_MD *method;
    EVP_MD_CTX *context;
    gsize zeros_len; /* of what zeros_hash stands for; 0: for nothing yet */
    guint8 zeros_hash[MESSAGE_HASH_LEN];
};

Digest *digest_new(void)
{
    Digest *d = g_new0(Digest, 1);

    d->method = EVP_MD_fetch(NULL, "SHA256", NULL);
    d->context = EVP_MD_CTX_new();
    g_assert(d->method && d->context);
    return d;
}

void digest_free(Digest *d)
{
    if (!d)
        return;
    EVP_MD_CTX_free(d->context);
    EVP_MD_free(d->method);
    g_free(d);
}

static void hash(Digest *d, const guint8 *data, gsize len, guint8 *out)
{
    guint8 whole[EVP_MAX_MD_SIZE];
    gboolean ok = EVP_DigestInit_ex2(d->context, d->method, NULL) &&
                  EVP_DigestUpdate(d->context, data, len) && EVP_DigestFinal_ex(d->context, whole, NULL);

    g_assert(ok);
    memcpy(out, whole, MESSAGE_HASH_LEN);
}

void digest_blocks(Digest *d, const guint8 *data, gsize len, guint8 *out)
{
    for (gsize at = 0; at < len; at += MESSAGE_BLOCK, out += MESSAGE_HASH_LEN)
        hash(d, data + at, MIN(MESSAGE_BLOCK, len - at), out);
}

const guint8 *digest_zeros(Digest *d, gsize len)
{
    static const guint8 ZEROS[MESSAGE_BLOCK];

    g_assert(len > 0 && len <= MESSAGE_BLOCK);
    if (d->zeros_len != len)
        hash(d, ZEROS, len, d->zeros_hash);
    d->zeros_len = len;
    return d->zeros_hash;
}

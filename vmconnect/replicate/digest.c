/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/replicate/digest.h"

#include <openssl/evp.h>
#include <string.h>

/* It hides the polynomial's value from who sees a hash, which is nobody: one for all blocks will do. */
static const guint8 NONCE[12];

struct Digest {
    EVP_CIPHER *method;
    EVP_CIPHER_CTX *context;
    gsize zeros_len; /* of what zeros_hash stands for; 0: for nothing yet */
    guint8 zeros_hash[MESSAGE_HASH_LEN];
};

Digest *digest_new(const guint8 key[static DIGEST_KEY_LEN])
{
    Digest *d = g_new0(Digest, 1);

    d->method = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
    d->context = EVP_CIPHER_CTX_new();
    g_assert(d->method && d->context && EVP_EncryptInit_ex2(d->context, d->method, key, NONCE, NULL));
    return d;
}

void digest_free(Digest *d)
{
    if (!d)
        return;
    EVP_CIPHER_CTX_free(d->context);
    EVP_CIPHER_free(d->method);
    g_free(d);
}

/* The block is what GCM authenticates beside a plaintext, of which there is none. */
static void hash(Digest *d, const guint8 *data, gsize len, guint8 *out)
{
    guint8 none[EVP_MAX_BLOCK_LENGTH];
    int n;
    gboolean ok = EVP_EncryptInit_ex2(d->context, NULL, NULL, NONCE, NULL) &&
                  EVP_EncryptUpdate(d->context, NULL, &n, data, (int)len) &&
                  EVP_EncryptFinal_ex(d->context, none, &n) &&
                  EVP_CIPHER_CTX_ctrl(d->context, EVP_CTRL_AEAD_GET_TAG, MESSAGE_HASH_LEN, out);

    g_assert(ok);
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

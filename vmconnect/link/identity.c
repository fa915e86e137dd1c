/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/link/identity.h"

#include "vmconnect/base/durable.h"
#include "vmconnect/base/error.h"
#include "vmconnect/link/certificate.h"
#include "vmconnect/link/tls.h"

#include <openssl/sha.h>
#include <string.h>

#define KEY_KIND "understudy-key"
#define OWNER_KIND "understudy-owner"
#define SELF_SECONDS (30 * 365 * 24 * (gint64)3600)

struct Identity {
    gint refs; /* atomic */
    char *dir;
    Peer peer;
    EVP_PKEY *key;
    X509 *self;        /* self-signed: role and UUID until there is an owner */
    X509 *certificate; /* NULL without an owner */
    X509 *authority;   /* NULL without an owner */
    SSL_CTX *tls;
};

static char *key_path(const char *dir)
{
    return g_build_filename(dir, "key.pem", NULL);
}

static char *owner_path(const char *dir)
{
    return g_build_filename(dir, IDENTITY_OWNER_FILE, NULL);
}

Identity *identity_ref(Identity *identity)
{
    g_atomic_int_inc(&identity->refs);
    return identity;
}

void identity_unref(Identity *identity)
{
    if (!identity || !g_atomic_int_dec_and_test(&identity->refs))
        return;
    SSL_CTX_free(identity->tls);
    X509_free(identity->authority);
    X509_free(identity->certificate);
    X509_free(identity->self);
    EVP_PKEY_free(identity->key);
    g_free(identity->dir);
    g_free(identity);
}

/* References all it is given; @certificate and @authority may be NULL together. */
static Identity *identity_new(const char *dir, EVP_PKEY *key, X509 *self, X509 *certificate, X509 *authority,
                              GError **error)
{
    g_autoptr(Identity) id = g_new0(Identity, 1);

    id->refs = 1;
    id->dir = g_strdup(dir);
    EVP_PKEY_up_ref(key);
    id->key = key;
    X509_up_ref(self);
    id->self = self;
    if (certificate) {
        X509_up_ref(certificate);
        X509_up_ref(authority);
        id->certificate = certificate;
        id->authority = authority;
    }
    if (!certificate_peer(self, &id->peer, error))
        return NULL;
    id->tls = tls_context(key, certificate ? certificate : self, authority, error);
    return id->tls ? g_steal_pointer(&id) : NULL;
}

static gboolean make_key(const char *dir, Role role, EVP_PKEY **ret_key, X509 **ret_self, GError **error)
{
    Id id = id_random();
    g_autofree char *uri = peer_uri(role, id);
    g_autofree char *path = key_path(dir);
    g_autofree char *name = g_strdup_printf("%s %s", role_name(role), ID_TEXT(id));
    CertificateText text = {.name = name, .uri = uri, .seconds = SELF_SECONDS};
    g_autoptr(EVP_PKEY) key = key_new();
    g_autoptr(X509) self = certificate_new(key, &text, NULL, key, error);

    if (!self || !durable_mkdir(dir, 0700, error) || !pem_save(path, KEY_KIND, key, self, NULL, error))
        return FALSE;
    *ret_key = g_steal_pointer(&key);
    *ret_self = g_steal_pointer(&self);
    return TRUE;
}

Identity *identity_open(const char *dir, Role role, GError **error)
{
    g_autofree char *key_file = key_path(dir);
    g_autofree char *owner_file = owner_path(dir);
    g_autoptr(GError) why = NULL;
    g_autoptr(EVP_PKEY) key = NULL;
    g_autoptr(X509) self = NULL;
    g_autoptr(X509) certificate = NULL;
    g_autoptr(X509) authority = NULL;
    g_autoptr(Identity) id = NULL;

    if (!pem_load(key_file, KEY_KIND, &key, &self, NULL, &why)) {
        if (!g_error_matches(why, US_ERROR, US_ERROR_NOT_FOUND)) {
            g_propagate_error(error, g_steal_pointer(&why));
            return NULL;
        }
        g_clear_error(&why);
        if (!make_key(dir, role, &key, &self, error))
            return NULL;
    }
    if (!pem_load(owner_file, OWNER_KIND, NULL, &certificate, &authority, &why) &&
        !g_error_matches(why, US_ERROR, US_ERROR_NOT_FOUND)) {
        g_propagate_error(error, g_steal_pointer(&why));
        return NULL;
    }
    id = identity_new(dir, key, self, certificate, authority, error);
    if (!id) {
        g_prefix_error(error, "%s: ", dir);
        return NULL;
    }
    if (id->peer.role != role) {
        g_set_error(error, US_ERROR, US_ERROR_CORRUPT, "%s is the identity of another role: %s", dir,
                    role_name(id->peer.role));
        return NULL;
    }
    return g_steal_pointer(&id);
}

/* The two certificates, if they make an owner for @identity. */
static gboolean read_owner(const Identity *identity, const char *certificate, const char *authority,
                           X509 **ret_certificate, X509 **ret_authority, GError **error)
{
    g_autoptr(X509) mine = certificate_from_pem(certificate, error);
    g_autoptr(X509) theirs = mine ? certificate_from_pem(authority, error) : NULL;
    Peer peer;

    if (!theirs || !certificate_peer(mine, &peer, error))
        goto bad;
    if (memcmp(&peer.fingerprint, &identity->peer.fingerprint, FINGERPRINT_LEN) != 0 ||
        peer.role != identity->peer.role || !id_equal(peer.id, identity->peer.id)) {
        g_set_error(error, US_ERROR, US_ERROR_DENIED, "the certificate is not for this key, role and UUID");
        return FALSE;
    }
    if (!certificate_verify(mine, theirs, error))
        return FALSE;
    *ret_certificate = g_steal_pointer(&mine);
    *ret_authority = g_steal_pointer(&theirs);
    return TRUE;
bad:
    if (error)
        (*error)->code = US_ERROR_DENIED;
    return FALSE;
}

gboolean identity_check(const Identity *identity, const char *certificate, const char *authority,
                        GError **error)
{
    g_autoptr(X509) mine = NULL;
    g_autoptr(X509) theirs = NULL;

    return read_owner(identity, certificate, authority, &mine, &theirs, error);
}

Identity *identity_adopt(const Identity *identity, const char *certificate, const char *authority,
                         GError **error)
{
    g_autofree char *path = owner_path(identity->dir);
    g_autoptr(X509) mine = NULL;
    g_autoptr(X509) theirs = NULL;
    g_autoptr(Identity) owned = NULL;

    if (!read_owner(identity, certificate, authority, &mine, &theirs, error))
        return NULL;
    owned = identity_new(identity->dir, identity->key, identity->self, mine, theirs, error);
    if (!owned || !pem_save(path, OWNER_KIND, NULL, mine, theirs, error))
        return NULL;
    return g_steal_pointer(&owned);
}

Identity *identity_disown(const Identity *identity, GError **error)
{
    g_autofree char *path = owner_path(identity->dir);

    if (!durable_remove(path, error))
        return NULL;
    return identity_new(identity->dir, identity->key, identity->self, NULL, NULL, error);
}

gboolean identity_is_owned(const Identity *identity)
{
    return identity->certificate != NULL;
}

Peer identity_peer(const Identity *identity)
{
    return identity->peer;
}

gint64 identity_expires_at_ms(const Identity *identity)
{
    return certificate_expires_at_ms(identity->certificate ? identity->certificate : identity->self);
}

GBytes *identity_public_key(const Identity *identity)
{
    return key_public(identity->key);
}

char *identity_authority_fingerprint(const Identity *identity)
{
    guint8 digest[SHA256_DIGEST_LENGTH];
    GString *text;

    if (!identity->authority)
        return NULL;
    g_assert(X509_digest(identity->authority, EVP_sha256(), digest, NULL));
    text = g_string_sized_new(2 * sizeof(digest));
    for (gsize i = 0; i < sizeof(digest); i++)
        g_string_append_printf(text, "%02x", digest[i]);
    return g_string_free(text, FALSE);
}

struct ssl_ctx_st *identity_tls(const Identity *identity)
{
    return identity->tls;
}

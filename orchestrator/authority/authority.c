/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/authority/authority.h"

#include "orchestrator/authority/document.h"
#include "orchestrator/authority/people.h"
#include "orchestrator/authority/server_key.h"
#include "vmconnect/base/clock.h"
#include "vmconnect/base/durable.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"
#include "vmconnect/link/issuer.h"

#include <string.h>
#include <unistd.h>

#define PEER_SECONDS (10 * 365 * 24 * (gint64)3600)
#define ADMIN "admin"

struct Authority {
    char *folder;
    Issuer *issuer;
    Identity *identity;
    ServerKey *server;
    char *chain; /* of the server's certificate */
    People *people;
};

void authority_free(Authority *a)
{
    if (!a)
        return;
    issuer_free(a->issuer);
    identity_unref(a->identity);
    server_key_free(a->server);
    g_free(a->chain);
    people_free(a->people);
    g_free(a->folder);
    g_free(a);
}

static char *in_folder(const Authority *a, const char *name)
{
    return g_build_filename(a->folder, name, NULL);
}

static gboolean open_issuer(Authority *a, GError **error)
{
    g_autofree char *path = in_folder(a, "issuer.pem");

    if (g_file_test(path, G_FILE_TEST_EXISTS))
        return document_check_mode(path, error) && (a->issuer = issuer_load(path, error));
    a->issuer = issuer_new("Understudy", error);
    return a->issuer && issuer_save(a->issuer, path, error);
}

/* Our own certificate is made at every start: it never ends while we are up. */
static gboolean open_identity(Authority *a, GError **error)
{
    g_autofree char *dir = in_folder(a, "identity");
    g_autoptr(Identity) bare = identity_open(dir, ROLE_CONTROLLER, error);
    g_autoptr(GBytes) public_key = bare ? identity_public_key(bare) : NULL;
    g_autofree char *certificate = NULL;

    if (!bare)
        return FALSE;
    certificate = issuer_issue_peer(a->issuer, public_key, ROLE_CONTROLLER, identity_peer(bare).id,
                                    PEER_SECONDS, error);
    if (certificate)
        a->identity = identity_adopt(bare, certificate, issuer_certificate(a->issuer), error);
    return a->identity != NULL;
}

static void add_name(GPtrArray *all, const char *name)
{
    if (!g_ptr_array_find_with_equal_func(all, name, g_str_equal, NULL))
        g_ptr_array_add(all, g_strdup(name));
}

/* What the server is reached by, each once, NULL-ended. */
static GPtrArray *all_names(const char *const *names)
{
    GPtrArray *all = g_ptr_array_new_with_free_func(g_free);
    char host[256] = "";

    add_name(all, "localhost");
    add_name(all, "127.0.0.1");
    add_name(all, "::1");
    /* Nobody chose it for this: one that cannot be certified (an underscore) is left out. */
    if (gethostname(host, sizeof host - 1) == 0 && issuer_may_name(host))
        add_name(all, host);
    for (; names && *names; names++)
        add_name(all, *names);
    g_ptr_array_add(all, NULL);
    return all;
}

static gboolean open_server(Authority *a, const char *const *names, GError **error)
{
    g_autofree char *path = in_folder(a, "server.json");
    g_autoptr(GPtrArray) all = all_names(names);

    a->server = server_key_open(path, a->issuer, (const char *const *)all->pdata, clock_wall_ms(), error);
    if (!a->server)
        return FALSE;
    a->chain = g_strconcat(a->server->certificate, authority_ca(a), NULL);
    return TRUE;
}

static gboolean open_people(Authority *a, GError **error)
{
    g_autofree char *path = in_folder(a, "tokens.json");

    a->people = people_open(path, error);
    return a->people != NULL;
}

Authority *authority_open(const char *folder, const char *const *names, GError **error)
{
    g_autoptr(Authority) a = g_new0(Authority, 1);

    a->folder = g_strdup(folder);
    if (!durable_mkdir(folder, 0700, error) || !document_check_mode(folder, error) ||
        !open_issuer(a, error) || !open_identity(a, error) || !open_server(a, names, error) ||
        !open_people(a, error)) {
        g_prefix_error(error, "the controller's authority cannot be opened: ");
        return NULL;
    }
    return g_steal_pointer(&a);
}

Identity *authority_identity(const Authority *a)
{
    return a->identity;
}

const char *authority_ca(const Authority *a)
{
    return issuer_certificate(a->issuer);
}

const char *authority_server_certificate(const Authority *a)
{
    return a->chain;
}

const char *authority_server_key(const Authority *a)
{
    return a->server->key;
}

gboolean authority_sign(void *authority, GBytes *public_key, Id engine, char **ret_certificate,
                        char **ret_authority, GError **error)
{
    const Authority *a = authority;
    char *certificate = issuer_issue_peer(a->issuer, public_key, ROLE_ENGINE, engine, PEER_SECONDS, error);

    if (!certificate)
        return FALSE;
    *ret_certificate = certificate;
    *ret_authority = g_strdup(authority_ca(a));
    return TRUE;
}

const char *authority_check(const char *token, void *authority)
{
    const Authority *a = authority;

    return people_find(a->people, token);
}

static json_t *admin_document(const Authority *a, const char *url, const char *token)
{
    return json_pack("{s:i, s:s, s:s, s:s}", "format", DOCUMENT_FORMAT, "url", url, "ca", authority_ca(a),
                     "token", token);
}

/* The token that the file has, if it is admin's still. The caller frees. */
static char *token_of(const Authority *a, const json_t *admin)
{
    const char *token = json_string_value(json_object_get(admin, "token"));

    return token && g_strcmp0(people_find(a->people, token), ADMIN) == 0 ? g_strdup(token) : NULL;
}

static char *new_token(Authority *a, GError **error)
{
    if (people_has(a->people, ADMIN) && !people_remove(a->people, ADMIN, error))
        return NULL;
    return people_add(a->people, ADMIN, error);
}

gboolean authority_write_admin(Authority *a, const char *path, const char *url, GError **error)
{
    g_autoptr(GError) why = NULL;
    json_auto_t *there = document_load(path, &why);
    g_autofree char *token = there ? token_of(a, there) : NULL;
    json_auto_t *doc = NULL;

    if (!there && !g_error_matches(why, US_ERROR, US_ERROR_NOT_FOUND)) {
        g_propagate_error(error, g_steal_pointer(&why));
        return FALSE;
    }
    if (!token && !(token = new_token(a, error)))
        return FALSE;
    doc = admin_document(a, url, token);
    return json_equal(there, doc) || document_save(path, doc, error);
}

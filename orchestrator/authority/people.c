/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/authority/people.h"

#include "orchestrator/authority/document.h"
#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <string.h>
#include <unistd.h>

#define TOKEN_BYTES 32
#define SUM_LEN 64 /* SHA-256 in hexadecimal */
#define MAX_NAME 63

struct People {
    char *path;
    json_t *people; /* array of what the file has */
};

void people_free(People *p)
{
    if (!p)
        return;
    json_decref(p->people);
    g_free(p->path);
    g_free(p);
}

static gboolean check_person(const json_t *person, GError **error)
{
    const char *name;
    const char *sum;

    if (!json_read(person, "person", error, "{s:s, s:s, s:s}", "name", &name, "sha256", &sum, "created_at",
                   &(const char *){NULL}))
        return FALSE;
    if (strlen(sum) == SUM_LEN)
        return TRUE;
    g_set_error(error, US_ERROR, US_ERROR_CORRUPT, "the sum of %s's token is not a SHA-256", name);
    return FALSE;
}

People *people_open(const char *path, GError **error)
{
    g_autoptr(GError) why = NULL;
    json_auto_t *doc = document_load(path, &why);
    g_autoptr(People) p = g_new0(People, 1);
    json_t *people = NULL;
    json_t *person;
    gsize i;

    p->path = g_strdup(path);
    if (!doc && !g_error_matches(why, US_ERROR, US_ERROR_NOT_FOUND)) {
        g_propagate_error(error, g_steal_pointer(&why));
        return NULL;
    }
    g_clear_error(&why);
    if (!doc) {
        p->people = json_array();
        return g_steal_pointer(&p);
    }
    if (!json_read(doc, "tokens", &why, "{s:i, s:o}", "format", &(int){0}, "people", &people))
        goto bad;
    json_array_foreach(people, i, person) if (!check_person(person, &why)) goto bad;
    p->people = json_incref(people);
    return g_steal_pointer(&p);
bad:
    g_set_error(error, US_ERROR, US_ERROR_CORRUPT,
                "%s: %s; nobody can log in until it is put right or removed", path, why->message);
    return NULL;
}

static gboolean save(People *p, json_t *people, GError **error)
{
    json_auto_t *doc = json_pack("{s:i, s:O}", "format", DOCUMENT_FORMAT, "people", people);

    if (!document_save(p->path, doc, error))
        return FALSE;
    json_decref(p->people);
    p->people = json_incref(people);
    return TRUE;
}

static gssize index_of(const People *p, const char *name)
{
    json_t *person;
    gsize i;

    json_array_foreach(
        p->people, i,
        person) if (g_str_equal(json_string_value(json_object_get(person, "name")), name)) return (gssize)i;
    return -1;
}

gboolean people_has(const People *p, const char *name)
{
    return index_of(p, name) >= 0;
}

static gboolean check_name(const char *name, GError **error)
{
    gsize len = strspn(name, G_CSET_A_2_Z G_CSET_a_2_z G_CSET_DIGITS "._-");

    if (len > 0 && len <= MAX_NAME && name[len] == '\0')
        return TRUE;
    g_set_error(error, US_ERROR, US_ERROR_USAGE, "a person's name is 1 to %d of A-Z a-z 0-9 . _ -", MAX_NAME);
    return FALSE;
}

/* 256 bits in the alphabet of URLs. */
static char *new_token(GError **error)
{
    guint8 random[TOKEN_BYTES];
    char *text;

    if (getentropy(random, sizeof random) != 0) {
        us_error_errno(error, errno, "cannot make a token");
        return NULL;
    }
    text = g_base64_encode(random, sizeof random);
    OPENSSL_cleanse(random, sizeof random);
    g_strdelimit(text, "+", '-');
    g_strdelimit(text, "/", '_');
    return g_strdelimit(text, "=", '\0');
}

char *people_add(People *p, const char *name, GError **error)
{
    g_autofree char *token = NULL;
    g_autofree char *sum = NULL;
    json_auto_t *people = json_copy(p->people);

    if (!check_name(name, error))
        return NULL;
    if (people_has(p, name)) {
        g_set_error(error, US_ERROR, US_ERROR_EXISTS, "%s has a token already: remove it first", name);
        return NULL;
    }
    token = new_token(error);
    if (!token)
        return NULL;
    sum = g_compute_checksum_for_string(G_CHECKSUM_SHA256, token, -1);
    json_array_append_new(people, json_pack("{s:s, s:s, s:s}", "name", name, "sha256", sum, "created_at",
                                            clock_format(clock_wall_ms(), (char[CLOCK_TEXT_LEN + 1]){0})));
    return save(p, people, error) ? g_steal_pointer(&token) : NULL;
}

gboolean people_remove(People *p, const char *name, GError **error)
{
    gssize i = index_of(p, name);
    json_auto_t *people = json_copy(p->people);

    if (i < 0) {
        g_set_error(error, US_ERROR, US_ERROR_NOT_FOUND, "%s has no token", name);
        return FALSE;
    }
    json_array_remove(people, (gsize)i);
    return save(p, people, error);
}

const char *people_find(const People *p, const char *token)
{
    g_autofree char *sum = g_compute_checksum_for_string(G_CHECKSUM_SHA256, token, -1);
    const char *found = NULL;
    json_t *person;
    gsize i;

    /* Every sum is compared to its end: how long it takes tells nothing. */
    json_array_foreach(
        p->people, i,
        person) if (CRYPTO_memcmp(json_string_value(json_object_get(person, "sha256")), sum, SUM_LEN) == 0)
        found = json_string_value(json_object_get(person, "name"));
    return found;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"

#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/link/identity.h"
#include "vmconnect/link/issuer.h"

#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>

static char *scratch;

static void test_first_start(void)
{
    g_autofree char *dir = g_build_filename(scratch, "first", "deeper", NULL);
    g_autofree char *key = g_build_filename(dir, "key.pem", NULL);
    g_autoptr(GError) error = NULL;
    g_autoptr(Identity) a = identity_open(dir, ROLE_ENGINE, &error);
    g_autoptr(Identity) b = NULL;
    g_autofree char *text = NULL;
    Peer pa, pb;
    struct stat st;

    g_assert_no_error(error);
    b = identity_open(dir, ROLE_ENGINE, &error);
    g_assert_no_error(error);
    pa = identity_peer(a);
    pb = identity_peer(b);
    g_assert_true(id_equal(pa.id, pb.id));
    g_assert_cmpmem(pa.fingerprint, FINGERPRINT_LEN, pb.fingerprint, FINGERPRINT_LEN);
    g_assert_false(identity_is_owned(a));
    g_assert_null(identity_authority_fingerprint(a));
    g_assert_cmpint(g_stat(key, &st), ==, 0);
    g_assert_cmpuint(st.st_mode & 0777, ==, 0600);
    g_assert_true(g_file_get_contents(key, &text, NULL, NULL));
    g_assert_true(g_str_has_prefix(text, "understudy-key 1\n"));
    g_assert_null(identity_open(dir, ROLE_CONTROLLER, &error));
    g_assert_error(error, US_ERROR, US_ERROR_CORRUPT);
}

static void test_owner_comes_and_goes(void)
{
    g_autoptr(Issuer) issuer = issuer_new("house", NULL);
    g_autoptr(Identity) bare = stranger(scratch, ROLE_ENGINE);
    g_autoptr(GBytes) key = identity_public_key(bare);
    g_autoptr(GError) error = NULL;
    g_autofree char *certificate =
        issuer_issue_peer(issuer, key, ROLE_ENGINE, identity_peer(bare).id, A_YEAR, &error);
    g_autoptr(Identity) mine = NULL;
    g_autoptr(Identity) again = NULL;
    g_autofree char *fingerprint = NULL;
    gint64 left;

    g_assert_no_error(error);
    mine = identity_adopt(bare, certificate, issuer_certificate(issuer), &error);
    g_assert_no_error(error);
    g_assert_true(identity_is_owned(mine));
    g_assert_false(identity_is_owned(bare)); /* an identity never changes */
    fingerprint = identity_authority_fingerprint(mine);
    g_assert_cmpuint(strlen(fingerprint), ==, 64);
    left = identity_expires_at_ms(mine) - clock_wall_ms();
    g_assert_cmpint(left, >, (A_YEAR - 60) * 1000);
    g_assert_cmpint(left, <=, (A_YEAR + 1) * 1000);
    again = identity_disown(mine, &error);
    g_assert_no_error(error);
    g_assert_false(identity_is_owned(again));
}

static void refuse_owner(const Identity *bare, const char *certificate, const char *authority,
                         const char *text)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GError) same = NULL;

    g_assert_null(identity_adopt(bare, certificate, authority, &error));
    g_assert_error(error, US_ERROR, US_ERROR_DENIED);
    g_assert_cmpstr(error->message, ==, text);
    g_assert_false(identity_check(bare, certificate, authority, &same));
    g_assert_cmpstr(same->message, ==, text);
}

static void test_adopt_refuses(void)
{
    g_autoptr(Issuer) issuer = issuer_new("house", NULL);
    g_autoptr(Issuer) other = issuer_new("house", NULL);
    g_autoptr(Identity) bare = stranger(scratch, ROLE_ENGINE);
    g_autoptr(Identity) neighbour = stranger(scratch, ROLE_ENGINE);
    g_autoptr(GBytes) key = identity_public_key(bare);
    g_autoptr(GBytes) other_key = identity_public_key(neighbour);
    Id id = identity_peer(bare).id;
    g_autofree char *good = issuer_issue_peer(issuer, key, ROLE_ENGINE, id, A_YEAR, NULL);
    g_autofree char *other_role = issuer_issue_peer(issuer, key, ROLE_CONTROLLER, id, A_YEAR, NULL);
    g_autofree char *other_id = issuer_issue_peer(issuer, key, ROLE_ENGINE, id_random(), A_YEAR, NULL);
    g_autofree char *not_my_key = issuer_issue_peer(issuer, other_key, ROLE_ENGINE, id, A_YEAR, NULL);
    g_autofree char *ended = issuer_issue_peer(issuer, key, ROLE_ENGINE, id, -60, NULL);
    const char *ca = issuer_certificate(issuer);
    static const char NOT_FOR_US[] = "the certificate is not for this key, role and UUID";

    refuse_owner(bare, other_role, ca, NOT_FOR_US);
    refuse_owner(bare, other_id, ca, NOT_FOR_US);
    refuse_owner(bare, not_my_key, ca, NOT_FOR_US);
    refuse_owner(bare, ended, ca,
                 "the certificate does not pass: its certificate has expired; enrol that host again");
    refuse_owner(
        bare, good, issuer_certificate(other),
        "the certificate does not pass: its certificate is from another authority; it belongs to another "
        "controller");
    refuse_owner(bare, "junk", ca, "not one certificate in PEM form");
    refuse_owner(bare, good, "", "not one certificate in PEM form");
    refuse_owner(bare, ca, ca, "its certificate names no program of Understudy");
}

static void test_files_refused(void)
{
    g_autoptr(Issuer) issuer = issuer_new("house", NULL);
    g_autofree char *path = g_build_filename(scratch, "authority.pem", NULL);
    g_autofree char *text = NULL;
    g_autofree char *cut = NULL;
    g_autofree char *newer = NULL;
    g_autoptr(GError) error = NULL;
    g_autoptr(Issuer) back = NULL;

    g_assert_null(issuer_load(path, &error));
    g_assert_error(error, US_ERROR, US_ERROR_NOT_FOUND);
    g_clear_error(&error);
    g_assert_true(issuer_save(issuer, path, &error));
    back = issuer_load(path, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(issuer_certificate(back), ==, issuer_certificate(issuer));

    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    newer = g_strconcat("understudy-authority 2\n", strchr(text, '\n') + 1, NULL);
    g_assert_true(g_file_set_contents(path, newer, -1, NULL));
    g_assert_null(issuer_load(path, &error));
    g_assert_error(error, US_ERROR, US_ERROR_REFUSED);
    g_clear_error(&error);
    for (gsize keep = 0; keep + 10 < strlen(text); keep += 97) {
        g_assert_true(g_file_set_contents(path, text, (gssize)keep, NULL));
        g_assert_null(issuer_load(path, &error));
        g_assert_error(error, US_ERROR, US_ERROR_CORRUPT);
        g_clear_error(&error);
    }
    /* Two keys' worth: the certificate of another. */
    g_autoptr(Issuer) other = issuer_new("house", NULL);

    *strstr(text, "-----BEGIN CERT") = '\0';
    cut = g_strconcat(text, issuer_certificate(other), NULL);
    g_assert_true(g_file_set_contents(path, cut, -1, NULL));
    g_assert_null(issuer_load(path, &error));
    g_assert_error(error, US_ERROR, US_ERROR_CORRUPT);
}

static void test_issue_refuses(void)
{
    static const char *const GOOD[] = {"controller.example", "10.0.0.1", "fe80::1", NULL};
    static const char *const BAD[] = {"a,DNS:evil", NULL};
    g_autoptr(Issuer) issuer = issuer_new("house", NULL);
    g_autoptr(Identity) bare = stranger(scratch, ROLE_CONTROLLER);
    g_autoptr(GBytes) key = identity_public_key(bare);
    g_autoptr(GBytes) junk = g_bytes_new("junk", 4);
    g_autoptr(GBytes) none = g_bytes_new("", 0);
    g_autofree char *web = issuer_issue_hosts(issuer, key, GOOD, A_YEAR, NULL);
    g_autoptr(GError) error = NULL;

    g_assert_nonnull(web);
    g_assert_null(issuer_issue_hosts(issuer, key, BAD, A_YEAR, &error));
    g_assert_error(error, US_ERROR, US_ERROR_USAGE);
    g_clear_error(&error);
    g_assert_null(issuer_issue_peer(issuer, junk, ROLE_ENGINE, id_random(), A_YEAR, &error));
    g_assert_error(error, US_ERROR, US_ERROR_USAGE);
    g_clear_error(&error);
    g_assert_null(issuer_issue_peer(issuer, none, ROLE_ENGINE, id_random(), A_YEAR, &error));
    g_assert_error(error, US_ERROR, US_ERROR_USAGE);
}

static void test_peer_uri(void)
{
    static const char *const BAD[] = {"",
                                      "urn:understudy:engine",
                                      "urn:understudy:engine:",
                                      "urn:understudy:spy:123e4567-e89b-12d3-a456-426614174000",
                                      "urn:understudy:engine:123E4567-e89b-12d3-a456-426614174000",
                                      "urn:understudy:engine:123e4567-e89b-12d3-a456-426614174000:x",
                                      "urn:understudy:engine:123e4567-e89b-12d3-a456-426614174000 "};
    Id id = id_random();
    g_autofree char *uri = peer_uri(ROLE_CONTROLLER, id);
    Role role;
    Id back;

    g_assert_true(peer_parse_uri(uri, &role, &back, NULL));
    g_assert_cmpint(role, ==, ROLE_CONTROLLER);
    g_assert_true(id_equal(id, back));
    for (guint i = 0; i < G_N_ELEMENTS(BAD); i++) {
        g_autoptr(GError) error = NULL;

        g_assert_false(peer_parse_uri(BAD[i], &role, &back, &error));
        g_assert_error(error, US_ERROR, US_ERROR_PROTOCOL);
    }
}

int main(int argc, char **argv)
{
    int rc;

    g_test_init(&argc, &argv, NULL);
    scratch = scratch_new();
    g_test_add_func("/link/identity/first-start", test_first_start);
    g_test_add_func("/link/identity/owner", test_owner_comes_and_goes);
    g_test_add_func("/link/identity/adopt-refuses", test_adopt_refuses);
    g_test_add_func("/link/identity/files", test_files_refused);
    g_test_add_func("/link/issuer/refuses", test_issue_refuses);
    g_test_add_func("/link/peer/uri", test_peer_uri);
    rc = g_test_run();
    scratch_remove(scratch);
    return rc;
}

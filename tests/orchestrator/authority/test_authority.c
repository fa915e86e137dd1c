/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/authority/authority.h"

#include "orchestrator/authority/people.h"
#include "tests/tree.h"
#include "vmconnect/base/durable.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"

#include <glib/gstdio.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <sched.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

G_DEFINE_AUTOPTR_CLEANUP_FUNC(X509, X509_free)

static char *folder;

static char *path_of(const char *name)
{
    return g_build_filename(folder, name, NULL);
}

static char *slurp(const char *name)
{
    g_autofree char *path = path_of(name);
    char *text = NULL;

    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    return text;
}

static void spill(const char *name, const char *text)
{
    g_autofree char *path = path_of(name);

    g_assert_true(durable_replace(path, text, strlen(text), 0600, NULL));
}

static Authority *open_it(const char *const *names)
{
    g_autoptr(GError) error = NULL;
    Authority *a = authority_open(folder, names, &error);

    g_assert_no_error(error);
    return a;
}

static X509 *read_certificate(const char *pem)
{
    BIO *bio = BIO_new_mem_buf(pem, -1);
    X509 *x = PEM_read_bio_X509(bio, NULL, NULL, NULL);

    BIO_free(bio);
    g_assert_nonnull(x);
    return x;
}

static gboolean signed_by(const char *certificate, const char *authority)
{
    g_autoptr(X509) x = read_certificate(certificate);
    g_autoptr(X509) ca = read_certificate(authority);

    return X509_verify(x, X509_get0_pubkey(ca)) == 1 && X509_check_issued(ca, x) == X509_V_OK;
}

static void test_first_start(void)
{
    static const char *const SECRETS[] = {"issuer.pem", "server.json", "admin.json", "tokens.json"};
    g_autoptr(Authority) a = open_it(NULL);
    g_autofree char *admin = path_of("admin.json");
    g_autoptr(GError) error = NULL;

    g_assert_true(authority_write_admin(a, admin, "https://h:25443", &error));
    g_assert_no_error(error);
    for (guint i = 0; i < G_N_ELEMENTS(SECRETS); i++) {
        g_autofree char *path = path_of(SECRETS[i]);
        struct stat st;

        g_assert_cmpint(stat(path, &st), ==, 0);
        g_assert_cmpint(st.st_mode & 07777, ==, 0600);
    }
    g_assert_true(signed_by(authority_server_certificate(a), authority_ca(a)));
    g_assert_true(identity_is_owned(authority_identity(a)));
    g_assert_cmpint(identity_peer(authority_identity(a)).role, ==, ROLE_CONTROLLER);
}

static void test_start_again(void)
{
    static const char *const MORE[] = {"controller.example", "192.0.2.7", "localhost", NULL};
    g_autoptr(Authority) a = open_it(NULL);
    g_autoptr(Authority) b = open_it(NULL);
    g_autoptr(Authority) c = open_it(MORE);
    g_autoptr(X509) x = read_certificate(authority_server_certificate(c));

    g_assert_cmpstr(authority_ca(a), ==, authority_ca(b));
    g_assert_cmpstr(authority_server_certificate(a), ==, authority_server_certificate(b));
    g_assert_cmpstr(authority_server_key(a), ==, authority_server_key(b));
    g_assert_true(id_equal(identity_peer(authority_identity(a)).id, identity_peer(authority_identity(b)).id));
    /* Other names, another certificate, the same authority. */
    g_assert_cmpstr(authority_ca(a), ==, authority_ca(c));
    g_assert_cmpstr(authority_server_certificate(a), !=, authority_server_certificate(c));
    g_assert_cmpint(X509_check_host(x, "controller.example", 0, 0, NULL), ==, 1);
    g_assert_cmpint(X509_check_host(x, "localhost", 0, 0, NULL), ==, 1);
    g_assert_cmpint(X509_check_ip_asc(x, "192.0.2.7", 0), ==, 1);
    g_assert_cmpint(X509_check_ip_asc(x, "127.0.0.1", 0), ==, 1);
    g_assert_cmpint(X509_check_ip_asc(x, "::1", 0), ==, 1);
}

/* A name that the machine has and no certificate can is left out; one that was asked for is refused. */
static void test_odd_names(void)
{
    static const char *const ODD[] = {"my_controller", NULL};
    g_autoptr(GError) error = NULL;
    int status;
    pid_t pid;

    g_assert_null(authority_open(folder, ODD, &error));
    g_assert_error(error, US_ERROR, US_ERROR_USAGE);
    g_assert_nonnull(strstr(error->message, "my_controller"));
    pid = fork();
    if (pid == 0) {
        if (unshare(CLONE_NEWUTS) != 0 || sethostname("my_controller", 13) != 0)
            _exit(77);
        _exit(authority_open(folder, NULL, NULL) ? 0 : 1);
    }
    g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
    g_assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77)
        g_test_skip("a host name of its own needs root");
    else
        g_assert_cmpint(WEXITSTATUS(status), ==, 0);
}

static void test_sign_engine(void)
{
    g_autoptr(Authority) a = open_it(NULL);
    g_autofree char *dir = path_of("engine");
    g_autoptr(GError) error = NULL;
    g_autoptr(Identity) engine = identity_open(dir, ROLE_ENGINE, &error);
    g_autoptr(GBytes) key = identity_public_key(engine);
    g_autoptr(GBytes) junk = g_bytes_new_static("junk", 4);
    g_autofree char *certificate = NULL;
    g_autofree char *ca = NULL;

    g_assert_true(authority_sign(a, key, identity_peer(engine).id, &certificate, &ca, &error));
    g_assert_true(identity_check(engine, certificate, ca, &error));
    g_assert_no_error(error);
    g_assert_cmpstr(ca, ==, authority_ca(a));
    g_assert_false(authority_sign(a, junk, id_random(), &certificate, &ca, &error));
    g_assert_error(error, US_ERROR, US_ERROR_USAGE);
}

static void test_people(void)
{
    g_autofree char *path = path_of("tokens.json");
    g_autoptr(GError) error = NULL;
    g_autoptr(People) people = people_open(path, &error);
    g_autofree char *anna = people_add(people, "anna", &error);
    g_autofree char *bert = people_add(people, "bert", &error);
    g_autofree char *stored = slurp("tokens.json");
    g_autoptr(People) again = people_open(path, &error);
    g_autoptr(Authority) a = open_it(NULL);

    g_assert_no_error(error);
    g_assert_cmpuint(strlen(anna), ==, 43); /* 256 bits */
    g_assert_cmpstr(anna, !=, bert);
    g_assert_null(strstr(stored, anna));
    g_assert_cmpstr(authority_check(anna, a), ==, "anna");
    g_assert_cmpstr(authority_check(bert, a), ==, "bert");
    g_assert_null(authority_check("", a));
    g_assert_null(authority_check("nonsense", a));
    g_assert_null(people_add(again, "anna", &error));
    g_assert_error(error, US_ERROR, US_ERROR_EXISTS);
    g_clear_error(&error);
    g_assert_null(people_add(again, "an na", &error));
    g_assert_error(error, US_ERROR, US_ERROR_USAGE);
    g_clear_error(&error);
    g_assert_true(people_remove(again, "anna", &error));
    g_assert_null(people_find(again, anna));
    g_assert_cmpstr(people_find(again, bert), ==, "bert");
    g_assert_false(people_remove(again, "anna", &error));
    g_assert_error(error, US_ERROR, US_ERROR_NOT_FOUND);
}

static char *token_of_admin(const char *expected_url)
{
    g_autofree char *text = slurp("admin.json");
    json_auto_t *doc = json_parse(text, strlen(text), 65536, NULL);
    const char *url;
    const char *ca;
    const char *token;

    g_assert_true(json_read(doc, "admin", NULL, "{s:i, s:s, s:s, s:s}", "format", &(int){0}, "url", &url,
                            "ca", &ca, "token", &token));
    g_assert_cmpstr(url, ==, expected_url);
    return g_strdup(token);
}

static void test_admin(void)
{
    static const char URL[] = "https://h:25443";
    g_autoptr(Authority) a = open_it(NULL);
    g_autofree char *path = path_of("admin.json");
    g_autofree char *first = NULL;
    g_autofree char *same = NULL;
    g_autofree char *second = NULL;

    g_assert_true(authority_write_admin(a, path, URL, NULL));
    first = token_of_admin(URL);
    g_assert_cmpstr(authority_check(first, a), ==, "admin");
    /* Reached elsewhere now: the same token for it. */
    g_assert_true(authority_write_admin(a, path, "https://h:7", NULL));
    same = token_of_admin("https://h:7");
    g_assert_cmpstr(same, ==, first);
    g_assert_cmpstr(authority_check(first, a), ==, "admin");
    /* Lost: a new one, and the old token ends. */
    g_assert_cmpint(g_unlink(path), ==, 0);
    g_assert_true(authority_write_admin(a, path, URL, NULL));
    second = token_of_admin(URL);
    g_assert_cmpstr(authority_check(second, a), ==, "admin");
    g_assert_null(authority_check(first, a));
}

/* The authority, or who is who, was lost: what the file says is put right. */
static void test_admin_follows(void)
{
    static const char URL[] = "https://h:25443";
    g_autofree char *path = path_of("admin.json");
    g_autofree char *issuer = path_of("issuer.pem");
    g_autofree char *tokens = path_of("tokens.json");
    g_autofree char *first = NULL;
    g_autofree char *second = NULL;
    g_autofree char *third = NULL;
    g_autofree char *text = NULL;
    json_auto_t *doc = NULL;
    g_autoptr(Authority) a = open_it(NULL);
    g_autoptr(Authority) b = NULL;
    g_autoptr(Authority) c = NULL;

    g_assert_true(authority_write_admin(a, path, URL, NULL));
    first = token_of_admin(URL);
    g_assert_cmpint(g_unlink(issuer), ==, 0);
    b = open_it(NULL);
    g_assert_true(authority_write_admin(b, path, URL, NULL));
    second = token_of_admin(URL);
    text = slurp("admin.json");
    doc = json_parse(text, strlen(text), 65536, NULL);
    g_assert_cmpstr(second, ==, first);
    g_assert_cmpstr(json_string_value(json_object_get(doc, "ca")), ==, authority_ca(b));
    g_assert_cmpint(g_unlink(tokens), ==, 0);
    c = open_it(NULL);
    g_assert_true(authority_write_admin(c, path, URL, NULL));
    third = token_of_admin(URL);
    g_assert_cmpstr(authority_check(third, c), ==, "admin");
}

static void test_admin_damaged(void)
{
    g_autoptr(Authority) a = open_it(NULL);
    g_autofree char *path = path_of("admin.json");
    g_autofree char *still = NULL;
    g_autoptr(GError) error = NULL;

    spill("admin.json", "{");
    g_assert_false(authority_write_admin(a, path, "https://h:25443", &error));
    g_assert_error(error, US_ERROR, US_ERROR_CORRUPT);
    still = slurp("admin.json");
    g_assert_cmpstr(still, ==, "{"); /* left alone */
}

static void expect_refusal(UsError code, const char *says)
{
    g_autoptr(GError) error = NULL;

    g_assert_null(authority_open(folder, NULL, &error));
    g_assert_error(error, US_ERROR, (int)code);
    g_assert_nonnull(strstr(error->message, says));
}

static void test_damage(void)
{
    static const struct {
        const char *file;
        const char *text;
        UsError code;
        const char *says;
    } CASES[] = {
        {"issuer.pem", "", US_ERROR_CORRUPT, "issuer.pem"},
        {"issuer.pem", "understudy-authority 9\n", US_ERROR_REFUSED, "newer version"},
        {"identity/key.pem", "junk", US_ERROR_CORRUPT, "key.pem"},
        {"server.json", "{", US_ERROR_CORRUPT, "server.json"},
        {"server.json", "{\"format\": 2}", US_ERROR_REFUSED, "newer version"},
        {"server.json", "{\"format\": 1}", US_ERROR_CORRUPT, "server.json"},
        {"tokens.json", "[]", US_ERROR_CORRUPT, "tokens.json"},
        {"tokens.json", "{\"format\": 2}", US_ERROR_REFUSED, "newer version"},
        {"tokens.json", "{\"format\": 1, \"people\": [{}]}", US_ERROR_CORRUPT, "nobody can log in"},
        {"tokens.json",
         "{\"format\": 1, \"people\": [{\"name\": \"a\", \"sha256\": \"00\", \"created_at\": \"\"}]}",
         US_ERROR_CORRUPT, "not a SHA-256"},
    };
    g_autoptr(Authority) a = open_it(NULL);
    g_autofree char *admin = path_of("admin.json");

    g_assert_true(
        authority_write_admin(a, admin, "https://h:25443", NULL)); /* so that tokens.json is there */
    for (guint i = 0; i < G_N_ELEMENTS(CASES); i++) {
        g_autofree char *good = slurp(CASES[i].file);
        g_autofree char *still = NULL;

        g_test_message("%s: %s", CASES[i].file, CASES[i].text);
        spill(CASES[i].file, CASES[i].text);
        expect_refusal(CASES[i].code, CASES[i].says);
        still = slurp(CASES[i].file);
        g_assert_cmpstr(still, ==, CASES[i].text); /* left alone */
        spill(CASES[i].file, good);
    }
    authority_free(open_it(NULL));
}

static void test_readable_by_others(void)
{
    static const char *const FILES[] = {"issuer.pem", "server.json", "tokens.json", "."};
    g_autoptr(Authority) a = open_it(NULL);
    g_autofree char *admin = path_of("admin.json");

    g_assert_true(
        authority_write_admin(a, admin, "https://h:25443", NULL)); /* so that tokens.json is there */
    for (guint i = 0; i < G_N_ELEMENTS(FILES); i++) {
        g_autofree char *path = path_of(FILES[i]);

        g_assert_cmpint(chmod(path, 0750), ==, 0);
        expect_refusal(US_ERROR_DENIED, "read by others");
        g_assert_cmpint(chmod(path, 0700), ==, 0);
    }
}

/* A lost authority makes a new one, and everything that it had signed is signed anew. */
static void test_issuer_lost(void)
{
    g_autoptr(Authority) a = open_it(NULL);
    g_autofree char *path = path_of("issuer.pem");
    g_autoptr(Authority) b = NULL;

    g_assert_cmpint(g_unlink(path), ==, 0);
    b = open_it(NULL);
    g_assert_cmpstr(authority_ca(a), !=, authority_ca(b));
    g_assert_true(signed_by(authority_server_certificate(b), authority_ca(b)));
    g_assert_false(signed_by(authority_server_certificate(a), authority_ca(b)));
}

static void in_a_folder(gconstpointer test)
{
    folder = g_dir_make_tmp("understudy-authority-XXXXXX", NULL);
    ((void (*)(void))test)();
    tree_remove(folder);
    g_clear_pointer(&folder, g_free);
}

static void add(const char *path, void (*test)(void))
{
    g_test_add_data_func(path, (gconstpointer)test, in_a_folder);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    add("/authority/first-start", test_first_start);
    add("/authority/start-again", test_start_again);
    add("/authority/odd-names", test_odd_names);
    add("/authority/sign-engine", test_sign_engine);
    add("/authority/people", test_people);
    add("/authority/admin", test_admin);
    add("/authority/admin-follows", test_admin_follows);
    add("/authority/admin-damaged", test_admin_damaged);
    add("/authority/damage", test_damage);
    add("/authority/readable-by-others", test_readable_by_others);
    add("/authority/issuer-lost", test_issuer_lost);
    return g_test_run();
}

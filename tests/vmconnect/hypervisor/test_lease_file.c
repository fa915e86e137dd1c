/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"
#include "vmconnect/base/sealed.h"
#include "vmconnect/hypervisor/lease_file.h"

#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct {
    char *root;
    char *path;
} Place;

static void place_open(Place *p, gconstpointer data)
{
    (void)data;
    p->root = g_dir_make_tmp("leases-XXXXXX", NULL);
    p->path = g_build_filename(p->root, "leases", NULL);
}

static void place_close(Place *p, gconstpointer data)
{
    (void)data;
    g_unlink(p->path);
    g_assert_cmpint(g_rmdir(p->root), ==, 0);
    g_free(p->path);
    g_free(p->root);
}

static GArray *some_entries(guint count)
{
    GArray *entries = g_array_new(FALSE, FALSE, sizeof(LeaseEntry));

    for (guint i = 0; i < count; i++) {
        LeaseEntry e = {.vm = id_random(), .reign = {i + 1, id_random()}, .until = {1000 * i, 1000 * i + 7}};

        g_array_append_val(entries, e);
    }
    return entries;
}

static void expect_equal(const LeaseEntry *a, const LeaseEntry *b)
{
    g_assert_true(id_equal(a->vm, b->vm) && reign_equal(a->reign, b->reign));
    g_assert_cmpint(a->until.boot_ms, ==, b->until.boot_ms);
    g_assert_cmpint(a->until.raw_ms, ==, b->until.raw_ms);
}

static void expect_none(const Place *p, Id vm, UsError code)
{
    g_autoptr(GError) error = NULL;
    LeaseEntry got;

    g_assert_false(lease_file_find(p->path, vm, &got, &error));
    g_assert_error(error, US_ERROR, (int)code);
}

static void test_round_trip(Place *p, gconstpointer data)
{
    g_autoptr(GArray) none = some_entries(0), many = some_entries(100), back = NULL;
    g_autofree char *empty = lease_file_text(none), *text = lease_file_text(many);
    g_autofree char *fresh = g_strconcat(p->path, ".new", NULL);
    g_autoptr(GError) error = NULL;
    struct stat st;

    (void)data;
    expect_none(p, id_random(), US_ERROR_NOT_FOUND);
    g_assert_true(lease_file_write(p->path, empty, NULL));
    expect_none(p, id_random(), US_ERROR_NOT_FOUND);
    /* A leftover of an engine that died. */
    g_assert_true(g_file_set_contents(fresh, "x", -1, NULL));
    g_assert_true(lease_file_write(p->path, text, &error));
    g_assert_no_error(error);
    g_assert_false(g_file_test(fresh, G_FILE_TEST_EXISTS));
    g_assert_cmpint(stat(p->path, &st), ==, 0);
    g_assert_cmpint(st.st_mode & 0777, ==, 0600);
    back = lease_file_parse(text, strlen(text), NULL);
    g_assert_cmpuint(back->len, ==, many->len);
    for (guint i = 0; i < many->len; i++) {
        const LeaseEntry *e = &g_array_index(many, LeaseEntry, i);
        LeaseEntry got;

        expect_equal(&g_array_index(back, LeaseEntry, i), e);
        g_assert_true(lease_file_find(p->path, e->vm, &got, NULL));
        expect_equal(&got, e);
    }
    expect_none(p, id_random(), US_ERROR_NOT_FOUND);
}

/* Torn at every length, flipped at every byte: never another lease, and never none. */
static void test_damage(Place *p, gconstpointer data)
{
    g_autoptr(GArray) entries = some_entries(2);
    g_autofree char *text = lease_file_text(entries);
    Id vm = g_array_index(entries, LeaseEntry, 0).vm;
    gsize len = strlen(text);

    (void)data;
    for (gsize cut = 0; cut < len; cut++) {
        g_assert_true(g_file_set_contents(p->path, text, (gssize)cut, NULL));
        expect_none(p, vm, US_ERROR_CORRUPT);
    }
    for (gsize at = 0; at < len; at++) {
        g_autoptr(GError) error = NULL;
        LeaseEntry got;

        text[at] ^= 1;
        g_assert_true(g_file_set_contents(p->path, text, (gssize)len, NULL));
        g_assert_false(lease_file_find(p->path, vm, &got, &error));
        g_assert_false(g_error_matches(error, US_ERROR, US_ERROR_NOT_FOUND));
        text[at] ^= 1;
    }
    g_assert_true(g_file_set_contents(p->path, "understudy-leases 2 x\n{}\n", -1, NULL));
    expect_none(p, vm, US_ERROR_UNSUPPORTED);
    /* A folder, or a link to elsewhere, in its place. */
    g_unlink(p->path);
    g_assert_cmpint(symlink("/dev/null", p->path), ==, 0);
    expect_none(p, vm, US_ERROR_IO);
    g_unlink(p->path);
    g_assert_cmpint(g_mkdir(p->path, 0700), ==, 0);
    expect_none(p, vm, US_ERROR_IO);
    g_rmdir(p->path);
}

#define VM "\"vm\":\"00000000-0000-4000-8000-000000000001\""
#define REIGN "\"reign\":{\"number\":1,\"id\":\"00000000-0000-4000-8000-000000000002\"}"
#define GOOD "{" VM "," REIGN ",\"boot_ms\":5,\"raw_ms\":6}"

/* What was sealed, and yet cannot have been meant. */
static void test_wrong_bodies(void)
{
    static const char *const WRONG[] = {
        "{}",
        "[]",
        "{\"leases\":{}}",
        "{\"leases\":[],\"more\":1}",
        "{\"leases\":[1]}",
        "{\"leases\":[" GOOD "," GOOD "]}",
        "{\"leases\":[{" VM "," REIGN ",\"boot_ms\":5}]}",
        "{\"leases\":[{" VM "," REIGN ",\"boot_ms\":-1,\"raw_ms\":6}]}",
        "{\"leases\":[{" VM "," REIGN ",\"boot_ms\":5,\"raw_ms\":4503599627370497}]}",
        "{\"leases\":[{" VM "," REIGN ",\"boot_ms\":5.0,\"raw_ms\":6}]}",
        "{\"leases\":[{\"vm\":\"x\"," REIGN ",\"boot_ms\":5,\"raw_ms\":6}]}",
        "{\"leases\":[{\"vm\":\"00000000-0000-0000-0000-000000000000\"," REIGN
        ",\"boot_ms\":5,\"raw_ms\":6}]}",
        "{\"leases\":[{" VM ",\"reign\":1,\"boot_ms\":5,\"raw_ms\":6}]}",
    };
    g_autofree char *good = sealed_text("leases", 1, json_loads("{\"leases\":[" GOOD "]}", 0, NULL));
    g_autoptr(GArray) entries = lease_file_parse(good, strlen(good), NULL);

    g_assert_cmpuint(entries->len, ==, 1);
    for (guint i = 0; i < G_N_ELEMENTS(WRONG); i++) {
        g_autofree char *text = sealed_text("leases", 1, json_loads(WRONG[i], 0, NULL));
        g_autoptr(GError) error = NULL;

        g_assert_null(lease_file_parse(text, strlen(text), &error));
        g_assert_error(error, US_ERROR, US_ERROR_CORRUPT);
    }
}

static void test_cannot_write(Place *p, gconstpointer data)
{
    g_autofree char *nowhere = g_build_filename(p->root, "no", "leases", NULL);
    g_autofree char *big = g_strnfill(LEASE_FILE_MAX_BYTES + 1, 'x');
    g_autoptr(GError) long_one = NULL, folder = NULL;

    (void)data;
    g_assert_true(lease_file_write(p->path, "before", NULL));
    g_assert_false(lease_file_write(p->path, big, &long_one));
    g_assert_error(long_one, US_ERROR, US_ERROR_USAGE);
    expect_none(p, id_random(), US_ERROR_CORRUPT); /* which is there still */
    g_assert_false(lease_file_write(nowhere, "x", &folder));
    g_assert_error(folder, US_ERROR, US_ERROR_NOT_FOUND);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add("/lease_file/round-trip", Place, NULL, place_open, test_round_trip, place_close);
    g_test_add("/lease_file/damage", Place, NULL, place_open, test_damage, place_close);
    g_test_add_func("/lease_file/wrong-bodies", test_wrong_bodies);
    g_test_add("/lease_file/cannot-write", Place, NULL, place_open, test_cannot_write, place_close);
    return g_test_run();
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/base/belongings.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"

#include <string.h>

#define DIGEST "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" /* of nothing */

/* @len bytes, mostly 0xff as in a variable store. */
static Belonging *store_of(const char *name, gsize len, guint8 first)
{
    g_autofree guint8 *data = g_malloc(MAX(len, 1));

    memset(data, 0xff, len);
    if (len)
        data[0] = first;
    return belonging_new(name, data, len);
}

static GPtrArray *sample(void)
{
    GPtrArray *set = belongings_new();

    g_ptr_array_add(set, store_of("nvram", 540672, 1));
    g_ptr_array_add(set, store_of("tpm2/tpm2-00.permall", 6098, 2));
    return set;
}

static void expect_bytes(const Belonging *b, gsize len, guint8 first)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GBytes) file = belonging_unpack(b, &error);
    gsize got;
    const guint8 *data;

    g_assert_no_error(error);
    data = g_bytes_get_data(file, &got);
    g_assert_cmpuint(got, ==, len);
    g_assert_cmpuint(data[0], ==, first);
    g_assert_cmpuint(data[len - 1], ==, 0xff);
}

static GPtrArray *through_json(json_t *doc)
{
    g_autoptr(GError) error = NULL;
    json_auto_t *owned = doc;
    GPtrArray *back = belongings_from_json(owned, &error);

    g_assert_no_error(error);
    return back;
}

static void test_round_trip(void)
{
    g_autoptr(GPtrArray) set = sample();
    g_autoptr(GPtrArray) back = through_json(belongings_to_json_packed(set, NULL));

    g_assert_true(belongings_equal(set, back));
    expect_bytes(belongings_find(back, "nvram"), 540672, 1);
    expect_bytes(belongings_find(back, "tpm2/tpm2-00.permall"), 6098, 2);
}

static void test_only_what_is_not_known_goes(void)
{
    g_autoptr(GPtrArray) before = sample();
    g_autoptr(GPtrArray) set = sample();
    g_autoptr(GPtrArray) back = NULL;
    g_autoptr(GPtrArray) bare = NULL;

    g_ptr_array_remove_index(set, 1);
    g_ptr_array_add(set, store_of("tpm2/tpm2-00.permall", 6098, 3));
    back = through_json(belongings_to_json_packed(set, before));
    g_assert_null(belongings_find(back, "nvram")->packed);
    expect_bytes(belongings_find(back, "tpm2/tpm2-00.permall"), 6098, 3);
    bare = through_json(belongings_to_json(set));
    g_assert_true(belongings_equal(set, bare));
    g_assert_false(belongings_equal(set, before));
    g_assert_null(belongings_find(bare, "tpm2/tpm2-00.permall")->packed);
}

/* 64 MiB of one byte value are some kilobytes on the wire. */
static void test_a_large_store(void)
{
    g_autoptr(GPtrArray) set = belongings_new();
    g_autoptr(GPtrArray) back = NULL;

    g_ptr_array_add(set, store_of("nvram", 64 << 20, 7));
    g_assert_cmpuint(g_bytes_get_size(((Belonging *)set->pdata[0])->packed), <, 100000);
    back = through_json(belongings_to_json_packed(set, NULL));
    expect_bytes(back->pdata[0], 64 << 20, 7);
}

static void test_names(void)
{
    static const char *const BAD[] = {"",
                                      "nvram2",
                                      "tpm",
                                      "tpm2",
                                      "tpm2/",
                                      "tpm2/.lock",
                                      "tpm2/..",
                                      "tpm2/a/b",
                                      "tpm2/TMP2-00.permall",
                                      "tpm1.2/TMP-00.permall",
                                      "tpm3/a",
                                      "/etc/shadow",
                                      "../tpm2/a",
                                      "tpm2/a b"};

    for (guint i = 0; i < G_N_ELEMENTS(BAD); i++)
        g_assert_cmpuint(belonging_max_bytes(BAD[i]), ==, 0);
    g_assert_cmpuint(belonging_max_bytes("nvram"), ==, BELONGINGS_NVRAM_MAX);
    g_assert_cmpuint(belonging_max_bytes("tpm2/tpm2-00.permall"), ==, BELONGINGS_TPM_MAX);
    g_assert_cmpuint(belonging_max_bytes("tpm1.2/tpm-00.permall"), ==, BELONGINGS_TPM_MAX);
}

static void expect_refused(json_t *doc)
{
    g_autoptr(GError) error = NULL;
    json_auto_t *owned = doc;

    g_assert_null(belongings_from_json(owned, &error));
    g_assert_error(error, US_ERROR, US_ERROR_USAGE);
}

static json_t *one(const char *name, json_int_t size, const char *digest)
{
    return json_pack("{s:s, s:I, s:s}", "name", name, "size_bytes", size, "sha256", digest);
}

static json_t *with(json_t *doc, const char *key, json_t *value)
{
    json_object_set_new(doc, key, value);
    return json_pack("[o]", doc);
}

static void test_refuses(void)
{
    g_autofree char *long_text = g_strnfill(BELONGINGS_PACKED_MAX / 3 * 4 + 8, 'A');
    json_t *many = json_array();

    expect_refused(json_object());
    expect_refused(json_pack("[o]", one("other", 0, DIGEST)));
    expect_refused(json_pack("[o]", one("nvram", -1, DIGEST)));
    expect_refused(json_pack("[o]", one("nvram", BELONGINGS_NVRAM_MAX + 1, DIGEST)));
    expect_refused(json_pack("[o]", one("tpm2/a", BELONGINGS_TPM_MAX + 1, DIGEST)));
    expect_refused(json_pack("[o]", one("nvram", 0, "abc")));
    expect_refused(json_pack("[o, o]", one("tpm2/a", 0, DIGEST), one("nvram", 0, DIGEST)));
    expect_refused(json_pack("[o, o]", one("nvram", 0, DIGEST), one("nvram", 0, DIGEST)));
    expect_refused(with(one("nvram", 0, DIGEST), "mode", json_integer(0644)));
    expect_refused(with(one("nvram", 0, DIGEST), "zstd", json_true()));
    expect_refused(with(one("nvram", 0, DIGEST), "zstd", json_string("")));
    expect_refused(with(one("nvram", 0, DIGEST), "zstd", json_string(long_text)));
    for (int i = 0; i <= BELONGINGS_MAX; i++) {
        g_autofree char *name = g_strdup_printf("tpm2/%02d", i);

        json_array_append_new(many, one(name, 0, DIGEST));
    }
    expect_refused(many);
}

/* What unfolds to more, to less or to something else than was said is nothing. */
static void test_not_what_it_says(void)
{
    g_autoptr(Belonging) b = store_of("nvram", 1000, 1);
    g_autoptr(Belonging) other = store_of("nvram", 1000, 2);

    b->size_bytes = 999;
    g_assert_null(belonging_unpack(b, NULL));
    b->size_bytes = 1001;
    g_assert_null(belonging_unpack(b, NULL));
    b->size_bytes = 1000;
    expect_bytes(b, 1000, 1);
    g_bytes_unref(b->packed);
    b->packed = g_bytes_ref(other->packed);
    g_assert_null(belonging_unpack(b, NULL));
    g_bytes_unref(b->packed);
    b->packed = g_bytes_new_static("nonsense", 8);
    g_assert_null(belonging_unpack(b, NULL));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/base/belongings/round-trip", test_round_trip);
    g_test_add_func("/base/belongings/only-what-is-not-known-goes", test_only_what_is_not_known_goes);
    g_test_add_func("/base/belongings/a-large-store", test_a_large_store);
    g_test_add_func("/base/belongings/names", test_names);
    g_test_add_func("/base/belongings/refuses", test_refuses);
    g_test_add_func("/base/belongings/not-what-it-says", test_not_what_it_says);
    return g_test_run();
}

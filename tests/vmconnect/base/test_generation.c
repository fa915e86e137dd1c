/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/base/error.h"
#include "vmconnect/base/generation.h"
#include "vmconnect/base/json.h"

static Generation *sample(void)
{
    Generation *g = generation_new();

    g->id = id_random();
    g->since = id_random();
    g->reign = (Reign){1, id_random()};
    g->sequence = 42;
    g->cut_at_ms = 1795299414123;
    g->frozen = TRUE;
    g->definition = g_strdup("<domain/>");
    generation_add_disk(g, "vda", 1 << 30);
    generation_add_disk(g, "vdb", 0);
    g_ptr_array_add(g->belongings, belonging_new("nvram", "variables", 9));
    g->incomplete = g_strdup("they changed meanwhile");
    return g;
}

static void test_round_trip(void)
{
    g_autoptr(Generation) g = sample();
    g_autoptr(GError) error = NULL;
    json_auto_t *doc = generation_to_json(g);
    g_autoptr(Generation) back = generation_from_json(doc, &error);
    json_auto_t *again = NULL;

    g_assert_no_error(error);
    again = generation_to_json(back);
    g_assert_true(json_equal(doc, again));
    g_assert_true(id_is_nil(back->parent));
    g_assert_true(id_equal(back->since, g->since));
    g_assert_cmpuint(generation_find_disk(back, "vda")->size_bytes, ==, 1 << 30);
    g_assert_null(generation_find_disk(back, "vdc"));
}

/* Bytes go only where they are asked for, and nothing but the remark is for people's eyes. */
static void test_belongings(void)
{
    g_autoptr(Generation) g = sample();
    json_auto_t *plain = generation_to_json(g);
    json_auto_t *packed = generation_to_json_packed(g, NULL);
    json_auto_t *known = generation_to_json_packed(g, g->belongings);
    json_auto_t *shown = generation_describe(g);
    g_autoptr(Generation) back = generation_from_json(packed, NULL);

    g_assert_true(json_equal(plain, known));
    g_assert_nonnull(((Belonging *)back->belongings->pdata[0])->packed);
    g_assert_cmpstr(back->incomplete, ==, g->incomplete);
    g_assert_null(json_object_get(shown, "belongings"));
    g_assert_null(json_object_get(shown, "definition"));
    g_assert_cmpstr(json_string_value(json_object_get(shown, "incomplete")), ==, g->incomplete);
}

/* Who has none writes what a ledger of format 1 has. */
static void test_none_are_not_named(void)
{
    g_autoptr(Generation) g = sample();
    json_auto_t *doc = generation_to_json(g);
    json_auto_t *bare = NULL;

    json_object_del(doc, "belongings");
    json_object_del(doc, "incomplete");
    g_ptr_array_set_size(g->belongings, 0);
    g_clear_pointer(&g->incomplete, g_free);
    bare = generation_to_json(g);
    g_assert_true(json_equal(bare, doc));
    g_assert_null(json_object_get(bare, "belongings"));
}

static void test_copy(void)
{
    g_autoptr(Generation) g = sample();
    g_autoptr(Generation) copy = generation_copy(g);
    json_auto_t *a = generation_to_json(g);
    json_auto_t *b = generation_to_json(copy);

    g_assert_true(json_equal(a, b));
    g_assert_true(copy->disks != g->disks);
}

static void expect_refused(const char *key, json_t *value)
{
    g_autoptr(Generation) g = sample();
    g_autoptr(GError) error = NULL;
    json_auto_t *doc = generation_to_json(g);

    json_object_set_new(doc, key, value);
    g_assert_null(generation_from_json(doc, &error));
    g_assert_error(error, US_ERROR, US_ERROR_USAGE);
}

static void test_refuses(void)
{
    g_autofree char *too_long = g_strnfill(GENERATION_INCOMPLETE_MAX + 1, 'x');

    expect_refused("id", json_string("x"));
    expect_refused("parent", json_integer(1));
    expect_refused("term", json_integer(0));
    expect_refused("sequence", json_integer(0));
    expect_refused("cut_at", json_string("yesterday"));
    expect_refused("definition", json_true());
    expect_refused("unknown", json_true());
    expect_refused("belongings", json_object());
    expect_refused("incomplete", json_true());
    expect_refused("incomplete", json_string(too_long));
    expect_refused("disks", json_pack("[{s:s, s:i}]", "target", "../etc", "size_bytes", 1));
    expect_refused("disks", json_pack("[{s:s, s:i}]", "target", "", "size_bytes", 1));
    expect_refused("disks", json_pack("[{s:s, s:i}]", "target", "vda", "size_bytes", -1));
    expect_refused("disks", json_pack("[{s:s, s:i}, {s:s, s:i}]", "target", "vda", "size_bytes", 1, "target",
                                      "vda", "size_bytes", 1));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/base/generation/round-trip", test_round_trip);
    g_test_add_func("/base/generation/belongings", test_belongings);
    g_test_add_func("/base/generation/none-are-not-named", test_none_are_not_named);
    g_test_add_func("/base/generation/copy", test_copy);
    g_test_add_func("/base/generation/refuses", test_refuses);
    return g_test_run();
}

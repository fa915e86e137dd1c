/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/base/error.h"
#include "vmconnect/replicate/position.h"

static Generation *generation(void)
{
    Generation *g = generation_new();

    g->id = id_random();
    g->reign = (Reign){1, id_random()};
    g->sequence = 7;
    generation_add_disk(g, "vda", 1 << 20);
    generation_add_disk(g, "vdb", 1 << 20);
    return g;
}

static Position *sample(void)
{
    Position *p = position_new();
    Pass *pass = pass_new(id_random(), 2);
    Id older = id_random();

    p->tip = generation();
    g_array_append_val(p->ancestors, older);
    pass_add(pass, 0, 0, 65536);
    pass_add(pass, 0, 131072, 65536);
    pass_break(pass, id_random());
    position_set_partial(p, generation(), pass);
    p->seed = json_pack("{s:i, s:I}", "vda", 65536, "sdb", (json_int_t)1 << 40);
    p->seed_why = g_strdup("disk vdc is sent as a whole");
    return p;
}

static void test_round_trip(void)
{
    g_autoptr(Position) p = sample();
    g_autoptr(Position) none = position_new();
    g_autoptr(GError) error = NULL;
    json_auto_t *doc = position_to_json(p);
    json_auto_t *empty = position_to_json(none);
    g_autoptr(Position) back = position_from_json(doc, &error);
    g_autoptr(Position) nothing = position_from_json(empty, NULL);
    json_auto_t *again = NULL;

    g_assert_no_error(error);
    again = position_to_json(back);
    g_assert_true(json_equal(doc, again));
    g_assert_true(extents_equal(back->partial->pass->has->pdata[0], p->partial->pass->has->pdata[0]));
    g_assert_true(extents_is_empty(back->partial->pass->has->pdata[1]));
    g_assert_cmpuint(position_seed_bytes(back, "sdb"), ==, G_GUINT64_CONSTANT(1) << 40);
    g_assert_cmpuint(position_seed_bytes(back, "vdb"), ==, 0);
    g_assert_cmpstr(back->seed_why, ==, p->seed_why);
    /* A peer of before does not know the word. */
    g_assert_null(json_object_get(empty, "seed"));
    g_assert_cmpuint(position_seed_bytes(nothing, "vda"), ==, 0);
    g_assert_null(nothing->tip);
    g_assert_null(nothing->partial);
}

static void test_descent(void)
{
    g_autoptr(Position) p = sample();
    g_autoptr(Position) none = position_new();

    g_assert_true(position_descends_from(p, p->tip->id));
    g_assert_true(position_descends_from(p, g_array_index(p->ancestors, Id, 0)));
    g_assert_false(position_descends_from(p, id_random()));
    g_assert_false(position_descends_from(p, ID_NIL));
    g_assert_false(position_descends_from(none, ID_NIL));
}

static void expect_refused(const char *key, json_t *has)
{
    g_autoptr(Position) p = sample();
    g_autoptr(GError) error = NULL;
    json_auto_t *doc = position_to_json(p);

    json_object_set_new(json_object_get(doc, "partial"), key, has);
    g_assert_null(position_from_json(doc, &error));
    g_assert_error(error, US_ERROR, US_ERROR_USAGE);
}

static void expect_seed_refused(json_t *seed)
{
    g_autoptr(Position) p = sample();
    g_autoptr(GError) error = NULL;
    json_auto_t *doc = position_to_json(p);

    json_object_set_new(doc, "seed", seed);
    g_assert_null(position_from_json(doc, &error));
    g_assert_error(error, US_ERROR, US_ERROR_USAGE);
}

static void test_refuses_seed(void)
{
    g_autofree char *long_text = g_strnfill(POSITION_SEED_WHY_MAX + 1, 'x');

    expect_seed_refused(json_null());
    expect_seed_refused(json_pack("{s:{}}", "disks"));
    expect_seed_refused(json_pack("{s:[], s:n}", "disks", "why"));
    expect_seed_refused(json_pack("{s:{s:i}, s:n}", "disks", "vda", -1, "why"));
    expect_seed_refused(json_pack("{s:{s:s}, s:n}", "disks", "vda", "1", "why"));
    expect_seed_refused(json_pack("{s:{s:i}, s:n}", "disks", "../vda", 1, "why"));
    expect_seed_refused(json_pack("{s:{}, s:i}", "disks", "why", 1));
    expect_seed_refused(json_pack("{s:{}, s:s}", "disks", "why", long_text));
    expect_seed_refused(json_pack("{s:{}, s:n, s:n}", "disks", "why", "more"));
}

static void test_refuses(void)
{
    expect_refused("has", json_pack("[[i, i], [], []]", 0, 1));
    expect_refused("has", json_pack("[[i], []]", 0));
    expect_refused("has", json_pack("[[i, i], []]", 0, 0));
    expect_refused("has", json_pack("[[i, i, i, i], []]", 0, 8, 4, 8));
    expect_refused("has", json_pack("[[I, I], []]", (json_int_t)G_MAXINT64, (json_int_t)1));
    expect_refused("has", json_pack("[[s, i], []]", "0", 1));
    expect_refused("since", json_integer(1));
    expect_refused("more", json_null());
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/replicate/position/round-trip", test_round_trip);
    g_test_add_func("/replicate/position/descent", test_descent);
    g_test_add_func("/replicate/position/refuses", test_refuses);
    g_test_add_func("/replicate/position/refuses-seed", test_refuses_seed);
    return g_test_run();
}

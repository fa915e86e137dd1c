/* SPDX-License-Identifier: Apache-2.0 */
/* Extents against the obvious model: one byte per block. */
#include "vmconnect/base/error.h"
#include "vmconnect/base/extents.h"

#include <string.h>

#define BLOCKS 200

static void model_of(const Extents *set, guint8 model[BLOCKS])
{
    memset(model, 0, BLOCKS);
    for (guint i = 0; i < extents_count(set); i++) {
        Extent e = extents_at(set, i);

        g_assert_cmpuint(e.len, >, 0);
        if (i > 0) {
            Extent before = extents_at(set, i - 1);

            g_assert_cmpuint(before.offset + before.len, <, e.offset);
        }
        memset(model + e.offset, 1, e.len);
    }
}

static void expect_model(const Extents *set, const guint8 want[BLOCKS])
{
    guint8 got[BLOCKS];

    model_of(set, got);
    g_assert_cmpmem(got, BLOCKS, want, BLOCKS);
}

static Extents *random_set(guint8 model[BLOCKS])
{
    Extents *set = extents_new();
    int n = g_test_rand_int_range(0, 12);

    memset(model, 0, BLOCKS);
    for (int i = 0; i < n; i++) {
        guint offset = (guint)g_test_rand_int_range(0, BLOCKS);
        guint len = (guint)g_test_rand_int_range(0, (gint32)(BLOCKS - offset) + 1);
        gboolean add = g_test_rand_int_range(0, 3) > 0;

        if (add)
            extents_add(set, offset, len);
        else
            extents_remove(set, offset, len);
        memset(model + offset, add, len);
    }
    return set;
}

static void test_single_operations(void)
{
    for (int round = 0; round < 2000; round++) {
        guint8 model[BLOCKS];
        g_autoptr(Extents) set = random_set(model);

        expect_model(set, model);
    }
}

static void test_set_operations(void)
{
    for (int round = 0; round < 2000; round++) {
        guint8 a[BLOCKS];
        guint8 b[BLOCKS];
        guint8 want[BLOCKS];
        g_autoptr(Extents) left = random_set(a);
        g_autoptr(Extents) right = random_set(b);
        g_autoptr(Extents) sum = extents_copy(left);
        g_autoptr(Extents) rest = extents_copy(left);
        guint64 bytes = 0;

        extents_add_all(sum, right);
        for (int i = 0; i < BLOCKS; i++)
            want[i] = a[i] || b[i];
        expect_model(sum, want);

        extents_remove_all(rest, right);
        for (int i = 0; i < BLOCKS; i++)
            want[i] = a[i] && !b[i];
        expect_model(rest, want);

        extents_clip(sum, 77);
        for (int i = 0; i < BLOCKS; i++) {
            want[i] = i < 77 && (a[i] || b[i]);
            bytes += want[i];
        }
        expect_model(sum, want);
        g_assert_cmpuint(extents_bytes(sum), ==, bytes);
    }
}

static void test_overlaps(void)
{
    for (int round = 0; round < 500; round++) {
        guint8 model[BLOCKS];
        g_autoptr(Extents) set = random_set(model);
        guint offset = (guint)g_test_rand_int_range(0, BLOCKS);
        guint len = (guint)g_test_rand_int_range(1, (gint32)(BLOCKS - offset) + 1);

        g_assert_cmpint(extents_overlaps(set, offset, len), ==, memchr(model + offset, 1, len) != NULL);
    }
}

static void test_round(void)
{
    g_autoptr(Extents) set = extents_new();

    extents_add(set, 65537, 1);
    extents_add(set, 131072 + 65000, 700);
    extents_round(set, 65536);
    g_assert_cmpuint(extents_count(set), ==, 1);
    g_assert_cmpuint(extents_at(set, 0).offset, ==, 65536);
    g_assert_cmpuint(extents_at(set, 0).len, ==, 3 * 65536);
}

static void test_encoding(void)
{
    for (int round = 0; round < 500; round++) {
        guint8 model[BLOCKS];
        g_autoptr(Extents) set = random_set(model);
        g_autoptr(GBytes) bytes = extents_encode(set);
        g_autoptr(GError) error = NULL;
        gsize len;
        const guint8 *data = g_bytes_get_data(bytes, &len);
        g_autoptr(Extents) back = extents_decode(data, len, &error);

        g_assert_no_error(error);
        g_assert_true(extents_equal(set, back));
        for (gsize cut = 0; cut < len; cut++)
            g_assert_null(extents_decode(data, cut, NULL));
    }
}

static void test_decoding_refuses(void)
{
    static const guint64 BAD[][5] = {
        {1, 0, 0},                   /* empty range */
        {1, 1, G_MAXUINT64},         /* end wraps */
        {1, (guint64)G_MAXINT64, 1}, /* beyond the largest disk */
        {2, 0, 4, 4, 4},             /* touching */
        {2, 8, 4, 0, 4},             /* unsorted */
        {G_MAXUINT64, 0, 4},         /* count that is a lie */
    };

    for (guint i = 0; i < G_N_ELEMENTS(BAD); i++) {
        g_autoptr(GError) error = NULL;
        gsize words = BAD[i][0] == 2 ? 5 : 3;

        g_assert_null(extents_decode((const guint8 *)BAD[i], words * 8, &error));
        g_assert_error(error, US_ERROR, US_ERROR_PROTOCOL);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/base/extents/single", test_single_operations);
    g_test_add_func("/base/extents/sets", test_set_operations);
    g_test_add_func("/base/extents/overlaps", test_overlaps);
    g_test_add_func("/base/extents/round", test_round);
    g_test_add_func("/base/extents/encoding", test_encoding);
    g_test_add_func("/base/extents/decoding-refuses", test_decoding_refuses);
    return g_test_run();
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/base/error.h"
#include "vmconnect/rehearse/partitions.h"

#include <string.h>

#define MIB (1024ULL * 1024)
#define DISK_BYTES (64 * MIB)

static char *table(const char *label, const char *partitions)
{
    return g_strdup_printf(
        "{\"partitiontable\": {\"label\": \"%s\", \"device\": \"/dev/fd/3\", \"unit\": \"sectors\","
        " \"sectorsize\": 512, \"partitions\": [%s]}}",
        label, partitions);
}

#define PART(number, start, size, type)                                                                   \
    "{\"node\": \"/dev/fd/3p" #number "\", \"start\": " #start ", \"size\": " #size ", \"type\": \"" type \
    "\"}"

static void expect_refused(const char *text, UsError code, const char *words)
{
    g_autoptr(GError) error = NULL;

    g_assert_null(partitions_read(text, strlen(text), DISK_BYTES, &error));
    g_assert_error(error, US_ERROR, (int)code);
    g_assert_nonnull(strstr(error->message, words));
}

static void expect_table_refused(const char *partitions, UsError code, const char *words)
{
    g_autofree char *text = table("dos", partitions);

    expect_refused(text, code, words);
}

static void test_logical(void)
{
    g_autofree char *text =
        table("dos", PART(1, 2048, 4096, "83") "," PART(2, 8192, 8192, "5") "," PART(5, 10240, 1024, "82"));
    g_autoptr(GError) error = NULL;
    g_autoptr(GArray) parts = partitions_read(text, strlen(text), DISK_BYTES, &error);
    const Partition *p;

    g_assert_no_error(error);
    g_assert_cmpuint(parts->len, ==, 2);
    p = &g_array_index(parts, Partition, 0);
    g_assert_cmpuint(p->number, ==, 1);
    g_assert_cmpuint(p->offset_bytes, ==, MIB);
    g_assert_cmpuint(p->size_bytes, ==, 2 * MIB);
    p = &g_array_index(parts, Partition, 1);
    g_assert_cmpuint(p->number, ==, 5);
}

static void test_none(void)
{
    g_autofree char *text = table("gpt", "");
    g_autoptr(GArray) parts = partitions_read(text, strlen(text), DISK_BYTES, NULL);

    g_assert_cmpuint(parts->len, ==, 0);
}

static void test_to_the_very_end(void)
{
    g_autofree char *text = table("gpt", PART(1, 2048, 129024, "x"));
    g_autoptr(GArray) parts = partitions_read(text, strlen(text), DISK_BYTES, NULL);

    g_assert_nonnull(parts);
    expect_table_refused(PART(1, 2048, 129025, "83"), US_ERROR_CORRUPT, "partition 1 ends beyond the disk");
    expect_table_refused(PART(1, 131073, 1, "83"), US_ERROR_CORRUPT, "partition 1 ends beyond the disk");
    /* An end that is beyond all numbers. */
    expect_table_refused(PART(1, 2048, 9223372036854775807, "83"), US_ERROR_CORRUPT, "ends beyond");
}

static void test_overlap(void)
{
    expect_table_refused(PART(1, 2048, 4096, "83") "," PART(3, 6143, 10, "83"), US_ERROR_CORRUPT,
                         "partitions 1 and 3 lie over each other");
    expect_table_refused(PART(1, 4096, 4096, "83") "," PART(2, 2048, 8192, "83"), US_ERROR_CORRUPT,
                         "partitions 1 and 2 lie over each other");
}

static void test_too_many(void)
{
    g_autoptr(GString) all = g_string_new(NULL);
    g_autofree char *text = NULL;

    for (guint i = 1; i <= PARTITIONS_MAX + 1; i++)
        g_string_append_printf(all, "%s{\"node\": \"/dev/fd/3p%u\", \"start\": %u, \"size\": 1}",
                               i > 1 ? "," : "", i, 2048 + i);
    text = table("gpt", all->str);
    expect_refused(text, US_ERROR_UNSUPPORTED, "more than 128 partitions");
}

static void test_nonsense(void)
{
    expect_refused("{", US_ERROR_UNSUPPORTED, "not understood");
    expect_refused("{}", US_ERROR_UNSUPPORTED, "not understood");
    expect_table_refused(PART(1, -1, 4096, "83"), US_ERROR_UNSUPPORTED, "not understood");
    expect_table_refused(PART(1, 2048, 0, "83"), US_ERROR_UNSUPPORTED, "not understood");
    expect_table_refused(PART(x, 2048, 1, "83"), US_ERROR_UNSUPPORTED, "not understood");
    expect_table_refused("3", US_ERROR_UNSUPPORTED, "not understood");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/partitions/logical", test_logical);
    g_test_add_func("/partitions/none", test_none);
    g_test_add_func("/partitions/to-the-very-end", test_to_the_very_end);
    g_test_add_func("/partitions/overlap", test_overlap);
    g_test_add_func("/partitions/too-many", test_too_many);
    g_test_add_func("/partitions/nonsense", test_nonsense);
    return g_test_run();
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Definitions as people have them, from alpha to beta and back. golden/NAME.in.xml becomes NAME.out.xml and what is
 * said of it NAME.remarks; with UPDATE_GOLDEN=1 both are written anew, to be read before they are kept. */
#include "tests/netmap/world.h"

#include <string.h>

#define FOLDER TEST_DATA "/golden"

static char *remarks_as_text(const GPtrArray *remarks)
{
    GString *text = g_string_new(NULL);

    for (guint i = 0; i < remarks->len; i++) {
        const Remark *remark = remarks->pdata[i];
        const RemarkRow *row = remark_row(remark->kind);

        g_string_append_printf(text, "%s %s: %s\n", row->severity == REMARK_ERROR ? "error" : "warning",
                               row->id, remark->cause);
    }
    return g_string_free(text, FALSE);
}

static void compare(const char *name, const char *end, const char *got)
{
    g_autofree char *path = g_strconcat(FOLDER "/", name, end, NULL);
    g_autofree char *wanted = NULL;

    if (g_getenv("UPDATE_GOLDEN")) {
        if (*got)
            g_assert_true(g_file_set_contents(path, got, -1, NULL));
        return;
    }
    if (!g_file_get_contents(path, &wanted, NULL, NULL))
        wanted = g_strdup("");
    if (!g_str_equal(got, wanted))
        g_error("%s%s: wanted\n%s\ngot\n%s", name, end, wanted, got);
}

/* --- there and back is the same ----------------------------------------- */

static void expect_each_mac_once(const char *definition)
{
    g_autoptr(xmlDoc) doc = xml_read(definition, strlen(definition), "domain", NULL);
    g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);

    for (const xmlNode *n = xml_child(xml_child(xmlDocGetRootElement(doc), "devices"), "interface"); n;
         n = xml_next(n)) {
        char *mac = xml_attr(xml_child(n, "mac"), "address");

        if (mac)
            g_assert_true(g_hash_table_add(seen, mac));
    }
}

static void expect_way_back(const char *original, const char *there, const Mapping *mapping)
{
    g_autoptr(Host) alpha = world_alpha();
    g_autoptr(WorldDisks) disks = world_disks(there);
    TranslateInput in = world_back(alpha, mapping, disks);
    g_autoptr(GPtrArray) remarks = NULL;
    g_autoptr(GError) error = NULL;
    g_autofree char *back = translate_definition(there, &in, &remarks, &error);
    g_autofree char *said = remarks_as_text(remarks);

    g_assert_no_error(error);
    if (!back)
        g_error("the way back is refused: %s", said);
    world_expect_same(back, original);
}

/* --- each ---------------------------------------------------------------- */

static void test_one(gconstpointer data)
{
    const char *name = data;
    g_autofree char *path = g_strconcat(FOLDER "/", name, ".in.xml", NULL);
    g_autofree char *definition = NULL;
    g_autoptr(Host) beta = world_beta();
    g_autoptr(Mapping) mapping = world_mapping();
    g_autoptr(WorldDisks) disks = NULL;
    g_autoptr(GPtrArray) remarks = NULL;
    g_autoptr(GError) error = NULL;
    g_autofree char *out = NULL;
    g_autofree char *said = NULL;
    TranslateInput in;

    g_assert_true(g_file_get_contents(path, &definition, NULL, NULL));
    disks = world_disks(definition);
    in = world_there(beta, mapping, disks);
    out = translate_definition(definition, &in, &remarks, &error);
    g_assert_no_error(error);
    said = remarks_as_text(remarks);
    compare(name, ".remarks", said);
    g_assert_cmpint(out != NULL, ==, remarks_errors(remarks) == 0);
    if (!out)
        return;
    compare(name, ".out.xml", out);
    expect_each_mac_once(out);
    expect_way_back(definition, out, mapping);
}

int main(int argc, char **argv)
{
    g_autoptr(GPtrArray) names = world_golden();

    g_test_init(&argc, &argv, NULL);
    g_assert_cmpuint(names->len, >=, 30);
    for (guint i = 0; i < names->len; i++) {
        g_autofree char *test = g_strconcat("/netmap/golden/", names->pdata[i], NULL);

        g_test_add_data_func(test, names->pdata[i], test_one);
    }
    return g_test_run();
}

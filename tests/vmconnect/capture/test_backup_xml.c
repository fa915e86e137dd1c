/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/base/error.h"
#include "vmconnect/capture/backup_xml.h"

#define ID_A "11111111-2222-4333-8444-555555555555"
#define ID_B "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee"

static Id id(const char *text)
{
    Id ret;

    g_assert_true(id_parse(text, &ret, NULL));
    return ret;
}

static void expect_golden(const char *name, const char *got)
{
    g_autofree char *path = g_build_filename(TEST_DATA, "golden", name, NULL);
    g_autofree char *want = NULL;

    if (g_getenv("UNDERSTUDY_REGENERATE")) {
        g_assert_true(g_file_set_contents(path, got, -1, NULL));
        return;
    }
    g_assert_true(g_file_get_contents(path, &want, NULL, NULL));
    g_assert_cmpstr(got, ==, want);
}

static void test_names(void)
{
    Id back;

    g_assert_cmpstr(CHECKPOINT_NAME(id(ID_A)), ==, "understudy-" ID_A);
    g_assert_true(checkpoint_name_parse("understudy-" ID_A, &back));
    g_assert_true(id_equal(back, id(ID_A)));
    g_assert_false(checkpoint_name_parse("understudy-", &back));
    g_assert_false(checkpoint_name_parse("understudy-web1", &back));
    g_assert_false(checkpoint_name_parse(ID_A, &back));
    g_assert_false(checkpoint_name_parse("understudy-AAAAAAAA-BBBB-4CCC-8DDD-EEEEEEEEEEEE", &back));
    g_assert_false(checkpoint_name_parse("virtnbdbackup.0", &back));
}

static void test_backup(void)
{
    const BackupXmlDisk disks[] = {
        {.target = "vda", .scratch = "/scratch/a & b's <\"1\">", .since = id(ID_A)},
        {.target = "vdb", .scratch = "/scratch/vdb"},
    };
    g_autofree char *xml = backup_xml("/run/u's & co/job.nbd", disks, G_N_ELEMENTS(disks));

    expect_golden("backup.xml", xml);
}

static void test_checkpoint(void)
{
    const char *const targets[] = {"vda", "sdb"};
    g_autofree char *xml = checkpoint_xml(id(ID_B), "1 vda=1:2 & more", targets, 2);

    expect_golden("checkpoint.xml", xml);
}

static void test_redefine(void)
{
    const char *const targets[] = {"vda"};
    const char *domain = "<domain type='qemu'>\n  <name>a &amp; b</name>\n</domain>\n";
    g_autofree char *first = checkpoint_redefine_xml(id(ID_A), NULL, NULL, 1700000000, targets, 1, domain);
    g_autofree char *next =
        checkpoint_redefine_xml(id(ID_B), "1 vda=1:2", "other tool's & own", 1700000001, targets, 1, domain);

    expect_golden("redefine_first.xml", first);
    expect_golden("redefine_next.xml", next);
}

static void test_read_sizes(void)
{
    const char *xml =
        "<domaincheckpoint><name>understudy-" ID_A "</name><creationTime>1</creationTime><disks>"
        "<disk name='vda' checkpoint='bitmap' bitmap='understudy-" ID_A "' size='131072'/>"
        "<disk name='vdb' checkpoint='bitmap' bitmap='x'/>"
        "<disk name='sda' checkpoint='no'/></disks></domaincheckpoint>";
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) disks = checkpoint_xml_disks(xml, &error);
    const CheckpointDisk *d;

    g_assert_no_error(error);
    g_assert_cmpuint(disks->len, ==, 3);
    d = disks->pdata[0];
    g_assert_cmpstr(d->target, ==, "vda");
    g_assert_true(d->tracked);
    g_assert_cmpuint(d->size_bytes, ==, 131072);
    d = disks->pdata[1];
    g_assert_true(d->tracked);
    g_assert_cmpuint(d->size_bytes, ==, G_MAXUINT64);
    d = disks->pdata[2];
    g_assert_false(d->tracked);
}

static void test_read_refuses(void)
{
    static const char *const BAD[] = {
        "", "<domain/>", "<domaincheckpoint>",
        "<domaincheckpoint><disks><disk checkpoint='no'/></disks></domaincheckpoint>",
        "<!DOCTYPE x [<!ENTITY e 'f'>]><domaincheckpoint/>"};

    for (guint i = 0; i < G_N_ELEMENTS(BAD); i++) {
        g_autoptr(GError) error = NULL;

        g_assert_null(checkpoint_xml_disks(BAD[i], &error));
        g_assert_error(error, US_ERROR, US_ERROR_USAGE);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/backup_xml/names", test_names);
    g_test_add_func("/backup_xml/backup", test_backup);
    g_test_add_func("/backup_xml/checkpoint", test_checkpoint);
    g_test_add_func("/backup_xml/redefine", test_redefine);
    g_test_add_func("/backup_xml/sizes", test_read_sizes);
    g_test_add_func("/backup_xml/refuses", test_read_refuses);
    return g_test_run();
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Is a disk still the one it was? Real files, definitions as libvirt prints them. */
#include "vmconnect/capture/disk_files.h"

#include <glib/gstdio.h>
#include <string.h>

static char *dir;

static char *path_of(const char *name)
{
    return g_build_filename(dir, name, NULL);
}

static void make(const char *name)
{
    g_autofree char *path = path_of(name);

    g_assert_true(g_file_set_contents(path, name, -1, NULL));
}

/* "b" is on top of "a": "b a"; a copy to "c" runs: "b a>c". */
static char *disk_xml(const char *target, const char *chain)
{
    g_auto(GStrv) sides = g_strsplit(chain, ">", 2);
    g_auto(GStrv) names = g_strsplit(sides[0], " ", -1);
    g_autoptr(GString) xml = g_string_new(NULL);
    guint depth = g_strv_length(names);

    g_string_append_printf(xml, "<disk type='file'><driver type='qcow2'/><target dev='%s'/>", target);
    for (guint i = 0; i < depth; i++)
        g_string_append_printf(xml, "%s<source file='%s/%s'/>",
                               i ? "<backingStore type='file'><format type='qcow2'/>" : "", dir, names[i]);
    for (guint i = 1; i < depth; i++)
        g_string_append(xml, "</backingStore>");
    if (sides[1])
        g_string_append_printf(xml, "<mirror type='file' job='copy'><source file='%s/%s'/></mirror>", dir,
                               sides[1]);
    g_string_append(xml, "</disk>");
    return g_strdup(xml->str);
}

static GPtrArray *read_vda(const char *chain)
{
    const char *const targets[] = {"vda"};
    g_autofree char *disk = disk_xml("vda", chain);
    g_autofree char *xml = g_strdup_printf("<domain><devices>%s</devices></domain>", disk);

    return disk_files_read(xml, targets, 1);
}

static void test_continues(void)
{
    static const struct {
        const char *what, *before, *now;
        gboolean same;
    } CASES[] = {
        {"nothing happened", "a", "a", TRUE},
        {"a snapshot", "a", "b a", TRUE},
        {"a commit", "b a", "a", TRUE},
        {"a commit and another snapshot", "b a", "c a", FALSE},
        {"a copy that was seen", "a>c", "c", TRUE},
        {"a copy that was not", "a", "c", FALSE},
        {"another image", "a", "b", FALSE},
        {"another image on the same one", "b a", "c a", FALSE},
        {"off: the image alone is named", "b a", "b", TRUE},
    };

    for (guint i = 0; i < G_N_ELEMENTS(CASES); i++) {
        g_autoptr(GPtrArray) before = read_vda(CASES[i].before);
        g_autoptr(GPtrArray) now = read_vda(CASES[i].now);

        g_test_message("%s", CASES[i].what);
        g_assert_cmpint(disk_files_continue(before->pdata[0], now->pdata[0]), ==, CASES[i].same);
    }
}

/* Under the same name, and with the same text in it. */
static void test_replaced(void)
{
    g_autofree char *path = path_of("a");
    g_autofree char *aside = path_of("aside");
    g_autoptr(GPtrArray) before = read_vda("a");
    g_autoptr(GPtrArray) now = NULL;

    g_assert_cmpint(g_rename(path, aside), ==, 0);
    make("a");
    now = read_vda("a");
    g_assert_false(disk_files_continue(before->pdata[0], now->pdata[0]));
    g_clear_pointer(&now, g_ptr_array_unref);
    now = read_vda("aside");
    g_assert_true(disk_files_continue(before->pdata[0], now->pdata[0]));
}

static void test_unknown(void)
{
    g_autoptr(GPtrArray) missing = read_vda("missing");
    const char *const targets[] = {"vda", "vdb"};
    g_autofree char *disk = disk_xml("vdb", "a");
    g_autofree char *xml =
        g_strdup_printf("<domain><devices><disk><driver type='raw'/><source dev='/dev/null'/>"
                        "<target dev='vda'/></disk>%s</devices></domain>",
                        disk);
    g_autoptr(GPtrArray) list = disk_files_read(xml, targets, 2);

    g_assert_cmpuint(missing->len, ==, 0);
    g_assert_null(disk_files_find(list, "vda"));
    g_assert_nonnull(disk_files_find(list, "vdb"));
}

static void test_text(void)
{
    static const char *const BAD[] = {"",           "2 vda=1:2", "1 vda",      "1 vda=",      "1 vda=1",
                                      "1 vda=1:2,", "1 vda=1:x", "1  vda=1:2", "my own words"};
    g_autoptr(GPtrArray) list = read_vda("b a");
    g_autofree char *text = disk_files_to_text(list);
    g_autoptr(GPtrArray) again = disk_files_from_text(text);
    g_autofree char *second = disk_files_to_text(again);

    g_assert_cmpstr(text, ==, second);
    g_assert_true(disk_files_continue(list->pdata[0], disk_files_find(again, "vda")));
    for (guint i = 0; i < G_N_ELEMENTS(BAD); i++)
        g_assert_null(disk_files_from_text(BAD[i]));
}

/* The machine's first disk, if it has one that can be looked at: the same each time, and no other. */
static void test_block_device(void)
{
    static const char *const DEVICES[] = {"/dev/vda", "/dev/sda", "/dev/nvme0n1", "/dev/loop0"};
    FileId id, again, file;
    gboolean seen = FALSE;

    g_assert_true(file_id_read("/etc/passwd", &file));
    for (guint i = 0; i < G_N_ELEMENTS(DEVICES); i++) {
        if (!file_id_read(DEVICES[i], &id))
            continue;
        seen = TRUE;
        g_assert_true(file_id_read(DEVICES[i], &again));
        g_assert_true(file_id_equal(id, again));
        g_assert_false(file_id_equal(id, file));
    }
    g_assert_false(file_id_read("/dev/null", &id));
    if (!seen)
        g_test_skip("no block device here");
}

int main(int argc, char **argv)
{
    static const char *const NAMES[] = {"a", "b", "c", "aside"};
    int status;

    g_test_init(&argc, &argv, NULL);
    dir = g_dir_make_tmp("disk-files-XXXXXX", NULL);
    for (guint i = 0; i + 1 < G_N_ELEMENTS(NAMES); i++)
        make(NAMES[i]);
    g_test_add_func("/disk_files/continues", test_continues);
    g_test_add_func("/disk_files/replaced", test_replaced);
    g_test_add_func("/disk_files/unknown", test_unknown);
    g_test_add_func("/disk_files/text", test_text);
    g_test_add_func("/disk_files/block-device", test_block_device);
    status = g_test_run();
    for (guint i = 0; i < G_N_ELEMENTS(NAMES); i++) {
        g_autofree char *path = path_of(NAMES[i]);

        g_unlink(path);
    }
    g_rmdir(dir);
    g_free(dir);
    return status;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/base/error.h"
#include "vmconnect/image/qcow2.h"
#include "vmconnect/image/signature.h"

#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

static void test_facts(void)
{
    static const char TEXT[] =
        "{\"virtual-size\": 1048576, \"filename\": \"x\", \"cluster-size\": 65536, \"format\": \"qcow2\","
        " \"actual-size\": 200704, \"backing-filename\": \"b.qcow2\", \"backing-filename-format\": \"qcow2\","
        " \"dirty-flag\": true, \"encrypted\": true, \"snapshots\": [{\"id\": \"1\", \"name\": \"s1\"}],"
        " \"format-specific\": {\"type\": \"qcow2\", \"data\": {\"compat\": \"1.1\", \"corrupt\": true,"
        " \"data-file\": \"d.raw\", \"bitmaps\": [{\"flags\": [\"in-use\", \"auto\"], \"name\": \"b0\","
        " \"granularity\": 65536}, {\"flags\": [], \"name\": \"b1\", \"granularity\": 4096}]}}}";
    g_autoptr(GError) error = NULL;
    g_autoptr(Qcow2Facts) f = qcow2_facts_from_json(TEXT, strlen(TEXT), &error);
    const Qcow2Bitmap *b;

    g_assert_no_error(error);
    g_assert_cmpstr(f->format, ==, "qcow2");
    g_assert_cmpuint(f->size_bytes, ==, 1048576);
    g_assert_cmpuint(f->file_bytes, ==, 200704);
    g_assert_cmpuint(f->cluster_bytes, ==, 65536);
    g_assert_cmpstr(f->compat, ==, "1.1");
    g_assert_cmpstr(f->backing, ==, "b.qcow2");
    g_assert_cmpstr(f->backing_format, ==, "qcow2");
    g_assert_cmpstr(f->data_file, ==, "d.raw");
    g_assert_true(f->dirty && f->encrypted && f->corrupt);
    g_assert_cmpuint(f->snapshots->len, ==, 1);
    g_assert_cmpstr(f->snapshots->pdata[0], ==, "s1");
    b = qcow2_facts_bitmap(f, "b0");
    g_assert_true(b->enabled && b->in_use);
    b = qcow2_facts_bitmap(f, "b1");
    g_assert_cmpuint(b->granularity_bytes, ==, 4096);
    g_assert_false(b->enabled || b->in_use);
    g_assert_null(qcow2_facts_bitmap(f, "b2"));
}

static void test_facts_refuse(void)
{
    static const char *const BAD[] = {"",
                                      "[]",
                                      "{}",
                                      "{\"format\": \"qcow2\"}",
                                      "{\"format\": 1, \"virtual-size\": 1}",
                                      "{\"format\": \"qcow2\", \"virtual-size\": \"1\"}"};

    for (guint i = 0; i < G_N_ELEMENTS(BAD); i++) {
        g_autoptr(GError) error = NULL;

        g_assert_null(qcow2_facts_from_json(BAD[i], strlen(BAD[i]), &error));
        g_assert_error(error, US_ERROR, US_ERROR_PROTOCOL);
    }
}

static void test_signature(void)
{
    g_autofree char *dir = g_dir_make_tmp("understudy-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(dir, "f", NULL);
    g_autoptr(GError) error = NULL;
    Signature a, b;

    g_assert_false(signature_read(path, &a, &error));
    g_assert_error(error, US_ERROR, US_ERROR_NOT_FOUND);
    g_clear_error(&error);
    g_assert_true(g_file_set_contents(path, "one", -1, NULL));
    g_assert_true(signature_read(path, &a, &error));
    g_assert_cmpuint(a.size_bytes, ==, 3);
    g_assert_true(signature_read(path, &b, &error));
    g_assert_true(signature_equal(&a, &b));
    /* Same size, same bytes even: another inode. */
    g_assert_true(g_file_set_contents(path, "one", -1, NULL));
    g_assert_true(signature_read(path, &b, &error));
    g_assert_false(signature_equal(&a, &b));
    g_unlink(path);
    g_rmdir(dir);
}

/* Written to in place, again and again, as fast as it goes: each time shows. */
static void test_signature_of_a_moment(void)
{
    g_autofree char *path = g_strdup("/tmp/understudy-XXXXXX");
    int fd = g_mkstemp(path);
    Signature before, now;

    g_assert_cmpint(fd, >=, 0);
    g_assert_true(signature_read_open(fd, &before, NULL));
    for (int i = 0; i < 20; i++) {
        g_assert_cmpint(pwrite(fd, &i, 1, 0), ==, 1);
        g_assert_true(i % 2 ? signature_read(path, &now, NULL) : signature_read_open(fd, &now, NULL));
        g_assert_false(signature_equal(&now, &before));
        before = now;
    }
    close(fd);
    g_unlink(path);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/image_facts/facts", test_facts);
    g_test_add_func("/image_facts/facts_refuse", test_facts_refuse);
    g_test_add_func("/image_facts/signature", test_signature);
    g_test_add_func("/image_facts/signature_of_a_moment", test_signature_of_a_moment);
    return g_test_run();
}

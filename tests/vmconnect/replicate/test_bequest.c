/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/replicate/bequest.h"

#include "tests/tree.h"
#include "vmconnect/base/error.h"

#include <glib/gstdio.h>
#include <string.h>

static Bequest *make(Id vm, const char *image)
{
    g_autoptr(Generation) g = generation_new();
    Bequest *b;
    GError *error = NULL;

    g->id = id_random();
    g->reign = (Reign){3, id_random()};
    g->sequence = 7;
    g->definition = g_strdup("<domain/>");
    generation_add_disk(g, "vda", 65536);
    b = bequest_new(vm, g);
    g_ptr_array_add(bequest_add_disk(b, "vda", 65536)->images, signed_image_read(image, "qcow2", &error));
    g_assert_no_error(error);
    return b;
}

static void test_there_and_back(void)
{
    g_autofree char *dir = g_dir_make_tmp("understudy-bequest-XXXXXX", NULL);
    g_autofree char *image = g_build_filename(dir, "web1.qcow2", NULL);
    const Id vm = id_random();
    g_autoptr(Bequest) b = NULL;
    g_autoptr(Bequest) found = NULL;
    g_autoptr(Bequest) read = NULL;
    const SignedImage *signature;
    GError *error = NULL;

    g_assert_true(g_file_set_contents(image, "disk", -1, NULL));
    g_assert_null(bequest_read(dir, vm, &error));
    g_assert_no_error(error);
    b = make(vm, image);
    bequest_write(b, dir, &error);
    g_assert_no_error(error);
    read = bequest_read(dir, vm, &error);
    g_assert_no_error(error);
    g_assert_true(read->exact);
    g_assert_true(id_equal(read->generation->id, b->generation->id));
    signature = ((const BequestDisk *)read->disks->pdata[0])->images->pdata[0];
    signed_image_check(signature, &error);
    g_assert_no_error(error);
    g_assert_true(g_file_set_contents(image, "dusk", -1, NULL)); /* another file, as long */
    g_assert_false(signed_image_check(signature, &error));
    g_assert_error(error, US_ERROR, US_ERROR_CORRUPT);
    g_clear_error(&error);
    found = bequest_new_found(vm, (Reign){4, id_random()});
    bequest_write(found, dir, &error);
    g_assert_no_error(error);
    g_clear_pointer(&read, bequest_free);
    read = bequest_read(dir, vm, &error);
    g_assert_no_error(error);
    g_assert_false(read->exact);
    g_assert_cmpuint(read->disks->len, ==, 0);
    bequest_remove(dir, vm, &error);
    g_assert_no_error(error);
    g_assert_null(bequest_read(dir, vm, &error));
    g_assert_no_error(error);
    tree_remove(dir);
}

/* One that was renamed speaks of another VM. */
static void test_of_another_vm(void)
{
    g_autofree char *dir = g_dir_make_tmp("understudy-bequest-XXXXXX", NULL);
    const Id vm = id_random(), other = id_random();
    g_autoptr(Bequest) b = bequest_new_found(vm, (Reign){1, id_random()});
    g_autofree char *name = g_strdup_printf("%s.bequest", ID_TEXT(vm));
    g_autofree char *path = g_build_filename(dir, name, NULL);
    g_autofree char *other_name = g_strdup_printf("%s.bequest", ID_TEXT(other));
    g_autofree char *other_path = g_build_filename(dir, other_name, NULL);
    GError *error = NULL;

    bequest_write(b, dir, &error);
    g_assert_no_error(error);
    g_assert_cmpint(g_rename(path, other_path), ==, 0);
    g_assert_null(bequest_read(dir, other, &error));
    g_assert_error(error, US_ERROR, US_ERROR_CORRUPT);
    g_clear_error(&error);
    tree_remove(dir);
}

static void test_refused(void)
{
#define VM "\"vm\":\"11111111-2222-4333-8444-555555555555\""
#define GENERATION                                                                                    \
    "\"generation\":{\"id\":\"21111111-2222-4333-8444-555555555555\",\"parent\":null,\"since\":null," \
    "\"term\":1,\"reign\":\"31111111-2222-4333-8444-555555555555\",\"sequence\":7,"                   \
    "\"cut_at\":\"2026-11-21T22:16:54.123Z\",\"sealed_at\":null,\"frozen\":false,"                    \
    "\"disks\":[{\"target\":\"vda\",\"size_bytes\":512}],\"definition\":\"<domain/>\"}"
#define IMAGE       \
    "{\"path\":\"/" \
    "a\",\"format\":\"qcow2\",\"file\":\"1:2\",\"length_bytes\":1,\"mtime_ns\":1,\"ctime_ns\":1}"
    static const char *const BAD[] = {
        "",
        "{}",
        "{\"format\":2," VM ",\"exact\":true," GENERATION ",\"disks\":[]}",
        "{\"format\":1," VM ",\"exact\":true," GENERATION ",\"disks\":[]}",
        "{\"format\":1," VM ",\"exact\":true," GENERATION
        ",\"disks\":[{\"target\":\"vda\",\"size_bytes\":512,"
        "\"images\":[]}]}",
        "{\"format\":1," VM ",\"exact\":true," GENERATION
        ",\"disks\":[{\"target\":\"vdb\",\"size_bytes\":512,"
        "\"images\":[" IMAGE "]}]}",
        "{\"format\":1," VM ",\"exact\":true," GENERATION
        ",\"disks\":[{\"target\":\"vda\",\"size_bytes\":1024,"
        "\"images\":[" IMAGE "]}]}",
    };
    static const char GOOD[] = "{\"format\":1," VM ",\"exact\":true," GENERATION
                               ",\"disks\":[{\"target\":\"vda\",\"size_bytes\":512,\"images\":[" IMAGE "]}]}";
    g_autoptr(Bequest) good = bequest_parse(GOOD, strlen(GOOD), NULL);

    g_assert_nonnull(good);
    for (guint i = 0; i < G_N_ELEMENTS(BAD); i++) {
        g_autoptr(GError) error = NULL;

        g_assert_null(bequest_parse(BAD[i], strlen(BAD[i]), &error));
        g_assert_nonnull(error);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/bequest/there-and-back", test_there_and_back);
    g_test_add_func("/bequest/of-another-vm", test_of_another_vm);
    g_test_add_func("/bequest/refused", test_refused);
    return g_test_run();
}

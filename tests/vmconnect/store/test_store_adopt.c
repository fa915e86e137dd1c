/* SPDX-License-Identifier: Apache-2.0 */
/* The disks that a VM was shut down on become its copy: overlays of a promotion, and images that lie elsewhere. */
#include "rig.h"

#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/image/process.h"
#include "vmconnect/store/store_internal.h"

#include <glib/gstdio.h>
#include <string.h>

static void run(const char *const *argv)
{
    GError *error = NULL;

    process_run(argv, 30000, -1, 65536, NULL, &error);
    g_assert_no_error(error);
}

/* As the guest would, had it run on @path. */
static void guest_writes(Rig *rig, guint index, const char *path, guint64 offset, guint8 value)
{
    g_autofree char *command =
        g_strdup_printf("write -P %u %" G_GUINT64_FORMAT " %u", value, offset, RIG_BLOCK);
    const char *argv[] = {"qemu-io", "-f", "qcow2", "-c", command, path, NULL};
    RigDisk *disk = rig->disks->pdata[index];

    run(argv);
    memset(disk->data + offset, value, RIG_BLOCK);
}

static GPtrArray *sign(const StoreFiles *files)
{
    GPtrArray *images = g_ptr_array_new_with_free_func((GDestroyNotify)signed_image_free);
    GError *error = NULL;

    for (guint i = 0; i < files->files->len; i++) {
        g_ptr_array_add(images, signed_image_read(files->files->pdata[i], files->formats->pdata[i], &error));
        g_assert_no_error(error);
    }
    return images;
}

/* The next generation of a reign of its own, whose contents are what the rig's disks have now. */
static Generation *final_generation(Rig *rig)
{
    Generation *g;
    RigPoint *point = g_new0(RigPoint, 1);

    rig->reign = (Reign){rig->reign.number + 1, id_random()};
    g = rig_generation(rig);
    point->generation = generation_copy(g);
    point->contents = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
    for (guint i = 0; i < rig->disks->len; i++) {
        const RigDisk *disk = rig->disks->pdata[i];

        g_ptr_array_add(point->contents, g_bytes_new(disk->data, disk->size));
    }
    g_ptr_array_add(rig->points, point);
    return g;
}

static gboolean adopt(Rig *rig, const Generation *g, GPtrArray *const *images, GError **error)
{
    StoreAdopted disks[4];

    for (guint i = 0; i < rig->disks->len; i++) {
        const RigDisk *disk = rig->disks->pdata[i];

        disks[i] = (StoreAdopted){disk->target, disk->size, images[i]};
    }
    return store_adopt(rig->store, g, disks, rig->disks->len, FALSE, error);
}

static void assert_refused(Rig *rig, const Generation *g, GPtrArray *const *images, UsError code,
                           const char *pattern)
{
    g_autoptr(GError) error = NULL;

    g_assert_false(adopt(rig, g, images, &error));
    g_assert_error(error, US_ERROR, (int)code);
    if (!g_pattern_match_simple(pattern, error->message))
        g_error("'%s' is not like '%s'", error->message, pattern);
}

static void attach_next(Rig *rig)
{
    GError *error = NULL;

    rig->reign = (Reign){rig->reign.number + 1, id_random()};
    rig->session = store_session(rig->store) + 1;
    store_attach(rig->store, rig->reign, rig->session, &error);
    g_assert_no_error(error);
}

static GPtrArray *promote(Rig *rig)
{
    GPtrArray *files = NULL;
    GError *error = NULL;

    store_promote(rig->store, ID_NIL, clock_steady_ms() + 5000, &files, &error);
    g_assert_no_error(error);
    return files;
}

/* What it wrote since it was started is a generation like all others. */
static void test_overlays(void)
{
    g_autoptr(Rig) rig = rig_new(2);
    g_autoptr(GPtrArray) files = NULL;
    g_autoptr(GPtrArray) vda = NULL;
    g_autoptr(GPtrArray) vdb = NULL;
    g_autoptr(Generation) g = NULL;
    g_autoptr(Extents) changed = NULL;
    GError *error = NULL;
    Id promoted;

    rig_open(rig);
    for (guint i = 0; i < 3; i++)
        rig_cut(rig);
    files = promote(rig);
    promoted = store_promoted(rig->store);
    guest_writes(rig, 0, ((StoreFiles *)files->pdata[0])->files->pdata[0], 3 * RIG_BLOCK, 90);
    guest_writes(rig, 0, ((StoreFiles *)files->pdata[0])->files->pdata[0], 9 * RIG_BLOCK, 0);
    vda = sign(files->pdata[0]);
    vdb = sign(files->pdata[1]);
    g = final_generation(rig);
    adopt(rig, g, (GPtrArray *[]){vda, vdb}, &error);
    g_assert_no_error(error);
    adopt(rig, g, (GPtrArray *[]){vda, vdb}, &error); /* it may be asked again */
    g_assert_no_error(error);
    g_assert_true(id_is_nil(store_promoted(rig->store)));
    g_assert_true(id_equal(store_tip(rig->store)->id, g->id));
    g_assert_true(id_equal(store_tip(rig->store)->parent, promoted));
    rig_check_points(rig);
    changed = store_changed_since(rig->store, promoted, "vda", &error);
    g_assert_no_error(error);
    g_assert_cmpuint(extents_bytes(changed), ==, 2 * RIG_BLOCK);
    g_assert_true(extents_at(changed, 0).offset == 3 * RIG_BLOCK);
    rig_close(rig);
    rig_open(rig); /* in the reign that ended: nobody else speaks in it, and nothing is lost */
    attach_next(rig);
    for (guint i = 0; i < 3; i++)
        rig_cut(rig);
    store_set_retention(rig->store, (RetentionPolicy){.newest = 2});
    rig_settle(rig, 30000);
    rig_check_points(rig);
}

/* @path is made, or grown. */
static void size_image(const char *verb, const char *path, guint64 size)
{
    g_autofree char *bytes = g_strdup_printf("%" G_GUINT64_FORMAT, size);
    const char *create[] = {"qemu-img", "create", "-q", "-f", "qcow2", path, bytes, NULL};
    const char *resize[] = {"qemu-img", "resize", "-q", "-f", "qcow2", path, bytes, NULL};

    run(g_str_equal(verb, "create") ? create : resize);
}

/* While it ran here, its user gave it a disk, and made another one larger. */
static void test_disks_that_came_and_grew(void)
{
    g_autoptr(Rig) rig = rig_new(1);
    g_autoptr(GPtrArray) files = NULL;
    g_autoptr(GPtrArray) vda = NULL;
    g_autoptr(GPtrArray) vdb = g_ptr_array_new_with_free_func((GDestroyNotify)signed_image_free);
    g_autofree char *path = NULL;
    g_autoptr(Generation) g = NULL;
    const char *top;
    GError *error = NULL;

    rig_open(rig);
    for (guint i = 0; i < 2; i++)
        rig_cut(rig);
    files = promote(rig);
    top = ((StoreFiles *)files->pdata[0])->files->pdata[0];
    rig_resize_disk(rig, "vda", 2 * (guint64)RIG_DISK);
    size_image("resize", top, 2 * (guint64)RIG_DISK);
    guest_writes(rig, 0, top, RIG_DISK + RIG_BLOCK, 91);
    path = g_strconcat(rig->dir, "-vdb.qcow2", NULL);
    rig_add_disk(rig, "vdb", RIG_DISK);
    size_image("create", path, RIG_DISK);
    guest_writes(rig, 1, path, 2 * RIG_BLOCK, 92);
    vda = sign(files->pdata[0]);
    g_ptr_array_add(vdb, signed_image_read(path, "qcow2", &error));
    g_assert_no_error(error);
    g = final_generation(rig);
    adopt(rig, g, (GPtrArray *[]){vda, vdb}, &error);
    g_assert_no_error(error);
    rig_check_points(rig);
    rig_close(rig);
    rig_open(rig);
    attach_next(rig);
    for (guint i = 0; i < 4; i++)
        rig_cut(rig);
    store_set_retention(rig->store, (RetentionPolicy){.newest = 2});
    rig_settle(rig, 30000);
    rig_check_points(rig);
    g_clear_pointer(&files, g_ptr_array_unref);
    files = promote(rig);
    rig_check_files(files, rig->points->pdata[rig->points->len - 1]);
    g_assert_true(signed_image_check(vdb->pdata[0], NULL));
    store_demote(rig->store, &error);
    g_assert_no_error(error);
    /* Its user takes it away, and, when no point has it any more, what it consisted of. */
    attach_next(rig);
    rig_remove_disk(rig, "vdb");
    for (guint i = 0; i < 4; i++)
        rig_cut(rig);
    rig_settle(rig, 30000);
    rig_close(rig);
    g_unlink(path);
    rig_open(rig);
    attach_next(rig);
    rig_cut(rig);
    rig_settle(rig, 30000);
    rig_check_points(rig);
}

static void test_overlays_that_are_not_what_ran(void)
{
    g_autoptr(Rig) rig = rig_new(1);
    g_autoptr(GPtrArray) files = NULL;
    g_autoptr(GPtrArray) images = NULL;
    g_autoptr(Generation) g = NULL;
    const char *top;

    rig_open(rig);
    rig_cut(rig);
    files = promote(rig);
    top = ((StoreFiles *)files->pdata[0])->files->pdata[0];
    images = sign(files->pdata[0]);
    g = final_generation(rig);
    guest_writes(rig, 0, top, 0, 1);
    assert_refused(rig, g, &images, US_ERROR_CORRUPT, "image *.vda.qcow2 was written to, or replaced*");
    g_clear_pointer(&images, g_ptr_array_unref);
    images = sign(files->pdata[0]);
    g_ptr_array_remove_index(images, images->len - 1);
    assert_refused(rig, g, &images, US_ERROR_REFUSED, "disk vda was not shut down on the files*");
    g->reign = (Reign){1, id_random()};
    assert_refused(rig, g, &images, US_ERROR_REFUSED, "reign 1 is over*");
    g_assert_false(id_is_nil(store_promoted(rig->store)));
}

/* Nothing was written since the start: what was promoted is the tip again. */
static void test_nothing_happened(void)
{
    g_autoptr(Rig) rig = rig_new(1);
    g_autoptr(GPtrArray) files = NULL;
    g_autoptr(GPtrArray) images = NULL;
    g_autoptr(Generation) g = NULL;
    GError *error = NULL;

    rig_open(rig);
    rig_cut(rig);
    files = promote(rig);
    images = sign(files->pdata[0]);
    g = generation_copy(store_tip(rig->store));
    adopt(rig, g, &images, &error);
    g_assert_no_error(error);
    g_assert_true(id_is_nil(store_promoted(rig->store)));
    g_assert_cmpuint(rig_count_files(rig, ".qcow2"), ==, 1);
    attach_next(rig);
    rig_cut(rig);
    rig_check_points(rig);
}

static guint count_pinned(const Rig *rig)
{
    g_autoptr(GPtrArray) points = store_points(rig->store);
    guint n = 0;

    for (guint i = 0; i < points->len; i++)
        n += ((const StorePoint *)points->pdata[i])->pinned;
    return n;
}

/* What came after a point that was gone back to stands beside what the VM did since, until it is released. */
static void test_going_back_in_time(void)
{
    g_autoptr(Rig) rig = rig_new(1);
    g_autoptr(GPtrArray) files = NULL;
    g_autoptr(GPtrArray) images = NULL;
    g_autoptr(Generation) g = NULL;
    const RigPoint *old;
    GError *error = NULL;

    rig_open(rig);
    for (guint i = 0; i < 4; i++)
        rig_cut(rig);
    old = rig->points->pdata[1];
    store_promote(rig->store, old->generation->id, clock_steady_ms() + 5000, &files, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(count_pinned(rig), ==, 2);
    memcpy(((RigDisk *)rig->disks->pdata[0])->data, g_bytes_get_data(old->contents->pdata[0], NULL),
           RIG_DISK);
    guest_writes(rig, 0, ((StoreFiles *)files->pdata[0])->files->pdata[0], 0, 1);
    images = sign(files->pdata[0]);
    g = final_generation(rig);
    adopt(rig, g, &images, &error);
    g_assert_no_error(error);
    attach_next(rig);
    for (guint i = 0; i < 3; i++)
        rig_cut(rig);
    store_set_retention(rig->store, (RetentionPolicy){.newest = 1});
    rig_settle(rig, 30000);
    rig_check_points(rig);
    g_assert_cmpuint(count_pinned(rig), ==, 2);
    store_pin(rig->store, ((const RigPoint *)rig->points->pdata[2])->generation->id, FALSE, &error);
    g_assert_no_error(error);
    rig_settle(rig, 30000);
    rig_check_points(rig);
    store_pin(rig->store, ((const RigPoint *)rig->points->pdata[3])->generation->id, FALSE, &error);
    g_assert_no_error(error);
    rig_settle(rig, 30000);
    rig_check_points(rig);
    g_assert_cmpuint(rig_count_files(rig, ".qcow2"), ==, 2); /* one point, and a staged overlay */
}

/* Promoted in the middle of a merge that has copied something: the VM comes home all the same, and what was left lying
 * is merged then. @index: of the point that is promoted. */
static void adopt_after_a_merge(guint index)
{
    g_autoptr(Rig) rig = rig_new(1);
    g_autoptr(GPtrArray) files = NULL;
    g_autoptr(GPtrArray) images = NULL;
    g_autoptr(Generation) g = NULL;
    const RigPoint *point;
    GError *error = NULL;

    rig_open(rig);
    for (guint i = 0; i < 5; i++)
        rig_cut(rig);
    point = rig->points->pdata[index];
    store_set_retention(rig->store, (RetentionPolicy){.newest = 10});
    store_pin(rig->store, ((const RigPoint *)rig->points->pdata[3])->generation->id, TRUE, &error);
    g_assert_no_error(error);
    store_set_retention(rig->store, (RetentionPolicy){.newest = 1});
    while (!rig->store->merge.copying || rig->store->merge.copying->len) {
        store_pump(rig->store, &error);
        g_assert_no_error(error);
    }
    store_promote(rig->store, point->generation->id, clock_steady_ms() + 5000, &files, &error);
    g_assert_no_error(error);
    memcpy(((RigDisk *)rig->disks->pdata[0])->data, g_bytes_get_data(point->contents->pdata[0], NULL),
           RIG_DISK);
    guest_writes(rig, 0, ((StoreFiles *)files->pdata[0])->files->pdata[0], 0, 1);
    images = sign(files->pdata[0]);
    g = final_generation(rig);
    adopt(rig, g, &images, &error);
    g_assert_no_error(error);
    rig_check_points(rig);
    attach_next(rig);
    for (guint i = 0; i < 3; i++)
        rig_cut(rig);
    rig_settle(rig, 30000);
    rig_check_points(rig);
    for (guint i = 3; i < 5; i++) {
        store_pin(rig->store, ((const RigPoint *)rig->points->pdata[i])->generation->id, FALSE, NULL);
        rig_settle(rig, 30000);
        rig_check_points(rig);
    }
    g_assert_cmpuint(rig_count_files(rig, ".qcow2"), ==, 2); /* one point, and a staged overlay */
}

static void test_a_merge_cut_short(void)
{
    adopt_after_a_merge(4);
}

/* Two chains read from what was being merged. */
static void test_a_merge_cut_short_below_a_branch(void)
{
    adopt_after_a_merge(3);
}

/* A raw image under a qcow2 one, as a VM has them that was made from a template. */
static GPtrArray *make_images(Rig *rig, char **ret_top)
{
    g_autofree char *base = g_build_filename(rig->root, "template.raw", NULL);
    g_autoptr(GPtrArray) images = g_ptr_array_new_with_free_func((GDestroyNotify)signed_image_free);
    g_autofree char *size = g_strdup_printf("%zu", RIG_DISK);
    const char *create_base[] = {"qemu-img", "create", "-q", "-f", "raw", base, size, NULL};
    const char *write_base[] = {"qemu-io", "-f", "raw", "-c", "write -P 7 0 65536", base, NULL};
    char *top = g_build_filename(rig->root, "web1.qcow2", NULL);
    const char *create_top[] = {"qemu-img", "create", "-q",  "-f", "qcow2", "-b",
                                base,       "-F",     "raw", top,  NULL};
    GError *error = NULL;

    run(create_base);
    run(write_base);
    run(create_top);
    memset(((RigDisk *)rig->disks->pdata[0])->data, 7, RIG_BLOCK);
    guest_writes(rig, 0, top, 5 * RIG_BLOCK, 8);
    g_ptr_array_add(images, signed_image_read(top, "qcow2", &error));
    g_assert_no_error(error);
    g_ptr_array_add(images, signed_image_read(base, "raw", &error));
    g_assert_no_error(error);
    *ret_top = top;
    return g_steal_pointer(&images);
}

static void open_empty(Rig *rig)
{
    GError *error = NULL;

    rig->store = store_open(&rig->options, &error);
    g_assert_no_error(error);
}

/* They stay where they are, and as they are, whatever comes on top and is merged and promoted. */
static void test_images(void)
{
    g_autoptr(Rig) rig = rig_new(1);
    g_autofree char *top = NULL;
    g_autoptr(GPtrArray) images = make_images(rig, &top);
    g_autoptr(GPtrArray) files = NULL;
    g_autoptr(Generation) g = NULL;
    GError *error = NULL;

    open_empty(rig);
    g = final_generation(rig);
    adopt(rig, g, &images, &error);
    g_assert_no_error(error);
    rig_check_points(rig);
    attach_next(rig);
    for (guint i = 0; i < 5; i++)
        rig_cut(rig);
    store_set_retention(rig->store, (RetentionPolicy){.newest = 2});
    rig_settle(rig, 30000);
    rig_check_points(rig);
    g_assert_cmpuint(rig_count_files(rig, ".qcow2"), ==, 3); /* two points, and a staged overlay */
    rig_close(rig);
    rig_open(rig);
    rig_cut(rig);
    files = promote(rig);
    rig_check_files(files, rig->points->pdata[rig->points->len - 1]);
    g_assert_cmpstr(g_ptr_array_index(((StoreFiles *)files->pdata[0])->formats,
                                      ((StoreFiles *)files->pdata[0])->formats->len - 1),
                    ==, "raw");
    g_assert_true(signed_image_check(images->pdata[0], NULL) && signed_image_check(images->pdata[1], NULL));
}

/* Given to the VM as another disk, and written to, it is not what the points read any more. */
static void test_a_disk_that_points_read_from(void)
{
    g_autoptr(Rig) rig = rig_new(1);
    g_autofree char *top = NULL;
    g_autoptr(GPtrArray) images = make_images(rig, &top);
    g_autoptr(GPtrArray) files = NULL;
    g_autoptr(GPtrArray) vda = NULL;
    g_autoptr(Generation) first = NULL;
    g_autoptr(Generation) last = NULL;
    GError *error = NULL;

    open_empty(rig);
    first = final_generation(rig);
    adopt(rig, first, &images, &error);
    g_assert_no_error(error);
    attach_next(rig);
    rig_cut(rig);
    files = promote(rig);
    vda = sign(files->pdata[0]);
    rig_add_disk(rig, "vdb", RIG_DISK);
    last = final_generation(rig);
    assert_refused(rig, last, (GPtrArray *[]){vda, images}, US_ERROR_REFUSED,
                   "disk vdb was attached while it ran here, and * is one of the files of this copy*");
    g_assert_false(id_is_nil(store_promoted(rig->store)));
}

/* Of the @nth point, 0 being the newest. */
static guint64 changed_of(const Rig *rig, guint nth)
{
    g_autoptr(GPtrArray) points = store_points(rig->store);

    return ((const StorePoint *)points->pdata[nth])->changed_bytes;
}

/* How much of a branch nothing else holds is where the copy on it differs. */
static void test_branch(void)
{
    g_autoptr(Rig) rig = rig_new(1);
    g_autofree char *top = NULL;
    g_autoptr(GPtrArray) images = make_images(rig, &top);
    g_autoptr(Generation) g = NULL;
    GError *error = NULL;
    StoreAdopted disk = {"vda", RIG_DISK, images};
    guint64 own, differs;

    open_empty(rig);
    g_assert_cmpuint(store_branches(rig->store).count, ==, 0);
    g_assert_cmpint(store_branches(rig->store).bytes, ==, 0);
    g = final_generation(rig);
    store_adopt(rig->store, g, &disk, 1, TRUE, &error);
    g_assert_no_error(error);
    own = changed_of(rig, 0);
    g_assert_cmpuint(own, >, 0);
    g_assert_cmpuint(store_branches(rig->store).count, ==, 1);
    g_assert_cmpint(store_branches(rig->store).bytes, ==, -1);
    attach_next(rig);
    rig_cut(rig);
    differs = changed_of(rig, 0);
    g_assert_cmpint(store_branches(rig->store).bytes, ==, MIN(own, differs));
    rig_close(rig);
    rig_open(rig);
    g_assert_cmpint(store_branches(rig->store).bytes, ==, MIN(own, differs));
    store_pin(rig->store, g->id, FALSE, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(store_branches(rig->store).count, ==, 0);
}

/* …and never more than it has of its own, however much is merged into the copy on it. */
static void test_branch_of_little(void)
{
    g_autoptr(Rig) rig = rig_new(1);
    g_autoptr(GPtrArray) files = NULL;
    g_autoptr(GPtrArray) images = NULL;
    g_autoptr(Generation) g = NULL;
    GError *error = NULL;
    StoreAdopted disk = {"vda", RIG_DISK, NULL};

    rig_open(rig);
    rig_cut(rig);
    files = promote(rig);
    guest_writes(rig, 0, ((StoreFiles *)files->pdata[0])->files->pdata[0], 3 * RIG_BLOCK, 90);
    disk.images = images = sign(files->pdata[0]);
    g = final_generation(rig);
    store_adopt(rig->store, g, &disk, 1, TRUE, &error);
    g_assert_no_error(error);
    attach_next(rig);
    for (guint i = 0; i < 20; i++)
        rig_cut(rig);
    store_set_retention(rig->store, (RetentionPolicy){.newest = 1});
    rig_settle(rig, 30000);
    g_assert_cmpuint(changed_of(rig, 0), >, changed_of(rig, 1));
    g_assert_cmpint(store_branches(rig->store).bytes, ==, changed_of(rig, 1));
}

/* Of what others did to an image nothing is believed, and nothing is thrown away. */
static void test_images_that_changed(void)
{
    g_autoptr(Rig) rig = rig_new(1);
    g_autofree char *top = NULL, *aside = NULL;
    g_autoptr(GPtrArray) files = NULL;
    g_autoptr(GPtrArray) images = make_images(rig, &top);
    g_autoptr(Generation) g = NULL;
    GError *error = NULL;

    open_empty(rig);
    g = final_generation(rig);
    guest_writes(rig, 0, top, 0, 1);
    assert_refused(rig, g, &images, US_ERROR_CORRUPT, "image *web1.qcow2 was written to*");
    g_assert_null(store_tip(rig->store));
    signed_image_free(images->pdata[0]);
    images->pdata[0] = signed_image_read(top, "qcow2", &error);
    g_assert_no_error(error);
    adopt(rig, g, &images, &error);
    g_assert_no_error(error);
    g_assert_true(store_has_adopted(rig->store, g->id));
    attach_next(rig);
    rig_cut(rig);
    /* Another owner or mode is no doubt about what is in it. */
    g_assert_cmpint(g_chmod(top, 0600), ==, 0);
    g_assert_cmpint(g_chmod(top, 0640), ==, 0);
    rig_cut(rig);
    /* That it is away says nothing better of what lies on it. */
    aside = g_strconcat(top, ".aside", NULL);
    g_assert_cmpint(g_rename(top, aside), ==, 0);
    g_assert_null(store_lease_share(rig->store, store_tip(rig->store)->id, &files, &error));
    g_assert_error(error, US_ERROR, US_ERROR_CORRUPT);
    g_assert_nonnull(strstr(error->message, top));
    g_clear_error(&error);
    g_assert_cmpint(g_rename(aside, top), ==, 0);
    g_assert_true(g_file_set_contents(top, "an old copy was restored", -1, NULL));
    g_assert_false(store_confirm(rig->store, rig->session, store_tip(rig->store)->id, 1, &error));
    g_assert_error(error, US_ERROR, US_ERROR_CORRUPT);
    g_clear_error(&error);
    rig_close(rig);
    g_assert_null(store_open(&rig->options, &error));
    g_assert_error(error, US_ERROR, US_ERROR_CORRUPT);
    g_assert_nonnull(strstr(error->message, "was written to, or replaced"));
    g_clear_error(&error);
}

static void test_images_beside_a_copy(void)
{
    g_autoptr(Rig) rig = rig_new(1);
    g_autofree char *top = NULL;
    g_autoptr(GPtrArray) images = make_images(rig, &top);
    g_autoptr(Generation) g = NULL;
    GError *error = NULL;

    rig_open(rig);
    rig_cut(rig);
    g = final_generation(rig);
    assert_refused(rig, g, &images, US_ERROR_REFUSED, "a copy of this VM from before is in *");
    store_purge(g_steal_pointer(&rig->store), &error);
    g_assert_no_error(error);
    open_empty(rig);
    adopt(rig, g, &images, &error);
    g_assert_no_error(error);
    store_purge(g_steal_pointer(&rig->store), &error);
    g_assert_no_error(error);
    g_assert_true(signed_image_check(images->pdata[0], NULL) && signed_image_check(images->pdata[1], NULL));
}

static void assert_given(Rig *rig, const char *overlay, const char *home)
{
    GError *error = NULL;
    g_autoptr(GPtrArray) given = store_given(rig->store, &error);
    const StoreGiven *disk;

    g_assert_no_error(error);
    g_assert_cmpuint(given->len, ==, 1);
    disk = given->pdata[0];
    g_assert_cmpstr(disk->target, ==, "vda");
    g_assert_cmpstr(disk->overlay, ==, overlay);
    g_assert_cmpstr(disk->home, ==, home);
}

/* Which disks the VM was started on is known until the last of its files goes. */
static void test_given(void)
{
    g_autoptr(Rig) rig = rig_new(1);
    g_autoptr(GPtrArray) images = NULL;
    g_autoptr(GPtrArray) files = NULL;
    g_autoptr(Generation) g = NULL;
    g_autofree char *top = NULL;
    const char *overlay;
    GError *error = NULL;

    images = make_images(rig, &top);
    open_empty(rig);
    g = final_generation(rig);
    adopt(rig, g, &images, &error);
    g_assert_no_error(error);
    attach_next(rig);
    rig_cut(rig);
    files = promote(rig);
    overlay = ((const StoreFiles *)files->pdata[0])->files->pdata[0];
    assert_given(rig, overlay, top);
    store_dissolve(rig->store, &error);
    g_assert_no_error(error);
    assert_given(rig, overlay, top);
    rig_close(rig);
    open_empty(rig);
    assert_given(rig, overlay, top);
    store_clear(rig->store, &error);
    g_assert_no_error(error);
    rig_close(rig);
    g_assert_false(g_file_test(rig->dir, G_FILE_TEST_EXISTS));
}

/* Given up to a VM that leaves again before it runs from its own images alone. */
static GPtrArray *come_home(Rig *rig)
{
    GPtrArray *files = promote(rig);
    GError *error = NULL;

    store_dissolve(rig->store, &error);
    g_assert_no_error(error);
    rig_close(rig);
    open_empty(rig);
    guest_writes(rig, 0, ((StoreFiles *)files->pdata[0])->files->pdata[0], 2 * RIG_BLOCK, 42);
    return files;
}

static void leave_with(Rig *rig, GPtrArray *const *images, guint newest)
{
    g_autoptr(Generation) g = final_generation(rig);
    GError *error = NULL;

    adopt(rig, g, images, &error);
    g_assert_no_error(error);
    rig_check_points(rig);
    rig_close(rig);
    rig_open(rig);
    attach_next(rig);
    for (guint i = 0; i < 4; i++)
        rig_cut(rig);
    store_set_retention(rig->store, (RetentionPolicy){.newest = newest});
    rig_settle(rig, 30000);
    rig_check_points(rig);
}

static void leave(Rig *rig, GPtrArray *images, guint newest)
{
    leave_with(rig, &images, newest);
}

/* What it was given stays no longer than that of any copy, however often it does so, and its images are never written to. */
static void test_never_home_for_long(void)
{
    g_autoptr(Rig) rig = rig_new(1);
    g_autofree char *top = NULL;
    g_autoptr(GPtrArray) images = make_images(rig, &top);

    open_empty(rig);
    leave(rig, images, 1);
    for (guint trip = 0; trip < 5; trip++) {
        g_autoptr(GPtrArray) files = come_home(rig);
        g_autoptr(GPtrArray) now = sign(files->pdata[0]);

        leave(rig, now, 1);
        g_assert_cmpuint(rig_count_files(rig, ".qcow2"), ==, 2); /* one point, and a staged overlay */
    }
    g_assert_true(signed_image_check(images->pdata[0], NULL) && signed_image_check(images->pdata[1], NULL));
}

/* Nor if there are never so many points that one of them is given up. */
static void test_never_long_enough_for_a_merge(void)
{
    g_autoptr(Rig) rig = rig_new(2);
    guint most = 0;

    rig_open(rig);
    rig_cut(rig);
    for (guint trip = 0; trip < 12; trip++) {
        g_autoptr(GPtrArray) files = come_home(rig);
        g_autoptr(GPtrArray) vda = sign(files->pdata[0]);
        g_autoptr(GPtrArray) vdb = sign(files->pdata[1]);

        leave_with(rig, (GPtrArray *[]){vda, vdb}, 24);
        most = MAX(most, rig_count_files(rig, ".vda.qcow2"));
    }
    g_assert_cmpuint(most, <, 24);
}

/* A file of somebody else's stands on it: then it is as that has it. */
static void test_below_anothers_file(void)
{
    g_autoptr(Rig) rig = rig_new(1);
    g_autofree char *snapshot = g_build_filename(rig->root, "snapshot.qcow2", NULL);
    g_autoptr(GPtrArray) files = NULL;
    g_autoptr(GPtrArray) now = NULL;
    GError *error = NULL;
    const char *overlay;

    rig_open(rig);
    rig_cut(rig);
    files = come_home(rig);
    overlay = ((StoreFiles *)files->pdata[0])->files->pdata[0];
    run((const char *[]){"qemu-img", "create", "-q", "-f", "qcow2", "-b", overlay, "-F", "qcow2", snapshot,
                         NULL});
    now = sign(files->pdata[0]);
    g_ptr_array_insert(now, 0, signed_image_read(snapshot, "qcow2", &error));
    g_assert_no_error(error);
    leave(rig, now, 1);
    for (guint i = 0; i < now->len; i++)
        g_assert_true(signed_image_check(now->pdata[i], NULL));
}

#define ADD(name, function) g_test_add_func("/store-adopt/" name, function)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD("overlays", test_overlays);
    ADD("disks-that-came-and-grew", test_disks_that_came_and_grew);
    ADD("overlays-that-are-not-what-ran", test_overlays_that_are_not_what_ran);
    ADD("nothing-happened", test_nothing_happened);
    ADD("going-back-in-time", test_going_back_in_time);
    ADD("a-merge-cut-short", test_a_merge_cut_short);
    ADD("a-merge-cut-short-below-a-branch", test_a_merge_cut_short_below_a_branch);
    ADD("images", test_images);
    ADD("a-disk-that-points-read-from", test_a_disk_that_points_read_from);
    ADD("branch", test_branch);
    ADD("branch-of-little", test_branch_of_little);
    ADD("never-home-for-long", test_never_home_for_long);
    ADD("never-long-enough-for-a-merge", test_never_long_enough_for_a_merge);
    ADD("below-anothers-file", test_below_anothers_file);
    ADD("images-that-changed", test_images_that_changed);
    ADD("given", test_given);
    ADD("images-beside-a-copy", test_images_beside_a_copy);
    return g_test_run();
}

/* SPDX-License-Identifier: Apache-2.0 */
/* qemu-img behind qcow2.h, and the reader of stopped VMs. */
#include "lab.h"

#include "vmconnect/base/error.h"
#include "vmconnect/image/daemon_reader.h"
#include "vmconnect/image/image_lock.h"
#include "vmconnect/image/process.h"
#include "vmconnect/image/qcow2.h"
#include "vmconnect/image/signature.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

static void qemu_create(const Lab *lab, const char *name, const char *size)
{
    g_autofree char *path = lab_path(lab, name);

    lab_run("qemu-img", "create", "-q", "-f", "qcow2", path, size);
}

static void qemu_io(const Lab *lab, const char *name, const char *command)
{
    g_autofree char *path = lab_path(lab, name);

    lab_run("qemu-io", "-f", "qcow2", "-c", command, path);
}

static Qcow2Facts *facts(const Lab *lab, const char *name)
{
    g_autofree char *path = lab_path(lab, name);
    g_autoptr(GError) error = NULL;
    Qcow2Facts *f = qcow2_read(path, "qcow2", LAB_TIMEOUT_MS, -1, &error);

    g_assert_no_error(error);
    return f;
}

static void test_bitmaps_and_backing(void)
{
    g_auto(Lab) lab = {0};
    g_autofree char *path = NULL;
    g_autoptr(GError) error = NULL;
    OwnWrite own;
    Qcow2Facts *f;

    lab_init(&lab, FALSE);
    qemu_create(&lab, "a, \"b\".qcow2", "64M");
    path = lab_path(&lab, "a, \"b\".qcow2");
    g_assert_true(qcow2_add_bitmap(path, "understudy-1", LAB_TIMEOUT_MS, &own, &error));
    g_assert_no_error(error);
    g_assert_false(qcow2_add_bitmap(path, "understudy-1", LAB_TIMEOUT_MS, &own, &error));
    g_assert_error(error, US_ERROR, US_ERROR_FAILED);
    g_clear_error(&error);
    g_assert_true(qcow2_set_backing(path, "gone.qcow2", LAB_TIMEOUT_MS, &error));
    g_assert_no_error(error);
    f = facts(&lab, "a, \"b\".qcow2");
    g_assert_cmpstr(f->backing, ==, "gone.qcow2");
    g_assert_cmpstr(f->backing_format, ==, "qcow2");
    g_assert_true(qcow2_facts_bitmap(f, "understudy-1")->enabled);
    g_assert_cmpuint(qcow2_facts_bitmap(f, "understudy-1")->granularity_bytes, ==, 64 * KIB);
    qcow2_facts_free(f);

    /* The backing file is not there: nothing here opens it, and it stays recorded. */
    g_assert_true(qcow2_add_bitmap(path, "-b", LAB_TIMEOUT_MS, &own, &error));
    g_assert_true(qcow2_remove_bitmap(path, "understudy-1", LAB_TIMEOUT_MS, &own, &error));
    g_assert_no_error(error);
    f = facts(&lab, "a, \"b\".qcow2");
    g_assert_cmpstr(f->backing, ==, "gone.qcow2");
    g_assert_cmpuint(f->bitmaps->len, ==, 1);
    g_assert_nonnull(qcow2_facts_bitmap(f, "-b"));
    qcow2_facts_free(f);

    g_assert_true(qcow2_set_backing(path, NULL, LAB_TIMEOUT_MS, &error));
    f = facts(&lab, "a, \"b\".qcow2");
    g_assert_null(f->backing);
    qcow2_facts_free(f);
}

static void test_facts_of_odd_images(void)
{
    g_auto(Lab) lab = {0};
    g_autofree char *path = NULL;
    g_autofree char *v2 = NULL;
    g_autoptr(Qcow2Facts) f = NULL;
    g_autoptr(Qcow2Facts) raw = NULL;
    g_autoptr(GError) error = NULL;
    OwnWrite own;

    lab_init(&lab, FALSE);
    v2 = lab_path(&lab, "v2.qcow2");
    lab_run("qemu-img", "create", "-q", "-f", "qcow2", "-o", "compat=0.10", v2, "1M");
    lab_run("qemu-img", "snapshot", "-c", "s1", v2);
    f = facts(&lab, "v2.qcow2");
    g_assert_cmpstr(f->compat, ==, "0.10");
    g_assert_cmpuint(f->snapshots->len, ==, 1);
    g_assert_false(qcow2_add_bitmap(v2, "b", LAB_TIMEOUT_MS, &own, &error));
    g_clear_error(&error);

    /* A qcow2 header in a raw disk (a guest may write one) is data, and names nothing. */
    raw = qcow2_read(v2, "raw", LAB_TIMEOUT_MS, -1, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(raw->format, ==, "raw");
    g_assert_null(raw->compat);

    path = lab_path(&lab, "junk.qcow2");
    g_assert_true(g_file_set_contents(path, "junk", -1, NULL));
    g_assert_null(qcow2_read(path, "qcow2", LAB_TIMEOUT_MS, -1, &error));
    g_assert_error(error, US_ERROR, US_ERROR_CORRUPT);
    g_clear_error(&error);
    g_assert_null(qcow2_read("/nonexistent/a.qcow2", "qcow2", LAB_TIMEOUT_MS, -1, &error));
    g_assert_error(error, US_ERROR, US_ERROR_NOT_FOUND);
    g_clear_error(&error);
    g_assert_null(qcow2_read("/tmp/\xff\xfe.qcow2", "qcow2", LAB_TIMEOUT_MS, -1, &error));
    g_assert_error(error, US_ERROR, US_ERROR_UNSUPPORTED);
}

static void test_facts_of_an_image_in_use(void)
{
    g_auto(Lab) lab = {0};
    g_autofree char *node = NULL;
    g_autofree char *path = NULL;
    g_autoptr(Qcow2Facts) f = NULL;
    g_autoptr(GError) error = NULL;
    OwnWrite own;

    lab_init(&lab, TRUE);
    node = lab_create(&lab, "a.qcow2", NULL, MIB);
    path = lab_path(&lab, "a.qcow2");
    g_assert_nonnull(node);
    f = facts(&lab, "a.qcow2");
    g_assert_cmpuint(f->size_bytes, ==, MIB);
    g_assert_false(qcow2_add_bitmap(path, "b", LAB_TIMEOUT_MS, &own, &error));
    g_assert_error(error, US_ERROR, US_ERROR_BUSY);
}

/* Whoever else comes is kept out, and what came before or after shows. */
static void test_own_writes(void)
{
    g_auto(Lab) lab = {0};
    g_autofree char *path = NULL;
    g_autoptr(GError) error = NULL;
    Signature before, between;
    OwnWrite first, second;
    int lock;

    lab_init(&lab, FALSE);
    qemu_create(&lab, "a.qcow2", "64M");
    path = lab_path(&lab, "a.qcow2");
    g_assert_true(signature_read(path, &before, &error));
    g_assert_true(qcow2_add_bitmap(path, "a", LAB_TIMEOUT_MS, &first, &error));
    g_assert_true(qcow2_add_bitmap(path, "b", LAB_TIMEOUT_MS, &second, &error));
    g_assert_no_error(error);
    g_assert_true(signature_equal(&first.before, &before));
    g_assert_true(signature_equal(&first.after, &second.before));
    g_assert_false(signature_equal(&second.before, &second.after));

    lock = image_lock_hold(path, &error);
    g_assert_no_error(error);
    g_assert_cmpint(image_lock_hold(path, NULL), ==, -1);
    g_assert_false(qcow2_remove_bitmap(path, "a", LAB_TIMEOUT_MS, &first, &error));
    g_assert_error(error, US_ERROR, US_ERROR_BUSY);
    g_clear_error(&error);
    g_assert_cmpuint(first.before.inode, ==, 0);
    g_assert_false(
        process_run((const char *const[]){"qemu-img", "resize", "-q", "-f", "qcow2", path, "128M", NULL},
                    LAB_TIMEOUT_MS, -1, 0, NULL, &error));
    g_assert_nonnull(strstr(error->message, "lock"));
    g_clear_error(&error);
    g_assert_true(signature_read(path, &between, &error));
    g_assert_true(signature_equal(&between, &second.after));
    close(lock);

    lab_run("qemu-img", "resize", "-q", "-f", "qcow2", path, "128M");
    g_assert_true(qcow2_remove_bitmap(path, "a", LAB_TIMEOUT_MS, &first, &error));
    g_assert_no_error(error);
    g_assert_false(signature_equal(&first.before, &second.after));
    g_assert_cmpint(image_lock_hold("/nonexistent/a.qcow2", &error), ==, -1);
    g_assert_error(error, US_ERROR, US_ERROR_NOT_FOUND);
}

/* The engine may be killed while its child writes. */
static void test_lock_of_a_child(void)
{
    static const char *const SLEEPER[] = {"sleep", "1000", NULL};
    g_auto(Lab) lab = {0};
    g_autofree char *path = NULL;
    g_autoptr(Process) child = NULL;
    ProcessSpec spec = {.argv = SLEEPER, .die_with_thread = TRUE};

    lab_init(&lab, FALSE);
    qemu_create(&lab, "a.qcow2", "64M");
    path = lab_path(&lab, "a.qcow2");
    spec.pass_fd = image_lock_hold(path, NULL);
    g_assert_cmpint(spec.pass_fd, >, 0);
    child = process_start(&spec, NULL);
    g_assert_nonnull(child);
    close(spec.pass_fd);
    g_assert_cmpint(image_lock_hold(path, NULL), ==, -1);
    process_kill(child, SIGKILL);
    g_assert_true(process_wait(child, LAB_TIMEOUT_MS));
    spec.pass_fd = image_lock_hold(path, NULL);
    g_assert_cmpint(spec.pass_fd, >, 0);
    close(spec.pass_fd);
}

/* base <- top with a bitmap; written to twice, the second time recorded. */
static void stopped_vm(const Lab *lab)
{
    g_autofree char *top = lab_path(lab, "top.qcow2");
    g_autoptr(GError) error = NULL;
    OwnWrite own;

    qemu_create(lab, "base.qcow2", "64M");
    qemu_io(lab, "base.qcow2", "write -P 1 0 8M");
    qemu_create(lab, "top.qcow2", "64M");
    g_assert_true(qcow2_set_backing(top, "base.qcow2", LAB_TIMEOUT_MS, &error));
    g_assert_true(qcow2_add_bitmap(top, "understudy-x", LAB_TIMEOUT_MS, &own, &error));
    g_assert_no_error(error);
    qemu_io(lab, "top.qcow2", "write -P 2 1M 64k");
    qemu_io(lab, "top.qcow2", "write -z 2M 128k");
}

static void test_reader(void)
{
    g_auto(Lab) lab = {0};
    g_autoptr(DaemonReader) reader = NULL;
    g_autofree char *base = NULL;
    g_autofree char *top = NULL;
    g_autoptr(NbdDisk) bits = NULL;
    g_autoptr(NbdDisk) disk = NULL;
    g_autoptr(Extents) all = extents_new();
    g_autoptr(Extents) dirty = extents_new();
    g_autoptr(Extents) zero = extents_new();
    g_autoptr(Extents) expected = extents_new();
    g_autoptr(GError) error = NULL;
    Signature before, after;

    lab_init(&lab, FALSE);
    stopped_vm(&lab);
    base = lab_path(&lab, "base.qcow2");
    top = lab_path(&lab, "top.qcow2");
    g_assert_true(signature_read(top, &before, &error));
    reader = daemon_reader_start(lab.run_dir, "guest", &error);
    g_assert_no_error(error);
    {
        ReaderLayer layers[] = {{top, "qcow2"}, {base, "qcow2"}};

        g_assert_false(daemon_reader_add(reader, "vdb", layers, 2, "nope", &error));
        g_assert_error(error, US_ERROR, US_ERROR_NOT_FOUND);
        g_clear_error(&error);
        g_assert_true(daemon_reader_add(reader, "vda", layers, 2, "understudy-x", &error));
        g_assert_no_error(error);
    }
    bits = lab_connect(daemon_reader_nbd_path(reader), "vda", NBD_CONTEXT_DIRTY_PREFIX "understudy-x");
    disk = lab_connect(daemon_reader_nbd_path(reader), "vda", NBD_CONTEXT_ALLOCATION);
    extents_add(all, 0, nbd_disk_size(bits));
    g_assert_true(nbd_disk_list_dirty(bits, all, dirty, LAB_TIMEOUT_MS, &error));
    g_assert_no_error(error);
    extents_add(expected, MIB, 64 * KIB);
    extents_add(expected, 2 * MIB, 128 * KIB);
    g_assert_true(extents_equal(dirty, expected));
    g_assert_true(nbd_disk_split(disk, dirty, NULL, zero, LAB_TIMEOUT_MS, &error));
    g_assert_cmpuint(extents_bytes(zero), ==, 128 * KIB);
    lab_expect(disk, 0, MIB, 1);
    lab_expect(disk, MIB, 64 * KIB, 2);
    lab_expect(disk, 2 * MIB, 128 * KIB, 0);
    g_assert_true(signature_read(top, &after, &error));
    g_assert_true(signature_equal(&before, &after)); /* reading is not writing */

    /* The owner's start is not hindered, and seen. */
    qemu_io(&lab, "top.qcow2", "write -P 9 3M 64k");
    g_assert_true(signature_read(top, &after, &error));
    g_assert_false(signature_equal(&before, &after));
}

static void test_reader_of_a_crashed_vm(void)
{
    g_auto(Lab) lab = {0};
    g_autoptr(DaemonReader) reader = NULL;
    g_autofree char *base = NULL;
    g_autofree char *top = NULL;
    g_autoptr(Qcow2Facts) f = NULL;
    g_autoptr(GError) error = NULL;
    NodeSpec below = {0};
    NodeSpec spec = {0};
    g_autofree char *node = NULL;
    g_autofree char *base_node = NULL;
    g_autoptr(NbdDisk) disk = NULL;

    lab_init(&lab, TRUE);
    stopped_vm(&lab);
    base = lab_path(&lab, "base.qcow2");
    top = lab_path(&lab, "top.qcow2");
    below.path = base;
    below.read_only = TRUE;
    g_assert_true(node_open(lab.daemon, &below, &base_node, &error));
    spec.path = top;
    spec.backing = base_node;
    g_assert_true(node_open(lab.daemon, &spec, &node, &error));
    g_assert_no_error(error);
    disk = lab_export(&lab, "vda", node, NULL);
    lab_write(disk, 4 * MIB, MIB, 4);
    lab_flush(disk);
    kill(storage_daemon_pid(lab.daemon), SIGKILL);
    storage_daemon_close(g_steal_pointer(&lab.daemon), 1000);

    f = facts(&lab, "top.qcow2");
    g_assert_true(qcow2_facts_bitmap(f, "understudy-x")->in_use);
    reader = daemon_reader_start(lab.run_dir, "guest", &error);
    g_assert_no_error(error);
    {
        ReaderLayer layers[] = {{top, "qcow2"}, {base, "qcow2"}};

        g_assert_false(daemon_reader_add(reader, "vda", layers, 2, "understudy-x", &error));
        g_assert_error(error, US_ERROR, US_ERROR_UNSUPPORTED);
        g_assert_nonnull(strstr(error->message, "inconsistent"));
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    signal(SIGPIPE, SIG_IGN);
    g_test_add_func("/image_tools/bitmaps_and_backing", test_bitmaps_and_backing);
    g_test_add_func("/image_tools/facts_of_odd_images", test_facts_of_odd_images);
    g_test_add_func("/image_tools/facts_of_an_image_in_use", test_facts_of_an_image_in_use);
    g_test_add_func("/image_tools/own_writes", test_own_writes);
    g_test_add_func("/image_tools/lock_of_a_child", test_lock_of_a_child);
    g_test_add_func("/image_tools/reader", test_reader);
    g_test_add_func("/image_tools/reader_of_a_crashed_vm", test_reader_of_a_crashed_vm);
    return g_test_run();
}

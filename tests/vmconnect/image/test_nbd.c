/* SPDX-License-Identifier: Apache-2.0 */
#include "lab.h"

#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"

#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

static void test_read_write_zero(void)
{
    g_auto(Lab) lab = {0};
    g_autofree char *node = NULL;
    g_autoptr(NbdDisk) disk = NULL;

    lab_init(&lab, TRUE);
    node = lab_create(&lab, "a.qcow2", NULL, 64 * MIB);
    disk = lab_export(&lab, "vda", node, NULL);
    g_assert_cmpuint(nbd_disk_size(disk), ==, 64 * MIB);
    g_assert_false(nbd_disk_read_only(disk));
    lab_write(disk, 0, 64 * KIB, 0xaa);
    lab_write(disk, 5 * MIB + 512, 4096, 0xbb);
    lab_zero(disk, 32 * KIB, 4 * KIB);
    lab_expect(disk, 0, 32 * KIB, 0xaa);
    lab_expect(disk, 32 * KIB, 4 * KIB, 0);
    lab_expect(disk, 36 * KIB, 28 * KIB, 0xaa);
    lab_expect(disk, 5 * MIB + 512, 4096, 0xbb);
    /* Longer than the server takes at once: cut into several commands. */
    lab_write(disk, 8 * MIB, 48 * MIB, 0xcc);
    lab_expect(disk, 8 * MIB, 48 * MIB, 0xcc);
    lab_flush(disk);
}

static void test_status(void)
{
    g_auto(Lab) lab = {0};
    g_autofree char *node = NULL;
    g_autoptr(NbdDisk) disk = NULL;
    g_autoptr(Extents) in = extents_new();
    g_autoptr(Extents) data = extents_new();
    g_autoptr(Extents) zero = extents_new();
    g_autoptr(Extents) expected = extents_new();
    g_autoptr(GError) error = NULL;

    lab_init(&lab, TRUE);
    node = lab_create(&lab, "a.qcow2", NULL, 1024 * GIB);
    disk = lab_export(&lab, "vda", node, NBD_CONTEXT_ALLOCATION);
    for (guint i = 0; i < 100; i++)
        lab_write(disk, i * 10 * GIB, 64 * KIB, 1);
    /* Only what lies inside is told; a range beyond the end is clipped; a long one takes several questions. */
    extents_add(in, 32 * KIB, 64 * KIB);
    extents_add(in, 10 * GIB, 128 * KIB);
    extents_add(in, 500 * GIB, 25 * GIB);
    extents_add(in, 1024 * GIB - 64 * KIB, GIB);
    g_assert_true(nbd_disk_split(disk, in, data, zero, LAB_TIMEOUT_MS, &error));
    g_assert_no_error(error);
    extents_add(expected, 32 * KIB, 32 * KIB);
    extents_add(expected, 10 * GIB, 64 * KIB);
    extents_add(expected, 500 * GIB, 64 * KIB);
    extents_add(expected, 510 * GIB, 64 * KIB);
    extents_add(expected, 520 * GIB, 64 * KIB);
    g_assert_true(extents_equal(data, expected));
    extents_clip(in, 1024 * GIB);
    extents_add_all(data, zero);
    g_assert_true(extents_equal(data, in));
    g_assert_cmpuint(extents_bytes(zero) + extents_bytes(expected), ==, extents_bytes(in));
}

static void test_many_ranges(void)
{
    g_auto(Lab) lab = {0};
    g_autofree char *node = NULL;
    g_autoptr(NbdDisk) disk = NULL;
    g_autoptr(Extents) in = extents_new();
    g_autoptr(Extents) data = extents_new();
    g_autoptr(GError) error = NULL;
    gint64 begin;

    lab_init(&lab, TRUE);
    node = lab_create(&lab, "a.qcow2", NULL, GIB);
    disk = lab_export(&lab, "vda", node, NBD_CONTEXT_ALLOCATION);
    for (guint i = 0; i < 2000; i++)
        extents_add(in, i * 128 * KIB, 64 * KIB);
    lab_write(disk, 0, 16 * MIB, 7);
    begin = clock_steady_ms();
    g_assert_true(nbd_disk_split(disk, in, data, NULL, LAB_TIMEOUT_MS, &error));
    g_test_message("status of 2000 ranges: %d ms", (int)(clock_steady_ms() - begin));
    g_assert_cmpuint(extents_bytes(data), ==, 8 * MIB);
}

/* Trimmed and zeroed clusters belong to the overlay as much as data does. */
static void test_local_clusters(void)
{
    g_auto(Lab) lab = {0};
    g_autofree char *base = NULL;
    g_autofree char *overlay = NULL;
    g_autoptr(NbdDisk) disk = NULL;
    g_autoptr(Extents) all = extents_new();
    g_autoptr(Extents) local = extents_new();
    g_autoptr(Extents) expected = extents_new();
    g_autoptr(GError) error = NULL;

    lab_init(&lab, TRUE);
    base = lab_create(&lab, "a.qcow2", NULL, 64 * MIB);
    disk = lab_export(&lab, "vda", base, NBD_CONTEXT_DEPTH);
    lab_write(disk, 0, 8 * MIB, 1);
    overlay = lab_create(&lab, "b.qcow2", "a.qcow2", 64 * MIB);
    g_assert_true(node_snapshot(lab.daemon, base, overlay, &error));
    lab_write(disk, MIB, 64 * KIB, 2);
    lab_zero(disk, 2 * MIB, MIB);
    extents_add(all, 0, 64 * MIB);
    extents_add(expected, MIB, 64 * KIB);
    extents_add(expected, 2 * MIB, MIB);
    g_assert_true(nbd_disk_list_local(disk, all, local, LAB_TIMEOUT_MS, &error));
    g_assert_no_error(error);
    g_assert_true(extents_equal(local, expected));
}

static void test_refusals(void)
{
    g_auto(Lab) lab = {0};
    g_autofree char *node = NULL;
    g_autoptr(GError) error = NULL;
    ExportSpec export = {.name = "ro"};
    NbdSpec spec = {.disk = "vda", .timeout_ms = LAB_TIMEOUT_MS, .export_name = "nope"};

    lab_init(&lab, TRUE);
    spec.socket_path = storage_daemon_nbd_path(lab.daemon);
    g_assert_null(nbd_disk_open(&spec, &error));
    g_assert_error(error, US_ERROR, US_ERROR_NOT_FOUND);
    g_clear_error(&error);

    node = lab_create(&lab, "a.qcow2", NULL, MIB);
    export.node = node;
    g_assert_true(export_add(lab.daemon, &export, &error));
    spec.export_name = "ro";
    spec.context = NBD_CONTEXT_DIRTY_PREFIX "x";
    g_assert_null(nbd_disk_open(&spec, &error));
    g_assert_error(error, US_ERROR, US_ERROR_UNSUPPORTED);
    g_assert_cmpstr(error->message, ==, "disk vda: the NBD server does not offer qemu:dirty-bitmap:x");
    g_clear_error(&error);

    spec.socket_path = "/nonexistent/nbd.sock";
    g_assert_null(nbd_disk_open(&spec, &error));
    g_assert_error(error, US_ERROR, US_ERROR_UNREACHABLE);
}

static void keep_error(void *user, const GError *error)
{
    GPtrArray *errors = user;

    g_ptr_array_add(errors, error ? g_error_copy(error) : NULL);
}

static void free_error(gpointer error)
{
    g_clear_error((GError **)&error);
}

/* Without waiting: asked, answered while others are in flight, or not at all. */
static void test_ask(void)
{
    g_auto(Lab) lab = {0};
    g_autofree char *node = NULL;
    g_autoptr(NbdDisk) disk = NULL;
    g_autoptr(Extents) says = extents_new();
    g_autoptr(Extents) rest = extents_new();
    g_autoptr(GPtrArray) errors = g_ptr_array_new_with_free_func(free_error);
    g_autoptr(GError) error = NULL;

    lab_init(&lab, TRUE);
    node = lab_create(&lab, "a.qcow2", NULL, 2048 * GIB);
    disk = lab_export(&lab, "vda", node, NBD_CONTEXT_ALLOCATION);
    lab_write(disk, 10 * GIB, 64 * KIB, 1);
    g_assert_true(nbd_disk_ask(disk, 9 * GIB, 3 * GIB, says, keep_error, errors, &error));
    g_assert_true(extents_is_empty(says));
    g_assert_true(nbd_disk_drain(disk, LAB_TIMEOUT_MS, &error));
    g_assert_cmpuint(errors->len, ==, 1);
    g_assert_null(errors->pdata[0]);
    extents_add(rest, 9 * GIB, 3 * GIB);
    extents_remove(rest, 10 * GIB, 64 * KIB);
    g_assert_true(extents_equal(says, rest));

    g_assert_true(nbd_disk_ask(disk, 0, 2048 * GIB, says, keep_error, errors, &error));
    g_clear_pointer(&disk, nbd_disk_close);
    g_assert_cmpuint(errors->len, ==, 2);
    g_assert_error((GError *)errors->pdata[1], US_ERROR, US_ERROR_CANCELLED);
}

static void test_failed_request_names_disk_and_offset(void)
{
    g_auto(Lab) lab = {0};
    g_autofree char *node = NULL;
    g_autoptr(NbdDisk) disk = NULL;
    g_autoptr(GPtrArray) errors = g_ptr_array_new_with_free_func(free_error);
    g_autoptr(GError) error = NULL;
    g_autofree guint8 *data = g_malloc0(65536);
    ExportSpec export = {.name = "ro"};

    lab_init(&lab, TRUE);
    node = lab_create(&lab, "a.qcow2", NULL, MIB);
    export.node = node;
    g_assert_true(export_add(lab.daemon, &export, &error));
    disk = lab_connect(storage_daemon_nbd_path(lab.daemon), "ro", NULL);
    g_assert_true(nbd_disk_read_only(disk));
    g_assert_true(nbd_disk_write(disk, data, 65536, 65536, keep_error, errors, &error));
    g_assert_cmpuint(errors->len, ==, 0); /* never from inside the call */
    g_assert_true(nbd_disk_drain(disk, LAB_TIMEOUT_MS, &error));
    g_assert_cmpuint(errors->len, ==, 1);
    g_assert_error((GError *)errors->pdata[0], US_ERROR, US_ERROR_DENIED);
    g_assert_nonnull(strstr(((GError *)errors->pdata[0])->message, "disk ro: writing at offset 65536"));
    /* The connection is as good as before. */
    lab_expect(disk, 0, 65536, 0);
}

static void test_pipelined(void)
{
    g_auto(Lab) lab = {0};
    g_autofree char *node = NULL;
    g_autoptr(NbdDisk) disk = NULL;
    g_autoptr(GPtrArray) errors = g_ptr_array_new_with_free_func(free_error);
    g_autoptr(GError) error = NULL;
    g_autofree guint8 *data = g_malloc(64 * KIB);
    guint submitted = 0;

    lab_init(&lab, TRUE);
    node = lab_create(&lab, "a.qcow2", NULL, 256 * MIB);
    disk = lab_export(&lab, "vda", node, NULL);
    memset(data, 5, 64 * KIB);
    while (errors->len < 1000) {
        struct pollfd pfd;
        gboolean ready;

        for (; submitted < 1000 && nbd_disk_has_room(disk); submitted++)
            g_assert_true(
                nbd_disk_write(disk, data, submitted * 64 * KIB, 64 * KIB, keep_error, errors, &error));
        g_assert_cmpuint(nbd_disk_in_flight(disk), <=, 64);
        ready = nbd_disk_prepare(disk, &pfd);
        g_assert_cmpint(poll(&pfd, 1, ready ? 0 : LAB_TIMEOUT_MS), >=, ready ? 0 : 1);
        g_assert_true(nbd_disk_pump(disk, pfd.revents, &error));
    }
    for (guint i = 0; i < errors->len; i++)
        g_assert_no_error((GError *)errors->pdata[i]);
    lab_expect(disk, 0, 1000 * 64 * KIB, 5);
}

static void test_close_with_requests_in_flight(void)
{
    g_auto(Lab) lab = {0};
    g_autofree char *node = NULL;
    NbdDisk *disk;
    g_autoptr(GPtrArray) errors = g_ptr_array_new_with_free_func(free_error);
    g_autofree guint8 *data = g_malloc(MIB);

    lab_init(&lab, TRUE);
    node = lab_create(&lab, "a.qcow2", NULL, 64 * MIB);
    disk = lab_export(&lab, "vda", node, NULL);
    for (guint i = 0; i < 8; i++)
        g_assert_true(nbd_disk_read(disk, data, i * MIB, MIB, keep_error, errors, NULL));
    nbd_disk_close(disk);
    g_assert_cmpuint(errors->len, ==, 8);
    for (guint i = 0; i < errors->len; i++)
        g_assert_error((GError *)errors->pdata[i], US_ERROR, US_ERROR_CANCELLED);
}

static void test_frozen_server(void)
{
    g_auto(Lab) lab = {0};
    g_autofree char *node = NULL;
    g_autoptr(NbdDisk) disk = NULL;
    g_autoptr(GPtrArray) errors = g_ptr_array_new_with_free_func(free_error);
    g_autoptr(Extents) all = extents_new();
    g_autoptr(GError) error = NULL;
    g_autofree guint8 *data = g_malloc(64 * KIB);
    NbdSpec spec = {.disk = "vda", .timeout_ms = 50, .export_name = "vda"};

    lab_init(&lab, TRUE);
    node = lab_create(&lab, "a.qcow2", NULL, 64 * MIB);
    disk = lab_export(&lab, "vda", node, NBD_CONTEXT_ALLOCATION);
    kill(storage_daemon_pid(lab.daemon), SIGSTOP);

    g_assert_true(nbd_disk_read(disk, data, 0, 64 * KIB, keep_error, errors, &error));
    extents_add(all, 0, 64 * MIB);
    g_assert_false(nbd_disk_split(disk, all, NULL, NULL, 50, &error));
    g_assert_error(error, US_ERROR, US_ERROR_TIMEOUT);
    g_clear_error(&error);
    g_assert_cmpuint(errors->len, ==, 1); /* its buffer is ours again */
    g_assert_error((GError *)errors->pdata[0], US_ERROR, US_ERROR_TIMEOUT);
    g_assert_false(nbd_disk_flush(disk, 50, &error));
    g_assert_error(error, US_ERROR, US_ERROR_TIMEOUT);
    g_clear_error(&error);

    spec.socket_path = storage_daemon_nbd_path(lab.daemon);
    g_assert_null(nbd_disk_open(&spec, &error));
    g_assert_error(error, US_ERROR, US_ERROR_TIMEOUT);
    g_clear_error(&error);
    spec.timeout_ms = 60000;
    spec.cancel_fd = eventfd(1, EFD_CLOEXEC);
    g_assert_null(nbd_disk_open(&spec, &error));
    g_assert_error(error, US_ERROR, US_ERROR_CANCELLED);
    close(spec.cancel_fd);
    kill(storage_daemon_pid(lab.daemon), SIGCONT);
}

static void test_killed_server(void)
{
    g_auto(Lab) lab = {0};
    g_autofree char *node = NULL;
    g_autoptr(NbdDisk) disk = NULL;
    g_autoptr(GPtrArray) errors = g_ptr_array_new_with_free_func(free_error);
    g_autoptr(GError) error = NULL;
    g_autofree guint8 *data = g_malloc0(MIB);

    lab_init(&lab, TRUE);
    node = lab_create(&lab, "a.qcow2", NULL, 64 * MIB);
    disk = lab_export(&lab, "vda", node, NULL);
    kill(storage_daemon_pid(lab.daemon), SIGSTOP);
    for (guint i = 0; i < 4; i++)
        g_assert_true(nbd_disk_write(disk, data, i * MIB, MIB, keep_error, errors, &error));
    kill(storage_daemon_pid(lab.daemon), SIGKILL);
    g_assert_false(nbd_disk_drain(disk, LAB_TIMEOUT_MS, &error));
    g_assert_error(error, US_ERROR, US_ERROR_UNREACHABLE);
    g_assert_cmpuint(errors->len, ==, 4);
    for (guint i = 0; i < errors->len; i++)
        g_assert_error((GError *)errors->pdata[i], US_ERROR, US_ERROR_UNREACHABLE);
    g_clear_error(&error);
    g_assert_false(nbd_disk_write(disk, data, 0, MIB, keep_error, errors, &error));
    g_assert_error(error, US_ERROR, US_ERROR_UNREACHABLE);
    g_assert_cmpuint(errors->len, ==, 4);
}

/* One is lost while the other is waited for: what it has in flight ends when it is drained, not some time after that. */
static void test_killed_server_of_two(void)
{
    g_auto(Lab) lab = {0};
    g_autofree char *a = NULL, *b = NULL;
    g_autoptr(NbdDisk) first = NULL;
    g_autoptr(NbdDisk) second = NULL;
    g_autoptr(GPtrArray) errors = g_ptr_array_new_with_free_func(free_error);
    g_autofree guint8 *data = g_malloc0(MIB);
    siginfo_t gone;

    lab_init(&lab, TRUE);
    a = lab_create(&lab, "a.qcow2", NULL, 64 * MIB);
    b = lab_create(&lab, "b.qcow2", NULL, 64 * MIB);
    first = lab_export(&lab, "vda", a, NULL);
    second = lab_export(&lab, "vdb", b, NULL);
    kill(storage_daemon_pid(lab.daemon), SIGSTOP);
    for (guint i = 0; i < 4; i++) {
        g_assert_true(nbd_disk_write(first, data, i * MIB, MIB, keep_error, errors, NULL));
        g_assert_true(nbd_disk_write(second, data, i * MIB, MIB, keep_error, errors, NULL));
    }
    kill(storage_daemon_pid(lab.daemon), SIGKILL);
    g_assert_cmpint(waitid(P_PID, (id_t)storage_daemon_pid(lab.daemon), &gone, WEXITED | WNOWAIT), ==, 0);
    g_assert_false(nbd_disk_drain(first, LAB_TIMEOUT_MS, NULL));
    g_assert_cmpuint(errors->len, ==, 4);
    g_assert_false(nbd_disk_drain(second, LAB_TIMEOUT_MS, NULL));
    g_assert_cmpuint(errors->len, ==, 8);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    signal(SIGPIPE, SIG_IGN);
    g_test_add_func("/nbd/read_write_zero", test_read_write_zero);
    g_test_add_func("/nbd/status", test_status);
    g_test_add_func("/nbd/many_ranges", test_many_ranges);
    g_test_add_func("/nbd/local_clusters", test_local_clusters);
    g_test_add_func("/nbd/ask", test_ask);
    g_test_add_func("/nbd/refusals", test_refusals);
    g_test_add_func("/nbd/failed_request_names_disk_and_offset", test_failed_request_names_disk_and_offset);
    g_test_add_func("/nbd/pipelined", test_pipelined);
    g_test_add_func("/nbd/close_with_requests_in_flight", test_close_with_requests_in_flight);
    g_test_add_func("/nbd/frozen_server", test_frozen_server);
    g_test_add_func("/nbd/killed_server", test_killed_server);
    g_test_add_func("/nbd/killed_server_of_two", test_killed_server_of_two);
    return g_test_run();
}

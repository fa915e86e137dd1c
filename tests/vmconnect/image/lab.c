/* SPDX-License-Identifier: Apache-2.0 */
#include "lab.h"

#include "vmconnect/image/process.h"

#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>

void lab_init(Lab *lab, gboolean with_daemon)
{
    g_autoptr(GError) error = NULL;

    *lab = (Lab){.dir = g_dir_make_tmp("understudy-XXXXXX", NULL)};
    g_assert_nonnull(lab->dir);
    lab->run_dir = g_build_filename(lab->dir, "run", NULL);
    if (!with_daemon)
        return;
    lab->daemon = storage_daemon_start(lab->run_dir, "guest", &error);
    g_assert_no_error(error);
}

void lab_clear(Lab *lab)
{
    storage_daemon_close(lab->daemon, 5000);
    lab_run("rm", "-rf", lab->dir);
    g_free(lab->dir);
    g_free(lab->run_dir);
}

char *lab_path(const Lab *lab, const char *name)
{
    return g_build_filename(lab->dir, name, NULL);
}

char *lab_create(Lab *lab, const char *name, const char *backing, guint64 size)
{
    g_autofree char *path = lab_path(lab, name);
    NodeNewImage image = {.path = path, .size_bytes = size, .backing_name = backing};
    g_autoptr(GError) error = NULL;
    char *node = NULL;

    node_create(lab->daemon, &image, &node, &error);
    g_assert_no_error(error);
    g_assert_nonnull(node);
    return node;
}

NbdDisk *lab_connect(const char *socket, const char *name, const char *context)
{
    NbdSpec spec = {.socket_path = socket,
                    .export_name = name,
                    .disk = name,
                    .context = context,
                    .timeout_ms = LAB_TIMEOUT_MS};
    g_autoptr(GError) error = NULL;
    NbdDisk *disk = nbd_disk_open(&spec, &error);

    g_assert_no_error(error);
    return disk;
}

NbdDisk *lab_export(Lab *lab, const char *name, const char *node, const char *context)
{
    ExportSpec spec = {.name = name, .node = node, .writable = TRUE, .allocation_depth = TRUE};
    g_autoptr(GError) error = NULL;

    export_add(lab->daemon, &spec, &error);
    g_assert_no_error(error);
    return lab_connect(storage_daemon_nbd_path(lab->daemon), name, context);
}

static void on_done(void *user, const GError *error)
{
    guint *calls = user;

    g_assert_no_error(error);
    (*calls)++;
}

static void drain_one(NbdDisk *disk, const guint *calls)
{
    g_autoptr(GError) error = NULL;

    nbd_disk_drain(disk, LAB_TIMEOUT_MS, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(*calls, ==, 1);
}

void lab_write(NbdDisk *disk, guint64 offset, gsize len, guint8 value)
{
    g_autofree guint8 *data = g_malloc(len);
    g_autoptr(GError) error = NULL;
    guint calls = 0;

    memset(data, value, len);
    nbd_disk_write(disk, data, offset, len, on_done, &calls, &error);
    g_assert_no_error(error);
    drain_one(disk, &calls);
}

void lab_zero(NbdDisk *disk, guint64 offset, guint64 len)
{
    g_autoptr(GError) error = NULL;
    guint calls = 0;

    nbd_disk_zero(disk, offset, len, on_done, &calls, &error);
    g_assert_no_error(error);
    drain_one(disk, &calls);
}

void lab_expect(NbdDisk *disk, guint64 offset, gsize len, guint8 value)
{
    g_autofree guint8 *data = g_malloc0(len);
    g_autofree guint8 *expected = g_malloc(len);
    g_autoptr(GError) error = NULL;
    guint calls = 0;

    memset(expected, value, len);
    nbd_disk_read(disk, data, offset, len, on_done, &calls, &error);
    g_assert_no_error(error);
    drain_one(disk, &calls);
    g_assert_cmpmem(data, len, expected, len);
}

void lab_flush(NbdDisk *disk)
{
    g_autoptr(GError) error = NULL;

    nbd_disk_flush(disk, LAB_TIMEOUT_MS, &error);
    g_assert_no_error(error);
}

void lab_run_argv(const char *const *argv)
{
    g_autoptr(GError) error = NULL;

    process_run(argv, LAB_TIMEOUT_MS, -1, 1024 * 1024, NULL, &error);
    g_assert_no_error(error);
}

void lab_expect_file(const char *path, guint64 offset, gsize len, guint8 value)
{
    g_autofree char *command = g_strdup_printf("read -P %u %" G_GUINT64_FORMAT " %zu", value, offset, len);

    /* A byte that differs makes qemu-io fail. */
    lab_run("qemu-io", "-r", "-f", "qcow2", "-c", command, path);
}

guint64 lab_file_bytes(const char *path)
{
    struct stat st;

    g_assert_cmpint(stat(path, &st), ==, 0);
    return (guint64)st.st_blocks * 512;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/image/node.h"

#include "vmconnect/base/error.h"
#include "vmconnect/image/image_file.h"
#include "vmconnect/image/job.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <unistd.h>

#define NODE_NAME_MAX 31
#define L2_CACHE_BYTES (1024 * 1024)
#define L2_CACHE_ENTRY_BYTES 4096
#define REFCOUNT_CACHE_BYTES (256 * 1024)
#define CACHE_CLEAN_S 60 /* what a quiet chain has cached goes back after so long */
#define CLUSTER_BYTES 65536

/* QEMU allows letters, digits, '-', '.' and '_', a letter first, 31 characters in all. */
static char *node_name(StorageDaemon *daemon, const char *path)
{
    g_autofree char *base = g_path_get_basename(path);
    char *name = g_strdup_printf("n%u-%s", storage_daemon_next_number(daemon), base);

    g_strcanon(name, G_CSET_A_2_Z G_CSET_a_2_z G_CSET_DIGITS "-._", '_');
    if (strlen(name) > NODE_NAME_MAX)
        name[NODE_NAME_MAX] = '\0';
    return name;
}

static void add_qcow2_options(json_t *options, const NodeSpec *spec)
{
    json_object_set_new(options, "backing", spec->backing ? json_string(spec->backing) : json_null());
    json_object_set_new(options, "l2-cache-size", json_integer(L2_CACHE_BYTES));
    json_object_set_new(options, "l2-cache-entry-size", json_integer(L2_CACHE_ENTRY_BYTES));
    json_object_set_new(options, "refcount-cache-size", json_integer(REFCOUNT_CACHE_BYTES));
    json_object_set_new(options, "cache-clean-interval", json_integer(CACHE_CLEAN_S));
}

static json_t *node_options(const NodeSpec *spec, const char *name)
{
    const char *format = spec->format ? spec->format : "qcow2";
    json_t *options = json_pack("{s:s, s:s, s:b, s:s, s:s, s:o}", "driver", format, "node-name", name,
                                "read-only", spec->read_only, "discard", "unmap", "detect-zeroes", "unmap",
                                "file", image_file_options(spec->path));

    /* Where it is said at all, even as false, QEMU cannot reopen the node, and a snapshot leaves
     * what is under it open for writing. */
    if (options && spec->force_share)
        json_object_set_new(options, "force-share", json_true());
    if (options && spec->unlocked)
        json_object_set_new(json_object_get(options, "file"), "locking", json_string("off"));
    if (options && g_str_equal(format, "qcow2"))
        add_qcow2_options(options, spec);
    return options;
}

gboolean node_open(StorageDaemon *daemon, const NodeSpec *spec, char **ret_node, GError **error)
{
    g_autofree char *name = node_name(daemon, spec->path);
    json_t *options = node_options(spec, name);

    g_assert(g_path_is_absolute(spec->path));
    g_assert(spec->read_only || !spec->force_share);
    g_assert(spec->force_share || !spec->unlocked);
    if (!options) {
        g_set_error(error, US_ERROR, US_ERROR_UNSUPPORTED, "image %s: QEMU takes only file names in UTF-8",
                    spec->path);
        return FALSE;
    }
    if (!storage_daemon_call(daemon, "blockdev-add", options, NULL, error)) {
        g_prefix_error(error, "opening image %s: ", spec->path);
        return FALSE;
    }
    *ret_node = g_steal_pointer(&name);
    return TRUE;
}

/* The empty file is made here, not by a job of the daemon: O_EXCL, and two round trips less. */
static gboolean create_file(const char *path, GError **error)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    if (fd < 0 && errno == EEXIST) {
        g_set_error(error, US_ERROR, US_ERROR_EXISTS, "image %s is there already", path);
        return FALSE;
    }
    if (fd < 0)
        return us_error_errno(error, errno, "cannot create image %s", path);
    close(fd);
    return TRUE;
}

static json_t *create_options(const NodeNewImage *image)
{
    json_t *options =
        json_pack("{s:s, s:{s:s, s:s}, s:I, s:s, s:i, s:b}", "driver", "qcow2", "file", "driver", "file",
                  "filename", image->path, "size", (json_int_t)image->size_bytes, "version", "v3",
                  "cluster-size", CLUSTER_BYTES, "lazy-refcounts", FALSE);

    if (options && image->backing_name) {
        json_object_set_new(options, "backing-file", json_string(image->backing_name));
        json_object_set_new(options, "backing-fmt", json_string("qcow2"));
    }
    return options;
}

static gboolean format_file(StorageDaemon *daemon, const NodeNewImage *image, GError **error)
{
    g_autofree char *job = g_strdup_printf("create-%u", storage_daemon_next_number(daemon));
    json_t *options = create_options(image);

    if (!options) {
        g_set_error_literal(error, US_ERROR, US_ERROR_UNSUPPORTED, "QEMU takes only file names in UTF-8");
        return FALSE;
    }
    return storage_daemon_call(daemon, "blockdev-create",
                               json_pack("{s:s, s:o}", "job-id", job, "options", options), NULL, error) &&
           job_finish(daemon, job, storage_daemon_timeout(daemon), error);
}

gboolean node_create(StorageDaemon *daemon, const NodeNewImage *image, char **ret_node, GError **error)
{
    NodeSpec spec = {.path = image->path};

    g_assert(image->size_bytes % 512 == 0);
    if (!create_file(image->path, error))
        return FALSE;
    if (!format_file(daemon, image, error)) {
        g_prefix_error(error, "creating image %s: ", image->path);
        g_unlink(image->path);
        return FALSE;
    }
    if (!node_open(daemon, &spec, ret_node, error)) {
        g_unlink(image->path);
        return FALSE;
    }
    return TRUE;
}

gboolean node_snapshot(StorageDaemon *daemon, const char *top, const char *overlay, GError **error)
{
    return storage_daemon_call(daemon, "blockdev-snapshot",
                               json_pack("{s:s, s:s}", "node", top, "overlay", overlay), NULL, error);
}

gboolean node_open_offer(StorageDaemon *daemon, const char *path, const char *name, char **ret_node,
                         GError **error)
{
    g_autofree char *node = g_strdup_printf("n%u-offer", storage_daemon_next_number(daemon));

    if (!storage_daemon_call(daemon, "blockdev-add",
                             json_pack("{s:s, s:s, s:b, s:s, s:{s:s, s:s}}", "driver", "nbd", "node-name",
                                       node, "read-only", 1, "export", name, "server", "type", "unix", "path",
                                       path),
                             NULL, error))
        return FALSE;
    *ret_node = g_steal_pointer(&node);
    return TRUE;
}

gboolean node_open_part(StorageDaemon *daemon, const char *node, guint64 offset_bytes, guint64 size_bytes,
                        char **ret_node, GError **error)
{
    g_autofree char *name = g_strdup_printf("n%u-part", storage_daemon_next_number(daemon));

    if (!storage_daemon_call(daemon, "blockdev-add",
                             json_pack("{s:s, s:s, s:I, s:I, s:s, s:s}", "driver", "raw", "node-name", name,
                                       "offset", (json_int_t)offset_bytes, "size", (json_int_t)size_bytes,
                                       "discard", "unmap", "file", node),
                             NULL, error))
        return FALSE;
    *ret_node = g_steal_pointer(&name);
    return TRUE;
}

gboolean node_close(StorageDaemon *daemon, const char *node, GError **error)
{
    return storage_daemon_call(daemon, "blockdev-del", json_pack("{s:s}", "node-name", node), NULL, error);
}

gboolean node_close_chain(StorageDaemon *daemon, const char *const *nodes, guint n, GError **error)
{
    for (guint i = 0; i < n; i++)
        if (!node_close(daemon, nodes[i], error))
            return FALSE;
    return TRUE;
}

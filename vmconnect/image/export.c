/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/image/export.h"

#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/image/nbd.h"
#include "vmconnect/image/wait.h"

#include <string.h>

/* An export's id in QMP must begin with a letter; its NBD name need not. */
static char *export_id(const char *name)
{
    return g_strconcat("e-", name, NULL);
}

static gboolean is_good_name(const char *name)
{
    gsize len = strlen(name);

    return len > 0 && len <= 64 && strspn(name, G_CSET_A_2_Z G_CSET_a_2_z G_CSET_DIGITS "-_") == len;
}

gboolean export_add(StorageDaemon *daemon, const ExportSpec *spec, GError **error)
{
    g_autofree char *id = export_id(spec->name);
    json_t *args =
        json_pack("{s:s, s:s, s:s, s:s, s:b, s:b}", "type", "nbd", "id", id, "node-name", spec->node, "name",
                  spec->name, "writable", spec->writable, "allocation-depth", spec->allocation_depth);

    g_assert(is_good_name(spec->name));
    if (spec->bitmap)
        json_object_set_new(args, "bitmaps", json_pack("[s]", spec->bitmap));
    if (storage_daemon_call(daemon, "block-export-add", args, NULL, error))
        return TRUE;
    g_prefix_error(error, "exporting '%s': ", spec->name);
    return FALSE;
}

gboolean export_add_file(StorageDaemon *daemon, const char *name, const char *node, const char *path,
                         gboolean writable, GError **error)
{
    g_autofree char *id = export_id(name);
    json_t *args =
        json_pack("{s:s, s:s, s:s, s:s, s:b, s:b, s:s}", "type", "fuse", "id", id, "node-name", node,
                  "mountpoint", path, "writable", writable, "growable", FALSE, "allow-other", "on");

    g_assert(is_good_name(name));
    if (storage_daemon_call(daemon, "block-export-add", args, NULL, error))
        return TRUE;
    g_prefix_error(error, "exporting '%s' as file %s: ", name, path);
    return FALSE;
}

static gboolean is_there(StorageDaemon *daemon, const char *id, gboolean *ret_there, GError **error)
{
    json_auto_t *exports = NULL;
    const json_t *doc;
    size_t i;

    if (!storage_daemon_call(daemon, "query-block-exports", NULL, &exports, error))
        return FALSE;
    *ret_there = FALSE;
    json_array_foreach(exports, i, doc) *ret_there |=
        g_strcmp0(json_string_value(json_object_get(doc, "id")), id) == 0;
    return TRUE;
}

gboolean export_remove(StorageDaemon *daemon, const char *name, GError **error)
{
    g_autofree char *id = export_id(name);
    gint64 deadline = wait_deadline(storage_daemon_timeout(daemon));
    gboolean there;

    /* Refused if it is not there or on its way out already: what is_there() says is what counts. */
    if (!storage_daemon_call(daemon, "block-export-del", json_pack("{s:s, s:s}", "id", id, "mode", "hard"),
                             NULL, NULL) &&
        !is_there(daemon, id, &there, error))
        return FALSE;
    while (is_there(daemon, id, &there, error)) {
        if (!there)
            return TRUE;
        if (!storage_daemon_wait_news(daemon, clock_left_ms(deadline), error))
            break;
    }
    g_prefix_error(error, "removing export '%s': ", name);
    return FALSE;
}

static gboolean flush_export(StorageDaemon *daemon, const char *name, int timeout_ms, GError **error)
{
    NbdSpec spec = {
        .socket_path = storage_daemon_nbd_path(daemon),
        .export_name = name,
        .disk = name,
        .timeout_ms = storage_daemon_timeout(daemon),
        .cancel_fd = storage_daemon_cancel(daemon),
    };
    g_autoptr(NbdDisk) disk = nbd_disk_open(&spec, error);

    return disk && nbd_disk_flush(disk, timeout_ms, error);
}

gboolean export_flush_node(StorageDaemon *daemon, const char *node, int timeout_ms, GError **error)
{
    g_autofree char *name = g_strdup_printf("flush-%u", storage_daemon_next_number(daemon));
    ExportSpec spec = {.name = name, .node = node};
    gboolean ok;

    if (!export_add(daemon, &spec, error))
        return FALSE;
    ok = flush_export(daemon, name, timeout_ms, error);
    /* A flush that failed is the error to tell. */
    return export_remove(daemon, name, ok ? error : NULL) && ok;
}

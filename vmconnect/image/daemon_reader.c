/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/image/daemon_reader.h"

#include "vmconnect/image/export.h"
#include "vmconnect/image/node.h"

struct DaemonReader {
    StorageDaemon *daemon;
};

DaemonReader *daemon_reader_start(const char *run_dir, const char *name, GError **error)
{
    StorageDaemon *daemon = storage_daemon_start(run_dir, name, error);
    DaemonReader *reader;

    if (!daemon)
        return NULL;
    reader = g_new0(DaemonReader, 1);
    reader->daemon = daemon;
    return reader;
}

void daemon_reader_free(DaemonReader *reader)
{
    if (!reader)
        return;
    /* It wrote nothing, so there is nothing to wait for. */
    storage_daemon_close(reader->daemon, 0);
    g_free(reader);
}

/* From the lowest layer up; @ret_top is the node of the topmost. */
static gboolean open_layers(StorageDaemon *daemon, const ReaderLayer *layers, guint n_layers, char **ret_top,
                            GError **error)
{
    g_autofree char *below = NULL;

    for (guint i = n_layers; i-- > 0;) {
        NodeSpec spec = {
            .path = layers[i].path,
            .format = layers[i].format,
            .backing = below,
            .read_only = TRUE,
            .force_share = TRUE,
            .unlocked = layers[i].unlocked,
        };
        char *node;

        if (!node_open(daemon, &spec, &node, error))
            return FALSE;
        g_free(below);
        below = node;
    }
    *ret_top = g_steal_pointer(&below);
    return TRUE;
}

gboolean daemon_reader_add(DaemonReader *reader, const char *target, const ReaderLayer *layers,
                           guint n_layers, const char *bitmap, GError **error)
{
    g_autofree char *top = NULL;
    ExportSpec spec = {.name = target, .bitmap = bitmap};

    g_assert(n_layers > 0);
    if (!open_layers(reader->daemon, layers, n_layers, &top, error))
        return FALSE;
    spec.node = top;
    return export_add(reader->daemon, &spec, error);
}

const char *daemon_reader_nbd_path(const DaemonReader *reader)
{
    return storage_daemon_nbd_path(reader->daemon);
}

StorageDaemon *daemon_reader_daemon(DaemonReader *reader)
{
    return reader->daemon;
}

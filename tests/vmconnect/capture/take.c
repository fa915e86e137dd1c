/* SPDX-License-Identifier: Apache-2.0 */
/* take - cuts of one VM into raw files, for lab tests: what a sender does, without a network.
 *
 *   take [--freeze] VM FOLDER COUNT
 *
 * Each cut is an increment of the one before and prints one line of JSON; the
 * checkpoints are deleted at the end. Run folders are the engine's. */
#include "replica.h"

#include "vmconnect/base/id.h"

#include <glib/gstdio.h>
#include <stdlib.h>

#define RUN "/run/understudy/engine"

static gboolean freeze_guest;

static gboolean find_vm(virConnectPtr conn, const char *name, Id *ret_id)
{
    virDomainPtr dom = virDomainLookupByName(conn, name);
    char text[VIR_UUID_STRING_BUFLEN];
    gboolean ok = dom && virDomainGetUUIDString(dom, text) == 0 && id_parse(text, ret_id, NULL);

    if (dom)
        virDomainFree(dom);
    return ok;
}

static gboolean take_one(Replica *r, Capture *c, Id *since, GError **error)
{
    Id fresh = id_random();
    gint64 start;

    if (!replica_take(r, c, *since, fresh, error))
        return FALSE;
    start = g_get_monotonic_time();
    if (!id_is_nil(*since) && !capture_delete_checkpoint(c, *since, error))
        return FALSE;
    *since = fresh;
    g_print(
        "{\"data_bytes\": %" G_GUINT64_FORMAT ", \"zero_bytes\": %" G_GUINT64_FORMAT ", \"frozen\": %s, "
        "\"begin_ms\": %.1f, \"list_ms\": %.1f, \"read_ms\": %.1f, \"end_ms\": %.1f, \"delete_ms\": %.1f}\n",
        r->data_bytes, r->zero_bytes, r->frozen ? "true" : "false", (double)r->begin_us / 1e3,
        (double)r->dirty_us / 1e3, (double)r->read_us / 1e3, (double)r->end_us / 1e3,
        (double)(g_get_monotonic_time() - start) / 1e3);
    return TRUE;
}

static gboolean take_all(virConnectPtr conn, Id vm, const char *folder, guint count, GError **error)
{
    g_autofree char *scratch = g_build_filename(folder, "scratch", NULL);
    const CaptureSettings settings = {
        .run_dir = RUN, .nbd_dir = RUN "/nbd", .scratch_dir = scratch, .cancel_fd = -1};
    g_autoptr(Capture) c = capture_new(conn, vm, &settings, error);
    g_autoptr(Replica) r = replica_new(folder);
    Id since = ID_NIL;

    if (!c || !capture_recover(c, error))
        return FALSE;
    capture_set_freeze(c, freeze_guest);
    for (guint i = 0; i < count; i++)
        if (!take_one(r, c, &since, error))
            return FALSE;
    return capture_delete_all(c, error);
}

int main(int argc, char **argv)
{
    const GOptionEntry entries[] = {{"freeze", 0, 0, G_OPTION_ARG_NONE, &freeze_guest,
                                     "freeze the guest's file systems around each cut", NULL},
                                    {NULL}};
    g_autoptr(GOptionContext) options = g_option_context_new("VM FOLDER COUNT");
    g_autoptr(GError) error = NULL;
    virConnectPtr conn;
    Id vm;
    gboolean ok;

    g_option_context_add_main_entries(options, entries, NULL);
    if (!g_option_context_parse(options, &argc, &argv, &error) || argc != 4) {
        g_printerr("take: %s\n", error ? error->message : "VM FOLDER COUNT");
        return 2;
    }
    conn = virConnectOpen("qemu:///system");
    if (!conn || !find_vm(conn, argv[1], &vm)) {
        g_printerr("take: no VM %s\n", argv[1]);
        return 1;
    }
    ok = take_all(conn, vm, argv[2], (guint)strtoul(argv[3], NULL, 10), &error);
    if (!ok)
        g_printerr("take: %s\n", error->message);
    virConnectClose(conn);
    return ok ? 0 : 1;
}

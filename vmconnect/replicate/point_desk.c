/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/replicate/point_desk.h"

#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"
#include "vmconnect/image/daemon_reader.h"

#include <errno.h>
#include <glib/gstdio.h>

typedef struct {
    Id point;
    StoreLease *lease; /* NULL: nothing is merged while it is open */
    DaemonReader *reader;
    json_t *disks; /* what was answered */
} Opened;

struct PointDesk {
    char *run_dir;
    Id vm;
    gboolean merges;
    GPtrArray *opened; /* of Opened * */
};

static void opened_free(gpointer data)
{
    Opened *o = data;

    g_assert(!o->lease);
    daemon_reader_free(o->reader);
    json_decref(o->disks);
    g_free(o);
}

PointDesk *point_desk_new(const char *run_dir, Id vm, gboolean merges)
{
    PointDesk *desk = g_new0(PointDesk, 1);

    desk->run_dir = g_strdup(run_dir);
    desk->vm = vm;
    desk->merges = merges;
    desk->opened = g_ptr_array_new_with_free_func(opened_free);
    return desk;
}

static void let_go(PointDesk *desk, Store *store, Opened *o)
{
    g_clear_pointer(&o->reader, daemon_reader_free);
    if (o->lease)
        store_lease_release(store, g_steal_pointer(&o->lease));
    g_ptr_array_remove(desk->opened, o);
}

void point_desk_clear(PointDesk *desk, Store *store)
{
    while (desk->opened->len)
        let_go(desk, store, desk->opened->pdata[0]);
}

void point_desk_free(PointDesk *desk)
{
    if (!desk)
        return;
    g_ptr_array_unref(desk->opened);
    g_free(desk->run_dir);
    g_free(desk);
}

static Opened *find(const PointDesk *desk, Id point)
{
    for (guint i = 0; i < desk->opened->len; i++) {
        Opened *o = desk->opened->pdata[i];

        if (id_equal(o->point, point))
            return o;
    }
    return NULL;
}

/* ---- what there is ---- */

json_t *point_desk_list(const PointDesk *desk, const Store *store)
{
    g_autoptr(GPtrArray) points = store_points(store);
    json_t *list = json_array();

    for (guint i = 0; i < points->len; i++) {
        const StorePoint *point = points->pdata[i];
        json_t *doc = generation_describe(point->generation);

        json_object_set_new(doc, "pinned", json_boolean(point->pinned));
        json_object_set_new(doc, "branch", json_boolean(point->branch));
        json_object_set_new(doc, "open", json_boolean(find(desk, point->generation->id) != NULL));
        json_object_set_new(doc, "changed_bytes", json_integer((json_int_t)point->changed_bytes));
        json_array_append_new(list, doc);
    }
    return json_pack("{s:o}", "points", list);
}

json_t *point_desk_branches(StoreBranches branches)
{
    return json_pack("{s:i, s:o}", "count", (int)branches.count, "bytes",
                     branches.bytes < 0 ? json_null() : json_integer(branches.bytes));
}

gboolean point_desk_pin(PointDesk *desk, Store *store, const json_t *params, GError **error)
{
    const char *vm, *text;
    int pinned;
    Id point;

    if (!json_read(params, "standby.pin", error, "{s:s, s:s, s:b}", "vm", &vm, "point", &text, "pinned",
                   &pinned) ||
        !id_parse(text, &point, error))
        return FALSE;
    if (!pinned && find(desk, point))
        let_go(desk, store, find(desk, point));
    return store_pin(store, point, pinned, error);
}

/* ---- reading ---- */

static gboolean is_pinned(const Store *store, Id point, gboolean *ret_known)
{
    g_autoptr(GPtrArray) points = store_points(store);

    *ret_known = FALSE;
    for (guint i = 0; i < points->len; i++) {
        const StorePoint *p = points->pdata[i];

        if (!id_equal(p->generation->id, point))
            continue;
        *ret_known = TRUE;
        return p->pinned;
    }
    return FALSE;
}

static gboolean check_kept(const Store *store, Id point, GError **error)
{
    gboolean known;

    if (is_pinned(store, point, &known))
        return TRUE;
    if (known)
        g_set_error(error, US_ERROR, US_ERROR_REFUSED,
                    "point %s may be merged away while it is read: it was not opened; keep it first",
                    ID_TEXT(point));
    else
        g_set_error(error, US_ERROR, US_ERROR_NOT_FOUND, "point %s is not kept here: see the list of points",
                    ID_TEXT(point));
    return FALSE;
}

static gboolean offer(Opened *o, const StoreFiles *files, GError **error)
{
    g_autofree ReaderLayer *layers = g_new0(ReaderLayer, files->files->len);
    g_autofree char *uri = NULL;

    for (guint i = 0; i < files->files->len; i++)
        layers[i] = (ReaderLayer){files->files->pdata[i], files->formats->pdata[i], o->lease != NULL};
    if (!daemon_reader_add(o->reader, files->target, layers, files->files->len, NULL, error))
        return FALSE;
    uri = g_strdup_printf("nbd+unix:///%s?socket=%s", files->target, daemon_reader_nbd_path(o->reader));
    json_array_append_new(o->disks, json_pack("{s:s, s:s}", "target", files->target, "uri", uri));
    return TRUE;
}

/* Where nothing is merged QEMU's locks do more: they keep away what the VM's user commits there. */
static gboolean lease(const PointDesk *desk, Opened *o, Store *store, GPtrArray **ret_files, GError **error)
{
    StoreLease *taken = store_lease_share(store, o->point, ret_files, error);

    if (!taken)
        return FALSE;
    if (desk->merges && id_is_nil(store_promoted(store)))
        o->lease = taken;
    else
        store_lease_release(store, taken);
    return TRUE;
}

static gboolean offer_all(const PointDesk *desk, Opened *o, const GPtrArray *files, GError **error)
{
    g_autofree char *name = g_strdup_printf("open-%s", ID_TEXT(o->point));
    g_autofree char *run_dir = g_build_filename(desk->run_dir, "open", ID_TEXT(o->point), NULL);

    if (g_mkdir_with_parents(run_dir, 0700) != 0)
        return us_error_errno(error, errno, "cannot make %s", run_dir);
    o->reader = daemon_reader_start(run_dir, name, error);
    if (!o->reader)
        return FALSE;
    for (guint i = 0; i < files->len; i++)
        if (!offer(o, files->pdata[i], error))
            return FALSE;
    return TRUE;
}

static gboolean open_point(PointDesk *desk, Store *store, Id point, GError **error)
{
    g_autoptr(GPtrArray) files = NULL;
    Opened *o = g_new0(Opened, 1);

    o->point = point;
    o->disks = json_array();
    g_ptr_array_add(desk->opened, o);
    if (lease(desk, o, store, &files, error) && offer_all(desk, o, files, error))
        return TRUE;
    let_go(desk, store, o);
    return FALSE;
}

gboolean point_desk_open(PointDesk *desk, Store *store, const json_t *params, json_t **ret_result,
                         GError **error)
{
    const char *vm, *text;
    Id point;

    if (!json_read(params, "standby.open", error, "{s:s, s:s}", "vm", &vm, "point", &text) ||
        !id_parse(text, &point, error) || !check_kept(store, point, error) ||
        (!find(desk, point) && !open_point(desk, store, point, error)))
        return FALSE;
    *ret_result = json_pack("{s:O}", "disks", find(desk, point)->disks);
    return TRUE;
}

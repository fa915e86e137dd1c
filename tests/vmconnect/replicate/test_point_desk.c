/* SPDX-License-Identifier: Apache-2.0 */
/* A point that is open reads as it was sealed, whatever is received and merged meanwhile; and holds nothing up. */
#include "tests/tree.h"
#include "tests/vmconnect/store/rig.h"
#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/replicate/point_desk.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <unistd.h>

#define SEALS 70 /* more than a chain may have files */

typedef struct {
    Rig *rig;
    char *run_dir;
    PointDesk *desk;
} World;

/* Eight generations, all kept; the fourth is pinned. */
static World *world_new(gboolean merges)
{
    World *w = g_new0(World, 1);

    w->rig = rig_new(1);
    w->rig->options.retain = (RetentionPolicy){.newest = 20};
    w->run_dir = g_dir_make_tmp("desk-XXXXXX", NULL);
    w->desk = point_desk_new(w->run_dir, w->rig->options.vm, merges);
    rig_open(w->rig);
    for (guint i = 0; i < 8; i++)
        rig_cut(w->rig);
    return w;
}

static void world_free(World *w)
{
    point_desk_free(w->desk);
    rig_free(w->rig);
    tree_remove(w->run_dir);
    g_free(w->run_dir);
    g_free(w);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(World, world_free)

static const RigPoint *fourth(const World *w)
{
    return w->rig->points->pdata[3];
}

static void pin(const World *w, gboolean pinned)
{
    json_auto_t *params = json_pack("{s:s, s:s, s:b}", "vm", ID_TEXT(w->rig->options.vm), "point",
                                    ID_TEXT(fourth(w)->generation->id), "pinned", pinned);
    GError *error = NULL;

    point_desk_pin(w->desk, w->rig->store, params, &error);
    g_assert_no_error(error);
}

/* The URI of its disk; the caller frees. NULL with @error. */
static char *open_fourth(const World *w, GError **error)
{
    json_auto_t *params = json_pack("{s:s, s:s}", "vm", ID_TEXT(w->rig->options.vm), "point",
                                    ID_TEXT(fourth(w)->generation->id));
    json_auto_t *result = NULL;
    const char *uri;

    if (!point_desk_open(w->desk, w->rig->store, params, &result, error))
        return NULL;
    g_assert_cmpint(json_unpack(result, "{s:[{s:s}]}", "disks", "uri", &uri), ==, 0);
    return g_strdup(uri);
}

static guint n_points(const World *w)
{
    g_autoptr(GPtrArray) points = store_points(w->rig->store);

    return points->len;
}

static void test_merges_go_on(void)
{
    g_autoptr(World) w = world_new(TRUE);
    g_autofree char *uri = NULL;
    GError *error = NULL;

    pin(w, TRUE);
    uri = open_fourth(w, &error);
    g_assert_no_error(error);
    store_set_retention(w->rig->store, (RetentionPolicy){.newest = 2});
    for (guint i = 0; i < SEALS; i++) {
        rig_cut(w->rig);
        rig_settle(w->rig, 20000);
        g_assert_cmpuint(n_points(w), ==, 3);
        g_assert_cmpuint(rig_count_files(w->rig, ".vda.qcow2"), <=, 4);
        rig_check_source(uri, fourth(w)->contents->pdata[0]);
    }
    rig_check_points(w->rig);
    pin(w, FALSE);
    g_assert_false(g_file_test(strstr(uri, "socket=") + strlen("socket="), G_FILE_TEST_EXISTS));
    rig_settle(w->rig, 20000);
    g_assert_cmpuint(n_points(w), ==, 2);
    rig_check_points(w->rig);
}

/* As QEMU's locks say it to others (docs/devel of QEMU, its block/file-posix.c). */
static gboolean is_locked(const World *w)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    g_autoptr(GPtrArray) files = NULL;
    StoreLease *lease = store_lease_share(w->rig->store, fourth(w)->generation->id, &files, NULL);
    int fd;

    g_assert_nonnull(lease);
    store_lease_release(w->rig->store, lease);
    fd = open(((StoreFiles *)files->pdata[0])->files->pdata[0], O_RDWR | O_CLOEXEC);
    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(fcntl(fd, F_OFD_GETLK, &lock), ==, 0);
    close(fd);
    return lock.l_type != F_UNLCK;
}

/* From then on its user may commit into what lies below: QEMU's locks keep that away from who reads. */
static void test_promoted(void)
{
    g_autoptr(World) w = world_new(TRUE);
    g_autoptr(GPtrArray) files = NULL;
    g_autofree char *uri = NULL;
    GError *error = NULL;

    pin(w, TRUE);
    store_promote(w->rig->store, ID_NIL, clock_steady_ms() + 5000, &files, &error);
    g_assert_no_error(error);
    g_assert_false(is_locked(w));
    uri = open_fourth(w, &error);
    g_assert_no_error(error);
    g_assert_true(is_locked(w));
    point_desk_clear(w->desk, w->rig->store);
}

static void test_clear(void)
{
    g_autoptr(World) w = world_new(TRUE);
    g_autofree char *uri = NULL;
    g_autofree char *again = NULL;
    GError *error = NULL;

    pin(w, TRUE);
    uri = open_fourth(w, &error);
    g_assert_no_error(error);
    point_desk_clear(w->desk, w->rig->store);
    rig_close(w->rig);
    rig_open(w->rig);
    again = open_fourth(w, &error);
    g_assert_no_error(error);
    rig_check_source(again, fourth(w)->contents->pdata[0]);
    point_desk_clear(w->desk, w->rig->store);
}

/* The desk of a host that runs the VM has the store open for as long as it is asked. */
static void test_outlives_a_store(void)
{
    g_autoptr(World) w = world_new(FALSE);
    g_autofree char *uri = NULL;
    GError *error = NULL;

    pin(w, TRUE);
    uri = open_fourth(w, &error);
    g_assert_no_error(error);
    rig_close(w->rig);
    rig_check_source(uri, fourth(w)->contents->pdata[0]);
}

static void test_refused(void)
{
    g_autoptr(World) w = world_new(TRUE);
    g_autoptr(GPtrArray) files = NULL;
    GError *error = NULL;
    StoreLease *lease;

    g_assert_null(open_fourth(w, &error));
    g_assert_error(error, US_ERROR, US_ERROR_REFUSED);
    g_clear_error(&error);
    pin(w, TRUE);
    lease = store_lease_share(w->rig->store, fourth(w)->generation->id, &files, &error);
    g_assert_no_error(error);
    store_lease_release(w->rig->store, lease);
    g_assert_cmpint(truncate(((StoreFiles *)files->pdata[0])->files->pdata[0], 262144), ==, 0);
    g_assert_null(open_fourth(w, &error));
    g_assert_error(error, US_ERROR, US_ERROR_CORRUPT);
    g_clear_error(&error);
    /* Nothing of it is left. */
    g_assert_null(open_fourth(w, &error));
    g_assert_error(error, US_ERROR, US_ERROR_CORRUPT);
    g_clear_error(&error);
    pin(w, FALSE);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/point-desk/merges-go-on", test_merges_go_on);
    g_test_add_func("/point-desk/promoted", test_promoted);
    g_test_add_func("/point-desk/clear", test_clear);
    g_test_add_func("/point-desk/outlives-a-store", test_outlives_a_store);
    g_test_add_func("/point-desk/refused", test_refused);
    return g_test_run();
}

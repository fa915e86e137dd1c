/* SPDX-License-Identifier: Apache-2.0 */
#include "rig.h"

#include "tests/tree.h"
#include "vmconnect/base/clock.h"
#include "vmconnect/image/nbd.h"
#include "vmconnect/image/process.h"

#include <glib/gstdio.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

static void disk_free(gpointer p)
{
    RigDisk *disk = p;

    g_free(disk->target);
    g_free(disk->data);
    extents_free(disk->changed);
    g_free(disk);
}

static void point_free(gpointer p)
{
    RigPoint *point = p;

    generation_free(point->generation);
    g_ptr_array_unref(point->contents);
    g_free(point);
}

Rig *rig_new(guint n_disks)
{
    Rig *rig = g_new0(Rig, 1);

    rig->root = g_dir_make_tmp("understudy-store-XXXXXX", NULL);
    rig->options.vm = id_random();
    rig->dir = g_build_filename(rig->root, ID_TEXT(rig->options.vm), NULL);
    rig->options.dir = rig->dir;
    rig->options.run_dir = g_build_filename(rig->root, "run", NULL);
    rig->options.retain = (RetentionPolicy){.newest = 1000};
    rig->reign = (Reign){.number = 1, .id = id_random()};
    rig->disks = g_ptr_array_new_with_free_func(disk_free);
    rig->points = g_ptr_array_new_with_free_func(point_free);
    rig->rand = g_rand_new_with_seed(RIG_SEED);
    for (guint i = 0; i < n_disks; i++) {
        char target[] = {'v', 'd', (char)('a' + i), '\0'};

        rig_add_disk(rig, target, RIG_DISK);
    }
    return rig;
}

void rig_free(Rig *rig)
{
    if (!rig)
        return;
    rig_close(rig);
    umount2(rig->dir, MNT_DETACH);
    tree_remove(rig->root);
    g_ptr_array_unref(rig->disks);
    g_ptr_array_unref(rig->points);
    g_rand_free(rig->rand);
    g_free((char *)rig->options.run_dir);
    g_free(rig->dir);
    g_free(rig->root);
    g_free(rig);
}

void rig_open(Rig *rig)
{
    GError *error = NULL;

    rig->store = store_open(&rig->options, &error);
    g_assert_no_error(error);
    rig->session = store_session(rig->store) + 1;
    store_attach(rig->store, rig->reign, rig->session, &error);
    g_assert_no_error(error);
}

void rig_close(Rig *rig)
{
    g_clear_pointer(&rig->store, store_close);
}

void rig_add_disk(Rig *rig, const char *target, guint64 size)
{
    RigDisk *disk = g_new0(RigDisk, 1);

    disk->target = g_strdup(target);
    disk->size = size;
    disk->data = g_malloc0(size);
    disk->changed = extents_new();
    g_ptr_array_add(rig->disks, disk);
}

static RigDisk *find_disk(const Rig *rig, const char *target)
{
    for (guint i = 0; i < rig->disks->len; i++) {
        RigDisk *disk = rig->disks->pdata[i];

        if (g_str_equal(disk->target, target))
            return disk;
    }
    g_assert_not_reached();
}

void rig_remove_disk(Rig *rig, const char *target)
{
    g_ptr_array_remove(rig->disks, find_disk(rig, target));
}

void rig_resize_disk(Rig *rig, const char *target, guint64 size)
{
    RigDisk *disk = find_disk(rig, target);

    disk->data = g_realloc(disk->data, size);
    if (size > disk->size) {
        memset(disk->data + disk->size, 0, size - disk->size);
        extents_add(disk->changed, disk->size, size - disk->size);
    }
    extents_clip(disk->changed, size);
    disk->size = size;
}

void rig_scribble(Rig *rig, guint index, guint n)
{
    RigDisk *disk = rig->disks->pdata[index];

    for (guint i = 0; i < n; i++) {
        guint64 offset =
            (guint64)g_rand_int_range(rig->rand, 0, (gint32)(disk->size / RIG_BLOCK)) * RIG_BLOCK;
        gsize len = MIN(RIG_BLOCK, disk->size - offset);

        if (g_rand_int_range(rig->rand, 0, 4) == 0)
            memset(disk->data + offset, 0, len);
        else
            for (gsize k = 0; k < len; k += 4)
                memcpy(disk->data + offset + k, &(guint32){g_rand_int(rig->rand)}, 4);
        extents_add(disk->changed, offset, len);
    }
}

/* Of version 4, so that it could be a random one. */
static Id number_id(guint64 number)
{
    Id id = {{0xab, 0, 0, 0, 0, 0, 0x40, 0, 0x80}};

    for (guint i = 0; i < 7; i++)
        id.bytes[9 + i] = (guint8)(number >> (8 * (6 - i)));
    return id;
}

Generation *rig_generation(Rig *rig)
{
    Generation *g = generation_new();
    const Generation *tip = rig->store ? store_tip(rig->store) : NULL;

    g->id = number_id(++rig->sequence);
    g->parent = tip ? tip->id : ID_NIL;
    g->since = g->parent;
    g->reign = rig->reign;
    g->sequence = rig->sequence;
    g->cut_at_ms = clock_wall_ms();
    g->definition = g_strdup("<domain><name>a &amp; b</name></domain>");
    for (guint i = 0; i < rig->disks->len; i++) {
        const RigDisk *disk = rig->disks->pdata[i];

        generation_add_disk(g, disk->target, disk->size);
    }
    return g;
}

gboolean rig_begin(Rig *rig, const Generation *g, GError **error)
{
    return store_begin(rig->store, rig->session, g, error);
}

static void on_written(void *user, const GError *error)
{
    GError **why = user;

    if (error && !*why)
        *why = g_error_copy(error);
}

static gboolean is_zero(const guint8 *data, gsize len)
{
    for (gsize i = 0; i < len; i++)
        if (data[i])
            return FALSE;
    return TRUE;
}

static gboolean write_disk(NbdDisk *nbd, const RigDisk *disk, const Extents *list, GError **why,
                           GError **error)
{
    for (guint i = 0; i < extents_count(list); i++) {
        Extent e = extents_at(list, i);

        for (guint64 at = e.offset; at < e.offset + e.len; at += RIG_BLOCK) {
            gsize len = MIN(RIG_BLOCK, e.offset + e.len - at);
            gboolean ok = is_zero(disk->data + at, len)
                              ? nbd_disk_zero(nbd, at, len, on_written, why, error)
                              : nbd_disk_write(nbd, disk->data + at, at, len, on_written, why, error);

            if (!ok || (!nbd_disk_has_room(nbd) && !nbd_disk_drain(nbd, 30000, error)))
                return FALSE;
        }
    }
    return nbd_disk_drain(nbd, 30000, error);
}

/* The part of @changed inside @only (NULL: all) and outside @but. */
static Extents *part_of(const Extents *changed, const Extents *only, const Extents *but)
{
    Extents *part = extents_copy(changed);

    if (only) {
        g_autoptr(Extents) rest = extents_copy(changed);

        extents_remove_all(rest, only);
        extents_remove_all(part, rest);
    }
    if (but)
        extents_remove_all(part, but);
    return part;
}

gboolean rig_write_part(Rig *rig, const Extents *only, const Extents *but, GError **error)
{
    for (guint i = 0; i < rig->disks->len; i++) {
        const RigDisk *disk = rig->disks->pdata[i];
        g_autoptr(Extents) list = part_of(disk->changed, only, but);
        NbdDisk *nbd = store_disk(rig->store, disk->target);
        GError *why = NULL;

        g_assert_nonnull(nbd);
        g_assert_cmpuint(nbd_disk_size(nbd), ==, disk->size);
        if (!write_disk(nbd, disk, list, &why, error)) {
            g_clear_error(&why);
            return FALSE;
        }
        if (why) {
            g_propagate_error(error, why);
            return FALSE;
        }
    }
    return TRUE;
}

gboolean rig_write(Rig *rig, GError **error)
{
    return rig_write_part(rig, NULL, NULL, error);
}

static void remember(Rig *rig, const Generation *g)
{
    RigPoint *point = g_new0(RigPoint, 1);

    point->generation = generation_copy(g);
    point->contents = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
    for (guint i = 0; i < rig->disks->len; i++) {
        RigDisk *disk = rig->disks->pdata[i];

        g_ptr_array_add(point->contents, g_bytes_new(disk->data, disk->size));
    }
    g_ptr_array_add(rig->points, point);
}

static void forget_changes(Rig *rig)
{
    for (guint i = 0; i < rig->disks->len; i++)
        extents_clear(((RigDisk *)rig->disks->pdata[i])->changed);
}

gboolean rig_seal(Rig *rig, const Generation *g, GError **error)
{
    g_autofree StoreExtents *changed = g_new0(StoreExtents, rig->disks->len);

    for (guint i = 0; i < rig->disks->len; i++) {
        const RigDisk *disk = rig->disks->pdata[i];

        changed[i] = (StoreExtents){.target = disk->target, .extents = disk->changed};
    }
    remember(rig, g);
    if (!store_seal(rig->store, rig->session, g, changed, rig->disks->len, error)) {
        g_ptr_array_set_size(rig->points, (int)rig->points->len - 1);
        return FALSE;
    }
    forget_changes(rig);
    return TRUE;
}

static void scribble_all(Rig *rig)
{
    for (guint i = 0; i < rig->disks->len; i++)
        rig_scribble(rig, i, 5);
}

void rig_imagine_cut(Rig *rig)
{
    g_autoptr(Generation) g = rig_generation(rig);

    scribble_all(rig);
    remember(rig, g);
    forget_changes(rig);
}

guint64 rig_rewind(Rig *rig)
{
    const Generation *tip = store_tip(rig->store);
    const RigPoint *point = tip ? rig_find_point(rig, tip->id) : NULL;

    g_assert_true(point || !tip);
    for (guint i = 0; i < rig->disks->len; i++) {
        RigDisk *disk = rig->disks->pdata[i];

        if (point)
            memcpy(disk->data, g_bytes_get_data(point->contents->pdata[i], NULL), disk->size);
        else
            memset(disk->data, 0, disk->size);
        extents_clear(disk->changed);
    }
    rig->sequence = tip ? tip->sequence : 0;
    while (rig->points->len > 0 &&
           ((const RigPoint *)rig->points->pdata[rig->points->len - 1])->generation->sequence > rig->sequence)
        g_ptr_array_set_size(rig->points, (int)rig->points->len - 1);
    return rig->sequence;
}

void rig_cut(Rig *rig)
{
    g_autoptr(Generation) g = rig_generation(rig);
    GError *error = NULL;

    scribble_all(rig);
    rig_begin(rig, g, &error);
    g_assert_no_error(error);
    rig_write(rig, &error);
    g_assert_no_error(error);
    rig_seal(rig, g, &error);
    g_assert_no_error(error);
}

void rig_settle(Rig *rig, guint deadline_ms)
{
    gint64 deadline = clock_steady_ms() + deadline_ms;
    int timeout;

    while ((timeout = store_timeout_ms(rig->store)) >= 0) {
        struct pollfd pfd = {.fd = store_fd(rig->store), .events = POLLIN};
        GError *error = NULL;

        g_assert_cmpint(clock_steady_ms(), <, deadline);
        poll(&pfd, pfd.fd >= 0, timeout);
        store_pump(rig->store, &error);
        g_assert_no_error(error);
    }
}

/* ---- the world around ---- */

gboolean rig_remount(Rig *rig, const char *how)
{
    return mount("store-test", rig->dir, "tmpfs",
                 strstr(how, "remount") ? MS_REMOUNT | (strstr(how, "ro") ? MS_RDONLY : 0) : 0,
                 strstr(how, "size") ? strstr(how, "size") : NULL) == 0;
}

gboolean rig_mount(Rig *rig, const char *size)
{
    g_autofree char *options = g_strconcat("size=", size, NULL);

    if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
        return FALSE;
    g_mkdir(rig->dir, 0700);
    return rig_remount(rig, options);
}

void rig_kill_daemon(Rig *rig)
{
    g_autofree char *path = g_build_filename(rig->options.run_dir, "daemon.pid", NULL);
    g_autofree char *text = NULL;
    struct pollfd pfd = {.events = POLLIN};
    pid_t pid;

    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    pid = (pid_t)g_ascii_strtoll(strchr(text, ':') + 1, NULL, 10);
    g_assert_cmpint(pid, >, 1);
    pfd.fd = (int)syscall(SYS_pidfd_open, pid, 0);
    g_assert_cmpint(pfd.fd, >=, 0);
    kill(pid, SIGKILL);
    g_assert_cmpint(poll(&pfd, 1, 10000), ==, 1);
    close(pfd.fd);
}

guint rig_count_files(const Rig *rig, const char *suffix)
{
    GDir *dir = g_dir_open(rig->dir, 0, NULL);
    const char *name;
    guint n = 0;

    while ((name = g_dir_read_name(dir)))
        n += g_str_has_suffix(name, suffix);
    g_dir_close(dir);
    return n;
}

/* ---- checking ---- */

const RigPoint *rig_find_point(const Rig *rig, Id id)
{
    for (guint i = 0; i < rig->points->len; i++) {
        const RigPoint *point = rig->points->pdata[i];

        if (id_equal(point->generation->id, id))
            return point;
    }
    return NULL;
}

static json_t *chain_options(const StoreFiles *files, guint index)
{
    json_t *options;

    if (index == files->files->len)
        return json_null();
    options = json_pack("{s:s, s:{s:s, s:s}}", "driver", (const char *)files->formats->pdata[index], "file",
                        "driver", "file", "filename", (const char *)files->files->pdata[index]);
    /* A raw image has nothing behind it, and no option for that. */
    if (!g_str_equal(files->formats->pdata[index], "raw"))
        json_object_set_new(options, "backing", chain_options(files, index + 1));
    return options;
}

static void run(const char *const *argv)
{
    GError *error = NULL;

    process_run(argv, 60000, -1, 1024 * 1024, NULL, &error);
    g_assert_no_error(error);
}

void rig_check_source(const char *source, GBytes *expected)
{
    /* Not beside the image: that file system may be full on purpose. */
    g_autofree char *raw = g_strdup_printf("%s/understudy-store-%d.raw", g_get_tmp_dir(), (int)getpid());
    const char *const convert[] = {"qemu-img", "convert", "-O", "raw", source, raw, NULL};
    g_autofree char *found = NULL;
    gsize len;

    run(convert);
    g_assert_true(g_file_get_contents(raw, &found, &len, NULL));
    g_assert_cmpuint(len, ==, g_bytes_get_size(expected));
    if (memcmp(found, g_bytes_get_data(expected, NULL), len) != 0)
        g_error("%s does not read as it was sealed", source);
    g_unlink(raw);
}

static void check_disk(const StoreFiles *files, GBytes *expected)
{
    json_auto_t *options = chain_options(files, 0);
    g_autofree char *text = json_dumps(options, JSON_COMPACT);
    g_autofree char *source = g_strconcat("json:", text, NULL);

    g_assert_cmpuint(files->size_bytes, ==, g_bytes_get_size(expected));
    rig_check_source(source, expected);
}

void rig_check_files(const GPtrArray *files, const RigPoint *point)
{
    g_assert_cmpuint(files->len, ==, point->contents->len);
    for (guint i = 0; i < files->len; i++)
        check_disk(files->pdata[i], point->contents->pdata[i]);
}

/* Leaks are no harm (a killed daemon leaves some); everything else is. */
static void check_file(const char *path)
{
    const char *const argv[] = {"qemu-img", "check", "-q", "-U", "-f", "qcow2", path, NULL};
    g_autoptr(GError) error = NULL;

    if (!process_run(argv, 60000, -1, 1024 * 1024, NULL, &error) && !strstr(error->message, "status 3"))
        g_error("%s", error->message);
}

void rig_check_points(Rig *rig)
{
    g_autoptr(GPtrArray) points = store_points(rig->store);

    for (guint i = 0; i < points->len; i++) {
        const StorePoint *point = points->pdata[i];
        const RigPoint *expected = rig_find_point(rig, point->generation->id);
        g_autoptr(GPtrArray) files = NULL;
        GError *error = NULL;
        StoreLease *lease = store_lease_share(rig->store, point->generation->id, &files, &error);

        g_assert_no_error(error);
        g_assert_nonnull(expected);
        rig_check_files(files, expected);
        for (guint k = 0; i == 0 && k < files->len; k++) {
            const StoreFiles *chain = files->pdata[k];

            for (guint f = 0; f < chain->files->len; f++)
                if (g_str_equal(chain->formats->pdata[f], "qcow2"))
                    check_file(chain->files->pdata[f]);
        }
        store_lease_release(rig->store, lease);
    }
}

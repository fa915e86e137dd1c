/* SPDX-License-Identifier: Apache-2.0 */
/* What the world does to a standby: file systems that fail, fill up or turn read-only, a storage
 * daemon killed, files damaged. Each time the tip is untouched, the error says what to do, and it
 * goes on as soon as the world allows. */
#include "rig.h"

#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/fault.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

static void assert_error(GError *error, int code, const char *pattern)
{
    g_assert_error(error, US_ERROR, code);
    if (!g_pattern_match_simple(pattern, error->message))
        g_error("'%s' is not like '%s'", error->message, pattern);
    g_error_free(error);
}

static guint64 tip_of(const Rig *rig)
{
    return store_tip(rig->store) ? store_tip(rig->store)->sequence : 0;
}

#ifdef UNDERSTUDY_STOP_POINTS

/* One generation whose sealing meets the armed fault. */
static gboolean cut_with_fault(Rig *rig, guint nth, int errnum, GError **error)
{
    g_autoptr(Generation) g = rig_generation(rig);
    GError *why = NULL;
    gboolean ok;

    rig_scribble(rig, 0, 3);
    rig_begin(rig, g, &why);
    g_assert_no_error(why);
    rig_write(rig, &why);
    g_assert_no_error(why);
    fault_arm(nth, errnum);
    ok = rig_seal(rig, g, error);
    return ok;
}

/* The 1st, 2nd, 3rd … step of a seal fails, until a seal meets no fault any more. */
static void test_every_step_of_a_seal(gconstpointer user)
{
    int errnum = GPOINTER_TO_INT(user);
    g_autoptr(Rig) rig = rig_new(1);
    guint steps = 0;

    rig_open(rig);
    rig_cut(rig);
    for (guint n = 1;; n++) {
        guint64 tip = tip_of(rig);
        GError *error = NULL;
        gboolean ok = cut_with_fault(rig, n, errnum, &error);

        if (!fault_was_met()) {
            g_assert_no_error(error);
            g_assert_true(ok);
            break;
        }
        steps++;
        g_assert_false(ok);
        assert_error(
            error, errnum == ENOSPC ? US_ERROR_NO_SPACE : US_ERROR_IO,
            "generation * was not sealed and is discarded, the tip stays *; check the file system of *");
        g_assert_cmpuint(tip_of(rig), ==, tip);
        g_assert_null(store_disk(rig->store, "vda"));
        if (n % 2) {
            rig_close(rig);
            rig_open(rig);
            g_assert_cmpuint(tip_of(rig), ==, tip);
        }
        rig_rewind(rig);
        rig_cut(rig);
        rig_check_points(rig);
    }
    /* Overlay, extents (2), definition, folder, ledger (2). */
    g_assert_cmpuint(steps, >=, 6);
    rig_settle(rig, 10000);
    rig_check_points(rig);
}

/* The same for merging: whatever fails, it comes to its end afterwards and no point is hurt. */
static void test_every_step_of_a_merge(void)
{
    g_autoptr(Rig) rig = rig_new(1);
    guint steps = 0;

    rig->options.retain = (RetentionPolicy){.newest = 2};
    rig_open(rig);
    rig_cut(rig);
    rig_cut(rig);
    rig_settle(rig, 10000);
    for (guint n = 1;; n++) {
        GError *error = NULL;
        gboolean failed = FALSE;

        rig_cut(rig);
        fault_arm(n, EIO);
        for (guint i = 0; i < 400 && !failed && store_timeout_ms(rig->store) >= 0; i++) {
            g_usleep(1000);
            failed = !store_pump(rig->store, &error);
        }
        if (!fault_was_met()) {
            g_assert_false(failed);
            break;
        }
        g_clear_error(&error);
        steps++;
        g_assert_cmpuint(tip_of(rig), ==, rig->sequence);
        rig_close(rig);
        rig_open(rig);
        rig_check_points(rig);
        rig_settle(rig, 10000);
        rig_check_points(rig);
    }
    g_assert_cmpuint(steps, >=, 8);
}

#endif

static void test_full(void)
{
    g_autoptr(Rig) rig = rig_new(1);
    GError *error = NULL;
    gboolean full = FALSE;

    if (!rig_mount(rig, "12m")) {
        g_test_skip("may not mount");
        return;
    }
    rig_open(rig);
    while (!full) {
        g_autoptr(Generation) g = rig_generation(rig);

        g_assert_cmpuint(rig->sequence, <, 50);
        rig_scribble(rig, 0, 30);
        full = !rig_begin(rig, g, &error) || !rig_write(rig, &error) || !rig_seal(rig, g, &error);
    }
    g_assert_error(error, US_ERROR, US_ERROR_NO_SPACE);
    g_clear_error(&error);
    store_discard(rig->store, &error);
    g_assert_no_error(error);
    rig_rewind(rig);
    g_assert_cmpuint(tip_of(rig), >=, 1);
    rig_check_points(rig);
    g_assert_true(rig_remount(rig, "remount,size=64m"));
    rig_cut(rig);
    rig_settle(rig, 15000);
    rig_check_points(rig);
}

static void test_read_only(void)
{
    g_autoptr(Rig) rig = rig_new(1);
    GError *error = NULL;

    if (!rig_mount(rig, "64m")) {
        g_test_skip("may not mount");
        return;
    }
    rig_open(rig);
    rig_cut(rig);
    rig_close(rig);
    g_assert_true(rig_remount(rig, "remount,ro"));
    g_assert_null(store_open(&rig->options, &error));
    assert_error(g_steal_pointer(&error), US_ERROR_IO, "*Read-only file system");
    g_assert_true(rig_remount(rig, "remount"));
    rig_open(rig);
    rig_cut(rig);
    rig_check_points(rig);
}

static void test_daemon_killed_while_writing(void)
{
    g_autoptr(Rig) rig = rig_new(2);
    g_autoptr(Generation) g = NULL;
    GError *error = NULL;

    rig_open(rig);
    rig_cut(rig);
    g = rig_generation(rig);
    rig_scribble(rig, 0, 20);
    rig_begin(rig, g, &error);
    g_assert_no_error(error);
    rig_kill_daemon(rig);
    g_assert_false(rig_write(rig, &error));
    g_assert_error(error, US_ERROR, US_ERROR_UNREACHABLE);
    g_clear_error(&error);
    g_assert_false(rig_seal(rig, g, &error));
    assert_error(g_steal_pointer(&error), US_ERROR_UNREACHABLE,
                 "generation * was not sealed and is discarded*");
    store_discard(rig->store, &error);
    g_assert_no_error(error);
    rig_rewind(rig);
    rig_cut(rig);
    rig_check_points(rig);
}

static void test_daemon_killed_while_idle(void)
{
    g_autoptr(Rig) rig = rig_new(1);
    GError *error = NULL;

    rig_open(rig);
    rig_cut(rig);
    rig_settle(rig, 10000);
    rig_kill_daemon(rig);
    g_assert_false(store_pump(rig->store, &error));
    assert_error(g_steal_pointer(&error), US_ERROR_UNREACHABLE,
                 "the storage daemon is lost and will be started again*");
    g_assert_cmpint(store_timeout_ms(rig->store), ==, 0);
    rig_settle(rig, 10000);
    rig_cut(rig);
    rig_check_points(rig);
}

static void test_daemon_killed_while_merging(void)
{
    g_autoptr(Rig) rig = rig_new(2);
    GError *error = NULL;

    rig_open(rig);
    for (guint i = 0; i < 4; i++)
        rig_cut(rig);
    store_set_retention(rig->store, (RetentionPolicy){.newest = 1});
    for (guint i = 0; i < 2; i++) {
        store_pump(rig->store, &error);
        g_assert_no_error(error);
    }
    rig_kill_daemon(rig);
    /* What it had said before its end is taken first. */
    for (guint i = 0; i < 100 && store_pump(rig->store, &error); i++)
        ;
    g_assert_nonnull(error);
    g_clear_error(&error);
    rig_settle(rig, 20000);
    rig_check_points(rig);
    rig_cut(rig);
    rig_settle(rig, 20000);
    rig_check_points(rig);
}

/* ---- damage ---- */

static char *first_image(const Rig *rig)
{
    g_autoptr(GPtrArray) files = NULL;
    GError *error = NULL;
    const RigPoint *point = rig->points->pdata[0];
    StoreLease *lease = store_lease_share(rig->store, point->generation->id, &files, &error);

    g_assert_no_error(error);
    store_lease_release(rig->store, lease);
    return g_strdup(((StoreFiles *)files->pdata[0])->files->pdata[0]);
}

static void assert_corrupt(Rig *rig, const char *pattern)
{
    guint files = rig_count_files(rig, "");
    GError *error = NULL;

    g_assert_null(store_open(&rig->options, &error));
    assert_error(error, US_ERROR_CORRUPT, pattern);
    g_assert_cmpuint(rig_count_files(rig, ""), ==, files);
}

/* Three generations, closed; returns the path of the lowest image, the caller frees. */
static char *three_generations(Rig *rig)
{
    char *path;

    rig_open(rig);
    for (guint i = 0; i < 3; i++)
        rig_cut(rig);
    path = first_image(rig);
    rig_close(rig);
    return path;
}

static void test_image_cut_short(void)
{
    g_autoptr(Rig) rig = rig_new(1);
    g_autofree char *path = three_generations(rig);
    g_autofree char *whole = NULL;
    gsize len;

    g_assert_true(g_file_get_contents(path, &whole, &len, NULL));
    g_assert_cmpint(truncate(path, (off_t)len - 65536), ==, 0);
    assert_corrupt(
        rig, "points that read from a damaged image are lost, nothing was changed; restore the file, or move "
             "the folder away to synchronise anew: image * is cut short: *");
    g_assert_cmpint(truncate(path, 50), ==, 0);
    assert_corrupt(rig, "*image *: it is cut short");
    g_unlink(path);
    assert_corrupt(rig, "*image * is missing");
    g_assert_true(g_file_set_contents(path, whole, (gssize)len, NULL));
    rig_open(rig);
    rig_check_points(rig);
}

/* QEMU reads zeros where a file ends too early: neither a reader nor a VM gets that. A point on files that are whole is not
 * concerned. */
static void test_a_damaged_point_is_not_lent(void)
{
    g_autoptr(Rig) rig = rig_new(1);
    g_autoptr(GPtrArray) files = NULL;
    GError *error = NULL;
    const RigPoint *second, *third;
    g_autofree char *wanted = NULL;
    const char *path;
    StoreLease *lease;
    GStatBuf st;

    rig_open(rig);
    for (guint i = 0; i < 4; i++)
        rig_cut(rig);
    second = rig->points->pdata[1];
    third = rig->points->pdata[2];
    lease = store_lease_share(rig->store, third->generation->id, &files, &error);
    g_assert_no_error(error);
    store_lease_release(rig->store, lease);
    path = ((StoreFiles *)files->pdata[0])->files->pdata[0];
    g_assert_cmpint(g_stat(path, &st), ==, 0);
    g_assert_cmpint(truncate(path, st.st_size / 2), ==, 0);
    wanted = g_strdup_printf(
        "point %s is damaged, and a switchover to it would lose data; restore the file, or move folder %s "
        "away to synchronise anew: image %s is cut short: %" G_GINT64_FORMAT " of %" G_GINT64_FORMAT " bytes",
        ID_TEXT(third->generation->id), rig->dir, path, (gint64)st.st_size / 2, (gint64)st.st_size);
    g_assert_null(store_lease_share(rig->store, third->generation->id, &files, &error));
    assert_error(g_steal_pointer(&error), US_ERROR_CORRUPT, wanted);
    g_assert_null(store_lease_share(rig->store, store_tip(rig->store)->id, &files, &error));
    assert_error(g_steal_pointer(&error), US_ERROR_CORRUPT, "point * is cut short: *");
    g_clear_pointer(&files, g_ptr_array_unref);
    lease = store_lease_share(rig->store, second->generation->id, &files, &error);
    g_assert_no_error(error);
    rig_check_files(files, second);
    store_lease_release(rig->store, lease);
    g_clear_pointer(&files, g_ptr_array_unref);
    g_assert_false(store_promote(rig->store, ID_NIL, clock_steady_ms() + 10000, &files, &error));
    assert_error(error, US_ERROR_CORRUPT, "image * is cut short: *");
}

static void test_image_marked_or_replaced(void)
{
    g_autoptr(Rig) rig = rig_new(1);
    g_autofree char *path = three_generations(rig);
    g_autofree char *whole = NULL;
    gsize len;

    g_assert_true(g_file_get_contents(path, &whole, &len, NULL));
    whole[79] |= 2;
    g_assert_true(g_file_set_contents(path, whole, (gssize)len, NULL));
    assert_corrupt(rig, "*image *: QEMU has marked it corrupt");
    memset(whole, 'x', 512);
    g_assert_true(g_file_set_contents(path, whole, (gssize)len, NULL));
    assert_corrupt(rig, "*image *: it is no qcow2 image of version 3");
}

/* In every image of the folder that names @from as its backing, write @to; how many there were. */
static guint rename_backing(const Rig *rig, const char *from, const char *to)
{
    GDir *dir = g_dir_open(rig->dir, 0, NULL);
    const char *name;
    guint n = 0;

    g_assert_cmpuint(strlen(from), ==, strlen(to));
    while ((name = g_dir_read_name(dir))) {
        g_autofree char *image = g_build_filename(rig->dir, name, NULL);
        g_autofree char *data = NULL;
        gsize len;
        char *at;

        if (!g_str_has_suffix(name, ".qcow2"))
            continue;
        g_assert_true(g_file_get_contents(image, &data, &len, NULL));
        at = memmem(data, MIN(len, 4096), from, strlen(from));
        if (!at)
            continue;
        for (gsize i = 0; to[i]; i++)
            at[i] = to[i];
        g_assert_true(g_file_set_contents(image, data, (gssize)len, NULL));
        n++;
    }
    g_dir_close(dir);
    return n;
}

/* A header that names another backing is corrected; its name was of no consequence. */
static void test_header_is_corrected(void)
{
    g_autoptr(Rig) rig = rig_new(1);
    g_autofree char *path = three_generations(rig);
    g_autofree char *name = g_path_get_basename(path);
    g_autofree char *wrong = g_strdup(name);

    memset(wrong, 'z', 8);
    g_assert_cmpuint(rename_backing(rig, name, wrong), ==, 1);
    rig_open(rig);
    rig_check_points(rig);
    rig_close(rig);
    g_assert_cmpuint(rename_backing(rig, wrong, wrong), ==, 0);
}

static void test_ledger_gone(void)
{
    g_autoptr(Rig) rig = rig_new(1);
    g_autofree char *ledger = g_build_filename(rig->dir, "ledger", NULL);

    g_free(three_generations(rig));
    g_unlink(ledger);
    assert_corrupt(
        rig,
        "this VM's recovery points cannot be told apart any more, nothing was changed; restore the ledger "
        "from a backup, or move the folder away to synchronise anew: folder * holds images but no ledger");
    g_assert_true(g_file_set_contents(ledger, "nonsense\n", -1, NULL));
    assert_corrupt(rig, "this VM's recovery points cannot be told apart any more*line 1: it is no record");
}

/* Leftovers of ours go; what only looks like them, and what is somebody else's, stays. */
static void test_leftovers(void)
{
    static const char *const OURS[] = {
        "01234567-89ab-4def-8123-456789abcdef.vda.qcow2",
        "00000000000000000000000000000000000000000000000000000000000000ab.extents",
        "00000000000000000000000000000000000000000000000000000000000000ab.xml",
    };
    static const char *const OTHERS[] = {
        "notes.txt",
        "web1.qcow2",
        "01234567-89ab-4def-8123-456789abcdef.vda.qcow2.bak",
        "01234567-89ab-4def-8123-456789abcdef.qcow",
        "ab.extents",
    };
    g_autoptr(Rig) rig = rig_new(1);

    g_free(three_generations(rig));
    for (guint i = 0; i < G_N_ELEMENTS(OURS) + G_N_ELEMENTS(OTHERS); i++) {
        const char *name = i < G_N_ELEMENTS(OURS) ? OURS[i] : OTHERS[i - G_N_ELEMENTS(OURS)];
        g_autofree char *file = g_build_filename(rig->dir, name, NULL);

        g_assert_true(g_file_set_contents(file, "x", 1, NULL));
    }
    rig_open(rig);
    for (guint i = 0; i < G_N_ELEMENTS(OURS); i++)
        g_assert_cmpuint(rig_count_files(rig, OURS[i]), ==, 0);
    for (guint i = 0; i < G_N_ELEMENTS(OTHERS); i++)
        g_assert_cmpuint(rig_count_files(rig, OTHERS[i]), >=, 1);
    rig_check_points(rig);
}

/* An unsealed generation with a damaged overlay is given up; what is sealed is not concerned. */
static void test_unsealed_damaged(void)
{
    g_autoptr(Rig) rig = rig_new(1);
    g_autoptr(Generation) g = NULL;
    g_autofree char *sealed = NULL;
    RigDisk *disk = rig->disks->pdata[0];
    StoreProgress progress = {.target = "vda", .has = disk->changed, .changed = disk->changed};
    GError *error = NULL;
    const char *name;
    GDir *dir;

    rig_open(rig);
    rig_cut(rig);
    sealed = first_image(rig);
    g = rig_generation(rig);
    rig_scribble(rig, 0, 9);
    rig_begin(rig, g, &error);
    g_assert_no_error(error);
    rig_write(rig, &error);
    g_assert_no_error(error);
    store_slice(rig->store, rig->session, (StorePass){0}, &progress, 1, &error);
    g_assert_no_error(error);
    rig_close(rig);
    g_assert_cmpuint(rig_count_files(rig, ".vda.qcow2"), ==, 2);
    dir = g_dir_open(rig->dir, 0, NULL);
    while ((name = g_dir_read_name(dir))) {
        g_autofree char *path = g_build_filename(rig->dir, name, NULL);

        if (g_str_has_suffix(name, ".qcow2") && !g_str_equal(path, sealed))
            g_assert_cmpint(truncate(path, 100), ==, 0);
    }
    g_dir_close(dir);
    rig_open(rig);
    g_assert_null(store_partial(rig->store));
    rig_rewind(rig);
    rig_cut(rig);
    rig_check_points(rig);
}

#define ADD(name, function) g_test_add_func("/store-faults/" name, function)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#ifdef UNDERSTUDY_STOP_POINTS
    g_test_add_data_func("/store-faults/every-step-of-a-seal/io", GINT_TO_POINTER(EIO),
                         test_every_step_of_a_seal);
    g_test_add_data_func("/store-faults/every-step-of-a-seal/no-space", GINT_TO_POINTER(ENOSPC),
                         test_every_step_of_a_seal);
    ADD("every-step-of-a-merge", test_every_step_of_a_merge);
#endif
    ADD("daemon-killed-while-writing", test_daemon_killed_while_writing);
    ADD("daemon-killed-while-idle", test_daemon_killed_while_idle);
    ADD("daemon-killed-while-merging", test_daemon_killed_while_merging);
    ADD("image-cut-short", test_image_cut_short);
    ADD("damaged-point-is-not-lent", test_a_damaged_point_is_not_lent);
    ADD("image-marked-or-replaced", test_image_marked_or_replaced);
    ADD("header-is-corrected", test_header_is_corrected);
    ADD("ledger-gone", test_ledger_gone);
    ADD("leftovers", test_leftovers);
    ADD("unsealed-damaged", test_unsealed_damaged);
    ADD("full", test_full);
    ADD("read-only", test_read_only);
    return g_test_run();
}

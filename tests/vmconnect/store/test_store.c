/* SPDX-License-Identifier: Apache-2.0 */
#include "rig.h"

#include "tests/tree.h"
#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/image/daemon_reader.h"
#include "vmconnect/store/store_internal.h"

#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

static void test_generations_read_as_sealed(void)
{
    g_autoptr(Rig) rig = rig_new(2);

    rig_open(rig);
    for (guint i = 0; i < 6; i++) {
        rig_cut(rig);
        rig_settle(rig, 10000);
    }
    rig_check_points(rig);
    rig_close(rig);
    rig_open(rig);
    g_assert_true(id_equal(store_tip(rig->store)->id, ((RigPoint *)rig->points->pdata[5])->generation->id));
    rig_check_points(rig);
    rig_cut(rig);
    rig_check_points(rig);
}

static void test_merging_keeps_the_kept(void)
{
    g_autoptr(Rig) rig = rig_new(2);

    rig->options.retain = (RetentionPolicy){.newest = 3};
    rig_open(rig);
    for (guint i = 0; i < 10; i++) {
        rig_cut(rig);
        rig_settle(rig, 10000);
    }
    g_assert_cmpuint(store_points(rig->store)->len, ==, 3);
    rig_check_points(rig);
    rig_close(rig);
    rig_open(rig);
    rig_check_points(rig);
    rig_cut(rig);
    rig_settle(rig, 10000);
    rig_check_points(rig);
}

static void assert_refused(GError *error, int code, const char *pattern)
{
    g_assert_error(error, US_ERROR, code);
    if (!g_pattern_match_simple(pattern, error->message))
        g_error("'%s' is not like '%s'", error->message, pattern);
    g_error_free(error);
}

static guint n_points(const Rig *rig)
{
    g_autoptr(GPtrArray) points = store_points(rig->store);

    return points->len;
}

static void test_an_idle_disk_costs_no_file(void)
{
    g_autoptr(Rig) rig = rig_new(2);
    GError *error = NULL;

    rig_open(rig);
    rig_cut(rig);
    rig_settle(rig, 10000);
    for (guint i = 0; i < 3; i++) {
        g_autoptr(Generation) g = rig_generation(rig);

        rig_scribble(rig, 0, 3);
        rig_begin(rig, g, &error);
        g_assert_no_error(error);
        rig_write(rig, &error);
        g_assert_no_error(error);
        rig_seal(rig, g, &error);
        g_assert_no_error(error);
        rig_settle(rig, 10000);
    }
    g_assert_cmpuint(rig_count_files(rig, ".vda.qcow2"), ==, 5);
    g_assert_cmpuint(rig_count_files(rig, ".vdb.qcow2"), ==, 2);
    rig_check_points(rig);
}

static void test_disks_come_go_and_grow(void)
{
    g_autoptr(Rig) rig = rig_new(2);

    rig->options.retain = (RetentionPolicy){.newest = 4};
    rig_open(rig);
    rig_cut(rig);
    rig_cut(rig);
    rig_remove_disk(rig, "vdb");
    rig_cut(rig);
    rig_settle(rig, 10000);
    rig_resize_disk(rig, "vda", 3 * RIG_DISK);
    rig_cut(rig);
    rig_check_points(rig);
    rig_add_disk(rig, "vdb", RIG_DISK / 2);
    rig_cut(rig);
    rig_check_points(rig);
    rig_settle(rig, 10000);
    for (guint i = 0; i < 6; i++) {
        rig_cut(rig);
        rig_settle(rig, 10000);
        rig_check_points(rig);
    }
    /* Nothing of the vdb that ended is left. */
    g_assert_cmpuint(rig_count_files(rig, ".vdb.qcow2"), ==, 5);
    rig_resize_disk(rig, "vda", RIG_DISK);
    rig_cut(rig);
    rig_cut(rig);
    rig_close(rig);
    rig_open(rig);
    rig_settle(rig, 10000);
    rig_check_points(rig);
}

static void test_late_sessions_are_refused(void)
{
    g_autoptr(Rig) rig = rig_new(1);
    g_autoptr(Generation) g = NULL;
    GError *error = NULL;
    guint64 old;

    rig_open(rig);
    rig_cut(rig);
    old = rig->session;
    g = rig_generation(rig);
    rig_scribble(rig, 0, 3);
    rig_begin(rig, g, &error);
    g_assert_no_error(error);
    rig_write(rig, &error);
    g_assert_no_error(error);
    store_attach(rig->store, rig->reign, old + 1, &error);
    g_assert_no_error(error);
    g_assert_null(store_disk(rig->store, "vda"));
    g_assert_false(rig_seal(rig, g, &error));
    assert_refused(g_steal_pointer(&error), US_ERROR_REFUSED, "session 1 is over, 2 is the newest");
    g_assert_false(rig_begin(rig, g, &error));
    assert_refused(g_steal_pointer(&error), US_ERROR_REFUSED, "session 1 is over, 2 is the newest");
    g_assert_false(store_confirm(rig->store, old, store_tip(rig->store)->id, 5, &error));
    assert_refused(g_steal_pointer(&error), US_ERROR_REFUSED, "session 1 is over, 2 is the newest");
    g_assert_false(store_attach(rig->store, rig->reign, old + 1, &error));
    assert_refused(g_steal_pointer(&error), US_ERROR_REFUSED, "session 2 is not newer than 2");
    g_assert_false(store_attach(rig->store, (Reign){.number = 1, .id = id_random()}, 9, &error));
    assert_refused(g_steal_pointer(&error), US_ERROR_REFUSED, "two hosts claim reign 1: *");
    rig->session = old + 1;
    rig->sequence--;
    g_assert_cmpuint(store_session(rig->store), ==, old + 1);
    rig_cut(rig);
    store_attach(rig->store, (Reign){.number = 2, .id = id_random()}, 1, &error);
    g_assert_no_error(error);
    g_assert_false(store_attach(rig->store, rig->reign, 10, &error));
    assert_refused(g_steal_pointer(&error), US_ERROR_REFUSED, "reign 1 is over, this copy follows reign 2");
    rig_check_points(rig);
}

static void test_what_does_not_fit_is_refused(void)
{
    g_autoptr(Rig) rig = rig_new(1);
    g_autoptr(Generation) g = NULL;
    GError *error = NULL;

    rig_open(rig);
    rig_cut(rig);
    g = rig_generation(rig);
    g->parent = id_random();
    g_assert_false(rig_begin(rig, g, &error));
    assert_refused(g_steal_pointer(&error), US_ERROR_REFUSED, "generation * stands on *, but the tip is *");
    g->parent = store_tip(rig->store)->id;
    g->since = id_random();
    g_assert_false(rig_begin(rig, g, &error));
    assert_refused(g_steal_pointer(&error), US_ERROR_REFUSED, "*is no ancestor of the tip: send everything");
    g->since = ID_NIL;
    g->sequence = 1;
    g_assert_false(rig_begin(rig, g, &error));
    assert_refused(g_steal_pointer(&error), US_ERROR_REFUSED, "generation * is number 1 after number 1");
    g->sequence = 2;
    ((GenerationDisk *)g->disks->pdata[0])->size_bytes = 1000;
    g_assert_false(rig_begin(rig, g, &error));
    assert_refused(g_steal_pointer(&error), US_ERROR_UNSUPPORTED, "disk vda has 1000 bytes, *");
    g_assert_false(rig_seal(rig, g, &error));
    assert_refused(g_steal_pointer(&error), US_ERROR_REFUSED, "no generation is begun*");
}

static void test_discard_leaves_the_tip(void)
{
    g_autoptr(Rig) rig = rig_new(2);
    GError *error = NULL;

    rig_open(rig);
    rig_cut(rig);
    for (guint i = 0; i < 3; i++) {
        g_autoptr(Generation) g = rig_generation(rig);

        rig_scribble(rig, 0, 8);
        rig_begin(rig, g, &error);
        g_assert_no_error(error);
        rig_write(rig, &error);
        g_assert_no_error(error);
        store_discard(rig->store, &error);
        g_assert_no_error(error);
        g_assert_null(store_disk(rig->store, "vda"));
        rig->sequence--;
        rig_check_points(rig);
    }
    rig_rewind(rig);
    rig_cut(rig);
    rig_check_points(rig);
    g_assert_cmpuint(n_points(rig), ==, 2);
}

static void test_confirm_outlives_a_restart(void)
{
    g_autoptr(Rig) rig = rig_new(1);
    GError *error = NULL;
    gint64 later;

    rig_open(rig);
    rig_cut(rig);
    later = store_tip(rig->store)->cut_at_ms + 60000;
    store_confirm(rig->store, rig->session, store_tip(rig->store)->id, later, &error);
    g_assert_no_error(error);
    rig_close(rig);
    rig_open(rig);
    g_assert_cmpint(store_truth_ms(rig->store), ==, later);
    g_assert_false(store_confirm(rig->store, rig->session, id_random(), later, &error));
    assert_refused(g_steal_pointer(&error), US_ERROR_REFUSED, "generation * is not the tip*");
}

static DaemonReader *offer(const char *run_dir, const StoreFiles *files)
{
    g_autofree ReaderLayer *layers = g_new0(ReaderLayer, files->files->len);
    GError *error = NULL;
    DaemonReader *reader = daemon_reader_start(run_dir, "reader", &error);

    g_assert_no_error(error);
    for (guint i = 0; i < files->files->len; i++)
        layers[i] = (ReaderLayer){files->files->pdata[i], files->formats->pdata[i], TRUE};
    daemon_reader_add(reader, files->target, layers, files->files->len, NULL, &error);
    g_assert_no_error(error);
    return reader;
}

static void check_offer(const DaemonReader *reader, const StoreFiles *files, const RigPoint *point)
{
    g_autofree char *uri =
        g_strdup_printf("nbd+unix:///%s?socket=%s", files->target, daemon_reader_nbd_path(reader));

    rig_check_source(uri, point->contents->pdata[0]);
}

/* A reader without locks reads on what it has open, whatever is merged around it: only its point must stay. */
static void test_a_reader_beside_merges(void)
{
    g_autoptr(Rig) rig = rig_new(1);
    g_autofree char *run_dir = g_dir_make_tmp("reader-XXXXXX", NULL);
    g_autoptr(DaemonReader) reader = NULL;
    g_autoptr(GPtrArray) files = NULL;
    const RigPoint *fourth;
    StoreLease *lease;
    GError *error = NULL;

    rig_open(rig);
    for (guint i = 0; i < 8; i++)
        rig_cut(rig);
    fourth = rig->points->pdata[3];
    lease = store_lease_share(rig->store, fourth->generation->id, &files, &error);
    g_assert_no_error(error);
    reader = offer(run_dir, files->pdata[0]);
    check_offer(reader, files->pdata[0], fourth);
    store_set_retention(rig->store, (RetentionPolicy){.newest = 1});
    for (guint round = 0; round < 3; round++) {
        rig_settle(rig, 10000);
        g_assert_cmpuint(n_points(rig), ==, 2);
        check_offer(reader, files->pdata[0], fourth);
        for (guint i = 0; i < 3; i++)
            rig_cut(rig);
        check_offer(reader, files->pdata[0], fourth);
    }
    rig_settle(rig, 10000);
    g_assert_cmpuint(rig_count_files(rig, ".vda.qcow2"), <=, 4);
    rig_check_points(rig);
    store_lease_release(rig->store, lease);
    rig_settle(rig, 10000);
    g_assert_cmpuint(n_points(rig), ==, 1);
    rig_check_points(rig);
    g_clear_pointer(&files, g_ptr_array_unref);
    g_assert_null(store_lease_share(rig->store, fourth->generation->id, &files, &error));
    assert_refused(g_steal_pointer(&error), US_ERROR_NOT_FOUND, "point * is not kept here*");
    g_clear_pointer(&reader, daemon_reader_free);
    tree_remove(run_dir);
}

/* Pump until the copying of a merge is under way. */
static void begin_merging(Rig *rig)
{
    GError *error = NULL;

    store_set_retention(rig->store, (RetentionPolicy){.newest = 1});
    for (guint i = 0; i < 2; i++) {
        store_pump(rig->store, &error);
        g_assert_no_error(error);
    }
    g_assert_nonnull(rig->store->merge.commits);
}

/* While a generation comes in a merge copies and pauses in turns, and comes to its end all the same. */
static void test_a_merge_takes_turns(void)
{
    g_autoptr(Rig) rig = rig_new(2);
    g_autoptr(Generation) g = NULL;
    guint paused = 0;
    GError *error = NULL;

    rig_open(rig);
    for (guint i = 0; i < 4; i++) {
        rig_scribble(rig, 0, 60);
        rig_cut(rig);
    }
    g = rig_generation(rig);
    rig_begin(rig, g, &error);
    g_assert_no_error(error);
    /* The first turn is over at once: the copying might be through before a longer one is. */
    rig->store->merge.turn_len_ms = 0;
    store_set_retention(rig->store, (RetentionPolicy){.newest = 1});
    for (guint i = 0; i < 2000 && store_timeout_ms(rig->store) >= 0; i++) {
        if (paused || i > 8) {
            rig->store->merge.turn_len_ms = 2;
            g_usleep(1000);
        }
        store_pump(rig->store, &error);
        g_assert_no_error(error);
        paused += rig->store->merge.paused;
    }
    g_assert_cmpint(store_timeout_ms(rig->store), ==, -1);
    g_assert_cmpuint(paused, >, 0);
    rig_scribble(rig, 0, 5);
    rig_write(rig, &error);
    g_assert_no_error(error);
    rig_seal(rig, g, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(n_points(rig), ==, 2);
    rig_check_points(rig);
}

static void pump(Rig *rig)
{
    GError *error = NULL;

    store_pump(rig->store, &error);
    g_assert_no_error(error);
}

/* Of all copying that goes on; 0: no limit. FALSE if it has ended already. */
static gboolean limit_copying(Rig *rig, guint64 bytes_per_s)
{
    json_auto_t *jobs = NULL;
    gboolean copies = FALSE;
    GError *error = NULL;
    json_t *job;
    gsize i;

    storage_daemon_call(rig->store->daemon, "query-jobs", NULL, &jobs, &error);
    g_assert_no_error(error);
    json_array_foreach(jobs, i, job)
    {
        copies |= json_integer_value(json_object_get(job, "current-progress")) <
                  json_integer_value(json_object_get(job, "total-progress"));
        storage_daemon_call(
            rig->store->daemon, "block-job-set-speed",
            json_pack("{s:O, s:I}", "device", json_object_get(job, "id"), "speed", (json_int_t)bytes_per_s),
            NULL, NULL);
    }
    return copies;
}

/* Pump until a merge is where @there says; fails after a minute, or if it is over. */
static void pump_until(Rig *rig, gboolean (*there)(const StoreMerge *merge, const LedgerMerge *journal))
{
    gint64 deadline = clock_steady_ms() + 60000;

    while (!there(&rig->store->merge, store_ledger(rig->store)->merge)) {
        g_assert_cmpint(clock_steady_ms(), <, deadline);
        pump(rig);
        g_assert_nonnull(store_ledger(rig->store)->merge);
    }
}

static gboolean copies(const StoreMerge *merge, const LedgerMerge *journal)
{
    (void)journal;
    return merge->copying->len > 0 && !merge->paused;
}

static gboolean pauses(const StoreMerge *merge, const LedgerMerge *journal)
{
    (void)journal;
    return merge->copying->len > 0 && merge->paused;
}

static gboolean writes_out(const StoreMerge *merge, const LedgerMerge *journal)
{
    (void)journal;
    return merge->written_bytes > 0;
}

static gboolean removes(const StoreMerge *merge, const LedgerMerge *journal)
{
    (void)merge;
    return journal->state == LEDGER_SWITCHED;
}

/* How far a merge is, so that more is further; 3: what was copied is in place. */
static guint progress(const Rig *rig)
{
    const LedgerMerge *journal = store_ledger(rig->store)->merge;

    g_assert_nonnull(journal);
    if (journal->state != LEDGER_WITHDRAWN)
        return 3;
    return rig->store->merge.copying->len > 0 ? 1 : 2;
}

/* A generation comes in, and is sealed when the merge has come to @there: it is no further afterwards. */
static void seal_where(Rig *rig, gboolean (*there)(const StoreMerge *, const LedgerMerge *))
{
    g_autoptr(Generation) g = rig_generation(rig);
    GError *error = NULL;
    guint before;

    rig_scribble(rig, 0, 5);
    rig_begin(rig, g, &error);
    g_assert_no_error(error);
    pump_until(rig, there);
    before = progress(rig);
    rig_write(rig, &error);
    g_assert_no_error(error);
    pump(rig);
    rig_seal(rig, g, &error);
    g_assert_no_error(error);
    pump(rig);
    g_assert_cmpuint(progress(rig), ==, before);
}

/* Of @rig, which has no disk yet. */
static void begin_a_large_merge(Rig *rig)
{
    rig_add_disk(rig, "vda", 128 * 1024 * (guint64)1024);
    rig_open(rig);
    for (guint i = 0; i < 2; i++) {
        rig_scribble(rig, 0, 4000);
        rig_cut(rig);
    }
    begin_merging(rig);
}

/* However much is merged, and whatever of it is being done, a seal is answered before its end. */
static void test_seals_beside_a_large_merge(void)
{
    g_autoptr(Rig) rig = rig_new(0);

    begin_a_large_merge(rig);
    while (!limit_copying(rig, 1)) { /* a byte a second: never done */
        store_merge_stop(rig->store, NULL);
        begin_merging(rig);
    }
    store_set_retention(rig->store, (RetentionPolicy){.newest = 1000});
    rig->store->merge.turn_len_ms = 1;
    seal_where(rig, pauses);
    seal_where(rig, copies);
    g_assert_true(limit_copying(rig, 0));
    seal_where(rig, writes_out);
    seal_where(rig, removes);
    /* What is left of the files that went is removed, however long it still is. */
    rig_close(rig);
    rig_open(rig);
    rig_settle(rig, 10000);
    g_assert_cmpuint(n_points(rig), ==, 5);
    g_assert_cmpuint(rig_count_files(rig, ".vda.qcow2"), ==, 6);
    rig_check_points(rig);
}

/* The files of the tip are being merged: nothing is written while a reader of the tip opens them, and all is merged while it reads. */
static void test_a_reader_interrupts_a_merge(void)
{
    g_autoptr(Rig) rig = rig_new(1);
    g_autofree char *run_dir = g_dir_make_tmp("reader-XXXXXX", NULL);
    g_autoptr(DaemonReader) reader = NULL;
    g_autoptr(GPtrArray) files = NULL;
    const RigPoint *tip;
    StoreLease *lease;
    GError *error = NULL;

    rig_open(rig);
    for (guint i = 0; i < 5; i++)
        rig_cut(rig);
    tip = rig->points->pdata[4];
    begin_merging(rig);
    g_assert_cmpint(store_timeout_ms(rig->store), >=, 0);
    lease = store_lease_share(rig->store, tip->generation->id, &files, &error);
    g_assert_no_error(error);
    g_assert_null(rig->store->merge.commits);
    reader = offer(run_dir, files->pdata[0]);
    while (store_timeout_ms(rig->store) >= 0) {
        store_pump(rig->store, &error);
        g_assert_no_error(error);
        check_offer(reader, files->pdata[0], tip);
    }
    g_assert_cmpuint(n_points(rig), ==, 1);
    rig_cut(rig);
    rig_settle(rig, 10000);
    g_assert_cmpuint(n_points(rig), ==, 2);
    check_offer(reader, files->pdata[0], tip);
    store_lease_release(rig->store, lease);
    rig_settle(rig, 10000);
    g_assert_cmpuint(n_points(rig), ==, 1);
    rig_check_points(rig);
    g_clear_pointer(&reader, daemon_reader_free);
    tree_remove(run_dir);
}

/* A file that loses its name is cut off piece by piece, but not while a reader may have it open. */
static void test_what_is_read_is_not_cut(void)
{
    g_autoptr(Rig) rig = rig_new(0);
    g_autofree char *run_dir = g_dir_make_tmp("reader-XXXXXX", NULL);
    g_autoptr(DaemonReader) reader = NULL;
    g_autoptr(GPtrArray) files = NULL;
    const RigPoint *third;
    StoreLease *lease;
    GError *error = NULL;

    rig_add_disk(rig, "vda", 32 * 1024 * 1024);
    rig_open(rig);
    for (guint i = 0; i < 4; i++) {
        rig_scribble(rig, 0, 400);
        rig_cut(rig);
    }
    third = rig->points->pdata[2];
    lease = store_lease_share(rig->store, third->generation->id, &files, &error);
    g_assert_no_error(error);
    reader = offer(run_dir, files->pdata[0]);
    store_set_retention(rig->store, (RetentionPolicy){.newest = 1});
    rig_settle(rig, 20000);
    g_assert_cmpuint(n_points(rig), ==, 2);
    check_offer(reader, files->pdata[0], third);
    store_lease_release(rig->store, lease);
    g_clear_pointer(&reader, daemon_reader_free);
    tree_remove(run_dir);
}

static void test_pinned_points_stay(void)
{
    g_autoptr(Rig) rig = rig_new(1);
    GError *error = NULL;
    Id id;

    rig->options.retain = (RetentionPolicy){.newest = 2};
    rig_open(rig);
    rig_cut(rig);
    rig_cut(rig);
    id = store_tip(rig->store)->id;
    store_pin(rig->store, id, TRUE, &error);
    g_assert_no_error(error);
    for (guint i = 0; i < 5; i++) {
        rig_cut(rig);
        rig_settle(rig, 10000);
    }
    rig_close(rig);
    rig_open(rig);
    g_assert_cmpuint(n_points(rig), ==, 3);
    rig_check_points(rig);
    store_pin(rig->store, id, FALSE, &error);
    g_assert_no_error(error);
    rig_settle(rig, 10000);
    g_assert_cmpuint(n_points(rig), ==, 2);
    rig_check_points(rig);
}

/* All that may be pinned can be borne, however long it stays so. */
static void test_pins_leave_room(void)
{
    g_autoptr(Rig) rig = rig_new(1);
    GError *error = NULL;
    Id id[7];

    rig->options.retain = (RetentionPolicy){.newest = 50};
    rig_open(rig);
    for (guint i = 0; i < G_N_ELEMENTS(id); i++) {
        rig_cut(rig);
        id[i] = store_tip(rig->store)->id;
    }
    for (guint i = 0; i < 6; i++) {
        g_assert_true(store_pin(rig->store, id[i], TRUE, &error));
        g_assert_no_error(error);
    }
    g_assert_false(store_pin(rig->store, id[6], TRUE, &error));
    assert_refused(
        g_steal_pointer(&error), US_ERROR_REFUSED,
        "point * cannot be pinned: 6 points are, retention names 50 more, and of the 64 files of a chain 8 "
        "are for merging: *; release a pinned point, or let retain name fewer");
    g_assert_true(store_pin(rig->store, id[5], TRUE, &error));
    for (guint i = 0; i < 70; i++) {
        rig_cut(rig);
        g_assert_cmpint(store_room(rig->store, NULL), ==, STORE_ROOM_FREE);
        rig_settle(rig, 10000);
    }
    g_assert_cmpuint(n_points(rig), ==, 56);
    g_assert_true(store_pin(rig->store, id[0], FALSE, &error));
    g_assert_true(store_pin(rig->store, store_tip(rig->store)->id, TRUE, &error));
    g_assert_no_error(error);
    g_assert_false(store_pin(rig->store, id_random(), TRUE, &error));
    assert_refused(g_steal_pointer(&error), US_ERROR_NOT_FOUND, "point * is not kept here*");
}

static void test_a_chain_is_not_endless(void)
{
    g_autoptr(Rig) rig = rig_new(1);
    g_autoptr(Generation) g = NULL;
    g_autofree char *why = NULL;
    GError *error = NULL;

    rig_open(rig);
    for (guint i = 0; i < 62; i++) {
        g_assert_cmpint(store_room(rig->store, NULL), ==, STORE_ROOM_FREE);
        rig_cut(rig);
    }
    store_set_retention(rig->store, (RetentionPolicy){.newest = 10});
    g_assert_cmpint(store_room(rig->store, &why), ==, STORE_ROOM_SLOW);
    g_assert_cmpstr(why, ==,
                    "the chain of disk vda has 63 of at most 64 files, 8 points wait for being merged");
    store_set_retention(rig->store, (RetentionPolicy){.newest = 1000});
    rig_cut(rig);
    g_assert_cmpint(store_room(rig->store, NULL), ==, STORE_ROOM_NONE);
    g = rig_generation(rig);
    g_assert_false(rig_begin(rig, g, &error));
    assert_refused(
        g_steal_pointer(&error), US_ERROR_REFUSED,
        "no further generation can be taken: the chain of disk vda has 64 of at most 64 files, 0 points wait "
        "for being merged; keep fewer points, or unpin some");
    rig->sequence--;
    store_set_retention(rig->store, (RetentionPolicy){.newest = 5});
    rig_settle(rig, 60000);
    g_assert_cmpint(store_room(rig->store, NULL), ==, STORE_ROOM_FREE);
    rig_cut(rig);
    rig_check_points(rig);
}

#define READ_BYTES (1024 * 1024)

static void on_read(void *user, const GError *error)
{
    g_assert_no_error(error);
    ++*(guint *)user;
}

/* Who compares has many reads in flight, whose answers wait in a socket for him: a merge that ends meanwhile takes them,
 * or the daemon, which waits for that, and he would wait for each other. */
static void test_a_merge_beside_reads(void)
{
    g_autoptr(Rig) rig = rig_new(0);
    g_autoptr(Generation) g = NULL;
    g_autofree guint8 *data = g_malloc(READ_BYTES);
    GError *error = NULL;
    guint asked = 0, done = 0;
    NbdDisk *disk;

    begin_a_large_merge(rig);
    rig->store->merge.turn_len_ms = 1;
    g = rig_generation(rig);
    rig_begin(rig, g, &error);
    g_assert_no_error(error);
    pump_until(rig, writes_out);
    disk = store_disk(rig->store, "vda");
    for (; nbd_disk_has_room(disk); asked++) {
        nbd_disk_read(disk, data, (guint64)asked * READ_BYTES, READ_BYTES, on_read, &done, &error);
        g_assert_no_error(error);
    }
    while (store_ledger(rig->store)->merge->state == LEDGER_WITHDRAWN)
        pump(rig);
    nbd_disk_drain(disk, 10000, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(done, ==, asked);
    rig_write(rig, &error);
    rig_seal(rig, g, &error);
    g_assert_no_error(error);
    rig_settle(rig, 60000);
    rig_check_points(rig);
}

/* That a daemon is too slow to say that a base is durable, or has died, is no reason never to merge again. */
static void test_a_silent_daemon_in_a_merge(void)
{
    g_autoptr(Rig) rig = rig_new(0);
    GError *error = NULL;

    begin_a_large_merge(rig);
    rig->store->merge.turn_len_ms = 1;
    pump_until(rig, writes_out);
    storage_daemon_set_timeout(rig->store->daemon, 200);
    g_assert_cmpint(kill(storage_daemon_pid(rig->store->daemon), SIGSTOP), ==, 0);
    while (store_pump(rig->store, &error))
        ;
    g_assert_true(g_str_has_prefix(error->message, "merging old points goes wrong"));
    g_clear_error(&error);
    rig->store->merge.retry_ms = 0;
    g_assert_null(rig->store->merge.given_up);
    g_assert_cmpint(store_ledger(rig->store)->merge->state, ==, LEDGER_WITHDRAWN);
    rig_settle(rig, 60000);
    g_assert_null(store_ledger(rig->store)->merge);
    rig_check_points(rig);
    rig_cut(rig);
    rig_check_points(rig);
}

typedef struct {
    Reign over; /* nothing of it is sealed; number 0: all is */
    guint asked, sealed;
} Notary;

static gboolean may_seal(void *user, Reign reign, GError **error)
{
    Notary *notary = user;

    notary->asked++;
    if (!reign_equal(notary->over, reign))
        return TRUE;
    g_set_error(error, US_ERROR, US_ERROR_OVERTAKEN, "that reign is over");
    return FALSE;
}

static void on_sealed(void *user)
{
    ((Notary *)user)->sealed++;
}

/* A reign that is over when its last generation is about to be sealed has one less. */
static void test_a_reign_that_is_over(void)
{
    g_autoptr(Rig) rig = rig_new(1);
    Notary notary = {0};
    GError *error = NULL;

    rig->options.notary = (StoreNotary){may_seal, on_sealed, &notary};
    rig_open(rig);
    rig_cut(rig);
    g_assert_cmpuint(notary.sealed, ==, 1);
    notary.over = rig->reign;
    rig_scribble(rig, 0, 5);
    {
        g_autoptr(Generation) g = rig_generation(rig);

        rig_begin(rig, g, &error);
        g_assert_no_error(error);
        rig_write(rig, &error);
        g_assert_no_error(error);
        g_assert_false(rig_seal(rig, g, &error));
        g_assert_error(error, US_ERROR, US_ERROR_OVERTAKEN);
        g_clear_error(&error);
    }
    g_assert_cmpuint(notary.asked, ==, 2);
    g_assert_cmpuint(notary.sealed, ==, 1);
    g_assert_cmpuint(n_points(rig), ==, 1);
    notary.over = (Reign){0};
    rig_cut(rig);
    g_assert_cmpuint(notary.sealed, ==, 2);
    g_assert_cmpuint(n_points(rig), ==, 2);
    rig_check_points(rig);
}

/* A daemon that makes a base durable may take minutes. Who has to promote does not wait for that, and the merge goes on afterwards if
 * nothing came of it. */
static void test_a_merge_in_a_hurry(void)
{
    g_autoptr(Rig) rig = rig_new(0);
    int hurry_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    eventfd_t rung;
    GError *error = NULL;

    rig->options.hurry_fd = hurry_fd;
    begin_a_large_merge(rig);
    rig->store->merge.turn_len_ms = 1;
    pump_until(rig, writes_out);
    while (rig->store->merge.written_disks == 0)
        pump(rig);
    g_assert_cmpint(kill(storage_daemon_pid(rig->store->daemon), SIGSTOP), ==, 0);
    eventfd_write(hurry_fd, 1);
    g_assert_false(store_pump(rig->store, &error));
    g_assert_error(error, US_ERROR, US_ERROR_CANCELLED);
    g_clear_error(&error);
    g_assert_null(rig->store->daemon);
    g_assert_null(rig->store->merge.given_up);
    g_assert_cmpint(store_ledger(rig->store)->merge->state, ==, LEDGER_WITHDRAWN);
    eventfd_read(hurry_fd, &rung);
    rig->store->merge.retry_ms = 0;
    rig_settle(rig, 60000);
    g_assert_null(store_ledger(rig->store)->merge);
    rig_check_points(rig);
    rig_close(rig);
    close(hurry_fd);
}

static void test_promotion_in_a_merge(void)
{
    g_autoptr(Rig) rig = rig_new(2);
    g_autoptr(GPtrArray) files = NULL;
    g_autoptr(GPtrArray) again = NULL;
    const RigPoint *tip;
    GError *error = NULL;

    rig_open(rig);
    for (guint i = 0; i < 5; i++)
        rig_cut(rig);
    tip = rig->points->pdata[4];
    begin_merging(rig);
    store_promote(rig->store, ID_NIL, clock_steady_ms() + 5000, &files, &error);
    g_assert_no_error(error);
    rig_check_files(files, tip);
    g_assert_true(id_equal(store_promoted(rig->store), tip->generation->id));
    g_assert_cmpint(store_timeout_ms(rig->store), ==, -1);
    g_assert_false(store_attach(rig->store, rig->reign, rig->session + 1, &error));
    assert_refused(g_steal_pointer(&error), US_ERROR_REFUSED, "this copy was promoted*");
    g_assert_false(store_confirm(rig->store, rig->session, tip->generation->id, 1, &error));
    assert_refused(g_steal_pointer(&error), US_ERROR_REFUSED, "this copy was promoted*");
    store_promote(rig->store, ID_NIL, 0, &again, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(((StoreFiles *)files->pdata[0])->files->pdata[0], ==,
                    ((StoreFiles *)again->pdata[0])->files->pdata[0]);
    g_clear_pointer(&again, g_ptr_array_unref);
    g_assert_false(store_promote(rig->store, id_random(), 0, &again, &error));
    assert_refused(g_steal_pointer(&error), US_ERROR_REFUSED, "point * was promoted already*");
    g_assert_false(store_purge(g_steal_pointer(&rig->store), &error));
    assert_refused(g_steal_pointer(&error), US_ERROR_REFUSED, "a VM runs from *");
    rig->store = store_open(&rig->options, &error);
    g_assert_no_error(error);
    store_demote(rig->store, &error);
    g_assert_no_error(error);
    rig_close(rig);
    rig_open(rig);
    rig_cut(rig);
    rig_settle(rig, 10000);
    rig_check_points(rig);
}

/* No time at all: the daemon is killed, and it is as well. */
static void test_promotion_of_an_old_point_by_force(void)
{
    g_autoptr(Rig) rig = rig_new(1);
    g_autoptr(GPtrArray) files = NULL;
    const RigPoint *old;
    GError *error = NULL;

    rig_open(rig);
    for (guint i = 0; i < 4; i++)
        rig_cut(rig);
    old = rig->points->pdata[1];
    store_promote(rig->store, old->generation->id, 0, &files, &error);
    g_assert_no_error(error);
    rig_check_files(files, old);
    g_clear_pointer(&files, g_ptr_array_unref);
    store_demote(rig->store, &error);
    g_assert_no_error(error);
    g_assert_false(store_promote(rig->store, id_random(), 0, &files, &error));
    assert_refused(g_steal_pointer(&error), US_ERROR_NOT_FOUND, "point * is not kept here*");
    store_attach(rig->store, rig->reign, ++rig->session, &error);
    g_assert_no_error(error);
    rig_cut(rig);
    rig_check_points(rig);
}

/* What has come of the next generation, durably, is given up when the tip becomes the VM. */
static void test_promotion_over_a_slice(void)
{
    g_autoptr(Rig) rig = rig_new(1);
    g_autoptr(GPtrArray) files = NULL;
    const RigPoint *tip;
    g_autoptr(Generation) g = NULL;
    const RigDisk *disk = rig->disks->pdata[0];
    StoreProgress progress = {.target = disk->target, .has = disk->changed, .changed = disk->changed};
    GError *error = NULL;

    rig_open(rig);
    rig_cut(rig);
    tip = rig->points->pdata[0];
    g = rig_generation(rig);
    rig_scribble(rig, 0, 9);
    rig_begin(rig, g, &error);
    g_assert_no_error(error);
    rig_write(rig, &error);
    g_assert_no_error(error);
    store_slice(rig->store, rig->session, (StorePass){0}, &progress, 1, &error);
    g_assert_no_error(error);
    g_assert_false(store_promote(rig->store, g->id, clock_steady_ms() + 5000, &files, &error));
    assert_refused(g_steal_pointer(&error), US_ERROR_NOT_FOUND, "*");
    store_promote(rig->store, ID_NIL, clock_steady_ms() + 5000, &files, &error);
    g_assert_no_error(error);
    g_assert_null(store_partial(rig->store));
    rig_check_files(files, tip);
}

static void test_lists_and_definitions(void)
{
    g_autoptr(Rig) rig = rig_new(1);
    g_autoptr(Extents) expected = extents_new();
    g_autoptr(Extents) changed = NULL;
    g_autoptr(GArray) ancestors = NULL;
    g_autofree char *definition = NULL;
    StoreUsage usage;
    GError *error = NULL;
    Id first;

    rig->options.retain = (RetentionPolicy){.newest = 10};
    rig_open(rig);
    rig_cut(rig);
    first = store_tip(rig->store)->id;
    store_pin(rig->store, first, TRUE, &error);
    g_assert_no_error(error);
    for (guint i = 0; i < 4; i++) {
        g_autoptr(Generation) g = rig_generation(rig);

        rig_scribble(rig, 0, 4);
        extents_add_all(expected, ((RigDisk *)rig->disks->pdata[0])->changed);
        rig_begin(rig, g, &error);
        g_assert_no_error(error);
        rig_write(rig, &error);
        g_assert_no_error(error);
        rig_seal(rig, g, &error);
        g_assert_no_error(error);
    }
    /* Merging forgets points, not what changed in them. */
    store_set_retention(rig->store, (RetentionPolicy){.newest = 1});
    rig_settle(rig, 10000);
    g_assert_cmpuint(n_points(rig), ==, 2);
    changed = store_changed_since(rig->store, first, "vda", &error);
    g_assert_no_error(error);
    g_assert_true(extents_equal(changed, expected));
    definition = store_definition(rig->store, first, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(definition, ==, "<domain><name>a &amp; b</name></domain>");
    g_assert_cmpuint(rig_count_files(rig, ".xml"), ==, 1);
    ancestors = store_ancestors(rig->store, 3);
    g_assert_cmpuint(ancestors->len, ==, 3);
    g_assert_true(id_equal(g_array_index(ancestors, Id, 0), first));
    store_usage(rig->store, &usage, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(usage.files, ==, rig_count_files(rig, ""));
    g_assert_cmpuint(usage.bytes, >, 100000);
}

/* Seal a generation whose variable store is @text; @bare: without its bytes. */
static gboolean seal_with(Rig *rig, const char *text, gboolean bare, GError **error)
{
    g_autoptr(Generation) g = rig_generation(rig);
    Belonging *b = belonging_new(BELONGINGS_NVRAM, text, strlen(text));

    if (bare)
        g_clear_pointer(&b->packed, g_bytes_unref);
    g_ptr_array_add(g->belongings, b);
    rig_scribble(rig, 0, 2);
    return rig_begin(rig, g, error) && rig_write(rig, error) && rig_seal(rig, g, error);
}

static void must_seal_with(Rig *rig, const char *text, gboolean bare)
{
    GError *error = NULL;

    seal_with(rig, text, bare, &error);
    g_assert_no_error(error);
}

static void expect_nvram(const Rig *rig, const Generation *of, const char *wanted)
{
    g_autoptr(GError) error = NULL;
    const GPtrArray *set = store_belongings(rig->store, of->id, &error);
    g_autoptr(GBytes) file = set ? store_belonging(rig->store, set->pdata[0], &error) : NULL;
    gsize len;
    const char *data;

    g_assert_no_error(error);
    data = g_bytes_get_data(file, &len);
    g_assert_cmpmem(data, len, wanted, strlen(wanted));
}

static void expect_private(const Rig *rig, const char *suffix)
{
    g_autoptr(GDir) dir = g_dir_open(rig->dir, 0, NULL);
    const char *name;

    while ((name = g_dir_read_name(dir))) {
        g_autofree char *path = g_build_filename(rig->dir, name, NULL);
        struct stat st;

        if (!g_str_has_suffix(name, suffix))
            continue;
        g_assert_cmpint(stat(path, &st), ==, 0);
        g_assert_cmpuint(st.st_mode & 07777, ==, 0600);
    }
}

/* Each point has those of its own; what no point names any more goes. */
static void test_belongings_live_as_long_as_their_points(void)
{
    g_autoptr(Rig) rig = rig_new(1);

    rig_open(rig);
    must_seal_with(rig, "first", FALSE);
    must_seal_with(rig, "first", TRUE);
    must_seal_with(rig, "second", FALSE);
    must_seal_with(rig, "third", FALSE);
    g_assert_cmpuint(rig_count_files(rig, ".secret"), ==, 3);
    expect_private(rig, ".secret");
    for (guint i = 0; i < 4; i++) {
        static const char *const TEXTS[] = {"first", "first", "second", "third"};

        expect_nvram(rig, ((RigPoint *)rig->points->pdata[i])->generation, TEXTS[i]);
    }
    store_set_retention(rig->store, (RetentionPolicy){.newest = 2});
    rig_settle(rig, 10000);
    g_assert_cmpuint(rig_count_files(rig, ".secret"), ==, 2);
    rig_close(rig);
    rig_open(rig);
    g_assert_cmpuint(rig_count_files(rig, ".secret"), ==, 2);
    expect_nvram(rig, store_tip(rig->store), "third");
    rig_check_points(rig);
}

static void test_belongings_that_do_not_come_are_refused(void)
{
    g_autoptr(Rig) rig = rig_new(1);
    g_autoptr(Generation) g = NULL;
    GError *error = NULL;
    Belonging *b;

    rig_open(rig);
    must_seal_with(rig, "first", FALSE);
    g_assert_false(seal_with(rig, "second", TRUE, &error));
    assert_refused(g_steal_pointer(&error), US_ERROR_REFUSED,
                   "generation * names nvram, and does not bring it");
    store_discard(rig->store, NULL);
    /* Bytes that are not what they are called are nobody's, and neither is their generation. */
    g = rig_generation(rig);
    b = belonging_new(BELONGINGS_NVRAM, "second", 6);
    b->digest[0] = b->digest[0] == '0' ? '1' : '0';
    g_ptr_array_add(g->belongings, b);
    rig_begin(rig, g, &error);
    g_assert_no_error(error);
    rig_write(rig, &error);
    g_assert_no_error(error);
    g_assert_false(rig_seal(rig, g, &error));
    g_assert_error(error, US_ERROR, US_ERROR_CORRUPT);
    g_clear_error(&error);
    store_discard(rig->store, NULL);
    expect_nvram(rig, store_tip(rig->store), "first");
    must_seal_with(rig, "second", FALSE);
    expect_nvram(rig, store_tip(rig->store), "second");
}

/* The promoted VM's variable store is a file of its own, which a promotion taken back takes along. */
static void test_a_variable_store_ends_with_its_promotion(void)
{
    g_autoptr(Rig) rig = rig_new(1);
    GError *error = NULL;

    rig_open(rig);
    must_seal_with(rig, "first", FALSE);
    for (guint i = 0; i < 2; i++) {
        g_autoptr(GPtrArray) files = NULL;
        g_autofree char *path = NULL;
        g_autofree char *half = NULL;

        store_promote(rig->store, ID_NIL, clock_steady_ms() + 5000, &files, &error);
        g_assert_no_error(error);
        path = store_nvram_path(rig->store);
        half = g_strconcat(path, ".new", NULL);
        g_assert_true(g_str_has_prefix(path, rig->dir));
        g_assert_true(g_file_set_contents(path, "used", -1, NULL));
        g_assert_true(g_file_set_contents(half, "us", -1, NULL));
        rig_close(rig);
        rig->store = store_open(&rig->options, &error);
        g_assert_no_error(error);
        g_assert_true(g_file_test(path, G_FILE_TEST_EXISTS));
        store_demote(rig->store, &error);
        g_assert_no_error(error);
        g_assert_false(g_file_test(path, G_FILE_TEST_EXISTS) || g_file_test(half, G_FILE_TEST_EXISTS));
        expect_nvram(rig, store_tip(rig->store), "first");
    }
    store_purge(g_steal_pointer(&rig->store), &error);
    g_assert_no_error(error);
    g_assert_false(g_file_test(rig->dir, G_FILE_TEST_EXISTS));
}

static void test_purge(void)
{
    g_autoptr(Rig) rig = rig_new(2);
    GError *error = NULL;

    rig_open(rig);
    rig_cut(rig);
    store_purge(g_steal_pointer(&rig->store), &error);
    g_assert_no_error(error);
    g_assert_false(g_file_test(rig->dir, G_FILE_TEST_EXISTS));
}

static void test_two_processes(void)
{
    g_autoptr(Rig) rig = rig_new(1);
    GError *error = NULL;

    rig_open(rig);
    g_assert_null(store_open(&rig->options, &error));
    assert_refused(g_steal_pointer(&error), US_ERROR_BUSY, "folder * is in use by another process*");
}

#define ADD(name, function) g_test_add_func("/store/" name, function)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD("generations-read-as-sealed", test_generations_read_as_sealed);
    ADD("merging-keeps-the-kept", test_merging_keeps_the_kept);
    ADD("an-idle-disk-costs-no-file", test_an_idle_disk_costs_no_file);
    ADD("disks-come-go-and-grow", test_disks_come_go_and_grow);
    ADD("late-sessions-are-refused", test_late_sessions_are_refused);
    ADD("what-does-not-fit-is-refused", test_what_does_not_fit_is_refused);
    ADD("discard-leaves-the-tip", test_discard_leaves_the_tip);
    ADD("confirm-outlives-a-restart", test_confirm_outlives_a_restart);
    ADD("a-reader-beside-merges", test_a_reader_beside_merges);
    ADD("a-merge-takes-turns", test_a_merge_takes_turns);
    ADD("seals-beside-a-large-merge", test_seals_beside_a_large_merge);
    ADD("a-reader-interrupts-a-merge", test_a_reader_interrupts_a_merge);
    ADD("what-is-read-is-not-cut", test_what_is_read_is_not_cut);
    ADD("pinned-points-stay", test_pinned_points_stay);
    ADD("pins-leave-room", test_pins_leave_room);
    ADD("a-chain-is-not-endless", test_a_chain_is_not_endless);
    ADD("a-merge-beside-reads", test_a_merge_beside_reads);
    ADD("a-silent-daemon-in-a-merge", test_a_silent_daemon_in_a_merge);
    ADD("a-merge-in-a-hurry", test_a_merge_in_a_hurry);
    ADD("a-reign-that-is-over", test_a_reign_that_is_over);
    ADD("promotion-in-a-merge", test_promotion_in_a_merge);
    ADD("promotion-of-an-old-point-by-force", test_promotion_of_an_old_point_by_force);
    ADD("promotion-over-a-slice", test_promotion_over_a_slice);
    ADD("lists-and-definitions", test_lists_and_definitions);
    ADD("belongings-live-as-long-as-their-points", test_belongings_live_as_long_as_their_points);
    ADD("belongings-that-do-not-come-are-refused", test_belongings_that_do_not_come_are_refused);
    ADD("a-variable-store-ends-with-its-promotion", test_a_variable_store_ends_with_its_promotion);
    ADD("purge", test_purge);
    ADD("two-processes", test_two_processes);
    return g_test_run();
}

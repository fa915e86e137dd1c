/* SPDX-License-Identifier: Apache-2.0 */
/* Overlays, exports and merges in a real storage daemon, checked by qemu-img and qemu-io. */
#include "lab.h"

#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/image/commit.h"
#include "vmconnect/image/qcow2.h"

#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>

static void snapshot(Lab *lab, const char *top, const char *overlay)
{
    g_autoptr(GError) error = NULL;

    node_snapshot(lab->daemon, top, overlay, &error);
    g_assert_no_error(error);
}

static Qcow2Facts *facts(const Lab *lab, const char *name)
{
    g_autofree char *path = lab_path(lab, name);
    g_autoptr(GError) error = NULL;
    Qcow2Facts *f = qcow2_read(path, "qcow2", LAB_TIMEOUT_MS, -1, &error);

    g_assert_no_error(error);
    return f;
}

static void check(const Lab *lab, const char *name)
{
    g_autofree char *path = lab_path(lab, name);

    lab_run("qemu-img", "check", "-f", "qcow2", path);
}

/* A chain of three, o0 <- o1 <- o2, each with a mark of its own at 1 MiB × its number. */
typedef struct {
    char *node[3];
    NbdDisk *disk;
} Three;

static void three_init(Three *t, Lab *lab)
{
    static const char *const NAME[] = {"o0.qcow2", "o1.qcow2", "o2.qcow2"};

    *t = (Three){0};
    for (guint i = 0; i < 3; i++) {
        t->node[i] = lab_create(lab, NAME[i], i ? NAME[i - 1] : NULL, 256 * MIB);
        if (i == 0)
            t->disk = lab_export(lab, "vda", t->node[0], NULL);
        else
            snapshot(lab, t->node[i - 1], t->node[i]);
        lab_write(t->disk, i * MIB, 64 * KIB, (guint8)(1 + i));
        lab_write(t->disk, 10 * MIB, 64 * KIB, (guint8)(0x10 + i)); /* each over the one before */
    }
}

static void three_clear(Three *t)
{
    nbd_disk_close(t->disk);
    for (guint i = 0; i < 3; i++)
        g_free(t->node[i]);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Three, three_clear)

static void three_expect(NbdDisk *disk)
{
    for (guint i = 0; i < 3; i++)
        lab_expect(disk, i * MIB, 64 * KIB, (guint8)(1 + i));
    lab_expect(disk, 10 * MIB, 64 * KIB, 0x12);
}

static void test_overlays_under_a_live_export(void)
{
    g_auto(Lab) lab = {0};
    g_auto(Three) t = {0};
    g_autoptr(Qcow2Facts) f = NULL;
    g_autofree char *path = NULL;

    lab_init(&lab, TRUE);
    three_init(&t, &lab);
    three_expect(t.disk);
    lab_flush(t.disk);
    f = facts(&lab, "o2.qcow2");
    g_assert_cmpstr(f->compat, ==, "1.1");
    g_assert_cmpuint(f->cluster_bytes, ==, 64 * KIB);
    g_assert_cmpuint(f->size_bytes, ==, 256 * MIB);
    g_assert_cmpstr(f->backing, ==, "o1.qcow2");
    g_assert_cmpstr(f->backing_format, ==, "qcow2");
    g_assert_true(storage_daemon_close(g_steal_pointer(&lab.daemon), LAB_TIMEOUT_MS));
    /* The headers alone, read by another program, say the same. */
    path = lab_path(&lab, "o2.qcow2");
    lab_expect_file(path, 0, 64 * KIB, 1);
    lab_expect_file(path, 10 * MIB, 64 * KIB, 0x12);
    check(&lab, "o0.qcow2");
    check(&lab, "o1.qcow2");
    check(&lab, "o2.qcow2");
}

static void test_node_names(void)
{
    g_auto(Lab) lab = {0};
    g_autofree char *node = NULL;
    g_autoptr(GError) error = NULL;
    const char *nodes[1];

    lab_init(&lab, TRUE);
    node = lab_create(&lab, "3f2a9c41-5d1e-4e8b-9a53-0f1e2d3c4b5a, \"ü\":.qcow2", NULL, MIB);
    g_assert_cmpuint(strlen(node), <=, 31);
    nodes[0] = node;
    g_assert_true(node_close_chain(lab.daemon, nodes, 1, &error));
    g_assert_false(node_close(lab.daemon, node, &error));
    g_assert_error(error, US_ERROR, US_ERROR_NOT_FOUND);
}

static void test_refusals(void)
{
    g_auto(Lab) lab = {0};
    g_autofree char *node = NULL;
    g_autofree char *path = NULL;
    g_autofree char *missing = NULL;
    g_autoptr(GError) error = NULL;
    NodeNewImage image = {.size_bytes = MIB};
    NodeSpec spec = {0};

    lab_init(&lab, TRUE);
    node = lab_create(&lab, "a.qcow2", NULL, MIB);
    path = lab_path(&lab, "a.qcow2");
    missing = lab_path(&lab, "b.qcow2");

    image.path = path;
    g_assert_false(node_create(lab.daemon, &image, &node, &error));
    g_assert_error(error, US_ERROR, US_ERROR_EXISTS);
    g_clear_error(&error);
    image.path = "/proc/nowhere/x.qcow2";
    g_assert_false(node_create(lab.daemon, &image, &node, &error));
    g_assert_error(error, US_ERROR, US_ERROR_NOT_FOUND);
    g_clear_error(&error);
    /* A size that the format cannot hold: the half-made file goes again. */
    image = (NodeNewImage){.path = missing, .size_bytes = (1ULL << 62)};
    g_assert_false(node_create(lab.daemon, &image, &node, &error));
    g_assert_error(error, US_ERROR, US_ERROR_FAILED);
    g_clear_error(&error);
    g_assert_false(g_file_test(missing, G_FILE_TEST_EXISTS));

    spec.path = path;
    g_assert_false(node_open(lab.daemon, &spec, &node, &error));
    g_assert_error(error, US_ERROR, US_ERROR_BUSY);
    g_clear_error(&error);
    spec.path = missing;
    g_assert_false(node_open(lab.daemon, &spec, &node, &error));
    g_assert_error(error, US_ERROR, US_ERROR_NOT_FOUND);
    g_clear_error(&error);
    g_assert_true(g_file_set_contents(missing, "not an image at all", -1, NULL));
    g_assert_false(node_open(lab.daemon, &spec, &node, &error));
    g_assert_error(error, US_ERROR, US_ERROR_CORRUPT);
}

/* What its header names is never opened: the ledger's word is the only one. */
static void test_header_is_not_followed(void)
{
    g_auto(Lab) lab = {0};
    g_autofree char *path = NULL;
    g_autofree char *node = NULL;
    g_autoptr(NbdDisk) disk = NULL;
    g_autoptr(GError) error = NULL;
    NodeSpec spec = {0};

    lab_init(&lab, TRUE);
    path = lab_path(&lab, "lying.qcow2");
    lab_run("qemu-img", "create", "-q", "-u", "-f", "qcow2", "-F", "raw", "-b", "/etc/passwd", path, "1M");
    spec.path = path;
    g_assert_true(node_open(lab.daemon, &spec, &node, &error));
    g_assert_no_error(error);
    disk = lab_export(&lab, "vda", node, NULL);
    lab_expect(disk, 0, MIB, 0);
}

static void test_killed_after_flush(void)
{
    g_auto(Lab) lab = {0};
    g_auto(Three) t = {0};
    g_autofree char *path = NULL;
    g_autofree char *overlay = NULL;

    lab_init(&lab, TRUE);
    three_init(&t, &lab);
    overlay = lab_create(&lab, "o3.qcow2", "o2.qcow2", 256 * MIB);
    snapshot(&lab, t.node[2], overlay);
    lab_write(t.disk, 20 * MIB, 16 * MIB, 0x77);
    lab_flush(t.disk);
    kill(storage_daemon_pid(lab.daemon), SIGKILL);
    g_assert_false(storage_daemon_close(g_steal_pointer(&lab.daemon), 1000));
    path = lab_path(&lab, "o3.qcow2");
    lab_expect_file(path, 20 * MIB, 16 * MIB, 0x77);
    lab_expect_file(path, 10 * MIB, 64 * KIB, 0x12);
    check(&lab, "o3.qcow2");
}

static Commit *begin_merge(Lab *lab, const Three *t, const char *root, guint64 speed)
{
    g_autoptr(GError) error = NULL;
    CommitSpec spec = {.root = root,
                       .top = t->node[1],
                       .base = t->node[0],
                       .backing_name = "o0.qcow2",
                       .bytes_per_s = speed};
    Commit *commit = commit_begin(lab->daemon, &spec, &error);

    g_assert_no_error(error);
    return commit;
}

static void test_merge_while_writing(void)
{
    g_auto(Lab) lab = {0};
    g_auto(Three) t = {0};
    g_autoptr(Commit) commit = NULL;
    g_autoptr(Qcow2Facts) before = NULL;
    g_autoptr(Qcow2Facts) after = NULL;
    g_autofree char *gone = NULL;
    g_autofree char *path = NULL;
    g_autoptr(GError) error = NULL;
    CommitProgress progress;

    lab_init(&lab, TRUE);
    three_init(&t, &lab);
    commit = begin_merge(&lab, &t, t.node[2], 0);
    g_assert_true(commit_wait_copied(commit, LAB_TIMEOUT_MS, &error));
    g_assert_true(commit_progress(commit, &progress, &error));
    g_assert_cmpuint(progress.done_bytes, ==, progress.total_bytes);
    lab_write(t.disk, 30 * MIB, MIB, 0x30);
    /* Copied and waiting: the header still names the old chain. */
    before = facts(&lab, "o2.qcow2");
    g_assert_cmpstr(before->backing, ==, "o1.qcow2");
    g_assert_true(commit_flush_base(commit, 10000, &error));
    g_assert_no_error(error);
    g_assert_true(commit_switch_over(commit, &error));
    g_assert_no_error(error);
    after = facts(&lab, "o2.qcow2");
    g_assert_cmpstr(after->backing, ==, "o0.qcow2");
    g_assert_true(node_close(lab.daemon, t.node[1], &error));
    g_assert_no_error(error);
    gone = lab_path(&lab, "o1.qcow2");
    g_assert_cmpint(g_unlink(gone), ==, 0);
    three_expect(t.disk);
    lab_expect(t.disk, 30 * MIB, MIB, 0x30);
    g_assert_true(storage_daemon_close(g_steal_pointer(&lab.daemon), LAB_TIMEOUT_MS));
    path = lab_path(&lab, "o2.qcow2");
    lab_expect_file(path, MIB, 64 * KIB, 2);
    check(&lab, "o0.qcow2");
    check(&lab, "o2.qcow2");
}

/* A merge under way keeps nobody from laying overlays on the chain, the one it was begun under included. */
static void test_overlays_during_a_merge(void)
{
    g_auto(Lab) lab = {0};
    g_auto(Three) t = {0};
    g_autoptr(Commit) commit = NULL;
    g_autoptr(Qcow2Facts) f = NULL;
    g_autofree char *path = NULL;
    g_autofree char *upper = NULL;
    g_autofree char *uppermost = NULL;
    g_autoptr(GError) error = NULL;

    lab_init(&lab, TRUE);
    three_init(&t, &lab);
    commit = begin_merge(&lab, &t, t.node[2], 1); /* a byte a second: never done */
    upper = lab_create(&lab, "o3.qcow2", "o2.qcow2", 256 * MIB);
    snapshot(&lab, t.node[2], upper);
    lab_write(t.disk, 40 * MIB, MIB, 0x40);
    g_assert_false(commit_wait_copied(commit, 50, &error));
    g_assert_error(error, US_ERROR, US_ERROR_TIMEOUT);
    g_clear_error(&error);
    g_assert_true(commit_cancel(commit, &error));
    g_assert_no_error(error);
    g_clear_pointer(&commit, commit_free);

    commit = begin_merge(&lab, &t, upper, 0);
    uppermost = lab_create(&lab, "o4.qcow2", "o3.qcow2", 256 * MIB);
    snapshot(&lab, upper, uppermost);
    g_assert_true(commit_wait_copied(commit, LAB_TIMEOUT_MS, &error));
    g_assert_true(commit_flush_base(commit, 10000, &error));
    g_assert_true(commit_switch_over(commit, &error));
    g_assert_no_error(error);
    f = facts(&lab, "o2.qcow2");
    g_assert_cmpstr(f->backing, ==, "o0.qcow2");
    g_assert_true(node_close(lab.daemon, t.node[1], &error));
    three_expect(t.disk);
    lab_expect(t.disk, 40 * MIB, MIB, 0x40);
    lab_write(t.disk, 50 * MIB, MIB, 0x50);
    lab_flush(t.disk);
    g_assert_true(storage_daemon_close(g_steal_pointer(&lab.daemon), LAB_TIMEOUT_MS));
    path = lab_path(&lab, "o4.qcow2");
    lab_expect_file(path, MIB, 64 * KIB, 2);
    lab_expect_file(path, 50 * MIB, MIB, 0x50);
    check(&lab, "o0.qcow2");
    check(&lab, "o4.qcow2");
}

static char *open_again(Lab *lab, const char *name, const char *backing, gboolean read_only)
{
    g_autofree char *path = lab_path(lab, name);
    NodeSpec spec = {.path = path, .backing = backing, .read_only = read_only};
    g_autoptr(GError) error = NULL;
    char *node = NULL;

    node_open(lab->daemon, &spec, &node, &error);
    g_assert_no_error(error);
    return node;
}

/* The header names base as soon as the switch is over: base must hold then what it promises.
 * Base is opened for writing, so QEMU does not write its metadata back by reopening it:
 * without the flush before the switch this kill loses the merged clusters. */
static void test_killed_right_after_the_switch(void)
{
    g_auto(Lab) lab = {0};
    g_auto(Three) t = {0};
    g_autoptr(Commit) commit = NULL;
    g_autofree char *path = NULL;
    g_autofree char *gone = NULL;
    g_autoptr(GError) error = NULL;

    lab_init(&lab, TRUE);
    three_init(&t, &lab);
    g_clear_pointer(&t.disk, nbd_disk_close);
    g_assert_true(storage_daemon_close(g_steal_pointer(&lab.daemon), LAB_TIMEOUT_MS));
    lab.daemon = storage_daemon_start(lab.run_dir, "guest", &error);
    g_assert_no_error(error);
    for (guint i = 0; i < 3; i++) {
        g_autofree char *name = g_strdup_printf("o%u.qcow2", i);

        g_free(t.node[i]);
        t.node[i] = open_again(&lab, name, i ? t.node[i - 1] : NULL, i == 1);
    }
    commit = begin_merge(&lab, &t, t.node[2], 0);
    g_assert_true(commit_wait_copied(commit, LAB_TIMEOUT_MS, &error));
    g_assert_true(commit_flush_base(commit, 10000, &error));
    g_assert_true(commit_switch_over(commit, &error));
    g_assert_no_error(error);
    kill(storage_daemon_pid(lab.daemon), SIGKILL);
    g_clear_pointer(&commit, commit_free);
    storage_daemon_close(g_steal_pointer(&lab.daemon), 1000);
    gone = lab_path(&lab, "o1.qcow2");
    g_assert_cmpint(g_unlink(gone), ==, 0);
    path = lab_path(&lab, "o2.qcow2");
    lab_expect_file(path, MIB, 64 * KIB, 2);
    lab_expect_file(path, 10 * MIB, 64 * KIB, 0x12);
}

static void test_merge_given_up(void)
{
    g_auto(Lab) lab = {0};
    g_auto(Three) t = {0};
    g_autoptr(Commit) commit = NULL;
    g_autoptr(Commit) again = NULL;
    g_autoptr(Qcow2Facts) f = NULL;
    g_autofree char *top = NULL;
    g_autoptr(GError) error = NULL;

    lab_init(&lab, TRUE);
    three_init(&t, &lab);
    top = lab_create(&lab, "o3.qcow2", "o2.qcow2", 256 * MIB);
    snapshot(&lab, t.node[2], top);
    lab_write(t.disk, 40 * MIB, 8 * MIB, 0x40);
    commit = begin_merge(&lab, &t, top, 1); /* a byte a second: never done */
    g_assert_false(commit_wait_copied(commit, 50, &error));
    g_assert_error(error, US_ERROR, US_ERROR_TIMEOUT);
    g_clear_error(&error);
    g_assert_true(commit_pause(commit, &error));
    g_assert_true(commit_resume(commit, &error));
    g_assert_true(commit_cancel(commit, &error));
    g_assert_no_error(error);
    three_expect(t.disk);
    f = facts(&lab, "o2.qcow2");
    g_assert_cmpstr(f->backing, ==, "o1.qcow2");
    /* Given up where all is copied: the same. */
    g_clear_pointer(&commit, commit_free);
    commit = begin_merge(&lab, &t, top, 0);
    g_assert_true(commit_wait_copied(commit, LAB_TIMEOUT_MS, &error));
    g_assert_true(commit_cancel(commit, &error));
    g_assert_no_error(error);
    g_clear_pointer(&f, qcow2_facts_free);
    f = facts(&lab, "o2.qcow2");
    g_assert_cmpstr(f->backing, ==, "o1.qcow2");
    three_expect(t.disk);
    /* Repeated, it converges. */
    again = begin_merge(&lab, &t, top, 0);
    g_assert_true(commit_wait_copied(again, LAB_TIMEOUT_MS, &error));
    g_assert_true(commit_flush_base(again, 10000, &error));
    g_assert_true(commit_switch_over(again, &error));
    g_assert_no_error(error);
    three_expect(t.disk);
}

static void test_merge_killed_or_frozen(void)
{
    g_auto(Lab) lab = {0};
    g_auto(Three) t = {0};
    g_autoptr(Commit) commit = NULL;
    g_autofree char *path = NULL;
    g_autoptr(GError) error = NULL;
    gint64 begin = clock_steady_ms();

    lab_init(&lab, TRUE);
    three_init(&t, &lab);
    lab_flush(t.disk);
    commit = begin_merge(&lab, &t, t.node[2], 1);
    storage_daemon_set_timeout(lab.daemon, 100);
    kill(storage_daemon_pid(lab.daemon), SIGSTOP);
    g_assert_false(commit_wait_copied(commit, 60000, &error));
    g_assert_error(error, US_ERROR, US_ERROR_TIMEOUT);
    g_clear_error(&error);
    kill(storage_daemon_pid(lab.daemon), SIGKILL);
    g_assert_false(commit_wait_copied(commit, 60000, &error));
    g_assert_error(error, US_ERROR, US_ERROR_UNREACHABLE);
    g_clear_pointer(&commit, commit_free);
    storage_daemon_close(g_steal_pointer(&lab.daemon), 1000);
    g_assert_cmpint(clock_steady_ms() - begin, <, 30000);
    path = lab_path(&lab, "o2.qcow2");
    lab_expect_file(path, MIB, 64 * KIB, 2);
    lab_expect_file(path, 10 * MIB, 64 * KIB, 0x12);
}

/* A new size needs the export made again; below the old end everything shines through. */
static void test_resize(void)
{
    g_auto(Lab) lab = {0};
    g_autofree char *base = NULL;
    g_autofree char *grown = NULL;
    g_autoptr(NbdDisk) disk = NULL;
    g_autoptr(GError) error = NULL;

    lab_init(&lab, TRUE);
    base = lab_create(&lab, "o0.qcow2", NULL, 64 * MIB);
    disk = lab_export(&lab, "vda", base, NULL);
    lab_write(disk, 63 * MIB, MIB, 9);
    grown = lab_create(&lab, "o1.qcow2", "o0.qcow2", 128 * MIB);
    g_clear_pointer(&disk, nbd_disk_close);
    g_assert_true(export_remove(lab.daemon, "vda", &error));
    g_assert_no_error(error);
    g_assert_true(export_remove(lab.daemon, "vda", &error)); /* not there: no error */
    snapshot(&lab, base, grown);
    disk = lab_export(&lab, "vda", grown, NULL);
    g_assert_cmpuint(nbd_disk_size(disk), ==, 128 * MIB);
    lab_expect(disk, 63 * MIB, MIB, 9);
    lab_expect(disk, 64 * MIB, MIB, 0);
    lab_write(disk, 127 * MIB, MIB, 8);
    lab_expect(disk, 127 * MIB, MIB, 8);
}

static void test_export_removed_under_a_client(void)
{
    g_auto(Lab) lab = {0};
    g_autofree char *node = NULL;
    g_autoptr(NbdDisk) disk = NULL;
    g_autoptr(GError) error = NULL;

    lab_init(&lab, TRUE);
    node = lab_create(&lab, "o0.qcow2", NULL, MIB);
    disk = lab_export(&lab, "vda", node, NULL);
    g_assert_true(export_remove(lab.daemon, "vda", &error));
    g_assert_true(node_close(lab.daemon, node, &error));
    g_assert_no_error(error);
    g_assert_false(nbd_disk_flush(disk, LAB_TIMEOUT_MS, &error));
    g_assert_error(error, US_ERROR, US_ERROR_UNREACHABLE);
}

/* Zeros cost nothing: not when they come as such, not when written as data, not in a merge. */
static void test_zeros_cost_no_space(void)
{
    g_auto(Lab) lab = {0};
    g_autofree char *base = NULL;
    g_autofree char *middle = NULL;
    g_autofree char *top = NULL;
    g_autofree char *base_path = NULL;
    g_autofree char *middle_path = NULL;
    g_autoptr(NbdDisk) disk = NULL;
    g_autoptr(Commit) commit = NULL;
    g_autoptr(GError) error = NULL;
    CommitSpec spec;

    lab_init(&lab, TRUE);
    base_path = lab_path(&lab, "o0.qcow2");
    middle_path = lab_path(&lab, "o1.qcow2");
    base = lab_create(&lab, "o0.qcow2", NULL, 4 * GIB);
    disk = lab_export(&lab, "vda", base, NULL);
    lab_write(disk, 0, 32 * MIB, 3);
    middle = lab_create(&lab, "o1.qcow2", "o0.qcow2", 4 * GIB);
    snapshot(&lab, base, middle);
    lab_zero(disk, 0, 4 * GIB);
    lab_write(disk, GIB, 32 * MIB, 0);
    lab_flush(disk);
    lab_expect(disk, 0, 32 * MIB, 0);
    g_assert_cmpuint(lab_file_bytes(middle_path), <, 2 * MIB);

    top = lab_create(&lab, "o2.qcow2", "o1.qcow2", 4 * GIB);
    snapshot(&lab, middle, top);
    spec = (CommitSpec){.root = top, .top = middle, .base = base, .backing_name = "o0.qcow2"};
    commit = commit_begin(lab.daemon, &spec, &error);
    g_assert_no_error(error);
    g_assert_true(commit_wait_copied(commit, LAB_TIMEOUT_MS, &error));
    g_assert_true(commit_flush_base(commit, 10000, &error));
    g_assert_true(commit_switch_over(commit, &error));
    g_assert_no_error(error);
    lab_expect(disk, 0, 32 * MIB, 0);
    g_assert_cmpuint(lab_file_bytes(base_path), <, 4 * MIB);
}

static guint64 resident_bytes(pid_t pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/statm", (int)pid);
    g_autofree char *text = NULL;
    guint64 pages = 0;

    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    pages = g_ascii_strtoull(strchr(text, ' '), NULL, 10);
    return pages * 4096;
}

/* 48 overlays on 1 TiB, scattered writes into each, everything read back and asked for. */
static void test_deep_chain_stays_small(void)
{
    g_auto(Lab) lab = {0};
    g_autoptr(NbdDisk) disk = NULL;
    g_autoptr(GPtrArray) nodes = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(Extents) asked = extents_new();
    g_autoptr(Extents) data = extents_new();
    g_autoptr(GRand) dice = g_rand_new_with_seed(1);
    g_autoptr(GError) error = NULL;
    gint64 create_us = 0;
    gint64 snapshot_us = 0;
    gint64 begin;

    lab_init(&lab, TRUE);
    for (guint i = 0; i < 48; i++) {
        g_autofree char *name = g_strdup_printf("o%u.qcow2", i);
        g_autofree char *below = g_strdup_printf("o%u.qcow2", i - 1);
        gint64 at = g_get_monotonic_time();

        g_ptr_array_add(nodes, lab_create(&lab, name, i ? below : NULL, 1024 * GIB));
        create_us += g_get_monotonic_time() - at;
        at = g_get_monotonic_time();
        if (i == 0)
            disk = lab_export(&lab, "vda", nodes->pdata[0], NBD_CONTEXT_ALLOCATION);
        else
            snapshot(&lab, nodes->pdata[i - 1], nodes->pdata[i]);
        snapshot_us += g_get_monotonic_time() - at;
        for (guint k = 0; k < 40; k++) {
            guint64 offset = (guint64)g_rand_int_range(dice, 0, 1 << 24) * 64 * KIB;

            lab_write(disk, offset, 4 * KIB, (guint8)(i + 1));
            extents_add(asked, offset, 64 * KIB);
        }
    }
    g_assert_true(nbd_disk_split(disk, asked, data, NULL, LAB_TIMEOUT_MS, &error));
    g_assert_true(extents_equal(asked, data));
    for (guint i = 0; i < extents_count(asked); i++)
        lab_expect(disk, extents_at(asked, i).offset + 32 * KIB, 32 * KIB, 0);
    g_test_message("48 overlays on 1 TiB: create %.1f ms, snapshot %.1f ms each, daemon %.1f MiB resident",
                   (double)create_us / 48000, (double)snapshot_us / 48000,
                   (double)resident_bytes(storage_daemon_pid(lab.daemon)) / (double)MIB);
    g_assert_cmpuint(resident_bytes(storage_daemon_pid(lab.daemon)), <, 80 * MIB);
    begin = g_get_monotonic_time();
    g_assert_true(storage_daemon_close(g_steal_pointer(&lab.daemon), LAB_TIMEOUT_MS));
    g_test_message("closed in %.1f ms", (double)(g_get_monotonic_time() - begin) / 1000);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    signal(SIGPIPE, SIG_IGN);
    g_test_add_func("/chain/overlays_under_a_live_export", test_overlays_under_a_live_export);
    g_test_add_func("/chain/node_names", test_node_names);
    g_test_add_func("/chain/refusals", test_refusals);
    g_test_add_func("/chain/header_is_not_followed", test_header_is_not_followed);
    g_test_add_func("/chain/killed_after_flush", test_killed_after_flush);
    g_test_add_func("/chain/merge_while_writing", test_merge_while_writing);
    g_test_add_func("/chain/overlays_during_a_merge", test_overlays_during_a_merge);
    g_test_add_func("/chain/killed_right_after_the_switch", test_killed_right_after_the_switch);
    g_test_add_func("/chain/merge_given_up", test_merge_given_up);
    g_test_add_func("/chain/merge_killed_or_frozen", test_merge_killed_or_frozen);
    g_test_add_func("/chain/resize", test_resize);
    g_test_add_func("/chain/export_removed_under_a_client", test_export_removed_under_a_client);
    g_test_add_func("/chain/zeros_cost_no_space", test_zeros_cost_no_space);
    g_test_add_func("/chain/deep_chain_stays_small", test_deep_chain_stays_small);
    return g_test_run();
}

/* SPDX-License-Identifier: Apache-2.0 */
/* A first generation with a seed: only what differs from it is sent, and the copy is the disk bit for bit, whatever
 * becomes of the seed meanwhile; what is not fit to be one is not opened, says why, and costs nothing but time.
 * With real storage daemons. */
#include "stage.h"

#include "vmconnect/base/error.h"
#include "vmconnect/image/qcow2_header.h"
#include "vmconnect/replicate/position.h"
#include "vmconnect/replicate/seed.h"

#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SIZE (40 * MIB + 3 * 512) /* the last block is a short one */

static char *seed_path(const Stage *stage, const char *name)
{
    return g_build_filename(stage->seed, name, NULL);
}

/* The active's image as it is now, in another format perhaps. */
static void copy_to_seed(const Stage *stage, const char *target, const char *name, const char *format)
{
    g_autofree char *from_name = g_strconcat(target, ".qcow2", NULL);
    g_autofree char *from = lab_path(&stage->lab, from_name);
    g_autofree char *to = seed_path(stage, name);

    lab_run("qemu-img", "convert", "-f", "qcow2", "-O", format, from, to);
}

static void begin(Stage *stage)
{
    stage_init(stage);
    stage->seed = lab_path(&stage->lab, "seed");
    g_assert_cmpint(g_mkdir(stage->seed, 0700), ==, 0);
    stage_add_disk(stage, "vda", SIZE);
    stage_io(stage, "vda", "write -q -P 1 0 20M");
    stage_io(stage, "vda", "write -q -P 0 20M 1M");
    stage_io(stage, "vda", "write -q -P 2 41942016 2560"); /* up to its very end */
}

static void send_all(Stage *stage, guint64 *ret_sent)
{
    guint64 compared;

    stage_send(stage, ret_sent, &compared);
    stage_expect_equal(stage);
}

/* --- what is sent ------------------------------------------------------ */

static void test_equal(void)
{
    g_auto(Stage) stage = {0};
    guint64 sent, compared;

    begin(&stage);
    stage_add_disk(&stage, "vdb", 8 * MIB);
    stage_io(&stage, "vdb", "write -q -P 3 3M 2M");
    copy_to_seed(&stage, "vda", "web1-vda.qcow2", "qcow2");
    copy_to_seed(&stage, "vdb", "web1-vdb.qcow2", "qcow2");
    stage_send(&stage, &sent, &compared);
    stage_expect_equal(&stage);
    g_assert_null(stage.seed_why);
    /* But the end of it that is no whole block. */
    g_assert_cmpuint(sent, <=, 1536);
    g_assert_cmpuint(compared, ==, 48 * MIB);
}

/* Data for data, for zeros, zeros for data; what the seed has where the disk is empty must not stay. */
static void test_older(void)
{
    g_auto(Stage) stage = {0};
    guint64 sent, compared;

    begin(&stage);
    stage_io(&stage, "vda", "write -q -P 7 25M 3M");
    copy_to_seed(&stage, "vda", "web1-vda.qcow2", "qcow2");
    stage_io(&stage, "vda", "discard -q 25M 3M");
    stage_io(&stage, "vda", "write -q -P 9 0 512");
    stage_io(&stage, "vda", "write -q -P 9 5M 1M");
    stage_io(&stage, "vda", "write -q -z 10M 128k");
    stage_io(&stage, "vda", "write -q -P 0 12M 64k");
    stage_io(&stage, "vda", "write -q -P 9 20M 64k");
    stage_io(&stage, "vda", "write -q -P 9 30M 64k");
    stage_send(&stage, &sent, &compared);
    stage_expect_equal(&stage);
    g_assert_cmpuint(compared, ==, 40 * MIB);
    g_assert_cmpuint(sent, <, MIB + 4 * 64 * KIB + 1537);
    /* It is needed no more, and what follows is an increment like any other. */
    stage_io(&stage, "vda", "write -q -P 4 1M 64k");
    send_all(&stage, &sent);
    g_assert_cmpuint(sent, ==, 64 * KIB);
}

static void test_other_size(void)
{
    static const char *const SIZES[] = {"15728640", "9437696", "64M"}; /* one ends within a block */

    for (guint i = 0; i < G_N_ELEMENTS(SIZES); i++) {
        g_auto(Stage) stage = {0};
        g_autofree char *path = NULL;
        guint64 sent, compared,
            size = g_str_equal(SIZES[i], "64M") ? SIZE : g_ascii_strtoull(SIZES[i], NULL, 10);

        begin(&stage);
        copy_to_seed(&stage, "vda", "web1-vda.raw", "raw");
        path = seed_path(&stage, "web1-vda.raw");
        lab_run("qemu-img", "resize", "-q", "--shrink", "-f", "raw", path, SIZES[i]);
        stage_send(&stage, &sent, &compared);
        stage_expect_equal(&stage);
        g_assert_cmpuint(compared, ==, size == SIZE ? SIZE : size - size % MESSAGE_BLOCK);
        g_assert_cmpuint(sent, <=, size == SIZE ? 0 : 20 * MIB - compared + 64 * KIB + 1536);
    }
}

static void test_names(void)
{
    static const struct {
        const char *name;
        const char *format;
    } NAMES[] = {
        {"web1-vda.qcow2", "qcow2"}, {"web1-vda.raw", "raw"}, {"web1-vda.img", "raw"}, {"web1-vda", "raw"},
        {"web1/vda.qcow2", "qcow2"}, {"web1/vda.raw", "raw"}, {"web1/vda", "raw"},     {"vda.qcow2", "qcow2"},
    };

    for (guint i = 0; i < G_N_ELEMENTS(NAMES); i++) {
        g_auto(Stage) stage = {0};
        g_autofree char *folder = NULL;
        guint64 sent;

        begin(&stage);
        folder = seed_path(&stage, "web1");
        if (NAMES[i].name[4] == '/')
            g_assert_cmpint(g_mkdir(folder, 0700), ==, 0);
        copy_to_seed(&stage, "vda", NAMES[i].name, NAMES[i].format);
        send_all(&stage, &sent);
        g_assert_cmpuint(sent, <=, 1536);
        g_assert_null(stage.seed_why);
    }
}

/* It does not know what it would be told. */
static void test_older_peer(void)
{
    g_auto(Stage) stage = {0};
    g_autoptr(Job) job = NULL;

    begin(&stage);
    copy_to_seed(&stage, "vda", "web1-vda.qcow2", "qcow2");
    stage_attach(&stage, HELLO_VERSION_COMPARE - 1);
    g_assert_null(sender_position(stage.sender)->seed);
    job = stage_begin(&stage);
    g_assert_true(stage_run(&stage, job));
    stage_seal(&stage, job);
    g_assert_cmpuint(sender_payload_bytes(stage.sender), >=, 20 * MIB);
    stage_detach(&stage, FALSE);
    stage_expect_equal(&stage);
}

/* --- what is not fit --------------------------------------------------- */

static void put_backing(const Stage *stage)
{
    g_autofree char *base = lab_path(&stage->lab, "vda.qcow2");
    g_autofree char *path = seed_path(stage, "web1-vda.qcow2");

    lab_run("qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "qcow2", path);
}

static void put_data_file(const Stage *stage)
{
    g_autofree char *data = lab_path(&stage->lab, "data.raw");
    g_autofree char *option = g_strconcat("data_file=", data, NULL);
    g_autofree char *path = seed_path(stage, "web1-vda.qcow2");

    lab_run("qemu-img", "create", "-q", "-f", "qcow2", "-o", option, path, "40M");
}

static void put_link(const Stage *stage)
{
    g_autofree char *to = lab_path(&stage->lab, "vda.qcow2");
    g_autofree char *path = seed_path(stage, "web1-vda.qcow2");

    g_assert_cmpint(symlink(to, path), ==, 0);
}

static void put_linked_folder(const Stage *stage)
{
    g_autofree char *path = seed_path(stage, "web1");

    copy_to_seed(stage, "vda", "aside", "raw");
    g_assert_cmpint(symlink(stage->lab.dir, path), ==, 0);
}

static void put_fifo(const Stage *stage)
{
    g_autofree char *path = seed_path(stage, "web1-vda");

    g_assert_cmpint(mkfifo(path, 0600), ==, 0);
}

static void put_folder(const Stage *stage)
{
    g_autofree char *path = seed_path(stage, "web1-vda");

    g_assert_cmpint(g_mkdir(path, 0700), ==, 0);
}

static void put_two(const Stage *stage)
{
    copy_to_seed(stage, "vda", "web1-vda.qcow2", "qcow2");
    copy_to_seed(stage, "vda", "vda.qcow2", "qcow2");
}

static void put_qcow2_as_raw(const Stage *stage)
{
    copy_to_seed(stage, "vda", "web1-vda.img", "qcow2");
}

static void put_raw_as_qcow2(const Stage *stage)
{
    copy_to_seed(stage, "vda", "web1-vda.qcow2", "raw");
}

static void put_broken(const Stage *stage)
{
    g_autofree char *path = seed_path(stage, "web1-vda.qcow2");

    copy_to_seed(stage, "vda", "web1-vda.qcow2", "qcow2");
    g_assert_cmpint(truncate(path, QCOW2_HEADER_LEN), ==, 0);
}

static void put_nothing(const Stage *stage)
{
    (void)stage;
}

static void put_no_folder(const Stage *stage)
{
    g_assert_cmpint(g_rmdir(stage->seed), ==, 0);
}

/* Who only looks says the same, but for what only QEMU sees; nothing is started for that. */
static void expect_same_of_looking(const Stage *stage, const char *says)
{
    json_auto_t *images = json_pack("{s:s}", "vda", "vda.qcow2");
    SeedPlace place = {.dir = stage->seed, .vm = "web1"};
    g_autoptr(Seed) seed = seed_open(&place, images);

    if (g_str_has_prefix(says, "is not used as its copy: opening"))
        g_assert_cmpuint(seed_bytes(seed, "vda"), >, 0);
    else
        g_assert_nonnull(strstr(seed_why(seed), says));
}

static void test_looked_at(void)
{
    json_auto_t *images = json_pack("{s:s, s:s}", "vda", "vda.qcow2", "vdb", "vdb.qcow2");
    g_auto(Stage) stage = {0};
    g_autoptr(Seed) seed = NULL;

    begin(&stage);
    copy_to_seed(&stage, "vda", "web1-vda.qcow2", "qcow2");
    seed = seed_open(&(SeedPlace){.dir = stage.seed, .vm = "web1"}, images);
    g_assert_cmpuint(seed_bytes(seed, "vda"), ==, SIZE - SIZE % (64 * KIB));
    g_assert_cmpuint(seed_bytes(seed, "vdb"), ==, 0);
    g_assert_true(g_str_has_prefix(seed_why(seed), "disk vdb is sent as a whole: no copy of it is in"));
}

static void test_refused(void)
{
    static const struct {
        void (*put)(const Stage *stage);
        const char *says;
    } CASES[] = {
        {put_backing, "it has a backing file, and is no copy by itself"},
        {put_data_file, "its data lies in an external data file, which is not opened"},
        {put_link, "it is a symbolic link, and what it leads to is not opened"},
        {put_linked_folder, "seed/web1 is a symbolic link: what it leads to is not opened"},
        {put_fifo, "it is not a regular file"},
        {put_folder, "it is not a regular file"},
        {put_two, "seed/vda.qcow2 may both be its copy; leave one of them there"},
        {put_qcow2_as_raw, "its name says raw, and it begins like a qcow2 image; name it .qcow2"},
        {put_raw_as_qcow2, "it is not a qcow2 image"},
        {put_broken, "is not used as its copy: opening image"},
        {put_nothing, "no copy of it is in"},
        {put_no_folder, "all is sent as a whole: the folder"},
    };

    for (guint i = 0; i < G_N_ELEMENTS(CASES); i++) {
        g_auto(Stage) stage = {0};
        g_autoptr(Job) job = NULL;

        begin(&stage);
        CASES[i].put(&stage);
        expect_same_of_looking(&stage, CASES[i].says);
        stage_attach(&stage, 0);
        /* The active has it for its status. */
        g_assert_nonnull(strstr(sender_position(stage.sender)->seed_why, CASES[i].says));
        job = stage_begin(&stage);
        g_assert_true(stage_run(&stage, job));
        stage_seal(&stage, job);
        g_assert_cmpuint(sender_payload_bytes(stage.sender), >=, 20 * MIB);
        stage_detach(&stage, FALSE);
        g_assert_cmpuint(stage.compared, ==, 0);
        g_assert_nonnull(strstr(stage.seed_why, CASES[i].says));
        stage_expect_equal(&stage);
    }
}

/* The image's own name may say nothing. */
static void test_unknown_ending(void)
{
    g_auto(Stage) stage = {0};
    g_autofree char *run_dir = NULL;
    g_autoptr(Seed) seed = NULL;
    json_auto_t *images = json_pack("{s:s, s:s}", "vda", "web1.snap1", "vdb", "");
    SeedPlace place = {.vm = "web/1"};

    begin(&stage);
    copy_to_seed(&stage, "vda", "web1.snap1", "qcow2");
    run_dir = lab_path(&stage.lab, "run");
    place.run_dir = run_dir;
    place.dir = stage.seed;
    seed = seed_open(&place, images);
    g_assert_nonnull(
        strstr(seed_why(seed), "its name does not say what it is; let it end with .qcow2 or .raw"));
    g_assert_nonnull(strstr(seed_why(seed), "; disk vdb is sent as a whole: no copy of it is in"));
    g_assert_cmpuint(seed_bytes(seed, "vda"), ==, 0);
}

static void test_header(void)
{
    guint8 head[QCOW2_HEADER_LEN] = {'Q', 'F', 'I', 0xfb, 0, 0, 0, 3};
    g_autoptr(GError) error = NULL;
    Qcow2Header header;

    head[30] = 1; /* 256 bytes */
    g_assert_true(qcow2_header_decode(head, sizeof(head), &header, NULL));
    g_assert_cmpuint(header.size_bytes, ==, 256);
    g_assert_false(header.has_backing || header.has_data_file || header.encrypted || header.corrupt);
    head[8] = head[35] = 1;
    head[79] = 2 | 4;
    g_assert_true(qcow2_header_decode(head, sizeof(head), &header, NULL));
    g_assert_true(header.has_backing && header.has_data_file && header.encrypted && header.corrupt);
    head[7] = 2; /* which has no such features */
    g_assert_true(qcow2_header_decode(head, sizeof(head), &header, NULL));
    g_assert_false(header.has_data_file || header.corrupt);
    g_assert_false(qcow2_header_decode(head, sizeof(head) - 1, &header, NULL));
    head[7] = 4;
    g_assert_false(qcow2_header_decode(head, sizeof(head), &header, &error));
    g_assert_error(error, US_ERROR, US_ERROR_CORRUPT);
}

/* --- broken off -------------------------------------------------------- */

static void break_off(Stage *stage, gboolean keep)
{
    g_autoptr(Job) job = NULL;

    stage_attach(stage, 0);
    job = stage_begin(stage);
    job->break_at = 8 * MIB;
    g_assert_false(stage_run(stage, job));
    g_assert_cmpuint(job->done_bytes, <, SIZE);
    if (keep)
        stage_slice(stage, job, id_random());
    stage_detach(stage, TRUE);
}

static void go_on(Stage *stage, guint64 *ret_sent)
{
    g_autoptr(Job) job = NULL;

    stage_attach(stage, 0);
    g_assert_nonnull(sender_position(stage->sender)->partial);
    job = stage_begin(stage);
    g_assert_true(stage_run(stage, job));
    stage_seal(stage, job);
    *ret_sent = sender_payload_bytes(stage->sender);
    stage_detach(stage, FALSE);
    stage_expect_equal(stage);
}

static void test_link_cut(void)
{
    g_auto(Stage) stage = {0};
    guint64 sent;

    begin(&stage);
    copy_to_seed(&stage, "vda", "web1-vda.qcow2", "qcow2");
    break_off(&stage, TRUE);
    go_on(&stage, &sent);
    g_assert_cmpuint(sent, <=, 1536);
}

/* What the first one left behind the second one does not cover: there are holes where it had data. */
static void test_another_seed(void)
{
    g_auto(Stage) stage = {0};
    g_autofree char *path = NULL;
    guint64 sent;

    begin(&stage);
    stage_io(&stage, "vda", "write -q -P 7 12M 28M");
    copy_to_seed(&stage, "vda", "web1-vda.qcow2", "qcow2");
    stage_io(&stage, "vda", "discard -q 12M 28M");
    break_off(&stage, TRUE);
    path = seed_path(&stage, "web1-vda.qcow2");
    g_assert_cmpint(g_unlink(path), ==, 0);
    copy_to_seed(&stage, "vda", "web1-vda.qcow2", "qcow2");
    go_on(&stage, &sent);
    g_assert_cmpuint(sent, <=, 1536);
}

/* Somebody pulls it out before the rest is asked for. */
static void test_gone_between(void)
{
    g_auto(Stage) stage = {0};
    g_autofree char *path = NULL;
    guint64 sent;

    begin(&stage);
    stage_io(&stage, "vda", "write -q -P 7 21M 15M");
    copy_to_seed(&stage, "vda", "web1-vda.qcow2", "qcow2");
    stage_io(&stage, "vda", "discard -q 21M 15M");
    break_off(&stage, TRUE);
    path = seed_path(&stage, "web1-vda.qcow2");
    g_assert_cmpint(g_unlink(path), ==, 0);
    go_on(&stage, &sent);
    g_assert_nonnull(strstr(stage.seed_why, "no copy of it is in"));
}

static void kill_seed(const Stage *stage)
{
    g_autofree char *path = lab_path(&stage->lab, "store-run/seed/daemon.pid");
    json_auto_t *doc = json_load_file(path, 0, NULL);
    pid_t pid = (pid_t)json_integer_value(json_object_get(doc, "pid"));

    g_assert_cmpint(pid, >, 1);
    g_assert_cmpint(kill(pid, SIGKILL), ==, 0);
}

/* It fails while it is read: the link ends, and the next one does without. */
static void test_lost(void)
{
    g_auto(Stage) stage = {0};
    g_autoptr(Job) job = NULL;
    g_autoptr(GError) error = NULL;
    gboolean all;
    guint64 sent;

    begin(&stage);
    copy_to_seed(&stage, "vda", "web1-vda.qcow2", "qcow2");
    stage_attach(&stage, 0);
    job = stage_begin(&stage);
    job->break_at = 8 * MIB;
    g_assert_false(stage_run(&stage, job));
    stage_slice(&stage, job, id_random());
    kill_seed(&stage);
    job->limits.wake_fd = -1;
    g_assert_false(stage_try(&stage, job, &all, &error));
    stage_detach(&stage, TRUE);
    g_assert_nonnull(stage.seed_lost);
    go_on(&stage, &sent);
    g_assert_cmpstr(stage.seed_why, ==, stage.seed_lost);
    g_assert_nonnull(strstr(stage.seed_lost, "cannot be read any more"));
    g_assert_cmpuint(sent, <, 13 * MIB);
}

/* A slice may come at any moment. */
static void test_many_slices(void)
{
    g_auto(Stage) stage = {0};
    g_autoptr(Job) job = NULL;
    gboolean first = TRUE;
    guint jobs = 1;

    begin(&stage);
    copy_to_seed(&stage, "vda", "web1-vda.qcow2", "qcow2");
    stage_io(&stage, "vda", "write -q -P 9 7M 5M");
    stage_io(&stage, "vda", "discard -q 15M 2M");
    stage_attach(&stage, 0);
    for (job = stage_begin(&stage);; jobs++) {
        job->break_at = 1;
        if (stage_run(&stage, job))
            break;
        stage_slice(&stage, job, first ? id_random() : ID_NIL);
        first = FALSE;
        if (jobs > 20)
            job->limits.wake_fd = -1;
    }
    stage_seal(&stage, job);
    stage_detach(&stage, FALSE);
    g_assert_cmpuint(jobs, >, 1);
    stage_expect_equal(&stage);
}

static gboolean heard;

static gboolean on_hashes(void *user, const MessageHashes *hashes, GError **error)
{
    (void)user;
    (void)hashes;
    (void)error;
    heard = TRUE;
    return TRUE;
}

/* Until the answer is there, which says that the seed is laid. */
static void ask(const Stage *stage, guint64 offset, guint64 len)
{
    g_autoptr(GError) error = NULL;
    struct pollfd fd;
    int wait_ms;

    heard = FALSE;
    sender_set_hashes(stage->sender, on_hashes, NULL);
    g_assert_true(sender_compare(stage->sender, 0, offset, len, NULL));
    while (!heard) {
        sender_prepare(stage->sender, &fd, &wait_ms);
        g_assert_cmpint(poll(&fd, 1, LAB_TIMEOUT_MS), >=, 0);
        sender_pump(stage->sender, fd.revents, &error);
        g_assert_no_error(error);
    }
}

/* Of a block one part came while there was no seed; one that comes and goes must leave that part alone, for nobody
 * sends it again. */
static void test_not_over_what_came(void)
{
    g_auto(Stage) stage = {0};
    g_autofree char *path = NULL;
    g_autofree char *aside = NULL;
    g_autoptr(Job) first = NULL;
    g_autoptr(Job) second = NULL;
    guint64 sent;

    begin(&stage);
    path = lab_path(&stage.lab, "vda.qcow2");
    aside = lab_path(&stage.lab, "aside");
    lab_run("qemu-img", "create", "-q", "-f", "qcow2", "-o", "cluster_size=4k", path, "32M");
    stage_io(&stage, "vda", "write -q -P 7 0 32M");
    copy_to_seed(&stage, "vda", "web1-vda.qcow2", "qcow2");
    g_assert_cmpint(g_rename(stage.seed, aside), ==, 0);
    lab_run("qemu-img", "create", "-q", "-f", "qcow2", "-o", "cluster_size=4k", path, "32M");
    for (guint64 at = 0; at < 32 * MIB; at += MIB) {
        g_autofree char *command = g_strdup_printf("write -q -P 5 %" G_GUINT64_FORMAT " 12k", at);

        stage_io(&stage, "vda", command);
    }

    stage_attach(&stage, 0);
    first = stage_begin(&stage);
    /* So that zeros are said, and count as received. */
    first->limits.blank = FALSE;
    first->break_at = 30 * MIB;
    g_assert_false(stage_run(&stage, first));
    stage_slice(&stage, first, id_random());
    stage_detach(&stage, TRUE);

    g_assert_cmpint(g_rename(aside, stage.seed), ==, 0);
    stage_attach(&stage, 0);
    g_assert_cmpuint(position_seed_bytes(sender_position(stage.sender), "vda"), ==, 32 * MIB);
    second = stage_begin(&stage);
    for (guint64 at = 0; at < 32 * MIB; at += 64 * KIB)
        ask(&stage, at, 64 * KIB);
    stage_detach(&stage, TRUE);

    g_assert_cmpint(g_rename(stage.seed, aside), ==, 0);
    go_on(&stage, &sent);
}

static void test_too_many(void)
{
    g_auto(Stage) stage = {0};
    g_autoptr(Job) job = NULL;
    g_autoptr(GError) error = NULL;
    struct pollfd fd;
    int wait_ms;

    begin(&stage);
    copy_to_seed(&stage, "vda", "web1-vda.qcow2", "qcow2");
    stage_attach(&stage, 0);
    job = stage_begin(&stage);
    for (guint i = 0; i < 100; i++)
        g_assert_true(sender_compare(stage.sender, 0, 0, 20 * MIB, NULL));
    do {
        sender_prepare(stage.sender, &fd, &wait_ms);
        g_assert_cmpint(poll(&fd, 1, LAB_TIMEOUT_MS), >=, 0);
    } while (sender_pump(stage.sender, fd.revents, &error));
    g_assert_error(error, US_ERROR, US_ERROR_PROTOCOL);
    stage_detach(&stage, TRUE);
    /* That was not the seed's fault. */
    g_assert_null(stage.seed_lost);
}

/* One that never answers is given up, but not at once. */
static void test_judged(void)
{
    const SeedPlace place = {.dir = "/nonexistent", .vm = "web1"};
    json_auto_t *images = json_object();
    g_autoptr(Seed) seed = seed_open(&place, images);

    for (guint i = 0; i < 10; i++) {
        seed_judge(seed, FALSE);
        seed_judge(seed, i % 2 == 0);
    }
    g_assert_null(seed_lost(seed));
    for (guint i = 0; i < 10; i++)
        seed_judge(seed, FALSE);
    g_assert_nonnull(strstr(seed_lost(seed), "/nonexistent cannot be read any more (it does not answer)"));
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/replicate/seed/header", test_header);
    g_test_add_func("/replicate/seed/judged", test_judged);
    g_test_add_func("/replicate/seed/equal", test_equal);
    g_test_add_func("/replicate/seed/older", test_older);
    g_test_add_func("/replicate/seed/other-size", test_other_size);
    g_test_add_func("/replicate/seed/names", test_names);
    g_test_add_func("/replicate/seed/older-peer", test_older_peer);
    g_test_add_func("/replicate/seed/looked-at", test_looked_at);
    g_test_add_func("/replicate/seed/refused", test_refused);
    g_test_add_func("/replicate/seed/unknown-ending", test_unknown_ending);
    g_test_add_func("/replicate/seed/link-cut", test_link_cut);
    g_test_add_func("/replicate/seed/another-seed", test_another_seed);
    g_test_add_func("/replicate/seed/gone-between", test_gone_between);
    g_test_add_func("/replicate/seed/lost", test_lost);
    g_test_add_func("/replicate/seed/many-slices", test_many_slices);
    g_test_add_func("/replicate/seed/not-over-what-came", test_not_over_what_came);
    g_test_add_func("/replicate/seed/too-many", test_too_many);
    return g_test_run();
}

/* SPDX-License-Identifier: Apache-2.0 */
/* A disk of which the standby has a copy is compared: what differs arrives, nothing else travels, and the
 * copy is the disk bit for bit; with real storage daemons at both ends. */
#include "stage.h"

#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/link/link_wait.h"
#include "vmconnect/replicate/digest.h"
#include "vmconnect/replicate/position.h"
#include "vmconnect/replicate/receiver.h"

#include <signal.h>
#include <string.h>

#define SIZE (40 * MIB + 3 * 512) /* the last block is a short one */

/* Two disks with data, holes, and blocks of zeros that are allocated. */
static void first_generation(Stage *stage)
{
    guint64 sent, compared;

    stage_add_disk(stage, "vda", SIZE);
    stage_add_disk(stage, "vdb", 8 * MIB);
    stage_io(stage, "vda", "write -q -P 1 0 20M");
    stage_io(stage, "vda", "write -q -P 0 20M 1M");
    stage_io(stage, "vda", "write -q -P 2 41942016 2560"); /* up to its very end */
    stage_io(stage, "vdb", "write -q -P 3 3M 2M");
    stage_send(stage, &sent, &compared);
    g_assert_cmpuint(sent, >=, 22 * MIB);
    g_assert_cmpuint(compared, ==, 0);
    stage_expect_equal(stage);
}

static guint64 changed_bytes(const Stage *stage)
{
    return ((const StorePoint *)stage->points->pdata[0])->changed_bytes;
}

static void expect_changed(const Stage *stage, guint disk, guint64 offset, guint64 len)
{
    g_autoptr(Extents) more = extents_copy(stage->changed->pdata[disk]);

    extents_add(more, offset, len);
    g_assert_true(extents_equal(more, stage->changed->pdata[disk]));
}

static void test_unchanged(void)
{
    g_auto(Stage) stage = {0};
    guint64 sent, compared;

    stage_init(&stage);
    first_generation(&stage);
    stage_send(&stage, &sent, &compared);
    g_assert_cmpuint(sent, ==, 0);
    g_assert_cmpuint(compared, ==, SIZE + 8 * MIB);
    g_assert_cmpuint(changed_bytes(&stage), ==, 0);
    stage_expect_equal(&stage);
}

/* Data for data, for zeros, zeros for data; in the middle, at the ends, alone and in rows. */
static void test_differences(void)
{
    static const struct {
        const char *target;
        const char *command;
        guint64 offset;
        guint64 len;
    } WRITES[] = {
        {"vda", "write -q -P 9 0 512", 0, 64 * KIB},
        {"vda", "write -q -P 9 1000k 100k", 960 * KIB, 192 * KIB},
        {"vda", "write -q -P 9 5M 3M", 5 * MIB, 3 * MIB},
        {"vda", "write -q -z 10M 128k", 10 * MIB, 128 * KIB},  /* a hole where there was data */
        {"vda", "write -q -P 0 12M 64k", 12 * MIB, 64 * KIB},  /* zeros as data */
        {"vda", "write -q -P 9 20M 64k", 20 * MIB, 64 * KIB},  /* data where zeros were written */
        {"vda", "write -q -P 9 30M 64k", 30 * MIB, 64 * KIB},  /* data in a hole */
        {"vda", "write -q -P 9 41943552 512", 40 * MIB, 1536}, /* the short block */
        {"vdb", "discard -q 3M 2M", 3 * MIB, 2 * MIB},         /* all data is gone */
        {"vdb", "write -q -P 9 8323072 65536", 8 * MIB - 64 * KIB, 64 * KIB},
    };
    g_auto(Stage) stage = {0};
    guint64 sent, compared, sum = 0;

    stage_init(&stage);
    first_generation(&stage);
    for (guint i = 0; i < G_N_ELEMENTS(WRITES); i++) {
        stage_io(&stage, WRITES[i].target, WRITES[i].command);
        sum += WRITES[i].len;
    }
    stage_send(&stage, &sent, &compared);
    stage_expect_equal(&stage);
    g_assert_cmpuint(compared, ==, SIZE + 8 * MIB);
    g_assert_cmpuint(sent, <, 4 * MIB);
    g_assert_cmpuint(changed_bytes(&stage), ==, sum);
    for (guint i = 0; i < G_N_ELEMENTS(WRITES); i++)
        expect_changed(&stage, WRITES[i].target[2] - 'a', WRITES[i].offset, WRITES[i].len);
}

/* Holes that are not of whole blocks, and more pieces than there are chunks. */
static void test_fragments(void)
{
    g_auto(Stage) stage = {0};
    g_autofree char *path = NULL;
    guint64 sent, compared;

    stage_init(&stage);
    path = lab_path(&stage.lab, "vda.qcow2");
    lab_run("qemu-img", "create", "-q", "-f", "qcow2", "-o", "cluster_size=4k", path, "64M");
    g_ptr_array_add(stage.targets, g_strdup("vda"));
    for (guint64 at = 0; at < 64 * MIB; at += 320 * KIB) {
        g_autofree char *command = g_strdup_printf("write -q -P 5 %" G_GUINT64_FORMAT " 12k", at);

        stage_io(&stage, "vda", command);
    }
    stage_send(&stage, &sent, &compared);
    stage_expect_equal(&stage);
    stage_io(&stage, "vda", "write -q -P 6 33M 4k");
    stage_io(&stage, "vda", "write -q -z 0 4k");
    stage_send(&stage, &sent, &compared);
    stage_expect_equal(&stage);
    g_assert_cmpuint(compared, ==, 64 * MIB);
    g_assert_cmpuint(sent, ==, 2 * 64 * KIB);
    g_assert_cmpuint(changed_bytes(&stage), ==, 2 * 64 * KIB);
}

/* Neither side reads a hole: this would take it hours. */
static void test_holes(void)
{
    const guint64 size = 1024 * 1024 * (guint64)MIB;
    g_auto(Stage) stage = {0};
    guint64 sent, compared;

    stage_init(&stage);
    stage_add_disk(&stage, "vda", size);
    stage_io(&stage, "vda", "write -q -P 1 600G 1M");
    stage_send(&stage, &sent, &compared);
    g_assert_cmpuint(sent, <, 2 * MIB);
    stage_send(&stage, &sent, &compared);
    g_assert_cmpuint(sent, ==, 0);
    g_assert_cmpuint(compared, ==, size);
    /* Of data where the other side has a hole one is sent, and the other said. */
    stage_io(&stage, "vda", "discard -q 600G 1M");
    stage_io(&stage, "vda", "write -q -P 2 300G 1M");
    stage_send(&stage, &sent, &compared);
    g_assert_cmpuint(sent, ==, MIB);
    g_assert_cmpuint(compared, ==, size);
}

static void test_other_size(void)
{
    g_auto(Stage) stage = {0};
    guint64 sent, compared;

    stage_init(&stage);
    first_generation(&stage);
    stage_resize(&stage, "vda", 48 * MIB);
    stage_io(&stage, "vda", "write -q -P 7 41943040 128k"); /* from the short block on */
    stage_send(&stage, &sent, &compared);
    stage_expect_equal(&stage);
    g_assert_cmpuint(compared, ==, SIZE + 8 * MIB);
    g_assert_cmpuint(sent, ==, 128 * KIB);
    /* What lies beyond is said, too: below may be an older layer that is longer. */
    expect_changed(&stage, 0, 40 * MIB, 8 * MIB);
}

/* Broken off, kept, broken off again, the link cut without a word, and gone on with. */
static void test_link_cut(void)
{
    const Id guard = id_random();
    g_auto(Stage) stage = {0};
    g_autoptr(Job) before = NULL;
    g_autoptr(Job) after = NULL;
    guint64 done;

    stage_init(&stage);
    first_generation(&stage);
    stage_io(&stage, "vda", "write -q -P 9 2M 64k");
    stage_io(&stage, "vda", "write -q -P 9 18M 256k");
    stage_attach(&stage, 0);
    before = stage_begin(&stage);
    before->break_at = 4 * MIB;
    g_assert_false(stage_run(&stage, before));
    done = before->done_bytes;
    g_assert_cmpuint(done, >=, 4 * MIB);
    g_assert_cmpuint(done, <, SIZE);
    stage_slice(&stage, before, guard);
    /* No more than was sent, in another job; but that is nobody's memory. */
    before->limits.wake_fd = -1;
    g_assert_true(stage_run(&stage, before));
    stage_detach(&stage, TRUE);

    stage.compared = 0;
    stage_attach(&stage, 0);
    after = stage_begin(&stage);
    g_assert_true(id_equal(after->pass->guard, guard));
    g_assert_true(stage_run(&stage, after));
    g_assert_cmpuint(after->total_bytes, ==, SIZE + 8 * MIB - done);
    g_assert_cmpuint(sender_payload_bytes(stage.sender), ==, 0);
    stage_seal(&stage, after);
    stage_detach(&stage, FALSE);
    g_assert_cmpuint(stage.compared, ==, SIZE + 8 * MIB - done);
    stage_expect_equal(&stage);
    /* Sent over the first link, and equal over the second one: changed all the same. */
    expect_changed(&stage, 0, 2 * MIB, 64 * KIB);
    expect_changed(&stage, 0, 18 * MIB, 256 * KIB);
    g_assert_cmpuint(changed_bytes(&stage), ==, 320 * KIB);
}

/* A slice may come at any moment: what is open then is forgotten by both. */
static void test_many_slices(void)
{
    g_auto(Stage) stage = {0};
    g_autoptr(Job) job = NULL;
    gboolean first = TRUE;
    guint jobs = 1;

    stage_init(&stage);
    first_generation(&stage);
    stage_io(&stage, "vda", "write -q -P 9 7M 5M");
    stage_attach(&stage, 0);
    for (job = stage_begin(&stage);; jobs++) {
        /* Woken before it begins: each job does what its first turn brings. */
        job->break_at = 1;
        if (stage_run(&stage, job))
            break;
        stage_slice(&stage, job, first ? id_random() : ID_NIL);
        first = FALSE;
        g_assert_cmpuint(jobs, <, 10000);
        if (jobs > 20)
            job->limits.wake_fd = -1;
    }
    stage_seal(&stage, job);
    stage_detach(&stage, FALSE);
    g_assert_cmpuint(jobs, >, 1);
    stage_expect_equal(&stage);
}

static void test_older_peer(void)
{
    g_auto(Stage) stage = {0};
    g_autoptr(Job) job = NULL;

    stage_init(&stage);
    first_generation(&stage);
    stage_attach(&stage, HELLO_VERSION_COMPARE - 1);
    g_assert_false(sender_compares(stage.sender));
    job = stage_begin(&stage);
    g_assert_true(stage_run(&stage, job));
    g_assert_cmpuint(sender_payload_bytes(stage.sender), >=, 22 * MIB);
    stage_seal(&stage, job);
    stage_detach(&stage, FALSE);
    g_assert_cmpuint(stage.compared, ==, 0);
    stage_expect_equal(&stage);
}

/* --- who breaks the rules ---------------------------------------------- */

static void expect_refused(Stage *stage, const char *text)
{
    g_autoptr(GError) error = NULL;
    struct pollfd fd;
    int wait_ms;

    do {
        sender_prepare(stage->sender, &fd, &wait_ms);
        g_assert_cmpint(poll(&fd, 1, LAB_TIMEOUT_MS), >=, 0);
    } while (sender_pump(stage->sender, fd.revents, &error));
    g_assert_error(error, US_ERROR, US_ERROR_PROTOCOL);
    g_assert_true(g_str_has_suffix(error->message, text));
    stage_detach(stage, TRUE);
}

static Job *begun(Stage *stage)
{
    stage_init(stage);
    first_generation(stage);
    stage_attach(stage, 0);
    return stage_begin(stage);
}

static void test_beyond_the_disk(void)
{
    g_auto(Stage) stage = {0};
    g_autoptr(Job) job = begun(&stage);

    g_assert_cmpuint(job->begun->disks->len, ==, 2);
    g_assert_true(sender_compare(stage.sender, 1, 4 * MIB, 4 * MIB + 1, NULL));
    expect_refused(&stage, "a block at 4194304 of 4194305 bytes is not on disk 1 of this generation");
}

static void test_same_beyond_the_disk(void)
{
    g_auto(Stage) stage = {0};
    g_autoptr(Job) job = begun(&stage);

    g_assert_cmpuint(job->begun->disks->len, ==, 2);
    g_assert_true(sender_same(stage.sender, 2, 0, 1, NULL));
    expect_refused(&stage, "a block at 0 of 1 bytes is not on disk 2 of this generation");
}

static void test_too_many(void)
{
    g_auto(Stage) stage = {0};
    g_autoptr(Job) job = begun(&stage);

    g_assert_cmpuint(job->begun->disks->len, ==, 2);
    /* Far more than one turn of the standby answers. */
    for (guint i = 0; i < 100; i++)
        g_assert_true(sender_compare(stage.sender, 0, 0, 20 * MIB, NULL));
    expect_refused(&stage, "the active asks for more than the 32 comparisons that may be open");
}

static MessageRange lie;

static Frame *wait_for(Link *link, MessageType type)
{
    g_autoptr(GError) error = NULL;
    Frame *frame = link_wait_for(link, type, clock_steady_ms() + LAB_TIMEOUT_MS, -1, &error);

    g_assert_no_error(error);
    return frame;
}

/* Has a copy, and hashes what nobody asked for. */
static void liar(void *user)
{
    static const guint8 HASHES[2 * MESSAGE_HASH_LEN];
    Stage *stage = user;
    g_autoptr(Link) link = g_steal_pointer(&stage->link);
    g_autoptr(Frame) attach = wait_for(link, MESSAGE_ATTACH);
    g_autoptr(Position) position = position_new();
    json_auto_t *doc = position_to_json(position);
    Attached attached = {.session = 1, .credit_bytes = RECEIVER_CREDIT, .position = doc};
    json_auto_t *answer = attached_to_json(&attached);
    MessageHashes hashes = {lie, lie.len <= 2 * MESSAGE_BLOCK ? HASHES : NULL};
    g_autoptr(GBytes) payload = message_encode_hashes(&hashes);
    g_autoptr(Frame) begin = NULL;
    g_autoptr(Frame) compare = NULL;

    g_assert_nonnull(attach);
    g_assert_true(link_send_json(link, MESSAGE_ATTACHED, 0, answer, NULL));
    begin = wait_for(link, MESSAGE_BEGIN);
    compare = wait_for(link, MESSAGE_COMPARE);
    g_assert_true(link_send(link, MESSAGE_HASHES, 0, payload, NULL));
    /* To its end, which is the active's doing. */
    for (Frame *next; (next = link_wait(link, clock_steady_ms() + LAB_TIMEOUT_MS, -1, NULL));)
        frame_free(next);
}

static void test_lying_standby(void)
{
    static const MessageRange LIES[] = {
        {MESSAGE_BLOCK, MESSAGE_BLOCK, 0}, /* not where it begins */
        {0, MESSAGE_BLOCK, 1},             /* another disk */
        {0, 512, 0},                       /* a part of a block, which is not the last one */
        {0, MIB + 512, 0},                 /* more than was asked */
    };

    for (guint i = 0; i < G_N_ELEMENTS(LIES); i++) {
        g_auto(Stage) stage = {0};
        g_autoptr(Job) job = NULL;
        g_autoptr(GError) error = NULL;
        gboolean all;

        lie = LIES[i];
        stage_init(&stage);
        stage.standby = liar;
        stage_add_disk(&stage, "vda", 8 * MIB);
        stage_io(&stage, "vda", "write -q -P 1 0 2M");
        stage_attach(&stage, 0);
        job = stage_begin(&stage);
        ((guint64 *)job->limits.copies)[0] = 8 * MIB;
        g_assert_false(stage_try(&stage, job, &all, &error));
        g_assert_error(error, US_ERROR, US_ERROR_PROTOCOL);
        g_assert_cmpstr(error->message, ==, "the standby hashed another range than was asked for");
        stage_detach(&stage, TRUE);
    }
}

/* --- the hash ---------------------------------------------------------- */

static void test_digest(void)
{
    static const guint8 KEY[DIGEST_KEY_LEN] = {0};
    static const guint8 OTHER[DIGEST_KEY_LEN] = {1};
    /* Both sides must have it, whatever library they are built with. */
    static const guint8 ABC[MESSAGE_HASH_LEN] = {0xdd, 0xb8, 0x2e, 0xac, 0x2f, 0x69, 0x8d, 0xc1,
                                                 0x56, 0x9b, 0xb9, 0xd6, 0xc9, 0x21, 0x47, 0xfa};
    g_autofree guint8 *data = g_malloc0(MESSAGE_BLOCK + 512);
    g_autoptr(Digest) digest = digest_new(KEY);
    g_autoptr(Digest) other = digest_new(OTHER);
    guint8 out[2][MESSAGE_HASH_LEN];

    digest_blocks(digest, (const guint8 *)"abc", 3, out[0]);
    g_assert_cmpmem(out[0], MESSAGE_HASH_LEN, ABC, MESSAGE_HASH_LEN);
    digest_blocks(other, data, MESSAGE_BLOCK, out[0]);
    digest_blocks(digest, data, MESSAGE_BLOCK, out[1]);
    g_assert_cmpint(memcmp(out[0], out[1], MESSAGE_HASH_LEN), !=, 0);
    digest_blocks(digest, data, MESSAGE_BLOCK + 512, out[0]);
    g_assert_cmpmem(out[0], MESSAGE_HASH_LEN, digest_zeros(digest, MESSAGE_BLOCK), MESSAGE_HASH_LEN);
    g_assert_cmpmem(out[1], MESSAGE_HASH_LEN, digest_zeros(digest, 512), MESSAGE_HASH_LEN);
    g_assert_cmpint(memcmp(out[0], out[1], MESSAGE_HASH_LEN), !=, 0);
}

/* --- looking only ------------------------------------------------------ */

static GPtrArray *two_lists(guint64 vda, guint64 vdb)
{
    GPtrArray *lists = g_ptr_array_new_with_free_func((GDestroyNotify)extents_free);

    g_ptr_array_add(lists, extents_new());
    g_ptr_array_add(lists, extents_new());
    extents_add(lists->pdata[0], 0, vda);
    extents_add(lists->pdata[1], 0, vdb);
    return lists;
}

static void expect_nothing_sent(Stage *stage)
{
    g_assert_cmpuint(sender_payload_bytes(stage->sender), ==, 0);
    stage_detach(stage, FALSE);
    g_assert_cmpuint(stage->points->len, ==, 1);
}

/* In one turn nothing is found to differ, nothing is sent, and so many bytes are compared. */
static void expect_equal_by_audit(Stage *stage, guint64 compared)
{
    g_autoptr(GPtrArray) todo = two_lists(SIZE, 8 * MIB);
    g_autoptr(GPtrArray) differing = two_lists(0, 0);
    g_autoptr(Job) job = NULL;

    stage_attach(stage, 0);
    job = stage_begin(stage);
    g_assert_true(stage_audit(stage, job, todo, differing));
    for (guint i = 0; i < 2; i++) {
        g_assert_true(extents_is_empty(todo->pdata[i]));
        g_assert_true(extents_is_empty(differing->pdata[i]));
    }
    g_assert_cmpuint(stream_compared_bytes(stage->stream), ==, compared);
    expect_nothing_sent(stage);
}

static void test_audit_equal(void)
{
    g_auto(Stage) stage = {0};

    stage_init(&stage);
    first_generation(&stage);
    stage.unchanged = TRUE;
    expect_equal_by_audit(&stage, SIZE + 8 * MIB);
}

/* What no record of changes knows of, in two turns of one session; a hole for data, data for a hole, the short block. */
static void test_audit_different(void)
{
    g_auto(Stage) stage = {0};
    g_autoptr(GPtrArray) todo = two_lists(SIZE, 8 * MIB);
    g_autoptr(GPtrArray) differing = two_lists(0, 0);
    g_autoptr(GPtrArray) expected = two_lists(0, 0);
    g_autoptr(Job) first = NULL;
    g_autoptr(Job) second = NULL;
    guint64 sent, compared;

    stage_init(&stage);
    first_generation(&stage);
    stage_io(&stage, "vda", "write -q -P 9 1000k 100k");
    stage_io(&stage, "vda", "write -q -z 10M 128k");
    stage_io(&stage, "vda", "write -q -P 9 30M 64k");
    stage_io(&stage, "vda", "write -q -P 9 41943552 512");
    stage_io(&stage, "vdb", "discard -q 3M 2M");
    extents_add(expected->pdata[0], 960 * KIB, 192 * KIB);
    extents_add(expected->pdata[0], 10 * MIB, 128 * KIB);
    extents_add(expected->pdata[0], 30 * MIB, 64 * KIB);
    extents_add(expected->pdata[0], 40 * MIB, 1536);
    extents_add(expected->pdata[1], 3 * MIB, 2 * MIB);
    stage.unchanged = TRUE;
    stage_attach(&stage, 0);
    first = stage_begin(&stage);
    first->break_at = 4 * MIB;
    g_assert_false(stage_audit(&stage, first, todo, differing));
    g_assert_false(extents_is_empty(todo->pdata[1]));
    second = stage_begin(&stage);
    g_assert_true(stage_audit(&stage, second, todo, differing));
    for (guint i = 0; i < 2; i++) {
        g_assert_true(extents_is_empty(todo->pdata[i]));
        g_assert_true(extents_equal(differing->pdata[i], expected->pdata[i]));
    }
    expect_nothing_sent(&stage);
    /* The overlays that were taken back are as good as new. */
    stage.unchanged = FALSE;
    stage_send(&stage, &sent, &compared);
    g_assert_cmpuint(sent, >, 0);
    stage_expect_equal(&stage);
}

/* The next generation brings it. */
static void test_audit_changed(void)
{
    g_auto(Stage) stage = {0};

    stage_init(&stage);
    first_generation(&stage);
    stage_io(&stage, "vda", "write -q -P 9 1000k 100k");
    expect_equal_by_audit(&stage, 0);
}

/* What is known to differ comes with the next generation, though no record of changes has it. */
static void test_resend(void)
{
    g_auto(Stage) stage = {0};
    g_autoptr(GPtrArray) also = two_lists(0, 0);
    g_autoptr(Job) job = NULL;

    stage_init(&stage);
    first_generation(&stage);
    stage_io(&stage, "vda", "write -q -P 9 1M 64k");
    stage_io(&stage, "vdb", "discard -q 3M 1M");
    extents_add(also->pdata[0], MIB, 64 * KIB);
    extents_add(also->pdata[1], 3 * MIB, MIB);
    stage.unchanged = TRUE;
    stage_attach(&stage, 0);
    job = stage_begin(&stage);
    job->limits.also = also;
    g_assert_true(stage_run(&stage, job));
    stage_seal(&stage, job);
    g_assert_cmpuint(sender_payload_bytes(stage.sender), <=, 64 * KIB);
    stage_detach(&stage, FALSE);
    stage_expect_equal(&stage);
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/replicate/compare/digest", test_digest);
    g_test_add_func("/replicate/compare/unchanged", test_unchanged);
    g_test_add_func("/replicate/compare/differences", test_differences);
    g_test_add_func("/replicate/compare/fragments", test_fragments);
    g_test_add_func("/replicate/compare/holes", test_holes);
    g_test_add_func("/replicate/compare/other-size", test_other_size);
    g_test_add_func("/replicate/compare/link-cut", test_link_cut);
    g_test_add_func("/replicate/compare/many-slices", test_many_slices);
    g_test_add_func("/replicate/compare/older-peer", test_older_peer);
    g_test_add_func("/replicate/compare/hostile/beyond-the-disk", test_beyond_the_disk);
    g_test_add_func("/replicate/compare/hostile/same-beyond-the-disk", test_same_beyond_the_disk);
    g_test_add_func("/replicate/compare/hostile/too-many", test_too_many);
    g_test_add_func("/replicate/compare/hostile/lying-standby", test_lying_standby);
    g_test_add_func("/replicate/compare/audit/equal", test_audit_equal);
    g_test_add_func("/replicate/compare/audit/different", test_audit_different);
    g_test_add_func("/replicate/compare/audit/changed", test_audit_changed);
    g_test_add_func("/replicate/compare/audit/resend", test_resend);
    return g_test_run();
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Real images and real checkers; and programs that stand in for a checker which hangs, dies, or was taken over by what it read. */
#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/image/daemon_reader.h"
#include "vmconnect/image/process.h"
#include "vmconnect/rehearse/file_systems.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB (1024ULL * 1024)
#define DISK_BYTES (48 * MIB)
#define TIMEOUT_MS 60000
#define NO_WORLD 77 /* a child that cannot have a world of its own */

typedef struct {
    char *dir;
    char *folder;
    char *path; /* what PATH was */
} Bench;

static void bench_clear(Bench *b)
{
    const char *argv[] = {"rm", "-rf", b->dir, NULL};

    g_assert_true(process_run(argv, TIMEOUT_MS, -1, 0, NULL, NULL));
    g_setenv("PATH", b->path, TRUE);
    g_free(b->dir);
    g_free(b->folder);
    g_free(b->path);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Bench, bench_clear)

/* Run a few lines of shell in the bench's folder; each must succeed. */
static char *script(const Bench *b, const char *lines)
{
    g_autofree char *all = g_strdup_printf("set -e; cd %s; %s", b->dir, lines);
    const char *argv[] = {"sh", "-c", all, NULL};
    g_autoptr(GError) error = NULL;
    char *output = NULL;

    process_run(argv, TIMEOUT_MS, -1, MIB, &output, &error);
    g_assert_no_error(error);
    return output;
}

static void run(const Bench *b, const char *lines)
{
    g_free(script(b, lines));
}

/* "files" to put into file systems, "fat" and "ext4" of 16 MiB, "fake" for stand-ins. */
static void bench_init(Bench *b)
{
    /* Where checkers, who are nobody, find stand-ins: TMPDIR may be closed to them. */
    *b = (Bench){.dir = g_mkdtemp(g_strdup("/tmp/understudy-XXXXXX")), .path = g_strdup(g_getenv("PATH"))};
    b->folder = g_build_filename(b->dir, "look", NULL);
    g_assert_cmpint(g_mkdir(b->folder, 0700), ==, 0);
    run(b, "mkdir files fake; for i in 1 2 3 4 5 6 7 8; do head -c 3000 /dev/urandom >files/$i; done; chmod "
           "755 . fake;"
           "truncate -s 16M fat ext4; mkfs.vfat -F 16 fat >/dev/null; mcopy -i fat files/* ::;"
           "mkfs.ext4 -q -b 1024 -d files ext4");
}

/* A disk with the fat and the ext4 as partitions of a MBR: the first in base.qcow2, the second in top.qcow2, whose header tells a lie
 * about what is below it. */
#define CHAIN                                                                                           \
    "truncate -s 48M raw; printf '2048,32768,c,*\\n34816,32768,83\\n' | sfdisk -q raw;"                 \
    "dd if=fat of=raw bs=1M seek=1 conv=notrunc status=none; qemu-img convert -O qcow2 raw base.qcow2;" \
    "qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 top.qcow2;"                                     \
    "qemu-io -f qcow2 -c \"write -q -s ext4 17M 16M\" top.qcow2;"                                       \
    "qemu-img rebase -u -f qcow2 -b /nowhere -F raw top.qcow2;"

/* Overwrite the block of the ext4 that holds the root's inode, … */
#define BREAK_EXT4                                                                                   \
    "at=$(dumpe2fs ext4 2>/dev/null | sed -n 's/.*Inode table at \\([0-9]*\\)-.*/\\1/p' | head -1);" \
    "dd if=ext4 of=block bs=1024 skip=$at count=1 status=none;"                                      \
    "dd if=/dev/urandom of=ext4 bs=1024 seek=$at count=1 conv=notrunc status=none;"
/* … and say in its journal what was there. */
#define JOURNAL_KNOWS \
    "printf \"jo\\njw -b $at block\\njc\\n\" >commands; debugfs -w -f commands ext4 >/dev/null 2>&1;"

typedef struct {
    const char *target;
    const char *files[3];
    const char *formats[3];
} Image;

/* The images as a point of a copy would be offered. */
static void offer(const Bench *b, DaemonReader *reader, const Image *image)
{
    ReaderLayer layers[3];
    g_autoptr(GPtrArray) paths = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GError) error = NULL;
    guint n = 0;

    for (; image->files[n]; n++) {
        g_ptr_array_add(paths, g_build_filename(b->dir, image->files[n], NULL));
        layers[n] = (ReaderLayer){paths->pdata[n], image->formats[n], TRUE};
    }
    if (n > 0)
        daemon_reader_add(reader, image->target, layers, n, NULL, &error);
    g_assert_no_error(error);
}

static json_t *check_until(const Bench *b, const Image *images, guint n, gint64 deadline, int cancel_fd,
                           GError **error)
{
    g_autofree FileSystemsDisk *disks = g_new0(FileSystemsDisk, n);
    g_autofree char *run_dir = g_build_filename(b->dir, "offers", NULL);
    g_autoptr(DaemonReader) reader = daemon_reader_start(run_dir, "offers", NULL);

    g_assert_nonnull(reader);
    for (guint i = 0; i < n; i++) {
        offer(b, reader, &images[i]);
        disks[i] = (FileSystemsDisk){images[i].target, DISK_BYTES, daemon_reader_nbd_path(reader)};
    }
    return file_systems_check(disks, n, b->folder, deadline, cancel_fd, error);
}

static gboolean is_mounted(const Bench *b)
{
    g_autofree char *text = NULL;

    g_assert_true(g_file_get_contents("/proc/self/mountinfo", &text, NULL, NULL));
    return strstr(text, b->folder) != NULL;
}

/* All that it made is gone. */
static void expect_nothing_left(const Bench *b)
{
    g_autoptr(GDir) dir = g_dir_open(b->folder, 0, NULL);

    g_assert_cmpstr(g_dir_read_name(dir), ==, NULL);
    g_assert_false(is_mounted(b));
}

static json_t *check(const Bench *b, const Image *images, guint n)
{
    g_autoptr(GError) error = NULL;
    json_t *all = check_until(b, images, n, clock_steady_ms() + TIMEOUT_MS, -1, &error);

    g_assert_no_error(error);
    g_assert_cmpuint(json_array_size(all), ==, n);
    expect_nothing_left(b);
    return all;
}

static void expect_error(const Bench *b, const Image *image, int cancel_fd, gint64 deadline, UsError code)
{
    g_autoptr(GError) error = NULL;

    g_assert_null(check_until(b, image, 1, deadline, cancel_fd, &error));
    g_assert_error(error, US_ERROR, (int)code);
    expect_nothing_left(b);
}

/* @expected: a line for each part, "NUMBER OFFSET SIZE KIND STATE", offset and size in MiB. */
static void expect_parts(const json_t *all, guint disk, const char *expected)
{
    const json_t *doc = json_array_get(all, disk), *part;
    g_autoptr(GString) text = g_string_new(NULL);
    size_t i;

    g_assert_true(json_is_true(json_object_get(doc, "opens")));
    g_assert_true(json_is_null(json_object_get(doc, "why")));
    json_array_foreach(json_object_get(doc, "parts"), i, part)
    {
        const char *kind = json_string_value(json_object_get(part, "kind"));

        g_string_append_printf(
            text, "%s%d %d %d %s %s", i ? "\n" : "", (int)json_integer_value(json_object_get(part, "number")),
            (int)(json_integer_value(json_object_get(part, "offset_bytes")) / (json_int_t)MIB),
            (int)(json_integer_value(json_object_get(part, "size_bytes")) / (json_int_t)MIB),
            kind ? kind : "-", json_string_value(json_object_get(part, "state")));
    }
    g_assert_cmpstr(text->str, ==, expected);
}

static const char *text_of(const json_t *all, guint disk, guint part)
{
    const json_t *parts = json_object_get(json_array_get(all, disk), "parts");

    return json_string_value(json_object_get(json_array_get(parts, part), "text"));
}

static void expect_text(const json_t *all, guint disk, guint part, const char *words)
{
    const char *text = text_of(all, disk, part);

    if (!text || !strstr(text, words))
        g_error("'%s' is not in '%s'", words, text ? text : "null");
}

static const Image VDA = {"vda", {"top.qcow2", "base.qcow2"}, {"qcow2", "qcow2"}};
static const Image WHOLE = {"vda", {"disk"}, {"raw"}};

/* ---- what is found ---- */

static void test_clean(void)
{
    g_auto(Bench) b = {0};
    json_auto_t *all = NULL;

    bench_init(&b);
    run(&b, CHAIN);
    all = check(&b, &VDA, 1);
    expect_parts(all, 0, "1 1 16 vfat clean\n2 17 16 ext4 clean");
    g_assert_null(text_of(all, 0, 0));
    g_assert_null(text_of(all, 0, 1));
}

static void test_journal(void)
{
    g_auto(Bench) b = {0};
    g_autofree char *before = NULL;
    g_autofree char *after = NULL;
    json_auto_t *all = NULL;

    bench_init(&b);
    run(&b, BREAK_EXT4 JOURNAL_KNOWS CHAIN);
    before = script(&b, "sha256sum base.qcow2 top.qcow2; stat -c %y base.qcow2 top.qcow2");
    all = check(&b, &VDA, 1);
    expect_parts(all, 0, "1 1 16 vfat clean\n2 17 16 ext4 clean");
    expect_text(all, 0, 1, "its journal was replayed");
    after = script(&b, "sha256sum base.qcow2 top.qcow2; stat -c %y base.qcow2 top.qcow2");
    g_assert_cmpstr(before, ==, after);
}

/* What was deleted while it was open is no damage. */
static void test_orphan(void)
{
    g_auto(Bench) b = {0};
    json_auto_t *all = NULL;

    bench_init(&b);
    run(&b, "printf 'sif <13> links_count 0\\nunlink /2\\nssv last_orphan 13\\n' >commands;"
            "debugfs -R 'stat <13>' ext4 2>/dev/null | grep -q regular; debugfs -R ncheck\\ 13 ext4 "
            "2>/dev/null | grep -q . ;"
            "name=$(debugfs -R 'ncheck 13' ext4 2>/dev/null | sed -n 's/^13\\t//p'); sed -i \"s,/2,$name,\" "
            "commands;"
            "debugfs -w -f commands ext4 >/dev/null 2>&1; mv ext4 disk; truncate -s 48M disk");
    all = check(&b, &WHOLE, 1);
    expect_parts(all, 0, "0 0 48 ext4 clean");
}

/* One without a journal is corrected by its guest's start. */
static void test_no_journal(void)
{
    g_auto(Bench) b = {0};
    json_auto_t *all = NULL;

    bench_init(&b);
    run(&b, "truncate -s 48M disk; mkfs.ext2 -q -d files disk; debugfs -w -R 'ssv state 0' disk 2>/dev/null");
    all = check(&b, &WHOLE, 1);
    expect_parts(all, 0, "0 0 48 ext2 clean");
    expect_text(all, 0, 0, "corrected as at a start");
}

/* The superblock says that it is clean: only a look at everything shows it. The first disk is as it should be. */
static void test_damaged_second_disk(void)
{
    g_auto(Bench) b = {0};
    json_auto_t *all = NULL;
    const Image both[] = {VDA, {"vdb", {"disk"}, {"raw"}}};

    bench_init(&b);
    run(&b, CHAIN "debugfs -w -R 'clri <13>' ext4 2>/dev/null; mv ext4 disk; truncate -s 48M disk");
    all = check(&b, both, 2);
    expect_parts(all, 0, "1 1 16 vfat clean\n2 17 16 ext4 clean");
    expect_parts(all, 1, "0 0 48 ext4 damaged");
    expect_text(all, 1, 0, "has deleted/unused inode 13");
}

static void test_damaged_inodes(void)
{
    g_auto(Bench) b = {0};
    json_auto_t *all = NULL;

    bench_init(&b);
    run(&b, BREAK_EXT4 CHAIN);
    all = check(&b, &VDA, 1);
    expect_parts(all, 0, "1 1 16 vfat clean\n2 17 16 ext4 damaged");
}

/* Its guest's kernel knew of damage, and e2fsck takes out by itself what it finds: that was damage still. */
static void test_known_damage(void)
{
    g_auto(Bench) b = {0};
    json_auto_t *all = NULL;

    bench_init(&b);
    run(&b, "debugfs -w -R 'clri <13>' ext4 2>/dev/null; debugfs -w -R 'ssv state 3' ext4 2>/dev/null; mv "
            "ext4 disk; truncate -s 48M disk");
    all = check(&b, &WHOLE, 1);
    expect_parts(all, 0, "0 0 48 ext4 damaged");
}

static void test_fat(void)
{
    g_auto(Bench) b = {0};
    json_auto_t *in_use = NULL;
    json_auto_t *damaged = NULL;

    bench_init(&b);
    /* FAT32: the mark, and a number of free clusters that is wrong. */
    run(&b, "truncate -s 48M disk; mkfs.vfat -F 32 -s 1 disk >/dev/null; mcopy -i disk files/* ::;"
            "printf '\\001' | dd of=disk bs=1 seek=65 conv=notrunc status=none;"
            "printf '\\001\\002' | dd of=disk bs=1 seek=1000 conv=notrunc status=none; ! fsck.fat -n disk "
            ">/dev/null");
    in_use = check(&b, &WHOLE, 1);
    expect_parts(in_use, 0, "0 0 48 vfat clean");
    expect_text(in_use, 0, 0, "in use");
    /* Not its first table, which has what blkid looks at. */
    run(&b, "dd if=/dev/urandom of=disk bs=512 seek=40 count=8 conv=notrunc status=none");
    damaged = check(&b, &WHOLE, 1);
    expect_parts(damaged, 0, "0 0 48 vfat damaged");
    expect_text(damaged, 0, 0, "FATs differ");
}

/* With a name that is meant for whoever reads what sfdisk says. */
static void test_gpt(void)
{
    g_auto(Bench) b = {0};
    json_auto_t *all = NULL;

    bench_init(&b);
    run(&b, "truncate -s 48M disk; printf 'label: gpt\\n2048,32768\\n,4096,S\\n,4096\\n' | sfdisk -q disk;"
            "sfdisk -q --part-label disk 3 '\"},{\\\"';"
            "dd if=ext4 of=disk bs=1M seek=1 conv=notrunc status=none;"
            "truncate -s 2M swap; chmod 600 swap; mkswap -q swap 2>/dev/null;"
            "dd if=swap of=disk bs=1M seek=17 conv=notrunc status=none;"
            "dd if=/dev/urandom of=disk bs=1M seek=19 count=2 conv=notrunc status=none");
    all = check(&b, &WHOLE, 1);
    expect_parts(all, 0, "1 1 16 ext4 clean\n2 17 2 swap unknown\n3 19 2 - unknown");
    expect_text(all, 0, 1, "not looked into: swap space");
}

static void test_no_table(void)
{
    g_auto(Bench) b = {0};
    json_auto_t *nothing = NULL;
    json_auto_t *noise = NULL;

    bench_init(&b);
    run(&b, "truncate -s 48M disk");
    nothing = check(&b, &WHOLE, 1);
    expect_parts(nothing, 0, "0 0 48 - unknown");
    run(&b, "head -c 48M /dev/urandom >disk");
    noise = check(&b, &WHOLE, 1);
    expect_parts(noise, 0, "0 0 48 - unknown");
}

static void test_ill_tables(void)
{
    g_auto(Bench) b = {0};
    json_auto_t *beyond = NULL;
    json_auto_t *over = NULL;
    json_auto_t *cut = NULL;

    bench_init(&b);
    run(&b,
        "truncate -s 96M disk; printf '2048,32768,83\\n163840,\\n' | sfdisk -q disk; truncate -s 48M disk");
    beyond = check(&b, &WHOLE, 1);
    expect_parts(beyond, 0, "0 0 48 dos damaged");
    expect_text(beyond, 0, 0, "partition 2 ends beyond the disk");
    run(&b, "rm disk; truncate -s 48M disk; printf '2048,32768,83\\n34816,8192,83\\n' | sfdisk -q disk;"
            "printf '\\000\\020\\000\\000' | dd of=disk bs=1 seek=470 conv=notrunc status=none");
    over = check(&b, &WHOLE, 1);
    expect_parts(over, 0, "0 0 48 dos damaged");
    expect_text(over, 0, 0, "partitions 1 and 2 lie over each other");
    run(&b, "rm disk; truncate -s 96M disk; printf 'label: gpt\\n2048,\\n' | sfdisk -q disk; truncate -s 48M "
            "disk");
    cut = check(&b, &WHOLE, 1);
    expect_parts(cut, 0, "0 0 48 gpt damaged");
    expect_text(cut, 0, 0, "end is missing");
}

static void test_does_not_open(void)
{
    static const Image NONE = {"vdz", {NULL}, {NULL}};
    g_auto(Bench) b = {0};
    json_auto_t *all = NULL;
    const json_t *doc;

    bench_init(&b);
    all = check(&b, &NONE, 1);
    doc = json_array_get(all, 0);
    g_assert_true(json_is_false(json_object_get(doc, "opens")));
    g_assert_cmpuint(json_array_size(json_object_get(doc, "parts")), ==, 0);
    g_assert_nonnull(strstr(json_string_value(json_object_get(doc, "why")), "export"));
}

/* ---- others' checkers, if they are here ---- */

static void try_other(const char *mkfs, const char *make, const char *break_it, const char *good,
                      const char *bad)
{
    g_autofree char *program = g_find_program_in_path(mkfs);
    g_auto(Bench) b = {0};
    json_auto_t *clean = NULL;
    json_auto_t *damaged = NULL;

    bench_init(&b);
    if (!program) {
        g_test_skip("its mkfs is not installed");
        return;
    }
    run(&b, make);
    clean = check(&b, &WHOLE, 1);
    expect_parts(clean, 0, good);
    run(&b, break_it);
    damaged = check(&b, &WHOLE, 1);
    expect_parts(damaged, 0, bad);
}

static void test_xfs(void)
{
    try_other("mkfs.xfs", "truncate -s 48M disk; mkfs.xfs -q --unsupported disk 2>/dev/null",
              "xfs_db -x -c 'inode 128' -c 'write core.mode 0' disk >/dev/null 2>&1 ||"
              "xfs_db -x -c 'sb 0' -c 'write rootino 77' disk >/dev/null",
              "0 0 48 xfs clean", "0 0 48 xfs damaged");
}

static void test_btrfs(void)
{
    try_other("mkfs.btrfs",
              "truncate -s 48M disk; mkfs.btrfs -q --mixed -m single -d single disk >/dev/null 2>&1",
              "root=$(btrfs inspect-internal dump-super disk | awk '$1 == \"root\" { print $2 }');"
              "at=$(btrfs-map-logical -l $root disk | sed -n 's/.*physical \\([0-9]*\\) .*/\\1/p' | head -1);"
              "dd if=/dev/urandom of=disk bs=512 seek=$((at / 512)) count=8 conv=notrunc status=none",
              "0 0 48 btrfs clean", "0 0 48 btrfs damaged");
}

static void test_ntfs(void)
{
    try_other("mkntfs", "truncate -s 48M disk; mkntfs -q -F disk 2>/dev/null >&2",
              "dd if=/dev/urandom of=disk bs=512 seek=34 count=2 conv=notrunc status=none",
              "0 0 48 ntfs unknown", "0 0 48 ntfs damaged");
}

/* ---- stand-ins for e2fsck ---- */

static void stand_in(const Bench *b, const char *name, const char *lines)
{
    g_autofree char *file = g_build_filename(b->dir, "fake", name, NULL);
    g_autofree char *text = g_strconcat("#!/bin/sh\n", lines, "\n", NULL);
    g_autofree char *path = g_strdup_printf("%s/fake:%s", b->dir, b->path);

    g_assert_true(g_file_set_contents(file, text, -1, NULL));
    g_assert_cmpint(g_chmod(file, 0755), ==, 0);
    g_setenv("PATH", path, TRUE);
}

static void bench_with_ext4(Bench *b)
{
    bench_init(b);
    run(b, "cp ext4 disk; truncate -s 48M disk");
}

static void expect_stand_in(const char *lines, const char *state, const char *words)
{
    g_auto(Bench) b = {0};
    json_auto_t *all = NULL;
    g_autofree char *expected = g_strconcat("0 0 48 ext4 ", state, NULL);

    bench_with_ext4(&b);
    stand_in(&b, "e2fsck", lines);
    all = check(&b, &WHOLE, 1);
    expect_parts(all, 0, expected);
    expect_text(all, 0, 0, words);
}

static void test_checker_fails(void)
{
    expect_stand_in("echo \"Pass 1: x\"; echo \"$2: has unsupported feature(s)\" >&2; exit 8", "unknown",
                    "e2fsck: has unsupported feature(s)");
    expect_stand_in("kill -SEGV $$", "unknown", "e2fsck was killed by signal 11");
    expect_stand_in("yes", "damaged", "finds so much");
    expect_stand_in("printf 'a\\033[31m\\377b\\n'; head -c 5000 /dev/zero | tr '\\0' x; exit 4", "damaged",
                    "e2fsck: a?[31m\xef\xbf\xbd"
                    "b; xxx");
}

/* Its log can only be replayed by a kernel, and what is wrong without it may be right with it. */
static void test_xfs_log(void)
{
    g_autofree char *program = g_find_program_in_path("mkfs.xfs");
    g_auto(Bench) b = {0};
    json_auto_t *all = NULL;

    bench_init(&b);
    if (!program) {
        g_test_skip("mkfs.xfs is not installed");
        return;
    }
    run(&b, "truncate -s 48M disk; mkfs.xfs -q --unsupported disk 2>/dev/null");
    stand_in(
        &b, "xfs_repair",
        "echo 'ALERT: The filesystem has valuable metadata changes in a log which is being' >&2; exit 1");
    all = check(&b, &WHOLE, 1);
    expect_parts(all, 0, "0 0 48 xfs unknown");
    expect_text(all, 0, 0, "its log was not replayed");
}

static void test_confined(void)
{
    /* Who it is, what it may become, whom it can reach, what it can look into, and that it can write what it is given. */
    expect_stand_in("id -u; id -G; sed -n 's/^NoNewPrivs:\\t/p/p; s/^CapEff:\\t/c/p' /proc/self/status;"
                    "tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '; ls /proc/self/fd | tr '\\n' ' ';"
                    "echo; ls ${0%/fake*}/look 2>&1 | grep -o denied; dd if=/dev/zero of=/dev/fd/3 bs=1 "
                    "count=1 conv=notrunc 2>&1 | head -1;"
                    "exit 8",
                    "unknown",
                    "e2fsck: 65534; 65534; c0000000000000000; p1; lo; 0 1 2 3 4; denied; 1+0 records in");
}

static void test_not_installed(void)
{
    g_auto(Bench) b = {0};
    json_auto_t *all = NULL;
    g_autofree char *path = NULL;

    bench_with_ext4(&b);
    run(&b, "for p in unshare prlimit setpriv true blkid sfdisk qemu-img qemu-storage-daemon rm; do"
            "  for d in /usr/sbin /usr/bin; do test ! -x $d/$p || ln -s $d/$p fake; done; done");
    path = g_build_filename(b.dir, "fake", NULL);
    g_setenv("PATH", path, TRUE);
    all = check(&b, &WHOLE, 1);
    expect_parts(all, 0, "0 0 48 ext4 unknown");
    expect_text(all, 0, 0, "not looked into: no tool e2fsck is installed");
}

static void test_timeout_and_cancel(void)
{
    g_auto(Bench) b = {0};
    int fd = eventfd(0, EFD_CLOEXEC);

    bench_with_ext4(&b);
    stand_in(&b, "e2fsck", "exec sleep 1000");
    expect_error(&b, &WHOLE, -1, clock_steady_ms() + 2000, US_ERROR_TIMEOUT);
    g_assert_cmpint(eventfd_write(fd, 1), ==, 0);
    expect_error(&b, &WHOLE, fd, clock_steady_ms() + TIMEOUT_MS, US_ERROR_CANCELLED);
    close(fd);
}

/* ---- worlds that lack something ---- */

/* In a child with mounts of its own; NO_WORLD: it cannot have them. */
static void in_child(void (*what)(const Bench *b), const Bench *b)
{
    pid_t pid = fork();
    int status;

    if (pid == 0) {
        if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
            _exit(NO_WORLD);
        what(b);
        _exit(0);
    }
    g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
    if (WIFEXITED(status) && WEXITSTATUS(status) == NO_WORLD)
        g_test_skip("no mounts of our own here");
    else
        g_assert_cmpint(status, ==, 0);
}

static void look_without_fuse(const Bench *b)
{
    g_assert_cmpint(mount("/dev/null", "/dev/fuse", NULL, MS_BIND, NULL), ==, 0);
    expect_error(b, &WHOLE, -1, clock_steady_ms() + TIMEOUT_MS, US_ERROR_UNSUPPORTED);
}

static void test_no_fuse(void)
{
    g_auto(Bench) b = {0};

    bench_with_ext4(&b);
    in_child(look_without_fuse, &b);
}

static void look_without_room(const Bench *b)
{
    g_autoptr(GError) error = NULL;

    g_assert_cmpint(mount("none", b->folder, "tmpfs", 0, "size=1m,mode=0700"), ==, 0);
    g_assert_null(check_until(b, &VDA, 1, clock_steady_ms() + TIMEOUT_MS, -1, &error));
    g_assert_error(error, US_ERROR, US_ERROR_NO_SPACE);
}

/* It is not the file system that is damaged. */
static void test_no_room(void)
{
    g_auto(Bench) b = {0};

    bench_init(&b);
    run(&b, BREAK_EXT4 CHAIN);
    in_child(look_without_room, &b);
}

/* ---- a death ---- */

static void await(gboolean (*is_so)(const Bench *b), const Bench *b)
{
    gint64 deadline = clock_steady_ms() + TIMEOUT_MS;

    while (!is_so(b)) {
        g_assert_cmpint(clock_steady_ms(), <, deadline);
        g_usleep(5000);
    }
}

static pid_t checker_pid(const Bench *b)
{
    g_autofree char *path = g_build_filename(b->dir, "pid", NULL);
    g_autofree char *text = NULL;

    return g_file_get_contents(path, &text, NULL, NULL) && strchr(text, '\n') ? (pid_t)atoi(text) : 0;
}

static gboolean checker_runs(const Bench *b)
{
    return checker_pid(b) != 0;
}

static gboolean checker_is_gone(const Bench *b)
{
    return kill(checker_pid(b), 0) != 0;
}

static void test_killed(void)
{
    g_auto(Bench) b = {0};
    g_autofree char *lines = NULL;
    g_autoptr(GError) error = NULL;
    pid_t pid;

    bench_with_ext4(&b);
    run(&b, "touch pid; chmod 666 pid");
    lines = g_strdup_printf("echo $$ >%s/pid; exec sleep 1000", b.dir);
    stand_in(&b, "e2fsck", lines);
    pid = fork();
    if (pid == 0) {
        check_until(&b, &WHOLE, 1, clock_steady_ms() + TIMEOUT_MS, -1, NULL);
        _exit(0);
    }
    await(checker_runs, &b);
    g_assert_cmpint(kill(pid, SIGKILL), ==, 0);
    g_assert_cmpint(waitpid(pid, NULL, 0), ==, pid);
    await(checker_is_gone, &b);
    /* Its daemon is dead, or about to be, and nobody unmounts for it. */
    g_assert_true(is_mounted(&b));
    g_assert_true(file_systems_tidy(b.folder, &error));
    g_assert_no_error(error);
    expect_nothing_left(&b);
    /* Again, and where there is nothing: no error. */
    g_assert_true(file_systems_tidy(b.folder, &error));
    g_assert_cmpint(g_rmdir(b.folder), ==, 0);
    g_assert_true(file_systems_tidy(b.folder, &error));
    g_assert_no_error(error);
}

/* Only what lies below the folder. */
static void tidy_elsewhere(const Bench *b)
{
    g_autofree char *beside = g_strconcat(b->folder, "-beside", NULL);

    g_assert_cmpint(g_mkdir(beside, 0700), ==, 0);
    g_assert_cmpint(mount("none", beside, "tmpfs", 0, "size=1m"), ==, 0);
    g_assert_true(file_systems_tidy(b->folder, NULL));
    g_assert_cmpint(umount2(beside, 0), ==, 0);
}

static void test_tidy_elsewhere(void)
{
    g_auto(Bench) b = {0};

    bench_init(&b);
    in_child(tidy_elsewhere, &b);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    if (geteuid() != 0) {
        g_print("1..0 # SKIP needs root\n");
        return 0;
    }
    g_test_add_func("/file-systems/clean", test_clean);
    g_test_add_func("/file-systems/journal", test_journal);
    g_test_add_func("/file-systems/orphan", test_orphan);
    g_test_add_func("/file-systems/no-journal", test_no_journal);
    g_test_add_func("/file-systems/damaged-second-disk", test_damaged_second_disk);
    g_test_add_func("/file-systems/damaged-inodes", test_damaged_inodes);
    g_test_add_func("/file-systems/known-damage", test_known_damage);
    g_test_add_func("/file-systems/fat", test_fat);
    g_test_add_func("/file-systems/gpt", test_gpt);
    g_test_add_func("/file-systems/no-table", test_no_table);
    g_test_add_func("/file-systems/ill-tables", test_ill_tables);
    g_test_add_func("/file-systems/does-not-open", test_does_not_open);
    g_test_add_func("/file-systems/xfs", test_xfs);
    g_test_add_func("/file-systems/btrfs", test_btrfs);
    g_test_add_func("/file-systems/ntfs", test_ntfs);
    g_test_add_func("/file-systems/checker-fails", test_checker_fails);
    g_test_add_func("/file-systems/xfs-log", test_xfs_log);
    g_test_add_func("/file-systems/confined", test_confined);
    g_test_add_func("/file-systems/not-installed", test_not_installed);
    g_test_add_func("/file-systems/timeout-and-cancel", test_timeout_and_cancel);
    g_test_add_func("/file-systems/no-fuse", test_no_fuse);
    g_test_add_func("/file-systems/no-room", test_no_room);
    g_test_add_func("/file-systems/killed", test_killed);
    g_test_add_func("/file-systems/tidy-elsewhere", test_tidy_elsewhere);
    return g_test_run();
}

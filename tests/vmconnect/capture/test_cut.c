/* SPDX-License-Identifier: Apache-2.0 */
/* Captures against a real libvirtd and QEMU; what a guest would write is written by QEMU's monitor. */
#include "host.h"
#include "replica.h"

#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/capture/backup_xml.h"
#include "vmconnect/capture/cut.h"
#include "vmconnect/capture/disk_files.h"
#include "vmconnect/hypervisor/job.h"
#include "vmconnect/hypervisor/lifecycle.h"
#include "vmconnect/hypervisor/qemu_process.h"
#include "vmconnect/hypervisor/rescue.h"
#include "vmconnect/hypervisor/shutdown.h"

#include <glib/gstdio.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB (1024 * 1024)

/* One VM under test. */
typedef struct {
    virConnectPtr conn;
    const char *name;
    Id id;
    Capture *capture;
    Replica *replica;
    Id newest; /* checkpoint of the newest cut */
} World;

static Capture *capture_on(virConnectPtr conn, Id id)
{
    g_autofree char *scratch = g_build_filename(host_folder(), "scratch", NULL);
    g_autoptr(GError) error = NULL;
    const CaptureSettings settings = {
        .run_dir = HOST_RUN, .nbd_dir = HOST_NBD, .scratch_dir = scratch, .cancel_fd = -1};
    Capture *c = capture_new(conn, id, &settings, &error);

    g_assert_no_error(error);
    return c;
}

static Replica *new_replica(const char *name)
{
    g_autofree char *folder = g_strdup_printf("%s/replica-%s", host_folder(), name);

    g_assert_cmpint(g_mkdir_with_parents(folder, 0755), ==, 0);
    return replica_new(folder);
}

static void expect_same(const char *raw, const char *image)
{
    const char *const argv[] = {"qemu-img", "compare", "-U", "-f", "raw", "-F", "qcow2", raw, image, NULL};

    host_run(argv);
}

/* The VM is off, or was flushed. */
static void expect_equal(const World *w)
{
    GHashTableIter iter;
    gpointer target, disk;

    g_hash_table_iter_init(&iter, w->replica->disks);
    while (g_hash_table_iter_next(&iter, &target, &disk)) {
        g_autofree char *image = host_image(w->name, target);

        expect_same(((ReplicaDisk *)disk)->path, image);
    }
}

static void world_up(World *w, const char *name)
{
    const guint64 sizes[] = {64 * MIB, 32 * MIB};

    *w = (World){.conn = host_connect(), .name = name};
    w->id = host_define(w->conn, name, sizes, G_N_ELEMENTS(sizes));
    w->capture = capture_on(w->conn, w->id);
    w->replica = new_replica(name);
}

static void world_forget(World *w)
{
    capture_free(w->capture);
    replica_free(w->replica);
    virConnectClose(w->conn);
}

static void world_down(World *w)
{
    virDomainPtr dom = host_domain(w->conn, w->name);

    virDomainDestroy(dom);
    virDomainUndefineFlags(dom, VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA);
    virDomainFree(dom);
    world_forget(w);
}

static void world_reconnect(World *w)
{
    capture_free(w->capture);
    virConnectClose(w->conn);
    w->conn = host_connect();
    w->capture = capture_on(w->conn, w->id);
}

static void flush_disks(World *w)
{
    host_io(w->conn, w->name, 0, "flush");
    host_io(w->conn, w->name, 1, "flush");
}

static void look(World *w)
{
    g_autoptr(GError) error = NULL;

    capture_look(w->capture, &error);
    g_assert_no_error(error);
}

/* A cut with a new checkpoint; the one before it is deleted. Replica and images must be equal after it. */
static void take(World *w)
{
    g_autoptr(GError) error = NULL;
    Id fresh = id_random();

    if (!replica_take(w->replica, w->capture, w->newest, fresh, &error))
        host_tell(w->conn, w->name);
    g_assert_no_error(error);
    if (!id_is_nil(w->newest)) {
        capture_delete_checkpoint(w->capture, w->newest, &error);
        g_assert_no_error(error);
    }
    w->newest = fresh;
    if (capture_state(w->capture) == CAPTURE_RUNNING)
        flush_disks(w);
    expect_equal(w);
}

static void expect_refusal(World *w, UsError code, const char *part)
{
    g_autoptr(GError) error = NULL;

    g_assert_false(replica_take(w->replica, w->capture, w->newest, id_random(), &error));
    g_assert_error(error, US_ERROR, (gint)code);
    g_assert_nonnull(strstr(error->message, part));
}

static guint count_checkpoints(World *w)
{
    g_autoptr(GArray) ids = capture_checkpoints(w->capture, NULL);

    g_assert_nonnull(ids);
    return ids->len;
}

static void expect_no_bitmap(const World *w, const char *target)
{
    g_autofree char *image = host_image(w->name, target);
    g_autofree char *command = g_strdup_printf("! qemu-img info '%s' | grep 'name: understudy-'", image);
    const char *const argv[] = {"sh", "-c", command, NULL};

    host_run(argv);
}

static void expect_no_leftovers(void)
{
    g_autofree char *scratch = g_build_filename(host_folder(), "scratch", NULL);
    const char *const folders[] = {HOST_NBD, scratch};

    for (guint i = 0; i < G_N_ELEMENTS(folders); i++) {
        g_autoptr(GDir) dir = g_dir_open(folders[i], 0, NULL);

        g_assert_null(g_dir_read_name(dir));
    }
}

static void test_increments(void)
{
    World w;

    world_up(&w, "plain");
    host_start(w.conn, w.name);
    host_io(w.conn, w.name, 0, "write -P 0x11 0 8M");
    host_io(w.conn, w.name, 1, "write -P 0x22 3M 1M");
    take(&w);
    g_assert_cmpuint(w.replica->data_bytes, ==, 9 * MIB);
    for (guint i = 0; i < 5; i++) {
        host_io(w.conn, w.name, 0, "write -P %u %u 4k", 0x30 + i, i * 5 * MIB + 12288);
        host_io(w.conn, w.name, 1, "write -P %u 20M 100k", 0x40 + i);
        take(&w);
        g_assert_cmpuint(w.replica->data_bytes, ==, 3 * 65536);
        g_test_message("begin %.1f ms, list %.1f ms, read %.1f ms, end %.1f ms", w.replica->begin_us / 1e3,
                       w.replica->dirty_us / 1e3, w.replica->read_us / 1e3, w.replica->end_us / 1e3);
    }
    g_assert_cmpuint(count_checkpoints(&w), ==, 1);
    expect_no_leftovers();
    world_down(&w);
}

/* Overwritten while the job is open: the cut shows the instant, not the present. */
static void test_instant(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(Cut) cut = NULL;
    CutWish wish = {.target = "vda"};
    World w;

    world_up(&w, "instant");
    host_start(w.conn, w.name);
    host_io(w.conn, w.name, 0, "write -P 0x11 0 2M");
    look(&w);
    cut_begin(w.capture, &wish, 1, ID_NIL, &cut, &error);
    g_assert_no_error(error);
    g_assert_cmpint(cut_asked_at_ms(cut), <=, clock_steady_ms());
    host_io(w.conn, w.name, 0, "write -P 0x99 0 2M");
    g_assert_true(replica_read(w.replica, cut, &error));
    g_assert_cmpuint(cut_scratch_used(cut), >=, 2 * MIB);
    g_assert_true(cut_still_valid(cut, &error));
    g_assert_true(cut_end(g_steal_pointer(&cut), &error));
    {
        ReplicaDisk *disk = g_hash_table_lookup(w.replica->disks, "vda");
        guint8 first[1];

        g_assert_cmpint(pread(disk->fd, first, 1, 0), ==, 1);
        g_assert_cmphex(first[0], ==, 0x11);
    }
    g_assert_cmpuint(count_checkpoints(&w), ==, 0);
    world_down(&w);
}

static void test_zeros(void)
{
    World w;

    world_up(&w, "zeros");
    host_start(w.conn, w.name);
    host_io(w.conn, w.name, 0, "write -P 0x11 0 16M");
    take(&w);
    host_io(w.conn, w.name, 0, "write -z 1M 2M");
    host_io(w.conn, w.name, 0, "discard 8M 4M");
    take(&w);
    g_assert_cmpuint(w.replica->data_bytes, ==, 0);
    g_assert_cmpuint(w.replica->zero_bytes, ==, 6 * MIB);
    world_down(&w);
}

static void test_resize(void)
{
    World w;
    virDomainPtr dom;

    world_up(&w, "resize");
    host_start(w.conn, w.name);
    host_io(w.conn, w.name, 0, "write -P 0x11 0 1M");
    take(&w);
    dom = host_domain(w.conn, w.name);
    g_assert_cmpint(virDomainBlockResize(dom, "vda", (guint64)96 * MIB, VIR_DOMAIN_BLOCK_RESIZE_BYTES), ==,
                    0);
    virDomainFree(dom);
    host_io(w.conn, w.name, 0, "write -P 0x22 80M 64k");
    take(&w);
    g_assert_cmpuint(w.replica->zero_bytes + w.replica->data_bytes, ==, 32 * MIB);
    world_down(&w);
}

static void test_hot_add(void)
{
    g_autofree char *image = NULL;
    g_autofree char *xml = NULL;
    g_autoptr(GError) error = NULL;
    guint64 bytes[3];
    World w;
    virDomainPtr dom;

    world_up(&w, "hotadd");
    host_start(w.conn, w.name);
    host_io(w.conn, w.name, 0, "write -P 0x11 0 1M");
    take(&w);
    image = host_image(w.name, "vdc");
    {
        const char *const argv[] = {"qemu-img", "create", "-q", "-f", "qcow2", image, "16M", NULL};

        host_run(argv);
    }
    xml = g_strdup_printf(
        "<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='%s'/>"
        "<target dev='vdc' bus='virtio'/></disk>",
        image);
    dom = host_domain(w.conn, w.name);
    g_assert_cmpint(virDomainAttachDevice(dom, xml), ==, 0);
    host_io(w.conn, w.name, 2, "write -P 0x33 5M 1M");
    host_io(w.conn, w.name, 0, "write -P 0x12 0 64k");
    look(&w);
    g_assert_cmpuint(capture_disks(w.capture)->len, ==, 3);
    g_assert_true(capture_spool(w.capture, w.newest, bytes, &error));
    g_assert_cmpuint(bytes[0], ==, 65536);
    g_assert_cmpuint(bytes[1], ==, 0);
    g_assert_cmpuint(bytes[2], ==, G_MAXUINT64);
    host_io(w.conn, w.name, 2, "flush");
    take(&w);
    g_assert_cmpuint(w.replica->data_bytes, ==, MIB + 65536);
    host_io(w.conn, w.name, 2, "write -P 0x34 5M 64k");
    host_io(w.conn, w.name, 2, "flush");
    take(&w);
    g_assert_cmpuint(w.replica->data_bytes, ==, 65536);
    g_assert_cmpint(virDomainDetachDevice(dom, xml), ==, 0);
    virDomainFree(dom);
    world_down(&w);
}

/* Names in paths and definitions are escaped all the way down. */
static void test_odd_name(void)
{
    World w;

    world_up(&w, "it's a <web> & b\303\266se");
    host_start(w.conn, w.name);
    host_io(w.conn, w.name, 0, "write -P 0x11 0 1M");
    take(&w);
    host_io(w.conn, w.name, 0, "write -P 0x12 0 64k");
    take(&w);
    g_assert_cmpuint(w.replica->data_bytes, ==, 65536);
    world_down(&w);
}

/* A guest without an agent cannot freeze; it is cut all the same, and the cut says so. */
static void test_no_agent(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(Cut) cut = NULL;
    CutWish wish = {.target = "vda"};
    World w;

    world_up(&w, "noagent");
    host_start(w.conn, w.name);
    capture_set_freeze(w.capture, TRUE);
    look(&w);
    cut_begin(w.capture, &wish, 1, ID_NIL, &cut, &error);
    g_assert_no_error(error);
    g_assert_false(cut_is_frozen(cut));
    g_assert_true(cut_end(g_steal_pointer(&cut), &error));
    take(&w);
    world_down(&w);
}

static void test_refusals(void)
{
    g_autoptr(GError) error = NULL;
    Cut *cut = NULL;
    CutWish gone = {.target = "vdz"};
    CutWish unknown = {.target = "vda", .since = id_random(), .since_size_bytes = 64 * MIB};
    World w;

    world_up(&w, "refusals");
    host_start(w.conn, w.name);
    look(&w);
    g_assert_false(cut_begin(w.capture, &gone, 1, ID_NIL, &cut, &error));
    g_assert_error(error, US_ERROR, US_ERROR_NOT_FOUND);
    g_assert_nonnull(strstr(error->message, "has no disk vdz any more"));
    g_clear_error(&error);
    g_assert_false(cut_begin(w.capture, &unknown, 1, ID_NIL, &cut, &error));
    g_assert_error(error, US_ERROR, US_ERROR_NOT_FOUND);
    g_clear_error(&error);
    g_assert_true(capture_delete_checkpoint(w.capture, unknown.since, &error));
    take(&w);
    g_assert_false(capture_create_checkpoint(w.capture, w.newest, &error));
    g_assert_error(error, US_ERROR, US_ERROR_EXISTS);
    g_assert_null(cut);
    expect_no_leftovers();
    world_down(&w);
}

static void test_scratch_full(void)
{
    g_autofree char *scratch = g_build_filename(host_folder(), "scratch", NULL);
    World w;

    world_up(&w, "full");
    host_start(w.conn, w.name);
    take(&w);
    g_assert_cmpint(mount("none", scratch, "tmpfs", 0, "size=64k"), ==, 0);
    expect_refusal(&w, US_ERROR_NO_SPACE, "is full; free some space there");
    g_assert_cmpint(umount(scratch), ==, 0);
    host_io(w.conn, w.name, 0, "write -P 0x21 0 64k");
    take(&w);
    g_assert_cmpuint(w.replica->data_bytes, ==, 65536);
    world_down(&w);
}

static void test_undefined(void)
{
    g_autoptr(GError) error = NULL;
    World w;
    virDomainPtr dom;

    world_up(&w, "undefined");
    dom = host_domain(w.conn, w.name);
    g_assert_cmpint(virDomainUndefine(dom), ==, 0);
    virDomainFree(dom);
    g_assert_false(capture_look(w.capture, &error));
    g_assert_error(error, US_ERROR, US_ERROR_NOT_FOUND);
    world_forget(&w);
}

/* --- others at work --- */

static void test_foreign_backup(void)
{
    g_autofree char *socket = g_build_filename(host_folder(), "theirs.sock", NULL);
    g_autofree char *scratch = g_build_filename(host_folder(), "theirs.qcow2", NULL);
    const BackupXmlDisk disk = {.target = "vda", .scratch = scratch};
    g_autofree char *xml = backup_xml(socket, &disk, 1);
    World w;
    virDomainPtr dom;
    g_autoptr(GError) error = NULL;
    guint64 bytes[2];
    char *still;
    gint64 start;

    world_up(&w, "foreign");
    host_start(w.conn, w.name);
    dom = host_domain(w.conn, w.name);
    take(&w);
    g_assert_cmpint(virDomainBackupBegin(dom, xml, NULL, 0), ==, 0);
    start = clock_steady_ms();
    expect_refusal(&w, US_ERROR_BUSY, "theirs.sock");
    g_assert_cmpint(clock_steady_ms() - start, <, 5000);
    /* QEMU may die of being asked for its block nodes while another tool's job makes one. */
    g_assert_false(capture_spool(w.capture, w.newest, bytes, &error));
    g_assert_error(error, US_ERROR, US_ERROR_BUSY);
    g_assert_true(capture_recover(w.capture, NULL));
    still = virDomainBackupGetXMLDesc(dom, 0);
    g_assert_nonnull(still);
    free(still);
    g_assert_cmpint(virDomainAbortJob(dom), ==, 0);
    while ((still = virDomainBackupGetXMLDesc(dom, 0)))
        free(still);
    host_io(w.conn, w.name, 0, "write -P 0x55 1M 64k");
    take(&w);
    virDomainFree(dom);
    world_down(&w);
}

static void test_foreign_block_job(void)
{
    g_autofree char *copy = g_build_filename(host_folder(), "copy.qcow2", NULL);
    g_autofree char *xml =
        g_strdup_printf("<disk type='file'><source file='%s'/><driver type='qcow2'/></disk>", copy);
    World w;
    virDomainPtr dom;

    world_up(&w, "blockjob");
    host_start(w.conn, w.name);
    dom = host_domain(w.conn, w.name);
    take(&w);
    g_assert_cmpint(virDomainBlockCopy(dom, "vdb", xml, NULL, 0, VIR_DOMAIN_BLOCK_COPY_TRANSIENT_JOB), ==, 0);
    expect_refusal(&w, US_ERROR_BUSY, "disk vdb");
    g_assert_cmpint(virDomainBlockJobAbort(dom, "vdb", 0), ==, 0);
    take(&w);
    virDomainFree(dom);
    world_down(&w);
}

/* Checkpoints of other tools stay. */
static void test_foreign_checkpoint(void)
{
    World w;
    virDomainPtr dom;
    virDomainCheckpointPtr theirs;
    g_autoptr(GError) error = NULL;

    world_up(&w, "theirs");
    host_start(w.conn, w.name);
    dom = host_domain(w.conn, w.name);
    theirs = virDomainCheckpointCreateXML(
        dom, "<domaincheckpoint><name>virtnbdbackup.0</name></domaincheckpoint>", 0);
    g_assert_nonnull(theirs);
    virDomainCheckpointFree(theirs);
    take(&w);
    take(&w);
    g_assert_cmpuint(count_checkpoints(&w), ==, 1);
    g_assert_true(capture_delete_all(w.capture, &error));
    g_assert_cmpuint(count_checkpoints(&w), ==, 0);
    theirs = virDomainCheckpointLookupByName(dom, "virtnbdbackup.0", 0);
    g_assert_nonnull(theirs);
    virDomainCheckpointFree(theirs);
    virDomainFree(dom);
    world_down(&w);
}

/* --- deaths --- */

static void test_qemu_killed(void)
{
    g_autoptr(GError) error = NULL;
    guint64 bytes[2];
    World w;

    world_up(&w, "killed");
    host_start(w.conn, w.name);
    host_io(w.conn, w.name, 0, "write -P 0x11 0 1M");
    take(&w);
    host_kill_qemu(w.conn, w.name);
    /* Off: the image itself says that its record is broken. */
    expect_refusal(&w, US_ERROR_TRACKING_LOST, "everything is sent again");
    host_start(w.conn, w.name);
    look(&w);
    g_assert_false(capture_spool(w.capture, w.newest, bytes, &error));
    g_assert_error(error, US_ERROR, US_ERROR_TRACKING_LOST);
    expect_refusal(&w, US_ERROR_TRACKING_LOST, "");
    g_clear_error(&error);
    g_assert_true(capture_delete_checkpoint(w.capture, w.newest, &error));
    g_assert_cmpuint(count_checkpoints(&w), ==, 0);
    replica_free(w.replica);
    w.replica = new_replica(w.name);
    w.newest = ID_NIL;
    take(&w);
    host_io(w.conn, w.name, 0, "write -P 0x12 2M 64k");
    take(&w);
    g_assert_cmpuint(w.replica->data_bytes, ==, 65536);
    world_down(&w);
}

static void test_qemu_killed_in_cut(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(Cut) cut = NULL;
    CutWish wish = {.target = "vda"};
    World w;

    world_up(&w, "killedincut");
    host_start(w.conn, w.name);
    host_io(w.conn, w.name, 0, "write -P 0x11 0 1M");
    look(&w);
    cut_begin(w.capture, &wish, 1, id_random(), &cut, &error);
    g_assert_no_error(error);
    host_kill_qemu(w.conn, w.name);
    g_assert_false(cut_still_valid(cut, &error));
    g_assert_error(error, US_ERROR, US_ERROR_CANCELLED);
    g_clear_error(&error);
    cut_end(g_steal_pointer(&cut), &error);
    g_assert_no_error(error);
    expect_no_leftovers();
    world_down(&w);
}

/* A guest shuts down under an open job; libvirt would say so 30 s late. */
/* A cut of vda since the newest one, with @rescuer (NULL: none) watching. */
static Cut *open_cut(World *w, Rescuer *rescuer)
{
    g_autofree char *scratch = g_build_filename(host_folder(), "scratch", NULL);
    const CaptureSettings settings = {.run_dir = HOST_RUN,
                                      .nbd_dir = HOST_NBD,
                                      .scratch_dir = scratch,
                                      .rescuer = rescuer,
                                      .cancel_fd = -1};
    const CutWish wish = {.target = "vda", .since = w->newest, .since_size_bytes = 64 * MIB};
    g_autoptr(GError) error = NULL;
    Cut *cut = NULL;

    capture_free(w->capture);
    w->capture = capture_new(w->conn, w->id, &settings, &error);
    g_assert_no_error(error);
    look(w);
    cut_begin(w->capture, &wish, 1, id_random(), &cut, &error);
    g_assert_no_error(error);
    return cut;
}

static JobKind job_of(const World *w)
{
    g_autoptr(virDomain) dom = host_domain(w->conn, w->name);
    g_autoptr(GError) error = NULL;
    g_autoptr(Job) job = job_probe(dom, HOST_RUN, &error);

    g_assert_no_error(error);
    return job->kind;
}

typedef struct {
    JobGate *gate;
    Id vm;
    RescueOutcome *outcome;
} Rescue;

static void rescue_run(void *user)
{
    Rescue *r = user;

    r->outcome = rescue_vm("qemu:///system", HOST_RUN, r->gate, r->vm, RESCUE_END);
}

/* QEMU stands still for ever if its job is ended while somebody connects to it. */
static void test_rescue_waits_for_handshake(void)
{
    Rescue rescue = {.gate = job_gate_new()};
    uv_thread_t thread;
    World w;
    Cut *cut;

    world_up(&w, "handshake");
    host_start(w.conn, w.name);
    take(&w);
    cut = open_cut(&w, NULL);
    rescue.vm = w.id;
    job_gate_open(rescue.gate, w.id);
    g_assert_true(job_gate_enter(rescue.gate, w.id));
    g_assert_cmpint(uv_thread_create(&thread, rescue_run, &rescue), ==, 0);
    while (job_gate_enter(rescue.gate, w.id))
        job_gate_leave(rescue.gate, w.id);
    g_assert_cmpint(job_of(&w), ==, JOB_OURS);
    job_gate_leave(rescue.gate, w.id);
    uv_thread_join(&thread);
    g_assert_no_error(rescue.outcome->error);
    g_assert_true(rescue.outcome->job_ended);
    g_assert_cmpint(job_of(&w), ==, JOB_NONE);
    cut_free(cut);
    rescue_outcome_free(rescue.outcome);
    job_gate_unref(rescue.gate);
    world_down(&w);
}

static void ignore_news(void *user, const RescuerNews *news)
{
    (void)user;
    (void)news;
}

static void ignore_close(void *user)
{
    (void)user;
}

static void test_nobody_connects_to_a_job_that_ends(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(Extents) dirty = NULL;
    Rescuer *rescuer;
    uv_loop_t loop;
    World w;
    Cut *cut;

    world_up(&w, "ends");
    host_start(w.conn, w.name);
    take(&w);
    g_assert_cmpint(uv_loop_init(&loop), ==, 0);
    rescuer = rescuer_new(&loop, "qemu:///system", HOST_RUN, ignore_news, NULL);
    cut = open_cut(&w, rescuer);
    rescuer_end(rescuer, w.id);
    while (job_of(&w) != JOB_NONE)
        ;
    dirty = cut_dirty(cut, 0, &error);
    g_assert_null(dirty);
    g_assert_error(error, US_ERROR, US_ERROR_CANCELLED);
    cut_free(cut);
    rescuer_close(rescuer, ignore_close, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    g_assert_cmpint(uv_loop_close(&loop), ==, 0);
    world_down(&w);
}

static void test_shut_down_in_cut(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(Cut) cut = NULL;
    CutWish wish = {.target = "vda"};
    World w;
    gint64 start;
    virDomainPtr dom;

    world_up(&w, "downincut");
    host_start(w.conn, w.name);
    host_io(w.conn, w.name, 0, "write -P 0x11 0 1M");
    take(&w);
    host_io(w.conn, w.name, 0, "write -P 0x12 4M 1M");
    look(&w);
    wish.since = w.newest;
    wish.since_size_bytes = 64 * MIB;
    cut_begin(w.capture, &wish, 1, id_random(), &cut, &error);
    g_assert_no_error(error);
    host_quit(w.conn, w.name);
    start = clock_steady_ms();
    cut_end(g_steal_pointer(&cut), &error);
    g_assert_no_error(error);
    host_wait_state(w.conn, w.name, VIR_DOMAIN_SHUTOFF);
    g_assert_cmpint(clock_steady_ms() - start, <, 15000);
    dom = host_domain(w.conn, w.name);
    g_assert_cmpint(virDomainIsActive(dom), ==, 0);
    virDomainFree(dom);
    take(&w);
    world_down(&w);
}

/* A worker held at @stop by a child of ours, then killed. */
static void kill_worker_at(World *w, const char *stop)
{
    pid_t child = fork();
    int status;

    if (child == 0) {
        World mine = *w;

        g_setenv("UNDERSTUDY_STOP_AT", stop, TRUE);
        mine.conn = host_connect();
        mine.capture = capture_on(mine.conn, w->id);
        replica_take(w->replica, mine.capture, w->newest, id_random(), NULL);
        _exit(0);
    }
    g_assert_cmpint(waitpid(child, &status, WUNTRACED), ==, child);
    g_assert_true(WIFSTOPPED(status));
    kill(child, SIGKILL);
    g_assert_cmpint(waitpid(child, &status, 0), ==, child);
}

static void test_worker_killed(gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    World w;

    world_up(&w, "worker");
    host_start(w.conn, w.name);
    host_io(w.conn, w.name, 0, "write -P 0x11 0 1M");
    take(&w);
    host_io(w.conn, w.name, 0, "write -P 0x12 4M 1M");
    kill_worker_at(&w, data);
    host_io(w.conn, w.name, 0, "write -P 0x13 8M 64k");
    look(&w);
    g_assert_true(capture_recover(w.capture, &error));
    g_assert_no_error(error);
    expect_no_leftovers();
    take(&w);
    g_assert_cmpuint(w.replica->data_bytes, ==, MIB + 65536);
    g_assert_true(capture_delete_all(w.capture, &error));
    world_down(&w);
}

/* The same with a VM that is off: a bitmap in the first image alone, or a reader's daemon, is left. */
static void test_worker_killed_off(gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    World w;

    world_up(&w, "workeroff");
    kill_worker_at(&w, data);
    look(&w);
    g_assert_true(capture_recover(w.capture, &error));
    take(&w);
    g_assert_true(capture_delete_all(w.capture, &error));
    g_assert_no_error(error);
    g_assert_cmpuint(count_checkpoints(&w), ==, 0);
    expect_no_bitmap(&w, "vda");
    expect_no_bitmap(&w, "vdb");
    world_down(&w);
}

/* libvirtd dies @ms after the begin was asked for. The job may be there, not be there, or
 * have locked the VM; each must be told apart, and what is not locked goes on. */
static void kill_libvirtd_after(World *w, int ms)
{
    g_autoptr(GError) error = NULL;
    pid_t killer = fork();

    if (killer == 0) {
        poll(NULL, 0, ms);
        kill(host_libvirtd_pid(), SIGKILL);
        _exit(0);
    }
    replica_take(w->replica, w->capture, w->newest, id_random(), &error);
    waitpid(killer, NULL, 0);
    host_kill_libvirtd();
    host_start_libvirtd();
    world_reconnect(w);
}

static void power_off(World *w)
{
    virDomainPtr dom = host_domain(w->conn, w->name);

    g_assert_cmpint(virDomainDestroyFlags(dom, VIR_DOMAIN_DESTROY_GRACEFUL), ==, 0);
    virDomainFree(dom);
}

/* libvirt does not know its running VM any more: that is said, nobody starts it twice, and with the remedy
 * that the sentence gives nothing is sent again. */
static void expect_lost(World *w)
{
    ShutdownRules rules = {.timeout_ms = 100, .cancel_fd = -1, .power_off = TRUE};
    g_autoptr(GError) error = NULL;
    gboolean gone;
    int fd = qemu_process_open(QEMU_PROCESS_FOLDER, w->name, w->id, &gone, &error);

    g_assert_no_error(error);
    g_assert_false(capture_look(w->capture, &error));
    g_assert_error(error, US_ERROR, US_ERROR_STUCK);
    g_clear_error(&error);
    g_assert_false(lifecycle_start(w->conn, w->id, &error));
    g_assert_error(error, US_ERROR, US_ERROR_STUCK);
    g_assert_false(shutdown_guest(w->conn, w->id, &rules, NULL, NULL));
    g_assert_false(qemu_process_wait(fd, -1, 0, NULL));
    g_assert_cmpint(syscall(SYS_pidfd_send_signal, fd, SIGTERM, NULL, 0), ==, 0);
    g_assert_true(qemu_process_wait(fd, -1, 30000, NULL));
    close(fd);
    host_start(w->conn, w->name);
    take(w);
}

static void test_libvirtd_forgets(void)
{
    World w;

    world_up(&w, "forgotten");
    host_start(w.conn, w.name);
    take(&w);
    host_io(w.conn, w.name, 0, "write -P 7 0 64k");
    host_kill_libvirtd();
    g_assert_cmpint(g_unlink(QEMU_PROCESS_FOLDER "/forgotten.xml"), ==, 0);
    host_start_libvirtd();
    world_reconnect(&w);
    expect_lost(&w);
    g_assert_cmpuint(w.replica->data_bytes, ==, 65536);
    world_down(&w);
}

static void test_libvirtd_killed(void)
{
    guint stuck = 0;
    guint lost = 0;
    World w;

    world_up(&w, "nolibvirtd");
    host_start(w.conn, w.name);
    take(&w);
    for (int i = 1; i <= 8; i++) {
        int ms = (int)(w.replica->begin_us / 1000 * i / 9); /* of the newest cut, as busy as the machine is */
        g_autoptr(GError) error = NULL;

        host_io(w.conn, w.name, 0, "write -P %d %d 64k", i, i * 65536);
        kill_libvirtd_after(&w, ms);
        if (!capture_look(w.capture, NULL)) {
            lost++;
            expect_lost(&w);
            continue;
        }
        if (capture_recover(w.capture, &error)) {
            take(&w);
            continue;
        }
        g_assert_error(error, US_ERROR, US_ERROR_STUCK);
        stuck++;
        expect_refusal(&w, US_ERROR_STUCK, "restart libvirtd");
        /* The remedy the sentence gives; SIGTERM lets QEMU keep its record of changes. */
        power_off(&w);
        host_kill_libvirtd();
        host_start_libvirtd();
        world_reconnect(&w);
        host_start(w.conn, w.name);
        take(&w);
    }
    g_test_message("%u of 8 left the domain locked, %u made libvirt forget it", stuck, lost);
    world_down(&w);
}

/* --- off --- */

static void test_offline_increment(void)
{
    World w;

    world_up(&w, "offline");
    host_start(w.conn, w.name);
    host_io(w.conn, w.name, 0, "write -P 0x11 0 4M");
    take(&w);
    host_io(w.conn, w.name, 0, "write -P 0x12 1M 64k");
    host_io(w.conn, w.name, 1, "write -P 0x13 1M 128k");
    host_shut_down(w.conn, w.name);
    {
        g_autoptr(GError) error = NULL;

        g_assert_true(replica_take(w.replica, w.capture, w.newest, ID_NIL, &error));
        g_assert_no_error(error);
        g_assert_cmpuint(w.replica->data_bytes, ==, 3 * 65536);
        expect_equal(&w);
    }
    host_start(w.conn, w.name);
    host_io(w.conn, w.name, 0, "write -P 0x14 2M 64k");
    take(&w);
    g_assert_cmpuint(w.replica->data_bytes, ==, 4 * 65536);
    world_down(&w);
}

/* The user starts the VM while we read: it starts, and what was read does not count. */
static void test_start_while_reading(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(Cut) cut = NULL;
    CutWish wish = {.target = "vda"};
    World w;

    world_up(&w, "startwhile");
    look(&w);
    cut_begin(w.capture, &wish, 1, ID_NIL, &cut, &error);
    g_assert_no_error(error);
    g_assert_true(cut_is_offline(cut));
    g_assert_true(cut_still_valid(cut, &error));
    host_start(w.conn, w.name);
    g_assert_false(cut_still_valid(cut, &error));
    g_assert_error(error, US_ERROR, US_ERROR_CANCELLED);
    g_clear_error(&error);
    host_io(w.conn, w.name, 0, "write -P 0x77 0 64k");
    host_shut_down(w.conn, w.name);
    /* Off again, but not the same image. */
    g_assert_false(cut_still_valid(cut, &error));
    g_assert_error(error, US_ERROR, US_ERROR_CANCELLED);
    g_assert_true(cut_end(g_steal_pointer(&cut), NULL));
    world_down(&w);
}

/* Protected while off and never tracked before: the first write after the start is in the record. */
static void test_tracking_begins_off(void)
{
    g_autofree char *image = NULL;
    World w;

    world_up(&w, "bornoff");
    image = host_image(w.name, "vda");
    {
        const char *const argv[] = {"qemu-io", "-f", "qcow2", "-c", "write -P 0x21 0 3M", image, NULL};

        host_run(argv);
    }
    take(&w);
    g_assert_cmpuint(w.replica->data_bytes, ==, 3 * MIB);
    g_assert_cmpuint(count_checkpoints(&w), ==, 1);
    host_start(w.conn, w.name);
    host_io(w.conn, w.name, 0, "write -P 0x22 1M 64k");
    take(&w);
    g_assert_cmpuint(w.replica->data_bytes, ==, 65536);
    host_shut_down(w.conn, w.name);
    look(&w);
    g_assert_true(capture_delete_all(w.capture, NULL));
    g_assert_cmpuint(count_checkpoints(&w), ==, 0);
    expect_no_bitmap(&w, "vda");
    world_down(&w);
}

/* An external snapshot continues the record in the new image; read across both, running and off. */
static void test_external_snapshot(void)
{
    g_autofree char *overlay = g_build_filename(host_folder(), "overlay.qcow2", NULL);
    g_autofree char *xml = g_strdup_printf(
        "<domainsnapshot><disks><disk name='vda' snapshot='external'><source file='%s'/></disk>"
        "<disk name='vdb' snapshot='no'/></disks></domainsnapshot>",
        overlay);
    g_autoptr(GError) error = NULL;
    World w;
    virDomainPtr dom;
    virDomainSnapshotPtr snapshot;

    world_up(&w, "snapshot");
    host_start(w.conn, w.name);
    host_io(w.conn, w.name, 0, "write -P 0x11 0 4M");
    take(&w);
    host_io(w.conn, w.name, 0, "write -P 0x12 1M 64k");
    dom = host_domain(w.conn, w.name);
    snapshot = virDomainSnapshotCreateXML(dom, xml,
                                          VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY |
                                              VIR_DOMAIN_SNAPSHOT_CREATE_NO_METADATA |
                                              VIR_DOMAIN_SNAPSHOT_CREATE_ATOMIC);
    g_assert_nonnull(snapshot);
    virDomainSnapshotFree(snapshot);
    virDomainFree(dom);
    host_io(w.conn, w.name, 0, "write -P 0x13 2M 64k");
    g_assert_true(replica_take(w.replica, w.capture, w.newest, ID_NIL, &error));
    g_assert_cmpuint(w.replica->data_bytes, ==, 2 * 65536);
    host_io(w.conn, w.name, 0, "write -P 0x14 3M 64k");
    host_shut_down(w.conn, w.name);
    replica_take(w.replica, w.capture, w.newest, ID_NIL, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(w.replica->data_bytes, ==, 3 * 65536);
    {
        ReplicaDisk *vda = g_hash_table_lookup(w.replica->disks, "vda");

        expect_same(vda->path, overlay);
    }
    world_down(&w);
}

static void expect_files(World *w, Id checkpoint)
{
    g_autoptr(GPtrArray) files = capture_files_at(w->capture, checkpoint);

    g_assert_cmpuint(files ? files->len : 0, ==, 2);
    for (guint i = 0; i < files->len; i++) {
        const DiskFiles *then = files->pdata[i];

        g_assert_true(disk_files_continue(then, disk_files_find(capture_files(w->capture), then->target)));
    }
}

/* libvirt's list is gone, as after `virsh undefine`; the bitmaps are there. */
static void test_announce(void)
{
    const char *const targets[] = {"vda", "vdb", "vdz"};
    g_autoptr(GError) error = NULL;
    World w;
    virDomainPtr dom;
    virDomainCheckpointPtr checkpoint;
    guint64 bytes[2];

    world_up(&w, "announce");
    host_start(w.conn, w.name);
    take(&w);
    take(&w);
    dom = host_domain(w.conn, w.name);
    checkpoint = virDomainCheckpointLookupByName(dom, CHECKPOINT_NAME(w.newest), 0);
    g_assert_cmpint(virDomainCheckpointDelete(checkpoint, VIR_DOMAIN_CHECKPOINT_DELETE_METADATA_ONLY), ==, 0);
    virDomainCheckpointFree(checkpoint);
    virDomainFree(dom);
    host_io(w.conn, w.name, 0, "write -P 0x31 1M 64k");
    expect_refusal(&w, US_ERROR_NOT_FOUND, "");
    g_assert_true(capture_announce(w.capture, w.newest, capture_files(w.capture), targets,
                                   G_N_ELEMENTS(targets), &error));
    g_assert_no_error(error);
    expect_files(&w, w.newest);
    g_assert_true(capture_spool(w.capture, w.newest, bytes, &error));
    g_assert_cmpuint(bytes[0], ==, 65536);
    take(&w);
    g_assert_cmpuint(w.replica->data_bytes, ==, 65536);
    /* What is not in the images any more is not believed. */
    g_assert_false(capture_announce(w.capture, id_random(), capture_files(w.capture), targets,
                                    G_N_ELEMENTS(targets), &error));
    g_assert_error(error, US_ERROR, US_ERROR_TRACKING_LOST);
    world_down(&w);
}

static void test_problems(void)
{
    g_autofree char *image = NULL;
    World w;
    GPtrArray *problems, *remarks;

    world_up(&w, "old format");
    look(&w);
    problems = capture_problems(w.capture, &remarks);
    g_assert_cmpuint(problems->len, ==, 0);
    g_assert_cmpuint(remarks->len, ==, 0);
    g_ptr_array_unref(problems);
    g_ptr_array_unref(remarks);
    image = host_image(w.name, "vdb");
    {
        const char *const argv[] = {"qemu-img", "amend", "-f", "qcow2", "-o", "compat=0.10", image, NULL};

        host_run(argv);
    }
    problems = capture_problems(w.capture, &remarks);
    g_assert_cmpuint(problems->len, ==, 1);
    g_assert_nonnull(strstr(problems->pdata[0], "disk vdb of 'old format': its qcow2 version 2"));
    g_ptr_array_unref(problems);
    g_ptr_array_unref(remarks);
    world_down(&w);
}

static int body(void)
{
    static const char *const STOPS[] = {"cut.before_begin", "cut.after_begin", "cut.before_end"};

    g_test_add_func("/cut/increments", test_increments);
    g_test_add_func("/cut/instant", test_instant);
    g_test_add_func("/cut/zeros", test_zeros);
    g_test_add_func("/cut/resize", test_resize);
    g_test_add_func("/cut/hot-add", test_hot_add);
    g_test_add_func("/cut/odd-name", test_odd_name);
    g_test_add_func("/cut/no-agent", test_no_agent);
    g_test_add_func("/cut/refusals", test_refusals);
    g_test_add_func("/cut/foreign-backup", test_foreign_backup);
    g_test_add_func("/cut/foreign-block-job", test_foreign_block_job);
    g_test_add_func("/cut/foreign-checkpoint", test_foreign_checkpoint);
    g_test_add_func("/cut/external-snapshot", test_external_snapshot);
    g_test_add_func("/cut/qemu-killed", test_qemu_killed);
    g_test_add_func("/cut/qemu-killed-in-cut", test_qemu_killed_in_cut);
    g_test_add_func("/cut/rescue-waits-for-handshake", test_rescue_waits_for_handshake);
    g_test_add_func("/cut/nobody-connects-to-a-job-that-ends", test_nobody_connects_to_a_job_that_ends);
    g_test_add_func("/cut/shut-down-in-cut", test_shut_down_in_cut);
    for (guint i = 0; i < G_N_ELEMENTS(STOPS); i++) {
        g_autofree char *path = g_strconcat("/cut/worker-killed/", STOPS[i], NULL);

        g_test_add_data_func(path, STOPS[i], test_worker_killed);
    }
    g_test_add_data_func("/offline/worker-killed/bitmap-added", "checkpoint.bitmap_added",
                         test_worker_killed_off);
    g_test_add_data_func("/offline/worker-killed/opened", "cut.offline_opened", test_worker_killed_off);
    g_test_add_func("/cut/scratch-full", test_scratch_full);
    g_test_add_func("/capture/undefined", test_undefined);
    g_test_add_func("/cut/libvirtd-forgets", test_libvirtd_forgets);
    g_test_add_func("/cut/libvirtd-killed", test_libvirtd_killed);
    g_test_add_func("/offline/increment", test_offline_increment);
    g_test_add_func("/offline/start-while-reading", test_start_while_reading);
    g_test_add_func("/offline/tracking-begins-off", test_tracking_begins_off);
    g_test_add_func("/capture/announce", test_announce);
    g_test_add_func("/capture/problems", test_problems);
    return g_test_run();
}

int main(int argc, char **argv)
{
    return host_main(argc, argv, body);
}

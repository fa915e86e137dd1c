/* SPDX-License-Identifier: Apache-2.0 */
#include "stage.h"

#include "vmconnect/base/clock.h"
#include "vmconnect/capture/cut_internal.h"
#include "vmconnect/image/qcow2.h"
#include "vmconnect/link/link_wait.h"
#include "vmconnect/replicate/receiver.h"

#include <sys/eventfd.h>
#include <unistd.h>

static void standby(void *user);

void stage_init(Stage *stage)
{
    *stage = (Stage){.reign = {1, id_random()}, .vm = id_random(), .patience = {.wake_fd = -1}};
    lab_init(&stage->lab, FALSE);
    house_init(&stage->house);
    stage->targets = g_ptr_array_new_with_free_func(g_free);
    stage->standby = standby;
}

static void forget_end(Stage *stage)
{
    g_clear_pointer(&stage->files, g_ptr_array_unref);
    g_clear_pointer(&stage->points, g_ptr_array_unref);
    g_clear_pointer(&stage->changed, g_ptr_array_unref);
    g_clear_error(&stage->standby_error);
    g_clear_pointer(&stage->seed_why, g_free);
}

void stage_clear(Stage *stage)
{
    forget_end(stage);
    g_ptr_array_unref(stage->targets);
    g_free(stage->seed);
    g_free(stage->seed_lost);
    house_clear(&stage->house);
    lab_clear(&stage->lab);
}

/* --- the active's disks ------------------------------------------------ */

static char *image_of(const Stage *stage, const char *target)
{
    g_autofree char *name = g_strconcat(target, ".qcow2", NULL);

    return lab_path(&stage->lab, name);
}

void stage_add_disk(Stage *stage, const char *target, guint64 size)
{
    g_autofree char *path = image_of(stage, target);
    g_autofree char *bytes = g_strdup_printf("%" G_GUINT64_FORMAT, size);

    lab_run("qemu-img", "create", "-q", "-f", "qcow2", path, bytes);
    g_ptr_array_add(stage->targets, g_strdup(target));
}

void stage_io(const Stage *stage, const char *target, const char *command)
{
    g_autofree char *path = image_of(stage, target);

    lab_run("qemu-io", "-f", "qcow2", "-c", command, path);
}

void stage_resize(const Stage *stage, const char *target, guint64 size)
{
    g_autofree char *path = image_of(stage, target);
    g_autofree char *bytes = g_strdup_printf("%" G_GUINT64_FORMAT, size);

    lab_run("qemu-img", "resize", "-q", "-f", "qcow2", path, bytes);
}

static void source_free(gpointer data)
{
    CutSource *source = data;

    nbd_disk_close(source->reader);
    nbd_disk_close(source->allocation);
    g_ptr_array_unref(source->bitmaps);
    g_free((char *)source->told.target);
    g_free(source);
}

static CutSource *source_open(const Stage *stage, DaemonReader *daemon, const char *target)
{
    CutSource *source = g_new0(CutSource, 1);
    g_autofree char *path = image_of(stage, target);
    const ReaderLayer layer = {path, "qcow2"};
    g_autoptr(GError) error = NULL;

    daemon_reader_add(daemon, target, &layer, 1, NULL, &error);
    g_assert_no_error(error);
    source->reader = lab_connect(daemon_reader_nbd_path(daemon), target, NULL);
    source->allocation = lab_connect(daemon_reader_nbd_path(daemon), target, NBD_CONTEXT_ALLOCATION);
    source->bitmaps = g_ptr_array_new();
    source->told = (CutDisk){g_strdup(target), nbd_disk_size(source->reader), !stage->unchanged};
    source->since_size_bytes = source->told.size_bytes;
    return source;
}

/* --- the standby's thread ---------------------------------------------- */

static Store *open_store(Stage *stage)
{
    g_autofree char *dir = lab_path(&stage->lab, "store");
    g_autofree char *run_dir = lab_path(&stage->lab, "store-run");
    StoreOptions options = {
        .dir = dir, .run_dir = run_dir, .vm = stage->vm, .retain = {.newest = 100, .hours = 0}};
    g_autoptr(GError) error = NULL;
    Store *store = store_open(&options, &error);

    g_assert_no_error(error);
    return store;
}

/* As the keeper does it. */
static Seed *open_seed(const Stage *stage, const Store *store, const Frame *frame)
{
    json_auto_t *doc = message_decode_json(frame, NULL);
    g_auto(Attach) attach = {0};
    g_autofree char *run_dir = lab_path(&stage->lab, "store-run/seed");
    SeedPlace place = {.dir = stage->seed, .vm = "web1", .run_dir = run_dir, .lost = stage->seed_lost};

    g_assert_true(attach_from_json(doc, &attach, NULL));
    return stage->seed && attach.images && !store_tip(store) ? seed_open(&place, attach.images) : NULL;
}

static void receive(Stage *stage, Store *store)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(Frame) attach =
        link_wait_for(stage->link, MESSAGE_ATTACH, clock_steady_ms() + LAB_TIMEOUT_MS, -1, &error);
    g_autoptr(Receiver) receiver = NULL;
    struct pollfd fds[RECEIVER_POLL_MAX];
    int wait_ms;
    guint n;

    g_assert_no_error(error);
    receiver = receiver_new(g_steal_pointer(&stage->link), store, stage->reign,
                            open_seed(stage, store, attach), &error);
    g_assert_no_error(error);
    stage->seed_why = g_strdup(receiver_seed_why(receiver));
    do {
        n = receiver_prepare(receiver, fds, &wait_ms);
        g_assert_cmpint(poll(fds, n, wait_ms), >=, 0);
    } while (receiver_pump(receiver, fds, n, &stage->standby_error));
    if (!stage->seed_lost)
        stage->seed_lost = g_strdup(receiver_seed_lost(receiver));
}

static void look_at(Stage *stage, Store *store)
{
    const Generation *tip = store_tip(store);
    g_autoptr(GError) error = NULL;
    StoreLease *lease;

    if (!tip)
        return;
    stage->points = store_points(store);
    stage->changed = g_ptr_array_new_with_free_func((GDestroyNotify)extents_free);
    for (guint i = 0; stage->points->len > 1 && i < tip->disks->len; i++) {
        const StorePoint *before = stage->points->pdata[1];
        const char *target = ((const GenerationDisk *)tip->disks->pdata[i])->target;

        g_ptr_array_add(stage->changed, store_changed_since(store, before->generation->id, target, &error));
        g_assert_no_error(error);
    }
    lease = store_lease_share(store, tip->id, &stage->files, &error);
    g_assert_no_error(error);
    store_lease_release(store, lease);
}

static void standby(void *user)
{
    Stage *stage = user;
    g_autoptr(Store) store = open_store(stage);

    receive(stage, store);
    look_at(stage, store);
}

/* --- sessions ---------------------------------------------------------- */

static json_t *images_of(const Stage *stage)
{
    json_t *images = json_object();

    for (guint i = 0; i < stage->targets->len; i++) {
        const char *target = stage->targets->pdata[i];
        g_autofree char *name = g_strconcat(target, ".qcow2", NULL);

        json_object_set_new(images, target, json_string(name));
    }
    return images;
}

void stage_attach(Stage *stage, guint version_max)
{
    LinkSettings dialer = {.identity = stage->house.active, .purpose = PURPOSE_BULK};
    LinkSettings listener = {.identity = stage->house.standby, .version_max = version_max};
    Pair pair = pair_new(&dialer, &listener);
    char scenario[] = "web";
    json_auto_t *images = images_of(stage);
    Attach attach = {stage->vm, scenario, stage->reign, identity_peer(stage->house.standby).id, images};
    g_autoptr(GError) error = NULL;

    pair_run(&pair, both_up);
    forget_end(stage);
    stage->link = g_steal_pointer(&pair.listener);
    g_assert_cmpint(uv_thread_create(&stage->thread, stage->standby, stage), ==, 0);
    stage->sender = sender_attach(g_steal_pointer(&pair.dialer), &attach, &stage->patience, &error);
    g_assert_no_error(error);
    stage->stream = stream_new();
}

void stage_detach(Stage *stage, gboolean cut)
{
    if (cut)
        sender_free(g_steal_pointer(&stage->sender));
    else
        sender_close(g_steal_pointer(&stage->sender));
    stage->compared += stream_compared_bytes(stage->stream);
    g_clear_pointer(&stage->stream, stream_free);
    uv_thread_join(&stage->thread);
}

/* --- generations ------------------------------------------------------- */

static void describe_disks(const Stage *stage, Generation *g)
{
    for (guint i = 0; i < stage->targets->len; i++) {
        g_autofree char *path = image_of(stage, stage->targets->pdata[i]);
        g_autoptr(GError) error = NULL;
        g_autoptr(Qcow2Facts) facts = qcow2_read(path, "qcow2", LAB_TIMEOUT_MS, -1, &error);

        g_assert_no_error(error);
        generation_add_disk(g, stage->targets->pdata[i], facts->size_bytes);
    }
}

static Generation *next_generation(Stage *stage)
{
    const Generation *tip = sender_position(stage->sender)->tip;
    Generation *g = generation_new();

    g->id = id_random();
    g->parent = tip ? tip->id : ID_NIL;
    g->reign = stage->reign;
    g->sequence = ++stage->sequence;
    g->cut_at_ms = clock_wall_ms();
    g->definition = g_strdup("<domain/>");
    describe_disks(stage, g);
    return g;
}

static guint64 *copies_of(const Stage *stage, const Generation *begun)
{
    const Generation *tip = sender_position(stage->sender)->tip;
    guint64 *copies = g_new0(guint64, begun->disks->len);

    for (guint i = 0; i < begun->disks->len; i++) {
        const GenerationDisk *disk = begun->disks->pdata[i];
        const GenerationDisk *before = tip ? generation_find_disk(tip, disk->target) : NULL;

        copies[i] = before ? before->size_bytes
                    : tip  ? 0
                           : position_seed_bytes(sender_position(stage->sender), disk->target);
    }
    return copies;
}

Job *stage_begin(Stage *stage)
{
    const PositionPartial *partial = sender_position(stage->sender)->partial;
    g_autoptr(GError) error = NULL;
    Job *job = g_new0(Job, 1);

    job->begun = partial ? generation_copy(partial->begun) : next_generation(stage);
    job->pass = pass_new(ID_NIL, job->begun->disks->len);
    for (guint i = 0; partial && i < job->begun->disks->len; i++)
        extents_add_all(job->pass->has->pdata[i], partial->pass->has->pdata[i]);
    if (partial)
        job->pass->guard = partial->pass->guard;
    job->wake_fd = eventfd(0, EFD_CLOEXEC);
    job->limits =
        (StreamLimits){.wake_fd = job->wake_fd,
                       .blank = id_is_nil(job->begun->parent) && !partial,
                       .copies = sender_compares(stage->sender) ? copies_of(stage, job->begun) : NULL};
    sender_begin(stage->sender, job->begun, &error);
    g_assert_no_error(error);
    return job;
}

void stage_job_free(Job *job)
{
    generation_free(job->begun);
    pass_free(job->pass);
    g_free((guint64 *)job->limits.copies);
    close(job->wake_fd);
    g_free(job);
}

static void on_progress(void *user, guint64 done_bytes, guint64 total_bytes)
{
    static const guint64 ONE = 1;
    Job *job = user;

    job->done_bytes = done_bytes;
    job->total_bytes = total_bytes;
    if (job->break_at && done_bytes >= job->break_at)
        g_assert_cmpint(write(job->wake_fd, &ONE, sizeof(ONE)), ==, sizeof(ONE));
}

static DaemonReader *open_cut(const Stage *stage, Cut *cut)
{
    g_autofree char *run_dir = lab_path(&stage->lab, "active-run");
    g_autoptr(GError) why = NULL;
    DaemonReader *daemon = daemon_reader_start(run_dir, "active", &why);

    g_assert_no_error(why);
    *cut = (Cut){.sources = g_ptr_array_new_with_free_func(source_free)};
    for (guint i = 0; i < stage->targets->len; i++)
        g_ptr_array_add(cut->sources, source_open(stage, daemon, stage->targets->pdata[i]));
    return daemon;
}

static void close_cut(Cut *cut, DaemonReader *daemon)
{
    g_ptr_array_unref(cut->sources);
    daemon_reader_free(daemon);
}

gboolean stage_try(Stage *stage, Job *job, gboolean *ret_all, GError **error)
{
    Cut cut;
    DaemonReader *daemon = open_cut(stage, &cut);
    gboolean ok = stream_run(stage->stream, &cut, stage->sender, job->pass, &job->limits, on_progress, job,
                             ret_all, error);

    close_cut(&cut, daemon);
    return ok;
}

gboolean stage_audit(Stage *stage, Job *job, GPtrArray *todo, GPtrArray *differing)
{
    g_autoptr(GError) error = NULL;
    gboolean all;
    Cut cut;
    DaemonReader *daemon = open_cut(stage, &cut);

    stream_audit(stage->stream, &cut, stage->sender, todo, differing, &job->limits, on_progress, job, &all,
                 &error);
    g_assert_no_error(error);
    close_cut(&cut, daemon);
    sender_discard(stage->sender, &error);
    g_assert_no_error(error);
    return all;
}

gboolean stage_run(Stage *stage, Job *job)
{
    g_autoptr(GError) error = NULL;
    gboolean all = FALSE;

    stage_try(stage, job, &all, &error);
    g_assert_no_error(error);
    return all;
}

void stage_slice(Stage *stage, Job *job, Id guard)
{
    g_autoptr(GError) error = NULL;

    pass_break(job->pass, guard);
    if (sender_slice(stage->sender, job->pass, &error))
        sender_sliced(stage->sender, &error);
    g_assert_no_error(error);
}

void stage_seal(Stage *stage, Job *job)
{
    g_autoptr(Generation) g = generation_copy(job->begun);
    g_autoptr(GError) error = NULL;

    g->id = id_random();
    if (sender_seal(stage->sender, g, &error))
        sender_sealed(stage->sender, g, &error);
    g_assert_no_error(error);
}

void stage_send(Stage *stage, guint64 *ret_sent_bytes, guint64 *ret_compared_bytes)
{
    g_autoptr(Job) job = NULL;

    stage_attach(stage, 0);
    job = stage_begin(stage);
    g_assert_true(stage_run(stage, job));
    stage_seal(stage, job);
    *ret_sent_bytes = sender_payload_bytes(stage->sender);
    *ret_compared_bytes = stream_compared_bytes(stage->stream);
    stage_detach(stage, FALSE);
}

void stage_expect_equal(const Stage *stage)
{
    g_assert_nonnull(stage->files);
    g_assert_cmpuint(stage->files->len, ==, stage->targets->len);
    for (guint i = 0; i < stage->files->len; i++) {
        const StoreFiles *files = stage->files->pdata[i];
        g_autofree char *path = image_of(stage, files->target);

        lab_run("qemu-img", "compare", "-q", "-f", "qcow2", "-F", "qcow2", path, files->files->pdata[0]);
        lab_run("qemu-img", "check", "-q", "-f", "qcow2", files->files->pdata[0]);
    }
}

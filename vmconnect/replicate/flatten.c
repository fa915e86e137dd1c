/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/replicate/flatten.h"

#include "vmconnect/base/clock.h"
#include "vmconnect/base/durable.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/log.h"
#include "vmconnect/base/path.h"
#include "vmconnect/base/stop.h"
#include "vmconnect/capture/chain.h"
#include "vmconnect/hypervisor/definition_file.h"
#include "vmconnect/hypervisor/guard_file.h"
#include "vmconnect/hypervisor/inventory.h"
#include "vmconnect/hypervisor/lifecycle.h"
#include "vmconnect/hypervisor/pivot.h"

#include <glib/gstdio.h>
#include <poll.h>
#include <string.h>

#define JOB_FIRST_MS 5000
#define JOB_MOST_MS 600000
#define POLL_MS 50
#define ABORT_MS 30000
#define RESERVE_BYTES 65536
#define JOB_DIR "flatten" /* in the run folder */

/* --- the chain ----------------------------------------------------------- */

/* What of a disk lies in the folder, above the image that it goes into. */
typedef struct {
    const char *target;
    char *image;   /* NULL: the whole chain lies in the folder */
    char *format;  /* the image's */
    char *lowest;  /* overlay on it; NULL: there is none */
    gboolean only; /* …and it is the one that the guest writes to */
    gboolean
        is_buried; /* the folder has files of it below one that lies elsewhere: its user made a snapshot */
} Stretch;

static void stretch_clear(Stretch *s)
{
    g_free(s->image);
    g_free(s->format);
    g_free(s->lowest);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Stretch, stretch_clear)

static gboolean read_stretch(const Flatten *f, Active *a, const char *target, Stretch *ret, GError **error)
{
    g_autoptr(GPtrArray) chain =
        chain_of_disk(capture_live(a->capture), target, ABORT_MS, a->patience.wake_fd, error);
    guint n = 0;

    if (!chain)
        return FALSE;
    while (n < chain->len && path_is_in(f->store_dir, ((const ChainLayer *)chain->pdata[n])->path))
        n++;
    *ret = (Stretch){.target = target};
    if (n < chain->len) {
        ret->image = g_strdup(((const ChainLayer *)chain->pdata[n])->path);
        ret->format = g_strdup(((const ChainLayer *)chain->pdata[n])->format);
    }
    if (n > 0)
        ret->lowest = g_strdup(((const ChainLayer *)chain->pdata[n - 1])->path);
    ret->only = n == 1;
    for (; n < chain->len; n++)
        ret->is_buried |= path_is_in(f->store_dir, ((const ChainLayer *)chain->pdata[n])->path);
    return TRUE;
}

/* --- one job ------------------------------------------------------------- */

/* TRUE with *@ret_there FALSE when it has ended. A job of another kind is not ours. */
static gboolean look_at_job(virDomainPtr dom, const char *target, gboolean *ret_there, gboolean *ret_ready,
                            GError **error)
{
    virDomainBlockJobInfo info;
    int n = virDomainGetBlockJobInfo(dom, target, &info, 0);

    *ret_there = *ret_ready = FALSE;
    if (n < 0)
        return virt_error(error, "cannot see the block job of %s", target);
    *ret_there = n > 0 && (info.type == VIR_DOMAIN_BLOCK_JOB_TYPE_COMMIT ||
                           info.type == VIR_DOMAIN_BLOCK_JOB_TYPE_ACTIVE_COMMIT);
    *ret_ready = *ret_there && info.cur == info.end && info.end > 0;
    return TRUE;
}

static gboolean abort_job(virDomainPtr dom, const char *target, GError **error)
{
    gint64 end_ms = clock_steady_ms() + ABORT_MS;
    gboolean there = TRUE, ready;

    if (!look_at_job(dom, target, &there, &ready, error))
        return FALSE;
    if (there && virDomainBlockJobAbort(dom, target, 0) < 0 && virt_error_code() != VIR_ERR_OPERATION_INVALID)
        return virt_error(error, "cannot give up the block job of %s", target);
    while (there && clock_steady_ms() < end_ms) {
        if (!look_at_job(dom, target, &there, &ready, error))
            return FALSE;
        if (there)
            poll(NULL, 0, POLL_MS);
    }
    if (there)
        g_set_error(error, US_ERROR, US_ERROR_TIMEOUT, "the block job of %s does not end", target);
    return !there;
}

/* A file of the VM's, there from before a job of ours begins until it is over, names the disk: what else commits there
 * is its user's doing. Gone after a boot, as the job is. */
static char *job_mark(const Active *a)
{
    return g_build_filename(a->paths.run_dir, JOB_DIR, ID_TEXT(a->vm), NULL);
}

static gboolean mark_job(const Active *a, const char *target, GError **error)
{
    g_autofree char *path = job_mark(a);
    g_autofree char *dir = g_path_get_dirname(path);

    return durable_mkdir(dir, 0700, error) && durable_replace(path, target, strlen(target), 0600, error);
}

static void clear_job_mark(const Active *a)
{
    g_autofree char *path = job_mark(a);

    g_unlink(path);
}

/* The disk; NULL: no job of ours is left. The caller frees. */
static char *marked_job(const Active *a)
{
    g_autofree char *path = job_mark(a);
    char *target = NULL;

    return g_file_get_contents(path, &target, NULL, NULL) ? target : NULL;
}

/* *@ret_begun FALSE: one of its user's is under way. */
static gboolean begin_job(const Active *a, virDomainPtr dom, const Stretch *s, gboolean *ret_begun,
                          GError **error)
{
    g_autoptr(GError) why = NULL;
    virDomainBlockJobInfo info;
    int n = virDomainGetBlockJobInfo(dom, s->target, &info, 0);

    *ret_begun = n == 0;
    if (n < 0)
        return virt_error(error, "cannot see the block job of %s", s->target);
    if (n > 0)
        return TRUE;
    if (!mark_job(a, s->target, error))
        return FALSE;
    if (virDomainBlockCommit(dom, s->target, s->image, s->only ? NULL : s->lowest, 0,
                             s->only ? VIR_DOMAIN_BLOCK_COMMIT_ACTIVE : 0) == 0)
        return TRUE;
    virt_error(&why, "cannot commit disk %s into %s", s->target, s->image);
    /* A libvirtd that was lost in between may have begun it. */
    if (!g_error_matches(why, US_ERROR, US_ERROR_UNREACHABLE))
        clear_job_mark(a);
    g_propagate_error(error, g_steal_pointer(&why));
    return FALSE;
}

/* *@ret_done: it ended, or is a mirror from now on. */
static gboolean wait_for_job(const Flatten *f, const Active *a, virDomainPtr dom, const Stretch *s,
                             gboolean *ret_done, GError **error)
{
    gint64 end_ms = clock_steady_ms() + f->job_ms;
    gboolean there, ready, woken = FALSE;

    do {
        if (!look_at_job(dom, s->target, &there, &ready, error))
            return FALSE;
        *ret_done = s->only ? ready : !there;
        if (*ret_done || (s->only && !there))
            return TRUE;
        woken = active_is_waited_for(a, POLL_MS);
    } while (!woken && clock_steady_ms() < end_ms);
    return TRUE;
}

static gboolean expect_source(virDomainPtr dom, const char *target, const char *path, GError **error)
{
    g_autofree char *xml = virDomainGetXMLDesc(dom, VIR_DOMAIN_XML_INACTIVE);
    gboolean closed;
    g_autoptr(GPtrArray) chain = NULL;

    if (!xml)
        return virt_error(error, "cannot read the definition");
    chain = chain_in_definition(xml, target, &closed, error);
    if (!chain)
        return FALSE;
    if (g_str_equal(((const ChainLayer *)chain->pdata[0])->path, path))
        return TRUE;
    g_set_error(error, US_ERROR, US_ERROR_REFUSED, "its definition names %s for disk %s, not %s",
                ((const ChainLayer *)chain->pdata[0])->path, target, path);
    return FALSE;
}

/* For the note in the guard file, should it be needed while the guest stands still. */
static char *reserve_path(const Active *a)
{
    return g_strconcat(a->paths.plan_dir, "/", ID_TEXT(a->vm), ".pivot", NULL);
}

static gboolean reserve_room(const Active *a, GError **error)
{
    g_autofree char *path = reserve_path(a);

    return durable_set_aside(path, RESERVE_BYTES, error);
}

static void give_back_room(const Active *a)
{
    g_autofree char *path = reserve_path(a);

    g_unlink(path);
}

static gboolean say_what_waits(const Pivot *p, GError **error)
{
    g_prefix_error(
        error,
        "disk %s goes on from %s; should its definition name %s still, the VM is not started before that "
        "is put right: see that there is room in /etc/libvirt/qemu and that it can be written to: ",
        p->disk, p->to, p->from);
    return FALSE;
}

static gboolean note_pivot(const Active *a, const Pivot *p, GError **error)
{
    g_autoptr(Guard) guard = guard_read(a->paths.guard_dir, a->vm, error);

    give_back_room(a);
    return guard && guard_set_pivot(a->paths.guard_dir, guard, p, error);
}

/* The definition is as it has to be, or, @ret_why, it may not be, and nothing starts from what it must not name. */
static gboolean secure(const Active *a, virDomainPtr dom, const Pivot *p, GError **ret_why, GError **error)
{
    gboolean due;

    if (!definition_file_must_follow(dom, p, &due, error))
        return FALSE;
    if (!due || definition_file_follow(dom, p, ret_why) || say_what_waits(p, ret_why) ||
        note_pivot(a, p, error))
        return TRUE;
    g_prefix_error(
        error,
        "the guest stands still until either its definition can be saved (%s) or a note that keeps it from "
        "being started from %s: ",
        (*ret_why)->message, p->from);
    return FALSE;
}

/* What the guest writes from now on its next start finds; it may have been resumed by its user before. */
static gboolean go_on(const Active *a, virConnectPtr conn, virDomainPtr dom, const Pivot *p, GError **error)
{
    g_autoptr(GError) why = NULL;
    VmState state;

    if (!secure(a, dom, p, &why, error))
        return FALSE;
    stop_at("flatten.durable");
    if (!vm_state_read(dom, &state, NULL, error) ||
        (state == VM_STATE_PAUSED && !lifecycle_resume(conn, a->vm, error)))
        return FALSE;
    pivot_mark_clear(a->vm, a->paths.run_dir);
    give_back_room(a);
    if (!why)
        return TRUE;
    g_propagate_error(error, g_steal_pointer(&why));
    return FALSE;
}

/* The guest stands still from before the pivot until that is secured. What has failed in between is tried again by
 * flatten_recover(). */
static gboolean pivot(const Active *a, virConnectPtr conn, virDomainPtr dom, const Stretch *s, GError **error)
{
    Pivot p = {.disk = (char *)s->target, .from = s->lowest, .to = s->image, .format = s->format};
    g_autoptr(GError) why = NULL;

    if (!reserve_room(a, error) || !pivot_mark_set(a->vm, a->paths.run_dir, &p, error) ||
        !lifecycle_suspend(conn, a->vm, error))
        return FALSE;
    stop_at("flatten.suspended");
    if (virDomainBlockJobAbort(dom, s->target, VIR_DOMAIN_BLOCK_JOB_ABORT_PIVOT) != 0)
        virt_error(&why, "cannot let disk %s go on from %s", s->target, s->image);
    if (why)
        abort_job(dom, s->target, NULL);
    stop_at("flatten.pivoted");
    if (go_on(a, conn, dom, &p, why ? NULL : error) && !why)
        return TRUE;
    if (why)
        g_propagate_error(error, g_steal_pointer(&why));
    return FALSE;
}

/* *@ret_done: one stretch is less. */
static gboolean run_job(Flatten *f, Active *a, virConnectPtr conn, const Stretch *s, gboolean *ret_done,
                        GError **error)
{
    g_autoptr(virDomain) dom = vm_lookup(conn, a->vm, error);
    gboolean begun;
    VmState state;

    *ret_done = FALSE;
    if (!dom || !vm_state_read(dom, &state, NULL, error))
        return FALSE;
    /* One that its user has paused is not resumed by us. */
    if (state != VM_STATE_RUNNING)
        return TRUE;
    /* Only where it is the one that the guest writes to does libvirt change the definition with it. */
    if (s->only && !expect_source(dom, s->target, s->lowest, error))
        return FALSE;
    f->job_ms = f->job_ms ? f->job_ms : JOB_FIRST_MS;
    if (!begin_job(a, dom, s, &begun, error))
        return FALSE;
    if (!begun)
        return TRUE;
    stop_at("flatten.committing");
    if (!wait_for_job(f, a, dom, s, ret_done, error))
        return FALSE;
    if (!*ret_done)
        f->job_ms = MIN(f->job_ms * 2, JOB_MOST_MS);
    if (*ret_done ? s->only && !pivot(a, conn, dom, s, error) : !abort_job(dom, s->target, error))
        return FALSE;
    clear_job_mark(a);
    return TRUE;
}

gboolean flatten_settle(Active *a, GError **error)
{
    g_autoptr(GError) unread = NULL;
    g_autoptr(Guard) guard = guard_read(a->paths.guard_dir, a->vm, &unread);
    g_autoptr(virDomain) dom = NULL;
    virConnectPtr conn;

    /* Whoever needs the guard says what is wrong with it. */
    if (!guard || !guard->pivot)
        return TRUE;
    conn = active_connection(a, error);
    if (!conn || !vm_find(conn, a->vm, &dom, error))
        return FALSE;
    /* What its user defines next may name it. */
    return !dom || definition_file_settle(dom, a->paths.guard_dir, guard, error) ||
           say_what_waits(guard->pivot, error);
}

/* --- all ----------------------------------------------------------------- */

Store *flatten_open_store(const Flatten *f, const Active *a, GError **error)
{
    StoreOptions options = {
        .dir = f->store_dir, .run_dir = f->run_dir, .vm = a->vm, .retain = RETENTION_DEFAULT};

    return store_open(&options, error);
}

void flatten_look(Flatten *f, const Store *store)
{
    f->looked = TRUE;
    f->branches = store ? store_branches(store) : (StoreBranches){0};
}

gboolean flatten_has_store(const Flatten *f)
{
    g_autofree char *ledger = g_build_filename(f->store_dir, "ledger", NULL);

    return g_file_test(ledger, G_FILE_TEST_EXISTS);
}

/* Every path that the VM has open, as keys. */
static GHashTable *live_files(const Active *a, GError **error)
{
    const GPtrArray *disks = capture_disks(a->capture);
    g_autoptr(GHashTable) files = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);

    for (guint i = 0; i < disks->len; i++) {
        g_autoptr(GPtrArray) chain =
            chain_of_disk(capture_live(a->capture), ((const Disk *)disks->pdata[i])->target, ABORT_MS,
                          a->patience.wake_fd, error);

        if (!chain)
            return NULL;
        for (guint k = 0; k < chain->len; k++)
            g_hash_table_add(files, g_strdup(((const ChainLayer *)chain->pdata[k])->path));
    }
    return g_steal_pointer(&files);
}

/* After the first commit a disk may have left its overlay for its image, and before it none has. */
gboolean flatten_expect_all(const GPtrArray *given, GHashTable *live, gboolean begun, GError **error)
{
    for (guint i = 0; i < given->len; i++) {
        const StoreGiven *disk = given->pdata[i];

        if (g_hash_table_contains(live, disk->overlay) ||
            (begun && disk->home && g_hash_table_contains(live, disk->home)) ||
            !g_file_test(disk->overlay, G_FILE_TEST_EXISTS))
            continue;
        g_set_error(error, US_ERROR, US_ERROR_REFUSED,
                    "disk %s is not attached to it any more, and what was written to it here is in %s alone: "
                    "attach that again, or copy it away (`qemu-img convert`), and remove it",
                    disk->target, disk->overlay);
        return FALSE;
    }
    return TRUE;
}

/* What was detached while it runs is among its disks no more, and needed perhaps: by its next start, by another VM,
 * by its user. */
static gboolean expect_all_attached(Active *a, const Store *store, GError **error)
{
    g_autoptr(GPtrArray) given = store_given(store, error);
    g_autoptr(GHashTable) live = given ? live_files(a, error) : NULL;

    return live && flatten_expect_all(given, live, store_is_dissolved(store), error);
}

/* The first disk that has something to commit; *@ret_away: none has an image to go back to. A disk that came while the VM
 * was away has none, and keeps the others where they are, too. */
static gboolean find_stretch(const Flatten *f, Active *a, Stretch *ret, gboolean *ret_away, GError **error)
{
    const GPtrArray *disks = capture_disks(a->capture);
    g_autofree char *homeless = NULL;

    *ret = (Stretch){0};
    *ret_away = TRUE;
    for (guint i = 0; i < disks->len; i++) {
        g_auto(Stretch) s = {0};

        if (!read_stretch(f, a, ((const Disk *)disks->pdata[i])->target, &s, error))
            return FALSE;
        if (s.is_buried) {
            g_set_error(
                error, US_ERROR, US_ERROR_REFUSED,
                "disk %s has a snapshot on it that is not ours: it goes back to its image when that is gone",
                s.target);
            return FALSE;
        }
        *ret_away &= !s.image;
        if (!s.image && !homeless)
            homeless = g_strdup(s.target);
        if (s.lowest && s.image && !ret->lowest) {
            *ret = s;
            s = (Stretch){0};
        }
    }
    if (!homeless || *ret_away)
        return TRUE;
    g_set_error(error, US_ERROR, US_ERROR_REFUSED,
                "disk %s came while the VM was away and has no image outside of our folder; `virsh "
                "blockcopy` gives it one",
                homeless);
    return FALSE;
}

static gboolean is_local(const Disk *disk)
{
    return disk->source &&
           (g_strcmp0(disk->source_type, "file") == 0 || g_strcmp0(disk->source_type, "block") == 0);
}

static gboolean expect_flat_disk(const Flatten *f, const Active *a, const char *target, GError **error)
{
    g_autoptr(GPtrArray) chain =
        chain_of_disk(capture_definition(a->capture), target, ABORT_MS, a->patience.wake_fd, error);

    for (guint k = 0; chain && k < chain->len; k++) {
        const ChainLayer *layer = chain->pdata[k];

        if (!path_is_in(f->store_dir, layer->path))
            continue;
        g_set_error(error, US_ERROR, US_ERROR_REFUSED, "its definition names %s still for disk %s",
                    layer->path, target);
        return FALSE;
    }
    return chain != NULL;
}

/* The next start must not need what is removed now, either; it may have more disks than the VM has now. */
static gboolean expect_flat_definition(const Flatten *f, const Active *a, GError **error)
{
    const char *xml = capture_definition(a->capture);
    g_autoptr(Definition) d = definition_parse(xml, strlen(xml), error);

    for (guint i = 0; d && i < d->disks->len; i++) {
        const Disk *disk = d->disks->pdata[i];

        if (is_local(disk) && !expect_flat_disk(f, a, disk->target, error))
            return FALSE;
    }
    return d != NULL;
}

static gboolean step(Flatten *f, Active *a, Store *store, FlattenOutcome *ret_outcome, GError **error)
{
    virConnectPtr conn = active_connection(a, error);
    g_auto(Stretch) s = {0};
    gboolean away, done;
    CaptureState looked;

    *ret_outcome = FLATTEN_LATER;
    if (!flatten_settle(a, error))
        return FALSE;
    /* The job before this one has changed the chains. */
    if (!conn || !active_look(a, &looked, error))
        return FALSE;
    if (looked != CAPTURE_RUNNING)
        return TRUE;
    if (!find_stretch(f, a, &s, &away, error))
        return FALSE;
    if (away) {
        *ret_outcome = FLATTEN_NOTHING;
        return TRUE;
    }
    if (!expect_all_attached(a, store, error))
        return FALSE;
    if (s.lowest) {
        if (!store_dissolve(store, error) || !run_job(f, a, conn, &s, &done, error))
            return FALSE;
        *ret_outcome = done ? FLATTEN_MORE : FLATTEN_LATER;
        return TRUE;
    }
    if (!store_is_dissolved(store))
        return store_dissolve(store, error);
    stop_at("flatten.flat");
    if (!expect_flat_definition(f, a, error) || !store_clear(store, error))
        return FALSE;
    *ret_outcome = FLATTEN_DONE;
    log_notice("vm %s: it runs from its original images again", ID_TEXT(a->vm));
    return TRUE;
}

gboolean flatten_step(Flatten *f, Active *a, FlattenOutcome *ret_outcome, GError **error)
{
    g_autoptr(Store) store = NULL;

    *ret_outcome = FLATTEN_NOTHING;
    if (!flatten_has_store(f)) {
        flatten_look(f, NULL);
        return TRUE;
    }
    store = flatten_open_store(f, a, error);
    if (!store)
        return FALSE;
    flatten_look(f, store);
    if (id_is_nil(store_promoted(store)) && !store_is_dissolved(store))
        return TRUE;
    return step(f, a, store, ret_outcome, error);
}

/* A job that may be of ours is given up, a pause that is of ours ended. */
static gboolean recover(Active *a, virConnectPtr conn, virDomainPtr dom, const char *job, GError **error)
{
    g_autoptr(Pivot) marked = NULL;
    g_autoptr(GError) unsaved = NULL;
    CaptureState looked;
    VmState state;

    if (!active_look(a, &looked, error) || !vm_state_read(dom, &state, NULL, error))
        return FALSE;
    if (job && state != VM_STATE_OFF && capture_find_disk(a->capture, job) && !abort_job(dom, job, error))
        return FALSE;
    if (!pivot_is_marked(a->vm, a->paths.run_dir))
        return TRUE;
    marked = pivot_mark_read(a->vm, a->paths.run_dir, error);
    if (!marked)
        return FALSE;
    /* Whoever starts it next goes by its definition. */
    if (state == VM_STATE_OFF || state == VM_STATE_CRASHED)
        return secure(a, dom, marked, &unsaved, error);
    return go_on(a, conn, dom, marked, error);
}

/* Before anything is cut: a job of ours would be in the way. */
gboolean flatten_recover(Active *a, GError **error)
{
    g_autofree char *job = marked_job(a);
    g_autoptr(virDomain) dom = NULL;
    virConnectPtr conn;

    if (!job && !pivot_is_marked(a->vm, a->paths.run_dir)) {
        give_back_room(a);
        return TRUE;
    }
    conn = active_connection(a, error);
    if (!conn || !vm_find(conn, a->vm, &dom, error) || (dom && !recover(a, conn, dom, job, error)))
        return FALSE;
    clear_job_mark(a);
    pivot_mark_clear(a->vm, a->paths.run_dir);
    give_back_room(a);
    return TRUE;
}

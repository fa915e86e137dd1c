/* SPDX-License-Identifier: Apache-2.0 */
/* A cut of a running VM: look that nobody's job is there (BackupBegin would wait 30 s for it) and that
 * there is room, make scratch files, tell the rescuer, freeze if asked to, begin, thaw.
 *
 * Begin can fail at three places: refused by libvirt (nothing began); the
 * connection died (a job may be there: the next capture_recover() or the
 * rescuer ends it); the guest shut down under it (libvirt then says so 30 s
 * late, unless its end is settled). Names of sockets and scratch files are
 * never used twice, so that no leftover stands in the way of a later job. */
#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/stop.h"
#include "vmconnect/capture/backup_xml.h"
#include "vmconnect/capture/cut_internal.h"
#include "vmconnect/capture/scratch.h"
#include "vmconnect/hypervisor/agent.h"
#include "vmconnect/hypervisor/job.h"
#include "vmconnect/hypervisor/shutdown.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/statvfs.h>

/* A guest that shut down under our job: how long its QEMU may take to end. */
#define SETTLE_MS 30000
/* Less free scratch than this is as good as none. */
#define SCRATCH_LEAST_BYTES ((guint64)4 << 20)
/* The rescuer ends a job that has filled this part of its scratch. */
#define RESCUE_SHARE 4

static void name_files(Cut *cut)
{
    Capture *c = cut->capture;
    char job[ID_TEXT_LEN + 1];

    id_format(id_random(), job)[8] = '\0';
    cut->socket = capture_job_file(c, c->settings.nbd_dir, job, "nbd");
    for (guint i = 0; i < cut->sources->len; i++) {
        CutSource *source = cut->sources->pdata[i];

        source->scratch = capture_job_file(c, c->settings.scratch_dir, job, source->told.target);
    }
}

static char *build_backup_xml(const Cut *cut)
{
    g_autoptr(GArray) disks = g_array_new(FALSE, FALSE, sizeof(BackupXmlDisk));

    for (guint i = 0; i < cut->sources->len; i++) {
        const CutSource *source = cut->sources->pdata[i];
        const BackupXmlDisk disk = {
            .target = source->told.target, .scratch = source->scratch, .since = source->since};

        g_array_append_val(disks, disk);
    }
    return backup_xml(cut->socket, (const BackupXmlDisk *)disks->data, disks->len);
}

static char *build_checkpoint_xml(const Cut *cut, Id checkpoint)
{
    const Capture *c = cut->capture;
    g_autofree const char **targets = capture_targets(c);
    g_autofree char *files = disk_files_to_text(c->files);

    return id_is_nil(checkpoint) ? NULL : checkpoint_xml(checkpoint, files, targets, c->disks->len);
}

static void expect_bitmaps(Cut *cut)
{
    for (guint i = 0; i < cut->sources->len; i++) {
        CutSource *source = cut->sources->pdata[i];
        g_autofree char *bitmap = g_strconcat(BACKUP_BITMAP_PREFIX, source->told.target, NULL);

        if (!source->told.whole)
            cut_add_bitmap(source, source->told.target, bitmap);
    }
}

/* How much of the scratch folder the job may use. A guest would stop at the first write that finds no room. */
static gboolean take_room(Cut *cut, GError **error)
{
    const Capture *c = cut->capture;
    const char *dir = c->settings.scratch_dir;
    struct statvfs fs;
    guint64 free_bytes;

    if (statvfs(dir, &fs) != 0)
        return us_error_errno(error, errno, "not cutting '%s': scratch folder %s", capture_name(c), dir);
    free_bytes = (guint64)fs.f_bavail * fs.f_frsize;
    cut->scratch_bytes = c->settings.scratch_bytes ? MIN(c->settings.scratch_bytes, free_bytes) : free_bytes;
    if (free_bytes >= SCRATCH_LEAST_BYTES)
        return TRUE;
    g_set_error(error, US_ERROR, US_ERROR_NO_SPACE, "not cutting '%s': %s is full; free some space there",
                capture_name(c), dir);
    return FALSE;
}

static void watch(const Cut *cut)
{
    const Capture *c = cut->capture;
    gint64 now_ms = clock_steady_ms();
    g_autoptr(GPtrArray) scratch = g_ptr_array_new();
    RescuerWatch w = {.vm = c->vm,
                      .scratch_limit_bytes = cut->scratch_bytes / RESCUE_SHARE,
                      .end_by_ms = c->settings.job_ms ? now_ms + c->settings.job_ms : 0,
                      .thaw_by_ms = c->freeze ? now_ms + AGENT_FREEZE_MAX_MS : 0,
                      .was_running = c->executing};

    for (guint i = 0; i < cut->sources->len; i++)
        g_ptr_array_add(scratch, ((CutSource *)cut->sources->pdata[i])->scratch);
    g_ptr_array_add(scratch, NULL);
    w.scratch = (const char *const *)scratch->pdata;
    if (c->settings.rescuer)
        rescuer_watch(c->settings.rescuer, &w);
}

static void unwatch(const Cut *cut)
{
    if (cut->capture->settings.rescuer)
        rescuer_unwatch(cut->capture->settings.rescuer, cut->capture->vm);
}

/* A guest without an agent is an ordinary guest: its cut is crash-consistent. */
static gboolean freeze(Capture *c)
{
    return c->freeze && agent_freeze(c->domain, c->settings.run_dir, NULL, NULL);
}

/* Also when the freeze failed: a late agent may have frozen after all. A thaw that fails
 * leaves its mark, and the rescuer goes on trying. */
static void thaw(Capture *c)
{
    if (c->freeze)
        agent_thaw(c->domain, c->settings.run_dir, NULL);
}

/* Whoever works on a disk makes libvirt refuse a backup of it. */
static const char *busy_disk(const Cut *cut)
{
    for (guint i = 0; i < cut->sources->len; i++) {
        const CutSource *source = cut->sources->pdata[i];
        virDomainBlockJobInfo info;

        if (virDomainGetBlockJobInfo(cut->capture->domain, source->told.target, &info, 0) == 1)
            return source->told.target;
    }
    return NULL;
}

/* Name the cause where libvirt's own words do not. Always FALSE. */
static gboolean explain(const Cut *cut, GError **error)
{
    g_autoptr(GError) said = NULL;
    const char *disk;

    capture_error(&said, "cannot begin a backup job");
    disk = said->code == US_ERROR_UNREACHABLE ? NULL : busy_disk(cut);
    if (disk)
        g_set_error(
            error, US_ERROR, US_ERROR_BUSY,
            "not cutting '%s': a block job (commit, copy or pull) of its user runs on disk %s; replication "
            "goes on when it has ended",
            capture_name(cut->capture), disk);
    else
        g_propagate_error(error, g_steal_pointer(&said));
    return FALSE;
}

static gboolean make_scratch(const Cut *cut, GError **error)
{
    const Capture *c = cut->capture;

    for (guint i = 0; i < cut->sources->len; i++) {
        const CutSource *source = cut->sources->pdata[i];
        const Disk *disk = capture_find_disk(c, source->told.target);

        if (disk->size_bytes == 0) {
            g_set_error(error, US_ERROR, US_ERROR_FAILED,
                        "not cutting '%s': how large disk %s is cannot be read from its image",
                        capture_name(c), disk->target);
            return FALSE;
        }
        if (scratch_make(source->scratch, disk->size_bytes, c->settings.run_dir, c->settings.cancel_fd,
                         error))
            continue;
        g_prefix_error(error, "not cutting '%s': ", capture_name(c));
        return FALSE;
    }
    return TRUE;
}

static gboolean begin_job(Cut *cut, Id checkpoint, GError **error)
{
    Capture *c = cut->capture;
    g_autofree char *backup = build_backup_xml(cut);
    g_autofree char *with = build_checkpoint_xml(cut, checkpoint);
    gboolean frozen;
    int rc;

    watch(cut);
    cut->job = TRUE;
    cut->asked_at_wall_ms = clock_wall_ms();
    cut->asked_at_ms = clock_steady_ms();
    frozen = freeze(c);
    stop_at("cut.before_begin");
    rc = virDomainBackupBegin(c->domain, backup, with, VIR_DOMAIN_BACKUP_BEGIN_REUSE_EXTERNAL);
    stop_at("cut.after_begin");
    /* Later than that the rescuer may have thawed before the instant. */
    cut->frozen = frozen && clock_steady_ms() - cut->asked_at_ms < AGENT_FREEZE_MAX_MS;
    /* The thaw is a libvirt call, too, and would take the last error with it. */
    if (rc < 0)
        explain(cut, error);
    thaw(c);
    return rc == 0;
}

/* QEMU itself says when its scratch has grown, sooner than any look; without it the looks remain. */
static void ask_for_threshold(const Cut *cut)
{
    const Capture *c = cut->capture;
    g_autoptr(Job) job = c->settings.rescuer ? job_probe(c->domain, c->settings.run_dir, NULL) : NULL;

    if (job && job->kind == JOB_OURS)
        job_set_threshold(c->domain, job, cut->scratch_bytes / RESCUE_SHARE, NULL);
}

gboolean cut_live_begin(Cut *cut, Id checkpoint, GError **error)
{
    if (!capture_expect_no_job(cut->capture, error))
        return FALSE;
    /* No job of ours runs, so no file of ours is in use. */
    capture_remove_leftovers(cut->capture);
    name_files(cut);
    expect_bitmaps(cut);
    if (!take_room(cut, error) || !make_scratch(cut, error) || !begin_job(cut, checkpoint, error))
        return FALSE;
    ask_for_threshold(cut);
    return TRUE;
}

static gboolean guest_has_shut_down(const Cut *cut)
{
    int state, reason;

    return virDomainGetState(cut->capture->domain, &state, &reason, 0) == 0 && state == VIR_DOMAIN_SHUTDOWN;
}

static gboolean end_job(const Cut *cut, GError **error)
{
    Capture *c = cut->capture;
    g_autoptr(GError) e = NULL;

    if (guest_has_shut_down(cut))
        return shutdown_settle(c->conn, c->vm, c->settings.run_dir, SETTLE_MS, error);
    if (job_end(c->domain, c->settings.run_dir, CAPTURE_JOB_END_MS, NULL, &e))
        return TRUE;
    /* Another tool was quick to begin its own: ours is gone. */
    if (g_error_matches(e, US_ERROR, US_ERROR_REFUSED))
        return TRUE;
    g_propagate_error(error, g_steal_pointer(&e));
    return FALSE;
}

gboolean cut_live_end(Cut *cut, GError **error)
{
    if (!end_job(cut, error))
        return FALSE; /* the rescuer's watch stays: it ends what we could not */
    unwatch(cut);
    /* libvirt removes the socket; after a death of libvirtd nobody does. */
    g_unlink(cut->socket);
    cut_live_remove_scratch(cut);
    return TRUE;
}

void cut_live_remove_scratch(const Cut *cut)
{
    for (guint i = 0; i < cut->sources->len; i++) {
        const CutSource *source = cut->sources->pdata[i];

        if (source->scratch)
            g_unlink(source->scratch);
    }
}

gboolean cut_live_still_valid(Cut *cut, GError **error)
{
    g_autoptr(Job) job = job_probe(cut->capture->domain, cut->capture->settings.run_dir, error);

    if (!job)
        return FALSE;
    if (job->kind == JOB_OURS && g_strcmp0(job->socket, cut->socket) == 0)
        return TRUE;
    return cut_fail_ended(cut, error);
}

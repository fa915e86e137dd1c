/* SPDX-License-Identifier: Apache-2.0 */
/* auto-finalize off: QEMU waits in PENDING, where base is still open for writing
 * and the header above still names top. That is the moment to make base durable.
 *
 * QEMU lets nobody lay an overlay on the node that a job was started on. So that is one of our own, above
 * root: a filter, which nobody reads through. */
#include "vmconnect/image/commit.h"

#include "vmconnect/base/error.h"
#include "vmconnect/image/export.h"
#include "vmconnect/image/job.h"
#include "vmconnect/image/node.h"

typedef enum { COPYING, COPIED, FLUSHED, OVER } Step;

struct Commit {
    StorageDaemon *daemon;
    char *job;
    char *base;
    char *filter; /* the node that the job was started on; NULL: gone, or not to be had any more */
    Step step;
};

static gboolean add_filter(StorageDaemon *daemon, const char *name, const char *root, GError **error)
{
    return storage_daemon_call(daemon, "blockdev-add",
                               json_pack("{s:s, s:s, s:s, s:b}", "driver", "compress", "node-name", name,
                                         "file", root, "read-only", TRUE),
                               NULL, error);
}

/* The job is gone if @ok: its filter goes, too. What a daemon that has trouble keeps goes with the daemon. */
static gboolean over(Commit *c, gboolean ok, GError **error)
{
    g_autofree char *filter = g_steal_pointer(&c->filter);

    c->step = OVER;
    return ok && node_close(c->daemon, filter, error);
}

Commit *commit_begin(StorageDaemon *daemon, const CommitSpec *spec, GError **error)
{
    g_autofree char *job = g_strdup_printf("commit-%u", storage_daemon_next_number(daemon));
    g_autofree char *filter = g_strconcat(job, "-filter", NULL);
    Commit *c;

    g_assert(!g_str_equal(spec->root, spec->top));
    if (!add_filter(daemon, filter, spec->root, error))
        return NULL;
    if (!storage_daemon_call(daemon, "block-commit",
                             json_pack("{s:s, s:s, s:s, s:s, s:s, s:I, s:s, s:b, s:b}", "job-id", job,
                                       "device", filter, "top-node", spec->top, "base-node", spec->base,
                                       "backing-file", spec->backing_name, "speed",
                                       (json_int_t)spec->bytes_per_s, "on-error", "report", "auto-finalize",
                                       FALSE, "auto-dismiss", FALSE),
                             NULL, error)) {
        node_close(daemon, filter, NULL);
        return NULL;
    }
    c = g_new0(Commit, 1);
    c->daemon = daemon;
    c->job = g_steal_pointer(&job);
    c->base = g_strdup(spec->base);
    c->filter = g_steal_pointer(&filter);
    return c;
}

gboolean commit_wait_copied(Commit *commit, int timeout_ms, GError **error)
{
    g_auto(Job) job = {0};

    g_assert(commit->step == COPYING);
    if (!job_wait(commit->daemon, commit->job, JOB_PENDING, timeout_ms, error) ||
        !job_query(commit->daemon, commit->job, &job, error))
        return FALSE;
    if (job.state == JOB_PENDING) {
        commit->step = COPIED;
        return TRUE;
    }
    /* It never passed PENDING by itself, so it ended badly. */
    if (job.state == JOB_GONE || job_finish(commit->daemon, commit->job, 0, error))
        g_set_error(error, US_ERROR, US_ERROR_FAILED, "the merge ended before its data was flushed");
    over(commit, TRUE, NULL);
    return FALSE;
}

gboolean commit_progress(Commit *commit, CommitProgress *ret_progress, GError **error)
{
    g_auto(Job) job = {0};

    if (!job_query(commit->daemon, commit->job, &job, error))
        return FALSE;
    *ret_progress = (CommitProgress){job.done, job.total};
    return TRUE;
}

gboolean commit_pause(Commit *commit, GError **error)
{
    return job_command(commit->daemon, "job-pause", commit->job, error);
}

gboolean commit_resume(Commit *commit, GError **error)
{
    return job_command(commit->daemon, "job-resume", commit->job, error);
}

gboolean commit_flush_base(Commit *commit, int timeout_ms, GError **error)
{
    g_assert(commit->step == COPIED);
    if (!export_flush_node(commit->daemon, commit->base, timeout_ms, error))
        return FALSE;
    commit->step = FLUSHED;
    return TRUE;
}

gboolean commit_switch_over(Commit *commit, GError **error)
{
    g_assert(commit->step == FLUSHED);
    if (!job_command(commit->daemon, "job-finalize", commit->job, error))
        return FALSE;
    return over(commit,
                job_finish(commit->daemon, commit->job, storage_daemon_timeout(commit->daemon), error),
                error);
}

gboolean commit_cancel(Commit *commit, GError **error)
{
    g_autoptr(GError) why = NULL;

    if (commit->step == OVER)
        return TRUE;
    /* Refused (FAILED) if it has just ended badly by itself; anything else is the daemon's trouble. */
    if (!job_command(commit->daemon, "job-cancel", commit->job, &why) && why->code != US_ERROR_FAILED) {
        g_propagate_error(error, g_steal_pointer(&why));
        return FALSE;
    }
    /* A cancelled job has an error of its own, so it is not finished but only awaited. */
    return over(
        commit,
        job_wait(commit->daemon, commit->job, JOB_CONCLUDED, storage_daemon_timeout(commit->daemon), error) &&
            job_command(commit->daemon, "job-dismiss", commit->job, error),
        error);
}

void commit_free(Commit *commit)
{
    if (!commit)
        return;
    commit_cancel(commit, NULL);
    g_free(commit->job);
    g_free(commit->base);
    g_free(commit->filter);
    g_free(commit);
}

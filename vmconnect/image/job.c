/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/image/job.h"

#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/image/wait.h"

void job_clear(Job *job)
{
    g_clear_pointer(&job->error, g_free);
}

static JobState state_of(const char *status)
{
    if (g_str_equal(status, "pending"))
        return JOB_PENDING;
    if (g_str_equal(status, "concluded"))
        return JOB_CONCLUDED;
    return g_str_equal(status, "null") ? JOB_GONE : JOB_WORKING;
}

static gboolean read_job(const json_t *doc, Job *job, GError **error)
{
    const char *id, *type, *status;
    const char *why = NULL;
    json_int_t done, total;

    if (!json_read(doc, "job", error, "{s:s, s:s, s:s, s:I, s:I, s?s*}", "id", &id, "type", &type, "status",
                   &status, "current-progress", &done, "total-progress", &total, "error", &why))
        return FALSE;
    *job = (Job){state_of(status), (guint64)done, (guint64)total, g_strdup(why)};
    return TRUE;
}

gboolean job_query(StorageDaemon *daemon, const char *id, Job *ret_job, GError **error)
{
    json_auto_t *jobs = NULL;
    const json_t *doc;
    size_t i;

    if (!storage_daemon_call(daemon, "query-jobs", NULL, &jobs, error))
        return FALSE;
    json_array_foreach(jobs, i, doc) if (g_strcmp0(json_string_value(json_object_get(doc, "id")), id) ==
                                         0) return read_job(doc, ret_job, error);
    *ret_job = (Job){.state = JOB_GONE};
    return TRUE;
}

gboolean job_wait(StorageDaemon *daemon, const char *id, JobState state, int timeout_ms, GError **error)
{
    gint64 deadline = wait_deadline(timeout_ms);

    for (;;) {
        g_auto(Job) job = {0};

        if (!job_query(daemon, id, &job, error))
            return FALSE;
        if (job.state >= state)
            return TRUE;
        if (!storage_daemon_wait_news(daemon, clock_left_ms(deadline), error))
            return FALSE;
    }
}

gboolean job_command(StorageDaemon *daemon, const char *command, const char *id, GError **error)
{
    return storage_daemon_call(daemon, command, json_pack("{s:s}", "id", id), NULL, error);
}

gboolean job_finish(StorageDaemon *daemon, const char *id, int timeout_ms, GError **error)
{
    g_auto(Job) job = {0};

    if (!job_wait(daemon, id, JOB_CONCLUDED, timeout_ms, error) || !job_query(daemon, id, &job, error) ||
        !job_command(daemon, "job-dismiss", id, error))
        return FALSE;
    if (!job.error)
        return TRUE;
    g_set_error(error, US_ERROR, (int)qmp_error_code(job.error), "%s", job.error);
    return FALSE;
}

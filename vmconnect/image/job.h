/* SPDX-License-Identifier: Apache-2.0 */
/* job - a background job of a storage daemon, known by its id.
 *
 * All jobs here are created with auto-dismiss off, so their end can always be
 * asked for; events only say when to ask. */
#pragma once

#include "vmconnect/image/storage_daemon.h"

#include <glib.h>

typedef enum {
    JOB_WORKING,   /* anything before the next two */
    JOB_PENDING,   /* done, waits to be finalized */
    JOB_CONCLUDED, /* over, well or badly */
    JOB_GONE,      /* not known (any more) */
} JobState;

typedef struct {
    JobState state;
    guint64 done;
    guint64 total;
    char *error; /* why it ended badly, or NULL */
} Job;

void job_clear(Job *job);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Job, job_clear)

gboolean job_query(StorageDaemon *daemon, const char *id, Job *ret_job, GError **error);

/* Wait until the job is in @state or later. */
gboolean job_wait(StorageDaemon *daemon, const char *id, JobState state, int timeout_ms, GError **error);

/* job-pause, job-resume, job-finalize, job-cancel, job-dismiss. */
gboolean job_command(StorageDaemon *daemon, const char *command, const char *id, GError **error);

/* Wait for the end and dismiss. FALSE with @error if it ended badly; it is dismissed then too. */
gboolean job_finish(StorageDaemon *daemon, const char *id, int timeout_ms, GError **error);

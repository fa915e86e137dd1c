/* SPDX-License-Identifier: Apache-2.0 */
/* job - whose backup job runs on a domain, and how to end ours.
 *
 * Our jobs are told by their NBD socket, which lies in our run folder; nothing
 * else is ever aborted. For worker threads. */
#pragma once

#include "vmconnect/hypervisor/virt_error.h"

#include <glib.h>

typedef enum {
    JOB_NONE,
    JOB_OURS,
    JOB_FOREIGN, /* another tool's backup, or another kind of job: wait */
    JOB_STUCK,   /* libvirtd died in BackupBegin and the domain is locked until repaired. The
                  * same is seen for some milliseconds of every begin: believe it when it lasts. */
} JobKind;

typedef struct {
    char *target; /* vda */
    char *path;   /* scratch file; NULL: not a file */
    guint index;  /* of its node, for virDomainSetBlockThreshold(); 0: not known */
} JobScratch;

typedef struct {
    JobKind kind;
    char *socket;       /* of a backup job; NULL otherwise */
    GPtrArray *scratch; /* of JobScratch *; empty unless it is a backup job */
} Job;

/* What runs on @dom. @run_folder: an absolute path, ours. NULL with @error. */
Job *job_probe(virDomainPtr dom, const char *run_folder, GError **error);

/* The same from virDomainBackupGetXMLDesc()'s text; pure. */
Job *job_parse(const char *xml, gsize len, const char *run_folder, GError **error);
void job_free(Job *job);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Job, job_free)

/* Ask QEMU for one event when a scratch file passes @bytes; it comes to the
 * ears as EAR_BLOCK_THRESHOLD. Each new job needs it again. */
gboolean job_set_threshold(virDomainPtr dom, const Job *job, guint64 bytes, GError **error);

/* Abort the backup job if it is ours and wait until it is gone (libvirt returns
 * from the abort before that); *ret_ended (may be NULL): there was one. No job
 * is no error; REFUSED: it is not ours; TIMEOUT: still there. STUCK, with the
 * remedy: JOB_STUCK for as long as @timeout_ms, or still there a minute after it
 * began: libvirt gives up handling QEMU's news of the end after 30 s, for instance
 * when libvirtd itself stood still meanwhile, and then waits for it for ever. */
gboolean job_end(virDomainPtr dom, const char *run_folder, gint64 timeout_ms, gboolean *ret_ended,
                 GError **error);

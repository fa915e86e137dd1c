/* SPDX-License-Identifier: Apache-2.0 */
/* job - the backup job of a domain: is there one, and whose is it.
 *
 * One domain has one at a time. Ours are told by the folder of their socket;
 * no other is ever ended. Takes a domain of the caller's own connection, so
 * that the rescuer can end a job while its worker is stuck in a call. */
#pragma once

#include <glib.h>
#include <libvirt/libvirt.h>

typedef enum {
    JOB_NONE,
    JOB_OURS,
    JOB_OTHER, /* another tool's backup, or libvirt busy with a save, snapshot, migration */
    JOB_STUCK, /* libvirtd died while it began a job: it refuses all others and cannot end this one */
} JobOwner;

/* @ret_who (may be NULL): a phrase naming another's job, "a backup on socket
 * /x/y", "a save"; NULL otherwise. The caller frees. */
gboolean job_look(virDomainPtr domain, const char *nbd_dir, JobOwner *ret_owner, char **ret_who,
                  GError **error);

/* End our job, if there is one, and return when it is really gone (libvirt's
 * own call returns before). TIMEOUT after @timeout_ms, STUCK. */
gboolean job_end_ours(virDomainPtr domain, const char *nbd_dir, gint64 timeout_ms, GError **error);

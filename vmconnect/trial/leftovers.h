/* SPDX-License-Identifier: Apache-2.0 */
/* leftovers - what trials leave on a host, known again and removed.
 *
 *   STORE/understudy-trial-UUID/   the images and a marker file that names the UUID
 *   NBD/UUID-…, SCRATCH/UUID-…     files of its backup job
 *   a VM "understudy-trial"        with that UUID, and its disk in that folder
 *
 * A VM is ours only if name, UUID and disk all say so, a folder only with its marker, and of a
 * folder only those files go that a trial makes: what somebody else has put there stays. */
#pragma once

#include "vmconnect/base/id.h"
#include "vmconnect/trial/trial.h"

#include <glib.h>

#define TRIAL_BASE "base.qcow2"
#define TRIAL_TOP "top.qcow2"

/* Make the folder of trial @vm with its marker, durably: before there is anything to be left over. NULL with
 * @error; the caller frees. */
char *leftovers_make_folder(const TrialSite *site, Id vm, GError **error);

/* Remove all of every trial. On failure what is left is found again by the next call. */
gboolean leftovers_remove(virConnectPtr conn, const TrialSite *site, GError **error);

/* SPDX-License-Identifier: Apache-2.0 */
/* eligible - can this VM be protected as it is; if not, why, in sentences for the operator.
 *
 * Pure: what the definition says (inventory.h) and what the headers of its
 * images say (qcow2.h) come in. Each sentence names the disk, tells cause and
 * consequence, and ends with the remedy. */
#pragma once

#include "vmconnect/hypervisor/inventory.h"
#include "vmconnect/image/qcow2.h"

#include <glib.h>

/* Why @disk cannot be replicated; NULL: it can. @facts of its image: NULL when
 * they were not read. @ret_remarks (of char *) gets what must be known all the same. */
char *eligible_disk_problem(const Disk *disk, const Qcow2Facts *facts, const char *vm_name,
                            GPtrArray *ret_remarks);

/* Why the set of disks as a whole cannot: nothing to replicate, two targets on
 * one image. NULL: it can. */
char *eligible_set_problem(const GPtrArray *disks, const char *vm_name);

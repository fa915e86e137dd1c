/* SPDX-License-Identifier: Apache-2.0 */
/* eligible - can this VM be protected as it is; if not, why, in sentences for the operator.
 *
 * What the definition says (inventory.h) and what the headers of its images
 * say (qcow2.h). Each sentence names the disk, tells cause and consequence, and
 * ends with the remedy. All but eligible_problems() is pure. */
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

/* What its operator must know of the VM beside its disks, into @ret_remarks (of char *). */
void eligible_vm_remarks(const Definition *d, gboolean running, GPtrArray *ret_remarks);

/* What the first two say of all @disks (of Disk *): headers are read, at most @timeout_ms each, given up when
 * @cancel_fd is readable (-1: never). One sentence per reason (of char *), empty when the VM can
 * be protected. @ret_remarks (may be NULL) as above. The caller unrefs both. */
GPtrArray *eligible_problems(const GPtrArray *disks, const char *vm_name, int timeout_ms, int cancel_fd,
                             GPtrArray **ret_remarks);

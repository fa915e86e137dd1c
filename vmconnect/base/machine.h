/* SPDX-License-Identifier: Apache-2.0 */
/* machine - which machine this is, and which of its boots. */
#pragma once

#include "vmconnect/base/id.h"

/* What /etc/machine-id says; "" if it cannot be read. The caller frees. */
char *machine_id(void);

/* What its board says, or what the hypervisor of a VM calls it: the domain's UUID; "" for nothing, as to who is not root. The caller
 * frees. */
char *machine_system_uuid(void);

/* The kernel's id of this boot. */
gboolean machine_boot_id(Id *ret_id, GError **error);

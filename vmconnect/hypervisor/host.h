/* SPDX-License-Identifier: Apache-2.0 */
/* host - what libvirt and the kernel know of this host. */
#pragma once

#include "vmconnect/hypervisor/virt_error.h"

#include <glib.h>
#include <jansson.h>

/* Their part of `host.info`: {"boot_id", "machine_id", "system_uuid", "outer", "libvirt", "qemu", "clock_source"} and the places
 * of host_json.h; "outer": outer.h's word, whose VM this host is. Not what libvirt may have to probe QEMU for (KVM, the security module): a trial tells that. New
 * reference; NULL with @error. Blocks: never on the loop. */
json_t *host_read(virConnectPtr conn, GError **error);

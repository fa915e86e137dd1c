/* SPDX-License-Identifier: Apache-2.0 */
/* host_facts - what netmap must know of this host, asked of libvirt and the kernel.
 *
 * Blocks: never on the loop. */
#pragma once

#include "netmap/translate.h"
#include "vmconnect/hypervisor/virt_error.h"

/* Networks with their state, and bridges, into @h. */
gboolean host_facts_places(virConnectPtr conn, Host *h, GError **error);

/* All that a definition is looked at against. @id and @name are this host's, replicas lie in @store.
 * host_free() it. */
Host *host_facts_read(virConnectPtr conn, const char *id, const char *name, const char *store,
                      GError **error);

/* Does the processor of a definition's guest fit this host? NOT_ASKED where there is nothing to ask, and where
 * libvirt cannot say. */
CpuAnswer host_facts_cpu(virConnectPtr conn, const char *definition);

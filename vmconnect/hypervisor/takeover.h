/* SPDX-License-Identifier: Apache-2.0 */
/* takeover - a VM's definition as this host would run it: facts of the host, what libvirt says of the guest's
 * processor, and netmap. */
#pragma once

#include "netmap/translate.h"
#include "vmconnect/base/id.h"
#include "vmconnect/hypervisor/virt_error.h"

typedef struct {
    Id vm;
    const Host *here;       /* host_facts_read() */
    const char *from;       /* id of the engine it comes from */
    const Mapping *mapping; /* the active's places in the master's column, this host's in the replica's */
    const TranslateDisk *disks;
    guint n_disks;
    const char *nvram; /* as in TranslateInput */
} Takeover;

/* As translate_definition(); errors of libvirt, too. Blocks: never on the loop. */
char *takeover_definition(virConnectPtr conn, const Takeover *t, const char *definition,
                          GPtrArray **ret_remarks, GError **error);
